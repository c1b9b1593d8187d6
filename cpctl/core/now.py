"""Time as the core knows it: an argument, never a clock.

Durations and deadlines are monotonic nanoseconds within one kernel boot; wall time is for reports.
"""

from datetime import datetime
from enum import Enum

from hal.late import dataclass

NS_PER_S = 1_000_000_000


class TimeQuality(Enum):
    """Where wall time comes from, in rising order of trust."""

    NONE = "none"
    FLOOR = "floor"  # later than build time and the last saved time, nothing better known
    CSMS = "csms"
    NTP = "ntp"

    @property
    def trusted(self) -> bool:
        return self in (TimeQuality.CSMS, TimeQuality.NTP)


@dataclass(frozen=True, slots=True)
class Now:
    """A moment, as it is kept with each fact.

    `mono_ns` counts from the kernel's boot (CLOCK_BOOTTIME), `boot` is the kernel's boot id: both
    survive a restart of the daemon. `utc` is the best estimate, aware, and only as good as
    `quality` says.
    """

    mono_ns: int
    boot: str
    utc: datetime
    quality: TimeQuality
    local_offset_s: int = 0  # local time minus UTC, for what is aligned to local midnight

    def after(self, seconds: float) -> int:
        """The monotonic moment `seconds` from here, in ns."""
        return self.mono_ns + int(seconds * NS_PER_S)

    def since(self, earlier_mono_ns: int) -> float:
        """Seconds that have passed since `earlier_mono_ns` of the same boot."""
        return (self.mono_ns - earlier_mono_ns) / NS_PER_S
