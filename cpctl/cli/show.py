"""What people see: tables, units, colour on a terminal only; JSON for programs."""

from __future__ import annotations

import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would cost a tenth of the start
    from collections.abc import Sequence
    from typing import Any

_COLOURS = {
    "red": "\033[31m", "green": "\033[32m", "yellow": "\033[33m", "blue": "\033[34m",
    "dim": "\033[2m", "bold": "\033[1m",
}
_WORDS = {
    "Available": "green", "Charging": "blue", "Faulted": "red", "Unavailable": "yellow",
    "SuspendedEV": "yellow", "SuspendedEVSE": "yellow", "Preparing": "blue",
    "Finishing": "blue", "Reserved": "yellow", "online": "green", "offline": "red",
    "held": "yellow", "accepted": "green", "Accepted": "green", "ok": "green", "lost": "red",
    "never_seen": "yellow", "waiting": "yellow", "abandoned": "red", "delivered": "green",
}


class Screen:
    """Where a command writes to. `json`: one object per line and nothing else."""

    def __init__(self, *, json: bool = False):
        self.json = json
        self._colour = _wants_colour(sys.stdout)
        self._progressing = False

    def object(self, value: Any) -> None:
        print(json.dumps(value, ensure_ascii=False), flush=True)

    def line(self, text: str = "") -> None:
        print(text, flush=True)

    def paint(self, text: str, colour: str | None = None) -> str:
        """`text` in a colour, by default the one its word stands for."""
        name = colour or _WORDS.get(text.strip())
        if not self._colour or name is None:
            return text
        return f"{_COLOURS[name]}{text}\033[0m"

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns as wide as they need to be; words with a colour get it."""
        widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
        self.line(self.paint("  ".join(
            head.ljust(width) for head, width in zip(heads, widths, strict=True)).rstrip(), "bold"))
        for row in rows:
            cells = [self.paint(cell.ljust(width))
                     for cell, width in zip(row, widths, strict=True)]
            self.line("  ".join(cells).rstrip())

    def clear(self) -> None:
        """Begin again at the top, on a terminal."""
        if sys.stdout.isatty():
            print("\033[H\033[2J", end="")

    def error(self, message: str, hint: str, code: int) -> None:
        if self.json:
            self.object({"error": {"code": code, "message": message, "hint": hint}})
            return
        word = "\033[31mcpctl:\033[0m" if _wants_colour(sys.stderr) else "cpctl:"
        print(f"{word} {message}", file=sys.stderr)
        if hint:
            print(f"  {hint}", file=sys.stderr)

    def progress(self, text: str) -> None:
        """What is being waited for, on the terminal of a person."""
        if sys.stderr.isatty() and not self.json:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
            self._progressing = True

    def progress_done(self) -> None:
        if self._progressing:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            self._progressing = False


def _wants_colour(stream: Any) -> bool:
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR") and (
        os.environ.get("TERM") != "dumb")


def energy(wh: float | None) -> str:
    return "-" if wh is None else f"{wh / 1000:.3f} kWh"


def power(watts: float | None) -> str:
    if watts is None:
        return "-"
    return f"{watts / 1000:.2f} kW" if abs(watts) >= 1000 else f"{watts:.0f} W"


def amps(current_a: float | None) -> str:
    return "-" if not current_a else f"{current_a:g} A"


def word(value: Any) -> str:
    """Any value in a cell."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):  # what is measured has no use for more digits
        return str(round(value, 3))
    return str(value)


def moment(text: str | None) -> str:
    """A time to the second, as it was told (UTC)."""
    return "-" if not text else text[:19].replace("T", " ") + "Z"


def pairs(screen: Screen, value: dict[str, Any], indent: str = "") -> None:
    """An object, one member per line; objects inside it indented."""
    width = max((len(name) for name in value), default=0)
    for name, one in value.items():
        label = f"{indent}{name.replace('_', ' ').ljust(width)}"
        if isinstance(one, dict):
            screen.line(f"{indent}{name.replace('_', ' ')}:")
            pairs(screen, one, indent + "  ")
        elif isinstance(one, list) and one and isinstance(one[0], dict):
            screen.line(f"{indent}{name.replace('_', ' ')}:")
            for each in one:
                pairs(screen, each, indent + "  ")
                screen.line()
        elif isinstance(one, list):
            screen.line(f"{label}  {', '.join(word(each) for each in one) or '-'}")
        else:
            screen.line(f"{label}  {screen.paint(word(one))}")
