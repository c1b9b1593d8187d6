"""The devices of the configuration: EVSEs, readers, serial lines; what two may not share.

What a driver may be told is declared by the driver (`OPTIONS`); nothing here knows one by name
but "sim", which stands in for every device that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import hal.registry
from cpctl.config_check import Problems, Section, kind_of, suggestion
from cpctl.config_text import Located, Where
from hal.contracts import Option, Parts
from hal.errors import BadConfig
from hal.pins import line_number

INPUTS = ("rcd", "emergency_stop", "door", "temperature", "ground")
SIM_INPUTS = ("rcd", "emergency_stop", "temperature", "ground")
CONNECTOR_TYPES = ("cType2", "sType2", "cType1", "sType1", "sType3", "sCEE-7-7", "s309-1P-16A",
                   "s309-1P-32A", "s309-3P-16A", "s309-3P-32A", "sBS1361", "Other1PhMax16A",
                   "Other1PhOver16A", "Other3Ph", "Unknown")
NOTHING: Mapping[str, Any] = MappingProxyType({})
_HARDWARE = ("pilot", "contactor", "meter", "lock", "inputs", "indicator", "proximity")
_ALONE = ("input", "indicator", "lock", "heartbeat")  # kinds that are built with nothing else
_NEEDED = ("pilot", "contactor", "meter")


class DeviceSpec(NamedTuple):
    """One device as configured: `options` are checked, and hold what was given and no more."""

    kind: str  # as in the registry: reader meter pilot contactor lock input indicator heartbeat
    # and proximity
    driver: str
    options: Mapping[str, Any] = NOTHING

    @property
    def simulated(self) -> bool:
        return self.driver == "sim"


class SerialSpec(NamedTuple):
    """One serial line; the fields but `name` are those of `hal.rtu.LineSettings`."""

    name: str
    port: str
    baudrate: int = 9600
    parity: str = "N"
    stopbits: int = 1
    timeout_s: float = 0.3
    gap_s: float | None = None
    tries: int = 3
    late_s: float | None = None

    def settings(self) -> dict[str, Any]:
        """Keywords for LineSettings."""
        return {name: value for name, value in self._asdict().items() if name != "name"}


class ReaderSpec(NamedTuple):
    """A card reader; `evses` empty: it serves all."""

    id: str
    evses: tuple[int, ...]
    device: DeviceSpec


class ConnectorSpec(NamedTuple):
    id: int
    type: str = "cType2"


class EvseSpec(NamedTuple):
    """One EVSE. Currents in A per phase."""

    id: int
    max_current_a: float
    phases: int
    ventilated: bool
    connectors: tuple[ConnectorSpec, ...]
    pilot: DeviceSpec
    contactor: DeviceSpec
    meter: DeviceSpec
    lock: DeviceSpec | None = None
    indicator: DeviceSpec | None = None
    inputs: Mapping[str, DeviceSpec] = NOTHING
    proximity: DeviceSpec | None = None  # of the cable, where the pilot board does not tell it

    @property
    def devices(self) -> tuple[DeviceSpec, ...]:
        fitted = (self.pilot, self.contactor, self.meter, self.lock, self.indicator,
                  self.proximity)
        return (*(one for one in fitted if one is not None), *self.inputs.values())


def plain(node: Located) -> Any:
    """The value without its lines."""
    if node.table is not None:
        return {key: plain(one) for key, one in node.table.items()}
    if node.items is not None:
        return [plain(one) for one in node.items]
    return node.value


class Devices:
    """Reads the hardware sections; remembers who has which pin and which bus address."""

    def __init__(self, problems: Problems):
        self._problems = problems
        self._buses: dict[str, SerialSpec] = {}
        self._taken: dict[tuple[object, ...], str] = {}

    # --- serial lines ------------------------------------------------------------------------

    def serial(self, section: Section) -> dict[str, SerialSpec]:
        for name in section.keys:
            one = section.section(name, "serial.NAME")
            port = one.text("port", required='name the device: port = "/dev/ttyUSB0"')
            self._claim(("port", port), f"the port {port}", f"serial.{name}", one.at("port"))
            self._buses[name] = SerialSpec(
                name, port,
                baudrate=one.whole("baudrate", 9600, minimum=300, maximum=1_000_000),
                parity=one.text("parity", "N", choices=("N", "E", "O")),
                stopbits=one.whole("stopbits", 1, choices=(1, 2)),
                timeout_s=one.number("timeout_s", 0.3, minimum=0.01, maximum=10),
                gap_s=one.number_or_none("gap_s", minimum=0, maximum=1),
                tries=one.whole("tries", 3, minimum=1, maximum=10),
                late_s=one.number_or_none("late_s", minimum=0, maximum=30))
            one.done()
        return self._buses

    # --- readers -----------------------------------------------------------------------------

    def readers(self, sections: tuple[Section, ...], evses: tuple[EvseSpec, ...]
                ) -> tuple[ReaderSpec, ...]:
        numbers = [one.id for one in evses]
        found: list[ReaderSpec] = []
        for one in sections:
            name = one.text("id", required='name the reader: id = "front"')
            self._claim(("reader", name), f'the id "{name}"', f"reader {name}", one.at("id"))
            serves = self._serves(one, numbers)
            device = self._device("reader", one, f"reader {name}")
            found.append(ReaderSpec(name, serves, device))
        if not sections and any(one.pilot.simulated for one in evses):
            found.append(ReaderSpec("sim", (), self._simulated("reader")))
        return tuple(found)

    def _serves(self, section: Section, numbers: list[int]) -> tuple[int, ...]:
        node = section.get("evse")
        if node is None:
            return ()
        nodes = node.items if node.items is not None else [node]
        for one in nodes:
            if one.value not in numbers or isinstance(one.value, bool):
                known = ", ".join(str(number) for number in numbers)
                self._problems.add(one.where, f"{section.label('evse')}: there is no EVSE "
                                              f"{plain(one)}", f"the EVSEs are: {known}")
        return tuple(int(one.value) for one in nodes if isinstance(one.value, int))

    # --- heartbeat ---------------------------------------------------------------------------

    def heartbeat(self, section: Section) -> DeviceSpec | None:
        """The output that feeds a hold-in relay; None: not fitted."""
        return self._device("heartbeat", section, "heartbeat") if section.present else None

    # --- EVSEs -------------------------------------------------------------------------------

    def evses(self, sections: tuple[Section, ...]) -> tuple[EvseSpec, ...]:
        found = tuple(self._evse(one) for one in sections)
        return tuple(sorted(found, key=lambda one: one.id))

    def _evse(self, one: Section) -> EvseSpec:
        number = one.whole("id", 0, minimum=1, maximum=99, required="number the EVSEs from 1")
        self._claim(("evse", number), f"the id {number}", f"EVSE {number}", one.at("id"))
        named = [key for key in _HARDWARE if one.has(key)]
        fitted: dict[str, DeviceSpec | None] = {}
        for kind in ("pilot", "contactor", "meter", "lock", "indicator"):
            fitted[kind] = self._fitted(one, kind, number, simulated=not named)
        pilot, contactor, meter = (fitted[kind] or self._simulated(kind) for kind in _NEEDED)
        self._beside_each_other(one, pilot, contactor)
        spec = EvseSpec(
            number,
            max_current_a=one.number("max_current_a", 32.0, minimum=6, maximum=80),
            phases=one.whole("phases", 3, choices=(1, 2, 3)),
            ventilated=one.flag("ventilated", False),
            connectors=self._connectors(one),
            inputs=self._inputs(one, number, simulated=not named),
            pilot=pilot, contactor=contactor, meter=meter, lock=fitted["lock"],
            indicator=fitted["indicator"],
            proximity=self._fitted(one, "proximity", number, simulated=False))
        one.done()
        return spec

    def _beside_each_other(self, one: Section, pilot: DeviceSpec, contactor: DeviceSpec) -> None:
        """Some contactors are the pilot board's own."""
        try:
            switch = hal.registry.load("contactor", contactor.driver)
            problem = switch.unfit(hal.registry.load("pilot", pilot.driver), contactor.options)
        except BadConfig:
            return  # a driver there is not: told where it stands
        if problem:
            sentence, _, step = problem.partition("; ")
            one.wrong("contactor", sentence, step)

    def _fitted(self, one: Section, kind: str, number: int, *, simulated: bool
                ) -> DeviceSpec | None:
        if simulated:
            one.get(kind)
            return self._simulated(kind)
        if not one.has(kind):
            one.get(kind)
            if kind in _NEEDED:
                one.missing(kind, f'an EVSE with devices of its own names its {kind}: '
                                  f'{kind} = {{ driver = "…" }} ("sim" simulates it)')
            return None
        section = one.section(kind)
        return self._device(kind, section, f"{kind} {number}")

    def _inputs(self, one: Section, number: int, *, simulated: bool) -> dict[str, DeviceSpec]:
        table = one.section("inputs")
        if simulated:
            return {name: self._simulated("input") for name in SIM_INPUTS}
        found: dict[str, DeviceSpec] = {}
        for name in INPUTS:
            section = table.section(name, "evse.inputs.NAME")
            if section.present:
                found[name] = self._device("input", section, f"input {name} {number}")
        table.done()
        return found

    def _connectors(self, one: Section) -> tuple[ConnectorSpec, ...]:
        found: list[ConnectorSpec] = []
        for section in one.sections("connectors"):
            found.append(ConnectorSpec(
                section.whole("id", len(found) + 1, minimum=1, maximum=9),
                section.text("type", "cType2", choices=CONNECTOR_TYPES)))
            for key in ("pilot", "lock", "inputs"):
                if section.has(key):
                    section.get(key)
                    section.wrong(key, "this release drives one pilot and lock per EVSE",
                                  "put it into [[evse]]")
            section.done()
        numbers = [connector.id for connector in found]
        if len(set(numbers)) != len(numbers):
            one.wrong("connectors", "two connectors have the same id", "number them from 1")
        return tuple(found) or (ConnectorSpec(1),)

    # --- one device --------------------------------------------------------------------------

    def output(self, kind: str, section: Section, number: int) -> DeviceSpec:
        """A contactor or pilot by itself, whatever else is wrong."""
        return self._device(kind, section, f"{kind} {number}")

    def _device(self, kind: str, section: Section, owner: str) -> DeviceSpec:
        names = hal.registry.names(kind)
        driver = section.text("driver", required=f"drivers for a {kind}: {', '.join(names)}")
        known = self._known(kind, driver, names, section) if driver else None
        if known is None:
            return DeviceSpec(kind, driver)
        options: dict[str, Any] = {}
        for option in known:
            if section.has(option.name):
                options[option.name] = self._option(section, option)
            else:
                section.get(option.name)
                if option.required:
                    section.missing(option.name, option.help or "the driver needs it")
        section.done()
        before = len(self._problems.found)
        self._exclusive(known, options, section, owner)
        if before == len(self._problems.found):
            self._free_form(kind, driver, options, known, section, owner)
        return DeviceSpec(kind, driver, options)

    def _free_form(self, kind: str, driver: str, options: Mapping[str, Any],
                   known: tuple[Option, ...], section: Section, owner: str) -> None:
        """What only the driver understands, as a table or how options go together: see whether it
        would take them.

        Building touches no hardware (`hal.contracts`); the lines are stand-ins.
        """
        tables = [one.name for one in known if one.kind is dict and one.name in options]
        if not tables and kind not in _ALONE:
            return
        parts = Parts(buses={name: cast(Any, object()) for name in self._buses})
        try:
            hal.registry.build(kind, driver, owner, None, options, parts)
        except BadConfig as error:
            section.wrong((*tables, "driver")[0], str(error), "see cpctl.toml(5)")

    def _known(self, kind: str, driver: str, names: tuple[str, ...], section: Section
               ) -> tuple[Option, ...] | None:
        """The options of a driver; None when there is no such driver."""
        try:
            return hal.registry.options_of(kind, driver)
        except BadConfig as error:
            if driver in names:
                section.wrong("driver", str(error))
            else:
                section.wrong("driver", f'there is no driver "{driver}" for a {kind}',
                              suggestion(driver, names))
            return None

    def _simulated(self, kind: str) -> DeviceSpec:
        return DeviceSpec(kind, "sim")

    def _option(self, section: Section, option: Option) -> Any:
        key = option.name
        if option.kind is bool:
            return section.flag(key, bool(option.default))
        if option.kind is int:
            return section.whole(key, option.default or 0, minimum=option.minimum,
                                 maximum=option.maximum, choices=option.choices)
        if option.kind is float:
            return section.number(key, option.default or 0.0, minimum=option.minimum,
                                  maximum=option.maximum)
        if option.kind is str:
            return section.text(key, option.default or "", choices=option.choices)
        node = section.get(key)
        assert node is not None
        if option.kind is dict and node.table is None:
            section.wrong(key, f"expected a table, not {kind_of(node.value)}",
                          "write { name = value }")
        return plain(node)

    def _exclusive(self, known: tuple[Option, ...], options: Mapping[str, Any],
                   section: Section, owner: str) -> None:
        """Bus known; pin and bus address not used by another device."""
        roles = {option.role: options.get(option.name, option.default) for option in known}
        for option in known:
            value = options.get(option.name, option.default)
            if value in (None, ""):
                continue
            where = section.at(option.name)
            if option.role == "bus" and value not in self._buses:
                section.wrong(option.name, f'there is no serial line "{value}"',
                              suggestion(str(value), tuple(self._buses))
                              if self._buses else f"add [serial.{value}] with its port")
            elif option.role == "pin":
                self._claim_pin(str(value), owner, section, option.name)
            elif option.role == "port":
                self._claim(("port", value), f"the port {value}", owner, where)
            elif option.role == "address":
                bus = roles.get("bus")
                self._claim(("address", bus, value, roles.get("channel")),
                            f"address {value} on {bus}", owner, where)

    def _claim_pin(self, pin: str, owner: str, section: Section, key: str) -> None:
        try:
            self._claim(("pin", _pin(pin)), f"the pin {pin}", owner, section.at(key))
        except BadConfig as error:
            section.wrong(key, str(error))

    def _claim(self, key: tuple[object, ...], what: str, owner: str, where: Where) -> None:
        if key in self._taken:
            self._problems.add(where, f"{what} is used twice: here and by "
                                      f"{self._taken[key]}", "each can be used once")
        else:
            self._taken[key] = f"{owner} at {where}"


def _pin(value: object) -> str:
    """GPIO17, BCM17 and 17 are the same pin. Raises BadConfig."""
    number = line_number(str(value))
    return str(value) if number is None else str(number)
