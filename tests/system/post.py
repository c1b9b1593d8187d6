"""The charging post around an emulated station: a pilot board, a meter and a car, on one RS-485
line that ends in a USB adapter.

The slave is our own, written from the makers' documents and independent of the drivers: an EVSE-WB
at address 1, an Eastron SDM630 at address 2. Power flows while board and contactor are both closed
and the car draws; the register of the meter counts on through every power cut of the station.
Source: SimpleEVSE-WB "Modbus register map"; Eastron "SDM630-Modbus protocol implementation".
"""

import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.system.machine import Stuck, connect

BOARD, METER = 1, 2
NONE, PRESENT, CHARGING = 1, 2, 3  # register 1002
STEADY, PWM, OFF = 1, 2, 3  # register 1006
RELAY_ON = 0x0001  # register 1007
SILENCE_S = 0.02
VOLTAGE_V = 230.0


class Car:
    """What is plugged in. `max_a` per phase, three phases; asks for power `delay_s` after it is
    offered some."""

    def __init__(self) -> None:
        self.plugged = False
        self.wants = True
        self.max_a = 16.0
        self.delay_s = 0.3


class Post:
    """The world outside the machine; outlives its power cuts. `closed` tells the coil's state."""

    def __init__(self, closed: Callable[[], bool]):
        self.closed = closed
        self.car = Car()
        self.set_a = 0
        self.registers = {1000: 0, 1003: 32, 1004: 0, 1005: 17, 1008: 0, 1009: 0, 2000: 6, 2001: 1,
                          2002: 6, 2003: 0, 2004: 0, 2005: 0, 2006: 0, 2007: 32}
        self.requests = {BOARD: 0, METER: 0}
        self.written: list[tuple[float, int, int]] = []  # host time, register, value
        self.silent: set[int] = set()  # addresses that do not answer
        self._energy_wh = 1_234_560.0
        self._counted_s = time.monotonic()
        self._offered_s: float | None = None
        self._lock = threading.RLock()
        self._socket: socket.socket | None = None

    # --- hands ---------------------------------------------------------------------------------

    def plug(self, *, wants: bool = True) -> None:
        with self._lock:
            self.count()
            self.car.plugged, self.car.wants = True, wants

    def unplug(self) -> None:
        with self._lock:
            self.count()
            self.car.plugged = False

    # --- physics -------------------------------------------------------------------------------

    def current_a(self) -> float:
        """Per phase, now."""
        flows = self._vehicle() == CHARGING and self.closed()
        return min(self.car.max_a, float(self.set_a)) if flows else 0.0

    def count(self) -> None:
        """Bring the register up to now; called before anything changes."""
        with self._lock:
            now_s = time.monotonic()
            self._energy_wh += 3 * VOLTAGE_V * self.current_a() * (now_s - self._counted_s) / 3600
            self._counted_s = now_s

    @property
    def energy_wh(self) -> float:
        self.count()
        return self._energy_wh

    def _vehicle(self) -> int:
        if not self.car.plugged:
            return NONE
        began_s = self._offered_s
        if began_s is None or not self.car.wants or self.set_a < 6:
            return PRESENT
        return CHARGING if time.monotonic() - began_s >= self.car.delay_s else PRESENT

    def _look(self, register: int) -> int:
        if register == 1000:
            return self.set_a
        if register == 1001:
            return self.set_a if self.set_a >= 6 else 0
        if register == 1002:
            return self._vehicle()
        if register == 1006:
            return PWM if self.set_a >= 6 else STEADY
        if register == 1007:
            return RELAY_ON if self._vehicle() == CHARGING else 0
        return self.registers.get(register, 0)

    def _put(self, register: int, value: int) -> None:
        self.count()
        self.written.append((time.monotonic(), register, value))
        if register == 1004 and value & 1:  # turn off now
            self.set_a, self._offered_s = 0, None
        elif register == 1000:
            if value >= 6 and self.set_a < 6:
                self._offered_s = time.monotonic()
            elif value < 6:
                self._offered_s = None
            self.set_a = value
        else:
            self.registers[register] = value

    def _meter(self, start: int, count: int) -> bytes:
        """Input registers, float32, high word first."""
        amperes = self.current_a()
        values: dict[int, float] = {0x34: 3 * VOLTAGE_V * amperes, 0x46: 50.0,
                                    0x48: self.energy_wh / 1000, 0x4A: 0.0}
        for phase in range(3):
            values[0x00 + 2 * phase] = VOLTAGE_V
            values[0x06 + 2 * phase] = amperes
            values[0x0C + 2 * phase] = VOLTAGE_V * amperes
            values[0x1E + 2 * phase] = 1.0
        words = {}
        for at, value in values.items():
            words[at], words[at + 1] = struct.unpack(">HH", struct.pack(">f", value))
        return struct.pack(f">{count}H", *(words.get(start + i, 0) for i in range(count)))

    # --- the line ------------------------------------------------------------------------------

    def connect(self, path: Path) -> None:
        """Plug the adapter into the machine."""
        line = connect(path)
        line.settimeout(SILENCE_S)
        self._socket = line
        threading.Thread(target=self._serve, args=(line,), daemon=True, name="rs485").start()

    def disconnect(self) -> None:
        """Pull the adapter out of the machine."""
        line, self._socket = self._socket, None
        if line is not None:
            line.close()

    def _serve(self, line: socket.socket) -> None:
        """Requests begin after a silence; what is none is dropped with the next silence."""
        waiting = b""
        while self._socket is line:
            try:
                chunk = line.recv(512)
                if not chunk:
                    return
                waiting += chunk
                if len(waiting) >= 8 and crc(waiting) == 0:
                    answer = self._answer(waiting)
                    waiting = b""
                    if answer:
                        line.sendall(answer + crc(answer).to_bytes(2, "little"))
            except TimeoutError:
                waiting = b""
            except OSError:
                return

    def _answer(self, frame: bytes) -> bytes:
        address, function = frame[0], frame[1]
        if address not in self.requests or address in self.silent:
            return b""
        self.requests[address] += 1
        start, count = struct.unpack(">HH", frame[2:6])
        with self._lock:
            if address == METER and function == 4 and count <= 80:
                return bytes((address, function, 2 * count)) + self._meter(start, count)
            if address == BOARD and function == 3 and count <= 125:
                words = [self._look(start + i) for i in range(count)]
                return bytes((address, function, 2 * count)) + struct.pack(f">{count}H", *words)
            if address == BOARD and function == 16:
                values = struct.unpack(f">{count}H", frame[7:7 + 2 * count])
                for i, value in enumerate(values):
                    self._put(start + i, value)
                return frame[:6]
            if address == BOARD and function == 6:
                self._put(start, count)
                return frame[:6]
        return bytes((address, function | 0x80, 1))


def crc(frame: bytes) -> int:
    """CRC-16 of Modbus; of a frame with its own checksum: 0."""
    value = 0xFFFF
    for byte in frame:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value


__all__ = ["BOARD", "METER", "Post", "Stuck"]
