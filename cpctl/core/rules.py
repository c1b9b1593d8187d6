"""The rules that couple the machines of one EVSE, in their order, and how they come to rest.

A rule looks at the joint state and returns the same object when it has nothing to say. They are
applied from the top, beginning again after each that fired, until none does.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from cpctl.core import contactor_trial, metering, power, sharing, transaction, triggers
from cpctl.core import evse as moves
from cpctl.core.effects import Answer, ClockSample, Effect, Notify, Record, Show
from cpctl.core.facts import SessionClosed, SessionOpened
from cpctl.core.now import NS_PER_S, Now
from cpctl.core.settings import Settings
from cpctl.core.state import (
    NO_CLAIM,
    NO_TRANSACTION,
    Around,
    Claim,
    ClaimState,
    Evse,
    LockState,
    PowerState,
    Session,
    TxState,
)
from cpctl.core.values import Outcome, ReadingContext, Reply, StopReason
from hal.values import OfferKind

Moved = tuple[Evse, tuple[Effect, ...]]
Rule = Callable[[Evse, Around, Now, Settings], Moved]

REST_LIMIT = 60  # far more than any joint state needs; beyond it is a bug


class Restless(AssertionError):
    """The rules did not come to rest: a programming error, found by `tests/core`."""


# --- the end of things ---------------------------------------------------------------------------


def end_transaction_at_stop_point(evse: Evse, around: Around, now: Now, settings: Settings
                                  ) -> Moved:
    """Faults and a station that goes down end what runs; other causes come as events."""
    if evse.transaction.state is not TxState.OPEN:
        return evse, ()
    for code in (*evse.stopping, *around.stopping):
        return transaction.ending(evse, transaction.fault_reason(code), "AbnormalCondition",
                                  now), ()
    if around.ending is not None and not around.resume:
        return transaction.ending(evse, around.ending, "ResetCommand", now), ()
    if moves.is_to_stop_revoked(evse, settings):
        return transaction.ending(evse, StopReason.DEAUTHORIZED, "Deauthorized", now), ()
    if _nobody_came(evse, now):
        return transaction.ending(evse, StopReason.TIMEOUT, "EVConnectTimeout", now), ()
    return evse, ()


def _nobody_came(evse: Evse, now: Now) -> bool:
    """A transaction that began with the authorization alone, and no plug in time."""
    until, started = evse.claim.until, evse.transaction.started_mono
    return (not evse.plug.plugged and evse.plug.since < started
            and until is not None and now.mono_ns >= until)


def finish_transaction(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    if not transaction.may_be_ended(evse, now):
        return evse, ()
    return transaction.ended(evse, around, now, settings)


def drop_claim_when_time_is_up(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    if evse.second is not None and now.mono_ns >= evse.second.until:
        return replace(evse, second=None), (Show(evse.id, "card_refused"),)
    claim = evse.claim
    over = claim.until is not None and now.mono_ns >= claim.until
    if claim.state is ClaimState.ASKED and over:
        return replace(evse, claim=NO_CLAIM), (Show(evse.id, "card_refused"),)
    if claim.state is ClaimState.GRANTED and over and evse.transaction.state in (
            TxState.NONE, TxState.ENDED):
        return replace(evse, claim=NO_CLAIM), ()
    return evse, ()


def expire_plug_when_nobody_claims_it(evse: Evse, around: Around, now: Now, settings: Settings
                                      ) -> Moved:
    """E-06: a plug without a claim in time; what that looks like is for the picture to say."""
    expires = plug_expires(evse, settings)
    if expires is None or now.mono_ns < expires:
        return evse, ()
    return replace(evse, plug=replace(evse.plug, expired=True)), ()


def plug_expires(evse: Evse, settings: Settings) -> int | None:
    timeout_s = settings.integer("session.plug_timeout_s")
    idle = evse.claim.state is ClaimState.NONE and evse.transaction.state is TxState.NONE
    if not timeout_s or not evse.plug.plugged or evse.plug.expired or not idle or evse.held:
        return None
    return max(evse.plug.since, evse.free_since) + timeout_s * NS_PER_S


def note_whether_it_is_held(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    """E-23: a plug in a reserved EVSE has its time to be claimed when that is reserved no more."""
    held = bool(around.held)
    if held == evse.held:
        return evse, ()
    return replace(evse, held=held, free_since=evse.free_since if held else now.mono_ns), ()


def serves(evse: Evse, around: Around) -> bool:
    """Whether new use may begin here."""
    return (around.may_serve and around.operative and evse.service.operative
            and not around.path_used
            and evse.service.pending is not False and around.ending is None
            and not evse.recovering)


def drop_claim_when_out_of_service(evse: Evse, around: Around, now: Now, settings: Settings
                                   ) -> Moved:
    if evse.claim is NO_CLAIM or evse.in_transaction or serves(evse, around):
        return evse, ()
    if evse.service.pending is False and settings.text(
            "policy.inoperative_preparing") == "after_preparing":
        return evse, ()
    return replace(evse, claim=NO_CLAIM, second=None), ()


def apply_waiting_availability(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    pending = evse.service.pending
    if pending is None or not may_change_availability(evse, settings):
        return evse, ()
    return moves.with_availability(evse, pending, now, now_allowed=True)


def may_change_availability(evse: Evse, settings: Settings) -> bool:
    """No transaction runs; by policy (E-10) nobody prepares one either."""
    if evse.in_transaction:
        return False
    waits = settings.text("policy.inoperative_preparing") == "after_preparing"
    return not (waits and moves.is_preparing(evse) and not evse.plug.expired)


def close_session_when_free(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    """Unplugged and unclaimed, or a new claim on a plug whose transaction is over (F2)."""
    session = evse.session
    if session is None or evse.in_transaction or evse.holder is not None:
        return evse, ()
    if evse.power.state not in (PowerState.OFF, PowerState.WELDED):
        return evse, ()
    anew = evse.transaction.state is TxState.ENDED and evse.claim.state is ClaimState.GRANTED
    free = evse.claim.state is ClaimState.NONE and (
        not evse.plug.plugged or not serves(evse, around))
    if not anew and not free:
        return evse, ()
    stopped = evse.stopped if evse.plug.plugged or evse.layout.has_lock else None
    plug = evse.plug
    if evse.transaction.state is TxState.ENDED and evse.plug.plugged:
        plug = replace(plug, expired=True)
    return replace(evse, session=None, transaction=NO_TRANSACTION, stopped=stopped, plug=plug), (
        Record(SessionClosed(now, session.no, evse.id)),)


# --- the beginning of things ---------------------------------------------------------------------


def open_session_when_claimed(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    """From the plug, or from a granted claim."""
    claimed = evse.plug.plugged or evse.claim.state is ClaimState.GRANTED
    if evse.session is not None or not claimed or not serves(evse, around):
        return evse, ()
    if not around.books_good or evse.power.state is not PowerState.OFF:
        return evse, ()
    session = Session(around.next_session, evse.connector, now)
    fact = SessionOpened(now, session.no, evse.id, session.connector)
    return replace(evse, session=session), (Record(fact),)


def start_transaction_at_start_point(evse: Evse, around: Around, now: Now, settings: Settings
                                     ) -> Moved:
    if evse.session is None or evse.transaction.state is not TxState.NONE or evse.unlocks:
        return evse, ()
    if not serves(evse, around) or evse.stopping or around.stopping or not around.books_good:
        return evse, ()
    if not transaction.start_points_hold(evse, settings):
        return evse, ()
    since = evse.plug.since if evse.plug.plugged else 0
    if not metering.read_since(evse, since):
        return evse, ()
    return transaction.started(evse, around, now, settings)


# --- readings ------------------------------------------------------------------------------------


def sample_when_due(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    """A slot of the sampling interval has come; its reading may have to be waited for."""
    tx = evse.transaction
    interval_s = settings.integer("sampling.interval_s")
    due = metering.next_sample(tx.started_mono, tx.sampled_mono, interval_s)
    if tx.state is not TxState.OPEN or due is None or now.mono_ns < due:
        return evse, ()
    slot = metering.last_slot(tx.started_mono, now.mono_ns, interval_s)
    return replace(evse, transaction=replace(tx, due=slot, sampled_mono=slot)), ()


def take_sample(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    tx = evse.transaction
    if tx.due is None or tx.state is not TxState.OPEN or not _is_fresh(evse, tx.due):
        return evse, ()
    evse, effects = transaction.sampled(
        evse, around, now, settings.names("sampling.measurands"),
        settings.names("sampling.end_measurands"), ReadingContext.PERIODIC)
    register_wh = metering.register_wh(evse) or 0
    return replace(evse, transaction=replace(
        evse.transaction, due=None, sampled_wh=register_wh)), effects


def _is_fresh(evse: Evse, slot: int) -> bool:
    return metering.read_since(evse, slot - int(metering.FRESH_S * NS_PER_S))


def take_clock_reading(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    """The clock-aligned slot: with its reading, or left out when none came in time."""
    slot = evse.clock_due
    if slot is None:
        return evse, ()
    if not _is_fresh(evse, slot):
        late = now.mono_ns >= slot + int(metering.CLOCK_LATE_S * NS_PER_S)
        return (replace(evse, clock_due=None), ()) if late else (evse, ())
    at = metering.moment(now, slot) if now.since(slot) < metering.CLOCK_LATE_S else now
    evse = replace(evse, clock_due=None)
    told = settings.names("sampling.clock_measurands")
    if evse.transaction.state is TxState.OPEN and evse.transaction.started_mono <= slot:
        kept = settings.names("sampling.end_clock_measurands")
        return transaction.sampled(evse, around, at, told, kept, ReadingContext.CLOCK)
    values = metering.values(evse, told, None, around.nominal_voltage_v)
    if not values:
        return evse, ()
    return evse, (Notify(ClockSample(at, evse.id, evse.layout.connectors[0].id,
                                     ReadingContext.CLOCK, values)),)


def save_register_when_due(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    if not transaction.register_is_due(evse, now, settings):
        return evse, ()
    return transaction.saved_register(evse, now)


# --- telling -------------------------------------------------------------------------------------


def report_charging_state(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    if evse.transaction.state is not TxState.OPEN:
        return evse, ()
    state = charging_state(evse)
    if state == evse.transaction.charging_state:
        return evse, ()
    return transaction.changed(evse, around, now, state)


def charging_state(evse: Evse) -> str:
    """In the words of 2.x ChargingStateEnumType; transitions leave it as it was."""
    before = evse.transaction.charging_state
    if not evse.plug.plugged:
        return "Idle"
    if evse.power.state is PowerState.ON:
        return "Charging"
    if evse.power.state is not PowerState.OFF:
        return before
    if evse.offering.offer.kind is OfferKind.CURRENT:
        asks = evse.plug.pilot is not None and evse.plug.pilot.asks
        return before if asks else "SuspendedEV"
    still_locking = evse.lock.state is LockState.LOCKING
    return before if still_locking else "SuspendedEVSE"


def answer_unlocks(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    """The lock has moved, or will not; everyone who asked hears of it once."""
    if not evse.unlocks:
        return evse, ()
    lock = evse.lock
    if lock.state is LockState.OPEN and not lock.locked and not evse.in_transaction:
        outcome = Outcome.UNLOCKED
    elif lock.state is LockState.JAMMED or evse.power.state is PowerState.WELDED or any(
            now.mono_ns >= by for _, by in evse.unlocks):
        outcome = Outcome.UNLOCK_FAILED
    else:
        return evse, ()
    return replace(evse, unlocks=()), tuple(
        Answer(request, Reply(outcome)) for request, _ in evse.unlocks)


def show_pattern(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    """The lights follow the state."""
    pattern = _pattern(evse, around)
    if pattern == evse.shown:
        return evse, ()
    return replace(evse, shown=pattern), (Show(evse.id, pattern),)


def _pattern(evse: Evse, around: Around) -> str:
    if evse.stopping or around.stopping:
        return "fault"
    if evse.transaction.state is TxState.OPEN:
        charging = evse.power.state in (PowerState.ON, PowerState.CLOSING)
        return "charging" if charging else "suspended"
    if is_finishing(evse, settings=None):
        return "finishing"
    if not serves(evse, around):
        return "unavailable"
    if around.held and evse.claim.state is not ClaimState.GRANTED:
        return "reserved"
    return "preparing" if moves.is_preparing(evse) else "available"


def is_finishing(evse: Evse, settings: Settings | None) -> bool:
    """A transaction is over and the plug still in, or its time to be claimed has run out."""
    if evse.holder is not None or evse.transaction.state is TxState.ENDING:
        return True
    if evse.claim.state is not ClaimState.NONE or not evse.plug.plugged:
        return False
    if evse.stopped is not None or evse.transaction.state is TxState.ENDED:
        return True
    stays = settings is not None and settings.text("policy.plug_timeout") == "stay_preparing"
    return evse.plug.expired and not stays


def end_what_was_left_open(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    """A session of the previous life: ended once the register is read, or waited for."""
    if not evse.recovering:
        return evse, ()
    first = evse.recovering[0]
    if metering.present_register_wh(evse) is None and now.mono_ns < first.by:
        return evse, ()
    left = first.session
    effects: tuple[Effect, ...] = ()
    if left.started is not None and left.ended is None:
        register_wh = transaction.register_after_restart(evse, left, around, now, settings)
        effects = (Record(transaction.ended_by_restart(
            left, first.reason, register_wh, offline=not around.online)),)
    effects += (Record(SessionClosed(now, left.session, evse.id)),)
    return replace(evse, recovering=evse.recovering[1:]), effects


RULES: tuple[Rule, ...] = (
    end_what_was_left_open,
    power.bar_power,
    power.release_when_not_permitted,
    contactor_trial.give_up_when_not_permitted,
    contactor_trial.end_when_the_gate_is_silent,
    end_transaction_at_stop_point,
    sharing.notice_what_is_taken,
    power.wind_down_when_not_wanted,
    power.act_on_power_deadline,
    power.set_offer,
    sharing.keep_whether_offers_are_out,
    sample_when_due,
    take_sample,
    take_clock_reading,
    triggers.tell_triggered_readings,
    save_register_when_due,
    finish_transaction,
    drop_claim_when_time_is_up,
    drop_claim_when_out_of_service,
    note_whether_it_is_held,
    expire_plug_when_nobody_claims_it,
    apply_waiting_availability,
    close_session_when_free,
    open_session_when_claimed,
    start_transaction_at_start_point,
    power.move_lock,
    power.energise_when_wanted_and_permitted,
    report_charging_state,
    answer_unlocks,
    show_pattern,
)


def settled(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    """Apply the rules until none fires. Raises Restless when they do not come to rest."""
    effects: list[Effect] = []
    for _ in range(REST_LIMIT):
        for rule in RULES:
            after, more = rule(evse, around, now, settings)
            effects += more
            if after is not evse:
                break
        else:
            return evse, tuple(effects)
        if after.session is not None and after.session.no == around.next_session:
            around = replace(around, next_session=around.next_session + 1)
        evse = after
    raise Restless(f"evse {evse.id}: {evse}")


def deadlines(evse: Evse, around: Around, settings: Settings) -> Iterator[int | None]:
    """Every moment at which a rule of this EVSE might have something to say."""
    tx, meter = evse.transaction, evse.meter
    yield evse.power.by
    yield evse.power.retry_at
    yield evse.power.testing.by if evse.power.testing is not None else None
    yield evse.lock.by
    yield _claim_deadline(evse.claim)
    yield evse.second.until if evse.second is not None else None
    yield plug_expires(evse, settings)
    yield from sharing.deadlines(evse)
    yield from (by for _, by in evse.unlocks)
    yield from (recovery.by for recovery in evse.recovering)
    if evse.clock_due is not None:
        yield evse.clock_due + int(metering.CLOCK_LATE_S * NS_PER_S)
    yield from (triggers.due_by(one) for one in evse.triggered)
    if tx.state is TxState.ENDING:
        yield transaction.end_register_by(evse)
    if tx.state is TxState.OPEN:
        yield metering.next_sample(tx.started_mono, tx.sampled_mono,
                                   settings.integer("sampling.interval_s"))
        if meter.good is not None:
            yield metering.silent_at(evse, around.silence_s)


def _claim_deadline(claim: Claim) -> int | None:
    return claim.until if claim.state in (ClaimState.ASKED, ClaimState.GRANTED) else None


