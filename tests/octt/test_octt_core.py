"""Test cases of the Core profile over a real WebSocket: boot, and local charging."""

import pytest
from support.octt import Octt, case
from support.story import configure
from support.trace import Trace
from support.world import CARD

from cpctl.demo.csms import CallFailed, Reply

requirement = pytest.mark.requirement
#: from the plug and the card to energy: the car asks once it is offered current
BEGINS = ["Preparing", "Authorize", "StartTransaction", "SuspendedEV", "Charging"]


@case("TC_001_CS", evses=2)
@requirement("16.BOOT.1", "16.BOOT.4", "16.RPC.1", "BootNotification.req", "Heartbeat.req",
             "BootNotification.conf:Accepted", "StatusNotification.req:Available")
async def test_a_cold_boot(station: Octt) -> None:
    trace = Trace(station, from_the_start=True)
    await station.advance(2 * station.central.heartbeat_s + 5)

    boot = trace.one("BootNotification")
    assert (boot["chargePointVendor"], boot["chargePointModel"]) == ("Example", "Post")
    assert trace.calls[0][0] == "BootNotification"
    told = trace.of("StatusNotification")
    assert [one["connectorId"] for one in told] == [0, 1, 2]
    assert all((one["status"], one["errorCode"]) == ("Available", "NoError") for one in told)
    assert trace.actions()[:4] == ["BootNotification", *["StatusNotification"] * 3]
    assert len(trace.of("Heartbeat")) == 2
    assert station.network.paths == ["/ocpp/CP001"]
    assert station.network.openings[0]["sec-websocket-protocol"] == "ocpp1.6"


@case("TC_002_CS", start=False)
@requirement("16.BOOT.3", "16.BOOT.5", "16.BOOT.6", "BootNotification.conf:Pending",
             "RemoteStartTransaction.conf:Rejected", "RemoteStopTransaction.conf:Rejected",
             "GetConfiguration.conf", "ChangeConfiguration.conf:Accepted")
async def test_a_boot_that_is_pending(station: Octt) -> None:
    central = station.central
    central.heartbeat_s = 40
    central.registration.append("Pending")
    await station.start()
    trace = Trace(station, from_the_start=True)
    await station.until(lambda: central.books.boots, 30)

    asked = await central.call("GetConfiguration", {"key": ["HeartbeatInterval"]})
    assert asked["configurationKey"][0]["key"] == "HeartbeatInterval"
    await configure(station, MeterValueSampleInterval=17)
    for action, payload in (("RemoteStartTransaction", {"idTag": CARD, "connectorId": 1}),
                            ("RemoteStopTransaction", {"transactionId": 1})):
        assert await central.call(action, payload) == {"status": "Rejected"}
    await station.plug()
    await station.advance(30)
    assert trace.actions() == ["BootNotification"]

    await station.until(lambda: len(central.books.boots) == 2, 30)
    await station.advance(2)
    assert trace.actions() == ["BootNotification", "BootNotification", *["StatusNotification"] * 2]
    assert trace.statuses() == ["Preparing"]


@case("TC_002_CS", start=False)
@requirement("16.BOOT.5", "16.TRIG.1", "TriggerMessage.conf:Accepted")
async def test_a_pending_station_sends_what_is_asked_for_and_no_more(station: Octt) -> None:
    central = station.central
    central.heartbeat_s = 200
    central.registration.append("Pending")
    await station.start()
    await station.until(lambda: central.books.boots, 30)
    trace = Trace(station)

    for message in ("StatusNotification", "Heartbeat", "MeterValues", "BootNotification"):
        answer = await central.call("TriggerMessage", {"requestedMessage": message})
        assert answer == {"status": "Accepted"}
        await station.advance(3)

    told = [action for action, _ in trace.calls]
    assert told[:5] == [*["StatusNotification"] * 2, "Heartbeat", "MeterValues",
                        "BootNotification"]
    assert station.status() == "Available"


@case("TC_002_CS", start=False)
@requirement("16.BOOT.6", "16.BOOT.7", "BootNotification.conf:Rejected")
async def test_a_boot_that_is_rejected(station: Octt) -> None:
    central = station.central
    central.heartbeat_s = 60
    central.registration.append("Rejected")
    await station.start()
    await station.until(lambda: central.books.boots, 30)
    before = len(central.frames)
    await station.plug()
    await station.tap(CARD)
    await station.advance(50)

    assert [frame for frame in central.frames[before:] if not frame.sent] == []
    await station.until(lambda: len(central.books.boots) == 2, 30)
    await station.advance(2)
    assert station.status(0) == "Available"


@case("TC_003_CS")
@requirement("16.TX.1", "16.TX.10", "16.TX.11", "16.TX.15", "16.STAT.1", "Authorize.req",
             "Authorize.conf:Accepted", "StartTransaction.req", "StartTransaction.conf:Accepted",
             "StopTransaction.req", "StopTransaction.conf:Accepted",
             "StatusNotification.req:Preparing", "StatusNotification.req:Charging",
             "StatusNotification.req:Finishing")
async def test_a_charge_plug_first(station: Octt) -> None:
    trace = Trace(station)
    await station.plug()
    assert trace.story() == ["Preparing"]
    begin_wh = station.register_wh()
    await station.tap(CARD)
    await station.advance(60)

    assert trace.story() == BEGINS
    assert trace.one("Authorize") == {"idTag": CARD}
    start = trace.one("StartTransaction")
    assert (start["connectorId"], start["idTag"]) == (1, CARD)
    assert start["meterStart"] == begin_wh
    assert start["timestamp"] <= station.time.true_wall().strftime("%Y-%m-%dT%H:%M:%SZ")
    assert "reservationId" not in start

    trace.begin()
    await station.tap(CARD)
    await station.until(lambda: station.status() == "Finishing", 30)
    await station.delivered()
    stop = trace.one("StopTransaction")
    assert stop["transactionId"] == station.transactions[0].number
    assert (stop.get("reason", "Local"), stop["idTag"]) == ("Local", CARD)
    assert stop["meterStop"] == station.register_wh() > begin_wh
    await station.unplug()
    await station.until(lambda: station.status() == "Available", 30)
    assert sorted(trace.story()) == sorted(["StopTransaction", "Finishing", "Available"])


@case("TC_004_1_CS")
@requirement("16.TX.1", "16.TX.2")
async def test_a_charge_card_first(station: Octt) -> None:
    trace = Trace(station)
    await station.tap(CARD)
    await station.advance(5)
    assert trace.story() == ["Authorize", "Preparing"] or trace.story() == [
        "Preparing", "Authorize"]

    await station.plug()
    await station.advance(30)

    assert trace.story()[2:] == ["StartTransaction", "SuspendedEV", "Charging"]
    assert trace.one("StartTransaction")["idTag"] == CARD
    await station.tap(CARD)
    await station.until(lambda: station.status() == "Finishing", 30)
    await station.unplug()
    await station.until(lambda: station.status() == "Available", 30)
    await station.delivered()
    await station.assert_books_agree()


@case("TC_004_2_CS")
@requirement("16.TX.2", "key:ConnectionTimeOut")
async def test_a_card_and_no_plug_in_time(station: Octt) -> None:
    await configure(station, ConnectionTimeOut=20)
    trace = Trace(station)
    await station.tap(CARD)
    await station.advance(18)
    assert station.status() == "Preparing"

    await station.advance(4)

    assert sorted(trace.story()) == ["Authorize", "Available", "Preparing"]
    assert trace.story()[-1] == "Available"
    await station.plug()
    await station.advance(10)
    assert trace.of("StartTransaction") == []


@case("TC_005_1_CS")
@requirement("16.TX.13", "key:StopTransactionOnEVSideDisconnect",
             "key:UnlockConnectorOnEVSideDisconnect")
async def test_unplugged_at_the_car_stops_and_unlocks(station: Octt) -> None:
    await configure(station, StopTransactionOnEVSideDisconnect=True,
                    UnlockConnectorOnEVSideDisconnect=True)
    await station.charge(30)
    trace = Trace(station)
    await station.unplug()
    await station.advance(5)

    stop = trace.one("StopTransaction")
    assert (stop["reason"], "idTag" in stop) == ("EVDisconnected", False)
    finishing = trace.of("StatusNotification")[0]
    assert (finishing["status"], finishing["errorCode"]) == ("Finishing", "NoError")
    assert finishing["info"] == "EV side disconnected"
    assert trace.statuses() == ["Finishing", "Available"]
    assert not station.board.look(1).locked


@case("TC_005_2_CS")
@requirement("16.TX.13", "key:UnlockConnectorOnEVSideDisconnect")
async def test_unplugged_at_the_car_stops_and_stays_locked_for_the_card(station: Octt) -> None:
    await configure(station, StopTransactionOnEVSideDisconnect=True,
                    UnlockConnectorOnEVSideDisconnect=False)
    await station.charge(30)
    trace = Trace(station)
    await station.unplug()
    await station.advance(20)

    assert trace.one("StopTransaction")["reason"] == "EVDisconnected"
    assert trace.statuses() == ["Finishing"]
    assert station.board.look(1).locked
    await station.tap(CARD)
    await station.advance(5)
    assert not station.board.look(1).locked
    assert trace.statuses() == ["Finishing", "Available"]
    assert len(station.transactions) == 1


@case("TC_005_3_CS")
@requirement("16.TX.12", "key:StopTransactionOnEVSideDisconnect",
             "StatusNotification.req:SuspendedEV")
async def test_unplugged_at_the_car_goes_on_when_it_comes_back(station: Octt) -> None:
    await configure(station, StopTransactionOnEVSideDisconnect=False)
    await station.charge(30)
    trace = Trace(station)
    await station.unplug()
    await station.advance(20)

    told = trace.of("StatusNotification")[-1]
    assert (told["status"], told["errorCode"]) == ("SuspendedEV", "NoError")
    assert trace.of("StopTransaction") == []
    assert not station.coil()
    assert station.board.look(1).locked
    await station.plug()
    await station.advance(20)
    assert trace.statuses()[-1] == "Charging"
    await station.tap(CARD)
    await station.until(lambda: trace.of("StopTransaction"), 30)
    assert trace.one("StopTransaction").get("reason", "Local") == "Local"
    await station.unplug()
    await station.delivered()
    await station.assert_books_agree()


@case("TC_024_CS")
@requirement("16.STAT.11", "StatusNotification.req:Faulted")
async def test_the_lock_fails(station: Octt) -> None:
    station.board.fault("lock_jammed", 1)
    trace = Trace(station)
    await station.plug()
    await station.tap(CARD)
    await station.advance(40)

    told = trace.of("StatusNotification")[-1]
    assert (told["status"], told["errorCode"]) == ("Faulted", "ConnectorLockFailure")
    assert "Charging" not in trace.statuses()
    assert not station.coil()
    await station.delivered()
    assert all(one.energy_wh == 0 for one in station.transactions)


@case("TC_041_CS")
@requirement("16.STAT.10", "16.STAT.4", "16.TX.10", "StatusNotification.req:Faulted")
async def test_a_fault_and_its_end(station: Octt) -> None:
    await station.charge(30)
    trace = Trace(station)
    station.board.fault("rcd", 1)
    await station.advance(5)

    told = trace.of("StatusNotification")[0]
    assert (told["status"], told["errorCode"]) == ("Faulted", "GroundFailure")
    assert trace.one("StopTransaction")["reason"] == "Other"
    assert not station.coil()
    station.board.clear("rcd", 1)
    await station.advance(5)
    assert trace.statuses() == ["Faulted", "Finishing"]
    await station.unplug()
    await station.until(lambda: station.status() == "Available", 30)
    await station.charge(20)
    assert station.status() == "Charging"


@case("TC_068_CS")
@requirement("16.AUTH.2")
async def test_the_card_that_started_stops_without_being_asked_for(station: Octt) -> None:
    await station.charge(30)
    station.central.verdicts[CARD] = {"status": "Blocked"}
    trace = Trace(station)
    await station.tap(CARD)
    await station.until(lambda: trace.of("StopTransaction"), 30)
    await station.advance(5)

    assert trace.of("Authorize") == []
    stop = trace.one("StopTransaction")
    assert (stop["idTag"], stop.get("reason", "Local")) == (CARD, "Local")
    assert trace.statuses() == ["Finishing"]


@case(ocpp16="StopTransactionOnInvalidId = false")
@requirement("16.TX.4", "16.TX.7", "StartTransaction.conf:Blocked",
             "StatusNotification.req:SuspendedEVSE")
async def test_a_refused_start_takes_the_energy_and_leaves_the_transaction(station: Octt) -> None:
    station.central.behave("StartTransaction", Reply(
        {"transactionId": 0, "idTagInfo": {"status": "Blocked"}}))
    trace = Trace(station)
    await station.charge(30)

    assert trace.statuses()[-1] == "SuspendedEVSE"
    assert trace.of("StopTransaction") == []
    await station.tap(CARD)
    await station.until(lambda: trace.of("StopTransaction"), 30)
    assert trace.one("StopTransaction")["transactionId"] == 0


@case()
@requirement("16.RPC.7")
async def test_what_no_station_is_asked_is_not_supported(station: Octt) -> None:
    for action, code in (("Authorize", "NotSupported"), ("NotifyEvent", "NotImplemented")):
        with pytest.raises(CallFailed) as refused:
            await station.central.call(action, {})
        assert refused.value.code == code
