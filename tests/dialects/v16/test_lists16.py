"""Local list and reservation in the words of 1.6, judged by a second implementation."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ocpp.charge_point import camel_to_snake_case
from ocpp.v16 import call as ocpp_call
from ocpp.v16 import call_result as ocpp_result
from ocpp.v16 import enums as ocpp_enums
from support.dialect_world import TWINS, World, evse_picture, fault, moment, station_picture

from cpctl.core.effects import ListConflictTold
from cpctl.core.events import (
    CancelReservationRequested,
    ListEntry,
    ListUpdateRequested,
    ListVersionRequested,
    Request,
    ReserveRequested,
)
from cpctl.core.faults import FaultCode
from cpctl.core.jobs import ListVersion
from cpctl.core.values import (
    IdToken,
    Origin,
    Outcome,
    Reply,
    RequestId,
    StationLayout,
    TokenInfo,
    TokenStatus,
)
from cpctl.core.views import ClaimState, EvsePicture
from cpctl.dialects.base import Call, CallError, Result
from cpctl.dialects.v16.dialect import Dialect16
from hal.values import PilotState

DIALECT = Dialect16()
FIRST = RequestId(Origin.CSMS, 1)
LATER = datetime(2026, 3, 1, 14, 0, 0, tzinfo=UTC)
requirement = pytest.mark.requirement


def wire_list(kind: str, *entries: dict[str, Any]) -> dict[str, Any]:
    return {"listVersion": 7, "localAuthorizationList": list(entries), "updateType": kind}


FULL_ENTRY = {"idTag": "04A1", "idTagInfo": {
    "expiryDate": "2026-03-01T15:00:00+01:00", "parentIdTag": "FLEET", "status": "Accepted"}}
READ_ENTRY = ListEntry(IdToken("04A1"),
                       TokenInfo(TokenStatus.ACCEPTED, IdToken("FLEET"), LATER))
RESERVE = {"connectorId": 3, "expiryDate": "2026-03-01T14:00:00Z", "idTag": "04A1",
           "reservationId": 12}

ASKED: tuple[tuple[str, dict[str, Any], StationLayout, Request], ...] = (
    ("SendLocalList", wire_list("Full", FULL_ENTRY), TWINS,
     ListUpdateRequested(FIRST, True, 7, (READ_ENTRY,))),
    ("SendLocalList", wire_list("Differential", {"idTag": "A"}), TWINS,
     ListUpdateRequested(FIRST, False, 7, (ListEntry(IdToken("A"), None),))),
    ("SendLocalList", {"listVersion": -2, "updateType": "Full"}, TWINS,
     ListUpdateRequested(FIRST, True, -2, ())),
    ("GetLocalListVersion", {}, TWINS, ListVersionRequested(FIRST)),
    ("CancelReservation", {"reservationId": -5}, TWINS, CancelReservationRequested(FIRST, -5)),
    ("ReserveNow", RESERVE, TWINS,
     ReserveRequested(FIRST, 12, LATER, IdToken("04A1"), None, 2, None)),
    ("ReserveNow", {**RESERVE, "connectorId": 2, "parentIdTag": "FLEET"}, TWINS,
     ReserveRequested(FIRST, 12, LATER, IdToken("04A1"), IdToken("FLEET"), 1, 2)),
    ("ReserveNow", {**RESERVE, "connectorId": 0}, TWINS,
     ReserveRequested(FIRST, 12, LATER, IdToken("04A1"))),
)


def shipped(name: str) -> Any:
    spec = find_spec("ocpp")
    assert spec is not None and spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0], "v16", "schemas", f"{name}.json")
    return json.loads(path.read_text(encoding="utf-8-sig"))


@requirement("SendLocalList.req", "GetLocalListVersion.req", "CancelReservation.req",
             "ReserveNow.req")
@pytest.mark.parametrize(("action", "payload", "layout", "request_"), ASKED)
def test_what_they_ask_is_understood(action: str, payload: dict[str, Any], layout: StationLayout,
                                     request_: Request) -> None:
    assert DIALECT.check(action, payload, response=False, ours=False) is None
    jsonschema.Draft4Validator(shipped(action)).validate(payload)
    getattr(ocpp_call, action)(**camel_to_snake_case(payload))

    assert DIALECT.request(Call(action, payload), World(layout=layout).context) == request_


ANSWERED = (
    ("SendLocalList", Reply(Outcome.ACCEPTED), {"status": "Accepted"}),
    ("SendLocalList", Reply(Outcome.FAILED), {"status": "Failed"}),
    ("SendLocalList", Reply(Outcome.REJECTED), {"status": "Failed"}),
    ("SendLocalList", Reply(Outcome.NOT_SUPPORTED), {"status": "NotSupported"}),
    ("SendLocalList", Reply(Outcome.VERSION_MISMATCH), {"status": "VersionMismatch"}),
    ("GetLocalListVersion", Reply(Outcome.ACCEPTED, content=ListVersion(9)), {"listVersion": 9}),
    ("GetLocalListVersion", Reply(Outcome.ACCEPTED, content=ListVersion(-1)),
     {"listVersion": -1}),
    ("GetLocalListVersion", Reply(Outcome.NOT_SUPPORTED), {"listVersion": -1}),
    ("ReserveNow", Reply(Outcome.ACCEPTED), {"status": "Accepted"}),
    ("ReserveNow", Reply(Outcome.OCCUPIED), {"status": "Occupied"}),
    ("ReserveNow", Reply(Outcome.FAULTED), {"status": "Faulted"}),
    ("ReserveNow", Reply(Outcome.UNAVAILABLE), {"status": "Unavailable"}),
    ("ReserveNow", Reply(Outcome.REJECTED), {"status": "Rejected"}),
    ("CancelReservation", Reply(Outcome.ACCEPTED), {"status": "Accepted"}),
    ("CancelReservation", Reply(Outcome.REJECTED), {"status": "Rejected"}),
)
WORDS = {"SendLocalList": ocpp_enums.UpdateStatus, "ReserveNow": ocpp_enums.ReservationStatus,
         "CancelReservation": ocpp_enums.CancelReservationStatus}


@requirement("SendLocalList.conf:Accepted", "SendLocalList.conf:Failed",
             "SendLocalList.conf:NotSupported", "SendLocalList.conf:VersionMismatch",
             "GetLocalListVersion.conf", "ReserveNow.conf:Accepted", "ReserveNow.conf:Occupied",
             "ReserveNow.conf:Faulted", "ReserveNow.conf:Unavailable", "ReserveNow.conf:Rejected",
             "CancelReservation.conf:Accepted", "CancelReservation.conf:Rejected")
@pytest.mark.parametrize(("action", "reply", "payload"), ANSWERED)
def test_what_we_answer_is_worded(action: str, reply: Reply, payload: dict[str, Any]) -> None:
    answer = DIALECT.reply(Call(action, {}), reply, World().context)

    assert isinstance(answer, Result) and answer.payload == payload
    assert DIALECT.check(action, payload, response=True, ours=False) is None
    jsonschema.Draft4Validator(shipped(f"{action}Response")).validate(payload)
    getattr(ocpp_result, action)(**camel_to_snake_case(payload))


@pytest.mark.parametrize("action", WORDS)
def test_every_word_of_an_answer_is_said_on_some_occasion(action: str) -> None:
    said = {payload["status"] for of, _, payload in ANSWERED if of == action}

    assert said == {word.value for word in WORDS[action]}


@requirement("16.RES.1")
@pytest.mark.parametrize("number", [4, 99, -1])
def test_a_connector_that_there_is_not_cannot_be_reserved(number: int) -> None:
    said = DIALECT.request(Call("ReserveNow", {**RESERVE, "connectorId": number}),
                           World(layout=TWINS).context)

    assert said == Result({"status": "Rejected"})


@requirement("16.RPC.7")
@pytest.mark.parametrize(("action", "payload", "code"), [
    ("SendLocalList", wire_list("Full", {"idTag": "x" * 21}), "PropertyConstraintViolation"),
    ("SendLocalList", wire_list("Full", {"idTag": "A", "idTagInfo": {}}), "ProtocolError"),
    ("SendLocalList", wire_list("Full", {"idTag": "A", "idTagInfo": {"status": "Maybe"}}),
     "PropertyConstraintViolation"),
    ("SendLocalList", {"updateType": "Full"}, "ProtocolError"),
    ("ReserveNow", {**RESERVE, "expiryDate": "tomorrow"}, "PropertyConstraintViolation"),
    ("ReserveNow", {**RESERVE, "reservationId": "12"}, "TypeConstraintViolation"),
    ("CancelReservation", {}, "ProtocolError")])
def test_a_bad_payload_is_refused(action: str, payload: dict[str, Any], code: str) -> None:
    wrong = DIALECT.check(action, payload, response=False, ours=False)

    assert isinstance(wrong, CallError) and wrong.code == code


# --- status --------------------------------------------------------------------------------------


def statuses(*evses: EvsePicture, layout: StationLayout = TWINS) -> list[str]:
    reports = DIALECT.statuses(station_picture(*evses), World(layout=layout).context)
    return [one.status for one in reports]


@requirement("16.LIST.5", "StatusNotification.req")
@pytest.mark.parametrize(("changes", "word"), [
    ({}, "Available"), ({"operative": False}, "Unavailable"),
    ({"faults": (fault(FaultCode.JOURNAL_FAILED),)}, "Faulted")])
def test_a_conflict_of_the_list_is_told_of_connector_0_in_its_status(changes: dict[str, Any],
                                                                     word: str) -> None:
    ctx = replace(World().context, picture=station_picture(**changes))

    (told,) = DIALECT.calls(ListConflictTold(moment(3), IdToken("04A1")), ctx)

    assert told == Call("StatusNotification", {
        "connectorId": 0, "errorCode": "LocalListConflict", "status": word,
        "timestamp": "2026-03-01T12:00:03.000Z"})
    assert DIALECT.check(told.action, told.payload, response=False, ours=True) is None


@requirement("16.RES.8", "16.RES.4")
@pytest.mark.parametrize(("changes", "word"), [
    ({}, "Reserved"),
    ({"plugged": True, "pilot": PilotState.B}, "Reserved"),
    ({"claim": ClaimState.ASKED}, "Reserved"),
    ({"claim": ClaimState.GRANTED}, "Preparing"),
    ({"transaction": True, "plugged": True, "claim": ClaimState.GRANTED, "offering": True},
     "SuspendedEV"),
    ({"plugged": True, "finishing": True}, "Finishing"),
    ({"operative": False}, "Unavailable"),
    ({"faults": (fault(FaultCode.RCD_TRIPPED),)}, "Faulted")])
def test_a_reserved_evse_shows_it_until_its_user_is_let_in(changes: dict[str, Any], word: str
                                                           ) -> None:
    assert statuses(evse_picture(1), evse_picture(2, reserved=12, **changes))[3] == word


@requirement("16.TX.9", "16.RES.1")
def test_of_a_reserved_connector_the_sibling_is_unavailable() -> None:
    kept = evse_picture(1, connectors=(1, 2), reserved=12, reserved_connector=2)
    used = replace(kept, claim=ClaimState.GRANTED, connector=2)
    anywhere = evse_picture(1, connectors=(1, 2), reserved=12)

    assert statuses(kept, evse_picture(2)) == ["Available", "Unavailable", "Reserved", "Available"]
    assert statuses(replace(kept, plugged=True), evse_picture(2))[1:3] == [
        "Unavailable", "Reserved"]
    assert statuses(used, evse_picture(2))[1:3] == ["Unavailable", "Preparing"]
    assert statuses(anywhere, evse_picture(2))[1:3] == ["Reserved", "Reserved"]
