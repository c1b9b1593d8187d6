"""What a technician is told of releases and updates, by the method and by the command."""

import io
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.releases import lay_out
from support.updates import Site, update_story

from cpctl import slots
from cpctl.api.args import Args
from cpctl.api.firmware import Firmware
from cpctl.api.methods import Methods
from cpctl.cli import firmware as command
from cpctl.cli.show import Screen


async def shown(site: Site) -> dict[str, Any]:
    app: Any = site.station.app
    nobody: Any = None
    found: dict[str, Any] = await Firmware(app).show(Args("firmware", {}), nobody)
    return found


@update_story()
async def test_it_tells_the_slot_the_releases_and_the_update(site: Site) -> None:
    before = await shown(site)
    assert (before["slot"], before["current"], before["releases"]) == ("0.1.0", "0.1.0", ["0.1.0"])
    assert before["update"] is before["last"] is None

    await site.signed(site.maker.small(site.out))
    await site.until_told("Installed")

    after = await shown(site)
    assert after["slot"] == after["current"] == "0.2.0"
    assert after["update"] == {"job": 7, "step": "ended", "status": "Installed"}
    assert after["last"] == {"version": "0.2.0", "state": "good", "previous": "0.1.0",
                             "reason": ""}


@update_story(evses=2)
async def test_an_evse_kept_free_for_an_installation_says_so(site: Site) -> None:
    station: Any = site.station
    nobody: Any = None
    await station.plug(1)
    await station.tap()
    await site.signed(site.maker.small(site.out))
    await station.until(lambda: station.status(2) == "Unavailable")

    told = await Methods(station.app).call("why", {"evse": 2}, nobody)
    waiting = await shown(site)

    assert told["evses"][0]["reasons"][0]["code"] == "updating"
    assert "cpctl firmware" in told["evses"][0]["reasons"][0]["would_change"]
    assert waiting["update"]["step"] == "waiting"


def said(monkeypatch: pytest.MonkeyPatch, found: dict[str, Any]) -> str:
    monkeypatch.setattr(command, "call", lambda args, method: found)
    out = io.StringIO()
    with redirect_stdout(out):
        assert command.show(SimpleNamespace(), Screen(json=False)) == 0  # type: ignore[arg-type]
    return out.getvalue()


def test_the_command_says_why_a_release_was_given_up(monkeypatch: pytest.MonkeyPatch,
                                                     tmp_path: Path) -> None:
    lay_out(tmp_path)
    text = said(monkeypatch, {
        "version": "0.1.0", "folder": str(tmp_path), "slot": "0.1.0", "current": "0.1.0",
        "releases": slots.releases(str(tmp_path)),
        "last": {"version": "0.2.0", "state": "failed", "previous": "0.1.0",
                 "reason": "started 3 times"},
        "update": {"job": 7, "step": "ended", "status": "InstallationFailed"}})

    assert "slot 0.1.0" in text
    assert "0.2.0 given up: started 3 times" in text
    assert "update 7  InstallationFailed" in text


def test_the_command_says_when_updates_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    text = said(monkeypatch, {
        "version": "0.1.0", "folder": "/opt/cpctl", "slot": None, "current": None, "releases": [],
        "last": None, "update": None})

    assert "updates are not taken here" in text


def test_the_command_says_that_the_launcher_was_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    text = said(monkeypatch, {
        "version": "0.1.0", "folder": "/opt/cpctl", "slot": "0.1.0", "launched": False,
        "current": "0.1.0", "releases": ["0.1.0"], "last": None, "update": None})

    assert "past its launcher: updates are not taken" in text


def test_the_command_says_what_an_update_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    text = said(monkeypatch, {
        "version": "0.1.0", "folder": "/opt/cpctl", "slot": "0.1.0", "current": "0.1.0",
        "releases": ["0.1.0"], "last": None,
        "update": {"job": 7, "step": "waiting", "status": "SignatureVerified"}})

    assert "update 7  SignatureVerified (until no transaction runs)" in text
