"""Packs a support bundle, or writes the security log, in a process of its own.

Everything passes `redaction.py` on its way in. The order comes on standard input, see `bundle.py`.
"""

import io
import json
import os
import platform
import resource
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cpctl.services.child import ChildFailed, Told, serve
from cpctl.services.redaction import Redactor

MOST_BYTES = 64 << 20  # of any file we write
MOST_PART_BYTES = 24 << 20  # of a part before it is packed; the newest stays
READ_ME = """Support bundle of {who}, made {at}.
Passwords, keys and certificates' keys are left out, tokens are shortened.

log.txt          the newest lines of the log
journal.jsonl    the newest facts of the books
security.jsonl   the security events among them
status.json      what the station was doing, and other pictures beside it
config/          the configuration files, as they were read
machine.json     the machine and the versions
problems.txt     what could not be had
"""
PACKAGES = ("cpctl", "ocpp", "websockets", "cryptography", "asyncssh", "urllib3", "pyscard",
            "gpiozero", "gpiod", "pyserial", "minimalmodbus")


def work(order: Told, tell: Callable[[Told], None]) -> Told:
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_BYTES, MOST_BYTES))
    os.umask(0o077)
    try:
        redactor = Redactor(order["secrets"], _lines_of(order["tokens"]))
        if order["kind"] == "SecurityLog":
            _security_log(order, redactor)
        else:
            _Bundle(order, redactor).write()
    except OSError as error:
        raise ChildFailed("disk_full", error.strerror or str(error)) from error
    return {"bytes": Path(order["out"]).stat().st_size}


def _security_log(order: Told, redactor: Redactor) -> None:
    with Path(order["out"]).open("w") as out:
        for line in _security_lines(order, redactor):
            out.write(line + "\n")


def _security_lines(order: Told, redactor: Redactor) -> Iterator[str]:
    """The security events of the span, oldest first, with the names of the specification."""
    for fact in _facts(order):
        if fact["kind"] != "SecurityEventRaised":
            continue
        body = fact["body"]
        event = {"timestamp": _utc(fact["utc"] / 1e6), "type": body.get("kind", ""),
                 "techInfo": redactor.line(body.get("text", "")),
                 "critical": bool(body.get("critical")), "no": fact["no"]}
        if fact.get("quality") == "none":
            event["clock"] = "not set"
        yield json.dumps(event, ensure_ascii=False)


def _facts(order: Told) -> Iterator[dict[str, Any]]:
    """The facts of the span, as they were copied from the books."""
    for fact in _lines_of(order["books"]) if "books" in order else ():
        if _within(fact["utc"] / 1e6, order):
            yield fact


def _lines_of(file: str) -> Iterator[Any]:
    """What was laid down for us, value by value."""
    with Path(file).open() as lines:
        yield from map(json.loads, lines)


def _within(at: float, order: Told) -> bool:
    since, until = order["since"], order["until"]
    return (since is None or at >= since) and (until is None or at <= until)


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:23] + "Z"


class _Bundle:
    """One archive, part by part; a part that fails is named in problems.txt."""

    def __init__(self, order: Told, redactor: Redactor) -> None:
        self._order = order
        self._redactor = redactor
        self._problems: list[str] = list(order["problems"])
        self._part = Path(order["out"] + ".part")

    def write(self) -> None:
        with tarfile.open(self._order["out"], "w:gz", compresslevel=6) as self._tar:
            who = Path(self._order["out"]).name.split("-diagnostics-")[0]
            self._text("README.txt", READ_ME.format(who=who, at=_utc(time.time())))
            # the log last: the tokens that stand elsewhere are then found in it
            for name, picture in self._order["pictures"].items():
                self._object(f"{name}.json", picture)
            self._lines("journal.jsonl", self._journal())
            self._lines("security.jsonl", _security_lines(self._order, self._redactor))
            self._lines("log.txt", self._log())
            for file in self._order["config_files"]:
                self._config(Path(file))
            self._object("machine.json", self._machine())
            if self._problems:
                self._text("problems.txt", "\n".join(self._problems) + "\n")

    # --- parts -----------------------------------------------------------------------------------

    def _journal(self) -> Iterator[str]:
        for fact in _facts(self._order):
            yield json.dumps(self._redactor.value(fact), ensure_ascii=False)

    def _log(self) -> Iterator[str]:
        """With the date in front: the lines themselves have the time only."""
        for at, line in _lines_of(self._order["lines"]):
            if _within(at, self._order):
                yield f"{_utc(at)[:10]} {self._redactor.line(line)}"

    def _config(self, file: Path) -> None:
        import tomllib

        try:
            tree = tomllib.loads(file.read_text())
        except (OSError, ValueError) as error:
            self._problems.append(f"{file} cannot be read: {type(error).__name__}")
            return
        self._object(f"config/{file.name}.json", tree)

    def _machine(self) -> dict[str, Any]:
        from importlib import metadata

        versions = {}
        for name in PACKAGES:
            try:
                versions[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        usage = shutil.disk_usage(self._order["store"])
        return {
            "platform": platform.platform(), "python": platform.python_version(),
            "model": _first_line("/proc/device-tree/model"),
            "uptime_s": _first_line("/proc/uptime").split(" ", maxsplit=1)[0],
            "load": _first_line("/proc/loadavg"), "packages": versions,
            "cpu_millidegrees": _first_line("/sys/class/thermal/thermal_zone0/temp"),
            "memory": _memory(), "utc": _utc(time.time()),
            "disk": {"total_bytes": usage.total, "free_bytes": usage.free},
            "store": {one.name: one.stat().st_size
                      for one in sorted(Path(self._order["store"]).iterdir()) if one.is_file()}}

    # --- packing ---------------------------------------------------------------------------------

    def _lines(self, name: str, lines: Iterator[str]) -> None:
        """A part line by line; of a long one the end stays."""
        with self._part.open("w+") as part:
            for line in lines:
                part.write(line + "\n")
        skip = max(0, self._part.stat().st_size - MOST_PART_BYTES)
        with self._part.open("rb") as whole:
            whole.seek(skip)
            if skip:
                whole.readline()
                self._problems.append(f"{name}: only the newest part is here")
            self._add(name, whole, self._part.stat().st_size - whole.tell())
        self._part.unlink()

    def _object(self, name: str, value: Any) -> None:
        self._text(name, json.dumps(self._redactor.value(value), indent=1, ensure_ascii=False))

    def _text(self, name: str, text: str) -> None:
        content = text.encode(errors="replace")[:MOST_PART_BYTES]
        self._add(name, io.BytesIO(content), len(content))

    def _add(self, name: str, content: Any, size: int) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mtime, member.mode = size, int(time.time()), 0o600
        self._tar.addfile(member, content)


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").partition("\n")[0].strip("\0 ")
    except OSError:
        return ""


def _memory() -> dict[str, str]:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines)
    return {name: value.strip() for name, value in pairs
            if name in ("MemTotal", "MemAvailable", "SwapFree")}


if __name__ == "__main__":
    serve(work)
