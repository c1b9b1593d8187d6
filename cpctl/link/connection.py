"""Sockets to the central system: what the link wants of one, and the real one on `websockets`.

Imported lazily: a client of the daemon and a test in virtual time never load the library. Redirects
are not followed, no proxy is consulted, nothing is compressed, pings are the link's business.
Source: findings on `websockets` 15 to 17; OCPP-J 1.6 sections 3 and 5.1.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from cpctl.link.errors import ConnectionLost, ConnectRefused
from cpctl.link.route import Tls

if TYPE_CHECKING:
    import ssl

    from cpctl.link.short_way import ShortWay
    from cpctl.link.tls import Context, Peer

log = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 30.0  # mobile networks take their time
CLOSE_TIMEOUT_S = 2.0
MAX_BYTES = 262_144

Headers = Sequence[tuple[str, str]]
Ear = Callable[[str], bool]


class Socket(Protocol):
    """An open connection. Every method raises ConnectionLost once it is gone."""

    @property
    def subprotocol(self) -> str | None: ...
    @property
    def peer(self) -> Peer | None:
        """Who is at the other end; None without TLS."""
        ...

    async def recv(self) -> str | bytes: ...
    def listen(self, ear: Ear | None) -> None:
        """Whom texts may be told the moment they come, beside `recv` and in one order with it; an
        ear that returns False is told it by `recv`. None: all by `recv`."""
        ...

    async def send(self, text: str) -> None: ...
    def send_now(self, text: str) -> bool:
        """Send without waiting; False: nothing was sent, `send` may have to wait or to fail."""
        ...

    async def ping(self) -> Awaitable[object]:
        """Sends a ping; what is returned is awaited for its pong."""
        ...

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Never hangs, and raises nothing."""
        ...


class Connector(Protocol):
    """Opens sockets."""

    async def connect(self, url: str, subprotocols: Sequence[str], headers: Headers,
                      ssl: Tls | None) -> Socket:
        """Raises ConnectRefused."""
        ...


class WebsocketConnector:
    """The real one."""

    async def connect(self, url: str, subprotocols: Sequence[str], headers: Headers,
                      ssl: Tls | None) -> Socket:
        if ssl is None:
            return WebsocketSocket(await _connected(url, subprotocols, headers, None))
        from cpctl.link import tls

        context = tls.context_for(ssl)
        try:
            return WebsocketSocket(await _connected(url, subprotocols, headers, context))
        except ConnectRefused as error:
            raise await _explained(url, error, context, ssl) from error


async def _connected(url: str, subprotocols: Sequence[str], headers: Headers,
                     context: ssl.SSLContext | None) -> ShortWay:
    from websockets.exceptions import InvalidStatus, WebSocketException

    try:
        return await _opening(url, subprotocols, headers, context)
    except InvalidStatus as error:
        status = error.response.status_code
        raise ConnectRefused(f"{url}: refused with HTTP {status}{_step(status)}",
                             status=status) from error
    except TimeoutError as error:
        raise ConnectRefused(f"{url}: no answer within {OPEN_TIMEOUT_S:.0f} s; check address"
                             " and network") from error
    except OSError as error:
        raise _unreachable(url, error) from error
    except (WebSocketException, EOFError) as error:
        raise ConnectRefused(f"{url}: no WebSocket of OCPP answers there: {error}") from error


def _step(status: int) -> str:
    if status in (401, 403):
        return "; check identity and password ([station] identity, [csms] password_file)"
    if status == 404:
        return "; does the central system know this identity?"
    if 300 <= status < 400:
        return "; redirects are not followed, write the final address into [csms] url"
    return ""


def _unreachable(url: str, error: OSError) -> ConnectRefused:
    if isinstance(error, ConnectionResetError):  # while we shook hands
        return ConnectRefused(f"{url}: the other side hung up at once; check the port, and whether"
                              " it speaks TLS: wss:// in [csms] url if it does, else ws://")
    return ConnectRefused(f"{url}: {str(error) or type(error).__name__}; check address and network")


async def _explained(url: str, error: ConnectRefused, context: Context, given: Tls
                     ) -> ConnectRefused:
    """What failed over TLS, by its cause."""
    from ssl import SSLError

    from cpctl.link import tls

    cause = error.__cause__
    if isinstance(cause, SSLError):
        return tls.refused(url, cause, context, given)
    hung_up = isinstance(cause, ConnectionResetError | BrokenPipeError) or (
        cause is not None and isinstance(cause.__cause__, EOFError))
    if not hung_up:
        return error
    known = tls.hung_up(url, context, given)
    if known is None:
        parts = urlsplit(url)
        known = await tls.what_is_offered(url, parts.hostname or "", parts.port or 443)
    return known or error


def _opening(url: str, subprotocols: Sequence[str], headers: Headers,
             context: ssl.SSLContext | None) -> Awaitable[ShortWay]:
    from websockets.asyncio.client import connect

    from cpctl.link.short_way import ShortWay

    class Straight(connect):
        """Redirects are an answer like any other refusal: credentials go where they were meant."""

        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc

    options: dict[str, Any] = {} if context is None else {"ssl": context}
    made: Awaitable[Any] = Straight(
        url, subprotocols=list(subprotocols), additional_headers=list(headers),  # type: ignore[arg-type]
        user_agent_header="cpctl", compression=None, proxy=None, max_size=MAX_BYTES,
        open_timeout=OPEN_TIMEOUT_S, close_timeout=CLOSE_TIMEOUT_S, create_connection=ShortWay,
        ping_interval=None, ping_timeout=None, logger=_quiet(), **options)
    return made


def _quiet() -> logging.Logger:
    """The library logs whole frames, passwords too: only its warnings are let through."""
    quiet = logging.getLogger("websockets.client")
    quiet.setLevel(logging.WARNING)
    return quiet


class WebsocketSocket:
    """One connection of `websockets`."""

    def __init__(self, connection: ShortWay) -> None:
        from websockets.exceptions import ConnectionClosed

        self._connection = connection
        self._closed = ConnectionClosed
        self._recv = connection.recv
        self._send = connection.send

    @property
    def subprotocol(self) -> str | None:
        return self._connection.subprotocol

    @property
    def peer(self) -> Peer | None:
        connected = self._connection.transport.get_extra_info("ssl_object")
        if connected is None:
            return None
        from cpctl.link import tls

        return tls.peer(connected)

    async def recv(self) -> str | bytes:
        try:
            return await self._recv()
        except self._closed as error:
            raise self._lost() from error

    def listen(self, ear: Ear | None) -> None:
        self._connection.ear = ear

    def send_now(self, text: str) -> bool:
        return self._connection.send_text_now(text)

    async def send(self, text: str) -> None:
        if self.send_now(text):
            return
        try:
            await self._send(text)
        except self._closed as error:
            raise self._lost() from error

    async def ping(self) -> Awaitable[object]:
        try:
            return self._pong(await self._connection.ping())
        except self._closed as error:
            raise self._lost() from error

    async def _pong(self, waiter: Awaitable[float]) -> None:
        try:
            await waiter
        except self._closed as error:
            raise self._lost() from error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S + 0.5):
                await self._connection.close(code, reason[:100])
        except TimeoutError:
            self._connection.transport.abort()

    def _lost(self) -> ConnectionLost:
        return ConnectionLost(self._connection.close_code or 1006,
                              self._connection.close_reason or "")
