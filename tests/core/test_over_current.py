"""A car that draws more than it was offered: tolerance, time, grace, and when it is forgiven."""

import pytest
from support.core_world import World, evse_layout

from cpctl.core import events as ev
from cpctl.core import facts as fa
from cpctl.core.faults import FaultCode
from cpctl.core.profiles import (
    ChargingProfile,
    Period,
    ProfileKind,
    Purpose,
    RateUnit,
    Schedule,
)
from cpctl.core.values import StopReason
from hal.values import PilotState


def charging(**settings: object) -> World:
    """16 A on offer for a while."""
    named = {name.replace("__", "."): value for name, value in settings.items()}
    world = World(evse_layout(1, max_current_a=16.0), settings=named).boot().charging()
    assert world.place().offer.current_a == 16.0
    world.advance(10)
    return world


def draws(world: World, *currents_a: float, seconds: int, **more: object) -> None:
    """A reading each second."""
    for _ in range(seconds):
        world.advance(1)
        world.meter(world.place().register_wh + 1, currents_a=currents_a, **more)


def is_stopped(world: World) -> bool:
    return any(one.code is FaultCode.OVER_CURRENT for one in world.evse().faults)


def test_a_car_above_its_offer_is_stopped_after_five_seconds() -> None:
    world = charging()

    draws(world, 18.7, 3.0, 18.0, seconds=6)
    in_time = is_stopped(world)
    draws(world, 18.7, 3.0, 18.0, seconds=1)

    assert not in_time
    assert is_stopped(world)
    assert not world.place().coil
    assert [one.detail for one in world.evse().faults] == ["drew 18.7 A, 16 A on offer"]
    ended, = world.told(fa.TransactionEnded)
    assert isinstance(ended, fa.TransactionEnded)
    assert ended.reason is StopReason.OVERCURRENT


def test_tolerance_and_noise_are_no_excess() -> None:
    world = charging()

    draws(world, 18.6, seconds=60)  # 16 A, a tenth, and 1 A

    assert not is_stopped(world)
    assert world.place().coil


def test_the_time_begins_anew_with_each_reading_that_is_within() -> None:
    world = charging()

    for _ in range(5):
        draws(world, 25.0, seconds=5)
        draws(world, 15.0, seconds=1)

    assert not is_stopped(world)


def test_after_a_lower_offer_the_car_has_time_to_follow() -> None:
    world = charging()
    schedule = Schedule(RateUnit.AMPERE, (Period(0, 8.0),), start=world.now.utc)
    world.ask(ev.SetProfileRequested, profile=ChargingProfile(
        1, 0, Purpose.STATION_MAX, ProfileKind.ABSOLUTE, schedule))
    assert world.place().offer.current_a == 8.0

    draws(world, 16.0, seconds=10)
    in_time = is_stopped(world)
    draws(world, 16.0, seconds=2)

    assert not in_time
    assert is_stopped(world)


def test_a_board_that_has_not_confirmed_a_lower_offer_keeps_the_car_from_blame() -> None:
    world = charging()
    world.place().board_answers = False
    schedule = Schedule(RateUnit.AMPERE, (Period(0, 8.0),), start=world.now.utc)
    world.ask(ev.SetProfileRequested, profile=ChargingProfile(
        1, 0, Purpose.STATION_MAX, ProfileKind.ABSOLUTE, schedule))

    draws(world, 16.0, seconds=30)

    assert not is_stopped(world)


def test_it_lasts_until_the_car_is_gone_and_no_longer() -> None:
    world = charging()
    draws(world, 30.0, seconds=8)
    world.advance(60)
    lasts = is_stopped(world)

    world.unplug()
    forgiven = not is_stopped(world)
    world.advance(60)
    world.charging()

    assert lasts and forgiven
    assert world.place().coil


def test_what_an_input_tells_is_not_forgiven_with_the_car() -> None:
    world = charging()
    world.tell(ev.InputChanged(1, "over_current", False))

    world.unplug()

    assert is_stopped(world)


def test_a_meter_without_currents_is_judged_by_its_power_spread_evenly() -> None:
    within, above = charging(), charging()

    draws(within, seconds=20, power_w=18.6 * 3 * 230)
    draws(above, seconds=20, power_w=19.0 * 3 * 230)

    assert (is_stopped(within), is_stopped(above)) == (False, True)


def test_a_meter_that_tells_only_energy_accuses_nobody() -> None:
    world = charging()

    draws(world, seconds=20)

    assert not is_stopped(world)


def test_a_car_that_only_waits_accuses_nobody() -> None:
    world = charging()
    world.pilot(PilotState.B)

    draws(world, 30.0, seconds=20)

    assert not is_stopped(world)


@pytest.mark.parametrize(("setting", "value", "current_a", "stopped"), [
    ("hardware__over_current_s", 0, 60.0, False),
    ("hardware__over_current_s", 30, 60.0, False),
    ("hardware__over_current_percent", 50, 24.0, False),
    ("hardware__over_current_percent", 0, 17.5, True),
    ("hardware__over_current_a", 10, 27.0, False),
    ("hardware__over_current_a", 0, 18.0, True)])
def test_the_settings_say_how_much_and_how_long(
        setting: str, value: int, current_a: float, stopped: bool) -> None:
    world = charging(**{setting: value})

    draws(world, current_a, seconds=20)

    assert is_stopped(world) is stopped
