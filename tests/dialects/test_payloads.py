"""The compiled checks say what jsonschema says, and parse what jsonschema leaves alone."""

import json
import random
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.payload_maker import Maker, drawn_seed

from cpctl.dialects.payloads import Flaw, Payloads, SchemaError, compiled, parse_time

SUFFIXES = {"v16": "", "v201": "Request", "v21": "Request"}
SPOKEN = ("v16", "v201")
ROUNDS = 60
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def schema_files(version: str) -> list[Path]:
    spec = find_spec("ocpp")
    assert spec is not None and spec.submodule_search_locations
    return sorted(Path(spec.submodule_search_locations[0], version, "schemas").glob("*.json"))


def message(path: Path, version: str) -> tuple[str, bool]:
    name = path.stem
    if name.endswith("Response"):
        return name.removesuffix("Response"), True
    return name.removesuffix(SUFFIXES[version]), False


def is_date_time(text: object) -> bool:
    """A second reading of RFC 3339, made of a pattern and the calendar."""
    if not isinstance(text, str):
        return True
    if not _DATE_TIME.fullmatch(text):
        return False
    parts = [int(part) for part in re.split("[-T:]", text[:19])]
    try:
        datetime(*parts)  # type: ignore[arg-type]
    except ValueError:
        return False
    return True


FORMATS = jsonschema.FormatChecker(formats=())
FORMATS.checks("date-time")(is_date_time)


@cache
def oracle(path: Path) -> Any:
    schema = json.loads(path.read_text(encoding="utf-8-sig"), parse_float=Decimal)
    return jsonschema.Draft4Validator(schema, format_checker=FORMATS)


def is_valid(path: Path, payload: Any) -> bool:
    """The oracle's verdict; numbers as decimals, since 16.1 is no multiple of a binary 0.1."""
    return bool(oracle(path).is_valid(json.loads(json.dumps(payload), parse_float=Decimal)))


@pytest.mark.requirement("16.RPC.13")
@pytest.mark.parametrize("version", SPOKEN)
def test_verdicts_on_spoiled_payloads_equal_those_of_jsonschema(version: str) -> None:
    rng = random.Random(drawn_seed())
    payloads = Payloads(version, SUFFIXES[version])
    refused = accepted = 0

    for path in schema_files(version):
        action, response = message(path, version)
        schema = payloads.schema(action, response=response)
        maker = Maker(rng, schema)
        for n in range(ROUNDS):
            payload = maker.fit(schema)
            for _ in range(n % 3):
                payload = maker.spoil(payload)
            text = json.dumps(payload)

            flaw = payloads.flaw(action, payload, response=response)

            assert (flaw is None) == is_valid(path, payload), (path.name, text, flaw)
            assert json.dumps(payload) == text, "a strict check changes nothing"
            refused, accepted = refused + (flaw is not None), accepted + (flaw is None)

    assert refused > 1000 and accepted > 1000


@pytest.mark.parametrize("version", SPOKEN)
def test_what_the_tolerant_check_lets_pass_fits_the_schema_afterwards(version: str) -> None:
    rng = random.Random(drawn_seed())
    payloads = Payloads(version, SUFFIXES[version])

    for path in schema_files(version):
        action, response = message(path, version)
        schema = payloads.schema(action, response=response)
        maker = Maker(rng, schema)
        for _ in range(20):
            payload = maker.spoil(maker.fit(schema))
            was_good = payloads.flaw(action, payload, response=response) is None
            text = json.dumps(payload)

            flaw = payloads.flaw(action, payload, response=response, tolerant=True)

            if flaw is None:
                assert payloads.flaw(action, payload, response=response) is None, (path, text)
            assert not was_good or (flaw is None and json.dumps(payload) == text), (path, text)


@pytest.mark.parametrize("version", SUFFIXES)
def test_every_schema_of_the_package_compiles(version: str) -> None:
    payloads = Payloads(version, SUFFIXES[version])
    compiled = 0

    for path in schema_files(version):
        if path.stem == "NotifyPeriodicEventStream":
            continue  # not a call: message type 6
        action, response = message(path, version)
        payloads.flaw(action, {}, response=response)
        compiled += 1

    assert compiled >= {"v16": 78, "v201": 128, "v21": 180}[version]


PLAIN_ANSWER = {"currentTime": "2026-03-01T12:00:00Z", "interval": 300, "status": "Accepted"}


def test_an_answer_loses_what_is_unknown_and_what_is_optional_and_does_not_fit() -> None:
    payloads = Payloads("v16")
    boot = {**PLAIN_ANSWER, "vendorGreeting": "hello"}
    start = {"transactionId": 0, "idTagInfo": {"status": "Accepted", "expiryDate": "",
                                               "parentIdTag": None, "extra": 1}}

    flaws = [payloads.flaw("BootNotification", boot, response=True, tolerant=True),
             payloads.flaw("StartTransaction", start, response=True, tolerant=True)]

    assert flaws == [None, None]
    assert boot == PLAIN_ANSWER
    assert start == {"transactionId": 0, "idTagInfo": {"status": "Accepted"}}


@pytest.mark.parametrize(("action", "answer", "kind", "where"), [
    ("BootNotification", {**PLAIN_ANSWER, "currentTime": "soon"}, "property", "currentTime"),
    ("BootNotification", {**PLAIN_ANSWER, "interval": "300"}, "type", "interval"),
    ("BootNotification", {"status": "Accepted"}, "protocol", "currentTime"),
    ("StartTransaction", {"transactionId": 1, "idTagInfo": {"status": "Fine"}}, "property",
     "idTagInfo.status"),
    ("StartTransaction", [], "type", ""),
])
def test_what_an_answer_must_have_is_not_tolerated_to_be_wrong(
        action: str, answer: object, kind: str, where: str) -> None:
    flaw = Payloads("v16").flaw(action, answer, response=True, tolerant=True)

    assert flaw is not None
    assert (flaw.kind, flaw.where) == (kind, where)


@pytest.mark.requirement("16.RPC.7")
@pytest.mark.parametrize(("action", "payload", "kind", "where"), [
    ("Reset", {}, "protocol", "type"),
    ("Reset", {"type": "Soft", "x": 1}, "format", "x"),
    ("Reset", {"type": "Warm"}, "property", "type"),
    ("Reset", {"type": 1}, "type", "type"),
    ("Reset", {"type": ["Soft"]}, "type", "type"),
    ("ChangeConfiguration", {"key": "k" * 51, "value": ""}, "property", "key"),
    ("GetConfiguration", {"key": ["a", 1]}, "type", "key[1]"),
    ("MeterValues", {"connectorId": 1, "meterValue": []}, "occurrence", "meterValue"),
    ("MeterValues", {"connectorId": 1, "meterValue": [
        {"timestamp": "2026-03-01T12:00:00Z", "sampledValue": [{"value": "1"}, {"value": 1}]}]},
     "type", "meterValue[0].sampledValue[1].value"),
    ("UnlockConnector", {"connectorId": True}, "type", "connectorId"),
    ("UnlockConnector", {"connectorId": 1.0}, "type", "connectorId"),
])
def test_a_flaw_names_its_kind_and_its_place(
        action: str, payload: object, kind: str, where: str) -> None:
    flaw = Payloads("v16").flaw(action, payload)

    assert flaw is not None
    assert (flaw.kind, flaw.where) == (kind, where)
    assert str(flaw).startswith(where)


def profile(limit: float) -> dict[str, Any]:
    return {"connectorId": 1, "csChargingProfiles": {
        "chargingProfileId": 1, "stackLevel": 0, "chargingProfilePurpose": "TxProfile",
        "chargingProfileKind": "Relative", "chargingSchedule": {
            "chargingRateUnit": "A",
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}]}}}


@pytest.mark.requirement("16.SC.15")
@pytest.mark.parametrize(("limit", "fits"), [
    (16, True), (16.1, True), (0.3, True), (10.0, True), (10**17 + 1, True),
    (16.05, False), (6.25, False), (float("nan"), False), (float("inf"), False),
])
def test_a_limit_has_one_decimal(limit: float, fits: bool) -> None:
    flaw = Payloads("v16").flaw("SetChargingProfile", profile(limit))

    assert (flaw is None) is fits


@pytest.mark.requirement("16.RPC.10")
def test_the_schemas_carry_the_corrections_to_edition_1() -> None:
    payloads = Payloads("v16")
    stop = {"transactionId": 1, "meterStop": 1, "timestamp": "2026-03-01T12:00:00Z"}
    sample = {"connectorId": 1, "meterValue": [{
        "timestamp": "2026-03-01T12:00:00Z",
        "sampledValue": [{"value": "20.5", "unit": unit} for unit in ("Celsius", "Celcius")]}]}
    local_list = {"listVersion": 1, "updateType": "Full", "localAuthorizationList": [
        {"idTag": "A", "idTagInfo": {"status": "Accepted", "expiryDate": "2026-03-01T12:00:00Z",
                                     "parentIdTag": "B"}}]}

    assert payloads.flaw("StopTransaction", stop) is None
    assert payloads.flaw("MeterValues", sample) is None
    assert payloads.flaw("SendLocalList", local_list) is None
    assert payloads.flaw("UpdateFirmware", {
        "location": "ftp://x", "retrieveDate": "2026-03-01T12:00:00Z", "retries": 1.5}) is not None
    assert payloads.flaw("BootNotification", {**PLAIN_ANSWER, "interval": 1.5},
                         response=True) is not None
    inner = payloads.schema("SendLocalList")["properties"]["localAuthorizationList"]["items"]
    assert inner["additionalProperties"] is False


@pytest.mark.requirement("16.RPC.9")
@pytest.mark.parametrize(("text", "offset_h", "microsecond"), [
    ("2026-03-01T12:00:00Z", 0, 0),
    ("2026-03-01T12:00:00.5Z", 0, 500_000),
    ("2026-03-01T12:00:00.123456789Z", 0, 123_456),
    ("2026-03-01T14:00:00+02:00", 2, 0),
    ("2026-03-01T11:00:00.001-01:00", -1, 1000),
    ("2026-03-01T12:00:00", 0, 0),
    ("2026-03-01 12:00:00z", 0, 0),
    ("2026-03-01t12:00:00z", 0, 0),
])
def test_moments_are_read_with_fractions_and_offsets(
        text: str, offset_h: int, microsecond: int) -> None:
    read = parse_time(text)

    assert read == datetime(2026, 3, 1, 12, 0, 0, microsecond, tzinfo=UTC)
    assert read.utcoffset() == timedelta(hours=offset_h)


def test_a_leap_second_is_its_predecessor() -> None:
    assert parse_time("2016-12-31T23:59:60Z") == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize("text", [
    "", "now", "2026-03-01", "12:00:00Z", "2026-03-01T12:00Z", "2026-02-29T00:00:00Z",
    "2026-03-01T24:00:00Z", "2026-W09-7T12:00:00Z", "20260301T120000Z        ",
    "2026-03-01T12:00:00Z ", "2026-03-01T12:00:61Z", "-026-03-01T12:00:00Z"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_time(text)


def test_an_action_without_schema_is_an_error_of_ours() -> None:
    with pytest.raises(SchemaError, match=r"NoSuchThing\.json"):
        Payloads("v16").flaw("NoSuchThing", {})


@pytest.mark.parametrize("schema", [
    {"type": "string", "pattern": "x"}, {"type": "string", "format": "ipv4"},
    {"type": "number", "multipleOf": 0.5}, {"oneOf": []}, {"$ref": "other.json#/definitions/X"}])
def test_a_keyword_that_is_not_understood_is_refused_aloud(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        compiled({"type": "object", "properties": {"one": schema}})


def test_checking_does_not_import_the_package() -> None:
    code = ("import sys\nfrom cpctl.dialects.v16.dialect import Dialect16\n"
            "assert Dialect16().check('Heartbeat', {}, response=False, ours=True) is None\n"
            "print([name for name in sys.modules if name.split('.')[0] in"
            " ('ocpp', 'jsonschema', 'asyncio', 'websockets')])")

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).resolve().parents[2])

    assert done.stdout.strip() == "[]"


def test_a_flaw_reads_as_a_sentence_with_its_place() -> None:
    flaw = Flaw("type", "expected a text, not a number").within("[0]").within("key")

    assert str(flaw) == "key[0]: expected a text, not a number"


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-00:01"])
def test_what_utc_has_no_place_for_is_no_date_time(text: str) -> None:
    with pytest.raises(ValueError, match="outside the calendar"):
        parse_time(text)
    flaw = Payloads("v16").flaw("UpdateFirmware", {"location": "http://h/f", "retrieveDate": text})
    assert flaw is not None and flaw.kind == "property"
