"""ABB B23 and B24, three phases, Modbus RTU.

Source: "B23/B24 User Manual" (2CMC485003M0201), holding registers, high word first; all ones
(unsigned) or 0x7FFF… (signed) mean that there is no value; compared with the register table of the
project mbmd.
Line settings are set at the meter; newer ones come with even parity, address 1.
Field:  not yet.
"""

from hal.modbus_meter import HOLDING, Mark, ModbusMeter, i16, i32, u16, u32, u64


class Meter(ModbusMeter):
    serial = {"baudrate": 9600, "parity": "E", "stopbits": 1}
    holes = 16
    marks = (Mark(HOLDING, 0x8960, 6, texts=("B23", "B24")),)
    energy_import = u64(HOLDING, 0x5000, "kWh", scale=0.01)
    energy_export = u64(HOLDING, 0x5004, "kWh", scale=0.01)
    power = i32(HOLDING, 0x5B14, "W", scale=0.01)
    powers = i32(HOLDING, (0x5B16, 0x5B18, 0x5B1A), "W", scale=0.01)
    current = u32(HOLDING, (0x5B0C, 0x5B0E, 0x5B10), "A", scale=0.01)
    voltage = u32(HOLDING, (0x5B00, 0x5B02, 0x5B04), "V", scale=0.1)
    reactive_power = i32(HOLDING, 0x5B1C, "var", scale=0.01)
    power_factor = i16(HOLDING, 0x5B3A, "1", scale=0.001)
    frequency = u16(HOLDING, 0x5B2C, "Hz", scale=0.01)
