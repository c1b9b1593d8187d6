"""Reading tables of the configuration with care: types, units, ranges, names nobody knows.

A mistake is noted, not raised, so that one run tells all of them. What was never asked for is an
unknown key when a section is `done`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cpctl.config_text import Located, Problem, Where

UNITS = {"a": "A", "s": "s", "ms": "ms", "wh": "Wh", "kwh": "kWh", "w": "W", "v": "V",
         "mb": "MB", "days": "days", "min": "min", "h": "h", "ma": "mA", "kw": "kW", "hz": "Hz"}


class Problems:
    """The mistakes found so far, what was passed over, and which keys were looked for."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self.notes: list[str] = []
        self.asked: dict[str, list[str]] = {}  # section -> keys, for the documentation's test

    def add(self, where: Where, sentence: str, hint: str = "") -> None:
        problem = Problem(where, sentence, hint)
        if problem not in self.found:
            self.found.append(problem)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant."""
    import difflib  # only a mistake pays for this

    by_case = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), by_case, n=1, cutoff=0.6)
    return by_case[close[0]] if close else None


def suggestion(name: str, known: Sequence[str]) -> str:
    """A sentence that leads from a wrong name to a right one."""
    stem, _, unit = name.rpartition("_")
    for one in known:
        other, _, right = one.rpartition("_")
        if stem and other == stem and unit in UNITS and right in UNITS:
            return f"its unit is {UNITS[right]}: {one}"
    close = nearest(name, known)
    if close is not None:
        return f"did you mean {close}?"
    return f"known here: {', '.join(sorted(known))}" if known else "nothing is known here"


def kind_of(value: object) -> str:
    """A TOML value's type in a person's words."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return f'the text "{value[:40]}"'
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, list):
        return "a list"
    return "a table" if isinstance(value, dict) else "a date"


class Section:
    """One table, read key by key."""

    def __init__(self, problems: Problems, node: Located | None, name: str, where: Where):
        self.problems = problems
        self.name = name
        self.where = where
        self.present = node is not None
        self._table: Mapping[str, Located] = {}
        self._known: dict[str, None] = {}
        if node is None:
            return
        self.where = node.where
        if node.table is None:
            problems.add(node.where, f"{name}: expected a table, not {kind_of(node.value)}",
                         f"write [{name}]" if "." not in name else "write { key = value }")
            return
        self._table = node.table

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self._table)

    def has(self, key: str) -> bool:
        return key in self._table

    def get(self, key: str) -> Located | None:
        """The value as it stands; the key counts as known from now on."""
        self._known[key] = None
        asked = self.problems.asked.setdefault(self.name, [])
        if key not in asked:
            asked.append(key)
        return self._table.get(key)

    def at(self, key: str) -> Where:
        """Where `key` stands, or the section when it does not."""
        return self._table[key].where if key in self._table else self.where

    def label(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def wrong(self, key: str, sentence: str, hint: str = "") -> None:
        self.problems.add(self.at(key), f"{self.label(key)}: {sentence}", hint)

    def missing(self, key: str, hint: str) -> None:
        self.problems.add(self.where, f"{self.label(key)} is missing", hint)

    def text(self, key: str, default: str = "", *, required: str = "", limit: int | None = None,
             choices: Sequence[str] = ()) -> str:
        """`required` is the hint that is given when the key is missing."""
        node = self.get(key)
        if node is None:
            if required:
                self.missing(key, required)
            return default
        if not isinstance(node.value, str):
            self.wrong(key, f"expected text, not {kind_of(node.value)}", "put it in quotes")
            return default
        if choices and node.value not in choices:
            self.wrong(key, f'"{node.value}" is none of {", ".join(choices)}',
                       suggestion(node.value, choices))
            return default
        if limit is not None and len(node.value) > limit:
            self.wrong(key, f"at most {limit} characters, these are {len(node.value)}",
                       "shorten it")
            return default
        if required and not node.value:
            self.wrong(key, "must not be empty", required)
        return node.value

    def path(self, key: str, default: str) -> Path:
        """Beside the file that names it."""
        name = self.text(key, default)
        return Path(self.at(key).file).parent / name if self.has(key) else Path(name)

    def flag(self, key: str, default: bool) -> bool:
        node = self.get(key)
        if node is None:
            return default
        if not isinstance(node.value, bool):
            self.wrong(key, f"expected true or false, not {kind_of(node.value)}",
                       "write true or false without quotes")
            return default
        return node.value

    def number(self, key: str, default: float, *, minimum: float | None = None,
               maximum: float | None = None, required: str = "") -> float:
        node = self.get(key)
        if node is None:
            if required:
                self.missing(key, required)
            return default
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.wrong(key, f"expected a number{self._unit(key)}, not {kind_of(value)}",
                       "write the number alone, without quotes and unit")
            return default
        if not self._within(key, value, minimum, maximum):
            return default
        return float(value)

    def number_or_none(self, key: str, *, minimum: float, maximum: float) -> float | None:
        if not self.has(key):
            self.get(key)
            return None
        return self.number(key, minimum, minimum=minimum, maximum=maximum)

    def whole(self, key: str, default: int, *, minimum: float | None = None,
              maximum: float | None = None, required: str = "",
              choices: Sequence[int] = ()) -> int:
        node = self.get(key)
        if node is None:
            if required:
                self.missing(key, required)
            return default
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(key, f"expected a whole number{self._unit(key)}, not {kind_of(value)}",
                       "write the number alone, without quotes, point and unit")
            return default
        if choices and value not in choices:
            self.wrong(key, f"{value} is none of {', '.join(str(one) for one in choices)}",
                       "choose one of these")
            return default
        return value if self._within(key, value, minimum, maximum) else default

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[tuple[str, Where], ...]:
        """A list of texts, each with its place."""
        node = self.get(key)
        if node is None:
            return tuple((one, self.where) for one in default)
        found = []
        for one in node.items if node.items is not None else (node,):
            if isinstance(one.value, str) and node.items is not None:
                found.append((one.value, one.where))
                continue
            self.problems.add(one.where, f"{self.label(key)}: expected a list of texts, "
                                         f"found {kind_of(one.value)}", f'write {key} = ["…"]')
        return tuple(found)

    def section(self, key: str, name: str = "") -> Section:
        return Section(self.problems, self.get(key), name or self.label(key), self.where)

    def sections(self, key: str) -> tuple[Section, ...]:
        """The tables of an array of tables."""
        node = self.get(key)
        if node is None:
            return ()
        if node.items is None:
            self.wrong(key, f"expected [[{key}]], not {kind_of(node.value)}",
                       f"write [[{key}]] with two brackets")
            return ()
        return tuple(Section(self.problems, one, self.label(key), one.where)
                     for one in node.items)

    def done(self) -> None:
        """Everything that is known has been asked for: the rest is unknown."""
        for key in self._table:
            if key not in self._known:
                self.wrong(key, "unknown key", suggestion(key, tuple(self._known)))

    def _unit(self, key: str) -> str:
        unit = UNITS.get(key.rpartition("_")[2])
        return f" of {unit}" if unit else ""

    def _within(self, key: str, value: float, minimum: float | None,
                maximum: float | None) -> bool:
        if math.isnan(value) or (minimum is not None and value < minimum) or (
                maximum is not None and value > maximum):
            span = f"from {minimum:g}" if minimum is not None else ""
            span += f" to {maximum:g}" if maximum is not None else ""
            self.wrong(key, f"{value} is out of range", f"allowed: {span.strip()}")
            return False
        return True
