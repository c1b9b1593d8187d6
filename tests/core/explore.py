"""Exhaustive search: every reachable joint state of one EVSE times every event of an alphabet.

The invariants of the house are stated on a model of the world that is fed by the effects alone:
the coil, the books, the lock, the requests that wait for an answer. The core's own variables serve
only to tell states apart. Moments count by their order, not by their length.

    python tests/core/explore.py [SCOPE ...]        sizes and times of the searches
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cpctl.core import effects as ef
from cpctl.core import events as ev
from cpctl.core import facts as fa
from cpctl.core import rules
from cpctl.core.around import around
from cpctl.core.faults import FaultCode
from cpctl.core.now import NS_PER_S, Now, TimeQuality
from cpctl.core.settings import Settings, Value
from cpctl.core.state import Reservation, Station
from cpctl.core.station import new, next_deadline, step
from cpctl.core.values import (
    BootCause,
    EvseLayout,
    IdToken,
    Origin,
    Registration,
    RequestId,
    ResetKind,
    StationLayout,
    StopReason,
    TokenInfo,
    TokenSource,
    TokenStatus,
)
from hal.values import MeterReading, PilotState

BEGIN_NS = 1_000 * NS_PER_S
BEGIN = datetime(2026, 3, 1, 10, 0, 0, tzinfo=UTC)
GROUP = IdToken("GROUP")
ANNA, BERT, CARL = IdToken("ANNA"), IdToken("BERT"), IdToken("CARL")
REST_STEPS = 40  # so many deadlines and messages at most until nothing moves any more
ENERGY_WH = 5


class Broken(AssertionError):
    """An invariant does not hold; the message names it and the way there."""


@dataclass(frozen=True)
class Books:
    """The books as somebody sees who reads only what was recorded."""

    session: int | None = None
    last_session: int = 0
    started: fa.TransactionStarted | None = None
    ended: bool = False
    next_report: int = 0
    register_wh: int = 0
    latched: frozenset[FaultCode] = frozenset()


@dataclass(frozen=True)
class Model:
    """The world. `wire` are messages of the gate and the lock that the core has not seen yet."""

    coil: bool = False
    welds: bool = False
    locked: bool = True
    number: int = 0
    told: int = 0
    known_open: bool = True  # the core was told so, and nothing was closed since
    releasing: int = 0  # releases of ours whose number the core has not been told
    pilot: PilotState | None = None
    rcd_good: bool = True
    register_wh: int = 1000
    wire: tuple[ev.Event, ...] = ()
    locking: tuple[bool, ...] = ()
    asks: tuple[ef.Authorize, ...] = ()
    owed: frozenset[RequestId] = frozenset()
    requests: int = 0
    books: Books = Books()
    kept: tuple[tuple[str, str], ...] = ()
    records: tuple[tuple[str, ef.Kept], ...] = ()
    restart: bool = False
    clearing: bool = False
    online: bool = True
    failing: bool = False
    garbled: bool = False  # the last reading was; twice running nobody could tell


@dataclass(frozen=True)
class Node:
    station: Station
    model: Model
    mono_ns: int


Action = tuple[str, Callable[[Node], "Node | None"]]


@dataclass(frozen=True)
class Scope:
    """An alphabet with its surroundings; the search is exhaustive within it."""

    name: str
    alphabet: tuple[str, ...]
    settings: dict[str, Value] = field(default_factory=dict)
    has_lock: bool = True


_HOLDING = (StopReason.DEAUTHORIZED, StopReason.EV_DISCONNECTED)


@dataclass
class Found:
    states: int = 0
    transitions: int = 0
    at_rest: int = 0
    charging: int = 0
    powers: set[str] = field(default_factory=set)


def now_of(node: Node, boot: str = "boot") -> Now:
    utc = BEGIN + timedelta(microseconds=(node.mono_ns - BEGIN_NS) // 1000)
    return Now(node.mono_ns, boot, utc, TimeQuality.NTP)


# --- the world follows the effects ---------------------------------------------------------------


def carried_out(model: Model, effects: Iterable[ef.Effect], event: ev.Event) -> Model:
    """The world after the effects of one step, in the order of law 3. Checks as it goes."""
    effects = list(effects)
    for effect in effects:
        if isinstance(effect, ef.ReleasePower):
            model = _released(model)
    for effect in effects:
        if isinstance(effect, ef.Record):
            model = replace(model, books=booked(model.books, effect.fact, event, model))
        elif isinstance(effect, ef.SaveRegister):
            model = replace(model, books=_register_saved(model, effect))
    for effect in effects:
        model = _acted(model, effect)
    return model


def _released(model: Model) -> Model:
    number = model.number + 1
    welded = model.welds
    return replace(model, coil=False, number=number, releasing=model.releasing + 1, wire=(
        *model.wire, ev.ReleaseNumbered(1, number), ev.ContactorReported(1, welded, welded)))


def _acted(model: Model, effect: ef.Effect) -> Model:
    match effect:
        case ef.EnergisePower(after=after):
            return _energised(model, after)
        case ef.TestContactor(after=after):
            return _tested(model, after)
        case ef.LockPlug():
            return replace(model, locking=(True,))
        case ef.UnlockPlug():
            _require(model.known_open, 1, "unlocked while power may flow")
            _require(FaultCode.CONTACTOR_WELDED not in model.books.latched, 1, "unlocked a weld")
            return replace(model, locked=False, locking=(False,))
        case ef.Authorize():
            return replace(model, asks=(*model.asks, effect))
        case ef.Answer(request=request):
            _require(request in model.owed, 5, f"answered {request}, which nobody waits for")
            return replace(model, owed=model.owed - {request})
        case ef.Keep(key=key, value=value):
            rest = tuple(pair for pair in model.kept if pair[0] != key)
            return replace(model, kept=rest if value is None else tuple(
                sorted((*rest, (key, value)))))
        case ef.KeepRecord(key=key, record=record):
            others = tuple(pair for pair in model.records if pair[0] != key)
            return replace(model, records=others if record is None else (
                *others, (key, record)))
        case ef.RestartStation():
            return replace(model, restart=True)
        case _:
            return model


def _energised(model: Model, after: int) -> Model:
    """Invariant 2: an order to close that does not know the last release told to the core."""
    _require(not model.releasing, 2, "ordered on before the release was numbered")
    _require(after >= model.told, 2, "ordered on with the number of an older release")
    if after != model.number:
        return replace(model, wire=(*model.wire, ev.EnergiseRefused(1, model.number,
                                                                    ("stale",))))
    return replace(model, coil=True, known_open=False, wire=(
        *model.wire, ev.ContactorReported(1, closed=True)))


def _tested(model: Model, after: int) -> Model:
    """A contactor test, begun and over between two words of the gate."""
    _require(not model.coil and not model.releasing, 1, "tested a path that is in use")
    _require(model.books.session is None, 1, "tested while a session is open")
    empty = model.pilot in (PilotState.A, PilotState.F)
    why = () if after == model.number and empty else ("stale" if empty else "plugged",)
    if why:
        return replace(model, wire=(*model.wire, ev.ContactorTested(1, model.number, why)))
    number = model.number + 1
    return replace(model, number=number, wire=(
        *model.wire, ev.PowerReleased(1, number, ("contactor_test",)),
        ev.ContactorReported(1, closed=False), ev.ContactorTested(1, number, (), 20.0, 20.0)))


def booked(books: Books, fact: fa.Fact, event: ev.Event, model: Model) -> Books:
    """Invariant 4, fact by fact."""
    match fact:
        case fa.SessionOpened(session=session):
            _require(books.session is None, 4, "two sessions open on one EVSE")
            _require(not model.failing, 4, "a session opened though the books cannot be written")
            _require(session is not None and session > books.last_session, 4, "number used twice")
            return replace(books, session=session, last_session=session or 0, started=None,
                           ended=False, next_report=0, register_wh=0)
        case fa.SessionClosed(session=session):
            _require(books.session == session, 4, "closed a session that is not open")
            _require(books.started is None or books.ended, 4, "closed before its end")
            return replace(books, session=None, started=None)
        case fa.FaultLatched(code=code):
            _require(code not in books.latched, 3, "latched twice")
            return replace(books, latched=books.latched | {code})
        case fa.FaultUnlatched(code=code):
            _require(isinstance(event, ev.ClearFaultRequested), 3, "nobody declared it mended")
            return replace(books, latched=books.latched - {code})
        case fa.TransactionStarted():
            return _started(books, fact, model)
        case _:
            return _followed(books, fact, model)


def _started(books: Books, fact: fa.TransactionStarted, model: Model) -> Books:
    _require(books.session == fact.session, 4, "started in no open session")
    _require(books.started is None, 4, "started twice")
    _require(fact.report == 0, 4, "the first report is 0")
    kept = [one for _, one in model.records if isinstance(one, Reservation)]
    _require(all(fact.token == one.token or one.group for one in kept), 7, "let a stranger in")
    _require(not kept or fact.reservation == kept[0].id, 7, "forgot what it uses up")
    _require(fact.register_wh == model.register_wh, 4, "began with another register")
    return replace(books, started=fact, next_report=1, register_wh=fact.register_wh)


def _followed(books: Books, fact: fa.Fact, model: Model) -> Books:
    if not isinstance(fact, fa.TransactionChanged | fa.TransactionSampled | fa.TransactionEnded):
        return books
    _require(books.session == fact.session and books.started is not None, 4, "of no transaction")
    _require(not books.ended, 4, "after its end")
    if fact.report is not None:
        _require(fact.report == books.next_report, 4,
                 f"report {fact.report} where {books.next_report} was due")
        books = replace(books, next_report=books.next_report + 1)
    if isinstance(fact, fa.TransactionChanged):
        return books
    _require(books.register_wh <= fact.register_wh <= model.register_wh, 4, "energy made up")
    if isinstance(fact, fa.TransactionEnded):
        _require(not model.coil, 4, "ended with the coil on")
    return replace(books, register_wh=fact.register_wh,
                   ended=isinstance(fact, fa.TransactionEnded))


def _register_saved(model: Model, effect: ef.SaveRegister) -> Books:
    books = model.books
    _require(books.session == effect.session and not books.ended, 4, "saved for no transaction")
    _require(books.register_wh <= effect.register_wh <= model.register_wh, 4, "energy made up")
    return replace(books, register_wh=effect.register_wh)


def _require(holds: bool, invariant: int, words: str) -> None:
    if not holds:
        raise Broken(f"invariant {invariant}: {words}")


def check(model: Model, scope: Scope) -> None:
    """Invariants 1 and 3 on the world as it is now."""
    if not model.coil:
        return
    _require(model.pilot is PilotState.C, 1, f"coil on with pilot {model.pilot}")
    _require(model.locked or not scope.has_lock, 1, "coil on, plug not locked")
    _require(model.rcd_good, 1, "coil on with a stopping fault")
    _require(FaultCode.CONTACTOR_WELDED not in model.books.latched, 3, "coil on after a weld")
    _require(model.books.session is not None, 1, "coil on without a session in the books")
    _require(not model.failing, 1, "coil on though the books cannot be written")


# --- what may happen -----------------------------------------------------------------------------


class Search:
    """Breadth-first over the joint states of a scope."""

    def __init__(self, scope: Scope, most: int = 15_000) -> None:
        self.scope = scope
        self.most = most
        self.settings = Settings({"sampling.interval_s": 0, "session.plug_timeout_s": 0,
                                  **scope.settings})
        self.layout = StationLayout((EvseLayout(
            1, has_lock=scope.has_lock, inputs=("rcd",)),))
        self.found = Found()
        self._rested: set[tuple[object, ...]] = set()
        self.actions: dict[str, Callable[[Node], Node | None]] = {
            **{f"pilot {state.value}": self._pilot_action(state) for state in PilotState},
            "tap anna": lambda node: self._tap(node, ANNA),
            "tap bert": lambda node: self._tap(node, BERT),
            "yes": lambda node: self._judge(node, TokenStatus.ACCEPTED),
            "no": lambda node: self._judge(node, TokenStatus.INVALID),
            "word": self._word,
            "words": self._words,
            "lock ok": lambda node: self._lock(node, jams=False),
            "lock jams": lambda node: self._lock(node, jams=True),
            "meter": self._meter,
            "meter garbage": self._garbage,
            "wait": self._wait,
            "trip": self._trip,
            "weld": self._weld,
            "rcd": self._rcd,
            "verdict": self._verdict,
            "books fail": lambda node: self._journal(node, failing=True),
            "books mend": lambda node: self._journal(node, failing=False),
            "cut": lambda node: self._cut(node, BootCause.POWER_LOSS),
            "kill": lambda node: self._cut(node, BootCause.CRASH),
            "shutdown": lambda node: self._step(node, ev.ShutdownRequested()),
            "remote start": lambda node: self._request(node, ev.StartRequested, token=ANNA,
                                                       evse=1),
            "remote stop": self._remote_stop,
            "unlock": lambda node: self._request(node, ev.UnlockRequested, evse=1),
            "inoperative": lambda node: self._request(
                node, ev.AvailabilityRequested, operative=False, evse=1),
            "operative": lambda node: self._request(
                node, ev.AvailabilityRequested, operative=True),
            "clear": lambda node: self._request(node, ev.ClearFaultRequested, evse=1),
            "contactor test": lambda node: self._request(
                node, ev.ContactorTestRequested, evse=1),
            "reserve": lambda node: self._reserve(node, group=None),
            "reserve for group": lambda node: self._reserve(node, group=GROUP),
            "cancel": lambda node: self._request(node, ev.CancelReservationRequested, id=1),
            "stranger": lambda node: None if node.model.asks else self._request(
                node, ev.StartRequested, token=CARL, evse=1),
            "reset": lambda node: self._request(node, ev.ResetRequested, kind=ResetKind.SOFT),
        }

    def run(self) -> Found:
        first = self._boot(Node(new(self.layout), Model(locked=self.scope.has_lock), BEGIN_NS),
                           BootCause.FIRST)
        seen = {self._key(first): None}
        ways: deque[tuple[Node, tuple[str, ...]]] = deque([(first, ())])
        while ways:
            node, way = ways.popleft()
            if len(seen) > self.most:
                raise Broken(f"more than {self.most} states: the scope is too wide")
            self._count(node)
            for name, after in self._all_after(node, way):
                key = self._key(after)
                if key not in seen:
                    seen[key] = None
                    ways.append((after, (*way, name)))
            self._rests(node, way)
        self.found.states = len(seen)
        return self.found

    def _all_after(self, node: Node, way: tuple[str, ...]) -> Iterator[tuple[str, Node]]:
        names = ("restart",) if node.model.restart else self.scope.alphabet
        for name in names:
            try:
                after = self._restarted(node) if name == "restart" else self.actions[name](node)
                if after is None:
                    continue
                check(after.model, self.scope)
            except Broken as broken:
                raise Broken(f"{broken}; after {' > '.join((*way, name))}") from None
            self.found.transitions += 1
            yield name, after

    def _count(self, node: Node) -> None:
        self.found.charging += node.model.coil
        self.found.powers.add(node.station.evses[0].power.state.value)

    def _rests(self, node: Node, way: tuple[str, ...]) -> None:
        """Invariant 6 and the end of 5: left alone, all comes to rest and nobody waits."""
        passed: list[tuple[object, ...]] = []
        for _ in range(REST_STEPS):
            key = self._key(node)
            if key in self._rested:
                break
            passed.append(key)
            try:
                quiet = self._left_alone(node)
            except Broken as broken:
                raise Broken(f"{broken}; left alone after {' > '.join(way)}") from None
            if quiet is None:
                break
            node = quiet
        else:
            raise Broken(f"invariant 6: never at rest; after {' > '.join(way)}")
        self.found.at_rest += 1
        self._rested.update(passed)
        if self._left_alone(node) is None and node.model.owed:
            raise Broken(f"invariant 5: {node.model.owed} never answered; "
                         f"after {' > '.join(way)}")

    def _left_alone(self, node: Node) -> Node | None:
        if node.model.restart:
            return None
        for action in (self._word, lambda one: self._lock(one, jams=False), self._wait):
            after = action(node)
            if after is not None:
                return after
        return None

    # --- a step, and the key of a state ---

    def _step(self, node: Node, event: ev.Event) -> Node:
        try:
            station, effects = step(node.station, event, now_of(node), self.settings)
        except rules.Restless as restless:
            raise Broken("invariant 6: the rules do not come to rest") from restless
        return Node(station, carried_out(node.model, effects, event), node.mono_ns)

    def _with(self, node: Node, **changed: object) -> Node:
        return replace(node, model=replace(node.model, **changed))  # type: ignore[arg-type]

    def _key(self, node: Node) -> tuple[object, ...]:
        """What tells joint states apart: states and what is pending, not when and how much."""
        station, model = node.station, node.model
        evse = station.evses[0]
        plug, lock, claim, power, tx = (
            evse.plug, evse.lock, evse.claim, evse.power, evse.transaction)
        ahead = self._next_kind(node)
        books = model.books
        return (
            plug.pilot, plug.plugged, plug.expired, lock.state, lock.locked, lock.tries,
            claim.state, claim.token, claim.group, claim.until is None, claim.energy_until_wh,
            evse.second and evse.second.token, evse.holder, evse.session is None,
            tx.state, tx.reason in _HOLDING, tx.due is None, power.state, power.unnumbered,
            power.by is None, power.retry_at is None, evse.offering.offer.kind,
            tuple(sorted(fault.code.value for fault in evse.faults)), evse.service,
            len(evse.unlocks), len(evse.recovering), evse.meter.suspect is None,
            evse.meter.good is None or evse.meter.good_mono >= plug.since,
            tuple(fault.code for fault in station.faults), station.reset, station.shutdown,
            station.operative, ahead, evse.held,
            tuple((one.id, one.group) for one in station.reservations),
            model.coil, model.welds, model.locked, model.pilot, model.rcd_good,
            tuple((type(one), getattr(one, "welded", None)) for one in model.wire),
            model.locking, len(model.asks),
            len(model.owed), books.session is None, books.started is None, books.ended,
            books.latched, model.restart, model.failing, model.garbled,
            (books.register_wh or model.register_wh) == model.register_wh,
        )

    def _next_kind(self, node: Node) -> int | None:
        """Which of the deadlines comes next: their order is part of the state."""
        rest = around(node.station, now_of(node), self.settings)
        found: int | None = None
        least = None
        for kind, at in enumerate(rules.deadlines(
                node.station.evses[0], rest[1], self.settings)):
            if at is not None and at > node.mono_ns and (least is None or at < least):
                found, least = kind, at
        return found

    # --- the alphabet ---

    def _pilot_action(self, state: PilotState) -> Callable[[Node], Node | None]:
        def act(node: Node) -> Node | None:
            if node.model.pilot is state:
                return None
            node = self._with(node, pilot=state)
            return self._step(node, ev.PilotChanged(1, state))
        return act

    def _tap(self, node: Node, token: IdToken) -> Node | None:
        books = node.model.books
        if node.model.asks or (token is BERT and (books.started is None or books.ended)):
            return None  # Bert differs from Anna only where she began
        return self._step(node, ev.CardPresented("front", token))

    def _judge(self, node: Node, status: TokenStatus) -> Node | None:
        if not node.model.asks:
            return None
        ask, *others = node.model.asks
        node = self._with(node, asks=tuple(others))
        return self._step(node, ev.AuthorizationAnswered(
            ask.ask, ask.token, TokenInfo(status, GROUP), TokenSource.CSMS))

    def _word(self, node: Node) -> Node | None:
        """The oldest message of the gate reaches the core."""
        if not node.model.wire:
            return None
        message, *others = node.model.wire
        told, releasing = node.model.told, node.model.releasing
        if isinstance(message, ev.ReleaseNumbered):
            told, releasing = message.number, releasing - 1
        elif isinstance(message, ev.PowerReleased | ev.EnergiseRefused):
            told = message.number
        known_open = node.model.known_open
        if isinstance(message, ev.ContactorReported) and not node.model.coil:
            known_open = not message.closed
        node = self._with(node, wire=tuple(others), told=told, releasing=releasing,
                          known_open=known_open)
        return self._step(node, message)

    def _words(self, node: Node) -> Node | None:
        """All messages of the gate reach the core."""
        after = self._word(node)
        while after is not None and after.model.wire:
            after = self._word(after)
        return after

    def _lock(self, node: Node, *, jams: bool) -> Node | None:
        if not node.model.locking:
            return None
        locking, *others = node.model.locking
        locked = node.model.locked if jams and locking else locking or jams
        node = self._with(node, locking=tuple(others), locked=locked)
        return self._step(node, ev.LockReported(1, locked, jams))

    def _meter(self, node: Node) -> Node:
        register = node.model.register_wh + (ENERGY_WH if node.model.coil else 0)
        node = self._with(node, register_wh=register, garbled=False)
        return self._step(node, ev.MeterRead(1, MeterReading(register)))

    def _garbage(self, node: Node) -> Node | None:
        if node.model.garbled:
            return None
        wrong = MeterReading(node.model.register_wh // 2)
        return self._step(self._with(node, garbled=True), ev.MeterRead(1, wrong))

    def _wait(self, node: Node) -> Node | None:
        deadline = next_deadline(node.station, now_of(node), self.settings)
        if deadline is None:
            return None
        return self._step(replace(node, mono_ns=max(deadline, node.mono_ns)),
                          ev.DeadlineReached())

    def _trip(self, node: Node) -> Node | None:
        """The gate opens by itself."""
        if not node.model.coil:
            return None
        number = node.model.number + 1
        return self._with(node, coil=False, number=number, wire=(
            *node.model.wire, ev.PowerReleased(1, number, ("pilot_stale",)),
            ev.ContactorReported(1, node.model.welds, node.model.welds)))

    def _weld(self, node: Node) -> Node | None:
        return None if node.model.welds else self._with(node, welds=True)

    def _rcd(self, node: Node) -> Node:
        node = self._with(node, rcd_good=not node.model.rcd_good)
        return self._step(node, ev.InputChanged(1, "rcd", node.model.rcd_good))

    def _verdict(self, node: Node) -> Node | None:
        session = node.model.books.session
        if session is None or node.model.books.started is None:
            return None
        return self._step(node, ev.TransactionAnswered(
            session, TokenInfo(TokenStatus.BLOCKED), ANNA))

    def _journal(self, node: Node, *, failing: bool) -> Node | None:
        if node.model.failing is failing:
            return None
        node = self._with(node, failing=failing)
        return self._step(node, ev.JournalFailed("disk full") if failing
                          else ev.JournalRecovered())

    def _request(self, node: Node, request: type[ev.Request], **fields: object) -> Node | None:
        if len(node.model.owed) > 1:
            return None
        by_hand = (ev.ClearFaultRequested, ev.ContactorTestRequested)
        origin = Origin.LOCAL if request in by_hand else Origin.CSMS
        if origin is Origin.LOCAL and node.model.welds:
            node = self._with(node, welds=False, known_open=True)  # mended before
            node = self._step(node, ev.ContactorReported(1, closed=False))
        number = RequestId(origin, node.model.requests + 1)
        node = self._with(node, requests=number.number, owed=node.model.owed | {number})
        return self._step(node, request(number, **fields))  # type: ignore[arg-type]

    def _reserve(self, node: Node, group: IdToken | None) -> Node | None:
        """For Anna, for a minute; Carl, whom nobody asks about, is never let in."""
        if node.station.reservations:
            return None
        return self._request(node, ev.ReserveRequested, id=1, token=ANNA, group=group, evse=1,
                             expires=now_of(node).utc + timedelta(seconds=60))

    def _remote_stop(self, node: Node) -> Node | None:
        return self._request(node, ev.StopRequested, session=node.model.books.session or 99)

    # --- restarts ---

    def _boot(self, node: Node, cause: BootCause) -> Node:
        books = node.model.books
        now = now_of(node)
        node = self._step(node, ev.Booted(
            cause, books.last_session + 1, self._left_open(node, now),
            tuple((1, code) for code in books.latched), dict(node.model.kept),
            dict(node.model.records)))
        node = self._step(node, ev.LinkChanged(True, Registration.ACCEPTED))
        return self._step(node, ev.InputChanged(1, "rcd", node.model.rcd_good))

    def _left_open(self, node: Node, now: Now) -> tuple[ev.OpenSession, ...]:
        books = node.model.books
        if books.session is None:
            return ()
        started = books.started
        return (ev.OpenSession(
            books.session, 1, 1, started.token if started else None, started,
            books.register_wh if started else None, started.at if started else now,
            books.next_report, ended=_an_end(now, books) if books.ended else None),)

    def _cut(self, node: Node, cause: BootCause) -> Node:
        """The power goes, or the process: coils fall, only the books and what was kept remain."""
        model = replace(node.model, coil=False, number=0, told=0, releasing=0, wire=(),
                        known_open=True,
                        locking=(), asks=(), owed=frozenset(), restart=False, failing=False)
        fresh = Node(new(self.layout), model, node.mono_ns + NS_PER_S)
        fresh = self._boot(fresh, cause)
        pilot = model.pilot
        return fresh if pilot is None else self._step(fresh, ev.PilotChanged(1, pilot))

    def _restarted(self, node: Node) -> Node:
        return self._cut(node, BootCause.PLANNED)


def _an_end(now: Now, books: Books) -> fa.TransactionEnded:
    return fa.TransactionEnded(now, books.session, 1, 1, books.next_report, "", StopReason.LOCAL,
                               books.register_wh)


# --- the scopes ----------------------------------------------------------------------------------

_CAR = ("pilot A", "pilot B", "pilot C")
_DEVICES = ("words", "lock ok", "meter", "wait")
_TIMEOUT: dict[str, Value] = {"session.plug_timeout_s": 60}
SCOPES = (
    Scope("cards", (*_CAR, *_DEVICES, "tap anna", "tap bert", "yes", "no")),
    Scope("time-outs", (*_CAR, *_DEVICES, "tap anna", "yes", "remote start"), _TIMEOUT,
          has_lock=False),
    Scope("gate", (*_CAR, "word", "lock ok", "meter", "wait", "remote start", "remote stop",
                   "trip")),
    Scope("danger", (*_CAR, "pilot E", *_DEVICES, "remote start", "rcd", "lock jams")),
    Scope("weld", ("pilot A", "pilot C", *_DEVICES, "remote start", "weld", "inoperative",
                   "clear", "cut")),
    Scope("mended", ("pilot A", "pilot C", "words", "meter", "wait", "remote start", "weld",
                     "inoperative", "clear", "contactor test"), has_lock=False),
    Scope("tested", ("pilot A", "pilot C", "word", "meter", "wait", "remote start", "inoperative",
                     "operative", "contactor test"), has_lock=False),
    Scope("requests", (*_CAR, *_DEVICES, "remote start", "remote stop", "unlock",
                       "inoperative", "operative")),
    Scope("resets", (*_CAR, *_DEVICES, "remote start", "reset", "cut", "kill", "shutdown")),
    Scope("books", (*_CAR, "words", "meter", "wait", "remote start", "books fail", "books mend",
                    "meter garbage"), has_lock=False),
    Scope("unplug inside", (*_CAR, *_DEVICES, "remote start", "verdict", "remote stop"),
          {"session.stop_on_unplug": False}),
    Scope("invalid", (*_CAR, *_DEVICES, "tap anna", "yes", "verdict"),
          {"auth.stop_on_invalid": False, "auth.max_energy_on_invalid_wh": 5}),
    Scope("held cable", (*_CAR, *_DEVICES, "tap anna", "yes", "verdict", "unlock"),
          {"session.unlock_on_unplug": False}),
    Scope("reserved", ("pilot A", "pilot C", "words", "meter", "wait", "tap anna", "yes",
                       "reserve", "stranger", "cancel", "inoperative", "cut"), has_lock=False),
    Scope("reserved for a group", ("pilot A", "pilot C", "words", "meter", "wait", "stranger",
                                   "yes", "no", "reserve for group", "rcd"), _TIMEOUT,
          has_lock=False),
    Scope("fixed cable", (*_CAR, "pilot F", "words", "meter", "wait", "tap anna", "yes", "trip",
                          "rcd"), has_lock=False),
)


def search(name: str) -> Found:
    scope = next(one for one in SCOPES if one.name == name)
    return Search(scope).run()


if __name__ == "__main__":
    for one in SCOPES:
        if sys.argv[1:] and one.name not in sys.argv[1:]:
            continue
        begun = time.process_time()
        try:
            result = Search(one).run()
        except Broken as broken:
            print(f"{one.name:14} {broken}")
            continue
        print(f"{one.name:14} {result.states:6} states {result.transitions:7} transitions "
              f"{result.charging:5} with the coil on  {time.process_time() - begun:6.2f} s")
