"""Delivery of the books: order, repeats, giving up, and who may pass whom."""

import asyncio

import pytest
from support import virtual_loop
from support.link_world import (
    World,
    alert,
    ended,
    running,
    sample_notice,
    sampled,
    started,
)

from cpctl.core.effects import AuthorizeToken
from cpctl.core.events import AuthorizationAnswered, FactAbandoned
from cpctl.core.values import IdToken
from cpctl.dialects.base import CallError, NoVerdict

ASK = AuthorizeToken(4, IdToken("04A1"))
ERROR = CallError("InternalError", "not today")


def play(story, **settings):
    async def told():
        world = World(**settings)
        await running(world, lambda: story(world))
        return world

    return virtual_loop.run(told())


def session(number, base=100):
    return started(number), sampled(number, base + 10), ended(number, base + 20)


@pytest.mark.requirement("16.OFF.2", "16.OFF.3")
@pytest.mark.octt("TC_039_CS")
def test_what_was_recorded_offline_is_told_in_order_with_the_ids_received():
    ids = iter(range(50, 60))

    async def story(world):
        world.central.rules["Start"] = lambda frame: {"id": next(ids)}
        world.books.put(*session(1), *session(2), started(3), started(4), ended(3, 7), ended(4, 8))
        await asyncio.sleep(20)

    world = play(story)

    assert world.books.delivered() == list(range(1, 11))
    assert world.central.said("Start", "Sample", "Stop") == [
        "Start", "Sample", "Stop", "Start", "Sample", "Stop", "Start", "Start", "Stop", "Stop"]
    assert [one["id"] for one in world.central.payloads("Stop")] == [50, 51, 52, 53]


def test_the_same_transaction_id_twice_confuses_no_session():
    async def story(world):
        world.books.put(started(1), started(2), ended(1, 11), ended(2, 22))
        await asyncio.sleep(20)

    world = play(story)

    assert world.central.payloads("Stop") == [{"id": 7, "wh": 11}, {"id": 7, "wh": 22}]
    assert world.books.aliases == {1: 7, 2: 7}


@pytest.mark.requirement("16.OFF.4")
def test_an_error_is_followed_by_waits_of_interval_times_sends_then_the_next_fact():
    async def story(world):
        sent = []

        def refuse(frame):
            sent.append(asyncio.get_running_loop().time())
            return ERROR

        world.central.rules["Sample"] = refuse
        world.books.put(*session(1))
        await asyncio.sleep(300)
        world.sent = sent

    world = play(story, link__attempts="3", link__retry_s="60")

    gaps = [round(after - before) for before, after in zip(world.sent, world.sent[1:],
                                                           strict=False)]
    assert gaps == [60, 120]
    assert world.books.states == {1: "delivered", 2: "abandoned", 3: "delivered"}
    assert "InternalError" in world.books.reasons[2]
    assert [one.fact for one in world.posted(FactAbandoned)] == [2]


@pytest.mark.requirement("16.OFF.4")
def test_one_error_gives_up_no_finished_session():
    async def story(world):
        world.central.rules["Start"] = [ERROR, {"id": 7}]
        world.central.rules["Stop"] = [ERROR, {}]
        world.books.put(*session(1))
        await asyncio.sleep(300)

    world = play(story)

    assert world.books.delivered() == [1, 2, 3]
    assert world.central.payloads("Stop")[-1] == {"id": 7, "wh": 120}


@pytest.mark.requirement("16.RPC.5")
def test_a_repeat_keeps_its_id_and_no_two_messages_share_one():
    async def story(world):
        world.central.rules["Start"] = [ERROR, ERROR, {"id": 7}]
        world.books.put(*session(1), *session(2))
        await asyncio.sleep(400)

    calls = play(story).central.calls
    starts = [frame[1] for frame in calls if frame[2] == "Start" and frame[3]["wh"] == 100]

    assert starts[0] == starts[1] == starts[2] != starts[3]
    assert len({frame[1] for frame in calls}) == len(calls) - 2


@pytest.mark.requirement("16.TX.6")
def test_a_start_given_up_leaves_minus_one_to_samples_and_stop():
    async def story(world):
        world.central.rules["Start"] = ERROR
        world.books.put(*session(1))
        await asyncio.sleep(400)

    world = play(story)

    assert world.books.states == {1: "abandoned", 2: "delivered", 3: "delivered"}
    assert world.central.payloads("Sample") == [{"id": -1, "wh": 110}]
    assert world.central.payloads("Stop") == [{"id": -1, "wh": 120}]


@pytest.mark.requirement("16.TX.6")
def test_a_stop_whose_start_left_no_id_goes_out_with_minus_one():
    async def story(world):
        world.books.put(ended(1, 120))
        await asyncio.sleep(5)

    assert play(story).central.payloads("Stop") == [{"id": -1, "wh": 120}]


@pytest.mark.requirement("16.OFF.4")
def test_silence_on_a_living_link_is_an_attempt():
    async def story(world):
        world.central.rules["Sample"] = None
        world.books.put(*session(1))
        await asyncio.sleep(1000)

    world = play(story)

    assert len(world.central.payloads("Sample")) == 3
    assert world.books.states == {1: "delivered", 2: "abandoned", 3: "delivered"}


@pytest.mark.requirement("16.OFF.4", "16.OFF.5")
def test_silence_on_a_dead_link_is_no_attempt_and_ends_the_link():
    async def story(world):
        world.central.rules["Sample"] = None
        world.books.put(started(1))
        await asyncio.sleep(5)
        world.central.socket.pongs = False
        world.books.put(sampled(1, 110))
        world.link.facts_waiting()
        await asyncio.sleep(55)
        assert not world.link.state.online
        assert world.books.entries[2].attempts == 0

    play(story, link__ping_s="600")


def test_without_pings_three_silent_calls_end_the_link():
    async def story(world):
        world.central.rules["Sample"] = None
        world.books.put(*session(1))
        await asyncio.sleep(1000)

    world = play(story, link__ping_s="0")

    assert len(world.central.sockets) > 1
    assert world.books.entries[2].attempts == 0
    assert world.books.states[2] == "waiting"


@pytest.mark.requirement("16.OFF.5")
def test_a_lost_connection_is_no_attempt_and_fails_the_call_at_once():
    async def story(world):
        world.central.rules["Start"] = [None, None, None, None, {"id": 7}]
        world.books.put(*session(1))
        for _ in range(4):
            await asyncio.sleep(5)
            world.central.socket.drop()
            await asyncio.sleep(22)
        world.attempts = world.books.entries[1].attempts

    world = play(story, link__wait_repeat="0")

    assert world.attempts == 0
    assert len(world.central.payloads("Start")) == 5
    assert world.books.delivered() == [1, 2, 3]
    assert world.books.offline_marks >= 4


@pytest.mark.requirement("16.OFF.5")
def test_by_option_a_lost_connection_counts():
    async def story(world):
        world.central.rules["Start"] = None
        world.books.put(started(1))
        for _ in range(4):
            await asyncio.sleep(5)
            world.central.socket.drop()
            await asyncio.sleep(300)

    assert play(story, queue__count_disconnect="true").books.states == {1: "abandoned"}


@pytest.mark.requirement("16.OFF.4")
@pytest.mark.parametrize(("option", "state"), [("forever", "waiting"), ("once", "abandoned")])
def test_attempts_of_zero_mean_for_ever_or_once(option, state):
    async def story(world):
        world.central.rules["Start"] = ERROR
        world.books.put(started(1))
        await asyncio.sleep(100_000)

    world = play(story, link__attempts="0", queue__zero_attempts=option)

    assert world.books.states == {1: state}
    assert (len(world.central.payloads("Start")) > 20) == (option == "forever")


def test_the_number_of_attempts_survives_a_restart():
    async def story(world):
        world.central.rules["Start"] = ERROR
        (number,) = world.books.put(started(1))
        await world.books.fail(number)
        await world.books.fail(number)
        await asyncio.sleep(10)

    world = play(story)

    assert len(world.central.payloads("Start")) == 1
    assert world.books.states == {1: "abandoned"}


@pytest.mark.requirement("16.RPC.6")
def test_a_late_answer_still_settles_its_fact():
    async def story(world):
        world.central.rules["Start"] = None
        world.books.put(*session(1))
        await asyncio.sleep(40)
        late = next(frame for frame in world.central.calls if frame[2] == "Start")
        world.central.socket.say([3, late[1], {"id": 99}])
        await asyncio.sleep(5)

    world = play(story)

    assert len(world.central.payloads("Start")) == 1
    assert world.books.delivered() == [1, 2, 3]
    assert world.central.payloads("Stop") == [{"id": 99, "wh": 120}]


@pytest.mark.requirement("16.RPC.6")
def test_an_id_that_comes_after_its_start_was_given_up_is_kept():
    async def story(world):
        world.central.rules.update(Start=None, Sample=None)
        world.books.put(*session(1))
        await asyncio.sleep(290)
        assert world.books.states[1] == "abandoned"
        late = next(frame for frame in world.central.calls if frame[2] == "Start")
        world.central.socket.say([3, late[1], {"id": 99}])
        world.central.rules["Sample"] = {}
        await asyncio.sleep(300)

    world = play(story)

    assert world.books.aliases == {1: 99}
    assert world.central.payloads("Stop") == [{"id": 99, "wh": 120}]


def test_a_nonsense_answer_is_a_failed_attempt_and_is_repeated():
    async def story(world):
        world.central.rules["Start"] = [{"bad": "nonsense"}, {"id": 7}]
        world.books.put(*session(1))
        await asyncio.sleep(100)

    world = play(story)

    assert world.books.delivered() == [1, 2, 3]
    assert len(world.central.payloads("Start")) == 2


def test_an_answer_that_the_translator_chokes_on_loses_only_its_meaning():
    async def story(world):
        world.central.rules["Start"] = {"no id": True}
        world.books.put(*session(1))
        await asyncio.sleep(10)

    world = play(story)

    assert world.books.delivered() == [1, 2, 3]
    assert world.central.payloads("Stop") == [{"id": -1, "wh": 120}]


def test_a_fact_that_cannot_be_rendered_is_set_aside_and_the_next_one_goes():
    async def story(world):
        world.dialect.broken_on.add(110)
        world.books.put(*session(1))
        await asyncio.sleep(5)

    world = play(story)

    assert world.books.states == {1: "delivered", 2: "abandoned", 3: "delivered"}
    assert "ZeroDivisionError" in world.books.reasons[2]
    (abandoned,) = world.posted(FactAbandoned)
    assert (abandoned.fact, abandoned.session) == (2, 1)


def test_a_payload_that_json_cannot_say_sets_its_fact_aside():
    async def story(world):
        world.books.put(started(1), sampled(1, float("nan")), ended(1, 120))
        await asyncio.sleep(5)

    assert play(story).books.states == {1: "delivered", 2: "abandoned", 3: "delivered"}


def test_a_fact_told_by_two_calls_goes_on_with_the_second_after_a_lost_link():
    async def story(world):
        world.dialect.two_calls = True
        world.central.rules["Sample"] = [{}, None, {}]
        world.books.put(*session(1))
        await asyncio.sleep(5)
        assert world.books.entries[2].calls_settled == 1
        world.central.socket.drop()
        await asyncio.sleep(60)

    world = play(story)
    ids = [frame[1] for frame in world.central.calls if frame[2] == "Sample"]

    assert world.books.delivered() == [1, 2, 3]
    assert len(ids) == 3 and ids[1] == ids[2] != ids[0]


@pytest.mark.requirement("16.OFF.2")
def test_news_never_hold_up_money():
    async def story(world):
        world.central.rules["Alert"] = None
        world.books.put(alert("StartupOfTheDevice"), *session(1), *session(2))
        await asyncio.sleep(5)

    assert play(story).books.delivered() == [2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("code", ["NotImplemented", "NotSupported"])
def test_a_central_system_that_knows_no_alerts_is_not_asked_again(code):
    async def story(world):
        world.central.rules["Alert"] = CallError(code)
        world.books.put(alert("A"), alert("B"), *session(1))
        await asyncio.sleep(500)

    world = play(story)

    assert world.books.delivered() == [1, 2, 3, 4, 5]
    assert len(world.central.payloads("Alert")) == 2


def test_an_alert_refused_for_another_reason_is_given_up_after_its_attempts():
    async def story(world):
        world.central.rules["Alert"] = ERROR
        world.books.put(alert("A"))
        await asyncio.sleep(500)

    world = play(story, link__attempts="0")

    assert world.books.states == {1: "abandoned"}


def test_a_status_that_is_never_answered_holds_up_nothing_for_longer_than_one_call():
    async def story(world):
        world.central.rules["Status"] = None
        world.books.put(*session(1), *session(2))
        await asyncio.sleep(31)
        assert world.books.delivered() == [1, 2, 3, 4, 5, 6]
        asked = await world.link.ask(ASK)
        assert isinstance(asked[0], AuthorizationAnswered)
        await asyncio.sleep(1000)

    world = play(story)

    assert len(world.central.payloads("Status")) <= 6


def test_notices_that_are_never_answered_go_to_the_back_and_end():
    async def story(world):
        world.central.rules["Values"] = None
        await asyncio.sleep(1)
        for number in range(1, 6):
            world.link.notify(sample_notice())
            world.books.put(*session(number))
        world.link.facts_waiting()
        await asyncio.sleep(31)
        assert len(world.books.delivered()) == 15
        await asyncio.sleep(3000)

    assert len(play(story).central.payloads("Values")) == 15


def test_a_question_passes_a_long_queue():
    async def story(world):
        for number in range(1, 200):
            world.books.put(*session(number))
        await asyncio.sleep(0)
        while not world.books.delivered():
            await asyncio.sleep(0)
        asked = await world.link.ask(ASK)
        assert isinstance(asked[0], AuthorizationAnswered)
        assert len(world.books.delivered()) < 20
        await asyncio.sleep(60)
        assert len(world.books.delivered()) == 597

    play(story)


def test_many_notices_leave_the_facts_their_turn():
    async def story(world):
        await asyncio.sleep(1)
        for _ in range(100):
            world.link.notify(sample_notice())
        world.books.put(*session(1))
        await asyncio.sleep(5)

    said = play(story).central.said("Values", "Start", "Sample", "Stop")

    assert said.index("Start") <= 33 and said[-1] == "Values"


@pytest.mark.parametrize("answer", [ERROR, None, {"bad": 1}, {"status": "Strange"}],
                         ids=["an error", "silence", "nonsense", "an unknown word"])
def test_a_question_without_a_verdict_is_answered_by_its_absence(answer):
    async def story(world):
        world.central.rules["Authorize"] = answer
        await asyncio.sleep(1)
        world.answer = await world.link.ask(ASK)

    world = play(story)

    assert world.answer in ((NoVerdict(4),), ())


def test_a_question_whose_link_goes_is_answered_at_once():
    async def story(world):
        world.central.rules["Authorize"] = None
        await asyncio.sleep(1)
        asked = asyncio.create_task(world.link.ask(ASK))
        behind = asyncio.create_task(world.link.ask(ASK))
        await asyncio.sleep(1)
        world.central.socket.drop()
        before = asyncio.get_running_loop().time()
        assert await asked == (NoVerdict(4),) == await behind
        assert asyncio.get_running_loop().time() - before < 0.05
        assert await world.link.ask(ASK) == (NoVerdict(4),)

    play(story)


def test_a_question_behind_a_dead_call_waits_no_longer_than_a_call():
    async def story(world):
        await asyncio.sleep(1)
        world.central.rules.update(Start=None, Authorize=None)
        world.books.put(started(1))
        world.link.facts_waiting()
        await asyncio.sleep(1)
        before = asyncio.get_running_loop().time()
        assert await world.link.ask(ASK) == (NoVerdict(4),)
        assert asyncio.get_running_loop().time() - before < 61

    play(story)


def test_who_gave_up_asking_disturbs_nobody():
    async def story(world):
        world.central.rules["Authorize"] = None
        await asyncio.sleep(1)
        asked = [asyncio.create_task(world.link.ask(ASK)) for _ in range(3)]
        await asyncio.sleep(1)
        for one in asked:
            one.cancel()
        await asyncio.sleep(60)
        world.central.rules["Authorize"] = {"status": "Accepted"}
        assert isinstance((await world.link.ask(ASK))[0], AuthorizationAnswered)

    assert len(play(story).central.payloads("Authorize")) == 2


def test_books_that_cannot_be_written_hold_their_lane_until_they_can():
    async def story(world):
        world.books.put(*session(1))
        world.books.broken = 4
        await asyncio.sleep(2)
        assert world.central.said("Start", "Stop") == ["Start"]
        assert isinstance((await world.link.ask(ASK))[0], AuthorizationAnswered)
        await asyncio.sleep(60)

    world = play(story)

    assert world.books.delivered() == [1, 2, 3]
    assert world.central.said("Start", "Sample", "Stop") == ["Start", "Sample", "Stop"]


def test_at_the_end_what_can_be_delivered_is_delivered():
    async def story(world):
        await asyncio.sleep(1)
        for number in range(1, 50):
            world.books.put(*session(number))
        await world.link.drain(5.0)
        assert len(world.books.delivered()) == 147
        world.central.rules["Start"] = ERROR
        world.books.put(started(60))
        before = asyncio.get_running_loop().time()
        await world.link.drain(5.0)
        assert asyncio.get_running_loop().time() - before < 1
        world.central.rules["Start"] = None
        world.books.put(started(61))
        world.central.socket.drop()
        await world.link.drain(5.0)

    play(story)


def test_a_thousand_sessions_are_told_once_each_though_the_link_breaks():
    async def story(world):
        await asyncio.sleep(1)
        for number in range(1, 1001):
            world.books.put(*session(number))
        world.link.facts_waiting()
        told = 0
        while told < 3000:
            told += 500
            for _ in range(20_000):
                if len(world.books.states) and world.books.settled >= told:
                    break
                await asyncio.sleep(0)
            world.central.socket.drop()
            await asyncio.sleep(400)

    world = play(story)

    assert len(world.books.delivered()) == 3000
    assert len({frame[1] for frame in world.central.calls if frame[2] == "Stop"}) == 1000


def test_a_socket_that_fails_at_sending_is_left_at_once():
    async def story(world):
        await asyncio.sleep(1)
        world.central.socket.dead = True
        world.books.put(*session(1))
        world.link.facts_waiting()
        await asyncio.sleep(1)
        assert not world.link.state.online
        await asyncio.sleep(60)

    world = play(story)

    assert world.books.delivered() == [1, 2, 3] and len(world.central.sockets) == 2
