"""Real file servers on loopback, each in a thread of its own: HTTP(S), FTP(S), SFTP.

    with http_server(folder, tls=server_credential) as server:
        (folder / "firmware.bin").write_bytes(...)      # what is there to be fetched
        server.trouble = Trouble(cut_at=50_000)          # the next transfer breaks there
        await transfers.download(server.url("firmware.bin"), ...)

What is put up is found in `folder`. User and password are USER and PASSWORD where `login` is true.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.server
import os
import socket
import ssl
import tempfile
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from support.pki import Credential, server_context

USER, PASSWORD = "station", "s3cret/käse"


@dataclass
class Trouble:
    """What goes wrong with the next `times` transfers (None: with all).

    `cut_at`: the connection breaks after so many bytes of the file. `status`: an HTTP server
    answers with it. `hang`: it answers no more.
    """

    cut_at: int | None = None
    status: int | None = None
    hang: bool = False
    times: int | None = 1

    def take(self) -> bool:
        """Whether this transfer is met by it."""
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


@dataclass
class FileServer:
    """Where it listens, what it saw. `seen`: one line per request, as the protocol names it."""

    scheme: str
    folder: Path
    login: bool = False
    host: str = "127.0.0.1"
    port: int = 0
    trouble: Trouble | None = None
    seen: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)  # HTTP, of each request
    redirect: dict[str, str] = field(default_factory=dict)  # HTTP: path -> address
    opened: list[Any] = field(default_factory=list)  # SFTP, files: those of a client that hangs
    over: threading.Event = field(default_factory=threading.Event)  # the test is over

    def url(self, path: str = "", *, user: str | None = None, password: str | None = None) -> str:
        """The address of a file, or with "" or "name/" of a directory."""
        who = ""
        if self.login or user is not None:
            name, secret = user or USER, PASSWORD if password is None else password
            who = f"{quote(name, safe='')}:{quote(secret, safe='')}@"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{who}{host}:{self.port}/{quote(path)}"

    def met(self) -> Trouble | None:
        """The trouble that this transfer meets."""
        trouble = self.trouble
        return trouble if trouble is not None and trouble.take() else None


# --- HTTP ----------------------------------------------------------------------------------------


class _Http(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        trouble = self._met()
        if self._refused(trouble):
            return
        file = self._file()
        if not file.is_file():
            return self._say(404)
        content = file.read_bytes()
        at, tag = self._range(len(content)), f'"{file.stat().st_mtime_ns:x}-{len(content)}"'
        if at is None or self.headers.get("If-Range", tag) != tag:
            at = 0
        if at > len(content):
            return self._say(416)
        self.send_response(206 if at else 200)
        if at:
            self.send_header("Content-Range", f"bytes {at}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(content) - at))
        self.end_headers()
        self._send(content[at:], trouble)

    def do_PUT(self) -> None:
        self._take(self._file())

    def do_POST(self) -> None:
        self._take(self._file())

    def _take(self, file: Path) -> None:
        trouble = self._met()
        if self._refused(trouble):
            return
        if not file.parent.is_dir() or file.is_dir():
            return self._say_no(404)
        left = int(self.headers["Content-Length"])
        limit = left if trouble is None or trouble.cut_at is None else trouble.cut_at
        taken = b""
        while len(taken) < min(left, limit):
            taken += self.rfile.read(min(65536, limit - len(taken), left - len(taken)))
        if limit < left:
            return self._cut()
        file.write_bytes(taken)
        self._say(201)

    def _met(self) -> Trouble | None:
        station: FileServer = self.server.station
        station.seen.append(f"{self.command} {self.path}")
        station.headers.append({name.lower(): value for name, value in self.headers.items()})
        return station.met()

    def _refused(self, trouble: Trouble | None) -> bool:
        station: FileServer = self.server.station
        if trouble is not None and trouble.hang:
            station.over.wait()
            self.close_connection = True
            return True
        path = urlsplit(self.path).path
        if trouble is not None and trouble.status is not None:
            self._say_no(trouble.status)
        elif path in station.redirect:
            self._say_no(307, Location=station.redirect[path])
        elif station.login and self.headers.get("Authorization") != _basic():
            self._say_no(401)
        else:
            return False
        return True

    def _say_no(self, status: int, **headers: str) -> None:
        """What comes is read to its end, as decent servers do: else it could cost the answer."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._say(status, **headers)

    def _file(self) -> Path:
        station: FileServer = self.server.station
        return station.folder / unquote(urlsplit(self.path).path).lstrip("/")

    def _range(self, size: int) -> int | None:
        given = self.headers.get("Range", "")
        return int(given.removeprefix("bytes=").rstrip("-")) if given else None

    def _say(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, content: bytes, trouble: Trouble | None) -> None:
        if trouble is None or trouble.cut_at is None:
            self.wfile.write(content)
            return
        self.wfile.write(content[:trouble.cut_at])
        self._cut()

    def _cut(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _basic() -> str:
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class _HttpServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A client that goes away is what these tests are about."""


class _HttpServer6(_HttpServer):
    address_family = socket.AF_INET6


@contextlib.contextmanager
def http_server(folder: Path, *, tls: Credential | ssl.SSLContext | None = None,
                login: bool = False, host: str = "127.0.0.1") -> Iterator[FileServer]:
    """Takes PUT and POST (a form is kept as it came), gives with Range, ETag and If-Range."""
    station = FileServer("https" if tls else "http", folder, login, host)
    kind = _HttpServer6 if ":" in host else _HttpServer
    server = kind((host, 0), _Http)
    server.station = station  # type: ignore[attr-defined]
    if tls is not None:
        context = tls if isinstance(tls, ssl.SSLContext) else server_context(tls)
        server.socket = context.wrap_socket(server.socket, server_side=True,
                                            do_handshake_on_connect=False)
    station.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield station
    finally:
        station.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


# --- FTP -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def ftp_server(folder: Path, *, tls: Credential | None = None, offers_tls: bool = True,
               implicit: bool = False, writable: bool = True) -> Iterator[FileServer]:
    """Demands the login USER and PASSWORD; with `tls` also AUTH TLS and encrypted data.

    `implicit`: TLS from the first byte instead, as on port 990.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from pyftpdlib.authorizers import DummyAuthorizer
        from pyftpdlib.ioloop import IOLoop
        from pyftpdlib.servers import FTPServer

        handler = _ftp_handler(tls is not None and offers_tls)
    station = FileServer("ftps" if tls else "ftp", folder, login=True)
    authorizer = DummyAuthorizer()
    authorizer.add_user(USER, PASSWORD, str(folder), perm="elradfmwMT" if writable else "elr")
    handler.authorizer = authorizer
    handler.station = station
    handler.banner = "ready"
    if tls is not None and offers_tls:
        handler.ssl_context = _openssl(tls)
        handler.tls_control_required = handler.tls_data_required = True
        handler.implicit = implicit
    loop = IOLoop()
    server = FTPServer(("127.0.0.1", 0), handler, ioloop=loop)
    station.port = server.address[1]

    def serve() -> None:
        while not station.over.is_set():
            loop.loop(timeout=0.02, blocking=False)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield station
    finally:
        station.over.set()
        thread.join()
        server.close_all()


def _openssl(credential: Credential) -> Any:
    from OpenSSL import SSL

    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = credential.write(Path(folder), "server")
        context.use_certificate_chain_file(str(certificate))
        context.use_privatekey_file(str(key))
    context.set_session_id(b"cpctl tests")
    return context


def _ftp_handler(tls: bool) -> Any:
    if tls:
        from pyftpdlib.handlers import TLS_DTPHandler as Data
        from pyftpdlib.handlers import TLS_FTPHandler as Control
    else:
        from pyftpdlib.handlers import DTPHandler as Data
        from pyftpdlib.handlers import FTPHandler as Control

    class Handler(Control):  # type: ignore[misc,valid-type]
        dtp_handler = _channel(Data)
        use_sendfile = False
        auth_failed_timeout = 0
        station: FileServer
        trouble: Trouble | None = None
        implicit = False

        def handle(self) -> None:
            if self.implicit:
                self.secure_connection(self.ssl_context)
            super().handle()

        def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
            if cmd != "PASS":
                self.station.seen.append(f"{cmd} {arg}".rstrip())
            if cmd in ("STOR", "RETR"):
                self.trouble = self.station.met()
                if self.trouble is not None and self.trouble.hang:
                    return
            super().pre_process_command(line, cmd, arg)

    return Handler


def _channel(data: Any) -> Any:
    class Channel(data):  # type: ignore[misc,valid-type]
        @property
        def cut_at(self) -> int | None:
            trouble = self.cmd_channel.trouble
            return trouble.cut_at if trouble is not None else None

        def handle_read_event(self) -> None:
            super().handle_read_event()
            cut_at = self.cut_at
            if cut_at is not None and self.tot_bytes_received >= cut_at:
                self.cmd_channel.close()

        def send(self, data: bytes) -> int:
            cut_at = self.cut_at
            if cut_at is None:
                return int(super().send(data))
            left = cut_at - self.tot_bytes_sent
            if left <= 0:
                self.ioloop.call_later(0, self.cmd_channel.close)
                return 0
            return int(super().send(data[:left]))

    return Channel


# --- SFTP ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def sftp_server(folder: Path, *, key: Any = None, port: int = 0, writable: bool = True
                ) -> Iterator[FileServer]:
    """Demands USER and PASSWORD. `key`: its host key (asyncssh); None: a new one."""
    import asyncssh

    station = FileServer("sftp", folder, login=True)
    host_key = key or asyncssh.generate_private_key("ssh-ed25519")
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def live() -> None:
        listener = await asyncssh.listen(
            "127.0.0.1", port, server_host_keys=[host_key], server_factory=_login(asyncssh),
            sftp_factory=_sftp(asyncssh, station, writable=writable))
        station.port = listener.get_port()
        ready.set()
        await asyncio.get_running_loop().run_in_executor(None, station.over.wait)
        listener.close()
        await listener.wait_closed()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(live())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        for file in station.opened:
            file.close()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield station
    finally:
        station.over.set()
        thread.join()


def _login(asyncssh: Any) -> Any:
    class Login(asyncssh.SSHServer):  # type: ignore[misc]
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == (USER, PASSWORD)

    return Login


def _sftp(asyncssh: Any, station: FileServer, *, writable: bool) -> Any:
    class Files(asyncssh.SFTPServer):  # type: ignore[misc]
        def __init__(self, chan: Any) -> None:
            super().__init__(chan, chroot=os.fsencode(station.folder))
            self._connection = chan.get_connection()
            self._moved = 0
            self._trouble: Trouble | None = None

        def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
            station.seen.append(f"open {path.decode()}")
            self._trouble, self._moved = station.met(), 0
            if pflags & asyncssh.FXF_WRITE and not writable:
                raise asyncssh.SFTPPermissionDenied("read-only here")
            file = super().open(path, pflags, attrs)
            station.opened.append(file)
            return file

        async def read(self, file_obj: Any, offset: int, size: int) -> bytes:
            await self._meet(size)
            return bytes(super().read(file_obj, offset, size))

        async def write(self, file_obj: Any, offset: int, data: bytes) -> int:
            await self._meet(len(data))
            return int(super().write(file_obj, offset, data))

        async def _meet(self, size: int) -> None:
            trouble = self._trouble
            if trouble is not None and trouble.hang:
                await asyncio.get_running_loop().create_future()
            if trouble is not None and trouble.cut_at is not None and (
                    self._moved + size > trouble.cut_at):
                self._connection.abort()
                raise asyncssh.SFTPConnectionLost("cut")
            self._moved += size

    return Files
