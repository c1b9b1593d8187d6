"""A full disk: nothing half written, said so, and all is well once there is space again."""

from pathlib import Path

import pytest
from support.aio import run
from support.books import Clock, closed, ended, open_journal, opened, sampled, started

from cpctl.store.db import InlineWriter
from cpctl.store.entries import DELIVERED, Lane
from cpctl.store.errors import JournalError
from cpctl.store.journal import Journal
from cpctl.store.settings_store import StationStore


def allow(journal: Journal | StationStore, pages: int | None) -> None:
    """Let the file have `pages` pages more than now; None: as many as it likes."""
    con = journal._db.con
    now = con.execute("PRAGMA page_count").fetchone()[0]
    con.execute(f"PRAGMA max_page_count={1 << 30 if pages is None else now + pages}").fetchall()


def test_a_full_disk_is_a_journal_error_and_writing_resumes_with_space(tmp_path: Path) -> None:
    async def story() -> None:
        clock, path = Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        good = list(await journal.record([opened(clock.tick(), 1), started(clock.tick(), 1)]))
        allow(journal, 2)
        with pytest.raises(JournalError, match="disk is full"):
            for _ in range(500):
                good += await journal.record([sampled(clock.tick(), 1)])
        assert len(good) < 500
        count = journal.waiting().count

        await journal.settle(good[1])  # marks are lazy: they wait for space
        for no in good[2:30]:
            await journal.settle(no)
        with pytest.raises(JournalError):
            await journal.record([ended(clock.tick(), 1)] * 200)
        assert journal.waiting().count == count - 29

        allow(journal, None)
        good += await journal.record([ended(clock.tick(), 1), closed(clock.tick(), 1)])
        await journal.close()
        journal = await open_journal(path, clock)
        assert not journal.report.damaged
        rows = await journal.entries(limit=9999)
        assert sorted(row.no for row in rows) == good
        assert sum(row.state == DELIVERED for row in rows) == 29
        assert journal.open_sessions() == ()

    run(story())


def test_an_answer_that_cannot_be_written_leaves_the_fact_at_the_head(tmp_path: Path) -> None:
    async def story() -> None:
        clock = Clock()
        journal = await open_journal(tmp_path / "journal.db", clock)
        no, _ = await journal.record([started(clock.tick(), 1), ended(clock.tick(), 1)])
        journal._db.con.execute("PRAGMA query_only=ON")
        with pytest.raises(JournalError):
            await journal.settle(no, (1, "1.6", 7))
        head = journal.head(Lane.MONEY)
        assert head is not None and head.no == no
        assert journal.alias(1, "1.6") is None

        journal._db.con.execute("PRAGMA query_only=OFF")
        await journal.settle(no, (1, "1.6", 7))
        assert journal.alias(1, "1.6") == 7

    run(story())


def test_a_setting_that_cannot_be_saved_is_refused_and_the_old_one_stands(tmp_path: Path) -> None:
    async def story() -> None:
        store = await StationStore.open(tmp_path / "station.db", InlineWriter())
        await store.save_setting("a", "1")
        allow(store, 0)
        with pytest.raises(JournalError, match="disk is full"):
            await store.save_setting("a", "2" * 10_000)
        assert store.settings_texts["a"] == "1"
        allow(store, None)
        await store.save_setting("a", "3")
        await store.close()
        store = await StationStore.open(tmp_path / "station.db", InlineWriter())
        assert dict(store.settings_texts) == {"a": "3"}

    run(story())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(JournalError, match=r"journal\.db"):
        run(open_journal(tmp_path / "file" / "journal.db", Clock()))
