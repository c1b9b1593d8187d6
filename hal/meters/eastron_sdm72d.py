"""Eastron SDM72D-M, three phases, Modbus RTU: total power and energy, nothing of each phase.

Source: "SDM72D-M Modbus Protocol", input registers, float32, high word first; compared with the
register tables of the projects mbmd and EVerest. One read of 24 registers holds it all.
The second version (SDM72D-M-2, "V2" on the label) has more: driver `eastron_sdm72d_2`.
Line settings as delivered: 9600 8N1, address 1; read them on the display.
Field:  not yet.
"""

from hal.modbus_meter import INPUT, ModbusMeter, f32


class Meter(ModbusMeter):
    serial = {"baudrate": 9600, "parity": "N", "stopbits": 1}
    holes = 80
    energy_import = f32(INPUT, 0x0048, "kWh")
    energy_export = f32(INPUT, 0x004A, "kWh")
    power = f32(INPUT, 0x0034, "W")
