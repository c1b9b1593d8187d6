"""One exchange of Modbus RTU on an opened serial port, and every way it can fail, by name.

Framing and checksum are minimalmodbus's; the port is pyserial's. Both are imported when the port is
opened, never before. Queueing, retries and silence after an error belong to `serialbus.py`.
"""

import errno
import importlib
from collections.abc import Callable
from typing import Any, Protocol

from hal.errors import (
    BadConfig,
    BadFrame,
    CrcError,
    DeviceGone,
    DeviceTimeout,
    ExceptionAnswer,
    IllegalRequest,
)
from hal.late import dataclass

READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT = 1, 2, 3, 4
WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS = 5, 6, 15, 16
READS = (READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT)
_SINGLE_WRITES = (WRITE_COIL, WRITE_REGISTER)
_FUNCTIONS = (*READS, *_SINGLE_WRITES, WRITE_COILS, WRITE_REGISTERS)

#: Source: "MODBUS Application Protocol Specification" V1.1b3, 6.1 to 6.12.
MAX_REGISTERS = 125

_SHORTEST_ANSWER = 5  # an exception: address, function, code, two bytes of checksum
_BITS_PER_CHARACTER = 11
_PAUSE_IN_FRAME_S = 0.1  # USB adapters hand over in portions, 16 ms apart by default

FrameListener = Callable[[str, bytes], None]


class Port(Protocol):
    """What is used of `serial.Serial`; `hal.sim.rs485.FakeLine` offers the same."""

    timeout: float | None

    @property
    def in_waiting(self) -> int: ...
    def write(self, data: bytes, /) -> int | None: ...
    def read(self, size: int = 1, /) -> bytes: ...
    def reset_input_buffer(self) -> None: ...
    def reset_output_buffer(self) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class LineSettings:
    """A serial line as `[serial.NAME]` in the configuration has it.

    `timeout_s` is the longest time from the end of a request to the first byte of its answer;
    the time the bytes need is added. `gap_s` is the pause between two exchanges; None means 60 ms
    (makers of meters ask for 60 to 200 ms; 3.5 characters are kept in any case). `late_s` is how
    late an answer may still come after its request was given up; None means four times `timeout_s`.
    """

    port: str
    baudrate: int = 9600
    parity: str = "N"
    stopbits: int = 1
    timeout_s: float = 0.3
    gap_s: float | None = None
    tries: int = 3
    late_s: float | None = None

    def __post_init__(self) -> None:
        if self.parity not in ("N", "E", "O"):
            raise BadConfig(f"{self.port}: parity {self.parity!r} is none of N, E, O")
        if self.stopbits not in (1, 2):
            raise BadConfig(f"{self.port}: stopbits {self.stopbits} is neither 1 nor 2")
        if self.baudrate <= 0 or self.timeout_s <= 0 or self.pause_s < 0 or self.tries < 1:
            raise BadConfig(f"{self.port}: baudrate, timeout_s and tries must be above zero")

    @property
    def pause_s(self) -> float:
        return 0.06 if self.gap_s is None else self.gap_s

    @property
    def lateness_s(self) -> float:
        return 4 * self.timeout_s if self.late_s is None else self.late_s


@dataclass(frozen=True)
class Request:
    """One Modbus request. `start` counts from 0 (PDU); reads have `count`, writes `values`."""

    address: int
    function: int
    start: int
    count: int = 1
    values: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        top = 2000 if self.function in (READ_COILS, READ_DISCRETE) else MAX_REGISTERS
        sound = (
            1 <= self.address <= 247
            and self.function in _FUNCTIONS
            and 0 <= self.start <= 0xFFFF
            and 1 <= self.count <= top
            and all(0 <= value <= 0xFFFF for value in self.values)
        )
        if not sound or self._wrong_values():
            raise BadConfig(f"no Modbus request can be made of {self}")

    def _wrong_values(self) -> bool:
        if self.function in READS:
            return bool(self.values)
        return not self.values or (self.function in _SINGLE_WRITES and len(self.values) != 1)

    @property
    def look(self) -> tuple[int, int, int] | None:
        """What the answer to a read shows of its request; answers of equal look can be mixed up.

        None for writes: their answer repeats what was written.
        """
        return (self.address, self.function, self.count) if self.function in READS else None

    def __str__(self) -> str:
        what = f"{self.count} from" if self.function in READS else f"{list(self.values)} to"
        return f"function {self.function}, {what} 0x{self.start:04X} at address {self.address}"


def open_serial(settings: LineSettings) -> Port:
    """Open the port for us alone. Raises DeviceGone, or BadConfig when pyserial is missing."""
    try:
        serial = importlib.import_module("serial")
        termios = importlib.import_module("termios")
    except ImportError as error:
        raise BadConfig(
            f"{settings.port}: {error.name} is not installed; install cpctl[pi]"
        ) from error
    try:
        port: Port = serial.Serial(
            port=settings.port,
            baudrate=settings.baudrate,
            parity=settings.parity,
            stopbits=settings.stopbits,
            timeout=settings.timeout_s,
            write_timeout=1.0,
            exclusive=True,
        )
    except (OSError, termios.error, ValueError) as error:
        raise DeviceGone(f"{settings.port} cannot be opened: {_advice(error)}") from error
    return port


def _advice(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        return "no such port; is the adapter plugged in? (take a name from /dev/serial/by-id)"
    if number == errno.EACCES:
        return "no right to it; the daemon's user belongs into the group dialout"
    if number in (errno.EBUSY, errno.EWOULDBLOCK):
        return "another program holds it; find it with fuser"
    return str(error)


class _EarlyEnd:
    """The port as minimalmodbus sees it: a read ends where an exception answer ends.

    minimalmodbus asks for as many bytes as a good answer has and would wait out the whole time.
    """

    def __init__(self, port: Any, settings: LineSettings, listener: FrameListener | None):
        self._port = port
        self._settings = settings
        self._character_s = _BITS_PER_CHARACTER / settings.baudrate
        self.listener = listener
        self.is_open = True
        self.port = settings.port
        self.baudrate = settings.baudrate
        self.timeout = settings.timeout_s
        self.cut = ""  # "3 of 157 bytes" when the last answer was short

    def open(self) -> None:
        """The port is opened before; minimalmodbus only looks whether this exists."""

    def close(self) -> None:
        self.is_open = False

    def reset_input_buffer(self) -> None:
        self._port.reset_input_buffer()

    def reset_output_buffer(self) -> None:
        self._port.reset_output_buffer()

    def flush(self) -> None:
        self._port.flush()

    def write(self, request: bytes) -> None:
        self._port.write(request)
        self._tell(">", request)

    def read(self, size: int) -> bytes:
        answer = self._read(min(size, _SHORTEST_ANSWER), self._settings.timeout_s)
        if len(answer) == _SHORTEST_ANSWER < size and not answer[1] & 0x80:
            answer += self._read(size - _SHORTEST_ANSWER, _PAUSE_IN_FRAME_S)
        whole = len(answer) >= size or (len(answer) == _SHORTEST_ANSWER and answer[1] & 0x80)
        self.cut = "" if whole else f"{len(answer)} of {size} bytes"
        self._tell("<", answer)
        return answer

    def _read(self, size: int, wait_s: float) -> bytes:
        self._port.timeout = wait_s + size * self._character_s
        return bytes(self._port.read(size))

    def _tell(self, direction: str, frame: bytes) -> None:
        if self.listener is not None:
            self.listener(direction, frame)


class Exchange:
    """Requests and answers on one opened port. Belongs to one thread."""

    def __init__(self, settings: LineSettings, port: Any, listener: FrameListener | None = None):
        try:
            self._modbus = importlib.import_module("minimalmodbus")
        except ImportError as error:
            raise BadConfig(
                f"{settings.port}: minimalmodbus is not installed; install cpctl[pi]"
            ) from error
        self._termios_error: type[Exception] = importlib.import_module("termios").error
        self._port = port
        self._name = settings.port
        self._seen = _EarlyEnd(port, settings, listener)
        self._instruments: dict[int, Any] = {}

    def listen(self, listener: FrameListener | None) -> None:
        """Tell `listener` each frame: ">" with what was sent, "<" with what came."""
        self._seen.listener = listener

    def ask(self, request: Request) -> tuple[int, ...]:
        """The registers or bits of a read; an empty tuple for a write.

        Raises DeviceTimeout (silence), CrcError, BadFrame, ExceptionAnswer, DeviceGone (the port).
        """
        modbus = self._modbus
        try:
            answer = self._call(request)
        except modbus.SlaveReportedException as error:
            illegal = isinstance(error, modbus.IllegalRequestError)
            raise (IllegalRequest if illegal else ExceptionAnswer)(
                f"address {request.address} refused {request}: {_reported(error)}; "
                "is this the model the driver is made for?"
            ) from error
        except modbus.NoResponseError as error:
            raise DeviceTimeout(f"no answer from address {request.address}") from error
        except modbus.ModbusException as error:
            raise _bad_frame(request, error, self._seen.cut) from error
        except (OSError, self._termios_error) as error:
            raise self._gone(error) from error
        return tuple(int(value) for value in answer or ())

    def _call(self, request: Request) -> Any:
        instrument = self._instrument(request.address)
        start, function = request.start, request.function
        if function in (READ_HOLDING, READ_INPUT):
            return instrument.read_registers(start, request.count, function)
        if function in (READ_COILS, READ_DISCRETE):
            return instrument.read_bits(start, request.count, function)
        if function == WRITE_COIL:
            return instrument.write_bit(start, request.values[0], function)
        if function == WRITE_REGISTER:
            return instrument.write_register(start, request.values[0], functioncode=function)
        if function == WRITE_COILS:
            return instrument.write_bits(start, list(request.values))
        return instrument.write_registers(start, list(request.values))

    def _instrument(self, address: int) -> Any:
        if address not in self._instruments:
            self._instruments[address] = self._modbus.Instrument(self._seen, address)
        return self._instruments[address]

    def drain(self) -> int:
        """Throw away what came unasked; the number of bytes. Raises DeviceGone."""
        try:
            stray = int(self._port.in_waiting)
            if stray:
                self._port.reset_input_buffer()
        except (OSError, self._termios_error) as error:
            raise self._gone(error) from error
        return stray

    def close(self) -> None:
        """Let go of the port, also of one that is gone already."""
        self._seen.close()
        try:
            self._port.close()
        except (OSError, self._termios_error):
            return  # an adapter pulled out cannot be closed any better

    def _gone(self, error: Exception) -> DeviceGone:
        return DeviceGone(f"{self._name} is lost ({error}); is the adapter plugged in?")


def _reported(error: Exception) -> str:
    return str(error).removeprefix("Slave reported ")


def _bad_frame(request: Request, error: Exception, cut: str) -> BadFrame:
    text = str(error)
    if text.startswith("Checksum error") and not cut:
        return CrcError(
            f"answer of address {request.address} with a wrong checksum; "
            "check termination, shield, and that no two devices have the same address"
        )
    finding = f"cut short, {cut}" if cut else text.split(".", 1)[0].split(":", 1)[0].lower()
    return BadFrame(
        f"no whole answer from address {request.address} ({finding}); "
        "check wiring, baud rate and parity"
    )
