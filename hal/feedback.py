"""The contact that tells where a contactor or a bolt really is: an optional input line.

Requested when it is first read, and again after a loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hal.contracts import Option, Parts
from hal.errors import DeviceGone
from hal.pins import InputLine


def feedback_options(contact: str, told: str) -> tuple[Option, ...]:
    """The options of a driver with such a contact; `told` is what the contact tells."""
    return (
        Option("feedback_pin", str, "", role="pin", help=f"the line of {contact}"),
        Option("feedback_active_high", bool, False, help=f"true: its line is high while {told}"),
        Option("feedback_pull", str, "up", choices=("up", "down", "none")),
    )


class Feedback:
    """One such contact; a change counts after `debounce_ms`. Calls must not overlap."""

    def __init__(self, owner: str, options: Mapping[str, Any], parts: Parts, *,
                 debounce_ms: float = 0.0) -> None:
        self._debounce_ms = debounce_ms
        self._listener: Callable[[bool | None], None] | None = None
        self._owner = owner
        self._parts = parts
        self._pin = str(options["feedback_pin"])
        self._active_high = bool(options["feedback_active_high"])
        self._pull = str(options["feedback_pull"])
        self._line: InputLine | None = None

    @property
    def fitted(self) -> bool:
        return bool(self._pin)

    def read(self) -> bool | None:
        """What it tells; None: none is fitted. Raises DeviceGone, BadConfig."""
        if not self._pin:
            return None
        if self._line is None:
            self._line = self._parts.digital(self._owner).input(
                self._owner, self._pin, active_high=self._active_high, pull=self._pull,
                debounce_ms=self._debounce_ms)
            self._hear()
        try:
            return self._line.read()
        except DeviceGone:
            self.close()
            raise

    def listen(self, listener: Callable[[bool | None], None]) -> None:
        """Call `listener` on each change from now on, also after a loss; None: it is lost. To be
        called in the event loop. Raises DeviceGone."""
        self._listener = listener
        self._hear()

    def _hear(self) -> None:
        if self._line is not None and self._listener is not None:
            self._line.listen(self._listener)

    def close(self) -> None:
        """Let the line go; harmless without one."""
        line, self._line = self._line, None
        if line is not None:
            line.close()
