"""What the installed charging profiles allow, now and later. Pure.

Per purpose the valid profile with the highest stack level that has a period now prevails; valid
profiles of the transaction stand in for the default ones; of the purposes the least limit holds.
Profiles are laid on a line of time in microseconds from now, so that nothing here adds to a date.
What may be installed is decided in `profile_requests.py`, their values are in `profiles.py`, how
the station's current is shared out is `sharing.py`'s.
Source: OCPP 1.6 §3.13, §5.7, §5.16, §7.8..7.14, errata 3.8, 3.34, 3.43, 3.44; rules 16.SC.*.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cpctl.core.now import Now
from cpctl.core.profiles import (
    ChargingProfile,
    CompositeSchedule,
    InstalledProfile,
    Period,
    ProfileKind,
    Purpose,
    RateUnit,
    Recurrency,
)
from cpctl.core.settings import Settings
from cpctl.core.state import ClaimState, Evse, Station

US_PER_S = 1_000_000
MOST_STEPS = 1000  # of a composite schedule; a longer one is told as far as that goes
FAR_US = 100 * 365 * 86_400 * US_PER_S  # beyond this nobody is told when something ends

_MICROSECOND = timedelta(microseconds=1)
_EVERY_S = {Recurrency.DAILY: 86_400, Recurrency.WEEKLY: 7 * 86_400}


# --- a profile on the line of time ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Placed:
    """A profile on the line of time: microseconds from now, the past is negative.

    `began_us`: when its schedule begins (the first occurrence of a recurring one). `from_us` and
    `to_us` bound its validity, None: open.
    """

    profile: ChargingProfile
    began_us: int
    from_us: int | None = None
    to_us: int | None = None

    def is_valid(self, at_us: int) -> bool:
        return (self.from_us is None or self.from_us <= at_us) and (
            self.to_us is None or at_us < self.to_us)

    def period(self, at_us: int) -> Period | None:
        """The period in force then; None before the begin, in a gap and after the end."""
        into_us = self._into(at_us)
        if into_us is None:
            return None
        periods = self.profile.schedule.periods
        return periods[bisect_right(periods, into_us // US_PER_S, key=_start_s) - 1]

    def following(self, at_us: int) -> int | None:
        """The next moment after `at_us` at which period or validity may be another; None: never."""
        if self.from_us is not None and at_us < self.from_us:
            return self.from_us
        if self.to_us is not None and at_us >= self.to_us:
            return None
        ahead = self._turn(at_us)
        if ahead is None or (self.to_us is not None and self.to_us < ahead):
            return self.to_us
        return ahead

    def _every_us(self) -> int | None:
        recurrency = self.profile.recurrency
        return None if recurrency is None else _EVERY_S[recurrency] * US_PER_S

    def _into(self, at_us: int) -> int | None:
        """How far the schedule has come; None where it is not executed (16.SC.8, 16.SC.9)."""
        into_us = at_us - self.began_us
        if into_us < 0:
            return None
        every_us = self._every_us()
        if every_us is not None:
            into_us %= every_us
        duration_s = self.profile.schedule.duration_s
        over = duration_s is not None and into_us >= duration_s * US_PER_S
        return None if over else into_us

    def _turn(self, at_us: int) -> int | None:
        """The next begin or end of a period of the schedule."""
        if at_us < self.began_us:
            return self.began_us
        every_us, into_us = self._every_us(), at_us - self.began_us
        if every_us is not None:
            into_us %= every_us
        ends = [] if every_us is None else [every_us]
        schedule = self.profile.schedule
        if schedule.duration_s is not None:
            ends.append(schedule.duration_s * US_PER_S)
        if self._into(at_us) is not None:
            coming = bisect_right(schedule.periods, into_us // US_PER_S, key=_start_s)
            ends += [one.start_s * US_PER_S for one in schedule.periods[coming:coming + 1]]
        ahead = [end for end in ends if end > into_us]
        return at_us - into_us + min(ahead) if ahead else None


def _start_s(period: Period) -> int:
    return period.start_s


def placed(one: InstalledProfile, started: Now | None, now: Now, *, local: bool) -> Placed | None:
    """`one` as seen from now; None: where it stands cannot be told without a trusted clock.

    `started` is the begin of the transaction (None: as if one began now). `local`: recurrences
    keep the local time of day, by the offset that held when the profile came (E-12).
    """
    profile = one.profile
    if not now.quality.trusted:
        return _placed_without_clock(one, started, now)
    if profile.kind is ProfileKind.RELATIVE:
        began_us = _since_transaction(started, now)
        if began_us is None:
            return _placed_without_clock(one, started, now)
    else:
        began_us = (begin_of(one) - now.utc) // _MICROSECOND
    if local and profile.kind is ProfileKind.RECURRING:
        began_us += (one.local_offset_s - now.local_offset_s) * US_PER_S
    return Placed(profile, began_us, _ahead(profile.valid_from, now),
                  _ahead(profile.valid_to, now))


def begin_of(one: InstalledProfile) -> datetime:
    """When an absolute or recurring schedule begins: E-24 for one that does not say."""
    profile = one.profile
    return profile.schedule.start or profile.valid_from or one.received


def _ahead(moment: datetime | None, now: Now) -> int | None:
    return None if moment is None else (moment - now.utc) // _MICROSECOND


def _since_transaction(started: Now | None, now: Now) -> int | None:
    """When the transaction began; None: the clock was not to be trusted then, or is not now."""
    if started is None:
        return 0
    if started.boot == now.boot:
        return -((now.mono_ns - started.mono_ns) // 1000)
    if not (started.quality.trusted and now.quality.trusted):
        return None
    return min(0, (started.utc - now.utc) // _MICROSECOND)


def _placed_without_clock(one: InstalledProfile, started: Now | None, now: Now) -> Placed | None:
    """What no clock can spoil: a schedule that runs with the transaction, and one that had come to
    its last, endless period when it was received. The rest stays out."""
    profile, schedule = one.profile, one.profile.schedule
    begun = profile.valid_from is None or profile.valid_from <= one.received
    if not begun or profile.valid_to is not None:
        return None
    if profile.kind is ProfileKind.RELATIVE:
        began_us = _since_transaction(started, now)
        if began_us is not None:
            return Placed(profile, began_us)
    return Placed(profile, -schedule.periods[-1].start_s * US_PER_S) if _is_endless(one) else None


def _is_endless(one: InstalledProfile) -> bool:
    """Whether the last period is in force since the profile came, and for ever."""
    profile, schedule = one.profile, one.profile.schedule
    if profile.kind is ProfileKind.ABSOLUTE:
        passed = one.received - begin_of(one)
        return schedule.duration_s is None and passed >= timedelta(
            seconds=schedule.periods[-1].start_s)
    if len(schedule.periods) > 1:
        return False
    if profile.recurrency is None:
        return schedule.duration_s is None
    whole = schedule.duration_s is None or schedule.duration_s >= _EVERY_S[profile.recurrency]
    return whole and begin_of(one) <= one.received


# --- what is stacked for whom --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit in force: A per phase, over so many phases. `source` None: no profile's."""

    current_a: float
    phases: int
    source: Placed | None = None


Stack = tuple[Placed, ...]  # of one purpose, the highest level first


@dataclass(frozen=True, slots=True)
class Stacks:
    """What concerns one EVSE: the profiles of its transaction, and the default ones."""

    of_transaction: Stack
    default: Stack

    def limit(self, at_us: int, voltage_v: float) -> Limit | None:
        """16.SC.3, 16.SC.4: what prevails then; None: nothing is said."""
        overruled = any(one.is_valid(at_us) for one in self.of_transaction)
        return _prevailing(self.of_transaction if overruled else self.default, at_us, voltage_v)


def _prevailing(stack: Stack, at_us: int, voltage_v: float) -> Limit | None:
    for one in stack:
        period = one.period(at_us) if one.is_valid(at_us) else None
        if period is not None:
            phases = period.phases or 3
            current_a = period.limit
            if one.profile.schedule.unit is RateUnit.WATT:
                current_a /= voltage_v * phases  # §7.12: of all phases together
            return Limit(current_a, phases, one)
    return None


def _stack(profiles: Iterable[InstalledProfile], started: Now | None, now: Now,
           settings: Settings) -> Stack:
    local = settings.text("time.align") == "local"
    found = [where for one in profiles
             if (where := placed(one, started, now, local=local)) is not None]
    return tuple(sorted(found, key=lambda one: -one.profile.stack_level))


def _stacks(station: Station, evse: Evse, now: Now, settings: Settings,
            connector: int | None = None) -> Stacks:
    """`connector` None: the one in use."""
    connector = connector or evse.connector
    started, bound = None, []
    if evse.in_transaction and evse.session is not None and evse.transaction.started is not None:
        started = evse.transaction.started.at
        bound = [one for one in station.profiles if one.profile.purpose is Purpose.TX
                 and (one.evse, one.profile.transaction) == (evse.id, evse.session.no)]
    if evse.claim.profile is not None:  # not taken up yet
        bound.append(evse.claim.profile)
    default = _defaults(station, evse, connector, settings)
    return Stacks(_stack(bound, started, now, settings), _stack(default, started, now, settings))


def _defaults(station: Station, evse: Evse, connector: int, settings: Settings
              ) -> list[InstalledProfile]:
    """16.SC.2: the EVSE's own take the place of those of all at the same level (E-25)."""
    every = [one for one in station.profiles if one.profile.purpose is Purpose.TX_DEFAULT]
    own = [one for one in every
           if one.evse == evse.id and one.connector in (None, connector)]
    if own and settings.text("policy.txdefault_zero") == "override":
        return own
    levels = {one.profile.stack_level for one in own}
    return own + [one for one in every
                  if one.evse is None and one.profile.stack_level not in levels]


def _station_stack(station: Station, now: Now, settings: Settings) -> Stack:
    return _stack((one for one in station.profiles
                   if one.profile.purpose is Purpose.STATION_MAX), None, now, settings)


# --- now -----------------------------------------------------------------------------------------


def speak(station: Station, settings: Settings) -> bool:
    """Whether there is anything to ask: nothing below is to be called in vain at each step."""
    return (bool(station.profiles) or settings.integer("smart.default_limit_a") > 0
            or any(evse.claim.profile is not None for evse in station.evses))


def evse_limit_a(station: Station, evse: Evse, now: Now, settings: Settings) -> float | None:
    """What TxProfile or TxDefaultProfile allow this EVSE now, A per phase; None: nothing said.

    Without a transaction: as if one started now (E-27).
    """
    limit = _stacks(station, evse, now, settings).limit(0, station.layout.nominal_voltage_v)
    return limit.current_a if limit is not None else _default_limit_a(settings)


def _default_limit_a(settings: Settings) -> float | None:
    """E-38: what holds where no profile says anything."""
    return settings.integer("smart.default_limit_a") or None


def station_limit_a(station: Station, now: Now, settings: Settings) -> float | None:
    """What ChargingStationMaxProfile allows all EVSEs together now, A per phase; None: nothing."""
    stack = _station_stack(station, now, settings)
    limit = _prevailing(stack, 0, station.layout.nominal_voltage_v)
    return None if limit is None else limit.current_a


def next_change(station: Station, now: Now, settings: Settings) -> int | None:
    """The monotonic moment (ns) at which one of those limits may change; None: never, or nobody
    is there whom it would concern."""
    used = [evse for evse in station.evses
            if evse.session is not None or evse.claim.state is not ClaimState.NONE]
    if not used:
        return None
    relevant = list(_station_stack(station, now, settings))
    for evse in used:
        stacks = _stacks(station, evse, now, settings)
        relevant += [one for one in (*stacks.of_transaction, *stacks.default)
                     if evse.in_transaction or one.profile.kind is not ProfileKind.RELATIVE]
    ahead = [at_us for one in relevant if (at_us := one.following(0)) is not None]
    return now.mono_ns + min(ahead) * 1000 if ahead else None


@dataclass(frozen=True)
class Prevailing:
    """The profile behind a limit, for people. `until`: the monotonic moment (ns) at which its
    period or validity ends; None: open."""

    id: int
    purpose: Purpose
    current_a: float
    until: int | None

    def __str__(self) -> str:
        return f"{self.purpose.value} {self.id}"


def prevailing(station: Station, evse: Evse, now: Now, settings: Settings
               ) -> tuple[Prevailing | None, Prevailing | None]:
    """The profile that limits the EVSE now, and the one that limits the station."""
    voltage_v = station.layout.nominal_voltage_v
    return (_told(_stacks(station, evse, now, settings).limit(0, voltage_v), now),
            _told(_prevailing(_station_stack(station, now, settings), 0, voltage_v), now))


def _told(limit: Limit | None, now: Now) -> Prevailing | None:
    if limit is None or limit.source is None:
        return None
    ahead_us = limit.source.following(0)
    until = None if ahead_us is None or ahead_us > FAR_US else now.mono_ns + ahead_us * 1000
    profile = limit.source.profile
    return Prevailing(profile.id, profile.purpose, limit.current_a, until)


# --- the composite schedule ----------------------------------------------------------------------


LimitAt = Callable[[int], Limit]


def composite(station: Station, evse: Evse | None, connector: int | None, duration_s: int,
              unit: RateUnit | None, now: Now, settings: Settings) -> CompositeSchedule:
    """The limits from now on for `duration_s`, in whole seconds, without gap; equal neighbours are
    one. `evse` None: the expected total from the grid (E-28). `unit` None: the one of the
    prevailing profile, else A (16.SC.23).

    Profiles, hardware, cable and the station's limit are in it, not how the EVSEs share at the
    moment. One of more than `MOST_STEPS` changes is told for a shorter duration.
    """
    of_station = _station_stack(station, now, settings)
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
    stacks = _stacks(station, evse, now, settings, connector)
    voltage_v = station.layout.nominal_voltage_v
    cable_a = evse.plug.cable_a
    default_a = _default_limit_a(settings)
    local_a = min(one for one in (evse.layout.max_current_a, cable_a, math.inf)
                  if one is not None)
    hardware = Limit(local_a, evse.layout.phases)

    def at(at_us: int) -> Limit:
        limit = stacks.limit(at_us, voltage_v)
        if limit is None:
            limit = hardware if default_a is None else Limit(default_a, hardware.phases)
        phases = min(limit.phases, hardware.phases)
        return _least(Limit(limit.current_a, phases), hardware)

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
    voltage_v = station.layout.nominal_voltage_v

    def at(at_us: int) -> Limit:
        limit = course(at_us)
        if installed_a is not None:
            limit = _least(limit, Limit(installed_a, limit.phases))
        of_all = _prevailing(of_station, at_us, voltage_v)
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
