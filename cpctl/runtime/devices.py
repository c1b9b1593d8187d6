"""Opens, polls, loses and reopens the devices; turns what they say into events and tells the gate.

Decides nothing about charging. A reading goes to the gate first, straight, and then as an event to
the loop. What a thread of a driver says comes in through `post_threadsafe`. A device that dies is
an event and is opened again with growing pauses; at idle a device that pushes costs no wake-up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from cpctl.core.events import (
    CardPresented,
    CardUnusable,
    DeviceFound,
    DeviceLost,
    Event,
    InputChanged,
    LockReported,
    MeterRead,
    PilotChanged,
)
from cpctl.core.values import IdToken
from cpctl.core.views import StationPicture
from cpctl.runtime.care import DeviceState, Fitted, FittedReader
from cpctl.runtime.care import Unit as _Unit
from cpctl.runtime.pilot_keeper import PilotKeeper
from cpctl.runtime.polling import Agreement, Steady, leaves_c, newest, turns_bad
from cpctl.runtime.power_gate import PowerGate
from hal.contracts import (
    Indicator,
    Inputs,
)
from hal.errors import DeviceGone, HalError
from hal.values import CardUid, DeviceHealth, Health, MeterReading, PilotReading

log = logging.getLogger(__name__)

AGAIN_FIRST_S = 1.0  # pauses before a lost device is opened again, doubled up to the most
AGAIN_MOST_S = 60.0
AGAIN_BUSY_S = 5.0  # the most while a session is open
OPEN_LIMIT_S = 20.0
READ_LIMIT_S = 5.0
MOVE_LIMIT_S = 10.0  # a lock that has not finished by then does not move
TRIES = 3  # readings that may fail in a row before a device counts as lost
PILOT_BUSY_S = 0.25
POLL_IDLE_S = 1.0
INPUT_BUSY_S = 0.4  # under the 1 s after which a safety input counts as unknown
METER_BUSY_S = 1.0
METER_IDLE_S = 60.0
PASSING = ("card_accepted", "card_refused")  # patterns that give way to the one before
PASSING_S = 2.0
WIRE, BOARD = "wire", "board"  # who knows of a safety input


CardListener = Callable[[str, CardUid], None]
Spawn = Callable[[Coroutine[Any, Any, Any], str], object]


class Devices:
    """All devices but the contactors, which only the gate holds."""

    def __init__(self, fitted: Fitted, gate: PowerGate, keeper: PilotKeeper, *,
                 post: Callable[[Event], None], mono_ns: Callable[[], int]):
        self.fitted = fitted
        self._gate = gate
        self._keeper = keeper
        self._post = post
        self._mono_ns = mono_ns
        #: brightness in percent and how often to blink, as the settings say
        self.lights: Callable[[], tuple[int, int]] = lambda: (100, 3)
        self._asyncio: asyncio.AbstractEventLoop | None = None
        self._busy: dict[int, bool] = {evse: False for evse in fitted.contactors}
        self._plugged: dict[int, bool] = dict(self._busy)
        self._pilots = {evse: _Unit("pilot", evse, one.name, one)
                        for evse, one in fitted.pilots.items()}
        self._meters = {evse: _Unit("meter", evse, one.name, one)
                        for evse, one in fitted.meters.items()}
        self._locks = {evse: _Unit("lock", evse, one.name, one)
                       for evse, one in fitted.locks.items()}
        self._inputs = {key: _Unit("input", key[0], one.name, one)
                        for key, one in fitted.inputs.items()}
        self._indicators = {evse: _Unit("indicator", evse, one.name, one)
                            for evse, one in fitted.indicators.items()}
        self._readers = {one.id: _Unit("reader", None, one.device.name, one.device)
                         for one in fitted.readers}
        self._card_listeners: list[CardListener] = []
        self._asking: dict[str, FittedReader] = {}  # those whose last card is not decided about
        self._steady_pilots = {evse: Steady(leaves_c) for evse in self._pilots}
        self._watched = {evse: one.watched(one.options) for evse, one in fitted.pilots.items()}
        self._agreements = self._agreeing()
        self._steady_inputs = {key: Steady(turns_bad) for key in self._agreements}

    def start(self, spawn: Spawn) -> None:
        """Take all devices into care; returns at once."""
        self._asyncio = asyncio.get_running_loop()
        for evse, unit in self._pilots.items():
            self._care(spawn, unit, partial(self._serve_pilot, unit, evse))
        for key, unit in self._inputs.items():
            self._care(spawn, unit, partial(self._serve_input, unit, *key))
        for evse, unit in self._meters.items():
            self._care(spawn, unit, partial(self._serve_meter, unit, evse))
        for evse, unit in self._locks.items():
            self._care(spawn, unit, partial(self._serve_lock, unit, evse))
        for unit in self._indicators.values():
            self._care(spawn, unit, partial(self._serve_indicator, unit))
        for one in self.fitted.readers:
            unit = self._readers[one.id]
            self._care(spawn, unit, partial(self._serve_reader, unit, one))

    async def close(self) -> None:
        """Let go of every device; what fails to close is logged and left."""
        for unit in self._units():
            await self._close(unit)

    def post_threadsafe(self, call: Callable[..., None], *arguments: Any) -> None:
        """Run `call` in the loop's thread soon; from any thread, harmless once the loop is gone."""
        loop = self._asyncio
        if loop is None or loop.is_closed():
            return
        try:
            loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError as error:  # closed between the look and the call
            log.debug("a late word of a device was dropped: %s", error)

    def health(self) -> tuple[DeviceState, ...]:
        """How each device does, for `cpctl hw list`."""
        return tuple(DeviceState(unit.kind, unit.name, unit.evse,
                                 DeviceHealth(unit.health, unit.detail))
                     for unit in self._units())

    async def read_meter(self, evse: int) -> MeterReading:
        """One reading for a technician. Raises HalError, TimeoutError."""
        if evse not in self.fitted.meters:
            raise DeviceGone(f"evse {evse}: no meter is fitted; see the configuration")
        async with asyncio.timeout(READ_LIMIT_S):
            return await self.fitted.meters[evse].read()

    async def read_pilot(self, evse: int) -> PilotReading:
        """One look at the pilot for a technician. Raises HalError, TimeoutError."""
        return await self._keeper.read(evse)

    def listen_cards(self, listener: CardListener) -> Callable[[], None]:
        """Call `listener(reader, card)` with each card, whatever becomes of it. Returns its end."""
        self._card_listeners.append(listener)
        return lambda: self._card_listeners.remove(listener)

    # --- what others want --------------------------------------------------------------------

    def refresh(self, evse: int) -> None:
        """Read pilot and inputs of `evse` again now; the meter too while it is waited for."""
        unit = self._pilots.get(evse)
        if unit is not None:
            unit.nap.wake()
        for (owner, _), one in self._inputs.items():
            if owner == evse:
                one.nap.wake()
        if "register_not_read" in self._gate.objections(evse):
            self.wake_meter(evse)

    def wake_meter(self, evse: int) -> None:
        """Have the meter of `evse` read now."""
        unit = self._meters.get(evse)
        if unit is not None:
            unit.nap.wake()

    def watch(self, picture: StationPicture) -> None:
        """Follow the sessions: while one is open its meter is read each second."""
        for one in picture.evses:
            busy = one.session is not None
            if busy and not self._busy[one.evse]:
                self.wake_meter(one.evse)
            self._busy[one.evse] = busy

    def lock(self, evse: int) -> None:
        """Try once to lock; the outcome is a LockReported."""
        self._move(evse, "lock")

    def unlock(self, evse: int) -> None:
        """Try once to unlock; refused while the power path is not known to be open."""
        self._move(evse, "unlock")

    def show(self, evse: int | None, pattern: str) -> None:
        """Lights. `evse` None: at all EVSEs. What becomes of a card is shown at its reader too."""
        if pattern in PASSING:
            self._signal(evse, accepted=pattern == "card_accepted")
        for number, unit in self._indicators.items():
            if evse in (None, number):
                if pattern not in PASSING:
                    unit.lasting = pattern
                unit.orders.put_nowait(pattern)

    def _signal(self, evse: int | None, *, accepted: bool) -> None:
        for one in tuple(self._asking.values()):
            if evse is None or not one.evses or evse in one.evses:
                del self._asking[one.id]
                one.device.signal(accepted=accepted)

    def relight(self) -> None:
        """The settings of the lights have changed."""
        for unit in self._indicators.values():
            unit.orders.put_nowait(unit.lasting)

    # --- care --------------------------------------------------------------------------------

    def _units(self) -> tuple[_Unit, ...]:
        groups: tuple[Mapping[Any, _Unit], ...] = (
            self._readers, self._meters, self._pilots, self._inputs, self._locks, self._indicators)
        return tuple(unit for group in groups for unit in group.values())

    def _care(self, spawn: Spawn, unit: _Unit, serve: Callable[[], Awaitable[None]]) -> None:
        spawn(self._keep(unit, serve), unit.name)

    async def _keep(self, unit: _Unit, serve: Callable[[], Awaitable[None]]) -> None:
        """Open, serve until it is lost, open again: for ever."""
        pause_s = AGAIN_FIRST_S
        while True:
            try:
                async with asyncio.timeout(OPEN_LIMIT_S):
                    await unit.device.open()
                await serve()
            except (HalError, TimeoutError) as error:
                if unit.health is Health.OK:
                    pause_s = AGAIN_FIRST_S
                self._lose(unit, error)
            await self._close(unit)
            await asyncio.sleep(pause_s)
            busy = unit.evse is not None and self._busy[unit.evse]
            pause_s = min(2 * pause_s, AGAIN_BUSY_S if busy else AGAIN_MOST_S)

    async def _close(self, unit: _Unit) -> None:
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                await unit.device.close()
        except (HalError, TimeoutError) as error:
            log.debug("%s: not closed: %s", unit.name, error)

    def _lose(self, unit: _Unit, error: Exception) -> None:
        was, unit.health = unit.health, Health.LOST
        unit.detail = str(error) or f"{unit.name}: no answer in time"
        unit.failures = 0
        if was is Health.LOST:
            return
        log.warning("%s lost: %s", unit.name, unit.detail)
        self._post(DeviceLost(unit.evse, unit.kind, unit.detail))

    def _find(self, unit: _Unit) -> None:
        unit.failures = 0
        if unit.health is Health.OK:
            return
        was, unit.health, unit.detail = unit.health, Health.OK, ""
        if was is Health.LOST:
            log.info("%s is back", unit.name)
        others = [one for one in self._units() if one.kind == unit.kind and one.evse == unit.evse]
        if all(one.health is not Health.LOST for one in others):
            self._post(DeviceFound(unit.evse, unit.kind))

    def offer_failed(self, evse: int, detail: str) -> None:
        """The pilot board of `evse` did not take an offer."""
        unit = self._pilots[evse]
        if unit.health is not Health.LOST:
            self._lose(unit, HalError(detail))
            unit.nap.wake()

    async def _try(self, unit: _Unit, once: Callable[[], Awaitable[None]]) -> None:
        """One reading; raises only when it failed `TRIES` times in a row or the device is gone."""
        try:
            async with asyncio.timeout(READ_LIMIT_S):
                await once()
        except DeviceGone:
            raise
        except (HalError, TimeoutError) as error:
            unit.failures += 1
            log.debug("%s: %s", unit.name, error)
            if unit.failures >= TRIES:
                raise
        else:
            self._find(unit)

    # --- pilots ------------------------------------------------------------------------------

    async def _serve_pilot(self, unit: _Unit, evse: int) -> None:
        pilot = self.fitted.pilots[evse]
        if pilot.pushes and not unit.listened:
            unit.listened = True
            pilot.listen(lambda reading: self.post_threadsafe(
                self._pilot_heard, evse, reading, self._mono_ns()))
        first = unit.health is not Health.OK

        async def once() -> None:
            at_ns = self._mono_ns()
            self._pilot_seen(evse, await self._keeper.read(evse), at_ns, sure=pilot.pushes)
        try:
            while True:
                await self._try(unit, once)
                if first and unit.health is Health.OK:
                    first = False
                    self._keeper.reopened(evse)
                await unit.nap.take(self._pilot_pause_s(unit, evse, pushes=pilot.pushes))
        except (HalError, TimeoutError):
            self._gate.pilot_read(evse, PilotReading(None), self._mono_ns())
            for name in self._watched[evse]:
                self._input_lost(evse, name, BOARD)
            self._steady_pilots[evse].take(PilotReading(None), sure=True)
            raise

    def _pilot_pause_s(self, unit: _Unit, evse: int, *, pushes: bool) -> float | None:
        if unit.failures:
            return PILOT_BUSY_S
        if pushes:
            return None
        return PILOT_BUSY_S if self._plugged[evse] or self._gate.is_watched(evse) else POLL_IDLE_S

    def _pilot_heard(self, evse: int, reading: PilotReading, at_ns: int) -> None:
        """The board pushed a change."""
        self._gate.pilot_read(evse, reading, at_ns)
        self._pilot_seen(evse, reading, at_ns, sure=True)
        if reading.state is None:
            self._pilots[evse].nap.wake()

    def _pilot_seen(self, evse: int, reading: PilotReading, at_ns: int, *, sure: bool) -> None:
        for name in self._watched[evse]:
            self._input_seen(evse, name, name not in reading.alarms, at_ns, sure, BOARD)
        plugged = reading.state is not None and reading.state.plugged
        if plugged and not self._plugged[evse]:
            self.wake_meter(evse)
        self._plugged[evse] = plugged
        told = PilotReading(reading.state, reading.cable_a, diode_ok=reading.diode_ok,
                            connector=reading.connector)
        if self._steady_pilots[evse].take(told, sure=sure):
            self._post(PilotChanged(evse, told.state, told.cable_a, told.diode_ok,
                                    told.connector))

    # --- safety inputs -----------------------------------------------------------------------

    async def _serve_input(self, unit: _Unit, evse: int, name: str) -> None:
        device = self.fitted.inputs[evse, name]
        if device.pushes and not unit.listened:
            unit.listened = True
            device.listen(lambda good: self.post_threadsafe(
                self._input_seen, evse, name, good, self._mono_ns(), True))

        async def once() -> None:
            at_ns = self._mono_ns()
            self._input_seen(evse, name, await device.good(), at_ns, device.pushes)
        try:
            while True:
                await self._try(unit, once)
                await unit.nap.take(self._input_pause_s(unit, evse, device))
        except (HalError, TimeoutError):
            self._input_lost(evse, name, WIRE)
            raise

    def _input_pause_s(self, unit: _Unit, evse: int, device: Inputs) -> float | None:
        if unit.failures:
            return PILOT_BUSY_S
        if device.pushes:
            return device.recheck_s
        return INPUT_BUSY_S if self._gate.is_watched(evse) else POLL_IDLE_S

    def _agreeing(self) -> dict[tuple[int, str], Agreement]:
        """Each safety input with those who know it: a wire of ours, the pilot board, or both."""
        sources: dict[tuple[int, str], list[str]] = {key: [WIRE] for key in self._inputs}
        for evse, names in self._watched.items():
            for name in names:
                sources.setdefault((evse, name), []).append(BOARD)
        return {key: Agreement(*known) for key, known in sources.items()}

    def _input_lost(self, evse: int, name: str, source: str) -> None:
        """Nobody knows how it is: not good, until it is read again."""
        at_ns = self._mono_ns()
        self._agreements[evse, name].tell(source, at_ns, good=False)
        self._gate.input_read(evse, name, at_ns, good=False)

    def _input_seen(self, evse: int, name: str, good: bool, at_ns: int, sure: bool,
                    source: str = WIRE) -> None:
        agreed = self._agreements[evse, name].tell(source, at_ns, good=good)
        if agreed is None:
            return
        good, at_ns = agreed
        self._gate.input_read(evse, name, at_ns, good=good)
        if self._steady_inputs[evse, name].take(good, sure=sure):
            self._post(InputChanged(evse, name, good))

    # --- meters ------------------------------------------------------------------------------

    async def _serve_meter(self, unit: _Unit, evse: int) -> None:
        meter = self.fitted.meters[evse]

        async def once() -> None:
            at_ns = self._mono_ns()
            reading = await meter.read()
            self._gate.register_read(evse, at_ns)
            self._post(MeterRead(evse, reading, at_ns))
        while True:
            await self._try(unit, once)
            often = unit.failures or self._busy[evse] or self._gate.is_watched(evse)
            await unit.nap.take(METER_BUSY_S if often else METER_IDLE_S)

    # --- readers -----------------------------------------------------------------------------

    async def _serve_reader(self, unit: _Unit, one: FittedReader) -> None:
        self._find(unit)
        cards: AsyncIterator[CardUid] = one.device.cards()
        async for card in cards:
            for listener in tuple(self._card_listeners):
                listener(one.id, card)
            self._asking[one.id] = one
            if card.random:
                self._post(CardUnusable(one.id, one.evses))
            else:
                log.info("reader %s: card %s", one.id, card)
                self._post(CardPresented(one.id, IdToken(card.text), one.evses))
        raise DeviceGone(f"{unit.name}: no more cards; check its plug")

    # --- locks and lights --------------------------------------------------------------------

    def _move(self, evse: int, order: str) -> None:
        unit = self._locks.get(evse)
        if unit is None:
            self._post(LockReported(evse, locked=True))
        elif unit.health is Health.LOST or (order == "unlock" and not self._gate.may_unlock(evse)):
            log.error("evse=%s not moved: %s", evse, unit.detail or "the power path is not open")
            self._post(LockReported(evse, locked=order == "unlock", jammed=True))
        else:
            unit.orders.put_nowait(order)

    def _bolt_moved(self, unit: _Unit, evse: int, locked: bool) -> None:
        """Without an order: somebody forced it, or it sprang back."""
        if not unit.moving:
            log.warning("evse=%s the bolt of the plug lock moved by itself: %s", evse,
                        "locked" if locked else "not locked")
            self._bolt_found(evse, locked=locked)

    def _bolt_found(self, evse: int, *, locked: bool) -> None:
        self._gate.lock_reported(evse, locked=locked)
        self._post(LockReported(evse, locked=locked))

    async def _serve_lock(self, unit: _Unit, evse: int) -> None:
        lock = self.fitted.locks[evse]
        came_back = unit.health is Health.LOST
        self._find(unit)
        async with asyncio.timeout(READ_LIMIT_S):
            found = await lock.is_locked()
        if found or (came_back and found is False):
            self._bolt_found(evse, locked=found)
        if not unit.listened:
            unit.listened = True
            lock.listen(lambda locked: self.post_threadsafe(self._bolt_moved, unit, evse, locked))
        while True:
            unit.moving = False
            order = await unit.orders.get()
            unit.moving = True
            self._gate.lock_reported(evse, locked=False)
            try:
                async with asyncio.timeout(MOVE_LIMIT_S):
                    moved = await (lock.lock() if order == "lock" else lock.unlock())
            except (HalError, TimeoutError):
                self._post(LockReported(evse, locked=order == "unlock", jammed=True))
                raise
            locked = (order == "lock") is (moved is not False)
            self._gate.lock_reported(evse, locked=locked)
            self._post(LockReported(evse, locked=locked, jammed=moved is False))

    async def _serve_indicator(self, unit: _Unit) -> None:
        assert isinstance(unit.device, Indicator)
        self._find(unit)
        passing, adjusted = False, None
        while True:
            pattern = await newest(unit.orders, else_after_s=PASSING_S if passing else None)
            pattern = unit.lasting if pattern is None else pattern
            async with asyncio.timeout(READ_LIMIT_S):
                lights = self.lights()
                if unit.device.adjusts and lights != adjusted:
                    adjusted = lights
                    await unit.device.adjust(intensity_percent=lights[0], blink_times=lights[1])
                await unit.device.show(pattern)
            passing = pattern in PASSING
