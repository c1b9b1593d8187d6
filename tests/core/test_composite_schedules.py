"""Composite schedules: what is told of the limits to come."""

from datetime import timedelta

import pytest
from support.charging import (
    AMPERE,
    RECURRING,
    RELATIVE,
    WATT,
    course,
    install,
    profile,
    told,
)
from support.core_world import START, World, evse_layout

from cpctl.core.composite_schedules import MOST_STEPS
from cpctl.core.profiles import Period, Purpose, Recurrency

requirement = pytest.mark.requirement
ONE = (evse_layout(1),)
TWO = (evse_layout(1), evse_layout(2))


@requirement("16.SC.23")
def test_without_a_transaction_it_is_as_if_one_started_now() -> None:
    world = World(*ONE).boot()
    world.advance(1000)
    install(world, profile(1, (0, 8.0), (60, 12.0), kind=RELATIVE))

    assert course(world, 300) == [(0, 8.0), (60, 12.0)]


@requirement("16.SC.23")
def test_the_unit_is_that_of_the_prevailing_profile_when_none_is_asked_for() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 6900.0), unit=WATT, duration_s=60, level=1))
    install(world, profile(2, (0, 20.0), level=0))

    assert told(world, 300).unit is WATT
    world.advance(61)
    assert told(world, 300).unit is AMPERE


@requirement("16.SC.23")
def test_a_station_that_speaks_of_power_alone_tells_watts() -> None:
    world = World(*ONE, settings={"smart.rate_units": ("power",)}).boot()

    assert told(world, 300).periods == (Period(0, 22_080.0, 3),)


@requirement("16.SC.23")
def test_the_unit_of_the_whole_station_is_that_of_its_own_profile() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 6900.0), unit=WATT))
    assert told(world, 300, None).unit is AMPERE

    install(world, profile(2, (0, 6900.0), unit=WATT, purpose=Purpose.STATION_MAX))
    assert told(world, 300, None).unit is WATT


@requirement("16.SC.24")
def test_the_total_is_the_sum_under_the_limit_of_the_station() -> None:
    world = World(*TWO).boot()
    install(world, profile(1, (0, 10.0), (60, 25.0)), 1)
    install(world, profile(2, (0, 12.0)), 2)
    install(world, profile(3, (0, 30.0), purpose=Purpose.STATION_MAX))

    assert course(world, 300, None) == [(0, 22.0), (60, 30.0)]
    assert course(world, 300, None, WATT) == [(0, 15_180.0), (60, 20_700.0)]


@requirement("16.SC.22")
def test_equal_neighbours_are_one_period_and_the_first_begins_at_0() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 40.0), (60, 35.0), (90, 20.0), (120, 20.0)))

    assert course(world, 300) == [(0, 32.0), (90, 20.0)]


@requirement("16.SC.21")
def test_it_goes_from_the_second_of_the_request_to_the_end_of_the_duration() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 8.0), (60, 12.0), (120, 16.0)))
    world.advance(30.7)

    answer = told(world, 90)

    assert answer.start == START + timedelta(seconds=30)
    assert answer.duration_s == 90
    assert [(one.start_s, one.limit) for one in answer.periods] == [(0, 8.0), (30, 12.0)]


@requirement("16.SC.21")
def test_a_transaction_younger_than_a_second_has_its_first_limit_at_once() -> None:
    world = World(*ONE).boot()
    world.advance(0.4)
    install(world, profile(1, (0, 8.0), (60, 12.0), kind=RELATIVE))
    world.charging()
    world.advance(0.2)

    assert course(world, 100) == [(0, 8.0), (61, 12.0)]


@requirement("16.SC.21")
def test_a_schedule_without_end_is_told_as_far_as_it_fits_into_an_answer() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 8.0), (60, 12.0), kind=RECURRING,
                           recurrency=Recurrency.DAILY, duration_s=120))

    answer = told(world, 2**31 - 1)

    assert len(answer.periods) == MOST_STEPS + 1
    assert answer.periods[-1].start_s < answer.duration_s < 2**31 - 1
