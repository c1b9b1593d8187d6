"""Charging profiles obeyed by the whole daemon: what the pilot and the contactor of the simulated
board see, through power cuts and steps of the clock."""

from typing import Any

import pytest
from support.charging import (
    composite,
    offered_a,
    on_the_wire,
    set_profile,
    told_course,
    utc_at,
)
from support.story import statuses, story
from support.world import World, world

requirement = pytest.mark.requirement


def moments(w: World, what: str, since_ns: int = 0) -> list[tuple[float, Any]]:
    """What the board remembers: seconds since `since_ns`, and the value."""
    return [((one.mono_ns - since_ns) / 1e9, one.value) for one in w.board.history
            if one.what == what and one.mono_ns >= since_ns]


def offers(w: World, since_ns: int) -> list[tuple[float, float]]:
    return [(at_s, offer.current_a) for at_s, offer in moments(w, "offer", since_ns)]


async def charging(w: World) -> int:
    await w.charge(15)
    await w.until(lambda: w.status() == "Charging")
    return w.transactions[-1].number


@requirement("16.SC.3", "16.SC.8", "16.SC.12")
@story
async def test_each_limit_reaches_the_pilot_within_a_second_of_its_period() -> None:
    plan = [(0, 16.0), (30, 10.0), (95, 13.5), (96, 20.0), (400, 6.0), (3600, 25.0)]
    async with world() as w:
        await charging(w)
        begin = utc_at(w, 60)
        begin_s = 60.0 - w.time.true_wall().microsecond / 1e6
        since_ns = w.loop.monotonic_ns()
        assert await set_profile(w, 1, on_the_wire(1, *plan, start=begin)) == "Accepted"

        await w.advance(3700)

        seen = offers(w, since_ns)
        assert [limit for _, limit in seen] == [limit for _, limit in plan]
        for (at_s, _), (start_s, _) in zip(seen, plan, strict=True):
            assert 0 <= at_s - (begin_s + start_s) <= 1.0
        assert len(w.transactions) == 1


@requirement("16.SC.12")
@pytest.mark.parametrize("limit", [0.0, 5.9])
@story
async def test_below_the_minimum_charging_pauses_and_resumes_in_the_same_transaction(
        limit: float) -> None:
    async with world() as w:
        await charging(w)
        told = len(w.central.books.statuses)
        since_ns = w.loop.monotonic_ns()
        plan = on_the_wire(1, (0, limit), (120, 10.0), start=utc_at(w))
        assert await set_profile(w, 1, plan) == "Accepted"

        await w.advance(60)
        assert (w.status(), w.coil()) == ("SuspendedEVSE", False)
        await w.advance(90)

        assert (w.status(), w.coil()) == ("Charging", True)
        assert statuses(w, since=told)[0] == "SuspendedEVSE"
        assert statuses(w, since=told)[-1] == "Charging"
        withdrawn_s = offers(w, since_ns)[0][0]
        opened_s = next(at_s for at_s, on in moments(w, "coil", since_ns) if not on)
        left_c_s = next(at_s for at_s, pilot in moments(w, "pilot", since_ns)
                        if not pilot.asks)
        assert withdrawn_s < left_c_s <= opened_s  # the car was asked first, and had stopped
        assert len(w.transactions) == 1


@requirement("16.SC.13", "16.SC.4")
@story
async def test_a_power_cut_takes_the_profile_of_the_transaction_and_leaves_the_others() -> None:
    async with world() as w:
        number = await charging(w)
        await set_profile(w, 1, on_the_wire(1, (0, 12.0), start=utc_at(w)))
        await set_profile(w, 0, on_the_wire(2, (0, 14.0), purpose="ChargePointMaxProfile",
                                            start=utc_at(w)))
        await set_profile(w, 1, on_the_wire(3, (0, 7.0), purpose="TxProfile",
                                            transactionId=number, start=utc_at(w)))
        await w.advance(2)
        assert offered_a(w) == 7.0

        await w.power_cut()
        await w.until(lambda: w.transactions[0].stopped is not None, 300)

        assert w.transactions[0].reason == "PowerLoss"
        assert told_course(await composite(w, 1, 60)) == [(0, 12.0)]
        assert told_course(await composite(w, 0, 60)) == [(0, 12.0)]
        clear = {"chargingProfilePurpose": "TxProfile"}
        assert await w.central.call("ClearChargingProfile", clear) == {"status": "Unknown"}
        await w.unplug()
        await w.advance(5)
        await charging(w)
        assert offered_a(w) == 12.0


@requirement("16.SC.13", "16.SC.10")
@story
async def test_a_resumed_transaction_goes_on_under_its_profile() -> None:
    async with world(station='after_power_loss = "resume"') as w:
        number = await charging(w)
        plan = on_the_wire(3, (0, 7.0), (600, 9.0), purpose="TxProfile", kind="Relative",
                           transactionId=number)
        assert await set_profile(w, 1, plan) == "Accepted"
        await w.advance(100)

        await w.power_cut()
        await w.until(lambda: w.status() == "Charging", 120)
        assert offered_a(w) == 7.0
        await w.advance(600)

        assert offered_a(w) == 9.0
        assert len(w.transactions) == 1


@requirement("16.SC.3")
@story
async def test_a_step_of_the_clock_moves_an_absolute_schedule() -> None:
    async with world() as w:
        await charging(w)
        plan = on_the_wire(1, (0, 16.0), (3600, 10.0), start=utc_at(w))
        await set_profile(w, 1, plan)
        await w.advance(1)
        assert offered_a(w) == 16.0

        w.time.wall_error_s = 3700.0
        await w.advance(15)  # the kernel is asked every 10 s

        assert offered_a(w) == 10.0


@requirement("16.SC.13", "16.SC.14")
@story
async def test_without_a_clock_only_what_needs_none_holds_until_one_is_there() -> None:
    async with world(ocpp16="AllowOfflineTxForUnknownId = true") as w:
        await set_profile(w, 1, on_the_wire(1, (0, 12.0), (86_400, 20.0), start=utc_at(w)))
        await set_profile(w, 0, on_the_wire(2, (0, 15.0), purpose="ChargePointMaxProfile",
                                            start=utc_at(w)))
        w.time.disciplined, w.time.wall_error_s = False, -400 * 86_400.0
        w.network.down()
        await w.power_cut()
        await w.charge(30)
        assert offered_a(w) == 15.0

        w.network.up = True
        await w.until(lambda: w.app is not None and w.app.loop.picture.online, 300)
        await w.advance(1)

        assert offered_a(w) == 12.0


@requirement("16.SC.1")
@story
async def test_nothing_a_central_system_sends_disturbs_a_charge() -> None:
    """What is no profile gets an error or a refusal; the car goes on."""
    async with world() as w:
        await charging(w)
        good = on_the_wire(1, (0, 10.0), start=utc_at(w))
        schedule = good["chargingSchedule"]
        for spoiled in (
                {**good, "chargingSchedule": {**schedule, "chargingSchedulePeriod": []}},
                {**good, "stackLevel": 10**15},
                {**good, "chargingSchedule": {**schedule, "duration": 10**15}},
                {**good, "chargingSchedule": {**schedule, "chargingSchedulePeriod": [
                    {"startPeriod": 0, "limit": 10**15}]}},
                {**good, "chargingSchedule": {**schedule, "chargingSchedulePeriod": [
                    {"startPeriod": 0, "limit": 9}, {"startPeriod": 10**15, "limit": 9}]}},
                {**good, "validTo": "2020-01-01T00:00:00Z"}):
            assert await set_profile(w, 1, spoiled) == "Rejected"
        far = on_the_wire(2, (0, 11.0), start="0001-01-01T00:00:00Z",
                          validFrom="0001-01-01T00:00:00Z", validTo="9999-12-31T23:59:59Z")
        assert await set_profile(w, 1, far) == "Accepted"
        await w.advance(2)
        assert offered_a(w) == 11.0
        for duration in (10**12, 2**31):
            assert (await composite(w, 1, duration))["status"] == "Accepted"
        assert (await composite(w, 1, -1)) == {"status": "Rejected"}

        await w.power_cut()  # and what was taken can be read again
        assert told_course(await composite(w, 1, 60)) == [(0, 11.0)]
