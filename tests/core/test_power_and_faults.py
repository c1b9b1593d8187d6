"""Power, gate and faults: what opens, what closes, what is latched."""

import pytest
from support.core_world import World, evse_layout, with_settings

from cpctl.core import effects as ef
from cpctl.core import events as ev
from cpctl.core import facts as fa
from cpctl.core.faults import CATALOGUE, FaultCode
from cpctl.core.limits import limit_a
from cpctl.core.state import Around, Evse, Plug
from cpctl.core.values import Origin, Outcome, StationLayout, StopReason
from cpctl.core.views import PowerState
from hal.values import NO_OFFER, UNAVAILABLE, Offer, OfferKind, PilotState

requirement = pytest.mark.requirement
LOCKED = evse_layout(1, has_lock=True)


def energised(world: World) -> list[ef.EnergisePower]:
    return [one for one in world.log if isinstance(one, ef.EnergisePower)]


# --- the gate ------------------------------------------------------------------------------------


def test_a_pilot_that_leaves_c_opens_at_once_and_the_offer_stays() -> None:
    world = World().boot().charging()

    world.pilot(PilotState.B)

    assert not world.place().coil
    assert world.place().offer.kind is OfferKind.CURRENT
    assert world.evse().transaction


def test_a_car_that_comes_back_to_c_gets_power_with_the_number_of_the_last_release() -> None:
    world = World().boot().charging()
    world.pilot(PilotState.B)

    world.pilot(PilotState.C)

    assert world.place().coil
    assert [one.after for one in energised(world)] == [0, 1]


def test_nothing_is_ordered_on_before_the_release_was_numbered() -> None:
    world = World().boot().charging()
    world.gate_answers = False
    world.pilot(PilotState.B)

    world.pilot(PilotState.C)
    world.advance(2)

    assert len(energised(world)) == 1


def test_a_gate_that_opened_by_itself_is_asked_again_after_a_while() -> None:
    world = World().boot().charging()

    world.trip(1, "lease_lapsed")
    world.tell(ev.DeadlineReached())
    at_once = (world.place().coil, world.evse().refused)
    world.advance(1.1)

    assert at_once == (False, ("lease_lapsed",))
    assert world.place().coil
    assert world.ended() == []


def test_a_gate_that_refuses_is_asked_less_and_less_often() -> None:
    world = World().boot()
    world.place().barred = ("not_booted",)
    world.charging()
    world.place().barred = ("not_booted",)

    world.advance(60, meter_each_s=5)

    assert 4 <= len(energised(world)) <= 8
    assert not world.place().coil


def test_a_refused_order_is_repeated_when_the_pilot_moves() -> None:
    world = World().boot()
    world.plug()
    world.tap()
    world.place().barred = ("pilot_stale",)
    world.pilot(PilotState.C)
    world.place().barred = ()

    world.pilot(PilotState.B)
    world.pilot(PilotState.C)

    assert world.place().coil


def test_a_contactor_that_does_not_close_is_a_fault_until_the_plug_goes() -> None:
    world = World().boot()
    world.place().does_not_close = True

    world.charging()
    world.advance(2)
    faulted = world.evse()
    world.unplug()

    assert [fault.code for fault in faulted.faults] == [FaultCode.CONTACTOR_DID_NOT_CLOSE]
    assert world.ended()[0].reason is StopReason.OTHER
    assert not world.evse().faulted


def test_a_gate_that_is_silent_on_an_order_is_told_to_open() -> None:
    world = World().boot()
    world.gate_answers = False

    world.charging()
    world.advance(4)

    releases = [one for one in world.log if isinstance(one, ef.ReleasePower)]
    assert [one.why for one in releases] == ["gate_silent"]


def test_a_contact_that_is_never_known_open_is_a_fault_and_the_books_are_closed() -> None:
    world = World().boot().charging()
    world.gate_answers = False

    world.pilot(PilotState.A)
    world.advance(6)

    assert world.evse().faulted
    assert len(world.ended()) == 1
    assert world.evse().session is not None, "not free: nobody knows whether it is off"


def test_a_contact_that_opens_by_itself_is_followed_by_a_release() -> None:
    world = World().boot().charging()

    world.tell(ev.ContactorReported(1, closed=False))

    assert any(isinstance(one, ef.ReleasePower) and one.why == "contact_opened"
               for one in world.log)


def test_a_contact_that_closes_unasked_is_released() -> None:
    world = World().boot()

    world.tell(ev.ContactorReported(1, closed=True))

    assert any(isinstance(one, ef.ReleasePower) for one in world.log)


@pytest.mark.parametrize("ventilated", [True, False])
def test_a_car_in_d_gets_power_only_where_there_is_ventilation(ventilated: bool) -> None:
    world = World(evse_layout(1, ventilated=ventilated)).boot()
    world.plug()
    world.tap()

    world.pilot(PilotState.D)

    assert world.place().coil is ventilated


# --- faults --------------------------------------------------------------------------------------


@requirement("16.STAT.10")
@pytest.mark.parametrize(("name", "code", "reason"), [
    ("rcd", FaultCode.RCD_TRIPPED, StopReason.GROUND_FAULT),
    ("emergency_stop", FaultCode.EMERGENCY_STOP, StopReason.EMERGENCY_STOP),
    ("door", FaultCode.DOOR_OPEN, StopReason.OTHER),
    ("temperature", FaultCode.OVER_TEMPERATURE, StopReason.OTHER),
    ("ground", FaultCode.GROUND_FAILURE, StopReason.GROUND_FAULT),
    ("over_current", FaultCode.OVER_CURRENT, StopReason.OVERCURRENT),
    ("smoke", FaultCode.OTHER, StopReason.OTHER),
])
def test_a_safety_input_opens_at_once_and_ends_the_transaction(
        name: str, code: FaultCode, reason: StopReason) -> None:
    world = World().boot().charging()

    world.tell(ev.InputChanged(1, name, good=False))
    coil, barred = world.place().coil, world.place().barred
    world.advance(2)
    faulted = world.evse()
    world.tell(ev.InputChanged(1, name, good=True))

    assert not coil
    assert barred == (code.value.lower(),)
    assert faulted.faulted and faulted.faults[0].code is code
    assert world.ended()[0].reason is reason
    assert not world.evse().faulted
    assert world.evse().finishing, "the plug is still in"
    assert world.place().barred == ()


def test_a_detector_of_the_bay_is_no_fault() -> None:
    world = World().boot()

    world.tell(ev.InputChanged(1, "bay", good=False))

    assert world.evse().faults == ()


def test_an_emergency_stop_of_the_station_concerns_all_evses() -> None:
    world = World(evse_layout(1), evse_layout(2)).boot().charging(1).charging(2, "04A2")

    world.tell(ev.InputChanged(None, "emergency_stop", good=False))
    world.advance(2)

    assert [place.coil for place in world.places.values()] == [False, False]
    assert {one.reason for one in world.ended()} == {StopReason.EMERGENCY_STOP}
    assert world.picture.faulted


@pytest.mark.parametrize(("state", "code"), [
    (PilotState.E, FaultCode.PILOT_SHORTED), (PilotState.F, FaultCode.PILOT_UNAVAILABLE),
    (None, FaultCode.PILOT_LOST)])
def test_a_pilot_fault_ends_the_transaction_and_forgets_no_plug(
        state: PilotState | None, code: FaultCode) -> None:
    world = World().boot().charging()

    world.pilot(state)
    coil = world.place().coil
    faulted = world.evse()
    world.advance(2)
    world.pilot(PilotState.B)

    assert not coil
    assert faulted.faults[0].code is code and faulted.plugged
    assert not world.evse().faulted
    assert len(world.ended()) == 1


def test_what_has_no_diode_is_no_car() -> None:
    world = World().boot()
    world.plug()
    world.tap()

    world.pilot(PilotState.C, diode_ok=False)

    assert not world.place().coil
    assert world.evse().faults[0].code is FaultCode.DIODE_MISSING


@pytest.mark.parametrize(("kind", "stops"), [
    ("meter", False), ("pilot", True), ("contactor", True), ("lock", True), ("input", True)])
def test_a_lost_device_is_a_fault_until_it_is_found(kind: str, stops: bool) -> None:
    world = World().boot()

    world.tell(ev.DeviceLost(1, kind, "unplugged"))
    lost = world.evse()
    world.tell(ev.DeviceFound(1, kind))

    assert lost.faulted is stops
    assert lost.faults[0].detail == "unplugged"
    assert world.evse().faults == ()


def test_a_lost_reader_is_a_warning_of_the_station() -> None:
    world = World().boot()

    world.tell(ev.DeviceLost(None, "reader"))
    lost = world.picture
    world.tell(ev.DeviceFound(None, "reader"))

    assert [fault.code for fault in lost.faults] == [FaultCode.READER_LOST]
    assert not lost.faulted
    assert world.picture.faults == ()


def test_a_lost_indicator_concerns_nobody() -> None:
    world = World().boot()

    world.tell(ev.DeviceLost(1, "indicator"))

    assert world.evse().faults == ()


@pytest.mark.parametrize("code", [code for code in FaultCode if not CATALOGUE[code].latched
                                  and not CATALOGUE[code].station])
def test_a_fault_told_from_below_comes_and_goes(code: FaultCode) -> None:
    world = World().boot().charging()

    world.tell(ev.FaultReported(1, code, present=True, vendor_code="X7"))
    present = (world.evse().faults[0], world.place().coil)
    world.tell(ev.FaultReported(1, code, present=False))

    assert present[0].code is code and present[0].detail == "X7"
    assert present[1] is not CATALOGUE[code].stops
    assert world.evse().faults == ()


# --- weld ----------------------------------------------------------------------------------------


def welded_world() -> World:
    world = World(LOCKED).boot().charging()
    world.advance(1)
    world.place().welds = True
    world.tap()
    world.pilot(PilotState.B)
    world.advance(2)
    return world


def test_a_weld_is_latched_recorded_and_takes_the_pilot_away() -> None:
    world = welded_world()

    assert world.evse().power is PowerState.WELDED
    assert world.place().offer == UNAVAILABLE
    assert [fact.code for fact in world.told(fa.FaultLatched)] == [FaultCode.CONTACTOR_WELDED]
    assert world.place().barred == ("contactor_welded",)
    assert len(world.ended()) == 1
    assert world.place().locked, "the lock stays shut"


def test_a_welded_evse_serves_nobody_though_the_contact_opens_later() -> None:
    world = welded_world()
    world.place().welds = False
    world.tell(ev.ContactorReported(1, closed=False))

    world.unplug()
    world.plug()
    reply = world.ask(ev.StartRequested, token=ev.IdToken("04A1"), evse=1)
    world.pilot(PilotState.C)

    assert reply.outcome is Outcome.REJECTED
    assert not world.place().coil
    assert world.evse().faulted


def test_our_own_state_f_is_no_fault_of_the_pilot() -> None:
    world = welded_world()

    world.pilot(PilotState.F)

    assert [fault.code for fault in world.evse().faults] == [FaultCode.CONTACTOR_WELDED]


def test_a_weld_outlives_a_restart() -> None:
    world = World().boot(latched=((1, FaultCode.CONTACTOR_WELDED),))

    assert world.evse().power is PowerState.WELDED
    assert world.evse().faulted
    assert world.told(fa.FaultLatched) == [], "it is in the books already"


def test_a_weld_is_cleared_by_a_technician_only_when_open_idle_and_inoperative() -> None:
    world = welded_world()
    ask = (ev.ClearFaultRequested, Origin.LOCAL)

    operative = world.ask(*ask, evse=1)
    world.ask(ev.AvailabilityRequested, operative=False, evse=1)
    closed = world.ask(*ask, evse=1)
    world.place().welds = False
    world.tell(ev.ContactorReported(1, closed=False))
    untested = world.ask(*ask, evse=1)
    world.unplug()
    world.ask(ev.ContactorTestRequested, Origin.LOCAL, evse=1)
    cleared = world.ask(*ask, evse=1, code=FaultCode.CONTACTOR_WELDED)
    again = world.ask(*ask, evse=1)

    assert [one.code for one in (operative, closed, untested, cleared, again)] == [
        "evse_operative", "contact_closed", "contactor_not_tested", "", "no_such_fault"]
    assert untested.hint == "cpctl hw contactor-test 1"
    assert cleared.outcome is Outcome.ACCEPTED
    assert len(world.told(fa.FaultUnlatched)) == 1
    assert world.evse().power is PowerState.OFF


def test_a_mended_evse_charges_again() -> None:
    world = welded_world()
    world.place().welds = False
    world.tell(ev.ContactorReported(1, closed=False))
    world.ask(ev.AvailabilityRequested, operative=False, evse=1)
    world.unplug()
    world.ask(ev.ContactorTestRequested, Origin.LOCAL, evse=1)
    world.ask(ev.ClearFaultRequested, Origin.LOCAL, evse=1)
    world.ask(ev.AvailabilityRequested, operative=True, evse=1)

    world.charging(token="04B2")

    assert world.place().coil


def test_a_weld_told_from_below_is_a_weld() -> None:
    world = World().boot()

    world.tell(ev.FaultReported(1, FaultCode.CONTACTOR_WELDED, present=True))
    world.tell(ev.FaultReported(1, FaultCode.CONTACTOR_WELDED, present=False))

    assert world.evse().power is PowerState.WELDED


def test_a_meter_that_counts_with_the_coil_off_is_a_weld() -> None:
    world = World().boot()
    world.advance(10)

    for register_wh in (1000, 1030, 1060, 1090):
        world.meter(register_wh)
        world.advance(10)

    assert world.evse().power is PowerState.WELDED


def test_a_register_that_jumps_once_with_the_coil_off_is_no_weld() -> None:
    world = World().boot()
    world.advance(10)

    for register_wh in (1000, 1090, 1090, 1090):
        world.meter(register_wh)
        world.advance(10)

    assert not world.evse().faulted


# --- the books -----------------------------------------------------------------------------------


def test_books_that_cannot_be_written_end_what_runs_and_let_nothing_begin() -> None:
    world = World(evse_layout(1), evse_layout(2)).boot().charging(1)

    world.tell(ev.JournalFailed("disk full"))
    world.advance(2)
    ended = len(world.ended())
    world.plug(2)
    world.tap("04B2", evses=(2,))
    refused = world.evse(2).session
    world.tell(ev.JournalRecovered())

    assert ended == 1
    assert refused is None
    assert world.evse(2).session is not None
    assert not world.picture.faulted


def test_a_fact_set_aside_is_a_warning_until_somebody_has_seen_it() -> None:
    world = World().boot()

    world.tell(ev.FactAbandoned(7, 1, "cannot be rendered"))
    warned = world.picture
    seen = world.ask(ev.ClearFaultRequested, Origin.LOCAL, evse=None)
    nothing = world.ask(ev.ClearFaultRequested, Origin.LOCAL, evse=None)

    assert [fault.code for fault in warned.faults] == [FaultCode.FACT_SET_ASIDE]
    assert not warned.faulted
    assert (seen.outcome, nothing.outcome) == (Outcome.ACCEPTED, Outcome.REJECTED)


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hardware", "cable", "share", "limit"), [
    (32, None, None, 32), (32, 20, None, 20), (16, 20, None, 16), (32, 20, 10.55, 10.5),
    (32, 5, None, 0), (32, None, 5.9, 0), (32, None, 6, 6), (32, None, 0, 0)])
def test_the_least_limit_holds_and_below_six_amperes_there_is_none(
        hardware: float, cable: float | None, share: float | None, limit: float) -> None:
    evse = Evse(evse_layout(1, max_current_a=hardware), plug=Plug(cable_a=cable))

    assert limit_a(evse, Around(share_a=share)) == limit


def test_the_cable_limits_the_offer() -> None:
    world = World().boot()
    world.pilot(PilotState.B, cable_a=13)
    world.meter(1000)

    world.tap()

    assert world.place().offer == Offer(OfferKind.CURRENT, 13.0)


def sharing_world(total_a: float) -> World:
    return World(layout=StationLayout((evse_layout(1), evse_layout(2)),
                                      station_max_current_a=total_a)).boot()


def test_one_evse_alone_has_the_whole_current() -> None:
    world = sharing_world(40).charging(1)

    assert world.place(1).offer.current_a == 32


def test_two_evses_share_lower_first_and_raise_after_the_car_has_followed() -> None:
    world = sharing_world(40).charging(1)

    world.charging(2, "04A2")
    at_once = [place.offer.current_a for place in world.places.values()]
    world.advance(5.1)

    assert at_once == [20, 8]
    assert [place.offer.current_a for place in world.places.values()] == [20, 20]


def test_the_current_of_one_that_leaves_goes_to_the_other() -> None:
    world = sharing_world(40).charging(1).charging(2, "04A2")
    world.advance(6)

    world.unplug(1)
    world.advance(6)

    assert [place.offer.current_a for place in world.places.values()] == [0, 32]


def test_the_sum_of_what_is_offered_never_exceeds_the_station() -> None:
    world = sharing_world(16).charging(1).charging(2, "04A2")
    for _ in range(30):
        assert sum(place.offer.current_a for place in world.places.values()) <= 16
        world.advance(1, meter_each_s=0.5)


def test_too_little_for_two_serves_the_first_and_suspends_the_second() -> None:
    world = sharing_world(10).charging(1)

    world.charging(2, "04A2")
    world.advance(10)

    assert [place.offer.current_a for place in world.places.values()] == [10, 0]
    assert world.evse(2).transaction and world.evse(2).why_suspended == "limit_below_minimum"



def test_a_limit_that_falls_to_nothing_winds_down_first() -> None:
    world = World().boot().charging()

    world.pilot(PilotState.C, cable_a=4)
    withdrawn = (world.place().offer, world.place().coil)
    world.advance(6.1)

    assert withdrawn == (NO_OFFER, True)
    assert not world.place().coil
    assert world.evse().transaction


def test_settings_of_a_running_world_may_change() -> None:
    world = World().boot()

    with_settings(world, **{"sampling.interval_s": 5})

    assert world.settings.integer("sampling.interval_s") == 5


def test_lock_that_is_being_opened_when_the_contactor_welds_is_not_tried_again() -> None:
    world = World(LOCKED)
    world.lock_answers = False
    world.boot()
    world.advance(1)
    tried = [one for one in world.log if isinstance(one, ef.UnlockPlug)]
    assert tried, "at rest, with nothing plugged in, the lock is opened"

    world.place().welds = True
    world.tell(ev.ContactorReported(1, closed=True, welded=True))
    world.advance(60)

    assert [one for one in world.log if isinstance(one, ef.UnlockPlug)] == tried
    assert not any(one.code is FaultCode.LOCK_JAMMED for one in world.evse().faults)
