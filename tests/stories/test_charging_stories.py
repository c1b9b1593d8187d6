"""One charge from plug to unplug, as the board, the books and the wire see it."""

import pytest
from support import virtual_loop
from support.world import CARD, OTHER_CARD, world


@pytest.mark.requirement("16.TX.1", "16.TX.10", "16.TX.15", "16.AUTH.1", "16.AUTH.2")
@pytest.mark.octt("TC_003_CS")
def test_plug_first_then_card_charges_and_the_same_card_ends_it() -> None:
    async def story() -> None:
        async with world() as w:
            await w.plug()
            assert w.status() == "Preparing"
            await w.tap(CARD)
            await w.advance(3600)
            assert w.status() == "Charging"
            assert w.coil()
            await w.tap(CARD)
            await w.advance(5)
            assert not w.coil()
            assert w.status() == "Finishing"
            await w.unplug()
            await w.delivered()

            assert w.status() == "Available"
            one, = w.transactions
            assert (one.id_tag, one.reason, one.stop_id_tag) == (CARD, "Local", CARD)
            assert one.meter_stop == w.register_wh()
            assert len(one.samples) == 60
            assert w.calls("Authorize") == [{"idTag": CARD}]
            await w.assert_books_agree()

    virtual_loop.run(story())


@pytest.mark.octt("TC_004_1_CS")
def test_card_first_then_plug_charges() -> None:
    async def story() -> None:
        async with world() as w:
            await w.tap(CARD)
            assert w.status() == "Preparing"
            await w.plug()
            await w.advance(600)
            assert w.status() == "Charging"
            await w.unplug()
            await w.delivered()

            one, = w.transactions
            assert one.reason == "EVDisconnected"
            assert w.status() == "Available"
            await w.assert_books_agree()

    virtual_loop.run(story())


@pytest.mark.octt("TC_004_2_CS")
@pytest.mark.requirement("16.TX.2")
def test_card_without_a_plug_is_dropped_after_the_connection_timeout() -> None:
    async def story() -> None:
        async with world() as w:
            await w.tap(CARD)
            await w.advance(30)
            assert w.status() == "Preparing"
            await w.advance(40)
            assert w.status() == "Available"
            assert w.transactions == []

    virtual_loop.run(story())


@pytest.mark.octt("TC_023_CS")
@pytest.mark.requirement("16.AUTH.6")
def test_a_refused_card_starts_nothing() -> None:
    async def story() -> None:
        async with world() as w:
            w.central.known = {OTHER_CARD}
            await w.plug()
            await w.tap(CARD)
            await w.advance(30)
            assert not w.coil()
            assert w.transactions == []
            await w.tap(OTHER_CARD)
            await w.advance(30)
            assert w.coil()

    virtual_loop.run(story())
