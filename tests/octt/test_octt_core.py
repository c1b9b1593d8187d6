"""Test cases of the Core profile, over a real WebSocket."""

from support.octt import Octt, case
from support.world import CARD


@case("TC_001_CS")
async def test_cold_boot(station: Octt) -> None:
    assert station.central.books.boots[0]["chargePointVendor"] == "Example"
    told = [one["connectorId"] for one in station.central.books.statuses]
    assert sorted(told) == [0, 1]
    assert station.status(0) == station.status(1) == "Available"


@case("TC_003_CS")
async def test_a_charge_plug_first(station: Octt) -> None:
    await station.plug()
    assert station.status() == "Preparing"

    await station.tap(CARD)
    await station.advance(60)

    assert station.status() == "Charging"
    assert station.transactions[0].id_tag == CARD

    await station.tap(CARD)
    await station.until(lambda: station.status() == "Finishing")
    assert station.transactions[0].reason == "Local"

    await station.unplug()
    await station.until(lambda: station.status() == "Available")
