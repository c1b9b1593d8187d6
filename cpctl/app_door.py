"""The one way in for events: the core's go to the loop, the others are acted on here.

What comes before the books are open waits and is posted behind `Booted`. Decides nothing about
charging: a registration sets clock and heartbeat, samples given up are a security event.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from cpctl.core.events import (
    ContactorReported,
    Event,
    FaultReported,
    SecurityEventNoticed,
)
from cpctl.core.faults import FaultCode
from cpctl.core.now import NS_PER_S
from cpctl.core.settings import TABLE
from cpctl.core.values import Registration
from cpctl.dialects.base import ClockOffered, RegistrationAnswered
from cpctl.runtime.clock import Clock
from cpctl.runtime.loop import Loop
from cpctl.store.settings_store import StationStore

SHED_TOLD_S = 86_400  # while the disk is short, samples are given up all the time: told once a day

Keep = Callable[[str, Coroutine[Any, Any, None]], None]


class Door:
    """`post` takes events from the start; `open` lets them through to the core.

    `wake_meter(evse)` has a meter read now, `keep(what, writing)` writes something that nothing
    hangs on.
    """

    def __init__(self, clock: Clock, *, wake_meter: Callable[[int], None],
                 keep: Keep) -> None:
        self._clock = clock
        self._wake_meter = wake_meter
        self._keep = keep
        self._early: list[Event] = []
        self._loop: Loop | None = None
        self._store: StationStore | None = None
        self._shed_told_ns: int | None = None

    def open(self, loop: Loop, store: StationStore, first: Event) -> None:
        """Hand `first` to the core, then whatever happened meanwhile."""
        self._loop, self._store = loop, store
        loop.post(first)
        for event in self._early:
            loop.post(event)
        self._early.clear()

    def post(self, event: Event) -> None:
        """Something happened. From the event loop's thread only."""
        if isinstance(event, RegistrationAnswered):
            self._registered(event)
        elif isinstance(event, ClockOffered):
            self._clock.offer(event.utc_text, event.round_trip_s)
        elif self._loop is None:
            self._early.append(event)
        else:
            self._notice(event)
            self._loop.post(event)

    def fault(self, evse: int | None, code: str, present: bool, vendor_code: str) -> None:
        """The simulated board tells of a fault that has no event of its own."""
        self.post(FaultReported(evse, FaultCode[code], present, vendor_code))

    def shed(self, count: int) -> None:
        """The journal gave up `count` samples for the disk budget (16.SEC.16)."""
        now_ns = self._clock.mono_ns()
        told = self._shed_told_ns
        if told is None or now_ns - told >= SHED_TOLD_S * NS_PER_S:
            self._shed_told_ns = now_ns
            self.post(SecurityEventNoticed(
                "MemoryExhaustion", f"over the disk budget: {count} meter samples given up",
                critical=True))

    def _notice(self, event: Event) -> None:
        if isinstance(event, ContactorReported) and not event.closed:
            self._wake_meter(event.evse)

    def _registered(self, event: RegistrationAnswered) -> None:
        """16.BOOT.4: the interval of an accepted boot is the heartbeat's, also after a restart."""
        self._clock.offer(event.utc_text, event.round_trip_s)
        if event.registration is not Registration.ACCEPTED or event.interval_s <= 0:
            return
        if self._loop is None or self._store is None:
            return
        interval_s = min(event.interval_s, TABLE["link.heartbeat_s"].limit or event.interval_s)
        if interval_s != self._loop.settings.integer("link.heartbeat_s"):
            self._loop.change_setting("link.heartbeat_s", str(interval_s))
            self._keep("heartbeat interval",
                       self._store.save_setting("link.heartbeat_s", str(interval_s)))
