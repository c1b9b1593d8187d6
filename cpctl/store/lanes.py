"""The lanes in memory: what waits, how often it failed, what of it counts as offline."""

from collections.abc import Mapping
from itertools import islice

from cpctl.core.facts import Fact
from cpctl.store.entries import (
    ABANDONED,
    DELIVERED,
    Entry,
    Lane,
    LaneQueue,
    Mark,
    Waiting,
    as_offline,
    lane_of,
)
from cpctl.store.ledger import Loaded, Sweep


class Lanes:
    """Both lanes and the marks of what waits in them."""

    def __init__(self, found: Sweep) -> None:
        self._queues = {lane: LaneQueue(lane, nos) for lane, nos in found.lanes.items()}
        self._marks, self._abandoned = found.marks, found.abandoned
        self._untried = Mark()
        self._at_once = self._untried.but(state=DELIVERED)  # most facts get no other mark
        self._unreadable: dict[int, str] = {}
        self._offline_upto = int(found.meta.get("offline_upto", 0))

    def window(self, lane: Lane, n: int) -> tuple[Entry, ...]:
        """The first `n` entries of a lane that are at hand."""
        return tuple(islice(self._queues[lane].window, n))

    def head(self, lane: Lane) -> Entry | None:
        """The first entry of a lane; None also while it is still to be read."""
        window = self._queues[lane].window
        return window[0] if window else None

    def at_hand(self) -> tuple[Entry, ...]:
        """The entries of both windows."""
        return tuple(entry for queue in self._queues.values() for entry in queue.window)

    def are_empty(self) -> bool:
        return not any([queue.window for queue in self._queues.values()])

    def mark(self, no: int) -> Mark:
        return self._marks.get(no) or self._untried

    def delivered(self, no: int) -> Mark:
        """The mark of a fact that the central system has."""
        mark = self._marks.get(no)
        return self._at_once if mark is None else mark.but(state=DELIVERED)

    def entry(self, no: int, fact: Fact, lane: Lane, book: str) -> Entry:
        was_offline = no <= self._offline_upto
        if was_offline:
            fact = as_offline(fact)
        mark = self.mark(no)
        return Entry(no, fact, lane, mark.attempts, mark.calls,
                     bool(getattr(fact, "offline", was_offline)), book)

    def has_room(self, lane: Lane) -> bool:
        """Whether one more fact would be at hand, without a look into the file."""
        return self._queues[lane].has_room

    def add(self, no: int, fact: Fact, book: str) -> None:
        """A fact was recorded; it waits if it is one that is told."""
        lane = lane_of(fact)
        if lane is not None:
            self._queues[lane].append(no, self.entry(no, fact, lane, book))

    def end(self, no: int, state: str) -> None:
        """A fact waits no longer."""
        for queue in self._queues.values():
            if queue.remove(no):
                self._abandoned += state == ABANDONED
                break
        self._marks.pop(no, None)

    def are_at_hand(self) -> bool:
        """Whether no lane needs reading when its first entry has gone."""
        return all([queue.is_full_enough for queue in self._queues.values()])

    def change(self, no: int, mark: Mark) -> None:
        """A fact waits on, with another mark."""
        self._marks[no] = mark
        for queue in self._queues.values():
            entry = queue.find(no)
            if entry is not None:
                queue.change(no, self.entry(no, entry.fact, entry.lane, entry.book))

    def again(self, no: int, lane: Lane, mark: Mark) -> None:
        """An abandoned fact waits again."""
        self._marks[no] = mark
        self._abandoned -= 1
        self._queues[lane].insert(no)

    def mark_offline(self, upto: int) -> None:
        self._offline_upto = upto
        for queue in self._queues.values():
            for entry in tuple(queue.window):
                queue.change(entry.no, self.entry(entry.no, entry.fact, entry.lane, entry.book))

    def drop(self, nos: tuple[int, ...]) -> None:
        """These facts are no longer in the file."""
        for no in nos:
            self._marks.pop(no, None)
            for queue in self._queues.values():
                queue.remove(no)

    def wanted(self) -> list[int]:
        """Numbers whose facts should be read now."""
        return [no for queue in self._queues.values() for no in queue.wanted()]

    def take(self, loaded: Loaded) -> Mapping[int, str]:
        """Lengthen the windows; what waited and cannot be told any more, with the reason."""
        bad = {no: why for no, why in loaded.broken.items()
               if any([queue.remove(no) for queue in self._queues.values()])}
        self._unreadable |= bad
        for lane, queue in self._queues.items():
            queue.fill({no: self.entry(no, stored.fact, lane, stored.book)
                        for no, stored in loaded.asked.items()
                        if stored.fact is not None and stored.lane is lane})
        return bad

    def waiting(self, shed: int) -> Waiting:
        heads = [queue.window[0] for queue in self._queues.values() if queue.window]
        oldest = min(heads, key=lambda entry: entry.no).fact.at if heads else None
        by_lane = {lane: len(queue.nos) for lane, queue in self._queues.items()}
        return Waiting(sum(by_lane.values()), oldest, by_lane, shed, self._abandoned,
                       len(self._unreadable))
