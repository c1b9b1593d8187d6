"""An EVSE-WB written from its register table: what it offers, when its relay closes, what it keeps.

The board itself is `EvseWbBoard`. It is reached by the bytes of a FakeLine (`answer`), or as a
device of the independent slave on a pseudo-terminal (`registers`, with spans=SPANS).
"""

from collections.abc import ItemsView
from typing import Any

from support.modbus_slave import HOLDING, INPUT, Registers

from hal.sim.rs485 import crc16, with_crc
from hal.values import PilotState

VEHICLE = {PilotState.A: 1, PilotState.B: 2, PilotState.C: 3, PilotState.D: 4, PilotState.E: 5}
FIRST, STATUS, KEPT, CONFIG = 1000, 10, 2000, 10
SPANS = ((FIRST, STATUS), (KEPT, CONFIG))

ALLOWS_D, RCD_FEEDBACK, FINE, DISABLED = 1 << 3, 1 << 4, 1 << 7, 1 << 14


class EvseWbBoard:
    """`car` is on the pilot; `writes` are all registers written, in order, with their values."""

    def __init__(self, *, firmware: int = 16, config: int = ALLOWS_D | 1, boot_a: int = 0,
                 minimum_a: int = 6, cable_a: int = 32, refuses_boot: bool = False) -> None:
        self.kept = {2000: boot_a, 2001: 1, 2002: minimum_a, 2003: 1, 2004: 0, 2005: config,
                     2006: 0, 2007: 0, 2008: 0, 2009: 3}
        self.firmware = firmware
        self.cable_a = cable_a
        self.refuses_boot = refuses_boot
        self.car = PilotState.A
        self.set_current = 0
        self.command = 0
        self.diode_failed = self.rcd_error = self.rcd_test = False
        self.off_at_rest = False  # firmware that calls "nothing on offer" off
        self.silent = False
        self.stubborn = False  # takes what is written and does not act on it
        self.writes: list[tuple[int, int]] = []
        self.reads: list[tuple[int, int]] = []
        self.power_cycle()
        self.writes.clear()

    def power_cycle(self) -> None:
        """The board starts anew: with the current after boot, and nothing else remembered."""
        self.set_current = self.kept[2000] * self._per_amp
        self.command = 0

    @property
    def kept_writes(self) -> int:
        """Writes into the memory that wears."""
        return sum(register >= KEPT for register, _ in self.writes)

    @property
    def offered_a(self) -> float:
        return self._on_pilot / self._per_amp

    @property
    def relay(self) -> bool:
        """Whether its contactor is closed: the board decides that by itself."""
        asks = self.car is PilotState.C or (
            self.car is PilotState.D and bool(self.kept[2005] & ALLOWS_D))
        return (asks and self._on_pilot > 0 and not self.command & 1
                and not self.diode_failed and not self.rcd_error)

    @property
    def disabled(self) -> bool:
        return bool(self.kept[2005] & DISABLED)

    @property
    def _per_amp(self) -> int:
        return 100 if self.firmware >= 17 and self.kept[2005] & FINE else 1

    @property
    def _on_pilot(self) -> int:
        per_amp = self._per_amp
        if self.disabled or self.set_current < self.kept[2002] * per_amp:
            return 0
        return min(self.set_current, self.cable_a * per_amp)

    # --- registers ---------------------------------------------------------------------------

    def word(self, register: int) -> int:
        """Raises KeyError for a register there is not."""
        if register >= KEPT:
            return self.kept[register]
        return self._status()[register - FIRST] if 0 <= register - FIRST < STATUS else {}[register]

    def _status(self) -> tuple[int, ...]:
        off = self.disabled or (self.off_at_rest and not self._on_pilot)
        state = 3 if off else 2 if self._on_pilot else 1
        flags = self.relay | self.diode_failed << 1 | self.rcd_error << 5
        flags |= self.rcd_test << 4
        vehicle = VEHICLE.get(self.car, 1)
        return (self.set_current, self._on_pilot, vehicle, self.cable_a, self.command,
                self.firmware, state, flags, 0, 0)

    def write(self, register: int, value: int) -> bool:
        """False: refused."""
        if register == 2000 and self.refuses_boot:
            return False
        self.writes.append((register, value))
        if register in self.kept:
            self.kept[register] = value
        elif register == 1000 and not self.stubborn:
            self.set_current = value
        elif register == 1004:
            self.command = value
        return register in self.kept or register in (1000, 1004)

    # --- by the bytes of a line --------------------------------------------------------------

    def answer(self, request: bytes) -> bytes | None:
        """Function 3 and 16 as the board has them; everything else is refused."""
        if self.silent or request[0] != self.kept[2001] or crc16(request[:-2]) != request[-2:]:
            return None
        function = request[1]
        start, count = int.from_bytes(request[2:4]), int.from_bytes(request[4:6])
        try:
            if function == 3:
                return self._read(request, start, count)
            if function == 16:
                return self._written(request, start, count)
        except KeyError:
            return self._refused(request, 2)
        return self._refused(request, 1)

    def _read(self, request: bytes, start: int, count: int) -> bytes:
        self.reads.append((start, count))
        body = b"".join(self.word(start + i).to_bytes(2) for i in range(count))
        return with_crc(request[:2] + bytes((len(body),)) + body)

    def _written(self, request: bytes, start: int, count: int) -> bytes:
        for i in range(count):
            at = 7 + 2 * i
            if not self.write(start + i, int.from_bytes(request[at:at + 2])):
                return self._refused(request, 3)
        return with_crc(request[:6])

    def _refused(self, request: bytes, code: int) -> bytes:
        return with_crc(bytes((request[0], request[1] | 0x80, code)))

    # --- as a device of the independent slave ------------------------------------------------

    def registers(self) -> Registers:
        return Registers(self.kept[2001], words={HOLDING: _Words(self), INPUT: {}})


class _Words(dict[int, int]):
    """The registers of the board as the slave keeps its own."""

    def __init__(self, board: EvseWbBoard) -> None:
        super().__init__()
        self.board = board

    def items(self) -> ItemsView[int, int]:
        found = {at: self.board.word(at) for first, count in SPANS
                 for at in range(first, first + count)}
        return found.items()

    def update(self, written: Any = (), /, **_: Any) -> None:
        for register, value in written:
            self.board.write(register, value)
