"""Eastron SDM630 Modbus (v2), three phases, Modbus RTU.

Source: "SDM630-Modbus Protocol Implementation", input registers, float32, high word first;
compared with the register table of the project mbmd. One read of 76 registers holds it all.
A float32 register counts in steps of 2 Wh from 16.4 MWh on, of 16 Wh from 131 MWh on.
Line settings as delivered: 9600 8N1, address 1; read them on the display.
Field:  not yet.
"""

from hal.modbus_meter import INPUT, ModbusMeter, f32


class Meter(ModbusMeter):
    serial = {"baudrate": 9600, "parity": "N", "stopbits": 1}
    holes = 80
    energy_import = f32(INPUT, 0x0048, "kWh")
    energy_export = f32(INPUT, 0x004A, "kWh")
    power = f32(INPUT, 0x0034, "W")
    powers = f32(INPUT, (0x000C, 0x000E, 0x0010), "W")
    current = f32(INPUT, (0x0006, 0x0008, 0x000A), "A")
    voltage = f32(INPUT, (0x0000, 0x0002, 0x0004), "V")
    reactive_power = f32(INPUT, 0x003C, "var")
    power_factor = f32(INPUT, 0x003E, "1")
    frequency = f32(INPUT, 0x0046, "Hz")
