"""Finder 7M.24, one phase, Modbus RTU.

Source: "7M.24, 7M.38 Modbus Communication Protocol", input registers, float32, high word first;
compared with the register table of the project mbmd.
A float32 register counts in steps of 2 Wh from 16.4 MWh on, of 16 Wh from 131 MWh on.
Line settings are set by telephone (NFC); often 19200 8N1.
Field:  not yet.
"""

from hal.modbus_meter import INPUT, ModbusMeter, f32


class Meter(ModbusMeter):
    serial = {"baudrate": 19200, "parity": "N", "stopbits": 1}
    holes = 22
    energy_import = f32(INPUT, 0x0AC0, "Wh")
    energy_export = f32(INPUT, 0x0AC4, "Wh")
    power = f32(INPUT, 0x09E8, "W")
    current = f32(INPUT, (0x09D4,), "A")
    voltage = f32(INPUT, (0x09C4,), "V")
    power_factor = f32(INPUT, 0x0A00, "1")
    frequency = f32(INPUT, 0x0A18, "Hz")
