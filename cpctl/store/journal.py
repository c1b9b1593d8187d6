"""The journal: every fact of the station, in order, and what the central system still has to hear.

Memory is the loop's, the file is the writer's. What is asked without `await` is answered from
memory. A change reaches the file first and memory then, except for delivery marks and attempts:
those reach memory at once and the file lazily (20 of them, 5 s, or the next commit).

Left to others: what a fact means (core), how it is told (dialects), when (link).
"""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from cpctl.core.effects import utc_text
from cpctl.core.events import OpenSession
from cpctl.core.facts import (
    Fact,
    FaultLatched,
    FaultUnlatched,
    SessionClosed,
    SessionOpened,
    TransactionEnded,
    TransactionSampled,
    TransactionStarted,
)
from cpctl.core.faults import FaultCode
from cpctl.core.now import Now
from cpctl.store import facts_json, ledger, queries, upkeep
from cpctl.store.caretaker import RETRY_S, Caretaker
from cpctl.store.dating import BootLine, Dating
from cpctl.store.db import Database, Writer
from cpctl.store.entries import (
    ABANDONED,
    DELIVERED,
    WAITING,
    Entry,
    EntryRow,
    Lane,
    Mark,
    OpenReport,
    SessionRow,
    Waiting,
    lane_of,
)
from cpctl.store.errors import FactUnwritable, JournalError, StoreError
from cpctl.store.lanes import Lanes
from cpctl.store.ledger import RowOf, Sweep, fact_row, mark_row
from cpctl.store.recovery import open_file
from cpctl.store.rows import ALIAS, BOOTS, DELIVERY, FACTS, META, REGISTER
from cpctl.store.sessions import SessionBook, open_session

log = logging.getLogger(__name__)

LAZY_MARKS = 20
LAZY_S = 5.0
SYNC_GRACE_S = 5.0  # the core saves the register at that very time: one sync is enough for both
QUIET_S = 900.0  # a log that nothing else empties is emptied after this
UPKEEP_COMMITS = 256
RETENTION_NS = 86_400 * 1_000_000_000


class Journal:
    """The books. Make one with `Journal.open`; all calls from the loop's thread."""

    def __init__(self, db: Database, writer: Writer, now: Callable[[], Now], report: OpenReport,
                 found: Sweep, *, max_bytes: int, retention_days: float, sample_sync_s: float
                 ) -> None:
        self._db, self._writer, self._now = db, writer, now
        self.report = report
        self.shedding: Callable[[int], None] = lambda count: None
        """Told how many samples were given up for the disk budget, each time."""
        self.book = found.meta["book"]
        self._max_bytes, self._retention_days = max_bytes, retention_days
        self._sample_sync_s = sample_sync_s
        self._next_no = found.top_no + 1
        self._next_session = found.top_session + 1
        self._shed = int(found.meta.get("shed", 0))
        self._floor = found.newest.utc if found.newest else None
        self._lanes = Lanes(found)
        self._latched = found.latched
        self._dating = Dating(found.boots.values())
        self._sessions = SessionBook(found)
        self._lazy: dict[tuple[str, object], RowOf] = {}
        self._refilling = asyncio.Lock()
        self._care = Caretaker(self._tend)
        self._dirty = self._commits = 0
        self._wants_checkpoint = False
        self._last_full_ns = self._last_commit_ns = 0
        self._last_retention_ns: int | None = None

    @classmethod
    async def open(cls, path: Path | str, writer: Writer, now: Callable[[], Now], *,
                   max_bytes: int = 256 << 20, retention_days: float = 90.0,
                   sample_sync_s: float = 300.0) -> "Journal":
        """The books at `path` (a file), checked whole; `report` tells what was found.

        Raises JournalError when they can neither be used nor begun afresh.
        """
        db, report, found = await writer.run(
            lambda: open_file(Path(path), ledger.KIND, writer.trace))
        journal = cls(db, writer, now, report, found, max_bytes=max_bytes,
                      retention_days=retention_days, sample_sync_s=sample_sync_s)
        journal._see(now())
        await journal._refill(also=tuple(found.open))
        journal._care.arm(LAZY_S)
        if report.damaged:
            log.error("%s; set aside as %s, %d rows brought over", report.reason,
                      report.set_aside, report.rows_saved)
        return journal

    # --- writing -----------------------------------------------------------------------------

    async def record(self, facts: Sequence[Fact]) -> tuple[int, ...]:
        """Write `facts` in one commit; their numbers. Raises JournalError: nothing was written.

        Samples alone go with the lower grade, unless the last full commit is `sample_sync_s`
        ago and no register was saved at that time.
        """
        now = self._now()
        lines = [self._see(fact.at) for fact in facts]
        nos = tuple(range(self._next_no, self._next_no + len(facts)))
        self._next_no += len(facts)
        rows = [(FACTS, fact_row(no, self.book, self._sessions.count(fact), fact))
                for no, fact in zip(nos, facts, strict=True)]
        for line in lines:
            self._keep_line(line)
        full = (not all(isinstance(fact, TransactionSampled) for fact in facts)
                or now.since(self._last_full_ns) >= self._sample_sync_s + SYNC_GRACE_S)
        await self._commit(rows, full=full, applied=lambda: self._learn(nos, facts))
        return nos

    def hold(self, facts: Sequence[Fact]) -> int:
        """While the file cannot be written: take facts into memory, where they are told in their
        order like all others, and write them with the next commit. How many were taken.

        Refused from the first on that opens something (it may not be told before it is durable)
        or that finds no place at the head of its lane; they and all behind them are for `record`.
        """
        taken = 0
        for fact in facts:
            lane = lane_of(fact)
            if isinstance(fact, SessionOpened | TransactionStarted) or (
                    lane is not None and not self._lanes.has_room(lane)):
                break
            no = self._next_no
            try:
                row = fact_row(no, self.book, self._sessions.count(fact), fact)
            except FactUnwritable:
                break
            self._next_no += 1
            self._keep_line(self._see(fact.at))
            self._put_lazily((FACTS, row))
            self._learn((no,), (fact,))
            taken += 1
        return taken

    async def write_held(self) -> None:
        """Put what `hold` took on the disk. Raises JournalError."""
        await self._commit([(META, ("shed", str(self._shed)))], full=True)

    async def save_register(self, session: int, register_wh: int, at: Now) -> None:
        """Keep the register of an open session, on the disk when this returns."""
        self._keep_line(self._see(at))
        row = (session, register_wh, at.boot, at.mono_ns, facts_json.utc_us(at.utc),
               at.quality.value)

        def applied() -> None:
            self._sessions.registers[session] = (register_wh, at)
            self._floor = at.utc

        await self._commit([(REGISTER, row)], full=True, applied=applied)

    def _learn(self, nos: Sequence[int], facts: Sequence[Fact]) -> None:
        for no, fact in zip(nos, facts, strict=True):
            self._floor = fact.at.utc
            previous = self._sessions.add(no, fact)
            if previous is not None:
                self._dating.follow(self._dating.told_us(previous), fact.at)
            self._lanes.add(no, fact, self.book)
            if isinstance(fact, FaultLatched):
                self._latched[fact.evse, fact.code] = None
            elif isinstance(fact, FaultUnlatched):
                self._latched.pop((fact.evse, fact.code), None)
            elif isinstance(fact, TransactionEnded | SessionClosed):
                self._wants_checkpoint |= isinstance(fact, TransactionEnded)
                self._forget_idle_sessions()
            if fact.session is not None:
                self._next_session = max(self._next_session, fact.session + 1)

    async def _commit(self, rows: Sequence[RowOf], *, full: bool,
                      applied: Callable[[], None] | None = None) -> None:
        """Write `rows` and all that waits lazily; memory learns of it on the loop's thread."""
        lazy, self._lazy = self._lazy, {}
        db = self._db

        def then(_: None, error: BaseException | None) -> None:
            if error is not None:
                self._lazy = lazy | self._lazy
                self._care.arm(RETRY_S)
                return
            for table, row in rows:
                self._lazy.pop((table.name, row[0]), None)
            self._committed(full=full)
            if applied is not None:
                applied()

        await self._writer.run(lambda: ledger.write(db, [*lazy.values(), *rows], full=full), then)

    def _committed(self, *, full: bool) -> None:
        self._last_commit_ns = self._now().mono_ns
        if full:
            self._last_full_ns = self._last_commit_ns
        self._dirty += 1
        self._commits += 1
        if self._commits % UPKEEP_COMMITS == 0:
            self._care.arm(0.0)
        else:
            self._care.arm(LAZY_S * 2 if self._wants_checkpoint else QUIET_S)

    def _put_lazily(self, row: RowOf) -> None:
        table, values = row
        self._lazy[table.name, values[0]] = row
        self._care.arm(LAZY_S)

    async def flush(self) -> None:
        """Hand what waits lazily to the file (lower grade). Raises JournalError."""
        if self._lazy:
            await self._commit([], full=False)

    async def close(self) -> None:
        """Write what waits and close the file. What cannot be written is told again, never lost."""
        await self._care.end()
        try:
            await self.flush()
        except StoreError as error:
            log.warning("journal: delivery marks not written at the end: %s", error)
        await self._writer.run(self._db.close)

    # --- lanes -------------------------------------------------------------------------------

    def head(self, lane: Lane) -> Entry | None:
        """The oldest fact of `lane` that waits."""
        return self._lanes.head(lane)

    def upcoming(self, lane: Lane, n: int) -> tuple[Entry, ...]:
        """The next `n` (up to 16 are always at hand), the head first."""
        return self._lanes.window(lane, n)

    async def settle(self, no: int, alias: tuple[int, str, int | str] | None = None) -> None:
        """The central system has the fact. With `alias` (session, dialect, its id): both in one
        full commit before this returns; without: lazily."""
        await self._end(no, DELIVERED, None, alias, full=alias is not None)

    def settle_now(self, no: int) -> bool:
        """As `settle` without alias where nothing is to be waited for; False: nothing was done."""
        if len(self._lazy) + 1 >= LAZY_MARKS or not self._lanes.are_at_hand():
            return False
        mark = self._lanes.delivered(no)
        self._put_lazily((DELIVERY, mark_row(no, mark)))
        self._ended(no, mark, None)
        return True

    async def abandon(self, no: int, reason: str,
                      alias: tuple[int, str, int | str] | None = None) -> None:
        """Give the fact up; it stays in the books with `reason`, and `retry` brings it back."""
        await self._end(no, ABANDONED, reason, alias, full=True)

    async def _end(self, no: int, state: str, reason: str | None,
                   alias: tuple[int, str, int | str] | None, *, full: bool) -> None:
        mark = self._lanes.mark(no).but(state=state, reason=reason)
        if full:
            rows: list[RowOf] = [(DELIVERY, mark_row(no, mark))]
            if alias is not None:
                session, dialect, csms_id = alias
                rows.append((ALIAS, (session, dialect, json.dumps(csms_id))))
            await self._commit(rows, full=True, applied=lambda: self._ended(no, mark, alias))
        else:
            self._put_lazily((DELIVERY, mark_row(no, mark)))
            self._ended(no, mark, None)
            if len(self._lazy) >= LAZY_MARKS:
                await self._flush_if_possible()
        await self._refill()

    def _ended(self, no: int, mark: Mark, alias: tuple[int, str, int | str] | None) -> None:
        if alias is not None:
            session, dialect, csms_id = alias
            self._sessions.aliases[session, dialect] = csms_id
        self._lanes.end(no, mark.state)
        if self._lanes.are_empty():
            self._forget_idle_sessions()

    async def part_settled(self, no: int, calls: int) -> None:
        """The first `calls` calls of the fact are done (lazily kept)."""
        self._change(no, self._lanes.mark(no).but(calls=calls))
        if len(self._lazy) >= LAZY_MARKS:
            await self._flush_if_possible()

    async def fail(self, no: int) -> int:
        """The central system failed to process the fact; how often now (lazily kept)."""
        mark = self._lanes.mark(no)
        self._change(no, mark.but(attempts=mark.attempts + 1))
        if len(self._lazy) >= LAZY_MARKS:
            await self._flush_if_possible()
        return mark.attempts + 1

    def _change(self, no: int, mark: Mark) -> None:
        self._lanes.change(no, mark)
        self._put_lazily((DELIVERY, mark_row(no, mark)))

    async def mark_offline(self) -> None:
        """The link went: all that waits counts as recorded offline (E11.FR.07)."""
        upto = self._next_no - 1
        self._lanes.mark_offline(upto)
        self._put_lazily((META, ("offline_upto", str(upto))))

    async def _flush_if_possible(self) -> None:
        try:
            await self.flush()
        except StoreError as error:  # the marks stay in memory and are tried again
            log.warning("journal: delivery marks not written: %s", error)

    async def _refill(self, also: Iterable[int] = ()) -> None:
        """Read ahead until each lane's window holds what `upcoming` promises."""
        also = frozenset(also)
        while also or self._lanes.wanted():
            async with self._refilling:
                wanted = self._lanes.wanted()
                db, have = self._db, frozenset(self._sessions.facts)
                try:
                    loaded = await self._writer.run(
                        lambda: ledger.load(db, wanted, have, also),  # noqa: B023 - runs now
                        self._fill)
                except StoreError as error:
                    log.error("journal: what waits cannot be read: %s", error)
                    self._care.arm(RETRY_S)
                    return
                also = frozenset()
                if not loaded.asked and not loaded.broken:
                    return

    def _fill(self, loaded: ledger.Loaded | None, error: BaseException | None) -> None:
        if loaded is None:
            return
        for no, why in self._lanes.take(loaded).items():
            log.error("journal: fact %d cannot be told and stays in the books: %s", no, why)
        self._sessions.take(loaded)
        self._forget_idle_sessions()
        self._dating.refollow(self._sessions.moments())

    def _forget_idle_sessions(self) -> None:
        """Hold the facts of a session only while it is open or one of its facts is at hand."""
        self._sessions.keep_only({entry.fact.session for entry in self._lanes.at_hand()})

    # --- questions -----------------------------------------------------------------------------

    def alias(self, session: int, dialect: str) -> int | str | None:
        """The central system's id of a session's transaction; None while unknown."""
        return self._sessions.aliases.get((session, dialect))

    def session_of(self, dialect: str, csms_id: int | str) -> int | None:
        """The session with that id: a running one, else the newest (ids may repeat)."""
        return self._sessions.session_of(dialect, csms_id)

    def facts_of(self, session: int) -> tuple[Fact, ...]:
        """All facts of a session that is open or at the head of a lane, in order."""
        return tuple(self._sessions.facts.get(session, {}).values())

    def open_sessions(self) -> tuple[OpenSession, ...]:
        """What is not closed in the books, oldest first."""
        return tuple(open_session(number, self.facts_of(number),
                                  self._sessions.registers.get(number), self._dating.order)
                     for number in sorted(self._sessions.open) if self.facts_of(number))

    @property
    def next_session(self) -> int:
        """The number of the next session; numbers never begin again in a book."""
        return self._next_session

    def latched(self) -> tuple[tuple[int | None, FaultCode], ...]:
        """Faults that were latched and not cleared."""
        return tuple(self._latched)

    def waiting(self) -> Waiting:
        """What the central system has not heard, and what was given up."""
        return self._lanes.waiting(self._shed)

    # --- time ----------------------------------------------------------------------------------

    @property
    def floor(self) -> datetime | None:
        """The last wall time the books know: it is later than that."""
        return self._floor

    async def save_floor(self) -> None:
        """Keep the present wall time (lower grade): for a station that records nothing."""
        at = self._now()
        self._keep_line(self._see(at))
        await self._commit([(REGISTER, (0, 0, at.boot, at.mono_ns, facts_json.utc_us(at.utc),
                                        at.quality.value))], full=False)
        self._floor = at.utc

    def told_at(self, at: Now) -> str:
        """The time stamp a moment gets in a report: RFC 3339, UTC, milliseconds, Z."""
        if self._dating.holds(at):
            return utc_text(at.utc)
        return utc_text(facts_json.moment_of(self._dating.told_us(at)))

    async def synchronised(self, now: Now) -> None:
        """The boot of `now` has trusted time from here on, or its clock was corrected."""
        line = self._dating.synchronised(now) or self._dating.seen(now)
        self._dating.refollow(self._sessions.moments())
        if line is not None:
            await self._commit([(BOOTS, line.row())], full=True)

    def _see(self, at: Now) -> BootLine | None:
        line = self._dating.seen(at)
        self._keep_line(line)
        return line

    def _keep_line(self, line: BootLine | None) -> None:
        if line is not None:
            self._lazy[BOOTS.name, line.ordinal] = (BOOTS, line.row())

    # --- upkeep --------------------------------------------------------------------------------

    async def _tend(self) -> None:
        """Write what is lazy, empty the log when nothing is charged, keep to time and space."""
        await self.flush()
        await self._refill()
        await self._keep_to_limits()
        await self._checkpoint_when_idle()

    async def _checkpoint_when_idle(self) -> None:
        quiet = self._now().since(self._last_commit_ns) >= QUIET_S
        if not self._dirty or self._sessions.charging() or not (self._wants_checkpoint or quiet):
            if self._dirty:
                self._care.arm(QUIET_S)
            return
        self._dirty, self._wants_checkpoint = 0, False
        await self._writer.run(self._db.checkpoint)

    async def _keep_to_limits(self) -> None:
        now, db = self._now(), self._db
        due = (self._last_retention_ns is None
               or now.mono_ns - self._last_retention_ns >= RETENTION_NS)
        if now.quality.trusted and due:
            self._last_retention_ns = now.mono_ns
            rules = upkeep.Retention(
                facts_json.utc_us(now.utc) - int(self._retention_days * 86_400e6),
                frozenset(self._sessions.open), frozenset(self._latched),
                Dating(self._dating.lines()), self._next_no - 1, self._next_session - 1)
            while await self._writer.run(lambda: upkeep.retire(db, rules)):
                pass  # some at a time, so that a fact never waits long behind them
        held = frozenset(entry.no for entry in self._lanes.at_hand())
        if self._max_bytes:
            shed, used = self._shed, self._max_bytes
            await self._writer.run(lambda: upkeep.shed(db, used, held, shed),
                                   self._has_shed)

    def _has_shed(self, gone: tuple[int, ...] | None, error: BaseException | None) -> None:
        if not gone:
            return
        self._care.arm(LAZY_S)  # some at a time; look again whether it was enough
        self._shed += len(gone)
        self.shedding(len(gone))
        log.warning("journal: over the disk budget, %d middle samples given up", len(gone))
        self._lanes.drop(gone)
        self._sessions.drop(gone)
        for no in gone:
            self._lazy.pop((DELIVERY.name, no), None)

    # --- for people ------------------------------------------------------------------------------

    async def session_facts(self, no: int) -> tuple[Fact, ...]:
        """All facts of any session, from the file; `facts_of` is the one for memory."""
        db = self._db
        loaded = await self._writer.run(lambda: ledger.load(db, [], frozenset(), [no]))
        return tuple(loaded.sessions[no].values())

    async def sessions(self, limit: int = 50, before: int | None = None
                       ) -> tuple[SessionRow, ...]:
        """Sessions, the newest first, those below number `before`."""
        await self._flush_if_possible()
        db = self._db
        return await self._writer.run(lambda: queries.sessions(db, limit, before))

    async def session(self, no: int) -> SessionRow | None:
        """One session; None when the books do not have it."""
        await self._flush_if_possible()
        db = self._db
        return await self._writer.run(lambda: queries.session(db, no))

    async def entries(self, state: str | None = None, limit: int = 100, before: int | None = None
                      ) -> tuple[EntryRow, ...]:
        """Facts, the newest first; `state` waiting, delivered, abandoned, or None for all."""
        await self._flush_if_possible()
        db = self._db
        return await self._writer.run(lambda: queries.entries(db, state, limit, before))

    async def entry(self, no: int) -> EntryRow | None:
        """One fact; None when the books do not have it."""
        await self._flush_if_possible()
        db = self._db
        return await self._writer.run(lambda: queries.entry(db, no))

    async def retry(self, no: int) -> bool:
        """Let an abandoned fact wait again, at its old place; False when it is not abandoned."""
        row = await self.entry(no)
        if row is None or row.state != ABANDONED or row.lane is None:
            return False
        lane, db = row.lane, self._db
        old = await self._writer.run(lambda: queries.mark(db, no))
        mark = old.but(state=WAITING, attempts=0)

        await self._commit([(DELIVERY, mark_row(no, mark))], full=True,
                           applied=lambda: self._lanes.again(no, lane, mark))
        await self._refill()
        return True

    async def export(self, after: int = 0, limit: int = 10_000, kind: str | None = None
                     ) -> tuple[str, ...]:
        """The books as JSON lines, from behind fact `after`, at most `limit`; all of one kind."""
        await self._flush_if_possible()
        db = self._db
        return await self._writer.run(lambda: queries.export(db, after, limit, kind))

    async def newest(self) -> int:
        """The number of the newest fact, 0 when there is none."""
        db = self._db
        return await self._writer.run(lambda: queries.newest(db))

    async def holds(self, since: datetime | None, until: datetime | None,
                    kind: str | None = None) -> bool:
        """Whether there is a fact (of that kind) of that span of time."""
        db = self._db
        return await self._writer.run(lambda: queries.holds(db, since, until, kind))


__all__ = ["Entry", "Journal", "JournalError", "Lane", "Waiting"]
