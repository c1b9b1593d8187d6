"""The only one who puts offers on the pilots, and reads them for everybody.

The newest wish wins and is tried again until the board confirmed it; the core is told what was
confirmed. Whether something may be offered is the core's business; raising an offer has waited for
the books in the executor.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from cpctl.core.events import Event, OfferConfirmed
from cpctl.runtime.power_gate import PowerGate
from hal.contracts import ControlPilot
from hal.errors import HalError
from hal.values import NO_OFFER, Offer, OfferKind, PilotReading

log = logging.getLogger(__name__)

ANSWER_LIMIT_S = 3.0  # a pilot board that has not answered by then does not
AGAIN_S = 1.0
HELD_S = 0.25  # between two looks whether an offer that the gate holds may go out


class PilotKeeper:
    """Offers of all EVSEs. `lost(evse, detail)` is told when a board does not take one."""

    def __init__(self, pilots: Mapping[int, ControlPilot], gate: PowerGate, *,
                 spawn: Callable[[Coroutine[Any, Any, Any], str], object],
                 lost: Callable[[int, str], None], post: Callable[[Event], None],
                 mono_ns: Callable[[], int]):
        self._pilots = pilots
        self._gate = gate
        self._spawn = spawn
        self._lost = lost
        self._post = post
        self._mono_ns = mono_ns
        self._wanted: dict[int, Offer] = {}
        self._number: dict[int, int] = {}  # of the order that is wanted
        self._put: dict[int, Offer | None] = {}
        self._busy: set[int] = set()
        self._cuts: dict[int, int] = {}  # how often the gate ordered the board of an EVSE off
        self._resting = False

    def offer(self, evse: int, offer: Offer, number: int = 0) -> None:
        """Put `offer`, the core's order `number`, on the pilot of `evse`, as soon as its board
        takes it; an `OfferConfirmed` tells when."""
        self._gate.current_offered(evse, on=offer.kind is OfferKind.CURRENT)
        if evse not in self._pilots:
            return
        self._wanted[evse], self._number[evse] = offer, number
        if evse not in self._busy and self._put.get(evse) == offer:
            self._post(OfferConfirmed(evse, offer, number))  # it is out already
        self._go_on(evse)

    def cut(self, evse: int) -> None:
        """The gate has ordered the board off: whatever was put there is withdrawn. What is wanted
        goes out again when the gate admits it."""
        self._cuts[evse] = self._cuts.get(evse, 0) + 1
        self._put[evse] = None
        if evse in self._wanted and not self._resting:
            self._go_on(evse)

    def rest(self) -> None:
        """The station ends: no current is put on offer any more, and nothing anew after a cut."""
        self._resting = True

    def reopened(self, evse: int) -> None:
        """The board came back and may have forgotten: tell it again."""
        self._put[evse] = None
        self._wanted.setdefault(evse, NO_OFFER)
        self._go_on(evse)

    async def read(self, evse: int) -> PilotReading:
        """Read the pilot and tell the gate at once. Raises HalError, TimeoutError."""
        at_ns = self._mono_ns()
        async with asyncio.timeout(ANSWER_LIMIT_S):
            reading = await self._pilots[evse].read()
        self._gate.pilot_read(evse, reading, at_ns)
        return reading

    async def withdraw_what_is_left(self) -> None:
        """First act of a start, after the coils: no board goes on offering what a previous life
        told it. One that does not take it is told, and told again once it was opened."""
        await asyncio.gather(*(self._withdraw(evse, one) for evse, one in self._pilots.items()))

    async def _withdraw(self, evse: int, pilot: ControlPilot) -> None:
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await pilot.open()
                await pilot.offer(NO_OFFER)
        except (HalError, TimeoutError) as error:
            log.warning("evse=%s what was on offer before this start is not withdrawn yet: %s",
                        evse, error)

    async def withdraw_all(self) -> None:
        """At the end: no board is left with current on offer; one that does not take it is told."""
        for evse, pilot in self._pilots.items():
            if self._wanted.get(evse, NO_OFFER).kind is not OfferKind.CURRENT:
                continue
            self._wanted[evse] = NO_OFFER
            try:
                async with asyncio.timeout(ANSWER_LIMIT_S):
                    await pilot.offer(NO_OFFER)
            except (HalError, TimeoutError) as error:
                log.error("evse=%s offer not withdrawn: %s", evse, error)

    def _go_on(self, evse: int) -> None:
        if evse not in self._busy:
            self._busy.add(evse)
            self._spawn(self._bring(evse), f"offer {evse}")

    async def _bring(self, evse: int) -> None:
        held = False
        try:
            while self._put.get(evse) != self._wanted[evse]:
                held = self._is_held(evse)
                if held:
                    await asyncio.sleep(HELD_S)
                else:
                    await self._put_once(evse, self._wanted[evse], self._number.get(evse, 0))
            if held:  # what was held is wanted no longer, and what is wanted is out already
                self._post(OfferConfirmed(evse, self._wanted[evse], self._number.get(evse, 0)))
        finally:
            self._busy.discard(evse)

    def _is_held(self, evse: int) -> bool:
        """Whether the gate does not admit what is wanted yet; less than current it always does."""
        if self._wanted[evse].kind is not OfferKind.CURRENT:
            return False
        reasons = ("resting",) if self._resting else self._gate.admit_offer(evse)
        if reasons:
            log.debug("evse=%s offer held: %s", evse, ", ".join(reasons))
        return bool(reasons)

    async def _put_once(self, evse: int, offer: Offer, number: int) -> None:
        cuts = self._cuts.get(evse)
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await self._pilots[evse].offer(offer)
        except (HalError, TimeoutError) as error:
            self._put[evse] = None
            if self._cuts.get(evse) != cuts:
                return  # overtaken by the cut, and nothing is wrong with the board
            self._lost(evse, str(error) or "the board did not confirm an offer")
            await asyncio.sleep(AGAIN_S)
        else:
            if self._cuts.get(evse) != cuts and offer.kind is OfferKind.CURRENT:
                return  # withdrawn while it was confirmed
            self._put[evse] = offer
            log.debug("evse=%s offer %s", evse, offer)
            if offer == self._wanted[evse]:
                number = self._number.get(evse, number)
            self._post(OfferConfirmed(evse, offer, number))
