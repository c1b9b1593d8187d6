"""The EVSE-WB driver against a board written from its register table, on a made-up line."""

import asyncio
from collections.abc import Iterator

import pytest
from support.aio import run
from support.battery import PilotRules
from support.evse_wb_board import ALLOWS_D, DISABLED, FINE, RCD_FEEDBACK, EvseWbBoard

from hal import registry
from hal.contracts import Parts
from hal.errors import BadConfig, BadReading, DeviceGone, DeviceTimeout, HalError
from hal.pilots.evse_wb import Pilot
from hal.rtu import LineSettings
from hal.serialbus import SerialBus
from hal.sim.rs485 import FakeLine, Flip, Silence, with_crc
from hal.values import NO_OFFER, UNAVAILABLE, Offer, OfferKind, PilotState

SETTINGS = LineSettings(port="/dev/ttyFAKE", gap_s=0.2, tries=3)


def amps(current_a: float) -> Offer:
    return Offer(OfferKind.CURRENT, current_a)


class Bench:
    def __init__(self, board: EvseWbBoard | None = None, **options: object) -> None:
        self.board = board or EvseWbBoard()
        self.line = FakeLine(self.board.answer)
        self.bus = SerialBus("rs485-1", SETTINGS, open_port=self.line.open, clock=self.line)
        self.pilot: Pilot = registry.build(
            "pilot", "evse_wb", "pilot 1", 1, {"bus": "rs485-1", **options},
            Parts(buses={"rs485-1": self.bus}))

    def put(self, state: PilotState) -> None:
        if state is PilotState.F:
            self.board.kept[2005] |= DISABLED
        else:
            self.board.car = state

    def offered(self) -> Offer:
        return amps(self.board.offered_a) if self.board.offered_a else NO_OFFER

    def lose(self) -> None:
        self.board.silent = True

    def restore(self) -> None:
        self.board.silent = False


@pytest.fixture
def make() -> Iterator[object]:
    made: list[Bench] = []

    def bench(board: EvseWbBoard | None = None, **options: object) -> Bench:
        made.append(Bench(board, **options))
        return made[-1]

    yield bench
    for one in made:
        one.bus.close()


class TestEvseWb(PilotRules):
    @pytest.fixture
    def bench(self, make):
        return make()


class TestEvseWbInHundredths(PilotRules):
    @pytest.fixture
    def bench(self, make):
        return make(EvseWbBoard(firmware=17, config=FINE))


def test_one_request_reads_all_that_changes(make):
    bench = make()
    run(bench.pilot.open())
    bench.board.reads.clear()

    run(bench.pilot.read())

    assert bench.board.reads == [(1000, 8)]


def test_the_current_after_boot_is_made_none_once_and_for_good(make):
    bench = make(EvseWbBoard(boot_a=32))

    for _ in range(3):
        run(bench.pilot.open())

    assert bench.board.kept[2000] == 0
    assert bench.board.kept_writes == 1


def test_a_board_that_keeps_its_boot_current_is_not_written_again_and_again(make, caplog):
    bench = make(EvseWbBoard(boot_a=6, refuses_boot=True))
    requests = len(bench.line.requests)

    for _ in range(3):
        run(bench.pilot.open())

    writes = [frame for frame in bench.line.requests[requests:] if frame[1] == 16]
    assert len(writes) == 1
    assert "offers 6 A after its own start" in caplog.text


def test_a_charge_writes_nothing_into_the_memory_that_wears(make):
    bench = make()

    async def charge():
        await bench.pilot.open()
        for offer in (amps(16.0), amps(10.0), NO_OFFER, amps(16.0), NO_OFFER):
            await bench.pilot.offer(offer)

    run(charge())

    assert bench.board.kept_writes == 0


def test_hundredths_are_used_where_the_board_counts_in_them(make):
    bench = make(EvseWbBoard(firmware=17, config=FINE))

    run(bench.pilot.offer(amps(16.1)))

    assert bench.board.set_current == 1610
    assert run(bench.pilot.read()).offered_a == 16.1


def test_a_broken_ampere_is_not_rounded_up(make):
    bench = make()

    run(bench.pilot.offer(amps(13.9)))

    assert bench.board.set_current == 13


def test_an_offer_above_the_cable_is_confirmed_with_what_the_board_makes_of_it(make):
    bench = make(EvseWbBoard(cable_a=20))

    run(bench.pilot.offer(amps(32.0)))

    reading = run(bench.pilot.read())
    assert (reading.cable_a, reading.offered_a) == (20.0, 20.0)


def test_an_offer_below_the_boards_least_is_refused_aloud(make):
    bench = make(EvseWbBoard(minimum_a=10))

    with pytest.raises(BadReading, match="register 2002"):
        run(bench.pilot.offer(amps(6.0)))
    assert bench.board.offered_a == 0


def test_a_board_that_does_not_act_on_an_offer_has_not_confirmed_it(make):
    bench = make()
    bench.board.stubborn = True

    with pytest.raises(BadReading, match="told 16 A"):
        run(bench.pilot.offer(amps(16.0)))


def test_unavailable_is_state_f_and_ends_with_the_next_offer(make):
    bench = make()

    run(bench.pilot.offer(UNAVAILABLE))
    state = run(bench.pilot.read()).state
    run(bench.pilot.offer(UNAVAILABLE))
    run(bench.pilot.offer(NO_OFFER))

    assert state is PilotState.F
    assert not bench.board.disabled
    assert run(bench.pilot.read()).state is PilotState.A
    assert bench.board.kept_writes == 2


def test_a_firmware_that_calls_no_offer_off_is_not_in_state_f(make):
    bench = make()
    bench.board.off_at_rest = True
    bench.board.car = PilotState.B

    states = [run(bench.pilot.read()).state for _ in range(3)]

    assert states == [PilotState.B] * 3
    assert bench.board.reads.count((2005, 1)) == 1


def test_a_board_that_was_restarted_is_opened_and_told_anew(make):
    bench = make()

    async def story():
        await bench.pilot.open()
        await bench.pilot.offer(amps(16.0))
        bench.board.power_cycle()
        with pytest.raises(DeviceGone, match="was told 16 A"):
            await bench.pilot.read()
        await bench.pilot.close()
        await bench.pilot.open()
        await bench.pilot.offer(amps(16.0))
        return await bench.pilot.read()

    assert run(story()).offered_a == 16.0


def test_a_missing_diode_is_told(make):
    bench = make()
    bench.board.car, bench.board.diode_failed = PilotState.C, True

    reading = run(bench.pilot.read())

    assert not reading.diode_ok


def test_an_rcd_at_the_board_is_an_input_only_where_one_is_fitted(make):
    with_rcd, without = make(rcd=True), make()
    for bench in (with_rcd, without):
        run(bench.pilot.open())
        bench.board.rcd_error = True

    assert Pilot.watched({"rcd": True}) == ("rcd",)
    assert run(with_rcd.pilot.read()).alarms == ("rcd",)
    assert with_rcd.board.kept[2005] & RCD_FEEDBACK
    assert Pilot.watched({}) == ()
    assert run(without.pilot.read()).alarms == ()


def test_an_rcd_that_is_being_tested_protects_nobody(make):
    bench = make(rcd=True)
    run(bench.pilot.open())
    bench.board.rcd_test = True

    assert run(bench.pilot.read()).alarms == ("rcd",)


def test_a_fitted_rcd_is_asked_for_in_the_configuration_once(make):
    bench = make(EvseWbBoard(config=ALLOWS_D | 1 << 13), rcd=True)

    run(bench.pilot.open())
    run(bench.pilot.open())

    assert bench.board.kept[2005] == ALLOWS_D | RCD_FEEDBACK
    assert bench.board.kept_writes == 1


def test_what_is_no_evse_wb_is_told_by_its_registers(make):
    bench = make()
    bench.board.firmware = 3
    bench.board.car = PilotState.F  # a vehicle state there is not
    bench.board._status = lambda: (0, 0, 77, 0, 0, 1, 9, 0, 0, 0)

    with pytest.raises(BadReading, match="is there an EVSE-WB at address 1"):
        run(bench.pilot.read())


def test_a_noisy_answer_is_asked_again_and_silence_is_told(make):
    bench = make()
    run(bench.pilot.open())
    bench.line.spoil(Flip(4))
    assert run(bench.pilot.read()).state is PilotState.A
    bench.line.spoil(Silence(), Silence())

    with pytest.raises(DeviceTimeout, match="pilot 1"):
        run(bench.pilot.read())


def test_a_look_at_the_pilot_passes_what_waits_on_the_line(make):
    bench = make()
    run(bench.pilot.open())
    bench.board.reads.clear()

    async def story():
        with bench.bus._wake:  # the worker stands still
            others = [asyncio.create_task(bench.bus.read_registers(1, 2000 + i, 1, function=3))
                      for i in range(3)]
            await asyncio.sleep(0)
            look = asyncio.create_task(bench.pilot.read())
            await asyncio.sleep(0)
        await asyncio.gather(look, *others)

    run(story())

    assert bench.board.reads == [(1000, 8), (2000, 1), (2001, 1), (2002, 1)]


def test_a_line_that_is_not_configured_is_a_mistake_of_the_configuration():
    with pytest.raises(BadConfig, match="no serial line 'rs485-2'"):
        registry.build("pilot", "evse_wb", "pilot 1", 1, {"bus": "rs485-2"}, Parts())


# --- its relay -----------------------------------------------------------------------------------


def test_a_cut_opens_the_relay_and_leaves_nothing_on_offer(make):
    bench = make()
    run(bench.pilot.offer(amps(16.0)))
    bench.board.car = PilotState.C
    closed = bench.board.relay

    bench.pilot.cut()

    assert closed
    assert not bench.board.relay
    assert bench.board.offered_a == 0
    assert run(bench.pilot.read()).state is PilotState.C


def test_after_a_cut_the_next_offer_closes_it_again(make):
    bench = make()
    bench.board.car = PilotState.C
    run(bench.pilot.offer(amps(16.0)))
    bench.pilot.cut()

    run(bench.pilot.offer(amps(10.0)))

    assert bench.board.relay
    assert bench.board.offered_a == 10.0


def test_an_offer_that_waits_in_the_queue_is_not_sent_after_a_cut(make):
    bench = make()
    bench.board.car = PilotState.C

    async def story():
        await bench.pilot.open()
        loop = asyncio.get_running_loop()
        with bench.bus._wake:  # the worker stands still
            offer = asyncio.create_task(bench.pilot.offer(amps(16.0)))
            await asyncio.sleep(0)
            cut = loop.run_in_executor(None, bench.pilot.cut)
            while bench.pilot._ordered != 0:
                await asyncio.sleep(0)
        await cut
        with pytest.raises(HalError, match="overtaken"):
            await offer

    run(story())

    assert not bench.board.relay
    assert (1000, 16) not in bench.board.writes


def test_a_cut_that_nobody_confirms_is_told(make):
    bench = make()
    run(bench.pilot.open())
    bench.board.silent = True

    with pytest.raises(HalError, match="pilot 1"):
        bench.pilot.cut()


# --- a board that does not answer a cut ----------------------------------------------------------


def seconds_waited(bench):
    """For how long a cut keeps everybody waiting."""
    waits = []
    ask_now = bench.bus.ask_now

    def watched(*arguments, wait_s, **words):
        waits.append(wait_s)
        return ask_now(*arguments, wait_s=wait_s, **words)

    bench.bus.ask_now = watched
    with pytest.raises(DeviceTimeout):
        bench.pilot.cut()
    bench.bus.ask_now = ask_now
    return sum(waits)


def test_a_board_that_does_not_answer_a_cut_is_waited_for_once(make):
    bench = make()
    run(bench.pilot.open())
    run(bench.pilot.offer(amps(16.0)))
    bench.lose()

    waited = [seconds_waited(bench) for _ in range(30)]
    bench.restore()
    run(bench.pilot.open())

    assert 0.0 < waited[0] <= 1.0
    assert set(waited[1:]) == {0.0}
    assert bench.board.offered_a == 0.0
    bench.lose()
    assert seconds_waited(bench) > 0.0  # it had been heard


def test_a_cut_before_the_board_is_known_stops_an_offer_that_waits_for_that(make):
    bench = make()

    async def story():
        offering = asyncio.ensure_future(bench.pilot.offer(amps(16.0)))
        await asyncio.sleep(0)
        await asyncio.get_running_loop().run_in_executor(None, bench.pilot.cut)
        await asyncio.gather(offering, return_exceptions=True)
        return offering.exception()

    refused = run(story())

    assert isinstance(refused, HalError)
    assert bench.board.offered_a == 0.0


# --- what is written, and what is believed -------------------------------------------------------


def test_the_boot_loader_is_never_called(make):
    bench = make(EvseWbBoard(config=ALLOWS_D | 1 << 15 | 1 << 13))

    run(bench.pilot.open())

    assert not bench.board.kept[2005] & 1 << 15


def test_an_offer_is_not_confirmed_while_more_is_on_the_pilot(make):
    bench = make()
    run(bench.pilot.open())
    run(bench.pilot.offer(amps(32.0)))
    answer = bench.board.answer

    def lags(request):
        """Register 1001 stays at 32 A."""
        found = answer(request)
        if request[1] == 3 and found is not None and found[2] == 16:
            return with_crc(found[:5] + bytes((0, 32)) + found[7:-2])
        return found

    bench.line.device = lags

    with pytest.raises(BadReading, match="offers 32 A"):
        run(bench.pilot.offer(amps(10.0)))
