"""Carlo Gavazzi EM24 E1 (the EM24 with Ethernet), three phases, behind a gateway to Modbus RTU.

Source: "EM24_E1 (Ethernet) Communication Protocol"; the registers of the EM340 at the same places;
compared with the register table of the project mbmd.
Field:  not yet.
"""

from hal.meters import gavazzi_em340


class Meter(gavazzi_em340.Meter):
    marks = ()  # its identification code is not known to us
