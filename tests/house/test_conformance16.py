"""The conformance table is complete: every row is shown by a test, or says why not."""

import re
from pathlib import Path

import pytest
from support import conformance

TABLE = conformance.wanted()
FOUND = conformance.marks()
ROWS = conformance.filled(TABLE, FOUND)
PARTS = sorted({row.part for row in ROWS})


@pytest.mark.parametrize("part", PARTS)
def test_every_row_is_shown_or_says_why_not(part: str) -> None:
    assert [row.id for row in ROWS if row.part == part and row.empty] == []


def test_no_reason_is_given_where_a_test_shows_the_row_or_there_is_none() -> None:
    known = {row.id: row for row in ROWS}
    assert [name for name in TABLE["reasons"] if name not in known or known[name].tests] == []


def test_every_mark_names_a_row() -> None:
    assert conformance.unknown(TABLE, FOUND) == []


def test_the_table_has_each_message_rule_key_and_case() -> None:
    assert len({row.id.partition(".")[0] for row in ROWS if row.part == "messages"}) == 39
    assert sum(len(rules) - 1 for rules in TABLE["rules"].values()) == 186
    assert len(set(TABLE["keys"])) == 52
    assert len(set(TABLE["octt"])) == 107
    assert len({row.id for row in ROWS}) == len(ROWS)


def test_the_written_table_is_up_to_date() -> None:
    """Its rows, whether they are shown, and the tests it names; `make conformance` writes it."""
    written = conformance.TABLE.read_text()
    made = conformance.text(ROWS)
    there = {(Path(one.partition("::")[0]).name, one.partition("::")[2])
             for tests in FOUND.values() for one in tests}
    named = set(re.findall(r"(test_\w+)::(test_\w+)", written))

    assert shown(written) == shown(made)
    assert named <= there


def shown(table: str) -> list[tuple[str, bool]]:
    return [(cells[1].strip(), cells[3].strip().startswith(("no test", "**")))
            for cells in (line.split("|") for line in table.splitlines() if line.startswith("| "))]


MARKED = '''
import pytest
from support.octt import case
requirement = pytest.mark.requirement
pytestmark = pytest.mark.requirement("16.ALL.1")

@requirement("16.ONE.1", "16.TWO.2")
def test_plain(): ...

@case("TC_001_CS", ocpp16="x = 1")
@pytest.mark.parametrize("a", [pytest.param(1, marks=requirement("key:Inside"))])
async def test_case(): ...

@requirement("16.CLASS.1")
class TestGroup:
    def test_inner(self): ...

@requirement("16.NOBODY.1")
def helper(): ...
'''


def test_marks_are_found_in_every_form(tmp_path: Path) -> None:
    (tmp_path / "octt").mkdir()
    (tmp_path / "octt" / "test_a.py").write_text(MARKED)
    (tmp_path / "test_b.py").write_text('@case("TC_002_CS")\ndef test_in_memory(): ...\n')

    found = conformance.marks(tmp_path)

    assert found == {
        "16.ALL.1": ["octt/test_a::test_plain", "octt/test_a::test_case",
                     "octt/test_a::test_inner"],
        "16.ONE.1": ["octt/test_a::test_plain"], "16.TWO.2": ["octt/test_a::test_plain"],
        "TC_001": ["octt/test_a::test_case"], "key:Inside": ["octt/test_a::test_case"],
        "16.CLASS.1": ["octt/test_a::test_inner"]}


def test_a_slip_of_the_pen_and_an_empty_row_are_told() -> None:
    table = {"rules": {"RES": {"title": "Reservation", "1": "by status"}}, "keys": ["CpoName"],
             "octt": ["TC_001"], "reasons": {"key:CpoName": "because"}}
    found = {"16.RES.1": ["test_a::test_x"], "16.RES.99": ["test_a::test_x"],
             "Reset.conf:Maybe": ["test_a::test_x"]}

    empty = [row.id for row in conformance.filled(table, found) if row.empty]

    assert "TC_001" in empty and "Reset.conf:Accepted" in empty
    assert "16.RES.1" not in empty and "key:CpoName" not in empty
    assert conformance.unknown(table, found) == ["16.RES.99", "Reset.conf:Maybe"]
