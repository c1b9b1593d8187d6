"""Schneider Electric iEM3155 and iEM3255, three phases, Modbus RTU.

Source: "iEM3100 series / iEM3200 series / iEM3300 series User Manual" (DOCA0005EN), holding
registers; the manual counts them from 1, here from 0 (3204 is 0x0C83). Compared with the register
table of the project mbmd. Power is told in kW, energy in Wh; what is not available is not-a-number
or 0x8000…
Nobody promises that the registers between two tables may be read over, so each is read by itself.
Line settings as delivered: 19200 8E1, address 1.
Field:  not yet.
"""

from hal.modbus_meter import HOLDING, Mark, ModbusMeter, f32, i64


class Meter(ModbusMeter):
    serial = {"baudrate": 19200, "parity": "E", "stopbits": 1}
    marks = (
        Mark(43, texts=("iEM3155", "iEM3255")),
        Mark(HOLDING, 0x0031, 20, texts=("iEM3155", "iEM3255")),
    )
    energy_import = i64(HOLDING, 0x0C83, "Wh")
    energy_export = i64(HOLDING, 0x0C87, "Wh")
    power = f32(HOLDING, 0x0BF3, "kW")
    powers = f32(HOLDING, (0x0BED, 0x0BEF, 0x0BF1), "kW")
    current = f32(HOLDING, (0x0BB7, 0x0BB9, 0x0BBB), "A")
    voltage = f32(HOLDING, (0x0BD3, 0x0BD5, 0x0BD7), "V")
    frequency = f32(HOLDING, 0x0C25, "Hz")
