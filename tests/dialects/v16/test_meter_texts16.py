"""MeterValues made from forms: the very texts that the usual way makes, whatever is told."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dialect_world import TWINS, TWO_EVSES, World, moment, sampled, started, wh

from cpctl.core.facts import TransactionSampled
from cpctl.core.values import Measured, Quantity, ReadingContext
from cpctl.dialects import frames
from cpctl.dialects.v16.dialect import Dialect16

IDENTITY = "6f3b2c1d-0000-5000-8000-00000000000a"
PLAIN = (wh(1100), Measured(Quantity.POWER_IMPORT, 11_040.0),
         Measured(Quantity.CURRENT_IMPORT, 15.98, "L1"), Measured(Quantity.VOLTAGE, 230.1, "L1"))

VALUES = st.one_of(
    st.floats(), st.integers(-5, 10**15), st.floats(0, 1e5), st.floats(-1, 1),
    st.integers(0, 10**6).map(lambda number: number / 8),  # ties when rounded
    st.integers(0, 10**6).map(lambda number: number / 1000 + 0.0005))
MEASURED = st.builds(Measured, st.sampled_from(Quantity), VALUES,
                     st.sampled_from([None, "L1", "L2", "L3"]))
SAMPLES = st.builds(
    lambda told, context, place, seconds, session: sampled(
        seconds, 1000, session, told=tuple(told), context=context, evse=place[0],
        connector=place[1]),
    st.lists(MEASURED, max_size=4), st.sampled_from(ReadingContext),
    st.sampled_from([(1, 1), (1, 2), (2, 1), (9, 1)]), st.floats(0, 1e6), st.sampled_from([7, 8]))


def usual(dialect: Dialect16, fact: TransactionSampled, world: World) -> str | None:
    """The frame as it is made from `calls`; None: no frame comes of it."""
    (call,) = dialect.calls(fact, world.context) or (None,)
    if call is None or dialect.check(call.action, call.payload, response=False, ours=True):
        return None
    return frames.call_text(IDENTITY, call.action, call.payload)


def quick(dialect: Dialect16, fact: TransactionSampled, world: World) -> str | None:
    made = dialect.sealed(fact, IDENTITY, world.context)
    if made is None:
        return None
    action, text = made
    assert action == "MeterValues"
    return text


@pytest.mark.requirement("16.RPC.13", "16.MET.6")
@given(st.lists(SAMPLES, min_size=1, max_size=6), st.sampled_from([-1, 0, 9, 2**40, "a-9"]),
       st.sampled_from([TWINS, TWO_EVSES]),
       st.sampled_from(["", "compat.old_celsius", "compat.meter_begin_message"]))
def test_a_text_made_from_a_form_is_the_usual_one(facts: list[TransactionSampled], alias: int | str,
                                                  layout: object, option: str) -> None:
    dialect = Dialect16()
    world = World(aliases={7: alias, 8: 3}, layout=layout)  # type: ignore[arg-type]
    world.set({option: "true"} if option else {})
    world.record(started(), *(one for one in facts if one.session == 7))

    for fact in (one for one in facts for _ in range(2)):
        for changed in (fact, replace(fact, told=tuple(  # the same shape with other numbers
                replace(one, value=abs(one.value) + 0.25) for one in fact.told))):
            made = quick(dialect, changed, world)
            assert made is None or made == usual(dialect, changed, world)


def test_what_is_plain_is_told_by_its_form_without_another_look_at_it(
        monkeypatch: pytest.MonkeyPatch) -> None:
    dialect, world = Dialect16(), World(aliases={7: 12})
    first, second = (sampled(seconds, 1000, told=tuple(
        replace(one, value=one.value + seconds) for one in PLAIN)) for seconds in (60.0, 120.0))
    expected = usual(dialect, second, world)
    assert quick(dialect, first, world) == usual(dialect, first, world)
    checked: list[str] = []
    monkeypatch.setattr(dialect, "check", lambda action, *_, **__: checked.append(action))

    made = quick(dialect, second, world)

    assert made == expected
    assert not checked


@pytest.mark.parametrize("odd", [
    lambda fact: replace(fact, session=8),  # no id yet
    lambda fact: replace(fact, told=()),
    lambda fact: replace(fact, told=(wh(math.nan), *PLAIN[1:])),
    lambda fact: replace(fact, told=(*PLAIN[:3], replace(PLAIN[3], value=math.inf))),
    lambda fact: replace(fact, told=(PLAIN[0], replace(PLAIN[1], value=-12.0), *PLAIN[2:])),
    lambda fact: replace(fact, told=(PLAIN[0], replace(PLAIN[1], value=-0.01), *PLAIN[2:])),
])
def test_what_is_not_plain_goes_the_usual_way(
        odd: Callable[[TransactionSampled], TransactionSampled]) -> None:
    dialect, world = Dialect16(), World(aliases={7: 12})
    fact = sampled(60, 1100, told=PLAIN)
    quick(dialect, fact, world)

    assert quick(dialect, odd(fact), world) is None
    assert quick(dialect, fact, world) == usual(dialect, fact, world)


def test_the_forms_of_many_shapes_do_not_pile_up() -> None:
    dialect, world = Dialect16(), World(aliases={7: 12})
    quantities = list(Quantity)[:9]

    for first in quantities:
        for second in quantities:
            told = (Measured(first, 1.0), Measured(second, 2.0))
            fact = sampled(60, 1100, told=told)
            assert quick(dialect, fact, world) == usual(dialect, fact, world)

    assert sum(map(len, dialect._meter_texts._forms.values())) <= 64


@pytest.mark.requirement("16.TX.6")
def test_an_option_that_is_turned_on_meanwhile_is_followed() -> None:
    dialect, world = Dialect16(), World(aliases={7: -1})
    fact = sampled(60, 1100, told=(Measured(Quantity.TEMPERATURE, 21.0),), at=moment(60))
    before = quick(dialect, fact, world)
    world.set({"compat.old_celsius": "true"})

    after = quick(dialect, fact, world)

    assert before is not None and '"transactionId":-1' in before and '"Celsius"' in before
    assert after is None
    assert '"Celcius"' in str(usual(dialect, fact, world))
