"""Which release is started: trial, confirmation, the way back, and a power cut at each step."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.releases import lay_out

from cpctl import slots

OLD, NEW = "0.1.0", "0.2.0"


@pytest.fixture
def root(tmp_path: Path) -> str:
    lay_out(tmp_path, OLD)
    lay_out(tmp_path, NEW)
    slots.point(str(tmp_path), OLD)
    return str(tmp_path)


def begin(root: str) -> None:
    slots.begin_trial(root, NEW, key="k", order={"job": 7}, trial_s=60)


def word(root: str) -> str:
    state = slots.read(root)
    return "" if state is None else str(state["state"])


def remove_program(root: str, version: str) -> None:
    os.unlink(os.path.join(slots.folder(root, version), *slots.PROGRAM))


@pytest.mark.requirement("16.FW.3")
def test_a_release_on_trial_is_started_and_stays_once_it_is_confirmed(root: str) -> None:
    begin(root)

    assert slots.choose(root) == NEW
    assert slots.confirm(root, "k")

    assert word(root) == slots.GOOD
    assert [slots.choose(root) for _ in range(10)] == [NEW] * 10


@pytest.mark.requirement("16.FW.6")
def test_a_release_that_is_never_confirmed_is_left_after_a_few_starts(root: str) -> None:
    begin(root)

    started = [slots.choose(root) for _ in range(slots.MOST_STARTS + 2)]

    assert started == [NEW] * slots.MOST_STARTS + [OLD] * 2
    assert word(root) == slots.FAILED
    assert not slots.confirm(root, "k")
    assert slots.current(root) == OLD


def test_a_release_that_cannot_be_started_is_left_at_once(root: str) -> None:
    begin(root)
    remove_program(root, NEW)

    assert slots.choose(root) == OLD
    assert word(root) == slots.FAILED


def test_only_the_order_that_is_on_trial_confirms_or_fails(root: str) -> None:
    begin(root)

    assert not slots.confirm(root, "another")
    assert not slots.fail(root, "why", "another")
    assert word(root) == slots.TRIAL
    assert slots.fail(root, "why", "k")
    assert not slots.fail(root, "again", "k")
    assert (word(root), slots.current(root)) == (slots.FAILING, OLD)
    assert slots.choose(root) == OLD
    assert word(root) == slots.FAILED


def test_a_release_put_in_place_by_hand_during_a_trial_is_respected(root: str) -> None:
    begin(root)
    slots.choose(root)

    slots.point(root, OLD)

    assert slots.choose(root) == OLD
    assert word(root) == slots.FAILED


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": "../../etc"}',
                                    '{"version": "0.2.0", "previous": 5, "state": "trial"}'])
def test_a_damaged_mark_changes_nothing(root: str, damage: str) -> None:
    Path(root, slots.MARK).write_text(damage)

    assert slots.choose(root) == OLD


def test_a_current_that_leads_nowhere_is_mended(root: str) -> None:
    remove_program(root, OLD)

    assert slots.choose(root) == NEW
    assert slots.current(root) == NEW

    os.unlink(os.path.join(root, "current"))
    assert slots.choose(root) == NEW
    remove_program(root, NEW)
    with pytest.raises(slots.NoRelease, match="install the package again"):
        slots.choose(root)


def test_a_disk_that_takes_nothing_starts_what_is_proved(root: str,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    begin(root)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(slots, "_write", full)

    assert slots.choose(root) == OLD


# --- books that the new release rewrites ----------------------------------------------------------


def books_of(root: str) -> list[str]:
    folder = Path(root, "state")
    folder.mkdir(exist_ok=True)
    for name, content in (("journal.db", "old"), ("journal.db-wal", "old log"),
                          ("station.db", "old")):
        (folder / name).write_text(content)
    return [str(folder / "journal.db"), str(folder / "station.db")]


def begin_with_books(root: str) -> None:
    slots.begin_trial(root, NEW, key="k", order={}, trial_s=60, books=books_of(root))


def rewrite(root: str) -> None:
    folder = Path(root, "state")
    (folder / "journal.db").write_text("new")
    (folder / "journal.db-wal").unlink()
    (folder / "journal.db-shm").write_text("new")
    (folder / "station.db").write_text("new")
    (folder / "station.db-wal").write_text("new log")


def assert_old_books(root: str) -> None:
    found = {one.name: one.read_text() for one in Path(root, "state").iterdir()}
    assert found == {"journal.db": "old", "journal.db-wal": "old log", "station.db": "old"}


@pytest.mark.requirement("16.FW.6")
def test_the_way_back_brings_the_books_back_that_were_rewritten(root: str) -> None:
    begin_with_books(root)
    slots.choose(root)
    rewrite(root)
    slots.choose(root)

    slots.fail(root, "why")
    assert Path(root, "state", "journal.db").read_text() == "new", "somebody has it open"

    assert slots.choose(root) == OLD
    assert_old_books(root)


@pytest.mark.requirement("16.FW.6", "16.OFF.9")
def test_a_power_cut_while_the_books_come_back_loses_nothing_of_them(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def prepare(root: str) -> None:
        begin_with_books(root)
        slots.choose(root)
        rewrite(root)
        slots.fail(root, "why")

    def check(root: str, whole: bool) -> None:
        assert slots.choose(root) == OLD
        found = {one.name: one.read_text() for one in Path(root, "state").iterdir()
                 if not one.name.endswith(".half")}
        assert found == {"journal.db": "old", "journal.db-wal": "old log", "station.db": "old"}

    assert cut_everywhere(tmp_path, prepare, slots.choose, check, monkeypatch) > 9


# --- a power cut at each step --------------------------------------------------------------------


class PowerCut(BaseException):
    """Nothing more is done."""


class DyingOs:
    """The operating system, until its `after`th change of the disk."""

    CHANGES = ("replace", "symlink", "unlink", "open", "fsync")

    def __init__(self, after: int) -> None:
        self.after = after

    def __getattr__(self, name: str) -> Any:
        call: Callable[..., Any] = getattr(os, name)
        if name not in self.CHANGES:
            return call

        def counted(*words: Any, **more: Any) -> Any:
            if self.after == 0:
                raise PowerCut
            self.after -= 1
            return call(*words, **more)

        return counted


def cut_everywhere(root: Path, prepare: Callable[[str], object], act: Callable[[str], object],
                   check: Callable[[str, bool], None], monkeypatch: pytest.MonkeyPatch) -> int:
    """Do `act` with a power cut after 0, 1, 2 … changes; returns how many cuts there were."""
    for cuts in range(100):
        place = root / str(cuts)
        lay_out(place, OLD)
        lay_out(place, NEW)
        slots.point(str(place), OLD)
        prepare(str(place))
        with monkeypatch.context() as patched:
            patched.setattr(slots, "os", DyingOs(cuts))
            try:
                act(str(place))
            except PowerCut:
                whole = False
            else:
                whole = True
        check(str(place), whole)
        if whole:
            return cuts
    raise AssertionError("it never comes to its end")


@pytest.mark.requirement("16.FW.6", "16.OFF.9")
def test_a_power_cut_while_the_trial_begins_leaves_a_release_to_start(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(root: str, whole: bool) -> None:
        marked = word(root) == slots.TRIAL
        assert slots.current(root) in (OLD, NEW)
        assert slots.choose(root) == (NEW if marked else OLD)
        assert marked or not whole

    cuts = cut_everywhere(tmp_path, lambda root: None, begin, check, monkeypatch)

    assert cuts > 6


@pytest.mark.requirement("16.FW.6", "16.OFF.9")
def test_a_power_cut_on_the_way_back_ends_with_the_old_release(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(root: str, whole: bool) -> None:
        went = word(root) in (slots.FAILING, slots.FAILED)
        assert slots.choose(root) == (OLD if went else NEW)
        assert went or not whole
        assert word(root) == (slots.FAILED if went else slots.TRIAL)

    def on_trial(root: str) -> None:
        begin(root)
        slots.choose(root)

    cuts = cut_everywhere(tmp_path, on_trial, lambda root: slots.fail(root, "why"), check,
                          monkeypatch)

    assert cuts > 6


@pytest.mark.requirement("16.FW.6", "16.OFF.9")
def test_a_power_cut_at_any_start_costs_one_start_at_most(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(root: str, whole: bool) -> None:
        started = [slots.choose(root) for _ in range(slots.MOST_STARTS + 1)]
        assert started[0] == NEW
        assert started[-1] == OLD

    assert cut_everywhere(tmp_path, begin, slots.choose, check, monkeypatch) > 3


@pytest.mark.requirement("16.FW.6", "16.OFF.9")
def test_a_power_cut_while_it_is_confirmed_leaves_it_on_trial_or_good(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(root: str, whole: bool) -> None:
        assert word(root) in ((slots.GOOD,) if whole else (slots.TRIAL, slots.GOOD))
        assert slots.choose(root) == NEW
        assert slots.confirm(root, "k")

    def on_trial(root: str) -> None:
        begin(root)
        slots.choose(root)

    cut_everywhere(tmp_path, on_trial, lambda root: slots.confirm(root, "k"), check, monkeypatch)


def test_the_launcher_finds_the_folder_it_lies_in(root: str, monkeypatch: pytest.MonkeyPatch
                                                  ) -> None:
    monkeypatch.delenv("CPCTL_RELEASES", raising=False)
    assert slots.root_of(os.path.join(root, "launch")) == os.path.realpath(root)
    assert slots.root_of("/usr/bin/cpctl-launch") == slots.DEFAULT_ROOT
    monkeypatch.setenv("CPCTL_RELEASES", "/srv/cpctl")
    assert slots.root_of(os.path.join(root, "launch")) == "/srv/cpctl"


# --- outputs to their safe level -----------------------------------------------------------------

DRIVER = """\
import sys
open({marks!r}, "a").write("{version} " + " ".join(sys.argv[1:]) + "\\n")
sys.exit({code})
"""


def driver(root: str, version: str, marks: Path, *, code: int | str) -> None:
    """A program of `version` that tells what it was asked, and ends with `code`."""
    Path(slots.folder(root, version), *slots.PROGRAM).write_text(
        DRIVER.format(marks=str(marks), version=version, code=code))


@pytest.mark.parametrize(("old", "new", "asked", "ends"), [
    (0, 0, [NEW], 0),
    (0, 69, [NEW, OLD], 0),
    (69, 78, [NEW, OLD], 78),
    (0, "nonsense", [NEW, OLD], 0),
], ids=str)
def test_outputs_are_driven_by_the_release_that_runs_and_else_by_the_one_before(
        root: str, tmp_path: Path, old: int, new: int | str, asked: list[str],
        ends: int) -> None:
    marks = tmp_path / "marks"
    driver(root, OLD, marks, code=old)
    driver(root, NEW, marks, code=new)
    begin(root)
    slots.choose(root)
    before = slots.read(root)

    code = slots.make_safe(root, ["hw", "safe", "--config", "c"])

    told = [line.split(" ", 1) for line in marks.read_text().splitlines()]
    assert (code, [version for version, _ in told]) == (ends, asked)
    assert {words for _, words in told} == {"hw safe --config c"}
    assert slots.read(root) == before, "that was no start"


def test_release_that_hangs_does_not_keep_the_next_from_driving_the_outputs(
        root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "SAFE_LIMIT_S", 0.2)
    slots.point(root, NEW)
    Path(slots.folder(root, NEW), *slots.PROGRAM).write_text("import select; select.poll().poll()")
    driver(root, OLD, tmp_path / "marks", code=0)

    assert slots.make_safe(root, ["hw", "safe"]) == 0
    assert (tmp_path / "marks").read_text() == f"{OLD} hw safe\n"


def test_without_any_release_the_outputs_are_not_taken_for_safe(tmp_path: Path) -> None:
    with pytest.raises(slots.NoRelease, match="install the package again"):
        slots.make_safe(str(tmp_path), ["hw", "safe"])
