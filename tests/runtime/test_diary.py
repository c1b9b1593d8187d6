"""What a technician reads of one charge: in the log with fields, and in the line of the service."""

import logging
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from support.station_bench import StationBench, with_app

from cpctl.core.values import Registration
from cpctl.runtime import log as logs
from cpctl.runtime.status_line import MOST, StatusLine, status_text
from cpctl.runtime.supervisor import Notifier


class Systemd(Notifier):
    """Hears what the daemon says."""

    def __init__(self) -> None:
        super().__init__("somewhere")
        self.said: list[str] = []

    def say(self, *lines: str) -> None:
        self.said.extend(lines)

    @property
    def statuses(self) -> list[str]:
        return [one.removeprefix("STATUS=") for one in self.said if one.startswith("STATUS=")]


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, dict[str, str]]]:
    """(level, message, fields) of what the diary wrote."""
    return [(one.levelname, one.getMessage(), logs.fields_of(one)) for one in caplog.records
            if one.name == "cpctl.runtime.diary"]


def test_session_and_transaction_are_told_from_begin_to_end(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def story(bench: StationBench) -> None:
        await bench.charge()
        await bench.pass_s(60)
        bench.board.unplug(1)
        await bench.pass_s(5)

    with_app(story, tmp_path)

    lines = told(caplog)
    words = [message.split(" ", 2)[2] for _, message, _ in lines]
    assert [word.split(" at ")[0] for word in words] == [
        "begins", "transaction begins", "transaction ends", "is over, the EVSE is free"]
    assert " Wh, " in words[2]
    assert all(fields == {"evse": "1", "session": "1"} for _, _, fields in lines)


def test_lines_of_the_gate_are_of_the_session_too(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, str]] = []
    handler = logs.Journal(lambda *fields: sent.append(
        dict(one.split("=", 1) for one in fields)), logging.NullHandler())
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [*root.handlers, handler])

    async def story(bench: StationBench) -> None:
        await bench.charge()
        bench.board.unplug(1)
        await bench.pass_s(5)

    with_app(story, tmp_path)

    gate = [one for one in sent if one["LOGGER"] == "cpctl.runtime.power_gate"
            and "CPCTL_EVSE" in one]
    assert gate and {one.get("CPCTL_SESSION") for one in gate} == {"1"}
    assert handler.sessions == {}


def test_fault_is_told_when_it_comes_and_when_it_goes(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def story(bench: StationBench) -> None:
        bench.board.fault("rcd", 1)
        await bench.pass_s(3)
        bench.board.clear("rcd", 1)
        await bench.pass_s(3)

    with_app(story, tmp_path)

    came, went = [one for one in told(caplog) if one[2].get("code") == "RCD_TRIPPED"]
    assert came[0] == "WARNING" and "the residual current device has tripped" in came[1]
    assert went[:2] == ("INFO", "evse=1 code=RCD_TRIPPED is over")
    assert came[2] == went[2] == {"evse": "1", "code": "RCD_TRIPPED"}


def test_latched_fault_is_an_error_of_its_session(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def story(bench: StationBench) -> None:
        await bench.charge()
        bench.board.fault("weld", 1)
        bench.board.unplug(1)
        await bench.pass_s(5)

    with_app(story, tmp_path)

    welded = [one for one in told(caplog) if one[2].get("code") == "CONTACTOR_WELDED"]
    assert [(level, fields["evse"]) for level, _, fields in welded] == [("ERROR", "1")]


def test_line_of_the_service_follows_the_station_and_is_told_when_it_changes(
        tmp_path: Path) -> None:
    systemd = Systemd()

    async def story(bench: StationBench) -> None:
        await bench.charge()
        await bench.pass_s(60)
        bench.board.fault("rcd", 1)
        await bench.pass_s(3)

    with_app(story, tmp_path, notifier=systemd)

    lines = systemd.statuses
    assert any("EVSE 1 Charging" in line for line in lines)
    assert any("EVSE 1 Faulted; faults: RCD_TRIPPED (1)" in line for line in lines)
    assert all(one != after for one, after in pairwise(lines))


def test_line_says_in_words_that_the_central_system_was_not_asked_yet(tmp_path: Path) -> None:
    texts: list[str] = []

    async def story(bench: StationBench) -> None:
        asked_nobody = replace(bench.app.loop.picture, online=False,
                               registration=Registration.NONE)
        texts.append(status_text(asked_nobody, [(1, "Unavailable")]))

    with_app(story, tmp_path)

    assert texts == ["offline, not registered; EVSE 1 Unavailable"]


def test_long_line_is_cut(tmp_path: Path) -> None:
    texts: list[str] = []

    async def story(bench: StationBench) -> None:
        picture = bench.app.loop.picture
        texts.append(status_text(picture, [(number, "Unavailable") for number in range(60)]))
        same = Systemd()
        line = StatusLine(same, lambda _: [(1, "Available")])
        line.look(picture)
        line.look(picture)
        texts.extend(same.said)

    with_app(story, tmp_path)

    assert len(texts[0]) == MOST and texts[0].endswith("…")
    assert len(texts) == 2
