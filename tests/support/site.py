"""A site of several EVSEs around the core: pilot boards, cars, contactors and meters, fast.

Everything is told from the world's side: what a board shows its car, what the car may draw of it,
which contact is closed, on which phase of the grid the current flows. The core is fed with events
and its effects are carried out; nothing here looks into the station.
"""

import heapq
import itertools
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cpctl.core import effects as ef
from cpctl.core import events as ev
from cpctl.core import facts as fa
from cpctl.core.now import NS_PER_S, Now, TimeQuality
from cpctl.core.profiles import (
    ChargingProfile,
    Period,
    ProfileKind,
    Purpose,
    RateUnit,
    Schedule,
)
from cpctl.core.settings import Settings
from cpctl.core.station import new, next_deadline, step
from cpctl.core.values import (
    BootCause,
    IdToken,
    Origin,
    Registration,
    RequestId,
    StationLayout,
    TokenInfo,
    TokenSource,
    TokenStatus,
)
from hal.values import MeterReading, OfferKind, PilotState

START = datetime(2026, 3, 1, tzinfo=UTC)
ROTATIONS = {"RST": (0, 1, 2), "RTS": (0, 2, 1), "SRT": (1, 0, 2), "STR": (1, 2, 0),
             "TRS": (2, 0, 1), "TSR": (2, 1, 0)}
LOST_AFTER_S = 3.0  # a board that has not answered by then is reported lost
REACTION_S = 5.0  # the slowest car that keeps to the standard


@dataclass
class SiteCar:
    """A car: `most_a` it can take, `wants_a` it takes now (0: it does not ask), on `phases`."""

    most_a: float
    wants_a: float
    phases: int
    lag_s: float  # from a lower offer to less current, at most REACTION_S


@dataclass
class Post:
    """One EVSE in the world. `wiring`: grid phase of each phase of its connector."""

    evse: int
    wiring: tuple[int, int, int]
    shows_a: float = 0.0  # what the board shows its car
    told_a: float = 0.0  # the most it was told since it said what it shows
    silent: bool = False
    order: tuple[float, int, ef.SetOffer] | None = None  # newest, not taken by the board yet
    car: SiteCar | None = None
    bound_a: float = 0.0  # what the car keeps to: the board's word, a lag later when lower
    in_c: bool = False
    coil: bool = False
    number: int = 0
    register_mws: float = 0.0
    session: bool = False
    waits_since: float | None = None

    @property
    def may_draw_a(self) -> float:
        """The most that can flow now."""
        if not (self.coil and self.in_c and self.car is not None):
            return 0.0
        return min(self.bound_a, self.car.most_a)

    @property
    def draws_a(self) -> float:
        return min(self.may_draw_a, self.car.wants_a) if self.car is not None else 0.0

    def per_phase(self, amps: float) -> list[float]:
        loads = [0.0, 0.0, 0.0]
        for phase in self.wiring[:self.car.phases] if self.car is not None else ():
            loads[phase] += amps
        return loads


class Site:
    """`told`: the ConnectorPhaseRotation of each EVSE as configured (it is true, or Unknown)."""

    def __init__(self, chance: random.Random, layout: StationLayout, told: dict[int, str],
                 **settings: object) -> None:
        self.chance = chance
        self.layout = layout
        self.told = told
        rotation = tuple(f"{number}.{told[number]}" for number in told)
        self.settings = Settings({
            "meter.phase_rotation": rotation, "sampling.interval_s": 0,
            "session.plug_timeout_s": 0, **settings})  # type: ignore[dict-item]
        self.now_s = 1000.0
        # what a board was told before it first answers nobody knows
        wirings = list(ROTATIONS.values())
        self.posts = {one.id: Post(one.id, ROTATIONS[told[one.id]] if one.id in told
                                   else chance.choice(wirings)) for one in layout.evses}
        for post in self.posts.values():
            post.told_a = self.hardware_a(post)
        self.plans: list[tuple[float, int, object]] = []
        self.order = itertools.count()
        self.built_a = layout.station_max_current_a or 1000.0
        self.limit_a = self.built_a
        self.grace_until = 0.0  # a limit that fell takes the cars their time to follow
        self.broken: list[str] = []  # moments at which more could flow than may
        self.longest_wait_s = 0.0
        self.sessions = self.suspensions = 0
        self.records: dict[str, ef.Kept] = {}
        self.kept: dict[str, str] = {}
        self.requests = 0
        self.steps = 0
        self.station = new(layout)
        self.boot()

    # --- time ---

    def now(self) -> Now:
        passed = timedelta(seconds=self.now_s - 1000.0)
        return Now(round(self.now_s * NS_PER_S), "boot", START + passed, TimeQuality.NTP)

    def later(self, delay_s: float, call: object) -> None:
        heapq.heappush(self.plans, (self.now_s + delay_s, next(self.order), call))

    def advance(self, seconds: float) -> None:
        """Time passes: what is planned happens, deadlines of the core are served."""
        end = self.now_s + seconds
        while True:
            due = next_deadline(self.station, self.now(), self.settings)
            moments = [end]
            if due is not None:
                moments.append(max(due / NS_PER_S, self.now_s))
            if self.plans:
                moments.append(self.plans[0][0])
            at = min(moments)
            self._pass(at - self.now_s)
            if self.plans and self.plans[0][0] <= at:
                heapq.heappop(self.plans)[2]()  # type: ignore[operator]
            elif due is not None and due / NS_PER_S <= at:
                self.tell(ev.DeadlineReached())
            elif at >= end:
                return

    def _pass(self, seconds: float) -> None:
        if seconds <= 0:
            return
        for post in self.posts.values():
            post.register_mws += post.draws_a * 230 * (post.car.phases if post.car else 0) * (
                seconds)
        self.now_s += seconds

    def tell(self, event: ev.Event) -> None:
        queue = [event]
        while queue:
            self.station, effects = step(self.station, queue.pop(0), self.now(), self.settings)
            self.steps += 1
            for effect in effects:
                queue += self._done(effect)
        self.watch()

    def watch(self) -> None:
        """Note when the cars may draw more than the limit, and how long they wait for power."""
        if max(self.loads()) > self.limit_a + 0.05 and self.now_s > self.grace_until:
            self.broken.append(f"{self.now_s:.1f} s: {self.loads()} of {self.limit_a:g} A")
        room_a = self.limit_a - sum(post.told_a for post in self.posts.values() if post.silent)
        for post in self.posts.values():
            waits = (post.session and not post.coil and not post.silent and room_a >= 6
                     and post.car is not None and post.car.wants_a > 0)
            if not waits:
                post.waits_since = None
            elif post.waits_since is None:
                post.waits_since = self.now_s
            else:
                self.longest_wait_s = max(self.longest_wait_s, self.now_s - post.waits_since)

    def loads(self) -> list[float]:
        """What may flow in each phase of the grid."""
        each = [post.per_phase(post.may_draw_a) for post in self.posts.values()]
        return [sum(one[phase] for one in each) for phase in range(3)]

    # --- effects ---

    def _done(self, effect: ef.Effect) -> list[ev.Event]:
        match effect:
            case ef.SetOffer():
                self._ordered(self.posts[effect.evse], effect)
            case ef.EnergisePower(evse=evse, after=after):
                return self._energise(self.posts[evse], after)
            case ef.ReleasePower(evse=evse):
                post = self.posts[evse]
                post.coil, post.number = False, post.number + 1
                return [ev.ReleaseNumbered(evse, post.number), ev.ContactorReported(evse, False)]
            case ef.Authorize(ask=ask, token=token):
                return [ev.AuthorizationAnswered(ask, token, TokenInfo(TokenStatus.ACCEPTED),
                                                 TokenSource.CSMS)]
            case _:
                self._note(effect)
        return []

    def _note(self, effect: ef.Effect) -> None:
        match effect:
            case ef.Record(fact=fa.TransactionStarted(evse=evse)):
                self.posts[evse].session = True
                self.sessions += 1
            case ef.Record(fact=fa.TransactionChanged(charging_state="SuspendedEVSE")):
                self.suspensions += 1
            case ef.Record(fact=fa.TransactionEnded(evse=evse)):
                self.posts[evse].session = False
            case ef.KeepRecord(key=key, record=record):
                self.records.pop(key, None)
                if record is not None:
                    self.records[key] = record
            case ef.Keep(key=key, value=value):
                self.kept.pop(key, None)
                if value is not None:
                    self.kept[key] = value

    def _energise(self, post: Post, after: int) -> list[ev.Event]:
        if after != post.number or not post.in_c or post.silent:
            return [ev.EnergiseRefused(post.evse, post.number, ("pilot_not_asking",))]
        post.coil = True
        return [ev.ContactorReported(post.evse, closed=True)]

    # --- boards ---

    def _ordered(self, post: Post, effect: ef.SetOffer) -> None:
        post.order = (self.now_s, next(self.order), effect)
        post.told_a = max(post.told_a, effect.offer.current_a)
        if not post.silent:
            self.later(self.chance.choice((0.02, 0.3, 1.0)), lambda: self._take(post, effect))
        else:
            self.later(LOST_AFTER_S, lambda: self._lose(post))

    def _take(self, post: Post, effect: ef.SetOffer) -> None:
        """The board takes the order, unless it fell silent or a newer one came first."""
        if post.silent or post.order is None or post.order[2] is not effect:
            return
        post.order = None
        amps = effect.offer.current_a if effect.offer.kind is OfferKind.CURRENT else 0.0
        post.told_a = amps
        self._show(post, amps)
        self.tell(ev.OfferConfirmed(post.evse, effect.offer, effect.number))

    def _show(self, post: Post, amps: float) -> None:
        lower = amps < post.bound_a
        post.shows_a = amps
        if post.car is None:
            post.bound_a = amps
            return
        if lower:
            self.later(post.car.lag_s, lambda: self._follow(post))
        else:
            post.bound_a = amps
            self.later(1.0, lambda: self._follow(post))
        self.watch()

    def _follow(self, post: Post) -> None:
        """The car keeps to what its board shows now, and asks or does not."""
        post.bound_a = post.shows_a
        self._ask(post)
        self.watch()

    def _ask(self, post: Post) -> None:
        car = post.car
        asks = car is not None and car.wants_a > 0 and post.shows_a > 0
        if asks == post.in_c:
            return
        post.in_c = asks
        if not asks:
            post.coil = post.coil and not self._opens(post)
        if not post.silent:
            self.tell(ev.PilotChanged(post.evse, self._pilot(post)))

    def _opens(self, post: Post) -> bool:
        """The gate opens when the pilot leaves C, before anybody else hears of it."""
        if post.coil and not post.silent:
            post.coil, post.number = False, post.number + 1
            self.tell(ev.PowerReleased(post.evse, post.number, ("pilot_not_asking",)))
            self.tell(ev.ContactorReported(post.evse, closed=False))
        return True

    def _pilot(self, post: Post) -> PilotState:
        if post.car is None:
            return PilotState.A
        return PilotState.C if post.in_c else PilotState.B

    def _lose(self, post: Post) -> None:
        """The gate opens, since it does not know the pilot any more, and the core is told."""
        if not post.silent:
            return
        if post.coil:
            post.coil, post.number = False, post.number + 1
            self.tell(ev.PowerReleased(post.evse, post.number, ("no_pilot",)))
            self.tell(ev.ContactorReported(post.evse, closed=False))
        self.tell(ev.PilotChanged(post.evse, None))
        self.tell(ev.DeviceLost(post.evse, "pilot", "silent"))

    # --- hands ---

    def boot(self) -> None:
        self.tell(ev.Booted(BootCause.CRASH, self.sessions + 1, kept=dict(self.kept),
                           records=dict(self.records)))
        self.tell(ev.LinkChanged(True, Registration.ACCEPTED))
        for post in self.posts.values():
            if not post.silent:
                self.tell(ev.PilotChanged(post.evse, self._pilot(post)))
            self.read(post.evse)

    def restart(self) -> None:
        """The daemon dies and a new one comes: coils drop, boards go on as they are."""
        for post in self.posts.values():
            post.coil, post.session, post.number, post.order = False, False, 0, None
            if post.told_a:  # the next life does not know what
                post.told_a = self.hardware_a(post)
        self.watch()
        self.plans.clear()
        self.now_s += 2.0
        for post in self.posts.values():
            self._follow_quietly(post)
        self.station = new(self.layout)
        self.boot()
        for post in self.posts.values():
            if post.car is not None and not post.silent:
                self.tap(post.evse)

    def _follow_quietly(self, post: Post) -> None:
        post.bound_a = post.shows_a
        post.in_c = post.car is not None and post.car.wants_a > 0 and post.shows_a > 0

    def plug(self, evse: int, car: SiteCar) -> None:
        post = self.posts[evse]
        post.car, post.in_c, post.bound_a = car, False, post.shows_a
        if not post.silent:
            self.tell(ev.PilotChanged(evse, PilotState.B))
            self.read(evse)
            self.tap(evse)

    def tap(self, evse: int) -> None:
        self.tell(ev.CardPresented("front", IdToken(f"CARD{evse}-{next(self.order)}"), (evse,)))

    def unplug(self, evse: int) -> None:
        post = self.posts[evse]
        self._opens(post)
        post.car, post.in_c, post.bound_a = None, False, post.shows_a
        post.coil = False
        if not post.silent:
            self.tell(ev.PilotChanged(evse, PilotState.A))
        self.read(evse)

    def want(self, evse: int, amps: float) -> None:
        """The car takes another current from now on; 0: it stops asking."""
        post = self.posts[evse]
        assert post.car is not None
        post.car.wants_a = amps
        self._ask(post)

    def hush(self, evse: int) -> None:
        """The board falls silent; that is found out when it is next spoken to, or polled."""
        post = self.posts[evse]
        post.silent = True
        self.later(LOST_AFTER_S, lambda: self._lose(post))

    def heal(self, evse: int) -> None:
        """The board answers again and is told the newest order."""
        post = self.posts[evse]
        post.silent = False
        self._follow(post)
        self.tell(ev.PilotChanged(evse, self._pilot(post)))
        self.tell(ev.DeviceFound(evse, "pilot"))
        if post.order is not None:
            self._take(post, post.order[2])
        if post.car is not None and not post.session:
            self.tap(evse)

    def read(self, evse: int) -> None:
        """The meter of the EVSE is read."""
        post = self.posts[evse]
        loads = [0.0, 0.0, 0.0]
        for phase in range(post.car.phases if post.car is not None else 0):
            loads[phase] = post.draws_a
        loads = loads[:self.layout.evses[0].phases]
        self.tell(ev.MeterRead(evse, MeterReading(
            int(post.register_mws / 3600), power_w=sum(loads) * 230, currents_a=tuple(loads))))

    def read_all(self) -> None:
        for evse in self.posts:
            self.read(evse)


    def limit(self, amps: float) -> None:
        """The central system limits the site by a profile."""
        self.requests += 1
        schedule = Schedule(RateUnit.AMPERE, (Period(0, amps),), start=self.now().utc)
        profile = ChargingProfile(1, 0, Purpose.STATION_MAX, ProfileKind.ABSOLUTE, schedule)
        new_a = min(amps, self.built_a)
        if new_a < self.limit_a:
            self.grace_until = self.now_s + LOST_AFTER_S + REACTION_S + 0.1
            self.later(LOST_AFTER_S + REACTION_S + 0.2, self.watch)
        self.limit_a = new_a
        self.tell(ev.SetProfileRequested(RequestId(Origin.CSMS, self.requests), profile))

    def unused_a(self) -> float:
        """What a car that takes all it is offered could have of what nobody uses; 0.0: nothing.

        What a car takes counts with the margin that lets it ask for more. A car whose phases are
        not told counts on all.
        """
        used = [0.0, 0.0, 0.0]
        hungry = []
        for post in self.posts.values():
            for phase in self._counts_on(post):
                used[phase] += self._counts_a(post)
            if self._is_hungry(post):
                hungry.append(post)
        return max((min(self._most_a(post) - post.shows_a,
                        *(self.limit_a - used[phase] for phase in self._counts_on(post)))
                    for post in hungry), default=0.0)

    def _counts_on(self, post: Post) -> tuple[int, ...]:
        if post.car is None or not post.coil or not self.told.get(post.evse):
            return (0, 1, 2)
        return post.wiring[:post.car.phases]

    def _counts_a(self, post: Post) -> float:
        if not post.session or post.silent or self._is_hungry(post):
            return post.told_a
        return min(post.shows_a, max(6.0, post.draws_a + 3.2))

    def _most_a(self, post: Post) -> float:
        return min(post.car.most_a if post.car is not None else 0.0, self.hardware_a(post))

    def hardware_a(self, post: Post) -> float:
        return next(one.max_current_a for one in self.layout.evses if one.id == post.evse)

    def _is_hungry(self, post: Post) -> bool:
        return (post.coil and post.session and not post.silent
                and post.draws_a >= post.shows_a - 0.15)
