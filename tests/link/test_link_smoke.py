import asyncio

from support import virtual_loop
from support.link_world import World, ended, running, sampled, started


def play(world, story):
    virtual_loop.run(running(world, story))


def test_a_session_is_told_in_order_after_the_boot_and_the_statuses():
    async def tell():
        world = World()

        async def story():
            world.show("Available")
            world.books.put(started(1), sampled(1, 110), ended(1, 120))
            await asyncio.sleep(5)

        await running(world, story)
        return world

    world = virtual_loop.run(tell())

    assert world.central.said() == ["Boot", "Status", "Status", "Start", "Sample", "Stop"]
    assert world.central.payloads("Stop") == [{"id": 7, "wh": 120}]
    assert world.books.delivered() == [1, 2, 3]
    assert world.links() == [(True, "none"), (True, "accepted"), (False, "accepted")]
