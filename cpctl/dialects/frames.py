"""OCPP-J framing: text of a frame to values and back, with the guards that keep a bad peer out.

Decided here: what counts as a frame at all. Whether an action is known, whether a payload fits its
schema and what the answer is worded like is decided by the dialect; what to do with a bad frame,
by the link. Nothing here raises anything but `FrameError`.

Duplicate keys are refused: what the peer meant cannot be known. A binary frame is refused: OCPP-J
is JSON text (RFC 6455 tells text from binary).
Source: OCPP-J 1.6 section 4, errata sheet 3.1; OCPP 2.0.1 part 4 section 4.
"""

import json
import re
from collections.abc import Callable
from dataclasses import field
from json.encoder import c_make_encoder  # type: ignore[attr-defined]
from json.encoder import encode_basestring_ascii as json_string
from typing import Any

from hal.late import dataclass

MAX_CHARACTERS = 262_144  # 256 KiB; the largest real message, a full local list, is below it
MAX_DEPTH = 32  # the deepest message of OCPP has 8 levels
MAX_DIGITS = 18  # of an integer: fits 64 bits
MAX_FLOAT_CHARACTERS = 64
MAX_ID = 36
ECHOED_ID = 255  # an id that is too long is still told back, up to here
MAX_DESCRIPTION = 255
MAX_ACTION = 64

CALL, CALL_RESULT, CALL_ERROR = 2, 3, 4


@dataclass(frozen=True)
class CallFrame:
    """`[2, id, action, payload]`. A payload of `null` is read as `{}` (OCPP-J 1.6 table 4)."""

    id: str
    action: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class ResultFrame:
    """`[3, id, payload]`."""

    id: str
    payload: dict[str, Any]


@dataclass(frozen=True)
class ErrorFrame:
    """`[4, id, code, description, details]`; the last two may be missing (seen in the field)."""

    id: str
    code: str
    description: str = ""
    details: dict[str, Any] = field(default_factory=dict)


ParsedFrame = CallFrame | ResultFrame | ErrorFrame


class FrameError(Exception):
    """A text that is no frame, or a payload that cannot become one.

    `kind` is a word of `Dialect.error_code` ("format", "type", "message_type" …) or "broken" for
    what is not JSON. `id` is the id of a CALL that waits for an answer: None when the text is not a
    CALL or its id cannot be read, and then there is nothing to answer.
    """

    def __init__(self, finding: str, *, kind: str = "broken", id: str | None = None) -> None:
        super().__init__(finding)
        self.kind = kind
        self.id = id


class _Refused(ValueError):
    """A guard said no in the middle of the JSON text; the text itself may be sound JSON."""


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _Refused(f"an integer of {len(text)} digits")
    return int(text)


def _float(text: str) -> float:
    if len(text) > MAX_FLOAT_CHARACTERS:
        raise _Refused(f"a number of {len(text)} characters")
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _Refused("a number out of range")
    return value


def _constant(text: str) -> float:
    raise _Refused(f"{text} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Refused("a key stands twice in one object")
    return made


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_int=_integer, parse_constant=_constant)


def _encoder() -> Callable[[Any], str]:
    """JSONEncoder.encode, but for the encoder in C that it makes anew for each text."""
    plain = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False)
    if c_make_encoder is None:
        return plain.encode
    in_c = c_make_encoder(None, plain.default, json_string, None, ":", ",", False, False,
                          False)
    join = "".join
    return lambda parts: join(in_c(parts, 0))


_ENCODE = _encoder()
# the answer to most of what we tell
_PLAIN_RESULT = re.compile(r'\[3, ?"([0-9A-Za-z-]{1,36})", ?\{\}\]', re.ASCII).fullmatch
_CALL_HEAD = re.compile(r'\s*\[\s*2\s*,\s*"([^"\\\x00-\x1f]{1,255})"\s*,')
# a string that never ends runs to the end of the text, so that the search stays linear
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)
_ASTRAY = re.compile("[\ud800-\udfff]")


def parse(text: str | bytes) -> ParsedFrame:
    """The frame that `text` is. Raises FrameError, and nothing else."""
    if not isinstance(text, str):
        raise FrameError("a binary frame; OCPP-J speaks JSON text")
    plain = _PLAIN_RESULT(text)
    if plain is not None:
        return ResultFrame(plain[1], {})
    if len(text) > MAX_CHARACTERS:
        raise FrameError(f"a frame of {len(text)} characters", kind="format", id=_call_id(text))
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise FrameError("nested too deep", kind="format", id=_call_id(text))
    try:
        parts = _DECODER.decode(text)
    except _Refused as error:
        raise FrameError(str(error), kind="format", id=_call_id(text)) from error
    except (ValueError, RecursionError) as error:
        raise FrameError(f"not JSON: {str(error)[:80]}") from error
    if ("\\u" in text or not text.isascii()) and _has_lone_surrogate(parts):
        raise FrameError("half of a surrogate pair", kind="format", id=_call_id(text))
    return _frame(parts)


def _frame(parts: Any) -> ParsedFrame:
    if not isinstance(parts, list) or not parts:
        raise FrameError("not a JSON array with something in it")
    kind = parts[0]
    if type(kind) is not int or kind not in (CALL, CALL_RESULT, CALL_ERROR):
        raise FrameError(f"message type {str(kind)[:20]!r} is not 2, 3 or 4", kind="message_type")
    identity = parts[1] if len(parts) > 1 else None
    if not isinstance(identity, str) or not identity or len(identity) > ECHOED_ID:
        raise FrameError("no message id that could be answered")
    if kind == CALL_RESULT:
        return _result(identity, parts)
    if kind == CALL:
        return _call(identity, parts)
    return _error(identity, parts)


def _call(identity: str, parts: list[Any]) -> CallFrame:
    if len(identity) > MAX_ID:  # a case for CALLERROR by OCPP-J 1.6 section 4.2.3
        raise FrameError(f"a message id of more than {MAX_ID} characters",
                         kind="format", id=identity)
    if len(parts) != 4:
        raise FrameError(f"a CALL has 4 elements, not {len(parts)}", kind="format", id=identity)
    action, payload = parts[2], parts[3]
    if not isinstance(action, str) or not action or len(action) > MAX_ACTION:
        raise FrameError("the action is not a name", kind="format", id=identity)
    if payload is None:
        payload = {}
    if not isinstance(payload, dict):
        raise FrameError("the payload is not an object", kind="format", id=identity)
    return CallFrame(identity, action, payload)


def _result(identity: str, parts: list[Any]) -> ResultFrame:
    payload = parts[2] if len(parts) == 3 else 0
    if payload is None:
        payload = {}
    if not isinstance(payload, dict):
        raise FrameError("a CALLRESULT is [3, id, object]")
    return ResultFrame(identity, payload)


def _error(identity: str, parts: list[Any]) -> ErrorFrame:
    if not 3 <= len(parts) <= 5 or not isinstance(parts[2], str):
        raise FrameError("a CALLERROR is [4, id, code, description, object]")
    description = parts[3] if len(parts) > 3 and isinstance(parts[3], str) else ""
    details = parts[4] if len(parts) > 4 and isinstance(parts[4], dict) else {}
    return ErrorFrame(identity, parts[2][:100], description[:MAX_DESCRIPTION], details)


def _call_id(text: str) -> str | None:
    """The id of a CALL whose rest is refused, so that it can be answered all the same."""
    found = _CALL_HEAD.match(text[:1000])
    if found is None or _ASTRAY.search(found[1]):
        return None
    return found[1]


def _depth(text: str) -> int:
    """How deep brackets nest outside strings; stops counting beyond the limit."""
    depth = deepest = 0
    for mark in _BRACKETS.finditer(text):
        sign = mark[0]
        if sign in "[{":
            depth += 1
            deepest = max(deepest, depth)
            if deepest > MAX_DEPTH:
                break
        elif sign in "]}":
            depth -= 1
    return deepest


def _has_lone_surrogate(value: Any) -> bool:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if _ASTRAY.search(one):
                return True
        elif isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, dict):
            waiting.extend(one)
            waiting.extend(one.values())
    return False


def call_text(identity: str, action: str, payload: dict[str, Any]) -> str:
    """The text of a CALL. Raises FrameError for what JSON cannot say (NaN, a Decimal …)."""
    return _encoded([CALL, identity, action, payload])


def result_text(identity: str, payload: dict[str, Any]) -> str:
    return _encoded([CALL_RESULT, identity, payload])


def error_text(
    identity: str, code: str, description: str = "", details: dict[str, Any] | None = None
) -> str:
    """The text of a CALLERROR; the description is cut to 255 characters."""
    return _encoded([CALL_ERROR, identity, code, description[:MAX_DESCRIPTION], details or {}])


def json_text(value: dict[str, Any]) -> str:
    """A part of a frame, as `call_text` writes it. Raises FrameError."""
    return _encoded(value)


def _encoded(parts: list[Any] | dict[str, Any]) -> str:
    try:
        return _ENCODE(parts)
    except (ValueError, TypeError, RecursionError) as error:
        raise FrameError(f"cannot be said in JSON: {str(error)[:120]}", kind="internal") from error
