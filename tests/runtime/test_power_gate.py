"""The power gate: opening needs nobody's permission, closing needs everybody's."""

import pytest
from support.gate_bench import Broken, GateBench

from cpctl.core.events import (
    ContactorReported,
    DeviceFound,
    DeviceLost,
    EnergiseRefused,
    PowerReleased,
    ReleaseNumbered,
)
from hal.values import PilotReading, PilotState

LEFT_C = [state for state in (*PilotState, None) if state is not PilotState.C]


def test_a_permitted_order_closes_and_reports_the_feedback() -> None:
    bench = GateBench()
    bench.ready()

    bench.gate.energise(1, bench.gate.number(1))

    assert bench.coil()
    assert bench.posted == [ContactorReported(1, closed=True)]
    assert bench.gate.is_on(1)


def test_a_contactor_without_feedback_counts_as_closed_when_ordered() -> None:
    bench = GateBench(feedback=False)
    bench.ready()

    bench.gate.energise(1, bench.gate.number(1))

    assert bench.posted == [ContactorReported(1, closed=True)]


def test_a_freshly_started_gate_is_barred_until_the_core_speaks() -> None:
    bench = GateBench()
    bench.ready()
    fresh = GateBench()
    fresh.gate.make_safe()
    fresh.pilot(PilotState.C)

    fresh.gate.energise(1, 0)

    assert "not_booted" in fresh.last(EnergiseRefused).reasons
    assert not fresh.coil()


def test_make_safe_opens_every_coil_before_anything_else_and_keeps_the_number_zero() -> None:
    bench = GateBench(evses=(1, 2))
    bench.board.set_coil(1, on=True)
    bench.board.set_coil(2, on=True)

    bench.gate.make_safe()

    assert not bench.coil(1) and not bench.coil(2)
    assert bench.gate.number(1) == bench.gate.number(2) == 0
    assert bench.posted == [ContactorReported(1, closed=False), ContactorReported(2, closed=False)]


@pytest.mark.parametrize("state", LEFT_C, ids=str)
def test_a_pilot_leaving_c_opens_at_once_and_posts_afterwards(state: PilotState | None) -> None:
    bench = GateBench()
    bench.charging()
    seen: list[bool] = []
    bench.gate._post = lambda event: (seen.append(bench.coil()), bench.posted.append(event))

    bench.pilot(state)

    assert not bench.coil()
    assert seen and not any(seen)
    assert bench.kinds() == ["PowerReleased", "ContactorReported"]


def test_state_d_is_served_only_with_ventilation() -> None:
    with_fan, without = GateBench(ventilated=True), GateBench()
    for bench in (with_fan, without):
        bench.charging()
        bench.pilot(PilotState.D)

    assert with_fan.coil() and not without.coil()
    assert "not_ventilated" in without.last(PowerReleased).reasons


@pytest.mark.parametrize(("upset", "reason"), [
    (lambda b: b.rcd(good=False), "rcd"),
    (lambda b: b.pilot(PilotState.C, diode_ok=False), "diode_missing"),
    (lambda b: b.gate.bar(1, ("EMERGENCY_STOP",)), "EMERGENCY_STOP"),
    (lambda b: b.gate.lock_reported(1, locked=False), "not_locked"),
    (lambda b: b.gate.books(1, session_open=False), "session_not_in_books"),
])
def test_whatever_takes_the_permit_away_opens_at_once(upset, reason: str) -> None:
    bench = GateBench()
    bench.charging()

    upset(bench)

    assert not bench.coil()
    assert reason in bench.last(PowerReleased).reasons
    assert bench.last(PowerReleased).number == bench.gate.number(1) == 1
    assert bench.last(ContactorReported) == ContactorReported(1, closed=False)


@pytest.mark.parametrize(("upset", "reason"), [
    (lambda b: b.rcd(good=False), "rcd"),
    (lambda b: b.pilot(PilotState.B), "pilot_not_asking"),
    (lambda b: b.gate.bar(1, ("CONTACTOR_WELDED",)), "CONTACTOR_WELDED"),
    (lambda b: b.gate.lock_reported(1, locked=False), "not_locked"),
    (lambda b: b.gate.books(1, session_open=False), "session_not_in_books"),
])
def test_an_order_is_refused_with_the_reasons(upset, reason: str) -> None:
    bench = GateBench()
    bench.ready()
    upset(bench)

    bench.gate.energise(1, 0)

    assert not bench.coil()
    refusal = bench.last(EnergiseRefused)
    assert reason in refusal.reasons and refusal.number == 0
    bench.advance(5)
    assert not bench.coil()


def test_a_refused_order_is_forgotten() -> None:
    bench = GateBench()
    bench.ready()
    bench.rcd(good=False)
    bench.gate.energise(1, 0)

    bench.rcd(good=True)

    assert not bench.coil()


def test_an_order_older_than_the_last_release_is_refused_as_stale() -> None:
    bench = GateBench()
    bench.ready()
    before = bench.gate.number(1)
    bench.gate.release(1, "card")
    bench.posted.clear()

    bench.gate.energise(1, before)

    assert not bench.coil()
    assert bench.posted == [EnergiseRefused(1, before + 1, ("stale",))]
    bench.gate.energise(1, before + 2)
    assert bench.last(EnergiseRefused) == EnergiseRefused(1, before + 1, ("stale",))


def test_a_release_opens_then_tells_its_number_and_that_the_contact_is_open() -> None:
    bench = GateBench()
    bench.charging()

    bench.gate.release(1, "card")

    assert not bench.coil()
    assert bench.posted == [ReleaseNumbered(1, 1), ContactorReported(1, closed=False)]


def test_a_release_of_an_open_contactor_is_numbered_too() -> None:
    bench = GateBench()
    bench.ready()

    bench.gate.release(1, "unplugged")
    bench.gate.release(1, "unplugged")

    assert bench.gate.number(1) == 2
    assert bench.last(ReleaseNumbered) == ReleaseNumbered(1, 2)


def test_release_all_opens_each_one_though_one_cannot_be_driven() -> None:
    bench = GateBench(evses=(1, 2))
    bench.charging(1)
    bench.gate.bar(2, ())
    bench.rcd(good=True, evse=2)
    bench.pilot(PilotState.B, 2)
    bench.meter(2)
    bench.gate.lock_reported(2, locked=True)
    bench.gate.books(2, session_open=True)
    bench.pilot(PilotState.C, 2)
    bench.gate.energise(2, 0)
    assert bench.coil(1) and bench.coil(2)
    bench.board.drop("contactor", 1)

    bench.gate.release_all("shutdown")

    assert not bench.coil(2)
    assert {event.evse for event in bench.posted if isinstance(event, PowerReleased)} == {1, 2}
    assert bench.last(PowerReleased).reasons == ("shutdown",)
    assert isinstance(bench.last(DeviceLost), DeviceLost)


def test_a_closed_contactor_is_renewed_as_long_as_everything_is_fresh() -> None:
    bench = GateBench()
    bench.charging()

    bench.advance(30)

    assert bench.coil()
    assert bench.posted == []


def test_a_lapsed_lease_is_never_renewed() -> None:
    bench = GateBench()
    bench.charging()

    bench.stall(2.1)
    assert not bench.coil()
    bench.gate.pilot_read(1, PilotReading(PilotState.C), bench.now_ns)
    bench.advance(10)

    assert not bench.coil()
    assert bench.gate.number(1) == 1
    bench.gate.energise(1, 0)
    assert bench.last(EnergiseRefused).reasons == ("stale",)


def test_the_dead_mans_word_is_a_release_of_its_own() -> None:
    bench = GateBench(evses=(1, 2))
    bench.charging(1)
    bench.deadman.listener = lambda contactor, error: bench.gate.lapsed(contactor)

    bench.stall(2.1)

    assert bench.posted == [PowerReleased(1, 1, ("lease_lapsed",)),
                            ContactorReported(1, closed=False)]
    bench.gate.lapsed(bench.switches[1])
    bench.gate.lapsed(bench.switches[2])
    assert bench.gate.number(1) == 1 and bench.gate.number(2) == 0


def test_a_lease_that_lapsed_unheard_is_found_at_the_next_tick() -> None:
    bench = GateBench()
    bench.charging()
    bench.advance(0.1)
    bench.deadman.forget(bench.switches[1])

    bench.advance(0.5)

    assert not bench.coil()
    assert bench.last(PowerReleased).reasons == ("lease_lapsed",)


def test_a_loop_that_does_not_answer_loses_the_permit() -> None:
    bench = GateBench()
    bench.charging()
    bench.loop_answers = False

    bench.advance(3)

    assert not bench.coil()
    assert bench.last(PowerReleased).reasons == ("loop_silent",)


@pytest.mark.parametrize(("silence", "reason"), [
    ("pilot_answers", "pilot_stale"), ("inputs_answer", "rcd_stale")])
def test_a_poller_that_hangs_leads_to_power_off(silence: str, reason: str) -> None:
    bench = GateBench()
    bench.charging()
    setattr(bench, silence, False)

    bench.advance(2)

    assert not bench.coil()
    assert bench.last(PowerReleased).reasons == (reason,)


def test_an_order_waits_a_moment_for_readings_that_are_only_too_old() -> None:
    bench = GateBench()
    bench.ready()
    bench.gate.current_offered(1, on=False)
    bench.pilot_answers = bench.inputs_answer = bench.loop_answers = False
    bench.advance(30)
    bench.gate.energise(1, 0)
    assert not bench.coil() and bench.posted == []

    bench.pilot(PilotState.C)
    bench.rcd(good=True)
    assert not bench.coil()
    bench.unanswered.pop()()
    bench.advance(0.5)

    assert bench.coil()
    assert bench.posted == [ContactorReported(1, closed=True)]


def test_an_order_asks_for_fresh_readings_by_itself() -> None:
    bench = GateBench()
    bench.ready()
    bench.gate.current_offered(1, on=False)
    bench.advance(30)
    bench.refreshed.clear()

    bench.gate.energise(1, 0)

    assert bench.coil()
    assert set(bench.refreshed) == {1}


def test_an_order_waits_no_longer_than_a_second() -> None:
    bench = GateBench()
    bench.ready()
    bench.gate.current_offered(1, on=False)
    bench.pilot_answers = bench.inputs_answer = False
    bench.advance(0.8)
    bench.rcd(good=True)
    bench.advance(0.6)
    bench.rcd(good=True)
    bench.unanswered.clear()

    bench.gate.energise(1, 0)
    bench.rcd_good[1] = True
    bench.inputs_answer = True
    bench.advance(0.9)
    assert bench.posted == []
    bench.advance(0.1)

    assert bench.last(EnergiseRefused) == EnergiseRefused(1, 0, ("pilot_stale",))
    bench.pilot(PilotState.C)
    assert not bench.coil()
    bench.advance(1)
    assert bench.armed == 0


def test_a_waiting_order_does_not_outlive_a_release() -> None:
    bench = GateBench()
    bench.ready()
    bench.gate.current_offered(1, on=False)
    bench.pilot_answers = False
    bench.advance(30)
    bench.gate.energise(1, 0)

    bench.gate.release(1, "card")
    bench.pilot(PilotState.C)
    bench.advance(2)

    assert not bench.coil()


def test_a_waiting_order_is_refused_when_something_is_wrong() -> None:
    bench = GateBench()
    bench.ready()
    bench.gate.current_offered(1, on=False)
    bench.pilot_answers = False
    bench.advance(30)
    bench.gate.energise(1, 0)

    bench.pilot(PilotState.B)

    assert bench.last(EnergiseRefused).reasons == ("pilot_not_asking",)


def test_the_register_must_have_been_read_since_the_plug_came() -> None:
    bench = GateBench()
    bench.ready()
    bench.pilot(PilotState.A)
    bench.advance(1)
    bench.pilot(PilotState.B)
    bench.pilot(PilotState.C)
    bench.gate.energise(1, 0)
    assert not bench.coil()

    bench.meter()

    assert bench.coil()


def test_without_a_meter_no_register_is_waited_for() -> None:
    bench = GateBench(has_meter=False)
    bench.ready()
    bench.pilot(PilotState.A)
    bench.advance(1)
    bench.pilot(PilotState.C)

    bench.gate.energise(1, 0)

    assert bench.coil()


def test_a_plug_that_stays_keeps_its_register_reading() -> None:
    bench = GateBench()
    bench.ready()
    bench.advance(5)
    bench.pilot(PilotState.B)
    bench.pilot(PilotState.C)

    bench.gate.energise(1, 0)

    assert bench.coil()


def test_a_meter_reading_while_charging_changes_nothing() -> None:
    bench = GateBench()
    bench.charging()

    bench.meter()

    assert bench.coil() and bench.posted == []


def test_a_reading_older_than_what_is_known_changes_nothing() -> None:
    bench = GateBench()
    bench.charging()
    bench.advance(1)

    bench.gate.pilot_read(1, PilotReading(PilotState.B), bench.now_ns - 2_000_000_000)
    bench.gate.input_read(1, "rcd", bench.now_ns - 2_000_000_000, good=False)

    assert bench.coil()


def test_a_reading_of_the_same_moment_counts() -> None:
    bench = GateBench()
    bench.charging()
    bench.pilot(PilotState.C)

    bench.pilot(PilotState.B)

    assert not bench.coil()
    bench = GateBench()
    bench.charging()
    bench.rcd(good=True)
    bench.rcd(good=False)
    assert not bench.coil()


def test_a_fixed_cable_counts_as_locked_whatever_is_reported() -> None:
    bench = GateBench(has_lock=False)
    bench.charging()

    bench.gate.lock_reported(1, locked=False)

    assert bench.coil()


def test_a_fixed_cable_needs_no_report_of_a_lock() -> None:
    bench = GateBench(has_lock=False)
    assert "not_locked" not in bench.gate.objections(1)
    assert "not_locked" in GateBench().gate.objections(1)


def test_a_contactor_that_does_not_close_is_released_after_its_time() -> None:
    bench = GateBench()
    bench.ready()
    bench.board.fault("did_not_close", 1)

    bench.gate.energise(1, 0)
    bench.advance(0.45)
    assert bench.posted == [] and bench.coil()
    bench.advance(0.05)

    assert not bench.coil()
    assert bench.posted == [PowerReleased(1, 1, ("did_not_close",)),
                            ContactorReported(1, closed=False)]


def test_a_contactor_that_closes_a_little_later_is_reported_then() -> None:
    bench = GateBench()
    bench.ready()
    bench.board.fault("feedback_stuck", 1)
    bench.gate.energise(1, 0)
    bench.advance(0.2)
    assert bench.posted == []
    bench.gate.energise(1, 0)
    assert bench.posted == []

    bench.board.clear("feedback_stuck", 1)
    bench.advance(0.1)

    assert bench.posted == [ContactorReported(1, closed=True)]


def test_an_order_to_close_what_is_closed_tells_so_again() -> None:
    bench = GateBench()
    bench.charging()

    bench.gate.energise(1, 0)

    assert bench.posted == [ContactorReported(1, closed=True)]


def test_a_contact_that_falls_open_by_itself_is_a_release() -> None:
    bench = GateBench()
    bench.charging()
    bench.board.fault("did_not_close", 1)
    bench.board._posts[1].contact = False

    bench.advance(0.5)

    assert not bench.coil()
    assert bench.last(PowerReleased).reasons == ("contact_lost",)


def test_a_contact_that_stays_closed_is_welded_after_the_settle_time() -> None:
    bench = GateBench()
    bench.charging()
    bench.board.weld(1)

    bench.gate.release(1, "card")
    assert bench.posted == [ReleaseNumbered(1, 1)]
    bench.advance(0.45)
    assert bench.posted == [ReleaseNumbered(1, 1)]
    bench.advance(0.05)

    assert bench.posted[1:] == [ContactorReported(1, closed=True, welded=True)]
    assert not bench.gate.may_unlock(1)
    bench.advance(60)
    assert len(bench.posted) == 2


def test_nothing_closes_while_the_last_opening_is_not_known_done() -> None:
    bench = GateBench()
    bench.charging()
    bench.board.weld(1)
    bench.gate.release(1, "card")

    bench.gate.energise(1, 1)

    assert bench.last(EnergiseRefused) == EnergiseRefused(1, 1, ("opening",))


def test_a_weld_that_lets_go_is_reported_open() -> None:
    bench = GateBench()
    bench.charging()
    bench.board.weld(1)
    bench.gate.release(1, "card")
    bench.advance(0.6)

    bench.board.clear("weld", 1)
    bench.advance(1)

    assert bench.posted[-1] == ContactorReported(1, closed=False)
    assert bench.gate.may_unlock(1)
    bench.advance(60)
    assert bench.posted[-1] == ContactorReported(1, closed=False)


def test_a_contact_closed_by_feedback_while_off_is_refused_as_welded() -> None:
    bench = GateBench()
    bench.ready()
    bench.board._posts[1].contact = True

    bench.gate.energise(1, 0)

    assert "welded" in bench.last(EnergiseRefused).reasons


def test_a_slow_contact_counts_as_open_when_it_opened_in_time() -> None:
    bench = GateBench()
    bench.charging()
    bench.board.weld(1)
    bench.gate.release(1, "card")
    bench.advance(0.1)
    assert not bench.gate.may_unlock(1)

    bench.board.clear("weld", 1)
    bench.advance(0.1)

    assert bench.posted == [ReleaseNumbered(1, 1), ContactorReported(1, closed=False)]
    assert bench.gate.may_unlock(1)


def test_a_second_release_begins_the_settle_time_anew_and_leaves_no_second_look() -> None:
    bench = GateBench()
    bench.charging()
    bench.board.weld(1)
    bench.gate.release(1, "card")
    bench.advance(0.3)
    bench.gate.release(1, "card")
    bench.posted.clear()

    bench.advance(0.3)
    assert bench.posted == []
    bench.advance(0.3)

    assert bench.posted == [ContactorReported(1, closed=True, welded=True)]


def test_a_contactor_that_cannot_be_driven_is_refused_and_told_lost_once() -> None:
    bench = GateBench()
    bench.ready()
    bench.board.drop("contactor", 1)

    bench.gate.energise(1, 0)
    bench.gate.energise(1, bench.gate.number(1))

    assert bench.kinds().count("DeviceLost") == 1
    assert bench.last(EnergiseRefused).reasons == ("contactor_lost",)
    assert not bench.coil() and not bench.gate.is_on(1)


def test_a_contactor_that_came_back_is_told_found_and_may_be_lost_again() -> None:
    bench = GateBench()
    bench.ready()
    bench.board.drop("contactor", 1)
    bench.gate.energise(1, 0)
    bench.advance(12)
    assert "DeviceFound" not in bench.kinds()

    bench.board.restore("contactor", 1)
    bench.advance(2.9)
    assert "DeviceFound" not in bench.kinds()
    bench.advance(0.1)
    assert bench.posted[-1] == DeviceFound(1, "contactor")
    bench.posted.clear()

    bench.gate.energise(1, bench.gate.number(1))
    assert bench.coil()
    bench.board.drop("contactor", 1)
    bench.advance(0.5)
    assert bench.kinds().count("DeviceLost") == 1
    assert bench.last(DeviceLost).kind == "contactor"


def test_a_lost_contactor_is_opened_as_soon_as_it_can_be_driven() -> None:
    bench = GateBench()
    bench.charging()
    bench.board.drop("contactor", 1)
    bench.gate.release(1, "card")
    assert bench.coil()  # nothing could be done

    bench.board.restore("contactor", 1)
    bench.deadman.forget(bench.switches[1])
    bench.advance(5)

    assert not bench.coil()


def test_a_contactor_whose_feedback_was_lost_is_not_opened_by_looking_for_it() -> None:
    bench = GateBench()
    bench.charging()
    real = bench.switches[1]._read_feedback

    def broken() -> bool:
        raise Broken("contactor 1: no answer; check the output")
    bench.switches[1]._read_feedback = broken
    bench.advance(12)
    assert bench.kinds() == ["DeviceLost"]
    bench.switches[1]._read_feedback = real
    bench.advance(5)

    assert bench.coil()
    assert bench.kinds() == ["DeviceLost", "DeviceFound"]


def test_readings_are_kept_fresh_while_current_is_on_offer_and_not_longer() -> None:
    bench = GateBench()
    bench.ready()
    assert bench.gate.is_watched(1)
    bench.refreshed.clear()
    bench.advance(2.1)
    assert len(bench.refreshed) == 4

    bench.gate.current_offered(1, on=False)
    bench.advance(1)
    bench.refreshed.clear()
    bench.advance(60)

    assert bench.refreshed == [] and bench.armed == 0
    assert not bench.gate.is_watched(1)


def test_at_idle_the_gate_arms_no_timer() -> None:
    bench = GateBench()

    bench.gate.make_safe()
    bench.pilot(PilotState.B)
    bench.gate.bar(1, ())
    bench.gate.current_offered(1, on=False)

    assert bench.armed == 0


def test_a_charging_evse_is_watched_though_nothing_is_on_offer_any_more() -> None:
    bench = GateBench()
    bench.charging()

    bench.gate.current_offered(1, on=False)
    bench.advance(5)

    assert bench.coil() and bench.gate.is_watched(1)


def test_one_evse_is_not_touched_by_the_others_release() -> None:
    bench = GateBench(evses=(1, 2))
    bench.charging(1)
    bench.gate.release(2, "card")

    bench.pilot(PilotState.B, 2)
    bench.advance(3)

    assert bench.coil(1) and bench.gate.number(1) == 0


def test_no_plug_is_unlocked_while_the_coil_is_on() -> None:
    bench = GateBench()
    bench.charging()

    assert not bench.gate.may_unlock(1)
    bench.gate.release(1, "card")
    assert bench.gate.may_unlock(1)


def test_objections_name_what_stands_in_the_way() -> None:
    bench = GateBench()
    bench.ready()

    assert bench.gate.objections(1) == ()
    bench.rcd(good=False)
    assert bench.gate.objections(1) == ("rcd",)


def test_an_order_closes_at_once_on_fresh_readings_and_has_them_read_anew_once() -> None:
    bench = GateBench()
    bench.ready()
    bench.pilot_answers = bench.inputs_answer = bench.loop_answers = False
    bench.refreshed.clear()

    bench.gate.energise(1, 0)

    assert bench.coil()
    assert bench.refreshed == [1]


def test_nothing_closes_before_the_contacts_are_known_open() -> None:
    bench = GateBench()
    bench.gate.bar(1, ())

    bench.gate.energise(1, 0)

    assert bench.posted == [EnergiseRefused(1, 0, ("opening",))]
    assert not bench.gate.may_unlock(1)


def test_what_was_never_read_is_not_good() -> None:
    assert set(GateBench().gate.objections(1)) == {
        "no_pilot", "pilot_stale", "rcd", "rcd_stale", "not_locked", "session_not_in_books",
        "not_plugged", "loop_silent", "not_booted"}


def test_an_order_left_without_any_answer_is_refused_by_the_tick() -> None:
    bench = GateBench()
    bench.ready()
    bench.gate.current_offered(1, on=False)
    bench.pilot_answers = bench.inputs_answer = bench.loop_answers = False
    bench.advance(30)

    bench.gate.energise(1, 0)
    bench.advance(1)

    assert set(bench.last(EnergiseRefused).reasons) == {"pilot_stale", "rcd_stale", "loop_silent"}


def test_a_coil_is_renewed_though_the_offer_had_gone_before_it_closed() -> None:
    bench = GateBench()
    bench.ready()
    bench.gate.current_offered(1, on=False)
    bench.advance(0.6)
    assert bench.armed == 0
    bench.gate.energise(1, 0)

    bench.advance(10)

    assert bench.coil()


def test_a_coil_that_fails_to_close_is_a_numbered_release() -> None:
    bench = GateBench()
    bench.ready()

    def broken() -> None:
        raise Broken("contactor 1: no answer; check the output")
    bench.switches[1]._energise = broken

    bench.gate.energise(1, 0)

    assert bench.posted == [
        DeviceLost(1, "contactor", "contactor 1: no answer; check the output"),
        EnergiseRefused(1, 1, ("contactor_lost",)), ContactorReported(1, closed=False)]
    assert bench.gate.may_unlock(1) and not bench.gate.is_on(1)


def test_a_coil_that_cannot_be_released_is_told_and_seen_as_welded() -> None:
    bench = GateBench()
    bench.charging()

    def broken() -> None:
        raise Broken("contactor 1: no answer; check the output")
    bench.switches[1]._release = broken

    bench.gate.release(1, "card")
    bench.advance(1)

    assert bench.kinds() == ["DeviceLost", "ReleaseNumbered", "ContactorReported"]
    assert bench.last(ContactorReported) == ContactorReported(1, closed=True, welded=True)


def test_a_release_while_closing_ends_the_wait_for_the_contact() -> None:
    bench = GateBench()
    bench.ready()
    bench.board.fault("did_not_close", 1)
    bench.gate.energise(1, 0)

    bench.gate.release(1, "card")
    bench.advance(2)

    assert bench.gate.number(1) == 1
    assert "PowerReleased" not in bench.kinds()


def test_there_is_one_tick_for_all() -> None:
    bench = GateBench(evses=(1, 2))
    bench.charging(1)
    bench.gate.current_offered(1, on=True)
    bench.gate.current_offered(1, on=True)

    assert bench.armed == 1
    bench.refreshed.clear()
    bench.advance(0.5)
    assert bench.refreshed == [1]


@pytest.mark.parametrize("act", ["release_all", "make_safe"])
def test_a_bug_in_one_driver_spares_no_other_contactor(act: str) -> None:
    bench = GateBench(evses=(1, 2))
    bench.charging(2)

    def stumble() -> None:
        raise ZeroDivisionError

    bench.switches[1]._release = stumble  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        bench.gate.release_all("end") if act == "release_all" else bench.gate.make_safe()

    assert not bench.coil(2)


def test_release_all_at_rest_is_numbered_too() -> None:
    bench = GateBench()
    bench.gate.make_safe()
    bench.posted.clear()

    bench.gate.release_all("end")

    assert bench.posted == [PowerReleased(1, 1, ("end",)), ContactorReported(1, closed=False)]
