"""One lane of facts: the head of the books is told, answered, settled; only then the next one.

Decides when a fact is sent again, when it is given up, and what follows from that. The books keep
order and count; the dialect words. Source: OCPP 1.6 section 3.7, 16.OFF.2 to 5, 16.TX.6.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from cpctl.core.events import Event, FactAbandoned
from cpctl.core.facts import (
    Fact,
    TransactionChanged,
    TransactionEnded,
    TransactionSampled,
    TransactionStarted,
)
from cpctl.core.settings import Settings
from cpctl.dialects.base import (
    AliasGiven,
    Call,
    CallError,
    Disconnected,
    Outcome,
    RenderContext,
    Result,
    TimedOut,
    Unready,
)
from cpctl.link.desk import Broken, Desk, Letter, message_id, name_space
from cpctl.store.errors import StoreError

if TYPE_CHECKING:
    from cpctl.store.entries import Entry
    from cpctl.store.entries import Lane as BookLane

log = logging.getLogger(__name__)

NO_ALIAS = -1  # 16.TX.6: what goes out for a transaction whose id never came
BOOKS_PAUSE_S = 5.0  # between tries to write a mark while the books cannot be written
LONGEST_RETRY_S = 3600.0  # between tries of a fact that is tried for ever
SHORTEST_RETRY_S = 1.0
SAME_SURROUNDINGS_S = 0.1

Alias = tuple[int, str, int | str]
Work = Callable[[], Awaitable[object]]
_TRANSACTION = (TransactionStarted, TransactionChanged, TransactionSampled, TransactionEnded)


class Books(Protocol):
    """The journal, as far as delivery needs it."""

    @property
    def book(self) -> str: ...
    def head(self, lane: BookLane) -> Entry | None: ...
    def upcoming(self, lane: BookLane, n: int) -> Sequence[Entry]: ...
    async def settle(self, no: int, alias: Alias | None = None) -> None: ...
    def settle_now(self, no: int) -> bool: ...
    async def part_settled(self, no: int, calls: int) -> None: ...
    async def fail(self, no: int) -> int: ...
    async def abandon(self, no: int, reason: str, alias: Alias | None = None) -> None: ...
    async def mark_offline(self) -> None: ...


class FactLane:
    """Delivers one lane of the journal in strict order."""

    def __init__(self, lane: BookLane, books: Books, *, desk: Callable[[], Desk],
                 settings: Callable[[], Settings], post: Callable[[Event], None],
                 for_ever: bool) -> None:
        """`for_ever`: with `link.attempts` 0 it is tried without end (E-41)."""
        self._lane = lane
        self._books = books
        self._book = books.book
        self._space = name_space(books.book)
        self._desk = desk
        self._settings = settings
        self._post = post
        self._for_ever = for_ever
        self._ahead: Letter | None = None
        self._ctx: RenderContext | None = None
        self._ctx_s = 0.0
        self._now_s = 0.0
        self._waits_no = 0
        self._waits_until_s = 0.0
        self._tries_unwritten: dict[int, int] = {}
        self._unwritten: Work | None = None
        self._due_s: float | None = None

    def due_s(self) -> float | None:
        return self._due_s

    @property
    def idle(self) -> bool:
        return False

    @property
    def ready(self) -> bool:
        """Whether something could go out without waiting for a retry."""
        return self._books.head(self._lane) is not None and self._due_s is None

    def changed_dialect(self) -> None:
        """What was made ready is in the wrong words now."""
        self._ahead = self._ctx = None

    async def next(self, now_s: float) -> Letter | None:
        self._due_s = None
        self._now_s = now_s
        if self._unwritten is not None and not await self._write_again(now_s):
            return None
        seen = 0
        while (entry := self._books.head(self._lane)) is not None:
            if entry.no == self._waits_no and now_s < self._waits_until_s:
                self._due_s = self._waits_until_s
                return None
            if entry.no == seen:
                self._hold(entry.no, now_s + BOOKS_PAUSE_S)
                log.error("fact %s stays at the head of the books though it is done", seen)
                return None
            seen = entry.no
            made = self._take_ahead(entry) or self._rendered(entry)
            if isinstance(made, Letter):
                return made
            await self._done_unsent(entry, made, now_s)
            if self._unwritten is not None:
                return None
        return None

    def sent(self, letter: Letter) -> None:
        """Render the fact behind the one that is on its way, while its answer is waited for."""
        self._ahead = None
        if not letter.last:
            return
        behind = self._books.upcoming(self._lane, 2)
        if len(behind) == 2 and letter.entry is not None and behind[0].no == letter.entry.no:
            made = self._rendered(behind[1], ahead=True)
            if isinstance(made, Letter):
                self._ahead = made

    async def done(self, letter: Letter, outcome: Outcome, now_s: float) -> None:
        self._now_s = now_s
        match outcome:
            case Result():
                await self._told(letter, outcome, now_s)
            case CallError():
                if self._desk().settles(letter.item, outcome):
                    await self._told(letter, outcome, now_s)
                else:
                    await self._failed(letter, f"{outcome.code} {outcome.description}", now_s)
            case TimedOut():
                await self._failed(letter, "no answer", now_s)
            case Disconnected():
                if self._settings().flag("queue.count_disconnect"):
                    await self._failed(letter, "the link was lost", now_s)

    def told_now(self, letter: Letter, outcome: Result, now_s: float) -> bool:
        """`done`, when nothing follows from the answer but a mark that may be written later;
        False: nothing was done."""
        if not letter.last or letter.entry is None or self._unwritten is not None:
            return False
        self._now_s = now_s
        return ((letter.plain or not self._events(letter, outcome))
                and self._books.settle_now(letter.entry.no))

    def ahead(self) -> Letter | None:
        """The letter made ready, if it may go now; it is the caller's, or `keep` takes it back."""
        entry = self._books.head(self._lane)
        if entry is None or entry.no == self._waits_no:
            return None
        return self._take_ahead(entry)

    def keep(self, letter: Letter) -> None:
        """It could not go out."""
        self._ahead = letter

    def unproved(self, letter: Letter, now_s: float) -> None:
        """No answer, and no sign of life either: no attempt, but no hurry (16.OFF.4)."""
        if letter.entry is not None:
            wait_s = max(SHORTEST_RETRY_S, float(self._settings().integer("link.retry_s")))
            self._hold(letter.entry.no, now_s + wait_s)

    async def late(self, letter: Letter, outcome: Outcome) -> None:
        """A late answer still settles its fact, and a late id is not lost (16.RPC.6)."""
        entry = letter.entry
        if entry is None or not isinstance(outcome, Result):
            return
        head = self._books.head(self._lane)
        if head is not None and head.no == entry.no and head.calls_settled == letter.index:
            log.info("fact %s: a late answer still counts", entry.no)
            self._waits_no = 0
            await self._told(letter, outcome, 0.0)
            return
        events = self._events(letter, outcome)
        alias = _alias_in(events, self._desk().dialect.name)
        if alias is not None:
            log.warning("fact %s: its answer came after it was given up; the id is kept", entry.no)
            await self._write(lambda: self._books.settle(entry.no, alias), 0.0)
            self._tell(events)

    # --- rendering ---------------------------------------------------------------------------

    def _take_ahead(self, entry: Entry) -> Letter | None:
        letter, self._ahead = self._ahead, None
        if letter is None or letter.entry is None or letter.entry.no != entry.no:
            return None
        return letter if letter.index == entry.calls_settled else None

    def _rendered(self, entry: Entry, *, ahead: bool = False) -> Letter | Broken | None:
        """The letter; None when this dialect has nothing to say of the fact."""
        desk = self._desk()
        ctx = self._surroundings(desk)
        fact = _as_it_goes_out(entry)
        identity = self._identity(entry, desk)
        made = desk.sealed_at_once(fact, identity, ctx) if not entry.calls_settled else None
        if made is not None:
            call, text = made
            return Letter(self, fact, (call,), 0, identity, text, entry, plain=True)
        try:
            calls = desk.calls(fact, ctx)
        except Unready:
            if ahead:
                return None
            calls = self._without_id(desk, fact, ctx)
        if isinstance(calls, Broken):
            return calls
        if entry.calls_settled >= len(calls):
            return None
        frame = desk.sealed(calls[entry.calls_settled], identity)
        if isinstance(frame, Broken):
            return frame
        return Letter(self, fact, calls, entry.calls_settled, identity, frame, entry)

    def _identity(self, entry: Entry, desk: Desk) -> str:
        """The same for each attempt at the next call of a fact."""
        space = name_space(entry.book) if entry.book != self._book else self._space
        return message_id(space, f"{entry.no}.{entry.calls_settled}.{desk.dialect.name}")

    def _without_id(self, desk: Desk, fact: Fact, ctx: RenderContext
                    ) -> tuple[Call, ...] | Broken:
        """All before it is settled and yet there is no id: it never comes (16.TX.6)."""
        known = ctx.alias

        def alias(session: int) -> int | str | None:
            one = known(session)
            return NO_ALIAS if one is None else one

        try:
            return desk.calls(fact, replace(ctx, alias=alias))
        except Unready:
            return Broken(f"{type(fact).__name__} waits for what never comes")

    # --- what comes of it --------------------------------------------------------------------

    async def _done_unsent(self, entry: Entry, made: Broken | None, now_s: float) -> None:
        if made is None:
            await self._write(lambda: self._books.settle(entry.no), now_s)
        else:
            await self._give_up(entry, made.reason, now_s)

    async def _told(self, letter: Letter, outcome: Outcome, now_s: float) -> None:
        entry = letter.entry
        assert entry is not None
        events = self._events(letter, outcome)
        alias = _alias_in(events, self._desk().dialect.name)
        if letter.last:
            await self._write(lambda: self._books.settle(entry.no, alias), now_s)
        else:
            await self._write(lambda: self._books.part_settled(entry.no, letter.index + 1), now_s)
        self._tell(events)

    def _events(self, letter: Letter, outcome: Outcome) -> tuple[Event, ...]:
        desk = self._desk()
        return desk.events(letter.item, letter.call, outcome, self._surroundings(desk))

    def _surroundings(self, desk: Desk) -> RenderContext:
        """Made anew every `SAME_SURROUNDINGS_S`: a fact's words depend on nothing in it that
        changes but the ids, the time stamps and the other facts, and those it looks up itself."""
        if self._ctx is None or self._now_s - self._ctx_s > SAME_SURROUNDINGS_S:
            self._ctx, self._ctx_s = desk.context(), self._now_s
        return self._ctx

    def _tell(self, events: tuple[Event, ...]) -> None:
        for event in events:
            if not isinstance(event, AliasGiven):
                self._post(event)

    async def _failed(self, letter: Letter, why: str, now_s: float) -> None:
        entry = letter.entry
        assert entry is not None
        self._ahead = None
        attempts = await self._count(entry)
        limit = self._limit()
        if limit is not None and attempts >= limit:
            log.error("session=%s fact %s given up after %d attempts: %s; see cpctl journal",
                      entry.fact.session, entry.no, attempts, why)
            await self._give_up(entry, f"{letter.call.action}: {why}, {attempts} times", now_s)
            return
        wait_s = float(self._settings().integer("link.retry_s") * attempts)
        if limit is None:
            wait_s = min(max(wait_s, SHORTEST_RETRY_S), LONGEST_RETRY_S)
        log.warning("session=%s fact %s %s: %s; attempt %d, next in %.0f s",
                    entry.fact.session, entry.no, letter.call.action, why, attempts, wait_s)
        self._hold(entry.no, now_s + wait_s)

    async def _count(self, entry: Entry) -> int:
        try:
            return await self._books.fail(entry.no)
        except StoreError as error:
            log.error("an attempt cannot be counted in the books: %s", error)
            tries = self._tries_unwritten.get(entry.no, entry.attempts) + 1
            self._tries_unwritten = {entry.no: tries}
            return tries

    def _limit(self) -> int | None:
        """How many attempts there are; None: for ever."""
        settings = self._settings()
        limit = settings.integer("link.attempts")
        if limit > 0:
            return limit
        if not self._for_ever:
            return 3
        return None if settings.text("queue.zero_attempts") == "forever" else 1

    async def _give_up(self, entry: Entry, reason: str, now_s: float) -> None:
        """Set it aside. If its transaction has no id yet, none will come (16.TX.6)."""
        session = entry.fact.session
        desk = self._desk()
        alias: Alias | None = None
        if (session is not None and isinstance(entry.fact, TransactionStarted | TransactionChanged)
                and desk.context().alias(session) is None):
            alias = (session, desk.dialect.name, NO_ALIAS)
        self._ahead = None
        await self._write(lambda: self._books.abandon(entry.no, reason, alias), now_s)
        self._post(FactAbandoned(entry.no, session, reason))

    # --- the books ---------------------------------------------------------------------------

    def _hold(self, no: int, until_s: float) -> None:
        self._waits_no, self._waits_until_s = no, until_s
        self._due_s = until_s

    async def _write(self, work: Work, now_s: float) -> None:
        """Mark it in the books; if that fails the lane waits until it can be written."""
        try:
            await work()
        except StoreError as error:
            log.error("a delivery cannot be marked in the books, its lane waits: %s", error)
            self._unwritten = work
            self._waits_until_s = self._due_s = now_s + BOOKS_PAUSE_S

    async def _write_again(self, now_s: float) -> bool:
        if now_s < self._waits_until_s:
            self._due_s = self._waits_until_s
            return False
        work, self._unwritten = self._unwritten, None
        assert work is not None
        await self._write(work, now_s)
        return self._unwritten is None


def _as_it_goes_out(entry: Entry) -> Fact:
    """E11.FR.07: offline is also set on what was still waiting when the link went."""
    fact = entry.fact
    if entry.offline and isinstance(fact, _TRANSACTION) and not fact.offline:
        return replace(fact, offline=True)
    return fact


def _alias_in(events: tuple[Event, ...], dialect: str) -> Alias | None:
    for event in events:
        if isinstance(event, AliasGiven):
            return (event.session, dialect, event.csms_id)
    return None
