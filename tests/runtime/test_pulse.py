"""What feeds the hold-in relay: only a loop that answers, and only while it is needed."""

import heapq
from collections.abc import Callable

from support.gate_bench import HandTimer, Relay

from cpctl.runtime.pulse import AGAIN_S, BEAT_S, Pulse
from hal.errors import HalError

S = 1_000_000_000


class Bench:
    """A pulse with a clock moved by hand. The loop answers each half second while `answers`."""

    def __init__(self) -> None:
        self.now_ns = 100 * S
        self.timers: list[tuple[int, int, Callable[[], None]]] = []
        self.count = 0
        self.needed = self.answers = True
        self.told: list[HalError | None] = []
        self.dropped: list[int] = []  # after how many edges the relay may have let go
        self.relay = Relay(lambda: self.now_ns)
        self.pulse = Pulse(self.relay, mono_ns=lambda: self.now_ns, later=self.later,
                           needed=lambda: self.needed, changed=self.told.append,
                           dropped=lambda: self.dropped.append(len(self.relay.beats)))

    def later(self, delay_s: float, call: Callable[[], None]) -> HandTimer:
        self.count += 1
        heapq.heappush(self.timers, (self.now_ns + round(delay_s * S), self.count, call))
        return HandTimer()

    def advance(self, seconds: float) -> None:
        end_ns = self.now_ns + round(seconds * S)
        while self.now_ns < end_ns:
            if self.answers and self.now_ns % (S // 2) == 0:
                self.pulse.answered()
            self.now_ns += S // 20
            while self.timers and self.timers[0][0] <= self.now_ns:
                heapq.heappop(self.timers)[2]()


def test_nothing_is_fed_before_the_loop_has_answered() -> None:
    bench = Bench()
    bench.answers = False

    bench.advance(5.0)

    assert bench.relay.beats == []
    assert bench.pulse.objections() == ("heartbeat_starting",)


def test_edges_keep_coming_evenly_while_it_is_needed() -> None:
    bench = Bench()

    bench.advance(10.0)

    gaps = {after - before for before, after in zip(
        bench.relay.beats, bench.relay.beats[1:], strict=False)}
    assert gaps == {int(BEAT_S * S)}
    assert bench.pulse.objections() == ()


def test_it_objects_until_the_relay_has_pulled_in() -> None:
    bench = Bench()
    bench.relay.pull_in_s = 0.3
    bench.advance(0.05)

    starting = bench.pulse.objections()
    bench.advance(0.2)
    still = bench.pulse.objections()
    bench.advance(0.05)

    assert (starting, still) == (("heartbeat_starting",),) * 2
    assert bench.pulse.objections() == ()


def test_it_rests_once_nothing_needs_it_and_starts_anew() -> None:
    bench = Bench()
    bench.advance(2.0)
    bench.needed = False
    bench.advance(1.0)
    beats = len(bench.relay.beats)

    bench.advance(5.0)

    assert bench.relay.at_rest
    assert len(bench.relay.beats) == beats
    bench.needed = True
    bench.advance(0.3)
    assert len(bench.relay.beats) > beats
    assert bench.pulse.objections() == ("heartbeat_starting",)


def test_a_loop_that_does_not_answer_starves_it_and_feeds_it_again_when_it_does() -> None:
    bench = Bench()
    bench.advance(2.0)
    bench.answers = False
    bench.advance(2.5)
    beats = len(bench.relay.beats)

    bench.advance(5.0)

    assert bench.relay.at_rest
    assert len(bench.relay.beats) == beats
    bench.answers = True
    bench.advance(2.0)
    assert bench.pulse.objections() == ()


def test_an_edge_that_comes_too_late_counts_as_the_first_and_is_told_before_it() -> None:
    bench = Bench()
    bench.advance(2.0)
    beats = len(bench.relay.beats)

    bench.now_ns += S * 8 // 10  # the loop stands still
    bench.advance(0.05)

    assert bench.dropped == [beats]
    assert bench.pulse.objections() == ("heartbeat_starting",)
    bench.advance(1.0)
    assert bench.pulse.objections() == ()


def test_an_edge_that_is_only_somewhat_late_changes_nothing() -> None:
    bench = Bench()
    bench.advance(2.0)

    bench.now_ns += S // 4
    bench.advance(0.1)

    assert bench.dropped == []
    assert bench.pulse.objections() == ()


def test_an_output_that_cannot_be_driven_is_told_once_and_tried_again() -> None:
    bench = Bench()
    bench.advance(1.0)
    bench.relay.gone = True

    bench.advance(12.0)
    lost = bench.pulse.objections()
    bench.relay.gone = False
    bench.advance(AGAIN_S)

    assert lost == ("heartbeat_lost",)
    assert [error is None for error in bench.told] == [False, True]
    bench.advance(1.0)
    assert bench.pulse.objections() == ()


def test_an_output_that_is_lost_while_it_rests_is_found_without_anybody_needing_it() -> None:
    bench = Bench()
    bench.advance(1.0)
    bench.relay.gone = True
    bench.needed = False
    bench.advance(1.0)
    bench.relay.gone = False

    bench.advance(AGAIN_S)

    assert [error is None for error in bench.told] == [False, True]
    assert bench.relay.at_rest


def test_without_a_relay_nothing_is_objected_to() -> None:
    pulse = Pulse(None, mono_ns=lambda: 0, later=lambda delay_s, call: HandTimer(),
                  needed=lambda: True, changed=lambda error: None,
                  dropped=lambda: None)

    pulse.answered()

    assert pulse.objections() == ()
