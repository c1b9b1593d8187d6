"""What charging profiles allow: the worked examples of the specification, one rule at a time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.charging import (
    AMPERE,
    DAY_S,
    HOUR_S,
    RECURRING,
    RELATIVE,
    WATT,
    course,
    install,
    offered,
    profile,
    told,
)
from support.core_world import START, World, evse_layout, with_settings

from cpctl.core import events as ev
from cpctl.core.profiles import (
    ChargingProfile,
    Period,
    Purpose,
    RateUnit,
    Recurrency,
    Schedule,
)
from cpctl.core.values import ConnectorLayout, EvseLayout, StationLayout
from hal.values import PilotState

requirement = pytest.mark.requirement
ONE = (evse_layout(1),)
TWO = (evse_layout(1), evse_layout(2))


# --- stacking ------------------------------------------------------------------------------------


@requirement("16.SC.3")
def test_the_highest_stack_level_leads_and_a_lower_one_follows_when_its_duration_is_over() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 20.0), level=0))
    install(world, profile(2, (0, 16.0), (100, 12.0), level=1, duration_s=300))
    install(world, profile(3, (0, 8.0), level=2, duration_s=150))

    assert course(world, 600) == [(0, 8.0), (150, 12.0), (300, 20.0)]


@requirement("16.SC.3", "16.SC.8")
def test_without_a_duration_the_highest_level_never_falls_back() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 20.0), level=0))
    install(world, profile(2, (0, 8.0), (60, 9.0), level=1))

    assert course(world, 10 * DAY_S) == [(0, 8.0), (60, 9.0)]


@requirement("16.SC.3")
def test_a_profile_holds_from_valid_from_until_just_before_valid_to() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 8.0), valid_from=START + timedelta(seconds=100),
                           valid_to=START + timedelta(seconds=200)))

    assert course(world, 600) == [(0, 32.0), (100, 8.0), (200, 32.0)]


@requirement("16.SC.7")
def test_a_profile_of_the_future_leaves_default_behaviour_until_it_is_valid() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 8.0)))
    install(world, profile(2, (0, 12.0), valid_from=START + timedelta(seconds=100)))

    assert course(world, 600) == [(0, 32.0), (100, 12.0)]


@requirement("16.SC.1")
def test_a_profile_replaces_the_one_with_its_id_and_the_one_in_its_slot() -> None:
    world = World(*TWO).boot()
    install(world, profile(1, (0, 8.0), level=0), 1)
    install(world, profile(2, (0, 9.0), level=1), 1)

    install(world, profile(2, (0, 10.0), level=0), 1)

    assert [one.profile.id for one in world.station.profiles] == [2]
    assert course(world, 60) == [(0, 10.0)]
    assert set(world.records) == {"profile.2"}


@requirement("16.SC.1")
def test_the_same_slot_of_another_connector_is_another_slot() -> None:
    world = World(*TWO).boot()
    install(world, profile(1, (0, 8.0)), 1)
    install(world, profile(2, (0, 9.0)), 2)
    install(world, profile(3, (0, 7.0)))

    assert (course(world, 60, 1), course(world, 60, 2)) == ([(0, 8.0)], [(0, 9.0)])


# --- purposes ------------------------------------------------------------------------------------


@requirement("16.SC.2")
def test_a_default_profile_of_one_connector_stands_in_for_that_of_all_at_its_level_only() -> None:
    world = World(*TWO).boot()
    install(world, profile(1, (0, 8.0), level=3))
    install(world, profile(2, (0, 12.0), level=3), 1)

    assert (course(world, 60, 1), course(world, 60, 2)) == ([(0, 12.0)], [(0, 8.0)])

    install(world, profile(3, (0, 20.0), level=2), 2)

    assert course(world, 60, 2) == [(0, 8.0)]


@requirement("16.SC.2")
@pytest.mark.parametrize("policy, limit", [("stack", 8.0), ("override", 12.0)])
def test_whether_other_levels_of_all_connectors_stay_is_an_option(policy: str, limit: float
                                                                  ) -> None:
    world = World(*ONE, settings={"policy.txdefault_zero": policy}).boot()
    install(world, profile(1, (0, 8.0), level=3))
    install(world, profile(2, (0, 12.0), level=0), 1)

    assert course(world, 60) == [(0, limit)]


@requirement("16.SC.2")
def test_a_default_profile_of_one_of_two_connectors_is_for_the_car_in_that_one() -> None:
    twins = EvseLayout(1, connectors=(ConnectorLayout(1), ConnectorLayout(2)))
    world = World(twins).boot()
    install(world, profile(1, (0, 8.0)), 1, connector=1)
    install(world, profile(2, (0, 12.0)), 1, connector=2)

    assert told(world, 60, connector=1).periods[0].limit == 8.0
    assert told(world, 60, connector=2).periods[0].limit == 12.0
    assert len(world.station.profiles) == 2


@requirement("16.SC.4")
def test_the_profile_of_the_transaction_replaces_the_default_also_where_it_allows_more() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 8.0)))
    world.charging()
    assert offered(world) == 8.0

    install(world, profile(2, (0, 16.0), purpose=Purpose.TX, duration_s=60), 1)

    assert offered(world) == 16.0
    assert course(world, 300) == [(0, 16.0), (60, 32.0)]


@requirement("16.SC.4", "16.SC.7")
def test_a_profile_of_the_transaction_that_is_not_valid_leaves_the_default_in_force() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 8.0)))
    world.charging()
    install(world, profile(2, (0, 16.0), purpose=Purpose.TX,
                           valid_from=START + timedelta(seconds=60),
                           valid_to=START + timedelta(seconds=120)), 1)

    assert course(world, 300) == [(0, 8.0), (60, 16.0), (120, 8.0)]


@requirement("16.SC.5")
def test_the_least_of_all_purposes_and_local_limits_holds() -> None:
    layout = StationLayout((evse_layout(1, max_current_a=25.0), evse_layout(2)),
                           station_max_current_a=40.0)
    world = World(layout=layout).boot()
    install(world, profile(1, (0, 30.0), (100, 18.0), purpose=Purpose.STATION_MAX))
    install(world, profile(2, (0, 50.0), (50, 20.0)))
    world.pilot(PilotState.B, cable_a=20.0)

    assert course(world, 300) == [(0, 20.0), (100, 18.0)]


@requirement("16.SC.5")
def test_without_a_cable_rating_the_hardware_is_the_local_limit() -> None:
    world = World(layout=StationLayout((evse_layout(1),), station_max_current_a=13.5)).boot()

    assert course(world, 60) == [(0, 13.5)]


@requirement("16.SC.6")
def test_a_default_profile_installed_or_cleared_in_a_transaction_takes_effect_at_once() -> None:
    world = World(*ONE).boot()
    world.charging()
    assert offered(world) == 32.0

    install(world, profile(1, (0, 9.0)))
    assert offered(world) == 9.0

    world.ask(ev.ClearProfilesRequested, id=1)
    assert offered(world) == 32.0
    assert world.evse().transaction


@requirement("16.SC.14")
def test_offline_what_was_installed_goes_on() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 9.0)))
    world.charging()
    install(world, profile(2, (0, 10.0), (60, 7.0), purpose=Purpose.TX), 1)
    world.tell(ev.LinkChanged(False, world.station.registration))

    world.advance(61, meter_each_s=1)

    assert offered(world) == 7.0


@requirement("16.SC.14")
def test_offline_and_without_profiles_nothing_constrains() -> None:
    world = World(*ONE).boot(online=False)
    with_settings(world, **{"policy.tx_before_accepted": "always"})
    world.charging()

    assert offered(world) == 32.0


# --- kinds ---------------------------------------------------------------------------------------


DAILY = Schedule(WATT, tuple(Period(start_s, limit, 3) for start_s, limit in (
    (0, 11_000.0), (28_800, 6_000.0), (72_000, 11_000.0))),
    datetime(2013, 1, 1, tzinfo=UTC), DAY_S)


@requirement("16.SC.9", "16.SC.11")
def test_the_example_of_the_specification_limits_to_6_kw_between_8_and_20_each_day() -> None:
    """§3.13.7: a daily default profile."""
    world = World(*ONE).boot()  # at 10:00
    install(world, ChargingProfile(100, 0, Purpose.TX_DEFAULT, RECURRING, DAILY,
                                   Recurrency.DAILY))

    assert course(world, 2 * DAY_S, unit=WATT) == [
        (0, 6_000.0), (10 * HOUR_S, 11_000.0), (22 * HOUR_S, 6_000.0), (34 * HOUR_S, 11_000.0),
        (46 * HOUR_S, 6_000.0)]
    world.charging()
    assert offered(world) == 8.6  # 6000 W / (3 * 230 V), rounded down


@requirement("16.SC.9")
def test_a_weekly_profile_returns_after_seven_days() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 8.0), kind=RECURRING, recurrency=Recurrency.WEEKLY,
                           duration_s=HOUR_S))

    assert course(world, 8 * DAY_S) == [
        (0, 8.0), (HOUR_S, 32.0), (7 * DAY_S, 8.0), (7 * DAY_S + HOUR_S, 32.0)]


@requirement("16.SC.9")
def test_what_lies_beyond_the_recurrence_is_not_executed() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 8.0), (DAY_S + 60, 20.0), kind=RECURRING,
                           recurrency=Recurrency.DAILY, duration_s=2 * DAY_S))

    assert course(world, 3 * DAY_S) == [(0, 8.0)]


@requirement("16.SC.9")
def test_after_a_shorter_duration_a_lower_level_fills_the_gap_of_each_day() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 8.0), kind=RECURRING, recurrency=Recurrency.DAILY,
                           duration_s=HOUR_S, level=1))
    install(world, profile(2, (0, 20.0), level=0))

    assert course(world, DAY_S + 1) == [(0, 8.0), (HOUR_S, 20.0), (DAY_S, 8.0)]


@requirement("16.SC.9")
def test_a_recurring_profile_begins_with_its_start_and_not_before() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 8.0), kind=RECURRING, recurrency=Recurrency.DAILY,
                           start=START + timedelta(hours=1)))

    assert course(world, 2 * HOUR_S) == [(0, 32.0), (HOUR_S, 8.0)]


@requirement("16.SC.9")
@pytest.mark.parametrize("align, ahead_s", [("utc", 2 * HOUR_S), ("local", HOUR_S)])
def test_recurrences_keep_to_utc_or_by_option_to_local_time(align: str, ahead_s: int) -> None:
    """E-12: summer time comes after the profile did."""
    world = World(*ONE, settings={"time.align": align}).boot()
    world.local_offset_s = HOUR_S
    install(world, profile(1, (0, 32.0), (2 * HOUR_S, 8.0), kind=RECURRING,
                           recurrency=Recurrency.DAILY))

    world.local_offset_s = 2 * HOUR_S

    assert course(world, 10 * HOUR_S) == [(0, 32.0), (ahead_s, 8.0)]


@requirement("16.SC.10")
def test_a_relative_profile_begins_with_the_transaction() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 8.0), (60, 12.0), kind=RELATIVE))
    world.advance(500)
    world.charging()
    assert offered(world) == 8.0

    world.advance(59, meter_each_s=1)
    assert offered(world) == 8.0
    world.advance(1, meter_each_s=1)
    assert offered(world) == 12.0


@requirement("16.SC.8", "16.SC.10")
def test_the_last_period_of_a_relative_profile_runs_to_the_end_of_the_transaction() -> None:
    world = World(*ONE).boot()
    world.charging()
    install(world, profile(1, (0, 8.0), (60, 12.0), kind=RELATIVE, purpose=Purpose.TX), 1)

    assert course(world, 30 * DAY_S) == [(0, 8.0), (60, 12.0)]


@requirement("16.SC.10")
def test_a_step_of_the_clock_does_not_move_a_relative_schedule() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 8.0), (60, 12.0), kind=RELATIVE))
    world.charging()

    world.skew = timedelta(hours=5)
    world.tell(ev.ClockStepped(18_000.0))

    assert offered(world) == 8.0
    world.advance(60, meter_each_s=1)
    assert offered(world) == 12.0


@requirement("16.SC.8")
def test_a_duration_longer_than_the_periods_keeps_the_last_value_and_cuts_later_ones() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 8.0), (60, 12.0), (400, 20.0), duration_s=300))

    assert course(world, 900) == [(0, 8.0), (60, 12.0), (300, 32.0)]


@requirement("16.SC.3")
def test_an_absolute_profile_without_a_start_begins_when_it_is_valid_or_came() -> None:
    """E-24."""
    world = World(*ONE).boot()
    world.advance(1000)
    install(world, profile(1, (0, 8.0), (60, 9.0), start=None))
    assert course(world, 300) == [(0, 8.0), (60, 9.0)]

    install(world, profile(1, (0, 8.0), (60, 9.0), start=None,
                           valid_from=world.now.utc + timedelta(seconds=100)))
    assert course(world, 300) == [(0, 32.0), (100, 8.0), (160, 9.0)]


# --- units ---------------------------------------------------------------------------------------


@requirement("16.SC.11")
@pytest.mark.parametrize("phases, limit_a", [(None, 16.0), (3, 16.0), (2, 24.0), (1, 32.0)])
def test_watts_are_of_all_phases_together_and_three_where_none_are_told(
        phases: int | None, limit_a: float) -> None:
    world = World(*ONE).boot()
    one = profile(1, (0, 11_040.0), unit=WATT)
    install(world, replace(one, schedule=replace(
        one.schedule, periods=(Period(0, 11_040.0, phases),))))

    world.charging()

    assert offered(world) == limit_a


@requirement("16.SC.11")
@pytest.mark.parametrize("unit, limit", [(AMPERE, 16.0), (WATT, 3680.0)])
def test_more_phases_in_the_profile_than_in_use_do_not_change_the_limit(
        unit: RateUnit, limit: float) -> None:
    """Errata 3.34: the limit as given, A or W, for the phases that are used."""
    world = World(evse_layout(1, phases=1)).boot()
    install(world, profile(1, (0, limit), unit=unit))

    world.charging()

    assert offered(world) == 16.0
    assert told(world, 60, unit=WATT).periods == (Period(0, 3680.0, 1),)


@requirement("16.SC.11")
def test_the_nominal_voltage_is_that_of_the_installation() -> None:
    """E-40."""
    world = World(layout=StationLayout((evse_layout(1),), nominal_voltage_v=110.0)).boot()
    install(world, profile(1, (0, 3300.0), unit=WATT))

    world.charging()

    assert offered(world) == 10.0


@requirement("16.SC.15")
def test_a_limit_has_one_decimal_and_is_rounded_down() -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 16.1), (60, 16.1)))
    assert course(world, 100) == [(0, 16.1)]
    assert course(world, 100, unit=WATT) == [(0, 11_109.0)]

    install(world, profile(1, (0, 7000.0), unit=WATT))
    assert course(world, 100, unit=AMPERE) == [(0, 10.1)]


@requirement("16.SC.15")
def test_the_least_rate_of_the_car_is_no_floor() -> None:
    world = World(*ONE).boot()
    one = profile(1, (0, 7.0))
    install(world, replace(one, schedule=replace(one.schedule, least=13.0)))

    world.charging()

    assert offered(world) == 7.0


# --- no profiles ---------------------------------------------------------------------------------


@requirement("16.SC.23")
def test_without_profiles_a_composite_tells_the_hardware_in_amperes() -> None:
    world = World(*ONE).boot()

    answer = told(world, 300)

    assert (answer.unit, answer.periods) == (AMPERE, (Period(0, 32.0, 3),))


@requirement("16.SC.23")
def test_a_limit_for_where_no_profile_speaks_can_be_set() -> None:
    """E-38."""
    world = World(*ONE, settings={"smart.default_limit_a": 13}).boot()
    world.charging()
    assert offered(world) == 13.0

    install(world, profile(1, (0, 20.0), duration_s=60))
    assert offered(world) == 20.0
    assert course(world, 100) == [(0, 20.0), (60, 13.0)]

    world.advance(60, meter_each_s=1)
    assert offered(world) == 13.0
