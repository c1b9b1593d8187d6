"""Statuses as the central system is told them: which, in which order, and which are left out."""

import pytest
from support.story import configure, last_status, statuses, story
from support.world import CARD, OTHER_CARD, world

from cpctl.demo.csms import Silence
from hal.sim.car import CarKind
from hal.values import PilotState


@pytest.mark.octt("TC_001_CS")
@pytest.mark.requirement("16.BOOT.1", "16.BOOT.4", "16.STAT.1")
@pytest.mark.parametrize("evses", [1, 3])
@story
async def test_after_an_accepted_boot_each_connector_is_told_once_as_it_is(evses: int) -> None:
    async with world(evses=evses) as w:
        await w.advance(5)
        told = [(one["connectorId"], one["status"]) for one in w.central.books.statuses]
        assert told == [(number, "Available") for number in range(evses + 1)]
        boot, = w.calls("BootNotification")
        assert (boot["chargePointVendor"], boot["chargePointModel"]) == ("Example", "Post")


@pytest.mark.octt("TC_002_CS")
@pytest.mark.requirement("16.BOOT.3", "16.BOOT.4", "16.BOOT.9")
@story
async def test_a_pending_station_tells_no_status_until_it_is_accepted() -> None:
    async with world(start=False, evses=2) as w:
        w.central.heartbeat_s = 20
        w.central.registration.extend(["Pending", "Pending"])
        await w.start()
        await w.until(lambda: len(w.central.books.boots) == 3, 100)
        await w.advance(5)
        told = [(one["connectorId"], one["status"]) for one in w.central.books.statuses]
        assert told == [(0, "Available"), (1, "Available"), (2, "Available")]


@pytest.mark.requirement("16.STAT.1", "16.STAT.2", "16.STAT.3")
@story
async def test_a_card_leads_from_preparing_to_charging_without_a_suspension_by_us() -> None:
    async with world() as w:
        await w.plug()
        await w.tap(CARD)
        await w.advance(20)
        assert statuses(w) == ["Available", "Preparing", "SuspendedEV", "Charging"]


@pytest.mark.requirement("16.BOOT.4", "16.BOOT.13", "16.OFF.2")
@story
async def test_statuses_are_told_before_the_queue_of_a_boot_offline() -> None:
    async with world() as w:
        await w.charge(90)
        w.network.down()
        await w.unplug()
        await w.die(power=True)
        before = len(w.central.frames)
        w.network.up = True
        await w.start()
        await w.delivered()
        actions = [frame.parts[2] for frame in w.central.frames[before:]
                   if not frame.sent and frame.text.startswith("[2,")]
        assert actions[0] == "BootNotification"
        assert actions[1:3] == ["StatusNotification"] * 2
        assert "StopTransaction" in actions[3:]


@pytest.mark.requirement("16.STAT.3")
@story
async def test_a_car_that_does_not_ask_is_told_as_suspended_ev() -> None:
    async with world() as w:
        await w.plug(kind=CarKind(start_delay_s=60))
        await w.tap(CARD)
        await w.advance(20)
        assert w.status() == "SuspendedEV"
        await w.advance(60)
        assert w.status() == "Charging"
        w.board.pilot(1, PilotState.B)
        await w.advance(2)
        assert w.status() == "SuspendedEV"
        assert not w.coil()
        w.board.pilot(1, PilotState.C)
        await w.advance(2)
        assert w.status() == "Charging"
        assert w.coil()
        assert len(w.transactions) == 1
        assert "SuspendedEVSE" not in statuses(w)


@pytest.mark.requirement("16.STAT.2", "16.STAT.3")
@story
async def test_an_evse_without_a_share_of_the_current_is_told_as_suspended_evse() -> None:
    async with world(evses=2, more="[limits]\nstation_max_current_a = 10\n") as w:
        await w.charge(20, evse=1)
        await w.plug(2)
        await w.tap(OTHER_CARD)
        await w.advance(20)
        assert (w.status(1), w.status(2)) == ("Charging", "SuspendedEVSE")
        await w.tap(CARD)
        await w.advance(30)
        assert (w.status(1), w.status(2)) == ("Finishing", "Charging")


@pytest.mark.requirement("16.STAT.5")
@story
async def test_a_status_shorter_than_the_minimum_duration_is_not_told() -> None:
    async with world() as w:
        await configure(w, MinimumStatusDuration=10)
        before = len(w.central.books.statuses)
        await w.plug()
        await w.tap(CARD)
        await w.advance(30)
        assert statuses(w, since=before) == ["Charging"]
        w.board.pilot(1, PilotState.B)
        await w.advance(4)
        w.board.pilot(1, PilotState.C)
        await w.advance(30)
        assert statuses(w, since=before) == ["Charging"]
        w.board.pilot(1, PilotState.B)
        await w.advance(9)
        assert statuses(w, since=before) == ["Charging"]
        await w.advance(3)
        assert statuses(w, since=before) == ["Charging", "SuspendedEV"]


@pytest.mark.requirement("16.STAT.7")
@story
async def test_a_status_bears_the_time_of_the_change_not_of_the_telling() -> None:
    async with world() as w:
        await configure(w, MinimumStatusDuration=30)
        changed = w.time.true_wall()
        await w.plug()
        await w.until(lambda: w.status() == "Preparing", 60)
        told = last_status(w)["timestamp"]
        assert told[:19] == changed.strftime("%Y-%m-%dT%H:%M:%S")


@pytest.mark.requirement("16.STAT.6")
@story
async def test_what_came_and_went_offline_is_not_told_afterwards() -> None:
    async with world(evses=2) as w:
        before = len(w.central.books.statuses)
        w.network.down()
        await w.plug(1)
        await w.advance(5)
        await w.unplug(1)
        await w.plug(2)
        await w.advance(30)
        w.network.up = True
        await w.until(lambda: w.status(2) == "Preparing", 120)
        await w.advance(10)
        told = w.central.books.statuses[before:]
        assert [(one["connectorId"], one["status"]) for one in told] == [(2, "Preparing")]


@pytest.mark.requirement("16.TX.2")
@story
async def test_a_plug_that_nobody_claims_becomes_finishing_and_a_card_still_starts() -> None:
    async with world() as w:
        await configure(w, ConnectionTimeOut=20)
        await w.plug()
        await w.advance(18)
        assert w.status() == "Preparing"
        await w.advance(4)
        assert w.status() == "Finishing"
        await w.tap(CARD)
        await w.advance(5)
        assert w.status() == "Charging"
        assert statuses(w)[-4:] == ["Finishing", "Preparing", "SuspendedEV", "Charging"]


@pytest.mark.requirement("16.TX.15", "16.TX.1")
@story
async def test_a_second_session_on_the_same_plug_goes_from_finishing_to_preparing() -> None:
    async with world() as w:
        await w.charge(20)
        await w.tap(CARD)
        await w.advance(10)
        assert w.status() == "Finishing"
        await w.tap(OTHER_CARD)
        await w.advance(20)
        await w.unplug()
        await w.delivered()
        assert statuses(w) == ["Available", "Preparing", "SuspendedEV", "Charging", "Finishing",
                               "Preparing", "SuspendedEV", "Charging", "Finishing", "Available"]
        assert [one.id_tag for one in w.transactions] == [CARD, OTHER_CARD]
        await w.assert_books_agree()


@pytest.mark.requirement("16.TX.15", "16.STAT.1")
@pytest.mark.parametrize("end", ["tap", "remote", "unlock", "unplug", "pause_and_tap"])
@story
async def test_every_ending_goes_straight_to_finishing_and_available(end: str) -> None:
    async with world() as w:
        await w.charge(20)
        if end == "pause_and_tap":
            w.board.pilot(1, PilotState.B)
            await w.advance(5)
        if end in ("tap", "pause_and_tap"):
            await w.tap(CARD)
        elif end == "remote":
            await w.central.call("RemoteStopTransaction", {"transactionId": 1})
        elif end == "unlock":
            await w.central.call("UnlockConnector", {"connectorId": 1})
        await w.advance(8)
        await w.unplug()
        await w.delivered()
        paused = ["SuspendedEV"] if end == "pause_and_tap" else []
        assert statuses(w) == ["Available", "Preparing", "SuspendedEV", "Charging", *paused,
                               "Finishing", "Available"]


@pytest.mark.requirement("16.BOOT.11")
@story
async def test_heartbeats_come_only_after_silence() -> None:
    async with world() as w:
        await configure(w, HeartbeatInterval=50)
        await w.advance(49)
        assert w.central.books.heartbeats == 0
        await w.advance(2)
        assert w.central.books.heartbeats == 1
        await configure(w, MeterValueSampleInterval=30)
        await w.charge(40)
        before = w.central.books.heartbeats
        await w.advance(300)
        assert w.central.books.heartbeats == before


@pytest.mark.requirement("16.BOOT.4", "16.BOOT.11", "16.CONF.5")
@story
async def test_the_interval_of_the_boot_answer_is_the_heartbeat_interval() -> None:
    async with world(start=False) as w:
        w.central.heartbeat_s = 45
        await w.start()
        await w.until(lambda: w.central.books.heartbeats == 2, 100)
        answer = await w.central.call("GetConfiguration", {"key": ["heartbeatinterval"]})
        assert answer["configurationKey"] == [
            {"key": "HeartbeatInterval", "readonly": False, "value": "45"}]


@pytest.mark.requirement("16.BOOT.12")
@story
async def test_a_clock_that_is_wrong_is_set_by_the_boot_answer() -> None:
    async with world(start=False) as w:
        w.time.disciplined = False
        w.time.wall_error_s = -86_400.0 * 365
        await w.start()
        await w.until(lambda: w.status() == "Available", 60)
        before = w.time.true_wall()
        await w.charge(10)
        started = w.transactions[0].started
        assert started[:16] in {before.strftime("%Y-%m-%dT%H:%M"),
                                w.time.true_wall().strftime("%Y-%m-%dT%H:%M")}


@pytest.mark.requirement("16.BOOT.3")
@story
async def test_nothing_but_the_boot_is_sent_until_it_is_answered() -> None:
    async with world(start=False) as w:
        w.central.behave("BootNotification", Silence())
        await w.start()
        await w.plug()
        await w.advance(20)
        actions = {frame.parts[2] for frame in w.central.frames if not frame.sent}
        assert actions == {"BootNotification"}
        await w.until(lambda: w.status() == "Preparing", 200)
