"""A story with the daemon taken away at one of its frames, and what must be so afterwards."""

import asyncio
from collections.abc import Awaitable, Callable

from support.world import World, world

Story = Callable[[World], Awaitable[None]]


async def count_frames(story: Story, evses: int) -> int:
    """How many frames pass in the undisturbed story, whose books must agree."""
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


async def with_a_cut(story: Story, evses: int, at: int, *, power: bool, passes: bool,
                     then: Callable[[World], None] = lambda world: None) -> None:
    """Play `story` and take the daemon away at frame `at`, before or after it passed.

    `then` looks at the world after the next life has told everything.
    """
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
        then(w)
