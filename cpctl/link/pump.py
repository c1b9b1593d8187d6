"""Chooses what goes out next and waits for its answer: the one call outstanding.

Boot alone; then questions, statuses and notices pass the facts. But once a status or a notice was
not answered in time the facts go first until none is due, and after an unanswered question or a
long row of other messages one fact does: no transaction waits longer than one call.
One task for all connections: it is never cancelled in the middle of the books. Times are monotonic
seconds of the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from cpctl.core.settings import Settings
from cpctl.dialects.base import CallError, Disconnected, Outcome, Result, TimedOut
from cpctl.dialects.frames import ErrorFrame, ResultFrame
from cpctl.link.connection import Socket
from cpctl.link.desk import Desk, Lane, Letter
from cpctl.link.errors import ConnectionLost
from cpctl.link.facts import FactLane
from cpctl.link.news import BootLane, HeartbeatLane, NoticeLane, QueryLane, StatusLane
from cpctl.link.registration import BootRules
from cpctl.link.rpc import Match, OpenCall, OwnCalls

log = logging.getLogger(__name__)

_Answered = tuple[Letter, Outcome] | None  # None: it has been seen to, choose the next one
SHARE = 32  # so many other messages in a row, then a fact has its turn
LONGEST_REST_S = 30.0  # a setting may have changed meanwhile
SILENT_CALLS = 3  # unanswered in a row without a sign of life, where nobody pings


class Wire(Protocol):
    """The connection as the pump sees it."""

    @property
    def socket(self) -> Socket | None: ...
    @property
    def heard_s(self) -> float:
        """When anything came in last."""
        ...

    @property
    def answers_wait(self) -> bool: ...
    async def before_call(self) -> None:
        """Answers that wait go out before a call of ours."""
        ...

    def sent(self, letter: Letter) -> None: ...
    async def alive(self) -> bool | None:
        """Whether the other side answers a ping; None: pings are off."""
        ...

    def give_up(self, why: str) -> None:
        """The connection is dead: close it and begin again."""
        ...


class Lanes:
    """All lanes of one link."""

    def __init__(self, boot: BootLane, queries: QueryLane, statuses: StatusLane,
                 notices: NoticeLane, money: FactLane, news: FactLane,
                 heartbeat: HeartbeatLane) -> None:
        self.boot, self.queries, self.statuses = boot, queries, statuses
        self.notices, self.money, self.news, self.heartbeat = notices, money, news, heartbeat
        self.usual: tuple[Lane, ...] = (queries, statuses, notices, money, news, heartbeat)
        self.facts_next: tuple[Lane, ...] = (money, news, queries, statuses, notices, heartbeat)
        self.facts_until_done: tuple[Lane, ...] = (
            queries, money, news, statuses, notices, heartbeat)


class Pump:
    """Sends one letter after the other, for ever."""

    def __init__(self, lanes: Lanes, rules: BootRules, *, desk: Callable[[], Desk],
                 settings: Callable[[], Settings], wire: Wire) -> None:
        self._lanes = lanes
        self._rules = rules
        self._desk = desk
        self._settings = settings
        self._wire = wire
        self.calls: OwnCalls[Letter] = OwnCalls()
        self._answer: asyncio.Future[_Answered] | None = None
        self._late: deque[tuple[Letter, Outcome]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._rest = asyncio.Event()
        self._owed_one = False
        self._owed_all = False
        self._others = 0
        self._silent = 0

    def poke(self) -> None:
        """Something may be due now."""
        self._wake.set()

    async def rested(self) -> None:
        """Returns when nothing could go out any more."""
        self._rest.clear()
        self._wake.set()
        await self._rest.wait()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._wake.clear()
                while self._late:
                    letter, outcome = self._late.popleft()
                    await letter.lane.late(letter, outcome)
                chosen = await self._choose(loop.time())
                if chosen is None:
                    await self._sleep(loop)
                    continue
                answered = await self._exchange(chosen, loop)
                if answered is not None:
                    await self._done(*answered, loop)
        finally:
            if self._alarm is not None:
                self._alarm.cancel()

    # --- choosing ----------------------------------------------------------------------------

    async def _choose(self, now_s: float) -> Letter | None:
        if self._wire.socket is None:
            return None
        if not self._rules.accepted:
            letter = await self._lanes.boot.next(now_s)
            if letter is None and self._rules.registration.value == "pending":
                letter = await self._triggered(now_s)
            return letter
        for lane in self._order():
            if lane.idle:
                continue
            letter = await lane.next(now_s)
            if letter is not None:
                self._keep_turns(lane)
                return letter
        return None

    async def _triggered(self, now_s: float) -> Letter | None:
        """16.BOOT.5: what the central system asked for. The board, not open yet, holds nothing
        else."""
        return (self._lanes.queries.first(now_s, triggered_only=True)
                or await self._lanes.statuses.next(now_s)
                or self._lanes.notices.first(now_s, triggered_only=True))

    def _order(self) -> tuple[Lane, ...]:
        if self._owed_one:
            return self._lanes.facts_next
        return self._lanes.facts_until_done if self._owed_all else self._lanes.usual

    def _keep_turns(self, lane: Lane) -> None:
        if isinstance(lane, FactLane):
            self._owed_one, self._others = False, 0
            return
        if self._owed_one or lane is not self._lanes.queries:
            self._owed_all = False  # it is this one's turn, so no fact was due
        self._others = 0 if self._owed_one else self._others + 1
        self._owed_one = self._others >= SHARE

    async def _sleep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._rest.set()
        if self._wire.socket is None:
            await self._wake.wait()
            return
        lanes: tuple[Lane, ...] = self._lanes.usual
        if not self._rules.accepted:
            lanes = (self._lanes.boot, self._lanes.queries, self._lanes.statuses,
                     self._lanes.notices)
        due = [one for one in (lane.due_s() for lane in lanes) if one is not None]
        wait_s = min([max(0.0, one - loop.time()) for one in due] + [LONGEST_REST_S])
        handle = loop.call_later(wait_s, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            handle.cancel()

    # --- one call ----------------------------------------------------------------------------

    async def _exchange(self, letter: Letter, loop: asyncio.AbstractEventLoop) -> _Answered:
        """Send it; what came of it, or of the last of those that `_goes_on` sent behind it."""
        if self._wire.answers_wait:
            await self._wire.before_call()
        socket = self._wire.socket
        if socket is None:
            return letter, Disconnected()
        self._answer = loop.create_future()
        self._begin(letter, loop)
        try:
            await socket.send(letter.text)
        except ConnectionLost as error:
            self._wire.give_up(str(error))  # or the next letter would fail as fast, for ever
            self.disconnected()
        letter.lane.sent(letter)
        return await self._answer

    def _begin(self, letter: Letter, loop: asyncio.AbstractEventLoop) -> None:
        now_s = letter.sent_s = loop.time()
        call = self.calls.begin(letter.id, letter, now_s=now_s,
                                timeout_s=self._settings().integer("link.call_timeout_s"))
        self._arm(call, loop)
        self._wire.sent(letter)
        self._lanes.heartbeat.spoke(now_s)

    def _goes_on(self, letter: Letter, outcome: Outcome, loop: asyncio.AbstractEventLoop) -> bool:
        """Settle a fact and send the next one at once, without a turn of the pump's task: so it is
        while facts queue up and nothing else is due. False: the answer is left to the task."""
        money = self._lanes.money
        if (letter.lane is not money or self._late or not isinstance(outcome, Result)
                or not self._rules.accepted or not money.told_now(letter, outcome, loop.time())):
            return False
        self._silent = 0
        if not self._sent_next(money, loop):
            self._resolve(None)
        return True

    def _sent_next(self, money: FactLane, loop: asyncio.AbstractEventLoop) -> bool:
        for lane in self._order():
            if lane is money:
                break
            if not lane.idle:
                return False
        socket, letter = self._wire.socket, money.ahead()
        if letter is None:
            return False
        if socket is None or self._wire.answers_wait or not socket.send_now(letter.text):
            money.keep(letter)
            return False
        self._keep_turns(money)
        self._begin(letter, loop)
        money.sent(letter)
        return True

    async def _done(self, letter: Letter, outcome: Outcome, loop: asyncio.AbstractEventLoop
                    ) -> None:
        now_s = loop.time()
        if not isinstance(outcome, TimedOut):
            self._silent = 0
            await letter.lane.done(letter, outcome, now_s)
            return
        log.warning("%s was not answered within %d s", letter.call.action,
                    self._settings().integer("link.call_timeout_s"))
        if letter.lane is self._lanes.queries:
            self._owed_one = True
        elif not isinstance(letter.lane, FactLane):
            self._owed_all = True
        proved = self._wire.heard_s > letter.sent_s or await self._proved()
        if proved or not isinstance(letter.lane, FactLane):
            await letter.lane.done(letter, outcome, now_s)
        else:
            letter.lane.unproved(letter, now_s)

    async def _proved(self) -> bool:
        """Whether the other side lives, though it did not answer (16.OFF.4)."""
        alive = await self._wire.alive()
        if alive is None:
            self._silent += 1
            if self._silent >= SILENT_CALLS:
                self._silent = 0
                self._wire.give_up(f"{SILENT_CALLS} calls in a row without a sign of life")
        elif not alive:
            self._wire.give_up("no pong after a call without an answer")
        return alive is True

    # --- what comes in -----------------------------------------------------------------------

    def answered(self, frame: ResultFrame | ErrorFrame) -> tuple[Match, Letter | None]:
        """An answer came: whose it is. What it means is worked out by `take`."""
        match, call = self.calls.answered(frame.id)
        return match, None if call is None else call.about

    def take(self, frame: ResultFrame | ErrorFrame, match: Match, letter: Letter) -> None:
        """Go on with an answer that was found to be that to `letter`."""
        outcome: Outcome
        if isinstance(frame, ResultFrame):
            outcome = self._desk().answer(letter.call, frame.payload)
        else:
            outcome = CallError(frame.code, frame.description, frame.details)
        if match is not Match.OPEN:
            self._late.append((letter, outcome))
            self._wake.set()
        elif not self._goes_on(letter, outcome, asyncio.get_running_loop()):
            self._resolve((letter, outcome))

    def disconnected(self) -> None:
        """The link is gone: the open call fails at once."""
        call = self.calls.drop()
        if call is not None:
            self._resolve((call.about, Disconnected()))
        self._lanes.queries.give_up()
        self._lanes.notices.forget()
        self._wake.set()

    def _resolve(self, answered: _Answered) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answered)

    # --- one timer for all deadlines ---------------------------------------------------------

    def _arm(self, call: OpenCall[Letter], loop: asyncio.AbstractEventLoop) -> None:
        """A timer that is set already and rings earlier looks again when it rings."""
        if self._alarm is not None:
            if self._alarm.when() <= call.deadline_s:
                return
            self._alarm.cancel()
        self._alarm = loop.call_at(call.deadline_s, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        expired = self.calls.expire(loop.time())
        if expired is not None:
            self._resolve((expired.about, TimedOut()))
        elif self.calls.open is not None:
            self._arm(self.calls.open, loop)
