"""Requests of the central system and of the technician: what is answered, and what follows.

Each request gets exactly one `Answer`; only an unlock is answered later, when the lock has moved.
Source: OCPP 1.6 §5 with 16.RSTART.*, 16.RSTOP.1, 16.UNLOCK.*, 16.AVAIL.*, 16.RESET.*, 16.CONF.2.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cpctl.core import (
    claims,
    contactor_trial,
    firmware,
    log_jobs,
    profile_requests,
    reservation,
    rules,
    security,
    transaction,
    triggers,
)
from cpctl.core import evse as moves
from cpctl.core.around import around, is_going_down, may_serve
from cpctl.core.effects import Answer, Delegate, Effect, ForgetTokens, Keep, Record, SaveSetting
from cpctl.core.events import (
    AvailabilityRequested,
    CancelReservationRequested,
    CertificateDeleteRequested,
    CertificateInstallRequested,
    CertificateSignedRequested,
    CertificatesRequested,
    ClearCacheRequested,
    ClearFaultRequested,
    ClearProfilesRequested,
    CompositeRequested,
    ContactorTestRequested,
    FirmwareChecked,
    FirmwareRequested,
    ListUpdateRequested,
    ListVersionRequested,
    LogRequested,
    Request,
    ReserveRequested,
    ResetRequested,
    SetProfileRequested,
    SettingChangeRequested,
    StartRequested,
    StopRequested,
    TriggerRequested,
    UnlockRequested,
    VendorMessageReceived,
)
from cpctl.core.facts import FaultUnlatched as FaultUnlatchedFact
from cpctl.core.metering import SUPPORTED
from cpctl.core.now import Now
from cpctl.core.settings import (
    TABLE,
    Access,
    Kind,
    Setting,
    SettingError,
    Settings,
    Value,
    parse,
    to_text,
)
from cpctl.core.state import Evse, Station
from cpctl.core.values import Origin, Outcome, Registration, Reply, ResetKind, StopReason

StationMoved = tuple[Station, tuple[Effect, ...]]
Decision = Callable[[Station, Any, Now, Settings], StationMoved]  # of its own kind of request

UNLOCK_WAIT_S = 25.0  # winding down and three tries, within the patience of a central system
RESET_WAIT_S = 20.0  # then the station restarts with what the books hold
_NO_SUCH_EVSE = Reply(Outcome.REJECTED, "no_such_evse", "see cpctl status")


def answered(station: Station, event: Request, now: Now, settings: Settings) -> StationMoved:
    """Decide a request. What has no decision in the core is simply accepted."""
    if not station.booted:
        return station, (_answer(event, Outcome.REJECTED, "not_booted", "try again"),)
    if isinstance(event, _KEPT) and not firmware.books_good(station):
        return station, (_answer(event, Outcome.REJECTED, "journal_failed",
                                 "the books cannot be written; see cpctl doctor"),)
    elsewhere = _DECIDED_ELSEWHERE.get(type(event))
    if elsewhere is not None:
        return elsewhere(station, event, now, settings)
    match event:
        case StartRequested():
            return _start(station, event, now, settings)
        case StopRequested():
            return _stop(station, event, now, settings)
        case UnlockRequested():
            return _unlock(station, event, now, settings)
        case AvailabilityRequested():
            return _availability(station, event, now, settings)
        case ResetRequested():
            return _reset(station, event, now)
        case ClearFaultRequested():
            return _clear_fault(station, event, now)
        case _:
            return station, _simple(event, settings)


# What these change would not outlive a restart while the books cannot be written: it is refused as
# a whole. Reservations are not among them: they end, and are refused, by the fault that is there.
_KEPT = (AvailabilityRequested, ClearCacheRequested, ClearProfilesRequested,
         SetProfileRequested, SettingChangeRequested)


def _setting(station: Station, event: SettingChangeRequested, now: Now, settings: Settings
             ) -> StationMoved:
    if event.setting in security.SETTINGS:
        return security.changed(station, event, now, settings)
    return station, _change_setting(station, event)


def _delegated(station: Station, event: Request, now: Now, settings: Settings) -> StationMoved:
    return station, (Delegate(event),)


def _reservation(station: Station, event: Request, now: Now, settings: Settings) -> StationMoved:
    return reservation.answered(station, event, now, settings,
                                serving=may_serve(station, settings))


_DECIDED_ELSEWHERE: Mapping[type[Request], Decision] = {
    CertificateDeleteRequested: _delegated,
    CertificateInstallRequested: _delegated,
    CertificateSignedRequested: _delegated,
    CertificatesRequested: _delegated,
    FirmwareChecked: firmware.answered,
    FirmwareRequested: firmware.answered,
    ClearProfilesRequested: profile_requests.answered,
    ContactorTestRequested: contactor_trial.requested,
    CancelReservationRequested: _reservation,
    CompositeRequested: profile_requests.answered,
    ListUpdateRequested: _delegated,
    ListVersionRequested: _delegated,
    SettingChangeRequested: _setting,
    LogRequested: log_jobs.requested,
    ReserveRequested: _reservation,
    SetProfileRequested: profile_requests.answered,
    TriggerRequested: triggers.answered,
}


def _answer(event: Request, outcome: Outcome, code: str = "", hint: str = "",
            session: int | None = None) -> Answer:
    return Answer(event.request, Reply(outcome, code, hint, session))


def _simple(event: Request, settings: Settings) -> tuple[Effect, ...]:
    match event:
        case ClearCacheRequested() if not settings.flag("auth.cache_enabled"):
            return (_answer(event, Outcome.REJECTED, "cache_disabled"),)
        case ClearCacheRequested():
            return ForgetTokens(), _answer(event, Outcome.ACCEPTED)
        case VendorMessageReceived():
            return (Delegate(event),)
        case _:
            return (_answer(event, Outcome.ACCEPTED),)


def _not_accepted(station: Station, event: Request) -> bool:
    """16.BOOT.5: while it has not accepted us the central system starts and stops nothing."""
    return (event.request.origin is Origin.CSMS
            and station.registration is not Registration.ACCEPTED)


# --- start and stop ------------------------------------------------------------------------------


def _start(station: Station, event: StartRequested, now: Now, settings: Settings) -> StationMoved:
    refused = _why_no_start(station, event, settings)
    if refused is None and (why := profile_requests.why_not_with_start(
            station, event, now, settings)):
        refused = Reply(Outcome.REJECTED, why)
    if refused is not None:
        return station, (Answer(event.request, refused),)
    wanted = () if event.evse is None else (event.evse,)
    free = claims.free_evses(station, wanted, event.token, now, settings)
    perhaps = [] if free else claims.perhaps_free(station, wanted, now, settings)
    if not free and not perhaps:
        return station, (Answer(event.request, _why_not_free(station, event, now, settings)),)
    authorize = event.authorize or event.request.origin is Origin.LOCAL or settings.flag(
        "auth.remote_needs_authorization") or bool(perhaps)
    station, effects = claims.claimed_by_request(
        station, event, free or perhaps, authorize=authorize, now=now, settings=settings)
    return station, (_answer(event, Outcome.ACCEPTED), *effects)


def _why_no_start(station: Station, event: StartRequested, settings: Settings) -> Reply | None:
    """What refuses a start before anybody looks at the EVSE's state."""
    if _not_accepted(station, event):
        return Reply(Outcome.REJECTED, "not_accepted")
    if event.evse is None:
        several = len(station.evses) > 1
        if several and settings.text("policy.remote_start_any") == "reject":
            return Reply(Outcome.REJECTED, "no_evse_named", "name the EVSE")
        if station.waiting:
            return Reply(Outcome.REJECTED, "another_waits", "plug in, or wait for its time-out")
        return None
    evse = station.evse(event.evse)
    if evse is None:
        return _NO_SUCH_EVSE
    known = {connector.id for connector in evse.layout.connectors} - evse.service.out
    if event.connector is not None and event.connector not in known:
        return Reply(Outcome.REJECTED, "no_such_connector", "see cpctl status")
    if len(known) > 1 and reservation.stands_back(station, evse, event.connector):
        return Reply(Outcome.REJECTED, "unavailable", "another connector of the EVSE is in use")
    return None


def _why_not_free(station: Station, event: StartRequested, now: Now, settings: Settings) -> Reply:
    """The reason in the order a person would look for it."""
    evse = station.evse(event.evse)
    if evse is None:
        return Reply(Outcome.REJECTED, "all_busy", "wait until an EVSE is free")
    its_around = around(station, now, settings)[evse.id]
    if evse.stopping or its_around.stopping:
        return Reply(Outcome.REJECTED, "faulted", f"cpctl why {evse.id}")
    if not rules.serves(evse, its_around):
        return Reply(Outcome.REJECTED, "unavailable", f"cpctl why {evse.id}")
    if its_around.held and claims.may_be_claimed(evse, its_around):
        return Reply(Outcome.REJECTED, "reserved", "kept for a reservation")
    return Reply(Outcome.REJECTED, "in_use", f"cpctl evse show {evse.id}")


def _stop(station: Station, event: StopRequested, now: Now, settings: Settings) -> StationMoved:
    evse = _running(station, event)
    if evse is None or _not_accepted(station, event):
        return station, (_answer(event, Outcome.REJECTED, "no_transaction",
                                 "see cpctl sessions"),)
    session = evse.session.no if evse.session is not None else None
    accepted = _answer(event, Outcome.ACCEPTED, session=session)
    if event.request.origin is Origin.CSMS:
        after = transaction.ending(evse, StopReason.REMOTE, "RemoteStop", now)
        return station.with_evse(after), (accepted,)
    return _stop_locally(station, evse, event, now, settings)


def _running(station: Station, event: StopRequested) -> Evse | None:
    for evse in station.evses:
        fits = evse.session is not None and evse.session.no == event.session
        if (fits if event.session is not None else evse.id == event.evse) and evse.in_transaction:
            return evse
    return None


def _stop_locally(station: Station, evse: Evse, event: StopRequested, now: Now,
                  settings: Settings) -> StationMoved:
    """A stop at the local socket: without a token a technician's, with one as a card's."""
    session = evse.session.no if evse.session is not None else None
    owner = evse.owner
    if event.token is None or (owner is not None and owner.token.same_as(event.token)):
        after = transaction.ending(evse, StopReason.LOCAL, "StopAuthorized", now, event.token)
        return station.with_evse(after), (_answer(event, Outcome.ACCEPTED, session=session),)
    after, effects = moves.on_second_token(evse, event.token, station.next_ask, now, settings)
    if after is evse:
        return station, (_answer(event, Outcome.REJECTED, "other_token",
                                 "use the token that started, or one of its group"),)
    station = replace(station.with_evse(after), next_ask=station.next_ask + 1)
    return station, (_answer(event, Outcome.ACCEPTED, "asking", session=session), *effects)


# --- unlock --------------------------------------------------------------------------------------


def _unlock(station: Station, event: UnlockRequested, now: Now, settings: Settings
            ) -> StationMoved:
    evse = station.evse(event.evse)
    if evse is None or event.connector not in {one.id for one in evse.layout.connectors}:
        return station, (_answer(event, Outcome.UNKNOWN, "no_such_connector"),)
    if not evse.layout.has_lock:
        if settings.flag("policy.unlock_stops_without_lock"):
            station = station.with_evse(transaction.ending(
                evse, StopReason.UNLOCK_COMMAND, "UnlockCommand", now))
        return station, (_answer(event, Outcome.NOT_SUPPORTED, "no_lock"),)
    if event.connector != evse.connector and (evse.plug.plugged or evse.in_transaction):
        return station, (_answer(event, Outcome.UNLOCKED, "not_in_use"),)
    evse = moves.unlock_wanted(evse, now)
    unlocks = (*evse.unlocks, (event.request, now.after(UNLOCK_WAIT_S)))
    return station.with_evse(replace(evse, unlocks=unlocks)), ()


# --- availability --------------------------------------------------------------------------------


def _availability(station: Station, event: AvailabilityRequested, now: Now,
                  settings: Settings) -> StationMoved:
    if event.evse is None:
        return _station_availability(station, event, now, settings)
    evse = station.evse(event.evse)
    if evse is None:
        return station, (Answer(event.request, _NO_SUCH_EVSE),)
    connectors = {connector.id for connector in evse.layout.connectors}
    if event.connector is not None and event.connector not in connectors:
        return station, (_answer(event, Outcome.REJECTED, "no_such_connector"),)
    if event.connector is not None and len(connectors) > 1:
        return _connector_availability(station, evse, event, now, settings)
    return _evse_availability(station, evse, event, now, settings)


def _evse_availability(station: Station, evse: Evse, event: AvailabilityRequested, now: Now,
                       settings: Settings) -> StationMoved:
    allowed = event.operative or rules.may_change_availability(evse, settings)
    after, effects = moves.with_availability(evse, event.operative, now, now_allowed=allowed)
    outcome = Outcome.SCHEDULED if after.service.pending is not None else Outcome.ACCEPTED
    return station.with_evse(after), (_answer(event, outcome), *effects)


def _connector_availability(station: Station, evse: Evse, event: AvailabilityRequested,
                            now: Now, settings: Settings) -> StationMoved:
    """One of several connectors; the EVSE is inoperative when all of them are."""
    assert event.connector is not None
    change = {event.connector}
    out = evse.service.out - change if event.operative else evse.service.out | change
    all_out = len(out) == len(evse.layout.connectors)
    word = None if event.operative else moves.kept_word(operative=False)
    kept = Keep(f"availability.{evse.id}.{event.connector}", word)
    runs = not event.operative and evse.in_transaction and event.connector == evse.connector
    evse = replace(evse, service=replace(evse.service, out=frozenset(out)))
    station, effects = _evse_availability(
        station.with_evse(evse), evse, replace(event, operative=not all_out), now, settings)
    if runs and not all_out:  # it shows once the transaction is over
        effects = (_answer(event, Outcome.SCHEDULED), *effects[1:])
    changed = station.evse(evse.id)
    assert changed is not None
    station = station.with_evse(replace(
        changed, service=replace(changed.service, out=frozenset(out))))
    return station, (*effects, kept)


def _station_availability(station: Station, event: AvailabilityRequested, now: Now,
                          settings: Settings) -> StationMoved:
    """16.AVAIL.3: the station and all EVSEs; free ones at once, busy ones at their end."""
    effects: list[Effect] = []
    waits = False
    for evse in station.evses:
        allowed = event.operative or rules.may_change_availability(evse, settings)
        after, kept = moves.with_availability(evse, event.operative, now, now_allowed=allowed)
        station = station.with_evse(after)
        effects += kept
        waits = waits or after.service.pending is not None
    station = replace(station, operative=event.operative or waits,
                      pending=event.operative if waits else None)
    outcome = Outcome.SCHEDULED if waits else Outcome.ACCEPTED
    return station, (_answer(event, outcome), *effects, *kept_station(station))


def kept_station(station: Station) -> tuple[Effect, ...]:
    operative, pending = station.operative, station.pending
    return (
        Keep("availability.station", None if operative else moves.kept_word(operative=False)),
        Keep("availability.station.pending",
             None if pending is None else moves.kept_word(pending)),
    )


# --- reset ---------------------------------------------------------------------------------------


def _reset(station: Station, event: ResetRequested, now: Now) -> StationMoved:
    """16.RESET.1: accepted before acting; a hard one overtakes a soft one."""
    if is_going_down(station) and station.reset is not ResetKind.SOFT:
        return station, (_answer(event, Outcome.REJECTED, "going_down"),)
    if firmware.is_writing(station):
        return station, (_answer(event, Outcome.REJECTED, "installing",
                                 "firmware is being written"),)
    reason = StopReason.SOFT_RESET if event.kind is ResetKind.SOFT else StopReason.HARD_RESET
    station = replace(station, reset=event.kind, reset_by=now.after(RESET_WAIT_S), waiting=())
    return station, (_answer(event, Outcome.ACCEPTED), Keep("planned", reason.value))


# --- faults --------------------------------------------------------------------------------------


def _clear_fault(station: Station, event: ClearFaultRequested, now: Now) -> StationMoved:
    if event.evse is None:
        return _clear_station_fault(station, event, now)
    evse = station.evse(event.evse)
    if evse is None:
        return station, (Answer(event.request, _NO_SUCH_EVSE),)
    why = moves.why_not_clearable(evse, event.code)
    if why:
        hints = {"evse_operative": f"cpctl evse availability {evse.id} inoperative",
                 "contactor_not_tested": f"cpctl hw contactor-test {evse.id}"}
        hint = hints.get(why, f"cpctl evse show {evse.id}")
        return station, (_answer(event, Outcome.REJECTED, why, hint),)
    after, effects = moves.cleared(evse, event.code, now)
    return station.with_evse(after), (_answer(event, Outcome.ACCEPTED), *effects)


def _clear_station_fault(station: Station, event: ClearFaultRequested, now: Now) -> StationMoved:
    """Warnings of the station go when somebody has seen them; one that stops has a cause."""
    gone = tuple(f for f in station.faults
                 if event.code in (None, f.code) and (f.latched or not f.stops))
    if not gone:
        return station, (_answer(event, Outcome.REJECTED, "no_such_fault"),)
    station = replace(station, faults=tuple(f for f in station.faults if f not in gone))
    effects = tuple(Record(FaultUnlatchedFact(now, None, None, f.code))
                    for f in gone if f.latched)
    return station, (_answer(event, Outcome.ACCEPTED), *effects)


# --- settings ------------------------------------------------------------------------------------


def _change_setting(station: Station, event: SettingChangeRequested) -> tuple[Effect, ...]:
    """16.CONF.2: unknown, refused, or taken (perhaps only after a restart)."""
    row = TABLE.get(event.setting)
    if row is None:
        return (_answer(event, Outcome.NOT_SUPPORTED, "unknown_setting"),)
    if row.access is Access.READ_ONLY or _fixed_by_hardware(station, row):
        return (_answer(event, Outcome.REJECTED, "read_only"),)
    try:
        value = parse(row, event.text)
    except SettingError as error:
        return (_answer(event, Outcome.REJECTED, "bad_value", str(error)),)
    unsupported = _unsupported(row, value)
    if unsupported:
        return (_answer(event, Outcome.REJECTED, "bad_value", f"cannot measure {unsupported}"),)
    outcome = Outcome.REBOOT_REQUIRED if row.restart else Outcome.ACCEPTED
    return SaveSetting(row.id, to_text(value)), _answer(event, outcome)


def _fixed_by_hardware(station: Station, row: Setting) -> bool:
    """16.TX.14: without a lock there is nothing to unlock."""
    return row.id == "session.unlock_on_unplug" and not any(
        evse.layout.has_lock for evse in station.evses)


def _unsupported(row: Setting, value: Value) -> str:
    if row.kind is not Kind.MEASURANDS or not isinstance(value, tuple):
        return ""
    known = {quantity.value for quantity in SUPPORTED}
    return ", ".join(name for name in value if name.partition("@")[0] not in known)

