"""The one consumer of events: inbox, core step, one timer, pictures for who listens.

Decides nothing: the core does. Effects go to the executor, which the loop never waits for.
At idle nothing here wakes up: the only timer is that of the core's next deadline.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from cpctl.core.effects import Effect, SaveSetting
from cpctl.core.events import DeadlineReached, Event
from cpctl.core.now import NS_PER_S, Now
from cpctl.core.settings import Settings
from cpctl.core.state import Station
from cpctl.core.station import new, next_deadline, step
from cpctl.core.values import StationLayout
from cpctl.core.views import StationPicture, picture

log = logging.getLogger(__name__)

BURST = 16  # events taken in one go before the sockets and devices get their turn
SHORTEST_WAIT_S = 0.001  # a deadline already past is still a turn of its own

Probe = Callable[[], None]


class Loop:
    """Feeds the core. `submit` takes the effects; `post` is for the loop's own thread only."""

    def __init__(self, layout: StationLayout, settings: Settings, now: Callable[[], Now],
                 submit: Callable[[tuple[Effect, ...]], None]):
        self._now = now
        self._submit = submit
        self.settings = settings
        self.station = new(layout)
        self.picture: StationPicture = picture(self.station, now(), settings)
        self._told = self.picture
        self._inbox: deque[Event | Probe] = deque()
        self._wake = asyncio.Event()
        self._asyncio: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns: int | None = None
        self._armed: tuple[Station | None, Settings | None] = (None, None)
        self._listeners: list[Callable[[StationPicture], None]] = []
        self._witnesses: list[Callable[[Event, tuple[Effect, ...]], None]] = []

    def listen(self, listener: Callable[[StationPicture], None]) -> Callable[[], None]:
        """Call `listener` with each picture that differs from the one before. Returns its end.

        Events that came together make one picture.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def witness(self, witness: Callable[[Event, tuple[Effect, ...]], None]) -> None:
        """Show `witness` each event and its effects: for tests, traces and the ring of the log."""
        self._witnesses.append(witness)

    def post(self, event: Event) -> None:
        """Something happened. From the event loop's thread only."""
        self._inbox.append(event)
        self._wake.set()

    def change_setting(self, setting: str, text: str) -> None:
        """A setting changed by something else than an event; deadlines are looked at again.

        Raises SettingError when `text` does not fit.
        """
        self.settings = self.settings.with_text(setting, text)
        self.ask(lambda: None)

    def post_threadsafe(self, event: Event) -> None:
        """As `post`, from any thread; harmless once the loop is gone."""
        if self._asyncio is not None and not self._asyncio.is_closed():
            self._asyncio.call_soon_threadsafe(self.post, event)

    def ask(self, answered: Probe) -> None:
        """Call `answered` when everything posted so far has been decided: the proof of life."""
        self._inbox.append(answered)
        self._wake.set()

    async def run(self) -> None:
        """Take events for ever. A bug in the core ends it: better dead than deciding wrongly."""
        self._asyncio = asyncio.get_running_loop()
        try:
            while True:
                await self._wake.wait()
                self._take(BURST)
                await asyncio.sleep(0)
        finally:
            self._disarm()

    def _take(self, most: int) -> None:
        for _ in range(most):
            if not self._inbox:
                self._wake.clear()
                break
            item = self._inbox.popleft()
            if isinstance(item, Event):
                self._decide(item)
            else:
                item()
        self._tell()
        self._arm()

    def _decide(self, event: Event) -> None:
        now, before = self._now(), self.station
        log.debug("event %s", event)
        self.station, effects = step(self.station, event, now, self.settings)
        for effect in effects:
            log.debug("effect %s", effect)
            if isinstance(effect, SaveSetting):
                self.settings = self.settings.with_text(effect.setting, effect.text)
        for witness in self._witnesses:
            witness(event, effects)
        if effects:
            self._submit(effects)
        if self.station is not before:
            self._show(now)

    def _show(self, now: Now) -> None:
        fresh = picture(self.station, now, self.settings)
        if replace(fresh, at=self.picture.at) != self.picture:
            self.picture = fresh

    def _tell(self) -> None:
        """Only what holds once all that came together is decided: the gate releases before it
        says so, and before the input or pilot that was the cause is heard of."""
        if self.picture is self._told:
            return
        self._told = self.picture
        for listener in tuple(self._listeners):
            listener(self._told)

    def _arm(self) -> None:
        """Set the one timer to the core's next deadline; the same station has the same one."""
        armed = (self.station, self.settings)
        if armed[0] is self._armed[0] and armed[1] is self._armed[1]:
            return
        self._armed = armed
        now = self._now()
        deadline_ns = next_deadline(self.station, now, self.settings)
        if deadline_ns == self._timer_ns:
            return
        self._disarm()
        if deadline_ns is None:
            return
        assert self._asyncio is not None
        wait_s = max((deadline_ns - now.mono_ns) / NS_PER_S, SHORTEST_WAIT_S)
        self._timer_ns = deadline_ns
        self._timer = self._asyncio.call_later(wait_s, self._time_has_come)

    def _time_has_come(self) -> None:
        self._timer, self._timer_ns = None, None
        self.post(DeadlineReached())

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_ns = None, None
