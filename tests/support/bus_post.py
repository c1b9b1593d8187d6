"""A serial line with several made-up devices on it, and what may be wrong with such a line."""

from collections.abc import Iterable

from support import meter_table
from support.modbus_slave import Registers

from hal.rtu import LineSettings
from hal.sim.rs485 import Device, FakeLine, RegisterDevice, with_crc


class Line(FakeLine):
    """Devices that hear only who speaks at their settings. `opened_as`: every setting tried."""

    def __init__(self, *devices: Device, settings: LineSettings | None = None) -> None:
        super().__init__(self._answer)
        self.devices = list(devices)
        self.theirs = settings
        self.opened_as: list[LineSettings] = []
        self.echoes = False

    def open(self, settings: LineSettings) -> FakeLine:
        self.opened_as.append(settings)
        return super().open(settings)

    def _answer(self, request: bytes) -> bytes | None:
        now, theirs = self.opened_as[-1], self.theirs
        if theirs and (now.baudrate, now.parity) != (theirs.baudrate, theirs.parity):
            return request if self.echoes else None
        answers = [answer for one in self.devices if (answer := one(request)) is not None]
        heard = _together(answers)
        return request + (heard or b"") if self.echoes else heard

    def say(self, noise: bytes) -> None:
        """Bytes that nobody asked for, now."""
        self._coming.append((self.now, noise))


def _together(answers: list[bytes]) -> bytes | None:
    """What is heard when several talk at once: each bit that one of them pulls down."""
    if len(answers) < 2:
        return answers[0] if answers else None
    shortest = min(len(one) for one in answers)
    mixed = bytes(_and(one[at] for one in answers) for at in range(shortest))
    return mixed + max(answers, key=len)[shortest:]


def _and(values: Iterable[int]) -> int:
    found = 0xFF
    for value in values:
        found &= value
    return found


def model(name: str, address: int) -> RegisterDevice:
    """A meter of the table with all its registers."""
    shown = Registers(address)
    for words in shown.words.values():
        for start, count in meter_table.spans(name):
            words.update((at, 0) for at in range(start, start + count))
    meter_table.show(name, shown)
    function = meter_table.TABLE[name][0]
    return RegisterDevice(address, {function: shown.words[function]})


def pilot_board(address: int) -> RegisterDevice:
    """What an EVSE-WB shows: no car, a cable of 20 A."""
    made = RegisterDevice(address)
    made.put(3, 1000, 6, 6, 1, 20, 0, 17, 1, 0)
    return made


def mute_where_wrong(device: Device) -> Device:
    """A device that says nothing instead of refusing."""
    def answer(request: bytes) -> bytes | None:
        told = device(request)
        return None if told is not None and told[1] & 0x80 else told

    return answer


def slow(line: FakeLine, device: Device, by_s: float) -> Device:
    """A device that answers only after `by_s`."""
    def answer(request: bytes) -> bytes | None:
        told = device(request)
        if told is not None:
            line._coming.append((line.now + by_s, told))
        return None

    return answer


def named(device: Device, address: int, *texts: str, at_once: int = 9) -> Device:
    """A device that knows Modbus identification as well; `at_once`: objects in one answer."""
    def answer(request: bytes) -> bytes | None:
        if request[:2] != bytes((address, 43)):
            return device(request)
        first = request[4]
        told = texts[first : first + at_once]
        more = first + len(told) < len(texts)
        body = bytes((address, 43, 14, 1, 1, 0xFF if more else 0, first + len(told), len(told)))
        for number, text in enumerate(told, first):
            body += bytes((number, len(text))) + text.encode()
        return with_crc(body)

    return answer


