"""A server on a real Unix socket with methods of the test's own, and a client that sends bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from support import aio

from cpctl.api import wire
from cpctl.api.server import Caller, Peer, Right, Server


class PlainMethods:
    """A few methods that show what the server does with them."""

    def __init__(self) -> None:
        self.callers: list[Caller] = []
        self.acted: list[wire.Params] = []
        self.let_go = asyncio.Event()

    def right_for(self, method: str) -> Right:
        if method in ("echo", "watch", "bug", "nonsense", "slow"):
            return Right.READ
        if method == "act":
            return Right.ACT
        raise wire.ApiError(wire.METHOD_NOT_FOUND, f"method not found: {method}", "see --help")

    async def call(self, method: str, params: wire.Params, caller: Caller) -> Any:
        if method == "watch":
            self.callers.append(caller)
            caller.at_end.append(lambda: self.callers.remove(caller))
        elif method == "bug":
            raise ZeroDivisionError("one by nothing")
        elif method == "nonsense":
            return {"value": float("nan")}
        elif method == "slow":
            await self.let_go.wait()
        elif method == "act":
            if params.get("refuse"):
                raise wire.ApiError(wire.REFUSED, "refused: because", "do this instead")
            self.acted.append(params)
        return params


class Wire:
    """One connection of a client, in bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()

    async def answer(self) -> dict[str, Any]:
        """The next line; an empty object when the server closed the connection."""
        try:
            line = await self.reader.readline()
        except ConnectionResetError:  # closed with bytes of ours still unread
            line = b""
        return json.loads(line) if line else {}

    async def ask(self, raw: bytes) -> dict[str, Any]:
        await self.send(raw + b"\n")
        return await self.answer()

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        return await self.ask(wire.request(1, method, params).strip())

    async def is_alive(self) -> bool:
        return (await self.call("echo", x=1)).get("result") == {"x": 1}


class ApiBench:
    def __init__(self, path: Path, server: Server, methods: PlainMethods) -> None:
        self.path, self.server, self.methods = path, server, methods
        self._wires: list[Wire] = []

    async def connect(self) -> Wire:
        line = Wire(*await asyncio.open_unix_connection(self.path, limit=1 << 24))
        self._wires.append(line)
        return line

    async def until(self, holds: Callable[[], bool]) -> None:
        """Give the server its turns until `holds`."""
        async with asyncio.timeout(20):
            while not holds():
                await asyncio.sleep(0.001)

    async def hang_up(self) -> None:
        for line in self._wires:
            line.writer.close()


def with_server(story: Callable[[ApiBench], Awaitable[None]], path: Path,
                rights: Callable[[Peer], Right] | None = None) -> None:
    """Run `story` against a server on `path`; everything is closed afterwards."""
    async def whole() -> None:
        methods = PlainMethods()
        more = {} if rights is None else {"rights": rights}
        server = Server(path, methods, **more)
        await server.start()
        bench = ApiBench(path, server, methods)
        try:
            await story(bench)
        finally:
            await bench.hang_up()
            await server.close()

    aio.run(whole())
