"""The cable's rating for boards that do not tell it: measured on a plug, and never guessed."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.aio import run
from support.battery import PilotRules
from support.fake_sysfs import FakeSysfs

from cpctl import app_parts, config
from hal import registry
from hal.cabled_pilot import CabledPilot
from hal.contracts import ControlPilot, Parts
from hal.contracts import Proximity as Contract
from hal.errors import DeviceGone, HalError
from hal.sim.board import Board as SimBoard
from hal.values import NO_OFFER, Offer, PilotReading, PilotState

A, B, C = PilotState.A, PilotState.B, PilotState.C


class Board(ControlPilot):
    """A board that pushes, switches, and knows nothing of cables."""

    pushes = True
    switches = True
    watches = ("rcd",)
    reading = PilotReading(A)
    offered: Offer | None = None
    is_cut = False

    async def read(self) -> PilotReading:
        return self.reading

    async def offer(self, offer: Offer) -> None:
        self.offered = offer

    def listen(self, listener: Callable[[PilotReading], None]) -> None:
        self.tell = listener

    def cut(self) -> None:
        self.is_cut = True

    def stuck(self) -> bool | None:
        return True


class Cable(Contract):
    rating = 20.0
    error: HalError | None = None
    reads = 0

    async def cable_a(self) -> float:
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.rating


class CabledSim:
    """A simulated board, and a cable it says nothing about."""

    def __init__(self) -> None:
        self.board = SimBoard([1], lambda: 1_000_000_000)
        inner = registry.build("pilot", "sim", "pilot 1", 1, {}, Parts(board=self.board))
        self.pilot = CabledPilot(inner, Cable("proximity 1", 1, {}, Parts()))

    def put(self, state: PilotState) -> None:
        self.board.pilot(1, state)

    def offered(self) -> Offer:
        return self.board.look(1).offer

    def lose(self) -> None:
        self.board.drop("pilot")

    def restore(self) -> None:
        self.board.restore("pilot")


class TestCabledPilot(PilotRules):
    @pytest.fixture
    def bench(self) -> CabledSim:
        return CabledSim()


class Socket:
    def __init__(self) -> None:
        self.board = Board("pilot 1", 1, {}, Parts())
        self.cable = Cable("proximity 1", 1, {}, Parts())
        self.pilot = CabledPilot(self.board, self.cable)
        self.now_s = 100.0
        self.pilot.monotonic_s = lambda: self.now_s
        self.heard: list[PilotReading] = []
        self.pilot.listen(self.heard.append)

    async def read(self, state: PilotState, **more: Any) -> float | None:
        self.board.reading = PilotReading(state, **more)
        return (await self.pilot.read()).cable_a

    async def push(self, state: PilotState) -> list[tuple[PilotState | None, float | None]]:
        self.board.reading = PilotReading(state)
        self.board.tell(self.board.reading)
        for _ in range(10):
            await asyncio.sleep(0)
        heard, self.heard[:] = [(one.state, one.cable_a) for one in self.heard], []
        return heard


def test_it_is_what_its_board_is() -> None:
    socket = Socket()

    assert (socket.pilot.pushes, socket.pilot.switches, socket.pilot.stuck()) == (True, True, True)
    assert socket.pilot.watched({}) == ("rcd",)
    run(socket.pilot.offer(NO_OFFER))
    socket.pilot.cut()
    assert (socket.board.offered, socket.board.is_cut) == (NO_OFFER, True)


def test_a_cable_is_measured_when_it_is_plugged_and_once_a_second() -> None:
    async def story() -> None:
        socket = Socket()
        assert await socket.read(A) is None
        assert await socket.read(B) == 20.0
        assert await socket.read(C) == 20.0
        assert socket.cable.reads == 1

        socket.cable.rating = 13.0
        socket.now_s += 1.1
        assert await socket.read(C) == 13.0

        await socket.read(A)
        socket.cable.rating = 32.0
        assert await socket.read(B) == 32.0  # another cable, however soon

    run(story())


def test_what_the_board_knows_is_believed() -> None:
    async def story() -> None:
        socket = Socket()
        assert await socket.read(B, cable_a=16.0) == 16.0
        assert socket.cable.reads == 0

    run(story())


def test_a_pushed_plug_carries_nothing_until_its_cable_is_measured() -> None:
    async def story() -> None:
        socket = Socket()
        await socket.pilot.open()
        assert await socket.push(A) == [(A, None)]
        assert await socket.push(B) == [(B, 0.0), (B, 20.0)]
        assert await socket.push(C) == [(C, 20.0)]
        assert await socket.push(A) == [(A, None)]
        await socket.pilot.close()

    run(story())


def test_a_cable_that_cannot_be_measured_makes_the_pilot_unknown() -> None:
    async def story() -> None:
        socket = Socket()
        socket.cable.error = DeviceGone("proximity 1: no converter")
        await socket.pilot.open()
        assert await socket.push(B) == [(B, 0.0), (None, None)]
        with pytest.raises(DeviceGone, match="proximity 1"):
            await socket.read(B)
        assert await socket.read(A) is None  # without a plug nothing is asked

    run(story())


@pytest.mark.parametrize(("ohm", "rating_a"), [
    (1500.0, 13.0), (680.0, 20.0), (220.0, 32.0), (100.0, 63.0), (1e9, 0.0), (3000.0, 0.0)])
def test_a_resistor_is_read_through_its_divider(ohm: float, rating_a: float) -> None:
    sysfs = FakeSysfs()
    path = sysfs.add_adc(2, "ads1115", "1-0049", scale_mv=0.125)
    sysfs.files[f"{path}/in_voltage3_raw"] = str(round(5000 * ohm / (330 + ohm) / 0.125))
    options = {"channel": 3, "adc": "1-0049", "cable_pullup_ohm": 330.0, "cable_supply_v": 5.0}
    proximity = registry.build("proximity", "iio", "proximity 1", 1, options, Parts())
    proximity.sysfs = sysfs

    async def story() -> float:
        await proximity.open()
        rating: float = await proximity.cable_a()
        sysfs.gone = True
        with pytest.raises(DeviceGone, match="proximity 1"):
            await proximity.cable_a()
        return rating

    assert run(story()) == rating_a


STATION = """\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "PiPost"
[csms]
url = "ws://csms.example/ocpp"
versions = ["1.6"]
security_profile = 0
[[evse]]
id = 1
pilot = { driver = "sim" }
meter = { driver = "sim" }
contactor = { driver = "sim" }
"""


def test_the_configuration_puts_it_before_the_pilot(tmp_path: Path) -> None:
    path = tmp_path / "cpctl.toml"
    path.write_text(STATION + 'proximity = { driver = "iio", channel = 3 }\n')

    hardware = app_parts.build_hardware(config.load(path), lambda: 0)

    assert isinstance(hardware.fitted.pilots[1], CabledPilot)
    assert not isinstance(hardware.parts.pilots[1], CabledPilot)  # a board contactor's own


def test_without_it_the_pilot_is_the_board_itself(tmp_path: Path) -> None:
    path = tmp_path / "cpctl.toml"
    path.write_text(STATION)

    hardware = app_parts.build_hardware(config.load(path), lambda: 0)

    assert hardware.fitted.pilots[1] is hardware.parts.pilots[1]


def test_the_simulated_one_measures_the_cable_of_the_simulated_car() -> None:
    board = SimBoard([1], lambda: 1_000_000_000)
    board.cable(1, rating_a=20.0)
    proximity = registry.build("proximity", "sim", "proximity 1", 1, {}, Parts(board=board))

    assert run(proximity.cable_a()) == 20.0
