"""The battery (tests/support/battery.py) over the drivers. A new driver gets a bench here."""

from typing import Any

import pytest
from support.battery import (
    ContactorRules,
    IndicatorRules,
    InputRules,
    LockRules,
    MeterRules,
    PilotRules,
    ReaderRules,
)
from support.fake_pcsc import READER, FakePcsc, insert, remove, wait

from hal import registry
from hal.contracts import Parts
from hal.deadman import DeadMan
from hal.sim.board import Board
from hal.values import Offer, PilotState


class SimWorld:
    """A simulated board and one device on it."""

    def __init__(self, kind: str, name: str, **options: Any) -> None:
        self.now_ns = 1_000_000_000
        self.board = Board([1], lambda: self.now_ns)
        self.deadman = DeadMan(lambda: self.now_ns, thread=False)
        self.deadman.start()
        parts = Parts(board=self.board, deadman=self.deadman)
        self.kind = kind
        device = registry.build(kind, "sim", name, None if kind == "reader" else 1, options, parts)
        setattr(self, kind, device)

    def pass_time(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)
        self.board.settle()
        self.deadman.check()

    def lose(self) -> None:
        self.board.drop(self.kind)

    def restore(self) -> None:
        self.board.restore(self.kind)

    # contactor
    def coil(self) -> bool:
        return self.board.look(1).coil

    # reader
    def hold(self, uid_text: str) -> None:
        self.board.tap(uid_text)

    # pilot
    def put(self, state: PilotState) -> None:
        self.board.pilot(1, state)

    def offered(self) -> Offer:
        return self.board.look(1).offer

    # lock
    def locked(self) -> bool:
        return self.board.look(1).locked

    def jam(self) -> None:
        self.board.fault("lock_jammed", 1)

    # input
    def trip(self) -> None:
        self.board.fault("rcd", 1)

    def mend(self) -> None:
        self.board.clear("rcd", 1)

    # meter
    def show(self, register_wh: int) -> None:
        self.board.meter(1, energy_wh=register_wh)

    # indicator
    def shown(self) -> str:
        return self.board.look(1).pattern


class PcscWorld:
    """The PC/SC driver with its thread, on a scripted pcscd."""

    def __init__(self) -> None:
        self.pcsc = FakePcsc()
        options = {"debounce_s": 0.0, "patience_s": 0.0}
        self.reader = registry.build("reader", "pcsc", "reader front", None, options, Parts())
        self.reader.import_scard = lambda: self.pcsc

    def hold(self, uid_text: str) -> None:
        for step in (insert(uid_text), remove(), wait(5.0)):
            self.pcsc.do(step)

    def lose(self) -> None:
        self.pcsc.do(lambda pcsc: setattr(pcsc, "up", False))
        if not self.pcsc.calls["wait"]:
            self.pcsc.up = False

    def restore(self) -> None:
        self.pcsc = FakePcsc(READER)


class TestSimulatedContactor(ContactorRules):
    @pytest.fixture(params=[True, False], ids=["feedback", "no feedback"])
    def bench(self, request: pytest.FixtureRequest) -> SimWorld:
        return SimWorld("contactor", "contactor 1", feedback=request.param)


class TestSimulatedReader(ReaderRules):
    @pytest.fixture
    def bench(self) -> SimWorld:
        return SimWorld("reader", "reader front")


class TestPcscReader(ReaderRules):
    @pytest.fixture
    def bench(self) -> PcscWorld:
        return PcscWorld()


class TestSimulatedPilot(PilotRules):
    @pytest.fixture
    def bench(self) -> SimWorld:
        return SimWorld("pilot", "pilot 1")


class TestSimulatedLock(LockRules):
    @pytest.fixture
    def bench(self) -> SimWorld:
        return SimWorld("lock", "lock 1")


class TestSimulatedInput(InputRules):
    @pytest.fixture
    def bench(self) -> SimWorld:
        return SimWorld("input", "rcd 1")


class TestSimulatedMeter(MeterRules):
    @pytest.fixture
    def bench(self) -> SimWorld:
        return SimWorld("meter", "meter 1")


class TestSimulatedIndicator(IndicatorRules):
    @pytest.fixture
    def bench(self) -> SimWorld:
        return SimWorld("indicator", "indicator 1")
