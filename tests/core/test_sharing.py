"""The station's current over its EVSEs, one situation each; the random ones: test_sharing_site.py.

Seen from the world: what the boards were told, which coils are on, what is told of it.
"""

import pytest
from support.core_world import World, evse_layout

from cpctl.core import effects as ef
from cpctl.core import events as ev
from cpctl.core import facts as fa
from cpctl.core import metering
from cpctl.core.around import claims
from cpctl.core.profiles import (
    ChargingProfile,
    Period,
    ProfileKind,
    Purpose,
    RateUnit,
    Schedule,
)
from cpctl.core.values import BootCause, Origin, Outcome, Quantity, RequestId, StationLayout
from hal.values import NO_OFFER, Offer, OfferKind, PilotState

sharing = pytest.mark.requirement("16.SC.16")
SETTLED_S = 16.0  # after so long what a car takes is believed


def shared_world(total_a: float, evses: int = 2, settings: dict[str, object] | None = None,
                 **layout: object) -> World:
    return World(layout=StationLayout(
        tuple(evse_layout(number, **layout) for number in range(1, evses + 1)),
        station_max_current_a=total_a), settings=settings).boot()


def charging(world: World, *evses: int) -> World:
    for number in evses:
        world.charging(number, f"04A{number}")
    world.advance(6)
    return world


def offers(world: World) -> list[float]:
    return [place.offer.current_a for place in world.places.values()]


def coils(world: World) -> list[bool]:
    return [place.coil for place in world.places.values()]


def draws(world: World, evse: int, *amps: float) -> None:
    """The meter of the EVSE shows these currents."""
    world.meter(world.place(evse).register_wh, evse, currents_a=amps)


def takes(world: World, evse: int, *amps: float) -> None:
    """The car takes this and goes on taking it until it is believed."""
    for _ in range(3):
        draws(world, evse, *amps)
        world.advance(SETTLED_S / 2)
        for other in world.places:
            if other != evse:
                world.meter(world.place(other).register_wh, other)
    draws(world, evse, *amps)


def leaves_c(world: World, evse: int) -> None:
    """The car obeys the withdrawn offer."""
    assert world.place(evse).offer == NO_OFFER
    world.pilot(PilotState.B, evse)


def limit(world: World, amps: float) -> None:
    schedule = Schedule(RateUnit.AMPERE, (Period(0, amps),), start=world.now.utc)
    profile = ChargingProfile(1, 0, Purpose.STATION_MAX, ProfileKind.ABSOLUTE, schedule)
    assert world.ask(ev.SetProfileRequested, profile=profile).outcome is Outcome.ACCEPTED


# --- equal, fifo, weighted -----------------------------------------------------------------------


@sharing
@pytest.mark.parametrize(("how", "shares"), [
    ("equal", [20, 20, 20]), ("fifo", [32, 22, 6]), ("weighted", [22.8, 22.8, 14.4])])
def test_the_current_is_shared_as_the_option_says(how: str, shares: list[float]) -> None:
    layout = StationLayout((evse_layout(1), evse_layout(2), evse_layout(3, max_current_a=16)),
                           station_max_current_a=60)
    if how == "equal":
        layout = StationLayout((*layout.evses[:2], evse_layout(3)), station_max_current_a=60)
    world = World(layout=layout, settings={"smart.share": how}).boot()

    charging(world, 1, 2, 3)

    assert offers(world) == pytest.approx(shares, abs=0.11)


@sharing
def test_what_one_may_not_have_goes_to_the_others() -> None:
    layout = StationLayout((evse_layout(1, max_current_a=8), evse_layout(2)),
                           station_max_current_a=40)

    world = charging(World(layout=layout).boot(), 1, 2)

    assert offers(world) == [8, 32]


@pytest.mark.requirement("16.SC.5", "16.SC.16")
def test_the_lower_of_installation_and_profile_is_shared() -> None:
    world = charging(shared_world(40), 1, 2)

    limit(world, 30)
    lowered = offers(world)
    limit(world, 60)
    world.advance(6)

    assert (lowered, offers(world)) == ([15, 15], [20, 20])


# --- lower first ---------------------------------------------------------------------------------


@sharing
def test_a_newcomer_gets_only_what_is_free_until_the_others_have_followed() -> None:
    world = charging(shared_world(40), 1)

    world.charging(2, "04A2")
    at_once = offers(world)
    world.advance(4.9)
    before = offers(world)
    world.advance(0.2)

    assert (at_once, before, offers(world)) == ([20, 8], [20, 8], [20, 20])


@sharing
def test_a_board_that_does_not_confirm_a_lower_offer_counts_with_the_higher_one() -> None:
    world = charging(shared_world(40), 1)
    world.place(1).board_answers = False

    world.charging(2, "04A2")
    world.advance(60, meter_each_s=1)

    assert offers(world) == [32, 8]


@sharing
def test_a_silent_board_counts_with_its_last_offer_until_it_answers() -> None:
    world = charging(shared_world(40), 1, 2)
    world.place(1).board_answers = False

    world.trip(1, "no_pilot")
    world.pilot(None, 1)
    world.tell(ev.DeviceLost(1, "pilot", "silent"))
    world.advance(60, meter_each_s=1)
    silent = offers(world)
    world.place(1).board_answers = True
    world.tell(ev.OfferConfirmed(1, NO_OFFER, 9))
    world.advance(6, meter_each_s=1)

    assert not world.place(1).coil
    assert silent == [20, 20]
    assert world.place(2).offer.current_a == 32


@sharing
def test_a_silent_board_counts_nothing_once_its_evse_is_taken_out_of_service() -> None:
    world = charging(shared_world(40), 1, 2)
    world.place(1).board_answers = False
    world.trip(1, "no_pilot")
    world.pilot(None, 1)
    world.advance(6, meter_each_s=1)

    world.ask(ev.AvailabilityRequested, Origin.LOCAL, operative=False, evse=1)
    world.advance(6, meter_each_s=1)

    assert world.place(2).offer.current_a == 32


@sharing
def test_after_a_restart_a_silent_board_may_still_offer_what_the_last_life_did() -> None:
    before = charging(shared_world(40), 1)

    world = World(layout=before.layout, kept=before.kept)
    world.place(1).board_answers = False
    world.boot(BootCause.CRASH)
    world.charging(2, "04A2")
    world.advance(30, meter_each_s=1)

    assert world.place(2).offer.current_a == 8


@sharing
def test_after_a_restart_a_silent_board_that_offered_nothing_costs_nothing() -> None:
    before = charging(shared_world(40), 1)
    before.unplug(1)
    before.advance(6)

    world = World(layout=before.layout, kept=before.kept)
    world.place(1).board_answers = False
    world.boot(BootCause.CRASH)
    world.charging(2, "04A2")

    assert world.place(2).offer.current_a == 32


@sharing
def test_a_lower_offer_is_marked_as_urgent_and_a_raise_is_not() -> None:
    world = charging(shared_world(40), 1)

    world.charging(2, "04A2")
    world.advance(6)

    told = [(one.evse, one.offer.current_a, one.lower) for one in world.log
            if isinstance(one, ef.SetOffer) and one.offer.kind is OfferKind.CURRENT]
    assert told == [(1, 32, False), (2, 8, False), (1, 20, True), (2, 20, False)]


@sharing
def test_a_path_is_not_closed_while_the_car_may_still_keep_to_a_higher_offer() -> None:
    world = shared_world(40)
    world.plug(1)
    world.tap("04A1", evses=(1,))
    limit(world, 10)

    world.pilot(PilotState.C, 1)
    at_once = (offers(world), coils(world))
    world.advance(5.1)

    assert at_once == ([10, 0], [False, False])
    assert coils(world) == [True, False]


@pytest.mark.requirement("16.SC.12")
def test_an_order_to_close_under_way_is_not_answered_by_opening_under_load() -> None:
    world = World().boot()
    world.plug()
    world.tap()
    world.gate_answers = False
    world.pilot(PilotState.C)  # ordered, and the gate's word is still under way

    limit(world, 0)
    withdrawn = world.place().offer
    world.gate_answers = True
    world.place().coil = True
    world.tell(ev.ContactorReported(1, closed=True))
    still = world.place().coil
    world.pilot(PilotState.B)

    assert (withdrawn, still, world.place().coil) == (NO_OFFER, True, False)
    assert not world.ended()


@pytest.mark.requirement("16.SC.12")
def test_an_order_to_close_that_the_gate_refuses_after_the_limit_fell_leaves_nothing() -> None:
    world = World().boot()
    world.plug()
    world.tap()
    world.gate_answers = False
    world.pilot(PilotState.C)
    limit(world, 0)

    world.gate_answers = True
    world.tell(ev.EnergiseRefused(1, 0, ("stale",)))
    limit(world, 16)
    world.advance(6)

    assert world.place().coil
    assert world.place().offer.current_a == 16


# --- what is not used ----------------------------------------------------------------------------


@sharing
def test_what_a_car_does_not_take_goes_to_the_other_and_comes_back() -> None:
    world = charging(shared_world(40), 1, 2)

    takes(world, 1, 8, 8, 8)
    world.advance(6)
    given = offers(world)
    draws(world, 1, 9.5, 9.5, 9.5)
    world.advance(6)

    assert given == [10, 30]
    assert offers(world) == [20, 20]


@sharing
def test_a_car_that_does_not_ask_keeps_the_minimum_and_gets_its_part_when_it_asks() -> None:
    world = charging(shared_world(40), 1, 2)

    world.pilot(PilotState.B, 1)
    world.advance(59, meter_each_s=5)
    before = offers(world)
    world.advance(8, meter_each_s=5)
    given = offers(world)
    world.pilot(PilotState.C, 1)
    world.advance(6)

    assert (before, given, offers(world)) == ([20, 20], [8, 32], [20, 20])


@sharing
def test_a_car_that_takes_less_keeps_its_offer_while_nobody_else_wants_it() -> None:
    world = charging(shared_world(40), 1)

    takes(world, 1, 8, 8, 8)

    assert offers(world)[0] == 32


@sharing
def test_a_car_that_draws_more_than_it_is_offered_leaves_the_others_less() -> None:
    world = charging(shared_world(40), 1, 2)

    draws(world, 1, 26, 26, 26)

    assert offers(world) == [20, 14]


# --- turns ---------------------------------------------------------------------------------------


@pytest.mark.requirement("16.SC.16", "16.SC.12", "16.STAT.2", "16.STAT.3")
def test_less_than_six_amperes_for_each_goes_round_and_ends_no_session() -> None:
    world = charging(shared_world(10), 1, 2)
    assert (offers(world), coils(world)) == ([10, 0], [True, False])

    world.advance(895, meter_each_s=5)
    withdrawn = (offers(world), coils(world))
    leaves_c(world, 1)
    world.pilot(PilotState.C, 2)
    world.advance(6)

    assert withdrawn == ([0, 0], [True, False])  # the car is asked to stop before the coil opens
    assert (offers(world), coils(world)) == ([0, 10], [False, True])
    assert [fact.evse for fact in world.told(fa.TransactionChanged)
            if fact.charging_state == "SuspendedEVSE"] == [2, 1]
    assert not world.ended()
    assert world.evse(1).why_suspended == "limit_below_minimum"


@sharing
def test_a_turn_that_is_not_used_passes_to_the_next() -> None:
    world = charging(shared_world(10), 1, 2)

    world.pilot(PilotState.B, 1)
    world.advance(68, meter_each_s=5)

    assert offers(world) == [0, 10]


@sharing
@pytest.mark.requirement("16.SC.12")
@pytest.mark.parametrize("amps", [5.9, 0])
def test_a_limit_below_the_minimum_pauses_all_and_they_resume(amps: float) -> None:
    world = charging(shared_world(40), 1, 2)

    limit(world, amps)
    for evse in (1, 2):
        leaves_c(world, evse)
    paused = (offers(world), coils(world))
    limit(world, 40)
    for evse in (1, 2):
        world.pilot(PilotState.C, evse)
    world.advance(6)

    assert paused == ([0, 0], [False, False])
    assert (offers(world), coils(world)) == ([20, 20], [True, True])
    assert not world.ended()


@sharing
def test_a_car_that_ignores_the_pilot_is_opened_after_six_seconds_and_counts_till_then() -> None:
    world = charging(shared_world(10), 1, 2)
    world.advance(895, meter_each_s=5)

    world.advance(4, meter_each_s=1)
    before = (offers(world), coils(world))
    world.advance(2, meter_each_s=1)

    assert before == ([0, 0], [True, False])
    assert (offers(world), coils(world)) == ([0, 10], [False, True])


# --- phases --------------------------------------------------------------------------------------


@pytest.mark.requirement("16.SC.16", "key:ConnectorPhaseRotation")
@pytest.mark.parametrize(("rotations", "shares"), [
    (("1.RST", "2.RST"), [8, 8]),  # both on L1
    (("1.RST", "2.STR"), [16, 16]),  # L1 and L2
    (("1.SRT", "2.TRS"), [16, 16]),  # L2 and L3
    (("1.RST",), [8, 8]),  # where the other is nobody knows
    (("1.RST", "2.NotApplicable"), [8, 8]),
    ((), [8, 8]),
])
def test_an_evse_of_one_phase_loads_the_phase_that_its_rotation_tells(
        rotations: tuple[str, ...], shares: list[float]) -> None:
    world = shared_world(16, settings={"meter.phase_rotation": rotations}, phases=1,
                         max_current_a=16)

    charging(world, 1, 2)

    assert offers(world) == shares


@pytest.mark.requirement("16.SC.16", "key:ConnectorPhaseRotation")
def test_a_car_of_one_phase_leaves_the_other_phases_to_others() -> None:
    world = shared_world(20, settings={"meter.phase_rotation": ("1.RST", "2.STR")})
    charging(world, 1, 2)

    takes(world, 1, 10, 0, 0)
    takes(world, 2, 10, 0, 0)
    world.advance(6)
    apart = offers(world)
    draws(world, 1, 10, 10, 10)

    assert apart == [20, 20]
    assert offers(world)[1] == 10


@pytest.mark.requirement("16.MET.6")
def test_values_of_phases_are_numbered_as_the_meter_does_whatever_the_rotation() -> None:
    world = shared_world(40, settings={"meter.phase_rotation": ("1.STR",)})
    charging(world, 1)

    draws(world, 1, 3, 1, 2)

    found = metering.values(world.station.evses[0], ["current_import"], None, 230.0)
    assert [(one.phase, one.value) for one in found] == [("L1", 3), ("L2", 1), ("L3", 2)]


@sharing
def test_what_is_told_as_offered_follows_the_share() -> None:
    world = charging(shared_world(40), 1, 2)

    found = metering.values(world.station.evses[0], ["current_offered", "power_offered"], None,
                            230.0)

    assert [(one.quantity, one.value) for one in found] == [
        (Quantity.CURRENT_OFFERED, 20.0), (Quantity.POWER_OFFERED, 20.0 * 3 * 230)]


# --- what a technician sees ----------------------------------------------------------------------


@sharing
def test_each_claim_on_the_current_names_its_owner_and_until_when_it_holds() -> None:
    world = charging(shared_world(10), 1, 2)
    first, second = world.station.evses

    told = [(one.owner, one.current_a) for one in claims(
        world.station, first, world.now, world.settings)]
    waits = {one.owner: one for one in claims(world.station, second, world.now, world.settings)}

    assert told == [("hardware", 32.0), ("station", 10.0)]
    assert waits["station"].current_a == 0.0
    until = waits["station"].until
    assert until is not None and 880 < (until - world.now.mono_ns) / 1e9 <= 900


def test_an_offer_that_was_overtaken_does_not_confirm_the_newer_one() -> None:
    world = shared_world(40)
    world.place(1).board_answers = False
    world.charging(1, "04A1")
    order = next(one for one in reversed(world.log)
                 if isinstance(one, ef.SetOffer) and one.evse == 1)

    world.tell(ev.OfferConfirmed(1, NO_OFFER, order.number - 1))
    world.charging(2, "04A2")
    world.advance(20, meter_each_s=1)

    assert order.offer == Offer(OfferKind.CURRENT, 32.0)
    assert world.place(2).offer.current_a == 8
    assert RequestId(Origin.CSMS, 1) not in world.answers
