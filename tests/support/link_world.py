"""A link with everything around it in memory: socket, central system, books, a tiny dialect.

The dialect says of each item just enough to be seen on the wire; it stands for any version.
"""

import asyncio
import json
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from cpctl.core.effects import AnnounceBoot, AuthorizeToken, ClockSample, Heartbeat
from cpctl.core.events import (
    AuthorizationAnswered,
    Event,
    LinkChanged,
    PresenceRequested,
    Request,
)
from cpctl.core.facts import (
    Fact,
    SecurityEventRaised,
    TransactionEnded,
    TransactionSampled,
    TransactionStarted,
)
from cpctl.core.now import Now, TimeQuality
from cpctl.core.settings import Settings
from cpctl.core.values import (
    EvseLayout,
    IdToken,
    Measured,
    Origin,
    Quantity,
    ReadingContext,
    Registration,
    Reply,
    RequestId,
    StationLayout,
    StopReason,
    TokenInfo,
    TokenSource,
    TokenStatus,
)
from cpctl.core.views import StationPicture
from cpctl.dialects.base import (
    AliasGiven,
    Call,
    CallError,
    NoVerdict,
    Outcome,
    RegistrationAnswered,
    RenderContext,
    Result,
    StationIdentity,
    StatusReport,
    Unready,
)
from cpctl.link.errors import ConnectionLost, ConnectRefused
from cpctl.link.link import Link
from cpctl.link.route import Choices, Itinerary
from cpctl.link.tap import FrameTap
from cpctl.store.entries import Entry, Lane, lane_of
from cpctl.store.errors import JournalError

BOOK = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
BOOT = "kernel-boot"
START = datetime(2026, 5, 1, tzinfo=UTC)
SUBPROTOCOL = "ocpp1.6"


def moment(mono_s: float) -> Now:
    return Now(int(mono_s * 1e9), BOOT, START + timedelta(seconds=mono_s), TimeQuality.NTP)


def started(session: int, evse: int = 1) -> TransactionStarted:
    return TransactionStarted(moment(0), session, evse, 1, 0, "Authorized", IdToken("04A1"), 100)


def sampled(session: int, value_wh: int, evse: int = 1) -> TransactionSampled:
    told = (Measured(Quantity.ENERGY_IMPORT_REGISTER, value_wh),)
    return TransactionSampled(moment(0), session, evse, 1, ReadingContext.PERIODIC, value_wh, 1,
                              told)


def ended(session: int, value_wh: int, evse: int = 1) -> TransactionEnded:
    return TransactionEnded(moment(0), session, evse, 1, 2, "StopAuthorized", StopReason.LOCAL,
                            value_wh)


def alert(kind: str) -> SecurityEventRaised:
    return SecurityEventRaised(moment(0), None, kind)


def sample_notice() -> ClockSample:
    return ClockSample(moment(0), 1, 1, ReadingContext.CLOCK, ())


class Books:
    """The journal as a list. `broken` makes the next writes fail."""

    def __init__(self) -> None:
        self.book = BOOK
        self.entries: dict[int, Entry] = {}
        self.states: dict[int, str] = {}
        self.aliases: dict[int, int | str] = {}
        self.reasons: dict[int, str] = {}
        self.broken = 0
        self.offline_marks = 0
        self.settled = 0
        self._waiting: dict[Lane, deque[int]] = {lane: deque() for lane in Lane}

    def put(self, *facts: Fact) -> list[int]:
        numbers = []
        for fact in facts:
            no = len(self.entries) + 1
            lane = lane_of(fact)
            assert lane is not None
            self.entries[no] = Entry(no, fact, lane, book=BOOK)
            self.states[no] = "waiting"
            self._waiting[lane].append(no)
            numbers.append(no)
        return numbers

    def delivered(self) -> list[int]:
        return [no for no, state in self.states.items() if state == "delivered"]

    def head(self, lane: Lane) -> Entry | None:
        return next(iter(self.upcoming(lane, 1)), None)

    def upcoming(self, lane: Lane, n: int) -> Sequence[Entry]:
        return [self.entries[no] for no in islice(self._waiting[lane], n)]

    def _end(self, no: int, state: str) -> None:
        if self.states[no] == "waiting":
            self._waiting[self.entries[no].lane].remove(no)
        self.states[no] = state

    def _write(self) -> None:
        if self.broken:
            self.broken -= 1
            raise JournalError("disk full")

    def settle_now(self, no: int) -> bool:
        if self.broken:
            return False
        self._end(no, "delivered")
        self.settled += 1
        return True

    async def settle(self, no: int, alias: Any = None) -> None:
        self._write()
        self._end(no, "delivered")
        self.settled += 1
        self._alias(alias)

    def _alias(self, alias: Any) -> None:
        if alias is not None:
            self.aliases[alias[0]] = alias[2]

    async def part_settled(self, no: int, calls: int) -> None:
        self._write()
        self.entries[no] = replace(self.entries[no], calls_settled=calls)

    async def fail(self, no: int) -> int:
        self._write()
        self.entries[no] = replace(self.entries[no], attempts=self.entries[no].attempts + 1)
        return self.entries[no].attempts

    async def abandon(self, no: int, reason: str, alias: Any = None) -> None:
        self._write()
        self._end(no, "abandoned")
        self.reasons[no] = reason
        self._alias(alias)

    async def mark_offline(self) -> None:
        self._write()
        self.offline_marks += 1


class TinyDialect:
    """A version of OCPP with a handful of messages. `broken_on` lists register values that its
    author did not think of."""

    name = "1.6"
    subprotocol = SUBPROTOCOL
    actions = {"Boot": "out", "Heartbeat": "out", "Authorize": "out", "Status": "out",
               "Start": "out", "Sample": "out", "Stop": "out", "Alert": "out", "Values": "out",
               "Get": "in", "Ask": "in", "Crash": "in", "BadAnswer": "in"}

    def __init__(self) -> None:
        self.vendor = "Example"
        self.broken_on: set[int] = set()
        self.two_calls = False

    def calls(self, item: Any, ctx: RenderContext) -> tuple[Call, ...]:
        match item:
            case AnnounceBoot():
                return (Call("Boot", {"vendor": self.vendor}),)
            case Heartbeat():
                return (Call("Heartbeat", {}),)
            case AuthorizeToken():
                return (Call("Authorize", {"idTag": item.token.value}),)
            case TransactionStarted():
                return (Call("Start", {"evse": item.evse, "wh": item.register_wh}),)
            case TransactionSampled() | TransactionEnded():
                return self._of_transaction(item, ctx)
            case SecurityEventRaised():
                return (Call("Alert", {"type": item.kind}),)
            case ClockSample():
                return (Call("Values", {}),)
            case _:
                return ()

    def sealed(self, item: Any, identity: str, ctx: RenderContext) -> None:
        return None

    def _of_transaction(self, item: TransactionSampled | TransactionEnded, ctx: RenderContext
                        ) -> tuple[Call, ...]:
        if item.register_wh in self.broken_on:
            raise ZeroDivisionError("nobody thought of this")
        assert item.session is not None
        alias = ctx.alias(item.session)
        if alias is None:
            raise Unready
        action = "Sample" if isinstance(item, TransactionSampled) else "Stop"
        call = Call(action, {"id": alias, "wh": item.register_wh})
        return (call, call) if self.two_calls else (call,)

    def events(self, item: Any, call: Call, outcome: Outcome, ctx: RenderContext
               ) -> tuple[Event, ...]:
        good = outcome.payload if isinstance(outcome, Result) else None
        match item:
            case AnnounceBoot() if good is not None:
                return (RegistrationAnswered(Registration(good["status"]), good["interval"],
                                             "2026-05-01T00:00:00Z"),)
            case AuthorizeToken():
                if good is None:
                    return (NoVerdict(item.ask),)
                info = TokenInfo(TokenStatus(good["status"]))
                return (AuthorizationAnswered(item.ask, item.token, info, TokenSource.CSMS),)
            case TransactionStarted() if good is not None:
                assert item.session is not None
                return (AliasGiven(item.session, good["id"]),)
        return ()

    def settles(self, item: Any, outcome: Outcome) -> bool:
        return (isinstance(item, SecurityEventRaised) and isinstance(outcome, CallError)
                and outcome.code in ("NotImplemented", "NotSupported"))

    def request(self, call: Call, ctx: RenderContext) -> Request | Result | CallError:
        match call.action:
            case "Get":
                return Result({"registration": ctx.registration.value})
            case "Crash":
                raise KeyError("a mistake of the translator")
            case "BadAnswer":
                return Result({"bad": 1})
        return PresenceRequested(ctx.new_request())

    def reply(self, call: Call, reply: Reply, ctx: RenderContext) -> Result | CallError:
        return Result({"status": reply.outcome.value})

    def statuses(self, picture: StationPicture, ctx: RenderContext) -> tuple[StatusReport, ...]:
        """The waiting token spells the status of connector 1; connector 0 is Available."""
        word = picture.waiting_token.value if picture.waiting_token else "Available"
        return (StatusReport(None, 0, "Available"), StatusReport(1, 1, word))

    def status_call(self, report: StatusReport, at: Now, ctx: RenderContext) -> Call:
        return Call("Status", {"connector": report.connector, "status": report.status})

    def status_place(self, evse: int | None, connector: int, layout: Any) -> Any:
        return evse, connector

    def check(self, action: str, payload: Any, *, response: bool, ours: bool) -> CallError | None:
        if "bad" in payload:
            return CallError("TypeConstraintViolation", "bad")
        return None

    def error_code(self, kind: str) -> str:
        return {"not_implemented": "NotImplemented", "not_supported": "NotSupported",
                "internal": "InternalError", "format": "FormationViolation"
                }.get(kind, "GenericError")


class MemorySocket:
    """The station's end. The test is the other end: `say`, `heard`, `drop`."""

    def __init__(self, subprotocol: str | None = SUBPROTOCOL) -> None:
        self.subprotocol = subprotocol
        self.heard: list[list[Any]] = []
        self.pongs = True
        self.pings = 0
        self.closed: tuple[int, str] | None = None
        self.dead = False  # sending fails, but nothing comes in to say so
        self.on_frame: Callable[[list[Any]], None] = lambda frame: None
        self._in: asyncio.Queue[str | bytes | None] = asyncio.Queue()

    def say(self, frame: Any) -> None:
        raw = isinstance(frame, str | bytes)
        self._in.put_nowait(frame if raw else json.dumps(frame))

    def drop(self) -> None:
        self._in.put_nowait(None)

    async def recv(self) -> str | bytes:
        text = await self._in.get()
        if text is None or self.closed:
            raise ConnectionLost(1006, "dropped")
        return text

    def listen(self, ear: Callable[[str], bool] | None) -> None:
        """All is told by `recv`."""

    async def send(self, text: str) -> None:
        if not self.send_now(text):
            raise ConnectionLost(1006, "closed")

    def send_now(self, text: str) -> bool:
        if self.closed or self.dead:
            return False
        frame = json.loads(text)
        self.heard.append(frame)
        self.on_frame(frame)
        return True

    async def ping(self) -> Awaitable[object]:
        self.pings += 1
        pong: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if self.pongs:
            pong.set_result(0.0)
        return pong

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = (code, reason)
        self._in.put_nowait(None)


Rule = Callable[[list[Any]], Any]


class Central:
    """A central system that answers calls. `rules[action]`: function of the frame giving a payload,
    a CallError, or None for silence; several in a list are used up one by one, the last stays."""

    def __init__(self) -> None:
        self.sockets: list[MemorySocket] = []
        self.refusals: deque[ConnectRefused] = deque()
        self.asked: list[tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]] = []
        self.connected_at: list[float] = []
        self.subprotocol: str | None = SUBPROTOCOL
        self.on_connect: Callable[[MemorySocket], None] = lambda socket: None
        self.rules: dict[str, Any] = {
            "Boot": {"status": "accepted", "interval": 300}, "Heartbeat": {}, "Status": {},
            "Start": {"id": 7}, "Sample": {}, "Stop": {}, "Alert": {}, "Values": {},
            "Authorize": {"status": "Accepted"}}
        self.calls: list[list[Any]] = []
        self.answers: list[list[Any]] = []

    @property
    def socket(self) -> MemorySocket:
        return self.sockets[-1]

    def said(self, *actions: str) -> list[str]:
        """The actions of the station's calls in order, or the payloads of one action."""
        return [frame[2] for frame in self.calls if not actions or frame[2] in actions]

    def payloads(self, action: str) -> list[dict[str, Any]]:
        return [frame[3] for frame in self.calls if frame[2] == action]

    async def connect(self, url: str, subprotocols: Sequence[str],
                      headers: Sequence[tuple[str, str]], ssl: Any) -> MemorySocket:
        self.asked.append((url, tuple(subprotocols), tuple(headers)))
        self.connected_at.append(asyncio.get_running_loop().time())
        if self.refusals:
            raise self.refusals.popleft()
        socket = MemorySocket(self.subprotocol)
        socket.on_frame = lambda frame: self._heard(socket, frame)
        self.sockets.append(socket)
        self.on_connect(socket)
        return socket

    def _heard(self, socket: MemorySocket, frame: list[Any]) -> None:
        if frame[0] != 2:
            self.answers.append(frame)
            return
        self.calls.append(frame)
        rule = self.rules.get(frame[2])
        if isinstance(rule, list):
            rule = rule.pop(0) if len(rule) > 1 else rule[0]
        if callable(rule):
            rule = rule(frame)
        if isinstance(rule, CallError):
            socket.say([4, frame[1], rule.code, rule.description, {}])
        elif rule is not None:
            socket.say([3, frame[1], rule])


class World:
    """A link, its surroundings, and what it posted."""

    def __init__(self, **texts: str) -> None:
        self.settings = Settings()
        for name, text in texts.items():
            self.set(name.replace("__", "."), text)
        self.books = Books()
        self.central = Central()
        self.dialect = TinyDialect()
        self.events: list[Event] = []
        self.on_event: Callable[[Event], None] = lambda event: None
        self.requests = 0
        self.status = "Available"
        self.tap = FrameTap()
        self.choices = Choices("ws://csms.example/ocpp", "CP 1")
        self.link = Link(
            dialects=(self.dialect,), journal=self.books, context=self._context, post=self._posted,
            now=self.now, settings=lambda: self.settings, connector=self.central,
            itinerary=Itinerary(lambda: self.choices), tap=self.tap, rng=random.Random(5))

    def set(self, name: str, text: str) -> None:
        self.settings = self.settings.with_text(name, text)

    def now(self) -> Now:
        return moment(asyncio.get_running_loop().time())

    def picture(self, status: str | None = None) -> StationPicture:
        self.status = status or self.status
        return StationPicture(self.now(), True, True, Registration.ACCEPTED, True, (), (),
                              IdToken(self.status))

    def show(self, status: str) -> None:
        self.link.picture(self.picture(status))

    def _posted(self, event: Event) -> None:
        self.events.append(event)
        self.on_event(event)

    def _context(self, dialect: Any) -> RenderContext:
        return RenderContext(
            now=self.now(), settings=self.settings, layout=StationLayout((EvseLayout(1),)),
            identity=StationIdentity("Example", "One"), picture=self.picture(),
            registration=self.link.state.registration, alias=self.books.aliases.get,
            session_of=lambda csms_id: None, session_facts=lambda session: (),
            told_at=lambda at: at.utc.isoformat(), new_request=self._draw, book=BOOK)

    def _draw(self) -> RequestId:
        self.requests += 1
        return RequestId(Origin.CSMS, self.requests)

    def links(self) -> list[tuple[bool, str]]:
        return [(one.online, one.registration.value) for one in self.events
                if isinstance(one, LinkChanged)]

    def posted(self, kind: type[Event]) -> list[Event]:
        return [one for one in self.events if isinstance(one, kind)]


async def running(world: World, story: Callable[[], Awaitable[None]]) -> None:
    """Run the link as long as the story lasts."""
    link = asyncio.create_task(world.link.run())
    try:
        await story()
        assert not link.done(), link
    finally:
        link.cancel()
        await asyncio.gather(link, return_exceptions=True)
