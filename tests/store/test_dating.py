"""When things happened: boards without a clock, kills, power cuts and clocks that are corrected."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.aio import run
from support.books import Clock, closed, ended, open_journal, opened, sampled, started

from cpctl.core.now import Now, TimeQuality
from cpctl.store.entries import Lane
from cpctl.store.journal import Journal

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
FLOOR = datetime(2026, 1, 1, tzinfo=UTC)  # build time: all that a board without a clock knows


def blind(boot: str = "boot-1", mono_s: float = 30.0) -> Clock:
    return Clock(boot, int(mono_s * 1e9), FLOOR, TimeQuality.FLOOR)


def when(journal: Journal, at: Now) -> datetime:
    return datetime.fromisoformat(journal.told_at(at))


def test_a_trusted_moment_is_told_as_it_was(tmp_path: Path) -> None:
    async def story() -> str:
        clock = Clock(utc=NOON + timedelta(microseconds=123456))
        journal = await open_journal(tmp_path / "journal.db", clock)
        await journal.record([opened(clock(), 1)])
        return journal.told_at(clock())

    assert run(story()) == "2026-05-01T12:00:00.123Z"


def test_what_came_before_the_first_contact_of_its_boot_is_dated_by_it(tmp_path: Path) -> None:
    async def story() -> list[datetime]:
        clock = blind()
        journal = await open_journal(tmp_path / "journal.db", clock)
        first, second = clock.tick(), clock.tick(600)
        await journal.record([opened(first, 1), started(first, 1)])
        await journal.record([ended(second, 1), closed(second, 1)])
        clock.tick(100)
        await journal.synchronised(clock.synchronise(NOON))
        return [when(journal, first), when(journal, second)]

    assert run(story()) == [NOON - timedelta(seconds=700), NOON - timedelta(seconds=100)]


def test_a_session_killed_twice_before_the_first_contact_keeps_its_true_duration(
        tmp_path: Path) -> None:
    async def story() -> tuple[datetime, datetime]:
        clock, path = blind(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        begun = clock.tick()
        await journal.record([opened(begun, 1), started(begun, 1)])
        for _ in range(2):  # killed: nothing is closed; the clock of each life begins at the floor
            journal._db.close()
            clock.tick(300)
            clock.utc = FLOOR
            journal = await open_journal(path, clock)
            await journal.record([sampled(clock(), 1, None)])
        over = clock.tick(17)
        await journal.record([ended(over, 1), closed(over, 1)])
        clock.tick(5)
        await journal.synchronised(clock.synchronise(NOON))
        facts = [entry.fact for entry in journal.upcoming(Lane.MONEY, 8)]
        return when(journal, facts[0].at), when(journal, facts[-1].at)

    begin, end = run(story())

    assert end - begin == timedelta(seconds=617)
    assert end == NOON - timedelta(seconds=5)


def test_before_any_contact_durations_are_right_though_the_date_is_not(tmp_path: Path) -> None:
    async def story() -> timedelta:
        clock, path = blind(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        begun = clock.tick()
        await journal.record([opened(begun, 1), started(begun, 1)])
        journal._db.close()
        clock.tick(300)
        clock.utc = FLOOR + timedelta(days=3)  # another guess of the next life
        journal = await open_journal(path, clock)
        await journal.record([ended(clock(), 1)])
        return when(journal, clock()) - when(journal, begun)

    assert run(story()) == timedelta(seconds=300)


def test_a_boot_without_time_is_laid_before_the_next_with_order_and_durations(
        tmp_path: Path) -> None:
    async def story() -> list[datetime]:
        clock, path = blind(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        moments = []
        for number, boot in enumerate(("boot-2", "boot-3", None), start=1):
            begin, end = clock.tick(), clock.tick(900)
            moments += [begin, end]
            await journal.record([opened(begin, number), started(begin, number)])
            await journal.record([ended(end, number), closed(end, number)])
            if boot is not None:
                await journal.close()
                clock.power_cut(boot, utc=FLOOR)
                journal = await open_journal(path, clock)
        await journal.synchronised(clock.synchronise(NOON))
        told = [when(journal, at) for at in moments]
        await journal.close()
        journal = await open_journal(path, clock)
        assert told == [when(journal, at) for at in moments]  # also in the next life
        return told

    told = run(story())

    assert told == sorted(told)
    assert [later - begin for begin, later in zip(told[::2], told[1::2], strict=True)] == [
        timedelta(seconds=900)] * 3
    assert told[-1] == NOON
    third_boot_began = told[4] - timedelta(seconds=21)
    assert third_boot_began - told[3] == timedelta(milliseconds=1)


def test_a_session_over_a_power_cut_without_a_clock_keeps_order_inside_each_boot(
        tmp_path: Path) -> None:
    async def story() -> list[datetime]:
        clock, path = blind(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        begin, sample = clock.tick(), clock.tick(60)
        await journal.record([opened(begin, 1), started(begin, 1)])
        await journal.record([sampled(sample, 1)])
        journal._db.close()
        clock.power_cut("boot-2", utc=FLOOR)
        journal = await open_journal(path, clock)
        found, = journal.open_sessions()
        await journal.record([ended(found.last_at, 1), closed(clock.tick(), 1)])
        await journal.synchronised(clock.synchronise(NOON))
        return [when(journal, entry.fact.at) for entry in journal.upcoming(Lane.MONEY, 9)]

    begin, sample, end = run(story())

    assert sample - begin == timedelta(seconds=60)
    assert end == sample < NOON


def test_boots_that_no_dated_boot_follows_keep_their_estimates_in_order(tmp_path: Path) -> None:
    async def story() -> list[datetime]:
        clock, path = blind(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        early = clock.tick()
        await journal.record([opened(early, 1)])
        await journal.close()
        clock.power_cut("boot-2", utc=journal.floor)
        journal = await open_journal(path, clock)
        late = clock.tick()
        await journal.record([closed(late, 1)])
        return [when(journal, early), when(journal, late)]

    early, late = run(story())

    assert FLOOR < early < late


@pytest.mark.requirement("16.TX.1")
def test_a_clock_set_back_does_not_bring_a_session_backwards_nor_hold_up_the_next(
        tmp_path: Path) -> None:
    async def story() -> tuple[list[str], str]:
        clock = Clock(utc=NOON, quality=TimeQuality.CSMS)
        journal = await open_journal(tmp_path / "journal.db", clock)
        first = clock.tick()
        await journal.record([opened(first, 1), started(first, 1)])
        clock.tick(30)
        await journal.synchronised(clock.synchronise(NOON - timedelta(hours=1)))
        second, third = clock.tick(), clock.tick()
        await journal.record([sampled(second, 1)])
        await journal.record([ended(third, 1), closed(third, 1)])
        fresh = clock.tick()
        await journal.record([opened(fresh, 2), started(fresh, 2)])
        return [journal.told_at(at) for at in (first, second, third)], journal.told_at(fresh)

    told, fresh = run(story())

    assert told == ["2026-05-01T12:00:01.000Z", "2026-05-01T12:00:01.001Z",
                    "2026-05-01T12:00:01.002Z"]
    assert fresh == "2026-05-01T11:00:03.000Z"


def test_a_clamped_session_is_told_the_same_after_a_restart(tmp_path: Path) -> None:
    async def story() -> tuple[list[str], list[str]]:
        clock, path = Clock(utc=NOON), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        moments = [clock.tick()]
        await journal.record([opened(moments[0], 1), started(moments[0], 1)])
        await journal.synchronised(clock.synchronise(NOON - timedelta(hours=1)))
        for number in range(1, 4):
            moments.append(clock.tick())
            await journal.record([sampled(moments[-1], 1, number)])
        before = [journal.told_at(at) for at in moments]
        await journal.close()
        journal = await open_journal(path, clock)
        return before, [journal.told_at(at) for at in moments]

    before, after = run(story())

    assert before == sorted(before)
    assert len(set(before)) == 4
    assert after == before


def test_drift_is_no_step_and_a_step_is_kept_over_a_restart(tmp_path: Path) -> None:
    async def story() -> list[datetime]:
        clock, path = blind(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        early = clock.tick()
        await journal.record([opened(early, 1), started(early, 1)])
        clock.tick(9)
        await journal.synchronised(clock.synchronise(NOON))
        await journal.synchronised(clock.synchronise(NOON + timedelta(milliseconds=300)))
        clock.tick(1)
        await journal.synchronised(clock.synchronise(NOON + timedelta(hours=5)))
        told = [when(journal, early)]
        await journal.close()
        journal = await open_journal(path, clock)
        return [*told, when(journal, early)]

    assert run(story()) == [NOON - timedelta(seconds=9)] * 2


@pytest.mark.requirement("16.OFF.1")
def test_the_floor_is_the_newest_time_in_the_books(tmp_path: Path) -> None:
    async def story() -> list[datetime | None]:
        clock, path = Clock(utc=NOON), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        floors = [journal.floor]
        await journal.record([opened(clock.tick(), 1)])
        await journal.save_register(1, 1234, clock.tick(300))
        await journal.close()
        journal = await open_journal(path, clock)
        floors.append(journal.floor)
        clock.tick(3600)
        await journal.save_floor()
        await journal.close()
        floors.append((await open_journal(path, clock)).floor)
        return floors

    assert run(story()) == [None, NOON + timedelta(seconds=301), NOON + timedelta(seconds=3901)]
