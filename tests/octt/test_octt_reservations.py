"""Test cases of the Reservation profile, over a real WebSocket."""

from datetime import timedelta
from typing import Any

import pytest
from support.octt import Octt, case
from support.story import configure, statuses
from support.world import CARD, OTHER_CARD

ACCEPTED, REJECTED = {"status": "Accepted"}, {"status": "Rejected"}
FAMILY = "FAMILY"
requirement = pytest.mark.requirement


async def reserve(station: Octt, number: int = 1, connector: int = 1, *, tag: str = CARD,
                  parent: str | None = None, minutes: float = 30) -> str:
    payload: dict[str, Any] = {
        "connectorId": connector, "idTag": tag, "reservationId": number,
        "expiryDate": (station.time.true_wall() + timedelta(minutes=minutes)).isoformat()}
    if parent is not None:
        payload["parentIdTag"] = parent
    return str((await station.central.call("ReserveNow", payload))["status"])


async def reserved(station: Octt, **how: Any) -> None:
    """An accepted reservation of connector 1, told as such."""
    assert await reserve(station, **how) == "Accepted"
    await station.until(lambda: station.status() == "Reserved")


async def used_up(station: Octt, number: int = 1) -> None:
    """A transaction began and named the reservation."""
    await station.until(lambda: station.status() == "Charging")
    assert station.calls("StartTransaction")[-1]["reservationId"] == number
    assert await station.central.call("CancelReservation", {"reservationId": number}) == REJECTED


# --- one connector -------------------------------------------------------------------------------


@case("TC_046_1_CS")
@requirement("16.RES.1", "16.RES.4", "16.RES.9", "ReserveNow.conf:Accepted",
             "StatusNotification.req:Reserved")
async def test_the_reserving_card_starts_on_its_connector(station: Octt) -> None:
    await reserved(station)

    await station.tap(CARD)
    await station.until(lambda: station.status() == "Preparing")
    await station.plug()
    await used_up(station)

    assert station.calls("Authorize") == [{"idTag": CARD}]
    told = statuses(station)
    assert told[told.index("Reserved"):][:2] == ["Reserved", "Preparing"]


@case("TC_046_2_CS")
@requirement("16.RES.3", "16.RES.4", "16.RSTART.2")
async def test_a_remote_start_of_the_reserving_id_is_accepted_and_of_another_is_not(
        station: Octt) -> None:
    await reserved(station)

    assert await station.central.call("RemoteStartTransaction", {
        "idTag": OTHER_CARD, "connectorId": 1}) == REJECTED
    assert await station.central.call("RemoteStartTransaction", {
        "idTag": CARD, "connectorId": 1}) == ACCEPTED
    await station.until(lambda: station.status() == "Preparing")
    await station.plug()
    await used_up(station)


@case("TC_047_CS")
@requirement("16.RES.4", "StatusNotification.req:Reserved")
async def test_a_reservation_expires(station: Octt) -> None:
    await reserved(station, minutes=2)

    await station.advance(119)
    assert station.status() == "Reserved"
    await station.until(lambda: station.status() == "Available", 10)

    await station.charge(20, token=OTHER_CARD)
    assert station.status() == "Charging"
    assert "reservationId" not in station.calls("StartTransaction")[0]


@case("TC_048_1_CS")
@requirement("16.RES.1", "ReserveNow.conf:Faulted")
async def test_a_faulted_connector_cannot_be_reserved(station: Octt) -> None:
    station.board.fault("rcd", 1)
    await station.until(lambda: station.status() == "Faulted")

    assert await reserve(station) == "Faulted"


@case("TC_048_2_CS")
@requirement("16.RES.1", "ReserveNow.conf:Occupied")
async def test_a_connector_in_use_cannot_be_reserved(station: Octt) -> None:
    await station.plug()
    assert station.status() == "Preparing"
    assert await reserve(station) == "Occupied"

    await station.tap(OTHER_CARD)
    await station.until(lambda: station.status() == "Charging")
    assert await reserve(station) == "Occupied"

    await station.tap(OTHER_CARD)
    await station.until(lambda: station.status() == "Finishing")
    assert await reserve(station) == "Occupied"
    await station.unplug()
    await station.until(lambda: station.status() == "Available")
    await reserved(station)
    assert await reserve(station, number=2) == "Occupied"


@case("TC_048_3_CS")
@requirement("16.RES.1", "ReserveNow.conf:Unavailable")
async def test_an_unavailable_connector_cannot_be_reserved(station: Octt) -> None:
    assert await station.central.call("ChangeAvailability", {
        "connectorId": 1, "type": "Inoperative"}) == ACCEPTED
    await station.until(lambda: station.status() == "Unavailable")

    assert await reserve(station) == "Unavailable"


@case("TC_048_4_CS", more="[options]\nreservation.enabled = false")
@requirement("16.RES.1", "ReserveNow.conf:Rejected")
async def test_a_station_that_takes_no_reservations_rejects(station: Octt) -> None:
    assert await reserve(station) == "Rejected"
    assert station.status() == "Available"


# --- any connector -------------------------------------------------------------------------------


@case("TC_049_CS", evses=2)
@requirement("16.RES.2", "E-21", "key:ReserveConnectorZeroSupported")
async def test_a_reservation_of_any_connector_is_used_on_one(station: Octt) -> None:
    assert await reserve(station, connector=0) == "Accepted"
    await station.advance(5)
    assert [station.status(one) for one in (1, 2)] == ["Available", "Available"]

    await station.plug(1)
    await station.tap(CARD)
    await used_up(station)

    await station.advance(5)
    assert station.status(2) == "Available"


@case("TC_050_1_CS", evses=2)
@requirement("16.RES.2", "ReserveNow.conf:Faulted")
async def test_a_faulted_station_cannot_be_reserved(station: Octt) -> None:
    station.board.fault("rcd", 1)
    station.board.fault("rcd", 2)
    await station.until(lambda: station.status(1) == station.status(2) == "Faulted")

    assert await reserve(station, connector=0) == "Faulted"


@case("TC_050_2_CS", evses=2)
@requirement("16.RES.2", "ReserveNow.conf:Occupied")
async def test_a_station_with_all_connectors_in_use_cannot_be_reserved(station: Octt) -> None:
    await station.charge(10, evse=1, token=CARD)
    await station.charge(10, evse=2, token=OTHER_CARD)
    assert [station.status(one) for one in (1, 2)] == ["Charging", "Charging"]

    assert await reserve(station, connector=0, tag="GUEST") == "Occupied"


@case("TC_050_3_CS", evses=2)
@requirement("16.RES.2", "ReserveNow.conf:Unavailable")
async def test_an_unavailable_station_cannot_be_reserved(station: Octt) -> None:
    assert await station.central.call("ChangeAvailability", {
        "connectorId": 0, "type": "Inoperative"}) == ACCEPTED
    await station.until(lambda: station.status(0) == "Unavailable")

    assert await reserve(station, connector=0) == "Unavailable"


@case("TC_050_4_CS", evses=2, more="[options]\nreservation.any_evse = false")
@requirement("16.RES.2", "ReserveNow.conf:Rejected", "key:ReserveConnectorZeroSupported")
async def test_a_station_without_reservations_of_any_connector_rejects(station: Octt) -> None:
    assert await reserve(station, connector=0) == "Rejected"

    await reserved(station)


# --- cancelling ----------------------------------------------------------------------------------


@case("TC_051_CS")
@requirement("16.RES.5", "CancelReservation.conf:Accepted")
async def test_a_reservation_is_cancelled(station: Octt) -> None:
    await reserved(station, number=7)

    assert await station.central.call("CancelReservation", {"reservationId": 7}) == ACCEPTED

    await station.until(lambda: station.status() == "Available")
    await station.charge(20, token=OTHER_CARD)
    assert station.status() == "Charging"


@case("TC_052_CS")
@requirement("16.RES.5", "CancelReservation.conf:Rejected")
async def test_an_unknown_reservation_cannot_be_cancelled(station: Octt) -> None:
    await reserved(station, number=7)

    assert await station.central.call("CancelReservation", {"reservationId": 8}) == REJECTED

    assert station.status() == "Reserved"


# --- the parent ----------------------------------------------------------------------------------


@case("TC_053_1_CS")
@requirement("16.RES.3", "16.AUTH.4")
async def test_a_card_of_the_reserved_parent_starts(station: Octt) -> None:
    station.central.verdicts[OTHER_CARD] = {"status": "Accepted", "parentIdTag": FAMILY}
    await reserved(station, parent=FAMILY)

    await station.tap("STRANGER")
    await station.until(lambda: len(station.calls("Authorize")) == 1)
    await station.advance(5)
    assert station.status() == "Reserved"
    await station.tap(OTHER_CARD)
    await station.plug()
    await used_up(station)

    assert "Available" not in statuses(station)[statuses(station).index("Reserved"):]


@case("TC_053_2_CS")
@requirement("16.RES.3")
async def test_a_remote_start_of_an_id_of_the_reserved_parent_starts(station: Octt) -> None:
    await configure(station, AuthorizeRemoteTxRequests=True)
    station.central.verdicts[OTHER_CARD] = {"status": "Accepted", "parentIdTag": FAMILY}
    await reserved(station, parent=FAMILY)

    assert await station.central.call("RemoteStartTransaction", {
        "idTag": OTHER_CARD, "connectorId": 1}) == ACCEPTED
    await station.until(lambda: len(station.calls("Authorize")) == 1)
    await station.plug()
    await used_up(station)
