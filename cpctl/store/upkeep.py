"""Keeping the journal to its time and its space: what may be deleted, and in which order."""

from collections.abc import Iterator, Sequence

from cpctl.core.facts import FaultLatched, FaultUnlatched
from cpctl.core.faults import FaultCode
from cpctl.store.dating import Dating
from cpctl.store.db import Database
from cpctl.store.entries import DELIVERED
from cpctl.store.facts_json import now_of
from cpctl.store.ledger import stored_of
from cpctl.store.rows import META
from hal.late import dataclass

SESSIONS_A_JOB = 50
SHED_A_JOB = 2_000


@dataclass(frozen=True)
class Retention:
    """What may go: delivered, older than `limit_us`, of no open session, no uncleared fault."""

    limit_us: int
    open: frozenset[int]
    latched: frozenset[tuple[int | None, FaultCode]]
    dating: Dating
    top_no: int
    top_session: int


def retire(db: Database, rules: Retention) -> int:
    """Delete what retention allows; the number of facts deleted. Numbers are never used again."""
    with db.reading():
        nos = [*_old_sessions(db, rules), *_old_news(db, rules)]
    if not nos:
        return 0
    with db.commit(full=False) as con:
        for key, top in (("top_no", rules.top_no), ("top_session", rules.top_session)):
            con.execute(META.insert, META.sealed((key, str(top))))
        con.executemany("DELETE FROM facts WHERE no = ?", [(no,) for no in nos])
        con.executemany("DELETE FROM delivery WHERE fact = ?", [(no,) for no in nos])
        for table in ("alias", "register"):
            con.execute(f"DELETE FROM {table} WHERE session <> 0 AND session NOT IN"
                        " (SELECT session FROM facts WHERE session IS NOT NULL)")
    return len(nos)


_UNDELIVERED = ("SELECT 1 FROM facts f LEFT JOIN delivery d ON d.fact = f.no WHERE f.session = ?"
                " AND f.lane IS NOT NULL AND (d.state IS NULL OR d.state <> ?) LIMIT 1")


def _old_sessions(db: Database, rules: Retention) -> Iterator[int]:
    taken = 0
    for session, last in db.con.execute(
            "SELECT session, max(no) FROM facts WHERE session IS NOT NULL"
            " GROUP BY session ORDER BY session").fetchall():
        if taken >= SESSIONS_A_JOB:
            return
        if session in rules.open or not _is_old(db, rules, last):
            continue
        if db.con.execute(_UNDELIVERED, (session, DELIVERED)).fetchone() is None:
            taken += 1
            for no, kind in db.con.execute("SELECT no, kind FROM facts WHERE session = ?",
                                           (session,)):
                if not kind.startswith("Fault"):
                    yield no


def _is_old(db: Database, rules: Retention, no: int) -> bool:
    boot, mono, utc, quality = db.con.execute(
        "SELECT boot, mono, utc, quality FROM facts WHERE no = ?", (no,)).fetchone()
    return rules.dating.raw_us(now_of(boot, mono, utc, quality)) < rules.limit_us


def _old_news(db: Database, rules: Retention) -> Iterator[int]:
    """Security events and faults; a fault's end goes only after its beginning."""
    standing: set[tuple[int | None, FaultCode]] = set(rules.latched)
    rows: Sequence[Sequence[object]] = db.con.execute(
        "SELECT f.*, d.state FROM facts f LEFT JOIN delivery d ON d.fact = f.no"
        " WHERE f.session IS NULL OR f.kind LIKE 'Fault%' ORDER BY f.no").fetchall()
    for row in rows:
        stored = stored_of(row[:-1])
        fault = stored.fact if isinstance(stored.fact, FaultLatched | FaultUnlatched) else None
        key = (fault.evse, fault.code) if fault else None
        gone = row[-1] == DELIVERED and rules.dating.raw_us(stored.at) < rules.limit_us
        if gone and key not in standing:
            yield stored.no
        elif key is not None:
            standing.add(key)


# --- space -----------------------------------------------------------------------------------


def shed(db: Database, max_bytes: int, held: frozenset[int], shed_before: int) -> tuple[int, ...]:
    """Over the budget, delete every second middle sample: delivered ones first, `held` never.

    Returns the numbers deleted; the count of all ever shed is kept with them in one commit.
    """
    if db.used_bytes() <= max_bytes:
        return ()
    with db.reading():
        gone = _halved(db, held, delivered=True) or _halved(db, held, delivered=False)
    if not gone:
        return ()
    with db.commit(full=False) as con:
        con.executemany("DELETE FROM facts WHERE no = ?", [(no,) for no in gone])
        con.executemany("DELETE FROM delivery WHERE fact = ?", [(no,) for no in gone])
        con.execute(META.insert, META.sealed(("shed", str(shed_before + len(gone)))))
    return tuple(gone)


_SAMPLES = ("SELECT f.session, f.no, f.lane, d.state FROM facts f"
            " LEFT JOIN delivery d ON d.fact = f.no"
            " WHERE f.kind = 'TransactionSampled' ORDER BY f.session, f.no")


def _halved(db: Database, held: frozenset[int], *, delivered: bool) -> list[int]:
    gone: list[int] = []
    group: list[tuple[int, bool]] = []
    current: int | None = None
    for session, no, lane, state in db.con.execute(_SAMPLES):
        if session != current:
            gone += _every_second(group, held)
            group, current = [], session
            if len(gone) >= SHED_A_JOB:
                return gone
        group.append((no, (state == DELIVERED or lane is None) == delivered))
    return gone + _every_second(group, held)


def _every_second(group: list[tuple[int, bool]], held: frozenset[int]) -> list[int]:
    """Of the samples between the first and the last, every second one that is meant."""
    middle = [no for no, meant in group[1:-1] if meant and no not in held]
    return middle[::2]
