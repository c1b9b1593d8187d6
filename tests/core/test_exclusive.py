"""EVSEs that share one power path: one at a time."""

import pytest
from support.core_world import World, evse_layout, with_settings

from cpctl.core import events as ev
from cpctl.core.values import IdToken, Outcome
from hal.values import PilotState


def group_of_two(*more: int) -> World:
    world = World(*(evse_layout(number) for number in (1, 2, *more))).boot()
    with_settings(world, **{"hardware.exclusive_groups": ("1+2",)})
    return world


def coils(world: World) -> list[bool]:
    return [place.coil for place in world.places.values()]


@pytest.mark.requirement("16.TX.9")
def test_evses_of_one_power_path_are_used_one_at_a_time() -> None:
    world = group_of_two(3)

    world.charging(1, "04A1")
    world.plug(2)
    world.tap("04A2", evses=(2,))
    refused = world.ask(ev.StartRequested, token=IdToken("04A3"), evse=2)
    during = (world.evse(2).operative, world.evse(3).operative, coils(world))
    world.unplug(1)
    world.advance(2, meter_each_s=1)
    world.tap("04A2", evses=(2,))
    world.pilot(PilotState.C, 2)

    assert during == (False, True, [True, False, False])
    assert (refused.outcome, refused.code) == (Outcome.REJECTED, "unavailable")
    assert coils(world) == [False, True, False]
    assert not world.evse(1).operative


@pytest.mark.requirement("16.TX.9")
def test_the_gate_is_barred_while_the_other_evse_uses_the_path() -> None:
    world = group_of_two()

    world.charging(1, "04A1")

    assert world.place(2).barred == ("path_used",)
    assert world.place(1).barred == ()


@pytest.mark.requirement("16.TX.9")
def test_of_two_plugs_the_one_that_charges_has_the_path_and_the_other_follows() -> None:
    world = group_of_two()
    world.plug(2)
    world.plug(1)
    world.tap("04A1", evses=(1,))  # the path is that of the plug which came first
    refused = world.evse(1).transaction

    world.unplug(2)
    world.tap("04A1", evses=(1,))
    world.pilot(PilotState.C, 1)

    assert not refused
    assert coils(world) == [True, False]
