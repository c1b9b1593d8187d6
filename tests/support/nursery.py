"""Stations that are born to be killed (`support.mortal_station`), and the listener they call."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

from support import mortal_station

from cpctl.demo.csms import CentralSystem, _WebSocket

CLEAN_S = 90.0
TESTS = Path(__file__).resolve().parents[1]


class Exchange:
    """The central system's listener on a port of its own, which it keeps while it is down."""

    def __init__(self, central: CentralSystem) -> None:
        self.central = central
        self.heard: dict[int, int] = {}  # life -> monotonic ns of its first connection
        self._guard = socket.socket()
        self._guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._guard.bind(("127.0.0.1", 0))
        self.port = self._guard.getsockname()[1]
        self._server: Any = None

    async def up(self) -> None:
        from websockets.asyncio.server import serve
        from websockets.typing import Subprotocol

        self._server = await serve(
            self._attend, "127.0.0.1", self.port, subprotocols=[Subprotocol("ocpp1.6")],
            ping_interval=None, compression=None, reuse_port=True, close_timeout=1.0)

    async def down(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def close(self) -> None:
        await self.down()
        self._guard.close()

    async def _attend(self, connection: Any) -> None:
        life = int(connection.request.path.split("/")[1])
        self.heard.setdefault(life, time.monotonic_ns())
        await self.central.attend(_WebSocket(connection))

    async def flicker(self, rng: random.Random, enough: asyncio.Event) -> None:
        """Down and up by chance until it is enough; up at the end."""
        while not await _within(enough, rng.uniform(0.3, 4.0)):
            await self.down()
            await _within(enough, rng.uniform(0.2, 3.0))
            await self.up()


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Whether `event` was set within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


class Nursery:
    """The process that gives birth to stations, and the one that lives now."""

    def __init__(self, folder: Path, process: asyncio.subprocess.Process) -> None:
        self.folder = folder
        self._process = process

    async def kill_one(self, words: list[str], after_s: float, *, plain: bool) -> None:
        """A life of `after_s` seconds."""
        if plain:
            process = await asyncio.create_subprocess_exec(
                sys.executable, mortal_station.__file__, str(self.folder), *words, env=_env())
            await asyncio.sleep(after_s + 0.7)  # it has to import first
            assert process.returncode is None, f"the station ended by itself; {self.log()}"
            process.kill()
            await process.wait()
            return
        pid = await self._bear(words)
        await asyncio.sleep(after_s)
        os.kill(pid, signal.SIGKILL)
        status = await self._ended()
        assert os.WIFSIGNALED(status), f"the station ended by itself: {status}; {self.log()}"

    async def kill_when(self, words: list[str], moment: Awaitable[None]) -> None:
        """A life that ends when `moment` comes."""
        pid = await self._bear(words)
        try:
            await moment
        finally:
            os.kill(pid, signal.SIGKILL)
            status = await self._ended()
        assert os.WIFSIGNALED(status), f"the station ended by itself: {status}; {self.log()}"

    async def whole_life(self, words: list[str]) -> None:
        pid = await self._bear(words)
        try:
            async with asyncio.timeout(CLEAN_S):
                status = await self._ended()
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"the station does not come to rest; {self.log()}") from None
        assert status == 0, f"the station ended with {status}; {self.log()}"

    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-6000:]
                         for path in sorted(self.folder.glob("*.log")) if path.stem != "world")

    async def _bear(self, words: list[str]) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write((" ".join(words) + "\n").encode())
        return int(await self._word("born"))

    async def _ended(self) -> int:
        return int(await self._word("ended"))

    async def _word(self, expected: str) -> str:
        assert self._process.stdout is not None
        word, _, number = (await self._process.stdout.readline()).decode().partition(" ")
        assert word == expected, f"the nursery said {word!r} instead of {expected}; {self.log()}"
        return number


def _env() -> dict[str, str]:
    path = os.pathsep.join([str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)}


@contextlib.asynccontextmanager
async def nursery(folder: Path) -> AsyncIterator[Nursery]:
    with (folder / "nursery.log").open("wb") as complaints:
        process = await asyncio.create_subprocess_exec(
            sys.executable, mortal_station.__file__, str(folder), env=_env(),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=complaints,
            start_new_session=True)
    try:
        yield Nursery(folder, process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
