"""The relay on a Modbus board: the lease, the feedback of its inputs, its place in the queue."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.aio import run
from support.battery import ContactorRules
from support.relay_board import RelayBoard

from hal import registry
from hal.contactors.modbus_relay import Switch
from hal.contracts import Parts
from hal.deadman import DeadMan
from hal.errors import BadConfig, DeviceGone, DeviceTimeout, HalError
from hal.rtu import LineSettings, Request
from hal.serialbus import SerialBus
from hal.sim.rs485 import FakeLine, Flip

SETTINGS = LineSettings(port="/dev/ttyFAKE", gap_s=0.1, tries=3)


class Bench:
    """A contactor on relay 3, its auxiliary contact on input 3 where `feedback`."""

    def __init__(self, *, feedback: bool, **options: object) -> None:
        self.now_ns = 1_000_000_000
        self.board = RelayBoard()
        self.line = FakeLine(self.board.answer)
        self.bus = SerialBus("rs485-1", SETTINGS, open_port=self.line.open, clock=self.line)
        self.deadman = DeadMan(lambda: self.now_ns, thread=False)
        self.deadman.start()
        if feedback:
            options["feedback_input"] = 3
        self.contactor: Switch = registry.build(
            "contactor", "modbus_relay", "contactor 1", 1,
            {"bus": "rs485-1", "address": 4, "channel": 3, **options},
            Parts(buses={"rs485-1": self.bus}, deadman=self.deadman,
                  monotonic_ns=lambda: self.now_ns))

    def coil(self) -> bool:
        return self.board.relays[2]

    def pass_time(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)
        self.deadman.check()
        for _ in range(2):  # a board that is heard again is told first what it did not take
            with contextlib.suppress(HalError):
                self.settle()

    def lose(self) -> None:
        self.board.silent = True

    def restore(self) -> None:
        self.board.silent = False

    def feedback(self, seconds: float = 0.0) -> bool | None:
        """Feedback as the gate sees it after `seconds`: it looks, and looks again."""
        if seconds:
            self.now_ns += round(seconds * 1e9)
            self.contactor.feedback()
            self.settle()
        return self.contactor.feedback()

    def settle(self) -> None:
        """What is under way on the bus comes to its end."""
        run(self.bus.ask(Request(4, 1, 0)))


@pytest.fixture
def make() -> Iterator[object]:
    made: list[Bench] = []

    def bench(*, feedback: bool = True, **options: object) -> Bench:
        made.append(Bench(feedback=feedback, **options))
        return made[-1]

    yield bench
    for one in made:
        one.bus.close()


class TestModbusRelay(ContactorRules):
    @pytest.fixture(params=[True, False], ids=["feedback", "no feedback"])
    def bench(self, request, make):
        return make(feedback=request.param)


def test_a_contact_that_follows_late_is_seen_by_the_next_looks(make):
    bench = make()
    bench.board.stuck_open.add(2)
    bench.contactor.close(2.0)
    first = bench.feedback()

    bench.board.stuck_open.clear()

    assert (first, bench.feedback(0.2)) == (False, True)


def test_a_welded_contact_is_seen_though_the_relay_is_off(make):
    bench = make()
    bench.contactor.close(2.0)
    bench.board.welded.add(2)

    bench.contactor.open()

    assert not bench.coil()
    assert bench.feedback() is True


def test_a_contact_that_opens_by_itself_is_seen(make):
    bench = make()
    bench.contactor.close(2.0)
    assert bench.feedback() is True

    bench.board.restart()

    assert bench.feedback(0.5) is False


def test_an_inverted_contact_is_read_as_it_is_wired(make):
    bench = make(feedback_closed_on=False)
    bench.board.welded.add(2)

    assert bench.feedback() is False


def test_a_board_that_was_restarted_is_told_where_no_contact_is_fitted(make):
    bench = make(feedback=False)
    bench.contactor.close(2.0)
    assert bench.feedback() is None

    bench.board.restart()

    with pytest.raises(DeviceGone, match="relay 3 is off and was ordered on"):
        bench.feedback(0.5)


def test_looks_follow_each_other_in_peace_and_cost_the_loop_nothing(make):
    bench = make()
    bench.contactor.close(2.0)
    bench.feedback()
    frames = len(bench.board.frames)

    for _ in range(50):
        bench.contactor.feedback()
        bench.now_ns += 1_000_000

    bench.settle()
    assert len(bench.board.frames) == frames + 1  # the one of `settle`


def test_a_look_from_before_the_relay_was_switched_does_not_count(make):
    bench = make()
    bench.contactor.close(2.0)
    bench.feedback()
    asked = []
    tell_now = bench.bus.tell_now
    bench.bus.tell_now = lambda request, done, **words: asked.append(done)
    bench.now_ns += 500_000_000
    bench.contactor.feedback()
    bench.bus.tell_now = tell_now

    bench.contactor.open()
    asked[0]((1,))  # closed, as it was when that was asked

    assert bench.contactor.feedback() is False


def test_a_board_that_falls_silent_is_told(make):
    bench = make()
    bench.contactor.close(2.0)
    bench.feedback()
    bench.board.silent = True

    with pytest.raises(DeviceTimeout, match="was not heard for"):
        for _ in range(20):
            bench.now_ns += 500_000_000
            bench.contactor.feedback()


def test_a_release_passes_what_waits_and_the_quiet_after_an_error(make):
    bench = make()
    bench.contactor.close(2.0)
    bench.line.spoil(Flip(2), Flip(2))

    async def story():
        loop = asyncio.get_running_loop()
        reads = [asyncio.create_task(bench.bus.ask(Request(4, 1, 0))) for _ in range(5)]
        await asyncio.sleep(0)
        await loop.run_in_executor(None, bench.contactor.open)
        done = sum(task.done() and task.exception() is None for task in reads)
        results = await asyncio.gather(*reads, return_exceptions=True)
        return done, results

    done, results = run(story())

    assert not bench.coil()
    assert done < 5
    assert any(isinstance(one, tuple) for one in results)


def test_a_release_that_is_not_confirmed_is_sent_all_the_same(make):
    bench = make()
    bench.contactor.close(2.0)
    bench.line.plugged = False
    with pytest.raises(HalError):
        bench.contactor.open()

    bench.line.plugged = True
    bench.pass_time(1.0)

    assert not bench.coil()


def test_a_line_that_is_not_configured_is_a_mistake_of_the_configuration():
    with pytest.raises(BadConfig, match="no serial line 'rs485-2'"):
        registry.build("contactor", "modbus_relay", "contactor 1", 1,
                       {"bus": "rs485-2", "address": 4, "channel": 1},
                       Parts(deadman=DeadMan(thread=False)))


# --- a board that does not answer any more -------------------------------------------------------


def silent(make):
    """One that was closed and fell silent, so that its release is owed."""
    bench = make()
    bench.contactor.close(2.0)
    bench.board.silent = True
    with pytest.raises(DeviceTimeout):
        bench.contactor.open()
    return bench


def waited_for(bench, act):
    """Seconds for which the one who asks stands still."""
    waits = []
    ask_now = bench.bus.ask_now

    def watched(*arguments, wait_s, **words):
        waits.append(wait_s)
        return ask_now(*arguments, wait_s=wait_s, **words)

    bench.bus.ask_now = watched
    with pytest.raises(HalError):
        act()
    bench.bus.ask_now = ask_now
    return sum(waits)


def test_a_board_that_left_us_waiting_is_not_waited_for_again(make):
    bench = silent(make)

    assert waited_for(bench, bench.contactor.open) == 0.0
    assert waited_for(bench, bench.contactor.feedback) == 0.0


def test_a_board_is_waited_for_again_once_it_was_heard(make):
    bench = silent(make)
    bench.board.silent = False
    bench.pass_time(1.0)
    bench.contactor.close(2.0)
    bench.contactor.open()
    bench.board.silent = True

    assert 0.0 < waited_for(bench, bench.contactor.open) <= 1.0


def test_a_slow_line_keeps_nobody_waiting_for_longer_than_a_second(make):
    bench = make()
    bench.bus.settings = replace(SETTINGS, timeout_s=5.0)
    bench.board.silent = True

    assert waited_for(bench, lambda: bench.contactor.close(2.0)) <= 2.0  # on, and off again


def test_a_silent_board_leaves_the_line_to_the_others(make):
    bench = silent(make)
    other = RelayBoard(address=5)
    first = bench.board.answer
    bench.line.device = lambda request: other.answer(request) or first(request)
    off = Request(4, 5, 2, values=(0,))

    def again(result):
        if isinstance(result, DeviceTimeout):
            with contextlib.suppress(DeviceGone):  # the bench is put away
                bench.bus.tell_now(off, again, tries=3)

    bench.bus.tell_now(off, again, tries=3)
    for _ in range(20):
        assert run(bench.bus.ask(Request(5, 1, 0), wait_s=1.5)) == (0,)


def test_a_release_that_waits_is_in_the_queue_once(make):
    bench = silent(make)
    before = len(bench.line.requests)

    for _ in range(50):
        bench.contactor.parts.deadman.owe(bench.contactor)
        with pytest.raises(HalError):
            bench.contactor.open()
    bench.board.silent = False
    bench.pass_time(1.0)
    bench.settle()

    offs = [one for one in bench.line.requests[before:] if one[1] == 5]
    assert not bench.coil()
    assert len(offs) < 10
