"""`deploy/make_release.py` as the maker of releases meets it: mistakes are named."""

import sys
from pathlib import Path

import pytest
from support.releases import make_release


def made(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["make_release.py", *map(str, words)])
    code: int = make_release.main()
    return code


@pytest.mark.parametrize(("words", "finding"), [
    (["--version", "a/b"], "version 'a/b'"),
    (["--key", "maker.key"], "--certificate"),
    (["--key", "maker.key", "--certificate", "maker.pem"], "maker.key"),
])
def test_a_mistake_is_named_and_nothing_is_made(
        words: list[str], finding: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)

    code = made(monkeypatch, "--no-dependencies", "--out", tmp_path / "dist", *words)

    assert code == 1
    assert finding in capsys.readouterr().err
    assert list(tmp_path.rglob("*.gz")) == []


def test_a_key_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "maker.key"
    key.write_text("no key")

    assert made(monkeypatch, "--key", key, "--certificate", key, "--out", tmp_path / "dist") == 1
    assert "no private key" in capsys.readouterr().err


def test_a_release_that_is_there_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--no-dependencies", "--install", tmp_path / "opt", "--version", "0.9.0")
    assert made(monkeypatch, *words) == 0
    program = tmp_path / "opt" / "releases" / "0.9.0" / "bin" / "cpctl"
    program.write_text("touched")

    assert made(monkeypatch, *words) == 1
    assert "0.9.0 is in" in capsys.readouterr().err
    assert program.read_text() == "touched"
