"""The local list in the life of a station: who may charge by it, what is told, what survives."""

import sqlite3
from typing import Any

import pytest
from support.story import configure, last_status, read_key, story
from support.world import CARD, OTHER_CARD, World, world

requirement = pytest.mark.requirement


def entry(tag: str, status: str | None = "Accepted", **more: str) -> dict[str, Any]:
    return {"idTag": tag} if status is None else {
        "idTag": tag, "idTagInfo": {"status": status, **more}}


async def send_list(w: World, version: int, *entries: dict[str, Any], kind: str = "Full") -> str:
    answer = await w.central.call("SendLocalList", {
        "listVersion": version, "updateType": kind, "localAuthorizationList": list(entries)})
    return str(answer["status"])


async def version(w: World) -> int:
    return int((await w.central.call("GetLocalListVersion"))["listVersion"])


async def offline_charge(w: World, token: str) -> bool:
    """Whether a plug and that card lead to energy while offline."""
    w.network.down()
    await w.advance(1)
    await w.charge(10, token=token)
    return w.coil()


def conflicts(w: World) -> list[dict[str, Any]]:
    return [one for one in w.central.books.statuses if one["errorCode"] == "LocalListConflict"]


@requirement("16.LIST.1", "16.RESET.5", "16.OFF.9")
@pytest.mark.parametrize("fall", ["power_cut", "kill"])
@story
async def test_the_list_survives_and_serves_offline(fall: str) -> None:
    async with world() as w:
        assert await send_list(w, 3, entry(CARD), entry("BAD", "Blocked")) == "Accepted"

        await getattr(w, fall)()
        await w.until(lambda: len(w.central.books.boots) == 2, 60)

        assert await version(w) == 3
        assert await offline_charge(w, CARD)


@requirement("16.LIST.6", "16.AUTH.7", "key:AllowOfflineTxForUnknownId")
@pytest.mark.parametrize(("listed", "charges"), [
    (entry(CARD), True), (entry(CARD, "Blocked"), False), (entry(CARD, "ConcurrentTx"), False),
    (entry(CARD, expiryDate="2026-04-30T00:00:00Z"), False),
    (entry(CARD, expiryDate="2026-06-30T00:00:00Z"), True), (entry("SOMEBODY"), True)])
@story
async def test_offline_the_list_decides_also_where_the_unknown_may_charge(
        listed: dict[str, Any], charges: bool) -> None:
    async with world() as w:
        await configure(w, AllowOfflineTxForUnknownId=True)
        await send_list(w, 1, listed)

        assert await offline_charge(w, CARD) is charges


@requirement("key:LocalAuthorizeOffline")
@story
async def test_offline_the_list_is_not_used_when_that_is_off() -> None:
    async with world() as w:
        await configure(w, LocalAuthorizeOffline=False)
        await send_list(w, 1, entry(CARD))

        assert not await offline_charge(w, CARD)


@requirement("16.LIST.6")
@story
async def test_an_entry_expires_while_it_is_in_the_list() -> None:
    async with world() as w:
        await configure(w, LocalPreAuthorize=True)
        await send_list(w, 1, entry(CARD, expiryDate="2026-05-01T09:00:00Z"))
        await w.charge(10)
        assert w.coil() and w.calls("Authorize") == []
        await w.tap(CARD)
        await w.unplug()

        await w.advance(3600)
        await w.tap(CARD)

        assert w.calls("Authorize") == [{"idTag": CARD}]


@requirement("16.CACHE.1", "16.LIST.1")
@story
async def test_the_list_outranks_the_cache_and_its_tags_stay_out_of_it() -> None:
    async with world() as w:
        await configure(w, LocalPreAuthorize=True)
        await send_list(w, 1, entry(CARD, "Blocked"))
        await w.charge(10)  # asked for, and the central system says yes
        assert w.coil() and len(w.calls("Authorize")) == 1
        assert w.app is not None and w.app.authbook.entries() == ()
        await w.tap(CARD)
        await w.unplug()

        assert not await offline_charge(w, CARD)


@requirement("16.LIST.5", "StatusNotification.req")
@story
async def test_a_verdict_that_contradicts_the_list_is_told_of_connector_0() -> None:
    async with world() as w:
        await configure(w, LocalPreAuthorize=True, StopTransactionOnInvalidId=True)
        await send_list(w, 1, entry(CARD), entry(OTHER_CARD, "Blocked"))
        before = last_status(w, 0)
        w.central.verdicts[CARD] = {"status": "Invalid"}

        await w.charge(10)  # by the list; the answer to the start says no
        await w.until(lambda: len(conflicts(w)) == 1, 60)
        await w.until(lambda: w.transactions[0].reason == "DeAuthorized", 60)
        await w.tap(CARD)
        await w.unplug()
        await w.advance(5)
        count = len(conflicts(w))
        await w.tap(OTHER_CARD)  # asked for, since the list says no; the answer says yes
        await w.until(lambda: len(conflicts(w)) == count + 1, 60)

        told = conflicts(w)[-1]
        assert (told["connectorId"], told["status"]) == (0, before["status"]) == (0, "Available")
        assert told["timestamp"] > before["timestamp"]


@requirement("16.LIST.5")
@story
async def test_a_tag_in_use_elsewhere_contradicts_no_list() -> None:
    async with world() as w:
        await send_list(w, 1, entry(CARD))
        w.central.verdicts[CARD] = {"status": "ConcurrentTx"}

        await w.tap(CARD)
        await w.advance(10)

        assert conflicts(w) == []


@requirement("16.LIST.2", "16.LIST.4", "E-05", "SendLocalList.conf:Failed",
             "key:LocalAuthListEnabled")
@story
async def test_a_list_that_is_off_counts_for_nothing_and_comes_back_as_it_was() -> None:
    async with world() as w:
        await configure(w, LocalPreAuthorize=True)
        await send_list(w, 5, entry(CARD))
        await configure(w, LocalAuthListEnabled=False)
        assert await version(w) == 0
        assert await send_list(w, 6, entry(OTHER_CARD)) == "Failed"
        await w.tap(CARD)
        assert len(w.calls("Authorize")) == 1
        await w.tap(CARD)

        await configure(w, LocalAuthListEnabled=True)

        assert await version(w) == 5
        await w.charge(10)
        assert w.coil() and len(w.calls("Authorize")) == 1


@requirement("16.LIST.4", "SendLocalList.conf:Failed")
@story
async def test_a_list_that_cannot_be_stored_fails_and_the_old_one_holds() -> None:
    async with world() as w:
        await send_list(w, 1, entry(CARD))
        assert w.app is not None
        con = w.app.station_store._db.con
        con.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)

        assert await send_list(w, 2, entry(OTHER_CARD)) == "Failed"

        con.set_authorizer(None)
        assert await version(w) == 1
        assert await send_list(w, 2, entry(OTHER_CARD)) == "Accepted"
        assert not await offline_charge(w, CARD)


@requirement("16.LIST.4", "key:LocalAuthListMaxLength", "key:SendLocalListMaxLength")
@story
async def test_a_list_is_filled_up_to_its_length_and_not_beyond() -> None:
    async with world(more="[options]\nauth.list_max = 30\nauth.list_send_max = 20") as w:
        assert await read_key(w, "LocalAuthListMaxLength") == "30"
        assert await read_key(w, "SendLocalListMaxLength") == "20"
        first = [entry(f"A{one}") for one in range(20)]
        assert await send_list(w, 1, *first) == "Accepted"
        assert await send_list(w, 2, *(entry(f"B{one}") for one in range(11)),
                               kind="Differential") == "Failed"
        assert await send_list(w, 2, *(entry(f"B{one}") for one in range(10)),
                               kind="Differential") == "Accepted"
        assert await send_list(w, 3, *first, entry("C"), kind="Differential") == "Failed"
        assert await send_list(w, 3, entry("B1", None), entry("C"),
                               kind="Differential") == "Accepted"
        assert await version(w) == 3


@requirement("16.LIST.4")
@story
async def test_updates_sent_at_once_are_taken_one_after_the_other() -> None:
    import asyncio

    async with world() as w:
        answers = await asyncio.gather(*(
            send_list(w, number, entry(f"T{number}"), kind="Differential")
            for number in (1, 2, 2, 3)))

        assert answers == ["Accepted", "Accepted", "VersionMismatch", "Accepted"]
        assert w.app is not None and len(w.app.authbook.list_entries) == 3


@requirement("16.AUTH.3")
@story
async def test_a_parent_named_by_the_list_stops_without_a_question() -> None:
    async with world() as w:
        await configure(w, LocalPreAuthorize=True)
        await send_list(w, 1, entry(CARD, parentIdTag="FLEET"),
                        entry(OTHER_CARD, parentIdTag="fleet"))
        await w.charge(10)

        await w.tap(OTHER_CARD)
        await w.delivered()

        assert w.calls("Authorize") == []
        assert w.transactions[0].stop_id_tag == OTHER_CARD


@requirement("16.AUTH.3")
@story
async def test_a_parent_that_the_list_does_not_name_is_asked_for() -> None:
    async with world() as w:
        fleet = {"status": "Accepted", "parentIdTag": "FLEET"}
        w.central.verdicts = {CARD: fleet, OTHER_CARD: fleet}
        await send_list(w, 1, entry(OTHER_CARD))
        await w.charge(10)

        await w.tap(OTHER_CARD)
        await w.delivered()

        assert w.calls("Authorize") == [{"idTag": CARD}, {"idTag": OTHER_CARD}]
        assert w.transactions[0].reason == "Local"
