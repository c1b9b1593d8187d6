"""A wrong configuration under systemd: told at once, then waited for, and never given up."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cpctl.cli import mistaken
from cpctl.cli.main import main
from cpctl.config import ConfigError
from cpctl.config_text import Problem, Where

Story = Callable[..., list[float]]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    path = tmp_path / "cpctl.toml"
    path.write_text("wrong")
    return path


def start(file: Path, error: str = "one", *, then: Callable[[], None] = lambda: None
          ) -> list[float]:
    """A start with that mistake; the pauses until its end. `then` happens in the first pause."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        if not pauses:
            then()
        pauses.append(seconds)

    mistaken.wait_for_a_change(str(file), ConfigError([Problem(Where(str(file), 1), error)]),
                               pause=pause)
    return pauses


def test_news_end_the_start_at_once_and_the_same_again_waits(file: Path) -> None:
    assert start(file) == []
    assert sum(start(file)) == mistaken.WAIT_S
    assert start(file, "another") == []


def test_mended_file_ends_the_wait(file: Path) -> None:
    start(file)

    def mend() -> None:
        file.write_text("mended")

    assert len(start(file, then=mend)) == 1


@pytest.mark.parametrize("change", ["new", "gone", "mode"])
def test_any_change_of_the_files_ends_the_wait(file: Path, change: str) -> None:
    folder = file.parent / "conf.d"
    folder.mkdir()
    one = folder / "10.toml"
    one.write_text("x")
    start(file)

    def then() -> None:
        if change == "new":
            (folder / "20.toml").write_text("y")
        elif change == "gone":
            one.unlink()
        else:
            one.chmod(0o600 if one.stat().st_mode & 0o777 != 0o600 else 0o640)

    assert len(start(file, then=then)) == 1


def test_good_configuration_makes_the_next_mistake_news(file: Path) -> None:
    start(file)

    mistaken.forget()

    assert start(file) == []
    mistaken.forget()
    mistaken.forget()


def test_off_systemd_nothing_is_waited_for(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(file)
    monkeypatch.delenv("NOTIFY_SOCKET")

    assert start(file) == []


def test_what_cannot_be_remembered_is_waited_for_too(file: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(file))

    assert sum(start(file)) == mistaken.WAIT_S


def test_daemon_with_a_mistake_ends_with_78_each_time(
        file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(mistaken, "WAIT_S", 0.0)

    codes = [main(["run", "--config", str(file)]) for _ in range(3)]

    assert codes == [78] * 3
    assert capsys.readouterr().err.count("this is not TOML") == 3
