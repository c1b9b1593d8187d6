"""Power cuts and bad cards: torn logs, flipped bits, truncated files. Noticed, kept, survived."""

import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from support.aio import run
from support.books import Clock, ended, open_journal, opened, plain, sampled, started, whole_session

from cpctl.core.facts import Fact, FaultLatched, SecurityEventRaised
from cpctl.core.faults import FaultCode
from cpctl.store.db import InlineWriter
from cpctl.store.entries import Lane
from cpctl.store.journal import Journal

SECTOR = 512
FILES = ("journal.db", "journal.db-wal")


def seeded() -> random.Random:
    """Draws a seed and prints it; CPCTL_SEED repeats a run."""
    seed = int(os.environ.get("CPCTL_SEED") or random.randrange(1 << 32))
    print("seed", seed)
    return random.Random(seed)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() if (folder / name).exists() else b""
            for name in FILES}


def laid_out(folder: Path, files: dict[str, bytes]) -> Path:
    """`files` in an otherwise empty folder; the journal's path."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        if content or name == FILES[0]:
            (folder / name).write_bytes(content)
    return folder / FILES[0]


# --- power cuts ------------------------------------------------------------------------------


class Disk:
    """What the disk surely has, and what it may have, at every instant of a story."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sure = contents(folder)
        self.promised: dict[int, Fact] = {}
        self.cuts: list[tuple[dict[str, bytes], dict[str, bytes], dict[int, Fact]]] = []
        self._grade, self._committing, self._emptied = "", False, False

    def __call__(self, sql: str) -> None:
        if self._emptied or (self._committing and self._grade == "FULL"):
            self.sure = contents(self.folder)
        self._emptied = sql.startswith("PRAGMA wal_checkpoint")
        self._committing = sql == "COMMIT"
        if sql.startswith("PRAGMA synchronous="):
            self._grade = sql.partition("=")[2]
        self.cuts.append((self.sure, contents(self.folder), dict(self.promised)))

    def synced(self) -> None:
        self.sure = contents(self.folder)


def torn(sure: bytes, now: bytes, rng: random.Random) -> bytes:
    """Each sector written since the last sync is there, or is as it was."""
    if sure == now:
        return now
    mixed = bytearray(now)
    chance = rng.choice((0.0, 0.1, 0.5, 1.0))
    for start in range(0, len(now), SECTOR):
        old = sure[start:start + SECTOR]
        if now[start:start + SECTOR] != old and rng.random() < chance:
            mixed[start:start + SECTOR] = old.ljust(len(now[start:start + SECTOR]), b"\0")
    if len(sure) < len(now) and rng.random() < 0.5:
        del mixed[rng.randrange(len(sure), len(now) + 1):]
    return bytes(mixed)


@pytest.mark.requirement("16.TX.16", "16.OFF.1")
def test_a_power_cut_at_any_instant_loses_no_synced_fact(tmp_path: Path) -> None:
    rng = seeded()

    async def story() -> Disk:
        clock, path = Clock(), tmp_path / "live" / "journal.db"
        await (await open_journal(path, clock)).close()
        disk = Disk(path.parent)
        journal = await open_journal(path, clock, InlineWriter(disk))
        for number in range(1, 6):
            for facts in whole_session(clock, number, 6):
                nos = await journal.record(facts)
                if journal._last_full_ns == journal._last_commit_ns:
                    disk.synced()
                    disk.promised |= dict(zip(nos, facts, strict=True))
                if rng.random() < 0.3 and (head := journal.head(Lane.MONEY)) is not None:
                    await journal.settle(head.no)
            await journal._tend()
        return disk

    async def look(path: Path, promised: dict[int, Fact]) -> bool:
        journal = await open_journal(path, Clock())
        found = {row.no: row.fact for row in await journal.entries(limit=9999)}
        damaged = journal.report.damaged
        if not damaged:
            assert {no: found.get(no) for no in promised} == promised
        else:  # delivered ones stay in the file that was set aside
            owed = {no for no, fact in promised.items() if fact.session in
                    {kept.session for kept in found.values() if kept is not None}}
            assert {no: found.get(no) for no in owed} == {no: promised[no] for no in owed}
        assert await journal.record([opened(Clock().tick(), 999)])
        await journal.close()
        return damaged

    disk = run(story())
    set_aside = 0
    for sure, now, promised in rng.sample(disk.cuts, 80):
        files = {name: torn(sure[name], now[name], rng) for name in FILES}
        set_aside += run(look(laid_out(tmp_path / "cut", files), promised))
    print("set aside", set_aside, "of 80")
    assert set_aside < 40


def test_a_log_cut_at_any_byte_leaves_a_clean_beginning(tmp_path: Path) -> None:
    rng = seeded()

    async def fill() -> dict[str, bytes]:
        clock, path = Clock(), tmp_path / "live" / "journal.db"
        await (await open_journal(path, clock)).close()
        journal = await open_journal(path, clock)
        for _ in range(60):
            await journal.record([sampled(clock.tick(), 1)])
        files = contents(path.parent)
        await journal.close()
        return files

    async def look(path: Path) -> list[int]:
        journal = await open_journal(path, Clock())
        assert not journal.report.damaged
        return [row.no for row in await journal.entries(limit=999)][::-1]

    files = run(fill())
    for _ in range(40):
        cut = rng.randrange(len(files[FILES[1]]))
        path = laid_out(tmp_path / "cut", files | {FILES[1]: files[FILES[1]][:cut]})

        nos = run(look(path))

        assert nos == list(range(1, len(nos) + 1))


# --- bad cards -------------------------------------------------------------------------------


async def known_books(path: Path, *, close: bool) -> tuple[dict[str, bytes], dict[int, Fact]]:
    """Books with 10 delivered sessions, 30 that wait, one that runs, one fault; what they owe."""
    clock = Clock()
    journal = await open_journal(path, clock)
    owed: dict[int, Fact] = {}

    async def record(facts: list[Fact]) -> None:
        owed.update(zip(await journal.record(facts), map(plain, facts), strict=True))

    for number in range(1, 41):
        for facts in whole_session(clock, number, 4, evse=1 + number % 2):
            await record(facts)
    for _ in range(60):
        head = journal.head(Lane.MONEY)
        assert head is not None
        alias = (head.fact.session or 0, "1.6", head.fact.session or 0)
        await journal.settle(head.no, alias if head.fact.__class__ is started(
            clock(), 1).__class__ else None)
    await journal.flush()
    await journal._tend()
    await record([opened(clock.tick(), 41), started(clock.tick(), 41)])
    await record([FaultLatched(clock.tick(), None, 2, FaultCode.CONTACTOR_WELDED)])
    await record([SecurityEventRaised(clock.tick(), None, "x")])
    for number in range(1, 30):
        await record([sampled(clock.tick(60), 41, number)])
    await journal.save_register(41, 77_777, clock.tick())
    files = contents(path.parent)
    await journal.close()
    if close:
        files = contents(path.parent)
    owed = {no: fact for no, fact in owed.items() if fact.session is None or fact.session > 10}
    return files, owed


async def found_in(path: Path) -> tuple[Journal, dict[int, Fact | None]]:
    journal = await open_journal(path, Clock())
    return journal, {row.no: row.fact for row in await journal.entries(limit=99_999)}


def flips(rng: random.Random, content: bytes, end: int) -> tuple[bytes, int]:
    """`content` with one bit flipped before `end`; where."""
    place = rng.randrange(end)
    broken = bytearray(content)
    broken[place] ^= 1 << rng.randrange(8)
    return bytes(broken), place


def check_owed(owed: dict[int, Fact], found: dict[int, Fact | None], most_lost: int) -> None:
    lost = [no for no in owed if no not in found]
    assert len(lost) <= most_lost, f"{len(lost)} rows lost"
    wrong = [no for no, fact in found.items() if no in owed and fact != owed[no]]
    assert not wrong, "a row says what was never written"


@pytest.mark.parametrize(("name", "close"), [
    (FILES[0], True), (FILES[0], False), (FILES[1], False)])  # a closed journal has no log
def test_a_flipped_bit_costs_a_page_at_most_and_is_noticed(tmp_path: Path, name: str, close: bool
                                                           ) -> None:
    rng = seeded()
    files, owed = run(known_books(tmp_path / "live" / "journal.db", close=close))
    assert files[name]

    async def look(path: Path, place: int, broken: bytes) -> bool:
        journal, found = await found_in(path)
        report = journal.report
        if not report.damaged:
            in_last_header = name == FILES[1] and _is_last_header(files[name], place)
            check_owed(owed, found, 2 if in_last_header else 0)
        else:
            check_owed(owed, found, 40)
            assert report.reason and report.rows_saved > 0
            assert report.set_aside is not None
            kept = report.set_aside.with_name(report.set_aside.name + name[len("journal.db"):])
            assert kept.exists()
            assert close or kept.stat().st_size >= len(broken) > 0
        session = journal.next_session
        assert await journal.record([opened(Clock().tick(), session)])
        assert (await journal.export()) != ()
        await journal.close()
        again, _ = await found_in(path)
        assert not again.report.damaged
        await again.close()
        return report.damaged

    noticed = 0
    end = _last_frame(files[name]) + 4120 if name == FILES[1] else len(files[name])
    for _ in range(25):
        broken, place = flips(rng, files[name], end)
        path = laid_out(tmp_path / "flip", files | {name: broken})
        noticed += run(look(path, place, broken))
    print("noticed", noticed, "of 25")
    assert noticed > 3


def test_no_flipped_bit_of_the_file_header_stops_the_station(tmp_path: Path) -> None:
    rng = seeded()

    async def fill() -> dict[str, bytes]:
        path, clock = tmp_path / "live" / "journal.db", Clock()
        journal = await open_journal(path, clock)
        await journal.record([started(clock.tick(), 1), sampled(clock.tick(), 1)])
        await journal.close()
        return contents(path.parent)

    async def look(path: Path) -> None:
        journal, found = await found_in(path)
        assert sorted(found) == [1, 2]
        assert await journal.record([ended(Clock().tick(), 1)]) == (3,)
        await journal.close()

    files = run(fill())
    for bit in rng.sample(range(800), 60):
        broken = bytearray(files[FILES[0]])
        broken[bit // 8] ^= 1 << bit % 8
        run(look(laid_out(tmp_path / "flip", files | {FILES[0]: bytes(broken)})))


def _is_last_header(wal: bytes, place: int) -> bool:
    """A flip in the header of the last frame looks like a torn end of the log."""
    start = _last_frame(wal)
    return start <= place < start + 24


def truncated(content: bytes, rng: random.Random) -> bytes:
    return content[:rng.randrange(len(content))]


def zeroed(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content) // 4096) * 4096
    return content[:start] + bytes(4096) + content[start + 4096:]


def scrambled(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + rng.randbytes(min(2000, len(content) - start)) + content[start + 2000:]


def headless(content: bytes, rng: random.Random) -> bytes:
    return rng.randbytes(100) + content[100:]


def foreign(content: bytes, rng: random.Random) -> bytes:
    return b"this is a letter, not a journal\n" * 999


@pytest.mark.parametrize("spoil", [truncated, zeroed, scrambled, headless, foreign])
def test_whatever_happens_to_the_file_charging_goes_on(
        tmp_path: Path, spoil: Callable[[bytes, random.Random], bytes]) -> None:
    rng = seeded()
    files, owed = run(known_books(tmp_path / "live" / "journal.db", close=True))

    async def look(path: Path, broken: bytes) -> None:
        journal, found = await found_in(path)
        if journal.report.damaged:
            assert journal.report.set_aside is not None
            assert journal.report.set_aside.read_bytes() == broken
            most = len(owed) if spoil in (truncated, foreign) else 60
        else:
            most = 0
        check_owed(owed, found, most)
        if spoil is headless:
            assert found.keys() >= owed.keys()
            running, = journal.open_sessions()
            assert (running.session, running.last_register_wh) == (41, 77_777)
            assert journal.latched() == ((2, FaultCode.CONTACTOR_WELDED),)
            assert journal.next_session == 42
        assert await journal.record([ended(Clock().tick(), 41)])
        await journal.close()

    for _ in range(1 if spoil is foreign else 12):
        broken = spoil(files[FILES[0]], rng)
        path = laid_out(tmp_path / "spoilt", files | {FILES[0]: broken})
        run(look(path, broken))


def test_an_emptied_file_is_noticed(tmp_path: Path) -> None:
    async def story() -> None:
        path = laid_out(tmp_path / "x", {FILES[0]: b""})
        journal, found = await found_in(path)
        assert journal.report.damaged and found == {}

    run(story())


def test_rows_that_were_brought_over_keep_book_and_number_and_delivery(tmp_path: Path) -> None:
    async def story() -> None:
        path, clock = tmp_path / "journal.db", Clock()
        journal = await open_journal(path, clock)
        first, second = await journal.record([started(clock.tick(), 1), sampled(clock.tick(), 1)])
        book = journal.book
        await journal.fail(second)
        await journal.settle(first, (1, "1.6", 7))
        await journal.close()
        path.write_bytes(bytes(100) + path.read_bytes()[100:])

        journal = await open_journal(path, clock)

        head = journal.head(Lane.MONEY)
        assert head is not None
        assert (head.no, head.book, head.attempts) == (second, book, 1)
        assert journal.book != book
        assert journal.alias(1, "1.6") == 7
        assert len(journal.facts_of(1)) == 2
        third, = await journal.record([ended(clock.tick(), 1)])
        assert third == 3
        assert [entry.book for entry in journal.upcoming(Lane.MONEY, 2)] == [book, journal.book]

    run(story())


def test_long_rows_are_brought_over_too(tmp_path: Path) -> None:
    async def story() -> None:
        path, clock = tmp_path / "journal.db", Clock()
        journal = await open_journal(path, clock)
        long = [SecurityEventRaised(clock.tick(), None, "x", "é" * size)
                for size in (10, 600, 700, 3000, 20_000)]
        await journal.record(long)
        await journal.close()
        path.write_bytes(bytes(100) + path.read_bytes()[100:])

        journal = await open_journal(path, clock)

        assert [entry.fact for entry in journal.upcoming(Lane.NEWS, 9)] == long

    run(story())


def test_a_row_changed_behind_our_back_is_noticed_by_its_crc(tmp_path: Path) -> None:
    async def story() -> None:
        path, clock = tmp_path / "journal.db", Clock()
        journal = await open_journal(path, clock)
        await journal.record([started(clock.tick(), 1, wh=1000)])
        await journal.close()
        content = path.read_bytes()
        assert content.count(b'"register_wh":1000') == 1
        path.write_bytes(content.replace(b'"register_wh":1000', b'"register_wh":9000'))

        journal, found = await found_in(path)

        assert journal.report.damaged and "CRC" in journal.report.reason
        assert found == {}

    run(story())


def test_a_log_whose_own_header_is_broken_is_read_nonetheless(tmp_path: Path) -> None:
    async def story() -> None:
        live, clock = tmp_path / "live" / "journal.db", Clock()
        await (await open_journal(live, clock)).close()
        journal = await open_journal(live, clock)
        for number in range(1, 20):
            await journal.record([sampled(clock.tick(), number)])
        files = contents(live.parent)
        wal = bytearray(files[FILES[1]])
        wal[16] ^= 4
        assert struct.unpack_from(">I", wal)[0] in (0x377F0682, 0x377F0683)
        path = laid_out(tmp_path / "x", files | {FILES[1]: bytes(wal)})

        journal, found = await found_in(path)

        assert journal.report.damaged
        assert len(found) == 19

    run(story())


def _last_frame(wal: bytes) -> int:
    frames = (len(wal) - 32) // 4120
    salt = wal[16:24]
    last = max(index for index in range(frames) if wal[32 + index * 4120 + 8:][:8] == salt)
    return 32 + last * 4120


@pytest.mark.requirement("16.OFF.9")
def test_a_page_that_a_kill_left_unwritten_is_no_damage(tmp_path: Path) -> None:
    """The header of the last frame is there, its page is still that of an older round."""
    files, owed = run(known_books(tmp_path / "live" / "journal.db", close=False))
    wal = bytearray(files[FILES[1]])
    page = _last_frame(wal) + 24
    wal[page:page + 4096] = files[FILES[0]][4096:8192]

    async def look(path: Path) -> None:
        journal, found = await found_in(path)
        assert not journal.report.damaged
        check_owed(owed, found, 5)
        await journal.close()

    run(look(laid_out(tmp_path / "torn", files | {FILES[1]: bytes(wal)})))


def test_every_kind_of_flipped_bit_in_the_last_page_of_the_log_is_damage(tmp_path: Path) -> None:
    rng = seeded()
    files, _ = run(known_books(tmp_path / "live" / "journal.db", close=False))
    start = _last_frame(files[FILES[1]])

    async def look(path: Path) -> bool:
        journal, _ = await found_in(path)
        await journal.close()
        return journal.report.damaged

    places = [24, 4119, *(rng.randrange(24, 4120) for _ in range(12))]
    for place in places:
        broken = bytearray(files[FILES[1]])
        broken[start + place] ^= 1 << rng.randrange(8)
        assert run(look(laid_out(tmp_path / "flip", files | {FILES[1]: bytes(broken)}))), place
