"""Which status is still to be told: what was told last, what holds now, since when. Pure.

Each change is told in order while connected; with `status.minimum_s` only what lasted so long.
While the link is down changes are looked at but not kept: afterwards only what differs from what
was told last goes out, after an accepted boot everything (16.STAT.1, 5, 6; 16.BOOT.4).
Times are monotonic seconds.
"""

from collections import deque
from collections.abc import Sequence

from cpctl.core.now import Now
from cpctl.dialects.base import StatusReport
from hal.late import dataclass

MOST_WAITING = 200
MOST_TRIES = 3

Key = tuple[int | None, int]


@dataclass(slots=True)
class _Seen:
    """What holds at a connector since when, and whether it is on its way already."""

    report: StatusReport
    at: Now
    since_s: float
    queued: bool = False


@dataclass(slots=True)
class Telling:
    """A report on its way. `not_before_s`: after a timeout it goes to the back."""

    report: StatusReport
    at: Now
    tries: int = 0
    not_before_s: float = float("-inf")

    @property
    def key(self) -> Key:
        return (self.report.evse, self.report.connector)


class StatusBoard:
    """The statuses of the station and of each connector."""

    def __init__(self) -> None:
        self._seen: dict[Key, _Seen] = {}
        self._told: dict[Key, StatusReport] = {}
        self._waiting: deque[Telling] = deque()
        self._flying: Telling | None = None
        self._open = False
        self._ripening = True  # something may still have to last for its time

    def update(self, reports: Sequence[StatusReport], at: Now, now_s: float, *,
               minimum_s: float, drop_short: bool = True) -> None:
        """This is how it is now."""
        self.ripen(now_s, minimum_s)
        for report in reports:
            key = (report.evse, report.connector)
            seen = self._seen.get(key)
            if seen is not None and seen.report == report:
                continue
            if seen is not None and not seen.queued and not drop_short:
                self._enqueue(key, seen)
            self._seen[key] = _Seen(report, at, now_s)
            self._ripening = True
        self.ripen(now_s, minimum_s)

    def ripen(self, now_s: float, minimum_s: float) -> float | None:
        """Let go out what has lasted long enough; the moment when the next will have."""
        if not self._open or not self._ripening:
            return None
        self._ripening = False
        next_s: float | None = None
        for key, seen in self._seen.items():
            if seen.queued:
                continue
            ripe_s = seen.since_s + minimum_s
            if now_s >= ripe_s:
                self._enqueue(key, seen)
            else:
                self._ripening = True
                next_s = ripe_s if next_s is None else min(ripe_s, next_s)
        return next_s

    def open(self, *, everything: bool) -> None:
        """The central system listens (again). `everything`: it accepted a boot."""
        self._open = True
        if everything:
            self._told.clear()
        self._waiting.clear()
        self._ripening = True
        for seen in self._seen.values():
            seen.queued = False

    def close(self) -> None:
        """The link is down: what was to be told is history now."""
        self._open = False
        self._waiting.clear()
        self._flying = None

    def again(self, key: Key | None) -> None:
        """Somebody asked for the present status (of all, or of one). What is about to be told
        anyway complies with it (§5.17)."""
        for one, seen in self._seen.items():
            if key is None or one == key:
                if not any(waiting.report == seen.report for waiting in self._waiting):
                    self._waiting.append(Telling(seen.report, seen.at))
                seen.queued = True

    @property
    def idle(self) -> bool:
        """Nothing is to be told, and nothing will be without a change."""
        return not self._waiting and not self._ripening

    def next(self, now_s: float) -> Telling | None:
        """The first that may be told now; it stays the caller's until told or put back.

        What waits for its repetition and holds no longer is left out: newer news has been told.
        """
        if not self._waiting:
            return None
        self._waiting = deque(one for one in self._waiting if not one.tries or self._holds(one))
        for index, telling in enumerate(self._waiting):
            if telling.not_before_s <= now_s:
                del self._waiting[index]
                self._flying = telling
                return telling
        return None

    def next_due_s(self) -> float | None:
        return min((one.not_before_s for one in self._waiting), default=None)

    def told(self, telling: Telling) -> None:
        """The central system answered."""
        self._flying = None
        self._told[telling.key] = telling.report
        if telling in self._waiting:  # a late answer: it was put back already
            self._waiting.remove(telling)

    def unanswered(self, telling: Telling, wait_s: float, now_s: float) -> bool:
        """No answer in time: to the back, a few times, and only while it still holds."""
        self._flying = None
        telling.tries += 1
        if telling.tries >= MOST_TRIES or not self._holds(telling):
            return False
        telling.not_before_s = now_s + wait_s * telling.tries
        self._waiting.append(telling)
        return True

    def _holds(self, telling: Telling) -> bool:
        seen = self._seen.get(telling.key)
        return seen is not None and seen.report == telling.report

    def _enqueue(self, key: Key, seen: _Seen) -> None:
        seen.queued = True
        last = self._last_said(key)
        if last == seen.report or not self._open:
            return
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
        self._waiting.append(Telling(seen.report, seen.at))

    def _last_said(self, key: Key) -> StatusReport | None:
        for telling in reversed(self._waiting):
            if telling.key == key:
                return telling.report
        if self._flying is not None and self._flying.key == key:
            return self._flying.report
        return self._told.get(key)
