"""The central system of the emulated station, on this host: its books outlive every power cut.

The project's embedded one (`cpctl.demo.csms`), in a thread of its own. Beside it a small web server
for what an update fetches.
"""

import asyncio
import functools
import http.server
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from cpctl.demo.csms import Books, CentralSystem, Transaction, serve
from tests.system.machine import Stuck

HOST_SEEN_FROM_GUEST = "10.0.2.2"


class Central:
    """Close it with `stop`."""

    def __init__(self) -> None:
        self.system = CentralSystem(heartbeat_s=300)
        self.port = 0
        self._up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="central system")
        self._thread.start()
        if not self._up.wait(10):
            raise Stuck("the central system does not start")

    @property
    def url(self) -> str:
        """As the station reaches it."""
        return f"ws://{HOST_SEEN_FROM_GUEST}:{self.port}/ocpp"

    @property
    def books(self) -> Books:
        return self.system.books

    @property
    def transactions(self) -> list[Transaction]:
        return list(self.system.books.transactions)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        async with serve(self.system) as url:
            self.port = int(url.split(":")[2].split("/")[0])
            self._up.set()
            await self._end.wait()

    def call(self, action: str, payload: dict[str, Any] | None = None, limit_s: float = 30.0
             ) -> dict[str, Any]:
        """One call to the station. Raises Stuck."""
        asked: Future[dict[str, Any]] = asyncio.run_coroutine_threadsafe(
            self.system.call(action, payload), self._loop)
        try:
            return asked.result(limit_s)
        except Exception as error:
            asked.cancel()
            raise Stuck(f"{action}: {type(error).__name__} {error}") from error

    def until(self, holds: Callable[[Books], Any], limit_s: float, what: str) -> float:
        """Wait until the books say so; how long that took. Raises Stuck."""
        began_s = time.monotonic()
        while not holds(self.books):
            if time.monotonic() - began_s > limit_s:
                raise Stuck(f"the central system does not see {what} within {limit_s:g} s")
            time.sleep(0.05)
        return time.monotonic() - began_s

    def until_online(self, limit_s: float = 120.0) -> None:
        self.until(lambda _: self.system.online, limit_s, "the station")

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(5)


class Downloads:
    """The files of a folder over HTTP, for what the station fetches."""

    def __init__(self, folder: Path):
        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, format: str, *words: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, name: str) -> str:
        return f"http://{HOST_SEEN_FROM_GUEST}:{self._server.server_address[1]}/{name}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
