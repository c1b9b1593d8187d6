"""OpenEVSE, a pilot board that switches its own contactor, over its serial RAPI.

Source: "RAPI protocol" in the firmware of OpenEVSE (rapi_proc.h, J1772EvseController.cpp), v3 and
later, for the commands that take a number; the states of `$GS`, supervision by `$SY`.
Field:  not yet.

The board watches diode, residual current, earth, its relay and its temperature itself, and opens
when the car leaves C. Supervised by `$SY`, it falls back to 6 A when nobody speaks to it: to less
it cannot, and it does not open. Acknowledging a missed pulse raises the current to the most that is
configured, so that is done asleep. Current is set with V always: without it, it is written into a
memory that wears. After its own start it offers by itself, so it is put to sleep as soon as it says
that it started.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from hal.aside import aside
from hal.contracts import ControlPilot, Option, Parts
from hal.errors import BadReading, DeviceGone, DeviceTimeout, HalError
from hal.late import dataclass
from hal.rapi import Answer, Rapi, SerialWire, Wire, number_of
from hal.values import Offer, OfferKind, PilotReading, PilotState

log = logging.getLogger(__name__)

STATES: Mapping[int, PilotState] = {
    1: PilotState.A, 2: PilotState.B, 3: PilotState.C, 4: PilotState.D}
DIODE_FAILED, RELAY_STUCK, SLEEPING, DISABLED = 0x05, 0x08, 0xFE, 0xFF
ALARMS: Mapping[int, str] = {
    0x06: "rcd", 0x07: "ground", 0x09: "rcd", 0x0A: "temperature", 0x0B: "over_current"}
FALLBACK_A = 6  # the least the board can be told to fall back to
ACKNOWLEDGE = 165  # of a missed pulse
MISSED = 2  # the trigger of supervision: a pulse was missed, and it was not acknowledged

IDLE_S = 2.0  # how often the board is looked at though nobody asks: a word of it may be lost
CUT_WAIT_S = 0.8
LOOKS = 3


@dataclass(frozen=True)
class Status:
    """What `$GS` and `$AT` tell: the state of the board, and that of the pilot beneath it."""

    board: int
    pilot: int | None

    @property
    def awake(self) -> bool:
        return self.board in STATES


class Pilot(ControlPilot):
    pushes: ClassVar[bool] = True
    switches: ClassVar[bool] = True
    silence_timeout: ClassVar[bool] = True
    watches: ClassVar[tuple[str, ...]] = ("rcd", "ground", "temperature", "over_current")
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("port", str, required=True, role="port",
               help='name the device: port = "/dev/serial/by-id/…"'),
        Option("baudrate", int, 115200, minimum=9600, maximum=115200),
        Option("silence_s", int, 10, minimum=3, maximum=300,
               help="silence after which the board falls back to 6 A by itself"),
    )

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        super().__init__(name, evse, options, parts)
        self.idle_s: float | None = IDLE_S
        self._mono_ns = parts.monotonic_ns or time.monotonic_ns
        self._line: Rapi | None = None
        self._listener: Callable[[PilotReading], None] = lambda reading: None
        self._told: PilotReading | None = None  # what the listener heard last
        self._order = object()  # the last offer or cut: an offer that was overtaken is not sent
        self._ordered: Offer | None = None  # what the board was told; None: not known
        self._set_a = 0  # the current that goes with it
        self._restarted = self._stuck = False
        self._pulse_ns: int | None = None
        self._unheard = False  # it left a cut waiting: waited for again once it was heard

    def make_wire(self) -> Wire:
        """Opens the port, in the thread of its line."""
        return SerialWire(str(self.options["port"]), int(self.options["baudrate"]))

    def listen(self, listener: Callable[[PilotReading], None]) -> None:
        self._listener = listener

    async def open(self) -> None:
        """Asleep if nobody ordered anything yet, and supervised. Raises DeviceGone."""
        self._ordered, self._restarted = None, False
        await self._supervise()

    async def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:  # it ends when the board has answered, or not
            await aside(line.close, f"close {self.name}")

    async def read(self) -> PilotReading:
        """Feeds the board's supervision too: who reads is the daemon's own cycle.

        Raises DeviceGone also when the board is not as it was ordered: it started anew, or its
        button or timer was used. It is put to sleep then, opened, and told anew.
        """
        order, ordered = self._order, self._ordered
        status = await self._status()
        if order is self._order:
            self._check(status, ordered)
        await self._pulse()
        reading = self._reading(status)
        self._told = reading
        return reading

    async def offer(self, offer: Offer) -> None:
        """Confirmed by the board's own state, and the current it says it set."""
        order = self._order = object()
        self._ordered = None

        def wanted() -> bool:
            return order is self._order

        if offer.kind is OfferKind.CURRENT:
            await self._wake(int(offer.current_a + 1e-6), wanted)
        else:
            await self._must("FD" if offer.kind is OfferKind.UNAVAILABLE else "FS", wanted=wanted)
        await self._confirm(offer, wanted)
        self._restarted = False
        self._ordered = offer

    def cut(self) -> None:
        """Disabled, which opens the contactor without waiting for the car; then asleep, so that the
        pilot is at its steady level again."""
        self._order = object()
        self._ordered = Offer(OfferKind.NONE)
        try:
            if self._unheard:
                self._opened().tell("FD", "FS", done=self._hear)
                raise DeviceTimeout("ordered off, and the board does not answer")
            self._wait_for("FD", "FS")
        except HalError as error:
            raise self._named(error) from error

    def _wait_for(self, *cut: str) -> None:
        try:
            self._opened().ask_now(*cut, wait_s=CUT_WAIT_S, tries=3)
        except DeviceTimeout:
            self._unheard = True
            raise

    def _hear(self, answer: Answer | HalError) -> None:
        if not isinstance(answer, HalError):
            self._unheard = False

    def stuck(self) -> bool | None:
        return self._stuck

    # --- offering ----------------------------------------------------------------------------

    async def _wake(self, current_a: int, wanted: Callable[[], bool]) -> None:
        """The current first, awake then: it never offers more than is meant."""
        await self._pulse(at_once=True)
        answer = await self._asked(f"SC {current_a} V", wanted=wanted)
        set_a = number_of(answer.words[0], 10, "the current") if answer.words else current_a
        if set_a > current_a or (not answer.ok and not answer.words):
            raise BadReading(f"{self.name}: told {current_a} A it would offer {set_a} A; "
                             "what is its least current ($GC)?")
        self._set_a = set_a
        await self._asked("SB", wanted=wanted)  # a boot lock, where the firmware has one
        await self._must("FE", wanted=wanted)

    async def _confirm(self, offer: Offer, wanted: Callable[[], bool]) -> None:
        for _ in range(LOOKS):
            status = await self._status()
            if not wanted():
                raise BadReading(f"{self.name}: an offer was withdrawn while it was put")
            if _agree(status, offer):
                return
        raise BadReading(f"{self.name}: told {offer.kind.value} the board is in state "
                         f"{status.board:02X}; see its display")

    # --- supervision -------------------------------------------------------------------------

    async def _supervise(self) -> None:
        """Written by the board into a memory that wears: only when it differs."""
        silence_s = int(self.options["silence_s"])
        answer = await self._asked("GY")
        if answer.words[:2] != (str(silence_s), str(FALLBACK_A)):
            answer = await self._asked(f"SY {silence_s} {FALLBACK_A}")
            if not answer.ok:
                raise DeviceGone(f"{self.name}: the board takes no supervision ($SY); its firmware "
                                 "is too old to be left alone with a contactor")
        self._pulse_ns = self._mono_ns()

    async def _pulse(self, *, at_once: bool = False) -> None:
        """Twice within the time of supervision and more; a missed one is acknowledged asleep."""
        now_ns = self._mono_ns()
        every_ns = int(self.options["silence_s"]) * 1_000_000_000 // 3
        if not at_once and self._pulse_ns is not None and now_ns - self._pulse_ns < every_ns:
            return
        answer = await self._asked("SY")
        self._pulse_ns = now_ns
        if answer.ok and answer.words[2:3] != (str(MISSED),):
            return
        if not at_once:
            raise DeviceGone(f"{self.name}: the board heard nothing for {self.options['silence_s']}"
                             " s and fell back to 6 A; it is told anew")
        await self._must("FS")
        await self._asked(f"SY {ACKNOWLEDGE}")

    # --- looking -----------------------------------------------------------------------------

    async def _status(self) -> Status:
        answer = await self._asked("GS")
        self._unheard = False
        return self._status_of(answer.words)

    def _status_of(self, words: tuple[str, ...]) -> Status:
        """Of `$GS`: state, elapsed, pilot state, flags; older firmware has no pilot state."""
        if not words:
            raise BadReading(f"{self.name}: $GS says nothing; is this an OpenEVSE?")
        pilot = number_of(words[2], 16, "the pilot state") if len(words) > 2 else None
        return Status(number_of(words[0], 16, "the state"), pilot)

    def _check(self, status: Status, ordered: Offer | None) -> None:
        fault = status.board in ALARMS or status.board in (DIODE_FAILED, RELAY_STUCK)
        if self._restarted or (ordered is not None and not fault and not _agree(status, ordered)):
            self._restarted, self._ordered = False, None
            self._opened().tell("FS")
            raise DeviceGone(f"{self.name}: the board is in state {status.board:02X}, which nobody "
                             "ordered; it started anew, or its button or timer was used")

    def _reading(self, status: Status) -> PilotReading:
        self._stuck = status.board == RELAY_STUCK
        alarm = ALARMS.get(status.board)
        return PilotReading(
            self._state(status),
            offered_a=float(self._set_a) if status.awake else 0.0,
            diode_ok=status.board != DIODE_FAILED,
            alarms=(alarm,) if alarm else ())

    @staticmethod
    def _state(status: Status) -> PilotState | None:
        """Disabled the board holds the pilot at -12 V; in its faults too, unless it says otherwise.
        """
        if status.awake:
            return STATES[status.board]
        if status.board == DISABLED:
            return PilotState.F
        beneath = STATES.get(status.pilot or 0)
        faulty = status.board in (DIODE_FAILED, RELAY_STUCK) or status.board in ALARMS
        return beneath or (PilotState.F if faulty else None)

    # --- what comes unasked ------------------------------------------------------------------

    def _heard(self, words: tuple[str, ...]) -> None:
        """In the worker's thread: a change of state, or that the board started."""
        if words[0] == "AB":
            log.warning("%s: the board started anew", self.name)
            self._restarted = True
            self._line_tell("FS")
            self._push(PilotReading(None))
        elif words[0] == "AT" and len(words) >= 3:
            try:
                status = self._status_of((words[1], "0", words[2]))
            except BadReading as error:
                log.debug("%s: %s", self.name, error)
                return
            if status.board != DISABLED or self._ordered == Offer(OfferKind.UNAVAILABLE):
                self._push(self._reading(status))

    def _idle(self) -> None:
        """Nobody has asked for a while: look, for a word of the board may have been lost."""
        line = self._line
        if line is None:
            return

        def done(answer: Answer | HalError) -> None:
            if isinstance(answer, HalError):
                self._push(PilotReading(None))
            elif answer.ok and answer.words:
                self._heard(("AT", answer.words[0], *answer.words[2:3]))

        line.tell("GS", done=done)

    def _lost(self, error: HalError) -> None:
        self._push(PilotReading(None))

    def _push(self, reading: PilotReading) -> None:
        if reading != self._told:
            self._told = reading
            self._listener(reading)

    # --- the line ----------------------------------------------------------------------------

    def _opened(self) -> Rapi:
        if self._line is None:
            self._line = Rapi(self.name, self.make_wire, heard=self._heard,
                              lost=self._lost, idle=self._idle, idle_s=self.idle_s)
        return self._line

    def _line_tell(self, command: str) -> None:
        if self._line is not None:
            self._line.tell(command)

    async def _asked(self, command: str, *, wanted: Callable[[], bool] | None = None) -> Answer:
        try:
            return await self._opened().ask(command, tries=2, wanted=wanted)
        except HalError as error:
            raise self._named(error) from error

    async def _must(self, command: str, *, wanted: Callable[[], bool] | None = None) -> None:
        answer = await self._asked(command, wanted=wanted)
        if not answer.ok:
            raise BadReading(f"{self.name}: the board refuses ${command}; see its display")

    def _named(self, error: HalError) -> HalError:
        said = str(error)
        return error if said.startswith(self.name) else type(error)(f"{self.name}: {said}")


def _agree(status: Status, offer: Offer) -> bool:
    """Whether the board is as it was ordered."""
    match offer.kind:
        case OfferKind.CURRENT:
            return status.awake
        case OfferKind.UNAVAILABLE:
            return status.board == DISABLED
        case OfferKind.NONE:
            return status.board == SLEEPING
