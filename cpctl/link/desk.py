"""The translators, guarded: a mistake in one of them costs one message, never the link.

Also what is ready to be sent: `Letter`. Who sends it, when, and what comes of it, is decided by
the lanes and the pump.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from hashlib import sha1
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from cpctl.core.events import Event, Request
from cpctl.core.now import Now
from cpctl.core.values import Reply
from cpctl.core.views import StationPicture
from cpctl.dialects import frames
from cpctl.dialects.base import (
    Call,
    CallError,
    Dialect,
    Item,
    Outcome,
    RenderContext,
    Result,
    StatusReport,
    Unready,
)
from hal.late import dataclass

if TYPE_CHECKING:
    from cpctl.store.entries import Entry

log = logging.getLogger(__name__)

T = TypeVar("T")

NO_CALL = Call("", {})


@dataclass(frozen=True)
class Broken:
    """A translator failed; `reason` is kept beside what could not be told."""

    reason: str


def guarded(what: str, work: Callable[..., T], *arguments: Any) -> T | Broken:
    """What `work` returns, or Broken whatever it raised. Unready passes: it is no mistake."""
    try:
        return work(*arguments)
    except Unready:
        raise
    except Exception as error:
        log.exception("%s cannot be translated", what)
        return Broken(f"{what} cannot be translated: {type(error).__name__}: {str(error)[:120]}")


class Lane(Protocol):
    """Where letters come from and their outcomes go."""

    @property
    def idle(self) -> bool:
        """Nothing is here, now or later: `next` need not be asked."""
        ...

    async def next(self, now_s: float) -> Letter | None:
        """The next one that may go out now."""
        ...

    def due_s(self) -> float | None:
        """When something may be due that is not now; None: only after something happened."""
        ...

    def sent(self, letter: Letter) -> None:
        """It is on its way: time to make the next one ready."""
        ...

    async def done(self, letter: Letter, outcome: Outcome, now_s: float) -> None: ...

    async def late(self, letter: Letter, outcome: Outcome) -> None:
        """An answer after the time was up and `done` was told TimedOut."""
        ...


@dataclass(slots=True)
class Letter:
    """One call of ours, ready to go. `index` is its place among the `calls` that tell `item`."""

    lane: Lane
    item: Any
    calls: tuple[Call, ...]
    index: int
    id: str
    text: str
    entry: Entry | None = None
    plain: bool = False  # a Result means no more than that it was told
    sent_s: float = 0.0

    @property
    def call(self) -> Call:
        return self.calls[self.index]

    @property
    def last(self) -> bool:
        return self.index + 1 >= len(self.calls)


class Desk:
    """One dialect and the surroundings its translations need."""

    def __init__(self, dialect: Dialect, context: Callable[[Dialect], RenderContext]) -> None:
        self.dialect = dialect
        self._context = context
        self._bare: dict[str, Call] = {}
        self._empty: set[str] = set()  # actions whose answer may be empty

    def context(self) -> RenderContext:
        return self._context(self.dialect)

    def calls(self, item: Item, ctx: RenderContext) -> tuple[Call, ...] | Broken:
        """The calls that tell `item`. Raises Unready."""
        return guarded(type(item).__name__, self.dialect.calls, item, ctx)

    def sealed_at_once(self, item: Item, identity: str, ctx: RenderContext
                       ) -> tuple[Call, str] | None:
        """The one call that tells `item`, without its payload, and its frame, where the dialect has
        a short way to it."""
        made = guarded(type(item).__name__, self.dialect.sealed, item, identity, ctx)
        if made is None or isinstance(made, Broken):
            return None
        action, text = made
        call = self._bare.get(action)
        if call is None:
            call = self._bare[action] = Call(action, {})
        return call, text

    def sealed(self, call: Call, identity: str) -> str | Broken:
        """The frame of `call`, its payload checked against the schema first (16.RPC.13)."""
        wrong = guarded(call.action, self._wrong, call)
        if wrong is not None:
            return wrong
        try:
            return frames.call_text(identity, call.action, call.payload)
        except frames.FrameError as error:
            return Broken(f"{call.action} {error}")

    def _wrong(self, call: Call) -> Broken | None:
        found = self.dialect.check(call.action, call.payload, response=False, ours=True)
        if found is None:
            return None
        return Broken(f"{call.action} does not fit its schema: {found.description}")

    def answer(self, call: Call, payload: dict[str, Any]) -> Result | CallError:
        """The answer to a call of ours; one that does not fit its schema is as good as an error."""
        if not payload and call.action in self._empty:
            return Result(payload)
        wrong = guarded(call.action, self._wrong_answer, call, payload)
        if wrong is None:
            if not payload:
                self._empty.add(call.action)
            return Result(payload)
        if isinstance(wrong, Broken):
            return CallError(self.dialect.error_code("internal"), wrong.reason)
        log.warning("%s was answered with what its schema does not allow: %s",
                    call.action, wrong.description)
        return wrong

    def _wrong_answer(self, call: Call, payload: dict[str, Any]) -> CallError | None:
        return self.dialect.check(call.action, payload, response=True, ours=True)

    def events(self, item: Item, call: Call, outcome: Outcome, ctx: RenderContext
               ) -> tuple[Event, ...]:
        """What an outcome means; nothing when the translator fails."""
        made = guarded(f"the answer to {call.action or type(item).__name__}",
                       self.dialect.events, item, call, outcome, ctx)
        return () if isinstance(made, Broken) else made

    def settles(self, item: Item, outcome: Outcome) -> bool:
        made = guarded(type(item).__name__, self.dialect.settles, item, outcome)
        return made is True

    def statuses(self, picture: StationPicture, ctx: RenderContext) -> Sequence[StatusReport]:
        made = guarded("status", self.dialect.statuses, picture, ctx)
        return () if isinstance(made, Broken) else made

    def status_call(self, report: StatusReport, at: Now, ctx: RenderContext) -> Call | Broken:
        return guarded("status", self.dialect.status_call, report, at, ctx)

    def request(self, call: Call, ctx: RenderContext) -> Request | Result | CallError:
        """What the central system wants; InternalError when the translator fails."""
        wrong = guarded(call.action, self._wrong_request, call)
        if isinstance(wrong, CallError):
            return wrong
        if isinstance(wrong, Broken):
            return self._internal()
        made = guarded(call.action, self.dialect.request, call, ctx)
        return self._internal() if isinstance(made, Broken) else made

    def _wrong_request(self, call: Call) -> CallError | None:
        return self.dialect.check(call.action, call.payload, response=False, ours=False)

    def reply(self, call: Call, reply: Reply, ctx: RenderContext) -> Result | CallError:
        made = guarded(call.action, self.dialect.reply, call, reply, ctx)
        return self._internal() if isinstance(made, Broken) else made

    def reply_text(self, call: Call, answer: Result | CallError) -> str:
        """The frame of our answer; one that does not fit its schema is an error of ours."""
        if isinstance(answer, Result):
            wrong = guarded(call.action, self._wrong_reply, call, answer.payload)
            if wrong is None:
                try:
                    return frames.result_text(call.id, answer.payload)
                except frames.FrameError as error:
                    wrong = Broken(str(error))
            log.error("our answer to %s is wrong: %s", call.action, wrong)
            answer = self._internal()
        return self.error_text(call.id, answer)

    def _wrong_reply(self, call: Call, payload: dict[str, Any]) -> CallError | None:
        return self.dialect.check(call.action, payload, response=True, ours=False)

    def error_text(self, identity: str, error: CallError) -> str:
        try:
            return frames.error_text(identity, error.code, error.description, error.details)
        except frames.FrameError:
            return frames.error_text(identity, error.code)

    def _internal(self) -> CallError:
        return CallError(self.dialect.error_code("internal"), "the station failed at this request")


def message_id(book: bytes, name: str) -> str:
    """uuid5 of `name` in the name space `book` (RFC 4122), without making a UUID of it."""
    text = sha1(book + name.encode(), usedforsecurity=False).hexdigest()
    return (f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANT[text[16]]}{text[17:20]}"
            f"-{text[20:32]}")


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def name_space(book: str) -> bytes:
    """The 16 bytes of a book's uuid; of any other text, those of its hash."""
    digits = book.replace("-", "")
    try:
        space = bytes.fromhex(digits)
    except ValueError:
        space = b""
    return space if len(space) == 16 else sha1(book.encode(), usedforsecurity=False).digest()[:16]
