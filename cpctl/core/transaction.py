"""The transaction of a session: where it starts and stops, its facts, its report numbers, its end.

Also what becomes of a transaction that the previous life left open. When a stop is carried out
(coil off, register read) is decided by `rules.py`.
Source: OCPP 1.6 §4.8, §4.10, §5.16; OCPP 2.0.1 E01..E15; house.md §8 "Power fails in mid-charge".
"""

from dataclasses import replace

from cpctl.core import metering, reservation
from cpctl.core.effects import Effect, Record, SaveRegister
from cpctl.core.events import OpenSession
from cpctl.core.facts import (
    TransactionChanged,
    TransactionEnded,
    TransactionSampled,
    TransactionStarted,
)
from cpctl.core.faults import FaultCode
from cpctl.core.now import NS_PER_S, Now
from cpctl.core.settings import Settings
from cpctl.core.state import (
    NO_CLAIM,
    Around,
    ClaimState,
    Evse,
    Holder,
    Meter,
    PowerState,
    Transaction,
    TxState,
)
from cpctl.core.values import BootCause, IdToken, Measured, ReadingContext, StopReason
from hal.values import MeterReading

Moved = tuple[Evse, tuple[Effect, ...]]

SAVE_EACH_WH = 2000  # at 22 kW every 5 min, too: a sync each kWh wears the card for nothing
REGISTER_WAIT_S = 1.0  # for a register read after the coil went off
LOST_MARGIN_S = 60.0  # beyond sample_sync_s: what may have flowed unrecorded before a power cut

_FAULT_REASONS = {
    FaultCode.EMERGENCY_STOP: StopReason.EMERGENCY_STOP,
    FaultCode.RCD_TRIPPED: StopReason.GROUND_FAULT,
    FaultCode.GROUND_FAILURE: StopReason.GROUND_FAULT,
    FaultCode.OVER_CURRENT: StopReason.OVERCURRENT,
}


# --- start -------------------------------------------------------------------------------------


def start_points_hold(evse: Evse, settings: Settings) -> bool:
    """Whether all that must hold for a transaction to start does (2.x TxStartPoint)."""
    granted = evse.claim.state is ClaimState.GRANTED
    both = granted and evse.plug.plugged
    if evse.plug.plugged and not _is_in_its_connector(evse):
        return False
    holds = {
        "ev_connected": evse.plug.plugged,
        "authorized": granted,
        "power_path_closed": both,
        "energy_transfer": both and evse.power.state is PowerState.ON,
    }
    return granted and all(holds.get(name, both) for name in
                           settings.names("station.tx_start_point"))


def _is_in_its_connector(evse: Evse) -> bool:
    """The plug is where the claim is for, and that connector is in service (16.TX.9)."""
    plugged = evse.plug.connector
    meant = plugged is None or evse.claim.connector in (None, plugged)
    return meant and evse.connector not in evse.service.out


def starts_late(settings: Settings) -> bool:
    """Whether energy flows before the transaction starts."""
    return "energy_transfer" in settings.names("station.tx_start_point")


def started(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    """The transaction begins now, with the register of the books."""
    session, register_wh = evse.session, metering.register_wh(evse)
    assert session is not None and register_wh is not None
    claim = evse.claim
    fact = TransactionStarted(
        at=now, session=session.no, evse=evse.id, connector=session.connector, report=0,
        trigger=_start_trigger(evse), token=claim.token, register_wh=register_wh,
        begin=_framing(evse, settings, register_wh, around), offline=not around.online,
        remote_start=claim.remote_start, reservation=reservation.used(claim, around.reserved))
    opened = Transaction(
        TxState.OPEN, fact, next_report=1, charging_state="EVConnected",
        started_mono=now.mono_ns, sampled_mono=now.mono_ns, sampled_wh=register_wh,
        saved_mono=now.mono_ns, saved_wh=register_wh)
    evse = replace(evse, transaction=opened, stopped=None)
    effects: tuple[Effect, ...] = (Record(fact),)
    if settings.flag("compat.meter_begin_message"):
        evse, more = sampled(evse, around, now, settings.names("sampling.measurands"), (),
                             ReadingContext.BEGIN)
        effects += more
    return evse, effects


def _start_trigger(evse: Evse) -> str:
    if evse.claim.remote:
        return "RemoteStart"
    waited_for_plug = evse.plug.since > evse.claim.granted_mono
    return "CablePluggedIn" if waited_for_plug else "Authorized"


def _framing(evse: Evse, settings: Settings, since_wh: int, around: Around
             ) -> tuple[Measured, ...]:
    """The values that open or close the list kept for the end of the transaction."""
    names = (*settings.names("sampling.end_measurands"),
             *settings.names("sampling.end_clock_measurands"))
    return metering.values(evse, names, since_wh, around.nominal_voltage_v)


# --- while it runs -----------------------------------------------------------------------------


def sampled(evse: Evse, around: Around, at: Now, told_names: tuple[str, ...],
            kept_names: tuple[str, ...], context: ReadingContext) -> Moved:
    """A sample of the last good reading, if anything is to be told or kept of it."""
    session, register_wh = evse.session, metering.register_wh(evse)
    tx = evse.transaction
    assert session is not None and register_wh is not None
    told = metering.values(evse, told_names, tx.sampled_wh, around.nominal_voltage_v)
    kept = metering.values(evse, kept_names, tx.sampled_wh, around.nominal_voltage_v)
    if not told and not kept:
        return evse, ()
    fact = TransactionSampled(
        at=at, session=session.no, evse=evse.id, connector=session.connector, context=context,
        register_wh=register_wh, report=tx.next_report if told else None, told=told, kept=kept,
        offline=not around.online)
    tx = replace(tx, next_report=tx.next_report + (1 if told else 0))
    return replace(evse, transaction=tx), (Record(fact),)


def changed(evse: Evse, around: Around, now: Now, charging_state: str,
            trigger: str = "ChargingStateChanged") -> Moved:
    """The charging state is another; on suspending the register goes to the books, too."""
    session, tx = evse.session, evse.transaction
    assert session is not None
    fact = TransactionChanged(
        at=now, session=session.no, evse=evse.id, connector=session.connector,
        report=tx.next_report, trigger=trigger, charging_state=charging_state,
        offline=not around.online)
    tx = replace(tx, next_report=tx.next_report + 1, charging_state=charging_state)
    evse, effects = replace(evse, transaction=tx), (Record(fact),)
    if charging_state.startswith("Suspended"):
        evse, saved = saved_register(evse, now)
        return evse, effects + saved
    return evse, effects


def register_is_due(evse: Evse, now: Now, settings: Settings) -> bool:
    """Whether the books should learn the register: after a while, or 2 kWh."""
    tx, register_wh = evse.transaction, metering.register_wh(evse)
    if tx.state is not TxState.OPEN or register_wh is None or register_wh <= tx.saved_wh:
        return False
    if register_wh - tx.saved_wh >= SAVE_EACH_WH:
        return True
    return now.since(tx.saved_mono) >= settings.integer("store.sample_sync_s")


def saved_register(evse: Evse, now: Now) -> Moved:
    session, register_wh = evse.session, metering.register_wh(evse)
    if session is None or register_wh is None or register_wh <= evse.transaction.saved_wh:
        return evse, ()
    tx = replace(evse.transaction, saved_mono=now.mono_ns, saved_wh=register_wh)
    return replace(evse, transaction=tx), (SaveRegister(session.no, register_wh, now),)


# --- stop --------------------------------------------------------------------------------------


def ending(evse: Evse, reason: StopReason, trigger: str, now: Now, token: IdToken | None = None
           ) -> Evse:
    """The end is decided; the first reason stands."""
    if evse.transaction.state is not TxState.OPEN:
        return evse
    tx = replace(evse.transaction, state=TxState.ENDING, reason=reason, trigger=trigger,
                 stop_token=token, ending_since=now.mono_ns)
    return replace(evse, transaction=tx, second=None)


def fault_reason(code: FaultCode) -> StopReason:
    return _FAULT_REASONS.get(code, StopReason.OTHER)


def end_register_by(evse: Evse) -> int:
    """Until when a register read after the coil went off is waited for."""
    since = max(evse.power.off_since, evse.transaction.ending_since)
    return since + int(REGISTER_WAIT_S * NS_PER_S)


def may_be_ended(evse: Evse, now: Now) -> bool:
    """The coil is off and the register was read since, or has been waited for."""
    if evse.transaction.state is not TxState.ENDING or not evse.power.is_safe:
        return False
    return (metering.read_since(evse, evse.power.off_since)
            or now.mono_ns >= end_register_by(evse))


def ended(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    """The transaction is over and goes to the books; its claim goes with it."""
    session, tx, register_wh = evse.session, evse.transaction, metering.register_wh(evse)
    assert session is not None and tx.reason is not None and tx.started is not None
    register_wh = max(tx.started.register_wh, tx.saved_wh, register_wh or 0)
    fact = TransactionEnded(
        at=now, session=session.no, evse=evse.id, connector=session.connector,
        report=tx.next_report, trigger=tx.trigger, reason=tx.reason, register_wh=register_wh,
        token=tx.stop_token, end=_framing(evse, settings, tx.sampled_wh, around),
        offline=not around.online)
    tx = replace(tx, state=TxState.ENDED, next_report=tx.next_report + 1, due=None)
    return replace(evse, transaction=tx, claim=NO_CLAIM, second=None, stopped=tx.reason,
                   holder=_holder_after(evse, settings)), (Record(fact),)


def _holder_after(evse: Evse, settings: Settings) -> Holder | None:
    """For whom the cable stays locked: 16.TX.4 after a refused token, 16.TX.13 after an unplug."""
    reason, claim = evse.transaction.reason, evse.claim
    if not evse.layout.has_lock or claim.token is None:
        return None
    keeps = reason is StopReason.DEAUTHORIZED or (
        reason is StopReason.EV_DISCONNECTED and not settings.flag("session.unlock_on_unplug"))
    return Holder(claim.token, claim.group) if keeps else None


# --- what the previous life left open ----------------------------------------------------------


def boot_reason(cause: BootCause, planned: str | None) -> StopReason:
    """Why a transaction ended that a start finds open: as planned, or as the cause says."""
    if planned is not None and planned in {reason.value for reason in StopReason}:
        return StopReason(planned)
    return StopReason.POWER_LOSS if cause in (BootCause.POWER_LOSS, BootCause.FIRST) \
        else StopReason.REBOOT


def register_after_restart(evse: Evse, left: OpenSession, around: Around, now: Now,
                           settings: Settings) -> int:
    """The present register if it can have come from the last recorded one, else that one."""
    assert left.started is not None
    known_wh = max(left.started.register_wh, left.last_register_wh or 0)
    present_wh = metering.present_register_wh(evse)
    if present_wh is None or not evse.layout.has_meter:
        return known_wh
    unrecorded_s = settings.integer("store.sample_sync_s") + LOST_MARGIN_S
    if left.last_at.boot == now.boot:
        unrecorded_s = min(unrecorded_s, max(0.0, now.since(left.last_at.mono_ns)))
    most = metering.possible_wh(evse.layout, around.nominal_voltage_v, unrecorded_s)
    return present_wh if 0 < present_wh - known_wh <= most else known_wh


def ended_by_restart(left: OpenSession, reason: StopReason, register_wh: int, *, offline: bool
                     ) -> TransactionEnded:
    """The end of a transaction of the previous life, at the time of its last fact."""
    trigger = "ResetCommand" if reason in (StopReason.SOFT_RESET, StopReason.HARD_RESET) \
        else "AbnormalCondition"
    return TransactionEnded(
        at=left.last_at, session=left.session, evse=left.evse, connector=left.connector,
        report=left.next_report, trigger=trigger, reason=reason, register_wh=register_wh,
        offline=offline)


def meter_of_books(left: OpenSession, now: Now, settings: Settings) -> Meter:
    """The register of the books as the last good reading, as old as what may be unrecorded."""
    assert left.started is not None
    register_wh = max(left.started.register_wh, left.last_register_wh or 0)
    unrecorded_s = settings.integer("store.sample_sync_s") + LOST_MARGIN_S
    return Meter(MeterReading(register_wh), now.after(-unrecorded_s))


def resumed(left: OpenSession, now: Now) -> Transaction:
    """The transaction goes on where the books left it; samples begin anew from now."""
    assert left.started is not None
    register_wh = max(left.started.register_wh, left.last_register_wh or 0)
    return Transaction(
        TxState.OPEN, left.started, next_report=left.next_report, charging_state="EVConnected",
        started_mono=now.mono_ns, sampled_mono=now.mono_ns, sampled_wh=register_wh,
        saved_mono=now.mono_ns, saved_wh=register_wh)
