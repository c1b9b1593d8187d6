"""What each EVSE must know of the rest: the station's decisions, as a small value.

Station-wide decisions reach an EVSE in this way only.
"""

from collections.abc import Mapping
from dataclasses import replace

from cpctl.core import charging_profiles, exclusive, firmware, limits, power, reservation, sharing
from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.state import Around, Evse, LockState, Station, Turn
from cpctl.core.values import AfterPowerLoss, Registration, ResetKind, StopReason
from hal.late import dataclass

SHUTDOWN_WIND_DOWN_S = 3.0
WIND_DOWN_S = 6.0

_RESET_REASONS = {ResetKind.SOFT: StopReason.SOFT_RESET, ResetKind.HARD: StopReason.HARD_RESET}


def may_serve(station: Station, settings: Settings) -> bool:
    """Whether sessions may begin at all (16.BOOT.9, E-02, L01.FR.07)."""
    if not station.booted or is_going_down(station) or firmware.holds(station):
        return False
    match settings.text("policy.tx_before_accepted"):
        case "always":
            return True
        case "after_first_accept":
            return station.accepted_ever
        case _:
            return station.accepted_now


def is_going_down(station: Station) -> bool:
    return station.shutdown or station.reset is not None


def is_online(station: Station) -> bool:
    """Connected, and the central system lets us work."""
    return station.online and station.registration is Registration.ACCEPTED


def why_ending(station: Station) -> StopReason | None:
    if station.reset is not None:
        return _RESET_REASONS[station.reset]
    if not station.shutdown:
        return None
    return StopReason.POWER_LOSS if station.power_fails else StopReason.REBOOT


def around(station: Station, now: Now, settings: Settings) -> dict[int, Around]:
    """The surroundings of each EVSE, by its id."""
    every = _with_profiles(station, _apart(station, _plain(station, settings), settings), now,
                           settings)
    if station.reservations:
        every = _with_reservations(station, every, now, settings)
    parts = _parts(station, every, now, settings)
    if parts is None:
        return every
    shares = sharing.shared(parts.each, parts.total_a, station.turns, settings.text("smart.share"))
    return {number: one.with_share(shares[number]) for number, one in every.items()}


def _plain(station: Station, settings: Settings) -> Around:
    """What is the same for all."""
    layout = station.layout
    stopping = tuple(fault.code for fault in station.faults if fault.stops)
    return Around(
        online=is_online(station),
        may_serve=may_serve(station, settings),
        books_good=not any(code.value == "JOURNAL_FAILED" for code in stopping),
        operative=station.operative and station.pending is not False,
        stopping=stopping,
        ending=why_ending(station),
        resume=station.shutdown and station.reset is None
        and layout.after_power_loss is AfterPowerLoss.RESUME,
        next_session=station.next_session,
        silence_s=layout.meter_silence_s,
        nominal_voltage_v=layout.nominal_voltage_v,
        wind_down_s=SHUTDOWN_WIND_DOWN_S if station.shutdown else WIND_DOWN_S,
    )


def _apart(station: Station, plain: Around, settings: Settings) -> dict[int, Around]:
    """Who must wait because another uses the power path the two share (16.TX.9, E-08)."""
    waits = exclusive.who_waits(station, settings)
    if not waits:
        return {evse.id: plain for evse in station.evses}
    used = replace(plain, path_used=True)
    return {evse.id: used if evse.id in waits else plain for evse in station.evses}


def _with_profiles(station: Station, every: dict[int, Around], now: Now, settings: Settings
                   ) -> dict[int, Around]:
    """What charging profiles allow each EVSE."""
    if not charging_profiles.speak(station, settings):
        return every
    return {evse.id: every[evse.id].with_profile(
        charging_profiles.evse_limit_a(station, evse, now, settings)) for evse in station.evses}


def _with_reservations(station: Station, every: dict[int, Around], now: Now,
                       settings: Settings) -> dict[int, Around]:
    """For whom each EVSE is kept, and what a transaction there may use up."""
    held = reservation.holds(station, settings)
    return {number: replace(one, held=held.get(number, ()),
                            reserved=reservation.usable_at(station, number, now))
            for number, one in every.items()}


# --- the station's current -----------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """All EVSEs as the sharing sees them, and what there is for them, A per phase."""

    each: tuple[sharing.Part, ...]
    total_a: float


def station_limit_a(station: Station, now: Now, settings: Settings) -> float | None:
    """What all EVSEs may have together, A per phase: of the installation, of the profiles."""
    total_a = station.layout.station_max_current_a
    if not charging_profiles.speak(station, settings):
        return total_a
    station_a = charging_profiles.station_limit_a(station, now, settings)
    if total_a is None or station_a is None:
        return station_a if total_a is None else total_a
    return min(total_a, station_a)


def _parts(station: Station, every: Mapping[int, Around], now: Now, settings: Settings
           ) -> Parts | None:
    """None: nothing is to be shared."""
    total_a = station_limit_a(station, now, settings)
    if total_a is None:
        return None
    wiring = sharing.rotations(station, settings)
    voltage_v = station.layout.nominal_voltage_v
    return Parts(tuple(
        sharing.part(evse, limits.own_limit_a(evse, every[evse.id]), wiring.get(evse.id, ""), now,
                     voltage_v, wants=_wants_current(evse, every[evse.id], now, settings))
        for evse in station.evses), total_a)


def _wants_current(evse: Evse, its_around: Around, now: Now, settings: Settings) -> bool:
    """Nothing but its share keeps it from an offer, or soon will not."""
    why = power.why_no_power(evse, its_around, now, settings)
    return not why or (why == "not_locked" and evse.lock.state is LockState.LOCKING)


def with_turns(station: Station, now: Now, settings: Settings) -> Station:
    """The station after those whose turn is over have made room."""
    total_a = station_limit_a(station, now, settings)
    if total_a is None and not station.turns:
        return station
    turns: tuple[Turn, ...] = ()
    if total_a is not None:
        plain = _with_profiles(station, _apart(station, _plain(station, settings), settings),
                               now, settings)
        parts = _parts(station, plain, now, settings)
        assert parts is not None
        turns = sharing.turned(parts.each, total_a, station.turns, now,
                               settings.integer("smart.rotation_s"))
    return station if turns == station.turns else replace(station, turns=turns)


def claims(station: Station, evse: Evse, now: Now, settings: Settings
           ) -> tuple[limits.LimitClaim, ...]:
    """Each claim on the current of `evse`, and until when it holds."""
    its_around = around(station, now, settings)[evse.id]
    share_until = None
    if its_around.share_a is not None:
        share_until = sharing.changes_at(station.turns, evse.id,
                                         settings.integer("smart.rotation_s"))
    of_evse, of_station = charging_profiles.prevailing(station, evse, now, settings)
    found = limits.claims_on_current(
        evse, its_around, profile_until=of_evse.until if of_evse is not None else None,
        share_until=share_until)
    behind = {"profile": of_evse or "smart.default_limit_a", "station": of_station}
    return tuple(replace(one, behind=str(behind.get(one.owner) or "")) for one in found)
