"""Plug lock with a solenoid on a digital line, held for as long as the plug is.

`locked_when = "on"`: energised it locks, and without power it lets the cable go. `"off"`: a spring
locks and the solenoid draws the bolt; without power the plug stays locked.

Field:  not yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from hal.contracts import Option, Parts, PlugLock
from hal.errors import DeviceGone
from hal.feedback import Feedback, feedback_options
from hal.pins import OutputLine

LOOK_S = 0.02
BOLT_MS = 50.0  # a bolt's contact that opens for less has only been shaken


class Lock(PlugLock):
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("pin", str, required=True, role="pin", help='the line: pin = "GPIO22"'),
        Option("active_high", bool, True, help="false: the solenoid pulls when its line is low"),
        Option("locked_when", str, "on", choices=("on", "off"),
               help="on: energised it locks; off: a spring locks"),
        Option("settle_s", float, 0.5, minimum=0.05, maximum=3,
               help="within this time the bolt has moved"),
        *feedback_options("the bolt's contact", "the bolt is locked"),
    )

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        super().__init__(name, evse, options, parts)
        self._locks_on = options["locked_when"] == "on"
        self._line: OutputLine | None = None
        self._bolt = Feedback(name, options, parts, debounce_ms=BOLT_MS)

    async def open(self) -> None:
        """The solenoid without power. Raises DeviceGone, BadConfig."""
        await self.close()
        self._line = self.parts.digital(self.name).output(
            self.name, str(self.options["pin"]), active_high=bool(self.options["active_high"]))
        self._bolt.read()

    async def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()
        self._bolt.close()

    def listen(self, listener: Callable[[bool], None]) -> None:
        """A contact that cannot be read any more counts as not locked."""
        self._bolt.listen(lambda locked: listener(bool(locked)))

    async def is_locked(self) -> bool | None:
        if self._bolt.fitted:
            return self._bolt.read()
        return not self._locks_on  # as the line was requested

    async def lock(self) -> bool | None:
        return await self._move(locked=True)

    async def unlock(self) -> bool | None:
        return await self._move(locked=False)

    async def _move(self, *, locked: bool) -> bool | None:
        """One try; a bolt that does not follow is not forced."""
        if self._line is None:
            raise DeviceGone(f"{self.name}: {self.options['pin']} is not there any more")
        self._line.set(on=locked is self._locks_on)
        arrived = await arrival(self._bolt, locked=locked, within_s=float(self.options["settle_s"]))
        if arrived is False:
            self._line.set(on=False)
        return arrived


async def arrival(bolt: Feedback, *, locked: bool, within_s: float) -> bool | None:
    """Whether the bolt tells so within the time; None, after it, when nothing tells."""
    import asyncio

    if not bolt.fitted:
        await asyncio.sleep(within_s)
        return None
    for _ in range(max(1, round(within_s / LOOK_S))):
        if bolt.read() is locked:
            return True
        await asyncio.sleep(LOOK_S)
    return bolt.read() is locked
