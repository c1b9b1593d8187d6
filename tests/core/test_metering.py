"""Metering: when samples are taken, what they hold, and that no wrong Wh gets into the books."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from support.core_world import START, World, evse_layout, with_settings

from cpctl.core import effects as ef
from cpctl.core import events as ev
from cpctl.core import facts as fa
from cpctl.core.faults import FaultCode
from cpctl.core.metering import SUPPORTED, next_aligned, values
from cpctl.core.now import Now, TimeQuality
from cpctl.core.state import Evse, Meter, Offering
from cpctl.core.values import Measured, Quantity, ReadingContext
from hal.values import MeterReading, Offer, OfferKind, PilotState

requirement = pytest.mark.requirement
PERIODIC, CLOCK = ReadingContext.PERIODIC, ReadingContext.CLOCK
FULL = MeterReading(
    1234, energy_export_wh=5, power_w=7000.0, powers_w=(2300.0, 2400.0, 2300.0),
    currents_a=(10.0, 10.4, 10.1), voltages_v=(230.0, 231.0, 229.5), reactive_power_var=12.0,
    power_factor=0.99, frequency_hz=50.01, temperature_c=31.5)


def times(facts: list[fa.TransactionSampled]) -> list[float]:
    return [(fact.at.utc - START).total_seconds() for fact in facts]


# --- the schedule --------------------------------------------------------------------------------


@requirement("16.MET.1")
def test_samples_come_every_interval_from_the_start_of_the_transaction() -> None:
    world = World().boot()
    world.advance(17)
    world.charging()

    world.advance(200, meter_each_s=1)

    assert times(world.samples()) == [77, 137, 197]
    assert {one.context for one in world.samples()} == {PERIODIC}


@requirement("16.MET.1")
def test_interval_zero_means_no_samples() -> None:
    world = World(settings={"sampling.interval_s": 0}).boot().charging()

    world.advance(600, meter_each_s=5)

    assert world.samples() == []


@requirement("16.MET.12", "E-14")
def test_a_new_interval_holds_for_the_next_sample_and_keeps_the_phase() -> None:
    world = World().boot().charging()
    world.advance(70, meter_each_s=1)

    with_settings(world, **{"sampling.interval_s": 45})
    world.advance(120, meter_each_s=1)

    assert times(world.samples()) == [60, 90, 135, 180]


@requirement("16.MET.14")
def test_a_sample_waits_for_its_reading_and_a_missed_one_is_not_made_up() -> None:
    world = World().boot().charging()
    world.advance(50, meter_each_s=1)

    world.advance(14)
    world.meter(1010)
    late = times(world.samples())
    world.advance(130)
    world.meter(1010)

    assert late == [64]
    assert len(world.samples()) == 2


@requirement("16.MET.2")
def test_clock_aligned_readings_come_on_the_clock() -> None:
    world = World(settings={"sampling.clock_interval_s": 900, "sampling.interval_s": 0},
                  start=datetime(2026, 3, 1, 10, 7, 12, tzinfo=UTC)).boot().charging()

    world.advance(1800, meter_each_s=1)

    assert [one.at.utc.strftime("%H:%M:%S") for one in world.samples()] == [
        "10:15:00", "10:30:00"]
    assert {one.context for one in world.samples()} == {CLOCK}


@requirement("16.MET.2")
def test_clock_aligned_readings_come_outside_transactions_too_and_are_only_news() -> None:
    world = World(evse_layout(1), evse_layout(2),
                  settings={"sampling.clock_interval_s": 600}).boot()

    world.advance(601, meter_each_s=1)

    told = [one for one in world.notices if isinstance(one, ef.ClockSample)]
    assert [(one.evse, one.context) for one in told] == [(1, CLOCK), (2, CLOCK)]
    assert world.samples() == []


@requirement("16.MET.2")
def test_a_clock_slot_without_a_reading_is_left_out() -> None:
    world = World(settings={"sampling.clock_interval_s": 600}).boot()

    world.advance(650)
    world.meter(1000)

    assert world.notices == []


@requirement("16.MET.2")
def test_a_step_of_the_clock_makes_up_for_nothing_and_sets_the_schedule_anew() -> None:
    world = World(settings={"sampling.clock_interval_s": 600}).boot()
    world.advance(300, meter_each_s=1)
    world.skew = datetime(2026, 3, 1, 14, 0) - datetime(2026, 3, 1, 10, 0)

    world.tell(ev.ClockStepped(14_400.0))
    world.advance(301, meter_each_s=1)

    assert [one.at.utc.strftime("%H:%M:%S") for one in world.notices] == ["14:10:00"]


@requirement("16.MET.2", "E-12")
@pytest.mark.parametrize(("at", "interval_s", "align", "offset_s", "expected"), [
    ("10:00:00", 900, "utc", 0, 900), ("10:14:59", 900, "utc", 0, 1),
    ("23:59:00", 7000, "utc", 0, 60), ("10:10:00", 3600, "utc", 1800, 3000),
    ("10:10:00", 3600, "local", 1800, 1200), ("23:50:00", 86_400, "local", 3600, 83_400),
    ("10:00:00", 0, "utc", 0, None),
])
def test_slots_are_counted_from_midnight(at: str, interval_s: int, align: str, offset_s: int,
                                         expected: int | None) -> None:
    utc = datetime.fromisoformat(f"2026-03-01T{at}+00:00")
    now = Now(5_000, "boot", utc, TimeQuality.NTP, offset_s)

    slot = next_aligned(now, interval_s, align)

    assert slot == (None if expected is None else 5_000 + expected * 10**9)


@requirement("16.MET.2")
def test_a_timer_that_fires_early_serves_a_slot_once() -> None:
    world = World(settings={"sampling.clock_interval_s": 600, "sampling.interval_s": 0}
                  ).boot().charging()
    world.advance(599, meter_each_s=1)

    world.advance(0.9999)
    world.meter(1000)
    world.advance(0.0001)
    world.meter(1000)
    world.advance(5, meter_each_s=1)

    assert len(world.samples()) == 1


# --- what is told --------------------------------------------------------------------------------


def evse_with(reading: MeterReading = FULL) -> Evse:
    return Evse(evse_layout(1), meter=Meter(good=reading),
                offering=Offering(Offer(OfferKind.CURRENT, 16.0)))


@requirement("16.MET.6")
@pytest.mark.parametrize(("name", "found"), [
    ("energy_import_register", [(1234, None)]),
    ("energy_export_register", [(5, None)]),
    ("energy_import_interval", [(234, None)]),
    ("power_import", [(7000.0, None), (2300.0, "L1"), (2400.0, "L2"), (2300.0, "L3")]),
    ("power_import@L2", [(2400.0, "L2")]),
    ("current_import", [(10.0, "L1"), (10.4, "L2"), (10.1, "L3")]),
    ("voltage@L1", [(230.0, "L1")]),
    ("voltage@L3", [(229.5, "L3")]),
    ("current_offered", [(16.0, None)]),
    ("power_offered", [(11_040.0, None)]),
    ("power_reactive_import", [(12.0, None)]),
    ("power_factor", [(0.99, None)]),
    ("frequency", [(50.01, None)]),
    ("temperature", [(31.5, None)]),
    ("state_of_charge", []),
])
def test_each_measurand_is_found_in_the_reading(name: str, found: list[tuple[float, str | None]]
                                                ) -> None:
    told = values(evse_with(), (name,), 1000, 230.0)

    assert [(one.value, one.phase) for one in told] == found


def test_what_the_meter_does_not_tell_is_left_out() -> None:
    bare = evse_with(MeterReading(1000))

    names = [one.value for one in SUPPORTED]
    told = {one.quantity for one in values(bare, names, None, 230.0)}

    assert told == {Quantity.ENERGY_IMPORT_REGISTER, Quantity.CURRENT_OFFERED,
                    Quantity.POWER_OFFERED}


def test_a_value_asked_for_twice_is_told_once() -> None:
    told = values(evse_with(), ("voltage", "voltage@L1"), None, 230.0)

    assert len(told) == 3


@requirement("16.MET.3")
def test_told_and_kept_are_decided_when_the_sample_is_recorded() -> None:
    world = World(settings={"sampling.measurands": ("power_import",),
                            "sampling.end_measurands": ("energy_import_register",)}
                  ).boot().charging()
    world.meter(1000, power_w=3000.0)

    world.advance(61, meter_each_s=1)
    with_settings(world, **{"sampling.measurands": ()})
    world.meter(1000, power_w=3000.0)
    world.advance(60, meter_each_s=1)

    first, second = world.samples()
    assert first.kept == second.kept == (Measured(Quantity.ENERGY_IMPORT_REGISTER, 1000),)
    assert second.told == () and second.report is None


@requirement("16.MET.3", "16.MET.4")
def test_the_list_kept_for_the_end_is_framed_by_begin_and_end() -> None:
    world = World(settings={"sampling.end_measurands": ("energy_import_register",)}
                  ).boot().charging()
    world.advance(100, meter_each_s=1, power_w=3600)
    world.tap()
    world.pilot(PilotState.B)
    world.advance(2)

    (started,), (ended,) = world.started(), world.ended()
    assert [one.value for one in started.begin] == [started.register_wh]
    assert [one.value for one in ended.end] == [ended.register_wh]


@requirement("16.MET.3")
def test_nothing_is_kept_for_the_end_unless_it_is_wished() -> None:
    world = World().boot().charging()
    world.unplug()
    world.advance(2)

    assert world.started()[0].begin == ()
    assert world.ended()[0].end == ()


@requirement("16.MET.11", "E-13")
def test_by_option_the_opening_value_is_a_sample_of_its_own() -> None:
    world = World(settings={"compat.meter_begin_message": True}).boot().charging()

    assert [one.context for one in world.samples()] == [ReadingContext.BEGIN]


# --- can it be true? -----------------------------------------------------------------------------


@requirement("16.MET.14")
def test_a_register_that_goes_back_is_a_fault_and_the_last_good_one_stands() -> None:
    world = World().boot().charging()
    world.advance(60, meter_each_s=1, power_w=7200)
    good = world.evse().register_wh

    world.meter(3)
    faulty = world.evse()
    world.unplug()
    world.advance(2)

    assert faulty.faults[0].code is FaultCode.METER_IMPLAUSIBLE
    assert not faulty.faulted, "a warning: charging goes on for a while"
    assert world.ended()[0].register_wh == good


@requirement("16.MET.14")
@pytest.mark.parametrize("garbage", [-5, 0, 1_000_000, 2**31, 10**13])
def test_a_register_that_jumps_is_not_believed(garbage: int) -> None:
    world = World().boot().charging()
    world.advance(61, meter_each_s=1, power_w=7200)
    good = world.evse().register_wh or 0

    world.meter(garbage)
    world.advance(1)
    world.meter(good + 2)

    assert world.evse().register_wh == good + 2
    assert world.evse().faults == ()


@requirement("16.MET.14")
def test_a_meter_that_talks_nonsense_for_long_suspends_the_charging() -> None:
    world = World().boot().charging()
    world.place().register_wh = 5

    world.advance(40, meter_each_s=1)

    assert not world.place().coil
    assert world.evse().why_suspended == "meter_silent"
    assert world.ended() == []


@requirement("16.MET.14")
def test_a_silent_meter_suspends_and_charging_goes_on_when_it_is_back() -> None:
    world = World().boot().charging()
    world.advance(20, meter_each_s=1, power_w=3600)

    world.advance(29)
    before = world.place().coil
    world.advance(8)
    suspended = world.evse()
    world.meter(1025)

    assert before
    assert not suspended.offering and suspended.transaction
    assert world.place().coil
    assert world.ended() == []


@requirement("16.MET.14")
def test_no_sample_is_invented_while_the_meter_is_silent() -> None:
    world = World().boot().charging()

    world.advance(600)

    assert world.samples() == []


def test_the_first_reading_of_all_is_believed_only_when_a_second_agrees() -> None:
    world = World().boot(read=False)
    world.pilot(PilotState.B)

    world.meter(77)
    world.tap()
    alone = world.started()
    world.meter(1000)
    world.meter(1000)

    assert alone == []
    assert [one.register_wh for one in world.started()] == [1000]


def test_a_meter_that_counts_from_zero_at_each_plug_is_understood() -> None:
    world = World().boot()
    world.advance(5)
    world.pilot(PilotState.B)

    world.meter(0)
    world.tap()
    world.meter(0)

    assert [one.register_wh for one in world.started()] == [0]
    assert world.evse().faults == ()


@requirement("16.TX.1")
def test_no_transaction_starts_before_the_register_was_read_since_the_plug() -> None:
    world = World().boot()
    world.advance(1)
    world.pilot(PilotState.B)

    world.tap()
    before = world.started()
    world.meter(1000)

    assert before == []
    assert len(world.started()) == 1


def test_an_evse_without_a_meter_charges_and_counts_nothing() -> None:
    world = World(evse_layout(1, has_meter=False)).boot().charging()
    world.advance(120)
    world.unplug()
    world.advance(2)

    assert world.started()[0].register_wh == world.ended()[0].register_wh == 0


# --- the register goes to the books --------------------------------------------------------------


def test_the_register_is_saved_each_while() -> None:
    world = World(settings={"sampling.interval_s": 0}).boot().charging()

    world.advance(3600, meter_each_s=5, power_w=3600)

    steps = [one.at.mono_ns for one in world.saved]
    gaps = {(later - earlier) // 10**9 for earlier, later in pairwise(steps)}
    assert gaps == {300}
    assert len(world.saved) == 12


def test_a_fast_charge_saves_the_register_each_2_kwh() -> None:
    world = World(settings={"sampling.interval_s": 0}).boot().charging()

    world.advance(600, meter_each_s=1, power_w=43_200)

    assert [one.register_wh for one in world.saved] == [3004, 5008, 7012]


def test_the_register_is_saved_when_charging_is_suspended() -> None:
    world = World().boot().charging()
    world.advance(30, meter_each_s=1, power_w=3600)

    world.pilot(PilotState.B)

    assert [one.register_wh for one in world.saved] == [1030]


def test_a_register_that_did_not_move_is_not_saved_again() -> None:
    world = World().boot().charging()

    world.advance(1200, meter_each_s=5)

    assert world.saved == []
