"""Siemens SENTRON PAC2200 with RS-485, three phases, Modbus RTU.

Source: "7KM PAC2200 Equipment Manual", input registers, float32 and (energy) float64, high word
first; compared with the register table of the project mbmd, which has another place for the
frequency: here it stands where the PAC3200 has it.
The Ethernet version speaks Modbus TCP and needs a gateway.
Line settings are set at the meter; read them on the display.
Field:  not yet.
"""

from hal.modbus_meter import INPUT, Mark, ModbusMeter, f32, f64


class Meter(ModbusMeter):
    serial = {"baudrate": 19200, "parity": "N", "stopbits": 1}
    holes = 8
    marks = (Mark(43, texts=("PAC2200",)),)
    energy_import = f64(INPUT, 0x0321, "Wh")
    energy_export = f64(INPUT, 0x0329, "Wh")
    power = f32(INPUT, 0x0041, "W")
    powers = f32(INPUT, (0x0019, 0x001B, 0x001D), "W")
    current = f32(INPUT, (0x000D, 0x000F, 0x0011), "A")
    voltage = f32(INPUT, (0x0001, 0x0003, 0x0005), "V")
    reactive_power = f32(INPUT, 0x0043, "var")
    power_factor = f32(INPUT, 0x0045, "1")
    frequency = f32(INPUT, 0x0037, "Hz")
