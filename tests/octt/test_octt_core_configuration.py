"""Test cases of the Core profile over a real WebSocket: configuration, availability, meter values.
"""

from typing import Any

import pytest
from support.octt import Octt, case
from support.story import configure
from support.trace import Trace
from support.world import CARD

requirement = pytest.mark.requirement
REGISTER, POWER = "Energy.Active.Import.Register", "Power.Active.Import"
ACCEPTED = {"status": "Accepted"}


async def read(station: Octt, *keys: str) -> dict[str, Any]:
    return await station.central.call("GetConfiguration", {"key": list(keys)} if keys else {})


async def change(station: Octt, key: str, value: str) -> str:
    answer = await station.central.call("ChangeConfiguration", {"key": key, "value": value})
    return str(answer["status"])


@case("TC_019_CS")
@requirement("16.CONF.1", "GetConfiguration.conf", "key:SupportedFeatureProfiles",
             "key:GetConfigurationMaxKeys")
async def test_all_keys_and_one_key_are_read(station: Octt) -> None:
    everything = await read(station)
    keys = {one["key"]: one for one in everything["configurationKey"]}
    assert "unknownKey" not in everything
    assert {"HeartbeatInterval", "NumberOfConnectors", "ConnectionTimeOut"} <= set(keys)
    assert "Core" in keys["SupportedFeatureProfiles"]["value"].split(",")
    assert keys["SupportedFeatureProfiles"]["readonly"] is True
    assert len(keys) <= int(keys["GetConfigurationMaxKeys"]["value"])

    one = await read(station, "SupportedFeatureProfiles")
    assert one == {"configurationKey": [keys["SupportedFeatureProfiles"]]}


@case("TC_021_CS")
@requirement("16.CONF.2", "16.CONF.5", "ChangeConfiguration.conf:Accepted",
             "key:MeterValueSampleInterval")
async def test_a_key_is_changed_and_read_back(station: Octt) -> None:
    assert await change(station, "MeterValueSampleInterval", "7") == "Accepted"
    told = await read(station, "MeterValueSampleInterval")

    assert told["configurationKey"] == [
        {"key": "MeterValueSampleInterval", "readonly": False, "value": "7"}]


@case("TC_040_1_CS")
@requirement("16.CONF.2", "ChangeConfiguration.conf:NotSupported")
async def test_an_unknown_key_is_not_supported(station: Octt) -> None:
    assert await change(station, "NoSuchKeyAtAll", "1") == "NotSupported"
    assert await read(station, "NoSuchKeyAtAll") == {
        "configurationKey": [], "unknownKey": ["NoSuchKeyAtAll"]}


@case("TC_040_2_CS")
@requirement("16.CONF.2", "16.CONF.3", "ChangeConfiguration.conf:Rejected",
             "key:MeterValueSampleInterval")
async def test_a_value_that_does_not_fit_is_rejected(station: Octt) -> None:
    before = await read(station)

    assert await change(station, "MeterValueSampleInterval", "-1") == "Rejected"
    assert await change(station, "NumberOfConnectors", "7") == "Rejected"

    assert await read(station) == before


@case(evses=2)
@requirement("16.AVAIL.1", "16.AVAIL.2", "16.AVAIL.3", "ChangeAvailability.conf:Accepted",
             "ChangeAvailability.conf:Scheduled", "ChangeAvailability.conf:Rejected",
             "StatusNotification.req:Unavailable")
async def test_availability_is_changed_scheduled_and_rejected(station: Octt) -> None:
    async def changed(connector: int, kind: str) -> str:
        answer = await station.central.call(
            "ChangeAvailability", {"connectorId": connector, "type": kind})
        return str(answer["status"])

    await station.charge(20, evse=1)
    trace = Trace(station)
    assert await changed(3, "Inoperative") == "Rejected"
    assert await changed(2, "Inoperative") == "Accepted"
    await station.advance(1)
    assert trace.statuses(2) == ["Unavailable"]
    assert await changed(0, "Inoperative") == "Scheduled"
    await station.advance(5)
    assert station.status(1) == "Charging"
    await station.tap(CARD)
    await station.advance(10)
    await station.unplug()
    await station.advance(5)
    assert (trace.statuses(0), trace.statuses(1)[-1]) == (["Unavailable"], "Unavailable")
    assert await changed(0, "Operative") == "Accepted"
    await station.advance(2)
    assert [station.status(number) for number in (0, 1, 2)] == ["Available"] * 3


@case()
@requirement("16.CACHE.6", "ClearCache.conf:Accepted", "ClearCache.conf:Rejected",
             "key:AuthorizationCacheEnabled")
async def test_the_cache_is_cleared_if_there_is_one(station: Octt) -> None:
    assert await station.central.call("ClearCache") == ACCEPTED
    await configure(station, AuthorizationCacheEnabled=False)
    assert await station.central.call("ClearCache") == {"status": "Rejected"}


@case("TC_070_CS")
@requirement("16.MET.1", "16.MET.7", "MeterValues.req", "key:MeterValueSampleInterval",
             "key:MeterValuesSampledData")
async def test_sampled_meter_values(station: Octt) -> None:
    await configure(station, MeterValueSampleInterval=10,
                    MeterValuesSampledData=f"{REGISTER},{POWER}", ClockAlignedDataInterval=0)
    trace = Trace(station)
    await station.charge(35)
    await station.tap(CARD)
    await station.until(lambda: trace.of("StopTransaction"), 30)

    told = trace.of("MeterValues")
    assert len(told) == 3
    last_wh = trace.one("StartTransaction")["meterStart"]
    for call in told:
        assert (call["connectorId"], call["transactionId"]) == (
            1, station.transactions[0].number)
        value, = call["meterValue"]
        assert {one["context"] for one in value["sampledValue"]} == {"Sample.Periodic"}
        measured = {one["measurand"]: one for one in value["sampledValue"]
                    if "phase" not in one}
        assert set(measured) == {REGISTER, POWER}
        assert (measured[REGISTER]["unit"], measured[POWER]["unit"]) == ("Wh", "W")
        assert last_wh <= int(measured[REGISTER]["value"])
        last_wh = int(measured[REGISTER]["value"])
    assert last_wh <= trace.one("StopTransaction")["meterStop"]


@case("TC_071_CS")
@requirement("16.MET.2", "16.MET.11", "key:ClockAlignedDataInterval",
             "key:MeterValuesAlignedData")
async def test_clock_aligned_meter_values(station: Octt) -> None:
    await configure(station, ClockAlignedDataInterval=60, MeterValueSampleInterval=0,
                    MeterValuesAlignedData=REGISTER)
    trace = Trace(station)
    await station.advance(130)
    at_rest = trace.of("MeterValues")
    await station.charge(130)

    told = trace.of("MeterValues")
    assert len(at_rest) == 2
    assert len(told) == 4
    assert all("transactionId" not in call for call in at_rest)
    assert {call["transactionId"] for call in told[2:]} == {station.transactions[0].number}
    for call in told:
        value, = call["meterValue"]
        assert value["timestamp"][17:19] == "00"
        assert [(one["measurand"], one["context"]) for one in value["sampledValue"]] == [
            (REGISTER, "Sample.Clock")]


@case()
@requirement("16.MET.3", "16.MET.4", "key:StopTxnSampledData", "key:StopTxnAlignedData")
async def test_values_kept_for_the_stop(station: Octt) -> None:
    await configure(station, MeterValueSampleInterval=20, StopTxnSampledData=REGISTER,
                    ClockAlignedDataInterval=60, StopTxnAlignedData=REGISTER)
    trace = Trace(station)
    await station.charge(70)
    await station.tap(CARD)
    await station.until(lambda: trace.of("StopTransaction"), 30)

    data = trace.one("StopTransaction")["transactionData"]
    contexts = [value["sampledValue"][0]["context"] for value in data]
    assert (contexts[0], contexts[-1]) == ("Transaction.Begin", "Transaction.End")
    assert contexts.count("Sample.Periodic") == 3
    assert contexts.count("Sample.Clock") in (1, 2)
    stamps = [value["timestamp"] for value in data]
    assert stamps == sorted(stamps)
