"""Test cases of the Core profile over a real WebSocket: what the central system starts, stops,
unlocks and resets."""

import pytest
from support.octt import Octt, case
from support.story import FIXED_CABLE, configure, next_life
from support.trace import Trace
from support.world import CARD, OTHER_CARD

requirement = pytest.mark.requirement
ACCEPTED, REJECTED = {"status": "Accepted"}, {"status": "Rejected"}


async def start(station: Octt, tag: str = CARD, **more: object) -> dict[str, object]:
    return await station.central.call("RemoteStartTransaction", {"idTag": tag, **more})


@case("TC_010_CS")
@requirement("16.RSTART.1", "RemoteStartTransaction.conf:Accepted",
             "key:AuthorizeRemoteTxRequests")
async def test_remote_start_with_the_cable_in(station: Octt) -> None:
    await configure(station, AuthorizeRemoteTxRequests=True)
    trace = Trace(station)
    await station.plug()
    assert await start(station, connectorId=1) == ACCEPTED
    await station.advance(20)

    assert trace.story() == ["Preparing", "Authorize", "StartTransaction", "SuspendedEV",
                             "Charging"]
    assert trace.one("StartTransaction")["idTag"] == CARD
    assert trace.one("StartTransaction")["connectorId"] == 1


@case("TC_011_1_CS")
@requirement("16.RSTART.1", "16.RSTART.4", "key:AuthorizeRemoteTxRequests")
async def test_remote_start_before_the_cable(station: Octt) -> None:
    trace = Trace(station)
    assert await start(station, connectorId=1) == ACCEPTED
    await station.advance(10)
    assert trace.story() == ["Preparing"]

    await station.plug()
    await station.advance(20)

    assert trace.story() == ["Preparing", "StartTransaction", "SuspendedEV", "Charging"]


@case("TC_011_2_CS")
@requirement("16.RSTART.4", "16.TX.2", "key:ConnectionTimeOut")
async def test_remote_start_and_no_cable_in_time(station: Octt) -> None:
    await configure(station, ConnectionTimeOut=15)
    trace = Trace(station)
    assert await start(station, connectorId=1) == ACCEPTED
    await station.advance(14)
    assert trace.story() == ["Preparing"]
    await station.advance(3)

    assert trace.story() == ["Preparing", "Available"]


@case("TC_012_CS")
@requirement("16.RSTOP.1", "16.TX.10", "16.TX.11", "RemoteStopTransaction.conf:Accepted")
async def test_remote_stop(station: Octt) -> None:
    await station.charge(30)
    trace = Trace(station)
    answer = await station.central.call(
        "RemoteStopTransaction", {"transactionId": station.transactions[0].number})
    assert answer == ACCEPTED
    await station.until(lambda: trace.of("StopTransaction"), 30)
    await station.advance(2)

    stop = trace.one("StopTransaction")
    assert (stop["reason"], "idTag" in stop) == ("Remote", False)
    assert trace.statuses() == ["Finishing"]
    assert not station.board.look(1).locked
    await station.unplug()
    await station.until(lambda: trace.statuses() == ["Finishing", "Available"], 30)


@case("TC_026_CS", evses=2)
@requirement("16.RSTART.2", "16.TX.8", "RemoteStartTransaction.conf:Rejected")
async def test_remote_start_at_a_busy_connector(station: Octt) -> None:
    await station.charge(20)
    trace = Trace(station)
    assert await start(station, OTHER_CARD, connectorId=1) == REJECTED
    await station.advance(10)

    assert trace.actions() == []
    assert len(station.transactions) == 1


@case("TC_027_CS")
@requirement("16.RSTART.2", "RemoteStartTransaction.conf:Rejected")
async def test_remote_start_at_connector_zero(station: Octt) -> None:
    await station.plug()
    trace = Trace(station)
    assert await start(station, connectorId=0) == REJECTED
    await station.advance(10)

    assert trace.actions() == []


@case("TC_028_CS")
@requirement("16.RSTOP.1", "RemoteStopTransaction.conf:Rejected")
async def test_remote_stop_of_another_transaction(station: Octt) -> None:
    await station.charge(20)
    trace = Trace(station)
    answer = await station.central.call(
        "RemoteStopTransaction", {"transactionId": station.transactions[0].number + 1})
    assert answer == REJECTED
    await station.advance(20)

    assert trace.actions("MeterValues") == []
    assert station.coil()


# --- reset -----------------------------------------------------------------------------------


async def reset_at_rest(station: Octt, kind: str) -> None:
    trace = Trace(station)
    assert await station.central.call("Reset", {"type": kind}) == ACCEPTED
    await next_life(station)
    await station.advance(5)

    assert trace.actions() == ["BootNotification", *["StatusNotification"] * 3]
    assert [trace.statuses(number) for number in (0, 1, 2)] == [["Available"]] * 3


async def reset_while_charging(station: Octt, kind: str, reason: str) -> Trace:
    await station.charge(30)
    trace = Trace(station)
    assert await station.central.call("Reset", {"type": kind}) == ACCEPTED
    await next_life(station)
    await station.delivered()
    await station.advance(5)

    stop = trace.one("StopTransaction")
    assert stop["transactionId"] == station.transactions[0].number
    assert stop["reason"] == reason
    assert len(trace.of("BootNotification")) == 1
    assert station.coils_at_start == [False]
    await station.unplug()
    await station.until(lambda: station.status() == "Available", 30)
    return trace


@case("TC_013_CS", evses=2)
@requirement("16.RESET.1", "16.RESET.3", "16.BOOT.1", "Reset.conf:Accepted")
async def test_hard_reset_at_rest(station: Octt) -> None:
    await reset_at_rest(station, "Hard")


@case("TC_014_CS", evses=2)
@requirement("16.RESET.1", "16.RESET.2", "16.BOOT.1", "Reset.conf:Accepted")
async def test_soft_reset_at_rest(station: Octt) -> None:
    await reset_at_rest(station, "Soft")


@case("TC_015_CS")
@requirement("16.RESET.3", "16.TX.10")
async def test_hard_reset_while_charging(station: Octt) -> None:
    await reset_while_charging(station, "Hard", "HardReset")


@case("TC_016_CS")
@requirement("16.RESET.2", "16.TX.10")
async def test_soft_reset_while_charging_tells_the_stop_first(station: Octt) -> None:
    trace = await reset_while_charging(station, "Soft", "SoftReset")

    told = trace.actions("MeterValues", "StatusNotification")
    assert told == ["StopTransaction", "BootNotification"]


@case()
@requirement("16.RESET.1", "Reset.conf:Rejected")
async def test_a_soft_reset_is_rejected_while_a_hard_one_goes_on(station: Octt) -> None:
    await station.charge(20)
    assert await station.central.call("Reset", {"type": "Hard"}) == ACCEPTED
    assert await station.central.call("Reset", {"type": "Soft"}) == REJECTED


# --- unlock ----------------------------------------------------------------------------------


async def unlock(station: Octt, connector: int = 1) -> str:
    answer = await station.central.call("UnlockConnector", {"connectorId": connector})
    return str(answer["status"])


@case("TC_017_1_CS")
@requirement("16.UNLOCK.1", "UnlockConnector.conf:Unlocked")
async def test_unlock_at_rest(station: Octt) -> None:
    trace = Trace(station)
    assert await unlock(station) == "Unlocked"
    await station.advance(5)

    assert not station.board.look(1).locked
    assert trace.actions() == []


@case("TC_017_2_CS", evse_more=FIXED_CABLE)
@requirement("16.UNLOCK.2", "UnlockConnector.conf:NotSupported")
async def test_unlock_of_a_fixed_cable_at_rest(station: Octt) -> None:
    trace = Trace(station)
    assert await unlock(station) == "NotSupported"
    await station.advance(5)

    assert trace.actions() == []


@case("TC_018_1_CS")
@requirement("16.UNLOCK.1", "UnlockConnector.conf:Unlocked")
async def test_unlock_while_charging_stops_it(station: Octt) -> None:
    await station.charge(30)
    trace = Trace(station)
    assert await unlock(station) == "Unlocked"
    await station.until(lambda: trace.of("StopTransaction"), 30)
    await station.advance(2)

    assert trace.one("StopTransaction")["reason"] == "UnlockCommand"
    assert trace.statuses() == ["Finishing"]
    assert not station.coil()
    assert not station.board.look(1).locked
    await station.unplug()
    await station.until(lambda: trace.statuses() == ["Finishing", "Available"], 30)


@case("TC_018_2_CS", evse_more=FIXED_CABLE)
@requirement("16.UNLOCK.2", "UnlockConnector.conf:NotSupported")
async def test_unlock_of_a_fixed_cable_while_charging(station: Octt) -> None:
    await station.charge(30)
    trace = Trace(station)
    assert await unlock(station) == "NotSupported"
    await station.advance(10)

    assert trace.actions("MeterValues") == []
    assert station.coil()


@case("TC_030_CS")
@requirement("16.UNLOCK.1", "UnlockConnector.conf:UnlockFailed")
async def test_unlock_of_a_lock_that_does_not_move(station: Octt) -> None:
    await station.charge(20)
    station.board.fault("lock_jammed", 1)

    assert await unlock(station) == "UnlockFailed"
    assert station.board.look(1).locked


@case("TC_031_CS")
@requirement("16.UNLOCK.1", "UnlockConnector.conf:NotSupported")
async def test_unlock_of_a_connector_that_is_not_there(station: Octt) -> None:
    assert await unlock(station, 2) == "NotSupported"
