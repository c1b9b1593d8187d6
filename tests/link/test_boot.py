"""Boot rules, heartbeats, reconnects: a link in virtual time against a central system in memory."""

import asyncio
import itertools

import pytest
from support import virtual_loop
from support.link_world import World, running, sample_notice, started

from cpctl.core.effects import AnnounceBoot, AuthorizeToken
from cpctl.core.events import LinkChanged, SecurityEventNoticed
from cpctl.core.values import IdToken, Registration
from cpctl.dialects.base import CallError, NoVerdict, RegistrationAnswered
from cpctl.link.errors import ConnectRefused

ACCEPTED = {"status": "accepted", "interval": 300}
ASK = AuthorizeToken(4, IdToken("04A1"))


def play(story, **settings):
    """Run `story(world)` beside a running link; the world as it is afterwards."""
    async def told():
        world = World(**settings)
        await running(world, lambda: story(world))
        return world

    return virtual_loop.run(told())


async def reconnect(world, wait_s=60):
    world.central.socket.drop()
    await asyncio.sleep(wait_s)


@pytest.mark.requirement("16.BOOT.1", "16.BOOT.3")
@pytest.mark.octt("TC_001_CS")
def test_nothing_goes_out_before_the_boot_is_answered():
    async def story(world):
        world.central.rules["Boot"] = None
        world.books.put(started(1))
        world.link.notify(sample_notice())
        await asyncio.sleep(20)

    assert play(story).central.said() == ["Boot"]


@pytest.mark.requirement("16.BOOT.4", "16.BOOT.13")
def test_after_acceptance_all_statuses_go_first_then_the_books():
    async def story(world):
        world.books.put(started(1))
        await asyncio.sleep(5)

    world = play(story)

    assert world.central.said() == ["Boot", "Status", "Status", "Start"]
    (answer,) = world.posted(RegistrationAnswered)
    assert (answer.registration, answer.interval_s) == (Registration.ACCEPTED, 300)


@pytest.mark.requirement("16.BOOT.5", "16.BOOT.6")
def test_while_pending_only_the_boot_goes_out_and_calls_are_answered():
    async def story(world):
        world.central.rules["Boot"] = [{"status": "pending", "interval": 40}, ACCEPTED]
        world.books.put(started(1))
        await asyncio.sleep(5)
        world.central.socket.say([2, "q1", "Get", {}])
        world.link.notify(sample_notice())
        assert await world.link.ask(ASK) == (NoVerdict(4),)
        await asyncio.sleep(34)
        assert world.central.said() == ["Boot"]
        assert world.central.answers == [[3, "q1", {"registration": "pending"}]]
        await asyncio.sleep(5)

    assert play(story).central.said() == ["Boot", "Boot", "Status", "Status", "Start"]


@pytest.mark.requirement("16.BOOT.5")
def test_while_pending_what_was_triggered_goes_out():
    async def story(world):
        world.central.rules["Boot"] = {"status": "pending", "interval": 4000}
        await asyncio.sleep(5)
        world.link.notify(sample_notice(), triggered=True)
        world.link.notify(sample_notice())
        await asyncio.sleep(5)

    assert play(story).central.said() == ["Boot", "Values"]


@pytest.mark.requirement("16.BOOT.6")
def test_a_triggered_boot_goes_out_at_once_and_only_one_of_it():
    async def story(world):
        world.central.rules["Boot"] = [{"status": "pending", "interval": 40}, ACCEPTED]
        await asyncio.sleep(5)
        await world.link.ask(AnnounceBoot())
        await asyncio.sleep(100)

    assert play(story).central.said("Boot") == ["Boot", "Boot"]


@pytest.mark.requirement("16.BOOT.8")
def test_once_accepted_no_boot_is_announced_on_demand():
    async def story(world):
        await asyncio.sleep(5)
        await world.link.ask(AnnounceBoot())
        await asyncio.sleep(5)

    assert play(story).central.said("Boot") == ["Boot"]


@pytest.mark.requirement("16.BOOT.7")
def test_while_rejected_not_even_a_call_is_answered():
    async def story(world):
        world.central.rules["Boot"] = [{"status": "rejected", "interval": 40}, ACCEPTED]
        await asyncio.sleep(5)
        world.central.socket.say([2, "q1", "Get", {}])
        world.central.socket.say('[2,"q2","Reset"]')
        await asyncio.sleep(34)
        assert world.central.said() == ["Boot"] and world.central.answers == []
        await asyncio.sleep(5)
        world.central.socket.say([2, "q3", "Get", {}])
        await asyncio.sleep(1)

    world = play(story)

    assert world.central.said("Boot") == ["Boot", "Boot"]
    assert world.central.answers == [[3, "q3", {"registration": "accepted"}]]


@pytest.mark.requirement("16.BOOT.6")
def test_an_interval_of_zero_leaves_the_wait_to_us():
    async def story(world):
        world.central.rules["Boot"] = {"status": "rejected", "interval": 0}
        await asyncio.sleep(600)

    assert 6 <= len(play(story).central.said("Boot")) <= 14


@pytest.mark.parametrize("answer", [CallError("InternalError"), None, {"bad": 1}],
                         ids=["an error", "silence", "nonsense"])
def test_a_boot_without_a_verdict_is_announced_again(answer):
    async def story(world):
        world.central.rules["Boot"] = [answer, answer, ACCEPTED]
        await asyncio.sleep(200)

    assert play(story).central.said() == ["Boot", "Boot", "Boot", "Status", "Status"]


@pytest.mark.requirement("16.BOOT.2")
def test_a_reconnect_needs_no_boot():
    async def story(world):
        await asyncio.sleep(5)
        await reconnect(world)

    world = play(story)

    assert len(world.central.sockets) == 2
    assert world.central.said() == ["Boot", "Status", "Status"]
    assert world.links() == [(True, "none"), (True, "accepted"), (False, "accepted"),
                             (True, "accepted"), (False, "accepted")]


@pytest.mark.requirement("16.BOOT.2")
def test_a_reconnect_announces_the_boot_when_its_content_changed():
    async def story(world):
        await asyncio.sleep(5)
        world.dialect.vendor = "Another"
        await reconnect(world)
        await reconnect(world)

    assert [one["vendor"] for one in play(story).central.payloads("Boot")] == [
        "Example", "Another"]


def test_a_boot_lost_with_the_link_is_announced_on_the_next_one():
    async def story(world):
        world.central.rules["Boot"] = [None, ACCEPTED]
        await asyncio.sleep(5)
        await reconnect(world)

    assert play(story).central.said() == ["Boot", "Boot", "Status", "Status"]


def test_a_rejection_outlives_a_reconnect():
    async def story(world):
        world.central.rules["Boot"] = [{"status": "rejected", "interval": 500}, ACCEPTED]
        await asyncio.sleep(5)
        await reconnect(world, 400)
        assert world.central.said() == ["Boot"]
        await asyncio.sleep(100)

    assert play(story).central.said("Boot") == ["Boot", "Boot"]


@pytest.mark.requirement("16.BOOT.11")
def test_a_heartbeat_follows_silence_and_no_other_message():
    async def story(world):
        await asyncio.sleep(5)
        for _ in range(10):
            world.link.notify(sample_notice())
            await asyncio.sleep(250)
        assert world.central.said("Heartbeat") == []
        await asyncio.sleep(450)

    assert play(story).central.said("Heartbeat") == ["Heartbeat", "Heartbeat"]


@pytest.mark.requirement("16.BOOT.11")
def test_at_least_one_heartbeat_a_day_tells_the_time():
    async def story(world):
        await asyncio.sleep(5)
        for _ in range(25 * 15):
            world.link.notify(sample_notice())
            await asyncio.sleep(240)

    assert play(story).central.said("Heartbeat") == ["Heartbeat"]


@pytest.mark.requirement("16.BOOT.11")
def test_a_new_heartbeat_interval_holds_at_once():
    async def story(world):
        await asyncio.sleep(5)
        world.set("link.heartbeat_s", "10")
        await asyncio.sleep(65)

    assert 3 <= len(play(story).central.said("Heartbeat")) <= 6


@pytest.mark.requirement("16.RPC.12")
def test_a_central_system_that_closes_at_once_is_not_hammered():
    async def story(world):
        world.central.on_connect = lambda socket: socket.drop()
        await asyncio.sleep(1000)

    at = play(story, link__wait_random_s="0").central.connected_at
    gaps = [round(after - before) for before, after in itertools.pairwise(at)]

    assert gaps[:6] == [10, 20, 40, 80, 160, 160]


def test_the_wait_is_short_again_after_the_first_accepted_answer():
    async def story(world):
        world.central.refusals.extend([ConnectRefused("busy")] * 4)
        await asyncio.sleep(200)
        for _ in range(3):
            world.link.notify(sample_notice())
            await reconnect(world, 30)

    at = play(story, link__wait_random_s="0").central.connected_at
    gaps = [round(after - before) for before, after in itertools.pairwise(at)]

    assert gaps[:4] == [10, 20, 40, 80]
    assert all(30 <= gap <= 60 for gap in gaps[5:])


@pytest.mark.requirement("16.RPC.2")
@pytest.mark.parametrize("status", [401, 403, 404, 500, 301, None])
def test_whatever_refuses_is_tried_again_without_end(status):
    async def story(world):
        world.central.refusals.extend([ConnectRefused("no", status=status)] * 20)
        await asyncio.sleep(5000)

    world = play(story)

    assert len(world.central.connected_at) == 21
    assert world.central.said()[0] == "Boot"
    assert len(world.posted(SecurityEventNoticed)) == (1 if status in (401, 403) else 0)


@pytest.mark.requirement("16.RPC.1")
@pytest.mark.parametrize("chosen", [None, "ocpp9.9"])
def test_a_missing_or_foreign_subprotocol_is_refused_and_closed(chosen):
    async def story(world):
        world.central.subprotocol = chosen
        await asyncio.sleep(100)

    world = play(story, link__wait_random_s="0")

    assert [socket.closed[0] for socket in world.central.sockets] == [1002] * 4
    assert world.posted(LinkChanged) == [] and world.central.said() == []
    assert "ocpp1.6" in world.link.state.detail


def test_what_is_offered_is_the_address_and_the_protocols():
    async def story(world):
        await asyncio.sleep(1)

    assert play(story).central.asked == [("ws://csms.example/ocpp/CP%201", ("ocpp1.6",), ())]


@pytest.mark.requirement("16.RPC.11")
def test_a_half_open_link_is_noticed_within_ping_interval_and_pong_time():
    async def story(world):
        await asyncio.sleep(5)
        world.central.socket.pongs = False
        await asyncio.sleep(81)
        assert not world.link.state.online

    world = play(story, link__ping_s="60", link__pong_timeout_s="20")

    assert "pong" in world.link.state.detail


@pytest.mark.requirement("16.RPC.11")
def test_an_interval_of_zero_means_no_pings():
    async def story(world):
        world.central.on_connect = lambda socket: setattr(socket, "pongs", False)
        await asyncio.sleep(3000)

    world = play(story, link__ping_s="0")

    assert [socket.pings for socket in world.central.sockets] == [0]


def test_a_new_ping_interval_holds_without_a_reconnect():
    async def story(world):
        await asyncio.sleep(5)
        world.set("link.ping_s", "10")
        await asyncio.sleep(100)

    assert play(story, link__ping_s="3600").central.socket.pings >= 6


def test_a_link_held_while_it_connects_stays_down():
    async def story(world):
        await asyncio.sleep(5)
        at_once = world.central.connect

        async def in_five_seconds(*to):
            await asyncio.sleep(5)
            return await at_once(*to)

        world.central.connect = in_five_seconds
        world.link.reconnect("to be held")
        await asyncio.sleep(1)
        world.link.hold()
        await asyncio.sleep(1000)
        assert (world.link.state.online, world.link.state.held) == (False, True)
        assert world.central.sockets[-1].closed
        world.link.release()
        await asyncio.sleep(10)
        assert world.link.state.online

    play(story)


def test_a_technician_holds_the_link_down_and_lets_it_go():
    async def story(world):
        await asyncio.sleep(5)
        world.link.hold()
        await asyncio.sleep(1000)
        assert (world.link.state.online, world.link.state.held) == (False, True)
        assert len(world.central.sockets) == 1
        world.link.release()
        await asyncio.sleep(1)
        assert world.link.state.online

    play(story)


def test_a_wanted_reconnect_does_not_wait():
    async def story(world):
        await asyncio.sleep(5)
        world.link.reconnect("another password")
        await asyncio.sleep(1)

    world = play(story)

    assert len(world.central.sockets) == 2 and world.central.sockets[0].closed is not None
