"""Gate, keeper and devices together around a pilot board that closes its contactor by itself."""

import asyncio
from collections.abc import Awaitable, Callable

from support import virtual_loop
from support.gate_bench import BoardPilot

from cpctl.core.events import (
    DeviceLost,
    EnergiseRefused,
    Event,
    InputChanged,
    OfferConfirmed,
    PilotChanged,
    PowerReleased,
)
from cpctl.core.values import EvseLayout
from cpctl.runtime.devices import Devices, Fitted
from cpctl.runtime.pilot_keeper import PilotKeeper
from cpctl.runtime.power_gate import PowerGate
from hal.contactors.board import Switch
from hal.contracts import EnergyMeter, Inputs, Parts
from hal.deadman import DeadMan
from hal.errors import DeviceGone
from hal.values import NO_OFFER, MeterReading, Offer, OfferKind, PilotReading, PilotState

A, B, C = PilotState.A, PilotState.B, PilotState.C
AMPS_16 = Offer(OfferKind.CURRENT, 16.0)


class Board(BoardPilot):
    """Watches an RCD and the earth; takes `takes_s` to put an offer on the pilot."""

    watches = ("rcd", "ground")

    def __init__(self, name: str, evse: int) -> None:
        super().__init__(name, evse)
        self.alarms: tuple[str, ...] = ()
        self.takes_s = 0.05
        self.read_s = 0.0

    async def read(self) -> PilotReading:
        await asyncio.sleep(self.read_s)
        if self.gone:
            raise DeviceGone("pilot 1: does not answer")
        return PilotReading(self.state, alarms=self.alarms)

    async def offer(self, offer: Offer) -> None:
        await asyncio.sleep(self.takes_s)
        if self.gone:
            raise DeviceGone("pilot 1: does not answer")
        self.offered = offer


class Meter(EnergyMeter):
    async def read(self) -> MeterReading:
        return MeterReading(1000)


class Wire(Inputs):
    state = True
    read_s = 0.0

    async def good(self) -> bool:
        await asyncio.sleep(self.read_s)
        return self.state


class World:
    def __init__(self, loop: virtual_loop.VirtualLoop, *, wired: tuple[str, ...]) -> None:
        self.loop = loop
        self.posted: list[Event] = []
        self.deadman = DeadMan(loop.monotonic_ns, thread=False)
        self.deadman.start()
        self.board = Board("pilot 1", 1)
        parts = Parts(deadman=self.deadman, pilots={1: self.board})
        contactor = Switch("contactor 1", 1, {}, parts)
        self.wires = {(1, name): Wire(f"input {name}", 1, {}, Parts()) for name in wired}
        names = tuple(dict.fromkeys((*wired, *Board.watches)))
        self.gate = PowerGate(
            {1: contactor}, (EvseLayout(1, inputs=names),), mono_ns=loop.monotonic_ns,
            later=loop.call_later, post=self.posted.append,
            ask_loop=lambda answered: answered(), refresh=self._refresh)
        self.tasks: list[asyncio.Task[None]] = []
        self.keeper = PilotKeeper(
            {1: self.board}, self.gate, spawn=self.spawn, post=self.posted.append,
            lost=self._offer_failed,
            mono_ns=loop.monotonic_ns)
        self.gate.on_cut = self.keeper.cut
        fitted = Fitted({1: contactor}, {1: self.board}, {1: Meter("meter 1", 1, {}, parts)},
                        inputs=dict(self.wires))
        self.devices = Devices(fitted, self.gate, self.keeper, post=self.posted.append,
                               mono_ns=loop.monotonic_ns)

    def _refresh(self, evse: int) -> None:
        self.devices.refresh(evse)

    def _offer_failed(self, evse: int, detail: str) -> None:
        self.devices.offer_failed(evse, detail)

    def spawn(self, coro, name: str):
        task = asyncio.ensure_future(coro)
        self.tasks.append(task)
        return task

    async def plugged(self) -> None:
        """A car waits, a session is in the books, and the core wants 16 A."""
        self.gate.make_safe()
        self.gate.bar(1, ())
        self.board.state = B
        await asyncio.sleep(2.0)
        self.gate.books(1, session_open=True)
        self.keeper.offer(1, AMPS_16, 7)
        await asyncio.sleep(1.5)

    async def charging(self) -> None:
        await self.plugged()
        self.board.state = C
        await asyncio.sleep(0.5)
        self.gate.energise(1, self.gate.number(1))
        assert self.board.closed and self.gate.is_on(1), self.posted

    def of(self, kind: type) -> list[Event]:
        return [event for event in self.posted if isinstance(event, kind)]


def play(story: Callable[[World], Awaitable[None]], *, wired: tuple[str, ...] = ()) -> None:
    loop = virtual_loop.VirtualLoop()

    async def whole() -> None:
        world = World(loop, wired=wired)
        world.devices.start(world.spawn)
        await asyncio.sleep(0.05)
        try:
            await story(world)
        finally:
            for task in world.tasks:
                task.cancel()
            await asyncio.wait(world.tasks)
            for task in world.tasks:
                if not task.cancelled():
                    task.result()

    virtual_loop.run(whole(), loop=loop)


# --- the offer -----------------------------------------------------------------------------------


def test_an_offer_waits_for_fresh_readings_goes_out_and_is_confirmed() -> None:
    async def story(world: World) -> None:
        await world.plugged()
        assert world.board.offered == AMPS_16
        assert world.of(OfferConfirmed)[-1] == OfferConfirmed(1, AMPS_16, 7)
        await asyncio.sleep(60)
        assert world.board.offered == AMPS_16

    play(story)


def test_an_offer_that_the_gate_holds_goes_out_when_the_objection_is_gone() -> None:
    async def story(world: World) -> None:
        world.board.alarms = ("rcd",)
        await world.plugged()
        assert world.board.offered == NO_OFFER
        world.board.alarms = ()
        await asyncio.sleep(1.5)
        assert world.board.offered == AMPS_16

    play(story)


def test_a_held_offer_that_is_no_longer_wanted_never_goes_out() -> None:
    async def story(world: World) -> None:
        world.board.alarms = ("rcd",)
        await world.plugged()
        world.keeper.offer(1, NO_OFFER, 8)
        world.board.alarms = ()
        await asyncio.sleep(5)
        assert world.board.offered == NO_OFFER
        assert world.of(OfferConfirmed)[-1] == OfferConfirmed(1, NO_OFFER, 8)

    play(story)


def test_a_charge_from_the_offer_to_the_unplugged_car() -> None:
    async def story(world: World) -> None:
        await world.charging()
        world.keeper.offer(1, Offer(OfferKind.CURRENT, 10.0), 8)
        await asyncio.sleep(30)
        assert world.board.closed and world.board.offered.current_a == 10.0
        world.keeper.offer(1, NO_OFFER, 9)
        await asyncio.sleep(1)
        world.gate.release(1, "wound_down")
        world.board.state = A
        await asyncio.sleep(5)
        assert world.board.offered == NO_OFFER
        assert not world.gate.is_watched(1)
        assert world.gate.may_unlock(1)
        assert world.deadman.due_ns() is None

    play(story)


def test_what_the_gate_cut_off_in_b_is_offered_again_when_nobody_objects() -> None:
    async def story(world: World) -> None:
        await world.plugged()
        world.board.alarms = ("ground",)
        await asyncio.sleep(0.5)
        assert world.board.offered == NO_OFFER
        assert "ground" in world.of(PowerReleased)[-1].reasons
        world.board.alarms = ()
        await asyncio.sleep(1.5)
        assert world.board.offered == AMPS_16

    play(story)


def test_what_the_gate_cut_off_in_c_is_offered_again_only_on_an_order() -> None:
    async def story(world: World) -> None:
        await world.charging()
        world.board.alarms = ("rcd",)
        await asyncio.sleep(0.5)
        assert not world.board.closed
        world.board.alarms = ()
        await asyncio.sleep(10)
        assert not world.board.closed
        world.gate.energise(1, world.gate.number(1))
        await asyncio.sleep(1)
        assert world.board.closed
        assert world.of(EnergiseRefused) == []

    play(story)


def test_a_cut_while_the_board_takes_an_offer_leaves_it_unconfirmed() -> None:
    async def story(world: World) -> None:
        await world.plugged()
        world.board.takes_s = 2.0
        world.keeper.offer(1, Offer(OfferKind.CURRENT, 10.0), 8)
        await asyncio.sleep(0.5)
        world.gate.bar(1, ("EMERGENCY_STOP",))
        await asyncio.sleep(5)
        assert world.of(OfferConfirmed)[-1].number == 7
        assert world.of(DeviceLost) == []

    play(story)


def test_a_board_that_is_lost_is_ordered_off_and_told_anew_when_it_is_back() -> None:
    async def story(world: World) -> None:
        await world.plugged()
        world.board.gone = True
        await asyncio.sleep(5)
        assert {event.kind for event in world.of(DeviceLost)} == {"pilot", "contactor"}
        assert world.gate.objections(1) != ()
        world.deadman.check()
        world.board.gone = False
        await asyncio.sleep(20)
        assert world.board.offered == AMPS_16
        assert world.deadman.due_ns() is not None

    play(story)


def test_at_the_end_nothing_is_offered_any_more_and_what_is_out_can_be_withdrawn() -> None:
    async def story(world: World) -> None:
        await world.plugged()
        world.keeper.rest()
        world.gate.release_all("shutdown")
        await asyncio.sleep(5)
        assert world.board.offered == NO_OFFER
        world.board.offered = AMPS_16
        world.keeper.offer(1, NO_OFFER, 9)
        await asyncio.sleep(1)
        assert world.board.offered == NO_OFFER
        assert world.of(OfferConfirmed)[-1] == OfferConfirmed(1, NO_OFFER, 9)

    play(story)


# --- what the board watches ----------------------------------------------------------------------


def test_an_alarm_of_the_board_is_an_input_like_a_wired_one() -> None:
    async def story(world: World) -> None:
        await world.charging()
        world.board.alarms = ("rcd",)
        await asyncio.sleep(0.5)
        assert world.of(InputChanged)[-1] == InputChanged(1, "rcd", False)
        assert "rcd" in world.of(PowerReleased)[0].reasons

    play(story)


def test_inputs_that_only_the_board_knows_are_bad_when_it_is_lost() -> None:
    async def story(world: World) -> None:
        await world.plugged()
        world.board.gone = True
        await asyncio.sleep(5)
        assert {"rcd", "ground"} <= set(world.gate.objections(1))

    play(story)


def test_an_input_known_to_board_and_wire_is_bad_when_either_says_so() -> None:
    async def story(world: World) -> None:
        await world.plugged()
        assert InputChanged(1, "rcd", True) in world.posted
        world.wires[1, "rcd"].state = False
        await asyncio.sleep(1)
        assert world.of(InputChanged)[-1] == InputChanged(1, "rcd", False)
        assert world.board.offered == NO_OFFER
        world.wires[1, "rcd"].state = True
        world.board.alarms = ("rcd",)
        await asyncio.sleep(3)
        assert world.of(InputChanged)[-1] == InputChanged(1, "rcd", False)
        world.board.alarms = ()
        await asyncio.sleep(3)
        assert world.of(InputChanged)[-1] == InputChanged(1, "rcd", True)
        assert world.board.offered == AMPS_16

    play(story, wired=("rcd",))


def test_an_input_known_to_board_and_wire_is_as_old_as_the_older_word() -> None:
    async def hang() -> bool:
        await asyncio.Event().wait()
        return True

    async def story(world: World) -> None:
        await world.charging()
        world.wires[1, "rcd"].good = hang  # type: ignore[method-assign]
        await asyncio.sleep(2.5)
        assert not world.board.closed
        assert world.of(PowerReleased)[0].reasons == ("rcd_stale",)
        assert world.of(PilotChanged)[-1].state is C

    play(story, wired=("rcd",))


def test_a_reading_is_as_old_as_the_question_for_it() -> None:
    async def story(world: World) -> None:
        await world.charging()

        world.board.read_s = 0.9
        await asyncio.sleep(4.0)

        assert not world.board.closed
        assert world.of(PowerReleased)[0].reasons[0] == "pilot_stale"

    play(story)


def test_a_safety_input_is_as_old_as_the_question_for_it() -> None:
    async def story(world: World) -> None:
        await world.charging()

        world.wires[1, "rcd"].read_s = 0.9
        await asyncio.sleep(4.0)

        assert not world.board.closed
        assert world.of(PowerReleased)[0].reasons == ("rcd_stale",)

    play(story, wired=("rcd",))
