"""HTTP and HTTPS, in the transfer's process. PUT, or POST of a form; downloads go on with Range.

No proxy and no netrc of the machine is heeded. Redirects are followed a few times, never from
HTTPS to HTTP, and no password goes along to another host.
"""

import base64
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urljoin

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    IncompleteRead,
    LocationValueError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)
from urllib3.exceptions import SSLError as PoolSslError

from cpctl.services.child import ChildFailed, Told
from cpctl.services.transfer_parts import (
    BLOCK,
    CONNECT_S,
    Place,
    Sink,
    Source,
    named,
    place_of,
    tls_context,
)

MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 307, 308)
_PERMISSION = (401, 402, 403, 407, 511)
_UNSUPPORTED = (405, 501, 505)

Response = urllib3.BaseHTTPResponse
Headers = Mapping[str, str]


def upload(place: Place, source: Source, order: Told) -> None:
    name = str(order["name"])
    if place.is_directory and not place.query:
        place = _beneath(place, name)
    body, headers = _form(source, name) if order["post"] else _plain(source, name)
    method = "POST" if order["post"] else "PUT"

    def send(to: Place, pool: urllib3.PoolManager) -> Response:
        body.rewind()
        return _asked(pool, method, to, headers, body)

    response = _followed(place, order, send)
    try:
        if response.status >= 300 and response.status != 303:  # 303: taken, look over there
            raise refused(response.status, response.reason)
    finally:
        response.close()


def download(place: Place, sink: Sink, order: Told) -> None:
    response = _opened(place, sink, order)
    try:
        at, total = _extent(response, sink)
        sink.begin(at, total, _mark(response, total))
        with _in_our_words():
            for block in response.stream(BLOCK, decode_content=False):
                sink.write(block)
    finally:
        response.close()


def _opened(place: Place, sink: Sink, order: Told) -> Response:
    def ask(to: Place, pool: urllib3.PoolManager) -> Response:
        return _asked(pool, "GET", to, _range(sink), None)

    response = _followed(place, order, ask)
    if response.status in (412, 416) and sink.have:  # what we have is no part of it any more
        response.close()
        sink.have = 0
        response = _followed(place, order, ask)
    if response.status not in (200, 206):
        response.close()
        raise refused(response.status, response.reason)
    return response


def _range(sink: Sink) -> Headers:
    if not sink.have:
        return {}
    headers = {"Range": f"bytes={sink.have}-"}
    if not sink.mark.startswith("size:"):
        headers["If-Range"] = sink.mark
    return headers


def _extent(response: Response, sink: Sink) -> tuple[int, int | None]:
    """From where the server sends, and how long the whole file is."""
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isascii() and length.isdigit() else None
    if response.status == 200:
        return 0, total
    unit, _, told = response.headers.get("Content-Range", "").partition(" ")
    span, _, size = told.partition("/")
    whole = int(size) if size.isascii() and size.isdigit() else None
    if unit != "bytes" or not span.startswith(f"{sink.have}-"):
        raise ChildFailed("cut", f"asked for the rest from {sink.have}, the server sends {told!r}")
    if sink.mark.startswith("size:") and sink.mark != f"size:{whole}":
        sink.drop()
        raise ChildFailed("cut", "the file on the server is another one by now; begin anew")
    return sink.have, whole


def _mark(response: Response, total: int | None) -> str:
    """What the file is known by when the rest of it is asked for: a strong validator, or its size.

    Source: RFC 9110 §13.1.5.
    """
    etag = response.headers.get("ETag", "")
    if etag.startswith('"'):
        return etag
    modified = response.headers.get("Last-Modified", "")
    if modified and not etag:
        return modified
    return f"size:{total}" if total is not None else ""


# --- bodies --------------------------------------------------------------------------------------


class _Body:
    """A file between two texts, read block by block."""

    def __init__(self, source: Source, before: bytes = b"", after: bytes = b"") -> None:
        self._source, self._before, self._after = source, before, after
        self.size = len(before) + source.size + len(after)
        self._head, self._tail = before, after

    def rewind(self) -> None:
        self._source.start(0)
        self._head, self._tail = self._before, self._after

    def read(self, count: int = BLOCK) -> bytes:
        if self._head:
            block, self._head = self._head, b""
            return block
        block = self._source.read(max(count, BLOCK))
        if not block:
            block, self._tail = self._tail, b""
        return block


def _plain(source: Source, name: str) -> tuple[_Body, Headers]:
    """The name goes along, for a server whose URL does not hold it."""
    return _Body(source), {
        "Content-Length": str(source.size), "Content-Type": "application/octet-stream",
        "Content-Disposition": f'attachment; filename="{_quoted(name)}"'}


def _form(source: Source, name: str) -> tuple[_Body, Headers]:
    boundary = secrets.token_hex(16)
    before = (f"--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; "
              f"filename=\"{_quoted(name)}\"\r\nContent-Type: application/octet-stream\r\n\r\n")
    body = _Body(source, before.encode(), f"\r\n--{boundary}--\r\n".encode())
    return body, {"Content-Length": str(body.size),
                  "Content-Type": f"multipart/form-data; boundary={boundary}"}


def _quoted(name: str) -> str:
    return quote(name, safe=" ()+,-._")


# --- requests ------------------------------------------------------------------------------------


def _followed(place: Place, order: Told, ask: Callable[[Place, urllib3.PoolManager], Response]
              ) -> Response:
    """The answer of whom the redirects lead to."""
    pool = urllib3.PoolManager(
        retries=False, ssl_context=tls_context(order["roots"]),
        timeout=urllib3.Timeout(connect=min(CONNECT_S, order["idle_s"]), read=order["idle_s"]))
    for _ in range(MOST_REDIRECTS + 1):
        response = ask(place, pool)
        if response.status not in _REDIRECTS:
            return response
        response.close()
        place = _redirected(place, response.headers.get("Location", ""))
    raise ChildFailed("bad_message", f"redirected more than {MOST_REDIRECTS} times")


def _redirected(place: Place, location: str) -> Place:
    if not location:
        raise ChildFailed("bad_message", "redirected to nowhere")
    to = place_of(urljoin(_address(place), location))
    if to.scheme not in ("http", "https") or (place.scheme, to.scheme) == ("https", "http"):
        raise ChildFailed("tls", f"redirected from {place.scheme} to {to.scheme}")
    if to.origin == place.origin and not to.user:
        return replace(to, user=place.user, password=place.password)
    return to


def _beneath(place: Place, name: str) -> Place:
    return replace(place, path=(place.path or "/") + quote(name), query="")


def _address(place: Place) -> str:
    """The URL without user and password."""
    host = f"[{place.host}]" if ":" in place.host else place.host
    query = f"?{place.query}" if place.query else ""
    return f"{place.scheme}://{host}:{place.port}{place.path or '/'}{query}"


def _asked(pool: urllib3.PoolManager, method: str, place: Place, headers: Headers, body: Any
           ) -> Response:
    more = {"Accept-Encoding": "identity", "User-Agent": "cpctl", **headers}
    if place.user or place.password:
        pair = base64.b64encode(f"{place.user}:{place.password}".encode()).decode()
        more["Authorization"] = f"Basic {pair}"
    with _in_our_words():
        return pool.request(method, _address(place), body=body, headers=more, redirect=False,
                            preload_content=False, decode_content=False)


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Errors of the library in the words of a transfer."""
    try:
        yield
    except (HTTPError, LocationValueError) as error:
        raise _failure(error) from error


def _failure(error: Exception) -> ChildFailed:
    match error:
        case PoolSslError():
            return _inner(error) or ChildFailed("tls", "no TLS connection")
        case ConnectTimeoutError():
            return ChildFailed("unreachable", "the server does not answer")
        case NameResolutionError():
            return ChildFailed("unreachable", "the name of the server is not known")
        case NewConnectionError():
            return _inner(error) or ChildFailed("unreachable", "no connection")
        case ReadTimeoutError():
            return ChildFailed("timeout", "the server does not answer")
        case IncompleteRead() | ProtocolError():
            return ChildFailed("cut", "the server ended the connection")
        case LocationValueError():
            return ChildFailed("unsupported", "not an address")
        case _:
            return _inner(error) or ChildFailed("cut", type(error).__name__)


def _inner(error: Exception) -> ChildFailed | None:
    """What the error below means."""
    below = error.__cause__ or next((one for one in error.args if isinstance(one, OSError)), None)
    if not isinstance(below, OSError):
        return None
    try:
        with named(connecting=isinstance(error, NewConnectionError)):
            raise below
    except ChildFailed as failed:
        return failed


def refused(status: int, reason: str | None) -> ChildFailed:
    """What an answer that is no success means."""
    detail = f"the server answers {status} {reason or ''}".rstrip()
    if status in _PERMISSION:
        return ChildFailed("permission", detail)
    if status in _UNSUPPORTED:
        return ChildFailed("unsupported", detail)
    if status == 413:
        return ChildFailed("too_large", detail)
    if status == 507:
        return ChildFailed("disk_full", detail)
    if status >= 500 or status in (408, 425, 429):
        return ChildFailed("unreachable", detail)
    return ChildFailed("bad_message", detail)
