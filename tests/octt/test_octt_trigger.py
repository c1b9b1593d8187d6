"""Test cases of RemoteTrigger, over a real WebSocket."""

import json
from datetime import datetime
from typing import Any

import pytest
from support.octt import Octt, case
from support.world import CARD


def after(station: Octt, mark: int) -> list[str]:
    """What the station sent since frame `mark`: actions of its calls, "conf" for answers."""
    told = []
    for frame in station.central.frames[mark:]:
        if not frame.sent:
            parts = json.loads(frame.text)
            told.append(parts[2] if parts[0] == 2 else "conf")
    return told


async def triggered(station: Octt, message: str, **more: Any) -> list[str]:
    mark = len(station.central.frames)
    answer = await station.central.call("TriggerMessage", {"requestedMessage": message, **more})
    assert answer == {"status": "Accepted"}
    await station.advance(3)
    return after(station, mark)


@case("TC_054_CS", evses=2)
@pytest.mark.requirement("16.TRIG.1", "16.TRIG.2", "16.MET.10", "TriggerMessage.conf:Accepted",
                         "FirmwareStatusNotification.req:Idle",
                         "DiagnosticsStatusNotification.req:Idle")
async def test_each_message_is_sent_after_the_answer(station: Octt) -> None:
    await station.charge(30)

    told = await triggered(station, "MeterValues", connectorId=1)
    assert told == ["conf", "MeterValues"]
    values = station.calls("MeterValues")[-1]
    assert values["connectorId"] == 1
    assert values["transactionId"] == station.transactions[0].number
    sampled = values["meterValue"][0]["sampledValue"]
    assert {one["context"] for one in sampled} == {"Trigger"}
    assert {one["measurand"] for one in sampled} == {
        "Energy.Active.Import.Register", "Power.Active.Import"}

    assert await triggered(station, "Heartbeat") == ["conf", "Heartbeat"]

    told = await triggered(station, "StatusNotification", connectorId=1)
    assert told == ["conf", "StatusNotification"]
    assert station.calls("StatusNotification")[-1]["connectorId"] == 1
    assert station.calls("StatusNotification")[-1]["status"] == "Charging"

    told = await triggered(station, "DiagnosticsStatusNotification")
    assert told == ["conf", "DiagnosticsStatusNotification"]
    assert station.calls("DiagnosticsStatusNotification") == [{"status": "Idle"}]

    told = await triggered(station, "FirmwareStatusNotification")
    assert told == ["conf", "FirmwareStatusNotification"]
    assert station.calls("FirmwareStatusNotification") == [{"status": "Idle"}]



@case("TC_055_CS", evses=2)
@pytest.mark.requirement("16.TRIG.1", "TriggerMessage.conf:Rejected")
async def test_a_connector_that_is_not_there_is_rejected(station: Octt) -> None:
    mark = len(station.central.frames)

    for message in ("MeterValues", "StatusNotification"):
        answer = await station.central.call(
            "TriggerMessage", {"requestedMessage": message, "connectorId": 3})
        assert answer == {"status": "Rejected"}
    await station.advance(10)

    assert after(station, mark) == ["conf", "conf"]
    assert station.status(1) == station.status(2) == "Available"
    assert CARD not in station.central.books.authorized


@case("TC_054_CS", evses=2)
@pytest.mark.requirement("16.TRIG.1", "16.MET.10", "16.STAT.1")
async def test_without_a_connector_all_of_them_are_told(station: Octt) -> None:
    await station.charge(30)

    assert await triggered(station, "StatusNotification") == [
        "conf", *["StatusNotification"] * 3]
    assert [(one["connectorId"], one["status"]) for one in station.calls("StatusNotification")[-3:]
            ] == [(0, "Available"), (1, "Charging"), (2, "Available")]
    assert await triggered(station, "StatusNotification", connectorId=0) == [
        "conf", "StatusNotification"]
    assert station.calls("StatusNotification")[-1]["connectorId"] == 0

    assert await triggered(station, "MeterValues") == ["conf", "MeterValues", "MeterValues"]
    charging, idle = station.calls("MeterValues")[-2:]
    assert (charging["connectorId"], idle["connectorId"]) == (1, 2)
    assert charging["transactionId"] == station.transactions[0].number
    assert "transactionId" not in idle


@case()
@pytest.mark.requirement("16.BOOT.8", "TriggerMessage.conf:Rejected",
                         "ExtendedTriggerMessage.conf:Rejected")
async def test_an_accepted_station_announces_no_boot_on_demand(station: Octt) -> None:
    for action in ("TriggerMessage", "ExtendedTriggerMessage"):
        answer = await station.central.call(action, {"requestedMessage": "BootNotification"})
        assert answer == {"status": "Rejected"}
    await station.advance(10)

    assert len(station.central.books.boots) == 1


@case()
@pytest.mark.requirement("16.TRIG.1", "TriggerMessage.conf:NotImplemented",
                         "ExtendedTriggerMessage.conf:NotImplemented")
async def test_what_cannot_be_triggered_is_not_implemented(station: Octt) -> None:
    mark = len(station.central.frames)
    for action, message in (("TriggerMessage", "StartTransaction"),
                            ("TriggerMessage", "LogStatusNotification"),
                            ("ExtendedTriggerMessage", "DiagnosticsStatusNotification"),
                            ("ExtendedTriggerMessage", "NoSuchMessage")):
        answer = await station.central.call(action, {"requestedMessage": message})
        assert answer == {"status": "NotImplemented"}, message
    await station.advance(5)

    assert after(station, mark) == ["conf"] * 4


@case()
@pytest.mark.requirement("16.SEC.21", "16.TRIG.2", "ExtendedTriggerMessage.conf:Accepted",
                         "LogStatusNotification.req:Idle",
                         "SignedFirmwareStatusNotification.req:Idle")
async def test_the_extended_trigger_sends_its_messages(station: Octt) -> None:
    for message, sent, payload in (
            ("LogStatusNotification", "LogStatusNotification", {"status": "Idle"}),
            ("FirmwareStatusNotification", "SignedFirmwareStatusNotification",
             {"status": "Idle"}),
            ("Heartbeat", "Heartbeat", {}),
            ("MeterValues", "MeterValues", None),
            ("StatusNotification", "StatusNotification", None)):
        mark = len(station.central.frames)
        answer = await station.central.call("ExtendedTriggerMessage", {
            "requestedMessage": message, "connectorId": 1})
        assert answer == {"status": "Accepted"}
        await station.advance(3)
        assert after(station, mark) == ["conf", sent]
        assert payload is None or station.calls(sent)[-1] == payload


@case()
@pytest.mark.requirement("16.SEC.8", "ExtendedTriggerMessage.conf:Rejected", "key:CpoName")
async def test_without_an_operator_s_name_no_certificate_is_asked_for(station: Octt) -> None:
    answer = await station.central.call("ExtendedTriggerMessage", {
        "requestedMessage": "SignChargePointCertificate"})
    assert answer == {"status": "Rejected"}
    await station.advance(10)

    assert station.calls("SignCertificate") == []


@case(ocpp16='MeterValuesSampledData = ""')
@pytest.mark.requirement("16.MET.10", "TriggerMessage.conf:Rejected")
async def test_with_nothing_to_be_sampled_no_values_are_promised(station: Octt) -> None:
    answer = await station.central.call("TriggerMessage", {"requestedMessage": "MeterValues"})
    assert answer == {"status": "Rejected"}


@case()
@pytest.mark.requirement("16.MET.10", "16.MET.14")
async def test_a_silent_meter_is_told_by_its_last_reading_at_the_time_of_it(station: Octt) -> None:
    await station.charge(20)
    station.board.fault("meter_lost", 1)
    await station.advance(15)
    asked = station.time.true_wall()

    assert await triggered(station, "MeterValues", connectorId=1) == ["conf"]
    await station.until(lambda: station.calls("MeterValues"), 5)

    value, = station.calls("MeterValues")[-1]["meterValue"]
    taken = datetime.fromisoformat(value["timestamp"].replace("Z", "+00:00"))
    assert 10 < (asked - taken).total_seconds() < 20
