"""Whatever fits the schemas is translated: no sound message makes the translator fail."""

import random

import pytest
from support.dialect_world import CARD, TWINS, World, ended, sampled, started
from support.payload_maker import Maker, drawn_seed

from cpctl.core.effects import AnnounceBoot, AuthorizeToken, Heartbeat, SendVendorMessage
from cpctl.core.events import Request
from cpctl.core.values import Outcome, Registration, Reply
from cpctl.dialects.base import Call, CallError, Item, Result
from cpctl.dialects.payloads import Payloads
from cpctl.dialects.v16.dialect import ACTIONS, Dialect16

ROUNDS = 60
DIALECT = Dialect16()
PAYLOADS = Payloads("v16")
ITEMS: tuple[Item, ...] = (
    AnnounceBoot(), Heartbeat(), AuthorizeToken(1, CARD), SendVendorMessage("v", "m", "d"),
    started(), sampled(60, 1100), ended(90, 1200))


@pytest.mark.requirement("16.RPC.7", "16.RPC.13")
@pytest.mark.parametrize("action", [name for name, way in ACTIONS.items() if way != "out"])
def test_any_sound_call_is_a_request_or_has_a_sound_answer(action: str) -> None:
    rng = random.Random(drawn_seed())
    schema = PAYLOADS.schema(action)
    maker = Maker(rng, schema)
    for _ in range(ROUNDS):
        payload = maker.fit(schema)
        world = World(layout=TWINS, aliases={7: rng.choice((0, 1, 7))},
                      registration=rng.choice(tuple(Registration)))
        call = Call(action, payload)

        wrong = DIALECT.check(action, payload, response=False, ours=False)
        said = DIALECT.request(call, world.context)

        assert wrong is None or wrong == said == CallError(
            "NotSupported", f"{action} is not supported"), payload
        if isinstance(said, Request):
            said = DIALECT.reply(call, Reply(rng.choice(tuple(Outcome))), world.context)
        if isinstance(said, Result):
            assert DIALECT.check(action, said.payload, response=True, ours=False) is None


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: type(item).__name__)
def test_any_answer_that_passes_the_check_is_understood(item: Item) -> None:
    rng = random.Random(drawn_seed())
    world = World(aliases={7: 1})
    (call,) = DIALECT.calls(item, world.context)
    schema = PAYLOADS.schema(call.action, response=True)
    maker = Maker(rng, schema)
    understood = 0
    for n in range(10 * ROUNDS):
        answer = maker.fit(schema)
        for _ in range(n % 3):
            answer = maker.spoil(answer)
        if DIALECT.check(call.action, answer, response=True, ours=True) is None:
            DIALECT.events(item, call, Result(answer), world.context)
            understood += 1

    assert understood > ROUNDS
