"""Carlo Gavazzi EM24-DIN with RS-485, three phases, Modbus RTU.

Source: "EM24-DIN Communication Protocol", input registers, int32 low word first, at most eleven
registers in one request; compared with the register tables of the projects mbmd and dbus-cgwacs.
The register read is 0x003E, total imported energy. mbmd reads 0x0042, which is the partial counter
and starts anew when somebody resets it at the meter: nothing to bill by.
The Ethernet version has another map: driver `gavazzi_em24_e1`.
Line settings as delivered: 9600 8N1, address 1; read them on the display.
Field:  not yet.
"""

from hal.modbus_meter import INPUT, LOW_FIRST, Mark, ModbusMeter, i16, i32


class Meter(ModbusMeter):
    serial = {"baudrate": 9600, "parity": "N", "stopbits": 1}
    word_order = LOW_FIRST
    longest_block = 11
    holes = 2
    marks = (Mark(INPUT, 0x000B, numbers=range(71, 74)),)
    energy_import = i32(INPUT, 0x003E, "kWh", scale=0.1)
    energy_export = i32(INPUT, 0x005C, "kWh", scale=0.1)
    power = i32(INPUT, 0x0028, "W", scale=0.1)
    powers = i32(INPUT, (0x0012, 0x0014, 0x0016), "W", scale=0.1)
    current = i32(INPUT, (0x000C, 0x000E, 0x0010), "mA")
    voltage = i32(INPUT, (0x0000, 0x0002, 0x0004), "V", scale=0.1)
    reactive_power = i32(INPUT, 0x002C, "var", scale=0.1)
    power_factor = i16(INPUT, 0x0035, "1", scale=0.001)
    frequency = i16(INPUT, 0x0037, "Hz", scale=0.1)
