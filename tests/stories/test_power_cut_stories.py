"""Each story with the daemon taken away at each of its steps: at each frame, in either direction.

After the cut the disk is what it was at that instant, coils drop, the car stays plugged; a new
daemon comes up, the car leaves, and the books of central system, journal and meter must agree: no
session lost, none doubled, no Wh wrong.
"""

import pytest
from support import virtual_loop
from support.power_cuts import Story, count_frames, with_a_cut
from support.world import CARD, OTHER_CARD, World


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
