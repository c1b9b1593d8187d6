"""The client's end of the local socket: plain, blocking, quick to import."""

from __future__ import annotations

import os
import socket

from cpctl.api import wire

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would cost a tenth of the start
    from collections.abc import Iterator
    from typing import Any

DEFAULT_TIMEOUT_S = 30.0


class ClientError(Exception):
    """A call had no result; `hint` is the next step."""

    def __init__(self, message: str, hint: str = ""):
        super().__init__(message)
        self.hint = hint


class Unreachable(ClientError):
    """No daemon answers on the socket. `permission`: we may not ask it."""

    def __init__(self, message: str, hint: str, *, permission: bool = False):
        super().__init__(message, hint)
        self.permission = permission


class RemoteError(ClientError):
    """The daemon answered with an error; `code` as in `wire`."""

    def __init__(self, code: int, message: str, hint: str = ""):
        super().__init__(message, hint)
        self.code = code


class Client:
    """One connection to the daemon. Raises Unreachable, RemoteError, TimeoutError."""

    def __init__(self, path: str, timeout_s: float = DEFAULT_TIMEOUT_S):
        self.path = path
        self._number = 0
        self._rest = b""
        self._waiting: list[dict[str, Any]] = []  # notifications that came before an answer
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(path)
        except PermissionError as problem:
            self._socket.close()
            raise Unreachable(f"no permission to use {path}",
                              "join group cpctl (read) or cpctl-admin (act), or use sudo",
                              permission=True) from problem
        except OSError as problem:
            self._socket.close()
            raise Unreachable(
                f"no daemon answers on {path} ({os.strerror(problem.errno or 0)})",
                "start it: systemctl start cpctl, or cpctl run --config FILE; "
                "another socket: --socket PATH") from problem

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def call(self, method: str, params: wire.Params | None = None, /, **more: Any
             ) -> dict[str, Any]:
        """The result of one call; parameters that are None are left out."""
        self._number += 1
        given = {name: value for name, value in {**(params or {}), **more}.items()
                 if value is not None}
        try:
            self._socket.sendall(wire.request(self._number, method, given))
        except (BrokenPipeError, ConnectionResetError) as problem:
            raise self._gone() from problem
        while True:
            message = self._message()
            if message.get("id") == self._number or "error" in message:
                break
            self._waiting.append(message)
        if "error" in message:
            shown = message["error"]
            more = shown.get("data") or {}
            raise RemoteError(shown["code"], shown["message"], more.get("hint", ""))
        outcome: dict[str, Any] = message["result"]
        return outcome

    def notifications(self, timeout_s: float | None = None) -> Iterator[dict[str, Any]]:
        """The params of what the daemon tells, for ever. Raises TimeoutError after `timeout_s`."""
        self._socket.settimeout(timeout_s)
        while True:
            message = self._waiting.pop(0) if self._waiting else self._message()
            if "method" in message:
                yield message.get("params") or {}

    def _message(self) -> dict[str, Any]:
        while b"\n" not in self._rest:
            try:
                got = self._socket.recv(65536)
            except ConnectionResetError as problem:
                raise self._gone() from problem
            if not got:
                raise self._gone()
            self._rest += got
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            message = wire.decode(line)
        except wire.ApiError as problem:
            raise self._nonsense() from problem
        if not isinstance(message, dict):
            raise self._nonsense()
        return message

    def _nonsense(self) -> Unreachable:
        return Unreachable(f"what answers on {self.path} does not speak our language",
                           "check the socket, and that daemon and client are of one release")

    def _gone(self) -> Unreachable:
        return Unreachable("the daemon closed the connection",
                           "where it ends again and again its log says why: "
                           "journalctl -u cpctl -n 30")
