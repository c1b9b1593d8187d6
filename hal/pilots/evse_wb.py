"""EVSE-WB, EVSE-DIN and EVSE-W16 (SimpleEVSE), a pilot board with a relay, on Modbus RTU.

Source: "EVSE Wallbox, DIN, W16 datasheet" of 2019 and 2020, Modbus registers (read by function 3,
written by 16; 9600 8N1, id 1, 200 ms between requests), second hand: the register tables of the
projects evcc, openWB, SimpleEVSE-WiFi and ESPHome.
Field:  not yet.

The board closes its relay by itself when current is on offer and the car asks, and opens it when
the car leaves C. It has no time-out for a silent master: it goes on offering what it was told last.
So it gets an enable contactor of ours in series (docs/pilot-boards.md). Registers from 2000 on lie
in a memory that wears: they are written only when they differ.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from hal.contracts import ControlPilot, Option, Parts
from hal.errors import BadReading, DeviceGone, DeviceTimeout, ExceptionAnswer, HalError
from hal.late import dataclass
from hal.rtu import READ_HOLDING, WRITE_REGISTERS, Request
from hal.values import Offer, OfferKind, PilotReading, PilotState

log = logging.getLogger(__name__)

CURRENT, COMMAND, STATUS_WORDS = 1000, 1004, 8  # what is read at each look: 1000 to 1007
BOOT_CURRENT, CONFIG, CONFIG_WORDS = 2000, 2005, 6  # read once: 2000 to 2005
TURN_OFF = 1  # in the command register
FINE_FROM = 17  # firmware that may count in 0.01 A

RCD_FEEDBACK, FINE, DISABLED, BOOTLOADER = 1 << 4, 1 << 7, 1 << 14, 1 << 15
DISABLES_ITSELF = 1 << 13  # after each charge
DIODE_FAILED, RCD_TEST, RCD_ERROR = 1 << 1, 1 << 4, 1 << 5

OFF = 3  # of the EVSE state
VEHICLE: Mapping[int, PilotState] = {
    1: PilotState.A, 2: PilotState.B, 3: PilotState.C, 4: PilotState.D, 5: PilotState.E}

LOOKS = 3  # how often it is looked whether a written offer is on the pilot
TRIES = 2
CUT_TRIES = 3  # a cut is harmless when it is sent twice
CUT_WAIT_MOST_S = 1.0  # everything else stands still as long


@dataclass(frozen=True)
class Status:
    """Registers 1000 to 1007 at one moment, currents as they stand there."""

    set_current: int
    on_pilot: int
    vehicle: int
    cable_a: int
    command: int
    firmware: int
    evse_state: int
    flags: int


class Pilot(ControlPilot):
    """Modbus pilot board without a time-out of its own."""

    switches: ClassVar[bool] = True
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("bus", str, required=True, role="bus",
               help="the serial line: name of a [serial.…]"),
        Option("address", int, 1, minimum=1, maximum=247, role="address",
               help="Modbus id of the board (register 2001; 1 as delivered)"),
        Option("rcd", bool, False, help="an RCD reports to the board (its pin MCLR)"),
    )

    @classmethod
    def watched(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        return ("rcd",) if options.get("rcd") else ()

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        super().__init__(name, evse, options, parts)
        self._bus = parts.serial(name, str(options["bus"]))
        self._address = int(options["address"])
        self._per_amp: int | None = None  # units of the current registers; None: not known yet
        self._minimum_a = 0
        self._config = 0
        self._ordered: int | None = None  # what register 1000 must hold; None: nobody said
        self._order = object()  # the last offer or cut: an offer that was overtaken is not sent
        self._boot_refused = False
        self._turned_off = True  # the command to turn off may stand
        self._asked_off = False  # why the board says it is off has been asked
        self._unheard = False  # it left a cut waiting: waited for again once it was heard

    async def open(self) -> None:
        """Learn units and limits, and see that the board offers nothing after its own start."""
        self._per_amp, self._ordered = None, None
        await self._asked(None)
        await self._learn()

    async def read(self) -> PilotReading:
        """Raises DeviceGone also when the board forgot its order (a restart, its button): it is
        opened and told anew then."""
        per_amp = await self._learned()
        order, ordered = self._order, self._ordered
        status = await self._status()
        forgot = ordered is not None and ordered != status.set_current
        if forgot and order is self._order:
            self._ordered = None
            raise DeviceGone(
                f"{self.name}: the board is set to {status.set_current / per_amp:g} A and was told "
                f"{(ordered or 0) / per_amp:g} A; it was restarted, or its button changes the "
                "current (register 2005, bit 0)")
        return await self._reading(status, per_amp)

    async def offer(self, offer: Offer) -> None:
        """Confirmed by register 1000 holding it and 1001 showing no more."""
        order = self._order = object()
        self._ordered = None

        def wanted() -> bool:
            return order is self._order

        per_amp = await self._learned()
        units = self._units(offer, per_amp)
        if units:
            await self._turn_on(wanted)
        await self._write(CURRENT, units, wanted=wanted)
        # state F is a bit of the configuration: a latched defect brings it about, not each charge
        disabled = DISABLED if offer.kind is OfferKind.UNAVAILABLE else 0
        await self._configure(self._config & ~DISABLED | disabled)
        await self._confirm(units, per_amp, wanted)
        self._ordered = units

    def cut(self) -> None:
        """The command to turn off now, and no current on offer; to the head of the bus queue."""
        self._order = object()
        self._ordered, self._turned_off = 0, True
        off = Request(self._address, WRITE_REGISTERS, COMMAND, values=(TURN_OFF,))
        nothing = Request(self._address, WRITE_REGISTERS, CURRENT, values=(0,))
        try:
            self._bus.tell_now(off, tries=CUT_TRIES)
            if self._unheard:
                self._bus.tell_now(nothing, self._hear, tries=CUT_TRIES)
                raise DeviceTimeout("ordered off, and the board does not answer")
            self._wait_for(nothing)
        except HalError as error:
            raise self._named(error) from error

    def _wait_for(self, cut: Request) -> None:
        # with an exchange that is under way
        wait_s = min(3 * self._bus.settings.timeout_s + 0.1, CUT_WAIT_MOST_S)
        try:
            self._bus.ask_now(cut, wait_s=wait_s, must_happen=True, tries=CUT_TRIES)
        except DeviceTimeout:
            self._unheard = True
            raise

    def _hear(self, answer: tuple[int, ...] | HalError) -> None:
        if not isinstance(answer, HalError):
            self._unheard = False

    # --- learning ----------------------------------------------------------------------------

    async def _learned(self) -> int:
        return await self._learn() if self._per_amp is None else self._per_amp

    async def _learn(self) -> int:
        status = await self._status()
        boot_a, _, minimum_a, _, _, config = await self._asked(
            Request(self._address, READ_HOLDING, BOOT_CURRENT, CONFIG_WORDS))
        self._minimum_a, self._config = minimum_a, config
        await self._no_current_after_boot(boot_a)
        wanted = config & ~DISABLES_ITSELF | (RCD_FEEDBACK if self.options.get("rcd") else 0)
        await self._configure(wanted)
        self._per_amp = 100 if status.firmware >= FINE_FROM and config & FINE else 1
        log.info("%s: firmware %d, at least %d A, counts in %s", self.name, status.firmware,
                 minimum_a, "0.01 A" if self._per_amp == 100 else "1 A")
        return self._per_amp

    async def _no_current_after_boot(self, boot_a: int) -> None:
        if boot_a == 0 or self._boot_refused:
            return
        try:
            await self._write(BOOT_CURRENT, 0)
            boot_a, = await self._asked(Request(self._address, READ_HOLDING, BOOT_CURRENT, 1))
        except ExceptionAnswer as error:
            log.debug("%s: %s", self.name, error)
        if boot_a:
            self._boot_refused = True
            log.warning("%s: the board offers %d A after its own start and takes no other value "
                        "(register 2000); only an enable contactor keeps the path open then",
                        self.name, boot_a)

    async def _configure(self, wanted: int) -> None:
        wanted &= ~BOOTLOADER
        if wanted == self._config:
            return
        await self._write(CONFIG, wanted)
        config, = await self._asked(Request(self._address, READ_HOLDING, CONFIG, 1))
        self._config = config
        if config != wanted:
            raise BadReading(f"{self.name}: register 2005 is {config:#06x} though {wanted:#06x} "
                             "was written; see the datasheet of this firmware")

    # --- looking -----------------------------------------------------------------------------

    async def _status(self) -> Status:
        words = await self._asked(Request(self._address, READ_HOLDING, CURRENT, STATUS_WORDS))
        self._unheard = False
        status = Status(*words)
        if status.vehicle not in VEHICLE or not 1 <= status.evse_state <= OFF:
            raise BadReading(f"{self.name}: vehicle state {status.vehicle}, EVSE state "
                             f"{status.evse_state}; is there an EVSE-WB at address "
                             f"{self._address}?")
        return status

    async def _reading(self, status: Status, per_amp: int) -> PilotReading:
        bad_rcd = self.options.get("rcd") and status.flags & (RCD_TEST | RCD_ERROR)
        return PilotReading(
            await self._state(status),
            cable_a=float(status.cable_a) if status.cable_a else None,
            offered_a=min(status.set_current, status.on_pilot) / per_amp,
            diode_ok=not status.flags & DIODE_FAILED,
            alarms=("rcd",) if bad_rcd else ())

    async def _state(self, status: Status) -> PilotState:
        """Switched off counts as state F only where it was not to be expected: with nothing on
        offer firmware differs in what it says."""
        state = VEHICLE[status.vehicle]
        if status.evse_state != OFF or state is PilotState.E:
            self._asked_off = False
            return state
        if not self._asked_off:
            self._asked_off = True
            config, = await self._asked(Request(self._address, READ_HOLDING, CONFIG, 1))
            self._config = config
        disabled = self._config & DISABLED or status.set_current
        return PilotState.F if disabled else state

    # --- telling -----------------------------------------------------------------------------

    def _units(self, offer: Offer, per_amp: int) -> int:
        if offer.kind is not OfferKind.CURRENT:
            return 0
        if offer.current_a < self._minimum_a:
            raise BadReading(f"{self.name}: {offer.current_a:g} A cannot be offered, the board's "
                             f"least is {self._minimum_a} A; write 6 to its register 2002")
        return math.floor(offer.current_a * per_amp + 1e-6)  # a broken ampere is not rounded up

    async def _turn_on(self, wanted: Callable[[], bool]) -> None:
        """Take the command of a cut back; harmless where the board forgets it by itself."""
        if not self._turned_off:
            return
        self._turned_off = False  # before the write: a cut meanwhile sets it again
        try:
            await self._write(COMMAND, 0, wanted=wanted)
        except HalError:
            self._turned_off = True
            raise

    async def _confirm(self, units: int, per_amp: int, wanted: Callable[[], bool]) -> None:
        for _ in range(LOOKS):
            status = await self._status()
            if not wanted():
                raise BadReading(f"{self.name}: an offer was withdrawn while it was put")
            if status.set_current == units and status.on_pilot <= units:
                return
        raise BadReading(
            f"{self.name}: told {units / per_amp:g} A the board is set to "
            f"{status.set_current / per_amp:g} A and offers {status.on_pilot / per_amp:g} A")

    async def _write(self, register: int, value: int, *,
                     wanted: Callable[[], bool] | None = None) -> None:
        request = Request(self._address, WRITE_REGISTERS, register, values=(value,))
        try:
            await self._bus.ask(request, tries=1, wanted=wanted)
        except HalError as error:
            raise self._named(error) from error

    async def _asked(self, request: Request | None) -> tuple[int, ...]:
        """Before the meters of the line: a pilot that was not read for 1 s opens the contactor."""
        try:
            return await self._bus.ask(request, tries=TRIES, urgent=True)
        except HalError as error:
            raise self._named(error) from error

    def _named(self, error: HalError) -> HalError:
        return type(error)(f"{self.name}: {error}")
