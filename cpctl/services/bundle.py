"""The support bundle and the security log: what goes in is collected here, packed by a child.

The books are held by the daemon alone, so it copies out of them what is wanted, some hundred lines
at a time; `bundle_child.py` leaves out, shortens and packs. Files lie in a folder of their own,
for the owner only, and are gone after use and at every start.
"""

import asyncio
import json
import logging
import os
import re
import shutil
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from cpctl.core.jobs import LogKind
from cpctl.core.now import Now
from cpctl.services.child import ChildFailed, Children
from cpctl.store.errors import StoreError
from hal.late import dataclass

log = logging.getLogger(__name__)

MODULE = "cpctl.services.bundle_child"
MAKE_LIMIT_S = 300.0
FACTS = 20_000  # the newest of the books
BATCH = 500
SECURITY_KIND = "SecurityEventRaised"
FOLDER = "outbox"


class Books(Protocol):
    """The journal, as far as it is copied from."""

    async def export(self, after: int = 0, limit: int = ..., kind: str | None = ...
                     ) -> tuple[str, ...]: ...
    async def newest(self) -> int: ...
    async def holds(self, since: datetime | None, until: datetime | None,
                    kind: str | None = ...) -> bool: ...


@dataclass(frozen=True)
class Sources:
    """What a bundle is made of beside the books. `lines`: of the log, with their time (s, UTC).

    `secrets` are what must appear nowhere: they are handed to the child on its standard input and
    kept nowhere. `tokens` are what appears shortened.
    """

    lines: Callable[[], Iterable[tuple[float, str]]]
    pictures: Callable[[], Awaitable[Mapping[str, Any]]]
    secrets: Callable[[], Iterable[str]]
    tokens: Callable[[], Iterable[str]]
    config_files: Sequence[str] = ()
    identity: str = "station"


class BundleFailed(StoreError):
    """No file could be made; the text says why, and what to do."""


class Bundles:
    """Makes files to hand out, in the folder `outbox` of the store."""

    def __init__(self, children: Children, books: Books, store: Path, sources: Sources,
                 now: Callable[[], Now]) -> None:
        self._children = children
        self._books = books
        self._folder = store / FOLDER
        self._store = store
        self._sources = sources
        self._now = now

    async def holds(self, kind: LogKind, since: datetime | None, until: datetime | None) -> bool:
        """Whether there is anything of that kind in that span of time."""
        if since is not None and until is not None and since > until:
            return False
        if kind is LogKind.DIAGNOSTICS and since is None and until is None:
            return True
        if kind is LogKind.DIAGNOSTICS and any(
                _within(at, since, until) for at, _ in self._sources.lines()):
            return True
        try:
            wanted = SECURITY_KIND if kind is LogKind.SECURITY else None
            return await self._books.holds(since, until, wanted)
        except StoreError as error:
            log.warning("the books cannot be read for a log: %s", error)
            return kind is LogKind.DIAGNOSTICS

    def name(self, kind: LogKind, job: int | None = None) -> str:
        """What the file is to be called; no two are alike within a second."""
        who = re.sub(r"[^A-Za-z0-9_.-]", "_", self._sources.identity)[:60].lstrip(".") or "station"
        what = "security" if kind is LogKind.SECURITY else "diagnostics"
        at = self._now().utc.strftime("%Y%m%dT%H%M%SZ")
        number = "" if job is None else f"-{job}"
        return f"{who}-{what}-{at}{number}{'.jsonl' if kind is LogKind.SECURITY else '.tar.gz'}"

    async def make(self, kind: LogKind, name: str, since: datetime | None = None,
                   until: datetime | None = None) -> Path:
        """The file, called `name`, in a folder that `drop` removes. Raises BundleFailed."""
        folder = self._folder / uuid.uuid4().hex
        try:
            folder.mkdir(parents=True, mode=0o700)
            self._folder.chmod(0o700)
            order = await self._order(kind, folder, folder / name)
            order |= {"since": _stamp(since), "until": _stamp(until)}
            await self._children.run(MODULE, order, limit_s=MAKE_LIMIT_S)
            for used in folder.iterdir():
                if used.name != name:
                    used.unlink()
        except (OSError, ChildFailed) as error:
            self.drop(folder / name)
            raise BundleFailed(f"{name} cannot be made: {error}; see cpctl doctor") from error
        except BaseException:
            self.drop(folder / name)
            raise
        return folder / name

    def drop(self, file: Path) -> None:
        """A file of `make` is not needed any more."""
        shutil.rmtree(file.parent, ignore_errors=True)

    async def _order(self, kind: LogKind, folder: Path, out: Path) -> dict[str, Any]:
        sources = self._sources
        order: dict[str, Any] = {
            "out": str(out), "kind": kind.value, "secrets": list(sources.secrets()),
            "tokens": await _spooled(folder / "tokens", sources.tokens()), "problems": []}
        try:
            order["books"] = await self._books_copied(kind, folder / "books")
        except StoreError as error:
            order["problems"].append(f"the books cannot be read: {error}")
        if kind is LogKind.DIAGNOSTICS:
            order |= {"lines": await _spooled(folder / "lines", sources.lines()),
                      "config_files": list(sources.config_files),
                      "pictures": dict(await sources.pictures()), "store": str(self._store)}
        return order

    async def _books_copied(self, kind: LogKind, into: Path) -> str:
        with _private(into) as file:
            if kind is LogKind.SECURITY:
                await self._copy(file, 0, SECURITY_KIND)
            else:
                await self._copy(file, max(0, await self._books.newest() - FACTS), None)
        return str(into)

    async def _copy(self, file: Any, after: int, kind: str | None) -> None:
        while lines := await self._books.export(after, BATCH, kind):
            file.write("\n".join(lines) + "\n")
            after = int(json.loads(lines[-1])["no"])
            if len(lines) < BATCH:
                return


def clean(store: Path) -> None:
    """What an earlier life left lying is removed."""
    shutil.rmtree(store / FOLDER, ignore_errors=True)


async def _spooled(path: Path, values: Iterable[Any]) -> str:
    """`values` as JSON lines in a file; the loop has other things to do in between."""
    with _private(path) as file:
        for number, one in enumerate(tuple(values), 1):
            file.write(json.dumps(one) + "\n")
            if number % BATCH == 0:
                await asyncio.sleep(0)
    return str(path)


def _private(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")


def _within(at: float, since: datetime | None, until: datetime | None) -> bool:
    return ((since is None or at >= since.timestamp())
            and (until is None or at <= until.timestamp()))


def _stamp(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
