"""A pilot whose board does not tell the rating of the cable, and an input that does.

Stands for the pilot everywhere but where a board switches its contactor. The cable is measured when
a plug comes in and once a second while somebody reads; until it has been measured it counts as one
that carries nothing.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from hal.contracts import ControlPilot, Proximity
from hal.errors import HalError
from hal.values import Offer, PilotReading

log = logging.getLogger(__name__)

FRESH_S = 1.0
SAME = ("pushes", "watches", "watched", "switches", "silence_timeout", "unfit")


class CabledPilot(ControlPilot):
    def __init__(self, pilot: ControlPilot, proximity: Proximity) -> None:
        super().__init__(pilot.name, pilot.evse, pilot.options, pilot.parts)
        for word in SAME:  # what the board can is what it can
            setattr(self, word, getattr(pilot, word))
        self._pilot = pilot
        self._proximity = proximity
        self._measured: tuple[float, float] | None = None  # rating, when; None: not this cable
        self._listener: Callable[[PilotReading], None] = lambda reading: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._measuring: asyncio.Task[None] | None = None
        self.monotonic_s: Callable[[], float] = time.monotonic

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        await self._pilot.open()
        await self._proximity.open()

    async def close(self) -> None:
        if self._measuring is not None:
            self._measuring.cancel()
        try:
            await self._pilot.close()
        finally:
            await self._proximity.close()

    async def read(self) -> PilotReading:
        reading = await self._pilot.read()
        if not self._asks(reading):
            return reading
        measured = self._measured
        if measured is None or self.monotonic_s() - measured[1] > FRESH_S:
            measured = self._measured = await self._proximity.cable_a(), self.monotonic_s()
        return replace(reading, cable_a=measured[0])

    async def offer(self, offer: Offer) -> None:
        await self._pilot.offer(offer)

    def cut(self) -> None:
        self._pilot.cut()

    def stuck(self) -> bool | None:
        return self._pilot.stuck()

    def listen(self, listener: Callable[[PilotReading], None]) -> None:
        self._listener = listener
        self._pilot.listen(self._heard)

    def _asks(self, reading: PilotReading) -> bool:
        """Whether there is a cable that the board says nothing about; without a plug, none."""
        if reading.state is None or not reading.state.plugged:
            self._measured = None
            return False
        return reading.cable_a is None

    def _heard(self, reading: PilotReading) -> None:
        """The board tells a change, from any thread."""
        if not self._asks(reading):
            self._listener(reading)
            return
        measured = self._measured
        self._listener(replace(reading, cable_a=measured[0] if measured else 0.0))
        if measured is None and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._measure)

    def _measure(self) -> None:
        if self._measuring is None or self._measuring.done():
            self._measuring = asyncio.ensure_future(self._tell())

    async def _tell(self) -> None:
        """Read whole and tell; who hears of an unknown state reads and learns why."""
        try:
            reading = await self.read()
        except HalError as error:
            log.debug("%s", error)
            reading = PilotReading(None)
        self._listener(reading)
