"""How the daemon's log looks, what is kept of it in memory, and what never appears in it.

Tokens are shortened, passwords and keys never appear. Under systemd lines go to the journal with
fields of their own (docs/logs.md), or, without the library for it, carry their priority; no time
stands in them, for the journal has its own. Elsewhere the time in UTC.

A line that begins "evse=%s session=%s …" as style wants it has its fields from there; `extra` with
these names adds some. Only arguments of the line count, never its text: nobody outside can set one.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import TextIO

from cpctl.core.values import IdToken
from hal.values import CardUid

RING_LINES = 2000
_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3,
             logging.CRITICAL: 2}
_NUMBER = re.compile(r"[0-9]{1,18}")
_FIELDS = {"evse": _NUMBER, "session": _NUMBER, "code": re.compile(r"[A-Z][A-Z0-9_]{0,40}")}
_PLACE = re.compile(r"(?:\b(evse|session|code)=)?%[-#0 +]*[0-9]*(?:\.[0-9]+)?[a-zA-Z%]")
_TOKEN_FIELD = re.compile(
    r"""((?:idTag|parentIdTag|token|value)["']?\s*[=:]\s*["'])([^"']{5,64})(["'])""")
_SECRET_FIELD = re.compile(
    r"""((?:password|AuthorizationKey|BasicAuthPassword|secret)["']?\s*[=:]\s*["']?)"""
    r"""([^"'\s,}]+)""", re.IGNORECASE)
# up to the last @: a password that is not quoted as it must be may hold any character
_URL_USER = re.compile(r"""([A-Za-z][A-Za-z0-9+.-]{0,15}://)[^\s"'<>]{1,2000}@""")
_URL_QUERY = re.compile(r"""(://[^\s?"']{1,2000}\?)[^\s"']+""")  # it may be signed
_BASIC = re.compile(r"(Basic\s+)([A-Za-z0-9+/=]{8,})")


def short_token(text: str) -> str:
    """A token as it may stand in a log: 04A1B2C39F becomes 04A1…9F; up to 6 characters: 04…"""
    if len(text) <= 6:
        return text[:2] + "…"
    return f"{text[:4]}…{text[-2:]}"


def redact(line: str) -> str:
    """`line` without whole tokens and without any secret."""
    line = _TOKEN_FIELD.sub(lambda m: m[1] + short_token(m[2]) + m[3], line)
    line = _SECRET_FIELD.sub(r"\1***", line)
    line = _URL_QUERY.sub(r"\1***", _URL_USER.sub(r"\1***@", line))
    return _BASIC.sub(r"\1***", line)


def _shortened(argument: object) -> object:
    if isinstance(argument, IdToken):
        return short_token(argument.value)
    if isinstance(argument, CardUid):
        return short_token(argument.text)
    return argument


class _Format(logging.Formatter):
    """One line per event, redacted; an exception keeps its lines."""

    def __init__(self, *, journald: bool, stamped: bool = True):
        super().__init__()
        self._journald = journald
        self._stamped = stamped

    def format(self, record: logging.LogRecord) -> str:
        message = redact(_message(record))
        if record.exc_info and record.exc_info[0] is not None:
            message += "\n" + redact(self.formatException(record.exc_info))
        name = record.name.removeprefix("cpctl.")
        if self._journald:
            prefix = f"<{_PRIORITY.get(record.levelno, 6)}>"
            return "\n".join(prefix + line for line in f"{name}: {message}".splitlines())
        if not self._stamped:
            return f"{name}: {message}"
        return f"{_stamp(record.created)} {record.levelname:<7} {name}: {message}"


def _message(record: logging.LogRecord) -> str:
    if isinstance(record.args, tuple) and record.args:
        return str(record.msg) % tuple(_shortened(one) for one in record.args)
    return record.getMessage()


def _stamp(seconds: float) -> str:
    from datetime import datetime, timezone

    moment = datetime.fromtimestamp(seconds, timezone.utc)  # noqa: UP017
    return moment.strftime("%H:%M:%S.") + f"{moment.microsecond // 1000:03d}"


def fields_of(record: logging.LogRecord) -> dict[str, str]:
    """Of the line's EVSE, session and fault code those that it names."""
    found: dict[str, object] = {}
    if isinstance(record.args, tuple) and isinstance(record.msg, str) and record.args:
        places = [one for one in _PLACE.finditer(record.msg) if not one[0].endswith("%")]
        found = {place[1]: value for place, value in zip(places, record.args, strict=False)
                 if place[1]}
    found |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
    texts = {name: str(value) for name, value in found.items()}
    return {name: text for name, text in texts.items() if _FIELDS[name].fullmatch(text)}


class Journal(logging.Handler):
    """Each line to systemd's journal with fields. `sendv` is that of systemd-python.

    `instead` takes the lines that the journal does not. `sessions`: which session is open at an
    EVSE; a line that names the EVSE alone is of it.
    """

    def __init__(self, sendv: Callable[..., None], instead: logging.Handler):
        super().__init__()
        self._sendv = sendv
        self._instead = instead
        self.sessions: Mapping[int, int] = {}
        self.setFormatter(_Format(journald=False, stamped=False))

    def emit(self, record: logging.LogRecord) -> None:
        found = fields_of(record)
        session = self.sessions.get(int(found.get("evse", "0")))
        if session is not None:
            found.setdefault("session", str(session))
        fields = [f"CPCTL_{name.upper()}={text}" for name, text in found.items()]
        try:
            self._sendv(
                f"MESSAGE={self.format(record)}", f"PRIORITY={_PRIORITY.get(record.levelno, 6)}",
                f"LOGGER={record.name}", "SYSLOG_IDENTIFIER=cpctl", *fields)
        except OSError:
            self._instead.handle(record)


class Ring(logging.Handler):
    """The last lines, in memory, for `support.bundle` and GetLog."""

    def __init__(self, lines: int = RING_LINES):
        super().__init__()
        self.setFormatter(_Format(journald=False))
        self._lines: deque[tuple[float, str]] = deque(maxlen=lines)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append((record.created, self.format(record)))

    def lines(self) -> tuple[str, ...]:
        return tuple(line for _, line in self._lines)

    def dated(self) -> tuple[tuple[float, str], ...]:
        """Each line with its time in seconds since 1970."""
        return tuple(self._lines)


def kept_lines() -> tuple[tuple[float, str], ...]:
    """The dated lines of the ring that `set_up` made, none without one."""
    rings = (one for one in logging.getLogger().handlers if isinstance(one, Ring))
    ring = next(rings, None)
    return () if ring is None else ring.dated()


def follow(sessions: Mapping[int, int]) -> None:
    """From now on lines about an EVSE get the session that is open there, as a field."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Journal):
            handler.sessions = sessions


def _journal(instead: logging.Handler) -> logging.Handler:
    """The journal with fields; `instead` where systemd-python is not installed."""
    try:
        from systemd.journal import sendv
    except ImportError:
        return instead
    return Journal(sendv, instead)


def set_up(level: str = "INFO", stream: TextIO | None = None, *,
           journald: bool | None = None) -> Ring:
    """Send the log to `stream` (stderr) and to the ring that is returned.

    `journald` None: found out by JOURNAL_STREAM, which systemd sets.
    """
    if journald is None:
        journald = "JOURNAL_STREAM" in os.environ
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    out: logging.Handler = logging.StreamHandler(stream or sys.stderr)
    out.setFormatter(_Format(journald=journald))
    if journald and stream is None:
        out = _journal(out)
    ring = Ring()
    root.addHandler(out)
    root.addHandler(ring)
    root.setLevel(level.upper())
    for chatty in ("websockets", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return ring
