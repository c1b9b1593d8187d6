"""What the journal hands out, and the two lanes in memory.

A lane holds the numbers of all facts that wait, and the facts themselves only for a window at its
head: ten thousand waiting messages cost eight bytes each.
"""

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping
from dataclasses import field, replace
from enum import Enum
from pathlib import Path

from cpctl.core.facts import (
    Fact,
    FaultLatched,
    FaultUnlatched,
    FirmwareStatusChanged,
    SecurityEventRaised,
    TransactionChanged,
    TransactionEnded,
    TransactionSampled,
    TransactionStarted,
)
from cpctl.core.now import Now
from hal.late import dataclass

WINDOW = 64
LOW = 16


class Lane(Enum):
    """MONEY: transactions, one lane over all EVSEs. NEWS: security events and faults."""

    MONEY = 1
    NEWS = 2


_MONEY = (TransactionStarted, TransactionChanged, TransactionEnded)
_NEWS = (SecurityEventRaised, FaultLatched, FaultUnlatched, FirmwareStatusChanged)


def lane_of(fact: Fact) -> Lane | None:
    """The lane a fact is told in; None: ours alone, or kept for the end of its transaction."""
    if isinstance(fact, TransactionSampled):
        return Lane.MONEY if fact.told else None
    if isinstance(fact, _MONEY):
        return Lane.MONEY
    return Lane.NEWS if isinstance(fact, _NEWS) else None


WAITING, DELIVERED, ABANDONED = "waiting", "delivered", "abandoned"


@dataclass(frozen=True)
class Mark:
    """What became of a fact so far. `rev` grows with every change."""

    state: str = WAITING
    attempts: int = 0
    calls: int = 0
    rev: int = 0
    reason: str | None = None

    def but(self, *, state: str | None = None, attempts: int | None = None,
            calls: int | None = None, reason: str | None = None) -> "Mark":
        return Mark(state or self.state, self.attempts if attempts is None else attempts,
                    self.calls if calls is None else calls, self.rev + 1, reason)


@dataclass(frozen=True)
class Entry:
    """A fact that waits. `book` and `no` make its message ids; `attempts` failed so far."""

    no: int
    fact: Fact
    lane: Lane
    attempts: int = 0
    calls_settled: int = 0
    offline: bool = False
    book: str = ""


@dataclass(frozen=True)
class Waiting:
    """What waits for the central system. `shed`: samples given up for the disk budget, ever."""

    count: int
    oldest: Now | None
    by_lane: Mapping[Lane, int]
    shed: int = 0
    abandoned: int = 0
    unreadable: int = 0


@dataclass(frozen=True)
class OpenReport:
    """What opening a file found. `rows_saved` were brought over from `set_aside`."""

    damaged: bool = False
    reason: str = ""
    set_aside: Path | None = None
    rows_saved: int = 0
    fresh: bool = False
    migrated_from: int | None = None


@dataclass(frozen=True)
class EntryRow:
    """A line of the books for people; `kind` is the fact's, `fact` None when unreadable."""

    no: int
    book: str
    kind: str
    session: int | None
    at: Now
    lane: Lane | None
    state: str
    attempts: int
    reason: str | None
    fact: Fact | None
    problem: str = ""


@dataclass(frozen=True)
class SessionRow:
    """A session for people. `ended` and `stop_reason` are the transaction's."""

    no: int
    evse: int
    connector: int
    token: str | None
    opened: Now
    started: Now | None = None
    ended: Now | None = None
    closed: bool = False
    start_wh: int | None = None
    register_wh: int | None = None
    energy_wh: int = 0
    stop_reason: str | None = None
    delivery: str = WAITING
    csms_id: int | str | None = None


def as_offline(fact: Fact) -> Fact:
    """The fact as recorded offline, where its kind can say so (E11.FR.07)."""
    if getattr(fact, "offline", True):
        return fact
    return replace(fact, offline=True)  # type: ignore[call-arg]


@dataclass
class LaneQueue:
    """Numbers of what waits, in order, and the entries of the first few.

    `window` holds the entries of `nos[:len(window)]`, never of others.
    """

    lane: Lane
    nos: "array[int]" = field(default_factory=lambda: array("q"))
    window: deque[Entry] = field(default_factory=deque)

    @property
    def has_room(self) -> bool:
        """Whether the next fact joins the window."""
        return len(self.window) == len(self.nos) < WINDOW

    @property
    def is_full_enough(self) -> bool:
        """Whether the window needs no reading even when its first entry has gone."""
        have = len(self.window)
        return have > LOW or have == len(self.nos)

    def append(self, no: int, entry: Entry | None) -> None:
        """`no` is greater than all before it."""
        if entry is not None and self.has_room:
            self.window.append(entry)
        self.nos.append(no)

    def _index(self, no: int) -> int | None:
        nos = self.nos
        if not nos:
            return None
        index = 0 if nos[0] == no else bisect_left(nos, no)
        return index if index < len(nos) and nos[index] == no else None

    def remove(self, no: int) -> bool:
        nos = self.nos
        if not nos or no < nos[0]:
            return False
        if no == nos[0]:
            if self.window:
                self.window.popleft()
            del nos[0]
            return True
        index = self._index(no)
        if index is None:
            return False
        if index < len(self.window):
            del self.window[index]
        del self.nos[index]
        return True

    def insert(self, no: int) -> None:
        """Wait again, in the order of numbers; what the window held from there is read anew."""
        index = bisect_left(self.nos, no)
        if self._index(no) is not None:
            return
        self.nos.insert(index, no)
        while len(self.window) > index:
            self.window.pop()

    def change(self, no: int, entry: Entry) -> None:
        index = self._index(no)
        if index is not None and index < len(self.window):
            self.window[index] = entry

    def find(self, no: int) -> Entry | None:
        index = self._index(no)
        return self.window[index] if index is not None and index < len(self.window) else None

    def wanted(self) -> list[int]:
        """Numbers whose facts should be read now; empty while enough are at hand."""
        have = len(self.window)
        return [] if have >= min(LOW, len(self.nos)) else list(self.nos[have:WINDOW])

    def fill(self, entries: Mapping[int, Entry]) -> None:
        """Lengthen the window as far as `entries` go without a gap."""
        while len(self.window) < min(WINDOW, len(self.nos)):
            entry = entries.get(self.nos[len(self.window)])
            if entry is None:
                return
            self.window.append(entry)
