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
