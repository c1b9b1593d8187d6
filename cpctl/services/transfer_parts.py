"""What the transfers of all protocols share: a URL taken apart, the file on our side, its failures.

Files are moved in blocks; none is ever held in memory.
"""

import contextlib
import errno
import hashlib
import json
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from cpctl.services.child import ChildFailed, Told
from cpctl.services.transfer import resume_file, shown

BLOCK = 1 << 16  # bytes
TOLD_EVERY_S = 1.0
CONNECT_S = 30.0
DEFAULT_PORTS = {"http": 80, "https": 443, "ftp": 21, "ftps": 21, "sftp": 22}
IMPLICIT_FTPS = 990
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_AWAY = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN,
         errno.EHOSTDOWN, errno.EADDRNOTAVAIL)

Tell = Callable[[Told], None]


@dataclass(frozen=True)
class Place:
    """A URL, taken apart. `path` and `query` as they came; user and password decoded."""

    url: str
    scheme: str
    host: str
    port: int
    user: str
    password: str
    path: str
    query: str

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def is_directory(self) -> bool:
        """Whether the URL itself says that it names a directory."""
        return self.path.endswith("/") or not self.path

    @property
    def segments(self) -> tuple[str, ...]:
        """The decoded parts of the path, those without a name left out."""
        parts = tuple(unquote(part) for part in self.path.split("/") if part)
        for part in parts:
            if any(ord(letter) < 32 or letter == "\x7f" for letter in part):
                raise ChildFailed("unsupported", "a control character in the path")
        return parts


def place_of(url: str) -> Place:
    """Raises ChildFailed ("unsupported") for what is no URL we can serve."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise ChildFailed("unsupported", f"not an address: {error}") from error
    scheme = parts.scheme
    if scheme not in DEFAULT_PORTS:
        raise ChildFailed("unsupported", f"scheme {scheme[:20]!r} is not one of "
                          f"{', '.join(DEFAULT_PORTS)}")
    if not parts.hostname or any(letter.isspace() for letter in parts.hostname):
        raise ChildFailed("unsupported", f"{shown(url)} names no host")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if any(ord(letter) < 32 for letter in user + password):
        raise ChildFailed("unsupported", "a control character in user or password")
    place = Place(url, scheme, parts.hostname, port or DEFAULT_PORTS[scheme], user, password,
                  parts.path, parts.query)
    if not scheme.startswith("http"):
        _ = place.segments  # FTP would take what is behind a line's end for another command
    return place


# --- what goes wrong -----------------------------------------------------------------------------


@contextlib.contextmanager
def named(*, connecting: bool = False) -> Iterator[None]:
    """Errors of sockets, TLS and files in the words of a transfer."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise ChildFailed("tls", f"certificate: {error.verify_message}") from error
    except ssl.SSLEOFError as error:
        raise ChildFailed("cut", "the server ended the connection") from error
    except ssl.SSLError as error:
        raise ChildFailed("tls", error.reason or str(error)) from error
    except EOFError as error:
        raise ChildFailed("cut", "the server ended the connection") from error
    except OSError as error:
        raise of_system(error, connecting=connecting) from error


def of_system(error: OSError, *, connecting: bool = False) -> ChildFailed:
    """The failure that an error of the operating system means."""
    if error.errno in _FULL:
        return ChildFailed("disk_full", os.strerror(error.errno or 0))
    if isinstance(error, socket.gaierror):
        return ChildFailed("unreachable", f"the name is not known: {error.strerror}")
    if isinstance(error, TimeoutError):
        return ChildFailed("unreachable" if connecting else "timeout", "the server does not answer")
    if connecting or error.errno in _AWAY:
        return ChildFailed("unreachable", error.strerror or str(error))
    return ChildFailed("cut", error.strerror or str(error))


def tls_context(roots: str) -> ssl.SSLContext:
    """Checks servers against the authorities of the system and `roots` (PEM)."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if roots.strip():
        try:
            context.load_verify_locations(cadata=roots)
        except (ssl.SSLError, ValueError) as error:
            raise ChildFailed("tls", f"our own roots cannot be read: {error}") from error
    return context


# --- progress ------------------------------------------------------------------------------------


class Meter:
    """Counts what was moved and tells of it, once a second at most."""

    def __init__(self, tell: Tell, of: int | None, start: int = 0) -> None:
        self._tell = tell
        self.of = of
        self.done = start
        self._told_at = 0.0

    def moved(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self._told_at >= TOLD_EVERY_S:
            self._told_at = now
            self._tell({"bytes": self.done, "of": self.of})

    def last(self) -> None:
        self._tell({"bytes": self.done, "of": self.of})


class Source:
    """The file that goes up; `read` for libraries that want a file."""

    def __init__(self, file: Path, tell: Tell) -> None:
        try:
            self._file = file.open("rb")
        except OSError as error:
            raise ChildFailed("died", f"{file.name} cannot be read: {error.strerror}") from error
        self.size = os.fstat(self._file.fileno()).st_size
        self._tell = tell
        self._meter = Meter(tell, self.size)

    def start(self, at: int) -> None:
        """From byte `at`, once more."""
        self._file.seek(at)
        self._meter = Meter(self._tell, self.size, at)

    def read(self, count: int = BLOCK) -> bytes:
        block = self._file.read(count)
        self._meter.moved(len(block))
        return block

    def blocks(self, size: int = BLOCK) -> Iterator[bytes]:
        while block := self.read(size):
            yield block

    def close(self) -> None:
        self._meter.last()
        self._file.close()


class Sink:
    """The file that comes down: its beginning from an earlier try, its limit, its length."""

    def __init__(self, into: Path, place: Place, limit: int, tell: Tell) -> None:
        self._into = into
        self._resume = resume_file(into)
        self._limit = limit
        self._tell = tell
        self._who = hashlib.sha256(repr((*place.origin, place.path)).encode()).hexdigest()
        self.have, self.mark = self._left()
        self._file: Any = None
        self._meter = Meter(tell, None)

    def _left(self) -> tuple[int, str]:
        """How much an earlier try at this URL left, and the mark of the file it is part of."""
        try:
            told = json.loads(self._resume.read_text())
            size = self._into.stat().st_size
            if told["url"] == self._who and isinstance(told["mark"], str) and told["mark"]:
                return size, told["mark"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # nothing was left, or nothing that can be gone on with
        return 0, ""

    def begin(self, at: int, total: int | None, mark: str) -> None:
        """The server sends from byte `at` (0, or what we have) of a file marked `mark`."""
        if total is not None and total > self._limit:
            self._too_large(f"{total} bytes are announced")
        with named():
            self._into.parent.mkdir(parents=True, exist_ok=True)
            self._resume.write_text(json.dumps({"url": self._who, "mark": mark}))
            # owner-only: what comes may hold secrets until somebody has judged it
            number = os.open(self._into, os.O_WRONLY | os.O_CREAT | (0 if at else os.O_TRUNC),
                             0o600)
            self._file = os.fdopen(number, "wb")
            self._file.seek(at)
        self._meter = Meter(self._tell, total, at)

    def write(self, block: bytes) -> None:
        if self._meter.done + len(block) > self._limit:
            self._too_large("more and more comes")
        try:
            self._file.write(block)
        except OSError as error:
            self._full(error)
        self._meter.moved(len(block))

    def end(self) -> int:
        """Everything is there: check the length, put it on the disk. Its size."""
        self._meter.last()
        try:
            self._file.truncate()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as error:
            self._full(error)
        of = self._meter.of
        if of is not None and self._meter.done != of:
            raise ChildFailed("cut", f"{self._meter.done} of {of} bytes came")
        self._resume.unlink(missing_ok=True)
        folder = os.open(self._into.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return self._meter.done

    def keep(self) -> None:
        """It was cut: what came stays, to be gone on with."""
        if self._file is not None and not self._file.closed:
            with contextlib.suppress(OSError):
                self._file.close()

    def drop(self) -> None:
        """Nothing of it stays."""
        self.keep()
        for file in (self._into, self._resume):
            file.unlink(missing_ok=True)

    def _too_large(self, why: str) -> None:
        self.drop()
        raise ChildFailed("too_large", f"{why}, the limit is {self._limit}")

    def _full(self, error: OSError) -> None:
        failed = of_system(error)
        if failed.kind == "disk_full":
            self.drop()
        raise failed from error
