"""Test cases of the SmartCharging profile, over a real WebSocket."""

import pytest
from support.charging import composite, offered_a, on_the_wire, set_profile, told_course, utc_at
from support.octt import Octt, case
from support.story import FIXED_CABLE
from support.trace import Trace
from support.world import CARD

requirement = pytest.mark.requirement


async def charging(station: Octt) -> int:
    """A transaction in the midst of charging; its id."""
    await station.charge(10)
    await station.until(lambda: station.status() == "Charging")
    return station.transactions[-1].number


@case("TC_056_CS")
@requirement("16.SC.2", "SetChargingProfile.conf:Accepted", "GetCompositeSchedule.conf:Accepted")
async def test_a_default_profile_holds_for_the_next_transaction(station: Octt) -> None:
    plan = on_the_wire(1, (0, 6.0), phases=3, duration=86_400, start=utc_at(station),
                       validFrom=utc_at(station), validTo=utc_at(station, 86_400))
    assert await set_profile(station, 1, plan) == "Accepted"

    await charging(station)

    assert offered_a(station) == 6.0
    assert told_course(await composite(station, 1, 300)) == [(0, 6.0)]


@case("TC_057_CS")
@requirement("16.SC.4", "SetChargingProfile.conf:Accepted")
async def test_a_profile_for_the_running_transaction(station: Octt) -> None:
    number = await charging(station)
    assert offered_a(station) == 32.0

    plan = on_the_wire(1, (0, 8.0), (60, 10.0), purpose="TxProfile", transactionId=number,
                       start=utc_at(station), duration=300)
    assert await set_profile(station, 1, plan) == "Accepted"

    await station.advance(1)
    assert offered_a(station) == 8.0
    await station.advance(60)
    assert offered_a(station) == 10.0
    assert station.status() == "Charging"


@case("TC_058_1_CS")
@requirement("16.SC.4", "SetChargingProfile.conf:Rejected")
async def test_a_profile_for_a_transaction_without_one_is_rejected(station: Octt) -> None:
    plan = on_the_wire(1, purpose="TxProfile", start=utc_at(station))

    assert await set_profile(station, 1, plan) == "Rejected"
    assert await set_profile(station, 1, {**plan, "transactionId": 1}) == "Rejected"


@case("TC_058_2_CS")
@requirement("16.SC.4", "SetChargingProfile.conf:Rejected")
async def test_a_profile_for_another_transaction_is_rejected(station: Octt) -> None:
    number = await charging(station)
    plan = on_the_wire(1, (0, 8.0), purpose="TxProfile", transactionId=number + 1,
                       start=utc_at(station))

    assert await set_profile(station, 1, plan) == "Rejected"

    await station.advance(2)
    assert offered_a(station) == 32.0
    assert station.status() == "Charging"


@case("TC_059_CS")
@requirement("16.RSTART.5", "RemoteStartTransaction.conf:Accepted")
async def test_a_remote_start_with_a_charging_profile(station: Octt) -> None:
    await station.advance(10)  # cars have followed what the last life may have offered
    trace = Trace(station)
    plan = on_the_wire(1, (0, 6.0), (60, 12.0), purpose="TxProfile", kind="Relative")
    answer = await station.central.call("RemoteStartTransaction", {
        "idTag": CARD, "connectorId": 1, "chargingProfile": plan})
    assert answer == {"status": "Accepted"}

    await station.plug()
    await station.advance(20)

    assert trace.story() == ["Preparing", "StartTransaction", "SuspendedEV", "Charging"]
    assert offered_a(station) == 6.0
    await station.advance(60)
    assert offered_a(station) == 12.0
    number = station.transactions[-1].number
    again = on_the_wire(2, (0, 9.0), purpose="TxProfile", kind="Relative", transactionId=number)
    assert await set_profile(station, 1, again) == "Accepted"
    await station.advance(1)
    assert offered_a(station) == 9.0


@case("TC_060_CS")
@requirement("16.RSTART.5", "RemoteStartTransaction.conf:Rejected")
async def test_a_remote_start_with_a_profile_of_another_purpose_is_rejected(station: Octt) -> None:
    await station.plug()
    plan = on_the_wire(1, start=utc_at(station))

    for purpose in ("TxDefaultProfile", "ChargePointMaxProfile"):
        answer = await station.central.call("RemoteStartTransaction", {
            "idTag": CARD, "connectorId": 1,
            "chargingProfile": {**plan, "chargingProfilePurpose": purpose}})
        assert answer == {"status": "Rejected"}

    named = {**plan, "chargingProfilePurpose": "TxProfile", "transactionId": 3}
    answer = await station.central.call("RemoteStartTransaction", {
        "idTag": CARD, "connectorId": 1, "chargingProfile": named})
    assert answer == {"status": "Rejected"}
    await station.advance(10)
    assert station.transactions == []


@case("TC_066_CS", evses=2)
@requirement("16.SC.21", "16.SC.22", "16.SC.23", "16.SC.24", "GetCompositeSchedule.conf:Accepted",
             "GetCompositeSchedule.conf:Rejected")
async def test_the_composite_schedule_is_told(station: Octt) -> None:
    plan = on_the_wire(1, (0, 10.0), (60, 12.0), (120, 14.0), start=utc_at(station), duration=180)
    most = on_the_wire(2, (0, 20.0), (90, 11.0), purpose="ChargePointMaxProfile",
                       start=utc_at(station))
    assert await set_profile(station, 1, plan) == "Accepted"
    assert await set_profile(station, 0, most) == "Accepted"

    answer = await composite(station, 1, 240, chargingRateUnit="A")
    total = await composite(station, 0, 240, chargingRateUnit="W")

    assert set(answer) == {"status", "connectorId", "scheduleStart", "chargingSchedule"}
    assert (answer["connectorId"], answer["chargingSchedule"]["duration"]) == (1, 240)
    assert answer["chargingSchedule"]["chargingRateUnit"] == "A"
    assert "startSchedule" not in answer["chargingSchedule"]
    assert told_course(answer) == [(0, 10.0), (60, 12.0), (90, 11.0)]
    assert (total["connectorId"], told_course(total)) == (0, [(0, 13_800.0), (90, 7_590.0)])
    assert await composite(station, 3, 240) == {"status": "Rejected"}


@case("TC_067_CS")
@requirement("16.SC.20", "ClearChargingProfile.conf:Accepted", "ClearChargingProfile.conf:Unknown")
async def test_charging_profiles_are_cleared(station: Octt) -> None:
    for number, level in ((1, 0), (2, 1), (3, 2)):
        plan = on_the_wire(number, (0, 6.0 + number), level=level, start=utc_at(station))
        assert await set_profile(station, 1, plan) == "Accepted"

    async def clear(**fields: object) -> str:
        return str((await station.central.call("ClearChargingProfile", fields))["status"])

    assert told_course(await composite(station, 1, 60)) == [(0, 9.0)]
    assert await clear(id=3) == "Accepted"
    assert await clear(id=3) == "Unknown"
    assert told_course(await composite(station, 1, 60)) == [(0, 8.0)]
    assert await clear(connectorId=1, chargingProfilePurpose="TxDefaultProfile",
                       stackLevel=1) == "Accepted"
    assert await clear(connectorId=0, chargingProfilePurpose="TxDefaultProfile") == "Unknown"
    assert told_course(await composite(station, 1, 60)) == [(0, 7.0)]
    assert await clear() == "Accepted"
    assert await clear() == "Unknown"
    assert told_course(await composite(station, 1, 60)) == [(0, 32.0)]


@case("TC_072_CS")
@requirement("16.SC.3", "16.SC.8", "16.SC.22")
async def test_stacked_profiles_take_turns(station: Octt) -> None:
    number = await charging(station)
    low = on_the_wire(1, (0, 6.0), (100, 10.0), (200, 8.0), level=0, start=utc_at(station),
                      duration=350, purpose="TxProfile", transactionId=number)
    high = on_the_wire(2, (0, 7.0), (50, 9.0), level=1, start=utc_at(station), duration=150,
                       purpose="TxProfile", transactionId=number)
    assert await set_profile(station, 1, low) == "Accepted"
    assert await set_profile(station, 1, high) == "Accepted"

    answer = await composite(station, 1, 350)

    begin = answer["scheduleStart"]
    assert told_course(answer) == [(0, 7.0), (50, 9.0), (150, 10.0), (200, 8.0)], begin
    for seconds, limit in ((1, 7.0), (50, 9.0), (100, 10.0), (50, 8.0)):
        await station.advance(seconds)
        assert offered_a(station) == limit
    await station.advance(150)
    assert offered_a(station) == 32.0


@case("TC_082_CS", evse_more=FIXED_CABLE)
@requirement("16.SC.6", "SetChargingProfile.conf:Accepted")
async def test_a_default_profile_takes_hold_of_the_running_transaction(station: Octt) -> None:
    await charging(station)
    assert offered_a(station) == 32.0

    plan = on_the_wire(1, (0, 10.0), start=utc_at(station), duration=300)
    assert await set_profile(station, 1, plan) == "Accepted"
    await station.advance(1)
    assert offered_a(station) == 10.0

    await station.central.call("ClearChargingProfile", {"id": 1})
    await station.advance(10)
    assert offered_a(station) == 32.0
    assert station.status() == "Charging"
    assert len(station.transactions) == 1
