"""Who gets which EVSE: cards, remote starts, claims that wait for a plug, verdicts on tokens.

What a token does at an EVSE in use is decided in `evse.py`.
Source: OCPP 1.6 §4.8, §5.11 with 16.AUTH.*, 16.RSTART.*; OCPP 2.0.1 C01, F01, F02.
"""

from dataclasses import replace

from cpctl.core import evse as moves
from cpctl.core import profile_requests, reservation, rules
from cpctl.core.around import around
from cpctl.core.effects import Authorize, CheckAgainstList, Effect, Remember, Show
from cpctl.core.events import (
    AuthorizationAnswered,
    CardPresented,
    StartRequested,
    TransactionAnswered,
)
from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.state import NO_CLAIM, Around, Claim, ClaimState, Evse, Station, TxState
from cpctl.core.values import IdToken, TokenSource

StationMoved = tuple[Station, tuple[Effect, ...]]


# --- which EVSE ----------------------------------------------------------------------------------


def may_be_claimed(evse: Evse, its_around: Around) -> bool:
    """Free for a new use, plugged or not."""
    return (rules.serves(evse, its_around) and not evse.stopping and not its_around.stopping
            and evse.claim.state is ClaimState.NONE and not evse.in_transaction
            and evse.holder is None and not evse.unlocks)


def free_evses(station: Station, evses: tuple[int, ...], token: IdToken | None, now: Now,
               settings: Settings, *, group: IdToken | None = None, besides: Claim | None = None
               ) -> list[Evse]:
    """Those of `evses` (empty: all) that a claim of `token` may take, in order of installation.

    16.RES.3: none that is kept for somebody else. `besides`: the claim itself, when it waits.
    """
    held = _held(station, besides, settings)
    return [evse for evse in _unused(station, evses, now, settings)
            if reservation.admits(held.get(evse.id, ()), token, group)]


def perhaps_free(station: Station, evses: tuple[int, ...], now: Now, settings: Settings
                 ) -> list[Evse]:
    """Those that are kept, but a token may have them if it proves to be of the right group."""
    held = _held(station, None, settings)
    return [evse for evse in _unused(station, evses, now, settings)
            if reservation.may_admit(held.get(evse.id, ()))]


def _unused(station: Station, evses: tuple[int, ...], now: Now, settings: Settings
            ) -> list[Evse]:
    rest = around(station, now, settings)
    return [evse for evse in station.evses
            if (not evses or evse.id in evses) and may_be_claimed(evse, rest[evse.id])]


def _held(station: Station, besides: Claim | None, settings: Settings) -> reservation.Held:
    if not station.reservations:
        return {}
    return reservation.holds(
        station, settings, waiting=reservation.strangers_waiting(station, besides))


def best_plugged(free: list[Evse]) -> Evse | None:
    """The plug somebody just put in: one not used yet before one that is, the latest first."""
    plugged = [evse for evse in free if evse.plug.plugged]
    if not plugged:
        return None
    return max(plugged, key=lambda evse: (
        evse.transaction.state is TxState.NONE and not evse.plug.expired, evse.plug.since))


# --- a card --------------------------------------------------------------------------------------


def on_card(station: Station, event: CardPresented, now: Now, settings: Settings) -> StationMoved:
    """A card: it stops or gives up what its token began, else it asks to begin."""
    served = [evse for evse in station.evses if not event.evses or evse.id in event.evses]
    for evse in served:
        if evse.owner is not None and evse.owner.token.same_as(event.token):
            after, effects = moves.on_owner_token(evse, event.token, now)
            return station.with_evse(after), effects
    for claim in station.waiting:
        if event.token.same_as(claim.token):
            return _tapped_while_waiting(station, claim)
    free = free_evses(station, event.evses, event.token, now, settings)
    if free:
        ask = Authorize(station.next_ask, event.token)
        return _with_claim(station, event, free, now, settings), (ask,)
    return _asked_for_group(station, served, event, now, settings)


def _with_claim(station: Station, event: CardPresented, free: list[Evse], now: Now,
                settings: Settings) -> Station:
    """The card asks to begin; its question has the number of the next one."""
    claim = replace(_asking(station, event.token, now, settings), evses=event.evses)
    station = placed(station, claim, free, settings)
    return replace(station, next_ask=station.next_ask + 1)


def _tapped_while_waiting(station: Station, claim: Claim) -> StationMoved:
    """The second tap gives a granted claim up; one that is still asked for goes on."""
    if claim.state is not ClaimState.GRANTED:
        return station, ()
    waiting = tuple(one for one in station.waiting if one is not claim)
    return replace(station, waiting=waiting), (Show(None, "card_accepted"),)


def _asking(station: Station, token: IdToken, now: Now, settings: Settings) -> Claim:
    return Claim(ClaimState.ASKED, token, ask=station.next_ask,
                 until=moves.ask_by(now, settings))


def placed(station: Station, claim: Claim, free: list[Evse], settings: Settings) -> Station:
    """The claim at its EVSE, or waiting at the station for a plug (E-04, E-16)."""
    own = reservation.own_evse(station, claim.token, free)
    if own is not None:  # G2 of the status matrix: the reserved identity is presented
        connector = claim.connector or own[1].connector
        return station.with_evse(replace(own[0], claim=replace(claim, connector=connector)))
    chosen = best_plugged(free)
    if chosen is None:
        chosen = _without_plug(free, settings, only=len(station.evses) == 1
                               or len(claim.evses) == 1)
    if chosen is None:
        return replace(station, waiting=(*station.waiting, claim))
    return station.with_evse(replace(chosen, claim=claim))


def _without_plug(free: list[Evse], settings: Settings, *, only: bool) -> Evse | None:
    if only:
        return free[0]
    match settings.text("policy.tag_first_connector"):
        case "fixed":
            return free[0]
        case "last_touched":
            return max(free, key=lambda evse: evse.plug.since)
        case _:
            return None


def _asked_for_group(station: Station, served: list[Evse], event: CardPresented, now: Now,
                     settings: Settings) -> StationMoved:
    """Nothing is free: the token may stop by its group, or has an EVSE that is kept for its group;
    asked once."""
    ask = station.next_ask
    effects: list[Effect] = []
    for evse in served:
        after, more = moves.on_second_token(evse, event.token, ask, now, settings)
        station = station.with_evse(after)
        effects += [one for one in more if one not in effects]
    kept = perhaps_free(station, event.evses, now, settings)
    if kept:  # to begin, it must be authorized besides
        return _with_claim(station, event, kept, now, settings), (Authorize(ask, event.token),)
    asks = [one for one in effects if isinstance(one, Authorize)]
    if not asks:
        return station, (Show(served[0].id if len(served) == 1 else None, "card_refused"),)
    return replace(station, next_ask=ask + 1), tuple(asks)


# --- a remote start ------------------------------------------------------------------------------


def claimed_by_request(station: Station, event: StartRequested, free: list[Evse], *,
                       authorize: bool, now: Now, settings: Settings) -> StationMoved:
    """The accepted request as a claim: at once granted, or asked for as a card would be."""
    effects: tuple[Effect, ...] = ()
    if authorize:
        claim = _asking(station, event.token, now, settings)
        effects = (Authorize(station.next_ask, event.token),)
        station = replace(station, next_ask=station.next_ask + 1)
    else:
        claim = Claim(ClaimState.GRANTED, event.token, until=moves.plug_until(now, settings),
                      source=TokenSource.NOT_ASKED, granted_mono=now.mono_ns)
    claim = replace(claim, remote=True, remote_start=event.remote_start,
                    connector=event.connector, profile=profile_requests.with_start(event, now))
    if event.evse is not None:
        claim = replace(claim, evses=(event.evse,))
    return placed(station, claim, free, settings), effects


# --- verdicts ------------------------------------------------------------------------------------


def on_answer(station: Station, event: AuthorizationAnswered, now: Now, settings: Settings
              ) -> StationMoved:
    """The verdict goes to whoever asked; nobody: it came too late, and is only remembered."""
    effects: tuple[Effect, ...] = ()
    if event.source is TokenSource.CSMS:
        effects = remembered(event.token, event, settings)
    for evse in station.evses:
        if evse.second is not None and evse.second.ask == event.ask:
            after, more = moves.on_answer(evse, event, now, settings)
            station = station.with_evse(after)
            if after.transaction.state is not evse.transaction.state:
                return _without_asking(station, event.ask), (*effects, *more)
            effects += () if _claims(station, event.ask) else more
    for claim in station.waiting:
        if claim.ask == event.ask:
            station, more = _answered_waiting(station, claim, event, now, settings)
            return station, effects + more
    for evse in station.evses:
        if _asks(evse.claim, event.ask):
            after, more = moves.on_answer(
                evse, event, now, settings, admitted=_admits(station, evse, event, settings))
            return station.with_evse(after), effects + more
    return station, effects


def _admits(station: Station, evse: Evse, event: AuthorizationAnswered, settings: Settings
            ) -> bool:
    """16.RES.3: now the group of the token is known."""
    held = reservation.holds(station, settings).get(evse.id, ()) if station.reservations else ()
    return reservation.admits(held, event.token, event.info.group)


def _asks(claim: Claim, ask: int) -> bool:
    return claim.state is ClaimState.ASKED and claim.ask == ask


def _claims(station: Station, ask: int) -> bool:
    """Whether the card of this question wants to begin, too."""
    return any(_asks(claim, ask) for claim in (
        *station.waiting, *(evse.claim for evse in station.evses)))


def _without_asking(station: Station, ask: int) -> Station:
    """One transaction was stopped; the same card neither stops another nor begins one."""
    waiting = tuple(claim for claim in station.waiting if not _asks(claim, ask))
    evses = tuple(replace(
        evse, claim=NO_CLAIM if _asks(evse.claim, ask) else evse.claim,
        second=None if evse.second is not None and evse.second.ask == ask else evse.second)
        for evse in station.evses)
    return replace(station, waiting=waiting, evses=evses)


def _answered_waiting(station: Station, claim: Claim, event: AuthorizationAnswered, now: Now,
                      settings: Settings) -> StationMoved:
    after, granted = moves.decided(claim, event, now, settings)
    if station.reservations and granted:  # all may be kept for others
        granted = bool(free_evses(station, claim.evses, claim.token, now, settings,
                                  group=after.group, besides=claim))
    waiting = tuple(after if one is claim else one for one in station.waiting)
    if not granted:
        waiting = tuple(one for one in station.waiting if one is not claim)
    return replace(station, waiting=waiting), (
        Show(None, "card_accepted" if granted else "card_refused"),)


def remembered(token: IdToken | None, event: AuthorizationAnswered | TransactionAnswered,
               settings: Settings) -> tuple[Effect, ...]:
    """16.CACHE.1, 16.LIST.5: what the central system says of a token, good or bad, goes to the
    cache and is compared with the local list."""
    if token is None:
        return ()
    check = (CheckAgainstList(token, event.info),) if settings.flag("auth.list_enabled") else ()
    if not settings.flag("auth.cache_enabled"):
        return check
    return (Remember(token, event.info), *check)


def on_transaction_answer(station: Station, event: TransactionAnswered, now: Now,
                          settings: Settings) -> StationMoved:
    """The central system's word on a transaction's token, perhaps long after."""
    token = event.token
    for evse in station.evses:
        if evse.session is None or evse.session.no != event.session:
            continue
        started = evse.transaction.started
        own = started.token if started is not None else None
        token = token if token is not None else own
        if own is not None and own.same_as(token):
            rest = around(station, now, settings)[evse.id]
            after, effects = moves.on_verdict(evse, event.info, rest, now, settings)
            return station.with_evse(after), (*remembered(token, event, settings), *effects)
    return station, remembered(token, event, settings)


# --- waiting -------------------------------------------------------------------------------------


def move_waiting_claims(station: Station, now: Now, settings: Settings) -> StationMoved:
    """Claims without an EVSE: too old ones go, the others take the next plug they may."""
    for claim in station.waiting:
        if claim.until is not None and now.mono_ns >= claim.until:
            return _without_waiting(station, claim), (Show(None, "card_refused"),)
        free = [evse for evse in free_evses(station, claim.evses, claim.token, now, settings,
                                            group=claim.group, besides=claim)
                if evse.plug.plugged and not rules.is_finishing(evse, settings)]
        if free:
            station = _without_waiting(station, claim)
            return station.with_evse(replace(free[0], claim=claim)), ()
    return station, ()


def _without_waiting(station: Station, claim: Claim) -> Station:
    return replace(station, waiting=tuple(one for one in station.waiting if one is not claim))
