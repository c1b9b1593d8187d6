"""ABB B21, one phase, Modbus RTU.

Source: "B21 User Manual", holding registers, high word first; all ones (unsigned) or 0x7FFF…
(signed) mean that there is no value; compared with the register table of the project mbmd.
Line settings are set at the meter; newer ones come with even parity, address 1.
Field:  not yet.
"""

from hal.modbus_meter import HOLDING, Mark, ModbusMeter, i16, i32, u16, u32, u64


class Meter(ModbusMeter):
    serial = {"baudrate": 9600, "parity": "E", "stopbits": 1}
    holes = 16
    marks = (Mark(HOLDING, 0x8960, 6, texts=("B21",)),)
    energy_import = u64(HOLDING, 0x5000, "kWh", scale=0.01)
    energy_export = u64(HOLDING, 0x5004, "kWh", scale=0.01)
    power = i32(HOLDING, 0x5B14, "W", scale=0.01)
    current = u32(HOLDING, (0x5B0C,), "A", scale=0.01)
    voltage = u32(HOLDING, (0x5B00,), "V", scale=0.1)
    reactive_power = i32(HOLDING, 0x5B1C, "var", scale=0.01)
    power_factor = i16(HOLDING, 0x5B3A, "1", scale=0.001)
    frequency = u16(HOLDING, 0x5B2C, "Hz", scale=0.01)
