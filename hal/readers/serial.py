"""Card readers that send a card's number over a serial line, by UART or USB (CDC).

Source: the frames and their documents in _frames.py; pyserial 3.5 (opening), Linux tty (reading).
Field:  not yet.

The port is opened by pyserial and watched by the event loop: nothing wakes up before a byte comes.
The reader only talks; it cannot be asked whether it is there. A port that goes (unplugged, EOF) is
a loss at once. Frames that are none are counted and passed over; nothing but such frames is a
bad reading with its likely cause.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, ClassVar

from hal.aside import aside
from hal.contracts import CardReader, Option, Parts
from hal.errors import BadReading, DeviceGone, HalError
from hal.readers._frames import Framing, Lines, Rdm6300, hex_line, text_line
from hal.readers._uid import DEBOUNCE, UID_OPTIONS, card_of
from hal.values import CardUid

log = logging.getLogger(__name__)

SPOILED_MOST = 20  # frames in a row that are none
CHUNK = 512
FORMATS = ("line", "text", "rdm6300")


class Reader(CardReader):
    """A reader on a serial port."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("port", str, required=True, role="port",
               help='name the device: port = "/dev/serial/by-id/…"'),
        Option("baudrate", int, 9600, minimum=300, maximum=1_000_000),
        Option("format", str, "line", choices=FORMATS,
               help="a line of hexadecimal digits per card, a line as it stands, or RDM6300"),
        *UID_OPTIONS,
        DEBOUNCE,
    )

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        defaults = {option.name: option.default for option in self.OPTIONS}
        super().__init__(name, evse, {**defaults, **options}, parts)
        self._port: Any = None
        self._framing: Framing | None = None
        self._cards: asyncio.Queue[CardUid | HalError] = asyncio.Queue()
        self._last: tuple[bytes | str, float] | None = None  # the card before, when it was there
        self._in_a_row = 0
        self.spoiled = 0  # frames that were none, since the start

    async def open(self) -> None:
        await self.close()
        self._cards = asyncio.Queue()
        self._framing, self._in_a_row = self._make_framing(), 0
        self._port = await aside(self._open_port, f"open {self.name}", late=_close_port)
        asyncio.get_running_loop().add_reader(self._port.fileno(), self._arrived)

    async def close(self) -> None:
        port, self._port = self._port, None
        if port is None:
            return
        asyncio.get_running_loop().remove_reader(port.fileno())
        await aside(lambda: _close_port(port), f"close {self.name}")

    async def cards(self) -> AsyncIterator[CardUid]:
        if self._port is None:
            raise DeviceGone(f"{self.name}: is not open")
        while True:
            what = await self._cards.get()
            if isinstance(what, HalError):
                raise what
            yield what

    # --- the port -----------------------------------------------------------------------------

    def _open_port(self) -> Any:
        """Raises DeviceGone."""
        import termios

        name = self.options["port"]
        try:
            import serial
        except ImportError as error:
            raise DeviceGone(f"{self.name}: pyserial cannot be imported ({error}); "
                             "pip install 'cpctl[pi]'") from error
        try:
            return serial.Serial(name, self.options["baudrate"], timeout=0, exclusive=True)
        except (OSError, ValueError, termios.error) as error:
            raise DeviceGone(f"{self.name}: {name} cannot be opened ({error}); "
                             "check its plug, the group dialout, and that nobody else has it "
                             "open") from error

    def _arrived(self) -> None:
        """Bytes are there, or the end."""
        if self._port is None:
            return
        try:
            chunk = os.read(self._port.fileno(), CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(DeviceGone(f"{self.name}: {self.options['port']} is gone ({error}); "
                                 "check its plug"))
            return
        if not chunk:
            self._end(DeviceGone(f"{self.name}: {self.options['port']} has hung up; "
                                 "check its plug"))
            return
        now_s = asyncio.get_running_loop().time()
        assert self._framing is not None
        for found in self._framing.feed(chunk, now_s):
            self._found(found, now_s)

    def _end(self, error: HalError) -> None:
        """Nothing more comes; without it the loop would be told of the end for ever."""
        asyncio.get_running_loop().remove_reader(self._port.fileno())
        self._cards.put_nowait(error)

    # --- cards --------------------------------------------------------------------------------

    def _make_framing(self) -> Framing:
        match self.options["format"]:
            case "rdm6300":
                return Rdm6300(self._spoiled)
            case "text":
                return Lines(self._spoiled, text_line)
            case _:
                return Lines(self._spoiled, hex_line)

    def _found(self, card: bytes | str, now_s: float) -> None:
        """A card told again and again for as long as it lies there is one tap."""
        self._in_a_row = 0
        last, self._last = self._last, (card, now_s)
        if last is not None and last[0] == card and now_s - last[1] < self.options["debounce_s"]:
            return
        self._cards.put_nowait(card_of(card, self.options) if isinstance(card, bytes)
                               else CardUid(self._worded(card)))

    def _worded(self, text: str) -> str:
        text = text.lower() if self.options["case"] == "lower" else text.upper()
        return f"{self.options['prefix']}{text}"

    def _spoiled(self, why: str) -> None:
        self.spoiled += 1
        self._in_a_row += 1
        say: Callable[..., None] = log.warning if self._in_a_row == 1 else log.debug
        say("%s: a frame was passed over: %s", self.name, why)
        if self._in_a_row == SPOILED_MOST:
            self._end(BadReading(
                f"{self.name}: {SPOILED_MOST} frames in a row make no sense (the last: {why}); "
                "check baudrate and format, and the ground wire"))


def _close_port(port: Any) -> None:
    """What a port that has gone says about being closed helps nobody."""
    try:
        port.close()
    except OSError as error:
        log.debug("%s not closed: %s", port.name, error)
