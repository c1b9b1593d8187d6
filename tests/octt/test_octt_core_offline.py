"""Test cases of the Core profile over a real WebSocket: lost connections and lost power."""

from datetime import datetime
from itertools import pairwise

import pytest
from support.octt import Octt, case
from support.story import configure
from support.trace import Trace
from support.world import CARD

requirement = pytest.mark.requirement
MONEY = ("StartTransaction", "MeterValues", "StopTransaction")


def money(trace: Trace) -> list[str]:
    return [action for action, _ in trace.calls if action in MONEY]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


@case("TC_032_2_CS")
@requirement("16.TX.16", "16.OFF.1", "16.OFF.9", "16.BOOT.1")
async def test_power_fails_and_the_stop_is_told_after_the_boot(station: Octt) -> None:
    await station.charge(65)
    trace = Trace(station)
    await station.power_cut()
    await station.delivered()
    await station.advance(5)

    told = trace.actions("MeterValues", "StatusNotification")
    assert told == ["BootNotification", "StopTransaction"]
    stop = trace.one("StopTransaction")
    assert (stop["reason"], "idTag" in stop) == ("PowerLoss", False)
    assert stop["transactionId"] == station.transactions[0].number
    assert stop["meterStop"] == station.register_wh()
    assert moment(stop["timestamp"]) <= station.time.true_wall()
    assert not station.coil()


@case("TC_034_CS", evses=2)
@requirement("16.STAT.8", "16.AVAIL.2", "16.RESET.5", "ChangeAvailability.conf:Accepted",
             "StatusNotification.req:Unavailable")
async def test_unavailable_survives_a_power_failure(station: Octt) -> None:
    trace = Trace(station)
    answer = await station.central.call(
        "ChangeAvailability", {"connectorId": 1, "type": "Inoperative"})
    assert answer == {"status": "Accepted"}
    await station.advance(1)
    assert trace.statuses(1) == ["Unavailable"]

    trace.begin()
    await station.power_cut()
    await station.until(lambda: trace.statuses(2), 60)

    assert trace.actions()[0] == "BootNotification"
    assert [trace.statuses(number) for number in (0, 1, 2)] == [
        ["Available"], ["Unavailable"], ["Available"]]


@case("TC_036_CS")
@requirement("16.OFF.1", "16.OFF.2", "16.BOOT.2", "16.RPC.12")
async def test_the_connection_is_lost_while_charging(station: Octt) -> None:
    await configure(station, MeterValueSampleInterval=30)
    await station.charge(65)
    trace = Trace(station)
    station.network.down()
    await station.advance(100)
    assert station.coil()
    station.network.up = True
    await station.until(lambda: station.central.online, 120)
    await station.delivered()

    assert "BootNotification" not in trace.actions()
    assert trace.of("StatusNotification") == []
    await station.tap(CARD)
    await station.unplug()
    await station.delivered()
    assert trace.one("StopTransaction").get("reason", "Local") == "Local"
    stamps = [moment(at) for at, _ in station.transactions[0].samples]
    assert stamps == sorted(stamps)
    gaps = {round((later - earlier).total_seconds()) for earlier, later in pairwise(stamps)}
    assert gaps == {30}


async def begun_offline(station: Octt) -> datetime:
    """A card and a plug without a connection; when it began."""
    station.network.down()
    await station.plug()
    await station.tap(CARD)
    began = station.time.true_wall()
    await station.advance(70)
    assert station.coil()
    return began


@case("TC_037_1_CS")
@requirement("16.OFF.1", "16.OFF.3", "16.OFF.7", "key:AllowOfflineTxForUnknownId")
async def test_begun_offline_with_a_valid_tag(station: Octt) -> None:
    await configure(station, AllowOfflineTxForUnknownId=True)
    trace = Trace(station)
    began = await begun_offline(station)
    station.network.up = True
    await station.delivered()
    await station.advance(5)

    assert trace.of("Authorize") == []
    start = trace.one("StartTransaction")
    assert abs((moment(start["timestamp"]) - began).total_seconds()) < 2
    assert money(trace)[0] == "StartTransaction"
    assert {call["transactionId"] for call in trace.of("MeterValues")} == {
        station.transactions[0].number}
    assert station.coil()
    assert trace.statuses() == ["Charging"]


@case("TC_037_2_CS")
@requirement("16.TX.4", "key:StopTransactionOnInvalidId", "key:MaxEnergyOnInvalidId",
             "StartTransaction.conf:Invalid", "StatusNotification.req:SuspendedEVSE")
async def test_begun_offline_with_a_tag_that_is_refused_later(station: Octt) -> None:
    await configure(station, AllowOfflineTxForUnknownId=True, StopTransactionOnInvalidId=False,
                    MaxEnergyOnInvalidId=0)
    station.central.verdicts[CARD] = {"status": "Invalid"}
    trace = Trace(station)
    await begun_offline(station)
    station.network.up = True
    await station.until(lambda: trace.statuses()[-1:] == ["SuspendedEVSE"], 180)
    await station.advance(20)

    assert not station.coil()
    assert trace.of("StopTransaction") == []
    await station.unplug()
    await station.delivered()
    assert trace.one("StopTransaction")["reason"] == "EVDisconnected"


@case("TC_037_3_CS")
@requirement("16.TX.4", "key:StopTransactionOnInvalidId", "StartTransaction.conf:Invalid")
async def test_begun_offline_with_a_tag_that_ends_it_later(station: Octt) -> None:
    await configure(station, AllowOfflineTxForUnknownId=True, StopTransactionOnInvalidId=True)
    station.central.verdicts[CARD] = {"status": "Invalid"}
    trace = Trace(station)
    await begun_offline(station)
    station.network.up = True
    await station.until(lambda: trace.of("StopTransaction"), 180)
    await station.advance(5)

    assert trace.one("StopTransaction")["reason"] == "DeAuthorized"
    assert not station.coil()
    assert station.status() == "Finishing"


@case("TC_038_CS")
@requirement("16.OFF.1", "16.TX.17")
async def test_stopped_offline(station: Octt) -> None:
    await station.charge(30)
    trace = Trace(station)
    station.network.down()
    await station.tap(CARD)
    stopped = station.time.true_wall()
    await station.advance(30)
    assert not station.coil()
    station.network.up = True
    await station.delivered()
    await station.advance(5)

    stop = trace.one("StopTransaction")
    assert (stop.get("reason", "Local"), stop["idTag"]) == ("Local", CARD)
    assert abs((moment(stop["timestamp"]) - stopped).total_seconds()) < 12
    assert trace.statuses() == ["Finishing"]


@case("TC_039_CS")
@requirement("16.OFF.1", "16.OFF.2", "16.OFF.3", "16.STAT.6")
async def test_a_whole_transaction_offline(station: Octt) -> None:
    await configure(station, AllowOfflineTxForUnknownId=True, MeterValueSampleInterval=20)
    trace = Trace(station)
    began = await begun_offline(station)
    await station.tap(CARD)
    await station.advance(10)
    await station.unplug()
    await station.advance(100)
    station.network.up = True
    await station.delivered()
    await station.advance(5)

    assert money(trace) == ["StartTransaction", *["MeterValues"] * 3, "StopTransaction"]
    number = station.transactions[0].number
    assert {call["transactionId"] for call in [*trace.of("MeterValues"),
                                               *trace.of("StopTransaction")]} == {number}
    start, stop = trace.one("StartTransaction"), trace.one("StopTransaction")
    assert abs((moment(start["timestamp"]) - began).total_seconds()) < 2
    assert moment(start["timestamp"]) < moment(stop["timestamp"])
    assert trace.of("StatusNotification") == []
    await station.assert_books_agree()


@case("TC_032_1_CS")
@requirement("16.TX.16", "16.TX.10")
async def test_power_fails_and_the_stop_is_told_while_the_battery_lasts(station: Octt) -> None:
    """SIGPWR is what a UPS sends."""
    await station.charge(65)
    trace = Trace(station)
    assert station.app is not None
    station.app.power_fails()
    await station.until(lambda: station._task is not None and station._task.done(), 30)

    stop = trace.one("StopTransaction")
    assert (stop["reason"], "idTag" in stop) == ("PowerLoss", False)
    assert stop["meterStop"] == station.register_wh()
    assert not station.coil()
    trace.begin()
    await station.power_cut()
    await station.until(trace.statuses, 60)
    await station.delivered()
    assert trace.of("StopTransaction") == []
    assert trace.actions()[0] == "BootNotification"
    await station.assert_books_agree()
