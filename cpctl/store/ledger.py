"""The journal's file: what its jobs read and write. Nothing here knows of the loop or of memory."""

import uuid
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field, replace
from itertools import groupby
from operator import itemgetter
from typing import Any

from cpctl.core.facts import Fact, FaultLatched, FaultUnlatched
from cpctl.core.faults import FaultCode
from cpctl.core.now import Now
from cpctl.store import facts_json
from cpctl.store.dating import BootLine, line_of
from cpctl.store.db import Database
from cpctl.store.entries import ABANDONED, DELIVERED, WAITING, Lane, Mark, lane_of
from cpctl.store.errors import BooksDamaged, FactUnreadable
from cpctl.store.migrations import JOURNAL
from cpctl.store.recovery import Carved, FileKind
from cpctl.store.rows import (
    ALIAS,
    BOOTS,
    DELIVERY,
    FACTS,
    JOURNAL_TABLES,
    META,
    REGISTER,
    Row,
    Table,
)
from hal.late import dataclass

RowOf = tuple[Table, Row]
Latch = tuple[int | None, FaultCode]
OPENING = ("SessionOpened", "TransactionStarted")


@dataclass(frozen=True)
class Stored:
    """A fact as it came out of the file; `fact` None when this release cannot read it."""

    no: int
    book: str
    session: int | None
    kind: str
    lane: Lane | None
    at: Now
    fact: Fact | None
    problem: str = ""


@dataclass
class Sweep:
    """What reading every row told."""

    meta: dict[str, str] = field(default_factory=dict)
    lanes: dict[Lane, "array[int]"] = field(default_factory=lambda: {
        lane: array("q") for lane in Lane})
    marks: dict[int, Mark] = field(default_factory=dict)
    boots: dict[str, BootLine] = field(default_factory=dict)
    open: dict[int, int] = field(default_factory=dict)  # session -> facts so far
    latched: dict[Latch, None] = field(default_factory=dict)
    registers: dict[int, tuple[int, Now]] = field(default_factory=dict)
    aliases: dict[tuple[int, str], str] = field(default_factory=dict)
    top_no: int = 0
    top_session: int = 0
    abandoned: int = 0
    newest: Now | None = None


def new_book() -> Iterator[RowOf]:
    yield META, ("book", str(uuid.uuid4()))


def fact_row(no: int, book: str, seq: int, fact: Fact) -> Row:
    lane = lane_of(fact)
    at = fact.at
    return (no, book, fact.session, seq, lane.value if lane else None, type(fact).__name__,
            facts_json.encode(fact), at.boot, at.mono_ns, facts_json.utc_us(at.utc),
            at.quality.value)


def mark_row(no: int, mark: Mark) -> Row:
    return (no, mark.state, mark.attempts, mark.calls, mark.rev, mark.reason)


def stored_of(row: Sequence[object]) -> Stored:
    """A row of `facts`, CRC included. Raises BooksDamaged; an unreadable fact is told instead."""
    values: tuple[Any, ...] = FACTS.opened(row)  # the CRC vouches for the types, too
    no, book, session, _, lane, kind, body, boot, mono, utc, quality = values
    at = facts_json.now_of(boot, mono, utc, quality)
    fact, problem = None, ""
    try:
        fact = facts_json.decode(kind, body, at, session)
    except FactUnreadable as error:
        problem = str(error)
    return Stored(no, book, session, kind, None if lane is None else Lane(lane), at, fact, problem)


# --- sweep -----------------------------------------------------------------------------------


def sweep(db: Database) -> Sweep:
    """Read every row and check its CRC. Raises BooksDamaged at the first that is not sound."""
    found = Sweep()
    with db.reading() as con:
        for key, value in map(META.opened, con.execute(f"SELECT {META.select} FROM meta")):
            found.meta[str(key)] = str(value)
        for row in con.execute(f"SELECT {BOOTS.select} FROM boots"):
            line = line_of(BOOTS.opened(row))
            found.boots[line.boot] = line
        for row in con.execute(f"SELECT {ALIAS.select} FROM alias"):
            session, dialect, csms_id = ALIAS.opened(row)
            found.aliases[int(str(session)), str(dialect)] = str(csms_id)
        _sweep_facts(found, con.execute(
            "SELECT f.*, d.fact, d.state, d.attempts, d.calls, d.rev, d.reason, d.crc"
            " FROM facts f LEFT JOIN delivery d ON d.fact = f.no ORDER BY f.no"))
        for row in con.execute(f"SELECT {REGISTER.select} FROM register"):
            session, register_wh, boot, mono, utc, quality = REGISTER.opened(row)
            at = facts_json.now_of(str(boot), int(str(mono)), int(str(utc)), str(quality))
            found.registers[int(str(session))] = (int(str(register_wh)), at)
            _note_time(found, at)
    if "book" not in found.meta:
        raise BooksDamaged(f"{db.path.name}: the name of the book is missing")
    found.top_no = max(found.top_no, int(found.meta.get("top_no", 0)))
    found.top_session = max(found.top_session, int(found.meta.get("top_session", 0)))
    return found


def _sweep_facts(found: Sweep, rows: Iterable[Sequence[object]]) -> None:
    width = len(FACTS.columns) + 1
    newest: Sequence[object] | None = None
    started: dict[int, bool] = {}
    for row in rows:
        values = FACTS.opened(row[:width])
        mark = Mark() if row[width] is None else _mark_of(DELIVERY.opened(row[width:]))
        no, session, lane, kind = int(str(values[0])), values[2], values[4], str(values[5])
        found.top_no = no
        _note_boot(found, str(values[7]), int(str(values[8])))
        if session is not None:
            _note_session(found, int(session), kind, started)
        if lane is not None:
            _note_mark(found, no, Lane(lane), mark)
        if kind.startswith("Fault"):
            _note_fault(found.latched, stored_of(row[:width]).fact)
        newest = row
    if newest is not None:
        _note_time(found, stored_of(newest[:width]).at)


def _mark_of(values: Row) -> Mark:
    _, state, attempts, calls, rev, reason = values
    return Mark(str(state), int(str(attempts)), int(str(calls)), int(str(rev)),
                None if reason is None else str(reason))


def _note_boot(found: Sweep, boot: str, mono_ns: int) -> None:
    line = found.boots.get(boot)
    if line is not None and mono_ns > line.last_mono_ns:
        found.boots[boot] = replace(line, last_mono_ns=mono_ns)


def _note_time(found: Sweep, at: Now) -> None:
    _note_boot(found, at.boot, at.mono_ns)
    before = found.newest
    if before is None or _order(found, at) > _order(found, before):
        found.newest = at


def _order(found: Sweep, at: Now) -> tuple[int, int]:
    line = found.boots.get(at.boot)
    return (line.ordinal if line else 1 << 62, at.mono_ns)


def _note_session(found: Sweep, session: int, kind: str, started: dict[int, bool]) -> None:
    found.top_session = max(found.top_session, session)
    running = started.get(session, False)
    if kind in OPENING or session in found.open:
        found.open[session] = found.open.get(session, 0) + 1
    if kind == "TransactionStarted":
        started[session] = True
    elif kind == "TransactionEnded":
        started.pop(session, None)
    elif kind == "SessionClosed" and not running:
        found.open.pop(session, None)


def _note_mark(found: Sweep, no: int, lane: Lane, mark: Mark) -> None:
    if mark.state == WAITING:
        found.lanes[lane].append(no)
        if mark.rev:
            found.marks[no] = mark
    elif mark.state == ABANDONED:
        found.abandoned += 1


def _note_fault(latched: dict[Latch, None], fact: Fact | None) -> None:
    if isinstance(fact, FaultLatched):
        latched[fact.evse, fact.code] = None
    elif isinstance(fact, FaultUnlatched):
        latched.pop((fact.evse, fact.code), None)


# --- jobs ------------------------------------------------------------------------------------

_TABLE = itemgetter(0)


def write(db: Database, rows: Iterable[RowOf], *, full: bool) -> None:
    """All rows in one commit. Raises JournalError when none was written."""
    with db.commit(full=full) as con:
        for table, group in groupby(rows, _TABLE):
            con.executemany(table.insert, [table.sealed(row) for _, row in group])


@dataclass
class Loaded:
    """What a refill read: facts that were asked for, and all of the sessions they belong to."""

    asked: dict[int, Stored] = field(default_factory=dict)
    sessions: dict[int, dict[int, Fact]] = field(default_factory=dict)
    aliases: dict[tuple[int, str], str] = field(default_factory=dict)
    broken: dict[int, str] = field(default_factory=dict)  # number -> why it cannot be told


def load(db: Database, nos: Sequence[int], have: frozenset[int], also: Iterable[int] = ()
         ) -> Loaded:
    """The facts `nos` and every fact of their sessions, except of those in `have`."""
    loaded = Loaded()
    with db.reading() as con:
        marks = ",".join("?" * len(nos))
        rows = con.execute(f"SELECT * FROM facts WHERE no IN ({marks}) ORDER BY no", tuple(nos))
        for row in rows:
            _take_asked(loaded, row)
        missing = set(nos) - loaded.asked.keys() - loaded.broken.keys()
        loaded.broken.update(dict.fromkeys(missing, "the row is gone"))
        sessions = {one.session for one in loaded.asked.values() if one.session is not None}
        for session in sorted((sessions | set(also)) - have):
            _take_session(db, loaded, session)
    return loaded


def _take_asked(loaded: Loaded, row: Sequence[object]) -> None:
    no = int(str(row[0]))
    try:
        stored = stored_of(row)
    except (BooksDamaged, FactUnreadable) as error:
        loaded.broken[no] = str(error)
        return
    loaded.asked[no] = stored
    if stored.fact is None:
        loaded.broken[no] = stored.problem


def _take_session(db: Database, loaded: Loaded, session: int) -> None:
    facts: dict[int, Fact | None] = {}
    con = db.con
    for (no,) in con.execute("SELECT no FROM facts WHERE session = ? ORDER BY no", (session,)):
        stored = loaded.asked.get(no)  # those have been read already
        if stored is None:
            row = con.execute("SELECT * FROM facts WHERE no = ?", (no,)).fetchone()
            facts[no] = stored_of(row).fact if row and FACTS.is_sound(row) else None
        else:
            facts[no] = stored.fact
    loaded.sessions[session] = {no: fact for no, fact in facts.items() if fact is not None}
    rows = db.con.execute(f"SELECT {ALIAS.select} FROM alias WHERE session = ?", (session,))
    for _, dialect, csms_id in map(ALIAS.opened, rows):
        loaded.aliases[session, str(dialect)] = str(csms_id)


# --- what a damaged file still owes ------------------------------------------------------------


def needed(rows: Callable[[], Carved]) -> Iterator[RowOf]:
    """The rows a fresh journal begins with: what is open, undelivered or a fault not cleared."""
    keep = _Keep()
    for table, row in rows():
        keep.note(table, row)
    keep.decide()
    best: dict[tuple[str, object], RowOf] = {}
    given: set[Row] = set()
    yield from new_book()
    yield from keep.meta_rows()
    for table, row in rows():
        if not keep.wants(table, row):
            continue
        if table is FACTS:
            if row[:1] not in given:
                given.add(row[:1])
                yield table, row
            continue
        key = (table.name, row[:2] if table is ALIAS else row[0])
        if key not in best or _is_newer(table, row, best[key][1]):
            best[key] = (table, row)
    yield from best.values()


def _is_newer(table: Table, row: Row, other: Row) -> bool:
    if table is DELIVERY:
        return int(str(row[4])) >= int(str(other[4]))
    if table is REGISTER:
        return int(str(row[1])) >= int(str(other[1]))
    if table is BOOTS:
        return len(str(row[3])) >= len(str(other[3]))
    return True


class _Keep:
    """Which rows of a damaged file are still needed."""

    def __init__(self) -> None:
        self.found = Sweep()
        self.facts: dict[int, tuple[int | None, bool, str]] = {}
        self.latches: dict[int, Fact] = {}
        self.revs: dict[int, tuple[int, str]] = {}
        self.nos: set[int] = set()
        self.sessions: set[int] = set()

    def note(self, table: Table, row: Row) -> None:
        if table is FACTS:
            no, session, kind = int(str(row[0])), row[2], str(row[5])
            self.facts[no] = (None if session is None else int(session), row[4] is not None, kind)
            if kind.startswith("Fault"):
                fact = stored_of(FACTS.sealed(row)).fact
                if fact is not None:
                    self.latches[no] = fact
        elif table is DELIVERY:
            rev = (int(str(row[4])), str(row[1]))
            no = int(str(row[0]))
            self.revs[no] = max(rev, self.revs.get(no, rev))
        elif table is META and row[0] != "book":
            key, value = str(row[0]), str(row[1])
            old = self.found.meta.get(key, "0")
            self.found.meta[key] = max(value, old, key=lambda text: (len(text), text))

    def decide(self) -> None:
        started: dict[int, bool] = {}
        latched: dict[Latch, int] = {}
        for no in sorted(self.facts):
            session, told, kind = self.facts[no]
            self.found.top_no = no
            if session is not None:
                _note_session(self.found, session, kind, started)
            if told and self.revs.get(no, (0, WAITING))[1] != DELIVERED:
                self.nos.add(no)
                if session is not None:
                    self.sessions.add(session)
            _note_latch(latched, no, self.latches.get(no))
        self.nos |= set(latched.values())
        self.sessions |= set(self.found.open)

    def meta_rows(self) -> Iterator[RowOf]:
        meta = dict(self.found.meta)
        meta["top_no"] = str(max(self.found.top_no, int(meta.get("top_no", 0))))
        meta["top_session"] = str(max(self.found.top_session, int(meta.get("top_session", 0))))
        for key, value in meta.items():
            yield META, (key, value)

    def wants(self, table: Table, row: Row) -> bool:
        if table is FACTS:
            return int(str(row[0])) in self.nos or row[2] in self.sessions
        if table is DELIVERY:
            no = int(str(row[0]))
            return no in self.nos or self.facts.get(no, (None, False, ""))[0] in self.sessions
        if table in (ALIAS, REGISTER):
            return row[0] in self.sessions
        return table is BOOTS


def _note_latch(latched: dict[Latch, int], no: int, fact: Fact | None) -> None:
    if isinstance(fact, FaultLatched):
        latched[fact.evse, fact.code] = no
    elif isinstance(fact, FaultUnlatched):
        latched.pop((fact.evse, fact.code), None)


KIND: FileKind[Sweep] = FileKind(JOURNAL, JOURNAL_TABLES, sweep, needed, new_book)
