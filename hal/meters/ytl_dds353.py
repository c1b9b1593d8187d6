"""YTL DDS353H and its kin (ORNO WE-514, WE-515), one phase, Modbus RTU.

Source: "DDS353H Modbus register map", holding registers, high word first; compared with the
register tables of the projects YTLmodbus and mbmd. There is one energy register, for both
directions together: not for a car that feeds back.
Line settings as delivered: 9600 8E1, address 1.
Field:  not yet.
"""

from hal.modbus_meter import HOLDING, ModbusMeter, i32, u16, u32


class Meter(ModbusMeter):
    serial = {"baudrate": 9600, "parity": "E", "stopbits": 1}
    energy_import = u32(HOLDING, 0xA000, "kWh", scale=0.01)
    power = i32(HOLDING, 0x0140, "W")
    current = u32(HOLDING, (0x0139,), "mA")
    voltage = u16(HOLDING, (0x0131,), "V", scale=0.01)
    reactive_power = i32(HOLDING, 0x0148, "var")
    power_factor = u16(HOLDING, 0x0158, "1", scale=0.001)
    frequency = u16(HOLDING, 0x0130, "Hz", scale=0.01)
