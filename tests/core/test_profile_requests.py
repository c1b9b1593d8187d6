"""Installing and clearing charging profiles, by a remote start too, and what outlives restarts."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from support.charging import (
    ABSOLUTE,
    RECURRING,
    RELATIVE,
    WATT,
    course,
    install,
    offered,
    profile,
)
from support.core_world import START, World, evse_layout

from cpctl.core import events as ev
from cpctl.core.now import TimeQuality
from cpctl.core.profiles import ChargingProfile, InstalledProfile, Period, Purpose, Recurrency
from cpctl.core.station import new, step
from cpctl.core.values import (
    AfterPowerLoss,
    BootCause,
    ConnectorLayout,
    EvseLayout,
    IdToken,
    Origin,
    Outcome,
    Reply,
    RequestId,
    StationLayout,
    TokenInfo,
    TokenStatus,
)
from cpctl.store.records import records_of, text_of
from hal.values import PilotState

requirement = pytest.mark.requirement
TX, STATION_MAX = Purpose.TX, Purpose.STATION_MAX
ONE = (evse_layout(1),)
TWO = (evse_layout(1), evse_layout(2))
ANNA = IdToken("04A1")


def asked(world: World, one: ChargingProfile, evse: int | None = None, **more: object) -> Reply:
    return world.ask(ev.SetProfileRequested, profile=one, evse=evse, **more)


def with_periods(one: ChargingProfile, *periods: Period) -> ChargingProfile:
    return replace(one, schedule=replace(one.schedule, periods=periods))


# --- refused -------------------------------------------------------------------------------------


PLAIN = profile(1)
BAD: dict[str, ChargingProfile] = {
    "stack_level below": replace(PLAIN, stack_level=-1),
    "stack_level above": replace(PLAIN, stack_level=11),
    "first_period_not_0": with_periods(PLAIN, Period(1, 10.0)),
    "first_period_not_0 at all": with_periods(PLAIN),
    "periods_not_ascending": with_periods(PLAIN, Period(0, 9.0), Period(9, 9.0), Period(5, 9.0)),
    "periods_not_ascending twice": with_periods(PLAIN, Period(0, 9.0), Period(0, 8.0)),
    "periods_not_ascending far": with_periods(PLAIN, Period(0, 9.0), Period(2**31, 8.0)),
    "too_many_periods": with_periods(PLAIN, *(Period(at_s, 9.0) for at_s in range(97))),
    "bad_limit below": with_periods(PLAIN, Period(0, -0.1)),
    "bad_limit above": with_periods(PLAIN, Period(0, 1e12)),
    "bad_limit phases 0": with_periods(PLAIN, Period(0, 9.0, 0)),
    "bad_limit phases 4": with_periods(PLAIN, Period(0, 9.0, 4)),
    "bad_duration 0": profile(1, duration_s=0),
    "bad_duration below": profile(1, duration_s=-5),
    "bad_duration above": profile(1, duration_s=2**31),
    "recurrency missing": profile(1, kind=RECURRING),
    "recurrency absolute": profile(1, recurrency=Recurrency.DAILY),
    "recurrency relative": profile(1, kind=RELATIVE, recurrency=Recurrency.WEEKLY),
    "no_start": profile(1, kind=RECURRING, recurrency=Recurrency.DAILY, start=None),
    "relative_for_the_station": profile(1, kind=RELATIVE, purpose=STATION_MAX),
    "never_valid": profile(1, valid_from=START + timedelta(days=2),
                           valid_to=START + timedelta(days=1)),
    "never_valid at all": profile(1, valid_from=START + timedelta(days=2),
                                  valid_to=START + timedelta(days=2)),
    "already_over": profile(1, valid_to=START),
    "transaction_named": profile(1, transaction=1),
}


@requirement("16.SC.1", "16.SC.3")
@pytest.mark.parametrize("why", BAD)
def test_what_cannot_be_carried_out_is_refused_and_changes_nothing(why: str) -> None:
    world = World(*ONE).boot()
    install(world, profile(1, (0, 13.0)))

    reply = asked(world, BAD[why])

    assert (reply.outcome, reply.code) == (Outcome.REJECTED, why.partition(" ")[0])
    assert course(world, 60) == [(0, 13.0)]


@requirement("16.SC.1")
@pytest.mark.parametrize("one", [
    replace(PLAIN, stack_level=10),
    with_periods(PLAIN, *(Period(at_s, 9.0, 3) for at_s in range(96))),
    with_periods(PLAIN, Period(0, 0.0, 1)),
    profile(1, duration_s=1),
    profile(1, start=None),
    profile(1, kind=RELATIVE),
    profile(1, valid_from=START, valid_to=START + timedelta(seconds=1)),
])
def test_what_is_just_possible_is_installed(one: ChargingProfile) -> None:
    assert asked(World(*ONE).boot(), one).outcome is Outcome.ACCEPTED


@requirement("16.SC.3")
def test_a_relative_profile_with_a_start_is_taken_and_its_start_ignored() -> None:
    """E-24."""
    world = World(*ONE).boot()
    one = profile(1, (0, 8.0), (60, 9.0), kind=RELATIVE)
    install(world, replace(one, schedule=replace(one.schedule, start=START)))

    world.advance(1000)

    assert course(world, 100) == [(0, 8.0), (60, 9.0)]


@requirement("16.SC.3")
@pytest.mark.parametrize("kind", [ABSOLUTE, RELATIVE])
def test_a_start_missing_or_too_much_can_be_refused_by_option(kind: object) -> None:
    world = World(*ONE, settings={"compat.profile_without_start": "reject"}).boot()
    one = profile(1, kind=kind, start=None)  # type: ignore[arg-type]
    if kind is RELATIVE:
        one = replace(one, schedule=replace(one.schedule, start=START))

    assert asked(world, one).code == "no_start"
    assert asked(world, profile(1)).outcome is Outcome.ACCEPTED


@requirement("16.SC.3")
def test_whether_a_profile_is_over_needs_a_clock_to_be_trusted() -> None:
    world = World(*ONE).boot()
    past = profile(1, valid_to=START - timedelta(days=1))
    request = ev.SetProfileRequested(RequestId(Origin.CSMS, 99), past)

    after, _ = step(world.station, request, replace(world.now, quality=TimeQuality.FLOOR),
                    world.settings)

    assert [one.profile for one in after.profiles] == [past]






@requirement("16.SC.5")
def test_a_limit_of_the_station_is_for_the_station_alone() -> None:
    world = World(*ONE).boot()

    assert asked(world, profile(1, purpose=STATION_MAX), 1).code == "only_for_the_station"
    assert asked(world, profile(1, purpose=STATION_MAX)).outcome is Outcome.ACCEPTED


def test_constraints_from_outside_are_not_for_the_central_system_to_set() -> None:
    reply = asked(World(*ONE).boot(), profile(1, purpose=Purpose.EXTERNAL))

    assert reply.outcome is Outcome.NOT_SUPPORTED


def test_an_evse_that_is_not_installed_gets_no_profile() -> None:
    assert asked(World(*ONE).boot(), profile(1), 5).code == "no_such_evse"


@requirement("16.SC.4")
def test_a_profile_for_a_transaction_needs_that_transaction() -> None:
    world = World(*TWO).boot()
    one = profile(1, purpose=TX)
    assert asked(world, one, 1).code == "no_transaction"
    assert asked(world, one).code == "not_for_the_station"

    world.charging()

    assert asked(world, replace(one, transaction=7), 1).code == "other_transaction"
    assert asked(world, one, 2).code == "no_transaction"
    assert asked(world, replace(one, transaction=1), 1).outcome is Outcome.ACCEPTED
    assert asked(world, one, 1).outcome is Outcome.ACCEPTED  # not named: the one that runs
    assert [each.profile.transaction for each in world.station.profiles] == [1]


@requirement("16.SC.4")
def test_the_transaction_must_be_at_the_connector_of_the_profile() -> None:
    twins = EvseLayout(1, connectors=(ConnectorLayout(1), ConnectorLayout(2)))
    world = World(twins).boot()
    world.charging()

    assert asked(world, profile(1, purpose=TX), 1, connector=2).code == "no_transaction"
    assert asked(world, profile(1, purpose=TX), 1, connector=1).outcome is Outcome.ACCEPTED


@requirement("16.SC.1", "key:MaxChargingProfilesInstalled")
def test_there_is_room_for_so_many_profiles_and_for_each_replacement() -> None:
    world = World(*ONE, settings={"smart.max_installed": 3}).boot()
    for number in range(3):
        install(world, profile(number, level=number))

    assert asked(world, profile(7, level=7)).code == "too_many_profiles"
    assert asked(world, profile(1, (0, 7.0), level=5)).outcome is Outcome.ACCEPTED
    assert asked(world, profile(8, (0, 7.0), level=0)).outcome is Outcome.ACCEPTED
    assert {one.profile.id for one in world.station.profiles} == {1, 2, 8}


def test_what_is_over_makes_room() -> None:
    world = World(*ONE, settings={"smart.max_installed": 1}).boot()
    install(world, profile(1, valid_to=START + timedelta(seconds=10)))
    assert asked(world, profile(2, level=1)).code == "too_many_profiles"

    world.advance(10)

    assert asked(world, profile(2, level=1)).outcome is Outcome.ACCEPTED
    assert set(world.records) == {"profile.2"}


@requirement("16.SC.21", "key:ChargingScheduleAllowedChargingRateUnit")
def test_a_unit_that_is_not_allowed_is_refused() -> None:
    world = World(*ONE, settings={"smart.rate_units": ("current",)}).boot()

    assert asked(world, profile(1, unit=WATT)).code == "unit_not_allowed"
    reply = world.ask(ev.CompositeRequested, duration_s=60, evse=1, unit=WATT)
    assert (reply.outcome, reply.content) == (Outcome.REJECTED, None)


@requirement("16.SC.21")
@pytest.mark.parametrize("fields", [{"evse": 9, "duration_s": 60}, {"duration_s": 0},
                                    {"evse": 1, "duration_s": -1}])
def test_a_composite_that_makes_no_sense_is_refused(fields: dict[str, int]) -> None:
    reply = World(*ONE).boot().ask(ev.CompositeRequested, **fields)

    assert (reply.outcome, reply.content) == (Outcome.REJECTED, None)


# --- cleared -------------------------------------------------------------------------------------


def furnished() -> World:
    world = World(*TWO).boot()
    install(world, profile(1, level=0))
    install(world, profile(2, level=1))
    install(world, profile(3, level=0), 1)
    install(world, profile(4, level=1), 2)
    install(world, profile(5, level=1, purpose=STATION_MAX))
    return world


@requirement("16.SC.20", "ClearChargingProfile.conf:Accepted", "ClearChargingProfile.conf:Unknown")
@pytest.mark.parametrize("fields, left", [
    ({}, set()),
    ({"id": 3}, {1, 2, 4, 5}),
    ({"id": 3, "everywhere": False, "evse": 2, "stack_level": 1}, {1, 2, 4, 5}),
    ({"id": 9}, {1, 2, 3, 4, 5}),
    ({"everywhere": False}, {3, 4}),
    ({"everywhere": False, "evse": 1}, {1, 2, 4, 5}),
    ({"purpose": STATION_MAX}, {1, 2, 3, 4}),
    ({"purpose": TX}, {1, 2, 3, 4, 5}),
    ({"stack_level": 1}, {1, 3}),
    ({"stack_level": 1, "purpose": Purpose.TX_DEFAULT}, {1, 3, 5}),
    ({"stack_level": 1, "purpose": Purpose.TX_DEFAULT, "everywhere": False}, {1, 3, 4, 5}),
    ({"stack_level": 7}, {1, 2, 3, 4, 5}),
])
def test_profiles_are_cleared_by_id_or_by_all_that_is_given(
        fields: dict[str, object], left: set[int]) -> None:
    world = furnished()

    reply = world.ask(ev.ClearProfilesRequested, **fields)

    assert {one.profile.id for one in world.station.profiles} == left
    assert set(world.records) == {f"profile.{number}" for number in left}
    assert reply.outcome is (Outcome.UNKNOWN if len(left) == 5 else Outcome.ACCEPTED)


# --- with a remote start -------------------------------------------------------------------------


FOR_START = profile(9, (0, 8.0), (60, 12.0), kind=RELATIVE, purpose=TX)


@requirement("16.RSTART.5")
def test_the_profile_of_a_remote_start_comes_with_its_transaction() -> None:
    world = World(*TWO).boot()
    install(world, profile(1, (0, 20.0)))
    reply = world.ask(ev.StartRequested, token=ANNA, evse=2, profile=FOR_START)
    assert reply.outcome is Outcome.ACCEPTED
    assert set(world.records) == {"profile.1"}

    world.advance(20)
    world.plug(2)

    session = world.started()[0].session
    (kept,) = (one for one in world.station.profiles if one.profile.id == 9)
    assert (kept.evse, kept.profile.transaction) == (2, session)
    assert world.records["profile.9"] == kept
    offers = [one.offer.current_a for one in world.log if getattr(one, "offer", None) is not None]
    assert max(offers) == 8.0  # never more, not even for a moment
    world.advance(60, meter_each_s=1)
    assert offered(world, 2) == 12.0


@requirement("16.RSTART.5")
def test_the_profile_waits_with_its_claim_for_the_plug_that_comes_first() -> None:
    world = World(*TWO).boot()
    world.ask(ev.StartRequested, token=ANNA, profile=FOR_START)

    world.plug(2)

    assert [one.evse for one in world.station.profiles] == [2]


@requirement("16.RSTART.5")
def test_the_profile_goes_with_a_claim_that_comes_to_nothing() -> None:
    world = World(*ONE).boot()
    world.ask(ev.StartRequested, token=ANNA, evse=1, profile=FOR_START)
    world.advance(61)

    world.charging()

    assert world.station.profiles == ()
    assert offered(world) == 32.0


@requirement("16.RSTART.5")
def test_a_refused_token_takes_the_profile_along() -> None:
    world = World(*ONE).boot()
    world.judge = lambda token: TokenInfo(TokenStatus.BLOCKED)
    world.ask(ev.StartRequested, token=ANNA, evse=1, authorize=True, profile=FOR_START)

    world.plug()

    assert world.station.profiles == ()


@requirement("16.RSTART.5")
@pytest.mark.parametrize("one, code", [
    (replace(FOR_START, purpose=Purpose.TX_DEFAULT), "not_for_a_new_transaction"),
    (replace(FOR_START, purpose=STATION_MAX), "not_for_a_new_transaction"),
    (replace(FOR_START, transaction=1), "not_for_a_new_transaction"),
    (replace(FOR_START, stack_level=11), "stack_level"),
    (with_periods(FOR_START), "first_period_not_0"),
])
def test_a_bad_profile_refuses_the_whole_start(one: ChargingProfile, code: str) -> None:
    world = World(*ONE).boot()
    world.plug()

    reply = world.ask(ev.StartRequested, token=ANNA, evse=1, profile=one)

    assert (reply.outcome, reply.code) == (Outcome.REJECTED, code)
    assert world.started() == []


@requirement("16.RSTART.5")
def test_profiles_that_wait_for_their_transaction_take_room() -> None:
    world = World(*TWO, settings={"smart.max_installed": 1}).boot()
    world.ask(ev.StartRequested, token=ANNA, evse=1, profile=FOR_START)

    assert asked(world, profile(1)).code == "too_many_profiles"
    other = replace(FOR_START, id=10)
    reply = world.ask(ev.StartRequested, token=IdToken("04B2"), evse=2, profile=other)
    assert reply.code == "too_many_profiles"


@requirement("16.RSTART.5")
def test_a_later_profile_of_the_same_level_replaces_that_of_the_remote_start() -> None:
    world = World(*ONE).boot()
    world.plug()
    world.ask(ev.StartRequested, token=ANNA, evse=1, profile=FOR_START)
    install(world, profile(10, (0, 16.0), purpose=TX, level=1, transaction=1), 1)
    assert len(world.station.profiles) == 2

    install(world, profile(11, (0, 9.0), purpose=TX, level=0, transaction=1), 1)

    assert {one.profile.id for one in world.station.profiles} == {10, 11}


@requirement("16.RSTART.5")
def test_at_one_of_two_connectors_too_the_later_profile_replaces_that_of_the_start() -> None:
    world = World(EvseLayout(1, connectors=(ConnectorLayout(1), ConnectorLayout(2)))).boot()
    world.ask(ev.StartRequested, token=ANNA, evse=1, connector=1, profile=FOR_START)
    world.plug()

    install(world, profile(11, (0, 9.0), purpose=TX), 1, connector=1)
    assert [one.profile.id for one in world.station.profiles] == [11]

    world.ask(ev.ClearProfilesRequested, everywhere=False, evse=1, connector=1)
    assert world.station.profiles == ()


# --- how long it is kept -------------------------------------------------------------------------


@requirement("16.SC.4")
def test_the_profile_of_a_transaction_goes_when_it_ends() -> None:
    world = World(*ONE).boot()
    world.charging()
    install(world, profile(1, purpose=TX), 1)
    install(world, profile(2))

    world.tap("04A1")
    assert {one.profile.id for one in world.station.profiles} == {1, 2}
    world.pilot(PilotState.B)
    world.meter(1000)

    assert len(world.ended()) == 1
    assert [one.profile.id for one in world.station.profiles] == [2]
    assert set(world.records) == {"profile.2"}


def restarted(world: World, *, later_s: int = 3600, resumes: bool = False) -> World:
    """The next life of a world whose transaction, if one runs, is found open in the books."""
    after = AfterPowerLoss.RESUME if resumes else AfterPowerLoss.END
    other = World(layout=replace(world.layout, after_power_loss=after))
    other.start = world.now.utc + timedelta(seconds=later_s)
    other.boot_id = "boot-2"
    other.station = new(other.layout)
    other.records = dict(world.records)
    left = tuple(ev.OpenSession(one.session or 0, one.evse, one.connector, one.token, one,
                                one.register_wh, one.at, 1) for one in world.started())
    if not resumes:
        return other.boot(BootCause.POWER_LOSS, open_sessions=left, next_session=9)
    other.tell(ev.Booted(BootCause.POWER_LOSS, 9, left, records=dict(other.records)))
    other.pilot(PilotState.C)
    return other


@requirement("16.SC.13")
def test_defaults_and_limits_of_the_station_outlive_a_restart_a_lost_transactions_do_not() -> None:
    world = World(*ONE).boot()
    world.charging()
    install(world, profile(1, (0, 9.0)))
    install(world, profile(2, (0, 14.0), purpose=STATION_MAX))
    install(world, profile(3, (0, 7.0), purpose=TX), 1)

    other = restarted(world)

    assert {one.profile.id for one in other.station.profiles} == {1, 2}
    assert set(other.records) == {"profile.1", "profile.2"}
    other.charging()
    assert offered(other) == 9.0


@requirement("16.SC.13")
def test_a_resumed_transaction_keeps_its_profile_and_its_place_in_it() -> None:
    world = World(*ONE).boot()
    world.charging()
    install(world, profile(3, (0, 7.0), (3600, 11.0), purpose=TX, kind=RELATIVE), 1)

    other = restarted(world, resumes=True)

    assert [one.profile.id for one in other.station.profiles] == [3]
    assert course(other, 60) == [(0, 11.0)]


@requirement("16.SC.4", "16.SC.13")
def test_a_resumed_transaction_does_not_take_the_profile_of_another() -> None:
    world = World(*ONE).boot()
    world.charging()
    world.records["profile.3"] = InstalledProfile(1, profile(3, purpose=TX, transaction=99), START)

    assert restarted(world, resumes=True).station.profiles == ()


@requirement("16.SC.13")
def test_what_is_over_or_has_no_place_any_more_is_dropped_at_the_start() -> None:
    world = World(*TWO).boot()
    install(world, profile(1, valid_to=START + timedelta(seconds=60)))
    install(world, profile(2), 2)
    install(world, profile(3, level=3))
    broken = InstalledProfile(None, with_periods(profile(4)), START)
    world.records["profile.4"] = broken
    world.layout = StationLayout(ONE)

    other = restarted(world)

    assert [one.profile.id for one in other.station.profiles] == [3]
    assert set(other.records) == {"profile.3"}


@requirement("16.SC.13")
@pytest.mark.parametrize("make", [
    lambda: profile(1, (0, 9.5), (60, 11040.0), unit=WATT, duration_s=90, level=3),
    lambda: profile(2, kind=RECURRING, recurrency=Recurrency.WEEKLY, valid_from=START,
                    valid_to=START + timedelta(days=3650)),
    lambda: profile(3, kind=RELATIVE, purpose=TX, transaction=12),
])
def test_a_profile_is_kept_word_for_word(make: Callable[[], ChargingProfile]) -> None:
    one = InstalledProfile(1, make(), START, 2, 3600)

    assert records_of({"record.profile.1": text_of(one)}) == {"profile.1": one}
