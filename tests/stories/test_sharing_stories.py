"""Current shared by EVSEs, as a central system and the boards see it; several connectors of one."""

import itertools
from datetime import timedelta

import pytest
from support.story import story
from support.world import CARD, OTHER_CARD, World, world

from hal.sim.car import CarKind

LIMIT_10 = "[limits]\nstation_max_current_a = 10\n"
LIMIT_32 = "[limits]\nstation_max_current_a = 32\n"
TWO = 'connectors = [{ id = 1 }, { id = 2, type = "sType2" }]'


def offered(w: World) -> list[float]:
    return [w.board.look(evse).offer.current_a for evse in w.board.evses]


async def both_charge(w: World) -> None:
    await w.charge(20, evse=1)
    await w.plug(2)
    await w.tap(OTHER_CARD)
    await w.advance(20)


@pytest.mark.requirement("16.SC.16", "16.SC.12", "16.STAT.2")
@story
async def test_two_cars_take_turns_and_the_one_that_waits_is_suspended_evse() -> None:
    async with world(evses=2, more=LIMIT_10) as w:
        await both_charge(w)
        first = (w.status(1), w.status(2), offered(w))
        await w.advance(900)
        second = (w.status(1), w.status(2), offered(w))
        await w.advance(900)
        third = (w.status(1), w.status(2), offered(w))

        assert first == third == ("Charging", "SuspendedEVSE", [10, 0])
        assert second == ("SuspendedEVSE", "Charging", [0, 10])
        assert [one.stopped for one in w.transactions] == [None, None]
        changes = [one for one in w.board.history if one.what in ("offer", "coil")]
        for before, moment in itertools.pairwise(changes):
            if moment.what == "coil" and not moment.value:  # the car was asked to stop first
                assert before.what == "offer" and before.evse == moment.evse


@pytest.mark.requirement("16.SC.16")
@story
async def test_the_offers_never_exceed_the_station_while_cars_come_and_go() -> None:
    async with world(evses=3, more=LIMIT_32) as w:
        for evse, card in ((1, CARD), (2, OTHER_CARD), (3, "04AABBCCDD")):
            await w.plug(evse)
            await w.tap(card)
            for _ in range(60):
                await w.advance(0.2)
                assert sum(offered(w)) <= 32.01
        assert offered(w) == pytest.approx([10.6, 10.6, 10.6], abs=0.11)
        await w.unplug(2)
        await w.advance(10)
        assert offered(w) == [16, 0, 16]


@pytest.mark.requirement("16.SC.16")
@story
async def test_a_pilot_board_that_falls_silent_counts_with_its_last_offer() -> None:
    async with world(evses=2, more=LIMIT_32) as w:
        await both_charge(w)
        assert offered(w) == [16, 16]
        w.board.drop("pilot", 1)
        await w.advance(60)
        silent = (offered(w)[1], w.coil(1), w.status(2))
        w.board.restore("pilot", 1)
        await w.advance(120)

        assert silent == (16, False, "Charging")
        assert offered(w) == [0, 32]


@pytest.mark.requirement("16.SC.16")
@story
async def test_what_a_small_car_leaves_goes_to_the_other() -> None:
    async with world(evses=2, more=LIMIT_32) as w:
        await w.plug(1, kind=CarKind(max_current_a=8))
        await w.tap(CARD)
        await w.advance(20)
        await w.plug(2)
        await w.tap(OTHER_CARD)
        await w.advance(60)
        assert offered(w) == [10, 22]


@pytest.mark.requirement("16.SC.16", "MeterValues.req")
@story
async def test_what_is_offered_is_told_with_the_meter_values() -> None:
    sampled = 'MeterValuesSampledData = "Current.Offered,Power.Offered"'
    async with world(evses=2, more=LIMIT_32, ocpp16=sampled) as w:
        await both_charge(w)
        await w.advance(120)
        values = {one["measurand"]: float(one["value"])
                  for call in w.calls("MeterValues")[-2:]
                  for one in call["meterValue"][0]["sampledValue"]}
        assert values == {"Current.Offered": 16.0, "Power.Offered": 16.0 * 3 * 230}


@pytest.mark.requirement("16.SC.16", "16.SC.12", "16.SC.5")
@story
async def test_each_period_of_a_profile_of_the_station_reaches_the_pilots_within_a_second() -> None:
    async with world(evses=2, more=LIMIT_32) as w:
        await both_charge(w)
        begins = w.time.true_wall() + timedelta(seconds=30)
        periods = [(0, 20.0), (60, 5.0), (120, 12.0)]
        answer = await w.central.call("SetChargingProfile", {
            "connectorId": 0, "csChargingProfiles": {
                "chargingProfileId": 1, "stackLevel": 0,
                "chargingProfilePurpose": "ChargePointMaxProfile",
                "chargingProfileKind": "Absolute", "chargingSchedule": {
                    "startSchedule": begins.isoformat().replace("+00:00", "Z"),
                    "chargingRateUnit": "A", "chargingSchedulePeriod": [
                        {"startPeriod": start, "limit": amps} for start, amps in periods]}}})
        assert answer["status"] == "Accepted"
        await w.advance((begins - w.time.true_wall()).total_seconds() - 0.5)
        seen = [offered(w)]
        for wait_s in (1.4, 60, 60):  # 0.9 s after the begin of each period
            await w.advance(wait_s)
            seen.append(offered(w))
        await w.advance(20)

        assert seen == [[16, 16], [10, 10], [0, 0], [6, 6]]
        assert (w.status(1), w.status(2)) == ("Charging", "Charging")
        assert [one.stopped for one in w.transactions] == [None, None]
        assert "SuspendedEVSE" in [one["status"] for one in w.calls("StatusNotification")]


# --- several connectors of one EVSE --------------------------------------------------------------


@pytest.mark.requirement("16.TX.9")
@story
async def test_the_sibling_of_a_connector_in_use_is_unavailable_until_it_is_free() -> None:
    async with world(evse_more=TWO) as w:
        before = (w.status(1), w.status(2))
        await w.plug(1, connector=2)
        await w.tap(CARD)
        await w.advance(20)
        during = (w.status(1), w.status(2))
        await w.unplug(1)
        await w.advance(10)

        assert before == (w.status(1), w.status(2)) == ("Available", "Available")
        assert during == ("Unavailable", "Charging")
        assert w.transactions[0].connector == 2


@pytest.mark.requirement("16.TX.9")
@story
async def test_requests_for_the_sibling_of_a_connector_in_use() -> None:
    async with world(evse_more=TWO) as w:
        await w.plug(1, connector=1)
        start = await w.central.call("RemoteStartTransaction",
                                     {"connectorId": 2, "idTag": OTHER_CARD})
        await w.tap(CARD)
        await w.advance(20)
        unlock = await w.central.call("UnlockConnector", {"connectorId": 2})
        sibling = await w.central.call("ChangeAvailability",
                                       {"connectorId": 2, "type": "Inoperative"})
        used = await w.central.call("ChangeAvailability",
                                    {"connectorId": 1, "type": "Inoperative"})
        during = w.status(1)
        back = await w.central.call("ChangeAvailability", {"connectorId": 2, "type": "Operative"})
        await w.unplug(1)
        await w.advance(10)

        assert [answer["status"] for answer in (start, unlock, sibling, used, back)] == [
            "Rejected", "Unlocked", "Accepted", "Scheduled", "Accepted"]
        assert during == "Charging"
        assert (w.status(1), w.status(2)) == ("Unavailable", "Available")


@pytest.mark.requirement("16.TX.9")
@story
async def test_a_remote_start_at_the_second_connector_is_told_with_its_number() -> None:
    async with world(evse_more=TWO) as w:
        answer = await w.central.call("RemoteStartTransaction",
                                      {"connectorId": 2, "idTag": CARD})
        await w.advance(2)
        waiting = (w.status(1), w.status(2))
        await w.plug(1, connector=2)
        await w.advance(20)

        assert answer["status"] == "Accepted"
        assert waiting == ("Unavailable", "Preparing")
        assert w.transactions[0].connector == 2
        assert w.status(2) == "Charging"


@pytest.mark.requirement("16.TX.9")
@story
async def test_a_car_in_another_connector_than_the_remote_start_names_gets_nothing() -> None:
    async with world(evse_more=TWO) as w:
        await w.central.call("RemoteStartTransaction", {"connectorId": 2, "idTag": CARD})
        await w.plug(1, connector=1)
        await w.advance(20)

        assert w.transactions == []
        assert not w.coil(1)


@pytest.mark.requirement("16.TX.9")
@story
async def test_evses_that_share_a_power_path_are_unavailable_while_the_other_is_in_use() -> None:
    options = '[options]\nhardware.exclusive_groups = "1+2"\n'
    async with world(evses=3, more=options) as w:
        await w.charge(20, evse=1)
        during = [w.status(evse) for evse in (1, 2, 3)]
        start = await w.central.call("RemoteStartTransaction",
                                     {"connectorId": 2, "idTag": OTHER_CARD})
        await w.unplug(1)
        await w.advance(10)

        assert during == ["Charging", "Unavailable", "Available"]
        assert start["status"] == "Rejected"
        assert [w.status(evse) for evse in (1, 2, 3)] == ["Available"] * 3
