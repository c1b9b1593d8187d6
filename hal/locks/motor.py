"""Plug lock with a motor on two digital lines, one for each way, moved by pulses.

A pulse is ended by the event loop and, when that hangs, by a timer of its own: the motor is never
driven for longer than `LONGEST_S`. Without power the bolt stays where it is.

Field:  not yet.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

from hal.contracts import Option, Parts, PlugLock
from hal.errors import DeviceGone, HalError
from hal.feedback import Feedback, feedback_options
from hal.locks.gpio import BOLT_MS, arrival
from hal.pins import OutputLine

log = logging.getLogger(__name__)

LONGEST_S = 2.0
GRACE_S = 0.1  # so late the timer ends a pulse that the loop has not ended
ARRIVES_S = 0.1  # the contact of the bolt follows the pulse within this time


class Timer(Protocol):
    def start(self) -> None: ...

    def cancel(self) -> None: ...


class Lock(PlugLock):
    runs: ClassVar[bool] = True
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("lock_pin", str, required=True, role="pin", help="drives the motor to lock"),
        Option("unlock_pin", str, required=True, role="pin", help="drives the motor to unlock"),
        Option("active_high", bool, True, help="false: the motor runs when a line is low"),
        Option("pulse_s", float, 0.6, minimum=0.05, maximum=LONGEST_S - GRACE_S,
               help="how long the motor is driven"),
        *feedback_options("the bolt's contact", "the bolt is locked"),
    )

    #: Calls back from a thread of its own; in place of it in virtual time another one.
    timer: Callable[[float, Callable[[], None]], Timer] = threading.Timer

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        super().__init__(name, evse, options, parts)
        self._bolt = Feedback(name, options, parts, debounce_ms=BOLT_MS)
        self._driving = threading.Lock()  # over the loop and the timer
        self._lines: dict[bool, OutputLine] = {}  # by whether it locks
        self._pulse = 0

    async def open(self) -> None:
        """Both lines off. Raises DeviceGone, BadConfig."""
        await self.close()
        lines, high = self.parts.digital(self.name), bool(self.options["active_high"])
        for locks, option in ((True, "lock_pin"), (False, "unlock_pin")):
            self._lines[locks] = lines.output(self.name, str(self.options[option]),
                                              active_high=high)
        self._bolt.read()

    async def close(self) -> None:
        with self._driving:
            self._pulse += 1
            while self._lines:
                _, line = self._lines.popitem()
                line.close()
        self._bolt.close()

    def listen(self, listener: Callable[[bool], None]) -> None:
        """A contact that cannot be read any more counts as not locked."""
        self._bolt.listen(lambda locked: listener(bool(locked)))

    async def is_locked(self) -> bool | None:
        return self._bolt.read()

    async def lock(self) -> bool | None:
        return await self._move(locked=True)

    async def unlock(self) -> bool | None:
        return await self._move(locked=False)

    async def _move(self, *, locked: bool) -> bool | None:
        """One pulse of full length, then the word of the bolt."""
        import asyncio  # `hw safe` only opens and closes it

        pulse_s = float(self.options["pulse_s"])
        guard = self._begin(pulse_s, locked=locked)
        try:
            await asyncio.sleep(pulse_s)
        finally:
            guard.cancel()
            self._stop(self._pulse)
        if not self._bolt.fitted:
            return None
        return await arrival(self._bolt, locked=locked, within_s=ARRIVES_S)

    def _begin(self, pulse_s: float, *, locked: bool) -> Timer:
        with self._driving:
            if not self._lines:
                raise DeviceGone(f"{self.name}: its lines are not there any more")
            self._lines[not locked].set(on=False)
            self._pulse += 1
            number = self._pulse
            guard = self.timer(pulse_s + GRACE_S, lambda: self._end_late(number))
            guard.start()  # before the motor runs
            self._lines[locked].set(on=True)
        return guard

    def _end_late(self, number: int) -> None:
        """In the timer's thread: the loop has not ended pulse `number`."""
        try:
            if self._stop(number):
                log.warning("%s: the pulse was ended by its timer, the loop was late", self.name)
        except HalError as error:
            log.error("%s: the motor may still run: %s", self.name, error)

    def _stop(self, number: int) -> bool:
        """Both lines off, unless another pulse has begun or it was done already."""
        with self._driving:
            if number != self._pulse:
                return False
            self._pulse += 1
            failed: HalError | None = None
            for line in self._lines.values():
                try:
                    line.set(on=False)
                except HalError as error:
                    failed = error  # the other one is switched off all the same
            if failed is not None:
                raise failed
            return True
