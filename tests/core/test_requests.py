"""What the central system and the technician ask for, and what they are told."""

from typing import Any

import pytest
from support.core_world import ACCEPTED, World, evse_layout, with_settings

from cpctl.core import effects as ef
from cpctl.core import events as ev
from cpctl.core.faults import FaultCode
from cpctl.core.settings import TABLE, Access
from cpctl.core.station import new, step
from cpctl.core.values import (
    ConnectorLayout,
    IdToken,
    Origin,
    Outcome,
    Registration,
    RequestId,
    ResetKind,
    StopReason,
    TokenInfo,
    TokenStatus,
)
from cpctl.core.views import ClaimState
from hal.values import NO_OFFER, PilotState

requirement = pytest.mark.requirement
ANNA = IdToken("04A1")
LOCKED = evse_layout(1, has_lock=True)
TWO = (evse_layout(1), evse_layout(2))


# --- remote start --------------------------------------------------------------------------------


@requirement("16.RSTART.1")
def test_a_remote_start_on_a_plugged_evse_starts_at_once() -> None:
    world = World().boot()
    world.plug()

    reply = world.ask(ev.StartRequested, token=ANNA, evse=1)

    assert reply.outcome is Outcome.ACCEPTED
    assert world.asks == []
    assert world.started()[0].trigger == "RemoteStart"


@requirement("16.RSTART.1")
@pytest.mark.parametrize("by_setting", [True, False])
def test_a_remote_start_may_need_authorization_first(by_setting: bool) -> None:
    world = World(settings={"auth.remote_needs_authorization": by_setting}).boot()
    world.judge = lambda token: None
    world.plug()

    reply = world.ask(ev.StartRequested, token=ANNA, evse=1, authorize=not by_setting)

    assert reply.outcome is Outcome.ACCEPTED
    assert len(world.asks) == 1
    assert world.started() == []


@requirement("16.RSTART.4")
def test_a_remote_start_waits_for_the_plug_and_no_longer_than_the_time_out() -> None:
    world = World().boot()

    reply = world.ask(ev.StartRequested, token=ANNA, evse=1)
    waiting = world.evse().claim
    world.advance(61)

    assert reply.outcome is Outcome.ACCEPTED
    assert waiting is ClaimState.GRANTED
    assert world.evse().claim is ClaimState.NONE


def _faulted(world: World) -> None:
    world.tell(ev.InputChanged(1, "rcd", False))


def _inoperative(world: World) -> None:
    world.ask(ev.AvailabilityRequested, operative=False, evse=1)


def _scheduled(world: World) -> None:
    world.charging()
    _inoperative(world)


def _waiting_claim(world: World) -> None:
    world.ask(ev.StartRequested, token=IdToken("04B2"), evse=1)


@requirement("16.RSTART.2", "E-42", "16.TX.8")
@pytest.mark.parametrize(("prepare", "code"), [
    (_faulted, "faulted"), (_inoperative, "unavailable"), (_scheduled, "unavailable"),
    (World.charging, "in_use"), (_waiting_claim, "in_use"),
], ids=["faulted", "inoperative", "scheduled inoperative", "running transaction", "claimed"])
def test_a_remote_start_is_rejected(prepare: Any, code: str) -> None:
    world = World().boot()
    prepare(world)

    reply = world.ask(ev.StartRequested, token=ANNA, evse=1)

    assert (reply.outcome, reply.code) == (Outcome.REJECTED, code)


@requirement("16.RSTART.2")
@pytest.mark.parametrize(("evse", "connector"), [(7, None), (0, None), (1, 2)])
def test_a_remote_start_on_what_is_not_there_is_rejected(evse: int, connector: int | None
                                                         ) -> None:
    world = World().boot()

    reply = world.ask(ev.StartRequested, token=ANNA, evse=evse, connector=connector)

    assert reply.outcome is Outcome.REJECTED


@requirement("16.BOOT.5", "16.RSTART.2")
@pytest.mark.parametrize("registration", [Registration.PENDING, Registration.REJECTED])
def test_a_central_system_that_has_not_accepted_us_starts_and_stops_nothing(
        registration: Registration) -> None:
    world = World().boot().charging()
    world.tell(ev.LinkChanged(True, registration))

    start = world.ask(ev.StartRequested, token=ANNA, evse=1)
    stop = world.ask(ev.StopRequested, session=1)

    assert (start.outcome, stop.outcome) == (Outcome.REJECTED, Outcome.REJECTED)
    assert world.place().coil


@requirement("16.RSTART.3", "E-16")
def test_a_remote_start_without_an_evse_takes_the_only_one() -> None:
    world = World().boot()
    world.plug()

    reply = world.ask(ev.StartRequested, token=ANNA)

    assert reply.outcome is Outcome.ACCEPTED
    assert len(world.started()) == 1


@requirement("16.RSTART.3", "E-16")
def test_a_remote_start_without_an_evse_takes_the_plugged_one() -> None:
    world = World(*TWO).boot()
    world.plug(2)

    world.ask(ev.StartRequested, token=ANNA)

    assert [one.evse for one in world.started()] == [2]


@requirement("16.RSTART.3", "E-16")
def test_a_remote_start_without_an_evse_waits_for_the_first_plug() -> None:
    world = World(*TWO).boot()

    world.ask(ev.StartRequested, token=ANNA)
    waiting = world.picture.waiting_token
    second = world.ask(ev.StartRequested, token=IdToken("04B2"))
    world.plug(2)

    assert waiting == ANNA
    assert second.outcome is Outcome.REJECTED
    assert [(one.evse, one.token) for one in world.started()] == [(2, ANNA)]


@requirement("E-16")
def test_by_option_a_remote_start_must_name_its_evse() -> None:
    world = World(*TWO, settings={"policy.remote_start_any": "reject"}).boot()

    assert world.ask(ev.StartRequested, token=ANNA).outcome is Outcome.REJECTED


def test_a_start_at_the_local_socket_obeys_the_rules_of_a_card() -> None:
    world = World().boot()
    world.judge = lambda token: TokenInfo(TokenStatus.BLOCKED)
    world.plug()

    reply = world.ask(ev.StartRequested, Origin.LOCAL, token=ANNA, evse=1)

    assert reply.outcome is Outcome.ACCEPTED
    assert world.started() == []


@requirement("16.RSTART.1")
def test_a_remote_start_on_a_finished_plug_begins_anew() -> None:
    world = World().boot().charging()
    world.tap()
    world.pilot(PilotState.B)
    world.advance(2)

    world.ask(ev.StartRequested, token=ANNA, evse=1)
    world.meter(1000)

    assert [one.session for one in world.started()] == [1, 2]


# --- remote stop ---------------------------------------------------------------------------------


@requirement("16.RSTOP.1")
def test_a_remote_stop_ends_the_running_transaction_it_names() -> None:
    world = World(LOCKED).boot().charging()

    reply = world.ask(ev.StopRequested, session=1)
    world.pilot(PilotState.B)
    world.advance(2)

    assert (reply.outcome, reply.session) == (Outcome.ACCEPTED, 1)
    (ended,) = world.ended()
    assert (ended.reason, ended.token) == (StopReason.REMOTE, None)
    assert not world.place().locked


@requirement("16.RSTOP.1")
def test_a_remote_stop_of_another_transaction_is_rejected() -> None:
    world = World().boot().charging()

    assert world.ask(ev.StopRequested, session=2).outcome is Outcome.REJECTED
    assert world.place().coil


def test_a_stop_at_the_local_socket_needs_the_token_or_none() -> None:
    world = World().boot().charging()

    other = world.ask(ev.StopRequested, Origin.LOCAL, evse=1, token=IdToken("04B2"))
    own = world.ask(ev.StopRequested, Origin.LOCAL, evse=1, token=ANNA)
    world.pilot(PilotState.B)
    world.advance(2)

    assert (other.outcome, other.code) == (Outcome.REJECTED, "other_token")
    assert own.outcome is Outcome.ACCEPTED
    assert world.ended()[0].reason is StopReason.LOCAL


def test_a_stop_at_the_local_socket_by_the_group_is_asked_for() -> None:
    world = World().boot()
    world.judge = lambda token: TokenInfo(TokenStatus.ACCEPTED, IdToken("G"))
    world.charging()

    reply = world.ask(ev.StopRequested, Origin.LOCAL, evse=1, token=IdToken("04B2"))
    world.pilot(PilotState.B)
    world.advance(2)

    assert (reply.outcome, reply.code) == (Outcome.ACCEPTED, "asking")
    assert world.ended()[0].token == IdToken("04B2")


# --- unlock --------------------------------------------------------------------------------------


@requirement("16.UNLOCK.1")
def test_an_unlock_stops_first_and_answers_when_the_lock_is_open() -> None:
    world = World(LOCKED).boot().charging()

    request = world.request(ev.UnlockRequested, evse=1)
    at_once = list(world.answers[request])
    world.pilot(PilotState.B)
    world.advance(2)

    assert at_once == []
    assert [one.outcome for one in world.answers[request]] == [Outcome.UNLOCKED]
    assert world.ended()[0].reason is StopReason.UNLOCK_COMMAND


@requirement("16.UNLOCK.1")
def test_a_lock_that_does_not_open_is_told() -> None:
    world = World(LOCKED).boot()
    world.plug()
    world.place().jams = True
    world.place().locked = True

    request = world.request(ev.UnlockRequested, evse=1)
    world.advance(30)

    assert [one.outcome for one in world.answers[request]] == [Outcome.UNLOCK_FAILED]


@requirement("16.UNLOCK.1")
def test_two_who_ask_for_the_same_unlock_are_both_answered_once() -> None:
    world = World(LOCKED).boot()
    world.lock_answers = False
    first = world.request(ev.UnlockRequested, evse=1)
    second = world.request(ev.UnlockRequested, evse=1)

    world.advance(60)

    assert [len(world.answers[one]) for one in (first, second)] == [1, 1]


@requirement("16.UNLOCK.1")
def test_a_connector_that_is_not_there_cannot_be_unlocked() -> None:
    world = World(LOCKED).boot()

    assert world.ask(ev.UnlockRequested, evse=9).outcome is Outcome.UNKNOWN
    assert world.ask(ev.UnlockRequested, evse=1, connector=4).outcome is Outcome.UNKNOWN


@requirement("16.UNLOCK.2", "E-19")
@pytest.mark.parametrize("stops", [True, False])
def test_a_fixed_cable_is_not_unlocked_and_the_option_says_whether_it_stops(stops: bool) -> None:
    world = World(settings={"policy.unlock_stops_without_lock": stops}).boot().charging()

    reply = world.ask(ev.UnlockRequested, evse=1)
    world.advance(8)

    assert reply.outcome is Outcome.NOT_SUPPORTED
    assert world.place().coil is not stops


def test_an_unlock_drops_a_claim_that_prepares() -> None:
    world = World(LOCKED).boot()
    world.tap()

    request = world.request(ev.UnlockRequested, evse=1)
    world.advance(1)

    assert world.evse().claim is ClaimState.NONE
    assert world.answers[request][0].outcome is Outcome.UNLOCKED


# --- availability --------------------------------------------------------------------------------


@requirement("16.AVAIL.1", "16.AVAIL.2", "16.STAT.8")
def test_a_free_evse_becomes_inoperative_at_once_and_stays_so_over_a_restart() -> None:
    world = World().boot()

    reply = world.ask(ev.AvailabilityRequested, operative=False, evse=1)
    again = World(kept=world.kept).boot()

    assert reply.outcome is Outcome.ACCEPTED
    assert not world.evse().operative
    assert not again.evse().operative
    assert again.ask(ev.StartRequested, token=ANNA, evse=1).outcome is Outcome.REJECTED


@requirement("16.AVAIL.1", "16.TX.15")
def test_a_busy_evse_becomes_inoperative_when_its_transaction_ends() -> None:
    world = World().boot().charging()

    reply = world.ask(ev.AvailabilityRequested, operative=False, evse=1)
    during = world.evse()
    world.tap()
    world.pilot(PilotState.B)
    world.advance(2)

    assert reply.outcome is Outcome.SCHEDULED
    assert during.operative and during.availability_pending
    assert not world.evse().operative


@requirement("16.AVAIL.2")
def test_a_scheduled_change_outlives_a_restart() -> None:
    world = World().boot().charging()
    world.ask(ev.AvailabilityRequested, operative=False, evse=1)

    again = World(kept=world.kept).boot()

    assert not again.evse().operative


@requirement("16.AVAIL.4", "E-17")
def test_operative_cancels_a_scheduled_change() -> None:
    world = World().boot().charging()
    world.ask(ev.AvailabilityRequested, operative=False, evse=1)

    reply = world.ask(ev.AvailabilityRequested, operative=True, evse=1)
    world.tap()
    world.pilot(PilotState.B)
    world.advance(2)

    assert reply.outcome is Outcome.ACCEPTED
    assert world.evse().operative
    assert "availability.1.pending" not in world.kept


@requirement("16.AVAIL.3")
def test_the_whole_station_waits_for_the_busy_evse_and_takes_the_free_one_at_once() -> None:
    world = World(*TWO).boot().charging(1)

    reply = world.ask(ev.AvailabilityRequested, operative=False)
    during = world.picture
    world.tap("04A1", evses=(1,))
    world.pilot(PilotState.B)
    world.advance(2)

    assert reply.outcome is Outcome.SCHEDULED
    assert (during.operative, during.evse(1).operative, during.evse(2).operative) == (
        True, True, False)
    assert not world.picture.operative
    assert world.kept["availability.station"] == "inoperative"


@requirement("16.AVAIL.4", "E-17")
def test_operative_on_the_station_makes_all_operative_again() -> None:
    world = World(*TWO).boot()
    world.ask(ev.AvailabilityRequested, operative=False, evse=2)

    world.ask(ev.AvailabilityRequested, operative=True)

    assert world.picture.operative and world.evse(2).operative
    assert [key for key in world.kept if key.startswith("availability")] == []


@requirement("16.AVAIL.1")
def test_what_is_not_there_has_no_availability() -> None:
    world = World().boot()

    assert world.ask(ev.AvailabilityRequested, operative=False, evse=5
                     ).outcome is Outcome.REJECTED
    assert world.ask(ev.AvailabilityRequested, operative=False, evse=1, connector=3
                     ).outcome is Outcome.REJECTED


@requirement("E-10")
@pytest.mark.parametrize(("policy", "outcome"), [("now", Outcome.ACCEPTED),
                                                 ("after_preparing", Outcome.SCHEDULED)])
def test_inoperative_while_preparing(policy: str, outcome: Outcome) -> None:
    world = World(settings={"policy.inoperative_preparing": policy}).boot()
    world.plug()

    reply = world.ask(ev.AvailabilityRequested, operative=False, evse=1)
    world.unplug()

    assert reply.outcome is outcome
    assert not world.evse().operative


def test_one_of_two_connectors_may_be_out() -> None:
    layout = evse_layout(1, connectors=(ConnectorLayout(1), ConnectorLayout(2)))
    world = World(layout).boot()

    world.ask(ev.AvailabilityRequested, operative=False, evse=1, connector=2)
    one_out = world.evse()
    world.ask(ev.AvailabilityRequested, operative=False, evse=1, connector=1)

    assert one_out.operative and one_out.out == (2,)
    assert not world.evse().operative
    assert not World(layout, kept=world.kept).boot().evse().operative


def test_a_plug_that_came_while_inoperative_is_preparing_when_operative_again() -> None:
    world = World().boot()
    world.ask(ev.AvailabilityRequested, operative=False, evse=1)
    world.plug()
    before = world.evse().session

    world.ask(ev.AvailabilityRequested, operative=True, evse=1)

    assert before is None
    assert world.evse().session == 1


# --- reset ---------------------------------------------------------------------------------------


@requirement("16.RESET.1", "16.RESET.2", "16.RESET.3")
@pytest.mark.parametrize(("kind", "reason"), [(ResetKind.SOFT, StopReason.SOFT_RESET),
                                              (ResetKind.HARD, StopReason.HARD_RESET)])
def test_a_reset_winds_down_records_and_then_restarts(kind: ResetKind, reason: StopReason
                                                      ) -> None:
    world = World(LOCKED).boot().charging()

    reply = world.ask(ev.ResetRequested, kind=kind)
    at_once = (list(world.restarts), world.place().offer)
    world.pilot(PilotState.B)
    world.advance(2)

    assert reply.outcome is Outcome.ACCEPTED
    assert at_once == ([], NO_OFFER)
    assert world.ended()[0].reason is reason
    assert [one.kind for one in world.restarts] == [kind]
    ended = world.log.index(ef.Record(world.ended()[0]))
    assert ended < world.log.index(world.restarts[0])
    assert not world.place().locked


@requirement("16.RESET.2")
def test_a_car_that_stays_in_c_delays_a_reset_by_six_seconds_only() -> None:
    world = World().boot().charging()

    world.ask(ev.ResetRequested, kind=ResetKind.SOFT)
    world.advance(8)

    assert len(world.restarts) == 1
    assert not world.place().coil


def test_a_reset_of_an_idle_station_comes_at_once() -> None:
    world = World().boot()

    world.ask(ev.ResetRequested, kind=ResetKind.SOFT)

    assert len(world.restarts) == 1
    assert world.kept["planned"] == "SoftReset"


def test_a_gate_that_does_not_answer_does_not_prevent_a_reset() -> None:
    world = World().boot().charging()
    world.gate_answers = False

    world.ask(ev.ResetRequested, kind=ResetKind.HARD)
    world.advance(30)

    assert len(world.restarts) == 1


def test_nothing_begins_while_a_reset_is_under_way() -> None:
    world = World(*TWO).boot().charging(1)
    world.ask(ev.ResetRequested, kind=ResetKind.SOFT)

    world.plug(2)
    world.tap("04B2", evses=(2,))
    reply = world.ask(ev.StartRequested, token=ANNA, evse=2)

    assert reply.outcome is Outcome.REJECTED
    assert world.evse(2).claim is ClaimState.NONE


@requirement("16.RESET.4")
def test_a_reset_that_failed_lets_the_station_serve_again() -> None:
    world = World().boot()
    world.ask(ev.ResetRequested, kind=ResetKind.SOFT)

    world.tell(ev.FaultReported(None, FaultCode.RESET_FAILED, True))
    world.charging()

    assert world.place().coil
    assert [one.code for one in world.picture.faults] == [FaultCode.RESET_FAILED]


def test_a_shutdown_ends_what_runs_within_its_time() -> None:
    world = World().boot().charging()

    world.tell(ev.ShutdownRequested())
    world.advance(3.1)
    coil = world.place().coil
    world.advance(1.1)

    assert not coil
    assert world.ended()[0].reason is StopReason.REBOOT
    assert world.restarts == []


# --- settings, cache, vendor messages ------------------------------------------------------------


@requirement("16.CONF.2")
def test_a_setting_is_checked_saved_and_used_from_then_on() -> None:
    world = World().boot()

    reply = world.ask(ev.SettingChangeRequested, setting="sampling.interval_s", text="30")

    assert reply.outcome is Outcome.ACCEPTED
    assert world.saved_settings == {"sampling.interval_s": "30"}


@requirement("16.CONF.2", "16.CONF.3", "16.MET.9", "16.TX.14")
@pytest.mark.parametrize(("setting", "text", "outcome"), [
    ("no.such", "1", Outcome.NOT_SUPPORTED),
    ("sampling.interval_s", "-1", Outcome.REJECTED),
    ("sampling.interval_s", "1.5", Outcome.REJECTED),
    ("sampling.interval_s", "soon", Outcome.REJECTED),
    ("auth.local_pre", "perhaps", Outcome.REJECTED),
    ("sampling.end_max", "5", Outcome.REJECTED),
    ("sampling.measurands", "state_of_charge", Outcome.REJECTED),
    ("sampling.measurands", "power_import,nonsense", Outcome.REJECTED),
    ("session.unlock_on_unplug", "true", Outcome.REJECTED),
    ("sampling.measurands", "", Outcome.ACCEPTED),
    ("auth.local_pre", "TRUE", Outcome.ACCEPTED),
])
def test_a_setting_is_refused_whole_or_taken(setting: str, text: str, outcome: Outcome) -> None:
    world = World().boot()

    reply = world.ask(ev.SettingChangeRequested, setting=setting, text=text)

    assert reply.outcome is outcome
    assert bool(world.saved_settings) is (outcome is Outcome.ACCEPTED)


@requirement("16.CONF.2")
@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.id)
def test_read_only_settings_are_never_changed(row: Any) -> None:
    world = World(LOCKED).boot()

    reply = world.ask(ev.SettingChangeRequested, setting=row.id, text="0")

    if row.access is Access.READ_ONLY:
        assert reply.outcome is Outcome.REJECTED
        assert world.saved_settings == {}


@requirement("16.CACHE.6")
def test_the_cache_is_cleared_while_it_is_on() -> None:
    world = World().boot()

    assert world.ask(ev.ClearCacheRequested).outcome is Outcome.ACCEPTED
    with_settings(world, **{"auth.cache_enabled": False})
    assert world.ask(ev.ClearCacheRequested).outcome is Outcome.REJECTED
    assert world.forgotten == 1


@requirement("16.DT.1")
def test_a_message_of_a_vendor_is_for_somebody_outside_to_answer() -> None:
    world = World().boot()
    request = ev.VendorMessageReceived(RequestId(Origin.CSMS, 900), "X", None, None)

    _, effects = step(world.station, request, world.now, world.settings)

    assert ef.Delegate(request) in effects
    assert not any(isinstance(one, ef.Answer) for one in effects)


@pytest.mark.parametrize("kind", [ev.PresenceRequested])
def test_what_needs_no_decision_is_accepted(kind: type[ev.Request]) -> None:
    assert World().boot().ask(kind).outcome is Outcome.ACCEPTED


def test_before_the_boot_every_request_is_answered_and_refused() -> None:
    world = World()
    request = ev.StartRequested(RequestId(Origin.CSMS, 1), ANNA)

    _, effects = step(new(world.layout), request, world.now, world.settings)

    (answer,) = effects
    assert isinstance(answer, ef.Answer)
    assert answer.reply.outcome is Outcome.REJECTED


# --- two EVSEs, one reader -----------------------------------------------------------------------


@requirement("16.AUTH.8", "E-04")
def test_a_card_without_a_plug_belongs_to_the_next_one_that_is_plugged() -> None:
    world = World(*TWO).boot()

    world.tap("04A1")
    waiting = world.picture.waiting_token
    world.plug(2)

    assert waiting == ANNA
    assert [one.evse for one in world.started()] == [2]


@requirement("E-04")
def test_by_option_a_card_without_a_plug_belongs_to_the_first_evse() -> None:
    world = World(*TWO, settings={"policy.tag_first_connector": "fixed"}).boot()

    world.tap("04A1")

    assert world.evse(1).claim is ClaimState.GRANTED
    assert world.picture.waiting_token is None


def test_a_card_takes_the_plug_that_came_last() -> None:
    world = World(*TWO).boot()
    world.plug(2)
    world.advance(5)
    world.plug(1)

    world.tap("04A1")

    assert [one.evse for one in world.started()] == [1]


def test_a_card_stops_its_own_transaction_though_another_evse_is_free() -> None:
    world = World(*TWO).boot().charging(1)
    world.plug(2)

    world.tap("04A1")

    assert world.place(1).offer == NO_OFFER
    assert world.evse(2).claim is ClaimState.NONE


def test_a_reader_serves_its_evses_only() -> None:
    world = World(*TWO).boot()
    world.plug(1)
    world.plug(2)

    world.tap("04A1", evses=(1,))

    assert [one.evse for one in world.started()] == [1]


def test_a_second_tap_gives_a_waiting_claim_up() -> None:
    world = World(*TWO).boot()
    world.tap("04A1")

    world.tap("04A1")

    assert world.picture.waiting_token is None


def test_a_waiting_claim_ends_with_its_time() -> None:
    world = World(*TWO).boot()
    world.tap("04A1")

    world.advance(61)

    assert world.picture.waiting_token is None


def test_a_waiting_card_that_is_refused_goes() -> None:
    world = World(*TWO).boot()
    world.judge = lambda token: TokenInfo(TokenStatus.INVALID)

    world.tap("04A1")

    assert world.picture.waiting_token is None
    assert world.shown[-1] == ef.Show(None, "card_refused")


def test_a_group_card_stops_one_transaction_only() -> None:
    world = World(*TWO).boot()
    world.judge = lambda token: TokenInfo(TokenStatus.ACCEPTED, IdToken("G"))
    world.charging(1, "04A1")
    world.charging(2, "04A2")

    world.tap("04B2")
    world.advance(8)

    assert len(world.ended()) == 1
    assert len([one for one in world.asks if one.for_group]) == 1


def test_an_unusable_card_is_shown_as_refused() -> None:
    world = World().boot()

    world.tell(ev.CardUnusable("front"))

    assert world.shown[-1] == ef.Show(None, "card_refused")
    assert ACCEPTED.status is TokenStatus.ACCEPTED
