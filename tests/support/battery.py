"""What every driver of a kind must do, whatever the device: one class of rules per contract.

A test module subclasses the rules and gives the fixture `bench`: a driver and the hands of the
world behind it. See tests/hal/test_conformance.py.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import pytest
from support.aio import run

from hal.contracts import (
    CardReader,
    Contactor,
    ControlPilot,
    EnergyMeter,
    Indicator,
    Inputs,
    PlugLock,
)
from hal.errors import DeviceGone, HalError
from hal.values import NO_OFFER, CardUid, Offer, OfferKind, PilotReading, PilotState


class ContactorBench(Protocol):
    contactor: Contactor

    def coil(self) -> bool:
        """What the world sees."""
        ...

    def pass_time(self, seconds: float) -> None:
        """Time goes by on the clock of the leases, the dead-man awake."""
        ...

    def lose(self) -> None: ...

    def restore(self) -> None: ...


class ContactorRules:
    """The lease, and that off is the resting state."""

    def test_it_rests_open(self, bench: ContactorBench) -> None:
        run(bench.contactor.prepare())

        assert not bench.coil()

    def test_closing_and_opening_move_the_coil(self, bench: ContactorBench) -> None:
        bench.contactor.close(lease_s=2.0)
        closed = bench.coil()
        bench.contactor.open()

        assert closed
        assert not bench.coil()

    def test_opening_an_open_one_is_harmless(self, bench: ContactorBench) -> None:
        bench.contactor.open()
        bench.contactor.open()

        assert not bench.coil()

    def test_the_lease_lapses_by_itself(self, bench: ContactorBench) -> None:
        bench.contactor.close(lease_s=2.0)

        bench.pass_time(2.5)

        assert not bench.coil()
        assert not bench.contactor.renew(lease_s=2.0)
        assert not bench.coil()

    def test_a_renewed_lease_holds(self, bench: ContactorBench) -> None:
        bench.contactor.close(lease_s=2.0)

        for _ in range(6):
            bench.pass_time(1.0)
            assert bench.contactor.renew(lease_s=2.0)

        assert bench.coil()

    def test_renewing_never_energises(self, bench: ContactorBench) -> None:
        assert not bench.contactor.renew(lease_s=2.0)
        assert not bench.coil()

    def test_it_closes_again_after_a_lapse(self, bench: ContactorBench) -> None:
        bench.contactor.close(lease_s=2.0)
        bench.pass_time(2.5)

        bench.contactor.close(lease_s=2.0)

        assert bench.coil()

    def test_feedback_follows_where_it_is_fitted(self, bench: ContactorBench) -> None:
        resting = bench.contactor.feedback()
        bench.contactor.close(lease_s=2.0)
        closed = bench.contactor.feedback()
        bench.contactor.open()

        assert (resting, closed, bench.contactor.feedback()) in (
            (False, True, False), (None, None, None))

    def test_a_lost_output_cannot_be_closed_and_leaves_no_lease(
            self, bench: ContactorBench) -> None:
        bench.lose()

        with pytest.raises(HalError):
            bench.contactor.close(lease_s=2.0)
        bench.restore()
        bench.pass_time(1.0)

        assert not bench.coil()
        assert not bench.contactor.renew(lease_s=2.0)

    def test_an_output_lost_while_closed_is_opened_as_soon_as_it_is_back(
            self, bench: ContactorBench) -> None:
        bench.contactor.close(lease_s=2.0)
        bench.lose()
        with pytest.raises(HalError):
            bench.contactor.open()

        bench.restore()
        bench.pass_time(1.0)

        assert not bench.coil()

    def test_finishing_opens(self, bench: ContactorBench) -> None:
        bench.contactor.close(lease_s=2.0)

        run(bench.contactor.finish())

        assert not bench.coil()


class ReaderBench(Protocol):
    reader: CardReader

    def hold(self, uid_text: str) -> None:
        """A card comes to the reader and goes away again."""
        ...

    def lose(self) -> None: ...

    def restore(self) -> None: ...


class ReaderRules:
    def test_each_card_is_told_once_and_in_order(self, bench: ReaderBench) -> None:
        async def story() -> list[CardUid]:
            await bench.reader.open()
            cards = bench.reader.cards()
            bench.hold("04A1B2C3")
            bench.hold("04D4E5F6")
            seen = [await _next(cards), await _next(cards)]
            await bench.reader.close()
            return seen

        assert [card.text for card in run(story())] == ["04A1B2C3", "04D4E5F6"]

    def test_a_loss_ends_the_cards_with_device_gone(self, bench: ReaderBench) -> None:
        async def story() -> None:
            await bench.reader.open()
            cards = bench.reader.cards()
            bench.lose()
            try:
                await _next(cards)
            finally:
                await bench.reader.close()

        with pytest.raises(DeviceGone, match=r"reader"):
            run(story())

    def test_it_cannot_be_opened_while_lost_and_works_again_afterwards(
            self, bench: ReaderBench) -> None:
        async def story() -> CardUid:
            bench.lose()
            with pytest.raises(DeviceGone):
                await bench.reader.open()
            await bench.reader.close()
            bench.restore()
            await bench.reader.open()
            bench.hold("04A1B2C3")
            card = await _next(bench.reader.cards())
            await bench.reader.close()
            return card

        assert run(story()).text == "04A1B2C3"

    def test_closing_is_harmless_when_never_opened_or_twice(self, bench: ReaderBench) -> None:
        async def story() -> None:
            await bench.reader.close()
            await bench.reader.open()
            await bench.reader.close()
            await bench.reader.close()

        run(story())


async def _next(cards: AsyncIterator[CardUid]) -> CardUid:
    async with asyncio.timeout(20.0):
        return await anext(cards)


class PilotBench(Protocol):
    pilot: ControlPilot

    def put(self, state: PilotState) -> None:
        """The car (or a fault) puts `state` on the pilot."""
        ...

    def offered(self) -> Offer: ...

    def lose(self) -> None: ...

    def restore(self) -> None: ...


class PilotRules:
    @pytest.mark.parametrize("state", list(PilotState))
    def test_it_tells_the_state_of_the_pilot(self, bench: PilotBench, state: PilotState) -> None:
        bench.put(state)

        assert run(bench.pilot.read()).state is state

    @pytest.mark.parametrize("offer", [
        Offer(OfferKind.CURRENT, 6.0), Offer(OfferKind.CURRENT, 32.0), NO_OFFER])
    def test_an_offer_is_on_the_pilot_when_the_call_returns(
            self, bench: PilotBench, offer: Offer) -> None:
        async def story() -> PilotReading:
            await bench.pilot.offer(offer)
            return await bench.pilot.read()

        reading = run(story())

        assert bench.offered() == offer
        assert reading.offered_a in (None, offer.current_a)

    def test_who_pushes_tells_each_change_once(self, bench: PilotBench) -> None:
        if not bench.pilot.pushes:
            pytest.skip("this driver is polled")
        heard: list[PilotState | None] = []
        bench.pilot.listen(lambda reading: heard.append(reading.state))

        for state in (PilotState.B, PilotState.C, PilotState.C, PilotState.B, PilotState.A):
            bench.put(state)

        assert heard == [PilotState.B, PilotState.C, PilotState.B, PilotState.A]

    def test_a_lost_board_answers_nothing_and_then_again(self, bench: PilotBench) -> None:
        bench.lose()
        with pytest.raises(HalError):
            run(bench.pilot.read())
        with pytest.raises(HalError):
            run(bench.pilot.offer(Offer(OfferKind.CURRENT, 16.0)))

        bench.restore()

        assert run(bench.pilot.read()).state is PilotState.A


class LockBench(Protocol):
    lock: PlugLock

    def locked(self) -> bool: ...

    def jam(self) -> None: ...

    def lose(self) -> None: ...


class LockRules:
    def test_it_moves_as_ordered_and_says_so(self, bench: LockBench) -> None:
        async def story() -> tuple[bool | None, bool, bool | None, bool]:
            shut = await bench.lock.lock()
            was = bench.locked()
            return shut, was, await bench.lock.unlock(), bench.locked()

        shut, was_locked, opened, is_locked = run(story())

        assert (was_locked, is_locked) == (True, False)
        assert (shut, opened) in ((True, True), (None, None))

    def test_a_jammed_bolt_is_told_and_not_forced(self, bench: LockBench) -> None:
        bench.jam()

        assert run(bench.lock.lock()) is False
        assert not bench.locked()

    def test_moving_where_it_is_already_is_harmless(self, bench: LockBench) -> None:
        assert run(bench.lock.unlock()) in (True, None)
        assert not bench.locked()

    def test_a_lost_lock_raises(self, bench: LockBench) -> None:
        bench.lose()

        with pytest.raises(HalError):
            run(bench.lock.lock())


class InputBench(Protocol):
    input: Inputs

    def trip(self) -> None: ...

    def mend(self) -> None: ...

    def lose(self) -> None: ...


class InputRules:
    def test_it_is_good_until_it_trips_and_after_it_is_mended(self, bench: InputBench) -> None:
        async def story() -> tuple[bool, bool, bool]:
            await bench.input.open()
            first = await bench.input.good()
            bench.trip()
            tripped = await bench.input.good()
            bench.mend()
            return first, tripped, await bench.input.good()

        assert run(story()) == (True, False, True)

    def test_who_pushes_tells_each_change_once(self, bench: InputBench) -> None:
        if not bench.input.pushes:
            pytest.skip("this driver is polled")
        heard: list[bool] = []
        bench.input.listen(heard.append)

        for move in (bench.trip, bench.trip, bench.mend, bench.mend, bench.trip):
            move()

        assert heard == [False, True, False]

    def test_a_lost_input_raises_and_never_reads_good(self, bench: InputBench) -> None:
        bench.lose()

        with pytest.raises(HalError):
            run(bench.input.good())


class MeterBench(Protocol):
    meter: EnergyMeter

    def show(self, register_wh: int) -> int | None:
        """The register stands at this, or at what is told: the nearest that its coding can."""
        ...

    def lose(self) -> None: ...

    def restore(self) -> None: ...


class MeterRules:
    @pytest.mark.parametrize("register_wh", [0, 1, 14_320, 16_777_216])
    def test_the_register_is_told_as_it_stands(self, bench: MeterBench, register_wh: int) -> None:
        told_wh = bench.show(register_wh)

        reading = run(bench.meter.read())

        assert reading.energy_import_wh == (register_wh if told_wh is None else told_wh)
        assert type(reading.energy_import_wh) is int

    def test_a_silent_meter_raises(self, bench: MeterBench) -> None:
        bench.lose()

        with pytest.raises(HalError):
            run(bench.meter.read())

    def test_a_meter_that_was_lost_is_read_again_when_it_is_back(self, bench: MeterBench) -> None:
        told_wh = bench.show(14_300)
        bench.lose()
        with pytest.raises(HalError):
            run(bench.meter.read())

        bench.restore()

        assert run(bench.meter.read()).energy_import_wh == (told_wh or 14_300)


class IndicatorBench(Protocol):
    indicator: Indicator
    shown: Callable[[], str]


class IndicatorRules:
    @pytest.mark.parametrize("pattern", [
        "off", "available", "preparing", "charging", "suspended", "finishing", "reserved",
        "unavailable", "fault", "card_accepted", "card_refused"])
    def test_it_shows_every_pattern(self, bench: IndicatorBench, pattern: str) -> None:
        run(bench.indicator.show(pattern))

        assert bench.shown() == pattern
