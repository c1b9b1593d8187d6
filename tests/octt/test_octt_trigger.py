"""Test cases of RemoteTrigger, over a real WebSocket."""

import json
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
