"""The ground of both files of the store: who runs a job, and how it is committed.

Every job runs on the one writer, one after another, so a connection is never used by two. What a
job does to memory happens on the loop's thread, in `then`, also when who asked has been cancelled
meanwhile: disk and memory never part.
"""

import asyncio
import logging
import os
import queue
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from cpctl.store.errors import JournalError, translated

log = logging.getLogger(__name__)

T = TypeVar("T")
Trace = Callable[[str], None]
Then = Callable[[T | None, BaseException | None], None]  # a job's result, or its error

APPLICATION_ID = 0x63706374  # "cpct": tells our files from others
PAGE_BYTES = 4096
WAL_LIMIT_PAGES = 256  # a flipped bit in the log costs what follows it: keep it short
CACHE_KIB = 512
OWNER_ONLY = 0o600


class Writer(Protocol):
    """Runs jobs in the order they came. `trace` is called with each SQL text before it runs."""

    trace: Trace | None

    async def run(self, fn: Callable[[], T], then: Then[T] | None = None) -> T: ...

    async def close(self) -> None: ...


class InlineWriter:
    """Runs each job at once, in the caller's thread: for virtual time."""

    def __init__(self, trace: Trace | None = None) -> None:
        self.trace = trace

    async def run(self, fn: Callable[[], T], then: Then[T] | None = None) -> T:
        try:
            result = fn()
        except BaseException as error:
            if then is not None:
                then(None, error)
            raise
        if then is not None:
            then(result, None)
        return result

    async def close(self) -> None:
        """Nothing to end."""


_Job = tuple[Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]", Any]


class ThreadWriter:
    """Runs the jobs on one thread, which begins with the first job."""

    def __init__(self, trace: Trace | None = None) -> None:
        self.trace = trace
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, fn: Callable[[], T], then: Then[T] | None = None) -> T:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="store", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((fn, loop, future, then))
        return await future

    async def close(self) -> None:
        """End the thread after the jobs already handed in."""
        if self._thread is None:
            return
        await self.run(lambda: None)
        self._jobs.put(None)
        self._thread.join()
        self._thread = None

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            fn, loop, future, then = job
            result, failure = None, None
            try:
                result = fn()
            except BaseException as error:  # noqa: BLE001 - carried to who asked
                failure = error
            try:
                loop.call_soon_threadsafe(_finish, future, then, result, failure)
            except RuntimeError:  # the loop is closed: nobody is left to be told
                log.debug("a job of the store ended after its loop")
            del job, fn, loop, future, then, result, failure  # hold nothing while waiting


def _finish(future: "asyncio.Future[T]", then: Then[T] | None, result: T,
            error: BaseException | None) -> None:
    if then is not None:
        then(None if error is not None else result, error)
    if future.cancelled():
        if error is not None:
            log.warning("a job of the store failed after its caller had gone: %s", error)
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


def _close_to_others(path: Path) -> None:
    """Passwords and tokens are in there. The log beside it gets the mode of the file."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, OWNER_ONLY))
        if stat.S_IMODE(path.stat().st_mode) & ~OWNER_ONLY:
            path.chmod(OWNER_ONLY)
    except OSError as error:
        log.debug("%s: mode not set: %s", path, error)  # what it means is told by who opens it


class Database:
    """One connection in WAL mode, used by jobs of the writer alone.

    `commit(full=True)` reaches the disk before it returns; `full=False` reaches it with the next
    full one (a killed process loses neither). The file is held exclusively: no shared memory file,
    no second daemon.
    """

    def __init__(self, path: Path, trace: Trace | None = None) -> None:
        self.path = path
        self._grade: str | None = None
        self._con: sqlite3.Connection | None = None
        self.commits = 0
        try:
            _close_to_others(path)
            self._con = sqlite3.connect(path, timeout=2.0, isolation_level=None,
                                        check_same_thread=False, cached_statements=48)
            if trace is not None:
                self._con.set_trace_callback(trace)
            self._prepare(self._con)
        except sqlite3.Error as error:
            if self._con is not None:
                self._con.close()
            raise translated(path, error) from error

    def _prepare(self, con: sqlite3.Connection) -> None:
        for pragma in ("locking_mode=EXCLUSIVE", f"page_size={PAGE_BYTES}", "cell_size_check=ON",
                       "journal_mode=WAL", f"wal_autocheckpoint={WAL_LIMIT_PAGES}",
                       f"cache_size=-{CACHE_KIB}", "secure_delete=ON", "temp_store=MEMORY",
                       "trusted_schema=OFF"):
            con.execute(f"PRAGMA {pragma}").fetchall()

    @property
    def con(self) -> sqlite3.Connection:
        if self._con is None:
            raise JournalError(f"{self.path.name}: closed already; start the daemon again")
        return self._con

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Translate what sqlite raises while a job reads."""
        try:
            yield self.con
        except sqlite3.Error as error:
            raise translated(self.path, error) from error

    @contextmanager
    def commit(self, *, full: bool) -> Iterator[sqlite3.Connection]:
        """All statements inside, or none. Raises JournalError when nothing was written."""
        con = self.con
        try:
            if con.in_transaction:  # a rollback that failed earlier
                con.execute("ROLLBACK")
            self._set_grade("FULL" if full else "NORMAL")
            con.execute("BEGIN IMMEDIATE")
            try:
                yield con
                con.execute("COMMIT")
            except BaseException:
                if con.in_transaction:
                    con.execute("ROLLBACK")
                raise
            self.commits += 1
        except sqlite3.Error as error:
            raise translated(self.path, error) from error

    def _set_grade(self, grade: str) -> None:
        if grade != self._grade:
            self.con.execute(f"PRAGMA synchronous={grade}")
            self._grade = grade

    def checkpoint(self) -> int:
        """Bring the log into the file, keep the log at its size; returns the frames it held."""
        with self.reading() as con:
            row = con.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            return max(0, int(row[1]))

    def used_bytes(self) -> int:
        """Pages in use, without those free for reuse."""
        with self.reading() as con:
            pages = int(con.execute("PRAGMA page_count").fetchone()[0])
            free = int(con.execute("PRAGMA freelist_count").fetchone()[0])
            return (pages - free) * PAGE_BYTES

    def close(self) -> None:
        if self._con is not None:
            self._con.close()
            self._con = None
