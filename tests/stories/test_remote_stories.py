"""Remote start, remote stop and unlock, from the call of the central system to the coil."""

import pytest
from support.story import FIXED_CABLE, configure, next_life, statuses, story
from support.world import CARD, OTHER_CARD, World, world

ACCEPTED, REJECTED = {"status": "Accepted"}, {"status": "Rejected"}


async def remote_start(w: World, **payload: object) -> dict[str, object]:
    return await w.central.call("RemoteStartTransaction", {"idTag": CARD, **payload})


@pytest.mark.octt("TC_010_CS")
@pytest.mark.requirement("16.RSTART.1", "16.RSTART.3")
@pytest.mark.parametrize("named", [True, False])
@story
async def test_remote_start_of_a_plugged_car_charges_without_asking(named: bool) -> None:
    async with world() as w:
        await w.plug()
        assert await remote_start(w, **({"connectorId": 1} if named else {})) == ACCEPTED
        await w.advance(5)
        assert w.coil()
        assert w.status() == "Charging"
        assert w.calls("Authorize") == []
        one, = w.transactions
        assert (one.id_tag, one.connector) == (CARD, 1)


@pytest.mark.octt("TC_011_1_CS")
@pytest.mark.requirement("16.RSTART.4", "16.TX.2")
@story
async def test_remote_start_first_waits_for_the_plug() -> None:
    async with world() as w:
        assert await remote_start(w, connectorId=1) == ACCEPTED
        await w.advance(20)
        assert w.status() == "Preparing"
        assert w.transactions == []
        await w.plug()
        await w.advance(5)
        assert w.status() == "Charging"
        assert statuses(w)[0:2] == ["Available", "Preparing"]


@pytest.mark.octt("TC_011_2_CS")
@pytest.mark.requirement("16.RSTART.4", "16.TX.2")
@story
async def test_remote_start_without_a_plug_is_dropped_after_the_connection_timeout() -> None:
    async with world() as w:
        await configure(w, ConnectionTimeOut=30)
        assert await remote_start(w, connectorId=1) == ACCEPTED
        await w.advance(29)
        assert w.status() == "Preparing"
        await w.advance(2)
        assert w.status() == "Available"
        await w.plug()
        await w.advance(20)
        assert not w.coil()
        assert w.transactions == []


@pytest.mark.requirement("16.TX.2")
@story
async def test_a_connection_timeout_of_zero_waits_for_ever() -> None:
    async with world() as w:
        await configure(w, ConnectionTimeOut=0)
        await remote_start(w, connectorId=1)
        await w.advance(400)
        assert w.status() == "Preparing"
        await w.plug()
        await w.advance(5)
        assert w.coil()


@pytest.mark.requirement("16.RSTART.1")
@story
async def test_remote_start_with_authorization_asks_first() -> None:
    async with world() as w:
        await configure(w, AuthorizeRemoteTxRequests=True)
        await w.plug()
        assert await remote_start(w, connectorId=1) == ACCEPTED
        await w.advance(5)
        assert w.calls("Authorize") == [{"idTag": CARD}]
        assert w.coil()


@pytest.mark.octt("TC_023_5_CS")
@pytest.mark.requirement("16.RSTART.1", "16.AUTH.6")
@pytest.mark.parametrize("verdict", ["Invalid", "Blocked", "Expired", "ConcurrentTx"])
@story
async def test_remote_start_whose_tag_is_refused_starts_nothing(verdict: str) -> None:
    async with world() as w:
        await configure(w, AuthorizeRemoteTxRequests=True)
        w.central.verdicts[CARD] = {"status": verdict}
        assert await remote_start(w, connectorId=1) == ACCEPTED
        await w.advance(2)
        assert w.status() == "Available"
        await w.plug()
        await w.advance(10)
        assert not w.coil()
        assert w.transactions == []


@pytest.mark.octt("TC_026_CS")
@pytest.mark.requirement("16.RSTART.2", "16.TX.8")
@story
async def test_remote_start_on_a_charging_connector_is_rejected() -> None:
    async with world() as w:
        await w.charge(10)
        assert await w.central.call(
            "RemoteStartTransaction", {"idTag": OTHER_CARD, "connectorId": 1}) == REJECTED
        await w.advance(10)
        assert len(w.transactions) == 1
        assert w.coil()


@pytest.mark.octt("TC_027_CS")
@pytest.mark.requirement("16.RSTART.2")
@pytest.mark.parametrize("connector", [0, 2, 99])
@story
async def test_remote_start_on_connector_zero_or_an_unknown_one_is_rejected(connector: int) -> None:
    async with world() as w:
        await w.plug()
        assert await remote_start(w, connectorId=connector) == REJECTED
        await w.advance(10)
        assert w.transactions == []


@pytest.mark.requirement("16.RSTART.2")
@story
async def test_remote_start_on_a_faulted_connector_is_rejected() -> None:
    async with world() as w:
        w.board.fault("rcd", 1)
        await w.advance(1)
        assert w.status() == "Faulted"
        assert await remote_start(w, connectorId=1) == REJECTED


@pytest.mark.requirement("16.RSTART.2")
@story
async def test_remote_start_on_an_unavailable_or_soon_unavailable_connector_is_rejected() -> None:
    async with world() as w:
        await w.charge(10)
        await w.central.call("ChangeAvailability", {"connectorId": 1, "type": "Inoperative"})
        assert await remote_start(w, connectorId=1) == REJECTED
        await w.unplug()
        await w.advance(5)
        assert w.status() == "Unavailable"
        assert await remote_start(w, connectorId=1) == REJECTED


@pytest.mark.requirement("16.RSTART.3")
@story
async def test_remote_start_without_connector_takes_the_plugged_one() -> None:
    async with world(evses=2) as w:
        await w.plug(2)
        assert await remote_start(w) == ACCEPTED
        await w.advance(5)
        assert (w.coil(1), w.coil(2)) == (False, True)


@pytest.mark.requirement("16.RSTART.3")
@story
async def test_remote_start_without_connector_waits_for_the_next_plug() -> None:
    async with world(evses=2) as w:
        assert await remote_start(w) == ACCEPTED
        assert await w.central.call("RemoteStartTransaction", {"idTag": OTHER_CARD}) == REJECTED
        await w.advance(20)
        await w.plug(2)
        await w.advance(5)
        one, = w.transactions
        assert (one.connector, one.id_tag) == (2, CARD)


@pytest.mark.requirement("16.RSTART.1")
@story
async def test_a_second_remote_start_for_a_waiting_connector_is_rejected() -> None:
    async with world() as w:
        assert await remote_start(w, connectorId=1) == ACCEPTED
        assert await w.central.call(
            "RemoteStartTransaction", {"idTag": OTHER_CARD, "connectorId": 1}) == REJECTED


@pytest.mark.requirement("16.AUTH.2")
@story
async def test_a_car_started_remotely_is_stopped_by_the_card_of_that_tag() -> None:
    async with world() as w:
        await w.plug()
        await remote_start(w, connectorId=1)
        await w.advance(10)
        await w.tap(CARD)
        await w.advance(10)
        assert not w.coil()
        assert w.calls("Authorize") == []
        assert w.transactions[0].reason == "Local"


# --- remote stop -------------------------------------------------------------------------------


@pytest.mark.octt("TC_012_CS")
@pytest.mark.requirement("16.RSTOP.1", "16.TX.10", "16.TX.11", "16.TX.15")
@story
async def test_remote_stop_ends_the_charge_and_frees_the_plug() -> None:
    async with world() as w:
        await w.charge(60)
        assert w.board.look(1).locked
        assert await w.central.call("RemoteStopTransaction", {"transactionId": 1}) == ACCEPTED
        await w.advance(10)
        assert not w.coil()
        assert not w.board.look(1).locked
        assert w.status() == "Finishing"
        await w.unplug()
        await w.delivered()
        assert w.status() == "Available"
        stop, = w.calls("StopTransaction")
        assert stop["reason"] == "Remote"
        assert "idTag" not in stop
        await w.assert_books_agree()


@pytest.mark.octt("TC_028_CS")
@pytest.mark.requirement("16.RSTOP.1")
@story
async def test_remote_stop_of_an_unknown_transaction_changes_nothing() -> None:
    async with world() as w:
        assert await w.central.call("RemoteStopTransaction", {"transactionId": 1}) == REJECTED
        await w.charge(10)
        for number in (0, -1, 2, 4711):
            answer = await w.central.call("RemoteStopTransaction", {"transactionId": number})
            assert answer == REJECTED
        await w.advance(10)
        assert w.coil()
        await w.unplug()
        await w.delivered()
        assert await w.central.call("RemoteStopTransaction", {"transactionId": 1}) == REJECTED


@pytest.mark.requirement("16.TX.7", "16.RSTOP.1")
@pytest.mark.parametrize("number", [0, -5, 2_000_000_000])
@story
async def test_any_integer_is_a_transaction_id(number: int) -> None:
    async with world() as w:
        w.central.same_transaction_id = number
        await w.charge(10)
        assert await w.central.call("RemoteStopTransaction", {"transactionId": number}) == ACCEPTED
        await w.advance(10)
        assert w.calls("StopTransaction")[0]["transactionId"] == number


# --- unlock ------------------------------------------------------------------------------------


@pytest.mark.octt("TC_017_1_CS")
@pytest.mark.requirement("16.UNLOCK.1")
@story
async def test_unlock_without_a_session_unlocks() -> None:
    async with world() as w:
        for _ in range(2):
            answer = await w.central.call("UnlockConnector", {"connectorId": 1})
            assert answer == {"status": "Unlocked"}
        assert not w.board.look(1).locked


@pytest.mark.octt("TC_018_1_CS")
@pytest.mark.requirement("16.UNLOCK.1")
@story
async def test_unlock_in_mid_charge_stops_first_and_then_unlocks() -> None:
    async with world() as w:
        await w.charge(30)
        answer = await w.central.call("UnlockConnector", {"connectorId": 1})
        assert answer == {"status": "Unlocked"}
        assert not w.coil()
        assert not w.board.look(1).locked
        await w.advance(5)
        await w.delivered()
        assert w.transactions[0].reason == "UnlockCommand"
        assert w.status() == "Finishing"
        opened = [m.mono_ns for m in w.board.history if (m.what, m.value) == ("coil", False)]
        unlocked = [m.mono_ns for m in w.board.history if (m.what, m.value) == ("lock", False)]
        assert opened[-1] <= unlocked[-1]


@pytest.mark.octt("TC_030_CS")
@pytest.mark.requirement("16.UNLOCK.1")
@story
async def test_a_lock_that_does_not_move_is_told_as_unlock_failed() -> None:
    async with world() as w:
        await w.charge(30)
        w.board.fault("lock_jammed", 1)
        answer = await w.central.call("UnlockConnector", {"connectorId": 1})
        assert answer == {"status": "UnlockFailed"}
        assert not w.coil()
        w.board.clear("lock_jammed", 1)
        answer = await w.central.call("UnlockConnector", {"connectorId": 1})
        assert answer == {"status": "Unlocked"}
        await w.unplug()
        await w.delivered()
        assert w.transactions[0].reason == "UnlockCommand"
        await w.assert_books_agree()


@pytest.mark.octt("TC_031_CS")
@pytest.mark.requirement("16.UNLOCK.1")
@pytest.mark.parametrize("connector", [0, 2, 99])
@story
async def test_unlock_of_an_unknown_connector_is_not_supported(connector: int) -> None:
    async with world() as w:
        answer = await w.central.call("UnlockConnector", {"connectorId": connector})
        assert answer == {"status": "NotSupported"}


@pytest.mark.octt("TC_017_2_CS", "TC_018_2_CS")
@pytest.mark.requirement("16.UNLOCK.2")
@story
async def test_unlock_of_a_fixed_cable_is_not_supported_and_charging_goes_on() -> None:
    async with world(evse_more=FIXED_CABLE) as w:
        answer = await w.central.call("UnlockConnector", {"connectorId": 1})
        assert answer == {"status": "NotSupported"}
        await w.charge(10)
        answer = await w.central.call("UnlockConnector", {"connectorId": 1})
        assert answer == {"status": "NotSupported"}
        await w.advance(10)
        assert w.coil()


@pytest.mark.requirement("16.UNLOCK.2")
@story
async def test_unlock_of_a_fixed_cable_ends_the_charge_where_the_site_wants_it() -> None:
    more = "[options]\npolicy.unlock_stops_without_lock = true\n"
    async with world(evse_more=FIXED_CABLE, more=more) as w:
        await w.charge(10)
        answer = await w.central.call("UnlockConnector", {"connectorId": 1})
        assert answer == {"status": "NotSupported"}
        await w.advance(10)
        assert not w.coil()
        assert w.transactions[0].reason == "UnlockCommand"


@pytest.mark.requirement("16.UNLOCK.1", "16.AUTH.6")
@story
async def test_unlock_while_preparing_drops_the_authorization() -> None:
    async with world() as w:
        await remote_start(w, connectorId=1)
        await w.advance(5)
        assert w.status() == "Preparing"
        answer = await w.central.call("UnlockConnector", {"connectorId": 1})
        assert answer == {"status": "Unlocked"}
        await w.advance(1)
        assert w.status() == "Available"
        await w.plug()
        await w.advance(5)
        assert not w.coil()


@pytest.mark.requirement("16.RSTOP.1", "16.RESET.2")
@story
async def test_a_transaction_ended_by_a_reset_cannot_be_stopped_remotely_afterwards() -> None:
    async with world() as w:
        await w.charge(30)
        await w.central.call("Reset", {"type": "Soft"})
        await next_life(w)
        await w.advance(20)
        assert await w.central.call("RemoteStopTransaction", {"transactionId": 1}) == REJECTED
        await w.assert_books_agree()
