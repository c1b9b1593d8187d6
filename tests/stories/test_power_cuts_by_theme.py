"""The themes of the Core profile with the daemon taken away in the middle of them."""

import contextlib

import pytest
from support import virtual_loop
from support.power_cuts import Story, count_frames, with_a_cut
from support.story import configure, next_life
from support.world import CARD, World

from cpctl.demo.csms import CallFailed, Reply


async def call(w: World, action: str, **payload: object) -> None:
    """A call of the central system that may find nobody any more."""
    with contextlib.suppress(EOFError, CallFailed):
        await w.central.call(action, payload)


async def remote(w: World) -> None:
    await w.plug()
    await call(w, "RemoteStartTransaction", idTag=CARD, connectorId=1)
    await w.advance(70)
    await call(w, "RemoteStopTransaction", transactionId=1)
    await w.advance(8)
    await w.unplug()
    await w.advance(3)


async def reset(w: World) -> None:
    await w.charge(70)
    await call(w, "Reset", type="Soft")
    await next_life(w)
    await w.advance(20)
    await w.unplug()
    await w.advance(3)


async def deauthorized(w: World) -> None:
    w.central.behave("StartTransaction", Reply(
        {"transactionId": 1, "idTagInfo": {"status": "Invalid"}}))
    await w.charge(30)
    await w.tap(CARD)
    await w.unplug()
    await w.advance(3)


async def unlocked(w: World) -> None:
    await w.charge(30)
    await call(w, "UnlockConnector", connectorId=1)
    await w.advance(5)
    await w.unplug()
    await w.advance(3)


async def faulted(w: World) -> None:
    await w.charge(30)
    w.board.fault("rcd", 1)
    await w.advance(5)
    w.board.clear("rcd", 1)
    await w.unplug()
    await w.advance(3)


async def replugged(w: World) -> None:
    await configure(w, StopTransactionOnEVSideDisconnect=False)
    await w.charge(30)
    await w.unplug()
    await w.advance(10)
    await w.plug()
    await w.advance(20)
    await w.tap(CARD)
    await w.advance(8)
    await w.unplug()
    await w.advance(3)


THEMES: tuple[Story, ...] = (remote, reset, deauthorized, unlocked, faulted, replugged)


@pytest.mark.requirement("16.OFF.9", "16.TX.16", "16.TX.10")
@pytest.mark.parametrize("power", [True, False], ids=["power_cut", "kill"])
@pytest.mark.parametrize("theme", THEMES, ids=lambda story: story.__name__)
def test_the_books_agree_wherever_the_daemon_is_taken_away(theme: Story, power: bool) -> None:
    frames = virtual_loop.run(count_frames(theme, 1))

    assert frames > 10
    for at in range(1, frames + 1):
        passes = at % 2 == power  # each frame by one kind of cut before, by the other after it
        virtual_loop.run(with_a_cut(theme, 1, at, power=power, passes=passes))
