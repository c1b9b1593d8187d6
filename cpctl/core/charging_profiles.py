"""What the installed charging profiles allow, now and later. Pure.

Their values are in `profiles.py`; how the station's current is shared out is `sharing.py`'s.
"""

from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.state import Evse, Station


def evse_limit_a(station: Station, evse: Evse, now: Now, settings: Settings) -> float | None:
    """What TxProfile or TxDefaultProfile allow this EVSE now, A per phase; None: nothing said."""
    return None


def station_limit_a(station: Station, now: Now, settings: Settings) -> float | None:
    """What ChargingStationMaxProfile allows all EVSEs together now, A per phase; None: nothing."""
    return None


def next_change(station: Station, now: Now, settings: Settings) -> int | None:
    """The monotonic moment (ns) at which one of those limits may change; None: never."""
    return None
