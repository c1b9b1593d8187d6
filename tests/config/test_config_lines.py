"""The scanner finds the line of each key, however TOML lets people write it."""

import random
import tomllib
from typing import Any

import pytest

from cpctl.config_text import Route, lines_of, parse

HARD = '''\
# a comment with [brackets] and = signs
top = 1
"quoted key" = "a # no comment"
dotted . key . "x.y" = 'literal \\'   # comment "
multi = """
[not.a.header]
key = 1 \\""" still
"""
lit = \'\'\'
[[no]]
\'\'\'
end = """two quotes at the end"""""
array = [
  1, # one
  "]", { inner = 2, deep.er = [3] },

  [ "nested",
    4 ],
]
inline = { a = 1, "b c" = { d = "}" }, e = [{ f = 1 }] }
when = 1979-05-27T07:32:00Z

[table]
one = 1
[table.sub."odd name"]
two = 2
[[list]]
id = 1
[list.child]
x = 1
[[list.many]]
y = 1
[[list.many]]
y = 2
[[list]]
id = 2
[[list.many]]
y = 3
'''


def test_lines_of_a_hard_text() -> None:
    lines = lines_of(HARD)

    expected: dict[Route, int] = {
        ("top",): 2, ("quoted key",): 3, ("dotted", "key", "x.y"): 4, ("multi",): 5,
        ("lit",): 9, ("end",): 12, ("array",): 13, ("array", 0): 14, ("array", 1): 15,
        ("array", 2, "inner"): 15, ("array", 2, "deep", "er", 0): 15, ("array", 3): 17,
        ("array", 3, 1): 18, ("inline", "b c", "d"): 20, ("inline", "e", 0, "f"): 20,
        ("when",): 21, ("table",): 23, ("table", "one"): 24,
        ("table", "sub", "odd name", "two"): 26,
        ("list", 0, "id"): 28, ("list", 0, "child", "x"): 30, ("list", 0, "many", 1, "y"): 34,
        ("list", 1, "id"): 36, ("list", 1, "many", 0, "y"): 38,
    }
    assert {route: lines.get(route) for route in expected} == expected


def routes(value: Any, route: Route = ()) -> list[Route]:
    inner = value.items() if isinstance(value, dict) else (
        enumerate(value) if isinstance(value, list) else ())
    found: list[Route] = [route]
    for key, one in inner:
        found += routes(one, (*route, key))
    return found


def test_every_key_of_a_hard_text_has_a_line() -> None:
    assert set(routes(tomllib.loads(HARD))) - set(lines_of(HARD)) == set()


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_line_endings_do_not_matter(ending: str) -> None:
    text = 'a = 1\n[b]\nc = """\nx\n"""\nd = 2\n'.replace("\n", ending)

    assert lines_of(text)[("b", "d")] == 6


def test_random_texts_have_a_line_for_each_key(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(200):
        lines: list[str] = []
        expected: dict[str, int] = {}
        for number in range(rng.randrange(1, 30)):
            for _ in range(rng.randrange(3)):
                lines.append(rng.choice(["", "# [x] = 1", "   "]))
            value = rng.choice(['"t # ="', "'a'", "[1, 2]", "[\n1,\n2 ]", "{ a = [1], b = {} }",
                                '"""x\ny"""', "1.5", "true", '"""\\"""" ', "'''\n\n'''"])
            expected[f"key{number}"] = len("\n".join([*lines, ""]).split("\n")) if lines else 1
            lines.append(f"key{number}{rng.choice([' = ', '=', '  =  '])}{value}"
                         f"{rng.choice(['', '  # end'])}")
        text = "\n".join(lines)

        found = lines_of(text)

        assert {key: found[(key,)] for key in expected} == expected, text


def test_values_know_file_line_and_name() -> None:
    tree = parse("[a]\nb.c = [\n 1,\n { d = 2 } ]\n", "x.toml")

    assert tree.table is not None
    node = tree.table["a"].table["b"].table["c"].items[1].table["d"]  # type: ignore[index]
    assert (str(node.where), node.name, node.value) == ("x.toml:4", "a.b.c.d", 2)
