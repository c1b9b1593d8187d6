"""`make run`: the story, with the daemon as a process of its own, ends with books that agree."""

import pytest

from cpctl.demo import story


@pytest.mark.real
def test_the_demonstration_ends_with_books_that_agree(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(story, "CHARGE_S", 0.1)

    code = story.demonstrate()

    told = capsys.readouterr()
    assert (code, told.err) == (0, "")
    assert "the books agree" in told.out
    assert "offered 10.0 A" in told.out
    assert "[2,\"" in told.out  # frames are shown
