"""The bus doctor's sweep: who answers on a serial line, at which address, at which settings.

Asks each address at each setting by a few harmless reads and judges what comes back, and what comes
unasked. Nothing is written to any device. Which model answers is told by `busnames.py`; what the
bytes mean by `buswire.py`.
"""

import errno
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field, replace

from hal.buswire import BusWire, Heard, Kind
from hal.crc import is_whole
from hal.errors import DeviceGone, HalError
from hal.late import dataclass
from hal.rtu import READ_COILS, READ_HOLDING, READ_INPUT, LineSettings
from hal.serialbus import OpenPort

Probe = tuple[int, int, int]

#: Function, register, count. An exception answer is as good as a value: somebody is there. Devices
#: refuse what they do not have, but some are silent, so these families have one that they have.
PROBES: tuple[Probe, ...] = (
    (READ_INPUT, 0, 2),  # Eastron, Carlo Gavazzi; others refuse it
    (READ_HOLDING, 1000, 1),  # EVSE-WB
    (READ_COILS, 0, 8),  # relay boards
    (READ_HOLDING, 0x0130, 1),  # YTL
    (READ_HOLDING, 0x5002, 2),  # Inepro
)

BAUDRATES = (9600, 19200, 2400, 4800, 38400, 57600, 115200)
PARITIES = ("N", "E")

_AGAIN = 3  # how often an address that garbles is asked before that is believed
_LISTEN_S = 0.3
_MANY = 3  # addresses that garble: then it is not one of them

#: Address, number of those found so far.
Progress = Callable[[LineSettings, int, int], None]


def _nobody_looks(settings: LineSettings, address: int, found: int) -> None:
    """For sweeps without a screen."""


@dataclass(frozen=True)
class Somebody:
    """A device that answered. `slow`: later than it was waited for."""

    address: int
    slow: bool = False


@dataclass
class Sweep:
    """What one setting of a line brought. `unasked`: bytes that came before anybody was asked;
    `garbled`: by address what came instead of an answer, each time it was asked; `impossible`: the
    port cannot be set so."""

    settings: LineSettings
    found: list[Somebody] = field(default_factory=list)
    garbled: dict[int, bytes] = field(default_factory=dict)
    unasked: bytes = b""
    echo: bool = False
    impossible: bool = False

    @property
    def addresses(self) -> tuple[int, ...]:
        return tuple(sorted(one.address for one in self.found))

    def note(self, address: int, *, slow: bool = False) -> None:
        if 1 <= address <= 247 and address not in self.addresses:
            self.found.append(Somebody(address, slow))


def settings_to_try(
    known: LineSettings, baudrates: Sequence[int], parities: Sequence[str]
) -> tuple[LineSettings, ...]:
    """The settings of the configuration first, where they are among those wanted."""
    wanted = [
        replace(known, baudrate=baudrate, parity=parity)
        for parity in parities
        for baudrate in baudrates
    ]
    return tuple(sorted(wanted, key=lambda one: one != known))


def sweeps(
    settings: Iterable[LineSettings],
    addresses: Sequence[int],
    *,
    open_port: OpenPort,
    wait_s: float,
    probes: Sequence[Probe] = PROBES,
    progress: Progress = _nobody_looks,
    everything: bool = False,
) -> list[Sweep]:
    """Setting after setting, until somebody answers; `everything`: all of them."""
    told: list[Sweep] = []
    for one in settings:
        told.append(sweep(one, addresses, open_port=open_port, wait_s=wait_s, probes=probes,
                          progress=progress))
        if told[-1].found and not everything:
            break
    return told


def sweep(
    settings: LineSettings,
    addresses: Iterable[int],
    *,
    open_port: OpenPort,
    wait_s: float,
    probes: Sequence[Probe] = PROBES,
    progress: Progress = _nobody_looks,
) -> Sweep:
    """Ask each address by all `probes`. Raises DeviceGone when the port is not there or is lost."""
    told = Sweep(settings)
    try:
        wire = BusWire(settings, open_port, wait_s=wait_s)
        try:
            told.unasked = wire.listen(_LISTEN_S)
            for address in addresses:
                progress(settings, address, len(told.found))
                if address not in told.addresses:
                    _ask(wire, address, told, probes)
            _take_late(told, wire.listen(_LISTEN_S))
        finally:
            wire.close()
    except DeviceGone as error:
        if error_number(error) != errno.EINVAL:
            raise
        told.impossible = True
    return told


def _ask(wire: BusWire, address: int, told: Sweep, probes: Sequence[Probe]) -> None:
    for function, start, count in probes:
        for _ in range(_AGAIN):
            _take_late(told, wire.waiting())
            heard = wire.ask(address, function, start, count)
            told.echo = told.echo or heard.echo
            if _settled(told, address, heard):
                return
            if heard.kind is not Kind.GARBLED:
                break
        else:
            told.garbled[address] = heard.frame


def error_number(error: HalError) -> int:
    """What the kernel said when a port could not be had (errno); 0: nothing."""
    cause = error.__cause__
    number = getattr(cause, "errno", None) or (cause.args[0] if cause and cause.args else 0)
    return number if isinstance(number, int) else 0


def _settled(told: Sweep, address: int, heard: Heard) -> bool:
    """Whether there is no more to ask of this address."""
    if heard.kind in (Kind.ANSWER, Kind.REFUSED):
        told.note(address)
        return True
    if heard.kind is Kind.LATE:
        told.note(heard.frame[0], slow=True)
        return heard.frame[0] == address
    return False


def _take_late(told: Sweep, heard: bytes) -> None:
    """An answer that came after its time counts for whoever gave it."""
    if is_whole(heard):
        told.note(heard[0], slow=True)


def verdicts(told: Sequence[Sweep]) -> tuple[str, ...]:
    """What is wrong with a line, each with the next step; nothing where nothing is."""
    return tuple(text for one in told for text in _of_setting(one)) or _of_silence(told)


def _of_silence(told: Sequence[Sweep]) -> tuple[str, ...]:
    if not told or any(one.found for one in told):
        return ()
    unable = ", ".join(line_words(one.settings) for one in told if one.impossible)
    if all(one.impossible for one in told):
        return (f"the port cannot do {unable}; try others",)
    return ("nobody answers, the line is silent: check the supply of the devices, swap A and B, "
            "and try more addresses, baud rates and parities",)  # fmt: skip


def _of_setting(one: Sweep) -> list[str]:
    at = line_words(one.settings)
    found: list[str] = []
    if one.unasked:
        found.append(
            f"{at}: somebody talks unasked ({_shown(one.unasked)}); another master on the line, or "
            "a wrong baud rate: only one may ask")
    if one.echo:
        found.append(f"{at}: the adapter hears itself; switch its echo off")
    if len(one.garbled) >= _MANY:
        some = next(iter(one.garbled.values()))
        found.append(
            f"{at}: what comes cannot be read ({_shown(some)}); the baud rate or parity is another "
            "one, or the line lacks termination")
    else:
        found += [
            f"{at}: address {address} answers what cannot be read ({_shown(frame)}); probably two "
            "devices have this address: unplug one, give the other a new address"
            for address, frame in one.garbled.items()]
    found += [
        f"{at}: address {somebody.address} is slow; give it time: timeout_s in [serial.…]"
        for somebody in one.found if somebody.slow]
    return found


def line_words(settings: LineSettings) -> str:
    """As people write it: 9600 8N1."""
    return f"{settings.baudrate} 8{settings.parity}{settings.stopbits}"


def _shown(frame: bytes) -> str:
    return frame[:12].hex(" ") + (" …" if len(frame) > 12 else "")
