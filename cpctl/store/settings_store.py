"""station.db: settings, what the core keeps over restarts, the rows of cache and local list.

A file of its own, so that a damaged journal costs neither the password nor a setting. Settings and
kept values are on the disk before `await` returns; the cache follows lazily.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from types import MappingProxyType

from cpctl.core.values import Kept
from cpctl.store.db import Database, Writer
from cpctl.store.entries import OpenReport
from cpctl.store.errors import StoreError
from cpctl.store.migrations import STATION
from cpctl.store.records import PREFIX, records_of, text_of
from cpctl.store.recovery import Carved, FileKind, open_file
from cpctl.store.rows import (
    KEPT,
    LISTED,
    LISTING,
    SETTINGS,
    STATION_TABLES,
    TOKENS,
    Row,
    Table,
)
from hal.late import dataclass

log = logging.getLogger(__name__)

LAZY_S = 5.0
RETRY_S = 30.0


@dataclass
class StationSweep:
    settings: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    tokens: list[Row] = field(default_factory=list)
    listed: list[Row] = field(default_factory=list)
    listing: Row | None = None


def _sweep(db: Database) -> StationSweep:
    found = StationSweep()
    with db.reading() as con:
        for table, into in ((SETTINGS, found.settings), (KEPT, found.kept)):
            for row in con.execute(f"SELECT {table.select} FROM {table.name}"):
                key, value = table.opened(row)
                into[str(key)] = str(value)
        for row in con.execute(f"SELECT {TOKENS.select} FROM tokens ORDER BY used"):
            found.tokens.append(TOKENS.opened(row))
        for row in con.execute(f"SELECT {LISTED.select} FROM listed"):
            found.listed.append(LISTED.opened(row))
        for row in con.execute(f"SELECT {LISTING.select} FROM listing"):
            found.listing = LISTING.opened(row)
    return found


def _needed(rows: Callable[[], Carved]) -> Iterable[tuple[Table, Row]]:
    """Every sound row; where one was found twice, the later."""
    best: dict[tuple[str, object], tuple[Table, Row]] = {}
    for table, row in rows():
        best[table.name, row[0]] = (table, row)
    return best.values()


def _nothing() -> Iterator[tuple[Table, Row]]:
    return iter(())


KIND: FileKind[StationSweep] = FileKind(STATION, STATION_TABLES, _sweep, _needed, _nothing)


class StationStore:
    """Make one with `StationStore.open`; all calls from the loop's thread."""

    def __init__(self, db: Database, writer: Writer, report: OpenReport, found: StationSweep
                 ) -> None:
        self._db, self._writer = db, writer
        self.report = report
        self._settings, self._kept = found.settings, found.kept
        self.tokens = tuple(found.tokens)
        self._list = (found.listing, found.listed)
        self._lazy: dict[str, Row | None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def open(cls, path: Path | str, writer: Writer) -> "StationStore":
        """The store at `path` (a file). Raises JournalError when it cannot be used or begun."""
        db, report, found = await writer.run(lambda: open_file(Path(path), KIND, writer.trace))
        if report.damaged:
            log.error("%s; set aside as %s, %d rows brought over", report.reason,
                      report.set_aside, report.rows_saved)
        return cls(db, writer, report, found)

    @property
    def settings_texts(self) -> Mapping[str, str]:
        """Saved settings: id -> canonical text."""
        return MappingProxyType(self._settings)

    @property
    def kept(self) -> Mapping[str, str]:
        """What `Keep` effects stored."""
        return MappingProxyType(self._kept)

    @property
    def records(self) -> Mapping[str, Kept]:
        """What `KeepRecord` effects stored, by key; what cannot be read is left out, and told."""
        return records_of(self._kept)

    def record_entry(self, key: str, record: Kept | None) -> tuple[str, str | None]:
        """Key and text under which `keep` keeps a record; None removes it."""
        return PREFIX + key, None if record is None else text_of(record)

    async def save_setting(self, setting: str, text: str) -> None:
        """Keep a setting, on the disk when this returns. JournalError: the old one stands."""
        await self._put(SETTINGS, self._settings, setting, text)

    async def keep(self, key: str, value: str | None) -> None:
        """Keep `value` under `key`, None removes it; on the disk when this returns."""
        await self._put(KEPT, self._kept, key, value)

    async def _put(self, table: Table, memory: dict[str, str], key: str, value: str | None
                   ) -> None:
        def applied() -> None:
            if value is None:
                memory.pop(key, None)
            else:
                memory[key] = value

        row = None if value is None else (key, value)
        await self._commit([(table, key, row)], full=True, applied=applied)

    async def forget_tokens(self) -> None:
        """Empty the authorization cache, on the disk when this returns."""
        db = self._db

        def job() -> None:
            with db.commit(full=True) as con:
                con.execute("DELETE FROM tokens")

        def then(_: None, error: BaseException | None) -> None:
            if error is None:
                self._lazy.clear()

        await self._writer.run(job, then)

    def take_list(self) -> tuple[Row | None, list[Row]]:
        """The local list as it was found, once: its head (None: never sent) and its rows."""
        found, self._list = self._list, (None, [])
        return found

    async def put_list(self, head: Row, rows: Iterable[Row], gone: Iterable[str], *, full: bool,
                       applied: Callable[[], None]) -> None:
        """Change the local list as a whole, on the disk when this returns: all of it or nothing.

        `full`: what was there goes first. `applied` follows the disk at once. Raises JournalError.
        """
        db = self._db

        def job() -> None:
            with db.commit(full=True) as con:
                if full:
                    con.execute("DELETE FROM listed")
                con.executemany("DELETE FROM listed WHERE key = ?", ((key,) for key in gone))
                con.executemany(LISTED.insert, map(LISTED.sealed, rows))
                con.execute(LISTING.insert, LISTING.sealed(head))

        def then(_: None, error: BaseException | None) -> None:
            if error is None:
                applied()

        await self._writer.run(job, then)

    def put_token(self, key: str, row: Row | None) -> None:
        """Write (or remove) a row of the cache within 5 s or with the next commit."""
        self._lazy[key] = row
        self._arm(LAZY_S)

    async def flush(self) -> None:
        """Hand what waits lazily to the file. Raises JournalError."""
        if self._lazy:
            await self._commit([], full=False)

    async def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._flushing is not None:
            await asyncio.wait([self._flushing])
        try:
            await self.flush()
        except StoreError as error:
            log.warning("station: authorization cache not written at the end: %s", error)
        await self._writer.run(self._db.close)

    async def _commit(self, rows: list[tuple[Table, str, Row | None]], *, full: bool,
                      applied: Callable[[], None] | None = None) -> None:
        lazy, self._lazy = self._lazy, {}
        db = self._db
        rows = [*((TOKENS, key, row) for key, row in lazy.items()), *rows]

        def job() -> None:
            with db.commit(full=full) as con:
                for table, key, row in rows:
                    if row is None:
                        con.execute(f"DELETE FROM {table.name} WHERE {table.columns[0]} = ?",
                                    (key,))
                    else:
                        con.execute(table.insert, table.sealed(row))

        def then(_: None, error: BaseException | None) -> None:
            if error is not None:
                self._lazy = lazy | self._lazy
                if lazy:
                    self._arm(RETRY_S)
            elif applied is not None:
                applied()

        await self._writer.run(job, then)

    def _arm(self, delay_s: float) -> None:
        if self._timer is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._begin_flush)

    def _begin_flush(self) -> None:
        self._timer = None
        self._flushing = asyncio.get_running_loop().create_task(self._flush_if_possible())

    async def _flush_if_possible(self) -> None:
        try:
            await self.flush()
        except StoreError as error:
            log.warning("station: authorization cache not written: %s", error)
