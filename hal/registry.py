"""Finds a driver by kind and name, and builds it with checked options.

A driver is imported when it is asked for, and brings its vendor library only when it is opened.
Ours live in `hal/<kind>s/<driver>.py`, the simulated ones in `hal/sim/devices.py`; outsiders
register an entry point in group "cpctl.hal" named "<kind>.<driver>", which is looked up only for a
name that is not ours.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hal.contracts import Option, Parts
from hal.errors import BadConfig

if TYPE_CHECKING:
    from hal.pins import Lines

ENTRY_POINTS = "cpctl.hal"

#: kind -> (package of our drivers, name of the class in the module)
KINDS: Mapping[str, tuple[str, str]] = {
    "reader": ("hal.readers", "Reader"),
    "meter": ("hal.meters", "Meter"),
    "pilot": ("hal.pilots", "Pilot"),
    "contactor": ("hal.contactors", "Switch"),
    "lock": ("hal.locks", "Lock"),
    "input": ("hal.inputs", "SafetyInput"),
    "indicator": ("hal.indicators", "Lights"),
    "heartbeat": ("hal.heartbeats", "Beat"),
    "proximity": ("hal.proximities", "Proximity"),
}

_WORD = re.compile(r"[a-z][a-z0-9_]*")


def names(kind: str) -> tuple[str, ...]:
    """Our drivers of `kind`, sorted; outsiders are not looked for."""
    folder, _ = _row(kind)
    found = {"sim"}
    try:
        package = importlib.import_module(folder)
    except ModuleNotFoundError:  # no driver of this kind but the simulated one
        return ("sim",)
    for path in package.__path__:
        found.update(entry[:-3] for entry in os.listdir(path)
                     if entry.endswith(".py") and not entry.startswith("_"))
    return tuple(sorted(found))


def load(kind: str, driver: str) -> type[Any]:
    """The class of a driver. Raises BadConfig with the nearest name when there is none."""
    folder, class_name = _row(kind)
    if driver in names(kind) and _WORD.fullmatch(driver):
        module_name = "hal.sim.devices" if driver == "sim" else f"{folder}.{driver}"
        return _class_of(importlib.import_module(module_name), class_name, f"{kind} {driver!r}")
    return _outsider(kind, driver, class_name)


def options_of(kind: str, driver: str) -> tuple[Option, ...]:
    """What may stand in the configuration of this driver."""
    options: tuple[Option, ...] = load(kind, driver).OPTIONS
    return options


def build(
    kind: str,
    driver: str,
    name: str,
    evse: int | None,
    options: Mapping[str, Any],
    parts: Parts,
) -> Any:
    """A driver with checked options, defaults filled in; no hardware is touched.

    `name` is what people call the device ("meter 1"), `evse` whom it serves.
    """
    made = load(kind, driver)
    return made(name, evse, checked(name, made.OPTIONS, options), parts)


def lines(backend: str, chip: str) -> Lines:
    """The digital lines of a chip, by the backend of the configuration; nothing is opened.

    Raises BadConfig. `chip` is its label; empty: the header of a Raspberry Pi.
    """
    module = importlib.import_module(f"hal.lines.{backend}")
    made: Lines = _class_of(module, "Bank", f"gpio backend {backend!r}")(chip)
    return made


def checked(name: str, known: tuple[Option, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` with defaults filled in. Raises BadConfig for what the driver cannot mean."""
    by_name = {option.name: option for option in known}
    for word in given:
        if word not in by_name:
            raise BadConfig(f"{name}: unknown option {word!r}{_nearest(word, by_name)}")
    result: dict[str, Any] = {}
    for option in known:
        if option.name in given:
            result[option.name] = _fitting(name, option, given[option.name])
        elif option.required:
            wanted = f"; {option.help}" if option.help else ""
            raise BadConfig(f"{name}: option {option.name!r} is missing{wanted}")
        else:
            result[option.name] = option.default
    return result


def _fitting(name: str, option: Option, value: Any) -> Any:
    if option.kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, option.kind) or (option.kind is int and isinstance(value, bool)):
        raise BadConfig(f"{name}: option {option.name!r} is {value!r}; "
                        f"it must be of type {option.kind.__name__}")
    if option.choices and value not in option.choices:
        said = ", ".join(str(choice) for choice in option.choices)
        raise BadConfig(f"{name}: option {option.name!r} is {value!r}; it may be {said}")
    if not _in_range(option, value):
        raise BadConfig(f"{name}: option {option.name!r} is {value!r}; "
                        f"it may be {_range(option)}")
    return value


def _in_range(option: Option, value: Any) -> bool:
    if option.minimum is not None and value < option.minimum:
        return False
    return option.maximum is None or bool(value <= option.maximum)


def _range(option: Option) -> str:
    if option.minimum is None:
        return f"at most {option.maximum:g}"
    if option.maximum is None:
        return f"at least {option.minimum:g}"
    return f"{option.minimum:g} to {option.maximum:g}"


def _row(kind: str) -> tuple[str, str]:
    row = KINDS.get(kind)
    if row is None:
        raise BadConfig(f"there is no kind of device {kind!r}{_nearest(kind, KINDS)}")
    return row


def _outsider(kind: str, driver: str, class_name: str) -> type[Any]:
    """A driver that another distribution brings."""
    from importlib import metadata  # heavy, and only needed for a name that is not ours

    points = {point.name: point for point in metadata.entry_points(group=ENTRY_POINTS)}
    point = points.get(f"{kind}.{driver}")
    if point is None:
        prefix = f"{kind}."
        outside = tuple(n.removeprefix(prefix) for n in points if n.startswith(prefix))
        known = (*names(kind), *outside)
        raise BadConfig(f"there is no {kind} driver {driver!r}{_nearest(driver, known)} "
                        f"(known: {', '.join(sorted(known))})")
    try:
        found = point.load()
    except (ImportError, AttributeError) as error:
        raise BadConfig(f"{kind} driver {driver!r} ({point.value}) cannot be loaded: {error}; "
                        "install what it needs") from error
    if isinstance(found, type):
        return found
    return _class_of(found, class_name, f"{kind} {driver!r}")


def _class_of(module: Any, class_name: str, what: str) -> type[Any]:
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        raise BadConfig(f"{what}: module {module.__name__} has no class {class_name}")
    return found


def _nearest(word: str, known: Any) -> str:
    import difflib  # only a wrong word needs it

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
