"""How a charge ends: whose card, whose unplugging, whose verdict; and what the books say then."""

import pytest
from support.story import FIXED_CABLE, configure, last_status, statuses, story
from support.world import CARD, OTHER_CARD, World, world

from cpctl.demo.csms import Reply
from hal.values import PilotState

GROUP = "FLEET-7"
THIRD_CARD = "04112233445566"


def with_group(w: World, token: str, group: str | None, status: str = "Accepted") -> None:
    w.central.verdicts[token] = {"status": status} | ({"parentIdTag": group} if group else {})


@pytest.mark.octt("TC_068_CS")
@pytest.mark.requirement("16.AUTH.2", "16.TX.10", "16.TX.11")
@story
async def test_the_tag_that_started_stops_without_being_asked_for() -> None:
    async with world() as w:
        await w.charge(30)
        asked = len(w.calls("Authorize"))
        w.central.verdicts[CARD] = {"status": "Blocked"}
        await w.tap(CARD)
        await w.advance(10)
        assert not w.coil()
        assert not w.board.look(1).locked
        assert len(w.calls("Authorize")) == asked
        stop, = w.calls("StopTransaction")
        assert stop["idTag"] == CARD
        assert stop.get("reason", "Local") == "Local"


@pytest.mark.octt("TC_069_CS")
@pytest.mark.requirement("16.AUTH.3")
@story
async def test_a_tag_with_the_same_parent_stops() -> None:
    async with world() as w:
        with_group(w, CARD, GROUP)
        with_group(w, OTHER_CARD, GROUP)
        await w.charge(30)
        await w.tap(OTHER_CARD)
        await w.advance(10)
        assert not w.coil()
        assert w.calls("Authorize") == [{"idTag": CARD}, {"idTag": OTHER_CARD}]
        one, = w.transactions
        assert (one.id_tag, one.stop_id_tag, one.reason) == (CARD, OTHER_CARD, "Local")


@pytest.mark.requirement("16.AUTH.3", "16.AUTH.4")
@pytest.mark.parametrize(("group", "status"), [
    (None, "Accepted"), ("OTHER-FLEET", "Accepted"), (GROUP, "Blocked"), (GROUP, "Invalid"),
    (GROUP, "Expired")])
@story
async def test_any_other_tag_does_not_stop(group: str | None, status: str) -> None:
    async with world() as w:
        with_group(w, CARD, GROUP)
        with_group(w, OTHER_CARD, group, status)
        await w.charge(30)
        await w.tap(OTHER_CARD)
        await w.advance(10)
        assert w.coil()
        assert w.status() == "Charging"


@pytest.mark.requirement("16.AUTH.4")
@story
async def test_a_tag_that_reads_like_the_parent_is_not_the_parent() -> None:
    async with world() as w:
        with_group(w, CARD, OTHER_CARD)
        with_group(w, OTHER_CARD, None)
        await w.charge(30)
        await w.tap(OTHER_CARD)
        await w.advance(10)
        assert w.coil()


@pytest.mark.requirement("16.AUTH.3", "16.OFF.1")
@story
async def test_the_parent_from_the_cache_stops_offline() -> None:
    async with world() as w:
        with_group(w, CARD, GROUP)
        with_group(w, OTHER_CARD, GROUP)
        await w.charge(10, token=OTHER_CARD)
        await w.unplug()
        await w.charge(30)
        w.network.down()
        await w.tap(OTHER_CARD)
        await w.advance(10)
        assert not w.coil()
        w.network.up = True
        await w.delivered()
        assert w.transactions[1].stop_id_tag == OTHER_CARD


@pytest.mark.octt("TC_005_1_CS")
@pytest.mark.requirement("16.TX.13", "16.TX.15")
@story
async def test_unplugging_the_car_stops_and_frees_the_plug() -> None:
    async with world() as w:
        await configure(w, StopTransactionOnEVSideDisconnect=True,
                        UnlockConnectorOnEVSideDisconnect=True)
        await w.charge(30)
        before = len(w.central.books.statuses)
        await w.unplug()
        await w.advance(5)
        assert not w.coil()
        assert not w.board.look(1).locked
        told = w.central.books.statuses[before:]
        assert [one["status"] for one in told] == ["Finishing", "Available"]
        assert told[0]["info"] == "EV side disconnected"
        assert told[0]["errorCode"] == "NoError"
        assert w.transactions[0].reason == "EVDisconnected"
        assert "idTag" not in w.calls("StopTransaction")[0]


@pytest.mark.octt("TC_005_2_CS")
@pytest.mark.requirement("16.TX.13")
@story
async def test_unplugging_the_car_stops_and_holds_the_plug_for_its_card() -> None:
    async with world() as w:
        await configure(w, StopTransactionOnEVSideDisconnect=True,
                        UnlockConnectorOnEVSideDisconnect=False)
        await w.charge(30)
        await w.unplug()
        await w.advance(20)
        assert w.board.look(1).locked
        assert w.status() == "Finishing"
        assert w.transactions[0].reason == "EVDisconnected"
        await w.tap(OTHER_CARD)
        await w.advance(5)
        assert w.board.look(1).locked
        await w.tap(CARD)
        await w.advance(5)
        assert not w.board.look(1).locked
        assert w.status() == "Available"
        await w.plug()
        await w.advance(10)
        assert not w.coil()


@pytest.mark.octt("TC_005_3_CS")
@pytest.mark.requirement("16.TX.12")
@pytest.mark.parametrize("unlock", [True, False])
@story
async def test_unplugging_may_keep_the_transaction_and_replugging_resumes(unlock: bool) -> None:
    async with world() as w:
        await configure(w, StopTransactionOnEVSideDisconnect=False,
                        UnlockConnectorOnEVSideDisconnect=unlock)
        await w.charge(30)
        await w.unplug()
        await w.advance(20)
        assert not w.coil()
        assert w.board.look(1).locked
        told = last_status(w)
        assert (told["status"], told["errorCode"], told["info"]) == (
            "SuspendedEV", "NoError", "EV side disconnected")
        await w.plug()
        await w.advance(20)
        assert w.coil()
        assert w.status() == "Charging"
        assert "SuspendedEVSE" not in statuses(w)
        await w.tap(CARD)
        await w.advance(10)
        one, = w.transactions
        assert one.reason == "Local"
        await w.unplug()
        await w.delivered()
        await w.assert_books_agree()


@pytest.mark.requirement("16.TX.12")
@story
async def test_a_card_ends_the_transaction_whose_car_is_gone() -> None:
    async with world() as w:
        await configure(w, StopTransactionOnEVSideDisconnect=False)
        await w.charge(30)
        await w.unplug()
        await w.advance(100)
        await w.tap(CARD)
        await w.advance(5)
        assert w.status() == "Available"
        assert not w.board.look(1).locked
        await w.delivered()
        await w.assert_books_agree()


@pytest.mark.requirement("16.TX.4", "16.TX.13")
@story
async def test_a_deauthorized_transaction_stops_and_the_plug_waits_for_its_card() -> None:
    async with world() as w:
        w.central.behave("StartTransaction", Reply(
            {"transactionId": 7, "idTagInfo": {"status": "Blocked"}}))
        await w.charge(30)
        assert not w.coil()
        stop, = w.calls("StopTransaction")
        assert (stop["transactionId"], stop["reason"]) == (7, "DeAuthorized")
        assert w.board.look(1).locked
        await w.tap(CARD)
        await w.advance(5)
        assert not w.board.look(1).locked
        assert not w.coil()


@pytest.mark.requirement("16.TX.4", "16.STAT.3")
@story
async def test_without_stop_on_invalid_id_only_the_energy_stops() -> None:
    async with world() as w:
        await configure(w, StopTransactionOnInvalidId=False)
        w.central.behave("StartTransaction", Reply(
            {"transactionId": 7, "idTagInfo": {"status": "Invalid"}}))
        await w.charge(60)
        assert not w.coil()
        assert w.status() == "SuspendedEVSE"
        assert w.calls("StopTransaction") == []
        await w.tap(CARD)
        await w.advance(10)
        stop, = w.calls("StopTransaction")
        assert stop.get("reason", "Local") == "Local"


@pytest.mark.requirement("16.TX.5")
@story
async def test_an_invalid_id_gets_no_more_than_the_energy_allowed() -> None:
    async with world() as w:
        await configure(w, StopTransactionOnInvalidId=False, MaxEnergyOnInvalidId=200)
        w.central.behave("StartTransaction", Reply(
            {"transactionId": 7, "idTagInfo": {"status": "Invalid"}}))
        await w.charge(20)
        assert w.coil()
        await w.advance(100)
        assert not w.coil()
        assert w.status() == "SuspendedEVSE"
        assert w.calls("StopTransaction") == []
        await w.unplug()
        await w.delivered()
        energy_wh = w.calls("StopTransaction")[0]["meterStop"] - w.calls(
            "StartTransaction")[0]["meterStart"]
        # winding down and one meter reading late
        assert 200 <= energy_wh <= 230


@pytest.mark.requirement("16.TX.5")
@story
async def test_with_stop_on_invalid_id_no_energy_is_allowed_afterwards() -> None:
    async with world() as w:
        await configure(w, MaxEnergyOnInvalidId=5000)
        w.central.behave("StartTransaction", Reply(
            {"transactionId": 7, "idTagInfo": {"status": "Invalid"}}))
        await w.charge(30)
        assert not w.coil()
        assert w.calls("StopTransaction")[0]["reason"] == "DeAuthorized"


@pytest.mark.requirement("16.TX.11", "16.TX.13")
@story
async def test_a_fixed_cable_ends_with_the_car() -> None:
    async with world(evse_more=FIXED_CABLE) as w:
        await w.charge(30)
        assert w.coil()
        await w.unplug()
        await w.delivered()
        assert statuses(w)[:4] == ["Available", "Preparing", "SuspendedEV", "Charging"]
        assert w.status() == "Available"
        assert w.transactions[0].reason == "EVDisconnected"
        await w.assert_books_agree()


@pytest.mark.requirement("16.TX.10", "16.TX.17")
@story
async def test_an_ev_that_pauses_and_resumes_stays_in_one_transaction() -> None:
    async with world() as w:
        await w.charge(30)
        for state in (PilotState.B, PilotState.C) * 3:
            w.board.pilot(1, state)
            await w.advance(15)
        await w.unplug()
        await w.delivered()
        assert len(w.calls("StartTransaction")) == len(w.calls("StopTransaction")) == 1
        await w.assert_books_agree()


@pytest.mark.requirement("16.TX.10", "16.AUTH.6")
@story
async def test_a_second_tap_before_the_plug_gives_up() -> None:
    async with world() as w:
        await w.tap(CARD)
        assert w.status() == "Preparing"
        await w.tap(CARD)
        await w.advance(1)
        assert w.status() == "Available"
        await w.plug()
        await w.advance(10)
        assert not w.coil()


@pytest.mark.requirement("16.AUTH.8")
@story
async def test_a_card_belongs_to_the_next_plug_of_several() -> None:
    async with world(evses=3) as w:
        await w.plug(1)
        await w.tap(CARD)
        await w.advance(5)
        await w.tap(OTHER_CARD)
        await w.advance(5)
        await w.plug(3)
        await w.advance(10)
        assert [(one.connector, one.id_tag) for one in w.transactions] == [
            (1, CARD), (3, OTHER_CARD)]
        assert (w.coil(1), w.coil(2), w.coil(3)) == (True, False, True)


@pytest.mark.octt("TC_032_2_CS")
@pytest.mark.requirement("16.TX.16")
@story
async def test_a_power_cut_ends_the_transaction_with_the_energy_that_flowed() -> None:
    async with world() as w:
        await w.charge(150)
        await w.power_cut()
        await w.delivered()
        await w.advance(20)
        assert w.coils_at_start == [False]
        assert not w.coil()
        one, = w.transactions
        assert one.reason == "PowerLoss"
        assert one.meter_stop == w.register_wh()
        await w.unplug()
        await w.delivered()
        assert w.status() == "Available"
        await w.assert_books_agree()


@pytest.mark.requirement("16.TX.16")
@story
async def test_a_killed_daemon_ends_the_transaction_as_reboot() -> None:
    async with world() as w:
        await w.charge(150)
        await w.kill()
        await w.delivered()
        assert w.transactions[0].reason == "Reboot"
        await w.assert_books_agree()


@pytest.mark.octt("TC_032_1_CS")
@pytest.mark.requirement("16.TX.16")
@story
async def test_a_daemon_that_is_stopped_tells_the_end_before_it_goes() -> None:
    async with world() as w:
        await w.charge(60)
        await w.stop()
        assert not w.coil()
        stop, = w.calls("StopTransaction")
        assert stop["reason"] == "Reboot"
        assert stop["meterStop"] == w.register_wh()


@pytest.mark.requirement("16.AUTH.5", "16.RPC.9")
@story
async def test_tags_are_compared_without_regard_to_case() -> None:
    async with world() as w:
        await w.plug()
        await w.central.call("RemoteStartTransaction", {
            "idTag": CARD.lower(), "connectorId": 1})
        await w.advance(10)
        await w.tap(CARD)
        await w.advance(10)
        assert not w.coil()
        assert w.transactions[0].reason == "Local"


@pytest.mark.requirement("16.AUTH.1", "16.AUTH.3")
@story
async def test_a_stranger_starts_at_the_free_evse_and_stops_nothing() -> None:
    async with world(evses=2) as w:
        await w.charge(20, evse=1)
        await w.tap(THIRD_CARD)
        await w.advance(5)
        assert w.coil(1)
        await w.plug(2)
        await w.advance(10)
        assert w.coil(2)
        assert [one.id_tag for one in w.transactions] == [CARD, THIRD_CARD]
