"""Inepro PRO380 Mod, three phases, Modbus RTU.

Source: "PRO380 series user manual" V2.18, holding registers, float32, high word first; compared
with the register table of the project mbmd. Power is told in kW.
A float32 register counts in steps of 2 Wh from 16.4 MWh on, of 16 Wh from 131 MWh on.
Line settings as delivered: 9600 8E1, address 1; read them on the display.
Field:  not yet.
"""

from hal.modbus_meter import HOLDING, ModbusMeter, f32


class Meter(ModbusMeter):
    serial = {"baudrate": 9600, "parity": "E", "stopbits": 1}
    holes = 16
    energy_import = f32(HOLDING, 0x600C, "kWh")
    energy_export = f32(HOLDING, 0x6018, "kWh")
    power = f32(HOLDING, 0x5012, "kW")
    powers = f32(HOLDING, (0x5014, 0x5016, 0x5018), "kW")
    current = f32(HOLDING, (0x500C, 0x500E, 0x5010), "A")
    voltage = f32(HOLDING, (0x5002, 0x5004, 0x5006), "V")
    reactive_power = f32(HOLDING, 0x501A, "kvar")
    power_factor = f32(HOLDING, 0x502A, "1")
    frequency = f32(HOLDING, 0x5008, "Hz")
