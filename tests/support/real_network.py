"""Real WebSockets between station and central system, with the hands of `memory_link.Network`.

The station's own connector and a real server on loopback; in between nothing but what a test does:
`down()` closes the port and every connection, `up = True` through `come_back()`. With `tls` (a
server-side SSLContext) the port speaks TLS.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from cpctl.demo.csms import CentralSystem
from cpctl.link.connection import WebsocketConnector
from cpctl.link.errors import ConnectRefused


class RealNetwork:
    """One central system behind a real port. `check` may refuse an opening request by its headers:
    it returns an HTTP status, or None to let it in."""

    def __init__(self, central: CentralSystem, *, tls: ssl.SSLContext | None = None) -> None:
        self.central = central
        self.tls = tls
        self.up = True
        self.subprotocol: str | None = "ocpp1.6"
        self.check: Callable[[dict[str, str]], int | None] = lambda headers: None
        self.openings: list[dict[str, str]] = []  # headers of each opening request, lower case
        self.paths: list[str] = []
        self.port = 0
        self._server: Any = None
        self._connections: set[Any] = set()
        self._real = WebsocketConnector()

    @property
    def url(self) -> str:
        return f"{'wss' if self.tls else 'ws'}://127.0.0.1:{self.port}/ocpp"

    async def open(self) -> None:
        """Listen, on the same port as before if there was one."""
        from websockets.asyncio.server import serve
        from websockets.typing import Subprotocol

        spoken = [Subprotocol(self.subprotocol)] if self.subprotocol else None
        self._server = await serve(
            self._attend, "127.0.0.1", self.port, subprotocols=spoken, ping_interval=None,
            compression=None, process_request=self._request, ssl=self.tls, open_timeout=None)
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        self.up = True

    def _request(self, connection: Any, request: Any) -> Any:
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        self.openings.append(headers)
        self.paths.append(request.path)
        status = self.check(headers)
        if status is not None:
            return connection.respond(status, "refused\n")
        return None

    async def _attend(self, connection: Any) -> None:
        from cpctl.demo.csms import _WebSocket

        self._connections.add(connection)
        try:
            await self.central.attend(_WebSocket(connection))
        finally:
            self._connections.discard(connection)

    async def connect(self, url: str, subprotocols: Sequence[str],
                      headers: Sequence[tuple[str, str]], ssl: Any) -> Any:
        """As the station's connector: it is one."""
        if not self.up:
            raise ConnectRefused(f"{url}: no route in this story")
        return await self._real.connect(url, subprotocols, headers, ssl)

    def down(self) -> None:
        """The network goes: what is under way is lost, nobody can connect."""
        self.up = False
        self.cut()

    def cut(self) -> None:
        for connection in tuple(self._connections):
            connection.transport.abort()

    async def close(self) -> None:
        self.cut()
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(asyncio.CancelledError):
                await self._server.wait_closed()
            self._server = None
