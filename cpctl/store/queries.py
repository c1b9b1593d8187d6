"""What people ask the books: sessions, entries, an export. Runs on the writer, reads only."""

import json
from datetime import datetime

from cpctl.core.facts import (
    Fact,
    SessionClosed,
    TransactionChanged,
    TransactionEnded,
    TransactionSampled,
    TransactionStarted,
)
from cpctl.store.db import Database
from cpctl.store.entries import ABANDONED, DELIVERED, WAITING, EntryRow, Mark, SessionRow
from cpctl.store.facts_json import utc_us
from cpctl.store.ledger import Stored, stored_of
from cpctl.store.rows import ALIAS, FACTS

_JOINED = ("SELECT f.*, coalesce(d.state, 'waiting'), coalesce(d.attempts, 0), d.reason"
           " FROM facts f LEFT JOIN delivery d ON d.fact = f.no")
_WIDTH = len(FACTS.columns) + 1


def entries(db: Database, state: str | None, limit: int, before: int | None
            ) -> tuple[EntryRow, ...]:
    """Facts, the newest first. With a `state` only those that are told at all."""
    where, args = ["f.no < ?"], [1 << 62 if before is None else before]
    if state is not None:
        where.append("f.lane IS NOT NULL AND coalesce(d.state, 'waiting') = ?")
        args.append(state)  # type: ignore[arg-type]
    with db.reading() as con:
        rows = con.execute(f"{_JOINED} WHERE {' AND '.join(where)} ORDER BY f.no DESC LIMIT ?",
                           (*args, limit)).fetchall()
    return tuple(_entry(row) for row in rows)


def entry(db: Database, no: int) -> EntryRow | None:
    with db.reading() as con:
        row = con.execute(f"{_JOINED} WHERE f.no = ?", (no,)).fetchone()
    return None if row is None else _entry(row)


def _entry(row: tuple[object, ...]) -> EntryRow:
    stored = stored_of(row[:_WIDTH])
    state, attempts, reason = row[_WIDTH:]
    return EntryRow(stored.no, stored.book, stored.kind, stored.session, stored.at, stored.lane,
                    str(state) if stored.lane else "", int(str(attempts)),
                    None if reason is None else str(reason), stored.fact, stored.problem)


def mark(db: Database, no: int) -> Mark:
    """The delivery mark of a fact; that of an untouched one when there is none."""
    with db.reading() as con:
        row = con.execute("SELECT state, attempts, calls, rev, reason FROM delivery"
                          " WHERE fact = ?", (no,)).fetchone()
    return Mark() if row is None else Mark(*row)


def sessions(db: Database, limit: int, before: int | None) -> tuple[SessionRow, ...]:
    with db.reading() as con:
        numbers = con.execute(
            "SELECT DISTINCT session FROM facts WHERE session IS NOT NULL AND session < ?"
            " ORDER BY session DESC LIMIT ?",
            (1 << 62 if before is None else before, limit)).fetchall()
    found = (session(db, number) for number, in numbers)
    return tuple(row for row in found if row is not None)


def session(db: Database, no: int) -> SessionRow | None:
    """One session out of its facts; of its samples only the last is read."""
    with db.reading() as con:
        rows = con.execute(
            "SELECT * FROM facts WHERE session = ? AND (kind <> 'TransactionSampled' OR no ="
            " (SELECT max(no) FROM facts WHERE session = ? AND kind = 'TransactionSampled'))"
            " ORDER BY no", (no, no)).fetchall()
        alias = con.execute(f"SELECT {ALIAS.select} FROM alias WHERE session = ?"
                            " ORDER BY rowid DESC LIMIT 1", (no,)).fetchone()
        states = {state for state, in con.execute(
            "SELECT DISTINCT coalesce(d.state, 'waiting') FROM facts f"
            " LEFT JOIN delivery d ON d.fact = f.no"
            " WHERE f.session = ? AND f.lane IS NOT NULL", (no,))}
    stored = [stored_of(row) for row in rows]
    facts = [one.fact for one in stored if one.fact is not None]
    if not facts:
        return None
    csms_id = None if alias is None else json.loads(str(ALIAS.opened(alias)[2]))
    return _session_row(no, facts, _delivery(states), csms_id)


def _delivery(states: set[str]) -> str:
    if ABANDONED in states:
        return ABANDONED
    return WAITING if WAITING in states else DELIVERED


def _session_row(no: int, facts: list[Fact], delivery: str, csms_id: int | str | None
                 ) -> SessionRow:
    started = next((fact for fact in facts if isinstance(fact, TransactionStarted)), None)
    ended = next((fact for fact in facts if isinstance(fact, TransactionEnded)), None)
    place = next((fact for fact in facts if hasattr(fact, "connector")), facts[0])
    tokens = [fact.token for fact in facts
              if isinstance(fact, TransactionStarted | TransactionChanged) and fact.token]
    registers = [fact.register_wh for fact in facts
                 if isinstance(fact, TransactionStarted | TransactionSampled | TransactionEnded)]
    start_wh = started.register_wh if started else None
    last_wh = ended.register_wh if ended else registers[-1] if registers else None
    return SessionRow(
        no=no, evse=getattr(place, "evse", 0) or 0, connector=getattr(place, "connector", 0),
        token=tokens[0].value if tokens else None, opened=facts[0].at,
        started=started.at if started else None, ended=ended.at if ended else None,
        closed=any(isinstance(fact, SessionClosed) for fact in facts),
        start_wh=start_wh, register_wh=last_wh,
        energy_wh=last_wh - start_wh if last_wh is not None and start_wh is not None else 0,
        stop_reason=ended.reason.value if ended else None, delivery=delivery, csms_id=csms_id)


def export(db: Database, after: int, limit: int, kind: str | None = None) -> tuple[str, ...]:
    """Facts as JSON lines with their columns, oldest first."""
    with db.reading() as con:
        rows = con.execute(f"{_JOINED} WHERE f.no > ? AND (? IS NULL OR f.kind = ?)"
                           " ORDER BY f.no LIMIT ?", (after, kind, kind, limit)).fetchall()
    return tuple(_line(stored_of(row[:_WIDTH]), row) for row in rows)


def newest(db: Database) -> int:
    with db.reading() as con:
        return int(con.execute("SELECT coalesce(max(no), 0) FROM facts").fetchone()[0])


def holds(db: Database, since: datetime | None, until: datetime | None, kind: str | None) -> bool:
    """Whether there is a fact of that span of time, looked for from the newest on."""
    span = (utc_us(since) if since else 0, utc_us(until) if until else 1 << 62)
    with db.reading() as con:
        return con.execute(
            "SELECT 1 FROM facts WHERE utc BETWEEN ? AND ? AND (? IS NULL OR kind = ?)"
            " ORDER BY no DESC LIMIT 1", (*span, kind, kind)).fetchone() is not None


def _line(stored: Stored, row: tuple[object, ...]) -> str:
    names = FACTS.columns
    line = dict(zip(names, row, strict=False))
    line["body"] = json.loads(str(line["body"]))
    line["lane"] = stored.lane.name.lower() if stored.lane else None
    line["state"], line["attempts"], line["reason"] = row[_WIDTH:]
    if stored.lane is None:
        line["state"] = None
    return json.dumps(line)
