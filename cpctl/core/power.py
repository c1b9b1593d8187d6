"""Power, offer and lock of one EVSE: the machines that move hardware, and the rules that do so.

Winding down withdraws the offer and waits for the car; danger opens at once. Only `energise`
closes, and names the gate's last release. What is wanted is decided by `wants_power`.
Source: house.md §5, §6; IEC 61851-1 (6 s to leave state C, second hand).
"""

from dataclasses import replace

from cpctl.core import limits, metering, sharing, transaction
from cpctl.core.effects import (
    BarPower,
    Effect,
    EnergisePower,
    LockPlug,
    Record,
    ReleasePower,
    SetOffer,
    UnlockPlug,
)
from cpctl.core.events import (
    ContactorReported,
    EnergiseRefused,
    LockReported,
    PowerReleased,
    ReleaseNumbered,
)
from cpctl.core.facts import FaultLatched as FaultLatchedFact
from cpctl.core.faults import FaultCode
from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.state import (
    Around,
    ClaimState,
    Evse,
    Lock,
    LockState,
    Power,
    PowerState,
    PresentFault,
    TxState,
)
from hal.values import NO_OFFER, UNAVAILABLE, Offer, OfferKind, PilotState

Moved = tuple[Evse, tuple[Effect, ...]]

CLOSE_WAIT_S = 3.0  # for the gate's word on an order to close; longer than any slow disk should be
OPEN_WAIT_S = 3.0  # for the contact to be known open
LOCK_WAIT_S = 5.0
LOCK_TRIES = 3
RETRY_S = 1.0  # after a refusal of the gate, doubled with each
RETRY_MAX_S = 30.0
NOT_KNOWN_OPEN = "released, and not known open"


# --- faults ------------------------------------------------------------------------------------


def with_fault(evse: Evse, code: FaultCode, now: Now, detail: str = "") -> Moved:
    """The fault is present; a latched one is recorded, once."""
    if evse.has(code):
        return evse, ()
    fault = PresentFault(code, now, detail)
    evse = replace(evse, faults=(*evse.faults, fault))
    if not fault.latched:
        return evse, ()
    session = evse.session.no if evse.session is not None else None
    return evse, (Record(FaultLatchedFact(now, session, evse.id, code, detail)),)


def without_fault(evse: Evse, *codes: FaultCode) -> Evse:
    """The cause of these faults is gone; a latched fault stays."""
    kept = tuple(f for f in evse.faults if f.latched or f.code not in codes)
    return evse if len(kept) == len(evse.faults) else replace(evse, faults=kept)


def welded(evse: Evse, now: Now, detail: str = "") -> Moved:
    """The contactor stays closed though released: latched until a technician clears it."""
    if evse.power.state is PowerState.WELDED:
        return evse, ()
    power = replace(evse.power, state=PowerState.WELDED, by=None, off_since=now.mono_ns,
                    unnumbered=evse.power.unnumbered + 1, tested=False)
    evse, latched = with_fault(replace(evse, power=power), FaultCode.CONTACTOR_WELDED, now, detail)
    return evse, (ReleasePower(evse.id, "welded"), *latched)


# --- what is wanted ----------------------------------------------------------------------------


def may_use(evse: Evse) -> bool:
    """The claim gives a right to energy now: granted, or revoked with energy left."""
    claim = evse.claim
    if claim.state is ClaimState.REVOKED:
        register_wh = metering.register_wh(evse)
        return (claim.energy_until_wh is not None and register_wh is not None
                and register_wh < claim.energy_until_wh)
    return claim.state is ClaimState.GRANTED


def intends_to_charge(evse: Evse, around: Around) -> bool:
    """Somebody is entitled, plugged in and in a session that has not ended."""
    return (may_use(evse) and evse.plug.plugged and evse.session is not None
            and evse.transaction.state in (TxState.NONE, TxState.OPEN)
            and around.ending is None and not evse.unlocks
            and not evse.stopping and not around.stopping)


def wants_power(evse: Evse, around: Around, now: Now, settings: Settings) -> bool:
    """Whether current is to be offered: all but the car agrees."""
    return not why_no_power(evse, around, now, settings)


def why_no_power(evse: Evse, around: Around, now: Now, settings: Settings) -> str:
    """The first thing that keeps current from being offered, as a stable word; "" for none."""
    in_time = evse.transaction.state is TxState.OPEN or transaction.starts_late(settings)
    checks = (
        ("not_entitled", intends_to_charge(evse, around)),
        ("no_transaction", in_time),
        ("path_used", not around.path_used),
        ("welded", evse.power.state is not PowerState.WELDED),
        ("not_locked", evse.locked),
        ("meter_silent", metering.is_live(evse, around.silence_s, now)),
        ("limit_below_minimum", limits.limit_a(evse, around) > 0),
        ("books_bad", around.books_good),
    )
    return next((word for word, good in checks if not good), "")


def danger(evse: Evse, around: Around) -> str:
    """Why the coil must open at once, as a word; "" when it need not."""
    ventilated = evse.plug.pilot is not PilotState.D or evse.layout.ventilated
    checks = (
        ("fault", not evse.stopping and not around.stopping),
        ("pilot_not_asking", evse.plug.pilot is not None and evse.plug.pilot.asks),
        ("not_ventilated", ventilated),
        ("not_locked", evse.locked),
        ("no_session", evse.session is not None),
    )
    return next((word for word, good in checks if not good), "")


# --- what the gate and the contactor say ---------------------------------------------------------


def on_contactor(evse: Evse, event: ContactorReported, now: Now) -> Moved:
    evse = replace(evse, power=replace(evse.power, contact_closed=event.closed))
    if event.welded and event.closed:
        return welded(evse, now)
    return _contact_closed(evse, now) if event.closed else _contact_open(evse, now)


def _contact_closed(evse: Evse, now: Now) -> Moved:
    match evse.power.state:
        case PowerState.CLOSING:
            power = replace(evse.power, state=PowerState.ON, by=None, refused=(), refusals=0,
                            retry_at=None)
            return replace(evse, power=power), ()
        case PowerState.OFF:  # nobody ordered it
            return released(evse, "closed_unasked", now)
        case _:
            return evse, ()


def _contact_open(evse: Evse, now: Now) -> Moved:
    power = evse.power
    match power.state:
        case PowerState.OPENING if not power.unnumbered:
            return _is_off(evse, now), ()
        case PowerState.ON | PowerState.WINDING_DOWN:  # it opened by itself
            return released(evse, "contact_opened", now)
        case _:
            return evse, ()


def _is_off(evse: Evse, now: Now) -> Evse:
    power = replace(evse.power, state=PowerState.OFF, by=None, off_since=now.mono_ns)
    faults = tuple(fault for fault in evse.faults if fault.detail != NOT_KNOWN_OPEN)
    return replace(evse, power=power, faults=faults)


def on_numbered(evse: Evse, event: ReleaseNumbered) -> Moved:
    """Our release is carried out; the contact is reported next."""
    power = replace(evse.power, number=max(evse.power.number, event.number),
                    unnumbered=max(0, evse.power.unnumbered - 1))
    return replace(evse, power=power), ()


def on_released(evse: Evse, event: PowerReleased, now: Now) -> Moved:
    """The gate opened by itself."""
    power = replace(evse.power, number=max(evse.power.number, event.number),
                    refused=event.reasons)
    if power.state in (PowerState.CLOSING, PowerState.ON, PowerState.WINDING_DOWN):
        power = replace(power, state=PowerState.OPENING,
                        by=now.after(OPEN_WAIT_S))
        power = _later(power, now)
    evse = replace(evse, power=power)
    if "did_not_close" in event.reasons:
        evse = replace(evse, power=replace(evse.power, tested=False))
        return with_fault(evse, FaultCode.CONTACTOR_DID_NOT_CLOSE, now)
    return evse, ()


def on_refused(evse: Evse, event: EnergiseRefused, now: Now) -> Moved:
    power = replace(evse.power, number=max(evse.power.number, event.number),
                    refused=event.reasons)
    never_closed = power.state is PowerState.WINDING_DOWN and not power.contact_closed
    if power.state is PowerState.CLOSING or never_closed:
        power = _later(replace(power, state=PowerState.OFF, by=None), now)
    return replace(evse, power=power), ()


def _later(power: Power, now: Now) -> Power:
    """Ask again later; the wait doubles with each refusal."""
    wait_s = min(RETRY_MAX_S, RETRY_S * 2 ** min(power.refusals, 8))
    return replace(power, retry_at=now.after(wait_s), refusals=power.refusals + 1)


def released(evse: Evse, why: str, now: Now) -> Moved:
    """Order the coil off; the gate's number and the contact's report are waited for."""
    power = replace(evse.power, state=PowerState.OPENING, by=now.after(OPEN_WAIT_S),
                    unnumbered=evse.power.unnumbered + 1)
    return replace(evse, power=power), (ReleasePower(evse.id, why),)


# --- rules of power ------------------------------------------------------------------------------


def bar_power(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    """Tell the gate what stands against closing, whoever orders it."""
    reasons = tuple(dict.fromkeys(code.value.lower() for code in (
        *evse.stopping, *around.stopping)))
    if around.path_used:
        reasons += ("path_used",)
    if evse.barred == reasons:
        return evse, ()
    return replace(evse, barred=reasons), (BarPower(evse.id, reasons),)


def release_when_not_permitted(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    if evse.power.state not in (PowerState.CLOSING, PowerState.ON, PowerState.WINDING_DOWN):
        return evse, ()
    why = danger(evse, around)
    return released(evse, why, now) if why else (evse, ())


def wind_down_when_not_wanted(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    """First the offer goes (`set_offer`), and with it an order to close that still waits; a contact
    that has closed meanwhile is not opened under load."""
    if evse.power.state not in (PowerState.CLOSING, PowerState.ON):
        return evse, ()
    why = why_no_power(evse, around, now, settings)
    if not why:
        return evse, ()
    power = replace(evse.power, state=PowerState.WINDING_DOWN, by=now.after(around.wind_down_s))
    return replace(evse, power=power), ()


def act_on_power_deadline(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    """A car that stays in C, a gate that does not answer, a contact not known open."""
    power = evse.power
    if power.by is None or now.mono_ns < power.by:
        return evse, ()
    match power.state:
        case PowerState.WINDING_DOWN:
            return released(evse, "wound_down", now)
        case PowerState.CLOSING:
            return released(evse, "gate_silent", now)
        case PowerState.OPENING:
            evse = replace(evse, power=replace(
                power, by=None, off_since=now.mono_ns, unnumbered=power.unnumbered + 1))
            evse, effects = with_fault(evse, FaultCode.CONTACTOR_LOST, now, NOT_KNOWN_OPEN)
            return evse, (ReleasePower(evse.id, "not_known_open"), *effects)
        case _:
            return replace(evse, power=replace(power, by=None)), ()


def set_offer(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    """Put on the pilot what is wanted; a raise of the limit follows at once, too."""
    offer = _offer(evse, around, now, settings)
    old = evse.offering
    if old.offer == offer and old.told:
        return evse, ()
    lower = offer.current_a < sharing.on_the_board_a(evse)
    offering = sharing.ordered(old, offer, now)
    return replace(evse, offering=offering), (
        SetOffer(evse.id, offer, offering.number, lower=lower),)


def _offer(evse: Evse, around: Around, now: Now, settings: Settings) -> Offer:
    if evse.power.testing is not None:
        return NO_OFFER  # at rest: in state F nobody could tell that nothing is plugged in
    if evse.power.state is PowerState.WELDED:
        return UNAVAILABLE
    if evse.power.state is PowerState.WINDING_DOWN:
        return NO_OFFER
    if not wants_power(evse, around, now, settings):
        return NO_OFFER
    return Offer(OfferKind.CURRENT, limits.limit_a(evse, around))


def energise_when_wanted_and_permitted(evse: Evse, around: Around, now: Now, settings: Settings
                                       ) -> Moved:
    power = evse.power
    waits = power.retry_at is not None and now.mono_ns < power.retry_at
    ready = power.state is PowerState.OFF and not power.unnumbered and not waits
    if not ready or evse.offering.offer.kind is not OfferKind.CURRENT:
        return evse, ()
    if danger(evse, around) or not wants_power(evse, around, now, settings):
        return evse, ()
    limited = around.share_a is not None or around.profile_a is not None
    if limited and sharing.may_exceed_its_offer(evse, now):
        return evse, ()
    power = replace(power, state=PowerState.CLOSING, by=now.after(CLOSE_WAIT_S), retry_at=None)
    return replace(evse, power=power), (EnergisePower(evse.id, power.number),)


# --- the lock ------------------------------------------------------------------------------------


def wants_lock(evse: Evse, around: Around) -> bool:
    """The plug is to be held: while anything may flow, while it is used, or for its holder."""
    if not evse.layout.has_lock:
        return False
    if evse.power.state is not PowerState.OFF or evse.in_transaction:
        return True
    if evse.unlocks:
        return False
    return evse.holder is not None or intends_to_charge(evse, around)


def move_lock(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    lock = evse.lock
    if lock.state is LockState.OPEN and wants_lock(evse, around):
        return _trying(evse, LockState.LOCKING, 1, now)
    if lock.state is LockState.LOCKED and evse.layout.has_lock and not wants_lock(evse, around):
        return _trying(evse, LockState.UNLOCKING, 1, now)
    if lock.by is not None and now.mono_ns >= lock.by:
        return _failed_try(evse, now)
    return evse, ()


def _trying(evse: Evse, state: LockState, tries: int, now: Now) -> Moved:
    lock = Lock(state, evse.lock.locked, now.after(LOCK_WAIT_S), tries)
    effect = LockPlug(evse.id) if state is LockState.LOCKING else UnlockPlug(evse.id)
    return replace(evse, lock=lock), (effect,)


def _failed_try(evse: Evse, now: Now) -> Moved:
    lock = evse.lock
    if lock.state is LockState.UNLOCKING and evse.power.state is not PowerState.OFF:
        at_rest = Lock(LockState.LOCKED if lock.locked else LockState.OPEN, lock.locked)
        return replace(evse, lock=at_rest), ()  # power may flow meanwhile: nothing is unlocked
    if lock.tries < LOCK_TRIES:
        return _trying(evse, lock.state, lock.tries + 1, now)
    evse = replace(evse, lock=Lock(LockState.JAMMED, lock.locked))
    return with_fault(evse, FaultCode.LOCK_JAMMED, now)


def on_lock(evse: Evse, event: LockReported, now: Now) -> Moved:
    """The result of an attempt, or a lock that moved by itself."""
    was = evse.lock.state
    lock = replace(evse.lock, locked=event.locked)
    evse = replace(evse, lock=lock)
    done = (event.locked, not event.locked)[was is LockState.UNLOCKING] and not event.jammed
    if was in (LockState.LOCKING, LockState.UNLOCKING) and not done:
        return _failed_try(evse, now)
    if event.jammed:
        return evse, ()
    settled = Lock(LockState.LOCKED if event.locked else LockState.OPEN, event.locked)
    if not event.locked and not evse.plug.plugged and not evse.in_transaction:
        evse = replace(evse, stopped=None)  # the cable is free: nothing is left of the charge
    return without_fault(replace(evse, lock=settled), FaultCode.LOCK_JAMMED), ()


def retried_lock(evse: Evse) -> Evse:
    """Forget a jam, so that the rules try again: the plug moved, or somebody asked."""
    if evse.lock.state is not LockState.JAMMED:
        return evse
    state = LockState.LOCKED if evse.lock.locked else LockState.OPEN
    return without_fault(replace(evse, lock=Lock(state, evse.lock.locked)), FaultCode.LOCK_JAMMED)
