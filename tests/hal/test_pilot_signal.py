"""The pilot in numbers: duty cycles over the whole range, bands, samples, cables."""

import itertools
import random

import pytest

from hal.pilot_signal import (
    BANDS,
    NOWHERE_S,
    SAMPLES,
    Judge,
    band_of,
    cable_a,
    duty_percent,
    read_by_car_a,
    signalled_a,
)
from hal.values import PilotState

A, B, C, D, E, F = PilotState
HIGH = {A: 12.0, B: 9.0, C: 6.0, D: 3.0, E: 0.0, F: -12.0}
TENTHS = [tenth / 10 for tenth in range(60, 801)]


@pytest.mark.parametrize(("current_a", "percent"), [
    (6, 10.0), (10, 16.67), (13, 21.67), (16, 26.67), (20, 33.33), (32, 53.33), (48, 80.0),
    (51, 85.0), (52, 85.0), (52.4, 85.0), (52.5, 85.0), (63, 89.2), (80, 96.0)])
def test_the_duty_cycle_is_that_of_the_table(current_a: float, percent: float) -> None:
    assert duty_percent(current_a) == pytest.approx(percent, abs=0.01)


def test_no_car_reads_more_than_was_offered_nor_much_less() -> None:
    for current_a in TENTHS:
        read_a = read_by_car_a(duty_percent(current_a))
        assert read_a is not None
        assert read_a <= current_a + 1e-9, current_a
        assert read_a >= signalled_a(current_a) - 1e-9, current_a


def test_more_current_is_never_a_shorter_duty_cycle() -> None:
    duties = [duty_percent(current_a) for current_a in TENTHS]

    assert duties == sorted(duties)
    assert duties[0] == pytest.approx(10.0) and duties[-1] == pytest.approx(96.0)


def test_between_51_and_52_5_a_there_is_no_code_and_51_is_said() -> None:
    assert {signalled_a(tenth / 10) for tenth in range(510, 526)} == {51.0}
    assert signalled_a(52.6) == 52.6


@pytest.mark.parametrize("current_a", [0, 5.9, -6, 80.1, 1e9, float("nan"), float("inf")])
def test_what_a_pilot_cannot_say_is_refused(current_a: float) -> None:
    with pytest.raises(ValueError, match="6 to 80 A"):
        duty_percent(current_a)


@pytest.mark.parametrize(("percent", "read_a"), [
    (0, 0.0), (2.9, 0.0), (3, None), (5, None), (7, None), (7.01, 0.0), (7.5, 0.0), (8, 6.0),
    (9.9, 6.0), (96.5, 80.0), (97, 80.0), (97.01, 0.0), (98, 0.0), (100, 0.0)])
def test_a_car_reads_the_ends_of_the_table(percent: float, read_a: float | None) -> None:
    assert read_by_car_a(percent) == read_a


def test_every_voltage_is_in_one_band_or_in_none() -> None:
    for hundredth in range(-1500, 1501):
        volts = hundredth / 100
        inside = [state for state, least, most in BANDS if least <= volts <= most]
        assert len(inside) <= 1
        assert band_of(volts) is (inside[0] if inside else None)
    assert {band_of(volts) for volts in HIGH.values()} == set(PilotState)


@pytest.mark.parametrize(("state", "least_v", "most_v"), [
    (A, 11.0, 13.0), (B, 8.0, 10.0), (C, 5.0, 7.0), (D, 2.0, 4.0), (E, -1.0, 1.0),
    (F, -13.0, -11.0)])
def test_a_band_ends_where_the_standard_ends_it(
        state: PilotState, least_v: float, most_v: float) -> None:
    assert [band_of(volts) for volts in (least_v, most_v)] == [state, state]
    assert [band_of(volts) for volts in (least_v - 0.01, most_v + 0.01)] == [None, None]


@pytest.mark.parametrize(("rating_a", "least", "most"), [
    (13.0, 1100, 2460), (20.0, 400, 936), (32.0, 164, 308), (63.0, 80, 140)])
def test_a_cable_is_known_within_its_limits(rating_a: float, least: float, most: float) -> None:
    assert [cable_a(ohm) for ohm in (least, most)] == [rating_a, rating_a]
    assert [cable_a(ohm) for ohm in (least - 0.5, most + 0.5)] == [0.0, 0.0]
    assert (cable_a(4500), cable_a(4500.1)) == (0.0, None)


@pytest.mark.parametrize(("ohm", "rating_a"), [
    (1500, 13.0), (680, 20.0), (220, 32.0), (100, 63.0), (1e9, None), (4501, None), (4499, 0.0),
    (3000, 0.0), (1000, 0.0), (350, 0.0), (150, 0.0), (79, 0.0), (0, 0.0)])
def test_a_cable_is_known_by_its_resistor_and_what_is_not_known_is_not_used(
        ohm: float, rating_a: float | None) -> None:
    assert cable_a(ohm) == rating_a


@pytest.mark.parametrize("ohm", [1500, 680, 220, 100])
def test_a_resistor_of_three_percent_is_still_known(ohm: float) -> None:
    assert cable_a(ohm * 0.97) == cable_a(ohm) == cable_a(ohm * 1.03)


# --- samples --------------------------------------------------------------------------------------

class Bench:
    def __init__(self) -> None:
        self.judge = Judge()
        self.now_s = 100.0

    def see(self, *volts: float, low_v: float = -12.0, swings: bool = False, step_s: float = 0.02
            ) -> PilotState | None:
        for high_v in volts:
            self.now_s += step_s
            self.last = self.judge.take(high_v, low_v, swings=swings, now_s=self.now_s)
        return self.last.state

    def at(self, state: PilotState) -> "Bench":
        self.see(*[HIGH[state]] * SAMPLES)
        return self


@pytest.mark.parametrize("state", list(PilotState))
def test_a_state_wants_three_equal_samples(state: PilotState) -> None:
    bench = Bench()

    seen = [bench.see(HIGH[state]) for _ in range(3)]

    assert seen == [None, None, state]


@pytest.mark.parametrize(("old", "new"), list(itertools.permutations(PilotState, 2)))
def test_only_a_car_that_stops_asking_is_believed_at_once(
        old: PilotState, new: PilotState) -> None:
    bench = Bench().at(old)

    at_once = bench.see(HIGH[new]) is new

    assert at_once is (old in (C, D) and new not in (C, D))
    assert bench.last.settled is at_once


def test_one_odd_sample_changes_nothing() -> None:
    bench = Bench().at(B)

    assert bench.see(6.0, 6.0, 9.0, 6.0, 6.0) is B
    assert bench.see(6.0) is C


def test_nothing_is_missing_before_anything_was_seen() -> None:
    bench = Bench()

    assert bench.see(9.0) is None
    assert bench.last.diode_ok and not bench.last.settled
    assert bench.see(7.5) is None
    assert bench.last.settled  # waiting for more of the same would help nothing


def test_samples_of_two_kinds_do_not_add_up() -> None:
    bench = Bench().at(A)

    assert bench.see(9.0, 9.0, 7.5, 9.0, 9.0) is A
    assert bench.see(6.0, 6.0, 9.0, 9.0) is A
    assert bench.see(9.0) is B


def test_the_second_between_the_bands_is_a_second() -> None:
    bench = Bench().at(C)

    assert bench.see(7.5) is C
    assert bench.see(7.5, step_s=1.0) is C
    assert bench.see(7.5, step_s=0.001) is None


def test_between_the_bands_the_old_state_holds_for_a_second() -> None:
    bench = Bench().at(C)

    assert bench.see(7.5, 7.5) is C
    assert bench.see(*[7.5] * int(NOWHERE_S / 0.02 + 2)) is None
    assert bench.see(6.0, 6.0) is None
    assert bench.see(6.0) is C


def test_a_band_seen_now_and_then_keeps_the_second_from_running_out() -> None:
    bench = Bench().at(B)

    for _ in range(20):
        assert bench.see(*[10.5] * 10, 9.0) is B


def test_a_missing_diode_is_found_while_the_pilot_swings() -> None:
    bench = Bench().at(B)
    assert bench.see(*[9.0] * 20, low_v=-3.0) is B and bench.last.diode_ok  # it does not swing

    bench.see(*[9.0] * 20, low_v=-3.0, swings=True)

    assert not bench.last.diode_ok
    bench.see(9.0, 9.0, 9.0, low_v=-3.0)  # the offer is withdrawn: nothing new is known
    assert not bench.last.diode_ok
    bench.at(A).at(B)
    assert bench.last.diode_ok


def test_a_diode_has_time_to_show_after_the_pilot_began_to_swing() -> None:
    bench = Bench().at(C)

    bench.see(*[6.0] * 5, low_v=-8.0, swings=True)
    bench.see(*[6.0] * 20, low_v=-12.0, swings=True)

    assert bench.last.diode_ok


@pytest.mark.parametrize(("low_v", "is_there"), [
    (-13.5, True), (-11.0, True), (-10.99, False), (0.0, False)])
def test_a_diode_is_one_down_to_minus_eleven_volts(low_v: float, is_there: bool) -> None:
    bench = Bench().at(C)

    bench.see(*[6.0] * 20, low_v=low_v, swings=True)

    assert bench.last.diode_ok is is_there


def test_a_diode_is_missing_after_three_samples_and_there_after_three() -> None:
    bench = Bench().at(C)
    bench.see(*[6.0] * 20, swings=True)

    missing = [bench.see(6.0, low_v=-3.0, swings=True) and bench.last.diode_ok for _ in range(3)]
    there = [bench.see(6.0, swings=True) and bench.last.diode_ok for _ in range(3)]

    assert (missing, there) == ([True, True, False], [False, False, True])


def test_each_swing_begins_with_time_to_settle() -> None:
    bench = Bench().at(C)
    bench.see(*[6.0] * 20, swings=True)
    bench.see(6.0)  # the offer is withdrawn, and comes back

    bench.see(*[6.0] * 3, low_v=-3.0, swings=True, step_s=0.0625)
    assert bench.last.diode_ok and bench.last.settled

    bench.see(*[6.0] * 4, low_v=-3.0, swings=True, step_s=0.0625)
    assert not bench.last.diode_ok


@pytest.mark.parametrize("state", [A, E, F])
def test_a_diode_is_looked_for_only_behind_a_plug(state: PilotState) -> None:
    bench = Bench().at(state)

    bench.see(*[HIGH[state]] * 30, low_v=-3.0, swings=True)

    assert bench.last.diode_ok and bench.last.settled


def test_one_odd_low_sample_is_no_missing_diode() -> None:
    bench = Bench().at(C)
    bench.see(*[6.0] * 20, swings=True)

    bench.see(6.0, 6.0, low_v=-5.0, swings=True)

    assert bench.last.diode_ok and not bench.last.settled
    bench.see(6.0, swings=True)
    assert bench.last.diode_ok and bench.last.settled


def test_noise_of_half_a_volt_moves_no_state() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    for state in PilotState:
        bench = Bench().at(state)
        for _ in range(500):
            noisy = HIGH[state] + dice.uniform(-0.9, 0.9)
            assert bench.see(noisy, low_v=-12 + dice.uniform(-0.9, 0.9), swings=True) is state
        assert bench.last.diode_ok


def test_no_history_of_samples_makes_a_car_ask_that_does_not() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    for _ in range(200):
        bench, asked = Bench(), False
        seen: list[PilotState | None] = [None] * SAMPLES
        for _ in range(100):
            high_v = dice.choice([*HIGH.values(), 7.5, 4.5, 10.5, 6.0, 6.0])
            state = bench.see(high_v, low_v=dice.choice((-12.0, -3.0)),
                              swings=dice.random() < 0.5, step_s=dice.choice((0.005, 0.02, 1.1)))
            seen = [*seen[1:], band_of(high_v)]
            inside = [one for one in seen if one is not None]
            if state in (C, D) and not asked:
                assert seen == [state] * SAMPLES, "asked after fewer samples than it takes"
            if state in (C, D):
                assert not inside or inside[-1] in (C, D), "asked on though the car had left"
            asked = state in (C, D)
