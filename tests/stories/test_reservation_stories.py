"""Reservations in the life of a station: over restarts, offline, with several EVSEs."""

from datetime import timedelta
from typing import Any

import pytest
from support.power_cuts import count_frames, with_a_cut
from support.story import configure, last_status, read_key, statuses, story
from support.world import CARD, OTHER_CARD, World, world

from cpctl.core.state import Reservation

ACCEPTED, REJECTED = {"status": "Accepted"}, {"status": "Rejected"}
requirement = pytest.mark.requirement


async def reserve(w: World, number: int = 1, connector: int = 1, tag: str = CARD,
                  minutes: float = 30, **more: Any) -> str:
    answer = await w.central.call("ReserveNow", {
        "connectorId": connector, "idTag": tag, "reservationId": number,
        "expiryDate": (w.time.true_wall() + timedelta(minutes=minutes)).isoformat(), **more})
    return str(answer["status"])


async def cancel(w: World, number: int = 1) -> dict[str, Any]:
    answer: dict[str, Any] = await w.central.call("CancelReservation", {"reservationId": number})
    return answer


def kept(w: World) -> list[int]:
    """The ids of the reservations on the disk."""
    assert w.app is not None
    return sorted(one.id for one in w.app.station_store.records.values()
                  if isinstance(one, Reservation))


@requirement("16.RES.7", "16.STAT.8", "16.OFF.9")
@pytest.mark.parametrize("fall", ["power_cut", "kill"])
@story
async def test_a_reservation_survives_and_is_told_again(fall: str) -> None:
    async with world(evses=2) as w:
        assert await reserve(w, 7, 2) == "Accepted"
        await w.until(lambda: w.status(2) == "Reserved")

        await getattr(w, fall)()
        await w.until(lambda: len(w.central.books.boots) == 2, 60)
        await w.advance(5)

        assert (w.status(1), w.status(2)) == ("Available", "Reserved")
        await w.charge(10, 2, token=CARD)
        assert w.calls("StartTransaction")[-1]["reservationId"] == 7
        assert kept(w) == []


@requirement("16.RES.7", "16.RES.4")
@story
async def test_one_that_expires_while_the_station_is_dark_is_gone_after_the_start() -> None:
    async with world() as w:
        await reserve(w, minutes=5)
        await w.die(power=True)

        await w.advance(600)
        await w.start()
        await w.until(lambda: len(w.central.books.boots) == 2, 60)
        await w.advance(5)

        assert w.status() == "Available" and kept(w) == []


@requirement("16.OFF.8", "16.RES.4", "16.STAT.6")
@story
async def test_offline_it_expires_all_the_same_and_that_is_told_afterwards() -> None:
    async with world() as w:
        await reserve(w, minutes=5)
        await w.until(lambda: w.status() == "Reserved")
        w.network.down()
        await w.advance(600)
        assert kept(w) == []

        w.network.up = True
        await w.until(lambda: w.status() == "Available", 600)


@requirement("16.RES.3", "16.OFF.8")
@story
async def test_offline_the_reserving_tag_is_let_in_by_the_list_and_nobody_else_is() -> None:
    async with world() as w:
        await configure(w, AllowOfflineTxForUnknownId=True)
        await w.central.call("SendLocalList", {
            "listVersion": 1, "updateType": "Full", "localAuthorizationList": [
                {"idTag": OTHER_CARD, "idTagInfo": {"status": "Accepted", "parentIdTag": "P"}}]})
        await reserve(w, parentIdTag="p")
        w.network.down()
        await w.advance(1)

        await w.charge(5, token="STRANGER")
        assert not w.coil()
        await w.tap(OTHER_CARD)  # the list names its parent
        await w.advance(5)

        assert w.coil() and kept(w) == []


@requirement("16.RES.3", "16.STAT.1")
@story
async def test_between_reserved_and_preparing_nothing_else_is_told() -> None:
    async with world() as w:
        await configure(w, ConnectionTimeOut=20)
        await reserve(w, parentIdTag="P")

        await w.tap("STRANGER")
        await w.advance(5)
        assert statuses(w)[-1] == "Reserved" and len(w.calls("Authorize")) == 1
        await w.tap(CARD)
        await w.advance(25)  # and does not plug in
        await w.tap(CARD)
        await w.plug()
        await w.until(lambda: w.status() == "Charging", 60)

        told = [word for word in statuses(w) if word != "SuspendedEV"]
        assert told[told.index("Reserved"):] == [
            "Reserved", "Preparing", "Reserved", "Preparing", "Charging"]
        assert last_status(w)["errorCode"] == "NoError"


@requirement("16.RES.8", "E-23")
@pytest.mark.parametrize(("option", "word"), [("stay", "Reserved"), ("preparing", "Preparing")])
@story
async def test_a_cable_without_a_tag_in_a_reserved_connector(option: str, word: str) -> None:
    async with world(more=f'[options]\npolicy.reserved_plug = "{option}"') as w:
        await reserve(w)
        await w.plug()
        await w.advance(5)
        assert w.status() == word

        assert await cancel(w) == ACCEPTED
        await w.until(lambda: w.status() == "Preparing", 10)
        await w.until(lambda: w.status() == "Finishing", 70)  # nobody claims the plug in time


@requirement("16.AVAIL.5", "16.RES.4")
@story
async def test_inoperative_ends_it_and_operative_does_not_bring_it_back() -> None:
    async with world() as w:
        await reserve(w)
        for kind, word in (("Inoperative", "Unavailable"), ("Operative", "Available")):
            assert await w.central.call("ChangeAvailability", {
                "connectorId": 1, "type": kind}) == ACCEPTED
            await w.until(lambda word=word: w.status() == word, 10)
        assert await cancel(w) == REJECTED


@requirement("16.RES.4")
@story
async def test_a_fault_ends_it() -> None:
    async with world() as w:
        await reserve(w)
        w.board.fault("rcd", 1)
        await w.until(lambda: w.status() == "Faulted", 10)
        w.board.clear("rcd", 1)

        await w.until(lambda: w.status() == "Available", 10)
        assert await cancel(w) == REJECTED


@requirement("16.RESET.5", "16.RES.7")
@story
async def test_unlocking_and_resetting_leave_it() -> None:
    from support.story import next_life

    async with world() as w:
        await reserve(w)
        answer = await w.central.call("UnlockConnector", {"connectorId": 1})
        assert answer == {"status": "Unlocked"}
        await w.advance(5)
        assert w.status() == "Reserved"

        assert await w.central.call("Reset", {"type": "Soft"}) == ACCEPTED
        await next_life(w)
        await w.until(lambda: len(w.central.books.boots) == 2, 60)
        await w.advance(5)

        assert w.status() == "Reserved"


@requirement("16.RES.2", "E-21")
@story
async def test_the_last_free_connector_turns_reserved_and_free_again() -> None:
    async with world(evses=2) as w:
        assert await reserve(w, 4, 0) == "Accepted"
        await w.charge(5, 1, token=OTHER_CARD)
        await w.until(lambda: w.status(2) == "Reserved", 10)
        assert await w.central.call("RemoteStartTransaction", {
            "idTag": "STRANGER", "connectorId": 2}) == REJECTED

        await w.tap(OTHER_CARD)
        await w.unplug(1)

        await w.until(lambda: w.status(1) == w.status(2) == "Available", 30)
        assert kept(w) == [4]


@requirement("16.RES.2", "E-21")
@story
async def test_a_station_of_one_connector_is_reserved_as_a_whole() -> None:
    async with world() as w:
        assert await reserve(w, 4, 0) == "Accepted"
        await w.until(lambda: w.status() == "Reserved", 10)
        assert await reserve(w, 5, 0) == "Occupied"
        assert await reserve(w, 5, 1) == "Occupied"
        assert await reserve(w, 4, 0, tag=OTHER_CARD) == "Accepted"

        await w.charge(5, token=OTHER_CARD)

        assert w.calls("StartTransaction")[-1]["reservationId"] == 4


@requirement("16.TX.9", "16.RES.1")
@story
async def test_of_two_connectors_of_one_evse_the_other_is_unavailable() -> None:
    async with world(evse_more="connectors = [{ id = 1 }, { id = 2 }]") as w:
        assert await reserve(w, 1, 2) == "Accepted"
        await w.until(lambda: w.status(2) == "Reserved", 10)
        assert w.status(1) == "Unavailable"
        assert await reserve(w, 2, 1) == "Unavailable"

        assert await cancel(w) == ACCEPTED

        await w.until(lambda: w.status(1) == w.status(2) == "Available", 10)


@requirement("key:ReserveConnectorZeroSupported")
@story
async def test_the_key_tells_what_is_supported_and_cannot_be_written() -> None:
    async with world() as w:
        assert await read_key(w, "ReserveConnectorZeroSupported") == "true"
        assert await w.central.call("ChangeConfiguration", {
            "key": "ReserveConnectorZeroSupported", "value": "false"}) == REJECTED


@requirement("16.RES.1")
@story
async def test_a_reservation_is_no_promise_while_it_cannot_be_written() -> None:
    import sqlite3

    async with world() as w:
        assert w.app is not None
        con = w.app.station_store._db.con
        con.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)

        assert await reserve(w) == "Rejected"

        con.set_authorizer(None)
        await w.until(lambda: w.status() == "Available", 120)


async def reserve_and_charge(w: World) -> None:
    """A reservation made, kept against a stranger, and used."""
    await reserve(w, 3)
    await w.advance(1)
    await w.tap(OTHER_CARD)
    await w.charge(30)
    await w.tap(CARD)
    await w.advance(8)
    await w.unplug()


def reserved_or_used(w: World) -> None:
    """Never both: what a transaction used up does not come back, and what nobody used is there."""
    used = [one.get("reservationId") for one in w.calls("StartTransaction")]
    accepted = any(frame.text.startswith("[3,") and '"Accepted"}' in frame.text
                   for frame in w.central.frames if not frame.sent)
    assert kept(w) == ([] if 3 in used or not accepted else [3]), (used, accepted)


@requirement("16.RES.4", "16.RES.7")
def test_a_cut_at_any_frame_leaves_the_reservation_or_its_use_never_both() -> None:
    from support import virtual_loop

    async def whole() -> None:
        frames = await count_frames(reserve_and_charge, 1)
        for at in range(1, frames + 1):
            await with_a_cut(reserve_and_charge, 1, at, power=True, passes=True,
                             then=reserved_or_used)

    virtual_loop.run(whole())
