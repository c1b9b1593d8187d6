"""Charging profiles obeyed: when the limits are looked at, what a clock is needed for, and what the
car sees."""

from dataclasses import replace
from datetime import timedelta

import pytest
from support.charging import (
    DAY_S,
    HOUR_S,
    RECURRING,
    RELATIVE,
    install,
    offered,
    profile,
)
from support.core_world import START, World, evse_layout

from cpctl.api.explain import limits
from cpctl.core import events as ev
from cpctl.core.around import claims
from cpctl.core.charging_profiles import next_change, prevailing
from cpctl.core.composite_schedules import composite
from cpctl.core.now import NS_PER_S, Now, TimeQuality
from cpctl.core.profiles import (
    ChargingProfile,
    Period,
    Purpose,
    Recurrency,
)
from cpctl.core.settings import Settings
from hal.values import OfferKind, PilotState

requirement = pytest.mark.requirement
ONE = (evse_layout(1),)
TWO = (evse_layout(1), evse_layout(2))


# --- when to look again --------------------------------------------------------------------------


def test_nobody_is_woken_for_periods_while_no_car_is_there() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 8.0), (60, 12.0), kind=RECURRING,
                           recurrency=Recurrency.DAILY))

    assert next_change(world.station, world.now, world.settings) is None

    world.charging()
    assert next_change(world.station, world.now, world.settings) == (
        world.mono_ns + 60 * NS_PER_S)


def test_the_limit_is_told_with_its_profile_and_until_when() -> None:
    world = World(*ONE).boot()
    install(world, profile(7, (0, 8.0), (60, 12.0)))
    install(world, profile(8, (0, 40.0), purpose=Purpose.STATION_MAX))
    evse = world.station.evse(1)
    assert evse is not None

    of_evse, of_station = prevailing(world.station, evse, world.now, world.settings)

    assert of_evse is not None and of_station is not None
    assert (of_evse.id, of_evse.purpose, of_evse.current_a, of_evse.until) == (
        7, Purpose.TX_DEFAULT, 8.0, world.mono_ns + 60 * NS_PER_S)
    assert (of_station.id, of_station.current_a, of_station.until) == (8, 40.0, None)


def test_each_claim_on_the_current_names_the_profile_behind_it_and_its_end() -> None:
    world = World(*ONE).boot()
    install(world, profile(7, (0, 8.0), (60, 12.0)))
    install(world, profile(8, (0, 20.0), purpose=Purpose.STATION_MAX))
    world.charging()
    evse = world.station.evse(1)
    assert evse is not None

    told = limits(claims(world.station, evse, world.now, world.settings), world.now)

    assert [(one["owner"], one["until"], one["behind"]) for one in told] == [
        ("hardware", None, None),
        ("profile", "2026-03-01T10:01:00.000Z", "TxDefaultProfile 7"),
        ("station", None, "ChargingStationMaxProfile 8")]
    assert (told[1]["current_a"], told[1]["leads"]) == (8.0, True)


def test_a_limit_of_the_configuration_is_named_where_no_profile_is() -> None:
    world = World(*ONE, settings={"smart.default_limit_a": 13}).boot()
    evse = world.station.evse(1)
    assert evse is not None

    told = limits(claims(world.station, evse, world.now, world.settings), world.now)

    assert [(one["owner"], one["current_a"], one["behind"]) for one in told] == [
        ("hardware", 32.0, None), ("profile", 13.0, "smart.default_limit_a")]


# --- a clock that is not trusted -----------------------------------------------------------------


def untrusted(world: World, later_s: int = 0) -> Now:
    """As after a power cut without a clock: wall time stands at what was saved last."""
    return Now(5 * NS_PER_S, "boot-2", world.now.utc + timedelta(seconds=later_s),
               TimeQuality.FLOOR)


def without_clock(one: ChargingProfile, *, duration_s: int = 100) -> tuple[Period, ...]:
    """What is told of `one`, installed in good time, when the clock is not trusted any more."""
    world = World(*ONE).boot()
    world.advance(1000)
    install(world, one)
    return composite(world.station, world.station.evse(1), None, duration_s, None,
                     untrusted(world), Settings()).periods


@requirement("16.SC.13")
@pytest.mark.parametrize("one", [
    profile(1, (0, 8.0), (5000, 9.0)),
    profile(1, (0, 8.0), duration_s=10_000),
    profile(1, (0, 8.0), valid_to=START + timedelta(days=1)),
    profile(1, (0, 8.0), valid_from=START + timedelta(days=1)),
    profile(1, (0, 8.0), (60, 9.0), kind=RECURRING, recurrency=Recurrency.DAILY),
    profile(1, (0, 8.0), kind=RECURRING, recurrency=Recurrency.DAILY, duration_s=HOUR_S),
    profile(1, (0, 8.0), start=START + timedelta(days=1)),
    profile(1, (0, 8.0), kind=RECURRING, recurrency=Recurrency.DAILY,
            start=START + timedelta(days=1)),
])
def test_without_a_trusted_clock_what_needs_one_does_not_hold(one: ChargingProfile) -> None:
    assert without_clock(one) == (Period(0, 32.0, 3),)


@requirement("16.SC.13")
@pytest.mark.parametrize("one", [
    profile(1, (0, 8.0)),
    profile(1, (0, 20.0), (500, 8.0)),
    profile(1, (0, 8.0), valid_from=START),
    profile(1, (0, 8.0), kind=RECURRING, recurrency=Recurrency.DAILY),
    profile(1, (0, 8.0), kind=RECURRING, recurrency=Recurrency.DAILY, duration_s=DAY_S),
    profile(1, (0, 8.0), kind=RELATIVE),
])
def test_what_had_come_to_its_endless_last_period_holds_without_a_clock(
        one: ChargingProfile) -> None:
    assert without_clock(one) == (Period(0, 8.0, 3),)


@requirement("16.SC.13")
def test_a_limit_of_the_station_outlives_the_trust_in_its_clock() -> None:
    world = World(*ONE).boot()
    world.advance(10)
    install(world, profile(1, (0, 14.0), purpose=Purpose.STATION_MAX))

    assert composite(world.station, None, None, 60, None, untrusted(world), Settings()
                     ).periods == (Period(0, 14.0, 3),)


def test_a_schedule_that_runs_with_the_transaction_needs_no_clock() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 8.0), (60, 12.0), kind=RELATIVE))
    world.charging()
    evse = world.station.evse(1)

    now = replace(world.now, quality=TimeQuality.NONE, utc=START - timedelta(days=900),
                  mono_ns=world.mono_ns + 10 * NS_PER_S)

    assert [(one.start_s, one.limit) for one in composite(
        world.station, evse, None, 100, None, now, Settings()).periods] == [(0, 8.0), (50, 12.0)]


def test_where_a_transaction_of_another_boot_stands_needs_the_clock() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 8.0), (60, 12.0), kind=RELATIVE))
    world.charging()
    evse = world.station.evse(1)

    periods_known = composite(world.station, evse, None, 100, None, replace(
        untrusted(world, 10), quality=TimeQuality.CSMS), Settings()).periods
    periods_unknown = composite(world.station, evse, None, 100, None, untrusted(world, 10),
                                Settings()).periods

    assert [(one.start_s, one.limit) for one in periods_known] == [(0, 8.0), (50, 12.0)]
    assert periods_unknown == (Period(0, 32.0, 3),)


def test_a_relative_limit_without_end_holds_though_nobody_knows_since_when_it_runs() -> None:
    """The transaction began in another boot, before there was a clock."""
    world = World(*ONE).boot()
    install(world, profile(1, (0, 8.0), kind=RELATIVE))
    world.charging()
    evse = world.station.evse(1)
    assert evse is not None and evse.transaction.started is not None
    began = replace(evse.transaction.started, at=replace(world.now, quality=TimeQuality.NONE))
    evse = replace(evse, transaction=replace(evse.transaction, started=began))

    told = composite(world.station, evse, None, 100, None,
                     replace(untrusted(world), quality=TimeQuality.CSMS), Settings())

    assert told.periods == (Period(0, 8.0, 3),)


# --- obeyed --------------------------------------------------------------------------------------


@requirement("16.SC.3", "16.SC.12")
def test_each_period_reaches_the_pilot_within_a_second_of_its_begin() -> None:
    world = World(*ONE).boot()
    world.charging()
    plan = [(0, 16.0), (60, 10.0), (75, 0.0), (300, 13.0), (301, 14.0), (400, 5.9), (500, 32.0)]
    install(world, profile(1, *plan))
    began_ns = world.mono_ns

    for (start_s, limit), (end_s, _) in zip(plan, [*plan[1:], (600, 0.0)], strict=True):
        for moment_s in (start_s + 0.9, end_s - 0.001):
            world.advance(moment_s - (world.mono_ns - began_ns) / NS_PER_S, meter_each_s=1)
            assert offered(world) == (limit if limit >= 6 else 0.0), moment_s


@requirement("16.SC.12")
@pytest.mark.parametrize("limit", [0.0, 5.9])
def test_below_6_amperes_the_evse_pauses_and_resumes_in_the_same_session(limit: float) -> None:
    world = World(*ONE).boot()
    world.charging()
    install(world, profile(1, (0, limit), (60, 10.0)))

    assert world.place().offer.kind is OfferKind.NONE
    assert world.place().coil  # the car is asked to stop before the contactor opens
    world.pilot(PilotState.B)
    assert not world.place().coil
    assert world.evse().why_suspended == "limit_below_minimum"

    world.advance(60, meter_each_s=1)
    world.pilot(PilotState.C)
    assert offered(world) == 10.0
    assert world.place().coil
    assert (len(world.started()), world.ended()) == (1, [])


@requirement("16.SC.12")
def test_a_car_that_does_not_stop_is_switched_off_after_six_seconds() -> None:
    world = World(*ONE).boot()
    world.charging()
    install(world, profile(1, (0, 0.0)))

    world.advance(5.9, meter_each_s=0.5)
    assert world.place().coil
    world.advance(0.2, meter_each_s=0.1)

    assert not world.place().coil
    assert world.evse().transaction


@requirement("16.SC.3")
def test_a_step_of_the_clock_moves_an_absolute_schedule_at_once() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 16.0), (HOUR_S, 10.0)))
    world.charging()
    assert offered(world) == 16.0

    world.skew = timedelta(hours=1)
    world.tell(ev.ClockStepped(3600.0))

    assert offered(world) == 10.0
