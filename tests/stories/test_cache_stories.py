"""The authorization cache, and who may charge while the central system cannot be asked."""

import pytest
from support.story import configure, story
from support.world import CARD, OTHER_CARD, World, world

from cpctl.demo.csms import Reply, Silence

ACCEPTED, REJECTED = {"status": "Accepted"}, {"status": "Rejected"}


async def known_by_cache(w: World, token: str = CARD) -> None:
    """Charge shortly, so that the central system's verdict on the token is in the cache."""
    await w.charge(5, token=token)
    await w.tap(token)
    await w.advance(8)
    await w.unplug()
    await w.delivered()


async def offline_charge(w: World, token: str = CARD) -> bool:
    """Whether a plug and that card lead to energy while offline."""
    w.network.down()
    await w.advance(1)
    await w.charge(10, token=token)
    return w.coil()


@pytest.mark.octt("TC_007_1_CS")
@pytest.mark.requirement("16.CACHE.1")
@story
async def test_a_cached_tag_starts_at_once_when_allowed_to() -> None:
    async with world() as w:
        await known_by_cache(w)
        await configure(w, LocalPreAuthorize=True)
        await w.charge(10)
        assert w.coil()
        assert len(w.calls("Authorize")) == 1
        assert len(w.transactions) == 2


@pytest.mark.requirement("16.CACHE.1")
@story
async def test_a_cached_tag_is_asked_for_online_by_default() -> None:
    async with world() as w:
        await known_by_cache(w)
        w.central.verdicts[CARD] = {"status": "Blocked"}
        await w.charge(10)
        assert not w.coil()
        assert len(w.calls("Authorize")) == 2


@pytest.mark.octt("TC_007_2_CS")
@pytest.mark.requirement("16.RSTART.1", "16.CACHE.1")
@story
async def test_a_remote_start_of_a_cached_tag_asks_nobody() -> None:
    async with world() as w:
        await known_by_cache(w)
        await configure(w, LocalPreAuthorize=True, AuthorizeRemoteTxRequests=True)
        await w.plug()
        answer = await w.central.call("RemoteStartTransaction", {
            "idTag": CARD, "connectorId": 1})
        assert answer == ACCEPTED
        await w.advance(5)
        assert w.coil()
        assert len(w.calls("Authorize")) == 1


@pytest.mark.requirement("16.CACHE.5")
@pytest.mark.parametrize("verdict", ["Blocked", "Expired", "Invalid"])
@story
async def test_a_tag_cached_as_bad_is_asked_for_again_online(verdict: str) -> None:
    async with world() as w:
        await configure(w, LocalPreAuthorize=True)
        w.central.verdicts[CARD] = {"status": verdict}
        await w.tap(CARD)
        w.central.verdicts[CARD] = {"status": "Accepted"}
        await w.charge(10)
        assert w.coil()
        assert len(w.calls("Authorize")) == 2


@pytest.mark.octt("TC_061_1_CS", "TC_061_2_CS")
@pytest.mark.requirement("16.CACHE.6")
@story
async def test_after_clear_cache_the_tag_is_asked_for() -> None:
    async with world() as w:
        await known_by_cache(w)
        await configure(w, LocalPreAuthorize=True)
        assert await w.central.call("ClearCache", {}) == ACCEPTED
        await w.charge(10)
        assert len(w.calls("Authorize")) == 2
        await w.unplug()
        await w.central.call("ClearCache", {})
        await w.power_cut()
        await w.until(lambda: len(w.central.books.boots) == 2, 60)
        await w.advance(5)
        assert not await offline_charge(w)


@pytest.mark.requirement("16.CACHE.6")
@story
async def test_clear_cache_is_rejected_without_a_cache() -> None:
    async with world() as w:
        await configure(w, AuthorizationCacheEnabled=False)
        assert await w.central.call("ClearCache", {}) == REJECTED


@pytest.mark.requirement("16.CACHE.6", "16.OFF.1")
@story
async def test_clear_cache_touches_nothing_but_the_cache() -> None:
    async with world(evses=2) as w:
        await configure(w, MeterValueSampleInterval=20, ConnectionTimeOut=77)
        await w.central.call("ChangeAvailability", {"connectorId": 2, "type": "Inoperative"})
        w.central.behave("StartTransaction", Silence())
        await w.charge(50, evse=1)
        waiting = w.app.journal.waiting().count
        assert waiting > 2
        assert await w.central.call("ClearCache", {}) == ACCEPTED
        assert w.app.journal.waiting().count == waiting
        assert w.coil(1)
        await w.tap(CARD)
        await w.advance(10)
        await w.unplug(1)
        await w.kill()
        await w.delivered()
        answer = await w.central.call("GetConfiguration", {"key": [
            "MeterValueSampleInterval", "ConnectionTimeOut"]})
        assert [one["value"] for one in answer["configurationKey"]] == ["20", "77"]
        assert w.status(2) == "Unavailable"
        assert len(w.transactions[0].samples) == 2
        await w.assert_books_agree()


# --- offline -------------------------------------------------------------------------------------


@pytest.mark.octt("TC_037_1_CS", "TC_039_CS")
@pytest.mark.requirement("16.OFF.1", "16.OFF.2", "16.OFF.3")
@story
async def test_a_cached_tag_charges_offline_and_all_is_told_later() -> None:
    async with world() as w:
        await known_by_cache(w)
        assert await offline_charge(w)
        began = w.time.true_wall()
        await w.advance(150)
        await w.tap(CARD)
        await w.advance(10)
        await w.unplug()
        await w.advance(200)
        before = len(w.central.frames)
        w.network.up = True
        await w.delivered()
        sent = [frame.parts[2] for frame in w.central.frames[before:]
                if not frame.sent and frame.text.startswith("[2,")]
        assert [one for one in sent if one in ("StartTransaction", "MeterValues",
                                               "StopTransaction")] == [
            "StartTransaction", "MeterValues", "MeterValues", "StopTransaction"]
        assert "BootNotification" not in sent
        started = w.transactions[1].started[:16]
        assert started in (began.strftime("%Y-%m-%dT%H:%M"),)
        assert len(w.transactions[1].samples) == 2
        await w.assert_books_agree()


@pytest.mark.octt("TC_037_2_CS")
@pytest.mark.requirement("16.TX.4", "16.OFF.1")
@story
async def test_begun_offline_and_refused_later_only_the_energy_stops() -> None:
    async with world() as w:
        await configure(w, AllowOfflineTxForUnknownId=True, StopTransactionOnInvalidId=False,
                        MaxEnergyOnInvalidId=0)
        w.central.verdicts[CARD] = {"status": "Invalid"}
        assert await offline_charge(w)
        w.network.up = True
        await w.until(lambda: w.status() == "SuspendedEVSE", 120)
        await w.advance(5)
        assert not w.coil()
        assert w.calls("StopTransaction") == []
        await w.unplug()
        await w.delivered()
        assert w.transactions[0].reason == "EVDisconnected"
        await w.assert_books_agree()


@pytest.mark.octt("TC_037_3_CS")
@pytest.mark.requirement("16.TX.4", "16.OFF.1")
@story
async def test_begun_offline_and_refused_later_the_transaction_is_ended() -> None:
    async with world() as w:
        await configure(w, AllowOfflineTxForUnknownId=True, StopTransactionOnInvalidId=True)
        w.central.verdicts[CARD] = {"status": "Invalid"}
        assert await offline_charge(w)
        w.network.up = True
        await w.until(lambda: w.calls("StopTransaction"), 120)
        await w.delivered()
        assert not w.coil()
        assert w.transactions[0].reason == "DeAuthorized"
        await w.assert_books_agree()


@pytest.mark.octt("TC_036_CS")
@pytest.mark.requirement("16.OFF.1", "16.OFF.2", "16.BOOT.2")
@story
async def test_a_connection_lost_in_mid_charge_costs_no_sample() -> None:
    async with world() as w:
        await configure(w, MeterValueSampleInterval=30)
        await w.charge(100)
        w.network.down()
        await w.advance(100)
        assert w.coil()
        w.network.up = True
        await w.advance(100)
        await w.tap(CARD)
        await w.advance(10)
        await w.unplug()
        await w.delivered()
        one, = w.transactions
        assert len(one.samples) == 10
        assert [at for at, _ in one.samples] == sorted(at for at, _ in one.samples)
        assert len(w.central.books.boots) == 1
        await w.assert_books_agree()


@pytest.mark.octt("TC_038_CS")
@pytest.mark.requirement("16.OFF.1", "16.TX.17")
@story
async def test_a_charge_stopped_offline_is_told_later_with_its_own_time() -> None:
    async with world() as w:
        await w.charge(30)
        w.network.down()
        await w.tap(CARD)
        stopped = w.time.true_wall()
        await w.advance(10)
        assert not w.coil()
        await w.unplug()
        await w.advance(300)
        w.network.up = True
        await w.delivered()
        one, = w.transactions
        assert one.reason == "Local"
        assert one.stopped[:15] == stopped.strftime("%Y-%m-%dT%H:%M")[:15]
        assert w.status() == "Available"
        await w.assert_books_agree()


@pytest.mark.requirement("16.AUTH.1")
@pytest.mark.parametrize("allowed", [True, False])
@story
async def test_an_unknown_tag_offline_is_for_the_key_to_decide(allowed: bool) -> None:
    async with world() as w:
        await configure(w, AllowOfflineTxForUnknownId=allowed)
        assert await offline_charge(w) is allowed


@pytest.mark.requirement("16.CACHE.1")
@pytest.mark.parametrize("allowed", [True, False])
@story
async def test_local_authorize_offline_decides_on_a_cached_tag(allowed: bool) -> None:
    async with world() as w:
        await known_by_cache(w)
        await configure(w, LocalAuthorizeOffline=allowed)
        assert await offline_charge(w) is allowed


@pytest.mark.requirement("16.CACHE.1")
@pytest.mark.parametrize("verdict", ["Blocked", "Expired", "Invalid"])
@story
async def test_a_tag_cached_as_bad_gets_nothing_offline_whatever_is_allowed(verdict: str) -> None:
    async with world() as w:
        await configure(w, AllowOfflineTxForUnknownId=True)
        w.central.verdicts[CARD] = {"status": verdict}
        await w.tap(CARD)
        assert not await offline_charge(w)
        await w.tap(OTHER_CARD)
        await w.advance(10)
        assert w.coil()


@pytest.mark.requirement("16.CACHE.2")
@story
async def test_past_its_date_a_cached_tag_counts_as_expired() -> None:
    async with world() as w:
        await configure(w, AllowOfflineTxForUnknownId=True)
        w.central.verdicts[CARD] = {"status": "Accepted",
                                    "expiryDate": "2026-05-01T08:02:00Z"}
        await known_by_cache(w)
        await w.advance(150)
        assert not await offline_charge(w)


@pytest.mark.requirement("16.CACHE.4", "16.OFF.9")
@pytest.mark.parametrize("end", ["power_cut", "kill"])
@story
async def test_the_cache_outlives_the_daemon(end: str) -> None:
    async with world() as w:
        await known_by_cache(w)
        await w.advance(30)
        w.network.down()
        await (w.power_cut() if end == "power_cut" else w.kill())
        assert await offline_charge(w)
        w.network.up = True
        await w.unplug()
        await w.delivered()
        await w.assert_books_agree()


@pytest.mark.requirement("16.CACHE.1")
@story
async def test_the_answer_to_a_start_teaches_the_cache() -> None:
    async with world() as w:
        w.central.behave("StartTransaction", Reply(
            {"transactionId": 9, "idTagInfo": {"status": "Blocked"}}))
        await configure(w, AllowOfflineTxForUnknownId=True)
        await w.charge(10)
        await w.tap(CARD)
        await w.unplug()
        await w.advance(5)
        assert not await offline_charge(w)


@pytest.mark.requirement("16.CACHE.1")
@story
async def test_the_answer_to_a_stop_teaches_the_cache() -> None:
    async with world() as w:
        await configure(w, AllowOfflineTxForUnknownId=True)
        await w.charge(10)
        w.central.behave("StopTransaction", Reply({"idTagInfo": {"status": "Blocked"}}))
        await w.tap(CARD)
        await w.advance(8)
        await w.unplug()
        await w.delivered()
        assert not await offline_charge(w)


@pytest.mark.requirement("16.CACHE.1")
@story
async def test_without_a_cache_nothing_is_remembered() -> None:
    async with world() as w:
        await configure(w, AuthorizationCacheEnabled=False)
        await known_by_cache(w)
        assert not await offline_charge(w)


@pytest.mark.octt("TC_023_4_CS")
@pytest.mark.requirement("16.AUTH.6", "16.AUTH.7")
@pytest.mark.parametrize("verdict", ["Blocked", "Expired", "Invalid", "ConcurrentTx"])
@pytest.mark.parametrize("plugged", [True, False])
@story
async def test_a_tag_that_is_refused_starts_nothing(verdict: str, plugged: bool) -> None:
    async with world() as w:
        w.central.verdicts[CARD] = {"status": verdict}
        if plugged:
            await w.plug()
        await w.tap(CARD)
        await w.advance(5)
        assert w.status() == ("Preparing" if plugged else "Available")
        assert not w.coil()
        assert w.transactions == []


@pytest.mark.requirement("16.AUTH.6")
@pytest.mark.parametrize("allowed", [True, False])
@story
async def test_an_authorize_without_an_answer_is_decided_by_the_offline_rules(
        allowed: bool) -> None:
    async with world() as w:
        await configure(w, AllowOfflineTxForUnknownId=allowed, MessageTimeout=10)
        w.central.behave("Authorize", Silence())
        await w.plug()
        await w.tap(CARD)
        await w.advance(15)
        assert w.coil() is allowed
