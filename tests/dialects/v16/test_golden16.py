"""One golden pair per message and direction, byte for byte, judged by a second implementation.

Each payload must fit the schema in the eyes of jsonschema, and make the dataclass of the `ocpp`
package; every word of an enumeration must be a word of that package.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ocpp.charge_point import camel_to_snake_case
from ocpp.v16 import call as ocpp_call
from ocpp.v16 import call_result as ocpp_result
from ocpp.v16 import enums as ocpp_enums
from support.dialect_world import (
    CARD,
    TWINS,
    World,
    ended,
    evse_picture,
    fault,
    moment,
    sampled,
    started,
    station_picture,
    wh,
)

from cpctl.core.effects import (
    AnnounceBoot,
    AuthorizeToken,
    ClockSample,
    Heartbeat,
    SendVendorMessage,
)
from cpctl.core.events import (
    AuthorizationAnswered,
    AvailabilityRequested,
    ClearCacheRequested,
    Event,
    Request,
    ResetRequested,
    SettingChangeRequested,
    StartRequested,
    StopRequested,
    TransactionAnswered,
    UnlockRequested,
    VendorMessageAnswered,
    VendorMessageReceived,
)
from cpctl.core.faults import FaultCode
from cpctl.core.values import (
    IdToken,
    Measured,
    Origin,
    Outcome,
    Quantity,
    ReadingContext,
    Registration,
    Reply,
    RequestId,
    ResetKind,
    StopReason,
    TokenInfo,
    TokenSource,
    TokenStatus,
)
from cpctl.dialects.base import (
    AliasGiven,
    Call,
    ClockOffered,
    Item,
    RegistrationAnswered,
    Result,
)
from cpctl.dialects.v16.dialect import ACTIONS, Dialect16

GOLDEN = json.loads(Path(__file__).with_name("golden16.json").read_text())
DIALECT = Dialect16()
FIRST = RequestId(Origin.CSMS, 1)
CORE = {"Authorize", "BootNotification", "ChangeAvailability", "ChangeConfiguration", "ClearCache",
        "DataTransfer", "GetConfiguration", "Heartbeat", "MeterValues", "RemoteStartTransaction",
        "RemoteStopTransaction", "Reset", "StartTransaction", "StatusNotification",
        "StopTransaction", "UnlockConnector"}


def world() -> World:
    """Session 7 at connector 1 with id 4711, sampled twice and kept for the end."""
    one = World(aliases={7: 4711})
    one.record(started(begin=(wh(1000),)),
               sampled(60, 1100, kept=(wh(1100),)),
               sampled(900, 2400, kept=(wh(2400),), context=ReadingContext.CLOCK, told=()))
    return one


SAMPLE = (wh(1100), Measured(Quantity.POWER_IMPORT, 7360.04),
          Measured(Quantity.VOLTAGE, 230.123, "L1"),
          Measured(Quantity.CURRENT_IMPORT, 16.005, "L1"), Measured(Quantity.FREQUENCY, 50.01),
          Measured(Quantity.POWER_FACTOR, 0.98765), Measured(Quantity.TEMPERATURE, 41.26))


@dataclass(frozen=True)
class Ours:
    """A message of ours: what it tells, and what the golden answer to it means."""

    name: str
    item: Item
    means: tuple[Event, ...] = ()


OURS = (
    Ours("Authorize", AuthorizeToken(3, CARD), (AuthorizationAnswered(
        3, CARD, TokenInfo(TokenStatus.ACCEPTED, IdToken("GROUP-1"),
                           datetime(2027, 1, 1, tzinfo=UTC)), TokenSource.CSMS),)),
    Ours("BootNotification", AnnounceBoot(), (RegistrationAnswered(
        Registration.ACCEPTED, 300, "2026-03-01T12:00:00.000Z"),)),
    Ours("DataTransfer", SendVendorMessage("org.example", "hello", "{}"), (
        VendorMessageAnswered(Outcome.ACCEPTED, "welcome"),)),
    Ours("Heartbeat", Heartbeat(), (ClockOffered("2026-03-01T12:00:00Z"),)),
    Ours("MeterValues", sampled(60, 1100, told=SAMPLE)),
    Ours("MeterValues.clock", ClockSample(moment(900), 2, 1, ReadingContext.CLOCK, (wh(5),))),
    Ours("MeterValues.station", ClockSample(moment(900), None, None, ReadingContext.CLOCK,
                                            (wh(5),), session=7)),
    Ours("StartTransaction", started(reservation=5), (
        AliasGiven(7, 0), TransactionAnswered(7, TokenInfo(TokenStatus.CONCURRENT_TX), CARD))),
    Ours("StopTransaction", ended(1800, 3360, end=(wh(3360),)), (
        TransactionAnswered(7, TokenInfo(TokenStatus.EXPIRED), CARD),)),
    Ours("StopTransaction.silent", ended(1800, 3360, reason=StopReason.TIME_LIMIT, token=None,
                                         session=8)),
)


@dataclass(frozen=True)
class Theirs:
    """A call of the central system, the request it is, and the reply whose confirmation is golden.

    Without a reply it is answered at once.
    """

    name: str
    request: Request | None
    outcome: Outcome | None = None


THEIRS = (
    Theirs("ChangeAvailability", AvailabilityRequested(FIRST, False, 2, None), Outcome.SCHEDULED),
    Theirs("ChangeAvailability.station", AvailabilityRequested(FIRST, True), Outcome.ACCEPTED),
    Theirs("ChangeConfiguration",
           SettingChangeRequested(FIRST, "sampling.measurands", "voltage@L1,power_import"),
           Outcome.ACCEPTED),
    Theirs("ClearCache", ClearCacheRequested(FIRST), Outcome.ACCEPTED),
    Theirs("DataTransfer.theirs", VendorMessageReceived(FIRST, "org.example", None, "x"),
           Outcome.UNKNOWN),
    Theirs("GetConfiguration", None),
    Theirs("RemoteStartTransaction", StartRequested(FIRST, IdToken("REMOTE-1"), 1, 1, False),
           Outcome.ACCEPTED),
    Theirs("RemoteStopTransaction", StopRequested(FIRST, 7), Outcome.ACCEPTED),
    Theirs("Reset", ResetRequested(FIRST, ResetKind.SOFT), Outcome.ACCEPTED),
    Theirs("UnlockConnector", UnlockRequested(FIRST, 1, 1), Outcome.UNLOCKED),
)


def ids(one: Ours | Theirs) -> str:
    return one.name


@pytest.mark.parametrize("one", OURS, ids=ids)
def test_what_we_tell_is_worded_as_ever(one: Ours) -> None:
    surroundings = world()
    surroundings.aliases[8] = -1

    (told,) = DIALECT.calls(one.item, surroundings.context)

    assert told.action == one.name.partition(".")[0]
    assert json.dumps(told.payload) == json.dumps(GOLDEN[one.name]["call"])
    assert DIALECT.check(told.action, told.payload, response=False, ours=True) is None


@pytest.mark.parametrize("one", OURS, ids=ids)
def test_what_they_answer_means_what_it_ever_meant(one: Ours) -> None:
    told = Call(one.name.partition(".")[0], GOLDEN[one.name]["call"])
    answer = json.loads(json.dumps(GOLDEN[one.name]["result"]))

    assert DIALECT.check(told.action, answer, response=True, ours=True) is None
    means = DIALECT.events(one.item, told, Result(answer), world().context)

    assert means == one.means


@pytest.mark.parametrize("one", THEIRS, ids=ids)
def test_what_they_ask_is_understood_as_ever(one: Theirs) -> None:
    action, payload = one.name.partition(".")[0], GOLDEN[one.name]["call"]

    assert DIALECT.check(action, payload, response=False, ours=False) is None
    understood = DIALECT.request(Call(action, payload), world().context)

    if one.request is not None:
        assert understood == one.request
    else:
        assert isinstance(understood, Result)
        assert json.dumps(understood.payload) == json.dumps(GOLDEN[one.name]["result"])


@pytest.mark.parametrize("one", [one for one in THEIRS if one.outcome], ids=ids)
def test_what_we_answer_is_worded_as_ever(one: Theirs) -> None:
    assert one.outcome is not None
    call = Call(one.name.partition(".")[0], GOLDEN[one.name]["call"])

    answer = DIALECT.reply(call, Reply(one.outcome), world().context)

    assert isinstance(answer, Result)
    assert json.dumps(answer.payload) == json.dumps(GOLDEN[one.name]["result"])
    assert DIALECT.check(call.action, answer.payload, response=True, ours=False) is None


def test_status_notifications_are_worded_as_ever() -> None:
    surroundings = World(layout=TWINS)
    picture = station_picture(
        evse_picture(1, plugged=True, connector=2),
        evse_picture(2, faults=(fault(FaultCode.CONTACTOR_WELDED),)))

    told = [DIALECT.status_call(report, moment(5), surroundings.context)
            for report in DIALECT.statuses(picture, surroundings.context)]

    assert [one.action for one in told] == ["StatusNotification"] * 4
    assert [one.payload for one in told] == [
        GOLDEN[f"StatusNotification.{number}"]["call"] for number in range(4)]
    for one in told:
        assert DIALECT.check(one.action, one.payload, response=False, ours=True) is None


def test_there_is_a_golden_pair_for_every_message_of_the_core_profile() -> None:
    assert {name.partition(".")[0] for name in GOLDEN} == CORE
    assert "DataTransfer" in GOLDEN and "DataTransfer.theirs" in GOLDEN
    assert all(set(pair) == {"call", "result"} for pair in GOLDEN.values())


# --- the second opinion ----------------------------------------------------------------------


@cache
def shipped(name: str) -> Any:
    spec = find_spec("ocpp")
    assert spec is not None and spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0], "v16", "schemas", f"{name}.json")
    return json.loads(path.read_text(encoding="utf-8-sig"))


def words() -> set[str]:
    return {member.value for kind in vars(ocpp_enums).values()
            if isinstance(kind, type) and issubclass(kind, str) and hasattr(kind, "__members__")
            for member in kind}  # type: ignore[attr-defined]


def enumerated(schema: Any, value: Any) -> Iterator[str]:
    """The words of `value` that stand where the schema enumerates words."""
    if "enum" in schema:
        yield value
    for name, inner in schema.get("properties", {}).items():
        if name in value:
            yield from enumerated(inner, value[name])
    if "items" in schema:
        for one in value:
            yield from enumerated(schema["items"], one)


@pytest.mark.requirement("16.RPC.13")
@pytest.mark.parametrize("side", ["call", "result"])
@pytest.mark.parametrize("name", GOLDEN)
def test_a_second_implementation_takes_every_golden_payload(name: str, side: str) -> None:
    action, payload = name.partition(".")[0], GOLDEN[name][side]
    schema = shipped(action if side == "call" else f"{action}Response")
    kind = getattr(ocpp_call if side == "call" else ocpp_result, action)

    jsonschema.Draft4Validator(schema).validate(payload)
    made = kind(**camel_to_snake_case(payload))

    assert made is not None
    assert set(enumerated(schema, payload)) <= words()


def test_the_actions_are_those_the_package_knows() -> None:
    assert set(ACTIONS) == {action.value for action in ocpp_enums.Action}
    assert len(ACTIONS) == 39
