"""A Modbus RTU meter without code: its registers stand in the configuration.

    meter = { driver = "generic_modbus", bus = "rs485-1", address = 3, registers = {
        energy_import = { type = "u32", function = "holding", address = 0x5000, unit = "kWh",
                          scale = 0.01 },
        voltage = { type = "u32", function = "holding", address = [0x5B00, 0x5B02, 0x5B04],
                    unit = "V", scale = 0.1 } } }

Addresses count from 0 (PDU addresses); a manual that lists 30001 or 40001 counts from 1.
Source: none, the person who writes the configuration answers for it.
"""

from collections.abc import Mapping
from typing import Any

from hal.contracts import Option
from hal.errors import BadConfig
from hal.modbus_meter import (
    BY_KIND,
    COMMON_OPTIONS,
    HOLDING,
    INPUT,
    QUANTITIES,
    Field,
    ModbusMeter,
)

_FUNCTIONS = {"input": INPUT, "holding": HOLDING, 4: INPUT, 3: HOLDING}
_REQUIRED = ("type", "function", "address", "unit")
_KNOWN = (*_REQUIRED, "scale", "word_order", "no_value")


class Meter(ModbusMeter):
    OPTIONS = (
        *COMMON_OPTIONS,
        Option("registers", dict, required=True,
               help="by quantity: { type, function, address, unit, scale, word_order, no_value }"),
        Option("holes", int, default=0, minimum=0, maximum=80,
               help="registers in a row that may be read over to save a request"),
    )  # fmt: skip

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Any):
        self.holes = int(options.get("holes") or 0)  # type: ignore[misc]
        super().__init__(name, evse, options, parts)

    def _fields(self) -> Mapping[str, Field]:
        rows = self.options.get("registers") or {}
        return {quantity: _field_of(self.name, quantity, row) for quantity, row in rows.items()}


def _field_of(name: str, quantity: str, row: Mapping[str, Any]) -> Field:
    where = f"{name}: registers.{quantity}"
    if quantity not in QUANTITIES:
        raise BadConfig(f"{where}: no such quantity; there are {', '.join(QUANTITIES)}")
    if not isinstance(row, Mapping):
        raise BadConfig(f"{where}: a table is expected, such as {{ type = \"f32\", … }}")
    missing = [key for key in _REQUIRED if key not in row]
    unknown = [key for key in row if key not in _KNOWN]
    if missing or unknown:
        found = f"missing {', '.join(missing)}" if missing else f"unknown {', '.join(unknown)}"
        raise BadConfig(f"{where}: {found}; known are {', '.join(_KNOWN)}")
    if row["type"] not in BY_KIND or row["function"] not in _FUNCTIONS:
        raise BadConfig(
            f"{where}: type is one of {', '.join(BY_KIND)}; function is input or holding"
        )
    address = row["address"]
    more = {key: row[key] for key in ("scale", "word_order", "no_value") if key in row}
    try:
        return BY_KIND[row["type"]](
            _FUNCTIONS[row["function"]],
            tuple(address) if isinstance(address, list) else address,
            row["unit"],
            **more,
        )
    except (BadConfig, TypeError) as error:
        raise BadConfig(f"{where}: {error}") from error
