"""Statuses: what is told, in which order, and what is left out."""

import asyncio

import pytest
from support import virtual_loop
from support.link_world import World, running

from cpctl.dialects.base import CallError


def play(story, **settings):
    async def told():
        world = World(**settings)
        await running(world, lambda: story(world))
        return world

    return virtual_loop.run(told())


def told(world, connector=1):
    return [one["status"] for one in world.central.payloads("Status")
            if one["connector"] == connector]


@pytest.mark.requirement("16.STAT.1")
def test_every_change_is_told_in_order():
    async def story(world):
        await asyncio.sleep(1)
        for word in ("Preparing", "Charging", "Charging", "SuspendedEV", "Finishing"):
            world.show(word)
        await asyncio.sleep(1)

    world = play(story)

    assert told(world) == ["Available", "Preparing", "Charging", "SuspendedEV", "Finishing"]
    assert told(world, 0) == ["Available"]


@pytest.mark.requirement("16.STAT.5")
def test_a_status_that_does_not_last_is_dropped():
    async def story(world):
        await asyncio.sleep(20)
        world.show("Preparing")
        await asyncio.sleep(5)
        world.show("Charging")
        await asyncio.sleep(5)
        assert told(world) == ["Available"]
        await asyncio.sleep(6)

    assert told(play(story, status__minimum_s="10")) == ["Available", "Charging"]


@pytest.mark.requirement("16.STAT.5")
def test_a_status_that_comes_back_in_time_is_no_news():
    async def story(world):
        await asyncio.sleep(20)
        world.show("Preparing")
        await asyncio.sleep(5)
        world.show("Available")
        await asyncio.sleep(30)

    assert told(play(story, status__minimum_s="10")) == ["Available"]


@pytest.mark.requirement("16.STAT.5")
def test_by_option_short_statuses_are_told_all_the_same():
    async def story(world):
        await asyncio.sleep(20)
        world.show("Preparing")
        await asyncio.sleep(5)
        world.show("Charging")
        await asyncio.sleep(20)

    world = play(story, status__minimum_s="10", policy__min_status="delay")

    assert told(world) == ["Available", "Preparing", "Charging"]


@pytest.mark.requirement("16.STAT.6")
def test_after_a_lost_link_only_the_present_is_told_and_only_if_it_differs():
    async def story(world):
        await asyncio.sleep(1)
        world.central.socket.drop()
        await asyncio.sleep(0.1)
        for word in ("Preparing", "Charging", "Finishing"):
            world.show(word)
        await asyncio.sleep(40)
        world.central.socket.drop()
        await asyncio.sleep(0.1)
        world.show("Available")
        world.show("Finishing")
        await asyncio.sleep(40)

    world = play(story)

    assert told(world) == ["Available", "Finishing"]
    assert told(world, 0) == ["Available"] and len(world.central.sockets) == 3


def test_a_status_lost_with_the_link_is_told_on_the_next_one():
    async def story(world):
        await asyncio.sleep(1)
        world.central.rules["Status"] = None
        world.show("Preparing")
        await asyncio.sleep(1)
        world.central.socket.drop()
        world.central.rules["Status"] = {}
        await asyncio.sleep(40)

    assert told(play(story)) == ["Available", "Preparing", "Preparing"]


def test_a_refused_status_is_not_told_again():
    async def story(world):
        world.central.rules["Status"] = CallError("InternalError")
        await asyncio.sleep(1000)

    assert told(play(story)) == ["Available"]


def test_a_late_answer_to_a_status_saves_its_repetition():
    async def story(world):
        await asyncio.sleep(1)
        world.central.rules["Status"] = None
        world.show("Preparing")
        await asyncio.sleep(40)
        world.central.socket.say([3, world.central.calls[-1][1], {}])
        await asyncio.sleep(500)

    assert told(play(story)) == ["Available", "Preparing"]


def test_an_unanswered_status_is_repeated_only_while_it_holds():
    async def story(world):
        await asyncio.sleep(1)
        world.central.rules["Status"] = [None, {}]
        world.show("Preparing")
        await asyncio.sleep(40)
        world.show("Charging")
        await asyncio.sleep(500)

    assert told(play(story)) == ["Available", "Preparing", "Charging"]


def test_on_demand_the_present_status_is_told_again():
    async def story(world):
        await asyncio.sleep(1)
        world.link.tell_status_again(1, 1)
        await asyncio.sleep(1)
        world.link.tell_status_again()
        await asyncio.sleep(1)

    world = play(story)

    assert told(world) == ["Available"] * 3 and told(world, 0) == ["Available"] * 2
