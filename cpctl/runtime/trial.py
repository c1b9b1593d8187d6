"""One contactor test, as the power gate keeps it: what was ordered, and what was seen when.

The gate carries it out; nothing here touches a contactor.
"""

from __future__ import annotations

from cpctl.core.events import ContactorTested
from cpctl.core.now import NS_PER_S
from hal.late import dataclass

PATIENCE_NS = 5 * NS_PER_S  # for a pilot board that has to leave state F first, and fresh readings
HOLD_S = 0.5  # closed for so long
LOOK_S = 0.01  # how often the auxiliary contact is looked at

NS_PER_MS = 1_000_000


@dataclass
class Trial:
    """Times are monotonic ns. `reasons`: why it ended before its time."""

    ordered_ns: int | None = None
    closed_ns: int | None = None
    released_ns: int | None = None
    opened_ns: int | None = None
    reasons: tuple[str, ...] = ()

    def stop(self, *reasons: str) -> None:
        """The first word counts."""
        self.reasons = self.reasons or reasons

    def outcome(self, evse: int, number: int, *, feedback: bool) -> ContactorTested:
        seen = feedback and self.closed_ns is not None
        return ContactorTested(
            evse, number, self.reasons,
            _ms(self.ordered_ns, self.closed_ns) if seen else None,
            _ms(self.released_ns, self.opened_ns) if feedback else None, feedback)


def _ms(since_ns: int | None, until_ns: int | None) -> float | None:
    if since_ns is None or until_ns is None:
        return None
    return round((until_ns - since_ns) / NS_PER_MS, 1)
