"""What single models of PC/SC readers do differently: their buzzer, their lights, what to know.

Sources: ACS, "ACR122U Application Programming Interface" V2.04, 6.2 (LED and buzzer) and 6.7
(buzzer at detection); ACS, "ACR1252U Reference Manual", peripheral control (escape E0 00 00 28
buzzer, E0 00 00 21 behaviour of LED and buzzer, bit 3: beep when a card comes or goes); libccid,
escape commands (SCARD_CTL_CODE(1), refused unless bit 0 of ifdDriverOptions is set).
Field:  not yet.

A courtesy command that fails is told once per reader and model and never costs a tap.
"""

import functools
import logging
from collections.abc import Callable
from typing import Any

from hal.late import dataclass

log = logging.getLogger(__name__)

ESCAPE = 0x42000001  # pcsc-lite's SCARD_CTL_CODE(1)
BEEPS_AT_CARDS = 0x08  # ACR1252U, behaviour, bit 3


@dataclass(frozen=True)
class Quirk:
    """One model. Commands are APDUs on a card connection, or escapes where `escape` says so.

    `behaviour` reads the byte of settings in which BEEPS_AT_CARDS is a bit; written with one byte
    of data it sets them. The byte `silent_byte` of `accepted` and `refused` is what makes noise.
    """

    model: str
    part: str  # of the reader's name
    escape: bool = False
    buzzer_on: bytes = b""
    buzzer_off: bytes = b""
    behaviour: bytes = b""
    accepted: bytes = b""
    refused: bytes = b""
    silent_byte: int | None = None
    hint: str = ""


def _apdu(text: str) -> bytes:
    return bytes.fromhex(text)


@functools.cache
def known() -> tuple[Quirk, ...]:
    """The models there is something to know of; made when the first reader is seen."""
    return (
        Quirk("ACS ACR122U", "ACR122U",
              buzzer_on=_apdu("FF 00 52 FF 00"), buzzer_off=_apdu("FF 00 52 00 00"),
              # green blinks once with a beep; red blinks three times with beeps. Units of 100 ms
              accepted=_apdu("FF 00 40 A0 04 01 01 01 01"),
              refused=_apdu("FF 00 40 50 04 01 01 03 01"), silent_byte=8,
              hint="if it stays deaf until it is plugged anew, try the maker's driver "
                   "(libacsccid1) and a shorter or powered USB cable"),
        Quirk("ACS ACR1252U", "ACR1252", escape=True,
              behaviour=_apdu("E0 00 00 21 00"),
              # a beep of 100 ms; one of 600 ms. Units of 10 ms
              accepted=_apdu("E0 00 00 28 01 0A"), refused=_apdu("E0 00 00 28 01 3C"),
              silent_byte=5),
        Quirk("Identiv uTrust", "uTrust"),
        Quirk("SCM SCL", "SCL0"),
        Quirk("Elatec TWN4", "TWN4",
              hint="only its CCID image speaks PC/SC; with another image use driver = \"serial\""),
        Quirk("QEMU usb-ccid", "433-Swap"),
        Quirk("PC/SC", ""),  # any other
    )


def quirk_of(reader: str) -> Quirk:
    """What is known of the model behind a reader's name; one without quirks: nothing."""
    name = reader.upper()
    return next(one for one in known() if one.part.upper() in name)


Say = Callable[[bytes], bytes]  # sends a command, returns the answer; raises QuirkFailed


class QuirkFailed(Exception):
    """A courtesy command was not taken; the text says how."""


class Manners:
    """How the readers of one driver shall behave: buzzer at cards, lights at decisions.

    `buzzer` None leaves the reader as it is. One object per driver, used by its thread alone.
    """

    def __init__(self, name: str, *, buzzer: bool | None, signals: bool):
        self._name = name
        self._buzzer = buzzer
        self._signals = signals
        self._settled: set[str] = set()  # readers whose buzzer is as it shall be, or cannot be
        self._told: set[tuple[str, str]] = set()
        self._mute: set[str] = set()  # readers that took no signal

    def forget(self, reader: str) -> None:
        """The reader has gone: what comes back under its name has its own settings again."""
        self._settled.discard(reader)
        self._mute.discard(reader)

    def settle_early(self, reader: str) -> bool:
        """Whether the buzzer is to be set now, without a card (by escape)."""
        return self._wants(reader) and quirk_of(reader).escape

    def settle_with_card(self, reader: str) -> bool:
        """Whether the buzzer is to be set on the next card's connection."""
        return self._wants(reader) and not quirk_of(reader).escape

    def _wants(self, reader: str) -> bool:
        quirk = quirk_of(reader)
        known = quirk.buzzer_on or quirk.behaviour
        return self._buzzer is not None and bool(known) and reader not in self._settled

    def settle(self, reader: str, say: Say) -> None:
        """Set the buzzer as the configuration wants it, once for as long as the reader is there."""
        self._settled.add(reader)
        quirk = quirk_of(reader)
        try:
            if quirk.behaviour:
                self._settle_behaviour(quirk, say)
            else:
                _want_ok(say(quirk.buzzer_on if self._buzzer else quirk.buzzer_off))
        except QuirkFailed as failed:
            self._tell(quirk, "buzzer", failed)

    def _settle_behaviour(self, quirk: Quirk, say: Say) -> None:
        """The setting lies in the reader's non-volatile memory: written only when it differs."""
        now = _behaviour(say(quirk.behaviour))
        wanted = now | BEEPS_AT_CARDS if self._buzzer else now & ~BEEPS_AT_CARDS
        if wanted != now:
            _behaviour(say(quirk.behaviour[:4] + bytes((1, wanted))))

    def may_signal(self, reader: str, *, card_there: bool) -> bool:
        """Whether this reader can show a decision now."""
        quirk = quirk_of(reader)
        return (self._signals and bool(quirk.accepted) and reader not in self._mute
                and (quirk.escape or card_there))

    def signal(self, reader: str, say: Say, *, accepted: bool) -> None:
        """Show a decision with the reader's own light and buzzer."""
        quirk = quirk_of(reader)
        command = quirk.accepted if accepted else quirk.refused
        if self._buzzer is False and quirk.silent_byte is not None:
            at = quirk.silent_byte
            command = command[:at] + b"\x00" + command[at + 1:]
        try:
            answer = say(command)
            taken = answer[:1] == b"\xe1" if quirk.escape else answer[-2:-1] == b"\x90"
            if not taken:
                raise QuirkFailed(f"it answered {answer.hex() or 'nothing'}")
        except QuirkFailed as failed:
            self._mute.add(reader)
            self._tell(quirk, "signal", failed)

    def _tell(self, quirk: Quirk, what: str, failed: QuirkFailed) -> None:
        if (quirk.model, what) in self._told:
            return
        self._told.add((quirk.model, what))
        how = ("; libccid lets such commands pass only with bit 0 of ifdDriverOptions set "
               "(docs/readers.md)" if quirk.escape else "")
        log.warning("%s: %s took no command for its %s: %s%s; cards are read all the same",
                    self._name, quirk.model, "buzzer" if what == "buzzer" else "lights", failed,
                    how)


def _want_ok(answer: bytes) -> None:
    if answer[-2:] != b"\x90\x00":
        raise QuirkFailed(f"it answered {answer.hex() or 'nothing'}")


def _behaviour(answer: bytes) -> int:
    """The settings byte of an answer E1 00 00 00 01 xx."""
    if len(answer) != 6 or answer[0] != 0xE1:
        raise QuirkFailed(f"it answered {answer.hex() or 'nothing'}")
    return answer[5]


def checked(answer: tuple[int, Any]) -> bytes:
    """The bytes of an answer with its return code. Raises QuirkFailed."""
    code, said = answer
    if code != 0:
        raise QuirkFailed(f"PC/SC error {code:#010x}")
    return bytes(byte & 0xFF for byte in said)
