"""The identifier of a card as text: one set of options for all readers.

The order of bytes a reader hands out, and the way a central system has its cards written, differ by
maker and by history: the same card must read the same at every station of an operator.
Source: ISO/IEC 14443-3 (UID of 4, 7 or 10 bytes; a 4-byte one beginning with 08 is random).
"""

from collections.abc import Mapping
from typing import Any

from hal.contracts import Option
from hal.values import CardUid

UID_OPTIONS: tuple[Option, ...] = (
    Option("byte_order", str, "normal", choices=("normal", "reversed")),
    Option("case", str, "upper", choices=("upper", "lower")),
    Option("separator", str, "", help="between the bytes"),
    Option("prefix", str, ""),
    Option("truncate", int, 0, minimum=0, maximum=10, help="bytes kept; 0: all"),
)
DEBOUNCE = Option("debounce_s", float, 1.0, minimum=0, maximum=10,
                  help="the same card back within this time is the same tap")


def card_of(uid: bytes, options: Mapping[str, Any]) -> CardUid:
    """The card with the identifier `uid`, in reader order."""
    return CardUid(uid_text(uid, options), random=is_random(uid))


def uid_text(uid: bytes, options: Mapping[str, Any]) -> str:
    """The UID as it goes to the central system: order, then `truncate` bytes, case, separator."""
    ordered = uid[::-1] if options.get("byte_order", "normal") == "reversed" else uid
    kept = ordered[: options.get("truncate") or None]
    text = str(options.get("separator", "")).join(f"{byte:02X}" for byte in kept)
    text = text.lower() if options.get("case", "upper") == "lower" else text
    return f"{options.get('prefix', '')}{text}"


def is_random(uid: bytes) -> bool:
    """A UID drawn anew at each tap. Source: ISO/IEC 14443-3, single size UID with uid0 = 08."""
    return len(uid) == 4 and uid[0] == 0x08
