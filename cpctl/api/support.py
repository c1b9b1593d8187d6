"""`support.bundle`: the redacted archive for whoever helps from afar, fetched piece by piece.

A line of the socket is bounded, so the archive is made first and then handed out in pieces. One at
a time: a new one takes the place of an old one that nobody fetched to the end.
"""

from __future__ import annotations

import asyncio
import base64
from datetime import datetime
from pathlib import Path
from typing import Any

from cpctl.api import wire
from cpctl.api.app import App, Table
from cpctl.api.args import Args
from cpctl.api.server import Caller, Right
from cpctl.api.wire import ApiError
from cpctl.core.jobs import LogKind

PIECE = 256 * 1024  # bytes; a third more as text, well below the longest line
KEPT_S = 600.0  # then a bundle that nobody fetched to the end is removed


class Support:
    """Makes bundles, holds the one that is being fetched."""

    def __init__(self, app: App):
        self._app = app
        self._file: Path | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._making = asyncio.Lock()

    def table(self) -> Table:
        return {"support.bundle": (Right.READ, self.bundle)}

    async def bundle(self, args: Args, caller: Caller) -> Any:
        """Without `bundle`: make one. With its name: the piece from byte `offset` on."""
        name, offset = args.text_or_none("bundle"), args.whole_or_none("offset") or 0
        since, until = _moment(args, "since"), _moment(args, "until")
        args.done()
        if name is None:
            return await self._made(since, until)
        return self._piece(name, offset)

    async def _made(self, since: datetime | None, until: datetime | None) -> dict[str, Any]:
        if self._making.locked():
            raise ApiError(wire.REFUSED, "a bundle is being made", "try again when it is there")
        async with self._making:
            self._drop()
            bundles = self._app.services.logs.bundles
            name = bundles.name(LogKind.DIAGNOSTICS)
            self._file = file = await bundles.make(LogKind.DIAGNOSTICS, name, since, until)
            self._timer = asyncio.get_running_loop().call_later(KEPT_S, self._drop)
        return {"bundle": name, "bytes": file.stat().st_size}

    def _piece(self, name: str, offset: int) -> dict[str, Any]:
        file = self._file
        if file is None or file.name != name:
            raise ApiError(wire.NOT_FOUND, f"there is no bundle {name[:80]} any more",
                           "make a new one: cpctl support bundle")
        if offset < 0:
            raise ApiError(wire.INVALID_PARAMS, f"offset {offset} is below 0", "begin with 0")
        with file.open("rb") as content:
            content.seek(offset)
            piece = content.read(PIECE)
            more = bool(content.read(1))
        if not more:
            self._drop()
        return {"piece": base64.b64encode(piece).decode(), "more": more}

    def _drop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._file is not None:
            self._app.services.logs.bundles.drop(self._file)
        self._file = self._timer = None


def _moment(args: Args, name: str) -> datetime | None:
    text = args.text_or_none(name)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ApiError(wire.INVALID_PARAMS, f"{name}: {text[:40]!r} is no time",
                       "write it as 2026-05-01T08:00:00Z")
    return found
