"""The contactor that the EVSE's pilot board switches by itself, with what the board promises.

The board closes it when current is on offer and the car asks, and opens it when the car leaves C.
There is no coil of ours: to close means that the board may be offered current, the lease begins
with the offer, and to open means to order the board off and to withdraw what it offers. Which
board may be trusted with that: docs/pilot-boards.md.

Field:  not yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from hal.contracts import Contactor, ControlPilot, Option, Parts
from hal.errors import BadConfig


class Switch(Contactor):
    follows_offer: ClassVar[bool] = True
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("trust_board", bool, False,
               help="true: accept a board that goes on offering when this machine falls silent"),
    )

    @classmethod
    def unfit(cls, pilot: type[ControlPilot], options: Mapping[str, Any]) -> str:
        if not pilot.switches:
            return "the pilot's board switches no contactor; name the contactor's own driver"
        if not pilot.silence_timeout and not options.get("trust_board"):
            return ("the pilot's board goes on offering when this machine falls silent; put an "
                    'enable contactor in series (driver = "gpio"), or write trust_board = true')
        return ""

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        super().__init__(name, evse, options, parts)
        pilot = parts.pilots.get(evse) if evse is not None else None
        if pilot is None:
            raise BadConfig(f"{name}: there is no pilot board that could switch it")
        problem = self.unfit(type(pilot), options)
        if problem:
            raise BadConfig(f"{name}: {problem}")
        self._pilot = pilot

    def _energise(self) -> None:
        """Nothing to switch: what is put on the pilot now has the lease."""

    def _release(self) -> None:
        self._pilot.cut()

    def _read_feedback(self) -> bool | None:
        """Only a weld that the board found itself."""
        return True if self._pilot.stuck() else None
