"""The OpenEVSE driver against a board written from its document, on a port whose time jumps."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
from support.aio import run
from support.battery import PilotRules
from support.openevse_board import DIODE, STUCK, FakeWire, OpenEvseBoard, framed

from hal import registry
from hal.contracts import Parts
from hal.errors import BadReading, DeviceGone, DeviceTimeout, HalError
from hal.pilots.openevse import Pilot
from hal.rapi import Rapi, unframed
from hal.values import NO_OFFER, UNAVAILABLE, Offer, OfferKind, PilotReading, PilotState

B, C = PilotState.B, PilotState.C


def amps(current_a: float) -> Offer:
    return Offer(OfferKind.CURRENT, current_a)


class Bench:
    def __init__(self, board: OpenEvseBoard | None = None) -> None:
        self.board = board or OpenEvseBoard()
        self.wire = FakeWire(self.board)
        self.pilot: Pilot = registry.build(
            "pilot", "openevse", "pilot 1", 1, {"port": "/dev/ttyFAKE"},
            Parts(monotonic_ns=lambda: round(self.wire.now * 1e9)))
        self.pilot.make_wire = self.wire.open  # type: ignore[method-assign]
        self.pilot.idle_s = None
        self.heard: list[PilotReading] = []
        run(self.pilot.open())
        run(self.pilot.offer(NO_OFFER))
        self.board.commands.clear()

    def put(self, state: PilotState) -> None:
        if state is PilotState.E:  # the board's word for a shorted pilot is a fault with -12 V
            pytest.skip("this board does not tell state E")
        if state is PilotState.F:
            run(self.pilot.offer(UNAVAILABLE))
        else:
            self.board.put(state)
        self.wire.settle()

    def offered(self) -> Offer:
        return amps(float(self.board.offered_a)) if self.board.offered_a else NO_OFFER

    def lose(self) -> None:
        self.board.silent = True

    def restore(self) -> None:
        self.board.silent = False

    def pass_time(self, seconds: float) -> None:
        self.wire.now += seconds

    def read(self) -> PilotReading:
        return run(self.pilot.read())

    def offer(self, offer: Offer) -> None:
        run(self.pilot.offer(offer))


@pytest.fixture
def make() -> Iterator[object]:
    made: list[Bench] = []

    def bench(board: OpenEvseBoard | None = None) -> Bench:
        made.append(Bench(board))
        return made[-1]

    yield bench
    for one in made:
        run(one.pilot.close())


class TestOpenEvse(PilotRules):
    @pytest.fixture
    def bench(self, make):
        return make()


# --- frames --------------------------------------------------------------------------------------


def test_the_checksum_is_that_of_the_document():
    # "$GS^30" and "$SK 0^2C" stand in it
    assert framed("$GS") == b"$GS^30\r"
    assert unframed(b"$SK 0^2C") == "$SK 0"
    assert unframed(b"noise$SK 0^2C") == "$SK 0"


@pytest.mark.parametrize("line", [
    b"", b"$", b"$GS", b"$GS^", b"$GS^3", b"$GS^31", b"$GS^zz", b"GS^14", b"^00", b"\xff\xfe^00",
    b"$^24", b"$GS*DE"])
def test_a_line_that_is_none_is_no_line(line):
    assert unframed(line) is None


@pytest.mark.parametrize("fault", ["silence", "checksum", "garbage", "async", "stale"])
def test_a_spoiled_answer_is_asked_again_or_read_through(make, fault):
    bench = make()
    bench.board.put(B)
    bench.board.faults.append(fault)

    assert bench.read().state is B


def test_two_spoiled_answers_in_a_row_are_no_answer(make):
    bench = make()
    bench.board.faults.extend(("checksum", "silence"))

    with pytest.raises(DeviceTimeout, match="pilot 1: no answer to GS"):
        bench.read()
    assert bench.read().state is PilotState.A


def test_a_late_answer_is_not_taken_for_the_next_ones(make):
    bench = make()
    bench.board.faults.append("silence")
    with_number = bench.pilot._line._number + 1
    bench.wire._arrive(framed(f"$OK 03 0 03 0 :{with_number - 1:02X}"))

    assert bench.read().state is PilotState.A


def test_a_flood_of_garbage_is_passed_over(make):
    bench = make()
    bench.wire._arrive(b"x" * 5000)
    bench.wire.settle()

    assert bench.read().state is PilotState.A


# --- offers --------------------------------------------------------------------------------------


def test_current_is_always_set_volatile_and_before_the_board_wakes(make):
    bench = make()
    bench.offer(amps(16.0))

    assert "SC 16 V" in bench.board.commands
    assert bench.board.commands.index("SC 16 V") < bench.board.commands.index("FE")
    assert bench.board.kept_writes == 1  # the supervision, once


def test_none_is_asleep_and_unavailable_is_disabled(make):
    bench = make()
    bench.board.put(B)
    bench.offer(amps(16.0))
    bench.offer(NO_OFFER)
    asleep = bench.read().state
    bench.offer(UNAVAILABLE)

    assert asleep is B
    assert bench.board.commands[-2:] == ["FD", "GS"]
    assert bench.read().state is PilotState.F


def test_an_offer_the_board_makes_less_of_stands_and_more_is_refused(make):
    bench = make(OpenEvseBoard(maximum_a=20))

    bench.offer(amps(32.0))

    assert bench.read().offered_a == 20.0
    bench.board.maximum_a = 32
    with pytest.raises(BadReading, match="it would offer 6 A"):
        bench.offer(Offer(OfferKind.CURRENT, 5.0))


def test_a_boot_lock_is_opened_where_there_is_one(make):
    bench = make()
    bench.board.locked = True
    bench.board.put(C)

    bench.offer(amps(16.0))

    assert bench.board.relay


def test_a_board_that_refuses_to_wake_has_not_confirmed_an_offer(make):
    bench = make()
    bench.board.break_down(STUCK)

    with pytest.raises(BadReading, match="state 08"):
        bench.offer(amps(16.0))


# --- supervision ---------------------------------------------------------------------------------


def test_supervision_is_written_once_and_not_at_each_opening(make):
    bench = make()
    for _ in range(3):
        run(bench.pilot.close())
        run(bench.pilot.open())

    assert (bench.board.interval_s, bench.board.fallback_a) == (10, 6)
    assert bench.board.kept_writes == 1


def test_who_reads_keeps_the_board_from_falling_back(make):
    bench = make()
    bench.board.put(C)
    bench.offer(amps(16.0))

    for _ in range(240):
        bench.pass_time(0.5)
        bench.read()

    assert bench.board.offered_a == 16
    assert bench.board.trigger == 0
    assert bench.board.commands.count("SY") in range(24, 60)


def test_a_board_left_alone_falls_back_and_is_told_anew_asleep(make):
    bench = make()
    bench.board.put(C)
    bench.offer(amps(16.0))
    bench.pass_time(11.0)
    alone_a = bench.board.offered_a

    with pytest.raises(DeviceGone, match="fell back to 6 A"):
        bench.read()
    bench.board.commands.clear()
    bench.offer(amps(10.0))

    assert alone_a == 6
    assert bench.board.offered_a == 10
    assert bench.board.trigger == 1
    assert bench.board.commands.index("FS") < bench.board.commands.index("SY 165")
    assert bench.board.commands.index("SY 165") < bench.board.commands.index("SC 10 V")


def test_a_firmware_without_supervision_is_refused(make):
    bench = make()
    bench.board.supervised = False

    with pytest.raises(DeviceGone, match="takes no supervision"):
        run(bench.pilot.open())


# --- what the board finds ------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "alarm"), [
    (0x06, "rcd"), (0x07, "ground"), (0x09, "rcd"), (0x0A, "temperature"), (0x0B, "over_current")])
def test_a_fault_of_the_board_is_an_alarm_of_its_input(make, fault, alarm):
    bench = make()
    bench.offer(amps(16.0))
    bench.board.break_down(fault)

    reading = bench.read()

    assert reading.alarms == (alarm,)
    assert alarm in Pilot.watches
    assert reading.state is PilotState.A


def test_a_missing_diode_and_a_stuck_relay_are_told(make):
    bench = make()
    sound = bench.pilot.stuck()
    bench.board.break_down(DIODE)
    diode = bench.read()
    bench.board.break_down(STUCK)
    bench.read()

    assert not diode.diode_ok
    assert (sound, bench.pilot.stuck()) == (False, True)


def test_a_fault_with_a_pilot_that_tells_nothing_is_state_f(make):
    bench = make()
    bench.board.car = PilotState.F
    bench.board.break_down(0x06)

    assert bench.read().state is PilotState.F


def test_a_state_nobody_knows_is_none(make):
    bench = make()
    bench.offer(amps(16.0))
    bench.board.fault = 0x42

    with pytest.raises(DeviceGone, match="state 42"):
        bench.read()


def test_a_board_that_started_anew_is_put_to_sleep_at_once_and_told_anew(make):
    bench = make()
    bench.pilot.listen(bench.heard.append)
    bench.board.put(C)
    bench.offer(amps(10.0))

    bench.board.restart()
    bench.wire.settle()

    assert bench.board.offered_a == 0, "it would offer what it keeps for its start"
    assert PilotReading(None) in bench.heard
    with pytest.raises(DeviceGone, match="nobody ordered"):
        bench.read()
    bench.offer(amps(10.0))
    assert bench.read().offered_a == 10.0


def test_a_start_that_nobody_heard_of_is_noticed_by_the_next_look(make):
    bench = make()
    bench.board.put(C)
    bench.board._start()  # awake, without a word

    with pytest.raises(DeviceGone, match="state 03, which nobody ordered"):
        bench.read()
    bench.wire.settle()
    assert bench.board.offered_a == 0


def test_an_idle_line_is_looked_at_and_tells_a_word_that_was_lost(make):
    bench = make()
    bench.pilot.listen(bench.heard.append)
    bench.read()
    bench.board.car = B  # without a word

    bench.pilot._idle()
    bench.wire.settle()

    assert [one.state for one in bench.heard] == [B]


def test_a_board_that_falls_silent_is_told_by_the_idle_line(make):
    bench = make()
    bench.pilot.listen(bench.heard.append)
    bench.board.silent = True

    bench.pilot._idle()
    bench.wire.settle()

    assert bench.heard == [PilotReading(None)]


# --- the port ------------------------------------------------------------------------------------


def test_a_lost_port_is_told_at_once_and_opened_again(make):
    bench = make()
    bench.pilot.listen(bench.heard.append)

    bench.wire.unplug()
    with pytest.raises(DeviceGone):
        bench.read()
    told = bench.heard[-1]
    with pytest.raises(DeviceGone, match="cannot be opened"):
        run(bench.pilot.open())
    bench.wire.replug()
    run(bench.pilot.open())

    assert told == PilotReading(None)
    assert bench.read().state is PilotState.A


def test_closing_does_not_wait_for_an_answer_that_does_not_come():
    class Patient(FakeWire):
        """Waits as a port does, until something comes or it is woken."""

        def read(self, wait_s):
            with self._changed:
                self._changed.wait_for(lambda: self._coming or self._woken)
                self._woken = False
                came, self._coming = self._coming, b""
                return came

    wire = Patient(OpenEvseBoard())
    wire.board.silent = True
    line = Rapi("patient", wire.open, heard=lambda words: None, lost=lambda error: None,
                idle=lambda: None, idle_s=None)
    line.tell("GS")

    line.close(wait_s=30.0)

    assert "rapi patient" not in [thread.name for thread in threading.enumerate()]


def test_closing_twice_or_before_opening_is_harmless(make):
    bench = make()

    for _ in range(2):
        run(bench.pilot.close())

    assert bench.read().state is PilotState.A, "a question opens it again"


# --- its contactor -------------------------------------------------------------------------------


def test_a_cut_opens_at_once_and_leaves_the_pilot_at_rest(make):
    bench = make()
    bench.board.put(C)
    bench.offer(amps(16.0))
    closed = bench.board.relay
    bench.board.commands.clear()

    bench.pilot.cut()

    assert closed and not bench.board.relay
    assert bench.board.commands == ["FD", "FS"]
    assert bench.read().state is C


def test_an_offer_that_waits_in_the_queue_is_not_sent_after_a_cut(make):
    bench = make()
    bench.board.put(C)
    bench.wire.settle()

    async def story():
        loop = asyncio.get_running_loop()
        with bench.wire._changed:  # the worker stands still
            offer = asyncio.create_task(bench.pilot.offer(amps(16.0)))
            await asyncio.sleep(0)
            before = bench.pilot._order
            cut = loop.run_in_executor(None, bench.pilot.cut)
            while bench.pilot._order is before:
                await asyncio.sleep(0)
        await cut
        with pytest.raises(HalError, match="overtaken"):
            await offer

    run(story())

    assert not bench.board.relay
    assert "FE" not in bench.board.commands


def test_a_cut_that_nobody_confirms_is_told_and_stays_in_the_queue(make):
    bench = make()
    bench.board.put(C)
    bench.offer(amps(16.0))
    bench.board.faults.extend(["silence"] * 3)

    with pytest.raises(HalError, match="pilot 1"):
        bench.pilot.cut()
    bench.wire.settle()

    assert bench.board.offered_a == 0


# --- a board that does not answer a cut ----------------------------------------------------------


def seconds_waited(bench):
    """For how long a cut keeps everybody waiting."""
    waits = []
    line = bench.pilot._line
    ask_now = line.ask_now

    def watched(*commands, wait_s, **words):
        waits.append(wait_s)
        return ask_now(*commands, wait_s=wait_s, **words)

    line.ask_now = watched
    with pytest.raises(DeviceTimeout):
        bench.pilot.cut()
    line.ask_now = ask_now
    return sum(waits)


def test_a_board_that_does_not_answer_a_cut_is_waited_for_once(make):
    bench = make()
    bench.board.silent = True

    waited = [seconds_waited(bench) for _ in range(50)]
    bench.board.silent = False
    bench.wire.settle()
    told = len(bench.board.commands)
    bench.read()

    assert 0.0 < waited[0] <= 1.0
    assert set(waited[1:]) == {0.0}
    assert told < 20  # what waits in the queue waits there once
    bench.board.silent = True
    assert seconds_waited(bench) > 0.0  # it had been heard


def test_a_port_that_is_gone_is_told_once_however_often_a_cut_tries(make, caplog):
    bench = make()
    bench.wire.unplug()

    for _ in range(20):
        with pytest.raises(DeviceGone):
            bench.pilot.cut()

    assert len([one for one in caplog.records if one.levelname == "WARNING"]) <= 2
