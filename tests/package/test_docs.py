"""What is written for the technician leads somewhere and speaks of what is there."""

import re
from pathlib import Path

import pytest
from support.releases import make_deb

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [ROOT / "docs" / "install.md", ROOT / "docs" / "wiring.md", ROOT / "docs" / "releases.md",
         ROOT / "deploy" / "README.md"]


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.stem)
def test_links_lead_somewhere(text: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", text.read_text())

    assert links
    assert [link for link in links if not (text.parent / link).exists()] == []


def test_each_file_of_deploy_has_its_line() -> None:
    told = (ROOT / "deploy" / "README.md").read_text()

    there = {one.name for one in (ROOT / "deploy").iterdir()} - {"README.md", "__pycache__"}
    assert {name for name in there if f"`{name}" not in told} == set()


def test_the_pins_of_the_examples_are_those_of_the_text() -> None:
    told = (ROOT / "docs" / "wiring.md").read_text()
    line = re.search(r"The examples use (.*?)\. Pins", told, re.DOTALL)
    assert line is not None
    numbers = set(re.findall(r"\d+", line[1]))

    used = {number for file in (ROOT / "deploy" / "examples").glob("*.toml")
            for number in re.findall(r'"GPIO(\d+)"', file.read_text())}
    assert used <= numbers


def test_the_files_of_the_package_are_told_by_their_names() -> None:
    told = (ROOT / "docs" / "install.md").read_text() + (ROOT / "docs" / "wiring.md").read_text()

    for place, _ in make_deb.FILES.values():
        if "watchdog" in place or place.startswith("usr/bin"):
            assert f"/{place}" in told
