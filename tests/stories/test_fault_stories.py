"""Faults in mid-charge: coil off, books right, status right, and the way back."""

import pytest
from support.story import FIXED_CABLE, last_status, statuses, story
from support.world import CARD, World, world

#: fault of the board: error code told, reason of the stop
STOPPING = {
    "rcd": ("GroundFailure", "Other"),
    "ground": ("GroundFailure", "Other"),
    "emergency_stop": ("OtherError", "EmergencyStop"),
    "over_temperature": ("HighTemperature", "Other"),
    "door": ("OtherError", "Other"),
    "over_current": ("OverCurrentFailure", "Other"),
    "pilot_lost": ("InternalError", "Other"),
    "pilot_e": ("OtherError", "Other"),
    "pilot_f": ("InternalError", "Other"),
    "diode": ("OtherError", "Other"),
    "input_lost": ("GroundFailure", "Other"),  # an input without a word counts as tripped
    "other": ("OtherError", "Other"),
}


async def finished(w: World) -> None:
    await w.unplug()
    await w.delivered()
    await w.advance(5)


@pytest.mark.octt("TC_041_CS")
@pytest.mark.requirement("16.STAT.1", "16.STAT.4", "16.STAT.10", "16.TX.10")
@pytest.mark.parametrize("kind", sorted(STOPPING))
@story
async def test_a_fault_in_mid_charge_ends_it_and_is_told(kind: str) -> None:
    code, reason = STOPPING[kind]
    async with world() as w:
        await w.charge(40)
        w.board.fault(kind, 1)
        await w.advance(3)
        assert not w.coil()
        told = last_status(w)
        assert (told["status"], told["errorCode"]) == ("Faulted", code)
        await w.until(lambda: w.calls("StopTransaction"), 20)
        assert w.transactions[0].reason == reason
        await w.tap(CARD)
        await w.advance(5)
        assert not w.coil()

        w.board.clear(kind, 1)
        await w.advance(5)
        told = last_status(w)
        assert (told["status"], told["errorCode"]) == ("Finishing", "NoError")
        assert not w.coil()
        await finished(w)
        assert statuses(w) == ["Available", "Preparing", "SuspendedEV", "Charging", "Faulted",
                               "Finishing", "Available"]
        assert len(w.transactions) == 1
        await w.assert_books_agree()
        await w.charge(20)
        assert w.coil()


@pytest.mark.requirement("16.STAT.10")
@story
async def test_the_fault_is_told_before_the_stop() -> None:
    async with world() as w:
        await w.charge(40)
        before = len(w.central.frames)
        w.board.fault("rcd", 1)
        await w.advance(10)
        sent = [frame.parts[2:] for frame in w.central.frames[before:]
                if not frame.sent and frame.text.startswith("[2,")]
        names = [(action, payload.get("status", "")) for action, payload in sent]
        assert names.index(("StatusNotification", "Faulted")) < names.index(
            ("StopTransaction", ""))


@pytest.mark.requirement("16.STAT.10")
@pytest.mark.parametrize("kind", ["rcd", "emergency_stop", "pilot_lost"])
@story
async def test_a_fault_at_rest_is_told_and_goes(kind: str) -> None:
    async with world() as w:
        w.board.fault(kind, 1)
        await w.advance(3)
        assert w.status() == "Faulted"
        await w.charge(10)
        assert not w.coil()
        assert w.transactions == []
        w.board.clear(kind, 1)
        await w.advance(3)
        assert w.status() == "Preparing"
        await w.tap(CARD)
        await w.advance(10)
        assert w.coil()


@pytest.mark.requirement("16.STAT.9", "16.STAT.10")
@story
async def test_a_fault_of_one_evse_leaves_the_other_charging() -> None:
    async with world(evses=2) as w:
        await w.charge(10, evse=1)
        await w.plug(2)
        await w.tap("04CAFE00112233")
        await w.advance(10)
        w.board.fault("rcd", 1)
        await w.advance(10)
        assert (w.coil(1), w.coil(2)) == (False, True)
        assert (w.status(0), w.status(1), w.status(2)) == ("Available", "Faulted", "Charging")


@pytest.mark.requirement("16.STAT.4", "16.STAT.10", "16.TX.10")
@pytest.mark.parametrize("end", ["power_cut", "kill"])
@story
async def test_a_welded_contactor_is_faulted_for_ever(end: str) -> None:
    async with world() as w:
        await w.charge(40)
        w.board.weld(1)
        await w.tap(CARD)
        await w.advance(10)
        told = last_status(w)
        assert (told["status"], told["errorCode"]) == ("Faulted", "PowerSwitchFailure")
        assert w.board.look(1).pattern == "fault"
        await w.unplug()
        await w.delivered()
        one, = w.transactions
        assert one.reason == "Local"
        before = len(w.central.books.statuses)
        await (w.power_cut() if end == "power_cut" else w.kill())
        await w.until(lambda: len(w.central.books.boots) == 2, 60)
        await w.advance(5)
        assert statuses(w, 1, before) == ["Faulted"]
        assert last_status(w)["errorCode"] == "PowerSwitchFailure"
        w.board.clear("weld", 1)
        await w.charge(10)
        assert not w.coil()
        assert len(w.transactions) == 1


@pytest.mark.requirement("16.STAT.4", "16.TX.10")
@story
async def test_a_contactor_that_does_not_close_is_a_fault_without_energy() -> None:
    async with world() as w:
        w.board.fault("did_not_close", 1)
        await w.charge(20)
        told = last_status(w)
        assert (told["status"], told["errorCode"]) == ("Faulted", "PowerSwitchFailure")
        assert not w.coil()
        await w.delivered()
        assert w.transactions[0].energy_wh == 0
        w.board.clear("did_not_close", 1)
        await finished(w)
        assert w.status() == "Available"
        await w.charge(20)
        assert w.coil()


@pytest.mark.octt("TC_024_CS")
@pytest.mark.requirement("16.STAT.11")
@story
async def test_a_plug_that_cannot_be_locked_is_not_charged() -> None:
    async with world() as w:
        w.board.fault("lock_jammed", 1)
        await w.charge(40)
        assert not w.coil()
        told = last_status(w)
        assert (told["status"], told["errorCode"]) == ("Faulted", "ConnectorLockFailure")
        assert not any(m.what == "coil" and m.value for m in w.board.history)
        await w.delivered()
        assert all(one.energy_wh == 0 for one in w.transactions)
        w.board.clear("lock_jammed", 1)
        await finished(w)
        assert w.status() == "Available"
        await w.charge(20)
        assert w.coil()


@pytest.mark.requirement("16.STAT.4", "16.STAT.9")
@story
async def test_a_lost_reader_is_a_warning_and_charging_goes_on() -> None:
    async with world() as w:
        await w.charge(20)
        w.board.drop("reader")
        await w.advance(20)
        assert w.coil()
        told = last_status(w, 0)
        assert (told["status"], told["errorCode"]) == ("Available", "ReaderFailure")
        assert w.status(1) == "Charging"
        assert await w.central.call("RemoteStopTransaction", {"transactionId": 1}) == {
            "status": "Accepted"}
        w.board.restore("reader")
        await w.advance(60)
        assert last_status(w, 0)["errorCode"] == "NoError"
        await finished(w)
        await w.charge(10)
        assert w.coil()


@pytest.mark.requirement("16.STAT.10")
@story
async def test_a_fault_comes_and_goes_many_times_and_the_books_stay_right() -> None:
    async with world(evse_more=FIXED_CABLE) as w:
        for number in range(5):
            await w.charge(20)
            assert w.coil(), number
            w.board.fault("rcd", 1)
            await w.advance(2)
            w.board.clear("rcd", 1)
            await finished(w)
        assert len(w.transactions) == 5
        assert {one.reason for one in w.transactions} == {"Other"}
        await w.assert_books_agree()


@pytest.mark.requirement("16.STAT.10", "16.OFF.1")
@story
async def test_a_fault_offline_is_in_the_books_and_told_by_what_is_left_of_it() -> None:
    async with world() as w:
        await w.charge(40)
        w.network.down()
        w.board.fault("emergency_stop", 1)
        await w.advance(30)
        assert not w.coil()
        w.board.clear("emergency_stop", 1)
        await w.advance(5)
        w.network.up = True
        await w.delivered()
        await w.advance(5)
        assert w.transactions[0].reason == "EmergencyStop"
        assert "Faulted" not in statuses(w)
        assert w.status() == "Finishing"
        await w.assert_books_agree()


@pytest.mark.requirement("16.STAT.10")
@story
async def test_a_fault_while_waiting_for_the_plug_lets_the_authorization_run_out() -> None:
    async with world() as w:
        await w.tap(CARD)
        w.board.fault("rcd", 1)
        await w.advance(3)
        assert w.status() == "Faulted"
        await w.advance(70)
        w.board.clear("rcd", 1)
        await w.advance(3)
        assert w.status() == "Available"
        await w.plug()
        await w.advance(10)
        assert not w.coil()
