"""Reset, soft and hard: the answer first, the books right, the boot afterwards."""

import pytest
from support.story import configure, next_life, read_key, statuses, story
from support.world import CARD, World, world

ACCEPTED, REJECTED = {"status": "Accepted"}, {"status": "Rejected"}
KINDS = [("Soft", "SoftReset"), ("Hard", "HardReset")]


async def reset(w: World, kind: str) -> dict[str, object]:
    return await w.central.call("Reset", {"type": kind})


@pytest.mark.octt("TC_013_CS", "TC_014_CS")
@pytest.mark.requirement("16.RESET.1", "16.BOOT.1", "16.BOOT.4")
@pytest.mark.parametrize("kind", ["Hard", "Soft"])
@story
async def test_reset_without_a_transaction_boots_again(kind: str) -> None:
    async with world(evses=2) as w:
        before = len(w.central.books.statuses)
        assert await reset(w, kind) == ACCEPTED
        await next_life(w)
        await w.advance(5)
        assert len(w.central.books.boots) == 2
        for number in (0, 1, 2):
            assert statuses(w, number, before)[-1] == "Available"


@pytest.mark.octt("TC_015_CS", "TC_016_CS")
@pytest.mark.requirement("16.RESET.1", "16.RESET.2", "16.RESET.3", "16.TX.10")
@pytest.mark.parametrize(("kind", "reason"), KINDS)
@story
async def test_reset_in_mid_charge_ends_the_transaction_and_boots(kind: str, reason: str) -> None:
    async with world() as w:
        await w.charge(100)
        assert await reset(w, kind) == ACCEPTED
        await next_life(w)
        assert w.coils_at_start == [False]
        await w.delivered()
        await w.advance(20)
        stop, = w.calls("StopTransaction")
        assert stop["reason"] == reason
        assert "idTag" not in stop
        assert stop["meterStop"] == w.register_wh()
        assert len(w.central.books.boots) == 2
        assert not w.coil()
        assert w.status() in ("Preparing", "Finishing")
        await w.unplug()
        await w.delivered()
        assert w.status() == "Available"
        await w.assert_books_agree()


@pytest.mark.requirement("16.RESET.2")
@story
async def test_a_soft_reset_tells_the_stop_and_frees_the_plug_before_it_restarts() -> None:
    async with world() as w:
        await w.charge(60)
        await reset(w, "Soft")
        await w.until(lambda: w._task is not None and w._task.done(), 60)
        assert w.transactions[0].reason == "SoftReset"
        assert not w.board.look(1).locked


@pytest.mark.requirement("16.RESET.2", "16.OFF.1")
@pytest.mark.parametrize(("kind", "reason"), KINDS)
@story
async def test_a_stop_that_cannot_be_told_before_the_restart_is_told_after_it(
        kind: str, reason: str) -> None:
    async with world() as w:
        await w.charge(60)
        assert await reset(w, kind) == ACCEPTED
        w.network.down()
        await w.until(lambda: w._task is not None and w._task.done(), 60)
        assert w.calls("StopTransaction") == []
        w.network.up = True
        await next_life(w)
        await w.delivered()
        assert w.transactions[0].reason == reason
        await w.assert_books_agree()


@pytest.mark.requirement("16.RESET.2", "16.TX.16")
@pytest.mark.parametrize(("kind", "reason"), KINDS)
@story
async def test_a_power_cut_in_the_middle_of_a_reset_keeps_the_reason(
        kind: str, reason: str) -> None:
    async with world() as w:
        await w.charge(60)
        w.network.on_frame = None
        assert await reset(w, kind) == ACCEPTED
        await w.die(power=True)
        await w.start()
        await w.delivered()
        assert w.transactions[0].reason == reason
        await w.assert_books_agree()


@pytest.mark.requirement("16.RESET.1")
@story
async def test_nothing_begins_any_more_once_a_reset_is_accepted() -> None:
    async with world(evses=2) as w:
        await w.charge(30, evse=1)
        await reset(w, "Soft")
        refused = await w.central.call("RemoteStartTransaction", {
            "idTag": CARD, "connectorId": 2})
        assert refused == REJECTED
        await next_life(w)
        await w.advance(5)
        assert len(w.transactions) == 1


@pytest.mark.requirement("16.RESET.1")
@story
async def test_a_hard_reset_overtakes_a_soft_one_and_a_second_soft_one_is_no_harm() -> None:
    async with world() as w:
        await w.charge(30)
        assert await reset(w, "Soft") == ACCEPTED
        assert await reset(w, "Hard") == ACCEPTED
        await next_life(w)
        await w.delivered()
        assert len(w.calls("StopTransaction")) == 1
        assert w.transactions[0].reason in ("SoftReset", "HardReset")


@pytest.mark.requirement("16.RESET.5", "16.CONF.2")
@pytest.mark.parametrize("kind", ["Soft", "Hard"])
@story
async def test_keys_cache_and_availability_survive_a_reset(kind: str) -> None:
    async with world(evses=2) as w:
        await configure(w, MeterValueSampleInterval=17, LocalPreAuthorize=True)
        await w.charge(10, evse=1)
        await w.unplug(1)
        await w.central.call("ChangeAvailability", {"connectorId": 2, "type": "Inoperative"})
        await reset(w, kind)
        await next_life(w)
        await w.advance(5)
        assert await read_key(w, "MeterValueSampleInterval") == "17"
        assert w.status(2) == "Unavailable"
        asked = len(w.calls("Authorize"))
        await w.charge(10, evse=1)
        assert w.coil(1)
        assert len(w.calls("Authorize")) == asked


@pytest.mark.requirement("16.RESET.2")
@story
async def test_a_car_that_stays_in_c_does_not_hold_up_a_reset() -> None:
    async with world() as w:
        await w.charge(30)
        w.board.fault("stuck_in_c", 1)
        assert await reset(w, "Soft") == ACCEPTED
        await next_life(w)
        await w.delivered()
        assert w.coils_at_start == [False]
        assert w.transactions[0].reason == "SoftReset"
        await w.assert_books_agree()
