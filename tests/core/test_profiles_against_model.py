"""Random sets of charging profiles, decided twice: by the core and by a slow model of the rules.

Times are coarse, so that ten thousand sets fit into a run; each is looked at a second before and at
every such time, which is where mistakes live.
"""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from support.core_world import World
from support.profile_model import ChargePoint, Entry, Post, look_up

from cpctl.core import charging_profiles, composite_schedules, profile_requests
from cpctl.core import events as ev
from cpctl.core.effects import Answer
from cpctl.core.facts import TransactionStarted
from cpctl.core.now import NS_PER_S, Now, TimeQuality
from cpctl.core.profiles import (
    ChargingProfile,
    CompositeSchedule,
    Period,
    ProfileKind,
    Purpose,
    RateUnit,
    Recurrency,
    Schedule,
)
from cpctl.core.settings import Settings
from cpctl.core.state import Evse, Plug, Session, Transaction, TxState
from cpctl.core.station import new
from cpctl.core.values import EvseLayout, Origin, Outcome, RequestId, StationLayout
from hal.values import OfferKind

SETS = 10_000
BATCHES = 10
GRAIN_S = 1800
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
NOON = MONDAY + timedelta(days=10, hours=12)
NOON_NS = 5_000_000 * NS_PER_S
PURPOSES = (Purpose.STATION_MAX, Purpose.TX_DEFAULT, Purpose.TX_DEFAULT, Purpose.TX)
LIMITS = (0.0, 4.0, 6.0, 9.5, 10.0, 16.0, 16.1, 25.0, 32.0, 50.0)
WATTS = (0.0, 1380.0, 3680.0, 4140.0, 6900.5, 11000.0, 11040.0, 22080.0, 30000.0)


def now_at(seconds: int) -> Now:
    return Now(NOON_NS + seconds * NS_PER_S, "boot-1", NOON + timedelta(seconds=seconds),
               TimeQuality.NTP)


class Pair:
    """One random station, as the core has it and as the model has it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.phases = rng.choice((1, 3, 3))
        self.default_a = rng.choice((0, 0, 0, 10))
        override = rng.random() < 0.2
        self.settings = Settings({
            "smart.default_limit_a": self.default_a,
            "policy.txdefault_zero": "override" if override else "stack"})
        station_a = rng.choice((None, None, 32.0, 50.0))
        self.model = ChargePoint({}, station_a=None if station_a is None else Fraction(station_a),
                                 default_a=self.default_a, override=override)
        layouts = tuple(EvseLayout(number, max_current_a=rng.choice((16.0, 32.0)),
                                   phases=self.phases) for number in (1, 2))
        self.station = new(StationLayout(layouts, station_max_current_a=station_a))
        for layout in layouts:
            self.station = self.station.with_evse(self._evse(layout))

    def _evse(self, layout: EvseLayout) -> Evse:
        rng = self.rng
        cable_a = rng.choice((None, None, 20.0))
        post = Post(Fraction(layout.max_current_a), layout.phases,
                    None if cable_a is None else Fraction(cable_a))
        self.model.posts[layout.id] = post
        evse = Evse(layout, plug=Plug(plugged=True, cable_a=cable_a))
        if rng.random() < 0.3:
            return replace(evse, session=Session(layout.id, 1, now_at(0)))
        began = -GRAIN_S * rng.randrange(0, 8)
        number = 10 + layout.id
        post.transaction = number, int(NOON.timestamp()) + began
        started = TransactionStarted(now_at(began), number, layout.id, 1, 0, "", None, 0)
        return replace(evse, session=Session(number, 1, now_at(began)),
                       transaction=Transaction(TxState.OPEN, started))

    # --- profiles --------------------------------------------------------------------------------

    def _moment(self, least: int, most: int) -> datetime:
        return NOON + timedelta(seconds=GRAIN_S * self.rng.randint(least, most))

    def _maybe(self, chance: float, least: int, most: int) -> datetime | None:
        return self._moment(least, most) if self.rng.random() < chance else None

    def schedule(self, kind: ProfileKind) -> Schedule:
        rng = self.rng
        unit = rng.choice((RateUnit.AMPERE, RateUnit.AMPERE, RateUnit.WATT))
        limits = LIMITS if unit is RateUnit.AMPERE else WATTS
        starts = sorted(rng.sample(range(1, 60), rng.choice((0, 1, 1, 2, 4))))
        periods = tuple(Period(GRAIN_S * start, rng.choice(limits), rng.choice((None, 1, 2, 3, 3)))
                        for start in (0, *starts))
        duration = GRAIN_S * rng.randint(1, 70) if rng.random() < 0.5 else None
        start = None
        if kind is not ProfileKind.RELATIVE and rng.random() < 0.9:
            start = self._moment(-400, 20) if kind is ProfileKind.RECURRING else (
                self._moment(-60, 20))
        return Schedule(unit, periods, start, duration)

    def profile(self) -> tuple[int, ChargingProfile]:
        """A connector and a profile for it: mostly one that can be installed."""
        rng = self.rng
        purpose = rng.choice(PURPOSES)
        kind = rng.choice(tuple(ProfileKind))
        connector = 0 if purpose is Purpose.STATION_MAX else rng.choice((0, 1, 1, 2))
        transaction = None
        if purpose is Purpose.TX:
            connector = connector or 1
            if rng.random() < 0.5:
                transaction = rng.choice((11, 12))
        if rng.random() < 0.03:
            connector = rng.choice((0, 1, 2))
        recurrency = rng.choice(tuple(Recurrency)) if kind is ProfileKind.RECURRING else None
        profile = ChargingProfile(
            rng.randrange(12), rng.randrange(4), purpose, kind, self.schedule(kind), recurrency,
            self._maybe(0.2, -30, 30), self._maybe(0.2, -2, 60), transaction)
        return connector, self._spoiled(profile) if rng.random() < 0.06 else profile

    def _spoiled(self, profile: ChargingProfile) -> ChargingProfile:
        schedule = profile.schedule
        periods = schedule.periods
        return self.rng.choice((
            replace(profile, stack_level=11), replace(profile, stack_level=-1),
            replace(profile, recurrency=Recurrency.DAILY), replace(profile, recurrency=None),
            replace(profile, transaction=11),
            replace(profile, schedule=replace(schedule, periods=())),
            replace(profile, schedule=replace(schedule, periods=(*periods, periods[0]))),
            replace(profile, schedule=replace(schedule, duration_s=0)),
            replace(profile, schedule=replace(
                schedule, periods=(replace(periods[0], limit=-1.0), *periods[1:]))),
            replace(profile, schedule=replace(
                schedule, periods=(replace(periods[0], phases=4), *periods[1:]))),
            replace(profile, schedule=replace(
                schedule, periods=(replace(periods[0], start_s=1), *periods[1:]))),
        ))

    # --- both ------------------------------------------------------------------------------------

    def ask(self, event: ev.Request) -> Outcome:
        self.station, effects = profile_requests.answered(
            self.station, event, now_at(0), self.settings)
        (answer,) = (one for one in effects if isinstance(one, Answer))
        return answer.reply.outcome

    def install(self) -> None:
        connector, profile = self.profile()
        outcome = self.ask(ev.SetProfileRequested(
            REQUEST, profile, connector or None))
        accepted = self.model.set(connector, profile, int(NOON.timestamp()))
        assert (outcome is Outcome.ACCEPTED) == accepted, (connector, profile)

    def clear(self) -> None:
        rng = self.rng
        id = rng.randrange(12) if rng.random() < 0.4 else None
        connector = rng.choice((None, 0, 1, 2))
        purpose = rng.choice((None, *PURPOSES))
        level = rng.choice((None, 0, 1))
        outcome = self.ask(ev.ClearProfilesRequested(
            REQUEST, id, connector is None, connector or None, purpose, level))
        cleared = self.model.clear(id, connector, None if purpose is None else purpose.value,
                                   level)
        assert (outcome is Outcome.ACCEPTED) == cleared

    def agree(self) -> None:
        installed = {(one.evse or 0, one.profile.id) for one in self.station.profiles}
        assert installed == {(one.connector, one.profile.id) for one in self.model.entries}
        grains = self.rng.choice((8, 16, 16, 60))
        Comparison(self, int(NOON.timestamp()), grains * GRAIN_S).run()


REQUEST = RequestId(Origin.CSMS, 1)


class Comparison:
    """Composite schedules and limits of one pair from one second on."""

    def __init__(self, pair: Pair, now: int, length_s: int) -> None:
        self.pair, self.model, self.now, self.length_s = pair, pair.model, now, length_s
        self.ticks = [tick for grain in range(0, length_s, GRAIN_S)
                      for tick in (grain - 1, grain) if tick >= 0]
        until = now + length_s
        self.courses = {number: self.model.course(number, now, until) for number in (1, 2)}
        self.of_station = self.model.station_course(now, until)

    def run(self) -> None:
        unit = self.pair.rng.choice((RateUnit.AMPERE, RateUnit.WATT))
        number = self.pair.rng.choice((1, 2))
        self.one(number, unit)
        self.total(unit)
        self.obeyed(number)

    def asked(self, number: int | None, unit: RateUnit) -> CompositeSchedule:
        pair = self.pair
        return composite_schedules.composite(
            pair.station, pair.station.evse(number), None, self.length_s, unit, now_at(0),
            pair.settings)

    def one(self, number: int, unit: RateUnit) -> None:
        told = self.asked(number, unit)
        for tick in self.ticks:
            second = self.now + tick
            limit = self.model.local(self.model.posts[number], self.courses[number].at(second))
            expected = self.model.told(
                self.model.capped(limit, look_up(self.of_station, second)), unit.value)
            assert at(told, tick) == expected, (tick, told, self.model.entries)

    def total(self, unit: RateUnit) -> None:
        told = self.asked(None, unit)
        for tick in self.ticks:
            second = self.now + tick
            limits = [self.model.local(post, self.courses[number].at(second))
                      for number, post in self.model.posts.items()]
            total = sum((one[0] for one in limits), Fraction(0)), max(one[1] for one in limits)
            expected = self.model.told(
                self.model.capped(total, look_up(self.of_station, second)), unit.value)
            assert at(told, tick) == expected, (tick, told, self.model.entries)

    def obeyed(self, number: int) -> None:
        """Looked at only when `next_change` says so, the limits are right all the time."""
        pair, due = self.pair, 0
        limit_a: float | None = None
        station_a: float | None = None
        running = self.model.posts[number].transaction is not None
        for tick in self.ticks if running else self.ticks[:1]:
            while due <= tick:
                now = now_at(due)
                evse = pair.station.evse(number)
                assert evse is not None
                limit_a = charging_profiles.evse_limit_a(pair.station, evse, now, pair.settings)
                station_a = charging_profiles.station_limit_a(pair.station, now, pair.settings)
                change = charging_profiles.next_change(pair.station, now, pair.settings)
                due = self.length_s if change is None else (change - NOON_NS) // NS_PER_S
            second = self.now + tick
            found = self.courses[number].at(second)
            default = pair.default_a or None
            assert near(limit_a, default if found is None else found.amps), (tick, found)
            of_all = look_up(self.of_station, second)
            assert near(station_a, None if of_all is None else of_all.amps), (tick, of_all)


def near(value: float | None, exact: Fraction | int | None) -> bool:
    if value is None or exact is None:
        return value is None and exact is None
    return abs(value - float(exact)) < 1e-9


def at(told: CompositeSchedule, tick: int) -> tuple[float, int | None]:
    found = told.periods[0]
    assert found.start_s == 0
    assert told.periods[-1].start_s < told.duration_s
    for period in told.periods[1:]:
        if period.start_s <= tick:
            found = period
    return found.limit, found.phases


@pytest.mark.requirement("16.SC.1", "16.SC.2", "16.SC.3", "16.SC.4", "16.SC.5", "16.SC.7",
                         "16.SC.8", "16.SC.9", "16.SC.10", "16.SC.11", "16.SC.20", "16.SC.21",
                         "16.SC.22", "16.SC.23", "16.SC.24")
@pytest.mark.parametrize("batch", range(BATCHES))
def test_the_core_and_the_slow_model_agree_on_random_sets(batch: int) -> None:
    for number in range(SETS // BATCHES):
        seed = batch * SETS + number
        print(f"seed {seed}")
        rng = random.Random(seed)
        pair = Pair(rng)
        for _ in range(rng.randint(1, 6)):
            pair.install()
        if rng.random() < 0.15:
            pair.clear()
        pair.agree()


def test_the_model_itself_is_not_blind() -> None:
    """A profile that the core does not have makes them disagree."""
    pair = Pair(random.Random(1))
    pair.model.entries.append(Entry(0, ChargingProfile(
        99, 0, Purpose.STATION_MAX, ProfileKind.ABSOLUTE,
        Schedule(RateUnit.AMPERE, (Period(0, 1.0),), NOON)), int(NOON.timestamp())))

    with pytest.raises(AssertionError):
        Comparison(pair, int(NOON.timestamp()), 4 * GRAIN_S).run()


# --- obeyed by a station in the midst of a charge ------------------------------------------------


def told_to_the_car(amps: Fraction) -> float:
    """Tenths, rounded down; below 6 A nothing."""
    rounded = int(amps * 10) / 10
    return rounded if rounded >= 6 else 0.0


class Charge:
    """A car charging at a station in virtual time, and the model's opinion of it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.world = World(EvseLayout(1), start=NOON).boot()
        self.model = ChargePoint({1: Post(Fraction(32), 3)})
        self.world.charging()
        self.began_ns = self.world.mono_ns
        self.model.posts[1].transaction = 1, self.second

    @property
    def second(self) -> int:
        return int(self.world.now.utc.timestamp())

    def install(self) -> None:
        rng = self.rng
        kind = rng.choice((ProfileKind.ABSOLUTE, ProfileKind.RELATIVE))
        purpose = rng.choice((Purpose.TX_DEFAULT, Purpose.TX))
        starts = sorted(rng.sample(range(1, 1200), rng.choice((0, 1, 3, 6))))
        periods = tuple(Period(start_s, rng.choice(LIMITS)) for start_s in (0, *starts))
        start = None
        if kind is ProfileKind.ABSOLUTE:
            start = self.world.now.utc.replace(microsecond=0) + timedelta(
                seconds=rng.randint(-600, 300))
        profile = ChargingProfile(
            rng.randrange(5), rng.randrange(3), purpose, kind,
            Schedule(RateUnit.AMPERE, periods, start, rng.choice((None, rng.randint(1, 900)))))
        accepted = self.model.set(1, profile, self.second)
        outcome = self.world.ask(ev.SetProfileRequested, profile=profile, evse=1).outcome
        assert accepted and outcome is Outcome.ACCEPTED

    def look(self) -> None:
        second = self.second
        found = self.model.course(1, second, second + 1).at(second)
        amps, _ = self.model.local(self.model.posts[1], found)
        place = self.world.place()
        if place.coil and place.offer.kind is OfferKind.NONE:
            return  # the car was asked to stop and has not: first the contactor opens
        assert place.offer.current_a == told_to_the_car(amps), (second, found)


@pytest.mark.requirement("16.SC.1", "16.SC.3", "16.SC.4", "16.SC.10", "16.SC.12")
@pytest.mark.parametrize("seed", range(60))
def test_what_the_model_says_is_on_the_pilot_in_the_same_second(seed: int) -> None:
    """All moments are whole seconds; time passes from deadline to deadline."""
    print(f"seed {seed}")
    charge = Charge(random.Random(seed))
    charge.look()
    for _ in range(40):
        if charge.rng.random() < 0.2:
            charge.install()
            charge.look()
        charge.world.advance(charge.rng.choice((1, 1, 7, 20, 90)), meter_each_s=10)
        charge.world.meter(charge.world.place().register_wh)  # one that is silent suspends too
        charge.look()
    assert len(charge.world.started()) == 1
    assert charge.world.ended() == []
