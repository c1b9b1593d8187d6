"""How much current an EVSE may offer, in A per phase, and how the station's current is shared.

The least of hardware, cable and share; below the technical minimum there is no offer at all.
Source: IEC 61851-1 (6 A), house.md §6 "Sharing".
"""

import math
from collections.abc import Sequence

from cpctl.core.state import Around, Evse

MINIMUM_A = 6.0
FOLLOW_S = 5.0  # time a car has to follow a lower offer


def claims_on_current(evse: Evse, around: Around) -> tuple[tuple[str, float], ...]:
    """Each limit with its owner, in A per phase, for `cpctl limits`."""
    claims = [("hardware", evse.layout.max_current_a)]
    if evse.plug.cable_a is not None:
        claims.append(("cable", evse.plug.cable_a))
    if around.profile_a is not None:
        claims.append(("profile", around.profile_a))
    if around.share_a is not None:
        claims.append(("station", around.share_a))
    return tuple(claims)


def limit_a(evse: Evse, around: Around) -> float:
    """What may be offered: rounded down to 0.1 A; 0.0 when below the technical minimum."""
    least = min(current_a for _, current_a in claims_on_current(evse, around))
    rounded = math.floor(least * 10 + 1e-6) / 10
    return rounded if rounded >= MINIMUM_A else 0.0


def counted_a(evse: Evse, now_mono_ns: int) -> float:
    """What the station must reckon with: the offer, or the one before until the car followed."""
    offered = evse.offering.offer.current_a
    if now_mono_ns < evse.offering.counts_until:
        return max(offered, evse.offering.counts_a)
    return offered


def shares(evses: Sequence[Evse], wanting: Sequence[int], total_a: float | None, now_mono_ns: int
           ) -> dict[int, float | None]:
    """The share of each EVSE in A: equal parts for those in `wanting`, lower first, raise later.

    `wanting` lists EVSE ids, earliest session first; when the parts would fall below the minimum
    the latest get nothing. No share exceeds what the others still count with.
    """
    if total_a is None:
        return {evse.id: None for evse in evses}
    served = wanting[:max(1, int(total_a // MINIMUM_A))]
    part = total_a / len(served) if served else total_a
    counted = {evse.id: counted_a(evse, now_mono_ns) for evse in evses}
    result: dict[int, float | None] = {}
    for evse in evses:
        others = sum(amps for other, amps in counted.items() if other != evse.id)
        wish = part if evse.id in served else (0.0 if wanting else total_a)
        result[evse.id] = max(0.0, min(wish, total_a - others))
    return result
