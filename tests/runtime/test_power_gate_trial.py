"""The contactor test at the power gate: closed for a moment, with nothing plugged in."""

import pytest
from support.gate_bench import GateBench

from cpctl.core.events import (
    ContactorReported,
    ContactorTested,
    DeviceLost,
    EnergiseRefused,
    PowerReleased,
    ReleaseNumbered,
)
from hal.errors import HalError
from hal.values import PilotReading, PilotState

A, B, C, F = PilotState.A, PilotState.B, PilotState.C, PilotState.F


def empty(**fitted: object) -> GateBench:
    """Nothing plugged in, safety inputs good, no session, the plug lock open."""
    bench = GateBench(**fitted)  # type: ignore[arg-type]
    bench.gate.make_safe()
    bench.gate.bar(1, ())
    bench.pilots[1] = PilotReading(A)
    bench.refresh(1)
    bench.advance(3.0)  # at rest nobody looks often: what is known is old
    bench.posted.clear()
    return bench


def outcome(bench: GateBench) -> ContactorTested:
    told = [one for one in bench.posted if isinstance(one, ContactorTested)]
    assert len(told) == 1, bench.posted
    return told[0]


def test_passed_test_closes_for_half_a_second_and_tells_both_times() -> None:
    bench = empty()

    bench.gate.test(1, 0)

    assert bench.coil() and bench.gate.is_on(1) and not bench.gate.may_unlock(1)
    bench.advance(0.45)
    assert bench.coil()
    bench.advance(0.1)
    assert not bench.coil()
    assert outcome(bench) == ContactorTested(1, 1, (), 0.0, 0.0, True)
    assert bench.kinds() == ["PowerReleased", "ContactorReported", "ContactorTested"]
    assert bench.last(PowerReleased) == PowerReleased(1, 1, ("contactor_test",))
    assert bench.gate.number(1) == 1


def test_times_are_those_from_the_order_to_the_contact() -> None:
    bench = empty()
    bench.board.fault("feedback_stuck", 1)  # at open

    bench.gate.test(1, 0)
    bench.advance(0.1)
    bench.board.clear("feedback_stuck", 1)
    bench.advance(0.55)
    bench.board.fault("feedback_stuck", 1)
    bench.advance(0.05)
    told = outcome(bench) if "ContactorTested" in bench.kinds() else None

    assert told is not None
    assert told.reasons == () and told.closed_ms == pytest.approx(110, abs=11)


def test_test_leaves_nothing_behind_and_the_evse_charges_then() -> None:
    bench = empty()
    bench.gate.test(1, 0)
    bench.advance(1.0)
    bench.ready()

    bench.gate.energise(1, bench.gate.number(1))
    bench.advance(3.0)

    assert bench.coil()
    assert bench.last(ContactorReported) == ContactorReported(1, closed=True)


OBJECTIONS = [
    (lambda b: b.pilots.update({1: PilotReading(B)}), "plugged"),
    (lambda b: b.pilots.update({1: PilotReading(C)}), "plugged"),
    (lambda b: b.pilots.update({1: PilotReading(PilotState.E)}), "plugged"),
    (lambda b: b.pilots.update({1: PilotReading(None)}), "no_pilot"),
    (lambda b: b.rcd_good.update({1: False}), "rcd"),
    (lambda b: b.gate.books(1, session_open=True), "session_open"),
    (lambda b: b.gate.bar(1, ("emergency_stop",)), "emergency_stop"),
    (lambda b: b.gate.bar(1, ("contactor_welded", "path_used")), "path_used"),
]
IDS = ["B", "C", "E", "no pilot", "rcd", "session", "emergency stop", "path used"]


@pytest.mark.parametrize(("upset", "reason"), OBJECTIONS, ids=IDS)
def test_nothing_is_closed_while_somebody_objects(upset, reason: str) -> None:
    bench = empty()
    upset(bench)

    bench.gate.test(1, 0)
    bench.advance(0.6)

    assert not bench.coil() and bench.deadman.due_ns() is None
    assert outcome(bench).reasons == (reason,)
    assert "EnergiseRefused" not in bench.kinds()


@pytest.mark.parametrize(("upset", "reason"), OBJECTIONS, ids=IDS)
def test_objection_in_the_middle_opens_at_once(upset, reason: str) -> None:
    bench = empty()
    bench.gate.test(1, 0)
    bench.advance(0.2)
    bench.posted.clear()

    upset(bench)
    bench.refresh(1)

    assert not bench.coil()
    bench.advance(1.0)
    told = outcome(bench)
    assert reason in told.reasons and told.closed_ms == 0.0
    assert bench.last(PowerReleased).reasons == told.reasons
    assert bench.armed == 0


@pytest.mark.parametrize("fault", ["contactor_welded", "contactor_did_not_close"])
def test_faults_that_it_is_to_prove_mended_do_not_stand_against_it(fault: str) -> None:
    bench = empty()
    bench.gate.bar(1, (fault,))

    bench.gate.test(1, 0)
    bench.advance(1.0)

    assert outcome(bench).reasons == ()


def test_plug_lock_that_is_open_does_not_stand_against_it() -> None:
    bench = empty(has_lock=True)
    bench.gate.lock_reported(1, locked=False)

    bench.gate.test(1, 0)

    assert bench.coil()


def test_pilot_that_leaves_state_f_meanwhile_is_waited_for() -> None:
    bench = empty()
    bench.pilots[1] = PilotReading(F)

    bench.gate.test(1, 0)
    bench.advance(4.2)
    assert not bench.coil() and "ContactorTested" not in bench.kinds()
    bench.pilots[1] = PilotReading(A)
    bench.advance(0.7)

    assert bench.coil()


def test_pilot_that_stays_in_state_f_ends_the_wait_after_five_seconds() -> None:
    bench = empty()
    bench.pilots[1] = PilotReading(F)

    bench.gate.test(1, 0)
    bench.advance(4.9)
    assert "ContactorTested" not in bench.kinds()
    bench.advance(0.2)

    assert outcome(bench) == ContactorTested(1, 0, ("pilot_unavailable",), None, None, True)
    bench.advance(10.0)
    assert bench.armed == 0


def test_old_readings_are_waited_for_and_nothing_closes_on_them() -> None:
    bench = empty()
    bench.pilot_answers = False

    bench.gate.test(1, 0)
    bench.advance(2.0)
    assert not bench.coil()
    bench.pilot_answers = True
    bench.advance(0.6)

    assert bench.coil()


def test_loop_that_stands_still_closes_nothing_and_keeps_nothing_closed() -> None:
    bench = empty()
    bench.loop_answers = False
    bench.gate.test(1, 0)
    bench.advance(6.0)
    assert outcome(bench).reasons == ("loop_silent",)

    bench = empty()
    bench.gate.test(1, 0)
    bench.stall(2.5)
    assert not bench.coil()
    bench.gate.lapsed(bench.switches[1])
    bench.advance(1.0)
    assert outcome(bench).reasons == ("lease_lapsed",)


def test_contactor_that_does_not_close_fails_and_is_told_as_ever() -> None:
    bench = empty()
    bench.board.fault("feedback_stuck", 1)

    bench.gate.test(1, 0)
    bench.advance(0.6)

    assert outcome(bench) == ContactorTested(1, 1, ("did_not_close",), None, 0.0, True)
    assert bench.last(PowerReleased).reasons == ("did_not_close",)
    assert not bench.coil()


def test_contactor_that_welds_in_the_test_fails_and_is_told_as_ever() -> None:
    bench = empty()
    bench.gate.test(1, 0)
    bench.board.fault("weld", 1)

    bench.advance(1.2)

    assert outcome(bench) == ContactorTested(1, 1, ("welded",), 0.0, None, True)
    assert ContactorReported(1, closed=True, welded=True) in bench.posted
    bench.posted.clear()
    bench.gate.test(1, 1)
    assert outcome(bench).reasons == ("welded",)


def test_contact_that_opens_by_itself_in_the_test_fails() -> None:
    bench = empty()
    bench.gate.test(1, 0)
    bench.advance(0.3)
    bench.board.set_coil(1, on=False)  # the coil's supply is gone

    bench.advance(1.0)

    assert outcome(bench).reasons == ("contact_lost",)


def test_without_an_auxiliary_contact_nothing_is_seen_and_that_is_told() -> None:
    bench = empty(feedback=False)

    bench.gate.test(1, 0)
    assert bench.coil()
    bench.advance(1.0)

    assert outcome(bench) == ContactorTested(1, 1, (), None, None, False)
    assert not bench.coil()


def test_contactor_that_cannot_be_driven_fails() -> None:
    bench = empty()

    def broken() -> None:
        raise HalError("contactor 1: no answer")
    bench.switches[1]._energise = broken  # type: ignore[method-assign]

    bench.gate.test(1, 0)

    assert outcome(bench).reasons == ("contactor_lost",)
    assert isinstance(bench.last(DeviceLost), DeviceLost)
    assert not bench.coil()


@pytest.mark.parametrize(("prepare", "after", "reason"), [
    (lambda b: None, 7, "stale"),
    (lambda b: b.charging(), 0, "in_use"),
    (lambda b: b.gate.release_all("why"), 1, ""),
], ids=["stale", "in use", "at rest again"])
def test_path_in_use_and_stale_orders_are_not_tested(prepare, after: int, reason: str) -> None:
    bench = empty()
    prepare(bench)
    bench.posted.clear()
    was_on = bench.coil()

    bench.gate.test(1, after)

    if reason:
        assert outcome(bench).reasons == (reason,) and bench.coil() is was_on
        bench.advance(2.0)
        assert bench.kinds() == ["ContactorTested"]
    else:
        assert bench.coil()


def test_order_to_close_that_waits_is_in_use() -> None:
    bench = empty()
    bench.ready()
    bench.pilot_answers = False
    bench.advance(1.5)
    bench.gate.energise(1, 0)
    bench.posted.clear()

    bench.gate.test(1, 0)

    assert outcome(bench).reasons == ("in_use",)


def test_path_not_known_open_is_not_tested() -> None:
    bench = empty()
    bench.charging()
    bench.board.fault("weld", 1)
    bench.gate.release(1, "why")
    bench.posted.clear()

    bench.gate.test(1, 1)

    assert outcome(bench).reasons == ("opening",)


def test_second_test_and_an_order_to_close_do_not_disturb_the_first() -> None:
    bench = empty()
    bench.gate.test(1, 0)

    bench.gate.test(1, 0)
    bench.gate.energise(1, 0)

    assert bench.last(EnergiseRefused) == EnergiseRefused(1, 0, ("contactor_test",))
    bench.advance(1.0)
    assert outcome(bench).reasons == ()


@pytest.mark.parametrize("waiting", [True, False])
def test_release_by_the_core_ends_the_test(waiting: bool) -> None:
    bench = empty()
    if waiting:
        bench.pilots[1] = PilotReading(F)
    bench.gate.test(1, 0)
    bench.advance(0.1)

    bench.gate.release(1, "test_given_up")

    assert not bench.coil()
    bench.advance(10.0)
    assert outcome(bench).reasons == ("test_given_up",)
    assert bench.last(ReleaseNumbered) == ReleaseNumbered(1, 1)
    assert not bench.coil() and bench.armed == 0


def test_board_that_closes_by_itself_is_judged_by_what_it_tells() -> None:
    bench = empty(board=True)

    bench.gate.test(1, 0)

    assert outcome(bench) == ContactorTested(1, 0, (), None, None, True)
    assert not bench.coil()


def test_hold_in_relay_pulls_in_before_the_test_closes() -> None:
    bench = empty(heartbeat=True)

    bench.gate.test(1, 0)
    assert not bench.coil()
    bench.advance(2.0)

    assert outcome(bench).reasons == ()
    assert bench.relay is not None
    bench.advance(2.0)
    assert bench.relay.at_rest


def test_one_path_is_tested_while_the_other_charges() -> None:
    bench = GateBench(evses=(1, 2))
    bench.charging(2)
    bench.gate.bar(1, ())
    bench.pilots[1] = PilotReading(A)
    bench.refresh(1)
    bench.gate.release(1, "not booted")

    bench.gate.test(1, bench.gate.number(1))
    bench.advance(1.0)

    assert outcome(bench).reasons == ()
    assert bench.coil(2)


@pytest.mark.parametrize("from_s", [0.0, 0.2, 0.45])
def test_test_whose_auxiliary_contact_cannot_be_read_proves_nothing(from_s: float) -> None:
    bench = empty()
    switch = bench.switches[1]
    if from_s:
        bench.gate.test(1, 0)
        bench.advance(from_s)

    def gone() -> bool | None:
        raise HalError("contactor 1: the line of its contact is gone")

    switch._read_feedback = gone  # type: ignore[method-assign]
    if not from_s:
        bench.gate.test(1, 0)
    bench.advance(2.0)

    assert not bench.coil()
    assert outcome(bench).reasons[:1] == ("contactor_lost",)
