"""What the installed charging profiles allow, now and later. Pure.

Per purpose the valid profile with the highest stack level that has a period now prevails; valid
profiles of the transaction stand in for the default ones; of the purposes the least limit holds.
Profiles are laid on a line of time in microseconds from now, so that nothing here adds to a date.
What may be installed is decided in `profile_requests.py`, their values are in `profiles.py`, what
is told of the time to come in `composite_schedules.py`, how the station's current is shared out is
`sharing.py`'s.
Source: OCPP 1.6 §3.13, §5.16, §7.8..7.14, errata 3.8, 3.34, 3.43, 3.44; rules 16.SC.*.
"""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime, timedelta

from cpctl.core.now import Now
from cpctl.core.profiles import (
    ChargingProfile,
    InstalledProfile,
    Period,
    ProfileKind,
    Purpose,
    RateUnit,
    Recurrency,
)
from cpctl.core.settings import Settings
from cpctl.core.state import ClaimState, Evse, Station
from hal.late import dataclass

US_PER_S = 1_000_000
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
class Wires:
    """What watts are turned into amperes with: the nominal voltage, the phases in use."""

    voltage_v: float
    phases: int


@dataclass(frozen=True, slots=True)
class Stacks:
    """What concerns one EVSE: the profiles of its transaction, and the default ones."""

    of_transaction: Stack
    default: Stack

    def limit(self, at_us: int, wires: Wires) -> Limit | None:
        """16.SC.3, 16.SC.4: what prevails then; None: nothing is said."""
        overruled = any(one.is_valid(at_us) for one in self.of_transaction)
        return leading(self.of_transaction if overruled else self.default, at_us, wires)


def leading(stack: Stack, at_us: int, wires: Wires) -> Limit | None:
    """What the highest level says that says anything; None: nothing is said.

    A limit for more phases than are in use is, as given, for those in use (16.SC.11).
    """
    for one in stack:
        period = one.period(at_us) if one.is_valid(at_us) else None
        if period is not None:
            phases = min(period.phases or 3, wires.phases)
            current_a = period.limit
            if one.profile.schedule.unit is RateUnit.WATT:
                current_a /= wires.voltage_v * phases  # §7.12: of all phases together
            return Limit(current_a, phases, one)
    return None


def wires_of(station: Station, evse: Evse | None = None) -> Wires:
    """Of an EVSE, or of the station: all phases that any EVSE has."""
    phases = max(one.layout.phases for one in station.evses) if evse is None else (
        evse.layout.phases)
    return Wires(station.layout.nominal_voltage_v, phases)


def _stack(profiles: Iterable[InstalledProfile], started: Now | None, now: Now,
           settings: Settings) -> Stack:
    local = settings.text("time.align") == "local"
    found = [where for one in profiles
             if (where := placed(one, started, now, local=local)) is not None]
    return tuple(sorted(found, key=lambda one: -one.profile.stack_level))


def stacks_of(station: Station, evse: Evse, now: Now, settings: Settings,
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


def station_stack(station: Station, now: Now, settings: Settings) -> Stack:
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
    limit = stacks_of(station, evse, now, settings).limit(0, wires_of(station, evse))
    return limit.current_a if limit is not None else default_limit_a(settings)


def default_limit_a(settings: Settings) -> float | None:
    """E-38: what holds where no profile says anything."""
    return settings.integer("smart.default_limit_a") or None


def station_limit_a(station: Station, now: Now, settings: Settings) -> float | None:
    """What ChargingStationMaxProfile allows all EVSEs together now, A per phase; None: nothing."""
    stack = station_stack(station, now, settings)
    limit = leading(stack, 0, wires_of(station))
    return None if limit is None else limit.current_a


def next_change(station: Station, now: Now, settings: Settings) -> int | None:
    """The monotonic moment (ns) at which one of those limits may change; None: never, or nobody
    is there whom it would concern."""
    used = [evse for evse in station.evses
            if evse.session is not None or evse.claim.state is not ClaimState.NONE]
    if not used:
        return None
    relevant = list(station_stack(station, now, settings))
    for evse in used:
        stacks = stacks_of(station, evse, now, settings)
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
    of_evse = stacks_of(station, evse, now, settings).limit(0, wires_of(station, evse))
    of_station = leading(station_stack(station, now, settings), 0, wires_of(station))
    return _told(of_evse, now), _told(of_station, now)


def _told(limit: Limit | None, now: Now) -> Prevailing | None:
    if limit is None or limit.source is None:
        return None
    ahead_us = limit.source.following(0)
    until = None if ahead_us is None or ahead_us > FAR_US else now.mono_ns + ahead_us * 1000
    profile = limit.source.profile
    return Prevailing(profile.id, profile.purpose, limit.current_a, until)
