"""Charging profiles on the wire of 1.6, in both directions."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from support.charging import on_the_wire
from support.dialect_world import TWINS, World

from cpctl.core.events import (
    ClearProfilesRequested,
    CompositeRequested,
    Request,
    SetProfileRequested,
    StartRequested,
)
from cpctl.core.profiles import (
    ChargingProfile,
    CompositeSchedule,
    Period,
    ProfileKind,
    Purpose,
    RateUnit,
    Recurrency,
    Schedule,
)
from cpctl.core.values import Outcome, Reply
from cpctl.dialects.base import Call, CallError, Result
from cpctl.dialects.v16.dialect import Dialect16

requirement = pytest.mark.requirement
DIALECT = Dialect16()
VIOLATION = "PropertyConstraintViolation"
REJECTED, UNKNOWN = Result({"status": "Rejected"}), Result({"status": "Unknown"})
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def asked(action: str, payload: dict[str, Any], world: World | None = None
          ) -> Request | Result | CallError:
    """As the link does: the schema first."""
    wrong = DIALECT.check(action, payload, response=False, ours=False)
    if wrong is not None:
        return wrong
    return DIALECT.request(Call(action, payload), (world or World()).context)


def set_one(told: dict[str, Any], connector: int = 1, world: World | None = None
            ) -> Request | Result | CallError:
    return asked("SetChargingProfile", {"connectorId": connector, "csChargingProfiles": told},
                 world)


def said(action: str, reply: Reply, world: World | None = None) -> dict[str, Any]:
    """The confirmation, which must fit its schema."""
    answer = DIALECT.reply(Call(action, {}), reply, (world or World()).context)
    assert isinstance(answer, Result)
    assert DIALECT.check(action, answer.payload, response=True, ours=False) is None
    return answer.payload


# --- SetChargingProfile --------------------------------------------------------------------------


@requirement("SetChargingProfile.req")
def test_every_field_of_a_profile_comes_through() -> None:
    told = on_the_wire(
        7, (0, 16), (3600, 8.1), purpose="TxDefaultProfile", kind="Recurring", level=3, unit="W",
        start="2026-01-01T01:00:00+01:00", duration=7200, phases=1, recurrencyKind="Weekly",
        validFrom="2026-01-01T00:00:00.000Z", validTo="2026-02-01T00:00:00")
    told["chargingSchedule"]["minChargingRate"] = 1.5

    request = set_one(told, 2)

    assert isinstance(request, SetProfileRequested)
    assert (request.evse, request.connector) == (2, None)
    assert request.profile == ChargingProfile(
        7, 3, Purpose.TX_DEFAULT, ProfileKind.RECURRING,
        Schedule(RateUnit.WATT, (Period(0, 16.0, 1), Period(3600, 8.1, 1)), NEW_YEAR, 7200, 1.5),
        Recurrency.WEEKLY, NEW_YEAR, datetime(2026, 2, 1, tzinfo=UTC))
    assert request.profile.schedule.start is not None
    assert request.profile.schedule.start.tzinfo is UTC
    assert isinstance(request.profile.schedule.periods[0].limit, float)


@requirement("SetChargingProfile.req")
@pytest.mark.parametrize("word, purpose", [
    ("ChargePointMaxProfile", Purpose.STATION_MAX), ("TxProfile", Purpose.TX)])
def test_connector_0_is_the_station(word: str, purpose: Purpose) -> None:
    request = set_one(on_the_wire(purpose=word), 0)

    assert isinstance(request, SetProfileRequested)
    assert (request.evse, request.connector, request.profile.purpose) == (None, None, purpose)


def test_a_connector_of_several_is_named() -> None:
    request = set_one(on_the_wire(), 2, World(layout=TWINS))

    assert isinstance(request, SetProfileRequested)
    assert (request.evse, request.connector) == (1, 2)


@requirement("16.SC.4")
def test_a_transaction_is_the_session_it_belongs_to() -> None:
    world = World(aliases={7: 1234})
    told = on_the_wire(purpose="TxProfile", transactionId=1234)

    request = set_one(told, 1, world)

    assert isinstance(request, SetProfileRequested)
    assert request.profile.transaction == 7
    assert set_one({**told, "transactionId": 1235}, 1, world) == REJECTED
    assert set_one({**told, "chargingProfilePurpose": "TxDefaultProfile"}, 1, world) == REJECTED


@requirement("SetChargingProfile.req")
@pytest.mark.parametrize("connector", [-1, 3, 99])
def test_a_connector_that_is_not_there_is_an_error(connector: int) -> None:
    """Errata 3.39."""
    answer = set_one(on_the_wire(), connector)

    assert isinstance(answer, CallError) and answer.code == VIOLATION


@requirement("SetChargingProfile.req")
@pytest.mark.parametrize("field, word", [
    ("chargingProfilePurpose", "ChargingStationMaxProfile"), ("chargingProfileKind", "absolute"),
    ("recurrencyKind", "Monthly"), ("validFrom", "tomorrow"),
    ("validTo", "9999-12-31T23:59:59-14:00"), ("validFrom", "0001-01-01T00:00:00+14:00")])
def test_a_word_or_time_that_does_not_exist_is_an_error(field: str, word: str) -> None:
    """Errata 3.38."""
    answer = set_one({**on_the_wire(), field: word})

    assert isinstance(answer, CallError) and answer.code == VIOLATION


@requirement("SetChargingProfile.req", "16.SC.15")
@pytest.mark.parametrize("spoil, code", [
    ({"chargingRateUnit": "kW"}, VIOLATION),
    ({"chargingSchedulePeriod": [{"startPeriod": 0, "limit": 6.25}]}, VIOLATION),
    ({"chargingSchedulePeriod": [{"startPeriod": 0, "limit": "6"}]}, "TypeConstraintViolation"),
    ({"chargingSchedulePeriod": [{"startPeriod": 0.5, "limit": 6}]}, "TypeConstraintViolation"),
    ({"minChargingRate": 0.05}, VIOLATION)])
def test_a_schedule_of_the_wrong_form_is_an_error(spoil: dict[str, Any], code: str) -> None:
    told = on_the_wire()

    answer = set_one({**told, "chargingSchedule": {**told["chargingSchedule"], **spoil}})

    assert isinstance(answer, CallError) and answer.code == code


@pytest.mark.parametrize("outcome, word", [
    pytest.param(Outcome.ACCEPTED, "Accepted",
                 marks=requirement("SetChargingProfile.conf:Accepted")),
    pytest.param(Outcome.REJECTED, "Rejected",
                 marks=requirement("SetChargingProfile.conf:Rejected")),
    pytest.param(Outcome.NOT_SUPPORTED, "NotSupported")])
def test_what_became_of_a_profile_is_told(outcome: Outcome, word: str) -> None:
    assert said("SetChargingProfile", Reply(outcome)) == {"status": word}


# --- ClearChargingProfile ------------------------------------------------------------------------


@requirement("ClearChargingProfile.req", "16.SC.20")
@pytest.mark.parametrize("payload, wanted", [
    ({}, (None, True, None, None, None)),
    ({"id": 5}, (5, True, None, None, None)),
    ({"id": 5, "connectorId": 77}, (5, True, None, None, None)),
    ({"connectorId": 0}, (None, False, None, None, None)),
    ({"connectorId": 2, "stackLevel": 4}, (None, False, 2, None, 4)),
    ({"chargingProfilePurpose": "TxProfile"}, (None, True, None, Purpose.TX, None))])
def test_what_is_to_be_cleared(payload: dict[str, Any], wanted: tuple[object, ...]) -> None:
    request = asked("ClearChargingProfile", payload)

    assert isinstance(request, ClearProfilesRequested)
    assert (request.id, request.everywhere, request.evse, request.purpose,
            request.stack_level) == wanted


@requirement("ClearChargingProfile.conf:Unknown")
@pytest.mark.parametrize("connector", [-1, 3])
def test_nothing_is_known_of_a_connector_that_is_not_there(connector: int) -> None:
    assert asked("ClearChargingProfile", {"connectorId": connector}) == UNKNOWN


def test_whether_something_was_cleared_is_told() -> None:
    assert said("ClearChargingProfile", Reply(Outcome.ACCEPTED)) == {"status": "Accepted"}
    assert said("ClearChargingProfile", Reply(Outcome.UNKNOWN)) == {"status": "Unknown"}
    assert said("ClearChargingProfile", Reply(Outcome.REJECTED)) == {"status": "Unknown"}


# --- GetCompositeSchedule ------------------------------------------------------------------------


@requirement("GetCompositeSchedule.req", "16.SC.21")
def test_what_composite_is_wanted() -> None:
    request = asked("GetCompositeSchedule",
                    {"connectorId": 3, "duration": 60, "chargingRateUnit": "W"},
                    World(layout=TWINS))

    assert isinstance(request, CompositeRequested)
    assert (request.evse, request.connector, request.duration_s, request.unit) == (
        2, None, 60, RateUnit.WATT)


@requirement("GetCompositeSchedule.conf:Rejected", "16.SC.21")
def test_a_composite_of_no_connector_is_rejected_and_of_no_unit_an_error() -> None:
    assert asked("GetCompositeSchedule", {"connectorId": 9, "duration": 60}) == REJECTED
    answer = asked("GetCompositeSchedule",
                   {"connectorId": 1, "duration": 60, "chargingRateUnit": "VA"})
    assert isinstance(answer, CallError) and answer.code == VIOLATION
    assert said("GetCompositeSchedule", Reply(Outcome.REJECTED)) == {"status": "Rejected"}


TOLD = CompositeSchedule(1, NEW_YEAR, 600, RateUnit.AMPERE,
                         (Period(0, 16.1, 3), Period(60, 8.0)), 2)


@requirement("GetCompositeSchedule.conf:Accepted", "16.SC.22")
def test_a_composite_counts_from_its_own_start() -> None:
    reply = Reply(Outcome.ACCEPTED, content=TOLD)

    assert said("GetCompositeSchedule", reply, World(layout=TWINS)) == {
        "status": "Accepted", "connectorId": 2, "scheduleStart": "2026-01-01T00:00:00.000Z",
        "chargingSchedule": {
            "duration": 600, "chargingRateUnit": "A", "chargingSchedulePeriod": [
                {"startPeriod": 0, "limit": 16.1, "numberPhases": 3},
                {"startPeriod": 60, "limit": 8.0}]}}


@requirement("GetCompositeSchedule.conf:Accepted", "16.SC.24")
def test_the_composite_of_the_station_is_that_of_connector_0() -> None:
    reply = Reply(Outcome.ACCEPTED, content=replace(TOLD, evse=None, connector=None))

    assert said("GetCompositeSchedule", reply)["connectorId"] == 0


# --- RemoteStartTransaction ----------------------------------------------------------------------


def started(told: dict[str, Any]) -> Request | Result | CallError:
    return asked("RemoteStartTransaction",
                 {"idTag": "A", "connectorId": 1, "chargingProfile": told})


@requirement("16.RSTART.5", "RemoteStartTransaction.req")
def test_the_profile_of_a_remote_start_comes_with_it() -> None:
    request = started(on_the_wire(4, (0, 8.0), purpose="TxProfile", kind="Relative"))

    assert isinstance(request, StartRequested)
    assert request.profile == ChargingProfile(
        4, 0, Purpose.TX, ProfileKind.RELATIVE, Schedule(RateUnit.AMPERE, (Period(0, 8.0),)))


@requirement("16.RSTART.5", "RemoteStartTransaction.conf:Rejected")
def test_a_profile_that_cannot_be_refuses_the_start() -> None:
    assert started({**on_the_wire(purpose="TxProfile"), "transactionId": 1}) == REJECTED


def test_a_profile_with_a_time_that_no_calendar_has_is_an_error_of_the_start() -> None:
    answer = started({**on_the_wire(purpose="TxProfile"), "validTo": "9999-12-31T23:59:59-14:00"})

    assert isinstance(answer, CallError) and answer.code == VIOLATION


# --- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, value", [
    pytest.param("ChargeProfileMaxStackLevel", "10",
                 marks=requirement("key:ChargeProfileMaxStackLevel")),
    pytest.param("ChargingScheduleAllowedChargingRateUnit", "Current,Power",
                 marks=requirement("key:ChargingScheduleAllowedChargingRateUnit")),
    pytest.param("ChargingScheduleMaxPeriods", "96",
                 marks=requirement("key:ChargingScheduleMaxPeriods")),
    pytest.param("MaxChargingProfilesInstalled", "64",
                 marks=requirement("key:MaxChargingProfilesInstalled"))])
def test_what_the_station_can_is_read_and_not_written(name: str, value: str) -> None:
    read = asked("GetConfiguration", {"key": [name]})
    assert isinstance(read, Result)
    assert read.payload == {"configurationKey": [{"key": name, "readonly": True, "value": value}]}

    assert asked("ChangeConfiguration", {"key": name, "value": value}) == REJECTED


@requirement("key:ConnectorSwitch3to1PhaseSupported", "16.CONF.4")
def test_a_switch_of_phases_is_not_told_of_where_no_hardware_has_one() -> None:
    read = asked("GetConfiguration", {"key": ["ConnectorSwitch3to1PhaseSupported"]})

    assert isinstance(read, Result)
    assert read.payload["unknownKey"] == ["ConnectorSwitch3to1PhaseSupported"]


@requirement("key:ChargingScheduleAllowedChargingRateUnit")
def test_a_station_that_limits_current_alone_says_so() -> None:
    world = World().set({"smart.rate_units": "current"})

    read = asked("GetConfiguration", {"key": ["ChargingScheduleAllowedChargingRateUnit"]}, world)

    assert isinstance(read, Result)
    assert read.payload["configurationKey"][0]["value"] == "Current"
