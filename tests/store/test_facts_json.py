"""Facts and their rows: nothing is lost, nothing unknown is guessed."""

import json
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.books import Clock, sampled, started

from cpctl.core import facts
from cpctl.core.facts import Fact, FaultLatched
from cpctl.core.faults import FaultCode
from cpctl.core.now import Now, TimeQuality
from cpctl.core.values import Measured, Quantity
from cpctl.store import facts_json
from cpctl.store.errors import FactUnreadable, FactUnwritable

MOMENTS = st.builds(
    Now, mono_ns=st.integers(0, 1 << 62), boot=st.text(max_size=40),
    utc=st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),
    quality=st.sampled_from(TimeQuality))
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(1 << 53), 1 << 53), bool: st.booleans(), str: st.text(max_size=20),
    float: st.floats(allow_nan=False, allow_infinity=False), NoneType: st.none()}


def values(hint: Any) -> st.SearchStrategy[Any]:
    if get_origin(hint) is UnionType:
        return st.one_of([values(each) for each in get_args(hint)])
    if get_origin(hint) is tuple:
        return st.lists(values(get_args(hint)[0]), max_size=3).map(tuple)
    if hint is Now:
        return MOMENTS
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        hints = get_type_hints(hint)
        return st.builds(hint, **{each.name: values(hints[each.name]) for each in fields(hint)})
    return PLAIN[hint]


def subclasses(kind: type[Fact]) -> set[type[Fact]]:
    return {each for each in vars(facts).values()
            if isinstance(each, type) and issubclass(each, kind) and each is not kind}


def test_every_fact_of_the_core_is_known() -> None:
    assert set(facts_json.KINDS.values()) == subclasses(Fact)


@pytest.mark.parametrize("kind", sorted(subclasses(Fact), key=lambda each: each.__name__))
def test_every_fact_comes_back_as_it_was(kind: type[Fact]) -> None:
    @given(values(kind))
    def comes_back(fact: Fact) -> None:
        body = facts_json.encode(fact)
        at = facts_json.now_of(fact.at.boot, fact.at.mono_ns, facts_json.utc_us(fact.at.utc),
                               fact.at.quality.value)

        again = facts_json.decode(kind.__name__, body, at, fact.session)

        assert again == fact
        assert body.isascii()

    comes_back()


def body_of(fact: Fact) -> dict[str, Any]:
    body = json.loads(facts_json.encode(fact))
    assert isinstance(body, dict)
    return body


def read(kind: str, body: dict[str, Any]) -> Fact:
    return facts_json.decode(kind, json.dumps(body), Clock()(), 1)


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(FactUnreadable, match="TransactionTeleported"):
        read("TransactionTeleported", {"v": 1})


def test_a_field_of_a_newer_release_is_named() -> None:
    body = body_of(started(Clock()(), 1)) | {"tariff": "night"}

    with pytest.raises(FactUnreadable, match="tariff"):
        read("TransactionStarted", body)


def test_a_missing_field_is_named() -> None:
    body = body_of(started(Clock()(), 1))
    del body["register_wh"]

    with pytest.raises(FactUnreadable, match="register_wh"):
        read("TransactionStarted", body)


@pytest.mark.parametrize(("field", "value"), [
    ("register_wh", "12"), ("register_wh", 1.5), ("register_wh", True), ("token", ["A", "B", "C"]),
    ("token", {}), ("begin", 3), ("begin", [["flux", 1.0]]), ("offline", 1), ("trigger", None)])
def test_a_value_of_the_wrong_kind_is_named(field: str, value: Any) -> None:
    body = body_of(started(Clock()(), 1)) | {field: value}

    with pytest.raises(FactUnreadable, match=field):
        read("TransactionStarted", body)


@pytest.mark.parametrize("version", [0, 2, None, "1"])
def test_another_version_of_the_body_is_refused(version: Any) -> None:
    body = body_of(started(Clock()(), 1)) | {"v": version}

    with pytest.raises(FactUnreadable, match="version"):
        read("TransactionStarted", body)


@pytest.mark.parametrize("text", ["", "nothing", "[]", "3", "{"])
def test_a_body_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(FactUnreadable):
        facts_json.decode("TransactionStarted", text, Clock()(), 1)


def test_an_unknown_code_of_a_fault_is_named() -> None:
    body = body_of(FaultLatched(Clock()(), None, 1, FaultCode.OTHER)) | {"code": "GREMLINS"}

    with pytest.raises(FactUnreadable, match="GREMLINS"):
        read("FaultLatched", body)


def test_a_value_that_is_no_number_cannot_be_written() -> None:
    fact = sampled(Clock()(), 1)
    nan = type(fact)(fact.at, 1, 1, 1, fact.context, 5, 1,
                     (Measured(Quantity.VOLTAGE, float("nan")),))

    with pytest.raises(FactUnwritable, match="TransactionSampled"):
        facts_json.encode(nan)
