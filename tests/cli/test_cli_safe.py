"""`cpctl hw safe` drives every configured output to its safe level, without a daemon."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from cpctl.cli.main import main
from hal import registry
from hal.contracts import Contactor, ControlPilot, Option
from hal.errors import DeviceGone
from hal.values import NO_OFFER, Offer, PilotReading

HEAD = """\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "PiPost 2"
[csms]
url = "ws://127.0.0.1:9000/ocpp"
"""
EVSE = """\
[[evse]]
id = {id}
pilot = {{ driver = "{pilot}" }}
contactor = {{ driver = "fake", output = {id} }}
meter = {{ driver = "sim" }}
"""

Safe = Callable[[str], tuple[int, str]]


class World:
    """Outputs and what was done to them, in order."""

    did: ClassVar[list[str]] = []
    broken: ClassVar[set[str]] = set()


class FakeSwitch(Contactor):
    OPTIONS = (Option("output", int, required=True, role="pin"),)

    async def prepare(self) -> None:
        if self.name in World.broken:
            raise DeviceGone(f"{self.name}: no such line; check the wiring")
        World.did.append(f"{self.name} prepared")

    def _energise(self) -> None:
        World.did.append(f"{self.name} ENERGISED")

    def _release(self) -> None:
        World.did.append(f"{self.name} released")

    def _read_feedback(self) -> bool | None:
        return None


class FakePilot(ControlPilot):
    async def read(self) -> PilotReading:
        return PilotReading(None)

    async def offer(self, offer: Offer) -> None:
        assert offer == NO_OFFER
        World.did.append(f"{self.name} offers nothing")


@pytest.fixture
def safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
         capsys: pytest.CaptureFixture[str]) -> Safe:
    World.did.clear()
    World.broken.clear()
    load = registry.load

    def loaded(kind: str, driver: str) -> type[Any]:
        fakes = {"contactor": FakeSwitch, "pilot": FakePilot}
        return fakes[kind] if driver == "fake" else load(kind, driver)

    monkeypatch.setattr(registry, "load", loaded)

    def run(text: str) -> tuple[int, str]:
        path = tmp_path / "cpctl.toml"
        path.write_text(text)
        code = main(["hw", "safe", "--config", str(path)])
        out, err = capsys.readouterr()
        return code, out + err

    return run


def test_every_contactor_is_released_and_every_offer_withdrawn(safe: Safe) -> None:
    code, told = safe(HEAD + EVSE.format(id=1, pilot="fake") + EVSE.format(id=2, pilot="sim"))

    assert code == 0
    assert World.did == ["contactor 1 prepared", "contactor 1 released", "contactor 2 prepared",
                         "contactor 2 released", "pilot 1 offers nothing"]
    assert told == "contactor 1: safe\ncontactor 2: safe\npilot 1: safe\n"


def test_output_that_cannot_be_driven_does_not_keep_the_next_from_it(safe: Safe) -> None:
    World.broken.add("contactor 1")

    code, told = safe(HEAD + EVSE.format(id=1, pilot="sim") + EVSE.format(id=2, pilot="sim"))

    assert code == 69
    assert World.did == ["contactor 2 prepared", "contactor 2 released"]
    assert "contactor 1: contactor 1: no such line; check the wiring" in told


def test_wholly_simulated_station_has_nothing_to_drive(safe: Safe) -> None:
    code, told = safe(HEAD + "[[evse]]\nid = 1\n")

    assert (code, told) == (0, "no output is configured but simulated ones\n")


def test_wrong_configuration_is_78(safe: Safe) -> None:
    code, told = safe(HEAD + "[[evse]]\nid = 0\n")

    assert code == 78 and "cpctl.toml:9: evse.id" in told
