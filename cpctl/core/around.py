"""What each EVSE must know of the rest: the station's decisions, as a small value.

Station-wide decisions reach an EVSE in this way only.
"""

from dataclasses import replace

from cpctl.core import charging_profiles, firmware, limits, power, reservation
from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.state import Around, Evse, Station
from cpctl.core.values import AfterPowerLoss, Registration, ResetKind, StopReason

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
    return StopReason.REBOOT if station.shutdown else None


def around(station: Station, now: Now, settings: Settings) -> dict[int, Around]:
    """The surroundings of each EVSE, by its id."""
    layout = station.layout
    stopping = tuple(fault.code for fault in station.faults if fault.stops)
    plain = Around(
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
    return _with_limits(station, plain, now, settings)


def _with_reservations(station: Station, every: dict[int, Around], now: Now
                       ) -> dict[int, Around]:
    """For whom each EVSE is kept, and what a transaction there may use up."""
    held = reservation.holds(station)
    return {number: replace(one, held=held.get(number, ()),
                            reserved=reservation.usable_at(station, number, now))
            for number, one in every.items()}


def _with_limits(station: Station, plain: Around, now: Now, settings: Settings
                 ) -> dict[int, Around]:
    """What charging profiles allow each EVSE, and its share of what all may have together."""
    every = {evse.id: plain for evse in station.evses}
    if station.reservations:
        every = _with_reservations(station, every, now)
    total_a = station.layout.station_max_current_a
    if charging_profiles.speak(station, settings):
        every = {evse.id: every[evse.id].with_profile(
            charging_profiles.evse_limit_a(station, evse, now, settings))
            for evse in station.evses}
        station_a = charging_profiles.station_limit_a(station, now, settings)
        if station_a is not None:
            total_a = station_a if total_a is None else min(total_a, station_a)
    if total_a is None:
        return every
    wanting = sorted((evse for evse in station.evses
                      if power.intends_to_charge(evse, every[evse.id])), key=_seniority)
    shares = limits.shares(station.evses, [evse.id for evse in wanting], total_a, now.mono_ns)
    return {evse.id: every[evse.id].with_share(shares[evse.id]) for evse in station.evses}


def _seniority(evse: Evse) -> int:
    return evse.session.no if evse.session is not None else 0
