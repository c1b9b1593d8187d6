"""A cut that comes at any moment of an offer has the last word, at both boards that switch."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.aio import run
from support.evse_wb_board import EvseWbBoard
from support.openevse_board import FakeWire, OpenEvseBoard

from hal import registry
from hal.contracts import ControlPilot, Parts
from hal.errors import HalError
from hal.rtu import LineSettings
from hal.serialbus import SerialBus
from hal.sim.rs485 import FakeLine
from hal.values import NO_OFFER, Offer, OfferKind

AMPS_16 = Offer(OfferKind.CURRENT, 16.0)
SOON_S = 20.0  # a wait for a thread; reached only when the test fails


class Bench:
    """A board that hands each command to `at_command` (which one it is, from 0) before it answers.
    """

    pilot: ControlPilot
    board: Any

    def __init__(self) -> None:
        self.commands = 0
        self.at_command: Callable[[int], None] = lambda number: None
        self._cutting: threading.Thread | None = None
        self.cut_failed: HalError | None = None

    def heard(self) -> None:
        number, self.commands = self.commands, self.commands + 1
        self.at_command(number)

    def waiting(self) -> int:
        """Urgent orders in the queue."""
        raise NotImplementedError

    def cut_meanwhile(self) -> None:
        """In the worker's thread: a cut is ordered while this command is under way."""
        self._cutting = threading.Thread(target=self._cut)
        self._cutting.start()
        end = time.monotonic() + SOON_S
        while self.waiting() < 2 and time.monotonic() < end:
            time.sleep(0.0005)

    def _cut(self) -> None:
        try:
            self.pilot.cut()
        except HalError as error:
            self.cut_failed = error

    def settle(self) -> None:
        if self._cutting is not None:
            self._cutting.join(SOON_S)


class EvseWb(Bench):
    def __init__(self) -> None:
        super().__init__()
        self.board = EvseWbBoard()
        self._line = FakeLine(self._answer)
        self.bus = SerialBus("rs485-1", LineSettings(port="/dev/ttyFAKE"),
                             open_port=self._line.open, clock=self._line)
        self.pilot = registry.build("pilot", "evse_wb", "pilot 1", 1, {"bus": "rs485-1"},
                                    Parts(buses={"rs485-1": self.bus}))

    def _answer(self, request: bytes) -> bytes | None:
        answer = self.board.answer(request)
        self.heard()
        return answer

    def waiting(self) -> int:
        return len(self.bus._urgent)

    def close(self) -> None:
        self.bus.close()


class OpenEvse(Bench):
    def __init__(self) -> None:
        super().__init__()
        self.board = OpenEvseBoard()
        self._answered = self.board.answer
        self.board.answer = self._answer
        self._wire = FakeWire(self.board)
        self.pilot = registry.build(
            "pilot", "openevse", "pilot 1", 1, {"port": "/dev/ttyFAKE"},
            Parts(monotonic_ns=lambda: round(self._wire.now * 1e9)))
        self.pilot.make_wire = self._wire.open  # type: ignore[attr-defined]
        self.pilot.idle_s = None  # type: ignore[attr-defined]

    def _answer(self, line: bytes) -> bytes:
        answer = self._answered(line)
        self.heard()
        return answer

    def waiting(self) -> int:
        return len(self.pilot._line._urgent)  # type: ignore[attr-defined]

    def close(self) -> None:
        run(self.pilot.close())


@pytest.fixture(params=[EvseWb, OpenEvse])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    one = request.param()
    run(one.pilot.open())
    run(one.pilot.offer(NO_OFFER))
    yield one
    one.at_command = lambda number: None
    one.close()


@pytest.mark.parametrize(("bench", "moment"), [
    *((EvseWb, moment) for moment in range(3)), *((OpenEvse, moment) for moment in range(5))],
    indirect=["bench"])
def test_a_cut_during_an_offer_leaves_nothing_on_offer(bench: Bench, moment: int) -> None:
    begun = bench.commands
    came: list[int] = []

    def at_command(number: int) -> None:
        if number - begun == moment and not came:
            came.append(number)
            bench.cut_meanwhile()

    bench.at_command = at_command
    outcome: list[Exception | None] = run(_tried(bench.pilot.offer(AMPS_16)))
    bench.settle()

    assert came, "the offer takes fewer commands"
    assert isinstance(outcome[0], HalError)
    assert bench.board.offered_a == 0
    run(bench.pilot.read())  # the board is as it was ordered: nobody is told otherwise


async def _tried(offering: Any) -> list[Exception | None]:
    return list(await asyncio.gather(offering, return_exceptions=True))


def test_an_offer_that_was_given_up_before_it_was_sent_is_not_sent_any_more(bench: Bench) -> None:
    before = bench.commands
    run(bench.pilot.read())
    one_reading = bench.commands - before
    go_on = threading.Event()

    async def story() -> None:
        reading = await _held_up(bench, go_on)
        offering = asyncio.ensure_future(bench.pilot.offer(AMPS_16))
        await asyncio.sleep(0)
        offering.cancel()
        await asyncio.gather(offering, return_exceptions=True)
        go_on.set()
        await reading
        await bench.pilot.read()

    run(story())

    assert bench.commands - before == 3 * one_reading
    assert bench.board.offered_a == 0


def test_a_cut_passes_everything_that_waits(bench: Bench) -> None:
    go_on = threading.Event()
    run(bench.pilot.offer(AMPS_16))

    async def story() -> list[Any]:
        reading = await _held_up(bench, go_on)
        waiting = [asyncio.ensure_future(bench.pilot.read()) for _ in range(5)]
        await asyncio.sleep(0)
        cutting = threading.Thread(target=bench._cut)
        cutting.start()
        while bench.waiting() < 2:
            await asyncio.sleep(0.0005)
        served: list[int] = []
        before = bench.commands
        bench.at_command = lambda number: served.append(bench.waiting())
        go_on.set()
        await asyncio.gather(reading, *waiting)  # none takes the cut for a board gone astray
        cutting.join(SOON_S)
        assert bench.commands > before + 2
        return served

    served = run(story())

    assert served[1] == 0  # both orders of the cut were sent before any reading that waited


async def _held_up(bench: Bench, until: threading.Event) -> asyncio.Future[Any]:
    """A reading whose first command is under way."""
    first = bench.commands
    bench.at_command = lambda number: _hold(until) if number == first else None
    reading = asyncio.ensure_future(bench.pilot.read())
    while bench.commands == first:
        await asyncio.sleep(0.0005)
    return reading


def _hold(until: threading.Event) -> None:
    until.wait(SOON_S)
