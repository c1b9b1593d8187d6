"""Reservations in the core: who is let in, what is answered, when they end, what survives."""

import random
from datetime import timedelta
from itertools import product

import pytest
from support.core_world import ACCEPTED, START, World, evse_layout, with_settings

from cpctl.core import effects as ef
from cpctl.core import events as ev
from cpctl.core.faults import FaultCode
from cpctl.core.state import Reservation
from cpctl.core.values import (
    BootCause,
    ConnectorLayout,
    IdToken,
    Origin,
    Outcome,
    Registration,
    ResetKind,
    StationLayout,
    TokenInfo,
    TokenStatus,
)
from cpctl.core.views import ClaimState

requirement = pytest.mark.requirement
ANNA, BERT, CARL = IdToken("ANNA"), IdToken("BERT"), IdToken("CARL")
FLEET = IdToken("FLEET")
TWO = (evse_layout(1), evse_layout(2))


def reserve(world: World, number: int = 1, token: IdToken = ANNA, evse: int | None = 1,
            minutes: float = 30, **more: object) -> Outcome:
    return world.ask(ev.ReserveRequested, id=number, token=token, evse=evse,
                     expires=world.now.utc + timedelta(minutes=minutes), **more).outcome


def start(world: World, token: IdToken, evse: int | None = 1, **more: object) -> Outcome:
    return world.ask(ev.StartRequested, token=token, evse=evse, **more).outcome


def numbers(world: World) -> list[int]:
    """The ids of the reservations that hold, as the next life would find them."""
    return sorted(one.id for one in world.records.values() if isinstance(one, Reservation))


def shown(world: World) -> list[int | None]:
    return [one.reserved for one in world.picture.evses]


def of_fleet(token: IdToken) -> TokenInfo:
    return TokenInfo(TokenStatus.ACCEPTED, FLEET if token == BERT else None)


# --- one EVSE ------------------------------------------------------------------------------------


@requirement("16.RES.3", "16.RES.4", "16.RES.9")
def test_the_reserving_card_uses_the_reservation_up() -> None:
    world = World().boot()
    assert reserve(world) is Outcome.ACCEPTED
    assert shown(world) == [1]

    world.tap("anna")
    world.plug()

    assert world.started()[0].reservation == 1
    assert numbers(world) == [] and shown(world) == [None]
    assert [ask.token for ask in world.asks] == [IdToken("anna")]


@requirement("16.RES.3")
def test_a_stranger_is_refused_and_not_even_asked_for() -> None:
    world = World().boot()
    reserve(world)

    world.tap("BERT")
    world.plug()
    world.tap("BERT")

    assert world.asks == [] and world.started() == []
    assert start(world, BERT) is Outcome.REJECTED
    assert start(world, BERT, None) is Outcome.REJECTED
    assert world.ask(ev.StartRequested, Origin.LOCAL, token=BERT, evse=1).code == "reserved"
    assert numbers(world) == [1]


@requirement("16.RES.3", "16.AUTH.4")
def test_a_token_of_the_group_is_let_in_and_the_group_itself_is_no_token() -> None:
    world = World().boot()
    world.judge = of_fleet
    reserve(world, group=FLEET)

    world.tap("CARL")
    assert world.evse().claim is ClaimState.NONE
    world.tap("FLEET")
    assert world.evse().claim is ClaimState.NONE and shown(world) == [1]
    world.tap("BERT")
    world.plug()

    assert world.started()[0].reservation == 1 and world.started()[0].token == BERT
    assert numbers(world) == []


@requirement("16.AUTH.3", "16.RES.3")
@pytest.mark.parametrize(("group", "stops"), [("HOME", True), ("FLEET", False), ("", False)])
def test_a_card_stops_by_its_group_though_another_evse_is_kept_for_another_group(
        group: str, stops: bool) -> None:
    world = World(*TWO).boot()
    world.judge = lambda token: TokenInfo(TokenStatus.ACCEPTED, IdToken("HOME"))
    world.charging(1, "CARL")
    reserve(world, evse=2, group=FLEET)
    world.judge = lambda token: TokenInfo(
        TokenStatus.ACCEPTED, IdToken(group) if group else None)

    world.tap("BERT")
    world.advance(8)

    assert len(world.ended()) == (1 if stops else 0)
    assert [ask.token for ask in world.asks] == [CARL, BERT]
    assert (world.evse(2).claim is ClaimState.GRANTED
            or world.picture.waiting_token is not None) == (group == "FLEET")
    assert world.shown[-1].pattern == (
        "finishing" if stops else "card_accepted" if group == "FLEET" else "card_refused")


@requirement("16.RES.3")
def test_while_a_token_of_unknown_group_is_asked_about_the_evse_stays_reserved() -> None:
    world = World().boot()
    world.judge = lambda token: None
    reserve(world, group=FLEET)

    world.tap("BERT")
    assert (world.evse().claim, shown(world)) == (ClaimState.ASKED, [1])
    world.advance(60)  # nobody answers

    assert (world.evse().claim, shown(world)) == (ClaimState.NONE, [1])


@requirement("16.RES.3", "16.RSTART.2")
def test_a_remote_start_of_a_token_of_unknown_group_asks_though_it_need_not() -> None:
    world = World().boot()
    world.judge = of_fleet
    reserve(world, group=FLEET)

    assert start(world, CARL) is Outcome.ACCEPTED  # it will be tried
    world.plug()
    assert world.started() == []
    assert start(world, BERT) is Outcome.ACCEPTED

    assert world.started()[0].reservation == 1
    assert [ask.token for ask in world.asks] == [CARL, BERT]


@requirement("16.RES.3")
def test_a_remote_start_of_the_reserving_token_asks_nobody() -> None:
    world = World().boot()
    reserve(world, group=FLEET)

    assert start(world, ANNA) is Outcome.ACCEPTED
    world.plug()

    assert world.asks == [] and world.started()[0].reservation == 1


@requirement("16.RES.9")
def test_a_reserving_card_that_is_refused_leaves_the_reservation() -> None:
    world = World().boot()
    world.judge = lambda token: TokenInfo(TokenStatus.BLOCKED)
    reserve(world)

    world.tap("ANNA")

    assert world.evse().claim is ClaimState.NONE and shown(world) == [1]


@requirement("16.RES.4")
def test_a_reserving_card_that_does_not_plug_in_leaves_the_reservation() -> None:
    world = World().boot()
    reserve(world)

    world.tap("ANNA")
    world.advance(61)

    assert world.evse().claim is ClaimState.NONE and shown(world) == [1]


# --- answers -------------------------------------------------------------------------------------


def prepared(world: World) -> None:
    world.tap("BERT", evses=(1,))


def plugged(world: World) -> None:
    world.plug()


def charging(world: World) -> None:
    world.charging(token="BERT")


def finishing(world: World) -> None:
    world.charging(token="BERT")
    world.tap("BERT", evses=(1,))
    world.pilot(world.places[1].pilot)


def taken(world: World) -> None:
    reserve(world, 9, CARL)


def unavailable(world: World) -> None:
    world.ask(ev.AvailabilityRequested, operative=False, evse=1)


def station_unavailable(world: World) -> None:
    world.ask(ev.AvailabilityRequested, operative=False)


def faulted(world: World) -> None:
    world.tell(ev.InputChanged(1, "rcd", good=False))


def station_faulted(world: World) -> None:
    world.tell(ev.JournalFailed("disk full"))


@requirement("16.RES.1")
@pytest.mark.parametrize(("before", "outcome"), [
    (lambda world: None, Outcome.ACCEPTED), (prepared, Outcome.OCCUPIED),
    (plugged, Outcome.OCCUPIED), (charging, Outcome.OCCUPIED), (finishing, Outcome.OCCUPIED),
    (taken, Outcome.OCCUPIED), (unavailable, Outcome.UNAVAILABLE),
    (station_unavailable, Outcome.UNAVAILABLE), (faulted, Outcome.FAULTED),
    (station_faulted, Outcome.FAULTED)])
def test_a_new_reservation_is_answered_by_the_state(before, outcome: Outcome) -> None:
    world = World(*TWO).boot()
    before(world)

    assert reserve(world) is outcome

    assert (1 in numbers(world)) is (outcome is Outcome.ACCEPTED)


@requirement("16.RES.1", "16.RES.6", "E-22")
@pytest.mark.parametrize(("how", "code"), [
    ({"minutes": 0}, "already_expired"), ({"minutes": -60}, "already_expired"),
    ({"evse": 7}, "no_such_evse"), ({"connector": 2}, "no_such_connector")])
def test_what_can_never_be_reserved_is_rejected(how: dict[str, object], code: str) -> None:
    world = World().boot()
    minutes = how.pop("minutes", 5)
    fields = {"id": 1, "token": ANNA, "evse": 1,
              "expires": START + timedelta(minutes=float(str(minutes))), **how}

    reply = world.ask(ev.ReserveRequested, **fields)

    assert (reply.outcome, reply.code) == (Outcome.REJECTED, code)
    assert numbers(world) == []


@requirement("16.RES.1")
def test_before_the_first_acceptance_nothing_can_be_reserved() -> None:
    world = World().boot(online=False)

    assert reserve(world) is Outcome.UNAVAILABLE


@requirement("16.RES.1")
def test_one_of_the_same_id_is_replaced_wherever_it_was() -> None:
    world = World(*TWO).boot()
    reserve(world, 1, ANNA, 1)

    assert reserve(world, 1, BERT, 1, minutes=60) is Outcome.ACCEPTED
    assert start(world, ANNA, 1) is Outcome.REJECTED
    assert reserve(world, 1, BERT, 2) is Outcome.ACCEPTED

    assert shown(world) == [None, 1] and numbers(world) == [1]


@requirement("16.RES.1")
def test_one_of_the_same_id_may_be_renewed_while_its_user_prepares() -> None:
    world = World().boot()
    reserve(world, 1, ANNA, minutes=1)
    world.tap("ANNA")

    assert reserve(world, 1, BERT) is Outcome.OCCUPIED
    assert reserve(world, 1, ANNA, minutes=60) is Outcome.ACCEPTED
    world.advance(55)
    world.plug()

    assert world.started()[0].reservation == 1


@requirement("16.RES.1")
def test_a_replacement_that_cannot_be_made_leaves_the_old_one() -> None:
    world = World(*TWO).boot()
    reserve(world, 1, ANNA, 1)
    world.plug(2)

    assert reserve(world, 1, ANNA, 2) is Outcome.OCCUPIED

    assert shown(world) == [1, None]


@requirement("16.RES.1")
def test_the_id_of_one_that_was_used_up_can_be_given_again_while_that_charge_runs() -> None:
    world = World(*TWO).boot()
    reserve(world, 1, ANNA, 1)
    world.charging(1, "ANNA")
    assert numbers(world) == []

    assert reserve(world, 1, BERT, 2) is Outcome.ACCEPTED
    world.advance(5, meter_each_s=1)

    assert numbers(world) == [1]


@requirement("16.RES.5")
def test_cancelling_ends_a_known_one_once() -> None:
    world = World().boot()
    reserve(world, 5)

    assert world.ask(ev.CancelReservationRequested, id=4).outcome is Outcome.REJECTED
    assert world.ask(ev.CancelReservationRequested, id=5).outcome is Outcome.ACCEPTED
    assert world.ask(ev.CancelReservationRequested, id=5).outcome is Outcome.REJECTED

    assert shown(world) == [None] and numbers(world) == []


# --- the end -------------------------------------------------------------------------------------


@requirement("16.RES.4", "16.OFF.8")
@pytest.mark.parametrize("online", [True, False])
def test_it_ends_at_its_time_online_or_not(online: bool) -> None:
    world = World().boot()
    reserve(world, minutes=10)
    world.tell(ev.LinkChanged(online, Registration.ACCEPTED if online else Registration.NONE))

    world.advance(599)
    assert shown(world) == [1]
    world.advance(2)

    assert shown(world) == [None] and numbers(world) == []


@requirement("16.RES.4")
def test_a_clock_that_is_set_ahead_ends_it_and_one_set_back_prolongs_it() -> None:
    world = World(*TWO).boot()
    reserve(world, 1, ANNA, 1, minutes=10)
    reserve(world, 2, BERT, 2, minutes=20)

    world.skew = timedelta(minutes=15)
    world.tell(ev.ClockStepped(900.0))
    assert numbers(world) == [2]
    world.skew = timedelta(0)
    world.tell(ev.ClockStepped(-900.0))

    world.advance(19 * 60)
    assert numbers(world) == [2]
    world.advance(61)
    assert numbers(world) == []


@requirement("16.RES.4", "16.AVAIL.5")
@pytest.mark.parametrize("end", [unavailable, station_unavailable, faulted, station_faulted])
def test_fault_and_unavailability_end_it(end) -> None:
    world = World().boot()
    reserve(world)

    end(world)
    assert numbers(world) == []
    world.tell(ev.InputChanged(1, "rcd", good=True))
    world.tell(ev.JournalRecovered())
    world.ask(ev.AvailabilityRequested, operative=True)

    assert shown(world) == [None]


def test_a_warning_does_not_end_it() -> None:
    world = World().boot()
    reserve(world)

    world.tell(ev.DeviceLost(1, "meter"))

    assert shown(world) == [1] and world.evse().faults[0].code is FaultCode.METER_LOST


@requirement("16.RES.8", "E-23")
def test_a_plug_without_a_token_leaves_it_reserved_as_long_as_it_is() -> None:
    world = World().boot()
    reserve(world, minutes=10)

    world.plug()
    world.advance(300)
    assert shown(world) == [1] and not world.evse().finishing
    world.advance(301)

    assert shown(world) == [None] and not world.evse().finishing  # now it has its time
    world.advance(61)
    assert world.evse().finishing


@requirement("E-23")
def test_by_option_a_plug_without_a_token_shows_preparing() -> None:
    world = World(settings={"policy.reserved_plug": "preparing"}).boot()
    reserve(world)
    assert shown(world) == [1]

    world.plug()

    assert shown(world) == [None]
    assert start(world, BERT) is Outcome.REJECTED


def test_an_unlock_leaves_it_reserved() -> None:
    world = World(evse_layout(1, has_lock=True)).boot()
    reserve(world)

    world.request(ev.UnlockRequested, evse=1)

    assert shown(world) == [1] and numbers(world) == [1]


# --- any EVSE ------------------------------------------------------------------------------------


@requirement("16.RES.2", "E-21")
def test_the_last_free_evse_is_kept_for_a_reservation_of_any() -> None:
    world = World(*TWO).boot()
    assert reserve(world, evse=None) is Outcome.ACCEPTED
    assert shown(world) == [None, None]

    world.charging(1, "BERT")
    assert shown(world) == [None, 1]
    assert start(world, CARL, 2) is Outcome.REJECTED
    assert reserve(world, 2, CARL, 2) is Outcome.OCCUPIED
    assert reserve(world, 2, CARL, None) is Outcome.OCCUPIED
    world.plug(2)
    world.tap("ANNA")

    assert [one.reservation for one in world.started()] == [None, 1]
    assert numbers(world) == []


@requirement("E-21")
def test_by_option_what_is_kept_does_not_show_and_is_kept_all_the_same() -> None:
    world = World(*TWO, settings={"policy.reserve_zero_status": "available"}).boot()
    reserve(world, evse=None)
    world.charging(1, "BERT")

    assert shown(world) == [None, None]
    assert start(world, CARL, 2) is Outcome.REJECTED


@requirement("16.RES.2", "16.RES.8")
def test_a_stranger_who_plugs_into_the_last_free_evse_does_not_get_it() -> None:
    world = World(*TWO).boot()
    reserve(world, evse=None)

    world.plug(1)
    assert shown(world) == [None, 1]  # the first plug leaves another free
    world.advance(1)
    world.plug(2)
    assert shown(world) == [None, 1]
    world.tap("CARL", evses=(2,))
    assert world.evse(2).claim is ClaimState.NONE
    world.tap("BERT", evses=(1,))

    assert [one.evse for one in world.started()] == [1]


@requirement("16.RES.2")
def test_cards_that_wait_for_a_plug_count_as_evses_taken() -> None:
    world = World(*TWO).boot()
    reserve(world, evse=None)

    world.tap("BERT")
    world.tap("CARL")
    assert [ask.token for ask in world.asks] == [BERT]
    assert reserve(world, 2, CARL, None) is Outcome.OCCUPIED
    world.plug(2)

    assert [one.token for one in world.started()] == [BERT]
    assert shown(world) == [1, None]


@requirement("16.RES.2")
def test_a_reserving_card_that_waits_for_a_plug_keeps_nothing_else_back() -> None:
    world = World(*TWO).boot()
    reserve(world, evse=None)
    world.tap("ANNA")

    world.tap("BERT", evses=(2,))
    world.plug(2)
    world.plug(1)

    assert [(one.evse, one.reservation) for one in world.started()] == [(2, None), (1, 1)]


@requirement("16.RES.2")
@pytest.mark.parametrize(("spoil", "outcome"), [
    (lambda world, evse: world.tell(ev.InputChanged(evse, "rcd", good=False)), Outcome.FAULTED),
    (lambda world, evse: world.ask(ev.AvailabilityRequested, operative=False, evse=evse),
     Outcome.UNAVAILABLE),
    (lambda world, evse: world.plug(evse), Outcome.OCCUPIED)])
def test_without_a_free_evse_the_answer_tells_why(spoil, outcome: Outcome) -> None:
    world = World(*TWO).boot()
    spoil(world, 1)
    assert reserve(world, 1, ANNA, None) is Outcome.ACCEPTED
    assert reserve(world, 2, BERT, None) is Outcome.OCCUPIED
    world.ask(ev.CancelReservationRequested, id=1)
    spoil(world, 2)

    assert reserve(world, 1, ANNA, None) is outcome


@requirement("16.RES.4")
def test_one_of_any_evse_ends_when_none_can_be_used_any_more() -> None:
    world = World(*TWO).boot()
    reserve(world, evse=None)

    world.tell(ev.InputChanged(1, "rcd", good=False))
    assert shown(world) == [None, 1]
    world.ask(ev.AvailabilityRequested, operative=False, evse=2)

    assert numbers(world) == []


@requirement("16.RES.2", "key:ReserveConnectorZeroSupported")
def test_without_support_one_of_any_evse_is_rejected() -> None:
    world = World(*TWO, settings={"reservation.any_evse": False}).boot()

    assert reserve(world, evse=None) is Outcome.REJECTED
    with_settings(world, **{"reservation.enabled": False})
    assert reserve(world) is Outcome.REJECTED


@requirement("16.RES.3")
def test_a_card_with_a_reserved_evse_goes_there_and_not_to_the_next_plug() -> None:
    world = World(*TWO).boot()
    reserve(world, 1, ANNA, 2)
    world.plug(1)

    world.tap("ANNA")

    assert (world.evse(1).claim, world.evse(2).claim) == (ClaimState.NONE, ClaimState.GRANTED)
    world.plug(2)
    assert [(one.evse, one.reservation) for one in world.started()] == [(2, 1)]


@requirement("16.RES.4")
def test_a_reservation_of_one_evse_is_not_used_up_on_another() -> None:
    world = World(*TWO).boot()
    reserve(world, 1, ANNA, 2)

    assert start(world, ANNA, 1) is Outcome.ACCEPTED
    world.plug(1)

    assert world.started()[0].evse == 1 and world.started()[0].reservation is None
    assert numbers(world) == [1]


@requirement("16.TX.9", "16.RES.3")
def test_a_reserved_connector_keeps_its_evse() -> None:
    twin = evse_layout(1, connectors=(ConnectorLayout(1), ConnectorLayout(2)))
    world = World(layout=StationLayout((twin, evse_layout(2)))).boot()

    assert reserve(world, 1, ANNA, 1, connector=2) is Outcome.ACCEPTED
    assert reserve(world, 2, BERT, 1, connector=1) is Outcome.UNAVAILABLE
    assert reserve(world, 2, BERT, 1, connector=2) is Outcome.OCCUPIED
    assert start(world, ANNA, 1, connector=1) is Outcome.REJECTED  # 16.RSTART.2: Unavailable
    assert start(world, BERT, 1, connector=1) is Outcome.REJECTED
    assert world.evse(1).reserved_connector == 2
    world.tap("ANNA")

    assert world.evse(1).connector == 2


@requirement("16.TX.9", "E-08", "16.RES.3")
def test_evses_that_share_a_power_path_are_kept_together() -> None:
    shared = {"hardware.exclusive_groups": ("1+2",)}
    three = (*TWO, evse_layout(3))
    world = World(*three, settings=shared).boot()
    assert reserve(world, 1, ANNA, 1) is Outcome.ACCEPTED

    assert [one.operative for one in world.picture.evses] == [True, False, True]
    assert shown(world) == [1, None, None]
    assert reserve(world, 2, BERT, 2) is Outcome.UNAVAILABLE
    assert start(world, BERT, 2) is Outcome.REJECTED
    assert start(world, BERT, 3) is Outcome.ACCEPTED
    world.charging(1, "ANNA")
    assert reserve(world, 2, CARL, 2) is Outcome.UNAVAILABLE


@requirement("16.RES.2", "E-08")
def test_of_evses_that_share_a_power_path_one_counts_as_free() -> None:
    world = World(*TWO, settings={"hardware.exclusive_groups": ("1+2",)}).boot()

    assert reserve(world, 1, ANNA, None) is Outcome.ACCEPTED
    assert shown(world) == [1, 1]
    assert reserve(world, 2, BERT, None) is Outcome.OCCUPIED
    assert reserve(world, 2, BERT, 2) is Outcome.OCCUPIED
    assert start(world, BERT, 1) is Outcome.REJECTED
    world.charging(2, "ANNA")

    assert world.started()[0].reservation == 1


# --- restarts ------------------------------------------------------------------------------------


def next_life(world: World, minutes: float = 0, **how: object) -> World:
    """The station after a power cut, so many minutes later."""
    fresh = World(layout=world.layout, kept=world.kept,
                  start=world.now.utc + timedelta(minutes=minutes))
    fresh.records = dict(world.records)
    return fresh.boot(BootCause.POWER_LOSS, **how)  # type: ignore[arg-type]


@requirement("16.RES.7", "16.STAT.8", "16.RESET.5")
def test_it_survives_a_restart_and_is_dropped_when_expired_meanwhile() -> None:
    world = World(*TWO).boot()
    reserve(world, 1, ANNA, 1, minutes=10, group=FLEET)
    reserve(world, 2, BERT, None, minutes=60)

    after = next_life(world, minutes=5)
    assert shown(after) == [1, 2] and numbers(after) == [1, 2]
    later = next_life(after, minutes=20)

    assert numbers(later) == [2] and shown(later) == [None, None]


@requirement("16.RESET.5")
def test_a_reset_keeps_it() -> None:
    world = World().boot()
    reserve(world)

    world.ask(ev.ResetRequested, kind=ResetKind.SOFT)

    assert world.restarts and numbers(world) == [1]


@requirement("16.RES.4")
def test_one_that_a_cut_found_used_up_but_not_yet_struck_out_does_not_come_back() -> None:
    world = World().boot()
    reserve(world)
    records = dict(world.records)
    world.charging(token="ANNA")
    started = world.started()[0]
    left = ev.OpenSession(started.session or 0, 1, 1, ANNA, started, 1000, started.at, 1)
    world.records = records

    after = next_life(world, open_sessions=(left,), next_session=9)

    assert numbers(after) == [] and shown(after) == [None]


# --- everything at once --------------------------------------------------------------------------


@requirement("16.RES.2", "16.RES.3")
def test_in_random_histories_every_reservation_finds_its_evse(seed: int) -> None:
    """Whoever holds a reservation and comes to a station without faults can charge, and nobody
    charges where another holds one."""
    rng = random.Random(seed)
    people = (ANNA, BERT, CARL)
    for _ in range(120):
        world = World(*(evse_layout(number) for number in (1, 2, 3))).boot()
        world.judge = lambda token: ACCEPTED
        for _ in range(rng.randrange(2, 12)):
            _act(world, rng, people)
            _nobody_uses_what_is_kept(world)
        for one in tuple(world.station.reservations):
            _claim_it(world, one)


def _act(world: World, rng: random.Random, people: tuple[IdToken, ...]) -> None:
    number, person = rng.choice((1, 2, 3)), rng.choice(people)
    match rng.randrange(6):
        case 0:
            reserve(world, rng.randrange(5), person, rng.choice((None, number)))
        case 1:
            world.ask(ev.CancelReservationRequested, id=rng.randrange(5))
        case 2:
            start(world, person, rng.choice((None, number)))
        case 3 if not world.places[number].plugged:
            world.plug(number)
        case 4 if world.places[number].plugged:
            world.unplug(number)
            world.meter(world.places[number].register_wh, number)
        case _:
            world.tap(person.value, evses=rng.choice(((), (number,))))


def _nobody_uses_what_is_kept(world: World) -> None:
    for evse, one in product(world.station.evses, world.station.reservations):
        if evse.id == one.evse and evse.claim.state is ClaimState.GRANTED:
            assert one.token.same_as(evse.claim.token), (evse, one)


def _claim_it(world: World, one: Reservation) -> None:
    """Its holder comes: a free EVSE is there for the card, or they are at one already."""
    if any(one.token.same_as(evse.claim.token) for evse in world.station.evses):
        return
    if any(one.token.same_as(claim.token) for claim in world.station.waiting):
        return
    reply = world.ask(ev.StartRequested, token=one.token, evse=one.evse)
    if reply.code == "another_waits":
        return
    assert reply.outcome is Outcome.ACCEPTED, (one, reply, world.station)


def test_the_records_are_values_that_can_be_kept() -> None:
    from cpctl.store.records import records_of, text_of

    whole = Reservation(-3, START, ANNA, FLEET, 2, 1)
    bare = Reservation(0, START, ANNA)

    kept = {f"record.{one.id}": text_of(one) for one in (whole, bare)}

    assert records_of(kept) == {"-3": whole, "0": bare}
    assert isinstance(whole, ef.Kept)
