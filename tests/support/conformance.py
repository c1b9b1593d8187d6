"""The conformance table: each message, rule, key and official case with the tests that show it.

Made from the marks of the tests, read by their syntax trees: nothing is run. `make conformance`
writes it to docs/conformance-16.md; `tests/house/test_conformance16.py` holds it against the rows.
"""

import ast
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cpctl.dialects.v16.dialect import ACTIONS

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
RULES = TESTS / "conformance" / "rules16.toml"
TABLE = ROOT / "docs" / "conformance-16.md"
MOST_NAMED = 4  # tests in a cell
FREE = "SecurityEventNotification.req:"  # the events of the whitepaper, which no schema lists

Marks = dict[str, list[str]]  # what a mark names -> the tests that bear it


@dataclass
class Row:
    """One row. `id` is what a mark names; `also` are other names for it."""

    part: str
    section: str
    id: str
    title: str = ""
    also: tuple[str, ...] = ()
    tests: list[str] = field(default_factory=list)
    reason: str = ""

    @property
    def empty(self) -> bool:
        return not self.tests and not self.reason


# --- marks ---------------------------------------------------------------------------------------


def marks(folder: Path = TESTS) -> Marks:
    """What the marks of all tests name. An official case counts where it stands in `octt/`."""
    found: Marks = {}
    for path in sorted(folder.rglob("test_*.py")):
        over_sockets = "octt" in path.relative_to(folder).parts[:-1]
        for test, name in _named(ast.parse(path.read_text())):
            if name.startswith("TC_"):
                if not over_sockets:
                    continue
                name = name.removesuffix("_CS")
            where = f"{path.relative_to(folder).with_suffix('')}::{test}"
            if where not in found.setdefault(name, []):
                found[name].append(where)
    return found


def _named(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(test, what one of its marks names), of functions, classes and the whole module."""
    everywhere = [name for node in tree.body if isinstance(node, ast.Assign)
                  and any(isinstance(one, ast.Name) and one.id == "pytestmark"
                          for one in node.targets)
                  for name in _texts(node.value)]
    for node in tree.body:
        inherited = everywhere
        functions: Sequence[ast.stmt] = [node]
        if isinstance(node, ast.ClassDef):
            inherited = everywhere + [
                name for one in node.decorator_list for name in _texts(one)]
            functions = node.body
        for function in functions:
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and (
                    function.name.startswith("test_")):
                for name in [*inherited, *(text for one in function.decorator_list
                                           for text in _texts(one))]:
                    yield function.name, name


def _texts(mark: ast.expr) -> Iterator[str]:
    """The ids in a decorator: of requirement(…) wherever it stands in it, and official cases."""
    for node in ast.walk(mark):
        if isinstance(node, ast.Call) and _name(node.func) == "requirement":
            for argument in node.args:
                if isinstance(argument, ast.Constant):
                    yield str(argument.value)
        elif isinstance(node, ast.Constant) and str(node.value).startswith("TC_"):
            yield str(node.value)


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


# --- rows ----------------------------------------------------------------------------------------


def wanted() -> dict[str, Any]:
    return tomllib.loads(RULES.read_text())


def rows(table: Mapping[str, Any]) -> list[Row]:
    """Every row that the table has, without its tests."""
    made = [row for action, way in sorted(ACTIONS.items()) for row in _messages(action, way)]
    for area, rules in table["rules"].items():
        made += [Row(area, f"{area}: {rules['title']}", f"16.{area}.{number}", title)
                 for number, title in rules.items() if number != "title"]
    made += [Row("keys", "Configuration keys", f"key:{name}") for name in table["keys"]]
    made += [Row("octt", "Official test cases", name) for name in table["octt"]]
    return made


def filled(table: Mapping[str, Any], found: Marks) -> list[Row]:
    """The rows with the tests that show them, or the stated reason."""
    made = rows(table)
    for row in made:
        for name in (row.id, *row.also):
            row.tests += [test for test in found.get(name, ()) if test not in row.tests]
        row.reason = str(table["reasons"].get(row.id, ""))
    return made


def _messages(action: str, way: str) -> Iterator[Row]:
    if way in ("in", "both"):
        yield from _theirs(action, "central system to station")
    if way in ("out", "both"):
        yield from _ours(action, "station to central system", both=way == "both")


def _theirs(action: str, way: str) -> Iterator[Row]:
    """A call of the central system: each status of our answer."""
    words = statuses(f"{action}Response")
    if not words:
        yield Row("messages", way, f"{action}.conf", "answered", (f"{action}.req",))
    for word in words:
        yield Row("messages", way, f"{action}.conf:{word}", f"answered {word}")


def _ours(action: str, way: str, *, both: bool) -> Iterator[Row]:
    """A call of ours: each status it tells, each status it is answered with."""
    told = statuses(action)
    if not told:
        yield Row("messages", way, f"{action}.req", "sent")
    for word in told:
        yield Row("messages", way, f"{action}.req:{word}", f"tells {word}")
    for word in statuses(f"{action}Response"):
        name = f"{action}.{'req' if both else 'conf'}:{word}"
        yield Row("messages", way, name, f"is answered {word}")


def statuses(schema: str) -> list[str]:
    """The words of the status in a message, or of the one in its idTagInfo."""
    spec = find_spec("ocpp")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "v16" / "schemas"
    tree = json.loads((folder / f"{schema}.json").read_text(encoding="utf-8-sig"))
    properties = tree.get("properties", {})
    if "idTagInfo" in properties:
        properties = _resolved(properties["idTagInfo"], tree).get("properties", {})
    return list(_resolved(properties.get("status", {}), tree).get("enum", []))


def _resolved(part: dict[str, Any], tree: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in part:
        found: dict[str, Any] = tree["definitions"][part["$ref"].rpartition("/")[2]]
        return found
    return part


def unknown(table: Mapping[str, Any], found: Marks) -> list[str]:
    """Marks in the form of a row that name none: a slip of the pen."""
    known = {name for row in rows(table) for name in (row.id, *row.also)}
    known |= {f"{action}.{kind}" for action in ACTIONS for kind in ("req", "conf")}
    ours = (name for name in found
            if name.startswith(("16.", "key:", "TC_")) or (
                name.partition(".")[0] in ACTIONS and not name.startswith(FREE)))
    return sorted(name for name in ours if name not in known)


# --- the written table ---------------------------------------------------------------------------


def text(made: Sequence[Row]) -> str:
    """The page."""
    lines = [
        "# Conformance with OCPP 1.6",
        "",
        "Which test shows what. Made from the marks of the tests by `make conformance`; do not",
        "edit. Edition 2 with its errata sheets, and the security whitepaper, edition 3. The ids",
        "of the rules are ours: an area of the specification and a number.",
    ]
    parts = {"messages": "Messages", "keys": "Configuration keys", "octt": "Official test cases"}
    last: tuple[str, str] = ("", "")
    for row in sorted(made, key=lambda one: _order(one, made)):
        part = parts.get(row.part, "Rules")
        if part != last[0]:
            shown = [one for one in made if parts.get(one.part, "Rules") == part]
            lines += ["", f"## {part}", "",
                      f"{len(shown)} rows, {sum(bool(one.tests) for one in shown)} shown by tests."]
        if (part, row.section) != last:
            lines += ["", *([f"### {row.section}", ""] if row.section != part else []),
                      "| row | | shown by |", "|---|---|---|"]
        last = (part, row.section)
        lines.append(f"| {row.id} | {row.title} | {_cell(row)} |")
    return "\n".join(lines) + "\n"


def _order(row: Row, made: Sequence[Row]) -> tuple[int, int]:
    turn = {"messages": 0, "keys": 2, "octt": 3}.get(row.part, 1)
    if row.part == "messages":
        return turn, int(row.section.startswith("station"))
    return turn, 0


def _cell(row: Row) -> str:
    """The tests by file; those over a real WebSocket first."""
    if not row.tests:
        return f"no test: {row.reason}" if row.reason else "**nothing**"
    ordered = sorted(row.tests, key=lambda one: (not one.startswith("octt/"), one))
    named = ", ".join(f"{Path(one.partition('::')[0]).name}::{one.partition('::')[2]}"
                      for one in ordered[:MOST_NAMED])
    more = len(ordered) - MOST_NAMED
    return named + (f", and {more} more" if more > 0 else "")


def main() -> None:
    table = wanted()
    made = filled(table, marks())
    TABLE.write_text(text(made))
    empty = [row.id for row in made if row.empty]
    print(f"{TABLE.relative_to(ROOT)}: {len(made)} rows, {len(empty)} with nothing")
    for name in empty:
        print(f"  {name}")
    for name in unknown(table, marks()):
        print(f"  names no row: {name}")


if __name__ == "__main__":
    main()
