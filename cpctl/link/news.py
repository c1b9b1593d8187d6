"""The lanes beside the facts: boot, queries, statuses, notices, heartbeat.

None of them is owed after a lost link. What is not answered in time goes to the back and is tried
a few times; nothing here makes a transaction wait longer than for the one call outstanding.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace

from cpctl.core.effects import AnnounceBoot, Heartbeat, Notice, Query
from cpctl.core.events import Event
from cpctl.core.settings import Settings
from cpctl.dialects.base import (
    Call,
    ClockOffered,
    Disconnected,
    Outcome,
    RegistrationAnswered,
    Result,
    TimedOut,
    Unready,
)
from cpctl.link.desk import NO_CALL, Broken, Desk, Letter
from cpctl.link.registration import BootRules
from cpctl.link.status_board import StatusBoard, Telling
from hal.late import dataclass

log = logging.getLogger(__name__)

MOST_NOTICES = 200
MOST_TRIES = 3
DAY_S = 86_400.0


@dataclass(frozen=True)
class Surroundings:
    """What every lane needs. `draw_id` never gives the same id twice, over restarts too."""

    desk: Callable[[], Desk]
    settings: Callable[[], Settings]
    post: Callable[[Event], None]
    draw_id: Callable[[], str]
    rng: random.Random


class _Plain:
    """What a lane does that has nothing to make ready ahead and forgets what is late."""

    @property
    def idle(self) -> bool:
        return False

    def due_s(self) -> float | None:
        return None

    def sent(self, letter: Letter) -> None:
        """Nothing to make ready."""

    async def late(self, letter: Letter, outcome: Outcome) -> None:
        log.info("%s was answered too late", letter.call.action)


def _timed(event: Event, round_trip_s: float) -> Event:
    if isinstance(event, RegistrationAnswered | ClockOffered):
        return replace(event, round_trip_s=round_trip_s)
    return event


class BootLane(_Plain):
    """The announcement of the boot; alone while it is due."""

    def __init__(self, around: Surroundings, rules: BootRules, announce: AnnounceBoot,
                 registered: Callable[[], Awaitable[None]]) -> None:
        """`registered` returns once what follows a verdict may be said."""
        self._around = around
        self._rules = rules
        self._announce = announce
        self._registered = registered
        self._due_s: float | None = None

    def due_s(self) -> float | None:
        return self._due_s

    def content(self) -> tuple[Call, ...]:
        """What an announcement would say now."""
        desk = self._around.desk()
        calls = desk.calls(self._announce, desk.context())
        return () if isinstance(calls, Broken) else calls

    async def next(self, now_s: float) -> Letter | None:
        self._due_s = self._rules.due_s()
        if self._due_s is None or now_s < self._due_s:
            return None
        calls = self.content()
        if not calls:
            log.error("the boot cannot be announced: it cannot be put into words")
            self._wait(now_s)
            return None
        identity = self._around.draw_id()
        text = self._around.desk().sealed(calls[0], identity)
        if isinstance(text, Broken):
            log.error("the boot cannot be announced: %s; check [station]", text.reason)
            self._wait(now_s)
            return None
        return Letter(self, self._announce, calls, 0, identity, text)

    async def done(self, letter: Letter, outcome: Outcome, now_s: float) -> None:
        desk = self._around.desk()
        events = desk.events(letter.item, letter.call, outcome, desk.context())
        for event in events:
            if isinstance(event, RegistrationAnswered):
                self._rules.answered(event.registration, event.interval_s, letter.calls,
                                     now_s=now_s, jitter=self._around.rng.random())
                log.info("boot answered: %s, interval %d s", event.registration.value,
                         event.interval_s)
                self._around.post(_timed(event, now_s - letter.sent_s))
                await self._registered()
                return
        if not isinstance(outcome, Disconnected):
            log.warning("the boot announcement was not accepted: %s", outcome)
            self._wait(now_s)

    async def late(self, letter: Letter, outcome: Outcome) -> None:
        """The next announcement is due by its own rule; two verdicts would only confuse."""
        log.info("the boot announcement was answered too late")

    def _wait(self, now_s: float) -> None:
        settings = self._around.settings()
        wait_s = settings.integer("link.wait_min_s") + (
            settings.integer("link.wait_random_s") * self._around.rng.random())
        self._rules.unanswered(wait_s, now_s=now_s)
        self._due_s = now_s + wait_s


class HeartbeatLane(_Plain):
    """A heartbeat after silence, and at least one a day for the clock (16.BOOT.11)."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._spoke_s = 0.0
        self._clock_s = 0.0
        self._due_s: float | None = None

    def spoke(self, now_s: float) -> None:
        """A call of ours went out."""
        self._spoke_s = now_s

    def clock_told(self, now_s: float) -> None:
        """The central system told its time."""
        self._clock_s = now_s

    def due_s(self) -> float | None:
        return self._due_s

    async def next(self, now_s: float) -> Letter | None:
        silence_s = self._around.settings().integer("link.heartbeat_s")
        self._due_s = min(self._spoke_s + silence_s, self._clock_s + DAY_S)
        if now_s < self._due_s:
            return None
        desk = self._around.desk()
        item = Heartbeat()
        calls = desk.calls(item, desk.context())
        identity = self._around.draw_id()
        text = desk.sealed(calls[0], identity) if not isinstance(calls, Broken) and calls else calls
        if not isinstance(text, str) or isinstance(calls, Broken):
            self._spoke_s = self._clock_s = now_s
            return None
        return Letter(self, item, calls, 0, identity, text)

    async def done(self, letter: Letter, outcome: Outcome, now_s: float) -> None:
        desk = self._around.desk()
        for event in desk.events(letter.item, letter.call, outcome, desk.context()):
            self._around.post(_timed(event, now_s - letter.sent_s))
        if not isinstance(outcome, Disconnected):
            self._clock_s = now_s  # also when it was refused: once a day is enough to ask


class StatusLane(_Plain):
    """Tells what the status board wants told."""

    def __init__(self, around: Surroundings, board: StatusBoard) -> None:
        self._around = around
        self._board = board
        self._due_s: float | None = None

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing ripens: only a new picture changes that."""
        return self._due_s is None and self._board.idle

    def due_s(self) -> float | None:
        return self._due_s

    async def next(self, now_s: float) -> Letter | None:
        minimum_s = self._around.settings().integer("status.minimum_s")
        ripe_s = self._board.ripen(now_s, minimum_s)
        while (telling := self._board.next(now_s)) is not None:
            letter = self._letter(telling)
            if letter is not None:
                return letter
            self._board.told(telling)  # it cannot be said; the next change may be
        self._due_s = min((one for one in (ripe_s, self._board.next_due_s()) if one is not None),
                          default=None)
        return None

    def _letter(self, telling: Telling) -> Letter | None:
        desk = self._around.desk()
        call = desk.status_call(telling.report, telling.at, desk.context())
        if isinstance(call, Broken):
            return None
        identity = self._around.draw_id()
        text = desk.sealed(call, identity)
        if isinstance(text, Broken):
            log.error("a status cannot be told: %s", text.reason)
            return None
        return Letter(self, telling, (call,), 0, identity, text)

    async def done(self, letter: Letter, outcome: Outcome, now_s: float) -> None:
        match outcome:
            case Disconnected():
                return  # the board begins anew with the next connection
            case TimedOut():
                wait_s = float(self._around.settings().integer("link.retry_s"))
                if not self._board.unanswered(letter.item, wait_s, now_s):
                    log.warning("a status is not told any more: %s", letter.item.report)
            case _:
                self._board.told(letter.item)

    async def late(self, letter: Letter, outcome: Outcome) -> None:
        self._board.told(letter.item)


@dataclass
class _Pending:
    """A notice on its way: how far it is told, how often it was tried."""

    notice: Notice
    triggered: bool
    calls: tuple[Call, ...] | None = None
    index: int = 0
    tries: int = 0
    not_before_s: float = float("-inf")


class NoticeLane(_Plain):
    """Notices, in order while connected; one that is not answered goes to the back."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._waiting: deque[_Pending] = deque()
        self._due_s: float | None = None
        self.dropped = 0

    def add(self, notice: Notice, *, triggered: bool) -> None:
        if len(self._waiting) >= MOST_NOTICES:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(_Pending(notice, triggered))

    def forget(self) -> None:
        self._waiting.clear()

    @property
    def idle(self) -> bool:
        return not self._waiting

    def due_s(self) -> float | None:
        return self._due_s if self._waiting else None

    async def next(self, now_s: float) -> Letter | None:
        return self.first(now_s, triggered_only=False)

    def first(self, now_s: float, *, triggered_only: bool) -> Letter | None:
        """`triggered_only`: while Pending, what the central system asked for may go out."""
        self._due_s = None
        for pending in tuple(self._waiting):
            if triggered_only and not pending.triggered:
                continue
            if pending.not_before_s > now_s:
                self._due_s = min(pending.not_before_s, self._due_s or pending.not_before_s)
                continue
            self._waiting.remove(pending)
            letter = self._letter(pending)
            if letter is not None:
                return letter
        return None

    def _letter(self, pending: _Pending) -> Letter | None:
        desk = self._around.desk()
        try:
            calls = pending.calls or desk.calls(pending.notice, desk.context())
        except Unready:
            return None
        if isinstance(calls, Broken) or pending.index >= len(calls):
            return None
        pending.calls = calls
        identity = self._around.draw_id()
        text = desk.sealed(calls[pending.index], identity)
        if isinstance(text, Broken):
            log.error("a notice cannot be told: %s", text.reason)
            return None
        return Letter(self, pending, calls, pending.index, identity, text)

    async def done(self, letter: Letter, outcome: Outcome, now_s: float) -> None:
        pending: _Pending = letter.item
        desk = self._around.desk()
        for event in desk.events(pending.notice, letter.call, outcome, desk.context()):
            self._around.post(event)
        match outcome:
            case Result() if not letter.last:
                pending.index += 1
                self._waiting.appendleft(pending)
            case TimedOut():
                pending.tries += 1
                if pending.tries < MOST_TRIES:
                    retry_s = self._around.settings().integer("link.retry_s")
                    pending.not_before_s = now_s + retry_s * pending.tries
                    self._waiting.append(pending)


@dataclass
class _Asked:
    query: Query
    answer: asyncio.Future[tuple[Event, ...]]
    until_s: float
    triggered: bool = False


class QueryLane(_Plain):
    """Questions; each is answered by events, whatever becomes of it."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._waiting: deque[_Asked] = deque()

    @property
    def idle(self) -> bool:
        return not self._waiting

    def due_s(self) -> float | None:
        return self._waiting[0].until_s if self._waiting else None

    def add(self, query: Query, now_s: float, *, triggered: bool = False
            ) -> asyncio.Future[tuple[Event, ...]]:
        """Its time runs from here: who waits at the reader does not care for our queue."""
        answer: asyncio.Future[tuple[Event, ...]] = asyncio.get_running_loop().create_future()
        limit_s = self._around.settings().integer("link.call_timeout_s")
        self._waiting.append(_Asked(query, answer, now_s + limit_s, triggered))
        return answer

    def refused(self, query: Query) -> tuple[Event, ...]:
        """What follows when it cannot be asked at all."""
        return self._events(query, NO_CALL, Disconnected())

    async def next(self, now_s: float) -> Letter | None:
        return self.first(now_s, triggered_only=False)

    def first(self, now_s: float, *, triggered_only: bool) -> Letter | None:
        """`triggered_only`: while Pending, what the central system asked for may go out."""
        for asked in tuple(self._waiting):
            if triggered_only and not asked.triggered:
                continue
            self._waiting.remove(asked)
            if asked.answer.done():
                continue
            if now_s >= asked.until_s:
                self._answer(asked, self._events(asked.query, NO_CALL, TimedOut()))
                continue
            letter = self._letter(asked)
            if letter is not None:
                return letter
            self._answer(asked, self.refused(asked.query))
        return None

    def _letter(self, asked: _Asked) -> Letter | None:
        desk = self._around.desk()
        try:
            calls = desk.calls(asked.query, desk.context())
        except Unready:
            return None
        if isinstance(calls, Broken) or not calls:
            return None
        identity = self._around.draw_id()
        text = desk.sealed(calls[0], identity)
        if isinstance(text, Broken):
            log.error("a question cannot be asked: %s", text.reason)
            return None
        return Letter(self, asked, calls, 0, identity, text)

    async def done(self, letter: Letter, outcome: Outcome, now_s: float) -> None:
        asked: _Asked = letter.item
        events = self._events(asked.query, letter.call, outcome)
        self._answer(asked, tuple(_timed(one, now_s - letter.sent_s) for one in events))

    def give_up(self) -> None:
        """The link is down: nobody waits in vain."""
        while self._waiting:
            asked = self._waiting.popleft()
            self._answer(asked, self.refused(asked.query))

    def _events(self, query: Query, call: Call, outcome: Outcome) -> tuple[Event, ...]:
        desk = self._around.desk()
        return desk.events(query, call, outcome, desk.context())

    def _answer(self, asked: _Asked, events: tuple[Event, ...]) -> None:
        if not asked.answer.done():
            asked.answer.set_result(events)


