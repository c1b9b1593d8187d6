"""A serial line without wire: replays recorded frames, or asks a made-up device, and spoils bytes.

It takes the place of the port (`hal.rtu.Port`) and of the line's clock (`hal.serialbus.BusClock`):
waiting for bytes that do not come costs no real time. What is spoiled is said beforehand:
`line.spoil(Flip(7), Silence())` for the next two answers.
"""

import errno
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import field
from pathlib import Path

from hal.crc import crc16, with_crc
from hal.errors import DeviceGone
from hal.late import dataclass
from hal.rtu import LineSettings

#: From the bytes of a request to those of the answer; None: no answer.
Device = Callable[[bytes], bytes | None]


@dataclass(frozen=True)
class Flip:
    """One bit of the answer turns over: byte `at` (counted from 0, from the end if negative)."""

    at: int
    bit: int = 0


@dataclass(frozen=True)
class Cut:
    """Only the first `keep` bytes come."""

    keep: int


@dataclass(frozen=True)
class Missing:
    """The byte `at` of the answer is lost on the way, the others come."""

    at: int


@dataclass(frozen=True)
class Silence:
    """No answer at all."""


@dataclass(frozen=True)
class Late:
    """The answer comes `by_s` seconds after its request."""

    by_s: float


@dataclass(frozen=True)
class Garbage:
    """These bytes instead of the answer."""

    noise: bytes


@dataclass(frozen=True)
class Refuse:
    """An exception answer with this code (2: illegal data address)."""

    code: int


@dataclass(frozen=True)
class Unplug:
    """The adapter is pulled out while the answer is waited for."""


Fault = Flip | Cut | Missing | Silence | Late | Garbage | Refuse | Unplug


class FakeLine:
    """A port with `device` at the other end. Its time moves only by waiting on it."""

    def __init__(self, device: Device, *, answer_s: float = 0.005):
        self.device = device
        self.answer_s = answer_s
        self.timeout: float | None = None
        self.now = 100.0
        self.plugged = True
        self.requests: list[bytes] = []
        self.sent_at: list[float] = []
        self.opened = 0
        self._faults: deque[Fault | None] = deque()
        self._coming: list[tuple[float, bytes]] = []

    def spoil(self, *faults: Fault | None) -> None:
        """What happens to the next answers, one after the other; None: nothing."""
        self._faults.extend(faults)

    def open(self, settings: LineSettings) -> "FakeLine":
        """For `SerialBus(open_port=line.open)`."""
        if not self.plugged:
            raise DeviceGone(f"{settings.port} cannot be opened; is the adapter plugged in?")
        self.opened += 1
        self._coming.clear()
        return self

    # --- as a port ------------------------------------------------------------------------

    @property
    def in_waiting(self) -> int:
        self._check()
        return sum(len(chunk) for at, chunk in self._coming if at <= self.now)

    def write(self, data: bytes, /) -> int:
        self._check()
        self.requests.append(bytes(data))
        self.sent_at.append(self.now)
        fault = self._faults.popleft() if self._faults else None
        if isinstance(fault, Unplug):
            self.plugged = False
            return len(data)
        late_s = fault.by_s if isinstance(fault, Late) else self.answer_s
        answer = spoiled(self.device(bytes(data)), data, fault)
        if answer:
            self._coming.append((self.now + late_s, answer))
        return len(data)

    def read(self, size: int = 1, /) -> bytes:
        end = self.now + (self.timeout or 0.0)
        taken = b""
        while len(taken) < size:
            self._check()
            chunk = self._take(size - len(taken))
            if not chunk and not self._wait_for_next(end):
                break
            taken += chunk
        return taken

    def reset_input_buffer(self) -> None:
        self._check()
        self._coming = [(at, chunk) for at, chunk in self._coming if at > self.now]

    def reset_output_buffer(self) -> None:
        self._check()

    def flush(self) -> None:
        self._check()

    def close(self) -> None:
        """The other end stays as it is."""

    def _check(self) -> None:
        if not self.plugged:
            raise OSError(errno.EIO, "Input/output error")

    def _take(self, size: int) -> bytes:
        for index, (at, chunk) in enumerate(self._coming):
            if at <= self.now:
                self._coming[index : index + 1] = [(at, chunk[size:])] if chunk[size:] else []
                return chunk[:size]
        return b""

    def _wait_for_next(self, end: float) -> bool:
        coming = min((at for at, _ in self._coming), default=end + 1.0)
        self.now = max(self.now, min(coming, end))
        return coming <= end

    # --- as a clock -----------------------------------------------------------------------

    def monotonic(self) -> float:
        return self.now

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        if seconds is None:
            condition.wait()
        else:
            condition.wait(0)
            self.now += seconds


def spoiled(answer: bytes | None, request: bytes, fault: Fault | None) -> bytes | None:
    """What reaches the port of `answer` when `fault` strikes."""
    match fault:
        case Silence():
            return None
        case Garbage(noise):
            return noise
        case Refuse(code):
            return with_crc(bytes((request[0], request[1] | 0x80, code)))
        case Flip(at, bit) if answer:
            turned = bytearray(answer)
            turned[at] ^= 1 << bit
            return bytes(turned)
        case Missing(at) if answer:
            return answer[:at] + answer[at + 1 :]
        case Cut(keep) if answer:
            return answer[:keep]
    return answer


class Recording:
    """A device that answers as one did when its frames were recorded.

    Several answers to one request are given in their order, the last for ever. A request that was
    never recorded is not answered.
    """

    def __init__(self, exchanges: Iterable[tuple[bytes, bytes]]):
        self._answers: dict[bytes, deque[bytes]] = {}
        for request, answer in exchanges:
            self._answers.setdefault(request, deque()).append(answer)

    @classmethod
    def of(cls, path: Path) -> "Recording":
        return cls(recorded_exchanges(path))

    def __call__(self, request: bytes) -> bytes | None:
        answers = self._answers.get(request)
        if not answers:
            return None
        return answers.popleft() if len(answers) > 1 else answers[0]


def recorded_exchanges(path: Path) -> list[tuple[bytes, bytes]]:
    """The frames of a recording: lines "> hex" (sent) and "< hex" (came); # begins a remark."""
    exchanges: list[tuple[bytes, bytes]] = []
    request = b""
    for line in path.read_text(encoding="ascii").splitlines():
        direction, _, digits = line.partition("#")[0].strip().partition(" ")
        if direction == ">":
            request = bytes.fromhex(digits)
        elif direction == "<":
            exchanges.append((request, bytes.fromhex(digits)))
    return exchanges


class Recorder:
    """Writes frames in the form of `recorded_exchanges`; for `SerialBus.listen`."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, direction: str, frame: bytes) -> None:
        self.lines.append(f"{direction} {frame.hex(' ')}")


@dataclass
class RegisterDevice:
    """A made-up device: 16-bit registers by function code, coils under 1. Answers 3, 4, 5, 6, 16.

    An address that is not in `registers` is refused as a real device does (exception 2).
    """

    address: int
    registers: dict[int, dict[int, int]] = field(default_factory=dict)

    def put(self, function: int, start: int, *values: int) -> None:
        self.registers.setdefault(function, {}).update(enumerate(values, start))

    def __call__(self, request: bytes) -> bytes | None:
        if request[0] != self.address or crc16(request[:-2]) != request[-2:]:
            return None
        function, start, last = request[1], *_two_words(request[2:6])
        if function in (3, 4):
            return self._read(function, start, last)
        if function in (5, 6):
            self.put(1 if function == 5 else 3, start, last)
            return request
        if function == 16:
            values = [int.from_bytes(request[at : at + 2]) for at in range(7, 7 + 2 * last, 2)]
            self.put(3, start, *values)
            return with_crc(request[:6])
        return with_crc(bytes((self.address, function | 0x80, 1)))

    def _read(self, function: int, start: int, count: int) -> bytes:
        known = self.registers.get(function, {})
        wanted = range(start, start + count)
        if any(at not in known for at in wanted):
            return with_crc(bytes((self.address, function | 0x80, 2)))
        body = b"".join(known[at].to_bytes(2, "big") for at in wanted)
        return with_crc(bytes((self.address, function, len(body))) + body)


def _two_words(four: bytes) -> tuple[int, int]:
    return int.from_bytes(four[:2], "big"), int.from_bytes(four[2:], "big")
