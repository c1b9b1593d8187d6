"""The contactor test: who may have one, what it proves, and what ends it before its time."""

import pytest
from support.core_world import World

from cpctl.core import events as ev
from cpctl.core.effects import ReleasePower
from cpctl.core.faults import FaultCode
from cpctl.core.jobs import ContactorTimes
from cpctl.core.values import EvseLayout, Origin, Outcome, Reply
from cpctl.core.views import PowerState
from hal.values import NO_OFFER, UNAVAILABLE, PilotState

LOCAL = Origin.LOCAL


def out_of_service(*evses: EvseLayout, latched: bool = False) -> World:
    """EVSE 1 inoperative, nothing plugged in; `latched`: it was welded when the power failed."""
    world = World(*evses)
    world.boot(latched=((1, FaultCode.CONTACTOR_WELDED),) if latched else ())
    world.pilot(PilotState.A)
    world.ask(ev.AvailabilityRequested, operative=False, evse=1)
    return world


def test(world: World) -> Reply:
    return world.ask(ev.ContactorTestRequested, LOCAL, evse=1)


test.__test__ = False  # type: ignore[attr-defined]


def clear(world: World, code: FaultCode | None = None) -> Reply:
    return world.ask(ev.ClearFaultRequested, LOCAL, evse=1, code=code)


def test_passed_test_tells_its_times() -> None:
    world = out_of_service()

    reply = test(world)

    assert (reply.outcome, reply.code) == (Outcome.ACCEPTED, "")
    assert reply.content == ContactorTimes(20.0, 15.0, True)
    assert world.tests == [1] and not world.place().coil


def weld(world: World) -> None:
    world.place().welds = True
    world.tell(ev.ContactorReported(1, closed=True, welded=True))


@pytest.mark.parametrize(("prepare", "code", "hint"), [
    (lambda world: world.ask(ev.AvailabilityRequested, operative=True, evse=1),
     "evse_operative", "cpctl evse availability 1 inoperative"),
    (lambda world: world.plug(), "plugged", "take the plug out"),
    (weld, "contact_closed", "cpctl evse show 1"),
    (lambda world: world.tell(ev.ShutdownRequested()), "going_down", "wait for the restart"),
], ids=["operative", "plugged", "contact closed", "going down"])
def test_test_is_refused_while_somebody_or_something_may_be_there(
        prepare: object, code: str, hint: str) -> None:
    world = out_of_service()
    prepare(world)  # type: ignore[operator]

    reply = test(world)

    assert (reply.outcome, reply.code, reply.hint) == (Outcome.REJECTED, code, hint)
    assert world.tests == []


def test_unknown_evse_has_no_contactor() -> None:
    reply = out_of_service().ask(ev.ContactorTestRequested, LOCAL, evse=9)

    assert (reply.outcome, reply.code) == (Outcome.REJECTED, "no_such_evse")


def test_second_test_waits_for_the_first() -> None:
    world = out_of_service()
    world.gate_answers = False
    first = world.request(ev.ContactorTestRequested, LOCAL, evse=1)

    assert test(world).code == "test_runs"
    assert world.answers[first] == []


def test_weld_is_mended_only_by_a_passed_test() -> None:
    world = out_of_service(latched=True)

    before = clear(world)
    test(world)
    after = clear(world)

    assert (before.code, before.hint) == ("contactor_not_tested", "cpctl hw contactor-test 1")
    assert (after.outcome, world.evse().power) == (Outcome.ACCEPTED, PowerState.OFF)


def test_failed_test_mends_nothing() -> None:
    world = out_of_service(latched=True)
    world.place().welds = True

    reply = test(world)

    assert (reply.outcome, reply.code) == (Outcome.FAILED, "welded")
    world.place().welds = False
    world.tell(ev.ContactorReported(1, closed=False))
    assert clear(world).code == "contactor_not_tested"


def test_contactor_that_does_not_close_in_the_test_is_a_fault() -> None:
    world = out_of_service()
    world.place().does_not_close = True

    reply = test(world)

    assert (reply.outcome, reply.code) == (Outcome.FAILED, "did_not_close")
    assert world.evse().faults[0].code is FaultCode.CONTACTOR_DID_NOT_CLOSE
    assert clear(world).code == "contactor_not_tested"

    world.place().does_not_close = False
    test(world)
    assert clear(world, FaultCode.CONTACTOR_DID_NOT_CLOSE).outcome is Outcome.ACCEPTED


def test_weld_after_a_passed_test_asks_for_another_one() -> None:
    world = out_of_service()
    test(world)

    world.tell(ev.ContactorReported(1, closed=True, welded=True))
    world.tell(ev.ContactorReported(1, closed=False))

    assert clear(world).code == "contactor_not_tested"


def test_other_faults_need_no_test() -> None:
    world = out_of_service()
    world.tell(ev.DeviceLost(1, "lock", "jammed"))

    assert clear(world).outcome is Outcome.ACCEPTED


def test_pilot_leaves_state_f_for_the_test_so_that_a_plug_could_be_seen() -> None:
    world = out_of_service(latched=True)
    assert world.place().offer == UNAVAILABLE
    world.gate_answers = False

    world.request(ev.ContactorTestRequested, LOCAL, evse=1)
    during = world.place().offer
    world.tell(ev.ContactorTested(1, world.place().number, ("pilot_unavailable",)))

    assert (during, world.place().offer) == (NO_OFFER, UNAVAILABLE)


def releases(world: World) -> list[str]:
    return [one.why for one in world.log if isinstance(one, ReleasePower)]


@pytest.mark.parametrize("event", ["plug", "operative", "shutdown"])
def test_test_is_given_up_when_it_is_no_longer_safe(event: str) -> None:
    world = out_of_service()
    world.gate_answers = False
    number = world.request(ev.ContactorTestRequested, LOCAL, evse=1)
    world.gate_answers = True

    if event == "plug":
        world.plug()
    elif event == "operative":
        world.ask(ev.AvailabilityRequested, operative=True, evse=1)
    else:
        world.tell(ev.ShutdownRequested())

    assert releases(world)[-1:] == ["test_given_up"]
    world.tell(ev.ContactorTested(1, world.place().number, ("test_given_up",)))
    (reply,) = world.answers[number]
    assert (reply.outcome, reply.code) == (Outcome.FAILED, "test_given_up")


def test_gate_that_never_tells_ends_the_test_with_a_release() -> None:
    world = out_of_service()
    world.gate_answers = False
    number = world.request(ev.ContactorTestRequested, LOCAL, evse=1)

    world.advance(13)

    assert [one.code for one in world.answers[number]] == ["gate_silent"]
    assert releases(world)[-1] == "gate_silent"
    world.tell(ev.ContactorTested(1, world.place().number, ()))  # late: nobody waits any more
    assert world.evse().power is PowerState.OFF


def test_evse_charges_after_a_test() -> None:
    world = out_of_service()
    test(world)
    world.ask(ev.AvailabilityRequested, operative=True, evse=1)

    world.charging()

    assert world.place().coil
