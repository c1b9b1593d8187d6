"""What a connection sends beside our calls: the answers to theirs, and pings."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from cpctl.core.settings import Settings
from cpctl.link.connection import Socket
from cpctl.link.errors import ConnectionLost

PING_LOOK_S = 30.0  # how soon a changed ping interval is noticed
MOST_ANSWERS_WAITING = 64  # then the reader waits: who does not read is not read
FAREWELL_S = 2.0  # for the answers that wait when we end a connection


class Answers:
    """Answers on their way, in order. The reader waits while there are too many."""

    def __init__(self) -> None:
        self._texts: deque[str] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def wait(self) -> bool:
        """Whether something has not gone out yet."""
        return bool(self._texts)

    @property
    def crowded(self) -> bool:
        """Whether no further call should be taken before some have gone out."""
        return len(self._texts) > MOST_ANSWERS_WAITING

    def add(self, text: str) -> None:
        self._texts.append(text)
        self._wake.set()

    def clear(self) -> None:
        self._texts.clear()

    async def room(self) -> None:
        """Returns when there is room for the answer to another call."""
        if self.crowded:
            self._room.clear()
            await self._room.wait()

    async def run(self, socket: Socket) -> None:
        """Send what comes, for ever. Raises ConnectionLost."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self.flush(socket)

    async def flush(self, socket: Socket) -> None:
        """Send what waits. Raises ConnectionLost."""
        while self._texts:
            await socket.send(self._texts.popleft())
        self._room.set()

    async def farewell(self, socket: Socket) -> None:
        """A connection that ends by our will owes the answers it has promised."""
        if not self._texts:
            return
        try:
            async with asyncio.timeout(FAREWELL_S):
                await self.flush(socket)
        except (ConnectionLost, TimeoutError):
            self.clear()


class Pulse:
    """Whether the other side lives. `heard` is told of each sign of life."""

    def __init__(self, settings: Callable[[], Settings], heard: Callable[[], None]) -> None:
        self._settings = settings
        self._heard = heard

    async def run(self, socket: Socket) -> None:
        """16.RPC.11: a half-open link is noticed within the interval and the pong's time. Returns
        when a pong did not come."""
        loop = asyncio.get_running_loop()
        last_s = loop.time()
        while True:
            interval_s = self._settings().integer("link.ping_s")
            left_s = last_s + interval_s - loop.time()
            if interval_s == 0 or left_s > 0:
                await asyncio.sleep(min(left_s, PING_LOOK_S) if interval_s else PING_LOOK_S)
                continue
            last_s = loop.time()
            if not await self.pong(socket):
                return

    async def pong(self, socket: Socket) -> bool:
        try:
            async with asyncio.timeout(self._settings().integer("link.pong_timeout_s")):
                await (await socket.ping())
        except (TimeoutError, ConnectionLost):
            return False
        self._heard()
        return True
