"""Test cases of the local list, the cache and the authorization, over a real WebSocket."""

from typing import Any

import pytest
from support.octt import Octt, case
from support.story import configure, last_status, read_key, statuses
from support.world import CARD, OTHER_CARD

ACCEPTED, REJECTED = {"status": "Accepted"}, {"status": "Rejected"}
FAMILY = "FAMILY"
requirement = pytest.mark.requirement


def entry(tag: str, status: str | None = "Accepted", **more: str) -> dict[str, Any]:
    """One element of a list; `status` None: without idTagInfo."""
    return {"idTag": tag} if status is None else {
        "idTag": tag, "idTagInfo": {"status": status, **more}}


async def send_list(station: Octt, version: int, *entries: dict[str, Any], kind: str = "Full"
                    ) -> str:
    answer = await station.central.call("SendLocalList", {
        "listVersion": version, "updateType": kind, "localAuthorizationList": list(entries)})
    return str(answer["status"])


async def version(station: Octt) -> int:
    return int((await station.central.call("GetLocalListVersion"))["listVersion"])


async def cached(station: Octt, tag: str = CARD) -> None:
    """A short charge, so that the central system's verdict on the tag is in the cache."""
    await station.charge(5, token=tag)
    await station.tap(tag)
    await station.until(lambda: station.status() == "Finishing")
    await station.unplug()
    await station.until(lambda: station.status() == "Available")


# --- the cache -----------------------------------------------------------------------------------


@case("TC_007_1_CS")
@requirement("16.CACHE.1", "key:LocalPreAuthorize", "key:AuthorizationCacheEnabled")
async def test_a_cached_id_starts_without_being_asked_for(station: Octt) -> None:
    await configure(station, AuthorizationCacheEnabled=True, LocalPreAuthorize=True)
    await cached(station)
    asked = len(station.calls("Authorize"))

    await station.plug()
    assert station.status() == "Preparing"
    await station.tap(CARD)
    await station.until(lambda: station.status() == "Charging")

    assert len(station.calls("Authorize")) == asked
    assert station.transactions[-1].id_tag == CARD


@case("TC_007_2_CS")
@requirement("16.RSTART.1", "key:AuthorizeRemoteTxRequests")
async def test_a_remote_start_with_a_cached_id_asks_nobody(station: Octt) -> None:
    await configure(station, LocalPreAuthorize=True, AuthorizeRemoteTxRequests=True)
    await cached(station)
    asked = len(station.calls("Authorize"))

    assert await station.central.call("RemoteStartTransaction", {
        "idTag": CARD, "connectorId": 1}) == ACCEPTED
    await station.until(lambda: station.status() == "Preparing")
    await station.plug()
    await station.until(lambda: station.status() == "Charging")

    assert len(station.calls("Authorize")) == asked


@case("TC_061_1_CS")
@requirement("16.CACHE.6", "ClearCache.conf:Accepted")
async def test_after_clear_cache_a_card_is_asked_for(station: Octt) -> None:
    await configure(station, LocalPreAuthorize=True)
    await cached(station)
    asked = len(station.calls("Authorize"))

    assert await station.central.call("ClearCache") == ACCEPTED
    await station.plug()
    await station.tap(CARD)
    await station.until(lambda: station.status() == "Charging")

    assert len(station.calls("Authorize")) == asked + 1


@case("TC_061_2_CS")
@requirement("16.CACHE.6")
async def test_after_clear_cache_a_remote_start_asks(station: Octt) -> None:
    await configure(station, LocalPreAuthorize=True, AuthorizeRemoteTxRequests=True)
    await cached(station)
    asked = len(station.calls("Authorize"))

    assert await station.central.call("ClearCache") == ACCEPTED
    assert await station.central.call("RemoteStartTransaction", {
        "idTag": CARD, "connectorId": 1}) == ACCEPTED
    await station.until(lambda: len(station.calls("Authorize")) == asked + 1)


# --- the list ------------------------------------------------------------------------------------


@case("TC_008_1_CS")
@requirement("16.AUTH.1", "16.LIST.1", "SendLocalList.conf:Accepted", "key:LocalAuthListEnabled")
async def test_an_id_of_the_list_starts_without_being_asked_for(station: Octt) -> None:
    await configure(station, LocalAuthListEnabled=True, LocalPreAuthorize=True)
    assert await send_list(station, 1, entry(CARD)) == "Accepted"

    await station.plug()
    await station.tap(CARD)
    await station.until(lambda: station.status() == "Charging")

    assert station.calls("Authorize") == []
    assert station.transactions[0].id_tag == CARD
    await station.tap(CARD)
    await station.until(lambda: station.status() == "Finishing")
    assert station.transactions[0].reason == "Local"


@case("TC_008_2_CS")
@requirement("16.RSTART.1")
async def test_a_remote_start_with_an_id_of_the_list_asks_nobody(station: Octt) -> None:
    await configure(station, LocalAuthListEnabled=True, LocalPreAuthorize=True,
                    AuthorizeRemoteTxRequests=True)
    assert await send_list(station, 1, entry(CARD)) == "Accepted"

    assert await station.central.call("RemoteStartTransaction", {
        "idTag": CARD, "connectorId": 1}) == ACCEPTED
    await station.plug()
    await station.until(lambda: station.status() == "Charging")

    assert station.calls("Authorize") == []


@case("TC_042_1_CS", more='[options]\ncompat.local_list_disabled = "not_supported"')
@requirement("16.LIST.2", "E-05", "key:LocalAuthListEnabled")
async def test_the_version_of_a_list_that_is_not_supported_is_minus_one(station: Octt) -> None:
    await configure(station, LocalAuthListEnabled=False)

    assert await version(station) == -1


@case("TC_042_2_CS")
@requirement("16.LIST.2", "16.LIST.3", "GetLocalListVersion.conf")
async def test_the_version_of_an_empty_list_is_zero(station: Octt) -> None:
    await configure(station, LocalAuthListEnabled=True)
    assert await version(station) == 0
    assert await send_list(station, 4, entry(CARD)) == "Accepted"
    assert await version(station) == 4

    assert await send_list(station, 5) == "Accepted"

    assert await version(station) == 0


@case("TC_043_CS")
@requirement("16.LIST.3", "16.LIST.4", "SendLocalList.conf:Accepted")
async def test_lists_are_sent_whole_and_in_parts(station: Octt) -> None:
    await configure(station, LocalAuthListEnabled=True, LocalPreAuthorize=True)
    assert await version(station) == 0
    assert await send_list(station, 1, entry(CARD), entry("GONE")) == "Accepted"
    assert await version(station) == 1

    assert await send_list(station, 2, entry(OTHER_CARD), entry("GONE", None),
                           kind="Differential") == "Accepted"

    assert await version(station) == 2
    await station.charge(20, token=OTHER_CARD)
    assert station.status() == "Charging"
    assert station.calls("Authorize") == []


@case("TC_043_1_CS", more='[options]\ncompat.local_list_disabled = "not_supported"')
@requirement("16.LIST.4", "E-05", "SendLocalList.conf:NotSupported")
async def test_a_list_that_is_off_is_not_supported(station: Octt) -> None:
    await configure(station, LocalAuthListEnabled=False)

    assert await send_list(station, 1, entry(CARD)) == "NotSupported"


@case("TC_043_2_CS")
@requirement("16.LIST.4", "SendLocalList.conf:VersionMismatch")
async def test_a_part_of_an_older_version_is_a_mismatch(station: Octt) -> None:
    await configure(station, LocalAuthListEnabled=True)
    assert await send_list(station, 5, entry(CARD)) == "Accepted"

    assert await send_list(station, 5, entry(OTHER_CARD), kind="Differential") == "VersionMismatch"
    assert await send_list(station, 4, entry(OTHER_CARD), kind="Differential") == "VersionMismatch"

    assert await version(station) == 5
    assert await send_list(station, 3, entry(CARD)) == "Accepted"  # a whole one may go back
    assert await version(station) == 3


@case("TC_043_3_CS")
@requirement("16.LIST.4", "SendLocalList.conf:Failed", "key:SendLocalListMaxLength")
async def test_a_list_with_a_duplicate_fails_and_changes_nothing(station: Octt) -> None:
    await configure(station, LocalAuthListEnabled=True)
    assert await send_list(station, 1, entry(CARD)) == "Accepted"
    most = int(await read_key(station, "SendLocalListMaxLength"))

    assert await send_list(station, 2, entry("A"), entry("a")) == "Failed"
    assert await send_list(station, 2, *(entry(f"T{one}") for one in range(most + 1))) == "Failed"
    assert await send_list(station, 2, entry("A", None)) == "Failed"

    assert await version(station) == 1


# --- verdicts ------------------------------------------------------------------------------------


@case("TC_023_4_CS")
@requirement("16.AUTH.6", "Authorize.conf:Invalid", "Authorize.conf:Blocked",
             "Authorize.conf:Expired", "Authorize.conf:ConcurrentTx", "16.AUTH.7")
async def test_a_refused_card_starts_nothing(station: Octt) -> None:
    for word in ("Invalid", "Blocked", "Expired", "ConcurrentTx"):
        station.central.verdicts[OTHER_CARD] = {"status": word}
        asked = len(station.calls("Authorize"))

        await station.tap(OTHER_CARD)
        await station.until(lambda before=asked: len(station.calls("Authorize")) == before + 1)
        await station.advance(5)

        assert station.status() == "Available"
    await station.plug()
    await station.tap(OTHER_CARD)
    await station.advance(5)
    assert station.transactions == []
    assert statuses(station)[-1] == "Preparing"


@case("TC_023_5_CS")
@requirement("16.RSTART.1", "16.AUTH.6")
async def test_a_remote_start_of_a_refused_id_starts_nothing(station: Octt) -> None:
    await configure(station, AuthorizeRemoteTxRequests=True)
    station.central.verdicts[CARD] = {"status": "Invalid"}

    assert await station.central.call("RemoteStartTransaction", {
        "idTag": CARD, "connectorId": 1}) == ACCEPTED
    await station.until(lambda: len(station.calls("Authorize")) == 1)
    await station.advance(5)

    assert station.status() == "Available"
    assert station.transactions == []


@case("TC_069_CS")
@requirement("16.AUTH.3", "16.AUTH.4", "Authorize.conf:Accepted")
async def test_a_card_of_the_same_parent_stops(station: Octt) -> None:
    family = {"status": "Accepted", "parentIdTag": FAMILY}
    station.central.verdicts.update({CARD: family, OTHER_CARD: family})
    await station.charge(20)
    assert station.status() == "Charging"

    await station.tap(OTHER_CARD)
    await station.until(lambda: station.status() == "Finishing")

    assert station.calls("Authorize")[-1] == {"idTag": OTHER_CARD}
    assert station.transactions[0].stop_id_tag == OTHER_CARD
    assert station.transactions[0].reason == "Local"
    assert last_status(station)["errorCode"] == "NoError"
