"""Calls of the central system: each is answered exactly once, within a deadline.

A call becomes a request event, or an answer right away. What the core decides comes back through
`answer`. Bounded: beyond `MOST_OPEN` at a time a call is refused. The text of answers is handed to
`send`, never awaited here. Source: OCPP-J 1.6 section 4.2, 16.RPC.4, 7, 8.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from cpctl.core.events import Event, Request
from cpctl.core.values import Reply, RequestId
from cpctl.dialects.base import Call, CallError, Result
from cpctl.dialects.frames import CallFrame, FrameError
from cpctl.link.desk import Desk
from cpctl.link.rpc import Clash, Repeated, TheirCalls
from hal.late import dataclass

log = logging.getLogger(__name__)

MOST_OPEN = 8
REPLAYS = 3  # the same call so often again: nobody repeats himself like that for want of a network
MOST_REPEATS = 64  # ids counted at a time
ANSWER_WITHIN_S = 20.0  # central systems wait 30 s; ours must be there before


@dataclass(frozen=True)
class _Open:
    call: Call
    until_s: float


def _no_trouble(kind: str, text: str) -> None:
    """Nobody keeps a security log."""


class Inbox:
    """One connection's incoming calls. `send` takes call, text of the answer, how it turned out;
    `trouble` the kind and text of a security event."""

    def __init__(self, desk: Desk, *, post: Callable[[Event], None],
                 send: Callable[[Call, str, str], None],
                 trouble: Callable[[str, str], None] = _no_trouble) -> None:
        self._desk = desk
        self._post = post
        self._send = send
        self._trouble = trouble
        self._repeats: dict[str, int] = {}
        self._theirs = TheirCalls()
        self._open: dict[RequestId, _Open] = {}

    def received(self, frame: CallFrame, now_s: float) -> None:
        """A call came in."""
        known = self._theirs.received(frame)
        call = Call(frame.action, frame.payload, frame.id)
        if isinstance(known, Repeated):
            log.info("%s came again under the same id", frame.action)
            self._repeated(frame)
            if known.text is not None:
                self._send(call, known.text, "repeated")
            return
        if isinstance(known, Clash):
            self._send(call, self._error(call, "generic", "this message id is being worked on"),
                       "error")
            return
        self._begin(call, now_s)

    def refused(self, error: FrameError) -> None:
        """A frame that is none, but whose sender waits for an answer under `error.id`."""
        if error.id is None:
            return
        call = Call("", {}, error.id)
        self._send(call, self._error(call, error.kind, str(error)), "error")

    def answer(self, request: RequestId, reply: Reply) -> bool:
        """The core decided. False: nobody waits for it any more."""
        waiting = self._open.pop(request, None)
        if waiting is None:
            return False
        answer = self._desk.reply(waiting.call, reply, self._desk.context())
        self._finish(waiting.call, answer)
        return True

    def expire(self, now_s: float) -> float | None:
        """Answer what the station did not in time; the next moment to look."""
        while self._open:
            request, waiting = next(iter(self._open.items()))
            if now_s < waiting.until_s:
                return waiting.until_s
            del self._open[request]
            log.error("%s was not decided within %.0f s, InternalError is answered",
                      waiting.call.action, ANSWER_WITHIN_S)
            self._finish(waiting.call, self._call_error("internal", "no decision in time"))
        return None

    def _begin(self, call: Call, now_s: float) -> None:
        if self._theirs.open > MOST_OPEN:
            self._finish(call, self._call_error("generic", "too many calls at once"))
            return
        direction = self._desk.dialect.actions.get(call.action)
        if direction is None:
            self._finish(call, self._call_error("not_implemented", "this action is not known"))
            return
        if direction == "out":
            self._finish(call, self._call_error("not_supported", "a station only sends this"))
            return
        made = self._desk.request(call, self._desk.context())
        if not isinstance(made, Request):
            if isinstance(made, CallError) and made.code in self._invalid():
                self._trouble("InvalidMessages", made.description)
            self._finish(call, made)
            return
        self._open[made.request] = _Open(call, now_s + ANSWER_WITHIN_S)
        self._post(made)

    def _invalid(self) -> set[str]:
        """Error codes that say: this is no message of the protocol."""
        return {self._desk.dialect.error_code(kind)
                for kind in ("format", "property", "occurrence", "type", "protocol")}

    def _repeated(self, frame: CallFrame) -> None:
        """Not carried out again; beyond a few times somebody plays back what he has heard."""
        if len(self._repeats) > MOST_REPEATS:
            self._repeats.clear()
        times = self._repeats[frame.id] = self._repeats.get(frame.id, 0) + 1
        if times >= REPLAYS:
            self._trouble("AttemptedReplayAttacks",
                          f"{frame.action[:60]} came {times + 1} times under the same id")

    def _finish(self, call: Call, answer: Result | CallError) -> None:
        text = self._desk.reply_text(call, answer)
        if self._theirs.answered(call.id, text):
            self._send(call, text, "result" if text.startswith("[3") else "error")

    def _call_error(self, kind: str, description: str) -> CallError:
        return CallError(self._desk.dialect.error_code(kind), description)

    def _error(self, call: Call, kind: str, description: str) -> str:
        return self._desk.error_text(call.id, self._call_error(kind, description))
