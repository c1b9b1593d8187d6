"""When things happened, told in wall time although the board may have no clock.

Each kernel boot is a line of monotonic time. A boot that was synchronised is dated by its offset,
also what came before the synchronisation. A boot that never had time and is over is laid before
the next dated one: its last moment just before that one's start, order and durations kept. What
no dated boot follows keeps the estimate it had at first sight. Within a session, time stamps never
go backwards: what would, is told 1 ms after its predecessor.

Microseconds since 1970 throughout; `offset` is what a boot's monotonic zero is in that count.
"""

import json
from collections.abc import Iterable
from dataclasses import replace

from cpctl.core.now import Now
from cpctl.store.errors import BooksDamaged
from cpctl.store.facts_json import utc_us
from cpctl.store.rows import Row
from hal.late import dataclass

GAP_US = 1_000
STEP_US = 1_000_000  # smaller corrections are drift, not a step worth keeping
STEPS_KEPT = 8


@dataclass(frozen=True)
class BootLine:
    """One kernel boot. `steps` are (from mono ns, offset), empty before time was trusted."""

    ordinal: int
    boot: str
    estimate: int
    steps: tuple[tuple[int, int], ...] = ()
    last_mono_ns: int = 0

    def row(self) -> Row:
        return (self.ordinal, self.boot, self.estimate, json.dumps(self.steps))


def line_of(row: Row) -> BootLine:
    """The line of a stored row."""
    ordinal, boot, estimate, steps = row
    try:
        pairs = tuple((int(mono), int(offset)) for mono, offset in json.loads(str(steps)))
        return BootLine(int(str(ordinal)), str(boot), int(str(estimate)), pairs)
    except (ValueError, TypeError) as error:
        raise BooksDamaged(f"boots: row {ordinal!r} cannot be read: {error}") from error


def offset_of(at: Now) -> int:
    """What the zero of monotonic time is, if `at.utc` is right."""
    return utc_us(at.utc) - at.mono_ns // 1_000


class Dating:
    """All boots the books know, in their order, and what their moments are called."""

    def __init__(self, lines: Iterable[BootLine] = ()) -> None:
        self._lines = {line.boot: line for line in sorted(lines, key=lambda each: each.ordinal)}
        self._laid: dict[str, int] = {}
        self._clamped: dict[tuple[str, int], int] = {}

    def seen(self, at: Now) -> BootLine | None:
        """Take note that something happened at `at`; a line that must be stored, or None."""
        line = self._lines.get(at.boot)
        if line is None:
            top = max((each.ordinal for each in self._lines.values()), default=0)
            steps = ((at.mono_ns, offset_of(at)),) if at.quality.trusted else ()
            return self._put(BootLine(top + 1, at.boot, offset_of(at), steps, at.mono_ns))
        if at.mono_ns > line.last_mono_ns:
            line = self._put(replace(line, last_mono_ns=at.mono_ns))
        return self.synchronised(at) if at.quality.trusted and not line.steps else None

    def synchronised(self, now: Now) -> BootLine | None:
        """The boot of `now` has trusted time; the line that must be stored, None if no news."""
        line = self._lines.get(now.boot)
        if line is None:
            return self.seen(now)
        offset = offset_of(now)
        if line.steps and abs(line.steps[-1][1] - offset) < STEP_US:
            return None
        steps = (*line.steps, (now.mono_ns, offset))
        if len(steps) > STEPS_KEPT:
            steps = (steps[0], *steps[-STEPS_KEPT + 1:])
        return self._put(replace(line, steps=steps))

    def _put(self, line: BootLine) -> BootLine:
        self._lines[line.boot] = line
        self._laid.clear()
        return line

    def lines(self) -> tuple[BootLine, ...]:
        return tuple(self._lines.values())

    def order(self, at: Now) -> tuple[int, int]:
        """What moments of any boot are sorted by; an unknown boot comes last."""
        line = self._lines.get(at.boot)
        return (line.ordinal if line else 1 << 62, at.mono_ns)

    def raw_us(self, at: Now) -> int:
        """The moment in wall time, without regard to a session."""
        line = self._lines.get(at.boot)
        if at.quality.trusted or line is None:
            return utc_us(at.utc)
        return self._offset(line, at.mono_ns) + at.mono_ns // 1_000

    def _offset(self, line: BootLine, mono_ns: int) -> int:
        if not line.steps:
            if not self._laid:
                self._lay()
            return self._laid[line.boot]
        offset = line.steps[0][1]
        for from_mono_ns, later in line.steps[1:]:
            if from_mono_ns <= mono_ns:
                offset = later
        return offset

    def _lay(self) -> None:
        """Offsets of all boots without time, from the newest backwards."""
        next_start: int | None = None
        for line in reversed(self._lines.values()):
            if line.steps:
                next_start = line.steps[0][1]
                continue
            offset = line.estimate
            if next_start is not None:
                offset = next_start - GAP_US - line.last_mono_ns // 1_000
                next_start = offset
            self._laid[line.boot] = offset

    def holds(self, at: Now) -> bool:
        """Whether a moment is told as it was noted."""
        return at.quality.trusted and (at.boot, at.mono_ns) not in self._clamped

    def told_us(self, at: Now) -> int:
        """The moment as it is told: as `raw_us`, but never backwards within its session."""
        clamped = self._clamped.get((at.boot, at.mono_ns))
        return self.raw_us(at) if clamped is None else clamped

    def follow(self, previous_us: int | None, at: Now) -> int:
        """What `at` is told as when it comes after `previous_us` in its session."""
        raw = self.raw_us(at)
        key = (at.boot, at.mono_ns)
        if previous_us is None or raw >= previous_us:
            return self._clamped.get(key, raw)
        told = self._clamped.get(key, 0)
        if told < previous_us:
            told = self._clamped[key] = previous_us + GAP_US
        return told

    def refollow(self, sessions: Iterable[Iterable[Now]]) -> None:
        """Find anew what must be clamped; each of `sessions` gives its moments in order."""
        self._clamped.clear()
        for moments in sessions:
            told: int | None = None
            for at in moments:
                told = self.follow(told, at)
