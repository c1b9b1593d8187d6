"""An OpenEVSE written from its RAPI document: states, supervision, what it says unasked.

`OpenEvseBoard` is the board. `FakeWire` is a port to it whose time jumps; `PtyBoard` puts it behind
a real pseudo-terminal, in a thread of its own.
"""

import contextlib
import os
import select
import threading
import tty
from collections import deque
from collections.abc import Callable
from pathlib import Path

from hal.errors import DeviceGone
from hal.values import PilotState

PILOT = {PilotState.A: 1, PilotState.B: 2, PilotState.C: 3, PilotState.D: 4}
SLEEPING, DISABLED, STUCK, DIODE = 0xFE, 0xFF, 0x08, 0x05
MINIMUM_A, COOKIE = 6, "165"

#: What becomes of the next answer: silence, checksum, garbage, nk, async, stale.
Fault = str


def framed(text: str) -> bytes:
    checksum = 0
    for byte in text.encode():
        checksum ^= byte
    return f"{text}^{checksum:02X}\r".encode()


class OpenEvseBoard:
    """`car` is on the pilot; `commands` are all it was sent, without number and checksum."""

    def __init__(self, *, maximum_a: int = 32, supervised: bool = True,
                 monotonic: Callable[[], float] = lambda: 0.0) -> None:
        self.monotonic = monotonic
        self.maximum_a = maximum_a
        self.supervised = supervised
        self.kept_a = maximum_a  # what it offers after its own start
        self.kept_writes = 0
        self.interval_s = self.fallback_a = 0
        self.car = PilotState.A
        self.fault = 0
        self.boot_lock = False
        self.commands: list[str] = []
        self.faults: deque[Fault] = deque()
        self.silent = False
        self.say: Callable[[bytes], None] = lambda line: None
        self._start()

    def _start(self) -> None:
        self.mode = 0  # awake
        self.capacity_a = self.kept_a
        self.trigger = 0
        self.locked = self.boot_lock
        self.last_pulse = self.monotonic()

    # --- hands -------------------------------------------------------------------------------

    def put(self, state: PilotState) -> None:
        before = self._shown()
        self.car = state
        if self._shown() != before:
            self._tell()

    def break_down(self, fault: int) -> None:
        self.fault = fault
        self._tell()

    def restart(self) -> None:
        self._start()
        self.say(framed("$AB 00 7.1.3"))

    # --- what the world sees -----------------------------------------------------------------

    @property
    def state(self) -> int:
        if self.mode == DISABLED:
            return DISABLED
        return self.fault or self.mode or PILOT.get(self.car, 1)

    @property
    def offered_a(self) -> int:
        self._supervise()
        return self.capacity_a if self.state in PILOT.values() and not self.locked else 0

    @property
    def relay(self) -> bool:
        return bool(self.offered_a) and self.car is PilotState.C

    def _shown(self) -> tuple[int, int]:
        return self.state, PILOT.get(self.car, 0)

    def _tell(self) -> None:
        self.say(framed(f"$AT {self.state:02X} {PILOT.get(self.car, 0):02X} {self.capacity_a} 0"))

    def _supervise(self) -> None:
        silent_s = self.monotonic() - self.last_pulse
        if self.interval_s and silent_s > self.interval_s:
            self.capacity_a = min(self.capacity_a, max(MINIMUM_A, self.fallback_a))
            self.trigger = 2
            self.last_pulse = self.monotonic()

    # --- commands ----------------------------------------------------------------------------

    def answer(self, line: bytes) -> bytes:
        """What comes back for a line without its carriage return; b"" for none."""
        text, _, digits = line.decode().partition("^")
        if self.silent or framed(text) != line + b"\r" or not digits:
            return b""
        command, _, number = text[1:].partition(" :")
        self.commands.append(command)
        self._supervise()
        found = self._obey(*command.split())
        return self._spoiled(f"{found} :{number}")

    def _spoiled(self, answer: str) -> bytes:
        fault = self.faults.popleft() if self.faults else ""
        match fault:
            case "silence":
                return b""
            case "checksum":
                return framed(answer)[:-3] + b"00\r"
            case "garbage":
                return b"\xff\x00$O" + bytes(range(128, 160)) + framed(answer)
            case "nk":
                return framed("$NK :" + answer.rpartition(":")[2])
            case "async":
                return framed("$AT 02 02 16 0") + framed(answer)
            case "stale":
                return framed("$OK FF 0 02 0 :00") + framed(answer)
        return framed(answer)

    def _obey(self, name: str, *args: str) -> str:
        match name:
            case "GS":
                return f"$OK {self.state:02X} 0 {PILOT.get(self.car, 0):02X} 0"
            case "SC":
                return self._set_current(int(args[0]), volatile="V" in args[1:])
            case "FE" | "FS" | "FD":
                self.mode = {"FE": 0, "FS": SLEEPING, "FD": DISABLED}[name]
                self._tell()
                return "$OK"
            case "SB" if self.locked:
                self.locked = False
                return "$OK 0"
            case "GY" | "SY" if self.supervised:
                return self._pulse(name, *args)
        return "$NK"

    def _set_current(self, amps: int, *, volatile: bool) -> str:
        self.capacity_a = min(max(amps, MINIMUM_A), self.maximum_a)
        if not volatile:
            self.kept_a, self.kept_writes = self.capacity_a, self.kept_writes + 1
        return f"${'OK' if self.capacity_a == amps else 'NK'} {self.capacity_a}"

    def _pulse(self, name: str, *args: str) -> str:
        told = "OK"
        if len(args) == 2:
            self.interval_s, self.fallback_a = int(args[0]), int(args[1])
            self.kept_writes += 1
        elif args == (COOKIE,) and self.trigger == 2:
            self.trigger, self.capacity_a = 1, self.maximum_a
        elif name == "SY" and not args:
            told = "NK" if self.trigger == 2 else "OK"
        if name == "SY":
            self.last_pulse = self.monotonic()
        return f"${told} {self.interval_s} {self.fallback_a} {self.trigger}"


class FakeWire:
    """A port with a board at the other end, whose time moves only by waiting on it.

    `unplug` and `replug` take the port away from whoever holds it, and from who opens it.
    """

    def __init__(self, board: OpenEvseBoard) -> None:
        self.board = board
        self.now = 100.0
        self.plugged = True
        self.opened = 0
        self._changed = threading.Condition()
        self._coming = b""
        self._sent = b""
        self._woken = False
        self._waits = False
        board.monotonic = self.monotonic
        board.last_pulse = self.now
        board.say = self._arrive

    def open(self) -> "FakeWire":
        if not self.plugged:
            raise DeviceGone("/dev/ttyFAKE cannot be opened; is the adapter plugged in?")
        self.opened += 1
        self._coming = self._sent = b""
        return self

    def monotonic(self) -> float:
        return self.now

    def write(self, text: bytes) -> None:
        self._check()
        *lines, self._sent = (self._sent + text).split(b"\r")
        for line in lines:
            self._arrive(self.board.answer(line))

    def read(self, wait_s: float | None) -> bytes:
        with self._changed:
            if wait_s is None:
                self._waits = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._coming or self._woken or not self.plugged)
                self._waits = False
            elif not self._coming and not self._woken:
                self.now += wait_s
            self._woken = False
            self._check()
            came, self._coming = self._coming, b""
            return came

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def close(self) -> None:
        """The other end stays as it is."""

    def settle(self) -> None:
        """Until all that came was read, and the worker waits for more."""
        with self._changed:
            done = self._changed.wait_for(
                lambda: self._waits and not self._coming and not self._woken, 10.0)
        assert done, "the worker does not come to rest"

    def unplug(self) -> None:
        with self._changed:
            self.plugged = False
            self._changed.notify_all()

    def replug(self) -> None:
        self.plugged = True

    def _arrive(self, text: bytes) -> None:
        with self._changed:
            self._coming += text
            self._changed.notify_all()

    def _check(self) -> None:
        if not self.plugged:
            raise DeviceGone("/dev/ttyFAKE is lost; is the adapter plugged in?")


class PtyBoard:
    """A board behind a pseudo-terminal; `port` is a link that survives unplug and replug."""

    def __init__(self, port: Path, board: OpenEvseBoard) -> None:
        self.port = port
        self.board = board
        self._ends: tuple[int, int] | None = None
        self._running = True
        self.replug()
        board.say = self._write
        self._thread = threading.Thread(target=self._serve, name="openevse board", daemon=True)

    def __enter__(self) -> "PtyBoard":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._running = False
        self._thread.join(5.0)
        self.unplug()

    def unplug(self) -> None:
        ends, self._ends = self._ends, None
        self.port.unlink(missing_ok=True)
        for end in ends or ():
            with contextlib.suppress(OSError):
                os.close(end)

    def replug(self) -> None:
        self._ends = os.openpty()
        tty.setraw(self._ends[1])
        self.port.symlink_to(os.ttyname(self._ends[1]))

    def _serve(self) -> None:
        text = b""
        while self._running:
            ends = self._ends
            try:
                ready = bool(ends) and bool(select.select([ends[0]], [], [], 0.02)[0])
                text += os.read(ends[0], 256) if ready else b""
            except (OSError, ValueError, TypeError):
                continue
            *lines, text = text.split(b"\r")
            for line in lines:
                self._write(self.board.answer(line))

    def _write(self, answer: bytes) -> None:
        ends = self._ends
        if ends and answer:
            with contextlib.suppress(OSError):
                os.write(ends[0], answer)
