"""What stands where in each meter, written down beside the drivers and not from them.

Per model: function code, order of the words, and per line a quantity, its coding, what one count
of it is worth in V, A, W, var, VA, Hz, Wh, and its register (hexadecimal, counted from 0), or those
of the phases. Registers that no driver reads stand here as well and show other values, so that a
driver that reads the wrong one is found out.

Source: the makers' protocol documents that the drivers name, and the register tables of the
projects mbmd, OpenEMS, dbus-cgwacs, ioBroker and YTLmodbus.
"""

from dataclasses import dataclass

from support.modbus_slave import KINDS, Registers

from hal.values import MeterReading

_KINDS = {"f32": KINDS.FLOAT32, "f64": KINDS.FLOAT64, "i16": KINDS.INT16, "u16": KINDS.UINT16,
          "i32": KINDS.INT32, "u32": KINDS.UINT32, "i64": KINDS.INT64, "u64": KINDS.UINT64}

#: What the table's meter shows. All of it can be told exactly enough by the coarsest coding.
SHOWN: dict[str, tuple[float, ...]] = {
    "voltage": (230.1, 229.9, 231.4),
    "current": (16.01, 15.99, 15.97),
    "power": (3680.0, 3679.0, 3681.0),
    "power_total": (11_040.0,),
    "apparent_power_total": (11_111.0,),
    "reactive_power_total": (-210.0,),
    "power_factor": (0.611, 0.622, 0.633),
    "power_factor_total": (0.999,),
    "frequency": (49.9,),
    "energy_import": (1_234_500.0,),
    "energy_export": (4_200.0,),
    "energy_sum": (1_238_700.0,),
    "energy_partial": (700.0,),
    "energy_import_phases": (411_100.0, 411_200.0, 412_200.0),
    "energy_export_phases": (1_300.0, 1_400.0, 1_500.0),
}

TABLE: dict[str, tuple[int, str, str]] = {
    "eastron_sdm120": (4, "big", """
        voltage_phases f32 1 0000
        current_phases f32 1 0006
        power_total f32 1 000C
        apparent_power_total f32 1 0012
        reactive_power_total f32 1 0018
        power_factor_total f32 1 001E
        frequency f32 1 0046
        energy_import f32 1000 0048
        energy_export f32 1000 004A
        energy_sum f32 1000 0156"""),
    "eastron_sdm230": (4, "big", """
        voltage_phases f32 1 0000
        current_phases f32 1 0006
        power_total f32 1 000C
        apparent_power_total f32 1 0012
        reactive_power_total f32 1 0018
        power_factor_total f32 1 001E
        frequency f32 1 0046
        energy_import f32 1000 0048
        energy_export f32 1000 004A
        energy_sum f32 1000 0156"""),
    "eastron_sdm630": (4, "big", """
        voltage_phases f32 1 0000 0002 0004
        current_phases f32 1 0006 0008 000A
        power_phases f32 1 000C 000E 0010
        power_factor_phases f32 1 001E 0020 0022
        power_total f32 1 0034
        apparent_power_total f32 1 0038
        reactive_power_total f32 1 003C
        power_factor_total f32 1 003E
        frequency f32 1 0046
        energy_import f32 1000 0048
        energy_export f32 1000 004A
        energy_sum f32 1000 0156
        energy_import_phases f32 1000 015A 015C 015E
        energy_export_phases f32 1000 0160 0162 0164"""),
    "eastron_sdm72d": (4, "big", """
        power_total f32 1 0034
        energy_import f32 1000 0048
        energy_export f32 1000 004A
        energy_sum f32 1000 0156"""),
    "eastron_sdm72d_2": (4, "big", """
        voltage_phases f32 1 0000 0002 0004
        current_phases f32 1 0006 0008 000A
        power_phases f32 1 000C 000E 0010
        power_factor_phases f32 1 001E 0020 0022
        power_total f32 1 0034
        apparent_power_total f32 1 0038
        reactive_power_total f32 1 003C
        power_factor_total f32 1 003E
        frequency f32 1 0046
        energy_import f32 1000 0048
        energy_export f32 1000 004A
        energy_sum f32 1000 0156"""),
    "gavazzi_em24": (4, "little", """
        voltage_phases i32 0.1 0000 0002 0004
        current_phases i32 0.001 000C 000E 0010
        power_phases i32 0.1 0012 0014 0016
        power_total i32 0.1 0028
        power_factor_phases i16 0.001 0032 0033 0034
        power_factor_total i16 0.001 0035
        frequency i16 0.1 0037
        reactive_power_total i32 0.1 002C
        energy_import i32 100 003E
        energy_partial i32 100 0042
        energy_import_phases i32 100 0046 0048 004A
        energy_export i32 100 005C"""),
    "gavazzi_em24_e1": (4, "little", """
        voltage_phases i32 0.1 0000 0002 0004
        current_phases i32 0.001 000C 000E 0010
        power_phases i32 0.1 0012 0014 0016
        power_total i32 0.1 0028
        reactive_power_total i32 0.1 002C
        power_factor_phases i16 0.001 002E 002F 0030
        power_factor_total i16 0.001 0031
        frequency i16 0.1 0033
        energy_import i32 100 0034
        energy_import_phases i32 100 0040 0042 0044
        energy_export i32 100 004E"""),
    "gavazzi_em340": (4, "little", """
        voltage_phases i32 0.1 0000 0002 0004
        current_phases i32 0.001 000C 000E 0010
        power_phases i32 0.1 0012 0014 0016
        power_total i32 0.1 0028
        reactive_power_total i32 0.1 002C
        power_factor_phases i16 0.001 002E 002F 0030
        power_factor_total i16 0.001 0031
        frequency i16 0.1 0033
        energy_import i32 100 0034
        energy_import_phases i32 100 0040 0042 0044
        energy_export i32 100 004E"""),
    "gavazzi_em112": (4, "little", """
        voltage_phases i32 0.1 0000
        current_phases i32 0.001 0002
        power_total i32 0.1 0004
        apparent_power_total i32 0.1 0006
        reactive_power_total i32 0.1 0008
        power_factor_total i16 0.001 000E
        frequency u16 0.1 000F
        energy_import i32 100 0010
        energy_export i32 100 0020"""),
    "abb_b21": (3, "big", """
        voltage_phases u32 0.1 5B00
        current_phases u32 0.01 5B0C
        power_total i32 0.01 5B14
        reactive_power_total i32 0.01 5B1C
        frequency u16 0.01 5B2C
        power_factor_total i16 0.001 5B3A
        energy_import u64 10 5000
        energy_export u64 10 5004"""),
    "abb_b23": (3, "big", """
        voltage_phases u32 0.1 5B00 5B02 5B04
        current_phases u32 0.01 5B0C 5B0E 5B10
        power_total i32 0.01 5B14
        power_phases i32 0.01 5B16 5B18 5B1A
        reactive_power_total i32 0.01 5B1C
        frequency u16 0.01 5B2C
        power_factor_total i16 0.001 5B3A
        power_factor_phases i16 0.001 5B3B 5B3C 5B3D
        energy_import u64 10 5000
        energy_export u64 10 5004
        energy_import_phases u64 10 5460 5464 5468"""),
    "schneider_iem3155": (3, "big", """
        voltage_phases f32 1 0BD3 0BD5 0BD7
        current_phases f32 1 0BB7 0BB9 0BBB
        power_phases f32 1000 0BED 0BEF 0BF1
        power_total f32 1000 0BF3
        frequency f32 1 0C25
        energy_import i64 1 0C83
        energy_export i64 1 0C87
        energy_import_phases i64 1 0DBD 0DC1 0DC5"""),
    "inepro_pro380": (3, "big", """
        voltage_phases f32 1 5002 5004 5006
        current_phases f32 1 500C 500E 5010
        power_phases f32 1000 5014 5016 5018
        reactive_power_total f32 1000 501A
        power_factor_phases f32 1 502C 502E 5030
        frequency f32 1 5008
        power_total f32 1000 5012
        power_factor_total f32 1 502A
        energy_sum f32 1000 6000
        energy_import f32 1000 600C
        energy_export f32 1000 6018
        energy_import_phases f32 1000 6012 6014 6016"""),
    "siemens_pac2200": (4, "big", """
        voltage_phases f32 1 0001 0003 0005
        current_phases f32 1 000D 000F 0011
        power_phases f32 1 0019 001B 001D
        power_factor_phases f32 1 0025 0027 0029
        apparent_power_total f32 1 003F
        power_total f32 1 0041
        reactive_power_total f32 1 0043
        power_factor_total f32 1 0045
        frequency f32 1 0037
        energy_import f64 1 0321
        energy_export f64 1 0329"""),
    "finder_7m38": (4, "big", """
        voltage_phases f32 1 09C4 09C6 09C8
        current_phases f32 1 09D4 09D6 09D8
        power_phases f32 1 09E2 09E4 09E6
        power_factor_phases f32 1 09FA 09FC 09FE
        power_total f32 1 09E8
        power_factor_total f32 1 0A00
        frequency f32 1 0A18
        energy_import f32 1 0AC0
        energy_export f32 1 0AC4"""),
    "finder_7m24": (4, "big", """
        voltage_phases f32 1 09C4
        current_phases f32 1 09D4
        power_total f32 1 09E8
        power_factor_total f32 1 0A00
        frequency f32 1 0A18
        energy_import f32 1 0AC0
        energy_export f32 1 0AC4"""),
    "phoenix_eem357": (4, "big", """
        voltage_phases f32 1 1000 1002 1004
        current_phases f32 1 100E 1010 1012
        power_factor_phases f32 1 1018 101A 101C
        power_phases f32 1 1020 1022 1024
        power_factor_total f32 1 101E
        power_total f32 1 1026
        apparent_power_total f32 1 102E
        reactive_power_total f32 1 1036
        frequency f32 1 1038
        energy_import f32 1 1106
        energy_export f32 1 110E
        energy_import_phases f32 1 1100 1102 1104"""),
    "ytl_dds353": (3, "big", """
        frequency u16 0.01 0130
        voltage_phases u16 0.01 0131
        current_phases u32 0.001 0139
        power_total i32 1 0140
        reactive_power_total i32 1 0148
        apparent_power_total u32 1 0150
        power_factor_total u16 0.001 0158
        energy_import u32 10 A000"""),
}


@dataclass(frozen=True)
class Row:
    """One quantity: its registers, phase by phase, and what they show."""

    quantity: str
    function: int
    addresses: tuple[int, ...]
    kind: str
    count_is: float
    order: str
    values: tuple[float, ...]

    def put(self, registers: Registers, *values: float) -> None:
        """Make a slave show these values, or the table's."""
        for at, value in zip(self.addresses, values or self.values, strict=False):
            raw = value / self.count_is
            registers.put(at, raw if self.kind[0] == "f" else round(raw), _KINDS[self.kind],
                          function=self.function, word_order=self.order)  # fmt: skip


def rows(model: str) -> dict[str, Row]:
    """The rows of a model by quantity; `voltage`, `current`, `power` are those of the phases."""
    function, order, text = TABLE[model]
    found = {}
    for line in text.split("\n"):
        if line.strip():
            name, kind, count_is, *places = line.split()
            quantity = name if name in SHOWN else name.removesuffix("_phases")
            addresses = tuple(int(place, 16) for place in places)
            found[quantity] = Row(quantity, function, addresses, kind, float(count_is), order,
                                  SHOWN[quantity][:len(addresses)])  # fmt: skip
    return found


def show(model: str, registers: Registers) -> None:
    """Make a slave show all that the model has."""
    for row in rows(model).values():
        row.put(registers)


def spans(model: str) -> tuple[tuple[int, int], ...]:
    """The stretches of registers such a meter has: start and number. Gaps within a table are
    filled, those between tables (100 registers and more) are not."""
    places = sorted(at for row in rows(model).values() for at in row.addresses)
    found: list[tuple[int, int]] = []
    for at in places:
        if found and at - sum(found[-1]) < 100:
            found[-1] = (found[-1][0], at + 4 - found[-1][0])
        else:
            found.append((at, 4))
    return tuple(found)


def expected(model: str) -> MeterReading:
    """The reading that must come out of what `show` put in."""
    table = {quantity: row.values for quantity, row in rows(model).items()}

    def one(quantity: str) -> float | None:
        return table[quantity][0] if quantity in table else None

    return MeterReading(
        energy_import_wh=round(table["energy_import"][0]),
        energy_export_wh=None if "energy_export" not in table else round(table["energy_export"][0]),
        power_w=one("power_total"),
        powers_w=table.get("power", ()),
        currents_a=table.get("current", ()),
        voltages_v=table.get("voltage", ()),
        reactive_power_var=one("reactive_power_total"),
        power_factor=one("power_factor_total"),
        frequency_hz=one("frequency"),
    )
