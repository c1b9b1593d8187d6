"""The start of the station: what was kept, what is latched, what the previous life left open.

Source: house.md §8 "Power fails in mid-charge"; OCPP 1.6 with 16.TX.16, 16.STAT.8, 16.RESET.5.
"""

from dataclasses import replace

from cpctl.core import evse as moves
from cpctl.core import (
    firmware,
    log_jobs,
    profile_requests,
    reservation,
    security,
    sharing,
    transaction,
)
from cpctl.core.effects import Effect, Keep, Record
from cpctl.core.events import Booted, OpenSession
from cpctl.core.facts import SessionClosed
from cpctl.core.faults import FaultCode
from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.state import (
    Claim,
    ClaimState,
    Evse,
    Lock,
    Offering,
    PowerState,
    PresentFault,
    Recovery,
    Session,
    Station,
)
from cpctl.core.values import AfterPowerLoss, BootCause, StopReason

StationMoved = tuple[Station, tuple[Effect, ...]]

METER_WAIT_S = 5.0  # for the register at boot; then the books' register stands
INOPERATIVE = moves.kept_word(operative=False)


def booted(station: Station, event: Booted, now: Now, settings: Settings) -> StationMoved:
    """The station as the books and the kept values tell; its rules run from now on."""
    if station.booted:
        return station, ()
    kept = event.kept
    station = replace(
        station, booted=True, next_session=event.next_session,
        accepted_ever=kept.get("accepted.ever") == "yes",
        operative=kept.get("availability.station") != INOPERATIVE,
        pending=_pending(kept.get("availability.station.pending")),
        access=security.restored(kept),
        evses=tuple(_restored(evse, event, now) for evse in station.evses),
        faults=station.faults + _latched(event, None, now) + _books_damaged(event, now))
    effects = _damage_told(event, now) + security.started(event.cause, kept, now)
    station, more = profile_requests.restored(station, event, now)
    effects += more
    reserved, more = reservation.restored(event.records, event.open_sessions)
    station, effects = replace(station, reservations=reserved), effects + more
    for left in event.open_sessions:
        station, more = _taken_over(station, left, event, now, settings)
        effects += more
    station, more = firmware.booted(station, event.records, now)
    effects += more
    station, more = log_jobs.restored(station, event)
    effects += more
    if "planned" in kept:
        effects += (Keep("planned", None),)
    return station, effects


def _pending(word: str | None) -> bool | None:
    return None if word is None else word != INOPERATIVE


def _books_damaged(event: Booted, now: Now) -> tuple[PresentFault, ...]:
    if event.journal_good:
        return ()
    return (PresentFault(FaultCode.JOURNAL_DAMAGED, now, event.journal_detail),)


def _damage_told(event: Booted, now: Now) -> tuple[Effect, ...]:
    """Damaged books hold the security log too: what it lost is lost to who reads it."""
    if event.journal_good:
        return ()
    return (security.raised("JournalDamaged", event.journal_detail, now, critical=True),
            security.raised("SecurityLogWasCleared", event.journal_detail, now))


def _latched(event: Booted, evse: int | None, now: Now) -> tuple[PresentFault, ...]:
    return tuple(PresentFault(code, now) for of, code in event.latched if of == evse)


def _restored(evse: Evse, event: Booted, now: Now) -> Evse:
    """Availability and latched faults as they were; a weld is no less a weld after a restart."""
    kept = event.kept
    out = frozenset(one.id for one in evse.layout.connectors
                    if kept.get(f"availability.{evse.id}.{one.id}") == INOPERATIVE)
    service = replace(
        evse.service, operative=kept.get(f"availability.{evse.id}") != INOPERATIVE,
        pending=_pending(kept.get(f"availability.{evse.id}.pending")), out=out)
    if kept.get(f"offer.{evse.id}") == sharing.NO_OFFER_KEPT:
        evse = replace(evse, offering=Offering(confirmed_a=0.0, kept_none=True))
    latched = tuple(fault for fault in _latched(event, evse.id, now) if not evse.has(fault.code))
    evse = replace(evse, service=service, faults=evse.faults + latched)
    if evse.has(FaultCode.CONTACTOR_WELDED):
        return replace(evse, power=replace(evse.power, state=PowerState.WELDED))
    return evse


def _taken_over(station: Station, left: OpenSession, event: Booted, now: Now,
                settings: Settings) -> StationMoved:
    """Resume a transaction where that is wished, else end it once its register is known."""
    evse = station.evse(left.evse)
    reason = transaction.boot_reason(
        event.cause, left.planned_reason or event.kept.get("planned"))
    if evse is None:
        return station, _ended_without_evse(station, left, reason, now)
    resumes = station.layout.after_power_loss is AfterPowerLoss.RESUME and (
        left.started is not None and left.ended is None and evse.session is None)
    if resumes and not _is_reset(reason, event.cause):
        word = event.kept.get(f"{moves.REVOKED}{evse.id}", "")
        return station.with_evse(_resumed(evse, left, word, now, settings)), ()
    recovery = Recovery(left, reason, now.after(METER_WAIT_S))
    return station.with_evse(replace(evse, recovering=(*evse.recovering, recovery))), ()


def _is_reset(reason: StopReason, cause: BootCause) -> bool:
    return cause is BootCause.PLANNED and reason in (StopReason.SOFT_RESET, StopReason.HARD_RESET)


def _ended_without_evse(station: Station, left: OpenSession, reason: StopReason, now: Now
                        ) -> tuple[Effect, ...]:
    """The EVSE is no longer installed: the books' register stands."""
    effects: tuple[Effect, ...] = ()
    if left.started is not None and left.ended is None:
        register_wh = max(left.started.register_wh, left.last_register_wh or 0)
        effects = (Record(transaction.ended_by_restart(left, reason, register_wh,
                                                       offline=True)),)
    return (*effects, Record(SessionClosed(now, left.session, left.evse)))


def _resumed(evse: Evse, left: OpenSession, word: str, now: Now, settings: Settings) -> Evse:
    """The session goes on as if nothing had been: plugged, until the pilot says otherwise.

    The coil is off as from now, so that a register read since then ends the transaction. Where the
    plug lock came to rest nobody knows: it is ordered shut anew. `word`: what was kept of a token
    refused since (16.TX.4).
    """
    revoked, until_wh = moves.revoked_before(word, left.session)
    state = ClaimState.REVOKED if revoked else ClaimState.GRANTED
    return replace(
        evse, plug=replace(evse.plug, plugged=True, since=now.mono_ns),
        power=replace(evse.power, off_since=now.mono_ns), lock=Lock(),
        session=Session(left.session, left.connector, left.last_at),
        transaction=transaction.resumed(left, now),
        meter=transaction.meter_of_books(left, now, settings),
        claim=Claim(state, left.token, energy_until_wh=until_wh, connector=left.connector))

