"""Devices: polled gently, lost by name, found again; readings reach the gate before the core."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from support import virtual_loop

from cpctl.core.events import (
    CardPresented,
    CardUnusable,
    DeviceFound,
    DeviceLost,
    Event,
    InputChanged,
    LockReported,
    MeterRead,
    OfferConfirmed,
    PilotChanged,
)
from cpctl.core.values import EvseLayout, IdToken
from cpctl.runtime.devices import Devices, Fitted, FittedReader
from cpctl.runtime.pilot_keeper import PilotKeeper
from cpctl.runtime.polling import Steady
from cpctl.runtime.power_gate import PowerGate
from hal.contracts import (
    CardReader,
    ControlPilot,
    EnergyMeter,
    Indicator,
    Inputs,
    Parts,
    PlugLock,
)
from hal.deadman import DeadMan
from hal.errors import BadReading, DeviceGone, DeviceTimeout, HalError
from hal.sim.board import Board
from hal.sim.devices import Switch
from hal.values import CardUid, MeterReading, Offer, OfferKind, PilotReading, PilotState

A, B, C, F = PilotState.A, PilotState.B, PilotState.C, PilotState.F
CURRENT = Offer(OfferKind.CURRENT, 16.0)


class Faulty:
    """What makes a fake fail: `error` is raised by each call, `hang` never returns."""

    error: HalError | None = None
    hang = False
    opened = 0

    async def trouble(self) -> None:
        if self.hang:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error

    async def open(self) -> None:
        self.opened += 1
        await self.trouble()


class Pilot(Faulty, ControlPilot):
    state: PilotState | None = A
    reads = 0
    tell: Callable[[PilotReading], None] | None = None

    async def read(self) -> PilotReading:
        self.reads += 1
        await self.trouble()
        return PilotReading(self.state)

    async def offer(self, offer: Offer) -> None:
        await self.trouble()
        self.offers = [*getattr(self, "offers", []), offer]


class PushingPilot(Pilot):
    pushes = True

    def listen(self, listener: Callable[[PilotReading], None]) -> None:
        assert self.tell is None, "listened to twice"
        self.tell = listener


class Meter(Faulty, EnergyMeter):
    register_wh = 1000
    reads = 0

    async def read(self) -> MeterReading:
        self.reads += 1
        await self.trouble()
        return MeterReading(self.register_wh)


class Input(Faulty, Inputs):
    state = True
    reads = 0

    async def good(self) -> bool:
        self.reads += 1
        await self.trouble()
        return self.state


class PushingInput(Input):
    pushes = True

    def listen(self, listener: Callable[[bool], None]) -> None:
        self.tell = listener


class Lock(Faulty, PlugLock):
    moves: bool | None = True
    rests: bool | None = None

    async def is_locked(self) -> bool | None:
        return self.rests

    def listen(self, listener: Callable[[bool], None]) -> None:
        self.tell = listener

    async def lock(self) -> bool | None:
        await self.trouble()
        return self.moves

    async def unlock(self) -> bool | None:
        await self.trouble()
        return self.moves


class Lights(Faulty, Indicator):
    async def show(self, pattern: str) -> None:
        await self.trouble()
        self.shown = [*getattr(self, "shown", []), pattern]


class Reader(Faulty, CardReader):
    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.queue: asyncio.Queue[CardUid | None] = asyncio.Queue()
        self.signals: list[bool] = []

    def signal(self, *, accepted: bool) -> None:
        self.signals.append(accepted)

    async def cards(self):
        while (card := await self.queue.get()) is not None:
            yield card
        raise DeviceGone("reader front: unplugged")


class World:
    """One EVSE with fakes of every kind, a real gate on a simulated contactor."""

    def __init__(self, loop: virtual_loop.VirtualLoop, *, pushing: bool = False) -> None:
        self.loop = loop
        self.posted: list[Event] = []
        parts = Parts(board=Board((1,), loop.monotonic_ns),
                      deadman=DeadMan(loop.monotonic_ns, thread=False))
        parts.deadman.start()

        def made(kind, name, evse=1):
            return kind(name, evse, {}, parts)
        self.pilot = made(PushingPilot if pushing else Pilot, "pilot 1")
        self.rcd = made(PushingInput if pushing else Input, "rcd 1")
        self.meter, self.lock = made(Meter, "meter 1"), made(Lock, "lock 1")
        self.lights, self.reader = made(Lights, "indicator 1"), made(Reader, "reader front", None)
        contactor = Switch("contactor 1", 1, {}, parts)
        layout = EvseLayout(1, has_lock=True, inputs=("rcd",))
        self.gate = PowerGate(
            {1: contactor}, (layout,), mono_ns=loop.monotonic_ns, later=loop.call_later,
            post=self.posted.append, ask_loop=lambda answered: answered(),
            refresh=self._refresh)
        self.tasks: list[asyncio.Task[None]] = []
        self.confirmed: list[Event] = []
        fitted = Fitted({1: contactor}, {1: self.pilot}, {1: self.meter}, {1: self.lock},
                        {(1, "rcd"): self.rcd}, {1: self.lights},
                        (FittedReader("front", self.reader, (1,)),))
        self.keeper = PilotKeeper(
            fitted.pilots, self.gate, spawn=self.spawn,
            lost=self._offer_failed, post=self.confirmed.append,
            mono_ns=loop.monotonic_ns)
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

    def of(self, kind: type) -> list[Event]:
        return [event for event in self.posted if isinstance(event, kind)]


def play(story, *, pushing: bool = False) -> None:
    loop = virtual_loop.VirtualLoop()

    async def whole() -> None:
        world = World(loop, pushing=pushing)
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


def test_every_device_is_found_and_told_once() -> None:
    async def story(world: World) -> None:
        await asyncio.sleep(120)
        assert {(one.evse, one.kind) for one in world.of(DeviceFound)} == {
            (1, "pilot"), (1, "meter"), (1, "input"), (1, "lock"), (1, "indicator"),
            (None, "reader")}
        assert len(world.of(DeviceFound)) == 6
        assert world.of(PilotChanged) == [PilotChanged(1, A)]
        assert world.of(InputChanged) == [InputChanged(1, "rcd", True)]
        assert all(one.health.health.value == "ok" for one in world.devices.health())

    play(story)


def test_at_idle_a_polled_device_is_read_once_a_second_and_the_meter_once_a_minute() -> None:
    async def story(world: World) -> None:
        await asyncio.sleep(10)
        world.pilot.reads = world.rcd.reads = world.meter.reads = 0
        await asyncio.sleep(600)
        assert world.pilot.reads <= 601 and world.rcd.reads <= 601
        assert world.meter.reads == 10

    play(story)


def test_at_idle_a_pushing_device_is_not_read_at_all() -> None:
    async def story(world: World) -> None:
        await asyncio.sleep(10)
        world.pilot.reads = world.rcd.reads = 0
        await asyncio.sleep(600)
        assert world.pilot.reads == world.rcd.reads == 0

    play(story, pushing=True)


def test_an_input_whose_loss_may_be_silent_is_read_now_and_then_at_idle() -> None:
    async def story(world: World) -> None:
        before = world.rcd.reads
        await asyncio.sleep(600)
        assert world.rcd.reads == before + 20
        world.rcd.error = DeviceGone("the chip is gone")
        await asyncio.sleep(31)
        assert [one.kind for one in world.of(DeviceLost)] == ["input"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PushingInput, "recheck_s", 30.0)
        play(story, pushing=True)


def test_a_pushing_device_is_read_again_while_power_may_flow() -> None:
    async def story(world: World) -> None:
        world.keeper.offer(1, CURRENT)
        await asyncio.sleep(1)
        world.pilot.reads = world.rcd.reads = 0
        await asyncio.sleep(10)
        assert 20 <= world.pilot.reads <= 21 and 20 <= world.rcd.reads <= 21
        assert world.pilot.offers[-1] == CURRENT

    play(story, pushing=True)


def test_a_plug_makes_the_meter_be_read_at_once() -> None:
    async def story(world: World) -> None:
        await asyncio.sleep(5)
        before = len(world.of(MeterRead))
        world.pilot.state = B
        await asyncio.sleep(1.5)
        assert len(world.of(MeterRead)) == before + 1

    play(story)


def test_a_polled_state_counts_when_it_was_seen_twice() -> None:
    async def story(world: World) -> None:
        world.pilot.state = B
        await asyncio.sleep(1.01)
        assert world.of(PilotChanged) == [PilotChanged(1, A)]
        await asyncio.sleep(0.3)
        assert world.of(PilotChanged)[-1] == PilotChanged(1, B)

    play(story)


def test_a_polled_state_that_leaves_c_counts_at_once() -> None:
    async def story(world: World) -> None:
        world.pilot.state = C
        await asyncio.sleep(3)
        assert world.of(PilotChanged)[-1] == PilotChanged(1, C)
        world.pilot.state = B
        await asyncio.sleep(0.26)
        assert world.of(PilotChanged)[-1] == PilotChanged(1, B)

    play(story)


def test_what_is_pushed_counts_at_once_from_any_thread() -> None:
    async def story(world: World) -> None:
        world.pilot.state = B
        for call in (lambda: world.pilot.tell(PilotReading(B)), lambda: world.rcd.tell(False)):
            thread = threading.Thread(target=call)
            thread.start()
            thread.join(10)
        await asyncio.sleep(0.01)
        assert world.of(PilotChanged)[-1] == PilotChanged(1, B)
        assert world.of(InputChanged)[-1] == InputChanged(1, "rcd", False)
        assert "rcd" in world.gate.objections(1)

    play(story, pushing=True)


def test_a_steady_state_forgets_a_glitch() -> None:
    steady = Steady(lambda old, new: False)

    assert [steady.take(one, sure=False) for one in "AABABB"] == [
        True, False, False, False, False, True]


def test_an_input_that_turns_bad_counts_at_once_and_good_only_twice() -> None:
    async def story(world: World) -> None:
        world.rcd.state = False
        await asyncio.sleep(1.01)
        assert world.of(InputChanged)[-1] == InputChanged(1, "rcd", False)
        world.rcd.state = True
        await asyncio.sleep(1.01)
        assert world.of(InputChanged)[-1] == InputChanged(1, "rcd", False)
        await asyncio.sleep(1.01)
        assert world.of(InputChanged)[-1] == InputChanged(1, "rcd", True)

    play(story)


@pytest.mark.parametrize("error", [DeviceTimeout("no answer"), BadReading("crc"), None],
                         ids=["timeout", "bad", "hang"])
@pytest.mark.parametrize("kind", ["pilot", "meter", "input"])
def test_a_device_is_lost_after_three_failures_and_found_again(kind: str, error) -> None:
    async def story(world: World) -> None:
        device = {"pilot": world.pilot, "meter": world.meter, "input": world.rcd}[kind]
        world.devices._busy[1] = True
        world.devices.wake_meter(1)
        device.error, device.hang = error, error is None
        await asyncio.sleep(30)
        lost = [one for one in world.of(DeviceLost) if one.kind == kind]
        assert len(lost) == 1
        if kind == "pilot":
            assert "no_pilot" in world.gate.objections(1)
        if kind == "input":
            assert "rcd" in world.gate.objections(1)

        device.error, device.hang = None, False
        opened = device.opened
        await asyncio.sleep(30)
        assert device.opened == opened + 1
        found = [one for one in world.of(DeviceFound) if one.kind == kind]
        assert len(found) == 2

    play(story)


def test_a_single_failure_is_no_loss() -> None:
    async def story(world: World) -> None:
        world.meter.error = BadReading("crc")
        world.devices.wake_meter(1)
        await asyncio.sleep(0.5)
        world.meter.error = None
        await asyncio.sleep(10)
        assert world.of(DeviceLost) == []

    play(story)


def test_a_device_that_is_gone_is_lost_at_once_and_tried_with_growing_pauses() -> None:
    async def story(world: World) -> None:
        opened = world.meter.opened
        world.meter.error = DeviceGone("unplugged")
        world.devices.wake_meter(1)
        await asyncio.sleep(0.1)
        assert world.of(DeviceLost) == [DeviceLost(1, "meter", "unplugged")]
        await asyncio.sleep(300)
        assert 5 <= world.meter.opened - opened <= 10
        assert len(world.of(DeviceLost)) == 1

    play(story)


def test_each_card_is_an_event_and_a_random_one_unusable() -> None:
    async def story(world: World) -> None:
        seen: list[tuple[str, CardUid]] = []
        end = world.devices.listen_cards(lambda reader, card: seen.append((reader, card)))
        world.reader.queue.put_nowait(CardUid("04A1B2C3"))
        world.reader.queue.put_nowait(CardUid("08123456", random=True))
        await asyncio.sleep(0.1)
        end()
        assert world.of(CardPresented) == [CardPresented("front", IdToken("04A1B2C3"), (1,))]
        assert world.of(CardUnusable) == [CardUnusable("front", (1,))]
        assert [one[1].text for one in seen] == ["04A1B2C3", "08123456"]

    play(story)


def test_what_becomes_of_a_card_is_signalled_once_at_the_reader_that_saw_it() -> None:
    async def story(world: World) -> None:
        world.devices.show(1, "card_accepted")  # started from afar: no card was seen
        world.reader.queue.put_nowait(CardUid("04A1B2C3"))
        await asyncio.sleep(0.1)
        world.devices.show(2, "card_accepted")  # an EVSE that this reader does not serve
        world.devices.show(1, "charging")
        assert world.reader.signals == []

        world.devices.show(1, "card_refused")
        world.devices.show(None, "card_accepted")
        assert world.reader.signals == [False]

        world.reader.queue.put_nowait(CardUid("04A1B2C3"))
        await asyncio.sleep(0.1)
        world.devices.show(None, "card_accepted")
        assert world.reader.signals == [False, True]

    play(story)


def test_a_reader_that_is_unplugged_is_lost_and_opened_again() -> None:
    async def story(world: World) -> None:
        world.reader.queue.put_nowait(None)
        await asyncio.sleep(0.1)
        assert [one.kind for one in world.of(DeviceLost)] == ["reader"]
        await asyncio.sleep(5)
        world.reader.queue.put_nowait(CardUid("04A1B2C3"))
        await asyncio.sleep(0.1)
        assert world.of(CardPresented)

    play(story)


@pytest.mark.parametrize(("moves", "order", "report"), [
    (True, "lock", LockReported(1, locked=True)),
    (None, "lock", LockReported(1, locked=True)),
    (False, "lock", LockReported(1, locked=False, jammed=True)),
    (True, "unlock", LockReported(1, locked=False)),
    (None, "unlock", LockReported(1, locked=False)),
    (False, "unlock", LockReported(1, locked=True, jammed=True)),
])
def test_a_lock_reports_what_became_of_each_try(moves, order: str, report: LockReported) -> None:
    async def story(world: World) -> None:
        world.gate.make_safe()
        world.lock.moves = moves
        getattr(world.devices, order)(1)
        await asyncio.sleep(0.1)
        assert world.of(LockReported) == [report]
        assert ("not_locked" in world.gate.objections(1)) is not report.locked

    play(story)


@pytest.mark.parametrize("order", ["lock", "unlock"])
def test_a_lock_that_fails_is_jammed_and_lost(order: str) -> None:
    async def story(world: World) -> None:
        world.gate.make_safe()
        world.lock.error = DeviceTimeout("no answer")
        getattr(world.devices, order)(1)
        await asyncio.sleep(0.1)
        assert world.of(LockReported) == [
            LockReported(1, locked=order == "unlock", jammed=True)]
        getattr(world.devices, order)(1)
        assert len(world.of(LockReported)) == 2
        assert [one.kind for one in world.of(DeviceLost)] == ["lock"]

    play(story)


def test_no_plug_is_unlocked_before_the_path_is_known_to_be_open() -> None:
    async def story(world: World) -> None:
        world.devices.unlock(1)
        await asyncio.sleep(0.1)
        assert world.of(LockReported) == [LockReported(1, locked=True, jammed=True)]

    play(story)


@pytest.mark.parametrize(("rests", "first", "again"), [
    (None, [], []), (False, [], [LockReported(1, locked=False)]),
    (True, [LockReported(1, locked=True)], [LockReported(1, locked=True)]),
])
def test_a_lock_tells_where_its_bolt_was_found(
        rests: bool | None, first: list[Event], again: list[Event]) -> None:
    """At the start a bolt that is drawn is no news; after a loss it is."""
    async def story(world: World) -> None:
        world.gate.make_safe()
        assert world.of(LockReported) == first
        world.lock.error = DeviceTimeout("no answer")
        world.devices.lock(1)
        await asyncio.sleep(0.1)
        world.lock.error = None
        world.posted.clear()
        await asyncio.sleep(5.0)
        assert world.of(LockReported) == again
        assert ("not_locked" in world.gate.objections(1)) is not (rests or False)

    def rested(*arguments) -> Lock:
        lock = made(*arguments)
        lock.rests = rests
        return lock

    made = Lock
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "Lock", rested)
        play(story)


def test_a_bolt_that_is_forced_is_told_to_the_gate_and_the_core() -> None:
    async def story(world: World) -> None:
        world.gate.make_safe()
        world.devices.lock(1)
        await asyncio.sleep(0.1)
        assert "not_locked" not in world.gate.objections(1)
        world.posted.clear()

        threading.Thread(target=world.lock.tell, args=(False,)).start()
        while not world.posted:
            await asyncio.sleep(0.01)

        assert world.of(LockReported) == [LockReported(1, locked=False)]
        assert "not_locked" in world.gate.objections(1)

    play(story)


def test_a_bolt_that_moves_as_ordered_is_told_once() -> None:
    async def story(world: World) -> None:
        async def lock() -> bool:
            for locked in (True, False, True):  # it bounces
                world.lock.tell(locked)
                await asyncio.sleep(0.1)
            return True

        world.lock.lock = lock
        world.devices.lock(1)
        await asyncio.sleep(1.0)
        assert world.of(LockReported) == [LockReported(1, locked=True)]

    play(story)


def test_lights_show_the_newest_pattern_and_may_fail() -> None:
    async def story(world: World) -> None:
        world.devices.show(1, "available")
        world.devices.show(None, "charging")
        world.devices.show(2, "fault")
        await asyncio.sleep(0.1)
        assert world.lights.shown == ["charging"]
        world.lights.error = DeviceGone("broken")
        world.devices.show(1, "fault")
        await asyncio.sleep(0.1)
        assert [one.kind for one in world.of(DeviceLost)] == ["indicator"]

    play(story)


def test_an_offer_is_tried_until_the_board_takes_it_and_the_newest_wins() -> None:
    async def story(world: World) -> None:
        world.pilot.error = DeviceTimeout("no answer")
        world.keeper.offer(1, CURRENT)
        await asyncio.sleep(0.1)
        world.keeper.offer(1, Offer(OfferKind.CURRENT, 10.0))
        assert [one.kind for one in world.of(DeviceLost)] == ["pilot"]
        world.pilot.error = None
        await asyncio.sleep(5)
        assert [one.current_a for one in world.pilot.offers if one.current_a] == [10.0]

    play(story)


def test_each_offer_that_a_board_took_is_told_with_the_number_of_its_order() -> None:
    ten = Offer(OfferKind.CURRENT, 10.0)

    async def story(world: World) -> None:
        world.keeper.offer(1, CURRENT, 1)
        await asyncio.sleep(1)
        world.pilot.error = DeviceTimeout("no answer")
        world.keeper.offer(1, ten, 2)
        await asyncio.sleep(1)
        silent = list(world.confirmed)
        world.pilot.error = None
        await asyncio.sleep(5)
        world.keeper.offer(1, ten, 3)  # nothing to be done: it is out

        assert silent[-1] == OfferConfirmed(1, CURRENT, 1)
        found = world.confirmed[len(silent):]
        assert found[0] == OfferConfirmed(1, ten, 2)
        assert found[-1] == OfferConfirmed(1, ten, 3)

    play(story)


def test_a_board_that_came_back_is_told_the_offer_again() -> None:
    async def story(world: World) -> None:
        world.keeper.offer(1, CURRENT)
        await asyncio.sleep(1)
        world.pilot.offers.clear()
        world.pilot.error = DeviceGone("unplugged")
        await asyncio.sleep(2)
        world.pilot.error = None
        await asyncio.sleep(10)
        assert world.pilot.offers == [CURRENT]

    play(story)


def test_a_technician_reads_meter_and_pilot() -> None:
    async def story(world: World) -> None:
        assert (await world.devices.read_meter(1)).energy_import_wh == 1000
        assert (await world.devices.read_pilot(1)).state is A
        with pytest.raises(DeviceGone, match="no meter"):
            await world.devices.read_meter(2)

    play(story)


def test_a_word_of_a_thread_after_the_end_is_dropped() -> None:
    loop = virtual_loop.VirtualLoop()
    worlds: list[World] = []

    async def whole() -> None:
        worlds.append(World(loop, pushing=True))
        worlds[0].devices.post_threadsafe(worlds[0].posted.append, "too early")
        worlds[0].devices.start(lambda coro, name: coro.close())

    virtual_loop.run(whole(), loop=loop)
    worlds[0].devices.post_threadsafe(worlds[0].posted.append, "too late")
    assert worlds[0].posted == []
