"""The only reader of clocks: monotonic time that survives a restart, wall time and its trust.

Wall time is monotonic time plus an offset of ours; the system clock is read only when the kernel
says that it is synchronised, and once at the start. The daemon sets no clock.
Source: reference "Time on boards without an RTC"; OCPP 1.6 §4.2, §4.6 (currentTime).
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Protocol

from cpctl.core.now import NS_PER_S, Now, TimeQuality

log = logging.getLogger(__name__)

ROUND_TRIP_LIMIT_S = 5.0  # a currentTime that took longer says too little
TOLERANCE_S = 1.0  # below this an offset is left alone: central systems often tell whole seconds
STEP_S = 2.0  # from here on a correction is a step that schedules must know of
SYNC_CHECK_NS = 10 * NS_PER_S  # how long a verdict of the kernel is believed
BUILD_TIME = datetime(2026, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - no time is earlier


class TimeSource(Protocol):
    """What the clock is made of; tests hand in their own."""

    def mono_ns(self) -> int:
        """Nanoseconds since the kernel's boot, sleeping included."""
        ...

    def wall(self) -> datetime:
        """The system clock, aware, in UTC."""
        ...

    def boot_id(self) -> str: ...

    def synchronised(self) -> bool:
        """Whether the kernel says that its clock is disciplined."""
        ...


class SystemTime:
    """The real clocks of this machine."""

    def __init__(self) -> None:
        import time

        self._time = time
        self._adjtimex: Callable[[], int] | None = None

    def mono_ns(self) -> int:
        return self._time.clock_gettime_ns(self._time.CLOCK_BOOTTIME)

    def wall(self) -> datetime:
        return datetime.fromtimestamp(self._time.time(), timezone.utc)  # noqa: UP017

    def boot_id(self) -> str:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()

    def synchronised(self) -> bool:
        """adjtimex state 5 (TIME_ERROR) means not synchronised; readable without privileges."""
        if self._adjtimex is None:
            self._adjtimex = _adjtimex()
        state = self._adjtimex()
        return 0 <= state < 5


def _adjtimex() -> Callable[[], int]:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    room = ctypes.create_string_buffer(512)  # struct timex is 208 bytes at most; modes 0: read only

    def read() -> int:
        return int(library.adjtimex(room))

    return read


def zone_offset_s(utc: datetime) -> int:
    """Local time minus UTC at `utc`, as the time zone of this machine has it."""
    import time

    return time.localtime(utc.timestamp()).tm_gmtoff


def parse_utc(text: str) -> datetime | None:
    """The moment an ISO 8601 text means; without a zone it is taken for UTC. None: no such text."""
    cleaned = text.strip().replace("z", "Z")
    try:
        moment = datetime.fromisoformat(cleaned)
        if moment.tzinfo is None:
            return moment.replace(tzinfo=timezone.utc)  # noqa: UP017
        return moment.astimezone(timezone.utc)  # noqa: UP017
    except (ValueError, OverflowError):  # overflow: an offset leads out of the years 1 to 9999
        return None


class Clock:
    """`now()` for everybody. `floor` is the newest moment the books know of, None: none known.

    `stepped(step_s)` is called when wall time was corrected so far that schedules must know;
    `trusted()` when time becomes trusted for the first time of this process and at each correction.
    `offset_s(utc)` is local time minus UTC; it is asked every 10 s, for summer time comes and goes.
    """

    def __init__(self, source: TimeSource, floor: datetime | None = None, *,
                 offset_s: Callable[[datetime], int] = lambda utc: 0):
        self._source = source
        self._zone = offset_s
        self._offset_s = 0
        self._boot = source.boot_id()
        self._quality = TimeQuality.NONE
        self._base_ns = source.mono_ns()
        self._base_utc = source.wall()
        self._checked_ns = -SYNC_CHECK_NS
        self._synchronised = False
        self.stepped: Callable[[float], None] = _ignore_step
        self.trusted: Callable[[], None] = _ignore
        self.raise_floor(floor)

    def mono_ns(self) -> int:
        return self._source.mono_ns()

    @property
    def quality(self) -> TimeQuality:
        return self._quality

    def now(self) -> Now:
        mono_ns = self._source.mono_ns()
        self._follow_kernel(mono_ns)
        return Now(mono_ns, self._boot, self._utc_at(mono_ns), self._quality, self._offset_s)

    def raise_floor(self, floor: datetime | None) -> None:
        """Time is no earlier than `floor` (build time, the newest moment in the books)."""
        if self._quality.trusted:
            return
        known = BUILD_TIME if floor is None else max(floor, BUILD_TIME)
        mono_ns = self._source.mono_ns()
        if self._utc_at(mono_ns) < known:
            self._base_ns, self._base_utc = mono_ns, known
            self._quality = TimeQuality.NONE if floor is None else TimeQuality.FLOOR
        else:
            self._quality = TimeQuality.FLOOR

    def offer(self, utc_text: str, round_trip_s: float = 0.0) -> bool:
        """The central system told its time; True when it was taken.

        Half the round trip is added. Not taken: more than 5 s of round trip, an unreadable text,
        a kernel clock that is synchronised.
        """
        moment = parse_utc(utc_text)
        if moment is None or not 0 <= round_trip_s <= ROUND_TRIP_LIMIT_S:
            log.info("time of the central system not used: %r after %.1f s", utc_text[:40],
                     round_trip_s)
            return False
        mono_ns = self._source.mono_ns()
        self._follow_kernel(mono_ns)
        if self._quality is TimeQuality.NTP:
            return False
        self._correct(mono_ns, moment + timedelta(seconds=round_trip_s / 2), TimeQuality.CSMS)
        return True

    def system_clock_set(self) -> None:
        """Somebody set the system clock: look at it again at once."""
        self._checked_ns = self._source.mono_ns() - SYNC_CHECK_NS
        self.now()

    def deaf(self) -> None:
        """Nobody wants to hear of corrections any more."""
        self.stepped, self.trusted = _ignore_step, _ignore

    def _utc_at(self, mono_ns: int) -> datetime:
        return self._base_utc + timedelta(microseconds=(mono_ns - self._base_ns) // 1000)

    def _follow_kernel(self, mono_ns: int) -> None:
        if mono_ns - self._checked_ns < SYNC_CHECK_NS:
            return
        self._checked_ns = mono_ns
        self._synchronised = self._source.synchronised()
        if self._synchronised:
            self._correct(mono_ns, self._source.wall(), TimeQuality.NTP)
        elif self._quality is TimeQuality.NTP:
            self._quality = TimeQuality.CSMS  # was right a moment ago and goes on from there
        self._offset_s = self._zone(self._utc_at(mono_ns))

    def _correct(self, mono_ns: int, utc: datetime, quality: TimeQuality) -> None:
        first = not self._quality.trusted
        step_s = (utc - self._utc_at(mono_ns)).total_seconds()
        self._quality = quality
        if not first and abs(step_s) < TOLERANCE_S:
            return
        self._base_ns, self._base_utc = mono_ns, utc
        self._offset_s = self._zone(utc)
        if abs(step_s) >= STEP_S:
            log.warning("time corrected by %+.1f s (%s)", step_s, quality.value)
            self.stepped(step_s)
        self.trusted()


def _ignore() -> None:
    """Nobody listens yet."""


def _ignore_step(step_s: float) -> None:
    """Nobody listens yet."""


class StepWatch:
    """Tells when somebody sets the system clock, without polling (timerfd, CANCEL_ON_SET)."""

    _CLOCK_REALTIME = 0
    _ABSTIME_CANCEL_ON_SET = 1 | 2
    _NONBLOCK_CLOEXEC = 0o4000 | 0o2000000

    def __init__(self, told: Callable[[], None]):
        import ctypes

        self._told = told
        self._ctypes = ctypes
        self._library = ctypes.CDLL(None, use_errno=True)
        self._fd = int(self._library.timerfd_create(self._CLOCK_REALTIME, self._NONBLOCK_CLOEXEC))
        if self._fd >= 0:
            self._arm()

    @property
    def fd(self) -> int:
        """To be watched for reading; negative where the kernel has no such timer."""
        return self._fd

    def ready(self) -> None:
        """The descriptor is readable: the clock was set (or the far end of time was reached)."""
        import os

        try:
            os.read(self._fd, 8)
        except OSError as error:
            if error.errno == errno.ECANCELED:  # this is how the kernel says that it was set
                self._told()
        self._arm()

    def close(self) -> None:
        import os

        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _arm(self) -> None:
        far = (self._ctypes.c_long * 4)(0, 0, 2**31 - 2, 0)
        self._library.timerfd_settime(self._fd, self._ABSTIME_CANCEL_ON_SET, far, None)
