"""Each story with the daemon taken away at each of its steps: at each frame, in either direction.

After the cut the disk is what it was at that instant, coils drop, the car stays plugged; a new
daemon comes up, the car leaves, and the books of central system, journal and meter must agree: no
session lost, none doubled, no Wh wrong.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from support import virtual_loop
from support.world import CARD, OTHER_CARD, World, world

Story = Callable[[World], Awaitable[None]]


async def one_charge(w: World) -> None:
    await w.plug()
    await w.tap(CARD)
    await w.advance(150)
    await w.tap(CARD)
    await w.advance(5)
    await w.unplug()
    await w.advance(5)


async def begun_offline(w: World) -> None:
    w.app.loop.settings = w.app.loop.settings.with_text("auth.offline_unknown", "true")
    w.network.down()
    await w.plug()
    await w.tap(CARD)
    await w.advance(150)
    w.network.up = True
    await w.advance(60)
    await w.unplug()
    await w.advance(5)


async def two_cars(w: World) -> None:
    await w.plug(1)
    await w.tap(CARD)
    await w.advance(20)
    await w.plug(2)
    await w.tap(OTHER_CARD)
    await w.advance(100)
    await w.unplug(1)
    await w.advance(30)
    await w.unplug(2)
    await w.advance(5)


STORIES: dict[str, tuple[Story, int]] = {
    "one_charge": (one_charge, 1), "begun_offline": (begun_offline, 1), "two_cars": (two_cars, 2)}


async def count_frames(story: Story, evses: int) -> int:
    async with world(evses=evses) as w:
        frames = 0

        def count(_sender: str, _text: str) -> None:
            nonlocal frames
            frames += 1

        w.network.on_frame = count
        await story(w)
        await w.delivered()
        await w.assert_books_agree()
        return frames


async def with_a_cut(story: Story, evses: int, at: int, *, power: bool, passes: bool) -> None:
    """Play `story` and take the daemon away at frame `at`, before or after it passed."""
    async with world(evses=evses) as w:
        seen = 0
        fallen = asyncio.Event()

        def fall(_sender: str, _text: str) -> None:
            nonlocal seen
            seen += 1
            if seen == at:
                w.freeze_disk()
                fallen.set()
                w.network.sealed = True
                if not passes:
                    w.network.cut()

        w.network.on_frame = fall
        playing = asyncio.ensure_future(story(w))
        waiting = asyncio.create_task(fallen.wait())
        await asyncio.wait({playing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        playing.cancel()
        waiting.cancel()
        await asyncio.gather(playing, waiting, return_exceptions=True)
        w.network.on_frame = None
        await w.die(power=power, disk_is_frozen=True)
        w.network.up, w.network.sealed = True, False
        await w.start()
        assert w.coils_at_start == [False] * evses
        await w.advance(90)
        for evse in range(1, evses + 1):
            if w.board.look(evse).plugged:
                await w.unplug(evse)
        await w.delivered()
        await w.assert_books_agree()


@pytest.mark.requirement("16.OFF.9", "16.TX.16", "16.TX.10")
@pytest.mark.parametrize("power", [True, False], ids=["power_cut", "kill"])
@pytest.mark.parametrize("name", sorted(STORIES))
@pytest.mark.parametrize("part", range(3))
def test_nothing_is_lost_or_doubled_wherever_the_daemon_is_taken_away(
        name: str, power: bool, part: int) -> None:
    story, evses = STORIES[name]
    frames = virtual_loop.run(count_frames(story, evses))

    assert frames > 10
    for at in range(1 + part, frames + 1, 3):
        for passes in (True, False):
            virtual_loop.run(with_a_cut(story, evses, at, power=power, passes=passes))
