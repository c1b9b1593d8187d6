"""The station: the only door of the core. Routes events, boots, resets, and makes all come to rest.

`step` takes an event and the time and returns the station after it with the effects; the same
arguments give the same result. `next_deadline` tells when to come back without an event.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from cpctl.core import (
    boot,
    charging_profiles,
    claims,
    firmware,
    log_jobs,
    metering,
    profile_requests,
    requests,
    reservation,
    rules,
    security,
    sharing,
)
from cpctl.core import evse as moves
from cpctl.core.around import around, may_serve, with_turns
from cpctl.core.effects import Effect, Keep, Record, RestartStation, Show
from cpctl.core.events import (
    AccessProved,
    AuthorizationAnswered,
    Booted,
    CardPresented,
    CardUnusable,
    ClockStepped,
    ContactorReported,
    ContactorTested,
    CredentialsChanged,
    DeviceFound,
    DeviceLost,
    EnergiseRefused,
    Event,
    FactAbandoned,
    FaultReported,
    FirmwareFound,
    FirmwareMoved,
    InputChanged,
    JournalFailed,
    JournalRecovered,
    LinkChanged,
    LockReported,
    LogUploadMoved,
    MeterRead,
    OfferConfirmed,
    PilotChanged,
    PowerReleased,
    ReleaseNumbered,
    Request,
    SecurityEventNoticed,
    ShutdownRequested,
    TransactionAnswered,
)
from cpctl.core.facts import FaultLatched
from cpctl.core.faults import FaultCode
from cpctl.core.now import NS_PER_S, Now
from cpctl.core.settings import Settings
from cpctl.core.state import Evse, Lock, LockState, PresentFault, Station, TxState
from cpctl.core.values import Registration, StationLayout, StopReason

StationMoved = tuple[Station, tuple[Effect, ...]]
StationRule = Callable[[Station, Now, Settings], StationMoved]

DEVICE_EVENTS = (PilotChanged, OfferConfirmed, ContactorReported, PowerReleased, ReleaseNumbered,
                 EnergiseRefused, ContactorTested, LockReported, MeterRead, InputChanged,
                 DeviceLost, DeviceFound, FaultReported)


def new(layout: StationLayout) -> Station:
    """The station before `Booted`. A plug lock counts as locked until it says otherwise."""
    evses = tuple(
        Evse(one, lock=Lock(LockState.LOCKED, locked=True) if one.has_lock else Lock())
        for one in layout.evses)
    return Station(layout, evses)


def step(station: Station, event: Event, now: Now, settings: Settings) -> StationMoved:
    """The station after `event`, and what shall be done, in the order in which it was decided."""
    before = station
    station, effects = _moved(before, event, now, settings)
    if not station.booted or (station is before and isinstance(event, TransactionAnswered)):
        return station, effects  # the word on a transaction that is long over moves nothing
    station, more = _settled(station, now, settings)
    return replace(station, settled_at=now.mono_ns), effects + more


def next_deadline(station: Station, now: Now, settings: Settings) -> int | None:
    """The earliest monotonic moment (ns) at which something is to be done without an event."""
    if not station.booted:
        return None
    ahead = [at for at in _deadlines(station, now, settings)
             if at is not None and at > station.settled_at]
    return min(ahead, default=None)


def is_wound_down(station: Station) -> bool:
    """Nothing is closed and no transaction waits for its end: the process may leave."""
    kept_open = (TxState.NONE, TxState.ENDED, TxState.OPEN)
    return all(evse.power.is_safe and evse.transaction.state in kept_open
               for evse in station.evses)


# --- events --------------------------------------------------------------------------------------


def _moved(station: Station, event: Event, now: Now, settings: Settings) -> StationMoved:
    match event:
        case Request():
            return requests.answered(station, event, now, settings)
        case Booted():
            return boot.booted(station, event, now, settings)
        case CardPresented():
            return _on_card(station, event, now, settings)
        case AuthorizationAnswered():
            return claims.on_answer(station, event, now, settings)
        case TransactionAnswered():
            return claims.on_transaction_answer(station, event, now, settings)
        case FirmwareMoved():
            return firmware.moved(station, event, now)
        case FirmwareFound():
            return firmware.found(station, event, now)
        case _ if isinstance(event, DEVICE_EVENTS):
            return _on_device(station, event, now, settings)
        case CredentialsChanged() | AccessProved():
            return security.on_access(station, event, now, settings)
        case _:
            return _on_station(station, event, now)


def _on_card(station: Station, event: CardPresented, now: Now, settings: Settings
             ) -> StationMoved:
    if not station.booted:
        return station, (Show(None, "card_refused"),)
    return claims.on_card(station, event, now, settings)


def _on_device(station: Station, event: moves.DeviceEvent, now: Now, settings: Settings
               ) -> StationMoved:
    evse = station.evse(event.evse)
    if evse is None or getattr(event, "kind", "") == "reader":
        return _on_station_device(station, event, now)
    after, effects = moves.on_device(
        evse, event, around(station, now, settings)[evse.id], now, settings)
    tampered = security.tampered(evse.has(FaultCode.DOOR_OPEN), event, now)
    return station.with_evse(after), effects + tampered


def _on_station_device(station: Station, event: moves.DeviceEvent, now: Now) -> StationMoved:
    """Inputs, devices and faults of the station itself."""
    match event:
        case InputChanged(name=name, good=good) if name not in moves.NO_FAULT_INPUTS:
            code = moves.INPUT_FAULTS.get(name, FaultCode.OTHER)
            known = any(fault.code is code for fault in station.faults)
            station, effects = _with_fault(station, code, now, name, present=not good)
            return station, effects + security.tampered(known, event, now)
        case DeviceLost(kind=kind, detail=detail) if kind in moves.DEVICE_FAULTS:
            return _with_fault(station, moves.DEVICE_FAULTS[kind], now, detail)
        case DeviceFound(kind=kind) if kind in moves.DEVICE_FAULTS:
            return _with_fault(station, moves.DEVICE_FAULTS[kind], now, present=False)
        case FaultReported(code=code, present=present, vendor_code=detail):
            return _with_fault(_after_failed_reset(station, code), code, now, detail,
                               present=present)
        case _:
            return station, ()


def _after_failed_reset(station: Station, code: FaultCode) -> Station:
    if code is not FaultCode.RESET_FAILED:
        return station
    return replace(station, reset=None, reset_by=None, restarted=False)


def _with_fault(station: Station, code: FaultCode, now: Now, detail: str = "", *,
                present: bool = True) -> StationMoved:
    there = any(fault.code is code for fault in station.faults)
    if present == there:
        return station, ()
    if not present:
        kept = tuple(f for f in station.faults if f.code is not code or f.latched)
        return replace(station, faults=kept), ()
    fault = PresentFault(code, now, detail)
    effects = (Record(FaultLatched(now, None, None, code, detail)),) if fault.latched else ()
    return replace(station, faults=(*station.faults, fault)), effects


def _on_station(station: Station, event: Event, now: Now) -> StationMoved:
    match event:
        case LinkChanged():
            return _on_link(station, event, now)
        case LogUploadMoved():
            return log_jobs.moved(station, event, now)
        case JournalFailed(detail=detail):
            return _with_fault(station, FaultCode.JOURNAL_FAILED, now, detail)
        case JournalRecovered():
            return _with_fault(station, FaultCode.JOURNAL_FAILED, now, present=False)
        case FactAbandoned(reason=reason):
            return _with_fault(station, FaultCode.FACT_SET_ASIDE, now, reason)
        case SecurityEventNoticed(kind=kind, text=text, critical=critical):
            return station, (security.raised(kind, text, now, critical=critical),)
        case ClockStepped(step_s=step_s):
            return replace(station, clock_slot=None), security.clock_set(step_s, now)
        case ShutdownRequested(power_fails=power_fails) if not station.shutdown:
            why = StopReason.POWER_LOSS if power_fails else StopReason.REBOOT
            return replace(station, shutdown=True, power_fails=power_fails, waiting=()), (
                Keep("planned", why.value),)
        case CardUnusable():
            return station, (Show(None, "card_refused"),)
        case _:
            return station, ()


def _on_link(station: Station, event: LinkChanged, now: Now) -> StationMoved:
    station = replace(station, online=event.online, registration=event.registration)
    if event.registration is not Registration.ACCEPTED:
        return station, ()
    effects = () if station.accepted_ever else (Keep("accepted.ever", "yes"),)
    station = replace(station, accepted_ever=True, accepted_now=True)
    station, more = log_jobs.connected(station, now)
    return station, (*effects, *more)


# --- rules of the station ------------------------------------------------------------------------


def _drop_waiting_claims(station: Station, now: Now, settings: Settings) -> StationMoved:
    if station.waiting and not may_serve(station, settings):
        return replace(station, waiting=()), ()
    return station, ()


def _apply_waiting_availability(station: Station, now: Now, settings: Settings) -> StationMoved:
    """What was asked of the whole station holds once the last EVSE followed."""
    if station.pending is None or any(
            evse.service.pending is not None for evse in station.evses):
        return station, ()
    station = replace(station, operative=station.pending, pending=None)
    return station, requests.kept_station(station)


def _schedule_clock_readings(station: Station, now: Now, settings: Settings) -> StationMoved:
    """Clock-aligned readings: a slot that has come goes to every EVSE; missed ones are gone."""
    interval_s = settings.integer("sampling.clock_interval_s")
    if interval_s != station.clock_interval or (station.clock_slot is None and interval_s):
        slot = metering.next_aligned(now, interval_s, settings.text("time.align"))
        return replace(station, clock_slot=slot, clock_interval=interval_s), ()
    slot = station.clock_slot
    if slot is None or now.mono_ns < slot:
        return station, ()
    evses = tuple(replace(evse, clock_due=slot) if evse.layout.has_meter else evse
                  for evse in station.evses)
    # half a second later, so that a timer that fires early does not serve the slot twice
    later = metering.moment(now, max(now.mono_ns, slot + NS_PER_S // 2))
    following = metering.next_aligned(later, interval_s, settings.text("time.align"))
    return replace(station, evses=evses, clock_slot=following), ()


def _take_turns(station: Station, now: Now, settings: Settings) -> StationMoved:
    """16.SC.16: less than the minimum for each goes round."""
    return with_turns(station, now, settings), ()


def _restart_when_wound_down(station: Station, now: Now, settings: Settings) -> StationMoved:
    """16.RESET.2, 3: after the records, or with what the books hold when it takes too long."""
    if station.reset is None or station.restarted:
        return station, ()
    over = station.reset_by is not None and now.mono_ns >= station.reset_by
    if not over and not (is_wound_down(station) and _all_free(station)):
        return station, ()
    return replace(station, restarted=True), (RestartStation(station.reset),)


def _all_free(station: Station) -> bool:
    return all(evse.is_idle and evse.lock.state is not LockState.UNLOCKING and not evse.unlocks
               for evse in station.evses)


STATION_RULES: tuple[StationRule, ...] = (
    _drop_waiting_claims,
    reservation.end_what_is_over,
    claims.move_waiting_claims,
    profile_requests.follow_transactions,
    _apply_waiting_availability,
    _schedule_clock_readings,
    _take_turns,
    firmware.go_on,
    _restart_when_wound_down,
)


def _settled(station: Station, now: Now, settings: Settings) -> StationMoved:
    """Apply the rules of the EVSEs and of the station until none fires."""
    effects: list[Effect] = []
    for _ in range(rules.REST_LIMIT):
        before = station
        rest = around(station, now, settings)
        for evse in before.evses:
            after, more = rules.settled(evse, rest[evse.id], now, settings)
            effects += more
            if after is not evse:
                station = _with_settled(station, after)
                station, more = reservation.end_when_used(station, evse, after)
                effects += more
                rest = around(station, now, settings)
        for rule in STATION_RULES:
            station, more = rule(station, now, settings)
            effects += more
        if station is before:
            return station, tuple(effects)
    raise rules.Restless(f"station: {station}")


def _with_settled(station: Station, evse: Evse) -> Station:
    used = evse.session.no if evse.session is not None else 0
    return replace(station.with_evse(evse), next_session=max(station.next_session, used + 1))


def _deadlines(station: Station, now: Now, settings: Settings) -> Iterator[int | None]:
    rest = around(station, now, settings)
    for evse in station.evses:
        yield from rules.deadlines(evse, rest[evse.id], settings)
    yield from (claim.until for claim in station.waiting)
    yield station.clock_slot
    if station.turns:
        yield from sharing.turn_ends(station.turns, settings.integer("smart.rotation_s"))
    yield station.reset_by if not station.restarted else None
    yield firmware.next_due(station, now)
    yield from reservation.deadlines(station, now)
    if station.profiles:
        yield charging_profiles.next_change(station, now, settings)
