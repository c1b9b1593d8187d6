"""The outputs of a configuration that has mistakes: what stands without doubt, device by device.

For `cpctl hw safe` alone. A wrong address of the central system must keep no contactor from being
released; a device with a mistake of its own is left, for what is its safe level is in doubt then.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cpctl.app_outputs import Output, Outputs, of_devices, of_heartbeat
from cpctl.config_check import Problems, Section
from cpctl.config_devices import Devices
from cpctl.config_text import ConfigError, Located, Problem, Where, find, merged, read

KINDS = ("contactor", "pilot", "lock")


class Standing(NamedTuple):
    """What could be read, and the mistakes that leave an output in doubt."""

    outputs: Outputs
    store: Path | None = None
    problems: tuple[Problem, ...] = ()


def standing(path: Path) -> Standing:
    """A file that cannot be read leaves everything in doubt: it may say otherwise."""
    tree: Located | None = None
    try:
        for file in find(path):
            one = read(file)
            tree = one if tree is None else merged(tree, one)
    except ConfigError as error:
        return Standing(Outputs(()), problems=error.problems)
    assert tree is not None  # `path` itself was read
    problems = Problems()
    return _read(Section(problems, tree, "", Where(str(path), 1)), problems)


def _read(top: Section, problems: Problems) -> Standing:
    devices = Devices(problems)
    gpio = top.section("gpio")
    lines = (gpio.text("backend", "gpiod", choices=("gpiod", "gpiozero")), gpio.text("chip"))
    gpio_stands = not problems.found
    before = len(problems.found)
    serial = devices.serial(top.section("serial"))
    if len(problems.found) > before:
        serial = {}
    before = len(problems.found)
    heartbeat = devices.heartbeat(top.section("heartbeat"))
    found = [] if heartbeat is None or len(problems.found) > before else [of_heartbeat(heartbeat)]
    for one in top.sections("evse"):
        found += _evse(one, devices, problems)
    if not top.has("evse"):  # cut short, or emptied
        top.missing("evse", "a station has at least one [[evse]]")
    return Standing(
        Outputs(tuple(found), lines if gpio_stands else ("", ""),
                {name: one.settings() for name, one in serial.items()}),
        top.section("store").path("path", "/var/lib/cpctl"), tuple(problems.found))


def _evse(one: Section, devices: Devices, problems: Problems) -> list[Output]:
    number = one.whole("id", 0, minimum=1, maximum=99, required="number the EVSEs from 1")
    found: list[Output] = []
    for kind in KINDS:
        before = len(problems.found)
        spec = devices.output(kind, one.section(kind), number) if one.has(kind) else None
        if spec is not None and len(problems.found) == before:
            found += of_devices(number, spec)
    return found
