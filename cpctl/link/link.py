"""The link to the central system: the one door for the rest of the daemon.

Keeps a connection, announces the boot, delivers what the books owe, asks, tells, answers. Decides
nothing about charging. Put together here; the rules are in `registration.py` (boot), `facts.py`
(delivery), `pump.py` (order), `inbox.py` (their calls), `route.py` (where and when).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence

from cpctl.core.effects import AnnounceBoot, Notice, Query
from cpctl.core.events import Event, LinkChanged
from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.values import Registration, Reply, RequestId
from cpctl.core.views import StationPicture
from cpctl.dialects import frames, redact
from cpctl.dialects.base import Call, Dialect, RenderContext
from cpctl.link.connection import Connector, Socket
from cpctl.link.damper import Damper
from cpctl.link.desk import Desk, Letter, message_id, name_space
from cpctl.link.errors import ConnectionLost
from cpctl.link.facts import Books, FactLane
from cpctl.link.gateway import Gateway, Witness
from cpctl.link.inbox import Inbox
from cpctl.link.news import (
    BootLane,
    HeartbeatLane,
    NoticeLane,
    QueryLane,
    StatusLane,
    Surroundings,
)
from cpctl.link.outbox import Answers, Pulse
from cpctl.link.pump import Lanes, Pump
from cpctl.link.registration import BootRules
from cpctl.link.route import BackOff, Itinerary
from cpctl.link.rpc import Match
from cpctl.link.state import LinkState
from cpctl.link.status_board import StatusBoard
from cpctl.link.tap import Direction, FrameTap
from cpctl.store.entries import Lane as BookLane
from cpctl.store.errors import StoreError

log = logging.getLogger(__name__)

PROOF_S = 5.0  # a connection that stands so long, or over which they speak, is one
PICTURE_LIMIT_S = 1.0  # for the core to learn of the accepted boot; it takes milliseconds
SAME_MOMENT_S = 0.001  # a call that follows an answer so soon bears its time in the tap


class Link:
    """See the module. All methods are for the event loop's thread; only `run` is a task."""

    def __init__(self, *, dialects: Sequence[Dialect], journal: Books,
                 context: Callable[[Dialect], RenderContext], post: Callable[[Event], None],
                 now: Callable[[], Now], settings: Callable[[], Settings], connector: Connector,
                 itinerary: Itinerary, tap: FrameTap, rng: random.Random,
                 boot: AnnounceBoot | None = None, witness: Witness | None = None) -> None:
        """`dialects` in the order they are offered; `boot` is what is announced after the start;
        `witness` wants to know of TLS connections."""
        self._dialects = {one.subprotocol: one for one in dialects}
        self._context = context
        self._desk = Desk(dialects[0], context)
        self._journal, self._post, self._now = journal, post, now
        self._settings, self._tap = settings, tap
        self._gateway = Gateway(connector, itinerary, post=post, now=now, settings=settings,
                                witness=witness)
        self._space = name_space(journal.book)
        self._drawn = 0
        self._rules = BootRules()
        self._board = StatusBoard()
        self._back_off = BackOff(rng)
        self._build_lanes(boot or AnnounceBoot(), rng)
        self._socket: Socket | None = None
        self._inbox: Inbox | None = None
        self._answers = Answers()
        self._pulse = Pulse(settings, self._hear)
        self._end: asyncio.Future[str] | None = None
        self._hurry = asyncio.Event()
        self._held = False
        self._alarm: asyncio.TimerHandle | None = None
        self._proof: asyncio.TimerHandle | None = None
        self._heard_s = 0.0
        self._opened_s = 0.0
        self._since = now()
        self._last_frame: Now | None = None
        self._picture: StationPicture | None = None
        self._accepted_picture = asyncio.Event()
        self._bad, self._strange = Damper(), Damper()

    def _build_lanes(self, boot: AnnounceBoot, rng: random.Random) -> None:
        around = Surroundings(lambda: self._desk, self._settings, self._post, self._draw_id, rng)
        money, news = (
            FactLane(lane, self._journal, desk=lambda: self._desk, settings=self._settings,
                     post=self._post, for_ever=lane is BookLane.MONEY)
            for lane in (BookLane.MONEY, BookLane.NEWS))
        self._lanes = Lanes(
            BootLane(around, self._rules, boot, self._registered), QueryLane(around),
            StatusLane(around, self._board), NoticeLane(around), money, news,
            HeartbeatLane(around))
        self._pump = Pump(self._lanes, self._rules, desk=lambda: self._desk,
                          settings=self._settings, wire=self)

    # --- the door ----------------------------------------------------------------------------

    @property
    def state(self) -> LinkState:
        online = self._socket is not None
        return LinkState(
            online, self._rules.registration, self._since, self._gateway.url,
            self._desk.dialect.name if online else None, self._last_frame, self._held,
            self._gateway.detail, self._bad.total, self._pump.calls.strays)

    def picture(self, picture: StationPicture) -> None:
        """How the station is now; its status is told when it differs."""
        self._picture = picture
        if picture.registration is Registration.ACCEPTED:
            self._accepted_picture.set()
        self._look()
        self._pump.poke()

    async def ask(self, query: Query, *, triggered: bool = False) -> tuple[Event, ...]:
        """What the answer means, or its absence. Never raises; a boot is announced if it may be.
        `triggered`: asked for by the central system, may go out while Pending."""
        if isinstance(query, AnnounceBoot):
            self._rules.asked_for()
            self._pump.poke()
            return ()
        if self.socket is None or not self._may_tell(triggered=triggered):
            return self._lanes.queries.refused(query)
        answer = self._lanes.queries.add(query, asyncio.get_running_loop().time(),
                                         triggered=triggered)
        self._pump.poke()
        return await answer

    def notify(self, notice: Notice, *, triggered: bool = False) -> None:
        """Tell it while the link stands. `triggered`: asked for, may go out while Pending."""
        if self._socket is not None and self._may_tell(triggered=triggered):
            self._lanes.notices.add(notice, triggered=triggered)
            self._pump.poke()

    def _may_tell(self, *, triggered: bool) -> bool:
        """16.BOOT.5: while Pending only what was asked for."""
        return self._rules.accepted or (
            triggered and self._rules.registration is Registration.PENDING)

    def answer(self, request: RequestId, reply: Reply) -> None:
        """The core decided a request; one whose connection is gone is let go."""
        if self._inbox is None or not self._inbox.answer(request, reply):
            log.info("request %d: nobody waits for its answer any more", request.number)
        self._pump.poke()

    def facts_waiting(self) -> None:
        """There are new facts in the books, or a setting changed."""
        self._pump.poke()

    def tell_status_again(self, evse: int | None = None, connector: int | None = None) -> None:
        """The central system asked for the present status: without a connector, of all; connector
        0 without an EVSE is the station."""
        if self._socket is None or not self._may_tell(triggered=True):
            return
        self._look()
        layout, dialect = self._desk.context().layout, self._desk.dialect
        self._board.again(
            None if connector is None else dialect.status_place(evse, connector, layout))
        self._pump.poke()

    def hold(self) -> None:
        """Take the link down and leave it down until `release`."""
        self._held = True
        self._finish("held down by a technician")
        self._hurry.set()

    def release(self) -> None:
        self._held = False
        self._hurry.set()

    def reconnect(self, why: str) -> None:
        """Send the answers that wait, close the connection, open a new one at once: with what is
        wanted now, whatever it had fallen back to."""
        self._gateway.begin_anew()
        self._back_off.reset()
        self._hurry.set()
        self._finish(why)

    async def drain(self, timeout_s: float) -> None:
        """Deliver what can be delivered without waiting for a retry; at most `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.socket is not None and self._rules.accepted:
                    await self._pump.rested()
                    if not (self._lanes.money.ready or self._lanes.news.ready):
                        return
        except TimeoutError:
            log.warning("not everything could be told to the central system in time")

    async def run(self) -> None:
        """Keep the link, for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump.run(), name="link pump")
                while True:
                    await self._one_connection()
        finally:
            self._lanes.queries.give_up()

    # --- one connection ----------------------------------------------------------------------

    async def _one_connection(self) -> None:
        if self._held:
            self._hurry.clear()
            await self._hurry.wait()
            return
        self._hurry.clear()
        socket = await self._gateway.open(tuple(self._dialects))
        if socket is not None and self._held:  # since it began to connect
            await socket.close(1001, "")
        elif socket is not None:
            await self._serve(socket)
        if not self._held:
            await self._pause()

    async def _pause(self) -> None:
        wait_s = self._back_off.next_wait_s(self._settings())
        log.info("next try to connect in %.0f s", wait_s)
        try:
            async with asyncio.timeout(wait_s):
                await self._hurry.wait()
        except TimeoutError:
            return

    async def _serve(self, socket: Socket) -> None:
        loop = asyncio.get_running_loop()
        end = self._end = loop.create_future()
        self._begin(socket, loop.time())
        why = "closed by the station"
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work(socket), name=f"link {work.__name__}")
                         for work in (self._read, self._write, self._ping)]
                why = await end
                await self._answers.farewell(socket)
                for task in tasks:
                    task.cancel()
        finally:
            self._gateway.detail = why
            await self._ended(socket, loop.time())

    def _begin(self, socket: Socket, now_s: float) -> None:
        dialect = self._dialects[socket.subprotocol or ""]
        if dialect is not self._desk.dialect:
            self._desk = Desk(dialect, self._context)
            self._lanes.money.changed_dialect()
            self._lanes.news.changed_dialect()
        self._inbox = Inbox(self._desk, post=self._post, send=self._send_answer,
                            trouble=self._gateway.trouble)
        self._socket, self._since = socket, self._now()
        self._opened_s = self._heard_s = now_s
        self._gateway.detail = "connected"
        self._proof = asyncio.get_running_loop().call_later(PROOF_S, self._proved)
        log.info("connected to %s (%s)", self._gateway.url, socket.subprotocol)
        self._rules.connected(self._lanes.boot.content())
        if self._rules.accepted:
            self._board.open(everything=False)
            self._look()
        self._tell_change()
        self._pump.poke()

    async def _ended(self, socket: Socket, now_s: float) -> None:
        self._socket, self._inbox, self._end = None, None, None
        self._since = self._now()
        self._answers.clear()
        for timer in (self._alarm, self._proof):
            if timer is not None:
                timer.cancel()
        self._alarm = self._proof = None
        self._gateway.closed()
        self._board.close()
        self._pump.disconnected()
        log.warning("link down: %s", self._gateway.detail)
        if now_s - self._opened_s > self._back_off.longest_s(self._settings()):
            self._back_off.reset()
        self._tell_change()
        try:
            await self._journal.mark_offline()
        except StoreError as error:
            log.error("what waits cannot be marked offline: %s", error)
        await socket.close(1001, "")

    def _finish(self, why: str) -> None:
        """The connection is to end, or has ended."""
        if self._end is not None and not self._end.done():
            self._end.set_result(why)

    def _tell_change(self) -> None:
        self._post(LinkChanged(self._socket is not None, self._rules.registration))

    async def _registered(self) -> None:
        """The boot was answered. The statuses told next are those of a station that knows it."""
        self._tell_change()
        if self._gateway.dates_open and not self._founded():
            return
        if not self._rules.accepted:
            return
        self._lanes.heartbeat.clock_told(asyncio.get_running_loop().time())
        self._taken()
        await self._pictured_as_accepted()
        if self.socket is not None and self._rules.accepted:
            self._board.open(everything=True)
            self._look()

    async def _pictured_as_accepted(self) -> None:
        """Until then connectors may look unavailable only because nobody had accepted us."""
        picture = self._picture or self._desk.context().picture
        if picture.registration is Registration.ACCEPTED:
            return
        self._accepted_picture.clear()
        try:
            async with asyncio.timeout(PICTURE_LIMIT_S):
                await self._accepted_picture.wait()
        except TimeoutError:
            log.warning("the station is slow to learn that it is accepted")

    def _taken(self) -> None:
        """The central system works with us: the next loss begins with a short wait."""
        self._back_off.reset()
        self._gateway.taken()

    def _proved(self) -> None:
        """They speak with us, or let the connection stand: the way that led here is a good one."""
        if self._proof is not None:
            self._proof.cancel()
            self._proof = None
            self._gateway.proved()

    def _founded(self) -> bool:
        """Whether a connection begun without knowing the time may stand, now that it is known."""
        why = "" if self._socket is None else self._gateway.unfounded(self._socket)
        if why:
            self._finish(why)
        return not why

    def _look(self) -> None:
        settings = self._settings()
        ctx = self._desk.context()
        picture = self._picture or ctx.picture
        self._board.update(
            self._desk.statuses(picture, ctx), picture.at, asyncio.get_running_loop().time(),
            minimum_s=settings.integer("status.minimum_s"),
            drop_short=settings.text("policy.min_status") == "drop")

    def _draw_id(self) -> str:
        now = self._now()
        self._drawn += 1
        return message_id(self._space, f"{now.boot}.{now.mono_ns}.{self._drawn}")

    # --- what the pump wants of the connection -----------------------------------------------

    @property
    def socket(self) -> Socket | None:
        """None from the moment the connection is known to be lost."""
        return self._socket if self._end is not None and not self._end.done() else None

    @property
    def heard_s(self) -> float:
        return self._heard_s

    @property
    def answers_wait(self) -> bool:
        return self._answers.wait

    async def before_call(self) -> None:
        if self._answers.wait and (socket := self.socket) is not None:
            try:
                await self._answers.flush(socket)
            except ConnectionLost as error:
                self._finish(str(error))

    def sent(self, letter: Letter) -> None:
        at = self._last_frame
        if at is None or letter.sent_s - self._heard_s > SAME_MOMENT_S:
            at = self._now()
        self._tap.note(at, Direction.SENT, letter.text, action=letter.call.action,
                       id=letter.id, outcome="call")
        if log.isEnabledFor(logging.DEBUG):
            log.debug("sent %s", redact.frame(letter.text))

    async def alive(self) -> bool | None:
        socket = self.socket
        if self._settings().integer("link.ping_s") == 0:
            return None
        return socket is not None and await self._pulse.pong(socket)

    def give_up(self, why: str) -> None:
        self._finish(why)

    # --- the three tasks of a connection -----------------------------------------------------

    async def _read(self, socket: Socket) -> None:
        loop = asyncio.get_running_loop()
        socket.listen(self._take_at_once)
        try:
            while True:
                text = await socket.recv()
                self._take(text, loop.time())
                await self._answers.room()
        except ConnectionLost as error:
            self._finish(str(error))
        finally:
            socket.listen(None)

    def _take_at_once(self, text: str) -> bool:
        """A text is taken as it comes, unless there are too many answers to send."""
        if self._answers.crowded:
            return False
        self._take(text, asyncio.get_running_loop().time())
        return True

    async def _write(self, socket: Socket) -> None:
        try:
            await self._answers.run(socket)
        except ConnectionLost as error:
            self._finish(str(error))

    async def _ping(self, socket: Socket) -> None:
        await self._pulse.run(socket)
        self._finish("no pong in time")

    def _hear(self) -> None:
        self._heard_s = asyncio.get_running_loop().time()

    # --- frames ------------------------------------------------------------------------------

    def _take(self, text: str | bytes, now_s: float) -> None:
        now = self._now()
        self._heard_s, self._last_frame = now_s, now
        if self._proof is not None:
            self._proved()
        try:
            frame = frames.parse(text)
        except frames.FrameError as error:
            self._refuse(error, text, now, now_s)
            return
        assert isinstance(text, str)
        if isinstance(frame, frames.CallFrame):
            self._take_call(frame, text, now, now_s)
        else:
            self._take_answer(frame, text, now, now_s)

    def _take_answer(self, frame: frames.ResultFrame | frames.ErrorFrame, text: str, now: Now,
                     now_s: float) -> None:
        match, letter = self._pump.answered(frame)
        if letter is None:
            self._tap.note(now, Direction.RECEIVED, text, action="", id=frame.id, outcome="stray")
            kept_back = self._strange.let_through(now_s)
            if kept_back is not None:
                log.warning("an answer to nothing we asked (%d more not shown)", kept_back)
            return
        good = isinstance(frame, frames.ResultFrame)
        outcome = "late" if match is Match.LATE else "result" if good else "error"
        self._tap.note(now, Direction.RECEIVED, text, action=letter.call.action, id=frame.id,
                       outcome=outcome, latency_ms=(now_s - letter.sent_s) * 1000.0)
        if good and self._back_off.tries and self._rules.accepted:
            self._taken()
        self._pump.take(frame, match, letter)
        if self._gateway.dates_open:
            self._founded()

    def _take_call(self, frame: frames.CallFrame, text: str, now: Now, now_s: float) -> None:
        mute = self._rules.mute(now_s)
        self._tap.note(now, Direction.RECEIVED, text, action=frame.action, id=frame.id,
                       outcome="not answered" if mute else "call")
        if mute or self._inbox is None:
            return  # 16.BOOT.7: while Rejected not even an answer
        self._inbox.received(frame, now_s)
        self._expire()

    def _refuse(self, error: frames.FrameError, text: str | bytes, now: Now, now_s: float) -> None:
        shown = text if isinstance(text, str) else f"({len(text)} bytes)"
        self._tap.note(now, Direction.RECEIVED, shown, action="", id=error.id or "", outcome="bad")
        kept_back = self._bad.let_through(now_s)
        if kept_back is not None:
            log.warning("a bad frame of %d characters: %s (%d more not shown)", len(text), error,
                        kept_back)
        self._gateway.trouble("InvalidMessages", str(error))
        if self._inbox is not None and not self._rules.mute(now_s):
            self._inbox.refused(error)

    def _send_answer(self, call: Call, text: str, outcome: str) -> None:
        self._tap.note(self._now(), Direction.SENT, text, action=call.action, id=call.id,
                       outcome=outcome)
        self._answers.add(text)

    def _expire(self) -> None:
        """One timer for the deadlines of all calls that wait for a decision."""
        if self._inbox is None:
            return
        loop = asyncio.get_running_loop()
        next_s = self._inbox.expire(loop.time())
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = loop.call_at(next_s, self._expire) if next_s is not None else None
