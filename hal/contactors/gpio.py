"""Contactor or relay whose coil hangs on a digital line, with or without an auxiliary contact.

The line is requested at its off level and driven by the lease alone (`hal/contracts.py`). Wiring
must pull the coil to off: what becomes of a line after the process is the kernel's and the
board's affair (docs/wiring.md).

Field:  not yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hal.contracts import Contactor, Option, Parts
from hal.errors import BadConfig, DeviceGone
from hal.pins import InputLine, Lines, OutputLine


class Switch(Contactor):
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("pin", str, required=True, role="pin", help='the line of the coil: pin = "GPIO17"'),
        Option("active_high", bool, True, help="false: the relay pulls when its line is low"),
        Option("feedback_pin", str, "", role="pin", help="the line of the auxiliary contact"),
        Option("feedback_active_high", bool, False,
               help="true: the line is high while the contactor is closed"),
        Option("feedback_pull", str, "up", choices=("up", "down", "none")),
    )

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        super().__init__(name, evse, options, parts)
        self._coil: OutputLine | None = None
        self._contact: InputLine | None = None

    async def prepare(self) -> None:
        """The coil's line at off, then the auxiliary contact's. Raises DeviceGone, BadConfig."""
        with self._lock:
            self._rest()
            self._read_feedback()

    async def finish(self) -> None:
        """Off, then both lines let go, even when it could not be switched."""
        with self._lock:
            try:
                self.open()
            finally:
                self._drop_coil()
                self._drop_contact()

    def _energise(self) -> None:
        if self._coil is None:
            self._coil = self._request()
        self._coil.set(on=True)

    def _release(self) -> None:
        """Off. A line that was lost is requested anew, which puts it at its off level."""
        self._rest()

    def _rest(self) -> None:
        if self._coil is None:
            self._coil = self._request()
            return
        try:
            self._coil.set(on=False)
        except DeviceGone:
            self._drop_coil()
            self._coil = self._request()

    def _read_feedback(self) -> bool | None:
        pin = str(self.options["feedback_pin"])
        if not pin:
            return None
        if self._contact is None:
            self._contact = _lines(self).input(
                self.name, pin, active_high=bool(self.options["feedback_active_high"]),
                pull=str(self.options["feedback_pull"]))
        try:
            return self._contact.read()
        except DeviceGone:
            self._drop_contact()
            raise

    def _request(self) -> OutputLine:
        return _lines(self).output(self.name, str(self.options["pin"]),
                                   active_high=bool(self.options["active_high"]))

    def _drop_coil(self) -> None:
        line, self._coil = self._coil, None
        if line is not None:
            line.close()

    def _drop_contact(self) -> None:
        line, self._contact = self._contact, None
        if line is not None:
            line.close()


def _lines(switch: Contactor) -> Lines:
    if switch.parts.lines is None:
        raise BadConfig(f"{switch.name}: there are no digital lines; see [gpio]")
    return switch.parts.lines
