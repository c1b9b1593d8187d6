"""What can go wrong with the books: one family, so that a caller catches StoreError at most."""

import sqlite3
from pathlib import Path


class StoreError(Exception):
    """The books could not do their job. The text names the file, the finding and the next step."""


class JournalError(StoreError):
    """Nothing was written. Trying again later may succeed (space freed, card replaced)."""


class BooksDamaged(JournalError):
    """The file holds what nobody wrote: not a database, a broken page, a row whose CRC is wrong."""


class FactUnreadable(StoreError):
    """A row is sound but says what this release does not know (kind, field, version, value)."""


class FactUnwritable(JournalError):
    """A fact holds a value that cannot be kept (NaN, a foreign type)."""


_FULL = "the disk is full; free space, charging resumes by itself"
_NEXT_STEP = {
    "SQLITE_FULL": _FULL,
    "SQLITE_BUSY": "in use by another process; is a second cpctl running?",
    "SQLITE_READONLY": "not writable; check the rights of the file and of its folder",
    "SQLITE_CANTOPEN": "cannot be opened; check that its folder exists and is writable",
}
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT", "SQLITE_ERROR")


def translated(path: Path, error: sqlite3.Error) -> StoreError:
    """The error of ours that tells what sqlite found at `path`."""
    name = getattr(error, "sqlite_errorname", "") or ""
    # SQLITE_ERROR: our SQL does not fit the tables, or the header asks for what sqlite cannot do
    if name.startswith(_DAMAGE) or "decode to UTF-8" in str(error):
        return BooksDamaged(f"{path.name}: {error}")
    for prefix, step in _NEXT_STEP.items():
        if name.startswith(prefix):
            return JournalError(f"{path.name}: {step}")
    return JournalError(f"{path.name}: {error} ({name or 'sqlite'}); check the disk")
