"""The simulated world in virtual time: the car, the meter, what breaks, and that it rests."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support.virtual_loop import VirtualLoop, run

from hal.errors import DeviceGone, DeviceTimeout, HalError
from hal.sim.board import Board
from hal.sim.car import CarKind
from hal.sim.words import FAULT_KINDS
from hal.values import NO_OFFER, UNAVAILABLE, CardUid, Offer, OfferKind, PilotReading, PilotState


def amperes(current_a: float) -> Offer:
    return Offer(OfferKind.CURRENT, current_a)


class World:
    """A board whose clock is moved by hand."""

    def __init__(self, *evses: int, **options: Any) -> None:
        self.now_ns = 5_000_000_000
        self.board = Board(evses or (1,), lambda: self.now_ns, **options)

    def advance(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)
        self.board.settle()

    def charge(self, offer_a: float = 16.0, **car: Any) -> None:
        """A car at EVSE 1 that charges."""
        self.board.plug(1, **car)
        self.board.set_offer(1, amperes(offer_a))
        self.advance(1.0)
        self.board.set_coil(1, on=True)

    def pilot(self) -> PilotState:
        return self.board.look(1).pilot

    def register_wh(self) -> int:
        return self.board.read_meter(1).energy_import_wh


@pytest.fixture
def world() -> World:
    return World()


# --- the car -----------------------------------------------------------------------------------


def test_a_car_asks_for_power_after_it_was_offered_some() -> None:
    world = World(car_start_delay_s=2.0)
    world.board.plug(1)
    plugged = world.pilot()

    world.board.set_offer(1, amperes(16.0))
    world.advance(1.9)
    before = world.pilot()
    world.advance(0.1)

    assert (plugged, before, world.pilot()) == (PilotState.B, PilotState.B, PilotState.C)


def test_a_car_that_finds_an_offer_asks_without_another(world: World) -> None:
    world.board.set_offer(1, amperes(16.0))
    world.board.plug(1)

    world.advance(1.0)

    assert world.pilot() is PilotState.C


def test_an_offer_withdrawn_before_the_car_started_leaves_it_in_b(world: World) -> None:
    world.board.plug(1)
    world.board.set_offer(1, amperes(16.0))
    world.advance(0.1)
    world.board.set_offer(1, NO_OFFER)

    world.advance(10.0)

    assert world.pilot() is PilotState.B


def test_a_car_leaves_c_when_the_offer_is_withdrawn_and_comes_back(world: World) -> None:
    world.charge()
    world.board.set_offer(1, NO_OFFER)
    world.advance(1.0)
    left = world.pilot()

    world.board.set_offer(1, amperes(10.0))
    world.advance(1.0)

    assert (left, world.pilot()) == (PilotState.B, PilotState.C)


def test_a_car_follows_a_lower_offer_without_leaving_c(world: World) -> None:
    world.charge(offer_a=32.0)
    world.board.set_offer(1, amperes(6.0))

    reading = world.board.read_meter(1)

    assert world.pilot() is PilotState.C
    assert reading.currents_a == (6.0, 6.0, 6.0)
    assert reading.power_w == 6 * 3 * 230


def test_a_car_without_auto_moves_only_by_hand(world: World) -> None:
    world.board.plug(1, auto=False)
    world.board.set_offer(1, amperes(16.0))
    world.advance(60.0)
    alone = world.pilot()

    world.board.pilot(1, "C")
    world.board.set_offer(1, NO_OFFER)
    world.advance(60.0)

    assert (alone, world.pilot()) == (PilotState.B, PilotState.C)


@pytest.mark.parametrize("state", list(PilotState))
def test_each_state_can_be_set_by_hand(world: World, state: PilotState) -> None:
    world.board.pilot(1, state.value)

    assert world.board.read_pilot(1).state is state


def test_a_station_that_offers_f_reads_f_and_sees_the_car_again_afterwards(world: World) -> None:
    world.board.plug(1)
    world.board.set_offer(1, UNAVAILABLE)
    hidden = world.pilot()

    world.board.set_offer(1, NO_OFFER)

    assert (hidden, world.pilot()) == (PilotState.F, PilotState.B)


def test_a_second_car_cannot_be_plugged(world: World) -> None:
    world.board.plug(1)

    with pytest.raises(HalError, match="plugged already"):
        world.board.plug(1)


def test_unplugging_nothing_is_harmless_and_a_later_plan_of_a_gone_car_is_void(
        world: World) -> None:
    world.board.unplug(1)
    world.board.plug(1)
    world.board.set_offer(1, amperes(16.0))
    world.board.unplug(1)
    world.board.plug(1, auto=False)

    world.advance(10.0)

    assert world.pilot() is PilotState.B


def test_the_cable_rating_is_seen_while_plugged(world: World) -> None:
    world.board.cable(1, 20.0, "cType2")
    empty = world.board.read_pilot(1).cable_a

    world.board.plug(1)

    assert (empty, world.board.read_pilot(1).cable_a) == (None, 20.0)


def test_changes_are_pushed_once_and_at_their_moment() -> None:
    """With the loop's timers, nobody polling."""
    loop = VirtualLoop()
    heard: list[tuple[int, PilotState | None]] = []

    async def story() -> None:
        board = Board([1], loop.monotonic_ns, call_later=loop.call_later, car_start_delay_s=3.0)
        began_ns = loop.monotonic_ns()

        def hear(reading: PilotReading) -> None:
            heard.append((loop.monotonic_ns() - began_ns, reading.state))

        board.listen_pilot(1, hear)
        board.plug(1)
        board.set_offer(1, amperes(16.0))
        board.set_offer(1, amperes(10.0))
        await asyncio.sleep(60)
        board.unplug(1)

    run(story(), loop=loop)

    states = [state for _, state in heard]
    assert states == [PilotState.B, PilotState.C, PilotState.A]
    assert heard[1][0] == pytest.approx(3e9, abs=10)


def test_nothing_is_armed_while_nothing_is_to_come() -> None:
    armed: list[float] = []
    now_ns = 0

    def call_later(delay_s: float, call: Callable[[], None]) -> None:
        armed.append(delay_s)

    board = Board([1, 2], lambda: now_ns, call_later=call_later)
    board.plug(1)
    board.look(1)
    board.read_meter(1)
    board.set_coil(1, on=True)
    idle = len(armed)
    board.set_offer(1, amperes(16.0))

    assert idle == 0
    assert armed == [0.5]


# --- the meter ---------------------------------------------------------------------------------


def test_the_register_integrates_power_exactly_while_the_contact_is_closed() -> None:
    world = World(meter_starts_at_wh=1_000)
    world.charge(offer_a=16.0)
    for _ in range(7_200):
        world.advance(0.5)
    world.board.set_coil(1, on=False)
    world.advance(3_600.0)

    reading = world.board.read_meter(1)

    assert reading.energy_import_wh == 1_000 + 11_040
    assert reading.power_w == 0.0


def test_how_often_it_is_read_changes_no_watt_hour() -> None:
    seldom, often = World(), World()
    for world in (seldom, often):
        world.charge(offer_a=7.3)
    for _ in range(997):
        often.advance(1.0)
        often.register_wh()
    seldom.advance(997.0)

    assert seldom.register_wh() == often.register_wh()


def test_nothing_flows_without_contact_or_car_or_offer(world: World) -> None:
    world.board.set_coil(1, on=True)
    world.advance(3_600.0)
    without_car = world.register_wh()
    world.board.plug(1)
    world.advance(3_600.0)

    assert (without_car, world.register_wh()) == (0, 0)


def test_a_car_takes_its_power_or_what_it_is_offered(world: World) -> None:
    world.charge(offer_a=16.0, power_w=7_400)
    full = world.board.read_meter(1).power_w
    world.board.set_offer(1, amperes(6.0))

    assert (full, world.board.read_meter(1).power_w) == (7_400.0, 4_140.0)


def test_a_single_phase_car_draws_on_l1() -> None:
    world = World(car_phases=1, car_max_current_a=10.0)
    world.charge(offer_a=16.0)

    reading = world.board.read_meter(1)

    assert reading.currents_a == (10.0, 0.0, 0.0)
    assert reading.powers_w == (2_300.0, 0.0, 0.0)
    assert reading.voltages_v == (230.0, 230.0, 230.0)


def test_the_demand_curve_is_followed_to_the_nanosecond() -> None:
    world = World()
    kind = CarKind(phases=1, demand=((0.0, 10.0), (1_800.0, 5.0), (3_600.0, 0.0)))
    world.charge(kind=kind)

    world.advance(86_400.0)

    assert world.register_wh() == 1_150 + 575
    assert world.board.read_meter(1).power_w == 0.0


def test_the_hands_set_power_energy_and_voltage(world: World) -> None:
    world.charge()
    world.board.meter(1, power_w=3_600.0, energy_wh=500, voltage_v=240.0)
    world.advance(3_600.0)

    reading = world.board.read_meter(1)

    assert reading.energy_import_wh == 4_100
    assert reading.power_w == 3_600.0
    assert reading.voltages_v == (240.0, 240.0, 240.0)


def test_the_register_starts_anew_at_each_plug_where_the_meter_does_so() -> None:
    world = World(meter_resets_on_plug=True, meter_starts_at_wh=5)
    world.charge()
    world.advance(3_600.0)
    charged = world.register_wh()
    world.board.unplug(1)

    world.board.plug(1)

    assert charged > 11_000
    assert world.register_wh() == 5


def test_noise_is_the_same_for_the_same_seed_and_leaves_the_register_alone() -> None:
    readings = []
    for _ in range(2):
        world = World(seed=7)
        world.board.noise(1, 0.01)
        world.charge()
        world.advance(3_600.0)
        readings.append(world.board.read_meter(1))

    assert readings[0] == readings[1]
    assert readings[0].power_w != 11_040.0
    assert readings[0].energy_import_wh == 11_040


# --- what breaks -------------------------------------------------------------------------------


def test_a_weld_shows_at_the_next_opening_and_power_goes_on(world: World) -> None:
    world.board.weld(1)
    before = world.board.feedback(1)
    world.charge()
    world.board.set_coil(1, on=False)
    world.advance(3_600.0)

    assert not before
    assert world.board.feedback(1)
    assert world.register_wh() == 11_040
    world.board.clear("weld", 1)
    assert not world.board.feedback(1)


@pytest.mark.parametrize("closed", [True, False])
def test_a_stuck_feedback_stays_as_it_was(world: World, closed: bool) -> None:
    world.board.set_coil(1, on=closed)
    world.board.feedback_stuck(1)

    world.board.set_coil(1, on=not closed)

    assert world.board.feedback(1) is closed
    assert world.board.look(1).contact_closed is not closed


def test_a_contactor_that_does_not_close_lets_nothing_flow(world: World) -> None:
    world.board.fault("did_not_close", 1)
    world.charge()
    world.advance(3_600.0)

    assert not world.board.feedback(1)
    assert world.register_wh() == 0


@pytest.mark.parametrize(("kind", "state"), [
    ("pilot_e", PilotState.E), ("pilot_f", PilotState.F)])
def test_a_pilot_fault_hides_the_car_until_it_is_cleared(
        world: World, kind: str, state: PilotState) -> None:
    world.board.plug(1)
    world.board.fault(kind, 1)
    broken = world.pilot()
    world.board.clear(kind, 1)

    assert (broken, world.pilot()) == (state, PilotState.B)


def test_a_car_without_diode_shows_it_while_plugged(world: World) -> None:
    world.board.fault("diode", 1)
    empty = world.board.read_pilot(1).diode_ok
    world.board.plug(1)

    assert empty
    assert not world.board.read_pilot(1).diode_ok


def test_a_car_stuck_in_c_goes_on_drawing_until_the_contact_opens(world: World) -> None:
    world.charge()
    world.board.fault("stuck_in_c", 1)
    world.board.set_offer(1, NO_OFFER)
    world.advance(10.0)
    drawing = (world.pilot(), world.board.look(1).power_w > 0)
    world.board.set_coil(1, on=False)

    assert drawing == (PilotState.C, True)
    assert world.board.look(1).power_w == 0.0


def test_a_car_without_s2_never_asks(world: World) -> None:
    world.board.fault("no_s2", 1)
    world.board.plug(1)
    world.board.set_offer(1, amperes(16.0))

    world.advance(60.0)

    assert world.pilot() is PilotState.B


def test_a_greedy_car_draws_more_than_it_is_offered(world: World) -> None:
    world.charge(offer_a=16.0)
    world.board.fault("greedy", 1)

    assert min(world.board.read_meter(1).currents_a) > 16.0 * 1.1 + 1.0


@pytest.mark.parametrize(("kind", "use"), [
    ("meter_lost", lambda board: board.read_meter(1)),
    ("pilot_lost", lambda board: board.read_pilot(1)),
    ("lock_lost", lambda board: board.move_lock(1, shut=True)),
    ("input_lost", lambda board: board.read_input(1, "rcd")),
    ("contactor_lost", lambda board: board.set_coil(1, on=True)),
])
def test_a_lost_device_raises_until_it_is_back(
        world: World, kind: str, use: Callable[[Board], object]) -> None:
    world.board.fault(kind, 1)
    with pytest.raises((DeviceTimeout, DeviceGone), match="does not answer"):
        use(world.board)

    world.board.clear(kind, 1)

    use(world.board)


def test_a_loss_at_one_evse_leaves_the_other_alone() -> None:
    world = World(1, 2)
    world.board.fault("meter_lost", 1)

    assert world.board.read_meter(2).energy_import_wh == 0


def test_listeners_learn_of_a_pilot_board_that_falls_silent(world: World) -> None:
    heard: list[PilotState | None] = []
    world.board.listen_pilot(1, lambda reading: heard.append(reading.state))

    world.board.drop("pilot", 1)
    world.board.restore("pilot", 1)

    assert heard == [None, PilotState.A]


def test_listeners_learn_of_an_input_that_falls_silent(world: World) -> None:
    heard: list[bool] = []
    world.board.listen_input(1, "rcd", heard.append)

    world.board.drop("input", 1)
    world.board.restore("input", 1)

    assert heard == [False, True]


def test_a_fault_trips_its_input_where_one_is_fitted_and_is_reported_elsewhere() -> None:
    world = World(1, 2)
    world.board.fit_input(1, "rcd")
    reported: list[tuple[int | None, str, bool]] = []
    world.board.listen_faults(lambda evse, code, present, vendor: reported.append(
        (evse, code, present)))

    world.board.fault("rcd", 1)
    world.board.fault("rcd", 2)
    world.board.clear("rcd", 2)

    assert not world.board.read_input(1, "rcd")
    assert reported == [(2, "RCD_TRIPPED", True), (2, "RCD_TRIPPED", False)]


def test_another_error_carries_its_vendor_code(world: World) -> None:
    reported: list[tuple[int | None, str, bool, str]] = []
    world.board.listen_faults(lambda *one: reported.append(one))

    world.board.fault("other", 1, vendor_code="E42")

    assert reported == [(1, "OTHER", True, "E42")]


@pytest.mark.parametrize("kind", FAULT_KINDS)
def test_every_fault_can_be_set_anywhere_and_cleared(kind: str) -> None:
    world = World(1, 2)
    world.board.plug(1)
    fresh = world.board.look(1)

    for evse in (1, None):
        world.board.fault(kind, evse)
        world.board.clear(kind, evse)

    assert world.board.look(1) == fresh


def test_an_unknown_fault_is_refused_with_the_nearest_kind(world: World) -> None:
    with pytest.raises(HalError, match="did you mean 'rcd'"):
        world.board.fault("rcdd", 1)


def test_an_unknown_evse_is_refused_with_those_there_are() -> None:
    with pytest.raises(HalError, match="simulated are: 1, 2"):
        World(1, 2).board.plug(3)


# --- readers -----------------------------------------------------------------------------------


class Slot:
    def __init__(self, name: str, evse: int | None = None) -> None:
        self.name = name
        self.evse = evse
        self.seen: list[str] = []

    def hold(self, card: CardUid) -> None:
        self.seen.append(card.text)

    def lose(self) -> None:
        self.seen.append("lost")


def test_a_tap_goes_to_the_named_reader_to_that_of_the_evse_or_to_the_first(world: World) -> None:
    front, side = Slot("reader front"), Slot("reader side", 1)
    for slot in (front, side):
        world.board.add_reader(slot)

    world.board.tap("A")
    world.board.tap("B", evse=1)
    world.board.tap("C", reader="side")
    world.board.tap("D", reader="reader front")

    assert (front.seen, side.seen) == (["A", "D"], ["B", "C"])


def test_a_tap_without_a_reader_is_refused(world: World) -> None:
    with pytest.raises(HalError, match="no simulated reader 'side' is open; open are: none"):
        world.board.tap("A", reader="side")


@pytest.mark.parametrize("evse", [None, 1])
def test_a_lost_reader_cannot_be_opened(world: World, evse: int | None) -> None:
    slot = Slot("reader front")
    world.board.add_reader(slot)
    world.board.fault("reader_lost", evse)

    with pytest.raises(DeviceGone):
        world.board.add_reader(slot)
    world.board.clear("reader_lost", evse)
    world.board.add_reader(slot)

    assert slot.seen == ["lost"]


# --- threads -----------------------------------------------------------------------------------


def test_the_dead_man_may_open_while_the_loop_thread_moves_the_world() -> None:
    board = Board([1], car_start_delay_s=0.0)
    board.plug(1)
    board.set_offer(1, amperes(16.0))
    stop = threading.Event()
    errors: list[Exception] = []

    def hammer() -> None:
        try:
            while not stop.is_set():
                board.set_coil(1, on=True)
                board.feedback(1)
                board.set_coil(1, on=False)
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=hammer)
    thread.start()
    last_wh = 0
    for step in range(2_000):
        board.set_offer(1, amperes(6.0 + step % 20))
        register_wh = board.read_meter(1).energy_import_wh
        assert register_wh >= last_wh
        last_wh = register_wh
    stop.set()
    thread.join()

    assert errors == []


def test_a_story_repeats_exactly() -> None:
    def story() -> list[Any]:
        world = World(1, 2, seed=3, meter_starts_at_wh=77)
        world.board.noise(1, 0.02)
        world.charge(power_w=9_000)
        world.advance(1_234.5)
        world.board.set_offer(1, NO_OFFER)
        world.advance(5)
        return [*world.board.history, world.board.read_meter(1)]

    assert story() == story()


