"""SFTP, in the transfer's process. User and password stand in the URL; no key, agent or
configuration of the machine is used.

The first host key that a server shows is kept (`known_hosts`) and must be shown ever after. A path
is absolute, one that begins with /~/ starts at the login's home.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncssh

from cpctl.services.child import ChildFailed, Told
from cpctl.services.transfer_parts import CONNECT_S, Place, Sink, Source, of_system

SFTP_BLOCK = 1 << 18  # bytes; the library has parts of it under way at once
T = TypeVar("T")

_SFTP_KINDS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((asyncssh.SFTPPermissionDenied, asyncssh.SFTPWriteProtect), "permission"),
    ((asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded), "disk_full"),
    ((asyncssh.SFTPNoConnection, asyncssh.SFTPConnectionLost, asyncssh.SFTPEOFError), "cut"),
    ((asyncssh.SFTPOpUnsupported,), "unsupported"),
)
_SSH_KINDS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((asyncssh.PermissionDenied, asyncssh.IllegalUserName), "permission"),
    ((asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed, asyncssh.MACError), "tls"),
    ((asyncssh.ServiceNotAvailable,), "unreachable"),
    ((asyncssh.ProtocolError, asyncssh.ProtocolNotSupported), "bad_message"),
)


def upload(place: Place, source: Source, order: Told) -> None:
    asyncio.run(_upload(place, source, order))


def download(place: Place, sink: Sink, order: Told) -> None:
    asyncio.run(_download(place, sink, order))


async def _upload(place: Place, source: Source, order: Told) -> None:
    patience = _Patience(float(order["idle_s"]))
    async with _opened(place, order, patience) as sftp:
        path = _path(place)
        if place.is_directory or await patience.of(sftp.isdir(path)):
            path = f"{path.rstrip('/')}/{order['name']}"
        at = 0
        if order["resume"] and await patience.of(sftp.isfile(path)):
            at = (await patience.of(sftp.stat(path))).size or 0
        at = at if at <= source.size else 0
        source.start(at)
        file = await patience.of(sftp.open(path, "r+b" if at else "wb"))
        await file.seek(at)
        while block := source.read(SFTP_BLOCK):
            await patience.of(file.write(block))
        await patience.of(file.close())
        stored = (await patience.of(sftp.stat(path))).size
        if stored is not None and stored != source.size:
            raise ChildFailed("cut", f"{stored} of {source.size} bytes are there")


async def _download(place: Place, sink: Sink, order: Told) -> None:
    patience = _Patience(float(order["idle_s"]))
    async with _opened(place, order, patience) as sftp:
        path = _path(place)
        found = await patience.of(sftp.stat(path))
        mark = f"{found.mtime} {found.size}"
        at = sink.have if sink.mark == mark and sink.have <= (found.size or 0) else 0
        sink.begin(at, found.size, mark)
        file = await patience.of(sftp.open(path, "rb"))
        await file.seek(at)
        while block := await patience.of(file.read(SFTP_BLOCK)):
            assert isinstance(block, bytes)
            sink.write(block)


def _path(place: Place) -> str:
    segments = place.segments
    if segments and segments[0] == "~":
        return "/".join(segments[1:]) or "."
    return "/" + "/".join(segments)


class _Patience:
    """Waits for an answer of the server, and no longer than it may hang."""

    def __init__(self, idle_s: float) -> None:
        self.idle_s = idle_s

    async def of(self, answer: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self.idle_s):
                return await answer
        except TimeoutError as error:
            raise ChildFailed("timeout", "the server does not answer") from error


@asynccontextmanager
async def _opened(place: Place, order: Told, patience: _Patience
                  ) -> AsyncIterator[asyncssh.SFTPClient]:
    """A session; what goes wrong in it is told in the words of a transfer.

    It is not ended politely: who has hung does not answer to that either.
    """
    try:
        connection = await _connected(place, order)
        try:
            yield await patience.of(connection.start_sftp_client())
        finally:
            connection.abort()
    except asyncssh.SFTPError as error:
        raise ChildFailed(_kind(error, _SFTP_KINDS, "bad_message"),
                          f"the server answers {error.reason or type(error).__name__}") from error
    except asyncssh.Error as error:
        raise ChildFailed(_kind(error, _SSH_KINDS, "cut"), error.reason) from error


def _kind(error: Exception, kinds: tuple[tuple[tuple[type[Exception], ...], str], ...],
          otherwise: str) -> str:
    return next((kind for types, kind in kinds if isinstance(error, types)), otherwise)


async def _connected(place: Place, order: Told) -> asyncssh.SSHClientConnection:
    keys = _HostKeys(Path(order["known_hosts"]), place)
    limit_s = min(CONNECT_S, float(order["idle_s"]))
    options: dict[str, Any] = {
        "config": None, "client_keys": None, "agent_path": None, "gss_host": None,
        "username": place.user or "anonymous", "password": place.password,
        "known_hosts": keys.known, "client_factory": lambda: _Client(keys),
        "connect_timeout": limit_s, "login_timeout": limit_s, "keepalive_interval": limit_s}
    try:
        return await asyncssh.connect(place.host, place.port, **options)
    except TimeoutError as error:
        raise ChildFailed("unreachable", "the server does not answer") from error
    except OSError as error:
        raise of_system(error, connecting=True) from error


class _HostKeys:
    """The keys that a server has shown before, a line each: host, port, key."""

    def __init__(self, file: Path, place: Place) -> None:
        self._file = file
        self._who = f"{place.host} {place.port}"
        try:
            lines = file.read_text().splitlines()
        except FileNotFoundError:
            lines = []
        self._lines = [line.removeprefix(f"{self._who} ") for line in lines
                       if line.startswith(f"{self._who} ")]

    def known(self, host: str, addr: str, port: int | None) -> Any:
        """As asyncssh wants it: trusted host keys, authorities, revoked keys."""
        return [asyncssh.import_public_key(line) for line in self._lines], [], []

    def accepts(self, key: asyncssh.SSHKey) -> bool:
        """Whether this server was never seen before; then its key is kept."""
        if self._lines:
            return False
        line = key.export_public_key().decode().split(" ", 2)
        number = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(number, "a") as file:
            file.write(f"{self._who} {line[0]} {line[1].strip()}\n")
        return True


class _Client(asyncssh.SSHClient):
    def __init__(self, keys: _HostKeys) -> None:
        self._keys = keys

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey
                                 ) -> bool:
        return self._keys.accepts(key)
