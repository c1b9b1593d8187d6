"""The page of the system test names every scenario; no emulator is needed to list them."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_page_has_a_row_for_each_scenario_and_for_no_other() -> None:
    listed = subprocess.run([sys.executable, "-m", "tests.system", "--list"], cwd=ROOT,
                            capture_output=True, text=True, check=True).stdout.split()
    page = (ROOT / "docs" / "system-test.md").read_text().split("## Scenarios")[1]
    rows = [name for row in re.findall(r"^\| ([a-z_, ]+) \|", page, re.MULTILINE)
            for name in row.split(", ")]

    assert len(listed) > 10
    assert sorted(rows) == sorted([*listed, "name"])


def test_scenario_that_is_none_is_refused_with_those_there_are() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.system", "--only", "kil"], cwd=ROOT,
                          capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "kill" in done.stderr
