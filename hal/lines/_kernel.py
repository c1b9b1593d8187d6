"""The kernel's own interface to GPIO: which chips and lines there are, and one line as a file.

Both backends find chip and line by it; the pins of gpiozero are driven by it. It has no thread and
waits for nothing: an edge makes a file readable.

Source: linux/gpio.h, GPIO character device, version 2 (Linux 5.10 and later).
"""

from __future__ import annotations

import fcntl
import glob
import os
import struct
from collections.abc import Iterator

from hal.late import dataclass

_CHIP_INFO = 0x8044B401  # GPIO_GET_CHIPINFO_IOCTL
_LINE_INFO = 0xC100B405  # GPIO_V2_GET_LINEINFO_IOCTL
_REQUEST = 0xC250B407  # GPIO_V2_GET_LINE_IOCTL
_CONFIGURE = 0xC110B40D  # GPIO_V2_LINE_SET_CONFIG_IOCTL
_VALUES = 0xC010B40E  # GPIO_V2_LINE_GET_VALUES_IOCTL
_SET_VALUES = 0xC010B40F  # GPIO_V2_LINE_SET_VALUES_IOCTL

_USED = 1 << 0
_INPUT = 1 << 2
_OUTPUT = 1 << 3
_BOTH_EDGES = 1 << 4 | 1 << 5
_PULLS = {"up": 1 << 8, "down": 1 << 9, "none": 1 << 10}
_FIRST_LEVEL = 2  # GPIO_V2_LINE_ATTR_ID_OUTPUT_VALUES
_DEBOUNCE = 3  # GPIO_V2_LINE_ATTR_ID_DEBOUNCE

_CHIP = struct.Struct("=32s32sI")
_LINE = struct.Struct("=32s32sII184x")
_LINE_FLAGS = struct.Struct("=Q")
_LINE_FLAGS_AT = 72
_CONFIG = struct.Struct("=QI20xI4xQQ216x")  # flags, attributes, and the first of ten of them
_WANTED = struct.Struct("=I252x32s272sII20xi")
_LEVELS = struct.Struct("=QQ")
_EVENTS_BYTES = 48 * 16
CONSUMER_BYTES = 31


@dataclass(frozen=True)
class Chip:
    """One GPIO chip of this machine."""

    path: str
    label: str
    lines: int


@dataclass(frozen=True)
class Line:
    """One line of a chip; `consumer` has it if it is `used`."""

    number: int
    name: str
    consumer: str
    used: bool


class Kernel:
    """Looks at the GPIO chips; keeps nothing open."""

    def chips(self) -> tuple[Chip, ...]:
        """All chips that may be looked at, each once. Raises PermissionError when none may be."""
        found: dict[str, Chip] = {}  # Raspberry Pi OS has links of other numbers to them
        denied: PermissionError | None = None
        for path in sorted(glob.glob("/dev/gpiochip*")):
            try:
                found.setdefault(os.path.realpath(path), self._chip(path))
            except PermissionError as error:
                denied = error
            except OSError:  # gone meanwhile, or no GPIO chip at all
                continue
        if denied is not None and not found:
            raise denied
        return tuple(found.values())

    def lines(self, chip: Chip) -> Iterator[Line]:
        """All lines of `chip` by number. Raises OSError."""
        with _Opened(chip.path) as fd:
            for number in range(chip.lines):
                yield _line(fd, number)

    def line(self, chip: Chip, number: int) -> Line:
        """One line. Raises OSError."""
        with _Opened(chip.path) as fd:
            return _line(fd, number)

    def output(self, chip: Chip, number: int, *, consumer: str, high: bool) -> OutputFile:
        """Request a line as an output that begins at this level and was at no other one before.
        Raises OSError (EBUSY: somebody has it)."""
        config = _config(_OUTPUT, (_FIRST_LEVEL, int(high)))
        return OutputFile(_requested(chip, number, consumer, config))

    def input(self, chip: Chip, number: int, *, consumer: str, pull: str) -> InputFile:
        """Request a line as an input. Raises OSError."""
        config = _config(_INPUT | _PULLS[pull])
        return InputFile(_requested(chip, number, consumer, config), _PULLS[pull])

    def _chip(self, path: str) -> Chip:
        answer = bytearray(_CHIP.size)
        with _Opened(path) as fd:
            fcntl.ioctl(fd, _CHIP_INFO, answer)
        _, label, lines = _CHIP.unpack(answer)
        return Chip(path, _text(label), lines)


class LineFile:
    """A requested line. All methods but `close` raise OSError once the chip is gone."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def high(self) -> bool:
        """Its level now; of an input whose edges are watched its steady one."""
        answer = bytearray(_LEVELS.pack(0, 1))
        fcntl.ioctl(self.fd, _VALUES, answer)
        return bool(_LEVELS.unpack(answer)[0] & 1)

    def close(self) -> None:
        os.close(self.fd)


class OutputFile(LineFile):
    """A requested output."""

    def drive(self, *, high: bool) -> None:
        fcntl.ioctl(self.fd, _SET_VALUES, bytearray(_LEVELS.pack(int(high), 1)))


class InputFile(LineFile):
    """A requested input."""

    def __init__(self, fd: int, pull_flag: int) -> None:
        super().__init__(fd)
        self._pull_flag = pull_flag
        os.set_blocking(fd, False)

    def watch(self, *, debounce_us: int) -> None:
        """From now on an edge that lasts so long makes `fd` readable."""
        flags = _INPUT | _BOTH_EDGES | self._pull_flag
        debounced = (_DEBOUNCE, debounce_us) if debounce_us else None
        fcntl.ioctl(self.fd, _CONFIGURE, bytearray(_config(flags, debounced)))

    def forget_edges(self) -> None:
        """Take what has been told off the file."""
        try:
            os.read(self.fd, _EVENTS_BYTES)
        except BlockingIOError:
            return


class _Opened:
    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _line(fd: int, number: int) -> Line:
    answer = bytearray(_LINE.pack(b"", b"", number, 0))
    fcntl.ioctl(fd, _LINE_INFO, answer)
    name, consumer, _, _ = _LINE.unpack(answer)
    flags = _LINE_FLAGS.unpack_from(answer, _LINE_FLAGS_AT)[0]
    return Line(number, _text(name), _text(consumer), bool(flags & _USED))


def _requested(chip: Chip, number: int, consumer: str, config: bytes) -> int:
    request = bytearray(_WANTED.pack(number, consumer.encode()[:CONSUMER_BYTES], config, 1, 0, 0))
    with _Opened(chip.path) as fd:
        fcntl.ioctl(fd, _REQUEST, request)
    wanted: int = _WANTED.unpack(request)[-1]
    return wanted


def _config(flags: int, attribute: tuple[int, int] | None = None) -> bytes:
    if attribute is None:
        return _CONFIG.pack(flags, 0, 0, 0, 0)
    return _CONFIG.pack(flags, 1, *attribute, 1)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode(errors="replace")
