"""The local list on the disk: whole or not at all, whatever happens at whatever step."""

import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.aio import run
from support.books import Clock

from cpctl.core.events import ListEntry
from cpctl.core.local_list import ListChange
from cpctl.core.values import IdToken, TokenInfo, TokenKind, TokenStatus
from cpctl.store.authbook import AuthBook
from cpctl.store.db import Database, InlineWriter
from cpctl.store.errors import JournalError
from cpctl.store.migrations import STATION, migrate
from cpctl.store.rows import SETTINGS, TOKENS
from cpctl.store.settings_store import StationStore

requirement = pytest.mark.requirement
GOOD, BLOCKED = TokenInfo(TokenStatus.ACCEPTED), TokenInfo(TokenStatus.BLOCKED)
FLEET = TokenInfo(TokenStatus.ACCEPTED, IdToken("Fleet", TokenKind.CENTRAL),
                  datetime(2030, 1, 1, 12, 30, tzinfo=UTC) + timedelta(microseconds=7))

Shown = tuple[int, dict[str, TokenInfo]]


def entry(tag: str, info: TokenInfo | None = GOOD) -> ListEntry:
    return ListEntry(IdToken(tag), info)


async def opened(path: Path, writer: InlineWriter | None = None) -> tuple[StationStore, AuthBook]:
    store = await StationStore.open(path, writer or InlineWriter())
    return store, AuthBook(store, Clock())


def shown(book: AuthBook) -> Shown:
    return book.list_version, dict(book.list_entries)


@requirement("16.LIST.1", "16.LIST.3")
def test_the_list_and_its_version_survive(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "station.db"
        store, book = await opened(path)
        await book.change_list(ListChange(True, 3, (entry("04A1"), entry("b", FLEET))))
        await book.change_list(ListChange(False, 4, (entry("C", BLOCKED),), ("04a1",)))
        assert book.listed(IdToken("B")) == FLEET and book.listed(IdToken("04A1")) is None
        store._db.close()  # killed

        store, book = await opened(path)

        assert shown(book) == (4, {"b": FLEET, "c": BLOCKED})
        await book.change_list(ListChange(True, 0))
        await store.close()
        assert shown((await opened(path))[1]) == (0, {})

    run(story())


@requirement("16.CACHE.1", "16.LIST.1")
def test_a_listed_token_is_not_cached_and_clearing_the_cache_keeps_the_list(tmp_path: Path
                                                                            ) -> None:
    async def story() -> None:
        path = tmp_path / "station.db"
        store, book = await opened(path)
        book.remember(IdToken("A"), BLOCKED)
        book.remember(IdToken("other"), GOOD)
        await book.change_list(ListChange(True, 1, (entry("a"),)))
        book.remember(IdToken("A"), BLOCKED)
        assert book.entries() == (("other", GOOD),)
        await book.forget_all()
        assert shown(book) == (1, {"a": GOOD})
        await store.close()

        store, book = await opened(path)
        assert book.entries() == () and shown(book) == (1, {"a": GOOD})

    run(story())


def test_while_the_list_is_off_it_says_nothing_and_keeps_its_entries(tmp_path: Path) -> None:
    async def story() -> None:
        store = await StationStore.open(tmp_path / "station.db", InlineWriter())
        on = True
        book = AuthBook(store, Clock(), list_is_on=lambda: on)
        await book.change_list(ListChange(True, 1, (entry("a"),)))
        on = False
        assert book.listed(IdToken("a")) is None and shown(book) == (1, {"a": GOOD})
        book.remember(IdToken("a"), BLOCKED)
        assert book.cached(IdToken("a")) == BLOCKED

    run(story())


# --- at every step -------------------------------------------------------------------------------


class Cut(Exception):
    """The power is gone."""


class Knife:
    """Copies the disk before each statement from `armed` on, as a power cut there leaves it."""

    def __init__(self, disk: Path, into: Path) -> None:
        self.disk, self.into, self.cuts, self.armed = disk, into, 0, False

    def __call__(self, sql: str) -> None:
        if self.armed:
            self.cuts += 1
            shutil.copytree(self.disk, self.into / str(self.cuts))


@requirement("16.LIST.4", "16.OFF.9")
@pytest.mark.parametrize("full", [True, False])
def test_a_power_cut_at_any_step_leaves_the_old_list_or_the_new_one(tmp_path: Path, full: bool
                                                                    ) -> None:
    async def story() -> None:
        disk, cuts = tmp_path / "disk", tmp_path / "cuts"
        disk.mkdir()
        knife = Knife(disk, cuts)
        store, book = await opened(disk / "station.db", InlineWriter(knife))
        await book.change_list(ListChange(True, 1, tuple(entry(f"T{one}") for one in range(30))))
        old = shown(book)
        knife.armed = True
        gone = () if full else tuple(f"t{one}" for one in range(0, 30, 2))
        await book.change_list(ListChange(full, 2, tuple(
            entry(f"N{one}", FLEET) for one in range(20)), gone))
        knife.armed = False
        new = shown(book)

        found = [shown((await opened(cuts / str(one) / "station.db"))[1])
                 for one in range(1, knife.cuts + 1)]

        assert knife.cuts > 20
        assert old != new and all(one == old for one in found)
        store._db.close()
        assert shown((await opened(disk / "station.db"))[1]) == new

    run(story())


@requirement("16.LIST.4")
@pytest.mark.parametrize("statement", range(1, 7))
def test_an_error_of_the_disk_at_any_step_changes_nothing(tmp_path: Path, statement: int) -> None:
    async def story() -> None:
        path = tmp_path / "station.db"
        store, book = await opened(path)
        await book.change_list(ListChange(True, 1, (entry("a"), entry("b"))))
        before = shown(book)
        store._db.con.set_authorizer(_refusing(statement))

        with pytest.raises(JournalError):
            await book.change_list(ListChange(False, 2, tuple(
                entry(f"N{one}") for one in range(8)), ("a",)))

        store._db.con.set_authorizer(None)
        assert shown(book) == before
        store._db.close()
        assert shown((await opened(path))[1]) == before

    run(story())


def _refusing(number: int):  # type: ignore[no-untyped-def]
    """From the `number`-th of the things on that sqlite asks leave for, it is refused."""
    asked = 0

    def authorizer(*_: object) -> int:
        nonlocal asked
        asked += 1
        return sqlite3.SQLITE_DENY if asked >= number else sqlite3.SQLITE_OK

    return authorizer


# --- damage --------------------------------------------------------------------------------------


@requirement("16.LIST.1")
@pytest.mark.parametrize("lost", ["DELETE FROM listed WHERE key = 'b'", "DELETE FROM listing",
                                  "DELETE FROM listed"])
def test_a_list_that_lost_rows_is_dropped_as_a_whole_and_can_be_sent_again(
        tmp_path: Path, lost: str) -> None:
    async def story() -> None:
        path = tmp_path / "station.db"
        store, book = await opened(path)
        await book.change_list(ListChange(True, 5, (entry("a"), entry("b"), entry("c"))))
        await store.close()
        con = sqlite3.connect(path)
        con.execute(lost)
        con.commit()
        con.close()

        store, book = await opened(path)
        assert shown(book) == (0, {})
        assert book.listed(IdToken("a")) is None
        await book.change_list(ListChange(False, 6, (entry("new"),)))  # nothing old comes back
        await store.close()

        assert shown((await opened(path))[1]) == (6, {"new": GOOD})

    run(story())


def test_a_damaged_file_keeps_a_list_of_which_no_row_is_lost(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "station.db"
        store, book = await opened(path)
        await book.change_list(ListChange(True, 5, (entry("a"), entry("b", FLEET))))
        await store.close()
        path.write_bytes(b"\0" * 100 + path.read_bytes()[100:])

        store, book = await opened(path)

        assert store.report.damaged
        assert shown(book) == (5, {"a": GOOD, "b": FLEET})

    run(story())


def test_a_file_of_the_first_version_gets_its_empty_list(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "station.db"
        db = Database(path)
        migrate(db, STATION[:1], fresh=True)
        with db.commit(full=True) as con:
            con.execute(SETTINGS.insert, SETTINGS.sealed(("link.ping_s", "7")))
            con.execute(TOKENS.insert, TOKENS.sealed(("a", 1, "Accepted", None, None, None)))
        db.close()

        store, book = await opened(path)

        assert store.report.migrated_from == 1 and not store.report.damaged
        assert store.settings_texts["link.ping_s"] == "7"
        assert book.cached(IdToken("A")) == GOOD and shown(book) == (0, {})
        await book.change_list(ListChange(True, 1, (entry("b"),)))

    run(story())


# --- size ----------------------------------------------------------------------------------------


@requirement("key:LocalAuthListMaxLength", "key:SendLocalListMaxLength")
def test_five_thousand_tokens_come_in_parts_and_stay_small(tmp_path: Path) -> None:
    async def story() -> None:
        import tracemalloc

        path = tmp_path / "station.db"
        store, book = await opened(path)
        for part in range(10):
            await book.change_list(ListChange(part == 0, part + 1, tuple(
                entry(f"04A1B2C3D4{part * 500 + one:06d}") for one in range(500))))
        await store.close()
        tracemalloc.start()
        store, book = await opened(path)
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(book.list_entries) == 5_000 and book.list_version == 10
        assert taken < 1_500_000  # bytes
        await store.close()

    run(story())
