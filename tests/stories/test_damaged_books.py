"""The disk spoils the journal between two lives: noticed, set aside, told; charging goes on.

The damage is done to the file and its log as they lie on the disk after a power cut in mid-charge
(a zeroed page: after an end in good order), with one session delivered and one that waits.
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from support import virtual_loop
from support.world import CARD, OTHER_CARD, World, world

from cpctl.core.faults import FaultCode

Damage = Callable[[Path, random.Random], None]


def _spoil(path: Path, change: Callable[[bytearray], None]) -> None:
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)


def flipped_bits(folder: Path, rng: random.Random) -> None:
    """Bits all over both files; a header of the file among them, so that it cannot go unseen."""
    def flip(content: bytearray) -> None:
        for at in [3, *(rng.randrange(len(content)) for _ in range(len(content) // 256))]:
            content[at] ^= 1 << rng.randrange(8)

    for path in _files(folder):
        _spoil(path, flip)


def cut_in_half(folder: Path, rng: random.Random) -> None:
    for path in _files(folder):
        _spoil(path, lambda content: content.__delitem__(slice(len(content) // 2, None)))


def zeroed_page(folder: Path, rng: random.Random) -> None:
    """After an end in good order: a page that the log still has would be mended from there."""
    def zero(content: bytearray) -> None:
        content[4096:8192] = bytes(len(content[4096:8192]))

    _spoil(folder / "journal.db", zero)


def nonsense(folder: Path, rng: random.Random) -> None:
    for path in _files(folder):
        path.write_bytes(rng.randbytes(path.stat().st_size))


DAMAGES = (flipped_bits, cut_in_half, zeroed_page, nonsense)


def _files(folder: Path) -> list[Path]:
    """The journal and, where it has one, its log."""
    return [path for path in sorted(folder.glob("journal.db*"))
            if path.name in ("journal.db", "journal.db-wal") and path.stat().st_size]


async def one_delivered_one_waiting_one_running(w: World) -> None:
    await w.charge(120)
    await w.unplug()
    await w.delivered()
    w.app.loop.settings = w.app.loop.settings.with_text("auth.offline_unknown", "true")
    w.network.down()
    await w.charge(120, token=OTHER_CARD)
    await w.unplug()
    await w.charge(90)


@pytest.mark.requirement("16.OFF.1")
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_books_are_noticed_set_aside_and_told_and_charging_goes_on(
        damage: Damage, seed: int) -> None:
    async def story() -> None:
        async with world() as w:
            await one_delivered_one_waiting_one_running(w)
            if damage is zeroed_page:
                await w.stop()
            await w.die(power=True)
            folder = w._state / "state"
            damage(folder, random.Random(seed))
            w.network.up = True
            await w.start()

            assert w.coils_at_start == [False]
            assert w.app.journal.report.damaged
            assert (folder / "journal.db.damaged-1").stat().st_size > 0
            fault, = w.app.loop.picture.faults
            assert fault.code is FaultCode.JOURNAL_DAMAGED
            assert not fault.stops
            assert "set aside as journal.db.damaged-1" in fault.detail
            await w.until(lambda: w.app.link.state.online, 120)
            entries = await w.app.journal.entries()
            kinds = [entry.fact.kind for entry in entries if entry.kind == "SecurityEventRaised"]
            assert set(kinds) >= {"JournalDamaged", "SecurityLogWasCleared", "StartupOfTheDevice"}

            before = len(w.transactions)
            await w.unplug()
            await w.charge(300, token=OTHER_CARD)
            assert w.coil()
            assert w.status() == "Charging"
            await w.unplug()
            await w.delivered()
            fresh = w.transactions[-1]
            assert len(w.transactions) > before
            assert fresh.meter_stop == w.register_wh()
            assert fresh.energy_wh > 0
            assert w.status() == "Available"
            assert len({one.number for one in w.transactions}) == len(w.transactions)
            assert _told_twice(w) == []

            await w.kill()  # the new books are sound, and the event stays in them
            assert not w.app.journal.report.damaged
            assert w.app.loop.picture.faults == ()

    virtual_loop.run(story())


def _told_twice(w: World) -> list[tuple[str, str, int]]:
    """Sessions the central system has more than once: same card, same time, same register."""
    seen = [(one.id_tag, one.started, one.meter_start) for one in w.transactions]
    return [one for one in seen if seen.count(one) > 1]


@pytest.mark.requirement("16.OFF.1")
def test_what_is_sound_in_damaged_books_still_reaches_the_central_system() -> None:
    """A spoiled row costs itself: the session that waited is told though the file is set aside."""
    async def story() -> None:
        async with world() as w:
            await one_delivered_one_waiting_one_running(w)
            await w.stop()
            folder = w._state / "state"
            content = bytearray((folder / "journal.db").read_bytes())
            content[20] ^= 0xFF  # of the header: bytes reserved in each page
            (folder / "journal.db").write_bytes(content)
            w.network.up = True
            await w.start()
            assert w.app.journal.report.damaged
            await w.delivered()

            assert [one.id_tag for one in w.transactions] == [CARD, OTHER_CARD, CARD]
            assert all(one.stopped is not None for one in w.transactions)
            assert w.transactions[-1].meter_stop == w.register_wh()
            assert w.central.books.orphans == []

    virtual_loop.run(story())
