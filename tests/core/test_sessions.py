"""Sessions as people live them: plug, card, charge, stop, unplug."""

import pytest
from support.core_world import ACCEPTED, World, evse_layout, with_settings

from cpctl.core import effects as ef
from cpctl.core import events as ev
from cpctl.core import facts as fa
from cpctl.core.values import IdToken, ReadingContext, StopReason, TokenInfo, TokenStatus
from cpctl.core.views import ClaimState, PowerState
from hal.values import NO_OFFER, OfferKind, PilotState

requirement = pytest.mark.requirement
GROUP = IdToken("FAMILY")
LOCKED = evse_layout(1, has_lock=True)


def test_a_plug_card_charge_unplug_session_goes_through() -> None:
    world = World().boot()

    world.plug()
    world.tap("04A1")
    world.pilot(PilotState.C)
    charging = world.evse()
    world.advance(3600, meter_each_s=10, power_w=3600)
    world.tap("04A1")
    world.advance(1)
    world.pilot(PilotState.B)
    world.meter(4602)
    finishing = world.evse()
    world.unplug()

    assert charging.power is PowerState.ON and charging.transaction
    assert finishing.finishing and not finishing.transaction
    (started,), (ended,) = world.started(), world.ended()
    assert (started.register_wh, ended.register_wh) == (1000, 4602)
    assert (ended.reason, ended.token) == (StopReason.LOCAL, IdToken("04A1"))
    assert world.evse().session is None
    assert not world.place().coil


@requirement("16.TX.1")
def test_the_card_may_come_before_the_plug() -> None:
    world = World().boot()

    world.tap()
    before = world.evse()
    world.advance(10)
    world.plug()

    assert before.claim is ClaimState.GRANTED and not before.transaction
    (started,) = world.started()
    assert started.token == IdToken("04A1")
    assert started.trigger == "CablePluggedIn"


@requirement("16.TX.1")
def test_the_plug_may_come_before_the_card() -> None:
    world = World().boot()

    world.plug()
    world.advance(10)
    world.tap()

    (started,) = world.started()
    assert started.trigger == "Authorized"
    assert started.at == world.now


@requirement("16.TX.1", "16.MET.8")
def test_the_register_is_told_as_the_meter_has_it() -> None:
    world = World().boot()
    world.place().register_wh = 987_654
    world.meter(987_654)
    world.meter(987_654)

    world.charging()

    assert world.started()[0].register_wh == 987_654


@requirement("16.TX.2")
def test_a_claim_ends_when_nobody_plugs_in() -> None:
    world = World().boot()
    world.tap()

    world.advance(59)
    still = world.evse().claim
    world.advance(2)

    assert still is ClaimState.GRANTED
    assert world.evse().claim is ClaimState.NONE
    assert world.evse().session is None
    assert not world.evse().finishing


@requirement("16.TX.2", "E-06")
def test_a_plug_that_nobody_claims_is_finishing() -> None:
    world = World().boot()

    world.plug()
    preparing = world.evse().finishing
    world.advance(61)

    assert not preparing
    assert world.evse().finishing


@requirement("E-06")
def test_by_option_a_plug_that_nobody_claims_stays_preparing() -> None:
    world = World(settings={"policy.plug_timeout": "stay_preparing"}).boot()

    world.plug()
    world.advance(61)

    assert not world.evse().finishing


@requirement("E-06")
def test_a_card_after_the_plug_time_out_begins_anew() -> None:
    world = World().boot()
    world.plug()
    world.advance(61)

    world.tap()

    assert world.evse().transaction


@requirement("16.TX.2")
def test_without_a_plug_time_out_a_claim_waits_for_ever() -> None:
    world = World(settings={"session.plug_timeout_s": 0}).boot()
    world.tap()

    world.advance(86_400)

    assert world.evse().claim is ClaimState.GRANTED


def test_a_second_tap_gives_an_unused_claim_up() -> None:
    world = World().boot()
    world.tap()

    world.tap()

    assert world.evse().claim is ClaimState.NONE
    assert world.evse().session is None


def test_a_second_tap_while_the_first_is_still_asked_changes_nothing() -> None:
    world = World().boot()
    world.judge = lambda token: None

    world.tap()
    world.tap()

    assert world.evse().claim is ClaimState.ASKED
    assert len(world.asks) == 1


@requirement("16.AUTH.1")
def test_no_energy_without_authorization() -> None:
    world = World().boot()

    world.plug()
    world.pilot(PilotState.C)
    world.advance(30)

    assert not world.place().coil
    assert world.place().offer == NO_OFFER


@requirement("16.AUTH.6")
@pytest.mark.parametrize("status", [one for one in TokenStatus if one is not TokenStatus.ACCEPTED])
def test_a_refused_card_starts_nothing(status: TokenStatus) -> None:
    world = World().boot()
    world.judge = lambda token: TokenInfo(status)

    world.plug()
    world.tap()

    assert world.evse().claim is ClaimState.NONE
    assert world.started() == []
    assert world.shown[-1].pattern == "card_refused" or world.evse().plugged


@requirement("16.AUTH.6")
def test_a_refused_card_without_a_plug_opens_no_session() -> None:
    world = World().boot()
    world.judge = lambda token: TokenInfo(TokenStatus.INVALID)

    world.tap()

    assert world.books == []
    assert world.evse().claim is ClaimState.NONE


def test_an_answer_that_never_comes_counts_as_a_refusal() -> None:
    world = World().boot()
    world.judge = lambda token: None
    world.plug()
    world.tap()

    world.advance(45)

    assert world.evse().claim is ClaimState.NONE


def test_an_answer_that_comes_too_late_starts_nothing() -> None:
    world = World().boot()
    world.judge = lambda token: None
    world.plug()
    world.tap()
    (ask,) = world.asks
    world.advance(45)

    world.tell(ev.AuthorizationAnswered(ask.ask, ask.token, ACCEPTED, ev.TokenSource.CSMS))

    assert world.started() == []


@requirement("16.AUTH.2")
def test_the_same_card_stops_at_once_and_nobody_is_asked() -> None:
    world = World().boot().charging()
    asked = len(world.asks)

    world.tap("04a1")
    world.pilot(PilotState.B)
    world.advance(2)

    assert len(world.asks) == asked
    assert world.ended()[0].reason is StopReason.LOCAL
    assert world.ended()[0].token == IdToken("04a1")


@requirement("16.AUTH.3")
def test_a_card_of_the_same_group_stops_after_its_group_was_asked() -> None:
    world = World().boot()
    world.judge = lambda token: TokenInfo(TokenStatus.ACCEPTED, GROUP)
    world.charging(token="04A1")

    world.tap("04B2")
    world.pilot(PilotState.B)
    world.advance(2)

    assert world.asks[-1].for_group
    assert world.ended()[0].token == IdToken("04B2")


@requirement("16.AUTH.3", "16.AUTH.4")
@pytest.mark.parametrize("answer", [
    TokenInfo(TokenStatus.ACCEPTED, IdToken("OTHERS")),
    TokenInfo(TokenStatus.ACCEPTED),
    TokenInfo(TokenStatus.BLOCKED, GROUP),
], ids=["another group", "no group", "refused"])
def test_a_card_that_does_not_belong_to_the_group_stops_nothing(answer: TokenInfo) -> None:
    world = World().boot()
    world.judge = lambda token: TokenInfo(TokenStatus.ACCEPTED, GROUP)
    world.charging()
    world.judge = lambda token: answer

    world.tap("04B2")
    world.advance(10)

    assert world.ended() == []
    assert world.place().coil


@requirement("16.AUTH.4")
def test_a_card_whose_own_number_equals_the_group_stops_nothing() -> None:
    world = World().boot()
    world.judge = lambda token: TokenInfo(TokenStatus.ACCEPTED, GROUP)
    world.charging()
    world.judge = lambda token: ACCEPTED

    world.tap("FAMILY")
    world.advance(10)

    assert world.ended() == []


@requirement("16.AUTH.3")
def test_another_card_is_refused_without_a_question_when_there_is_no_group() -> None:
    world = World().boot().charging()
    asked = len(world.asks)

    world.tap("04B2")

    assert len(world.asks) == asked
    assert world.shown[-1].pattern == "card_refused"
    assert world.place().coil


@requirement("16.AUTH.3")
def test_the_group_may_be_learned_from_the_answer_to_the_start() -> None:
    world = World().boot().charging()
    world.tell(ev.TransactionAnswered(1, TokenInfo(TokenStatus.ACCEPTED, GROUP)))
    world.judge = lambda token: TokenInfo(TokenStatus.ACCEPTED, GROUP)

    world.tap("04B2")
    world.pilot(PilotState.B)
    world.advance(2)

    assert world.ended()[0].token == IdToken("04B2")


# --- stopping ------------------------------------------------------------------------------------


def test_a_card_asks_the_car_first_and_opens_after_six_seconds_at_the_latest() -> None:
    world = World().boot().charging()

    world.tap()
    withdrawn = (world.place().offer, world.place().coil)
    world.advance(5.9)
    still = world.place().coil
    world.advance(0.2)

    assert withdrawn == (NO_OFFER, True)
    assert still
    assert not world.place().coil


def test_the_end_is_recorded_after_the_coil_with_the_register_read_then() -> None:
    world = World().boot().charging()
    world.advance(20)
    world.meter(1050)
    world.tap()
    world.advance(2)
    world.meter(1051)
    world.advance(0.1)
    world.pilot(PilotState.B)
    before = list(world.ended())

    world.meter(1052)

    assert before == []
    assert [one.register_wh for one in world.ended()] == [1052]


def test_the_end_waits_one_second_for_the_register_and_no_longer() -> None:
    world = World().boot().charging()
    world.advance(20)
    world.meter(1050)
    world.tap()
    world.advance(0.5)

    world.pilot(PilotState.B)
    world.advance(0.9)
    waiting = list(world.ended())
    world.advance(0.2)

    assert waiting == []
    assert [one.register_wh for one in world.ended()] == [1050]


def test_a_reading_begun_before_the_coil_fell_is_not_the_last() -> None:
    world = World().boot().charging()
    world.advance(20)
    world.tap()
    begun = world.mono_ns
    world.advance(1)
    world.pilot(PilotState.B)

    world.tell(ev.MeterRead(1, ev.MeterReading(1050), begun))

    assert world.ended() == []


@requirement("16.TX.13")
def test_an_unplug_ends_the_transaction_and_opens_at_once() -> None:
    world = World().boot().charging()

    world.unplug()
    coil = world.place().coil
    world.advance(2)

    assert not coil
    assert world.ended()[0].reason is StopReason.EV_DISCONNECTED
    assert world.ended()[0].token is None
    assert world.evse().session is None


@requirement("16.TX.13")
def test_a_replug_after_an_unplug_gives_no_energy() -> None:
    world = World().boot().charging()
    world.unplug()
    world.advance(2)

    world.plug()
    world.pilot(PilotState.C)
    world.advance(10)

    assert not world.place().coil
    assert len(world.started()) == 1


@requirement("16.TX.12")
def test_by_setting_the_transaction_outlives_an_unplug() -> None:
    world = World(LOCKED, settings={"session.stop_on_unplug": False}).boot().charging()

    world.unplug()
    out = (world.evse(), world.place().coil, world.place().locked)
    world.advance(30)
    world.plug()
    world.pilot(PilotState.C)

    assert out[0].transaction and out[0].unplugged_inside
    assert out[1:] == (False, True)
    assert world.ended() == []
    assert world.place().coil


@requirement("16.TX.15")
def test_after_the_stop_it_is_finishing_while_the_plug_is_in() -> None:
    world = World().boot().charging()
    world.tap()
    world.pilot(PilotState.B)
    world.advance(2)
    finishing = world.evse()

    world.unplug()

    assert finishing.finishing and finishing.stopped_because == "Local"
    assert not world.evse().finishing


def test_a_new_card_on_the_same_plug_begins_a_new_session() -> None:
    world = World().boot().charging()
    world.tap()
    world.pilot(PilotState.B)
    world.advance(2)

    world.tap("04B2")
    world.meter(1010)

    assert [one.session for one in world.started()] == [1, 2]
    assert [type(one) for one in world.facts if one.session == 1][-1] is fa.SessionClosed


@requirement("16.TX.8")
def test_a_second_claim_on_a_busy_evse_is_refused() -> None:
    world = World().boot()
    world.judge = lambda token: None
    world.tap("04A1")

    world.tap("04B2")

    assert len(world.asks) == 1
    assert world.evse().token == IdToken("04A1")


# --- the verdict of the central system -----------------------------------------------------------


@requirement("16.TX.3")
def test_charging_begins_before_the_central_system_has_answered_the_start() -> None:
    world = World().boot().charging()

    assert world.place().coil


@requirement("16.TX.4", "E-43")
@pytest.mark.parametrize("status", [TokenStatus.BLOCKED, TokenStatus.CONCURRENT_TX,
                                    TokenStatus.EXPIRED, TokenStatus.INVALID])
def test_a_token_refused_after_the_start_ends_the_transaction(status: TokenStatus) -> None:
    world = World(LOCKED).boot().charging()

    world.tell(ev.TransactionAnswered(1, TokenInfo(status)))
    world.pilot(PilotState.B)
    world.advance(2)

    assert world.ended()[0].reason is StopReason.DEAUTHORIZED
    assert world.place().locked, "the cable stays until its owner comes"


@requirement("16.TX.4")
def test_a_held_cable_is_freed_by_the_same_card_only() -> None:
    world = World(LOCKED).boot().charging()
    world.tell(ev.TransactionAnswered(1, TokenInfo(TokenStatus.BLOCKED)))
    world.pilot(PilotState.B)
    world.advance(2)

    world.tap("04B2")
    world.advance(2)
    held = world.place().locked
    world.tap("04A1")
    world.advance(2)

    assert held
    assert not world.place().locked


@requirement("16.TX.4")
def test_by_setting_a_refused_token_stops_the_energy_only() -> None:
    world = World(settings={"auth.stop_on_invalid": False}).boot().charging()

    world.tell(ev.TransactionAnswered(1, TokenInfo(TokenStatus.BLOCKED)))
    world.advance(10)
    revoked = world.evse()
    world.tap()
    world.advance(2)

    assert revoked.claim is ClaimState.REVOKED
    assert revoked.transaction and not revoked.offering
    assert world.ended()[0].reason is StopReason.LOCAL


@requirement("16.TX.5")
def test_a_refused_token_may_have_some_energy_more() -> None:
    world = World(settings={"auth.stop_on_invalid": False,
                            "auth.max_energy_on_invalid_wh": 500}).boot().charging()
    world.tell(ev.TransactionAnswered(1, TokenInfo(TokenStatus.BLOCKED)))

    world.advance(100)
    world.meter(1499)
    before = world.place().coil
    world.advance(10)
    world.meter(1500)
    world.advance(7)

    assert before
    assert not world.place().coil
    assert world.evse().transaction


@requirement("16.TX.5", "E-07")
def test_energy_for_a_refused_token_counts_for_nothing_when_it_stops() -> None:
    world = World(settings={"auth.max_energy_on_invalid_wh": 500}).boot().charging()

    world.tell(ev.TransactionAnswered(1, TokenInfo(TokenStatus.BLOCKED)))

    assert world.place().offer == NO_OFFER


@requirement("16.CACHE.1")
def test_what_the_central_system_says_of_a_token_is_remembered() -> None:
    world = World().boot().charging()

    world.tell(ev.TransactionAnswered(1, TokenInfo(TokenStatus.BLOCKED)))
    world.tell(ev.TransactionAnswered(99, ACCEPTED, IdToken("04C3")))

    remembered = [(one.token.value, one.info.status) for one in world.remembered]
    assert remembered == [("04A1", TokenStatus.ACCEPTED), ("04A1", TokenStatus.BLOCKED),
                          ("04C3", TokenStatus.ACCEPTED)]


@requirement("16.CACHE.1")
def test_nothing_is_remembered_while_the_cache_is_off() -> None:
    world = World(settings={"auth.cache_enabled": False}).boot().charging()

    assert world.remembered == []


@requirement("16.TX.10")
def test_a_verdict_on_the_token_that_stopped_revokes_nothing() -> None:
    world = World().boot()
    world.judge = lambda token: TokenInfo(TokenStatus.ACCEPTED, GROUP)
    world.charging()

    world.tell(ev.TransactionAnswered(1, TokenInfo(TokenStatus.BLOCKED), IdToken("04B2")))
    world.advance(10)

    assert world.place().coil


# --- lock ----------------------------------------------------------------------------------------


def test_current_is_offered_when_the_plug_is_locked() -> None:
    world = World(LOCKED).boot()
    world.lock_answers = False
    world.plug()
    world.tap()
    before = world.place().offer

    world.place().locked = True
    world.tell(ev.LockReported(1, locked=True))

    assert before == NO_OFFER
    assert world.place().offer.kind is OfferKind.CURRENT


@requirement("16.STAT.11")
def test_a_lock_that_jams_is_tried_three_times_and_then_a_fault() -> None:
    world = World(LOCKED).boot()
    world.place().jams = True

    world.plug()
    world.tap()
    world.advance(3)

    tries = [one for one in world.log if isinstance(one, ef.LockPlug)]
    assert len(tries) == 3
    assert [fault.code.value for fault in world.evse().faults] == ["LOCK_JAMMED"]
    assert world.evse().faulted and not world.place().coil


def test_a_lock_that_does_not_answer_counts_as_jammed() -> None:
    world = World(LOCKED).boot()
    world.lock_answers = False

    world.plug()
    world.tap()
    world.advance(20)

    assert world.evse().faulted


def test_an_unplug_lets_a_jammed_lock_try_again() -> None:
    world = World(LOCKED).boot()
    world.place().jams = True
    world.plug()
    world.tap()
    world.advance(3)
    world.place().jams = False

    world.unplug()
    world.advance(2)

    assert not world.evse().faulted


@requirement("16.TX.11")
def test_a_normal_stop_unlocks_the_cable() -> None:
    world = World(LOCKED).boot().charging()
    during = world.place().locked

    world.tap()
    world.pilot(PilotState.B)
    world.advance(2)

    assert during
    assert not world.place().locked


@requirement("16.TX.13")
@pytest.mark.parametrize("unlocks", [True, False])
def test_the_setting_decides_whether_an_unplug_at_the_car_unlocks(unlocks: bool) -> None:
    world = World(LOCKED, settings={"session.unlock_on_unplug": unlocks}).boot().charging()

    world.unplug()
    world.advance(2)

    assert world.place().locked is not unlocks


def test_a_cable_held_after_an_unplug_is_freed_by_its_card() -> None:
    world = World(LOCKED, settings={"session.unlock_on_unplug": False}).boot().charging()
    world.unplug()
    world.advance(2)
    held = world.evse()

    world.tap()
    world.advance(1)

    assert held.finishing and held.session == 1
    assert not world.place().locked
    assert world.evse().session is None


# --- start points --------------------------------------------------------------------------------


def test_a_transaction_may_start_with_the_energy() -> None:
    world = World(settings={"station.tx_start_point": ("energy_transfer",)}).boot()
    world.plug()
    world.tap()
    before = world.started()

    world.pilot(PilotState.C)

    assert before == []
    assert len(world.started()) == 1
    assert world.place().coil


def test_a_transaction_may_start_with_the_authorization_and_end_when_nobody_comes() -> None:
    world = World(settings={"station.tx_start_point": ("authorized",)}).boot()
    world.meter(1000)

    world.tap()
    started = len(world.started())
    world.advance(62)

    assert started == 1
    assert world.ended()[0].reason is StopReason.TIMEOUT


def test_reports_are_numbered_without_a_gap() -> None:
    world = World(settings={"sampling.end_measurands": ("energy_import_register",),
                            "sampling.measurands": ()}).boot().charging()
    world.advance(130, meter_each_s=1)
    with_settings(world, **{"sampling.measurands": ("power_import", "energy_import_register")})
    world.advance(130, meter_each_s=1)
    world.pilot(PilotState.B)
    world.tap()
    world.advance(2)

    reports = [fact.report for fact in world.facts
               if getattr(fact, "report", None) is not None]
    assert reports == list(range(len(reports)))
    assert [one.report for one in world.samples()[:2]] == [None, None]
    assert world.samples()[0].context is ReadingContext.PERIODIC


def test_an_offline_transaction_says_so() -> None:
    world = World().boot()
    world.tell(ev.LinkChanged(False, ev.Registration.ACCEPTED))

    world.charging()

    assert world.started()[0].offline


def test_lights_follow_the_state() -> None:
    world = World().boot().charging()
    world.tap()
    world.pilot(PilotState.B)
    world.advance(2)
    world.unplug()

    patterns = [one for one in world.place().patterns if not one.startswith("card_")]
    assert patterns == ["unavailable", "available", "preparing", "suspended", "charging",
                        "finishing", "available"]
