"""ChangeAvailability: at once, at the end of the charge, for all; over restarts and power cuts."""

import pytest
from support.story import FIXED_CABLE, last_status, statuses, story
from support.world import CARD, OTHER_CARD, World, world

ACCEPTED, REJECTED = {"status": "Accepted"}, {"status": "Rejected"}
SCHEDULED = {"status": "Scheduled"}


async def availability(w: World, connector: int, *, operative: bool) -> dict[str, object]:
    return await w.central.call("ChangeAvailability", {
        "connectorId": connector, "type": "Operative" if operative else "Inoperative"})


@pytest.mark.requirement("16.AVAIL.1", "16.AVAIL.2")
@story
async def test_a_free_connector_changes_at_once_and_back() -> None:
    async with world() as w:
        assert await availability(w, 1, operative=False) == ACCEPTED
        await w.advance(1)
        assert (w.status(0), w.status(1)) == ("Available", "Unavailable")
        assert await availability(w, 1, operative=False) == ACCEPTED
        await w.plug()
        await w.tap(CARD)
        await w.advance(10)
        assert not w.coil()
        assert w.status() == "Unavailable"
        assert await availability(w, 1, operative=True) == ACCEPTED
        await w.advance(1)
        assert w.status() == "Preparing"
        await w.tap(CARD)
        await w.advance(5)
        assert w.coil()


@pytest.mark.requirement("16.AVAIL.1")
@pytest.mark.parametrize("connector", [2, 99])
@story
async def test_the_availability_of_an_unknown_connector_is_rejected(connector: int) -> None:
    async with world() as w:
        assert await availability(w, connector, operative=False) == REJECTED
        assert await availability(w, connector, operative=True) == REJECTED


@pytest.mark.requirement("16.AVAIL.1", "16.TX.15")
@story
async def test_a_charging_connector_changes_when_the_transaction_ends() -> None:
    async with world() as w:
        await w.charge(30)
        assert await availability(w, 1, operative=False) == SCHEDULED
        await w.advance(20)
        assert w.coil()
        assert w.status() == "Charging"
        await w.tap(CARD)
        await w.advance(10)
        assert not w.coil()
        assert w.status() == "Unavailable"
        await w.unplug()
        await w.delivered()
        assert w.status() == "Unavailable"
        await w.assert_books_agree()


@pytest.mark.requirement("16.AVAIL.4")
@story
async def test_a_later_opposite_request_cancels_a_scheduled_one() -> None:
    async with world() as w:
        await w.charge(30)
        assert await availability(w, 1, operative=False) == SCHEDULED
        assert await availability(w, 1, operative=True) == ACCEPTED
        await w.unplug()
        await w.advance(10)
        assert w.status() == "Available"


@pytest.mark.requirement("16.AVAIL.3", "16.STAT.9")
@story
async def test_connector_zero_means_the_station_and_all_connectors() -> None:
    async with world(evses=2) as w:
        assert await availability(w, 0, operative=False) == ACCEPTED
        await w.advance(1)
        assert [w.status(number) for number in (0, 1, 2)] == ["Unavailable"] * 3
        assert await availability(w, 0, operative=True) == ACCEPTED
        await w.advance(1)
        assert [w.status(number) for number in (0, 1, 2)] == ["Available"] * 3


@pytest.mark.requirement("16.AVAIL.3")
@story
async def test_connector_zero_with_one_busy_changes_the_free_ones_at_once() -> None:
    async with world(evses=2) as w:
        await w.charge(20, evse=1)
        assert await availability(w, 0, operative=False) == SCHEDULED
        await w.advance(1)
        assert (w.status(1), w.status(2)) == ("Charging", "Unavailable")
        await w.unplug(1)
        await w.advance(5)
        assert [w.status(number) for number in (0, 1, 2)] == ["Unavailable"] * 3


@pytest.mark.requirement("16.AVAIL.4")
@story
async def test_operative_for_connector_zero_makes_all_connectors_operative() -> None:
    async with world(evses=2) as w:
        await availability(w, 2, operative=False)
        assert await availability(w, 0, operative=True) == ACCEPTED
        await w.advance(1)
        assert w.status(2) == "Available"


@pytest.mark.requirement("16.AVAIL.1")
@story
async def test_a_waiting_authorization_is_dropped_by_inoperative() -> None:
    async with world() as w:
        await w.tap(CARD)
        assert w.status() == "Preparing"
        assert await availability(w, 1, operative=False) == ACCEPTED
        await w.advance(1)
        assert w.status() == "Unavailable"
        await availability(w, 1, operative=True)
        await w.plug()
        await w.advance(10)
        assert not w.coil()
        assert w.transactions == []


@pytest.mark.requirement("16.AVAIL.1", "16.STAT.10")
@story
async def test_a_faulted_connector_becomes_unavailable_after_the_fault() -> None:
    async with world() as w:
        w.board.fault("emergency_stop", 1)
        await w.advance(1)
        assert await availability(w, 1, operative=False) == ACCEPTED
        await w.advance(1)
        assert w.status() == "Faulted"
        w.board.clear("emergency_stop", 1)
        await w.advance(1)
        assert w.status() == "Unavailable"


@pytest.mark.octt("TC_034_CS")
@pytest.mark.requirement("16.AVAIL.2", "16.STAT.8", "16.RESET.5", "16.OFF.9")
@pytest.mark.parametrize("connector", [0, 1])
@pytest.mark.parametrize("end", ["power_cut", "kill", "restart"])
@story
async def test_unavailable_outlives_every_kind_of_restart(connector: int, end: str) -> None:
    async with world(evses=2) as w:
        await availability(w, connector, operative=False)
        await w.advance(1)
        before = len(w.central.books.statuses)
        await _again(w, end)
        await w.until(lambda: len(w.central.books.boots) == 2, 60)
        await w.advance(5)
        zero = "Unavailable" if connector == 0 else "Available"
        assert statuses(w, 0, before) == [zero]
        assert statuses(w, 1, before) == ["Unavailable"]
        assert statuses(w, 2, before) == [zero]


async def _again(w: World, end: str) -> None:
    if end == "power_cut":
        await w.power_cut()
    elif end == "kill":
        await w.kill()
    else:
        await w.stop()
        w.network.cut()
        await w.start()


@pytest.mark.octt("TC_034_CS")
@pytest.mark.requirement("16.AVAIL.2", "16.TX.16")
@story
async def test_a_scheduled_change_outlives_a_power_cut() -> None:
    async with world() as w:
        await w.charge(60)
        assert await availability(w, 1, operative=False) == SCHEDULED
        await w.power_cut()
        await w.until(lambda: w.status() == "Unavailable", 60)
        await w.unplug()
        await w.delivered()
        assert w.transactions[0].reason == "PowerLoss"
        assert w.status() == "Unavailable"
        await w.assert_books_agree()


@pytest.mark.requirement("16.AVAIL.1")
@story
async def test_other_connectors_serve_on_while_one_is_out_of_service() -> None:
    async with world(evses=2, evse_more=FIXED_CABLE) as w:
        await availability(w, 1, operative=False)
        await w.plug(2)
        await w.tap(OTHER_CARD)
        await w.advance(10)
        assert w.coil(2)
        assert last_status(w, 1)["errorCode"] == "NoError"


@pytest.mark.requirement("16.AVAIL.2", "16.STAT.1", "16.TX.2")
@story
async def test_a_plug_left_in_waits_for_a_card_when_the_connector_is_operative_again() -> None:
    """The status matrix knows no way from Unavailable to Finishing (H6)."""
    async with world() as w:
        await w.charge(10)
        await w.tap(CARD)
        await w.until(lambda: w.status() == "Finishing")
        for _ in range(2):
            await availability(w, 1, operative=False)
            await w.until(lambda: w.status() == "Unavailable")
            await availability(w, 1, operative=True)
            await w.until(lambda: w.status() != "Unavailable")
            assert w.status() == "Preparing"
            await w.advance(61)
            assert w.status() == "Finishing"  # B6: nobody claimed it in time

        await w.tap(OTHER_CARD)
        await w.until(lambda: w.status() == "Charging")
