"""Heartbeat on a digital line: each beat turns it over, for a charge pump or a monostable.

What it feeds must fall off within a second when the edges stop, at either level.

Field:  not yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hal.contracts import Heartbeat, Option, Parts
from hal.errors import DeviceGone
from hal.pins import OutputLine


class Beat(Heartbeat):
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("pin", str, required=True, role="pin", help='the line: pin = "GPIO25"'),
        Option("active_high", bool, True, help="false: it rests at its high level"),
    )

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        super().__init__(name, evse, options, parts)
        self._line: OutputLine | None = None
        self._on = False

    async def open(self) -> None:
        self.rest()

    async def close(self) -> None:
        self._drop()

    def beat(self) -> None:
        self._set(not self._on)

    def rest(self) -> None:
        self._set(False)

    def _set(self, on: bool) -> None:
        """A line that was lost is requested anew, at rest."""
        if self._line is None:
            self._on = False
            self._line = self.parts.digital(self.name).output(
                self.name, str(self.options["pin"]),
                active_high=bool(self.options["active_high"]))
        try:
            self._line.set(on=on)
        except DeviceGone:
            self._drop()
            raise
        self._on = on

    def _drop(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()
