"""Random histories of a station with two EVSEs: the invariants hold after every step.

What the exhaustive search leaves out is here: two EVSEs, one reader, real lengths of time, samples,
a shared current, restarts in the midst of everything.
"""

from collections import defaultdict
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.core_world import World, evse_layout

from cpctl.core import events as ev
from cpctl.core import facts as fa
from cpctl.core.station import new, next_deadline
from cpctl.core.values import (
    BootCause,
    IdToken,
    Origin,
    ResetKind,
    StationLayout,
    TokenInfo,
    TokenStatus,
)
from hal.values import PilotState

EVSES = (evse_layout(1, has_lock=True), evse_layout(2))
LAYOUT = StationLayout(EVSES, station_max_current_a=40)
QUIET = settings(max_examples=40, deadline=None, print_blob=True,
                 suppress_health_check=[HealthCheck.too_slow])

EVSE = st.sampled_from((1, 2))
CHARGING = st.tuples(st.just("charging"), EVSE, st.sampled_from(("04A1", "04B2")))
STEP = st.one_of(
    CHARGING, CHARGING,
    st.tuples(st.just("advance"), st.sampled_from((1, 10, 61)), st.just(True)),
    st.tuples(st.just("pilot"), EVSE, st.sampled_from((*PilotState, None))),
    st.tuples(st.just("pilot"), EVSE, st.sampled_from((PilotState.A, PilotState.B, PilotState.C))),
    st.tuples(st.just("tap"), st.sampled_from(("04A1", "04B2", "04C3"))),
    st.tuples(st.just("judge"), st.sampled_from(("yes", "no", "group", "silent"))),
    st.tuples(st.just("advance"), st.sampled_from((0.2, 1, 3, 7, 31, 65, 400)), st.booleans()),
    st.tuples(st.just("meter"), EVSE, st.sampled_from((0, 1, 5, -50, 10**5, 10**7))),
    st.tuples(st.just("input"), st.sampled_from((1, 2, None)), st.booleans()),
    st.tuples(st.just("trip"), EVSE),
    st.tuples(st.just("gate"), st.booleans()),
    st.tuples(st.just("lock"), st.booleans(), st.booleans()),
    st.tuples(st.just("weld"), EVSE, st.booleans()),
    st.tuples(st.just("start"), st.sampled_from((1, 2, None))),
    st.tuples(st.just("stop"), st.integers(1, 4)),
    st.tuples(st.just("unlock"), EVSE),
    st.tuples(st.just("available"), st.sampled_from((1, 2, None)), st.booleans()),
    st.tuples(st.just("verdict"), st.integers(1, 4)),
    st.tuples(st.just("clear"), EVSE),
    st.tuples(st.just("books"), st.booleans()),
    st.tuples(st.just("reset"),),
    st.tuples(st.just("restart"), st.sampled_from((BootCause.POWER_LOSS, BootCause.CRASH))),
)
SETTINGS = st.fixed_dictionaries({
    "session.stop_on_unplug": st.booleans(), "session.unlock_on_unplug": st.booleans(),
    "auth.stop_on_invalid": st.booleans(),
    "auth.max_energy_on_invalid_wh": st.sampled_from((0, 30)),
    "sampling.interval_s": st.sampled_from((0, 7, 60)),
    "sampling.clock_interval_s": st.sampled_from((0, 900)),
    "sampling.end_measurands": st.sampled_from(((), ("energy_import_register",))),
    "policy.tag_first_connector": st.sampled_from(("next_plugged", "fixed", "last_touched")),
})
VERDICTS = {"yes": TokenInfo(TokenStatus.ACCEPTED), "no": TokenInfo(TokenStatus.BLOCKED),
            "group": TokenInfo(TokenStatus.ACCEPTED, IdToken("G")), "silent": None}


class History:
    """A world in which things happen at random."""

    def __init__(self, chosen: dict[str, Any]) -> None:
        self.world = World(layout=LAYOUT, settings=chosen).boot()

    def live(self, step: tuple[Any, ...]) -> None:
        getattr(self, f"_{step[0]}")(*step[1:])
        check(self.world)

    def _pilot(self, evse: int, state: PilotState | None) -> None:
        self.world.pilot(state, evse)

    def _charging(self, evse: int, token: str) -> None:
        self.world.judge = lambda one: VERDICTS["group"]
        self._pilot(evse, PilotState.B)
        self.world.advance(1, meter_each_s=0.5)
        self.world.tap(token, evses=(evse,))
        self._pilot(evse, PilotState.C)

    def _tap(self, token: str) -> None:
        self.world.tap(token)

    def _judge(self, verdict: str) -> None:
        self.world.judge = lambda token: VERDICTS[verdict]

    def _advance(self, seconds: float, reads: bool) -> None:
        self.world.advance(seconds, meter_each_s=1 if reads else None, power_w=7200)

    def _meter(self, evse: int, rise: int) -> None:
        true = self.world.place(evse).register_wh
        if 0 <= rise <= 5:
            self.world.meter(true + (rise if self.world.place(evse).coil else 0), evse)
        else:
            self.world.tell(ev.MeterRead(evse, ev.MeterReading(true + rise)))
            self.world.meter(true, evse)

    def _input(self, evse: int | None, good: bool) -> None:
        self.world.tell(ev.InputChanged(evse, "emergency_stop", good))

    def _trip(self, evse: int) -> None:
        if self.world.place(evse).coil:
            self.world.trip(evse, "lease_lapsed")
            self.world.tell(ev.DeadlineReached())

    def _gate(self, answers: bool) -> None:
        self.world.gate_answers = answers

    def _lock(self, answers: bool, jams: bool) -> None:
        self.world.lock_answers, self.world.place(1).jams = answers, jams

    def _weld(self, evse: int, welds: bool) -> None:
        self.world.place(evse).welds = welds

    def _start(self, evse: int | None) -> None:
        self.world.request(ev.StartRequested, token=IdToken("04A1"), evse=evse)

    def _stop(self, session: int) -> None:
        self.world.request(ev.StopRequested, session=session)

    def _unlock(self, evse: int) -> None:
        self.world.request(ev.UnlockRequested, evse=evse)

    def _available(self, evse: int | None, operative: bool) -> None:
        self.world.request(ev.AvailabilityRequested, operative=operative, evse=evse)

    def _verdict(self, session: int) -> None:
        self.world.tell(ev.TransactionAnswered(session, VERDICTS["no"]))  # type: ignore[arg-type]

    def _clear(self, evse: int) -> None:
        self.world.request(ev.ClearFaultRequested, Origin.LOCAL, evse=evse)

    def _books(self, good: bool) -> None:
        self.world.tell(ev.JournalRecovered() if good else ev.JournalFailed("disk full"))

    def _reset(self) -> None:
        self.world.request(ev.ResetRequested, kind=ResetKind.SOFT)

    def _restart(self, cause: BootCause) -> None:
        """Only books and kept values survive; who waited for an answer waits in vain."""
        world = self.world
        unanswered = [one for one, replies in world.answers.items() if not replies]
        for request in unanswered:
            del world.answers[request]
        world.station = new(world.layout)
        world.queue.clear()
        world.mono_ns += 10**9
        for place in world.places.values():
            place.coil, place.number, place.barred = False, 0, ("not_booted",)
        latched = {(fact.evse, fact.code) for fact in world.told(fa.FaultLatched)}
        latched -= {(fact.evse, fact.code) for fact in world.told(fa.FaultUnlatched)}
        world.tell(ev.Booted(cause, last_session(world) + 1, left_open(world),
                             tuple(latched), dict(world.kept)))
        world.tell(ev.LinkChanged(True, ev.Registration.ACCEPTED))
        for evse, place in world.places.items():
            world.tell(ev.PilotChanged(evse, place.pilot))


def last_session(world: World) -> int:
    return max((fact.session or 0 for fact in world.facts), default=0)


def left_open(world: World) -> tuple[ev.OpenSession, ...]:
    closed = {fact.session for fact in world.told(fa.SessionClosed)}
    found = []
    for opened in world.told(fa.SessionOpened):
        if opened.session in closed:
            continue
        of = [fact for fact in world.facts if fact.session == opened.session]
        started = [fact for fact in of if isinstance(fact, fa.TransactionStarted)]
        ended = [fact for fact in of if isinstance(fact, fa.TransactionEnded)]
        registers = [fact.register_wh for fact in of if hasattr(fact, "register_wh")]
        registers += [one.register_wh for one in world.saved if one.session == opened.session]
        reports = [fact.report for fact in of if getattr(fact, "report", None) is not None]
        found.append(ev.OpenSession(
            opened.session or 0, opened.evse, 1, started[0].token if started else None,  # type: ignore[attr-defined]
            started[0] if started else None, max(registers, default=None), of[-1].at,
            len(reports), ended=ended[0] if ended else None))
    return tuple(found)


HISTORY = st.tuples(CHARGING, st.lists(STEP, min_size=12, max_size=45)).map(
    lambda parts: [parts[0], *parts[1]])


def check(world: World) -> None:
    for place in world.places.values():
        check_power(world, place)
    by_session: dict[int, list[fa.Fact]] = defaultdict(list)
    for fact in world.facts:
        if fact.session is not None:
            by_session[fact.session].append(fact)
    for facts in by_session.values():
        check_books(facts, world)
    for replies in world.answers.values():
        assert len(replies) <= 1
    assert sum(place.offer.current_a for place in world.places.values()) <= 40


def check_power(world: World, place: Any) -> None:
    """Invariants 1 and 3, by what the world shows."""
    if not place.coil:
        return
    assert place.pilot is PilotState.C
    assert place.locked or not place.layout.has_lock
    assert not place.barred
    latched = [fact for fact in world.told(fa.FaultLatched)
               if fact.evse == place.layout.id]  # type: ignore[attr-defined]
    mended = [fact for fact in world.told(fa.FaultUnlatched)
              if fact.evse == place.layout.id]  # type: ignore[attr-defined]
    assert len(latched) == len(mended)


def check_books(facts: list[fa.Fact], world: World) -> None:
    """Invariant 4 for one session."""
    facts = [fact for fact in facts if not isinstance(fact, fa.FaultLatched | fa.FaultUnlatched)]
    kinds = [type(fact) for fact in facts]
    assert kinds.count(fa.SessionOpened) == 1 and kinds[0] is fa.SessionOpened
    for kind in (fa.TransactionStarted, fa.TransactionEnded, fa.SessionClosed):
        assert kinds.count(kind) <= 1
    if fa.SessionClosed in kinds:
        assert kinds[-1] is fa.SessionClosed
        assert (fa.TransactionStarted in kinds) == (fa.TransactionEnded in kinds)
    reports = [fact.report for fact in facts if getattr(fact, "report", None) is not None]  # type: ignore[attr-defined]
    assert reports == list(range(len(reports)))
    registers = [fact.register_wh for fact in facts if hasattr(fact, "register_wh")]
    assert registers == sorted(registers)
    evse = next(fact.evse for fact in facts if isinstance(fact, fa.SessionOpened))
    assert all(wh <= world.place(evse).register_wh for wh in registers)


@QUIET
@given(SETTINGS, HISTORY)
def test_the_invariants_hold_in_every_history(chosen: dict[str, Any],
                                              steps: list[tuple[Any, ...]]) -> None:
    history = History(chosen)

    for step in steps:
        history.live(step)


@QUIET
@given(SETTINGS, HISTORY)
def test_every_history_comes_to_rest_and_everybody_is_answered(
        chosen: dict[str, Any], steps: list[tuple[Any, ...]]) -> None:
    history = History({**chosen, "sampling.interval_s": 0, "sampling.clock_interval_s": 0})
    for step in steps:
        history.live(step)
    world = history.world
    world.gate_answers = True

    for _ in range(80):
        deadline = next_deadline(world.station, world.now, world.settings)
        if deadline is None:
            break
        world.advance(max(0.0, (deadline - world.mono_ns) / 1e9))
    else:
        raise AssertionError(f"never at rest: {world.station}")

    assert [one for one, replies in world.answers.items() if not replies] == []


@QUIET
@given(SETTINGS, HISTORY)
def test_the_same_history_has_the_same_effects(chosen: dict[str, Any],
                                               steps: list[tuple[Any, ...]]) -> None:
    logs = []
    for _ in range(2):
        history = History(chosen)
        for step in steps:
            history.live(step)
        logs.append(history.world.log)

    assert logs[0] == logs[1]
