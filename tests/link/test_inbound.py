"""Calls of the central system and frames nobody wants: answered once, and the loop survives."""

import asyncio
import json
import logging

import pytest
from support import virtual_loop
from support.link_world import World, ended, running, sample_notice, started

from cpctl.core.events import Request, SecurityEventNoticed
from cpctl.core.values import Origin, Outcome, Reply, RequestId

ACCEPTED = Reply(Outcome.ACCEPTED)


def play(story, **settings):
    async def told():
        world = World(**settings)
        await running(world, lambda: story(world))
        return world

    return virtual_loop.run(told())


def answers_itself(world):
    """The core, as far as this file needs one: it accepts everything at once."""
    def answer(event):
        if isinstance(event, Request):
            world.link.answer(event.request, ACCEPTED)

    world.on_event = answer


@pytest.mark.requirement("16.RPC.4")
def test_calls_are_answered_before_the_boot_is():
    async def story(world):
        answers_itself(world)
        world.central.rules["Boot"] = None
        world.central.on_connect = lambda socket: socket.say([2, "q1", "Get", {}])
        await asyncio.sleep(1)
        world.central.socket.say([2, "q2", "Ask", {}])
        await asyncio.sleep(1)

    assert play(story).central.answers == [
        [3, "q1", {"registration": "none"}], [3, "q2", {"status": "accepted"}]]


@pytest.mark.requirement("16.RPC.4")
def test_calls_are_answered_while_one_of_ours_is_open():
    async def story(world):
        answers_itself(world)
        world.central.rules["Start"] = None
        world.books.put(started(1))
        await asyncio.sleep(5)
        for number in range(20):
            world.central.socket.say([2, f"q{number}", "Ask", {}])
            await asyncio.sleep(0.1)

    world = play(story)

    assert [one[1] for one in world.central.answers] == [f"q{number}" for number in range(20)]
    assert world.central.said("Start") == ["Start"]


def test_an_answer_goes_out_before_what_follows_from_it():
    async def story(world):
        await asyncio.sleep(1)

        def answer(event):
            if isinstance(event, Request):
                world.link.answer(event.request, ACCEPTED)
                world.books.put(started(1))
                world.link.facts_waiting()

        world.on_event = answer
        world.central.socket.say([2, "q1", "Ask", {}])
        await asyncio.sleep(1)

    heard = play(story).central.socket.heard

    assert [frame[:2] for frame in heard][-2] == [3, "q1"] and heard[-1][2] == "Start"


def test_a_decision_may_take_its_time_and_disturbs_nobody():
    async def story(world):
        await asyncio.sleep(1)
        world.central.socket.say([2, "q1", "Ask", {}])
        world.central.socket.say([2, "q2", "Get", {}])
        world.books.put(started(1), ended(1, 110))
        world.link.facts_waiting()
        await asyncio.sleep(10)
        assert world.books.delivered() == [1, 2]
        (request,) = world.posted(Request)
        world.link.answer(request.request, ACCEPTED)
        await asyncio.sleep(1)

    assert [one[1] for one in play(story).central.answers] == ["q2", "q1"]


def test_no_decision_in_time_is_answered_by_an_error_once():
    async def story(world):
        await asyncio.sleep(1)
        world.central.socket.say([2, "q1", "Ask", {}])
        world.central.socket.say([2, "q2", "Ask", {}])
        await asyncio.sleep(25)
        for event in world.posted(Request):
            world.link.answer(event.request, ACCEPTED)
        await asyncio.sleep(25)

    answers = play(story).central.answers

    assert [one[:3] for one in answers] == [
        [4, "q1", "InternalError"], [4, "q2", "InternalError"]]


def test_an_answer_is_given_once_even_if_the_core_answers_twice():
    async def story(world):
        await asyncio.sleep(1)
        world.central.socket.say([2, "q1", "Ask", {}])
        await asyncio.sleep(1)
        (request,) = world.posted(Request)
        world.link.answer(request.request, ACCEPTED)
        world.link.answer(request.request, Reply(Outcome.REJECTED))
        world.link.answer(RequestId(Origin.CSMS, 999), ACCEPTED)
        await asyncio.sleep(1)

    assert play(story).central.answers == [[3, "q1", {"status": "accepted"}]]


def test_only_so_many_calls_are_worked_on_at_once():
    async def story(world):
        await asyncio.sleep(1)
        for number in range(12):
            world.central.socket.say([2, f"q{number}", "Ask", {}])
        await asyncio.sleep(1)
        assert len(world.posted(Request)) == 8
        assert [one[:3] for one in world.central.answers] == [
            [4, f"q{number}", "GenericError"] for number in range(8, 12)]

    play(story)


def test_a_repeated_call_is_answered_again_and_not_carried_out_twice():
    async def story(world):
        answers_itself(world)
        await asyncio.sleep(1)
        for _ in range(3):
            world.central.socket.say([2, "q1", "Ask", {}])
            await asyncio.sleep(1)

    world = play(story)

    assert world.central.answers == [[3, "q1", {"status": "accepted"}]] * 3
    assert len(world.posted(Request)) == 1


def test_a_call_repeated_while_it_is_worked_on_gets_one_answer():
    async def story(world):
        await asyncio.sleep(1)
        world.central.socket.say([2, "q1", "Ask", {}])
        world.central.socket.say([2, "q1", "Ask", {}])
        world.central.socket.say([2, "q1", "Ask", {"other": 1}])
        await asyncio.sleep(1)
        (request,) = world.posted(Request)
        world.link.answer(request.request, ACCEPTED)
        await asyncio.sleep(1)

    assert [one[:3] for one in play(story).central.answers] == [
        [4, "q1", "GenericError"], [3, "q1", {"status": "accepted"}]]


def test_ids_may_begin_again_on_a_new_connection():
    async def story(world):
        answers_itself(world)
        await asyncio.sleep(1)
        world.central.socket.say([2, "1", "Ask", {}])
        await asyncio.sleep(1)
        world.central.socket.drop()
        await asyncio.sleep(40)
        world.central.socket.say([2, "1", "Get", {}])
        await asyncio.sleep(1)

    assert play(story).central.answers == [
        [3, "1", {"status": "accepted"}], [3, "1", {"registration": "accepted"}]]


def test_an_answer_whose_connection_is_gone_is_let_go():
    async def story(world):
        await asyncio.sleep(1)
        world.central.socket.say([2, "q1", "Ask", {}])
        await asyncio.sleep(1)
        world.central.socket.drop()
        await asyncio.sleep(40)
        (request,) = world.posted(Request)
        world.link.answer(request.request, ACCEPTED)
        await asyncio.sleep(30)

    world = play(story)

    assert world.central.answers == [] and len(world.central.sockets) == 2


@pytest.mark.requirement("16.RPC.7")
@pytest.mark.parametrize(("frame", "code"), [
    ([2, "q", "NoSuchThing", {}], "NotImplemented"),
    ([2, "q", "Start", {}], "NotSupported"),
    ([2, "q", "Ask", {"bad": 1}], "TypeConstraintViolation"),
    ([2, "q", "Crash", {}], "InternalError"),
    ([2, "q", "BadAnswer", {}], "InternalError"),
    ([2, "q", "Ask"], "FormationViolation"),
    ([2, "q", ["Ask"], {}], "FormationViolation"),
    ([2, "q", {"q": 1}, {}], "FormationViolation"),
    ([2, "q", "Ask", [1]], "FormationViolation"),
    ([2, "q", "Ask", {}, {}], "FormationViolation"),
    ('[2,"q","Ask",{"x":NaN}]', "FormationViolation"),
    ('[2,"q","Ask",{"x":' + "1" * 5000 + "}]", "FormationViolation"),
    ('[2,"q","Ask",{"x":1,"x":2}]', "FormationViolation"),
    ('[2,"q","Ask",{"x":"\\udc00"}]', "FormationViolation"),
    ('[2,"q","Ask",{"x":' + "[" * 500 + "]" * 500 + "}]", "FormationViolation"),
    (json.dumps([2, "q", "Ask", {"x": "y" * 300_000}]), "FormationViolation"),
], ids=lambda value: str(value)[:40])
def test_a_call_that_is_refused_is_answered_by_its_error_and_life_goes_on(frame, code):
    async def story(world):
        await asyncio.sleep(1)
        world.central.socket.say(frame)
        world.central.socket.say([2, "after", "Get", {}])
        await asyncio.sleep(1)

    world = play(story)
    error, after = world.central.answers

    assert error[:3] == [4, "q", code] and len(error) == 5
    assert len(error[3]) <= 255 and error[4] == {}
    assert after == [3, "after", {"registration": "accepted"}]
    assert world.link.state.registration.value == "accepted"


@pytest.mark.requirement("16.RPC.8")
@pytest.mark.parametrize("frame", [
    "", "hello", "[", "[" * 100_000, '{"a":1}', "[]", "[2]", '[2,{"z":1},"Ask",{}]',
    '[2,5,"Ask",{}]', '[5,"q",{}]', '[6,"q","Ask",{}]', '["2","q","Ask",{}]', b"\x00\x01",
    '[3,"unknown",{}]', '[4,"unknown","GenericError","",{}]', '[3,"x"]', '[4,"x"]', "null", "\x00",
], ids=lambda value: repr(value)[:30])
def test_what_nobody_waits_for_is_not_answered_and_life_goes_on(frame):
    async def story(world):
        answers_itself(world)
        await asyncio.sleep(1)
        world.central.socket.say(frame)
        world.central.socket.say([2, "after", "Ask", {}])
        world.books.put(started(1))
        world.link.facts_waiting()
        await asyncio.sleep(1)

    world = play(story)

    assert world.central.answers == [[3, "after", {"status": "accepted"}]]
    assert world.books.delivered() == [1] and len(world.central.sockets) == 1


@pytest.mark.requirement("16.RPC.8")
def test_5000_strays_leave_the_open_call_and_the_log_alone(caplog):
    caplog.set_level(logging.WARNING)

    async def story(world):
        world.central.rules["Start"] = None
        world.books.put(started(1))
        await asyncio.sleep(5)
        for number in range(5000):
            world.central.socket.say([3, f"s{number}", {}])
        start = world.central.calls[-1]
        world.central.socket.say([3, start[1], {"id": 7}])
        await asyncio.sleep(5)

    world = play(story)

    assert world.books.delivered() == [1] and world.link.state.strays == 5000
    assert sum("nothing we asked" in one.getMessage() for one in caplog.records) <= 5


@pytest.mark.requirement("16.RPC.8")
def test_a_flood_of_bad_frames_is_counted_logged_sparsely_and_told_once(caplog):
    caplog.set_level(logging.WARNING)

    async def story(world):
        await asyncio.sleep(1)
        for _ in range(3000):
            world.central.socket.say("garbage")
        await asyncio.sleep(1)

    world = play(story)

    assert world.link.state.bad_frames == 3000
    assert sum("bad frame" in one.getMessage() for one in caplog.records) <= 5
    assert [one.kind for one in world.posted(SecurityEventNoticed)] == ["InvalidMessages"]


def test_who_sends_much_and_reads_nothing_is_read_no_more():
    async def story(world):
        await asyncio.sleep(1)
        socket = world.central.socket
        reading = asyncio.Event()

        async def stuck(text):
            await reading.wait()
            socket.heard.append(json.loads(text))

        socket.send = stuck
        for number in range(1000):
            socket.say([2, f"q{number}", "Get", {}])
        await asyncio.sleep(1)
        assert socket._in.qsize() > 900
        reading.set()
        await asyncio.sleep(1)
        assert len([frame for frame in socket.heard if frame[0] == 3]) == 1000

    play(story)


def test_what_passes_can_be_watched_without_secrets():
    async def story(world):
        seen = []
        stop = world.tap.listen(seen.append)
        answers_itself(world)
        await asyncio.sleep(1)
        world.central.socket.say([2, "q1", "Ask", {"idTag": "04A1B2C3D4E59F"}])
        world.central.socket.say("garbage")
        world.central.socket.say([3, "stray", {}])
        await asyncio.sleep(1)
        stop()
        world.link.notify(sample_notice())
        await asyncio.sleep(1)
        world.seen = seen

    world = play(story)
    told = [(one.direction.value, one.action, one.outcome) for one in world.seen]

    assert told == [
        ("sent", "Boot", "call"), ("received", "Boot", "result"),
        ("sent", "Status", "call"), ("received", "Status", "result"),
        ("sent", "Status", "call"), ("received", "Status", "result"),
        ("received", "Ask", "call"), ("sent", "Ask", "result"),
        ("received", "", "bad"), ("received", "", "stray")]
    assert "B2C3" not in "".join(one.text for one in world.seen)
    assert len(world.tap.recent()) == 12
    assert world.seen[1].latency_ms is not None
