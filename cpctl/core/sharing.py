"""The station's current shared out over its EVSEs, in A per phase of the grid. Pure.

Lower first, raise only when the car has followed: an EVSE counts with the largest of what it was
offered until its pilot board confirmed a lower offer and the car had time to follow; a board that
does not answer counts with its last confirmed offer. What a car leaves unused goes to the others
and comes back when it takes more. When there is less than 6 A for each they take turns.
Source: house.md §6 "Sharing"; OCPP 1.6 with 16.SC.16, E-26; IEC 61851-1 (6 A, 5 s, second hand).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from cpctl.core.effects import Effect, Keep
from cpctl.core.limits import FOLLOW_S, MINIMUM_A, offerable_a
from cpctl.core.now import NS_PER_S, Now
from cpctl.core.settings import Settings
from cpctl.core.state import (
    NOTHING_TAKEN,
    Around,
    Evse,
    Offering,
    PowerState,
    Station,
    Taking,
    TakingMode,
    Turn,
)
from hal.late import dataclass
from hal.values import MeterReading, Offer, OfferKind

NO_OFFER_KEPT = "none"
MARGIN_A = 2.0  # left above what a car takes, so that it can show that it wants more
GROWS_A = 1.0  # as near as this to its part a car wants more; smaller changes are none
TAKES_S = 15.0  # a car ramps up: what it takes is looked at so long after its offer moved
IDLE_S = 60.0  # a car that does not ask for so long keeps the minimum, and gives up its turn
STUCK_S = 10.0  # an order not confirmed by then will not be: what stood before goes on counting
EXCESS_A = 1.0  # a car this far above its offer counts with what it draws
FRESH_S = 5.0
LOADED_A, UNLOADED_A = 3.0, 0.5  # a phase surely in use, a phase surely not

ALL_PHASES = (0, 1, 2)
#: Grid phase of each phase of a connector, as ConnectorPhaseRotation names them (R = L1, …).
ROTATIONS = {"RST": (0, 1, 2), "RTS": (0, 2, 1), "SRT": (1, 0, 2), "STR": (1, 2, 0),
             "TRS": (2, 0, 1), "TSR": (2, 1, 0)}


# --- what an EVSE must be reckoned with ----------------------------------------------------------


def ordered(old: Offering, offer: Offer, now: Now) -> Offering:
    """A new offer is ordered: until the board confirms it, any since the last one may stand.

    An order that a later one is not below needs no memory of its own.
    """
    number = old.number + 1
    kept = tuple(one for one in old.ordered if one[1] > offer.current_a)
    return replace(old, offer=offer, number=number, since=now.mono_ns, told=True,
                   ordered=(*kept, (number, offer.current_a)))


def confirmed(evse: Evse, offer: Offer, number: int, now: Now) -> Evse:
    """The board took the order `number`: what was ordered before it stands no longer.

    From now on the car has time to follow a lower one.
    """
    old = evse.offering
    before_a = on_the_board_a(evse)
    rest = tuple(one for one in old.ordered if one[0] > number)
    new = replace(old, confirmed_a=offer.current_a, ordered=rest)
    after_a = max(offer.current_a, *(amps for _, amps in rest), 0.0)
    if after_a < before_a:
        counts_a = max(before_a, old.counts_a if now.mono_ns < old.counts_until else 0.0)
        new = replace(new, counts_a=counts_a, counts_until=now.after(FOLLOW_S))
    return evse if new == old else replace(evse, offering=new)


def may_exceed_its_offer(evse: Evse, now: Now) -> bool:
    """The board may still say more than is ordered, or has just ceased to: if the path were closed
    now the car might draw that."""
    offering, offered_a = evse.offering, evse.offering.offer.current_a
    follows = now.mono_ns < offering.counts_until and offering.counts_a > offered_a
    return follows or on_the_board_a(evse) > offered_a


def keep_whether_offers_are_out(evse: Evse, around: Around, now: Now, settings: Settings
                                ) -> tuple[Evse, tuple[Effect, ...]]:
    """A rule of the EVSE: what the next life may take for granted of a board that is silent."""
    none = on_the_board_a(evse) == 0.0
    if around.share_a is None or none == evse.offering.kept_none:
        return evse, ()
    offering = replace(evse.offering, kept_none=none)
    return replace(evse, offering=offering), (
        Keep(f"offer.{evse.id}", NO_OFFER_KEPT if none else None),)


def on_the_board_a(evse: Evse) -> float:
    """The most the pilot may say now. A board that said nothing since the start may say all."""
    offering = evse.offering
    if offering.confirmed_a is None:
        return evse.layout.max_current_a
    return max(offering.confirmed_a, *(amps for _, amps in offering.ordered), 0.0)


def counted_a(evse: Evse, now: Now, voltage_v: float) -> float:
    """What the station reckons with: the most the car may draw, or what it draws beyond that.

    An EVSE out of service with an open path counts nothing: so a technician frees the current that
    a board holds that will never answer. Its path is not closed before the board has answered.
    """
    offering = evse.offering
    if not evse.service.operative and evse.power.state is PowerState.OFF and (
            offering.offer.kind is not OfferKind.CURRENT):
        return 0.0
    reckoned = _reckoned_a(evse, now)
    return max(reckoned, _excess_a(evse, reckoned, now, voltage_v))


def _reckoned_a(evse: Evse, now: Now) -> float:
    """What a car that keeps to the pilot may draw."""
    offering, counted = evse.offering, on_the_board_a(evse)
    if evse.power.state is PowerState.OFF:
        return counted
    withdrawn = offering.offer.kind is not OfferKind.CURRENT and not evse.power.is_safe
    if withdrawn or now.mono_ns < offering.counts_until:
        counted = max(counted, offering.counts_a)
    return counted


def _excess_a(evse: Evse, counted: float, now: Now, voltage_v: float) -> float:
    """What a car draws that does not keep to its offer; 0.0 when it does."""
    meter = evse.meter
    if evse.power.state is PowerState.OFF or meter.good is None or now.since(
            meter.good_mono) > FRESH_S:
        return 0.0
    drawn = drawn_a(meter.good, voltage_v)
    return drawn if drawn is not None and drawn > counted + EXCESS_A else 0.0


def drawn_a(reading: MeterReading, voltage_v: float) -> float | None:
    """What flows in the most loaded phase. Power alone is taken as that of a single one."""
    if reading.currents_a:
        return max(reading.currents_a)
    return None if reading.power_w is None else reading.power_w / voltage_v


# --- what a car takes ----------------------------------------------------------------------------


def notice_what_is_taken(evse: Evse, around: Around, now: Now, settings: Settings
                         ) -> tuple[Evse, tuple[Effect, ...]]:
    """A rule of the EVSE: watches what the car makes of its offer, where current is shared."""
    if around.share_a is None:
        return evse, ()
    taking = _taking(evse, now, around.nominal_voltage_v)
    return (evse, ()) if taking == evse.taking else (replace(evse, taking=taking), ())


def _taking(evse: Evse, now: Now, voltage_v: float) -> Taking:
    if evse.offering.offer.kind is not OfferKind.CURRENT:
        return NOTHING_TAKEN
    mode = _mode(evse)
    if mode is not evse.taking.mode:
        return Taking(mode, now.mono_ns)
    if mode is TakingMode.IDLE and now.since(evse.taking.since) >= IDLE_S:
        return replace(evse.taking, need_a=MINIMUM_A)
    if mode is TakingMode.CHARGING and evse.meter.good is not None:
        return _measured(evse, evse.meter.good, voltage_v)
    return evse.taking


def _mode(evse: Evse) -> TakingMode:
    if evse.power.state is PowerState.ON:
        return TakingMode.CHARGING
    asks = evse.plug.pilot is not None and evse.plug.pilot.asks
    return TakingMode.ASKS if asks else TakingMode.IDLE


def _measured(evse: Evse, reading: MeterReading, voltage_v: float) -> Taking:
    taking, offered_a = evse.taking, evse.offering.offer.current_a
    drawn = drawn_a(reading, voltage_v)
    if drawn is None:
        return taking
    need_a = taking.need_a
    looked_at = max(taking.since, evse.offering.since) + int(TAKES_S * NS_PER_S)
    settled = evse.meter.good_mono >= looked_at
    if need_a is not None and drawn > need_a - GROWS_A:
        need_a = None
    elif settled and drawn < offered_a - MARGIN_A:
        wished = max(MINIMUM_A, drawn + MARGIN_A)
        need_a = wished if need_a is None or wished < need_a - GROWS_A else need_a
    return replace(taking, need_a=need_a,
                   phases=_phases(reading, taking.phases, settled=settled))


def _phases(reading: MeterReading, known: int | None, *, settled: bool) -> int | None:
    """How many phases the car loads; None: as many as there are."""
    loaded = sum(1 for amps in reading.currents_a if amps > UNLOADED_A)
    if len(reading.currents_a) != len(ALL_PHASES) or (known is not None and loaded > known):
        return None
    if known is None and settled and loaded < len(ALL_PHASES) and max(
            reading.currents_a) >= LOADED_A:
        return loaded
    return known


def deadlines(evse: Evse) -> Iterator[int | None]:
    """When a car has followed, a board will not confirm, a car that does not ask will not."""
    taking, offering = evse.taking, evse.offering
    yield offering.counts_until or None
    if offering.ordered:
        yield offering.since + int(STUCK_S * NS_PER_S)
    if taking.mode is TakingMode.IDLE and taking.need_a is None:
        yield taking.since + int(IDLE_S * NS_PER_S)


# --- the shares ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """One EVSE where current is shared. Currents in A per phase, `phases` those of the grid.

    `most_a`: its own limits; `need_a`: what its car would make use of. `stuck`: it goes on counting
    with `counted_a` whatever it is told. `heard`: its board has confirmed an offer since the start.
    `idle`: it is offered current and does not take it.
    """

    evse: int
    wants: bool
    most_a: float
    need_a: float
    offered_a: float
    counted_a: float
    phases: tuple[int, ...] = ALL_PHASES
    weight: float = 1.0
    age: int = 0  # number of the session: who came first
    stuck: bool = False
    heard: bool = True
    idle: bool = False


def part(evse: Evse, most_a: float, rotation: str, now: Now, voltage_v: float, *, wants: bool
         ) -> Part:
    """What the sharing must know of `evse`; `most_a` is what limits it alone."""
    counted, offering = counted_a(evse, now, voltage_v), evse.offering
    late = bool(offering.ordered) and now.since(offering.since) >= STUCK_S
    stuck = counted > _reckoned_a(evse, now) or (late and counted > offering.offer.current_a)
    need_a = evse.taking.need_a
    return Part(
        evse.id, wants and not stuck, most_a,
        most_a if need_a is None else min(need_a, most_a), offering.offer.current_a, counted,
        grid_phases(evse, rotation), evse.layout.max_current_a,
        evse.session.no if evse.session is not None else 0,
        stuck=stuck, heard=offering.confirmed_a is not None,
        idle=evse.taking.mode is TakingMode.IDLE and need_a is not None)


def grid_phases(evse: Evse, rotation: str) -> tuple[int, ...]:
    """The phases of the grid that the car loads; all where the wiring is not known.

    A car of one phase uses the first of its connector.
    """
    used = evse.layout.phases
    if evse.taking.phases is not None:
        used = min(used, evse.taking.phases)
    wiring = ROTATIONS.get(rotation)
    if wiring is None or used >= len(ALL_PHASES):
        return ALL_PHASES
    return wiring[:used]


def rotations(station: Station, settings: Settings) -> Mapping[int, str]:
    """How the connector in use of each EVSE is wired; connectors are numbered as installed."""
    entries = settings.names("meter.phase_rotation")
    if not entries:
        return {}
    told = dict(entry.split(".", 1) for entry in entries)
    found: dict[int, str] = {}
    number = 0
    for evse in station.evses:
        for connector in evse.layout.connectors:
            number += 1
            if connector.id == evse.connector:
                found[evse.id] = told.get(str(number), "Unknown")
    return found


def shared(parts: Sequence[Part], total_a: float, turns: Sequence[Turn], how: str
           ) -> dict[int, float]:
    """What each EVSE may be offered now. `how` is the setting smart.share.

    Who is to have less has it at once; who is to have more gets what the others no longer count
    with. Who wants nothing is told what would be free.
    """
    wanting = in_turn(parts, turns)
    base = _base(parts)
    served = _served(wanting, total_a, base)
    targets = _filled(served, total_a, base, how)
    held = {one.evse: one.counted_a for one in parts}
    shares: dict[int, float] = {}
    for one in wanting:
        target = targets.get(one.evse, 0.0)
        if target > one.counted_a or not one.heard:
            target = min(target, max(one.offered_a, _free(one, parts, held, total_a)))
        shares[one.evse] = target = max(0.0, target)
        held[one.evse] = max(held[one.evse], offerable_a(target))
    for one in parts:
        if one.evse not in shares:
            free = max(0.0, _free(one, parts, held, total_a))
            shares[one.evse] = min(free, one.offered_a) if one.stuck else free
    return shares


def _base(parts: Sequence[Part]) -> list[float]:
    """What is gone on each phase, whatever is decided."""
    base = [0.0, 0.0, 0.0]
    for one in parts:
        if one.stuck:
            for phase in one.phases:
                base[phase] += one.counted_a
    return base


def _free(one: Part, parts: Sequence[Part], held: Mapping[int, float], total_a: float) -> float:
    """What the others leave on every phase of `one`."""
    return total_a - max(sum(held[other.evse] for other in parts
                             if other is not one and phase in other.phases)
                         for phase in one.phases)


def _served(wanting: Sequence[Part], total_a: float, base: Sequence[float]) -> list[Part]:
    """Those who can have the minimum, in their order."""
    left = [total_a - amps for amps in base]
    served: list[Part] = []
    for one in wanting:
        if all(left[phase] + 1e-9 >= MINIMUM_A for phase in one.phases):
            served.append(one)
            for phase in one.phases:
                left[phase] -= MINIMUM_A
    return served


def _filled(served: Sequence[Part], total_a: float, base: Sequence[float], how: str
            ) -> dict[int, float]:
    """The minimum for each, then up to what each makes use of, then what is left over."""
    found = {one.evse: MINIMUM_A for one in served}
    left = [total_a - amps for amps in base]
    for one in served:
        for phase in one.phases:
            left[phase] -= MINIMUM_A
    for ceilings in ({one.evse: one.need_a for one in served},
                     {one.evse: one.most_a for one in served}):
        if how == "fifo":
            for one in sorted(served, key=lambda each: each.age):
                _raise([one], found, left, ceilings, weighted=False)
        else:
            _raise(served, found, left, ceilings, weighted=how == "weighted")
    return found


def _raise(served: Sequence[Part], found: dict[int, float], left: list[float],
           ceilings: Mapping[int, float], *, weighted: bool) -> None:
    """All rise together until each has reached its ceiling or a phase of its is used up."""
    weights = {one.evse: one.weight if weighted else 1.0 for one in served}
    rising = list(served)
    while rising := [one for one in rising if ceilings[one.evse] - found[one.evse] > 1e-9
                     and all(left[phase] > 1e-9 for phase in one.phases)]:
        loads = [sum(weights[one.evse] for one in rising if phase in one.phases)
                 for phase in ALL_PHASES]
        step = min(*((ceilings[one.evse] - found[one.evse]) / weights[one.evse]
                     for one in rising),
                   *(left[phase] / loads[phase] for phase in ALL_PHASES if loads[phase]))
        for one in rising:
            found[one.evse] += step * weights[one.evse]
        for phase in ALL_PHASES:
            left[phase] -= step * loads[phase]


# --- turns ---------------------------------------------------------------------------------------


def in_turn(parts: Sequence[Part], turns: Sequence[Turn]) -> list[Part]:
    """Those who want current in the order in which they get it; newcomers last."""
    places = {turn.evse: place for place, turn in enumerate(turns)}
    return sorted((one for one in parts if one.wants),
                  key=lambda one: (places.get(one.evse, len(places)), one.age, one.evse))


def turned(parts: Sequence[Part], total_a: float, turns: Sequence[Turn], now: Now, slot_s: float
           ) -> tuple[Turn, ...]:
    """The turns as they stand now: whose time is over, or who does not use it, goes to the end.

    While there is enough for all nobody has a turn that ends.
    """
    wanting, base = in_turn(parts, turns), _base(parts)
    began = {turn.evse: turn.since for turn in turns}
    if len(_served(wanting, total_a, base)) == len(wanting):
        return tuple(Turn(one.evse) for one in wanting)
    over = [one for one in wanting if _is_over(one, began.get(one.evse), now, slot_s)]
    order = [one for one in wanting if one not in over] + over
    served = _served(order, total_a, base)
    return tuple(Turn(one.evse, _since(one, served, over, began, now)) for one in order)


def _is_over(one: Part, since: int | None, now: Now, slot_s: float) -> bool:
    return since is not None and (one.idle or now.since(since) >= slot_s)


def _since(one: Part, served: Sequence[Part], over: Sequence[Part],
           began: Mapping[int, int | None], now: Now) -> int | None:
    """When the turn of `one` began; None: it waits."""
    if one not in served:
        return None
    since = None if one in over else began.get(one.evse)
    return now.mono_ns if since is None else since


def turn_ends(turns: Sequence[Turn], slot_s: float) -> Iterator[int]:
    for turn in turns:
        if turn.since is not None:
            yield turn.since + int(slot_s * NS_PER_S)


def changes_at(turns: Sequence[Turn], evse: int, slot_s: float) -> int | None:
    """When the share of `evse` changes by itself: its turn ends, or the first of the others'."""
    own = next((turn for turn in turns if turn.evse == evse), None)
    if own is not None and own.since is not None:
        return own.since + int(slot_s * NS_PER_S)
    return min(turn_ends(turns, slot_s), default=None)
