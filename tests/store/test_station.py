"""station.db: settings, kept values, the authorization cache, and what old versions become."""

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from support import virtual_loop
from support.aio import run
from support.books import Clock, open_journal

from cpctl.core.values import IdToken, TokenInfo, TokenKind, TokenStatus
from cpctl.store import ledger, settings_store
from cpctl.store.authbook import AuthBook
from cpctl.store.db import Database, InlineWriter
from cpctl.store.errors import JournalError
from cpctl.store.migrations import STAMP, migrate
from cpctl.store.recovery import FileKind, open_file
from cpctl.store.rows import META
from cpctl.store.settings_store import StationStore

GOOD = TokenInfo(TokenStatus.ACCEPTED)


def opened(path: Path) -> StationStore:
    return run(StationStore.open(path, InlineWriter()))


def test_settings_and_kept_values_survive_and_none_removes(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "station.db"
        store = await StationStore.open(path, InlineWriter())
        await store.save_setting("meter.sample_s", "60")
        await store.save_setting("meter.sample_s", "30")
        await store.keep("operative", "no")
        await store.keep("gone", "x")
        await store.keep("gone", None)
        await store.keep("never", None)
        store._db.close()
        store = await StationStore.open(path, InlineWriter())
        assert dict(store.settings_texts) == {"meter.sample_s": "30"}
        assert dict(store.kept) == {"operative": "no"}
        assert not store.report.damaged

    run(story())


def test_a_damaged_station_file_is_set_aside_and_keeps_what_can_be_read(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "station.db"
        store = await StationStore.open(path, InlineWriter())
        await store.save_setting("password", "secret")
        await store.save_setting("password", "newer")
        await store.keep("operative", "no")
        await store.close()
        broken = b"\0" * 100 + path.read_bytes()[100:]
        path.write_bytes(broken)

        store = await StationStore.open(path, InlineWriter())

        assert store.report.damaged and store.report.rows_saved == 2
        assert store.report.set_aside is not None
        assert store.report.set_aside.read_bytes() == broken
        assert store.settings_texts["password"] == "newer"
        assert store.kept["operative"] == "no"
        path.with_name("station.db-wal").unlink()
        path.write_bytes(b"garbage" * 999)
        store._db.close()
        store = await StationStore.open(path, InlineWriter())
        assert store.report.damaged and dict(store.settings_texts) == {}
        assert len(list(tmp_path.glob("*.damaged-?"))) == 2

    run(story())


@pytest.mark.requirement("16.CACHE.1", "16.CACHE.4")
def test_the_cache_survives_and_compares_without_regard_to_case(tmp_path: Path) -> None:
    async def story() -> None:
        import asyncio
        path, clock = tmp_path / "station.db", Clock()
        store = await StationStore.open(path, InlineWriter())
        book = AuthBook(store, clock)
        info = TokenInfo(TokenStatus.CONCURRENT_TX, IdToken("Fleet", TokenKind.CENTRAL),
                         clock().utc + timedelta(days=1, microseconds=5))
        book.remember(IdToken("04a1ff"), GOOD)
        book.remember(IdToken("04A1FF"), info)
        assert book.cached(IdToken("04A1ff")) == info
        assert book.cached(IdToken("04A1F0")) is None
        assert book.listed(IdToken("04A1ff")) is None
        await asyncio.sleep(5.1)
        store._db.close()  # killed
        store = await StationStore.open(path, InlineWriter())
        assert AuthBook(store, clock).entries() == (("04a1ff", info),)

    virtual_loop.run(story())


@pytest.mark.requirement("16.CACHE.3")
def test_a_full_cache_drops_invalid_entries_first_then_the_oldest_valid(tmp_path: Path) -> None:
    async def story() -> None:
        path, clock = tmp_path / "station.db", Clock()
        store = await StationStore.open(path, InlineWriter())
        book = AuthBook(store, clock, size=3)
        past = TokenInfo(TokenStatus.ACCEPTED, None, clock().utc - timedelta(seconds=1))
        book.remember(IdToken("old"), GOOD)
        book.remember(IdToken("blocked"), TokenInfo(TokenStatus.BLOCKED))
        book.remember(IdToken("expired"), past)
        book.remember(IdToken("new"), GOOD)
        assert [key for key, _ in book.entries()] == ["old", "expired", "new"]
        book.remember(IdToken("newer"), GOOD)
        assert [key for key, _ in book.entries()] == ["old", "new", "newer"]
        book.remember(IdToken("old"), GOOD)  # young again
        book.remember(IdToken("newest"), GOOD)
        assert [key for key, _ in book.entries()] == ["newer", "old", "newest"]
        await store.close()
        store = await StationStore.open(path, InlineWriter())
        again = AuthBook(store, clock, size=2)
        assert [key for key, _ in again.entries()] == ["old", "newest"]

    run(story())


@pytest.mark.requirement("16.CACHE.6")
def test_clearing_the_cache_is_durable_and_touches_nothing_else(tmp_path: Path) -> None:
    async def story() -> None:
        path, clock = tmp_path / "station.db", Clock()
        store = await StationStore.open(path, InlineWriter())
        book = AuthBook(store, clock)
        await store.save_setting("a", "1")
        await store.keep("b", "2")
        book.remember(IdToken("04"), GOOD)
        await store.flush()
        book.remember(IdToken("05"), GOOD)
        await book.forget_all()
        assert book.cached(IdToken("04")) is None and book.cached(IdToken("05")) is None
        store._db.close()
        store = await StationStore.open(path, InlineWriter())
        assert AuthBook(store, clock).entries() == ()
        assert store.settings_texts["a"] == "1" and store.kept["b"] == "2"

    run(story())


# --- versions --------------------------------------------------------------------------------


def test_an_old_file_is_brought_to_the_newest_version_with_all_its_rows(tmp_path: Path) -> None:
    async def old() -> None:
        journal = await open_journal(tmp_path / "journal.db", Clock())
        await journal.close()

    run(old())

    def reworded(con: sqlite3.Connection) -> None:
        key, value = con.execute("SELECT key, value FROM meta WHERE key = 'book'").fetchone()
        con.execute(META.insert, META.sealed(("book", value + "-second")))
        assert key == "book"

    newer = FileKind((*ledger.KIND.steps, "ALTER TABLE boots ADD COLUMN note TEXT;", reworded),
                     ledger.KIND.tables, ledger.KIND.sweep, ledger.KIND.needed, ledger.KIND.first)

    db, report, found = open_file(tmp_path / "journal.db", newer)

    assert report.migrated_from == 1 and not report.damaged
    assert found.meta["book"].endswith("-second")
    assert db.con.execute("PRAGMA user_version").fetchone()[0] == 0x03030303
    db.close()
    with pytest.raises(JournalError, match="newer release"):
        run(open_journal(tmp_path / "journal.db", Clock()))


def test_a_migration_that_is_cut_short_is_taken_again_as_a_whole(tmp_path: Path) -> None:
    class Cut(Exception):
        pass

    path = tmp_path / "station.db"
    run(opened(path).close())
    db = Database(path)
    cut = True

    def second(con: sqlite3.Connection) -> None:
        con.execute("CREATE TABLE half(x)")
        if cut:
            raise Cut

    before = settings_store.KIND.steps
    steps = (*before, second)
    with pytest.raises(Cut):
        migrate(db, steps)
    assert db.con.execute("PRAGMA user_version").fetchone()[0] == len(before) * STAMP
    cut = False

    assert migrate(db, steps) == len(before)

    assert db.con.execute("SELECT count(*) FROM half").fetchone() == (0,)
