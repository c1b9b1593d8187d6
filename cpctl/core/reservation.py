"""The station's book of reservations: what is kept for whom, what is answered, when it ends.

A reservation names an EVSE (perhaps one connector of it), or none: then so many EVSEs stay free as
there are such reservations, and the last free ones are kept for them. Connectors of one EVSE share
its power path, so the EVSE is kept as a whole, and so are EVSEs that share one (E-08).
Source: OCPP 1.6 §3.11, §5.2, §5.13 with 16.RES.*; OCPP 2.0.1 H01 to H04.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from cpctl.core import exclusive
from cpctl.core.effects import Answer, Effect, KeepRecord
from cpctl.core.events import CancelReservationRequested, OpenSession, Request, ReserveRequested
from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.state import Claim, ClaimState, Evse, Reservation, Station, TxState
from cpctl.core.values import IdToken, Kept, Outcome, Reply

StationMoved = tuple[Station, tuple[Effect, ...]]
Held = Mapping[int, tuple[Reservation, ...]]  # EVSE -> for which reservations it is kept

KEY = "reservation."


# --- for whom ------------------------------------------------------------------------------------


def entitles(one: Reservation, token: IdToken | None, group: IdToken | None) -> bool:
    """16.RES.3, 16.AUTH.4: its own token, or one whose group is its group."""
    same_group = group is not None and group.same_as(one.group)
    return one.token.same_as(token) or same_group


def admits(held: tuple[Reservation, ...], token: IdToken | None, group: IdToken | None) -> bool:
    """Whether a token may use an EVSE that is kept for these; kept for nobody: anyone may."""
    return not held or any(entitles(one, token, group) for one in held)


def may_admit(held: tuple[Reservation, ...]) -> bool:
    """Whether a token of which only the group is not known yet might still be admitted."""
    return any(one.group is not None for one in held)


def usable_at(station: Station, evse: int, now: Now) -> tuple[Reservation, ...]:
    """Those that a transaction on this EVSE may use up, its own first."""
    alive = [one for one in station.reservations if one.expires > now.utc]
    return (*(one for one in alive if one.evse == evse),
            *(one for one in alive if one.evse is None))


def used(claim: Claim, usable: tuple[Reservation, ...]) -> int | None:
    """The reservation that a transaction of this claim uses up."""
    return next((one.id for one in usable if entitles(one, claim.token, claim.group)), None)


def own_evse(station: Station, token: IdToken | None, free: list[Evse]
             ) -> tuple[Evse, Reservation] | None:
    """The free EVSE that is reserved for this very token, if there is one."""
    for one in station.reservations:
        for evse in free:
            if one.evse == evse.id and one.token.same_as(token):
                return evse, one
    return None


# --- what is kept --------------------------------------------------------------------------------


def holds(station: Station, settings: Settings, *, waiting: int = 0) -> Held:
    """The EVSEs that are kept; `waiting`: so many claims will still take a free one."""
    named = {one.evse: (one,) for one in station.reservations if one.evse is not None}
    held: dict[int, tuple[Reservation, ...]] = {
        partner: of for number, of in named.items()
        for partner in exclusive.partners(number, settings)}
    held.update(named)
    anywhere = tuple(one for one in station.reservations if one.evse is None)
    if anywhere:
        for evse in _kept_anywhere(station, settings, waiting):
            held[evse.id] = anywhere
    return held


def strangers_waiting(station: Station, besides: Claim | None = None) -> int:
    """Claims that wait for a plug and have no reservation of their own for any EVSE."""
    anywhere = tuple(one for one in station.reservations if one.evse is None)
    return sum(1 for claim in station.waiting if claim is not besides
               and used(claim, anywhere) is None)


def _kept_anywhere(station: Station, settings: Settings, waiting: int) -> list[Evse]:
    """E-21: all free EVSEs once no more of them are left than are needed; when there are fewer,
    those with a plug that nobody claimed, the latest first (16.RES.8)."""
    need = _needed(station)
    usable = _candidates(station, settings)
    free = [evse for evse in usable if not evse.plug.plugged]
    if not need or _at_once(free, settings) - waiting > need:
        return []
    plugged = sorted((evse for evse in usable if evse.plug.plugged),
                     key=lambda evse: (evse.transaction.state is TxState.NONE, evse.plug.since),
                     reverse=True)
    return free + plugged[:max(0, need - len(free))]


def _needed(station: Station) -> int:
    """How many EVSEs must stay free: one for each such reservation whose user is not here yet."""
    here = [evse.claim for evse in station.evses if evse.transaction.state is TxState.NONE
            and evse.claim.state is not ClaimState.NONE]
    return sum(1 for one in station.reservations if one.evse is None
               and not any(entitles(one, claim.token, claim.group) for claim in here))


def _candidates(station: Station, settings: Settings) -> list[Evse]:
    """EVSEs that could be kept for whoever comes: usable, unused, not reserved themselves."""
    named = [one.evse for one in station.reservations if one.evse is not None]
    taken = exclusive.who_waits(station, settings).union(
        named, *(exclusive.partners(number, settings) for number in named))
    return [evse for evse in station.evses
            if evse.id not in taken and _is_usable(evse) and not _is_used(evse)]


def _at_once(free: list[Evse], settings: Settings) -> int:
    """How many of these can be used at the same time (E-08)."""
    seen: set[int] = set()
    for evse in free:
        if seen.isdisjoint(exclusive.partners(evse.id, settings)):
            seen.add(evse.id)
    return len(seen)


def _is_usable(evse: Evse) -> bool:
    return evse.service.operative and evse.service.pending is not False and not evse.stopping


def _is_used(evse: Evse) -> bool:
    """Somebody uses it or is entitled to; a token that is still asked about is nobody yet."""
    claimed = evse.claim.state in (ClaimState.GRANTED, ClaimState.REVOKED)
    return (claimed or evse.in_transaction or evse.holder is not None or bool(evse.unlocks)
            or bool(evse.recovering))


# --- requests ------------------------------------------------------------------------------------


def answered(station: Station, event: Request, now: Now, settings: Settings, *, serving: bool
             ) -> StationMoved:
    """A request to reserve or to cancel. `serving`: the station may begin new use at all."""
    if isinstance(event, ReserveRequested):
        return reserve(station, event, now, settings, serving=serving)
    assert isinstance(event, CancelReservationRequested)
    return cancel(station, event)


def reserve(station: Station, event: ReserveRequested, now: Now, settings: Settings, *,
            serving: bool) -> StationMoved:
    """Make the reservation, or say why not; one of the same id is replaced (16.RES.1)."""
    reply = _decided(station, event, now, settings, serving=serving)
    if reply.outcome is not Outcome.ACCEPTED:
        return station, (Answer(event.request, reply),)
    made = _of(event)
    station = replace(station, reservations=(*_others(station, event.id), made))
    return station, (KeepRecord(f"{KEY}{made.id}", made), Answer(event.request, reply))


def _of(event: ReserveRequested) -> Reservation:
    return Reservation(event.id, event.expires, event.token, event.group, event.evse,
                       event.connector)


def _others(station: Station, number: int) -> tuple[Reservation, ...]:
    return tuple(one for one in station.reservations if one.id != number)


def _decided(station: Station, event: ReserveRequested, now: Now, settings: Settings, *,
             serving: bool) -> Reply:
    refused = _why_never(station, event, now, settings)
    if refused is not None:
        return refused
    if any(fault.stops for fault in station.faults):
        return Reply(Outcome.FAULTED, "faulted")
    if not serving or not station.operative or station.pending is False:
        return Reply(Outcome.UNAVAILABLE, "unavailable")
    evse = station.evse(event.evse)
    if evse is not None:
        return _at(station, evse, event, settings)
    if _leaves_enough(station, _of(event), settings):
        return Reply(Outcome.ACCEPTED)
    if any(_is_usable(one) for one in station.evses):
        return Reply(Outcome.OCCUPIED, "all_busy")
    faulted = any(one.stopping for one in station.evses)
    return Reply(Outcome.FAULTED if faulted else Outcome.UNAVAILABLE, "none_usable")


def _why_never(station: Station, event: ReserveRequested, now: Now, settings: Settings
               ) -> Reply | None:
    """What refuses a reservation whatever goes on."""
    evse = station.evse(event.evse)
    known = {one.id for one in evse.layout.connectors} if evse is not None else set()
    anywhere = event.evse is None
    checks = (
        ("reservations_off", settings.flag("reservation.enabled")),
        ("already_expired", event.expires > now.utc),  # E-22
        ("evse_must_be_named", not anywhere or settings.flag("reservation.any_evse")),
        ("no_such_evse", anywhere or evse is not None),
        ("no_such_connector", event.connector is None or event.connector in known),
    )
    why = next((word for word, good in checks if not good), "")
    return Reply(Outcome.REJECTED, why) if why else None


def _at(station: Station, evse: Evse, event: ReserveRequested, settings: Settings) -> Reply:
    """The answer for one EVSE by its state (section 16 of the conformance reference)."""
    if evse.stopping:
        return Reply(Outcome.FAULTED, "faulted")
    partners = exclusive.partners(evse.id, settings)
    others = {one.evse for one in _others(station, event.id)}
    waits = evse.id in exclusive.who_waits(station, settings) or not others.isdisjoint(partners)
    if not _is_usable(evse) or event.connector in evse.service.out or waits or (
            stands_back(station, evse, event.connector, besides=event.id)):
        return Reply(Outcome.UNAVAILABLE, "unavailable")
    taken = evse.id in others
    free = not evse.plug.plugged and not _is_used(evse) and evse.claim.state is ClaimState.NONE
    if taken or not (free or _is_being_used_up(station, evse, event)):
        return Reply(Outcome.OCCUPIED, "in_use")
    if not _leaves_enough(station, _of(event), settings):
        return Reply(Outcome.OCCUPIED, "kept_for_another")
    return Reply(Outcome.ACCEPTED)


def stands_back(station: Station, evse: Evse, connector: int | None, *, besides: int | None = None
                ) -> bool:
    """16.TX.9: another connector of the EVSE is in use, or kept, but for the reservation `besides`:
    this one is Unavailable."""
    if connector is None:
        return False
    kept = next((one.connector for one in station.reservations
                 if one.evse == evse.id and one.id != besides), None)
    if kept is not None and not evse.in_transaction and (
            evse.claim.state is not ClaimState.GRANTED):
        return connector != kept
    plug_is_known = evse.plug.plugged and evse.plug.connector is not None
    in_use = plug_is_known or evse.in_transaction or evse.claim.state is not ClaimState.NONE
    return in_use and connector != evse.connector


def _is_being_used_up(station: Station, evse: Evse, event: ReserveRequested) -> bool:
    """Its user is already here, or just a plug, and the new one is for them as well."""
    old = next((one for one in station.reservations if one.id == event.id), None)
    if old is None or old.evse != evse.id or evse.transaction.state is not TxState.NONE:
        return False
    claim = evse.claim
    return claim.state is ClaimState.NONE or entitles(_of(event), claim.token, claim.group)


def _leaves_enough(station: Station, made: Reservation, settings: Settings) -> bool:
    """With this one, too, an EVSE is free for each reservation that names none (16.RES.2)."""
    station = replace(station, reservations=(*_others(station, made.id), made))
    need = _needed(station)
    free = [evse for evse in _candidates(station, settings) if not evse.plug.plugged]
    return not need or _at_once(free, settings) - strangers_waiting(station) >= need


def cancel(station: Station, event: CancelReservationRequested) -> StationMoved:
    """16.RES.5: a known one ends."""
    others = _others(station, event.id)
    if len(others) == len(station.reservations):
        return station, (Answer(event.request, Reply(Outcome.REJECTED, "no_such_reservation")),)
    station, effects = _ended(station, [event.id])
    return station, (*effects, Answer(event.request, Reply(Outcome.ACCEPTED)))


# --- the end -------------------------------------------------------------------------------------


def _ended(station: Station, numbers: list[int]) -> StationMoved:
    kept = tuple(one for one in station.reservations if one.id not in numbers)
    return replace(station, reservations=kept), tuple(
        KeepRecord(f"{KEY}{number}", None) for number in numbers)


def end_what_is_over(station: Station, now: Now, settings: Settings) -> StationMoved:
    """16.RES.4: at its time, or when what is reserved is faulted or out of service."""
    if not station.reservations:
        return station, ()
    over = [one.id for one in station.reservations if _is_over(station, one, now)]
    return _ended(station, over) if over else (station, ())


def _is_over(station: Station, one: Reservation, now: Now) -> bool:
    if one.expires <= now.utc or not station.operative:
        return True
    if any(fault.stops for fault in station.faults):
        return True
    evse = station.evse(one.evse)
    if evse is not None:
        return not _is_usable(evse) or one.connector in evse.service.out
    return one.evse is not None or not any(_is_usable(each) for each in station.evses)


def end_when_used(station: Station, before: Evse, after: Evse) -> StationMoved:
    """A transaction that began used its reservation up."""
    started = after.transaction.started
    if started is None or started is before.transaction.started or started.reservation is None:
        return station, ()
    if len(_others(station, started.reservation)) == len(station.reservations):
        return station, ()
    return _ended(station, [started.reservation])


def deadlines(station: Station, now: Now) -> Iterator[int]:
    """When the next one comes to its time, as the wall clock stands."""
    for one in station.reservations:
        yield now.after((one.expires - now.utc).total_seconds())


# --- restarts ------------------------------------------------------------------------------------


def restored(records: Mapping[str, Kept], left: tuple[OpenSession, ...]
             ) -> tuple[tuple[Reservation, ...], tuple[Effect, ...]]:
    """What was kept, without those that a transaction used up just before the end."""
    found = [one for one in records.values() if isinstance(one, Reservation)]
    spent = {one.started.reservation for one in left if one.started is not None}
    gone = tuple(KeepRecord(f"{KEY}{one.id}", None) for one in found if one.id in spent)
    return tuple(one for one in found if one.id not in spent), gone
