"""Eastron SDM72D-M-2 (the second version of the SDM72D-M), three phases, Modbus RTU.

Source: "SDM72D-M-2 Modbus Protocol"; the registers of the SDM630 at the same places; compared with
the register table of the project mbmd.
Line settings as delivered: 9600 8N1, address 1; read them on the display.
Field:  not yet.
"""

from hal.meters import eastron_sdm630


class Meter(eastron_sdm630.Meter):
    pass
