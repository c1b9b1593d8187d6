"""The READMEs tell the truth: every path they name is there, every command they show exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READMES = [ROOT / "README.md", ROOT / "cpctl" / "README.md", ROOT / "hal" / "README.md"]


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(readme: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", readme.read_text())

    missing = [target for target in targets
               if "://" not in target and not (readme.parent / target).exists()]

    assert missing == []


def test_the_map_of_the_code_names_only_what_is_there() -> None:
    readme = ROOT / "cpctl" / "README.md"
    named = re.findall(r"`((?:\.\./)?[a-z_0-9]+/[a-z_0-9/]*(?:\.py)?)`", readme.read_text())

    missing = [path for path in named
               if not any((base / path).exists() for base in (readme.parent, ROOT))]

    assert len(named) > 20
    assert missing == []


def test_every_room_is_on_the_map() -> None:
    text = (ROOT / "cpctl" / "README.md").read_text()
    rooms = [path.name for path in (ROOT / "cpctl").iterdir()
             if path.is_dir() and (path / "__init__.py").exists()]

    assert [room for room in rooms if f"{room}/" not in text] == []


def test_every_command_of_the_readme_exists() -> None:
    verbs = set(re.findall(r"cpctl (config check|[a-z]+)(?: [a-z0-9]|$|`|\s)",
                           (ROOT / "README.md").read_text())) - {"today"}
    for verb in sorted(verbs):
        done = subprocess.run([sys.executable, "-m", "cpctl", *verb.split(), "--help"],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, (verb, done.stderr)
