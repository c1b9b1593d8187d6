"""The versions of both files: step n brings version n to n + 1. Steps are never edited, only added.

A step is SQL, or a function where rows need a new CRC.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from cpctl.store.db import APPLICATION_ID, Database
from cpctl.store.errors import BooksDamaged, JournalError

STAMP = 0x01010101  # each byte of the stored version says the same: a flipped bit is no version
Step = str | Callable[[sqlite3.Connection], None]

JOURNAL: tuple[Step, ...] = (
    """
    CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT, crc INTEGER);
    CREATE TABLE facts(no INTEGER PRIMARY KEY, book TEXT, session INTEGER, seq INTEGER,
      lane INTEGER, kind TEXT, body TEXT, boot TEXT, mono INTEGER, utc INTEGER, quality TEXT,
      crc INTEGER);
    CREATE INDEX facts_session ON facts(session) WHERE session IS NOT NULL;
    CREATE TABLE delivery(fact INTEGER PRIMARY KEY, state TEXT, attempts INTEGER, calls INTEGER,
      rev INTEGER, reason TEXT, crc INTEGER);
    CREATE TABLE alias(session INTEGER, dialect TEXT, csms_id TEXT, crc INTEGER,
      UNIQUE(session, dialect));
    CREATE TABLE register(session INTEGER PRIMARY KEY, register_wh INTEGER, boot TEXT,
      mono INTEGER, utc INTEGER, quality TEXT, crc INTEGER);
    CREATE TABLE boots(ordinal INTEGER PRIMARY KEY, boot TEXT, estimate INTEGER, segments TEXT,
      crc INTEGER);
    """,
)

STATION: tuple[Step, ...] = (
    """
    CREATE TABLE settings(id TEXT PRIMARY KEY, text TEXT, crc INTEGER);
    CREATE TABLE kept(key TEXT PRIMARY KEY, value TEXT, crc INTEGER);
    CREATE TABLE tokens(key TEXT PRIMARY KEY, used INTEGER, status TEXT, group_value TEXT,
      group_kind TEXT, expires INTEGER, crc INTEGER);
    """,
    """
    CREATE TABLE listed(key TEXT PRIMARY KEY, status TEXT, group_value TEXT, group_kind TEXT,
      expires INTEGER, crc INTEGER);
    CREATE TABLE listing(id INTEGER PRIMARY KEY, version INTEGER, length INTEGER, digest INTEGER,
      crc INTEGER);
    """,
)


def migrate(db: Database, steps: tuple[Step, ...], *, fresh: bool = False) -> int:
    """Bring the file to the newest version, each step in one full commit; returns the old version.

    Raises BooksDamaged for a file that is not ours, JournalError for one of a newer release.
    """
    with db.reading() as con:
        stamp = int(con.execute("PRAGMA user_version").fetchone()[0])
        ours = con.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    if not ours and not fresh:
        raise BooksDamaged(f"{db.path.name}: not a file of this daemon")
    version, rest = divmod(stamp, STAMP)
    if rest or (not version and not fresh):
        raise BooksDamaged(f"{db.path.name}: its version {stamp:#x} is not what was written")
    if version > len(steps):
        raise JournalError(f"{_name(db.path)}: version {version}, this release knows {len(steps)};"
                           " install the newer release again, or move the file away")
    for number in range(version, len(steps)):
        with db.commit(full=True) as con:
            _take(con, steps[number])
            con.execute(f"PRAGMA application_id={APPLICATION_ID}")
            con.execute(f"PRAGMA user_version={(number + 1) * STAMP}")
    return version


def _take(con: sqlite3.Connection, step: Step) -> None:
    if callable(step):
        step(con)
        return
    for statement in filter(str.strip, step.split(";")):
        con.execute(statement)


def _name(path: Path) -> str:
    return path.name.removesuffix(".half").removesuffix(".new")
