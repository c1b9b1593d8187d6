"""One request and whatever comes back on a serial line, with every byte of it: for the bus doctor.

Unlike `rtu.py`, which says what went wrong with an answer, this one keeps what was heard, since a
technician wants to know. Only read functions leave here. All waiting is done by the port's own
timeout.
"""

import importlib
from collections.abc import Callable
from enum import Enum
from typing import TypeVar

from hal.crc import is_whole, with_crc
from hal.errors import DeviceGone
from hal.late import dataclass
from hal.rtu import READ_COILS, READ_DISCRETE, READS, LineSettings
from hal.serialbus import OpenPort

#: Read Device Identification. Source: "MODBUS Application Protocol Specification" V1.1b3, 6.21.
IDENTIFY = 43
_MEI = 14
_BASIC = 1

T = TypeVar("T")

_SHORTEST = 5
_LONGEST = 256
_BITS_PER_CHARACTER = 11
_PORTIONS_S = 0.05  # USB adapters hand over in portions, 16 ms apart by default
_GAP_S = 0.06  # makers of meters ask for 60 ms and more between requests


class Kind(Enum):
    """What was heard after a request."""

    SILENT = "silent"
    ANSWER = "answer"
    REFUSED = "refused"  # an exception answer: somebody is there and understood
    LATE = "late"  # a whole frame, of another address or to another request
    GARBLED = "garbled"  # bytes that are no frame


@dataclass(frozen=True)
class Heard:
    """`frame` without the echo of the request, `code` of a refusal; `echo`: the adapter hears
    itself."""

    kind: Kind
    frame: bytes = b""
    echo: bool = False

    @property
    def code(self) -> int:
        return self.frame[2] if self.kind is Kind.REFUSED else 0

    @property
    def words(self) -> tuple[int, ...]:
        """The registers of an answer."""
        body = self.frame[3:-2]
        return tuple(int.from_bytes(body[i : i + 2], "big") for i in range(0, len(body), 2))


def judged(request: bytes, heard: bytes) -> Heard:
    """What `heard` is, after `request`."""
    echo = len(heard) >= len(request) and heard.startswith(request)
    frame = _without_tail(request, heard[len(request) :] if echo else heard)
    if not frame:
        return Heard(Kind.SILENT, echo=echo)
    if not is_whole(frame):
        return Heard(Kind.GARBLED, frame, echo)
    if frame[0] != request[0] or frame[1] & 0x7F != request[1]:
        return Heard(Kind.LATE, frame, echo)
    if frame[1] & 0x80:
        return Heard(Kind.REFUSED, frame, echo)
    fits = request[1] == IDENTIFY or len(frame) == _length(request)
    return Heard(Kind.ANSWER if fits else Kind.LATE, frame, echo)


def _without_tail(request: bytes, frame: bytes) -> bytes:
    """A whole answer without what noise the line made when it was let go."""
    if len(frame) < 2:
        return frame
    length = _SHORTEST if frame[1] & 0x80 else _length(request)
    return frame[:length] if is_whole(frame[:length]) and request[1] in READS else frame


def _length(request: bytes) -> int:
    """Bytes of a good answer to a read."""
    count = int.from_bytes(request[4:6], "big")
    return 5 + (count + 7) // 8 if request[1] in (READ_COILS, READ_DISCRETE) else 5 + 2 * count


class BusWire:
    """An opened line. `wait_s`: how long the first byte of an answer is waited for.

    Every method raises DeviceGone when the port is lost.
    """

    def __init__(self, settings: LineSettings, open_port: OpenPort, *, wait_s: float):
        self.settings = settings
        self.wait_s = wait_s
        self._port = open_port(settings)
        self._character_s = _BITS_PER_CHARACTER / settings.baudrate
        self._broken: tuple[type[Exception], ...] = (
            OSError, importlib.import_module("termios").error)

    def listen(self, seconds: float) -> bytes:
        """What comes without being asked for."""
        return self._read(_LONGEST, seconds, whole=False)

    def waiting(self) -> bytes:
        """What came meanwhile."""
        def read() -> bytes:
            return bytes(self._port.read(int(self._port.in_waiting or 0)))

        return self._guarded(read)

    def ask(self, address: int, function: int, start: int, count: int) -> Heard:
        """Read registers or bits. Anything but a read function is refused with ValueError."""
        if function not in READS:
            raise ValueError(f"function {function} does not only read")
        head = bytes((address, function))
        request = with_crc(head + start.to_bytes(2, "big") + count.to_bytes(2, "big"))
        return self._asked(request, _length(request))

    def identification(self, address: int) -> tuple[str, ...]:
        """What the device says of itself, if it knows how to: maker, product, revision."""
        found: dict[int, str] = {}
        wanted = 0
        for _ in range(4):  # objects that do not fit into one answer
            request = with_crc(bytes((address, IDENTIFY, _MEI, _BASIC, wanted)))
            heard = self._asked(request, _LONGEST)
            if heard.kind is not Kind.ANSWER:
                break
            more, wanted = _objects(heard.frame, found)
            if not more:
                break
        return tuple(found[number] for number in sorted(found))

    def close(self) -> None:
        try:
            self._port.close()
        except self._broken:
            return  # an adapter pulled out cannot be closed any better

    def _asked(self, request: bytes, length: int) -> Heard:
        self._guarded(lambda: self._port.write(request))
        heard = self._read(_SHORTEST, self.wait_s)
        if heard == request[:_SHORTEST]:  # the adapter hears itself
            heard += self._read(len(request) - _SHORTEST, _PORTIONS_S)
            heard += self._read(_SHORTEST, self.wait_s)
        frame = heard[len(request) :] if heard.startswith(request) else heard
        if len(frame) == _SHORTEST and not (frame[1] & 0x80 and is_whole(frame)):
            heard += self._read(length - _SHORTEST, _PORTIONS_S)
        if heard:  # one that is too long tells of two devices; and the line wants its pause
            heard += self._read(_LONGEST, _GAP_S, whole=False)
        return judged(request, heard)

    def _read(self, size: int, wait_s: float, *, whole: bool = True) -> bytes:
        """`whole`: give `size` bytes the time they need."""
        def read() -> bytes:
            self._port.timeout = wait_s + (size * self._character_s if whole else 0.0)
            return bytes(self._port.read(size))

        return self._guarded(read) if size > 0 else b""

    def _guarded(self, act: Callable[[], T]) -> T:
        try:
            return act()
        except self._broken as error:
            raise DeviceGone(
                f"{self.settings.port} is lost ({error}); is the adapter plugged in?") from error


def _objects(frame: bytes, found: dict[int, str]) -> tuple[bool, int]:
    """Take the objects of an identification answer; whether more follow, and from which on."""
    body = frame[:-2]
    at, number = 8, body[7] if len(body) > 7 else 0
    for _ in range(number):
        if len(body) < at + 2:
            break
        size = body[at + 1]
        text = body[at + 2 : at + 2 + size].decode("latin-1").strip(" \0")
        found[body[at]] = "".join(one for one in text if one.isprintable())
        at += 2 + size
    more = len(body) > 6 and body[5] == 0xFF
    return more, body[6] if more else 0
