"""Configuration text: TOML in, values that know their file and line out.

`tomllib` gives values without lines, so a small scanner of the same text finds the line of each
key; it relies on `tomllib` having accepted the text. What the values mean is decided elsewhere.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

Route = tuple[str | int, ...]


class Where(NamedTuple):
    """A line (from 1) of a configuration file; 0: the file as a whole."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Problem(NamedTuple):
    """One mistake: where, what, and what to do about it."""

    where: Where
    sentence: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.sentence}" + (f"; {self.hint}" if self.hint else "")


class ConfigError(Exception):
    """The configuration cannot be used; `problems` holds every mistake that was found."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = tuple(sorted(problems, key=lambda one: (one.where.file, one.where.line)))
        super().__init__("\n".join(str(one) for one in self.problems))


class Located(NamedTuple):
    """A value of the file and where its key stands. `name` is its dotted path, for messages.

    `value` is a mapping or a list of `Located`, or a plain TOML value.
    """

    value: object
    where: Where
    name: str

    @property
    def table(self) -> Mapping[str, Located] | None:
        return self.value if isinstance(self.value, dict) else None

    @property
    def items(self) -> Sequence[Located] | None:
        return self.value if isinstance(self.value, list) else None


_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRINGS = (
    re.compile(r'"""(?:\\[\s\S]|[^\\])*?"""(?!")'),
    re.compile(r"'''[\s\S]*?'''(?!')"),
    re.compile(r'"(?:\\.|[^"\\\n])*"'),
    re.compile(r"'[^'\n]*'"),
)
_SCALAR = re.compile(r"[^,\]}\n#]+")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")


class _Scanner:
    """Finds the line of each key of a text that is known to be TOML."""

    def __init__(self, text: str):
        self.lines: dict[Route, int] = {(): 1}
        self._text = text
        self._at = 0
        self._ends = [match.start() for match in re.finditer("\n", text)]
        self._lengths: dict[Route, int] = {}  # arrays of tables: how many so far

    def scan(self) -> dict[Route, int]:
        prefix: Route = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            prefix = self._header() if self._text[self._at] == "[" else self._pair(prefix)
            self._skip(_BLANK)
        return self.lines

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None, f"scanner lost its way at character {self._at}"
        self._at = match.end()
        return match.group()

    def _note(self, route: Route) -> None:
        line = bisect_left(self._ends, self._at) + 1
        for length in range(1, len(route) + 1):
            self.lines.setdefault(route[:length], line)

    def _string(self) -> str:
        for pattern in _STRINGS:
            if pattern.match(self._text, self._at):
                return self._skip(pattern)
        raise AssertionError(f"scanner lost its way at character {self._at}")

    def _key(self) -> tuple[str, ...]:
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            if self._text[self._at] in "\"'":
                parts.extend(tomllib.loads(f"{self._string()} = 0"))
            else:
                parts.append(self._skip(_BARE))
            self._skip(_SPACE)
            if self._text[self._at] != ".":
                return tuple(parts)
            self._at += 1

    def _header(self) -> Route:
        array = self._text.startswith("[[", self._at)
        self._at += 2 if array else 1
        route: Route = ()
        for part in self._key():
            if route in self._lengths:
                route = (*route, self._lengths[route] - 1)
            route = (*route, part)
        if array:
            number = self._lengths.get(route, 0)
            self._lengths[route] = number + 1
            route = (*route, number)
        self._note(route)
        self._at += 2 if array else 1
        return route

    def _pair(self, prefix: Route) -> Route:
        route = prefix
        start = self._at
        key = self._key()
        end, self._at = self._at, start
        route = (*prefix, *key)
        self._note(route)
        self._at = end + 1  # "="
        self._value(route)
        return prefix

    def _value(self, route: Route) -> None:
        self._skip(_SPACE)
        first = self._text[self._at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._array(route)
        elif first == "{":
            self._inline(route)
        else:
            self._skip(_SCALAR)

    def _array(self, route: Route) -> None:
        self._at += 1
        number = 0
        while True:
            self._skip(_BLANK)
            if self._text[self._at] == "]":
                self._at += 1
                return
            self._note((*route, number))
            self._value((*route, number))
            number += 1
            self._skip(_BLANK)
            if self._text[self._at] == ",":
                self._at += 1

    def _inline(self, route: Route) -> None:
        self._at += 1
        self._skip(_BLANK)
        while self._text[self._at] != "}":
            self._pair(route)
            self._skip(_BLANK)
            if self._text[self._at] == ",":
                self._at += 1
                self._skip(_BLANK)
        self._at += 1


def lines_of(text: str) -> dict[Route, int]:
    """The line of each key (and array element) of `text`, which must be valid TOML."""
    return _Scanner(text).scan()


def parse(text: str, file: str) -> Located:
    """The tables of `text` with their lines. Raises ConfigError when it is not TOML."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = int(found.group(1)) if found else text.count("\n") + 1
        sentence = str(error).split(" (at ")[0][:1].lower() + str(error).split(" (at ")[0][1:]
        raise ConfigError([Problem(Where(file, line), f"this is not TOML: {sentence}",
                                   _syntax_hint(sentence))]) from error
    lines = lines_of(text)

    def locate(value: object, route: Route, line: int, name: str) -> Located:
        line = lines.get(route, line)
        inner: object = value
        if isinstance(value, dict):
            inner = {key: locate(one, (*route, key), line, f"{name}.{key}" if name else key)
                     for key, one in value.items()}
        elif isinstance(value, list):
            inner = [locate(one, (*route, number), line, name)
                     for number, one in enumerate(value)]
        return Located(inner, Where(file, line), name)

    return locate(tables, (), 1, "")


def _syntax_hint(sentence: str) -> str:
    if "overwrite" in sentence or "twice" in sentence or "already" in sentence:
        return "the same setting stands twice in this file; remove one of the two"
    if "invalid value" in sentence:
        return 'text stands in quotes: key = "value"'
    return "see cpctl.toml(5)"


def find(path: Path) -> tuple[Path, ...]:
    """`path` and the files of `conf.d` beside it, by name."""
    beside = path.parent / "conf.d"
    return (path, *sorted(beside.glob("*.toml")))


def read(path: Path) -> Located:
    """As `parse`, from a file. Raises ConfigError when it cannot be read."""
    file = str(path)
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError([Problem(Where(file, 0), "there is no such file",
                                   "copy /usr/share/cpctl/cpctl.example.toml there "
                                   "(deploy/ in the sources)")]) from error
    except OSError as error:
        raise ConfigError([Problem(Where(file, 0), f"cannot be read: {error.strerror}",
                                   "check owner and mode of the file")]) from error
    try:
        return parse(raw.decode("utf-8-sig"), file)  # an editor may put a mark before it
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(Where(file, line), "this is not UTF-8 text",
                                   "save the file as UTF-8")]) from error


def merged(first: Located, later: Located) -> Located:
    """`later` over `first`: tables by key, arrays of tables by `id`, all else replaced whole.

    A table that names a `driver` is replaced whole: options of two drivers do not mix.
    """
    one, two = first.table, later.table
    if one is not None and two is not None and "driver" not in two:
        joined = dict(one)
        for key, value in two.items():
            joined[key] = merged(one[key], value) if key in one else value
        return Located(joined, later.where if not one else first.where, first.name)
    if _tables(first) and _tables(later):
        return Located(_by_id(first.items or (), later.items or ()), first.where, first.name)
    return later


def _tables(node: Located) -> bool:
    return bool(node.items) and all(one.table is not None and "id" in one.table
                                    for one in node.items or ())


def _by_id(first: Sequence[Located], later: Sequence[Located]) -> list[Located]:
    joined = list(first)
    for one in later:
        number = (one.table or {})["id"].value
        for at, known in enumerate(first):
            if (known.table or {})["id"].value == number:
                joined[at] = merged(joined[at], one)
                break
        else:
            joined.append(one)
    return joined
