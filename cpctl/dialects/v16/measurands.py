"""Measured values in the words of 1.6: measurand, unit, phase, location and decimals of each.

Source: OCPP 1.6 §7.31 (Measurand), §7.33 (Phase), §7.45 (UnitOfMeasure), §3.16; errata 3.16.
"""

from collections.abc import Iterable
from functools import cache
from math import isfinite

from cpctl.core.metering import SUPPORTED
from cpctl.core.settings import SettingError
from cpctl.core.values import Measured, Quantity, ReadingContext
from cpctl.dialects.base import Wire
from hal.late import dataclass

VALUE_LIMIT = 500  # characters of a configuration value (CiString500)


@dataclass(frozen=True)
class Measurand:
    """`unit` empty: the specification has none (Frequency, Power.Factor). `neutral`: a value of a
    phase is taken against neutral and says so (L1-N)."""

    name: str
    unit: str
    decimals: int
    location: str = "Outlet"
    neutral: bool = False


OF: dict[Quantity, Measurand] = {
    Quantity.ENERGY_IMPORT_REGISTER: Measurand("Energy.Active.Import.Register", "Wh", 0),
    Quantity.ENERGY_EXPORT_REGISTER: Measurand("Energy.Active.Export.Register", "Wh", 0),
    Quantity.ENERGY_IMPORT_INTERVAL: Measurand("Energy.Active.Import.Interval", "Wh", 0),
    Quantity.POWER_IMPORT: Measurand("Power.Active.Import", "W", 1),
    Quantity.POWER_OFFERED: Measurand("Power.Offered", "W", 1),
    Quantity.POWER_REACTIVE_IMPORT: Measurand("Power.Reactive.Import", "var", 1),
    Quantity.POWER_FACTOR: Measurand("Power.Factor", "", 3),
    Quantity.CURRENT_IMPORT: Measurand("Current.Import", "A", 2),
    Quantity.CURRENT_OFFERED: Measurand("Current.Offered", "A", 1),
    Quantity.VOLTAGE: Measurand("Voltage", "V", 1, neutral=True),
    Quantity.FREQUENCY: Measurand("Frequency", "", 2),
    Quantity.TEMPERATURE: Measurand("Temperature", "Celsius", 1, location="Body"),
    Quantity.STATE_OF_CHARGE: Measurand("SoC", "Percent", 0, location="EV"),
}
_BY_NAME = {OF[quantity].name.lower(): quantity for quantity in SUPPORTED}


def sampled_values(values: Iterable[Measured], context: ReadingContext, *,
                   old_celsius: bool = False) -> list[Wire]:
    """The sampledValue list. What is not a finite number is no reading and is left out."""
    word = context.value
    return [_sampled_value(one, word, old_celsius=old_celsius) for one in values
            if isfinite(one.value)]


def _sampled_value(one: Measured, context: str, *, old_celsius: bool) -> Wire:
    decimals, around = _around(one.quantity, one.phase, context, old_celsius)
    value = round(one.value, decimals) + 0.0  # no minus zero
    return {"value": f"{value:.{decimals}f}", **around}


@cache
def _around(quantity: Quantity, phase: str | None, context: str, old_celsius: bool
            ) -> tuple[int, Wire]:
    """The decimals of a value and all that stands beside it."""
    measurand = OF[quantity]
    wire: Wire = {"context": context, "measurand": measurand.name, "location": measurand.location}
    if measurand.unit:
        wire["unit"] = ("Celcius" if old_celsius and measurand.unit == "Celsius"
                        else measurand.unit)
    if phase is not None:
        wire["phase"] = f"{phase}-N" if measurand.neutral else phase
    return measurand.decimals, wire


def list_to_wire(text: str) -> str:
    """A setting's canonical list ("voltage@L1") as a configuration value ("Voltage.L1").

    Cut after the last whole entry that fits a configuration value.
    """
    entries: list[str] = []
    for name in text.split(",") if text else ():
        quantity, _, phase = name.partition("@")
        entry = OF[Quantity(quantity)].name
        entries.append(f"{entry}.{phase}" if phase else entry)
    while len(",".join(entries)) > VALUE_LIMIT:
        entries.pop()
    return ",".join(entries)


def list_from_wire(text: str) -> str:
    """A configuration value as the setting's canonical list; each entry once.

    Raises SettingError for a measurand that is not measured here (16.MET.9).
    """
    if len(text) > VALUE_LIMIT:
        raise SettingError(f"at most {VALUE_LIMIT} characters")
    names: list[str] = []
    for entry in text.split(",") if text.strip() else ():
        name = _entry_from_wire(entry.strip())
        if name not in names:
            names.append(name)
    return ",".join(names)


def _entry_from_wire(entry: str) -> str:
    quantity = _BY_NAME.get(entry.lower())
    if quantity is not None:
        return quantity.value
    name, _, phase = entry.rpartition(".")
    quantity = _BY_NAME.get(name.lower())
    phase = phase.upper().removesuffix("-N")
    if quantity is None or phase not in ("L1", "L2", "L3"):
        raise SettingError(f"{entry[:40]!r} is not measured here")
    return f"{quantity.value}@{phase}"
