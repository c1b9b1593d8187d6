"""Carlo Gavazzi EM111, EM112 and ET112, one phase, Modbus RTU.

Source: "EM100 Series and ET100 Series Communication Protocol", input registers, int32 low word
first; compared with the register tables of the projects OpenEMS and dbus-cgwacs.
Line settings as delivered: 9600 8N1, address 1; read them on the display.
Field:  not yet. The place of the power factor is from one source only.
"""

from hal.modbus_meter import INPUT, LOW_FIRST, Mark, ModbusMeter, i16, i32, u16


class Meter(ModbusMeter):
    serial = {"baudrate": 9600, "parity": "N", "stopbits": 1}
    word_order = LOW_FIRST
    longest_block = 11
    holes = 2
    marks = (Mark(INPUT, 0x000B, numbers=range(102, 122)),)
    energy_import = i32(INPUT, 0x0010, "kWh", scale=0.1)
    energy_export = i32(INPUT, 0x0020, "kWh", scale=0.1)
    power = i32(INPUT, 0x0004, "W", scale=0.1)
    current = i32(INPUT, (0x0002,), "mA")
    voltage = i32(INPUT, (0x0000,), "V", scale=0.1)
    reactive_power = i32(INPUT, 0x0008, "var", scale=0.1)
    power_factor = i16(INPUT, 0x000E, "1", scale=0.001)
    frequency = u16(INPUT, 0x000F, "Hz", scale=0.1)
