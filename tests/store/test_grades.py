"""What is synced when: full commits for money and promises, the lower grade for the rest."""

from pathlib import Path

import pytest
from support import virtual_loop
from support.aio import run
from support.books import Clock, closed, ended, open_journal, opened, sampled, started

from cpctl.core.facts import FaultLatched, SecurityEventRaised
from cpctl.core.faults import FaultCode
from cpctl.store.db import Database, InlineWriter, ThreadWriter
from cpctl.store.entries import DELIVERED, Lane
from cpctl.store.errors import JournalError


class Spy:
    """Notes the grade of every commit and every emptying of the log."""

    def __init__(self) -> None:
        self.grade = "?"
        self.log: list[str] = []

    def __call__(self, sql: str) -> None:
        if sql.startswith("PRAGMA synchronous="):
            self.grade = sql.partition("=")[2]
        elif sql == "COMMIT":
            self.log.append(self.grade)
        elif sql.startswith("PRAGMA wal_checkpoint"):
            self.log.append("CHECKPOINT")

    def take(self) -> list[str]:
        taken, self.log = self.log, []
        return taken


def test_samples_go_lazily_and_everything_else_is_synced_in_one_commit(tmp_path: Path) -> None:
    async def story() -> None:
        spy, clock = Spy(), Clock()
        journal = await open_journal(tmp_path / "journal.db", clock, InlineWriter(spy))
        spy.take()
        await journal.record([opened(clock.tick(), 1), started(clock.tick(), 1)])
        assert spy.take() == ["FULL"]
        await journal.record([sampled(clock.tick(60), 1)])
        await journal.record([sampled(clock.tick(60), 1), sampled(clock(), 1, None)])
        assert spy.take() == ["NORMAL", "NORMAL"]
        await journal.record([FaultLatched(clock.tick(), 1, 1, FaultCode.OTHER)])
        await journal.record([SecurityEventRaised(clock.tick(), None, "x")])
        await journal.save_register(1, 5, clock.tick())
        await journal.record([sampled(clock.tick(), 1), ended(clock.tick(), 1)])
        assert spy.take() == ["FULL"] * 4

    run(story())


def test_the_answer_to_a_start_and_its_id_are_one_synced_commit(tmp_path: Path) -> None:
    async def story() -> None:
        spy, clock, path = Spy(), Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock, InlineWriter(spy))
        no, = await journal.record([started(clock.tick(), 1)])
        spy.take()

        await journal.settle(no, (1, "1.6", 7))

        assert spy.take() == ["FULL"]
        journal._db.close()
        journal = await open_journal(path, clock)
        assert journal.head(Lane.MONEY) is None
        assert journal.alias(1, "1.6") == 7

    run(story())


def test_delivery_marks_go_in_batches_of_twenty_or_with_the_next_commit(tmp_path: Path) -> None:
    async def story() -> None:
        spy, clock = Spy(), Clock()
        journal = await open_journal(tmp_path / "journal.db", clock, InlineWriter(spy))
        nos = await journal.record([started(clock.tick(), 1)]
                                   + [sampled(clock.tick(), 1) for _ in range(60)])
        spy.take()
        for no in nos[:19]:
            await journal.settle(no)
        assert spy.take() == []
        await journal.settle(nos[19])
        assert spy.take() == ["NORMAL"]
        await journal.settle(nos[20])
        await journal.fail(nos[21])
        await journal.record([ended(clock.tick(), 1)])
        assert spy.take() == ["FULL"]
        assert journal._lazy == {}
        row = await journal.entry(nos[20])
        assert row is not None and row.state == DELIVERED

    run(story())


def test_a_charging_hour_needs_at_most_twenty_syncs(tmp_path: Path) -> None:
    """A full commit is one sync, an emptying of the log three (log, file, header of the log)."""
    async def story() -> int:
        import asyncio
        spy, clock = Spy(), Clock()
        journal = await open_journal(tmp_path / "journal.db", clock, InlineWriter(spy))
        spy.take()

        async def passes(seconds: float) -> None:
            clock.tick(seconds)
            await asyncio.sleep(seconds)

        async def deliver() -> None:
            while (head := journal.head(Lane.MONEY)) is not None:
                first = type(head.fact).__name__ == "TransactionStarted"
                await journal.settle(head.no, (1, "1.6", 7) if first else None)

        await journal.record([opened(clock(), 1)])
        await journal.record([started(clock(), 1)])
        await deliver()
        for _ in range(59):
            await passes(60)
            await journal.record([sampled(clock(), 1)])
            await deliver()
        await passes(60)
        await journal.record([ended(clock(), 1)])
        await deliver()
        await journal.record([closed(clock(), 1)])
        await passes(60)
        log = spy.take()
        assert log.count("CHECKPOINT") == 1
        return log.count("FULL") + 3 * log.count("CHECKPOINT")

    assert virtual_loop.run(story()) <= 20


def test_the_log_is_emptied_after_a_transaction_and_when_idle_and_not_while_charging(
        tmp_path: Path) -> None:
    async def story() -> None:
        import asyncio
        spy, clock = Spy(), Clock()
        journal = await open_journal(tmp_path / "journal.db", clock, InlineWriter(spy))
        await asyncio.sleep(10)
        spy.take()

        async def after(seconds: float) -> list[str]:
            clock.tick(seconds)
            await asyncio.sleep(seconds)
            return spy.take()

        await journal.record([started(clock(), 1)])
        await journal.record([started(clock(), 2, evse=2), ended(clock(), 2)])
        assert "CHECKPOINT" not in await after(2000)
        await journal.record([ended(clock(), 1)])
        assert "CHECKPOINT" in await after(11)
        assert await after(5000) == []
        await journal.record([SecurityEventRaised(clock(), None, "x")])
        assert await after(60) == ["FULL"]
        assert await after(2000) == ["CHECKPOINT"]
        assert await after(50_000) == []

    virtual_loop.run(story())


def test_the_log_stays_at_its_size_and_short(tmp_path: Path) -> None:
    async def story() -> None:
        clock, path = Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock, InlineWriter())
        for number in range(1, 60):
            await journal.record([opened(clock.tick(), number), started(clock.tick(), number)])
            for _ in range(20):
                await journal.record([sampled(clock.tick(), number)])
            await journal.record([ended(clock.tick(), number), closed(clock.tick(), number)])
        log = path.with_name("journal.db-wal")
        assert 256 * 4096 <= log.stat().st_size < 300 * 4120
        size = log.stat().st_size
        await journal._tend()
        assert log.stat().st_size == size

    run(story())


def test_pragmas_are_as_the_house_wants_them(tmp_path: Path) -> None:
    db = Database(tmp_path / "x.db")

    def ask(name: str) -> object:
        return db.con.execute(f"PRAGMA {name}").fetchone()[0]

    assert ask("journal_mode") == "wal"
    assert ask("page_size") == 4096
    assert ask("cell_size_check") == 1
    assert ask("locking_mode") == "exclusive"
    db.close()
    with pytest.raises(JournalError, match="closed"):
        _ = db.con


def test_two_daemons_cannot_keep_the_same_books(tmp_path: Path) -> None:
    async def story() -> None:
        clock, path = Clock(), tmp_path / "journal.db"
        first = await open_journal(path, clock)
        with pytest.raises(JournalError, match="another process"):
            await open_journal(path, clock)
        assert await first.record([opened(clock.tick(), 1)]) == (1,)

    run(story())


def test_what_a_cancelled_caller_asked_for_is_in_the_file_and_in_memory(tmp_path: Path) -> None:
    async def story() -> None:
        import asyncio
        clock, path, writer = Clock(), tmp_path / "journal.db", ThreadWriter()
        journal = await open_journal(path, clock, writer)
        no, = await journal.record([started(clock.tick(), 1)])
        task = asyncio.create_task(journal.settle(no, (1, "1.6", 7)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await writer.run(lambda: None)

        assert journal.head(Lane.MONEY) is None
        assert journal.alias(1, "1.6") == 7
        await journal.close()
        await writer.close()
        assert (await open_journal(path, clock)).head(Lane.MONEY) is None

    run(story())


def test_an_error_of_a_job_reaches_who_asked_on_both_writers() -> None:
    async def story() -> None:
        for writer in (InlineWriter(), ThreadWriter()):
            seen: list[object] = []

            def job() -> int:
                raise JournalError("no")

            with pytest.raises(JournalError, match="no"):
                await writer.run(job, lambda result, error, seen=seen: seen.append(error))
            assert isinstance(seen[0], JournalError)
            assert await writer.run(lambda: 3) == 3
            await writer.close()

    run(story())
