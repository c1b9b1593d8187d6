"""Carlo Gavazzi EM330, EM340 and ET340, three phases, Modbus RTU.

Source: "EM300 Series, ET300 Series Communication Protocol", input registers, int32 low word first;
compared with the register tables of the projects mbmd and dbus-cgwacs.
Read in pieces of at most eleven registers, as the elder meters of this maker want it.
Line settings as delivered: 9600 8N1, address 1; read them on the display.
Field:  not yet.
"""

from typing import ClassVar

from hal.modbus_meter import INPUT, LOW_FIRST, Mark, ModbusMeter, i16, i32


class Meter(ModbusMeter):
    serial = {"baudrate": 9600, "parity": "N", "stopbits": 1}
    word_order = LOW_FIRST
    longest_block = 11
    holes = 2
    marks: ClassVar[tuple[Mark, ...]] = (Mark(INPUT, 0x000B, numbers=range(330, 346)),)
    energy_import = i32(INPUT, 0x0034, "kWh", scale=0.1)
    energy_export = i32(INPUT, 0x004E, "kWh", scale=0.1)
    power = i32(INPUT, 0x0028, "W", scale=0.1)
    powers = i32(INPUT, (0x0012, 0x0014, 0x0016), "W", scale=0.1)
    current = i32(INPUT, (0x000C, 0x000E, 0x0010), "mA")
    voltage = i32(INPUT, (0x0000, 0x0002, 0x0004), "V", scale=0.1)
    reactive_power = i32(INPUT, 0x002C, "var", scale=0.1)
    power_factor = i16(INPUT, 0x0031, "1", scale=0.001)
    frequency = i16(INPUT, 0x0033, "Hz", scale=0.1)
