"""JSON-RPC 2.0, one JSON object per line: what both ends of the local socket agree on.

Imported by the client, which has to start at once: nothing heavy here (no dataclasses, no enum).
An application error's code is the exit code of the command that asked (interfaces, exit codes).
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would cost a tenth of the start
    from typing import Any

    Params = dict[str, Any]

DEFAULT_SOCKET = "/run/cpctl/cpctl.sock"
MAX_LINE = 1 << 20  # bytes, newline included

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

FAILED = 1
NOT_PERMITTED = 4
NOT_FOUND = 5
REFUSED = 6
TIMED_OUT = 7


class ApiError(Exception):
    """An error answer: what went wrong, and in `hint` the next step."""

    def __init__(self, code: int, message: str, hint: str = "", **more: Any):
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.more = more


class Call:
    """One request as it came. `id` None with `wants_answer` False is a notification."""

    __slots__ = ("id", "method", "params", "wants_answer")

    def __init__(self, method: str, params: Params, id: Any, wants_answer: bool):
        self.method = method
        self.params = params
        self.id = id
        self.wants_answer = wants_answer


def encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"),
                      allow_nan=False).encode() + b"\n"


def request(number: int, method: str, params: Params) -> bytes:
    return encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def notification(method: str, params: Params) -> bytes:
    return encode({"jsonrpc": "2.0", "method": method, "params": params})


def result(id: Any, value: Any) -> bytes:
    return encode({"jsonrpc": "2.0", "id": id, "result": value})


def error(id: Any, problem: ApiError) -> bytes:
    shown: dict[str, Any] = {"code": problem.code, "message": problem.message}
    more = {"hint": problem.hint, **problem.more} if problem.hint else problem.more
    if more:
        shown["data"] = more
    return encode({"jsonrpc": "2.0", "id": id, "error": shown})


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def decode(line: bytes) -> Any:
    """The value on a line. Raises ApiError: not UTF-8, not JSON, nested too deep."""
    try:
        return json.loads(line.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as problem:
        raise ApiError(PARSE_ERROR, "this line is not JSON",
                       "send one JSON-RPC 2.0 object per line, UTF-8") from problem


def read_call(line: bytes) -> Call:
    """The request on a line. Raises ApiError; its `more` may hold the id under "id"."""
    message = decode(line)
    if not isinstance(message, dict):
        raise ApiError(INVALID_REQUEST, "a request is a JSON object",
                       "batches are not spoken here: one request per line")
    _must_be_sayable(message)
    id = message.get("id")
    if isinstance(id, bool) or not isinstance(id, str | int | float | None):
        raise ApiError(INVALID_REQUEST, "the id is neither text nor number")
    method, params = message.get("method"), message.get("params", {})
    if message.get("jsonrpc") != "2.0" or not isinstance(method, str):
        raise _Refused(id, INVALID_REQUEST, "this is not a JSON-RPC 2.0 request",
                       'it needs "jsonrpc": "2.0", "method" and "id"')
    if not isinstance(params, dict):
        raise _Refused(id, INVALID_PARAMS, "params is an object with named members",
                       '"params": {"evse": 1}')
    return Call(method, params, id, wants_answer="id" in message)


def _must_be_sayable(message: dict[str, Any]) -> None:
    """What cannot be written again (1e999, half of a surrogate pair) reaches neither a book nor an
    answer. Raises ApiError."""
    try:
        encode(message)
    except (ValueError, RecursionError) as problem:
        raise ApiError(PARSE_ERROR, "this line holds what no JSON text in UTF-8 can say",
                       "numbers are finite, and \\ud800 to \\udfff stand in pairs") from problem


class _Refused(ApiError):
    """A request that was readable enough to have an id."""

    def __init__(self, id: Any, code: int, message: str, hint: str):
        super().__init__(code, message, hint)
        self.id = id


def id_of(problem: ApiError) -> Any:
    """The id an error answer goes with, None when the request had no readable one."""
    return problem.id if isinstance(problem, _Refused) else None
