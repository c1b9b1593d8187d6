"""What limits the current of one EVSE, in A per phase: each claim with its owner, the least holds.

Below the technical minimum there is no offer at all. What several EVSEs may have together is shared
out in `sharing.py`, what charging profiles allow is in `charging_profiles.py`.
Source: IEC 61851-1 (6 A); OCPP 1.6 with 16.SC.5, 16.SC.12.
"""

import math

from cpctl.core.state import Around, Evse
from hal.late import dataclass

MINIMUM_A = 6.0
FOLLOW_S = 5.0  # time a car has to follow a lower offer


@dataclass(frozen=True)
class LimitClaim:
    """One claim on the current. `until`: the monotonic moment (ns) at which it may change.
    `behind`: which charging profile is behind it, for people."""

    owner: str
    current_a: float
    until: int | None = None
    behind: str = ""


def own_limit_a(evse: Evse, around: Around) -> float:
    """The least of what limits this EVSE alone: hardware, cable, charging profiles."""
    least = evse.layout.max_current_a
    if evse.plug.cable_a is not None:
        least = min(least, evse.plug.cable_a)
    if around.profile_a is not None:
        least = min(least, around.profile_a)
    return least


def limit_a(evse: Evse, around: Around) -> float:
    """What may be offered: rounded down to 0.1 A; 0.0 when below the technical minimum."""
    least = own_limit_a(evse, around)
    if around.share_a is not None:
        least = min(least, around.share_a)
    return offerable_a(least)


def offerable_a(current_a: float) -> float:
    """What a pilot can say of `current_a`: tenths, rounded down; 0.0 below the minimum."""
    rounded = math.floor(current_a * 10 + 1e-6) / 10
    return rounded if rounded >= MINIMUM_A else 0.0


def claims_on_current(evse: Evse, around: Around, *, profile_until: int | None = None,
                      share_until: int | None = None) -> tuple[LimitClaim, ...]:
    """Each limit with its owner, for `cpctl limits`."""
    claims = [LimitClaim("hardware", evse.layout.max_current_a)]
    if evse.plug.cable_a is not None:
        claims.append(LimitClaim("cable", evse.plug.cable_a))
    if around.profile_a is not None:
        claims.append(LimitClaim("profile", around.profile_a, profile_until))
    if around.share_a is not None:
        claims.append(LimitClaim("station", around.share_a, share_until))
    return tuple(claims)
