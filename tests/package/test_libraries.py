"""What the libraries of a release are, and how those of several Pythons become one folder."""

from pathlib import Path

import pytest
from support.releases import libraries


def names(lines: list[str]) -> set[str]:
    return {libraries.name_of(line) for line in lines}


def test_everything_the_project_asks_for_is_pinned() -> None:
    for python in libraries.PYTHONS:
        wanted = {libraries.name_of(line) for line in libraries.wanted()
                  if python == libraries.PYTHONS[0] or "python_version" not in line}
        assert wanted <= names(libraries.pinned(python)), python


def test_pins_lie_within_the_ranges_of_the_project() -> None:
    versions = dict(line.split("==") for line in libraries.pinned("3.11"))
    checked = 0
    for line in libraries.wanted():
        for name, version in versions.items():
            if libraries.name_of(name) == libraries.name_of(line):
                least = line.partition(">=")[2].partition(",")[0].partition(";")[0].strip()
                assert number(version) >= number(least), line
                if below := line.partition(",<")[2].partition(";")[0].strip():
                    assert number(version) < number(below), line
                checked += 1
    assert checked == len(libraries.wanted())


def number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def test_a_library_is_left_out_where_it_has_no_wheel() -> None:
    text = '# a comment\n\nlgpio==0.2.2.0; python_version < "3.13"\ngpiod==2.5.0\n'

    assert names(libraries.pinned("3.11", text)) == names(libraries.pinned("3.12", text)) == {
        "lgpio", "gpiod"}
    assert names(libraries.pinned("3.13", text)) == {"gpiod"}


@pytest.mark.parametrize("line", ["lgpio>=0.2", "lgpio", "lgpio==0.2; sys_platform == 'linux'"])
def test_a_line_that_is_no_pin_is_named(line: str) -> None:
    with pytest.raises(libraries.CannotBuild, match="expected name==version"):
        libraries.pinned("3.11", line)


def laid(folder: Path, **content: str) -> Path:
    for name, text in content.items():
        file = folder / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def test_compiled_modules_of_several_pythons_lie_side_by_side(tmp_path: Path) -> None:
    old = laid(tmp_path / "a", pure="same", **{"x__ext.cpython-311.so": "a"})
    new = laid(tmp_path / "b", pure="same", **{"x__ext.cpython-313.so": "b"})

    libraries.merge(old, tmp_path / "lib", "3.11")
    libraries.merge(new, tmp_path / "lib", "3.13")

    assert {str(one.relative_to(tmp_path / "lib")): one.read_text()
            for one in (tmp_path / "lib").rglob("*") if one.is_file()} == {
        "pure": "same", "x/ext.cpython-311.so": "a", "x/ext.cpython-313.so": "b"}


def test_a_file_that_differs_between_pythons_ends_the_build_with_its_name(tmp_path: Path) -> None:
    libraries.merge(laid(tmp_path / "a", pkg__mod="one"), tmp_path / "lib", "3.11")

    with pytest.raises(libraries.CannotBuild, match=r"pkg/mod for Python 3\.13 differs"):
        libraries.merge(laid(tmp_path / "b", pkg__mod="other"), tmp_path / "lib", "3.13")


def test_a_machine_without_wheels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(libraries.CannotBuild, match="armv7l"):
        libraries.lay_out(tmp_path / "lib", "armv7l")

    assert not (tmp_path / "lib").exists()
