"""Digital lines by name: the contract of the GPIO backends, and how a pin is written.

A line is asked for in its logical sense: `on` is the state in which something is done (a coil
pulls, a light shines), whatever level that is. An output is requested from the kernel at its level
at once; there is no moment at another one. Drivers of contactors, locks, inputs and lights are
built on these lines and know no GPIO library; the backends are `hal/lines/<backend>.py`.

Which lines of one chip: "GPIO17", "BCM17" and 17 are line 17; any other text is the line's name as
the kernel has it ("RELAY_L1", gpioinfo shows it).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from hal.errors import BadConfig


def line_number(pin: str) -> int | None:
    """The offset of a pin on its chip; None: it is a name. Raises BadConfig for what is neither."""
    text = pin.strip().upper()
    if text.startswith(("BOARD", "J8:")):
        raise BadConfig(f"{pin}: pins are written as GPIO numbers, not by the place on the header; "
                        "see docs/wiring.md")
    for prefix in ("GPIO", "BCM"):
        if text.startswith(prefix) and text[len(prefix):].isdigit():
            text = text[len(prefix):]
    if not text:
        raise BadConfig("a pin is empty; write it as \"GPIO17\"")
    return int(text) if text.isdigit() else None


class OutputLine(ABC):
    """One requested output. `set` may be called from any thread, one call at a time."""

    @abstractmethod
    def set(self, *, on: bool) -> None:
        """Drive it. Raises DeviceGone."""

    @abstractmethod
    def close(self) -> None:
        """To its off level, then let go; harmless when already closed."""


class InputLine(ABC):
    """One requested input."""

    @abstractmethod
    def read(self) -> bool:
        """True: on. Raises DeviceGone."""

    @abstractmethod
    def listen(self, listener: Callable[[bool | None], None]) -> None:
        """Call `listener(on)` after edges, from any thread, with the level read then; None: it
        cannot be read any more, and nothing will be told again. To be called in the event loop.
        An edge is a hint: it may be lost, so what matters is also read from time to time.
        Raises DeviceGone (the line tells no edges)."""

    @abstractmethod
    def close(self) -> None:
        """Let go; harmless when already closed."""


class Lines(ABC):
    """All lines of one GPIO chip through one library. Building touches nothing.

    The chip is found by its label ("pinctrl-bcm2711") whenever a line is asked for, and not kept
    open: one that comes back under another number is found again. An empty label takes the chip of
    the header of a Raspberry Pi and nothing else. Both requests may come from any thread, and raise
    DeviceGone (no chip, no such line, taken by somebody else, no library, no permission) and
    BadConfig.
    """

    def __init__(self, chip: str = "") -> None:
        self.chip = chip

    @abstractmethod
    def output(self, owner: str, pin: str, *, active_high: bool = True) -> OutputLine:
        """The line as an output, off. `owner` is the device people know ("contactor 1")."""

    @abstractmethod
    def input(self, owner: str, pin: str, *, active_high: bool = True, pull: str = "none",
              debounce_ms: float = 0.0) -> InputLine:
        """The line as an input; `pull` is up, down or none."""
