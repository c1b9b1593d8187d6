"""Cards out of the bytes of a serial reader: lines, or the frames of an RDM6300. Pure.

Sources: Seeed/Itead, "RDM630 Specification" (STX, ten hexadecimal digits of data, two of checksum
= the data bytes XORed, ETX; 9600 baud); Elatec, "TWN4 CDC: standard application" (a line of
hexadecimal digits, ended by CR).
"""

from collections.abc import Callable, Iterator
from typing import Protocol

STX, ETX = 0x02, 0x03
MOST_BYTES = 80  # of a line; what is longer is noise
PAUSE_S = 0.5  # a frame that stops for so long does not go on
BETWEEN = str.maketrans("", "", " :-\t")  # what readers put between the digits


class Framing(Protocol):
    """Takes bytes as they come; gives whole cards, each before the next byte is looked at."""

    def feed(self, chunk: bytes, now_s: float) -> Iterator[bytes | str]: ...


class Spoiled(Exception):
    """A frame that is none; the text says what is wrong with it."""


class _Framing:
    """`spoiled(why)` is called for each frame that is none."""

    def __init__(self, spoiled: Callable[[str], None]) -> None:
        self._spoiled = spoiled
        self._held = bytearray()
        self._last_s = 0.0

    def feed(self, chunk: bytes, now_s: float) -> Iterator[bytes | str]:
        if now_s - self._last_s > PAUSE_S:
            if self._held:
                self._waste("it stopped in the middle")
            self._begin()
        self._last_s = now_s
        for byte in chunk:
            try:
                card = self._take(byte)
            except Spoiled as why:
                self._waste(str(why))
            else:
                if card:
                    yield card

    def _waste(self, why: str) -> None:
        self._held.clear()
        self._spoiled(why)

    def _begin(self) -> None:
        """What comes next is the beginning of something."""

    def _take(self, byte: int) -> bytes | str | None:
        raise NotImplementedError


class Lines(_Framing):
    """One card per line, ended by CR, LF or both; `read` makes the card of a line."""

    def __init__(self, spoiled: Callable[[str], None], read: Callable[[str], bytes | str]) -> None:
        super().__init__(spoiled)
        self._read = read
        self._overlong = False

    def _begin(self) -> None:
        self._overlong = False

    def _take(self, byte: int) -> bytes | str | None:
        if byte in b"\r\n":
            line, self._held = bytes(self._held), bytearray()
            if self._overlong:
                self._overlong = False
                return None
            text = line.strip(b"\x00\x02\x03\t ").decode("ascii", "replace")
            return self._read(text) if text else None
        if self._overlong:
            return None
        self._held.append(byte)
        if len(self._held) > MOST_BYTES:
            self._overlong = True
            raise Spoiled(f"a line of more than {MOST_BYTES} bytes")
        return None


def hex_line(text: str) -> bytes:
    """The UID of a line of hexadecimal digits. Raises Spoiled."""
    digits = text.translate(BETWEEN)
    try:
        uid = bytes.fromhex(digits)
    except ValueError:
        raise Spoiled(f"{text!r} is not a line of hexadecimal digits") from None
    if not 4 <= len(uid) <= 10:
        raise Spoiled(f"{text!r} has {len(uid)} bytes, a UID has 4 to 10")
    return uid


def text_line(text: str) -> str:
    """A line as it stands. Raises Spoiled for what cannot be shown or is too long for a token."""
    if not text.isascii() or not text.isprintable() or len(text) > 36:
        raise Spoiled(f"{text!r} is no token")
    return text


class Rdm6300(_Framing):
    """Frames of an RDM6300: version and tag, five bytes."""

    LENGTH = 12  # digits between STX and ETX

    def __init__(self, spoiled: Callable[[str], None]) -> None:
        super().__init__(spoiled)
        self._inside = False
        self._noisy = False  # noise between frames is told once, not byte by byte

    def _begin(self) -> None:
        self._inside = self._noisy = False

    def _take(self, byte: int) -> bytes | str | None:
        if byte == STX:
            cut = self._inside and len(self._held) > 0
            self._inside, self._noisy = True, False
            if cut:
                raise Spoiled("it was cut short by the next one")
        elif not self._inside:
            self._outside(byte)
        elif byte == ETX:
            self._inside = False
            frame, self._held = bytes(self._held), bytearray()
            return _checked(frame)
        else:
            self._held.append(byte)
            if len(self._held) > self.LENGTH:
                self._inside, self._noisy = False, True
                raise Spoiled("it does not end")
        return None

    def _outside(self, byte: int) -> None:
        if byte not in b"\r\n\x00" and not self._noisy:
            self._noisy = True
            raise Spoiled(f"byte {byte:#04x} outside of a frame")


def _checked(digits: bytes) -> bytes:
    try:
        frame = bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        raise Spoiled(f"{digits!r} are not hexadecimal digits") from None
    if len(digits) != Rdm6300.LENGTH:
        raise Spoiled(f"{len(digits)} digits instead of {Rdm6300.LENGTH}")
    check = 0
    for byte in frame[:5]:
        check ^= byte
    if check != frame[5]:
        raise Spoiled("its checksum is wrong")
    return frame[:5]
