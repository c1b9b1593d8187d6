"""The pilot boards over pseudo-terminals: EVSE-WB on an independent Modbus slave (pymodbus), and an
OpenEVSE. Real: pyserial, termios, select, minimalmodbus, the workers' threads, the time.
"""

import time
from collections.abc import Callable

import pytest
from support import aio
from support.evse_wb_board import SPANS, EvseWbBoard
from support.modbus_slave import ModbusSlave
from support.openevse_board import OpenEvseBoard, PtyBoard

from hal import registry
from hal.contracts import Parts
from hal.errors import DeviceGone, HalError
from hal.rtu import LineSettings
from hal.serialbus import SerialBus
from hal.values import NO_OFFER, UNAVAILABLE, Offer, OfferKind, PilotReading, PilotState

pytestmark = pytest.mark.real

B, C, F = PilotState.B, PilotState.C, PilotState.F


def amps(current_a: float) -> Offer:
    return Offer(OfferKind.CURRENT, current_a)


def wait_for(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 10.0
    while not holds():
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.01)


@pytest.fixture
def evse_wb(tmp_path):
    board = EvseWbBoard(boot_a=16)
    with ModbusSlave(tmp_path / "rs485-1", spans={1: SPANS}) as slave:
        slave.devices[1].words = board.registers().words
        bus = SerialBus("rs485-1", LineSettings(port=str(slave.port), gap_s=0.02))
        pilot = registry.build("pilot", "evse_wb", "pilot 1", 1, {"bus": "rs485-1"},
                               Parts(buses={"rs485-1": bus}))
        yield board, pilot, slave
        bus.close()


@pytest.fixture
def openevse(tmp_path):
    board = OpenEvseBoard(monotonic=time.monotonic)
    with PtyBoard(tmp_path / "openevse", board) as wire:
        pilot = registry.build("pilot", "openevse", "pilot 1", 1, {"port": str(wire.port)}, Parts())
        yield board, pilot, wire
        aio.run(pilot.close())


def charge(board, pilot):
    """Plugged, offered, asked, lowered, cut, and at rest: what was seen of the board."""
    seen: list[object] = []

    async def story():
        await pilot.open()
        await pilot.offer(NO_OFFER)
        board.car = B
        seen.append((await pilot.read()).state)
        await pilot.offer(amps(16.0))
        board.car = C
        seen.extend(((await pilot.read()).state, board.relay, board.offered_a))
        await pilot.offer(amps(10.0))
        seen.append(board.offered_a)
        pilot.cut()
        seen.append(board.relay)
        await pilot.offer(UNAVAILABLE)
        seen.append((await pilot.read()).state)
        await pilot.offer(NO_OFFER)
        seen.append((await pilot.read()).state)

    aio.run(story())
    return seen


def test_a_charge_at_an_evse_wb(evse_wb):
    board, pilot, _ = evse_wb

    assert charge(board, pilot) == [B, C, True, 16, 10, False, F, C]
    assert board.kept[2000] == 0


def test_a_charge_at_an_openevse(openevse):
    board, pilot, _ = openevse

    assert charge(board, pilot) == [B, C, True, 16, 10, False, F, C]
    assert board.commands.count("SC 16 V") == 1


def test_an_evse_wb_whose_adapter_is_gone_comes_back_under_its_name(evse_wb):
    _, pilot, slave = evse_wb
    aio.run(pilot.offer(NO_OFFER))
    slave.unplug()
    with pytest.raises(DeviceGone):
        aio.run(pilot.read())
    slave.replug()

    def answers():
        try:
            return aio.run(pilot.read())
        except DeviceGone:
            return None

    wait_for(answers)


def test_an_openevse_tells_a_change_by_itself(openevse):
    board, pilot, _ = openevse
    heard: list[PilotReading] = []
    pilot.listen(heard.append)
    aio.run(pilot.open())
    aio.run(pilot.offer(NO_OFFER))

    board.put(B)

    wait_for(lambda: heard and heard[-1].state is B)


def test_an_openevse_whose_adapter_is_gone_is_told_and_comes_back(openevse):
    _, pilot, wire = openevse
    heard: list[PilotReading] = []
    pilot.listen(heard.append)
    aio.run(pilot.open())
    aio.run(pilot.offer(NO_OFFER))

    wire.unplug()
    wait_for(lambda: heard and heard[-1] == PilotReading(None))
    with pytest.raises(HalError):
        aio.run(pilot.open())
    wire.replug()
    aio.run(pilot.open())

    assert aio.run(pilot.read()).state is PilotState.A


def test_an_openevse_left_alone_falls_back(tmp_path):
    board = OpenEvseBoard(monotonic=time.monotonic)
    with PtyBoard(tmp_path / "openevse", board) as wire:
        pilot = registry.build("pilot", "openevse", "pilot 1", 1,
                               {"port": str(wire.port), "silence_s": 3}, Parts())
        aio.run(pilot.open())
        board.car = C
        aio.run(pilot.offer(amps(16.0)))
        before_a = board.offered_a
        board.last_pulse -= 4.0  # nobody spoke for so long

        assert (before_a, board.offered_a) == (16, 6)
        with pytest.raises(DeviceGone, match="fell back"):
            wait_for(lambda: aio.run(pilot.read()) is None)
        aio.run(pilot.offer(amps(16.0)))
        assert board.offered_a == 16
        aio.run(pilot.close())
