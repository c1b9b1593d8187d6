"""The power gate where a pilot board closes its contactor by itself, and with a hold-in relay."""

import pytest
from support.gate_bench import GateBench

from cpctl.core.events import (
    ContactorReported,
    DeviceFound,
    DeviceLost,
    EnergiseRefused,
    PowerReleased,
    ReleaseNumbered,
)
from hal.values import NO_OFFER, OfferKind, PilotState

B, C = PilotState.B, PilotState.C

OBJECTIONS = [
    (lambda b: b.rcd(good=False), "rcd"),
    (lambda b: b.pilot(PilotState.B, diode_ok=False), "diode_missing"),
    (lambda b: b.pilot(PilotState.A), "pilot_not_asking"),
    (lambda b: b.pilot(None), "no_pilot"),
    (lambda b: b.gate.bar(1, ("EMERGENCY_STOP",)), "EMERGENCY_STOP"),
    (lambda b: b.gate.lock_reported(1, locked=False), "not_locked"),
    (lambda b: b.gate.books(1, session_open=False), "session_not_in_books"),
]


def on_offer(bench: GateBench) -> bool:
    return bench.boards[1].offered.kind is OfferKind.CURRENT


# --- the offer is the closing --------------------------------------------------------------------


def test_an_offer_to_a_board_that_leaves_the_contactor_to_us_is_nobody_elses_business() -> None:
    bench = GateBench()

    assert bench.gate.admit_offer(1) == ()
    assert not bench.coil()
    assert bench.deadman.due_ns() is None


@pytest.mark.parametrize(("upset", "reason"), OBJECTIONS)
def test_current_is_not_put_on_offer_while_somebody_objects(upset, reason: str) -> None:
    bench = GateBench(board=True)
    bench.ready()
    bench.pilot(B)
    upset(bench)

    held = bench.put()

    assert reason in held
    assert not on_offer(bench)
    assert bench.deadman.due_ns() is None


def test_a_car_that_only_waits_keeps_no_offer_from_going_out_and_takes_a_lease_with_it() -> None:
    bench = GateBench(board=True)
    bench.offering()

    assert on_offer(bench)
    assert bench.deadman.due_ns() is not None
    assert not bench.gate.is_on(1)
    assert not bench.gate.may_unlock(1)
    bench.advance(10.0)
    assert on_offer(bench), bench.posted


@pytest.mark.parametrize(("upset", "reason"), OBJECTIONS)
def test_an_objection_withdraws_what_is_on_offer_at_once(upset, reason: str) -> None:
    bench = GateBench(board=True)
    bench.offering()

    upset(bench)

    assert not on_offer(bench)
    assert reason in bench.last(PowerReleased).reasons
    assert bench.last(PowerReleased).number == bench.gate.number(1) == 1
    assert bench.cut == [1]
    assert bench.deadman.due_ns() is None


@pytest.mark.parametrize(("silent", "reason"), [
    ("pilot_answers", "pilot_stale"), ("inputs_answer", "rcd_stale"),
    ("loop_answers", "loop_silent")])
def test_what_nobody_confirms_any_more_withdraws_the_offer(silent: str, reason: str) -> None:
    bench = GateBench(board=True)
    bench.offering()
    setattr(bench, silent, False)

    bench.advance(3.0)

    assert not on_offer(bench)
    assert reason in bench.last(PowerReleased).reasons


def test_an_event_loop_that_stands_still_ends_in_the_board_being_ordered_off() -> None:
    bench = GateBench(board=True)
    bench.offering()
    bench.deadman.listener = lambda contactor, error: bench.gate.lapsed(contactor)

    bench.stall(2.1)

    assert not on_offer(bench)
    assert bench.last(PowerReleased).reasons == ("lease_lapsed",)
    assert bench.last(PowerReleased).number == 1


def test_a_lapse_that_nobody_told_is_noticed_by_the_next_tick() -> None:
    bench = GateBench(board=True)
    bench.offering()
    bench.switches[1].open()

    bench.advance(0.6)

    assert bench.last(PowerReleased).reasons == ("lease_lapsed",)


def test_a_lapse_of_one_board_leaves_the_others_alone() -> None:
    bench = GateBench(board=True, evses=(1, 2))
    for evse in (1, 2):
        bench.ready(evse)
    for evse in (1, 2):
        bench.pilot(B, evse)
        assert bench.put(evse) == ()

    bench.gate.lapsed(bench.switches[2])

    assert bench.boards[1].offered.kind is OfferKind.CURRENT
    assert bench.boards[2].offered == NO_OFFER


# --- the car asks --------------------------------------------------------------------------------


def test_the_board_serves_a_car_that_asks_and_the_order_of_the_core_confirms_it() -> None:
    bench = GateBench(board=True)
    bench.offering()

    bench.pilot(C)
    closed_by_itself = bench.coil()
    bench.gate.energise(1, bench.gate.number(1))

    assert closed_by_itself
    assert bench.posted == [ContactorReported(1, closed=True)]
    assert bench.gate.is_on(1)
    bench.advance(30.0)
    assert bench.coil(), bench.posted
    assert bench.cut == []


def test_a_car_that_asks_before_anything_is_on_offer_takes_an_order_first() -> None:
    bench = GateBench(board=True)
    bench.ready()

    held = bench.put()
    bench.gate.energise(1, bench.gate.number(1))
    admitted = bench.put()

    assert held == ("asks_already",)
    assert admitted == ()
    assert bench.coil()
    assert bench.gate.is_on(1)
    bench.advance(30.0)
    assert bench.coil(), bench.posted


def test_a_car_served_without_an_order_is_cut_off_after_three_seconds() -> None:
    bench = GateBench(board=True)
    bench.offering()
    bench.pilot(C)

    bench.advance(2.9)
    served = bench.coil()
    bench.advance(0.8)

    assert served
    assert not bench.coil()
    assert bench.last(PowerReleased).reasons == ("not_ordered",)


def test_the_three_seconds_begin_anew_with_each_time_the_car_asks() -> None:
    bench = GateBench(board=True)
    bench.offering()
    for state in (C, B) * 3:
        bench.pilot(state)
        bench.advance(2.0)

    assert on_offer(bench), bench.posted


def test_a_pilot_board_that_leaves_us_the_contactor_is_not_held_to_an_order() -> None:
    bench = GateBench()
    bench.ready()

    bench.advance(10.0)
    bench.gate.energise(1, bench.gate.number(1))

    assert bench.coil()


def test_an_order_that_waits_for_readings_goes_through_while_current_is_on_offer() -> None:
    bench = GateBench(board=True)
    bench.ready()
    bench.pilot(B)
    bench.stall(1.5)
    bench.pilot(C)
    bench.stall(1.5)
    bench.pilot_answers = bench.inputs_answer = False
    bench.gate.energise(1, bench.gate.number(1))
    bench.pilot_answers = bench.inputs_answer = True

    bench.advance(0.6)

    assert bench.gate.is_on(1)
    assert bench.put() == ()


def test_leaving_c_orders_the_board_off_and_the_next_offer_waits_for_nothing_but_the_gate() -> None:
    bench = GateBench(board=True)
    bench.offering()
    bench.pilot(C)
    bench.gate.energise(1, 0)

    bench.pilot(B)
    withdrawn = not on_offer(bench)
    again = bench.put()

    assert withdrawn
    assert bench.last(PowerReleased).reasons == ("pilot_not_asking",)
    assert again == ()
    assert on_offer(bench)


def test_an_old_order_does_not_serve_a_car_that_was_cut_off() -> None:
    bench = GateBench(board=True)
    bench.offering()
    bench.pilot(C)
    bench.rcd(good=False)
    bench.rcd(good=True)

    bench.gate.energise(1, 0)

    assert bench.last(EnergiseRefused).reasons == ("stale",)
    assert bench.put() == ("asks_already",)
    assert not bench.coil()


def test_an_offer_is_raised_under_the_lease_there_is_and_not_while_somebody_objects() -> None:
    bench = GateBench(board=True)
    bench.offering()
    bench.pilot(C)
    bench.gate.energise(1, 0)

    raised = bench.put(current_a=32.0)
    bench.stall(1.5)
    held = bench.put(current_a=10.0)

    assert raised == ()
    assert held == ("released",)
    assert bench.last(PowerReleased).reasons == ("pilot_stale", "rcd_stale")
    assert not on_offer(bench)


def test_an_offer_is_not_raised_where_the_lease_has_lapsed_unnoticed() -> None:
    bench = GateBench(board=True)
    bench.offering()
    bench.switches[1].open()

    held = bench.put(current_a=32.0)

    assert held == ("released",)
    assert not on_offer(bench)
    assert bench.last(PowerReleased).reasons == ("lease_lapsed",)


# --- withdrawing ---------------------------------------------------------------------------------


def test_an_offer_taken_back_before_the_car_asked_is_withdrawn_at_once_without_a_number() -> None:
    bench = GateBench(board=True)
    bench.offering()

    bench.gate.current_offered(1, on=False)

    assert not on_offer(bench)
    assert bench.cut == [1]
    assert bench.gate.number(1) == 0
    assert bench.posted == []
    assert bench.deadman.due_ns() is None
    assert bench.gate.may_unlock(1)
    bench.advance(5.0)
    assert bench.armed == 0


def test_a_car_that_charges_is_not_cut_off_by_taking_the_offer_back() -> None:
    bench = GateBench(board=True)
    bench.offering()
    bench.pilot(C)
    bench.gate.energise(1, 0)

    bench.gate.current_offered(1, on=False)

    assert bench.cut == []
    assert bench.gate.is_on(1)
    bench.gate.release(1, "wound_down")
    assert not bench.coil()
    assert bench.last(ReleaseNumbered).number == 1


def test_a_release_takes_an_order_that_still_waits_with_it() -> None:
    bench = GateBench()
    bench.ready()
    bench.stall(1.5)
    bench.pilot_answers = bench.inputs_answer = False
    bench.gate.energise(1, bench.gate.number(1))

    bench.gate.release(1, "asked")
    bench.pilot_answers = bench.inputs_answer = True
    bench.advance(3.0)

    assert not bench.coil()


def test_the_release_of_a_coil_of_ours_orders_no_board_off() -> None:
    bench = GateBench()
    bench.charging()

    bench.gate.release(1, "asked")

    assert bench.cut == []


def test_taking_back_what_is_not_on_offer_orders_nobody_off() -> None:
    bench = GateBench(board=True)
    bench.ready()
    bench.cut.clear()

    bench.gate.current_offered(1, on=False)

    assert bench.cut == []


def test_a_board_that_cannot_be_ordered_off_is_told_and_ordered_off_once_it_is_back() -> None:
    bench = GateBench(board=True)
    bench.offering()
    bench.boards[1].gone = True

    bench.rcd(good=False)
    lost = bench.last(DeviceLost)
    bench.advance(1.0)
    still = on_offer(bench)
    bench.boards[1].gone = False
    bench.advance(0.3)

    assert (lost.evse, lost.kind) == (1, "contactor")
    assert still
    assert not on_offer(bench)
    bench.advance(5.0)
    assert bench.last(DeviceFound).kind == "contactor"


def test_looking_for_a_lost_board_does_not_cut_what_it_offers_meanwhile() -> None:
    bench = GateBench(board=True)
    bench.offering()
    bench.boards[1].gone = True
    bench.gate.release(1, "asked")
    bench.boards[1].gone = False
    assert bench.put() == ()
    cuts = bench.boards[1].cuts

    bench.advance(6.0)

    assert bench.boards[1].cuts == cuts
    assert on_offer(bench)


def test_a_board_that_welded_its_contactor_is_told_and_gets_no_offer() -> None:
    bench = GateBench(board=True)
    bench.offering()
    bench.pilot(C)
    bench.gate.energise(1, 0)
    bench.boards[1].welded = True

    bench.pilot(B)
    held = bench.put()
    bench.advance(1.0)

    assert "opening" in held and "welded" in held
    assert bench.last(ContactorReported) == ContactorReported(1, closed=True, welded=True)


def test_nothing_is_offered_while_it_is_not_known_that_the_board_has_opened() -> None:
    bench = GateBench(board=True)
    bench.ready()
    bench.pilot(B)
    bench.boards[1].welded = True
    bench.gate.release(1, "asked")
    bench.boards[1].welded = False

    held = bench.put()
    bench.advance(0.1)

    assert held == ("opening",)
    assert bench.put() == ()


def test_a_dead_man_that_does_not_run_keeps_the_offer_from_going_out() -> None:
    bench = GateBench(board=True)
    bench.ready()
    bench.pilot(B)
    bench.deadman._ending = True
    bench.posted.clear()

    held = bench.put()

    assert held == ("contactor_lost",)
    assert not on_offer(bench)
    assert bench.gate.number(1) == 1
    assert bench.kinds() == ["DeviceLost", "ContactorReported"]


def test_make_safe_orders_every_board_off() -> None:
    bench = GateBench(board=True, evses=(1, 2))
    for board in bench.boards.values():
        board.offered = NO_OFFER.__class__(OfferKind.CURRENT, 16.0)

    bench.gate.make_safe()

    assert [board.offered for board in bench.boards.values()] == [NO_OFFER, NO_OFFER]


def test_a_fresh_gate_tells_a_cut_to_nobody_without_complaint() -> None:
    bench = GateBench(board=True)
    fresh = type(bench.gate)(
        bench.switches, (), mono_ns=bench.mono_ns, later=bench.later, post=bench.posted.append,
        ask_loop=lambda answered: None, refresh=lambda evse: None)

    assert fresh.on_cut(1) is None


# --- the hold-in relay ---------------------------------------------------------------------------


def test_the_relay_is_fed_from_the_offer_on_and_closing_waits_until_it_has_pulled_in() -> None:
    bench = GateBench(heartbeat=True)
    bench.ready()
    assert bench.relay is not None

    bench.gate.energise(1, 0)
    at_once = bench.coil()
    bench.advance(0.6)

    assert not at_once
    assert bench.coil()
    assert bench.posted == [ContactorReported(1, closed=True)]
    assert len(bench.relay.beats) >= 3


def test_a_relay_that_starts_keeps_an_offer_to_a_self_switching_board_waiting() -> None:
    bench = GateBench(heartbeat=True, board=True)
    bench.ready()
    bench.pilot(B)

    held = bench.put()
    bench.advance(0.6)

    assert held == ("heartbeat_starting",)
    assert bench.put() == ()


def test_a_relay_that_is_lost_opens_everything_and_is_told_for_each_evse() -> None:
    bench = GateBench(heartbeat=True, evses=(1, 2))
    assert bench.relay is not None
    bench.ready(1)
    bench.ready(2)
    bench.advance(1.0)
    bench.gate.energise(1, 0)
    bench.posted.clear()

    bench.relay.gone = True
    bench.advance(0.3)

    assert not bench.coil(1)
    assert "heartbeat_lost" in bench.last(PowerReleased).reasons
    lost = [event for event in bench.posted if isinstance(event, DeviceLost)]
    assert [(event.evse, event.kind) for event in lost] == [(1, "contactor"), (2, "contactor")]
    assert "the line is gone" in lost[0].detail

    bench.posted.clear()
    bench.relay.gone = False
    bench.advance(6.0)
    found = [event for event in bench.posted if isinstance(event, DeviceFound)]
    assert [(event.evse, event.kind) for event in found] == [(1, "contactor"), (2, "contactor")]


def test_a_contactor_that_is_lost_by_itself_is_not_found_with_the_relay() -> None:
    bench = GateBench(heartbeat=True, evses=(1, 2))
    assert bench.relay is not None
    bench.ready(1)
    bench.advance(0.5)
    bench.gate._paths[2].lost = True
    bench.relay.gone = True
    bench.advance(0.3)
    bench.relay.gone = False
    bench.posted.clear()

    bench.advance(6.0)

    assert [event.evse for event in bench.posted if isinstance(event, DeviceFound)] == [1]


def test_a_silent_loop_starves_the_relay() -> None:
    bench = GateBench(heartbeat=True)
    assert bench.relay is not None
    bench.ready()
    bench.advance(1.0)
    bench.loop_answers = False

    bench.advance(3.0)

    assert bench.relay.at_rest
    assert bench.gate.objections(1) != ()


def test_a_loop_that_stood_still_until_the_relay_dropped_opens_before_it_feeds_again() -> None:
    bench = GateBench(heartbeat=True)
    bench.ready()
    bench.gate.energise(1, 0)
    bench.advance(1.05)
    assert bench.relay is not None
    assert bench.coil()
    fed = []
    beat = bench.relay.beat

    def watched() -> None:
        fed.append(bench.coil())
        beat()

    bench.relay.beat = watched  # type: ignore[method-assign]
    bench.stall(0.7)
    bench.advance(1.0)

    assert fed and not any(fed)
    assert bench.last(PowerReleased).reasons == ("heartbeat_starting",)
