"""FTP and FTPS (passive), in the transfer's process.

ftps on port 990 is TLS from the first byte, on any other port AUTH TLS is asked for; a server that
offers none gets no password. Data connections are encrypted, too, and go on with the session of
the control connection, as strict servers demand. Source: RFC 959, 3659 (SIZE, MDTM, REST), 4217.
"""

import contextlib
import ftplib
import socket
import ssl
from collections.abc import Iterator
from typing import Any

from cpctl.services.child import ChildFailed, Told
from cpctl.services.transfer_parts import (
    BLOCK,
    CONNECT_S,
    IMPLICIT_FTPS,
    Place,
    Sink,
    Source,
    named,
    tls_context,
)

_PERMISSION = ("430", "530", "532", "550", "553")
_UNSUPPORTED = ("500", "501", "502", "503", "504")
_FULL = ("452", "552")
_CUT = ("425", "426")


class _Secure(ftplib.FTP_TLS):
    """FTP over TLS, explicit or from the first byte, its data connections resuming the session."""

    implicit = False

    def connect(self, *args: Any, **kwargs: Any) -> str:
        if not self.implicit:
            return super().connect(*args, **kwargs)
        self.host, self.port = args[0], args[1]
        plain = socket.create_connection((self.host, self.port), self.timeout)
        self.sock = self.context.wrap_socket(plain, server_hostname=self.host)
        self.af = plain.family
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int]:
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        session = self.sock.session if isinstance(self.sock, ssl.SSLSocket) else None
        secured = self.context.wrap_socket(conn, server_hostname=self.host, session=session)
        return secured, size  # type: ignore[return-value]


def upload(place: Place, source: Source, order: Told) -> None:
    with _words(), _Session(place, order) as ftp:
        name = _gone_to(ftp, place, str(order["name"]))
        at = _size(ftp, name) if order["resume"] else None
        at = at if at is not None and at <= source.size else 0
        source.start(at)
        if at < source.size or not at:
            _sent(ftp, name, source, at)
        stored = _size(ftp, name)
        if stored is not None and stored != source.size:
            raise ChildFailed("cut", f"{stored} of {source.size} bytes are there")


def _sent(ftp: ftplib.FTP, name: str, source: Source, at: int) -> None:
    data = ftp.transfercmd(f"STOR {name}", at or None)
    try:
        for block in source.blocks():
            data.sendall(block)
        _closed(data)
    finally:
        data.close()
    ftp.voidresp()


def download(place: Place, sink: Sink, order: Told) -> None:
    if place.is_directory:
        raise ChildFailed("bad_message", "the address names no file")
    with _words(), _Session(place, order) as ftp:
        _into(ftp, place, place.segments[:-1])
        name = place.segments[-1]
        total, mark = _size(ftp, name), _mark(ftp, name)
        same = bool(mark) and mark == sink.mark and (total is None or sink.have <= total)
        at = sink.have if same else 0
        data = ftp.transfercmd(f"RETR {name}", at or None)
        try:
            sink.begin(at, total, mark)
            while block := data.recv(BLOCK):
                sink.write(block)
            _closed(data)
        finally:
            data.close()
        ftp.voidresp()


class _Session:
    """A control connection, logged in; left politely."""

    def __init__(self, place: Place, order: Told) -> None:
        self._place = place
        self._idle_s = float(order["idle_s"])
        self._context = tls_context(order["roots"]) if place.scheme == "ftps" else None

    def __enter__(self) -> ftplib.FTP:
        place = self._place
        with named(connecting=True):
            self._ftp = self._connected()
        self._ftp.login(place.user or "anonymous", place.password)
        if isinstance(self._ftp, ftplib.FTP_TLS):
            self._ftp.prot_p()
        self._ftp.voidcmd("TYPE I")
        return self._ftp

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            with contextlib.suppress(OSError, EOFError, ftplib.Error):
                self._ftp.quit()
        self._ftp.close()

    def _connected(self) -> ftplib.FTP:
        place, wait_s = self._place, min(CONNECT_S, self._idle_s)
        if self._context is None:
            ftp = ftplib.FTP(timeout=wait_s)
            ftp.connect(place.host, place.port)
        else:
            ftp = _Secure(timeout=wait_s, context=self._context)
            ftp.implicit = place.port == IMPLICIT_FTPS
            ftp.connect(place.host, place.port)
            if not ftp.implicit:
                _asked_for_tls(ftp)
        ftp.timeout = self._idle_s
        if ftp.sock is not None:
            ftp.sock.settimeout(self._idle_s)
            ftp.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return ftp


def _asked_for_tls(ftp: ftplib.FTP_TLS) -> None:
    try:
        ftp.auth()
    except ftplib.error_perm as error:
        raise ChildFailed("tls", f"the server offers no TLS: {_reply(error)}") from error


def _gone_to(ftp: ftplib.FTP, place: Place, name: str) -> str:
    """Change to where the file goes; the name it gets there.

    The address is a directory (OCPP 1.6 §6.25); one that is none names the file itself.
    """
    segments = place.segments
    if not segments:
        return name
    start = ftp.pwd()
    try:
        _into(ftp, place, segments)
        return name
    except ftplib.error_perm:
        if place.is_directory:
            raise
    ftp.cwd(start)
    _into(ftp, place, segments[:-1])
    return segments[-1]


def _into(ftp: ftplib.FTP, place: Place, segments: tuple[str, ...]) -> None:
    """RFC 1738: from where the login leads, segment by segment; a double slash is the root."""
    if place.path.startswith(("//", "/%2f", "/%2F")):
        ftp.cwd("/")
    for segment in segments:
        ftp.cwd(segment.removeprefix("/") or "/")


def _size(ftp: ftplib.FTP, name: str) -> int | None:
    """None: the server does not tell, or there is no such file."""
    try:
        return ftp.size(name)
    except (ftplib.error_perm, ftplib.error_reply, ValueError):
        return None


def _mark(ftp: ftplib.FTP, name: str) -> str:
    """What the file is known by when the rest of it is asked for."""
    try:
        return f"{ftp.voidcmd(f'MDTM {name}')} {ftp.size(name)}"
    except (ftplib.error_perm, ftplib.error_reply, ValueError):
        return ""


def _closed(data: socket.socket) -> None:
    """Ends TLS on a data connection; a server that does not answer to that is common."""
    if isinstance(data, ssl.SSLSocket):
        data.settimeout(min(5.0, data.gettimeout() or 5.0))
        with contextlib.suppress(OSError, ValueError):
            data.unwrap()


@contextlib.contextmanager
def _words() -> Iterator[None]:
    """Replies of the server in the words of a transfer."""
    try:
        yield
    except ftplib.Error as error:
        raise _failure(error) from error


def _failure(error: ftplib.Error) -> ChildFailed:
    code, said = str(error)[:3], _reply(error)
    for kind, codes in (("permission", _PERMISSION), ("unsupported", _UNSUPPORTED),
                        ("disk_full", _FULL), ("cut", _CUT)):
        if code in codes:
            return ChildFailed(kind, said)
    if isinstance(error, ftplib.error_temp):
        return ChildFailed("unreachable", said)
    return ChildFailed("bad_message", said)


def _reply(error: Exception) -> str:
    return "the server answers " + str(error).replace("\n", " ")[:160]
