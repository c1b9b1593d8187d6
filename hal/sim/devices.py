"""The drivers named "sim": they show the simulated board to the daemon, each as one contract.

They wait on nothing but taps and cost no wake-ups; pilot and inputs push their changes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, ClassVar

from hal.contracts import (
    CardReader,
    Contactor,
    ControlPilot,
    Device,
    EnergyMeter,
    Heartbeat,
    Indicator,
    Inputs,
    Option,
    Parts,
    PlugLock,
)
from hal.contracts import Proximity as CableContract
from hal.errors import BadConfig, DeviceGone
from hal.sim.board import Board
from hal.sim.words import INPUT_FAULTS
from hal.values import CardUid, MeterReading, Offer, PilotReading


def _board(device: Device | Contactor) -> Board:
    if device.parts.board is None:
        raise BadConfig(f"{device.name}: driver \"sim\" needs the simulated board")
    return device.parts.board


def _evse(device: Device | Contactor) -> int:
    if device.evse is None:
        raise BadConfig(f"{device.name}: a simulated device of this kind belongs to one EVSE")
    return device.evse


class Reader(CardReader):
    """Sees the cards that `tap` holds to it."""

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        super().__init__(name, evse, options, parts)
        self._seen: asyncio.Queue[CardUid | None] | None = None  # None in it: lost

    async def open(self) -> None:
        self._seen = asyncio.Queue()
        _board(self).add_reader(self)

    async def close(self) -> None:
        self.lose()

    async def cards(self) -> AsyncIterator[CardUid]:
        if self._seen is None:
            raise DeviceGone(f"{self.name}: is not open; open it first")
        while (card := await self._seen.get()) is not None:
            yield card
        raise DeviceGone(f"{self.name}: simulated reader is gone; clear reader_lost")

    def hold(self, card: CardUid) -> None:
        if self._seen is not None:
            self._seen.put_nowait(card)

    def lose(self) -> None:
        _board(self).remove_reader(self)
        if self._seen is not None:
            self._seen.put_nowait(None)


class Meter(EnergyMeter):
    async def read(self) -> MeterReading:
        return _board(self).read_meter(_evse(self))


class Pilot(ControlPilot):
    pushes: ClassVar[bool] = True

    async def read(self) -> PilotReading:
        return _board(self).read_pilot(_evse(self))

    async def offer(self, offer: Offer) -> None:
        _board(self).set_offer(_evse(self), offer)

    def listen(self, listener: Callable[[PilotReading], None]) -> None:
        _board(self).listen_pilot(_evse(self), listener)


class Switch(Contactor):
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("feedback", bool, True, help="an auxiliary contact is fitted"),
    )

    @classmethod
    def feeds_back(cls, options: Mapping[str, Any]) -> bool:
        return bool(options.get("feedback", True))

    def _energise(self) -> None:
        _board(self).set_coil(_evse(self), on=True)

    def _release(self) -> None:
        _board(self).set_coil(_evse(self), on=False)

    def _read_feedback(self) -> bool | None:
        if not self.options.get("feedback", True):
            return None
        return _board(self).feedback(_evse(self))


class Lock(PlugLock):
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("feedback", bool, True, help="the lock tells where its bolt is"),
    )

    async def lock(self) -> bool | None:
        return self._told(_board(self).move_lock(_evse(self), shut=True))

    async def unlock(self) -> bool | None:
        return self._told(_board(self).move_lock(_evse(self), shut=False))

    def _told(self, arrived: bool) -> bool | None:
        return arrived if self.options.get("feedback", True) else None


class Proximity(CableContract):
    """Measures the cable that comes with the car."""

    async def cable_a(self) -> float:
        return _board(self).look(_evse(self)).cable_a or 0.0


class SafetyInput(Inputs):
    """Good until the board's fault of that kind trips it.

    Which input it is stands in its option `input`, else in its name ("rcd 1", "input rcd").
    """

    pushes: ClassVar[bool] = True
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("input", str, "", help="rcd, emergency_stop, door, temperature, ground …"),
    )

    async def open(self) -> None:
        _board(self).fit_input(self.evse, self._input())

    async def good(self) -> bool:
        return _board(self).read_input(self.evse, self._input())

    def listen(self, listener: Callable[[bool], None]) -> None:
        _board(self).listen_input(self.evse, self._input(), listener)

    def _input(self) -> str:
        if self.options.get("input"):
            return str(self.options["input"])
        words = self.name.split()
        known = {name for name, _ in INPUT_FAULTS.values()}
        return next((word for word in words if word in known), words[0])


class Lights(Indicator):
    adjusts = True

    async def adjust(self, *, intensity_percent: int, blink_times: int) -> None:
        _board(self).light(self.evse, intensity_percent, blink_times)

    async def show(self, pattern: str) -> None:
        _board(self).show(self.evse, pattern)


class Beat(Heartbeat):
    """A hold-in relay that nothing hangs on: it shows what it was fed."""

    beats = 0
    level = False

    def beat(self) -> None:
        self.beats += 1
        self.level = not self.level

    def rest(self) -> None:
        self.level = False
