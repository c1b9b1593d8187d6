"""Uploads and downloads over HTTP(S), FTP(S) and SFTP, each in a child process of its own.

The work itself is `transfer_child.py`; here is what the daemon says and hears. Nothing here tries
again: who orders a transfer knows how often and when. Credentials stand in the URL, as OCPP hands
them out; they are used, and appear in no message.
"""

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from cpctl.services.child import ChildFailed, Children, Told

log = logging.getLogger(__name__)

MODULE = "cpctl.services.transfer_child"
SCHEMES = ("http", "https", "ftp", "ftps", "sftp")
IDLE_S = 60.0  # a server that says nothing for so long has hung

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all where that is known

# What `TransferFailed.kind` can be.
KINDS = ("unsupported", "unreachable", "cut", "permission", "bad_message", "disk_full",
         "too_large", "tls", "timeout", "died")


class TransferFailed(Exception):
    """A transfer came to nothing; `detail` is for people and holds no credentials.

    `kind`: unsupported (scheme, URL, or the server knows no such operation), unreachable (also:
    the server cannot serve now), cut (in the middle), permission, bad_message (the server refuses
    the file or knows it not), disk_full (ours, or the server's), too_large, tls (certificate, host
    key, version), timeout, died (the child).
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail


class Transfers:
    """Starts transfers; one object per daemon.

    `folder` keeps the host keys of SFTP servers (`known_hosts`; the first key seen is trusted).
    `roots` gives certificates (PEM) that are trusted beside those of the system. `post`: whether
    HTTP uploads are a POST (multipart form, field "file") instead of a PUT.
    """

    def __init__(self, children: Children, folder: Path, *, roots: Callable[[], str] = lambda: "",
                 post: Callable[[], bool] = lambda: False, idle_s: float = IDLE_S) -> None:
        self._children = children
        self._folder = folder
        self._roots = roots
        self._post = post
        self._idle_s = idle_s

    async def upload(self, file: Path, url: str, *, limit_s: float, told: Progress | None = None,
                     name: str | None = None, resume: bool = False) -> None:
        """Put `file` at `url`; into it, as `name`, where `url` is a directory.

        `resume`: an earlier try may have left a beginning of this very file there (FTP, SFTP).
        Raises TransferFailed.
        """
        await self._run("upload", url, file, limit_s, told, name=name or file.name, resume=resume,
                        post=self._post())

    async def download(self, url: str, into: Path, *, limit_bytes: int, limit_s: float,
                       told: Progress | None = None) -> None:
        """Fetch `url` as the file `into`, whole and on the disk when this returns.

        What an earlier try at the same URL left of `into` is gone on with, where the server can
        and its file is still the same (kept track of in `<into>.resume`). After "disk_full" and
        "too_large" nothing is left; `forget` removes the rest of others. Raises TransferFailed.
        """
        await self._run("download", url, into, limit_s, told, limit_bytes=limit_bytes)

    async def _run(self, act: str, url: str, file: Path, limit_s: float, told: Progress | None,
                   **more: object) -> None:
        order = {"act": act, "url": url, "file": str(file), "idle_s": self._idle_s,
                 "roots": self._roots(), "known_hosts": str(self._folder / "known_hosts"), **more}
        log.info("%s of %s: %s", act, file.name, shown(url))
        try:
            await self._children.run(MODULE, order, limit_s=limit_s, told=_listener(told))
        except ChildFailed as failed:
            kind = failed.kind if failed.kind in KINDS else "died"
            raise TransferFailed(kind, scrubbed(failed.detail, url)) from None


def _listener(told: Progress | None) -> Callable[[Told], None]:
    def heard(said: Told) -> None:
        if told is not None and "bytes" in said:
            told(int(said["bytes"]), said.get("of"))
        if "note" in said:
            log.warning("%s", said["note"])

    return heard


def forget(into: Path) -> None:
    """Remove what a download that is not wanted any more has left."""
    for file in (into, resume_file(into)):
        with contextlib.suppress(FileNotFoundError):
            file.unlink()


def resume_file(into: Path) -> Path:
    """Where it stands what the partial file is part of."""
    return into.with_name(into.name + ".resume")


def scheme_of(url: str) -> str:
    """The scheme in small letters, "" where there is none."""
    try:
        return urlsplit(url.strip()).scheme
    except ValueError:
        return ""


def shown(url: str) -> str:
    """`url` as it may stand in a log: no user, no password, no query (it may be signed)."""
    try:
        parts = urlsplit(url.strip())
        host = _host(parts)
    except ValueError:
        return "(an address that cannot be read)"
    return f"{parts.scheme}://{host}{parts.path}{'?…' if parts.query else ''}"[:200]


def _host(parts: SplitResult) -> str:
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name
    return f"{name}:{parts.port}" if parts.port is not None else name


def scrubbed(text: str, url: str) -> str:
    """`text` without what of `url` is secret."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return text.replace(url, "(the address)")
    secrets = {parts.query, parts.password or "", unquote(parts.password or "")}
    secrets |= {parts.netloc.rpartition("@")[0]}
    for secret in sorted(secrets - {""}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text
