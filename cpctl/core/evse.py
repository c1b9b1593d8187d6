"""What each event does to the machines of one EVSE. The rules that couple them are in `rules.py`.

Plug, claim, faults and meter move here; power and lock in `power.py`, the transaction in
`transaction.py`.
"""

from dataclasses import replace
from typing import assert_never

from cpctl.core import contactor_trial, metering, overcurrent, power, sharing, transaction
from cpctl.core.effects import Authorize, Effect, Keep, Record, Show
from cpctl.core.events import (
    AuthorizationAnswered,
    ContactorReported,
    ContactorTested,
    DeviceFound,
    DeviceLost,
    EnergiseRefused,
    FaultReported,
    InputChanged,
    LockReported,
    MeterRead,
    OfferConfirmed,
    PilotChanged,
    PowerReleased,
    ReleaseNumbered,
)
from cpctl.core.facts import FaultUnlatched as FaultUnlatchedFact
from cpctl.core.facts import TransactionChanged
from cpctl.core.faults import CATALOGUE, FaultCode
from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.state import (
    NO_CLAIM,
    Around,
    Claim,
    ClaimState,
    Evse,
    LockState,
    PowerState,
    PresentFault,
    Second,
    TxState,
)
from cpctl.core.values import IdToken, StopReason, TokenInfo, TokenStatus
from hal.values import OfferKind, PilotState

Moved = tuple[Evse, tuple[Effect, ...]]
DeviceEvent = (PilotChanged | OfferConfirmed | ContactorReported | PowerReleased | ReleaseNumbered
               | EnergiseRefused | ContactorTested | LockReported | MeterRead | InputChanged
               | DeviceLost | DeviceFound | FaultReported)

REVOKED = "revoked."  # key of what is kept of a token refused while its transaction goes on
ASK_MARGIN_S = 10.0  # beyond the time-out of a call: then nobody will answer any more

INPUT_FAULTS = {
    "rcd": FaultCode.RCD_TRIPPED,
    "emergency_stop": FaultCode.EMERGENCY_STOP,
    "door": FaultCode.DOOR_OPEN,
    "temperature": FaultCode.OVER_TEMPERATURE,
    "over_temperature": FaultCode.OVER_TEMPERATURE,
    "ground": FaultCode.GROUND_FAILURE,
    "over_current": FaultCode.OVER_CURRENT,
}
NO_FAULT_INPUTS = ("bay",)

DEVICE_FAULTS = {
    "meter": FaultCode.METER_LOST,
    "pilot": FaultCode.PILOT_LOST,
    "contactor": FaultCode.CONTACTOR_LOST,
    "lock": FaultCode.LOCK_JAMMED,
    "input": FaultCode.INPUT_LOST,
    "reader": FaultCode.READER_LOST,
}


def on_device(evse: Evse, event: DeviceEvent, around: Around, now: Now, settings: Settings
              ) -> Moved:
    """The EVSE after something its devices or the gate said."""
    match event:
        case PilotChanged():
            return on_pilot(evse, event, now, settings)
        case MeterRead():
            return on_meter(evse, event, around, now, settings)
        case OfferConfirmed(offer=offer, number=number):
            return sharing.confirmed(evse, offer, number, now), ()
        case LockReported():
            return power.on_lock(evse, event, now)
        case InputChanged():
            return on_input(evse, event, now)
        case DeviceLost() | DeviceFound():
            return _on_presence(evse, event, now)
        case FaultReported():
            return on_fault(evse, event, now)
        case _:
            return _on_gate(evse, event, now)


def _on_gate(evse: Evse, event: ContactorReported | PowerReleased | ReleaseNumbered
             | EnergiseRefused | ContactorTested, now: Now) -> Moved:
    match event:
        case ContactorTested():
            return contactor_trial.on_tested(evse, event)
        case ContactorReported():
            return power.on_contactor(evse, event, now)
        case PowerReleased():
            return power.on_released(evse, event, now)
        case ReleaseNumbered():
            return power.on_numbered(evse, event)
        case EnergiseRefused():
            return power.on_refused(evse, event, now)
        case _:
            assert_never(event)


# --- the plug ------------------------------------------------------------------------------------


def on_pilot(evse: Evse, event: PilotChanged, now: Now, settings: Settings) -> Moved:
    """The pilot moved. E, F and no answer tell nothing of the plug: what was known of it stays."""
    was = evse.plug
    told = event.state is PilotState.A or (event.state is not None and event.state.plugged)
    plugged = event.state is not PilotState.A if told else was.plugged
    plug = replace(was, pilot=event.state, plugged=plugged, diode_ok=event.diode_ok,
                   cable_a=event.cable_a if event.cable_a is not None or not plugged
                   else was.cable_a,
                   connector=event.connector if event.connector is not None or not plugged
                   else was.connector)
    evse = replace(evse, plug=plug,
                   power=replace(evse.power, refused=(), refusals=0, retry_at=None))
    evse, effects = _pilot_faults(evse, now)
    if plugged and not was.plugged:
        return _plugged(evse, now), effects
    if was.plugged and not plugged:
        return _unplugged(evse, now, settings), effects
    return evse, effects


def _pilot_faults(evse: Evse, now: Now) -> Moved:
    state, ours = evse.plug.pilot, evse.offering.offer.kind is OfferKind.UNAVAILABLE
    present = {
        FaultCode.PILOT_SHORTED: state is PilotState.E,
        FaultCode.PILOT_UNAVAILABLE: state is PilotState.F and not ours,
        FaultCode.PILOT_LOST: state is None,
        FaultCode.DIODE_MISSING: not evse.plug.diode_ok and state is not PilotState.A,
    }
    evse = power.without_fault(evse, *(code for code, there in present.items() if not there))
    effects: tuple[Effect, ...] = ()
    for code in (code for code, there in present.items() if there):
        evse, more = power.with_fault(evse, code, now)
        effects += more
    return evse, effects


def _plugged(evse: Evse, now: Now) -> Evse:
    stopped = evse.stopped if evse.in_transaction else None
    session, connector = evse.session, evse.plug.connector
    if session is not None and connector is not None and evse.claim.connector is None and (
            evse.transaction.state is TxState.NONE):  # a card came first, and said not for which
        evse = replace(evse, session=replace(session, connector=connector))
    return replace(evse, plug=replace(evse.plug, since=now.mono_ns, expired=False),
                   stopped=stopped)


def _unplugged(evse: Evse, now: Now, settings: Settings) -> Evse:
    """The car is gone: the transaction ends, or waits for it; an unused claim is abandoned."""
    evse = replace(evse, plug=replace(evse.plug, since=now.mono_ns, expired=False))
    evse = power.retried_lock(power.without_fault(evse, FaultCode.CONTACTOR_DID_NOT_CLOSE))
    evse = overcurrent.forgiven(evse)
    if settings.flag("session.stop_on_unplug"):
        evse = transaction.ending(evse, StopReason.EV_DISCONNECTED, "EVDeparted", now)
    if evse.transaction.state is TxState.NONE and evse.holder is None:
        evse = replace(evse, claim=NO_CLAIM, second=None)
    return evse


# --- the meter -----------------------------------------------------------------------------------


def on_meter(evse: Evse, event: MeterRead, around: Around, now: Now, settings: Settings) -> Moved:
    """A reading came: what cannot be true is a fault, and the last good register stands."""
    measured = event.asked_mono_ns if event.asked_mono_ns is not None else now.mono_ns
    meter, plausible = metering.taken(evse, event.reading, measured, now,
                                      around.nominal_voltage_v)
    evse = replace(power.without_fault(evse, FaultCode.METER_LOST), meter=meter)
    if not plausible:
        return power.with_fault(evse, FaultCode.METER_IMPLAUSIBLE, now)
    evse = power.without_fault(evse, FaultCode.METER_IMPLAUSIBLE)
    meter, counts_idle = metering.watched_idle(evse, now)
    evse = replace(evse, meter=meter)
    if counts_idle:
        return power.welded(evse, now, "the meter counts with the coil off")
    evse, exceeded = overcurrent.watched(evse, now, settings, around.nominal_voltage_v)
    return power.with_fault(evse, FaultCode.OVER_CURRENT, now, exceeded) if exceeded else (evse, ())


# --- faults --------------------------------------------------------------------------------------


def on_input(evse: Evse, event: InputChanged, now: Now) -> Moved:
    """A safety input tripped or is good again; an unknown name is OTHER with that name."""
    if event.name in NO_FAULT_INPUTS:
        return evse, ()
    code = INPUT_FAULTS.get(event.name, FaultCode.OTHER)
    if event.good:
        return power.without_fault(evse, code, FaultCode.INPUT_LOST), ()
    return power.with_fault(evse, code, now, event.name)


def _on_presence(evse: Evse, event: DeviceLost | DeviceFound, now: Now) -> Moved:
    code = DEVICE_FAULTS.get(event.kind)
    if code is None:
        return evse, ()
    if isinstance(event, DeviceLost):
        return power.with_fault(evse, code, now, event.detail)
    if code is FaultCode.PILOT_LOST and evse.plug.pilot is None:
        return evse, ()  # the next PilotChanged tells
    return power.without_fault(evse, code), ()


def on_fault(evse: Evse, event: FaultReported, now: Now) -> Moved:
    if not event.present:
        return power.without_fault(evse, event.code), ()
    if event.code is FaultCode.CONTACTOR_WELDED:
        return power.welded(evse, now, event.vendor_code)
    return power.with_fault(evse, event.code, now, event.vendor_code)


def why_not_clearable(evse: Evse, code: FaultCode | None) -> str:
    """Why a technician may not declare a fault mended now, as a word; "" when he may."""
    present = [f for f in evse.faults if code in (None, f.code) and _is_clearable(f)]
    checks = (
        ("no_such_fault", bool(present)),
        ("evse_operative", not evse.service.operative),
        ("evse_in_use", evse.is_idle and evse.claim.state is ClaimState.NONE),
        ("contact_closed", not evse.power.contact_closed),
        ("contactor_not_tested",
         evse.power.tested or not contactor_trial.is_proof_needed(tuple(present))),
    )
    return next((word for word, good in checks if not good), "")


def _is_clearable(fault: PresentFault) -> bool:
    return CATALOGUE[fault.code].latched or fault.code in (
        FaultCode.CONTACTOR_DID_NOT_CLOSE, FaultCode.CONTACTOR_LOST, FaultCode.LOCK_JAMMED)


def cleared(evse: Evse, code: FaultCode | None, now: Now) -> Moved:
    """A technician declared the fault (None: all that can be) mended."""
    gone = tuple(f for f in evse.faults if code in (None, f.code) and _is_clearable(f))
    evse = replace(evse, faults=tuple(f for f in evse.faults if f not in gone))
    if evse.power.state is PowerState.WELDED and not evse.has(FaultCode.CONTACTOR_WELDED):
        evse = replace(evse, power=replace(evse.power, state=PowerState.OFF, by=None,
                                           off_since=now.mono_ns),
                       meter=replace(evse.meter, idle_wh=None, idle_rises=0))
    effects = tuple(Record(FaultUnlatchedFact(now, None, evse.id, f.code))
                    for f in gone if f.latched)
    return power.retried_lock(evse), effects


# --- claims --------------------------------------------------------------------------------------


def ask_by(now: Now, settings: Settings) -> int:
    return now.after(settings.integer("link.call_timeout_s") + ASK_MARGIN_S)


def plug_until(now: Now, settings: Settings) -> int | None:
    """Until when a claim waits for a plug; None: for ever."""
    timeout_s = settings.integer("session.plug_timeout_s")
    return now.after(timeout_s) if timeout_s else None


def on_second_token(evse: Evse, token: IdToken, ask: int, now: Now, settings: Settings) -> Moved:
    """Another token is held to an EVSE in use: its group may stop. No group, no question."""
    owner = evse.owner
    if owner is None or owner.group is None or evse.second is not None:
        return evse, (Show(evse.id, "card_refused"),)
    second = Second(ask, token, ask_by(now, settings))
    return replace(evse, second=second), (Authorize(ask, token, for_group=True),)


def on_owner_token(evse: Evse, token: IdToken, now: Now) -> Moved:
    """The token that started (or one of its group): it stops, frees the cable, or gives up."""
    shown = (Show(evse.id, "card_accepted"),)
    if evse.transaction.state is TxState.OPEN:
        return transaction.ending(evse, StopReason.LOCAL, "StopAuthorized", now, token), shown
    if evse.holder is not None:
        return replace(power.retried_lock(evse), holder=None, claim=NO_CLAIM, second=None), shown
    if evse.transaction.state is TxState.NONE and evse.claim.state is ClaimState.GRANTED:
        return replace(evse, claim=NO_CLAIM, second=None), shown
    return evse, ()


def on_answer(evse: Evse, event: AuthorizationAnswered, now: Now, settings: Settings, *,
              admitted: bool = True) -> Moved:
    """The verdict on this EVSE's own question; others have been sorted out before.

    `admitted`: the EVSE is not kept for somebody else.
    """
    if evse.second is not None and evse.second.ask == event.ask:
        return _on_group(replace(evse, second=None), event, now)
    claim, granted = decided(evse.claim, event, now, settings)
    if not admitted:
        claim, granted = NO_CLAIM, False
    return replace(evse, claim=claim), (
        Show(evse.id, "card_accepted" if granted else "card_refused"),)


def decided(claim: Claim, event: AuthorizationAnswered, now: Now, settings: Settings
            ) -> tuple[Claim, bool]:
    """The asked claim after the verdict, and whether it is granted."""
    if event.info.status is not TokenStatus.ACCEPTED:
        return NO_CLAIM, False
    granted = replace(claim, state=ClaimState.GRANTED, group=event.info.group, ask=None,
                      source=event.source, until=plug_until(now, settings),
                      granted_mono=now.mono_ns)
    return granted, True


def _on_group(evse: Evse, event: AuthorizationAnswered, now: Now) -> Moved:
    """16.AUTH.3, 16.AUTH.4: only an accepted token whose group is the owner's group may stop."""
    owner, group = evse.owner, event.info.group
    same = (owner is not None and group is not None and group.same_as(owner.group)
            and event.info.status is TokenStatus.ACCEPTED)
    if not same:
        return evse, (Show(evse.id, "card_refused"),)
    return on_owner_token(evse, event.token, now)


def on_verdict(evse: Evse, info: TokenInfo, around: Around, now: Now, settings: Settings) -> Moved:
    """The central system's word on the token of the running transaction (16.TX.4, 16.TX.5)."""
    if evse.transaction.state is not TxState.OPEN:
        return evse, ()
    if info.status is TokenStatus.ACCEPTED:
        group = info.group if info.group is not None else evse.claim.group
        return replace(evse, claim=replace(evse.claim, group=group)), ()
    if settings.flag("auth.stop_on_invalid") and not _goes_on_a_while(settings):
        return transaction.ending(evse, StopReason.DEAUTHORIZED, "Deauthorized", now), ()
    return _revoked(evse, around, now, settings)


def _goes_on_a_while(settings: Settings) -> bool:
    """E-07: the energy granted to the invalid is given although the transaction is to stop."""
    return (settings.flag("policy.max_energy_with_stop")
            and settings.integer("auth.max_energy_on_invalid_wh") > 0)


def is_to_stop_revoked(evse: Evse, settings: Settings) -> bool:
    """E-07: what a refused token was still granted is used up."""
    return (evse.claim.state is ClaimState.REVOKED and not power.may_use(evse)
            and settings.flag("auth.stop_on_invalid") and _goes_on_a_while(settings))


def _revoked(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    if evse.claim.state is ClaimState.REVOKED:
        return evse, ()
    still_wh = settings.integer("auth.max_energy_on_invalid_wh")
    until = (metering.register_wh(evse) or 0) + still_wh if still_wh else None
    claim = replace(evse.claim, state=ClaimState.REVOKED, energy_until_wh=until)
    evse = replace(evse, claim=claim)
    session, tx = evse.session, evse.transaction
    assert session is not None
    fact = TransactionChanged(
        at=now, session=session.no, evse=evse.id, connector=session.connector,
        report=tx.next_report, trigger="Deauthorized", charging_state=tx.charging_state,
        token=claim.token, offline=not around.online)
    return replace(evse, transaction=replace(tx, next_report=tx.next_report + 1)), (
        Record(fact), Keep(f"{REVOKED}{evse.id}", f"{session.no} {'' if until is None else until}"))


def revoked_before(word: str, session: int) -> tuple[bool, int | None]:
    """What was kept of the claim of a session that goes on: revoked, and the energy left."""
    number, _, until = word.partition(" ")
    return number == str(session), int(until) if until else None


# --- availability --------------------------------------------------------------------------------


def kept_word(operative: bool) -> str:
    return "operative" if operative else "inoperative"


def with_availability(evse: Evse, operative: bool, now: Now, *, now_allowed: bool) -> Moved:
    """Set at once, or pending until idle; both outlive a restart. The last request wins."""
    service = evse.service
    if operative and not service.operative:
        evse = _put_back(evse, now)
    if now_allowed or service.operative == operative:
        changed = replace(service, operative=operative, pending=None,
                          out=frozenset() if operative else service.out)
    else:
        changed = replace(service, pending=operative)
    return replace(evse, service=changed), kept_service(evse.id, changed.operative,
                                                        changed.pending)


def _put_back(evse: Evse, now: Now) -> Evse:
    """A plug that was left in may be claimed, as one just put in (H2; the matrix has no H6)."""
    if evse.in_transaction or evse.holder is not None or not evse.plug.plugged:
        return evse
    return replace(evse, stopped=None, free_since=now.mono_ns,
                   plug=replace(evse.plug, expired=False))


def kept_service(evse: int, operative: bool, pending: bool | None) -> tuple[Effect, ...]:
    return (
        Keep(f"availability.{evse}", None if operative else kept_word(operative=False)),
        Keep(f"availability.{evse}.pending", None if pending is None else kept_word(pending)),
    )


def is_preparing(evse: Evse) -> bool:
    """Somebody began to use it and no transaction came of it yet."""
    return evse.claim.state is not ClaimState.NONE or (
        evse.plug.plugged and evse.transaction.state is TxState.NONE)


def unlock_wanted(evse: Evse, now: Now) -> Evse:
    """Somebody with the right asks for the plug: stop first, drop claims, then try the lock."""
    evse = transaction.ending(evse, StopReason.UNLOCK_COMMAND, "UnlockCommand", now)
    evse = replace(power.retried_lock(evse), holder=None, second=None)
    if not evse.in_transaction:
        evse = replace(evse, claim=NO_CLAIM)
    if evse.lock.state is LockState.OPEN:
        evse = replace(evse, lock=replace(evse.lock, state=LockState.LOCKED))
    return evse
