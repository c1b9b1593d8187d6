"""What is promised to who wants a message sent now, and what the core has sent for it."""

import pytest
from support.core_world import World, with_settings

from cpctl.core import effects as ef
from cpctl.core import events as ev
from cpctl.core.jobs import FirmwareStatus, LogStatus, Trigger
from cpctl.core.values import Origin, Outcome, ReadingContext, Registration, RequestId

requirement = pytest.mark.requirement


def asked(world: World, what: Trigger, **where: int) -> Outcome:
    request = RequestId(Origin.CSMS, 900 + len(world.answers))
    world.answers[request] = []
    world.tell(ev.TriggerRequested(request, what, **where))
    reply, = world.answers[request]
    return reply.outcome


def told(world: World, kind: type[ef.Notice]) -> list[ef.Notice]:
    return [effect.notice for effect in world.log if isinstance(effect, ef.Notify)
            and effect.triggered and isinstance(effect.notice, kind)]


def tells(world: World) -> list[ef.Tell]:
    return [effect for effect in world.log if isinstance(effect, ef.Tell)]


@requirement("16.TRIG.1")
@pytest.mark.parametrize("what", [Trigger.HEARTBEAT, Trigger.STATUS])
def test_what_the_link_tells_is_handed_on_after_the_answer(what: Trigger) -> None:
    world = World().boot()

    assert asked(world, what) is Outcome.ACCEPTED
    assert tells(world) == [ef.Tell(what)]
    answer = next(i for i, one in enumerate(world.log) if isinstance(one, ef.Answer))
    assert answer < world.log.index(ef.Tell(what))


@requirement("16.TRIG.1")
@pytest.mark.parametrize("where", [{"evse": 7}, {"evse": 1, "connector": 9}, {"connector": 3}])
@pytest.mark.parametrize("what", [Trigger.STATUS, Trigger.METER_VALUES])
def test_of_what_is_not_there_nothing_is_promised(what: Trigger, where: dict[str, int]) -> None:
    world = World().boot()

    assert asked(world, what, **where) is Outcome.REJECTED
    assert tells(world) == []


@requirement("16.BOOT.8")
def test_a_boot_is_announced_on_demand_until_it_is_accepted() -> None:
    world = World().boot()
    assert asked(world, Trigger.BOOT) is Outcome.REJECTED

    world.tell(ev.LinkChanged(online=True, registration=Registration.PENDING))

    assert asked(world, Trigger.BOOT) is Outcome.ACCEPTED
    assert tells(world) == [ef.Tell(Trigger.BOOT)]


@requirement("16.MET.10")
def test_values_wait_for_a_fresh_reading_and_bear_the_session() -> None:
    world = World().boot().charging()
    world.advance(10)
    world.log.clear()

    assert asked(world, Trigger.METER_VALUES, evse=1) is Outcome.ACCEPTED
    assert asked(world, Trigger.METER_VALUES, evse=1) is Outcome.ACCEPTED
    world.advance(6)

    sample, = told(world, ef.ClockSample)
    assert isinstance(sample, ef.ClockSample)
    assert sample.context is ReadingContext.TRIGGER
    assert sample.session == world.started()[0].session
    assert sample.values


@requirement("16.MET.10")
def test_where_nothing_is_measured_no_values_are_promised() -> None:
    world = World().boot()
    with_settings(world, **{"sampling.measurands": ()})

    assert asked(world, Trigger.METER_VALUES) is Outcome.REJECTED
    with_settings(world, **{"sampling.measurands": ("voltage",)})
    assert asked(world, Trigger.METER_VALUES, connector=0) is Outcome.REJECTED


@requirement("16.TRIG.2", "16.SEC.21")
def test_an_idle_station_says_so_only_when_asked() -> None:
    world = World().boot()
    for what in (Trigger.LOG_STATUS, Trigger.DIAGNOSTICS_STATUS, Trigger.FIRMWARE_STATUS,
                 Trigger.SIGNED_FIRMWARE_STATUS):
        assert asked(world, what) is Outcome.ACCEPTED

    logs, updates = told(world, ef.LogStatusTold), told(world, ef.FirmwareStatusTold)
    assert [(one.status, one.diagnostics) for one in logs] == [  # type: ignore[attr-defined]
        (LogStatus.IDLE, False), (LogStatus.IDLE, True)]
    assert [(one.status, one.signed) for one in updates] == [  # type: ignore[attr-defined]
        (FirmwareStatus.IDLE, False), (FirmwareStatus.IDLE, True)]
