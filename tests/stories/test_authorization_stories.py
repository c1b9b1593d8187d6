"""Who may charge: refused tokens whose charge goes on, parents, tags of any form."""

from datetime import timedelta
from typing import Any

import pytest
from support.story import configure, story
from support.world import CARD, OTHER_CARD, World, world

from cpctl.api.args import Args
from cpctl.api.books import Books
from cpctl.api.explain import reasons
from cpctl.demo.csms import Reply

requirement = pytest.mark.requirement
ACCEPTED = {"status": "Accepted"}
REFUSED = Reply({"transactionId": 7, "idTagInfo": {"status": "Invalid"}})
FLEET = {"status": "Accepted", "parentIdTag": "FLEET"}


def told_wh(w: World) -> int:
    stop, start = w.calls("StopTransaction")[0], w.calls("StartTransaction")[0]
    return int(stop["meterStop"] - start["meterStart"])


@requirement("E-07", "16.TX.5", "16.TX.4", "key:MaxEnergyOnInvalidId")
@story
async def test_by_option_an_invalid_id_gets_its_energy_and_then_the_transaction_stops() -> None:
    async with world(more="[options]\npolicy.max_energy_with_stop = true") as w:
        await configure(w, MaxEnergyOnInvalidId=200, StopTransactionOnInvalidId=True)
        w.central.behave("StartTransaction", REFUSED)

        await w.charge(20)
        assert w.coil() and w.calls("StopTransaction") == []
        await w.until(lambda: w.calls("StopTransaction"), 300)

        assert w.calls("StopTransaction")[0]["reason"] == "DeAuthorized"
        assert 200 <= told_wh(w) <= 230  # winding down and one meter reading late


@requirement("E-07", "16.TX.4")
@story
async def test_by_option_without_any_energy_an_invalid_id_stops_at_once() -> None:
    async with world(more="[options]\npolicy.max_energy_with_stop = true") as w:
        w.central.behave("StartTransaction", REFUSED)

        await w.charge(10)

        assert not w.coil()
        assert w.calls("StopTransaction")[0]["reason"] == "DeAuthorized"


@requirement("16.TX.4", "16.TX.16")
@pytest.mark.parametrize("energy_wh", [0, 100_000])
@story
async def test_a_refused_id_stays_refused_when_its_transaction_is_resumed(energy_wh: int) -> None:
    async with world(station='after_power_loss = "resume"') as w:
        await configure(w, StopTransactionOnInvalidId=False, MaxEnergyOnInvalidId=energy_wh)
        w.central.behave("StartTransaction", REFUSED)
        await w.charge(60)
        assert w.coil() is bool(energy_wh)

        await w.power_cut()
        await w.advance(60)

        assert w.coil() is bool(energy_wh)
        assert w.status() == ("Charging" if energy_wh else "SuspendedEVSE")
        assert w.calls("StopTransaction") == []


@requirement("16.TX.4")
@story
async def test_a_cable_held_for_a_refused_id_is_freed_by_its_parent_too() -> None:
    async with world() as w:
        w.central.verdicts = {CARD: FLEET, OTHER_CARD: FLEET}
        w.central.behave("StartTransaction", Reply(
            {"transactionId": 7, "idTagInfo": {"status": "Blocked", "parentIdTag": "FLEET"}}))
        await w.charge(30)
        assert w.calls("StopTransaction")[0]["reason"] == "DeAuthorized"
        assert w.board.look(1).locked

        await w.tap("STRANGER")
        await w.advance(5)
        assert w.board.look(1).locked
        await w.tap(OTHER_CARD)
        await w.advance(5)

        assert not w.board.look(1).locked


@requirement("16.AUTH.4")
@story
async def test_the_parent_itself_is_no_tag_that_stops() -> None:
    async with world() as w:
        w.central.verdicts = {CARD: FLEET}
        await w.charge(10)

        await w.tap("FLEET")
        await w.advance(5)

        assert w.coil() and w.transactions[0].stopped is None


@requirement("16.AUTH.5", "Authorize.req", "Authorize.conf:Accepted")
@pytest.mark.parametrize("tag", ["ä ö ü & <b>", "00000000000000000000", "-1", "%2F/..", "null"])
@story
async def test_a_tag_may_be_any_text(tag: str) -> None:
    async with world() as w:
        await w.plug()
        assert await w.central.call("RemoteStartTransaction", {
            "idTag": tag, "connectorId": 1}) == ACCEPTED
        await w.until(lambda: w.transactions and w.coil(), 30)
        assert w.transactions[0].id_tag == tag
        await w.tap(tag)
        await w.delivered()

        await w.central.call("SendLocalList", {
            "listVersion": 1, "updateType": "Full", "localAuthorizationList": [
                {"idTag": tag, "idTagInfo": {"status": "Accepted"}}]})
        await w.power_cut()
        await w.until(lambda: len(w.central.books.boots) == 2, 60)

        shown = await api(w, "tokens")
        assert [one["token"] for one in shown["list"]] == [tag.casefold()]


@requirement("16.CACHE.6", "ClearCache.conf:Accepted", "ClearCache.conf:Rejected",
             "key:AuthorizationCacheEnabled")
@story
async def test_the_cache_is_cleared_where_there_is_one() -> None:
    async with world() as w:
        assert await w.central.call("ClearCache") == ACCEPTED
        await configure(w, AuthorizationCacheEnabled=False)

        assert await w.central.call("ClearCache") == {"status": "Rejected"}


# --- what people see -----------------------------------------------------------------------------


async def api(w: World, method: str, **params: Any) -> Any:
    assert w.app is not None
    return await getattr(Books(w.app), method)(Args(method, params), None)  # type: ignore[arg-type]


@requirement("16.LIST.1")
@story
async def test_people_see_the_list_and_how_it_decides() -> None:
    async with world() as w:
        await configure(w, LocalPreAuthorize=True)
        await w.central.call("SendLocalList", {
            "listVersion": 4, "updateType": "Full", "localAuthorizationList": [
                {"idTag": CARD, "idTagInfo": {"status": "Accepted", "parentIdTag": "FLEET",
                                              "expiryDate": "2027-01-01T00:00:00Z"}},
                {"idTag": OTHER_CARD, "idTagInfo": {"status": "Blocked"}}]})

        shown = await api(w, "tokens")
        good = await api(w, "check", token=CARD)
        bad = await api(w, "check", token=OTHER_CARD)
        w.network.down()
        await w.advance(1)
        bad_offline = await api(w, "check", token=OTHER_CARD)

        assert (shown["list_version"], shown["list_enabled"]) == (4, True)
        assert shown["list"][0] == {"token": CARD.lower(), "status": "Accepted", "group": "FLEET",
                                    "expires": "2027-01-01T00:00:00.000Z"}
        assert (good["decision"], good["source"]) == ("Accepted", "local_list")
        assert bad["decision"] == "ask_csms" and bad["list"]["status"] == "Blocked"
        assert (bad_offline["decision"], bad_offline["source"]) == ("Blocked", "local_list")


@requirement("16.RES.8")
@story
async def test_people_see_why_a_reserved_evse_does_not_charge() -> None:
    async with world() as w:
        assert w.app is not None
        await w.central.call("ReserveNow", {
            "connectorId": 1, "idTag": CARD, "reservationId": 42,
            "expiryDate": (w.time.true_wall() + timedelta(hours=1)).isoformat()})
        await w.plug()

        picture = w.app.loop.picture
        told = {one["code"]: one for one in reasons(picture, picture.evse(1), in_service=True)}

        assert told["reserved"]["evidence"] == "reservation 42"
        assert "no_token" not in told
