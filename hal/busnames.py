"""The bus doctor's eye: which model answers at an address, and the line of configuration for it.

First what the device says itself (Modbus device identification, the registers in which a maker
keeps the model), then what its registers look like: a driver whose voltage, frequency and energy
come out believable is told as a guess. Reads only.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from hal import registry
from hal.busscan import PROBES, Probe
from hal.buswire import IDENTIFY, BusWire, Kind
from hal.errors import BadConfig
from hal.late import dataclass
from hal.modbus_meter import QUANTITIES, Field, Mark, ModbusMeter
from hal.rtu import READ_COILS, READ_HOLDING

#: Believable at a wall: V, Hz. Wider than any grid, narrower than chance.
_VOLTS = (85.0, 300.0)
_HERTZ = (45.0, 65.0)

_EVSE_WB = (1000, 7)  # set current, offered, vehicle, cable, command, firmware, state


@dataclass(frozen=True)
class Name:
    """What stands at an address. `drivers`: the likeliest first, none: not recognised.

    `sure`: the device said so itself; else its registers look like it, by `because`. `says`: how it
    identifies itself, word by word.
    """

    kind: str = ""
    drivers: tuple[str, ...] = ()
    sure: bool = False
    because: str = ""
    says: str = ""


class _Registers:
    """What was read of one device, each stretch once."""

    def __init__(self, wire: BusWire, address: int):
        self._wire = wire
        self._address = address
        self._known: dict[tuple[int, int, int], tuple[int, ...] | None] = {}

    def read(self, function: int, start: int, count: int) -> tuple[int, ...] | None:
        """None: refused, silent, or not to be read."""
        key = (function, start, count)
        if key not in self._known:
            heard = self._wire.ask(self._address, function, start, count)
            if heard.kind in (Kind.GARBLED, Kind.LATE):  # noise, or the answer to what was before
                heard = self._wire.ask(self._address, function, start, count)
            self._known[key] = heard.words if heard.kind is Kind.ANSWER else None
        return self._known[key]


def meters() -> dict[str, Any]:
    """The classes of our drivers of Modbus meters that have registers of their own, by name."""
    found = {name: registry.load("meter", name) for name in registry.names("meter")}
    return {name: one for name, one in found.items()
            if issubclass(one, ModbusMeter) and hasattr(one, "energy_import")}


def deep_probes() -> tuple[Probe, ...]:
    """For devices that say nothing rather than refuse: the energy register of every model too."""
    fields = [one.energy_import for one in meters().values()]
    more = [(at.function, at.addresses[0], at.width) for at in fields]
    return tuple(dict.fromkeys((*PROBES, *more)))


def name_of(wire: BusWire, address: int) -> Name:
    """Who is at `address`. Raises DeviceGone."""
    says = ", ".join(wire.identification(address))
    registers = _Registers(wire, address)
    known = meters()
    marked = tuple(name for name, one in known.items() if _is_marked(one.marks, says, registers))
    if marked:
        return Name("meter", marked, sure=True, because="it says so", says=says)
    looks_like_pilot = _evse_wb(registers)
    if looks_like_pilot:
        return Name("pilot", ("evse_wb",), because=looks_like_pilot, says=says)
    guess = _guess(known, registers, says)
    if not guess.drivers and registers.read(READ_COILS, 0, 8) is not None:
        return Name("contactor", ("modbus_relay",), because="it has coils", says=says)
    return guess


def _is_marked(marks: Iterable[Mark], says: str, registers: _Registers) -> bool:
    for mark in marks:
        if mark.function == IDENTIFY:
            if says and mark.fits_text(says):
                return True
            continue
        words = registers.read(mark.function, mark.start, mark.count)
        if words is not None and mark.fits(words):
            return True
    return False


def _evse_wb(registers: _Registers) -> str:
    """Why it looks like an EVSE-WB (SimpleEVSE); empty: it does not."""
    words = registers.read(READ_HOLDING, *_EVSE_WB)
    if words is None:
        return ""
    set_a, _, vehicle, cable_a, _, firmware, state = words
    fits = (1 <= vehicle <= 5 and 1 <= state <= 3 and 1 <= firmware <= 99 and cable_a <= 80
            and set_a <= 8000)  # fmt: skip
    return f"firmware {firmware}, vehicle state {vehicle}, cable {cable_a} A" if fits else ""


def _guess(
    known: Mapping[str, type[ModbusMeter]], registers: _Registers, says: str
) -> Name:
    """The drivers whose reading is the most believable, all that are equally so."""
    looks = {name: _look(one, registers) for name, one in known.items()}
    best = max((points for points, _ in looks.values()), default=0)
    if best == 0:
        return Name(says=says)
    names = tuple(name for name, (points, _) in looks.items() if points == best)
    return Name("meter", names, because=looks[names[0]][1], says=says)


def _look(driver: type[ModbusMeter], registers: _Registers) -> tuple[int, str]:
    """How believable the registers are as those of `driver`: points, and what was read.

    Energy, voltage and frequency must be there and able to be true; where a model has no voltage
    (SDM72D) energy and power, which weighs little.
    """
    energy = _values(driver, "energy_import", registers)
    if len(energy) != 1 or not _within(energy[0], *QUANTITIES["energy_import"][1:]):
        return 0, ""
    told = f"{(energy[0] or 0) / 1000:.1f} kWh"
    if not hasattr(driver, "voltage"):
        power = _values(driver, "power", registers)
        believed = power and energy[0] and _within(power[0], 1.0, QUANTITIES["power"][2])
        return (1, f"{power[0]:.0f} W, {told}") if believed else (0, "")
    volts = _values(driver, "voltage", registers)
    hertz = _values(driver, "frequency", registers)
    if not volts or not _within(volts[0], *_VOLTS) or not hertz or not _within(hertz[0], *_HERTZ):
        return 0, ""
    live = sum(_within(one, *_VOLTS) for one in volts)
    points = 6 + 2 * live - 3 * (len(volts) - live)  # a dead phase speaks for another model
    return points, f"{volts[0]:.1f} V, {hertz[0]:.1f} Hz, {told}"


def _values(
    driver: type[ModbusMeter], quantity: str, registers: _Registers
) -> list[float | int | None]:
    """The values of a quantity, phase by phase; none where the driver or the device has none."""
    at = getattr(driver, quantity, None)
    if not isinstance(at, Field):
        return []
    found: list[float | int | None] = []
    for start in at.addresses:
        words = registers.read(at.function, start, at.width)
        if words is None:
            return []
        found.append(at.value(words, driver.word_order))
    return found


def _within(value: float | int | None, low: float, high: float) -> bool:
    return value is not None and low <= value <= high


def configuration(name: Name, bus: str, address: int) -> str:
    """The line to paste. Raises BadConfig for what is not recognised."""
    if not name.drivers:
        raise BadConfig(f"address {address} is not recognised; see generic_modbus")
    driver = name.drivers[0]
    more = ", channel = 1" if driver == "modbus_relay" else ""
    return f'{name.kind} = {{ driver = "{driver}", bus = "{bus}", address = {address}{more} }}'
