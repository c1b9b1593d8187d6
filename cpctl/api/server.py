"""The Unix socket of the daemon: who may ask what, and no client may disturb the daemon.

One task per connection, one call of a connection after the other; what a method does is handed in.
Rights go by the peer's credentials as the kernel tells them.
"""

from __future__ import annotations

import asyncio
import grp
import logging
import os
import socket
import stat
import struct
import sys
from collections.abc import Callable
from dataclasses import field
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol

from cpctl.api import wire
from cpctl.api.wire import ApiError
from hal.late import dataclass

log = logging.getLogger(__name__)

READERS = "cpctl"
ACTORS = "cpctl-admin"
MAX_CLIENTS = 32
MAX_STRANGERS = 4  # who may ask nothing is told so, and keeps nobody out
STRANGER_LIMIT_S = 5.0
MAX_UNSENT = 1 << 20  # bytes a client may leave unread before it is dropped
SEND_LIMIT_S = 10.0
SO_PEERGROUPS = 59  # asm-generic/socket.h, Linux 4.13
# The path of a socket that systemd made is not ours to remove, as Python does from 3.13 on.
KEEP_PATH: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
MOST_GROUPS = 256  # 1024 bytes are the most that Python's getsockopt takes


class Right(IntEnum):
    NONE = 0
    READ = 1
    ACT = 2


@dataclass(frozen=True)
class Peer:
    """Who is at the other end, by the kernel's word."""

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


class Methods(Protocol):
    """What the server serves."""

    def right_for(self, method: str) -> Right:
        """The right that a method needs. Raises ApiError when there is no such method."""
        ...

    async def call(self, method: str, params: wire.Params, caller: Caller) -> Any:
        """Raises ApiError for what was expected to go wrong."""
        ...


@dataclass(eq=False)
class Caller:
    """The connection a call came by, for methods that go on telling."""

    peer: Peer
    writer: asyncio.StreamWriter
    at_end: list[Callable[[], None]] = field(default_factory=list)
    _told: set[str] = field(default_factory=set)

    def goes_on(self, method: str, listen: Callable[[], Callable[[], None]]) -> None:
        """Notifications `method` until the connection ends: `listen` begins them and returns what
        ends them. Asked for again, they are not told twice."""
        if method not in self._told:
            self._told.add(method)
            self.at_end.append(listen())

    def tell(self, method: str, params: wire.Params) -> None:
        """Send a notification; a client that does not read is dropped instead of waited for."""
        transport = self.writer.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() > MAX_UNSENT:
            log.warning("api: pid=%d does not read what it asked for; dropped", self.peer.pid)
            transport.abort()
            return
        self.writer.write(wire.notification(method, params))


def peer_of(connection: socket.socket) -> Peer:
    """SO_PEERCRED and the supplementary groups."""
    pid, uid, gid = struct.unpack("3i", connection.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, MOST_GROUPS * 4)
    except OSError:  # a kernel without it, or more groups than that
        raw = b""
    return Peer(pid, uid, gid, struct.unpack(f"{len(raw) // 4}I", raw[:len(raw) // 4 * 4]))


def group_id(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def right_of(peer: Peer, *, own_uid: int | None = None,
             lookup: Callable[[str], int | None] = group_id) -> Right:
    """What a peer may do: root, the daemon's own user and cpctl-admin act, cpctl reads."""
    if peer.uid in (0, os.geteuid() if own_uid is None else own_uid):
        return Right.ACT
    groups = {peer.gid, *peer.groups}
    if lookup(ACTORS) in groups:
        return Right.ACT
    return Right.READ if lookup(READERS) in groups else Right.NONE


class SocketTaken(Exception):
    """Another daemon answers on this socket."""


class Server:
    """Serves `methods` on a Unix socket of mode 0660, or on `listener`, which systemd made."""

    def __init__(self, path: Path, methods: Methods, *,
                 credentials: Callable[[socket.socket], Peer] = peer_of,
                 rights: Callable[[Peer], Right] = right_of,
                 listener: socket.socket | None = None):
        self.path = path
        self._listener = listener
        self._methods = methods
        self._credentials = credentials
        self._rights = rights
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[Any]] = set()
        self._strangers: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Listen. Raises SocketTaken, OSError (with the path) when that is not possible."""
        if self._listener is not None:
            self._server = await asyncio.start_unix_server(
                self._serve, sock=self._listener, limit=wire.MAX_LINE, **KEEP_PATH)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        await self._clear_stale()
        before = os.umask(0o117)  # 0660 from the first moment on
        try:
            self._server = await asyncio.start_unix_server(
                self._serve, self.path, limit=wire.MAX_LINE)
        finally:
            os.umask(before)
        group = group_id(READERS)
        if group is not None and os.geteuid() == 0:
            os.chown(self.path, -1, group)

    async def close(self) -> None:
        """Stop listening, drop the clients, remove the socket if it is our own."""
        if self._server is None:
            return
        self._server.close()
        for task in (*self._clients, *self._strangers):
            task.cancel()
        await asyncio.gather(*self._clients, *self._strangers, return_exceptions=True)
        self._server = None
        if self._listener is None:
            self.path.unlink(missing_ok=True)

    async def _clear_stale(self) -> None:
        try:
            mode = self.path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise SocketTaken(f"{self.path} exists and is not a socket; "
                              "remove it or set api.socket")
        try:
            async with asyncio.timeout(2):
                _, writer = await asyncio.open_unix_connection(self.path)
        except OSError:
            self.path.unlink(missing_ok=True)  # nobody listens: a previous life left it
            return
        writer.close()
        raise SocketTaken(f"another daemon answers on {self.path}; stop it first "
                          "(systemctl stop cpctl) or set api.socket")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        caller = Caller(self._credentials(writer.get_extra_info("socket")), writer)
        known = self._rights(caller.peer) is not Right.NONE
        (self._clients if known else self._strangers).add(task)
        try:
            await (self._talk if known else self._turn_away)(reader, caller)
        except (ConnectionError, TimeoutError):
            log.info("api: pid=%d hung up or stopped reading", caller.peer.pid)
            writer.transport.abort()
        except asyncio.CancelledError:  # close(); Python 3.11 logs a cancelled handler as an error
            log.debug("api: pid=%d is let go", caller.peer.pid)
        finally:
            self._clients.discard(task)
            self._strangers.discard(task)
            for end in caller.at_end:
                end()
            writer.close()

    async def _turn_away(self, reader: asyncio.StreamReader, caller: Caller) -> None:
        """One call of somebody without any right is answered: with what is missing."""
        if len(self._strangers) > MAX_STRANGERS:
            return
        try:
            async with asyncio.timeout(STRANGER_LIMIT_S):
                line = await reader.readuntil(b"\n")
                await self._answer(line, caller)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return  # hung up, or no request

    async def _talk(self, reader: asyncio.StreamReader, caller: Caller) -> None:
        if len(self._clients) > MAX_CLIENTS:
            await self._send(caller, wire.error(None, ApiError(
                wire.FAILED, f"{MAX_CLIENTS} clients are connected already",
                "close one: cpctl watch and cpctl ocpp tail stay connected")))
            return
        while True:
            try:
                line = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return  # hung up; half a line is no request
            except asyncio.LimitOverrunError:
                await self._send(caller, wire.error(None, ApiError(
                    wire.INVALID_REQUEST, f"a line is longer than {wire.MAX_LINE} bytes",
                    "send one request per line")))
                return
            if line.strip():
                await self._answer(line, caller)

    async def _answer(self, line: bytes, caller: Caller) -> None:
        try:
            call = wire.read_call(line)
        except ApiError as problem:
            await self._send(caller, wire.error(wire.id_of(problem), problem))
            return
        answer = await self._result(call, caller)
        if call.wants_answer:
            await self._send(caller, answer)

    async def _result(self, call: wire.Call, caller: Caller) -> bytes:
        try:
            self._check(call, caller)
        except ApiError as problem:
            return wire.error(call.id, problem)
        # A task of its own: a bug in a method costs this answer and nothing else.
        task = asyncio.ensure_future(self._carry_out(call, caller))
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.cancelled():
            return wire.error(call.id, ApiError(
                wire.FAILED, "the daemon is stopping", "try again when it is back"))
        bug = task.exception()
        if bug is None:
            return task.result()
        if isinstance(bug, ApiError):
            return wire.error(call.id, bug)
        log.error("api: method %s failed", call.method, exc_info=bug)
        return wire.error(call.id, ApiError(
            wire.INTERNAL_ERROR, f"{call.method} failed: {type(bug).__name__}: {bug}",
            "this is a fault of the daemon; see its log: journalctl -u cpctl"))

    async def _carry_out(self, call: wire.Call, caller: Caller) -> bytes:
        return wire.result(call.id, await self._methods.call(call.method, call.params, caller))

    def _check(self, call: wire.Call, caller: Caller) -> None:
        """Raises ApiError when the method is unknown or not for this peer."""
        needed = self._methods.right_for(call.method)
        right = self._rights(caller.peer)
        if right < needed:
            group = ACTORS if needed is Right.ACT else READERS
            raise ApiError(wire.NOT_PERMITTED, f"uid {caller.peer.uid} may not use {call.method}",
                           f"join group {group}, or use sudo")
        if needed is Right.ACT:
            log.info("api: uid=%d pid=%d calls %s %s", caller.peer.uid, caller.peer.pid,
                     call.method, shown(call.params))

    async def _send(self, caller: Caller, answer: bytes) -> None:
        caller.writer.write(answer)
        async with asyncio.timeout(SEND_LIMIT_S):
            await caller.writer.drain()


def shown(params: wire.Params) -> str:
    """Parameters for the log: bounded, tokens shortened, secrets left out."""
    parts = []
    for name, value in list(params.items())[:8]:
        text = str(value)[:64]
        if name == "token" and len(text) > 6:
            text = f"{text[:4]}…{text[-2:]}"
        if name == "value":
            text = "…"
        parts.append(f"{name}={text}")
    return " ".join(parts)
