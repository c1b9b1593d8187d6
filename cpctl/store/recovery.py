"""Opening a file of the store, whatever a power cut, a bad card or a stranger did to it.

A sound file is migrated, checked (sqlite's integrity check, since the quick one passes over the
indices, then the CRC of every row) and used. A
damaged one is kept under another name; a fresh one is begun with the rows that are still needed.
The fresh file is complete before the damaged one is moved, so a kill at any instant is mended by
the next start.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Generic, TypeVar

from cpctl.store.carve import carve, committed_frames
from cpctl.store.db import Database, Trace
from cpctl.store.entries import OpenReport
from cpctl.store.errors import BooksDamaged, JournalError
from cpctl.store.migrations import Step, migrate
from cpctl.store.rows import Row, Table
from hal.late import dataclass

S = TypeVar("S")
_HEADER = b"SQLite format 3\0" + bytes((0x10, 0, 2, 2, 0, 64, 32, 32))  # pages of 4096, WAL
_UTF8_NO_VACUUM = bytes((0, 0, 0, 0, 0, 0, 0, 1))
Carved = Iterator[tuple[Table, Row]]


@dataclass(frozen=True)
class FileKind(Generic[S]):
    """What makes one file of the store: its versions, its tables, how it is read and begun.

    `sweep` reads everything and raises BooksDamaged; `needed` chooses from the sound rows of a
    damaged file (it may ask for them more than once); `first` are the rows of an empty one.
    """

    steps: tuple[Step, ...]
    tables: tuple[Table, ...]
    sweep: Callable[[Database], S]
    needed: Callable[[Callable[[], Carved]], Iterable[tuple[Table, Row]]]
    first: Callable[[], Iterable[tuple[Table, Row]]]


def open_file(path: Path, kind: FileKind[S], trace: Trace | None = None
              ) -> tuple[Database, OpenReport, S]:
    """The file, what was found, and what the sweep read. Raises JournalError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _finish_interrupted(path)
        report = OpenReport()
        if not path.exists():
            _begin(path, kind, kind.first(), trace)
            report = OpenReport(fresh=True)
        try:
            db, report, found = _open_sound(path, kind, trace, report)
        except BooksDamaged as damage:
            report = _set_aside(path, kind, str(damage), trace)
            db, report, found = _open_sound(path, kind, trace, report)
    except OSError as error:
        raise JournalError(f"{path.name}: {error}; check the disk and the rights of its folder"
                           ) from error
    return db, report, found


def _open_sound(path: Path, kind: FileKind[S], trace: Trace | None, report: OpenReport
                ) -> tuple[Database, OpenReport, S]:
    wal = _read(_wal(path))
    _check_header(path)
    db = Database(path, trace)
    try:
        version = migrate(db, kind.steps)
        frames = db.checkpoint()
        if len(committed_frames(wal)) > max(frames, _migrated_frames(version, kind, frames)):
            raise BooksDamaged(f"{path.name}-wal: damaged within what was committed")
        with db.reading() as con:
            if con.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok":
                raise BooksDamaged(f"{path.name}: a page is broken (integrity check)")
        found = kind.sweep(db)
    except BooksDamaged:
        _keep_apart(path, wal, db)
        raise
    except BaseException:
        db.close()
        raise
    if version < len(kind.steps):
        report = replace(report, migrated_from=version)
    return db, report, found


def _check_header(path: Path) -> None:
    """The part of the header that never changes; sqlite takes some flips there for a wish."""
    with path.open("rb") as file:
        head = file.read(100)
        if not head.startswith(_HEADER) or head[52:60] != _UTF8_NO_VACUUM:
            raise BooksDamaged(f"{path.name}: not a database, or its header is damaged")


def _migrated_frames(version: int, kind: FileKind[S], frames: int) -> int:
    """Frames of migrations joined the log after it was read; then they cannot be compared."""
    return frames if version == len(kind.steps) else 1 << 62


def _wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _new(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _aside(path: Path) -> Path:
    """The first free name for a damaged file."""
    number = 1
    while True:
        name = path.with_name(f"{path.name}.damaged-{number}")
        if not name.exists() and not _wal(name).exists():
            return name
        number += 1


def _keep_apart(path: Path, wal: bytes, db: Database) -> None:
    """Close a damaged file so that sqlite takes nothing of its log away."""
    kept = _wal(path).with_name(_wal(path).name + ".kept")
    if wal:
        half = kept.with_name(kept.name + ".half")
        half.write_bytes(wal)
        _sync(half)
        os.replace(half, kept)
    with contextlib.suppress(JournalError):
        db.close()
    if wal:
        os.replace(kept, _wal(path))


def _set_aside(path: Path, kind: FileKind[S], reason: str, trace: Trace | None) -> OpenReport:
    wal = _read(_wal(path))
    saved = _begin(_new(path), kind, kind.needed(lambda: carve(path, wal, kind.tables)),
                   trace)
    aside = _aside(path)
    os.replace(path, aside)
    if _wal(path).exists():
        os.replace(_wal(path), _wal(aside))
    os.replace(_new(path), path)
    _sync_folder(path)
    return OpenReport(damaged=True, reason=reason, set_aside=aside, rows_saved=saved)


def _begin(path: Path, kind: FileKind[S], rows: Iterable[tuple[Table, Row]],
           trace: Trace | None) -> int:
    """Write a complete file; it gets its name only when it is one. Returns its rows."""
    half = path.with_name(path.name + ".half")
    for old in (half, _wal(half)):
        old.unlink(missing_ok=True)
    db = Database(half, trace)
    try:
        migrate(db, kind.steps, fresh=True)
        count = 0
        with db.commit(full=True) as con:
            for table, row in rows:
                con.execute(table.insert, table.sealed(row))
                count += 1
    finally:
        db.close()
    os.replace(half, path)
    _sync_folder(path)
    return count


def _finish_interrupted(path: Path) -> None:
    """Bring a setting aside that was killed half way to its end."""
    kept = _wal(path).with_name(_wal(path).name + ".kept")
    if kept.exists():
        if path.exists():
            os.replace(kept, _wal(path))
        else:
            kept.unlink()
    if path.exists() or not _new(path).exists():
        return
    if _wal(path).exists():
        os.replace(_wal(path), _wal(_aside(path)))
    os.replace(_new(path), path)
    _sync_folder(path)


def _sync_folder(path: Path) -> None:
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
