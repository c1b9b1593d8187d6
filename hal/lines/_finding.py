"""Finds chip and line for both backends, and says why one is not to be had.

A chip is known by its label, never by its number: that changes with kernel and Pi. Nothing falls
back to another chip than the one that was named.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Protocol

from hal.errors import BadConfig, DeviceGone, HalError
from hal.lines._kernel import CONSUMER_BYTES, Chip, Line
from hal.pins import line_number

#: Labels of the chip that serves the 40-pin header: Pi 5, Pi 4, older ones.
HEADERS = ("pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835")
PULLS = ("up", "down", "none")


class Looking(Protocol):
    """What is needed of `hal.lines._kernel.Kernel`."""

    def chips(self) -> tuple[Chip, ...]: ...

    def lines(self, chip: Chip) -> Iterable[Line]: ...

    def line(self, chip: Chip, number: int) -> Line: ...


def chip_for(owner: str, label: str, kernel: Looking) -> Chip:
    """The chip with this label; empty: that of the header of a Pi. Raises DeviceGone, BadConfig."""
    try:
        chips = kernel.chips()
    except PermissionError as error:
        where = error.filename or "/dev/gpiochip*"
        raise DeviceGone(f"{owner}: no permission for {where}; put the user of cpctl into the "
                         "group gpio (udev rule of the package)") from error
    wanted = (label,) if label else HEADERS
    fitting = [chip for chip in chips if chip.label in wanted]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        said = ", ".join(chip.path for chip in fitting)
        raise BadConfig(f"{owner}: {said} all have the label {label!r} or that of a Pi's header; "
                        "lines are told apart by the label of their chip, so this cannot be used")
    there = ", ".join(f"{chip.label!r} ({chip.path}, {chip.lines} lines)" for chip in chips)
    if not there:
        raise DeviceGone(f"{owner}: this machine has no GPIO chip (/dev/gpiochip*); "
                         "is its driver loaded?")
    named = f"no GPIO chip has the label {label!r}" if label else "no chip of a Pi's header is here"
    raise DeviceGone(f"{owner}: {named}; there is {there}: name one in [gpio] chip")


def line_for(owner: str, pin: str, chip: Chip, kernel: Looking) -> int:
    """The number of a pin on `chip`. Raises BadConfig, DeviceGone."""
    number = line_number(pin)
    if number is None:
        return _named(owner, pin.strip(), chip, kernel)
    if number >= chip.lines:
        raise BadConfig(f"{owner}: there is no line {number} ({pin}) on {chip.label}; "
                        f"it has 0 to {chip.lines - 1}")
    return number


def check_pull(owner: str, pull: str) -> None:
    if pull not in PULLS:
        raise BadConfig(f"{owner}: pull is {pull!r}; it may be {', '.join(PULLS)}")


def consumer(owner: str) -> str:
    """What `gpioinfo` shows beside the line."""
    return f"cpctl {owner}".encode()[:CONSUMER_BYTES].decode(errors="ignore")


def not_to_be_had(owner: str, pin: str, number: int, chip: Chip, kernel: Looking,
                  error: Exception) -> HalError:
    """Why the kernel did not give a line."""
    where = f"{owner}: {pin} (line {number} of {chip.label})"
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM):
        return DeviceGone(f"{where}: no permission for {chip.path}; put the user of cpctl into the "
                          "group gpio (udev rule of the package)")
    try:
        line = kernel.line(chip, number)
    except OSError as gone:
        return DeviceGone(f"{where}: {chip.path} is gone ({gone}); is the board still plugged in?")
    if line.used:
        return DeviceGone(f"{where} is taken by {line.consumer or 'the kernel'!r}; free it "
                          "(gpioinfo, overlays in config.txt) or use another pin")
    return DeviceGone(f"{where} cannot be had: {error}; see gpioinfo")


def gone(owner: str, pin: str, error: Exception) -> DeviceGone:
    """A line that was had does not answer any more."""
    return DeviceGone(f"{owner}: {pin} does not answer: {error}; is the GPIO chip still there "
                      "(gpiodetect)?")


def _named(owner: str, name: str, chip: Chip, kernel: Looking) -> int:
    try:
        lines = list(kernel.lines(chip))
    except OSError as error:
        raise DeviceGone(f"{owner}: {chip.path} cannot be asked for its lines: {error}") from error
    found = [line.number for line in lines if line.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadConfig(f"{owner}: {chip.label} has {len(found)} lines named {name!r}: "
                        f"{', '.join(map(str, found))}; name the pin by its number")
    known = ", ".join(line.name for line in lines if line.name) or "none has a name"
    raise BadConfig(f"{owner}: {chip.label} has no line named {name!r}; "
                    f"its names (gpioinfo): {known}")
