"""A disk that takes seconds for each write: news comes behind the answer that it follows from."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from support import virtual_loop
from support.world import CARD, World, world

from cpctl.store.db import InlineWriter

requirement = pytest.mark.requirement
WRITE_S = 2.0


class SlowWriter(InlineWriter):
    """One job after the other, each after `WRITE_S`."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = asyncio.Lock()

    async def run(self, fn: Any, then: Any = None) -> Any:
        async with self._turn:
            await asyncio.sleep(WRITE_S)
            return await super().run(fn, then)


async def slow_station(station: World) -> None:
    station.writer = SlowWriter
    await station.start()
    await station.until(lambda: station.status() == "Available", 120)
    await station.advance(60)


async def told_after(station: World, action: str, payload: dict[str, Any]) -> list[str]:
    """What the station said from the request on: its answer, and the calls that followed."""
    begin = len(station.central.frames)
    await station.central.call(action, payload)
    await station.advance(30)
    said = [one.parts for one in station.central.frames[begin:] if not one.sent]
    return ["answer" if one[0] == 3 else one[2] for one in said
            if one[0] == 3 or one[2] != "SecurityEventNotification"]


@requirement("16.TRIG.1", "16.AVAIL.2", "16.RES.4", "ReserveNow.conf:Accepted",
             "ChangeAvailability.conf:Accepted")
def test_a_status_comes_behind_the_answer_to_the_request_that_changed_it() -> None:
    async def story() -> None:
        async with world(start=False) as station:
            await slow_station(station)
            until = (station.time.true_wall() + timedelta(hours=1)).isoformat()
            for action, payload in (
                    ("ChangeAvailability", {"connectorId": 1, "type": "Inoperative"}),
                    ("ChangeAvailability", {"connectorId": 1, "type": "Operative"}),
                    ("ReserveNow", {"connectorId": 1, "idTag": CARD, "reservationId": 1,
                                    "expiryDate": until}),
                    ("CancelReservation", {"reservationId": 1}),
                    ("TriggerMessage", {"requestedMessage": "StatusNotification",
                                        "connectorId": 1}),
                    ("TriggerMessage", {"requestedMessage": "Heartbeat"})):
                told = await told_after(station, action, payload)
                what = payload.get("requestedMessage", "StatusNotification")
                assert told == ["answer", what], (action, told)

    virtual_loop.run(story())


@requirement("16.RSTART.1", "16.RSTOP.1", "16.SEC.3", "16.RES.4")
def test_facts_come_behind_the_answer_to_the_request_that_made_them() -> None:
    async def story() -> None:
        async with world(start=False, more="[options]\nsecurity.notify = \"all\"") as station:
            await slow_station(station)
            begin = len(station.central.frames)
            await station.central.call("ChangeConfiguration", {
                "key": "AuthorizationKey", "value": "00" * 20})
            await station.advance(30)
            said = [one.parts for one in station.central.frames[begin:] if not one.sent]
            assert [one[0] if one[0] == 3 else one[2] for one in said][:2] == [
                3, "SecurityEventNotification"]

            until = (station.time.true_wall() + timedelta(hours=1)).isoformat()
            await station.central.call("ReserveNow", {
                "connectorId": 1, "idTag": CARD, "reservationId": 1, "expiryDate": until})
            await station.plug()
            await station.advance(20)

            told = await told_after(station, "RemoteStartTransaction", {
                "connectorId": 1, "idTag": CARD})
            assert told[0] == "answer" and "StartTransaction" in told
            assert station.calls("StartTransaction")[0]["reservationId"] == 1
            number = station.central.books.transactions[0].number
            told = await told_after(station, "RemoteStopTransaction", {"transactionId": number})
            assert told[0] == "answer" and "StopTransaction" in told

    virtual_loop.run(story())
