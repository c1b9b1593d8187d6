"""Contactor or relay whose coil hangs on a digital line, with or without an auxiliary contact.

The line is requested at its off level and driven by the lease alone (`hal/contracts.py`). Wiring
must pull the coil to off: what becomes of a line after the process is the kernel's and the
board's affair. The best auxiliary contact is a mirror contact (normally closed, to ground, with
`feedback_active_high = true`): a broken wire then reads as a weld.

Source: IEC 60947-4-1 annex F for mirror contacts, second-hand.
Field:  not yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hal.contracts import Contactor, Option, Parts
from hal.errors import DeviceGone
from hal.feedback import Feedback, feedback_options
from hal.pins import OutputLine


class Switch(Contactor):
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("pin", str, required=True, role="pin", help='the line of the coil: pin = "GPIO17"'),
        Option("active_high", bool, True, help="false: the relay pulls when its line is low"),
        *feedback_options("the auxiliary contact", "the contactor is closed"),
    )

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        super().__init__(name, evse, options, parts)
        self._coil: OutputLine | None = None
        self._contact = Feedback(name, options, parts)

    async def prepare(self) -> None:
        """The coil's line at off, then the auxiliary contact's. Raises DeviceGone, BadConfig."""
        with self._lock:
            self._release()
            self._contact.read()

    async def finish(self) -> None:
        """Off, then both lines let go, even when it could not be switched."""
        with self._lock:
            try:
                self.open()
            finally:
                self._drop_coil()
                self._contact.close()

    def _energise(self) -> None:
        if self._coil is None:
            self._coil = self._request()
        self._coil.set(on=True)

    def _release(self) -> None:
        """Off. A line that was lost is requested anew, which puts it at its off level."""
        if self._coil is None:
            self._coil = self._request()
            return
        try:
            self._coil.set(on=False)
        except DeviceGone:
            self._drop_coil()
            self._coil = self._request()

    def _read_feedback(self) -> bool | None:
        return self._contact.read()

    def _request(self) -> OutputLine:
        return self.parts.digital(self.name).output(
            self.name, str(self.options["pin"]), active_high=bool(self.options["active_high"]))

    def _drop_coil(self) -> None:
        line, self._coil = self._coil, None
        if line is not None:
            line.close()
