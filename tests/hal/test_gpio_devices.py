"""The drivers on digital lines: the battery over each backend, and what is theirs alone.

Lights have a file of their own (test_gpio_lights.py).
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support import battery
from support.battery import ContactorRules, InputRules, LockRules
from support.gpio_world import LIBRARIES, GpioWorld, wired
from support.virtual_loop import VirtualLoop, run

from hal import registry
from hal.contracts import Contactor, Inputs, Parts, PlugLock
from hal.deadman import DeadMan
from hal.errors import BadConfig, DeviceGone, HalError

COIL, CONTACT = 17, 27
LOCK, UNLOCK, BOLT = 22, 10, 9
RCD = 23


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def built(kind: str, driver: str, name: str, parts: Parts, **options: Any) -> Any:
    evse = None if kind == "heartbeat" else 1
    return registry.build(kind, driver, name, evse, options, parts)


# --- contactor -----------------------------------------------------------------------------------


class ContactorBench:
    """A relay of either polarity on line 17; its auxiliary contact, to ground, on line 27."""

    def __init__(self, library: str, monkeypatch: pytest.MonkeyPatch, *, active_high: bool = True,
                 feedback: bool = True, mirror: bool = False) -> None:
        self.world = GpioWorld()
        self.now_ns = 1_000_000_000
        self.deadman = DeadMan(lambda: self.now_ns, thread=False)
        self.deadman.start()
        self.active_high, self.mirror = active_high, mirror
        self.welded = self.stuck_open = False
        self.world.follow[COIL] = self._moved
        self._moved(False)
        options: dict[str, Any] = {"pin": f"GPIO{COIL}", "active_high": active_high}
        if feedback:
            options |= {"feedback_pin": f"GPIO{CONTACT}", "feedback_active_high": mirror}
        lines = wired(library, self.world)
        self.contactor: Contactor = built("contactor", "gpio", "contactor 1",
                                          Parts(lines=lines, deadman=self.deadman), **options)

    def coil(self) -> bool:
        wire = self.world.wires[COIL]
        return wire.out and wire.high is self.active_high

    def pass_time(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)
        self.deadman.check()

    def lose(self) -> None:
        self.world.lose()

    def restore(self) -> None:
        self.world.restore()

    def _moved(self, _: bool) -> None:
        """The contact follows the coil: shut to ground, a mirror contact the other way round."""
        closed = (self.coil() or self.welded) and not self.stuck_open
        self.world.drive(CONTACT, False if closed is not self.mirror else None)


class TestGpioContactor(ContactorRules):
    @pytest.fixture(params=[{}, {"active_high": False}, {"feedback": False}, {"mirror": True}],
                    ids=["feedback", "active low", "no feedback", "mirror contact"])
    def bench(self, request: pytest.FixtureRequest, library: str,
              monkeypatch: pytest.MonkeyPatch) -> ContactorBench:
        return ContactorBench(library, monkeypatch, **request.param)


@pytest.mark.parametrize("active_high", [True, False])
def test_a_start_brings_no_pulse_to_the_coil(
        library: str, monkeypatch: pytest.MonkeyPatch, active_high: bool) -> None:
    bench = ContactorBench(library, monkeypatch, active_high=active_high)
    off = not active_high

    run(bench.contactor.prepare())
    run(bench.contactor.prepare())
    begun = list(bench.world.wires[COIL].trace)
    run(bench.contactor.finish())

    assert begun == [off]
    assert bench.world.wires[COIL].trace == [off, "in"]


def test_finishing_lets_both_lines_go(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = ContactorBench(library, monkeypatch)
    run(bench.contactor.prepare())
    bench.contactor.close(lease_s=2.0)

    run(bench.contactor.finish())

    assert [wire.consumer for wire in bench.world.wires if wire.consumer] == []


def test_a_contactor_that_cannot_have_its_line_says_so_at_the_start(
        library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = ContactorBench(library, monkeypatch)
    bench.world.wires[CONTACT].consumer = "w1"

    with pytest.raises(DeviceGone, match=r"contactor 1: GPIO27 .* is taken by 'w1'"):
        run(bench.contactor.prepare())

    run(bench.contactor.finish())


def test_a_broken_wire_of_a_mirror_contact_reads_as_closed(
        library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = ContactorBench(library, monkeypatch, mirror=True)
    run(bench.contactor.prepare())

    bench.world.drive(CONTACT, None)

    assert bench.contactor.feedback() is True


def test_the_lines_of_a_contactor_may_be_moved_by_the_dead_mans_thread(
        library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = ContactorBench(library, monkeypatch)
    bench.contactor.close(lease_s=2.0)
    bench.now_ns += 3_000_000_000

    thread = threading.Thread(target=bench.deadman.check)
    thread.start()
    thread.join()

    assert not bench.coil()


def test_without_digital_lines_a_driver_says_where_they_are_configured() -> None:
    deadman = DeadMan(thread=False)
    contactor = built("contactor", "gpio", "contactor 1", Parts(deadman=deadman), pin="GPIO17")

    with pytest.raises(BadConfig, match=r"contactor 1: there are no digital lines; see \[gpio\]"):
        run(contactor.prepare())


# --- inputs --------------------------------------------------------------------------------------


class InputBench:
    """An RCD's contact on line 23, on an event loop of its own that runs when something moved."""

    def __init__(self, library: str, monkeypatch: pytest.MonkeyPatch, *, good_level: str = "low",
                 **options: Any) -> None:
        self.world = GpioWorld()
        self.good = good_level == "high"
        self.loop = VirtualLoop()
        self.world.drive(RCD, self.good)
        lines = wired(library, self.world)
        self.input: Inputs = built("input", "gpio", "input rcd 1", Parts(lines=lines),
                                   pin=f"GPIO{RCD}", good_level=good_level, **options)
        self.loop.run_until_complete(self.input.open())
        self.loop.run_until_complete(self.input.good())

    def trip(self) -> None:
        """The contact opens: the pull has the line."""
        self.world.drive(RCD, None)
        self._turn()

    def mend(self) -> None:
        self.world.drive(RCD, self.good)
        self._turn()

    def lose(self) -> None:
        self.world.lose()
        self._turn()

    def close(self) -> None:
        self.loop.run_until_complete(self.input.close())
        self.loop.close()

    def _turn(self) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self.loop.run_until_complete(asyncio.sleep(0.01))


class TestGpioInput(InputRules):
    @pytest.fixture(params=["low", "high"])
    def bench(self, request: pytest.FixtureRequest, library: str,
              monkeypatch: pytest.MonkeyPatch) -> Any:
        bench = InputBench(library, monkeypatch, good_level=request.param)
        yield bench
        bench.close()


@pytest.mark.parametrize(("good_level", "pull", "held", "cut", "grounded", "at_supply"), [
    # what the input reads with the contact shut, its wire cut, shorted to ground, to the supply
    ("low", "", True, False, True, False),
    ("low", "up", True, False, True, False),
    ("high", "", True, False, False, True),
    ("high", "down", True, False, False, True),
])
def test_what_an_input_reads_of_each_state_of_its_wire(
        library: str, monkeypatch: pytest.MonkeyPatch, good_level: str, pull: str, held: bool,
        cut: bool, grounded: bool, at_supply: bool) -> None:
    bench = InputBench(library, monkeypatch, good_level=good_level, pull=pull)
    read = []

    for outside in (bench.good, None, False, True):
        bench.world.drive(RCD, outside)
        read.append(run(bench.input.good()))
    bench.close()

    assert read == [held, cut, grounded, at_supply]


@pytest.mark.parametrize(("good_level", "pull"), [("low", "down"), ("high", "up")])
def test_a_polarity_that_reads_a_broken_wire_as_good_is_refused(
        good_level: str, pull: str) -> None:
    with pytest.raises(BadConfig, match=r"input rcd 1: with pull = .* a broken wire reads as good"):
        built("input", "gpio", "input rcd 1", Parts(), pin="GPIO23", good_level=good_level,
              pull=pull)


@pytest.mark.parametrize("library", ["gpiod", "gpiozero"])
def test_an_input_whose_chip_goes_is_told_as_bad(
        library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = InputBench(library, monkeypatch)
    heard: list[bool] = []
    bench.input.listen(heard.append)

    bench.lose()

    assert heard == [False]
    with pytest.raises(DeviceGone, match="input rcd 1: GPIO23 is not there any more"):
        run(bench.input.good())
    bench.close()


def test_an_input_works_again_when_its_chip_is_back(
        library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = InputBench(library, monkeypatch)
    heard: list[bool] = []
    bench.input.listen(heard.append)
    bench.lose()
    heard.clear()
    with pytest.raises(DeviceGone):
        bench.loop.run_until_complete(bench.input.open())

    bench.world.restore()
    bench.loop.run_until_complete(bench.input.open())
    first = bench.loop.run_until_complete(bench.input.good())
    bench.trip()
    bench.close()

    assert first is True
    assert heard == [False]


@pytest.mark.parametrize("library", ["gpiod", "gpiozero"])
def test_edges_that_end_where_they_began_are_no_news(
        library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = InputBench(library, monkeypatch)
    heard: list[bool] = []
    bench.input.listen(heard.append)

    bench.world.drive(RCD, None)
    bench.mend()
    bench.trip()
    bench.world.drive(RCD, bench.good)
    bench.trip()
    bench.close()

    assert heard == [False]


def test_an_input_costs_no_wake_up_while_nothing_moves(
        library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = InputBench(library, monkeypatch)

    async def hour() -> int:
        passed = 0
        inner = bench.loop._run_once  # type: ignore[attr-defined]

        def counted() -> None:
            nonlocal passed
            passed += 1
            inner()

        bench.loop._run_once = counted  # type: ignore[attr-defined]
        await asyncio.sleep(3600.0)
        return passed

    turns = bench.loop.run_until_complete(hour())
    bench.close()

    assert turns <= 3


# --- locks ---------------------------------------------------------------------------------------


class LockBench:
    """A solenoid on line 22; the bolt's contact on line 9 shuts to ground while it is locked."""

    driver = "gpio"

    def __init__(self, library: str, monkeypatch: pytest.MonkeyPatch, *, feedback: bool = True,
                 **options: Any) -> None:
        monkeypatch.setattr(battery, "run", run)  # in virtual time: a bolt takes a while
        self.world = GpioWorld()
        self.options = options
        self.jammed = self.bolt = False
        self.world.follow[LOCK] = self.world.follow[UNLOCK] = self._moved
        if feedback:
            options |= {"feedback_pin": f"GPIO{BOLT}"}
        lines = wired(library, self.world)
        self.lock: PlugLock = built("lock", self.driver, "lock 1", Parts(lines=lines),
                                    **self.pins(), **options)
        run(self.lock.open())
        self._moved(False)

    def pins(self) -> dict[str, str]:
        return {"pin": f"GPIO{LOCK}"}

    def locked(self) -> bool:
        return self.bolt

    def jam(self) -> None:
        self.jammed = True

    def lose(self) -> None:
        self.world.lose()

    def high(self, number: int) -> bool:
        wire = self.world.wires[number]
        return wire.out and wire.high

    def _moved(self, _: bool) -> None:
        if not self.jammed:
            self.bolt = self.high(LOCK) is (self.options.get("locked_when", "on") == "on")
        self._tell()

    def _tell(self) -> None:
        self.world.drive(BOLT, False if self.bolt else None)


class MotorBench(LockBench):
    """A motor on lines 22 (to lock) and 10 (to unlock)."""

    driver = "motor"

    def pins(self) -> dict[str, str]:
        return {"lock_pin": f"GPIO{LOCK}", "unlock_pin": f"GPIO{UNLOCK}"}

    def _moved(self, _: bool) -> None:
        assert not (self.high(LOCK) and self.high(UNLOCK)), "driven both ways at once"
        if (self.high(LOCK) or self.high(UNLOCK)) and not self.jammed:
            self.bolt = self.high(LOCK)
        self._tell()


class TestSolenoid(LockRules):
    @pytest.fixture
    def bench(self, library: str, monkeypatch: pytest.MonkeyPatch) -> LockBench:
        return LockBench(library, monkeypatch)


class TestMotorLock(LockRules):
    @pytest.fixture
    def bench(self, library: str, monkeypatch: pytest.MonkeyPatch) -> MotorBench:
        return MotorBench(library, monkeypatch)


@pytest.mark.parametrize("bench_class", [LockBench, MotorBench])
def test_a_lock_without_a_contact_moves_and_does_not_know(
        bench_class: type[LockBench], monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_class("gpiod", monkeypatch, feedback=False)

    assert run(bench.lock.lock()) is None
    assert bench.locked()
    assert run(bench.lock.unlock()) is None
    assert not bench.locked()


def test_a_bolt_shut_by_a_spring_is_found_locked_and_drawn_by_the_solenoid(
        monkeypatch: pytest.MonkeyPatch) -> None:
    bench = LockBench("gpiod", monkeypatch, feedback=False, locked_when="off")

    found = run(bench.lock.is_locked())
    opened = run(bench.lock.unlock())

    assert (found, opened) == (True, None)
    assert not bench.locked()
    assert bench.high(LOCK)


def test_a_solenoid_that_meets_resistance_is_switched_off_again(
        monkeypatch: pytest.MonkeyPatch) -> None:
    bench = LockBench("gpiod", monkeypatch)
    bench.jam()

    assert run(bench.lock.lock()) is False

    assert bench.world.wires[LOCK].trace[-2:] == [True, False]


def test_the_bolt_is_found_where_its_contact_says(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = MotorBench("gpiod", monkeypatch)
    run(bench.lock.lock())

    assert run(bench.lock.is_locked()) is True


@pytest.mark.parametrize("bench_class", [LockBench, MotorBench])
def test_a_bolt_that_is_forced_is_told(library: str, bench_class: type[LockBench],
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    bench = bench_class(library, monkeypatch)

    async def story() -> list[bool]:
        heard: list[bool] = []
        bench.lock.listen(heard.append)
        await bench.lock.lock()
        heard.clear()
        bench.bolt = False
        bench._tell()
        await asyncio.sleep(0.1)
        await bench.lock.close()
        return heard

    assert run(story()) == [False]


@pytest.mark.parametrize("library", ["gpiod", "gpiozero"])
def test_a_bolt_whose_contact_is_lost_counts_as_not_locked_and_is_heard_again_afterwards(
        library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = LockBench(library, monkeypatch)

    async def story() -> list[bool]:
        heard: list[bool] = []
        bench.lock.listen(heard.append)
        await bench.lock.lock()
        await asyncio.sleep(0.1)
        heard.clear()
        bench.lose()
        await asyncio.sleep(0.1)
        lost = list(heard)
        await bench.lock.close()
        bench.world.restore()
        await bench.lock.open()
        heard.clear()
        await bench.lock.lock()
        await asyncio.sleep(0.1)
        await bench.lock.close()
        return [*lost, *heard]

    assert run(story()) == [False, True]


def test_a_motor_gets_one_pulse_of_its_length_and_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = MotorBench("gpiod", monkeypatch, pulse_s=0.4)
    loop = VirtualLoop()
    moved: list[tuple[float, bool]] = []
    bench.world.follow[LOCK] = lambda high: moved.append((round(loop.time() - 1000, 3), high))

    run(bench.lock.lock(), loop=loop)

    assert moved == [(0.0, True), (0.4, False)]


def test_a_pulse_that_is_given_up_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = MotorBench("gpiod", monkeypatch)

    async def story() -> None:
        async with asyncio.timeout(0.1):
            await bench.lock.lock()

    with pytest.raises(TimeoutError):
        run(story())

    assert not bench.high(LOCK)


def test_a_motor_stops_by_itself_while_the_event_loop_hangs(
        monkeypatch: pytest.MonkeyPatch) -> None:
    bench = MotorBench("gpiod", monkeypatch, pulse_s=0.05)
    stopped = threading.Event()
    bench.world.follow[LOCK] = lambda high: stopped.set() if not high else None

    async def story() -> bool:
        moving = asyncio.create_task(bench.lock.lock())
        await asyncio.sleep(0)
        assert bench.high(LOCK)
        in_time = stopped.wait(30.0)  # nothing else runs on the loop meanwhile
        await moving
        return in_time

    assert asyncio.run(story())
    assert not bench.high(LOCK)


def test_the_timer_of_a_pulse_that_ended_stops_no_later_one(
        monkeypatch: pytest.MonkeyPatch) -> None:
    class Held:
        def __init__(self, _: float, call: Callable[[], None]) -> None:
            self.call = call
            timers.append(self)

        def start(self) -> None: ...

        def cancel(self) -> None:
            cancelled.append(self)

    timers: list[Held] = []
    cancelled: list[Held] = []
    bench = MotorBench("gpiod", monkeypatch)
    bench.lock.timer = Held  # type: ignore[attr-defined]

    async def story() -> bool:
        await bench.lock.lock()
        moving = asyncio.create_task(bench.lock.unlock())
        await asyncio.sleep(0.1)
        timers[0].call()
        still = bench.high(UNLOCK)
        await moving
        return still

    assert run(story())
    assert cancelled == timers


def test_two_orders_at_once_never_drive_a_motor_both_ways(
        monkeypatch: pytest.MonkeyPatch) -> None:
    bench = MotorBench("gpiod", monkeypatch)

    async def story() -> None:
        await asyncio.gather(bench.lock.lock(), bench.lock.unlock())

    run(story())  # the bench would object

    assert not (bench.high(LOCK) or bench.high(UNLOCK))


def test_no_pulse_may_be_longer_than_two_seconds() -> None:
    with pytest.raises(BadConfig, match=r"option 'pulse_s' is 2.5; it may be 0.05 to 1.9"):
        built("lock", "motor", "lock 1", Parts(), lock_pin="22", unlock_pin="10", pulse_s=2.5)


def test_a_lock_that_was_lost_moves_again_when_it_is_opened_again(
        library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = MotorBench(library, monkeypatch)
    bench.lose()
    with pytest.raises(HalError):
        run(bench.lock.lock())
    run(bench.lock.close())

    bench.world.restore()
    run(bench.lock.open())

    assert run(bench.lock.lock()) is True


# --- heartbeat -----------------------------------------------------------------------------------


@pytest.mark.parametrize("active_high", [True, False])
def test_each_beat_turns_the_line_over_and_rest_ends_at_its_off_level(
        library: str, monkeypatch: pytest.MonkeyPatch, active_high: bool) -> None:
    world = GpioWorld()
    beat = built("heartbeat", "gpio", "heartbeat", Parts(lines=wired(library, world)),
                 pin="GPIO25", active_high=active_high)

    run(beat.open())
    for _ in range(3):
        beat.beat()
    beat.rest()
    beat.rest()
    run(beat.close())

    off, on = not active_high, active_high
    assert world.wires[25].trace == [off, on, off, on, off, "in"]


def test_a_heartbeat_that_was_lost_begins_anew_at_rest(
        library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = GpioWorld()
    beat = built("heartbeat", "gpio", "heartbeat", Parts(lines=wired(library, world)),
                 pin="GPIO25")
    run(beat.open())
    beat.beat()
    world.lose()
    with pytest.raises(DeviceGone, match="heartbeat: GPIO25"):
        beat.beat()
    with pytest.raises(DeviceGone):
        beat.rest()

    world.restore()
    world.wires[25].trace.clear()
    beat.beat()

    assert world.wires[25].trace == [False, True]
    run(beat.close())
