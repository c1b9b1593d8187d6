"""The bookkeeping of calls, without sockets."""

import random
import uuid

import pytest

from cpctl.dialects.frames import CallFrame
from cpctl.link.damper import Damper
from cpctl.link.desk import message_id, name_space
from cpctl.link.rpc import Clash, Match, New, OwnCalls, Repeated, TheirCalls


@pytest.mark.requirement("16.RPC.4")
def test_a_second_call_of_ours_is_a_mistake():
    calls = OwnCalls()
    calls.begin("a", "first", now_s=0.0, timeout_s=30.0)

    with pytest.raises(RuntimeError):
        calls.begin("b", "second", now_s=1.0, timeout_s=30.0)


def test_an_answer_finds_its_call_once():
    calls = OwnCalls()
    calls.begin("a", "mine", now_s=0.0, timeout_s=30.0)

    match, call = calls.answered("a")

    assert match is Match.OPEN and call.about == "mine"
    assert calls.answered("a") == (Match.STRAY, None)


@pytest.mark.requirement("16.RPC.6")
def test_an_answer_after_the_time_is_known_as_late():
    calls = OwnCalls()
    calls.begin("a", "mine", now_s=0.0, timeout_s=30.0)

    assert calls.expire(29.9) is None
    assert calls.expire(30.0).id == "a"
    calls.begin("b", "other", now_s=31.0, timeout_s=30.0)

    match, call = calls.answered("a")
    assert match is Match.LATE and call.about == "mine"
    assert calls.open.id == "b"


def test_a_repetition_under_the_same_id_is_the_same_call():
    calls = OwnCalls()
    calls.begin("a", "first try", now_s=0.0, timeout_s=30.0)
    calls.expire(30.0)
    calls.begin("a", "second try", now_s=90.0, timeout_s=30.0)

    match, call = calls.answered("a")

    assert match is Match.OPEN and call.about == "second try"
    assert calls.answered("a")[0] is Match.STRAY


@pytest.mark.requirement("16.RPC.8")
def test_5000_strays_are_counted_and_leave_nothing_behind():
    calls = OwnCalls()
    calls.begin("a", "mine", now_s=0.0, timeout_s=30.0)

    for number in range(5000):
        assert calls.answered(f"s{number}") == (Match.STRAY, None)

    assert calls.strays == 5000
    assert calls.answered("a")[0] is Match.OPEN


def test_only_so_many_late_calls_are_remembered():
    calls = OwnCalls()
    for number in range(100):
        calls.begin(f"c{number}", number, now_s=0.0, timeout_s=1.0)
        calls.expire(2.0)

    assert calls.answered("c0")[0] is Match.STRAY
    assert calls.answered("c99")[0] is Match.LATE


def call(id="a", action="Reset", **payload):
    return CallFrame(id, action, payload)


def test_a_repeated_call_gets_its_answer_again_and_is_not_carried_out_twice():
    theirs = TheirCalls()

    assert theirs.received(call()) == New()
    assert theirs.received(call()) == Repeated(None)
    assert theirs.answered("a", "text")
    assert theirs.received(call()) == Repeated("text")
    assert not theirs.answered("a", "another")


def test_the_last_64_answers_are_remembered():
    theirs = TheirCalls()
    for number in range(70):
        theirs.received(call(f"c{number}"))
        theirs.answered(f"c{number}", f"answer {number}")

    assert theirs.received(call("c5")) == New()
    assert theirs.received(call("c6")) == Repeated("answer 6")


def test_another_call_under_an_id_in_use_is_refused_and_under_a_used_one_carried_out():
    theirs = TheirCalls()
    theirs.received(call(type="Soft"))

    assert theirs.received(call(type="Hard")) == Clash()

    theirs.answered("a", "text")
    assert theirs.received(call(type="Hard")) == New()


@pytest.mark.requirement("16.RPC.5")
def test_ids_are_those_of_uuid5_and_fit_the_field():
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    for _ in range(50):
        book = uuid.UUID(int=rng.getrandbits(128))
        name = f"{rng.randrange(10**6)}.0.1.6"

        made = message_id(name_space(str(book)), name)

        assert made == str(uuid.uuid5(book, name))
        assert len(made) == 36


def test_a_flood_leaves_five_lines_a_minute_and_the_count_of_the_rest():
    damper = Damper()

    first = [damper.let_through(0.0) for _ in range(1000)]
    later = damper.let_through(60.0)

    assert first[:5] == [0] * 5 and set(first[5:]) == {None}
    assert later == 995 and damper.total == 1001
