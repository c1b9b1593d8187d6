"""The clock: monotonic time goes on, wall time is only as good as its source."""

from datetime import UTC, datetime, timedelta

import pytest

from cpctl.core.now import TimeQuality
from cpctl.runtime import clock as clocks
from cpctl.runtime.clock import Clock, StepWatch, SystemTime, parse_utc

BOOT = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


class HandTime:
    """Clocks moved by hand."""

    def __init__(self, wall: datetime = BOOT, *, trusted: bool = False) -> None:
        self.ns = 5_000_000_000
        self.system = wall
        self.trusted = trusted

    def mono_ns(self) -> int:
        return self.ns

    def wall(self) -> datetime:
        return self.system

    def boot_id(self) -> str:
        return "boot-1"

    def synchronised(self) -> bool:
        return self.trusted

    def advance(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)
        self.system += timedelta(seconds=seconds)


def test_a_synchronised_kernel_is_believed() -> None:
    time = HandTime(trusted=True)
    now = Clock(time).now()

    assert (now.utc, now.quality, now.boot) == (BOOT, TimeQuality.NTP, "boot-1")
    assert now.mono_ns == time.ns


def test_local_time_follows_the_zone_through_summer_time() -> None:
    change = BOOT + timedelta(hours=1)
    time = HandTime(trusted=True)
    clock = Clock(time, offset_s=lambda utc: 7200 if utc < change else 3600)
    assert clock.now().local_offset_s == 7200

    time.advance(3600)
    assert clock.now().local_offset_s == 3600


def test_local_time_is_known_as_soon_as_time_is() -> None:
    clock = Clock(HandTime(), offset_s=lambda utc: 7200 if utc.month == 7 else 3600)
    assert clock.now().local_offset_s == 3600

    clock.offer("2026-07-01T00:00:00Z")

    assert clock.now().local_offset_s == 7200


def test_the_offset_of_this_machine_is_that_of_its_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        assert clocks.zone_offset_s(BOOT) == 7200
        assert clocks.zone_offset_s(datetime(2026, 1, 1, tzinfo=UTC)) == 3600
    finally:
        monkeypatch.undo()
        time.tzset()


def test_without_any_source_time_is_no_earlier_than_the_newest_moment_in_the_books() -> None:
    clock = Clock(HandTime(datetime(1970, 1, 1, tzinfo=UTC)))
    assert clock.now().quality is TimeQuality.NONE
    assert clock.now().utc == clocks.BUILD_TIME

    clock.raise_floor(BOOT)

    assert (clock.now().utc, clock.now().quality) == (BOOT, TimeQuality.FLOOR)


def test_a_system_clock_later_than_the_floor_is_the_better_guess() -> None:
    clock = Clock(HandTime(BOOT), BOOT - timedelta(days=1))

    assert (clock.now().utc, clock.now().quality) == (BOOT, TimeQuality.FLOOR)


def test_a_floor_never_moves_trusted_time() -> None:
    clock = Clock(HandTime(trusted=True))
    clock.now()

    clock.raise_floor(BOOT + timedelta(days=400))

    assert clock.now().utc == BOOT


def test_the_central_systems_time_is_taken_with_half_the_round_trip() -> None:
    time = HandTime()
    clock = Clock(time)
    steps: list[float] = []
    clock.stepped = steps.append

    assert clock.offer("2026-07-01T00:00:00Z", 3.0)

    assert clock.now().utc == datetime(2026, 7, 1, 0, 0, 1, 500_000, tzinfo=UTC)
    assert clock.now().quality is TimeQuality.CSMS
    assert steps == [pytest.approx(timedelta(days=29, hours=12, seconds=1.5).total_seconds())]
    time.advance(10)
    assert clock.now().utc == datetime(2026, 7, 1, 0, 0, 11, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(("text", "round_trip_s"), [
    ("2026-07-01T00:00:00Z", 5.1), ("yesterday", 0.1), ("", 0.1), ("2026-07-01T00:00:00Z", -1)])
def test_a_time_that_says_too_little_is_not_taken(text: str, round_trip_s: float) -> None:
    clock = Clock(HandTime())

    assert not clock.offer(text, round_trip_s)
    assert clock.now().quality is TimeQuality.FLOOR


def test_the_central_system_does_not_overrule_a_synchronised_kernel() -> None:
    clock = Clock(HandTime(trusted=True))

    assert not clock.offer("2030-01-01T00:00:00Z", 0.1)
    assert clock.now().utc == BOOT


def test_small_differences_are_left_alone_and_large_ones_are_steps() -> None:
    clock = Clock(HandTime())
    clock.offer("2026-06-01T12:00:00Z")
    steps: list[float] = []
    trusted: list[bool] = []
    clock.stepped, clock.trusted = steps.append, lambda: trusted.append(True)

    clock.offer("2026-06-01T12:00:00.900Z")
    assert clock.now().utc == BOOT and not trusted
    clock.offer("2026-06-01T12:00:01.500Z")
    assert clock.now().utc == BOOT + timedelta(seconds=1.5)
    assert (steps, trusted) == ([], [True])
    clock.offer("2026-06-01T11:00:00Z")

    assert steps == [pytest.approx(-3601.5)]
    assert len(trusted) == 2


def test_time_becomes_trusted_once_also_when_it_was_right_all_along() -> None:
    clock = Clock(HandTime())
    trusted: list[bool] = []
    clock.trusted = lambda: trusted.append(True)

    clock.offer("2026-06-01T12:00:00Z")
    clock.offer("2026-06-01T12:00:00Z")

    assert trusted == [True]


def test_a_kernel_that_gets_synchronised_is_noticed_and_one_that_loses_it_is_still_good() -> None:
    time = HandTime()
    clock = Clock(time)
    clock.now()
    time.trusted = True
    time.system += timedelta(hours=1)
    steps: list[float] = []
    clock.stepped = steps.append
    time.advance(11)

    assert clock.now().quality is TimeQuality.NTP
    assert steps == [pytest.approx(3600)]
    time.trusted = False
    time.advance(11)
    assert clock.now().quality is TimeQuality.CSMS
    assert clock.now().utc == time.system


def test_a_step_of_the_system_clock_is_noticed_at_once() -> None:
    time = HandTime(trusted=True)
    clock = Clock(time)
    clock.now()
    steps: list[float] = []
    clock.stepped = steps.append
    time.system -= timedelta(hours=2)

    clock.system_clock_set()

    assert steps == [pytest.approx(-7200)]


def test_an_untrusted_system_clock_may_be_set_without_moving_ours() -> None:
    time = HandTime()
    clock = Clock(time)
    clock.offer("2026-06-01T12:00:00Z")
    time.system += timedelta(days=1)

    clock.system_clock_set()

    assert clock.now().utc == BOOT


@pytest.mark.parametrize(("text", "moment"), [
    ("2026-06-01T12:00:00Z", BOOT), ("2026-06-01T14:00:00+02:00", BOOT),
    ("2026-06-01T12:00:00", BOOT), ("2026-06-01T12:00:00.000000Z", BOOT),
    (" 2026-06-01t12:00:00z ", BOOT), ("12:00", None),
    ("0001-01-01T00:00:00+14:00", None), ("9999-12-31T23:59:59-01:00", None)])
def test_the_texts_of_central_systems_are_understood(text: str, moment: datetime | None) -> None:
    assert parse_utc(text) == moment


def test_the_clocks_of_this_machine_are_readable_without_privileges() -> None:
    time = SystemTime()

    first = time.mono_ns()
    assert time.mono_ns() >= first > 0
    assert len(time.boot_id()) == 36
    assert time.synchronised() in (True, False)
    assert time.wall().tzinfo is UTC
    assert Clock(time).now().utc > clocks.BUILD_TIME


def test_the_step_watch_tells_nothing_while_nobody_sets_the_clock() -> None:
    told: list[bool] = []
    watch = StepWatch(lambda: told.append(True))
    try:
        assert watch.fd >= 0
        watch.ready()  # nothing was set
        assert told == []
    finally:
        watch.close()
    assert watch.fd == -1
    watch.close()
