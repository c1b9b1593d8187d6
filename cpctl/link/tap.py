"""Every frame as it passes, for `ocpp.tail`: a ring of the last ones, and whoever listens now.

Frames are kept as they went and redacted only when somebody looks, so that the ring costs nothing
on the way.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum

from cpctl.core.now import Now
from cpctl.dialects import redact
from hal.late import dataclass

RING = 200


class Direction(Enum):
    SENT = "sent"
    RECEIVED = "received"


@dataclass(frozen=True)
class Frame:
    """One frame. `latency_ms`: of an answer, since its call. `outcome`: "result", "error", "call",
    "late", "stray" or "bad"; `text` is redacted."""

    at: Now
    direction: Direction
    action: str
    id: str
    text: str
    latency_ms: float | None
    outcome: str


_Raw = tuple[Now, Direction, str, str, str, float | None, str]
Listener = Callable[[Frame], None]


def _shown(raw: _Raw) -> Frame:
    at, direction, action, id, text, latency_ms, outcome = raw
    return Frame(at, direction, action, id, redact.frame(text), latency_ms, outcome)


class FrameTap:
    """A ring of the last frames, and listeners of the next ones."""

    def __init__(self, ring: int = RING) -> None:
        self._ring: deque[_Raw] = deque(maxlen=ring)
        self._listeners: list[Listener] = []

    def note(self, at: Now, direction: Direction, text: str, *, action: str, id: str,
             outcome: str, latency_ms: float | None = None) -> None:
        """A frame passes."""
        if len(text) > redact.LONGEST_SHOWN:
            text = redact.frame(text)
        raw = (at, direction, action, id, text, latency_ms, outcome)
        self._ring.append(raw)
        if self._listeners:
            shown = _shown(raw)
            for listener in tuple(self._listeners):
                listener(shown)

    def recent(self) -> tuple[Frame, ...]:
        """The last frames, oldest first."""
        return tuple(_shown(raw) for raw in self._ring)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Hand each further frame to `listener`; the returned function ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None
