"""Eastron SDM230 Modbus, one phase, Modbus RTU.

Source: "SDM230-Modbus Protocol Implementation" V1.2; the registers of the SDM120 at the same
places; compared with the register table of the project mbmd.
Line settings as delivered: 9600 8N1, address 1 (some batches 2400); read them on the display.
Field:  not yet.
"""

from hal.meters import eastron_sdm120


class Meter(eastron_sdm120.Meter):
    serial = {"baudrate": 9600, "parity": "N", "stopbits": 1}
