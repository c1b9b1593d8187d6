"""Books that cannot be written while the station charges, online: what is owed is told at once."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.story import last_status, story
from support.world import CARD, World, world


@contextmanager
def unwritable(w: World) -> Iterator[None]:
    """The file refuses every commit, as a full disk or a dying card does."""
    assert w.app is not None
    con = w.app.journal._db.con
    con.execute("PRAGMA query_only=ON")
    try:
        yield
    finally:
        con.execute("PRAGMA query_only=OFF")


@pytest.mark.requirement("16.TX.10", "16.TX.16")
@story
async def test_a_stop_that_cannot_be_written_is_told_all_the_same_and_once() -> None:
    async with world() as w:
        await w.charge(100)
        await w.delivered()
        with unwritable(w):
            await w.tap(CARD)
            await w.advance(60)
            assert w.app is not None and w.app.executor.held
            assert len(w.calls("StopTransaction")) == 1
            assert not w.coil()
            assert last_status(w, 0)["status"] == "Faulted"
        await w.advance(60)
        assert w.app.executor.held == ()
        await w.unplug()
        await w.delivered()
        assert len(w.calls("StopTransaction")) == 1
        assert last_status(w, 0)["status"] == "Available"
        await w.assert_books_agree()
        await w.kill()
        await w.advance(30)
        assert len(w.calls("StopTransaction")) == 1


@pytest.mark.requirement("16.TX.10")
@story
async def test_a_charge_that_runs_when_the_books_fail_is_ended_and_told() -> None:
    async with world() as w:
        await w.charge(100)
        await w.delivered()
        with unwritable(w):
            await w.advance(400)
            stop, = w.calls("StopTransaction")
            assert stop["meterStop"] == w.register_wh()
            assert not w.coil()
        await w.advance(60)
        await w.unplug()
        await w.delivered()
        await w.assert_books_agree()


@story
async def test_a_start_that_cannot_be_written_is_told_to_nobody() -> None:
    async with world() as w:
        with unwritable(w):
            await w.plug()
            await w.tap(CARD)
            await w.advance(60)
            assert w.calls("StartTransaction") == []
            assert not w.coil()
