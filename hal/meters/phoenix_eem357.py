"""Phoenix Contact EMpro EEM-EM357 and others of EEM-EM3xx, three phases, Modbus RTU.

Source: "UM EN EEM-EM3xx User Manual", input registers, float32, high word first; the addresses come
from one register table (ioBroker) that was tried on an EEM-EM377 only.
A float32 register counts in steps of 2 Wh from 16.4 MWh on, of 16 Wh from 131 MWh on.
Line settings are set at the meter; read them on the display.
Field:  not yet.
"""

from hal.modbus_meter import INPUT, ModbusMeter, f32


class Meter(ModbusMeter):
    serial = {"baudrate": 19200, "parity": "N", "stopbits": 1}
    holes = 16
    energy_import = f32(INPUT, 0x1106, "Wh")
    energy_export = f32(INPUT, 0x110E, "Wh")
    power = f32(INPUT, 0x1026, "W")
    powers = f32(INPUT, (0x1020, 0x1022, 0x1024), "W")
    current = f32(INPUT, (0x100E, 0x1010, 0x1012), "A")
    voltage = f32(INPUT, (0x1000, 0x1002, 0x1004), "V")
    reactive_power = f32(INPUT, 0x1036, "var")
    power_factor = f32(INPUT, 0x101E, "1")
    frequency = f32(INPUT, 0x1038, "Hz")
