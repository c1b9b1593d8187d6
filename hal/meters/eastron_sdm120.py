"""Eastron SDM120 Modbus, one phase, Modbus RTU.

Source: "SDM120-Modbus Protocol Implementation", input registers, float32, high word first;
compared with the register table of the project mbmd. One read of 76 registers holds it all.
Line settings as delivered: 2400 8N1, address 1 (some batches 9600); read them on the display.
Field:  not yet.
"""

from hal.modbus_meter import INPUT, ModbusMeter, f32


class Meter(ModbusMeter):
    serial = {"baudrate": 2400, "parity": "N", "stopbits": 1}
    holes = 80
    energy_import = f32(INPUT, 0x0048, "kWh")
    energy_export = f32(INPUT, 0x004A, "kWh")
    power = f32(INPUT, 0x000C, "W")
    current = f32(INPUT, (0x0006,), "A")
    voltage = f32(INPUT, (0x0000,), "V")
    reactive_power = f32(INPUT, 0x0018, "var")
    power_factor = f32(INPUT, 0x001E, "1")
    frequency = f32(INPUT, 0x0046, "Hz")
