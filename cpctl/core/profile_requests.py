"""Installing, clearing and asking about charging profiles; how long an installed one is kept.

What the installed ones mean is in `charging_profiles.py`. A profile of a transaction is bound to
its session and goes with it; the others stay until they are cleared, replaced or over.
Source: OCPP 1.6 §3.13, §5.5, §5.7, §5.16, errata 3.25, 3.37, 3.41; rules 16.SC.*, 16.RSTART.5.
"""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from cpctl.core.composite_schedules import composite
from cpctl.core.effects import Answer, Effect, KeepRecord
from cpctl.core.events import (
    Booted,
    ClearProfilesRequested,
    CompositeRequested,
    Request,
    SetProfileRequested,
    StartRequested,
)
from cpctl.core.now import Now
from cpctl.core.profiles import (
    ChargingProfile,
    InstalledProfile,
    Period,
    ProfileKind,
    Purpose,
    RateUnit,
)
from cpctl.core.settings import Settings
from cpctl.core.state import Evse, Station, TxState
from cpctl.core.values import Outcome, Reply

StationMoved = tuple[Station, tuple[Effect, ...]]

LATEST_S = 2**31 - 1  # of the begin of a period, and the longest duration
HIGHEST = 1e9  # A or W; what is above is no limit but a mistake
UNIT_NAMES = {RateUnit.AMPERE: "current", RateUnit.WATT: "power"}  # in `smart.rate_units`
_KEY = "profile."


def answered(station: Station, event: Request, now: Now, settings: Settings) -> StationMoved:
    """Decide a request about profiles; any other is a mistake of the caller."""
    match event:
        case SetProfileRequested():
            return _set(station, event, now, settings)
        case ClearProfilesRequested():
            return _clear(station, event)
        case CompositeRequested():
            return station, (Answer(event.request, _composite(station, event, now, settings)),)
        case _:
            raise TypeError(f"no request about profiles: {event}")


# --- install -------------------------------------------------------------------------------------


def _set(station: Station, event: SetProfileRequested, now: Now, settings: Settings
         ) -> StationMoved:
    one = InstalledProfile(event.evse, event.profile, now.utc, event.connector,
                           now.local_offset_s)
    why = _why_misplaced(station, one) or why_malformed(one.profile, now, settings)
    if why:
        outcome = Outcome.NOT_SUPPORTED if why == "not_settable" else Outcome.REJECTED
        return station, (Answer(event.request, Reply(outcome, why)),)
    after, effects = _without_expired(station, now)
    after, more = _installed(after, _bound(station, one))
    if _count(after) > settings.integer("smart.max_installed"):
        return station, (Answer(event.request, Reply(Outcome.REJECTED, "too_many_profiles")),)
    return after, (Answer(event.request, Reply(Outcome.ACCEPTED)), *effects, *more)


def _bound(station: Station, one: InstalledProfile) -> InstalledProfile:
    """A profile for a transaction is for the one that runs, whether or not it names it."""
    evse = station.evse(one.evse)
    if one.profile.purpose is not Purpose.TX or evse is None or evse.session is None:
        return one
    connector = evse.connector if len(evse.layout.connectors) > 1 else None
    return replace(one, connector=connector,
                   profile=replace(one.profile, transaction=evse.session.no))


def _count(station: Station) -> int:
    """Those in force and those that claims will bring."""
    claims = (*station.waiting, *(evse.claim for evse in station.evses))
    return len(station.profiles) + sum(1 for claim in claims if claim.profile is not None)


def _installed(station: Station, one: InstalledProfile) -> StationMoved:
    """16.SC.1: in the place of the one with its id and of the one in its slot."""
    station, effects = _without(station, [
        other for other in station.profiles
        if _slot(other) == _slot(one) and other.profile.id != one.profile.id])
    kept = tuple(other for other in station.profiles if other.profile.id != one.profile.id)
    return replace(station, profiles=(*kept, one)), (*effects, KeepRecord(_key(one), one))


def _slot(one: InstalledProfile) -> tuple[Purpose, int, int | None, int | None]:
    return one.profile.purpose, one.profile.stack_level, one.evse, one.connector


def _key(one: InstalledProfile) -> str:
    return f"{_KEY}{one.profile.id}"


def _without(station: Station, gone: list[InstalledProfile]) -> StationMoved:
    if not gone:
        return station, ()
    kept = tuple(one for one in station.profiles if one not in gone)
    return replace(station, profiles=kept), tuple(KeepRecord(_key(one), None) for one in gone)


def _without_expired(station: Station, now: Now) -> StationMoved:
    return _without(station, [one for one in station.profiles if _is_expired(one.profile, now)])


def _is_expired(profile: ChargingProfile, now: Now) -> bool:
    """Over for good, as far as the clock can be trusted."""
    return (profile.valid_to is not None and now.quality.trusted
            and profile.valid_to <= now.utc)


# --- what is refused -----------------------------------------------------------------------------


def _why_misplaced(station: Station, one: InstalledProfile) -> str:
    """Why this purpose is not for this place, as a word; "" when it is."""
    profile, evse = one.profile, station.evse(one.evse)
    if one.evse is not None and evse is None:
        return "no_such_evse"
    match profile.purpose:
        case Purpose.STATION_MAX:
            wrong = "only_for_the_station" if one.evse is not None else ""
        case Purpose.TX_DEFAULT:
            wrong = ""
        case Purpose.TX:
            return _why_not_for_transaction(one, evse)
        case Purpose.EXTERNAL:
            return "not_settable"
        case _:
            assert_never(profile.purpose)
    return wrong or ("transaction_named" if profile.transaction is not None else "")


def _why_not_for_transaction(one: InstalledProfile, evse: Evse | None) -> str:
    if evse is None:
        return "not_for_the_station"
    runs = evse.transaction.state is TxState.OPEN and evse.session is not None
    if not runs or one.connector not in (None, evse.connector):
        return "no_transaction"
    assert evse.session is not None
    other = one.profile.transaction not in (None, evse.session.no)
    return "other_transaction" if other else ""


def why_malformed(profile: ChargingProfile, now: Now, settings: Settings) -> str:
    """What is wrong with a profile in itself, as a word; "" for nothing (digest §9.1)."""
    schedule = profile.schedule
    checks = (
        ("stack_level", 0 <= profile.stack_level <= settings.integer("smart.max_stack_level")),
        ("too_many_periods", len(schedule.periods) <= settings.integer("smart.max_periods")),
        ("unit_not_allowed", UNIT_NAMES[schedule.unit] in settings.names("smart.rate_units")),
        ("no_start", _has_its_start(profile, settings)),
        ("already_over", not _is_expired(profile, now)),
    )
    return is_unsound(profile) or next((word for word, good in checks if not good), "")


def _has_its_start(profile: ChargingProfile, settings: Settings) -> bool:
    """E-24: an absolute schedule may do without, a relative one has no use for it."""
    needs = profile.kind is not ProfileKind.RELATIVE
    if needs == (profile.schedule.start is not None):
        return True
    accepts = settings.text("compat.profile_without_start") == "accept"
    return accepts and profile.kind is not ProfileKind.RECURRING


def is_unsound(profile: ChargingProfile) -> str:
    """What no station could carry out, as a word; "" for nothing."""
    schedule = profile.schedule
    starts = [period.start_s for period in schedule.periods]
    ends = (profile.valid_from, profile.valid_to)
    checks = (
        ("first_period_not_0", bool(starts) and starts[0] == 0),
        ("periods_not_ascending", starts == sorted(set(starts)) and starts[-1:] <= [LATEST_S]),
        ("bad_limit", all(_is_sound(period) for period in schedule.periods)),
        ("bad_duration", schedule.duration_s is None or 0 < schedule.duration_s <= LATEST_S),
        ("recurrency", (profile.kind is ProfileKind.RECURRING) == (
            profile.recurrency is not None)),
        ("relative_for_the_station", profile.purpose is not Purpose.STATION_MAX
         or profile.kind is not ProfileKind.RELATIVE),
        ("never_valid", None in ends or _is_before(*ends)),
    )
    return next((word for word, good in checks if not good), "")


def _is_sound(period: Period) -> bool:
    return 0 <= period.limit <= HIGHEST and period.phases in (None, 1, 2, 3)


def _is_before(first: datetime | None, second: datetime | None) -> bool:
    return first is not None and second is not None and first < second


# --- with a start --------------------------------------------------------------------------------


def why_not_with_start(station: Station, event: StartRequested, now: Now, settings: Settings
                       ) -> str:
    """16.RSTART.5: why the profile of a start request will not do; "" when there is none, or it
    will."""
    profile = event.profile
    if profile is None:
        return ""
    if profile.purpose is not Purpose.TX or profile.transaction is not None:
        return "not_for_a_new_transaction"
    after, _ = _without_expired(station, now)
    kept = [one for one in after.profiles if one.profile.id != profile.id]
    others = len(kept) + _count(after) - len(after.profiles)
    if others >= settings.integer("smart.max_installed"):
        return "too_many_profiles"
    return why_malformed(profile, now, settings)


def with_start(event: StartRequested, now: Now) -> InstalledProfile | None:
    """The profile as the claim carries it until its transaction begins."""
    if event.profile is None:
        return None
    return InstalledProfile(event.evse, event.profile, now.utc, None, now.local_offset_s)


def follow_transactions(station: Station, now: Now, settings: Settings) -> StationMoved:
    """16.SC.4: profiles come with the transaction they were sent for, and go with it."""
    effects: tuple[Effect, ...] = ()
    for evse in station.evses:
        if evse.claim.profile is not None and evse.in_transaction:
            station, more = _taken_up(station, evse, evse.claim.profile)
            effects += more
    ended = [one for one in station.profiles
             if one.profile.purpose is Purpose.TX and not _runs(station, one)]
    station, more = _without(station, ended)
    return station, effects + more


def _taken_up(station: Station, evse: Evse, one: InstalledProfile) -> StationMoved:
    station = station.with_evse(replace(evse, claim=replace(evse.claim, profile=None)))
    return _installed(station, _bound(station, replace(one, evse=evse.id)))


def _runs(station: Station, one: InstalledProfile) -> bool:
    evse = station.evse(one.evse)
    return (evse is not None and evse.in_transaction and evse.session is not None
            and evse.session.no == one.profile.transaction)


# --- clear, ask ----------------------------------------------------------------------------------


def _clear(station: Station, event: ClearProfilesRequested) -> StationMoved:
    """16.SC.20: by id alone, else by all that is given."""
    gone = [one for one in station.profiles if _fits(one, event)]
    outcome = Outcome.ACCEPTED if gone else Outcome.UNKNOWN
    station, effects = _without(station, gone)
    return station, (Answer(event.request, Reply(outcome)), *effects)


def _fits(one: InstalledProfile, event: ClearProfilesRequested) -> bool:
    profile = one.profile
    if event.id is not None:
        return profile.id == event.id
    return ((event.everywhere or (one.evse, one.connector) == (event.evse, event.connector))
            and event.purpose in (None, profile.purpose)
            and event.stack_level in (None, profile.stack_level))


def _composite(station: Station, event: CompositeRequested, now: Now, settings: Settings
               ) -> Reply:
    evse = station.evse(event.evse)
    if event.evse is not None and evse is None:
        return Reply(Outcome.REJECTED, "no_such_evse")
    allowed = settings.names("smart.rate_units")
    if event.unit is not None and UNIT_NAMES[event.unit] not in allowed:
        return Reply(Outcome.REJECTED, "unit_not_allowed")
    if event.duration_s <= 0:
        return Reply(Outcome.REJECTED, "bad_duration")
    return Reply(Outcome.ACCEPTED, content=composite(
        station, evse, event.connector, event.duration_s, event.unit, now, settings))


# --- after a restart -----------------------------------------------------------------------------


def restored(station: Station, event: Booted, now: Now) -> StationMoved:
    """16.SC.13: what was kept, but for what is over or cannot hold here any more."""
    found = [one for _, one in sorted(event.records.items())
             if isinstance(one, InstalledProfile)]
    station = replace(station, profiles=tuple(found))
    return _without(station, [one for one in found if _is_stale(station, one, now)])


def _is_stale(station: Station, one: InstalledProfile, now: Now) -> bool:
    elsewhere = one.evse is not None and station.evse(one.evse) is None
    return elsewhere or bool(is_unsound(one.profile)) or _is_expired(one.profile, now)
