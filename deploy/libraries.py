"""The libraries of a release: one lib/ for several Pythons of one machine, no compiler asked for.

    python deploy/libraries.py --machine aarch64 --into build/lib   # lay them out
    python deploy/libraries.py --renew                              # write libraries.txt anew

For each Python the wheels of `libraries.txt` are installed into a folder of their own, then the
folders become one: compiled modules bear the Python in their name and lie side by side; every other
file has to be the same in all of them, or the build ends with its name.

What has no wheel (`FROM_DEBIAN`) is a dependency of the Debian package instead.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("libraries.txt")

PYTHONS = ("3.11", "3.12", "3.13")  # Debian 12 and 13, and what lies between
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}  # as uname has it: as Debian has it
OLDEST_GLIBC, NEWEST_GLIBC = 5, 35  # 2.x; Debian 12 has 2.36
FROM_DEBIAN = {"pyscard": "python3-pyscard", "systemd-python": "python3-systemd"}
NOT_NEEDED = ("setuptools",)  # colorzero names it and never imports it
# What pip writes for itself, and differs between Pythons; METADATA and licences stay.
PIPS_OWN = ("RECORD", "WHEEL", "INSTALLER", "REQUESTED", "direct_url.json")
_LINE = re.compile(r"([A-Za-z0-9._-]+)==([^\s;]+)(?:; python_version < \"(3\.\d+)\")?")


class CannotBuild(ValueError):
    """The libraries cannot be laid out."""


# --- the list ------------------------------------------------------------------------------------


def project() -> dict[str, Any]:
    """[project] of pyproject.toml."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def pinned(python: str, text: str | None = None) -> list[str]:
    """`name==version` of each library for that Python. Raises CannotBuild."""
    found = []
    for line in (text if text is not None else LIST.read_text()).splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise CannotBuild(f"{LIST.name}: {line!r}, expected name==version, with "
                              '; python_version < "3.13" where a newer Python has no wheel')
        name, version, below = match.groups()
        if below is None or _number(python) < _number(below):
            found.append(f"{name}=={version}")
    return found


def _number(python: str) -> tuple[int, ...]:
    return tuple(int(part) for part in python.split("."))


def wanted() -> list[str]:
    """What the project and its drivers ask for, but what Debian gives."""
    given = project()
    lines = [*given["dependencies"], *given["optional-dependencies"]["pi"]]
    return [line for line in lines if name_of(line) not in FROM_DEBIAN]


def name_of(line: str) -> str:
    """The name in a line of requirements, in its normal form."""
    found = re.match(r"[A-Za-z0-9._-]+", line)
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else ""


# --- pip -----------------------------------------------------------------------------------------


def _pip(*words: str) -> None:
    quiet = ["--quiet", "--quiet", "--disable-pip-version-check"]  # twice: errors only
    subprocess.run([sys.executable, "-m", "pip", *quiet, *words], check=True)


def _for(python: str, machine: str) -> list[str]:
    """The words that make pip choose wheels for another Python and machine than its own."""
    words = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1):
        words += ["--platform", f"manylinux_2_{minor}_{machine}"]
    for old in ("manylinux2014", "manylinux2010", "manylinux1"):
        words += ["--platform", f"{old}_{machine}"]
    return words


def _install(into: Path, python: str, machine: str, more: Sequence[str]) -> None:
    common = ["install", "--no-compile", "--target", str(into), *_for(python, machine)]
    _pip(*common, "--no-deps", *pinned(python))
    if more:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as fixed:
            fixed.write("\n".join(pinned(python)))
            fixed.flush()
            _pip(*common, "--upgrade", "--constraint", fixed.name, *more)


def _as_wheels(more: Iterable[str], folder: Path) -> list[str]:
    """Folders of source become wheels; names stay."""
    found = []
    for one in more:
        if not Path(one).is_dir():
            found.append(one)
            continue
        place = Path(tempfile.mkdtemp(dir=folder))
        _pip("wheel", "--no-deps", "--wheel-dir", str(place), one)
        found += [str(wheel) for wheel in place.glob("*.whl")]
    return found


# --- several become one --------------------------------------------------------------------------


def lay_out(into: Path, machine: str, more: Sequence[str] = ()) -> None:
    """All libraries for `machine` in the folder `into`; `more` are packages besides.

    Raises CannotBuild, subprocess.CalledProcessError (pip has said why), OSError.
    """
    if machine not in MACHINES:
        raise CannotBuild(f"machine {machine!r}, expected one of {', '.join(MACHINES)}")
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent) as place:
        wheels = _as_wheels(more, Path(place))
        for python in PYTHONS:
            single = Path(place) / python
            _install(single, python, machine, wheels)
            _tidy(single)
            merge(single, into, python)


def _tidy(folder: Path) -> None:
    """Without programs, compiled files, and what pip notes for itself."""
    for left in [folder / "bin", *folder.rglob("__pycache__")]:
        shutil.rmtree(left, ignore_errors=True)
    for about in folder.glob("*.dist-info"):
        for name in PIPS_OWN:
            (about / name).unlink(missing_ok=True)


def merge(single: Path, into: Path, python: str) -> None:
    """The files of `single` into `into`, where those of other Pythons lie. Raises CannotBuild."""
    for file in sorted(single.rglob("*")):
        if not file.is_file():
            continue
        target = into / file.relative_to(single)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        elif target.read_bytes() != file.read_bytes():
            raise CannotBuild(f"{file.relative_to(single)} for Python {python} differs from that "
                              "of an older Python; such a library cannot be shared")


# --- a new list ----------------------------------------------------------------------------------


def renew() -> str:
    """The list anew: the newest versions that the project's ranges and the wheels allow."""
    names: dict[str, str] = {}
    conditions = {name_of(line): line.partition(";")[2].strip() for line in wanted()}
    for line in resolved(PYTHONS[0]):
        name, _, version = line.partition("==")
        condition = conditions.get(name_of(name), "").replace("'", '"')
        names[name] = f"{name}=={version}" + (f"; {condition}" if condition else "")
    head = [line for line in LIST.read_text().splitlines() if line.startswith("#")]
    return "\n".join([*head, *(names[name] for name in sorted(names, key=str.lower))]) + "\n"


def resolved(python: str) -> list[str]:
    """`name==version` of all that pip would install."""
    # typing_extensions: pip looks at the Python that runs it, a newer one would not ask for it.
    lines = [line.partition(";")[0].strip() for line in wanted()] + ["typing_extensions"]
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.json"
        _pip("install", "--dry-run", "--ignore-installed", "--report", str(report), "--target",
             place, *_for(python, "x86_64"), *lines)
        found = json.loads(report.read_text())["install"]
    return [f"{one['metadata']['name']}=={one['metadata']['version']}" for one in found
            if name_of(one["metadata"]["name"]) not in NOT_NEEDED]


def main() -> int:
    words = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    words.add_argument("--renew", action="store_true", help="write libraries.txt anew")
    words.add_argument("--machine", choices=sorted(MACHINES), default="x86_64")
    words.add_argument("--into", type=Path, help="the folder")
    asked = words.parse_args()
    try:
        if asked.renew:
            LIST.write_text(renew())
        elif asked.into:
            lay_out(asked.into, asked.machine)
        else:
            words.error("--into or --renew")
    except (OSError, ValueError, subprocess.CalledProcessError) as problem:
        print(f"libraries: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
