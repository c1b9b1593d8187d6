"""WebSocket pairs in memory: the station's link at one end, the central system at the
other.

Frames pass through the event loop as those of a real connection do: sending returns at once, the
other side reads later. `cut()` is a cable torn out: what is under way is lost.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from cpctl.demo.csms import CentralSystem
from cpctl.link.errors import ConnectionLost, ConnectRefused


class Wire:
    """One connection: two queues and one end."""

    def __init__(self) -> None:
        self.to_central: asyncio.Queue[str | None] = asyncio.Queue()
        self.to_station: asyncio.Queue[str | None] = asyncio.Queue()
        self.closed: tuple[int, str] | None = None
        self.silent = False  # half open: nothing passes any more, nobody is told

    def end(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = (code, reason)
            self.to_central.put_nowait(None)
            self.to_station.put_nowait(None)


class StationEnd:
    """What the link holds."""

    peer = None  # no TLS here

    def __init__(self, wire: Wire, subprotocol: str | None, network: "Network") -> None:
        self._wire = wire
        self._network = network
        self.subprotocol = subprotocol

    async def recv(self) -> str | bytes:
        if self._wire.closed is not None and self._wire.to_station.empty():
            raise ConnectionLost(*self._wire.closed)
        text = await self._wire.to_station.get()
        if text is None:
            self._wire.to_station.put_nowait(None)
            raise ConnectionLost(*(self._wire.closed or (1006, "")))
        return text

    def listen(self, ear: Callable[[str], bool] | None) -> None:
        """All is told by `recv`."""

    async def send(self, text: str) -> None:
        if not self.send_now(text):
            raise ConnectionLost(*(self._wire.closed or (1006, "")))

    def send_now(self, text: str) -> bool:
        if self._wire.closed is not None:
            return False
        if self._network.passes("station", text) and self._alive():
            self._wire.to_central.put_nowait(text)
        return True

    def _alive(self) -> bool:
        return not self._wire.silent and self._wire.closed is None

    async def ping(self) -> Awaitable[object]:
        if self._wire.closed is not None:
            raise ConnectionLost(*self._wire.closed)
        return self._pong()

    async def _pong(self) -> None:
        while self._wire.silent and self._wire.closed is None:
            await asyncio.sleep(1.0)
        if self._wire.closed is not None:
            raise ConnectionLost(*self._wire.closed)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self._wire.end(code, reason)


class CentralEnd:
    """What the central system holds."""

    def __init__(self, wire: Wire, network: "Network") -> None:
        self._wire = wire
        self._network = network

    async def recv(self) -> str | bytes:
        text = await self._wire.to_central.get()
        if text is None:
            self._wire.to_central.put_nowait(None)
            raise EOFError("closed")
        return text

    async def send(self, text: str) -> None:
        if self._wire.closed is not None:
            raise EOFError("closed")
        if self._network.passes("central", text) and self._alive():
            self._wire.to_station.put_nowait(text)

    def _alive(self) -> bool:
        return not self._wire.silent and self._wire.closed is None

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self._wire.end(code, reason)


class Network:
    """Connects a station with one central system; `up` False: nobody can be reached."""

    def __init__(self, central: CentralSystem) -> None:
        self.central = central
        self.up = True
        self.subprotocol: str | None = "ocpp1.6"
        self.attempts: list[tuple[str, dict[str, str]]] = []
        self.on_frame: Callable[[str, str], None] | None = None
        self.sealed = False  # nothing passes any more, and nobody notices
        self._wires: list[Wire] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self, url: str, subprotocols: Sequence[str],
                      headers: Sequence[tuple[str, str]], ssl: Any) -> StationEnd:
        self.attempts.append((url, dict(headers)))
        await asyncio.sleep(0)
        if not self.up:
            raise ConnectRefused(f"{url}: no route in this story")
        wire = Wire()
        self._wires.append(wire)
        task = asyncio.create_task(self.central.attend(CentralEnd(wire, self)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return StationEnd(wire, self.subprotocol, self)

    def passes(self, sender: str, text: str) -> bool:
        """Whether a frame arrives. One that seals the network by being seen still does."""
        if self.sealed:
            return False
        if self.on_frame is not None:
            self.on_frame(sender, text)
        return True

    def down(self) -> None:
        """The network goes: what is under way is lost, nobody can connect."""
        self.up = False
        self.cut()

    def cut(self) -> None:
        for wire in self._wires:
            wire.to_central = asyncio.Queue() if wire.closed is None else wire.to_central
            wire.end(1006, "cut")
        self._wires.clear()

    def freeze(self) -> None:
        """Half open: the connection stands and nothing passes any more."""
        for wire in self._wires:
            wire.silent = True

    async def close(self) -> None:
        self.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
