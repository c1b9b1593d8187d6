"""One connection's bookkeeping of calls, pure: fed with frames and the time, it opens no socket.

Ours: one call outstanding, matched by id, with a deadline; an answer that comes too late is known
as such for a while; one that nobody asked for is counted. Theirs: each is answered exactly once, a
repeated id gets the same answer again and is not carried out twice.
Times are monotonic seconds. Source: OCPP-J 1.6 section 4.1, 16.RPC.4 to 8.
"""

from collections import OrderedDict
from enum import Enum
from typing import Generic, TypeVar

from cpctl.dialects.frames import CallFrame
from hal.late import dataclass

REMEMBERED_ANSWERS = 64
REMEMBERED_LATE = 64

T = TypeVar("T")


@dataclass(slots=True)
class OpenCall(Generic[T]):
    """A call of ours on its way. `about` is whatever the caller wants back with the answer."""

    id: str
    about: T
    sent_s: float
    deadline_s: float


class Match(Enum):
    """What an answer turned out to be."""

    OPEN = "open"
    LATE = "late"
    STRAY = "stray"


class OwnCalls(Generic[T]):
    """Calls of ours. What timed out is remembered over reconnects: ids are never used again."""

    def __init__(self) -> None:
        self.open: OpenCall[T] | None = None
        self.strays = 0
        self._late: OrderedDict[str, OpenCall[T]] = OrderedDict()

    def begin(self, id: str, about: T, *, now_s: float, timeout_s: float) -> OpenCall[T]:
        """A call goes out. One at a time (16.RPC.4): a second one is a mistake of ours."""
        if self.open is not None:
            raise RuntimeError(f"call {self.open.id} is still open")
        self._late.pop(id, None)  # a repetition under the same id is the same call
        self.open = OpenCall(id, about, now_s, now_s + timeout_s)
        return self.open

    def answered(self, id: str) -> tuple[Match, OpenCall[T] | None]:
        """Whose answer this is. An open call is closed by it."""
        call = self.open
        if call is not None and call.id == id:
            self.open = None
            return Match.OPEN, call
        late = self._late.pop(id, None)
        if late is not None:
            return Match.LATE, late
        self.strays += 1
        return Match.STRAY, None

    def expire(self, now_s: float) -> OpenCall[T] | None:
        """The call whose time is up, if it is; from now on its answer is a late one."""
        call = self.open
        if call is None or now_s < call.deadline_s:
            return None
        self.open = None
        self._late[call.id] = call
        while len(self._late) > REMEMBERED_LATE:
            self._late.popitem(last=False)
        return call

    def drop(self) -> OpenCall[T] | None:
        """The link is gone, and with it the open call."""
        call, self.open = self.open, None
        return call


@dataclass(frozen=True)
class New:
    """A call that is to be carried out."""


@dataclass(frozen=True)
class Repeated:
    """The same call again. `text` is the answer it had; None while it is being worked on."""

    text: str | None


@dataclass(frozen=True)
class Clash:
    """Another call under the id of one that is being worked on."""


class TheirCalls:
    """Calls of the central system on one connection."""

    def __init__(self, *, remembered: int = REMEMBERED_ANSWERS) -> None:
        self._open: dict[str, CallFrame] = {}
        self._answers: OrderedDict[str, tuple[CallFrame, str]] = OrderedDict()
        self._remembered = remembered

    @property
    def open(self) -> int:
        return len(self._open)

    def received(self, frame: CallFrame) -> New | Repeated | Clash:
        """Whether a call is new. A known id with another content counts as new once the first is
        answered: a central system that counts from 1 again must not be mute to us."""
        working = self._open.get(frame.id)
        if working is not None:
            return Repeated(None) if working == frame else Clash()
        known = self._answers.get(frame.id)
        if known is not None and known[0] == frame:
            return Repeated(known[1])
        self._open[frame.id] = frame
        return New()

    def answered(self, id: str, text: str) -> bool:
        """Keep the answer. False: that call has its answer already, this one must not go out."""
        frame = self._open.pop(id, None)
        if frame is None:
            return False
        self._answers[id] = (frame, text)
        self._answers.move_to_end(id)
        while len(self._answers) > self._remembered:
            self._answers.popitem(last=False)
        return True
