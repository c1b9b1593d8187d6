"""Composite schedules: what profiles, hardware, cable and the station's limit allow from now on.

What holds at a moment is decided in `charging_profiles.py`; here it is put together for a span of
time, in whole seconds. How the EVSEs share at the moment is not in it.
Source: OCPP 1.6 §3.13.3, §5.7, §6.22, errata 3.28, 3.30, 3.57; rules 16.SC.21..24.
"""

import math
from collections.abc import Callable, Iterator, Sequence

from cpctl.core.charging_profiles import (
    US_PER_S,
    Limit,
    Placed,
    Stack,
    default_limit_a,
    leading,
    stacks_of,
    station_stack,
    wires_of,
)
from cpctl.core.now import Now
from cpctl.core.profiles import CompositeSchedule, Period, RateUnit
from cpctl.core.settings import Settings
from cpctl.core.state import Evse, Station

MOST_STEPS = 1000  # a schedule of more changes is told as far as that goes

LimitAt = Callable[[int], Limit]


def composite(station: Station, evse: Evse | None, connector: int | None, duration_s: int,
              unit: RateUnit | None, now: Now, settings: Settings) -> CompositeSchedule:
    """The limits from now on for `duration_s`, in whole seconds, without gap; equal neighbours are
    one. `evse` None: the expected total from the grid (E-28). `unit` None: the one of the
    prevailing profile, else A (16.SC.23).

    Profiles, hardware, cable and the station's limit are in it, not how the EVSEs share at the
    moment. One of more than `MOST_STEPS` changes is told for a shorter duration.
    """
    of_station = station_stack(station, now, settings)
    if evse is None:
        course, relevant = _total(station, now, settings)
    else:
        course, relevant = _course_of(station, evse, connector, now, settings)
    limit_at = _capped(station, of_station, course)
    if unit is None:
        unit = _spoken_unit((*(relevant if evse is not None else ()), *of_station), settings)
    said = _sayer(limit_at, unit, station.layout.nominal_voltage_v)
    periods, told_s = _periods(said, (*of_station, *relevant), duration_s, now)
    return CompositeSchedule(
        evse.id if evse is not None else None, now.utc.replace(microsecond=0), told_s, unit,
        periods, connector if evse is not None else None)


def _spoken_unit(relevant: Sequence[Placed], settings: Settings) -> RateUnit:
    for one in relevant:
        if one.is_valid(0) and one.period(0) is not None:
            return one.profile.schedule.unit
    return RateUnit.AMPERE if "current" in settings.names("smart.rate_units") else RateUnit.WATT


def _course_of(station: Station, evse: Evse, connector: int | None, now: Now,
               settings: Settings) -> tuple[LimitAt, list[Placed]]:
    """What one EVSE may have at each moment by its profiles, hardware and cable."""
    stacks = stacks_of(station, evse, now, settings, connector)
    wires = wires_of(station, evse)
    cable_a = evse.plug.cable_a
    default_a = default_limit_a(settings)
    local_a = min(one for one in (evse.layout.max_current_a, cable_a, math.inf)
                  if one is not None)
    hardware = Limit(local_a, evse.layout.phases)

    def at(at_us: int) -> Limit:
        limit = stacks.limit(at_us, wires)
        if limit is None:
            limit = hardware if default_a is None else Limit(default_a, hardware.phases)
        return _least(limit, hardware)

    return at, [*stacks.of_transaction, *stacks.default]


def _total(station: Station, now: Now, settings: Settings) -> tuple[LimitAt, list[Placed]]:
    """The sum over the EVSEs; amperes add up as on one phase, as when they are shared."""
    courses, relevant = [], []
    for evse in station.evses:
        course, more = _course_of(station, evse, None, now, settings)
        courses.append(course)
        relevant += more

    def at(at_us: int) -> Limit:
        limits = [course(at_us) for course in courses]
        return Limit(sum(one.current_a for one in limits), max(one.phases for one in limits))

    return at, relevant


def _capped(station: Station, of_station: Stack, course: LimitAt) -> LimitAt:
    """Under what all EVSEs may have together (16.SC.5)."""
    installed_a = station.layout.station_max_current_a
    wires = wires_of(station)

    def at(at_us: int) -> Limit:
        limit = course(at_us)
        if installed_a is not None:
            limit = _least(limit, Limit(installed_a, limit.phases))
        of_all = leading(of_station, at_us, wires)
        if of_all is None:
            return limit
        return _least(limit, Limit(of_all.current_a, min(of_all.phases, limit.phases)))

    return at


def _least(one: Limit, other: Limit) -> Limit:
    return min(one, other, key=lambda limit: (limit.current_a, limit.phases))


def _sayer(limit_at: LimitAt, unit: RateUnit, voltage_v: float
           ) -> Callable[[int], tuple[float, int]]:
    """Limit and phases as told: in tenths, rounded down (16.SC.15)."""

    def say(at_us: int) -> tuple[float, int]:
        limit = limit_at(at_us)
        value = limit.current_a
        if unit is RateUnit.WATT:
            value *= voltage_v * limit.phases
        return math.floor(value * 10 + 1e-6) / 10, limit.phases

    return say


def _periods(said: Callable[[int], tuple[float, int]], relevant: Sequence[Placed],
             duration_s: int, now: Now) -> tuple[tuple[Period, ...], int]:
    """The course in whole seconds from the begin of the present one, and how far it goes."""
    begun_us = now.utc.microsecond
    at_s, found = 0, [Period(0, *said(0))]
    steps = 0
    for moment_us in _moments(relevant):
        next_s = -(-(moment_us + begun_us) // US_PER_S)
        if next_s >= duration_s:
            break
        if next_s <= at_s:
            continue
        if steps >= MOST_STEPS:
            return tuple(found), next_s
        at_s, steps = next_s, steps + 1
        limit, phases = said(at_s * US_PER_S - begun_us)
        if (limit, phases) != (found[-1].limit, found[-1].phases):
            found.append(Period(at_s, limit, phases))
    return tuple(found), duration_s


def _moments(relevant: Sequence[Placed]) -> Iterator[int]:
    """Every moment after now at which one of them may change, in order; may never end."""
    coming = [(at_us, number) for number, one in enumerate(relevant)
              if (at_us := one.following(0)) is not None]
    while coming:
        first_us = min(coming)[0]
        yield first_us
        later = []
        for at_us, number in coming:
            upcoming = at_us if at_us > first_us else relevant[number].following(first_us)
            if upcoming is not None:
                later.append((upcoming, number))
        coming = later
