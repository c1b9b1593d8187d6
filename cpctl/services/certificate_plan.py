"""What time asks of the station's certificates: renew, switch, throw away. Pure.

Source: security whitepaper edition 3, A03.FR.02 (renewal a month before the end), A02.FR.08 (switch
at "not valid before"), A02.FR.09 (the newest), A02.FR.10 (old ones stay a month as fallback).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cpctl.core.now import Now
from cpctl.store.certificates import Certificate, Renewal, State
from hal.late import dataclass

MONTH = timedelta(days=30)
MOST_OWN = 4  # certificates of the station that are kept
REFUSED_FIRST, REFUSED_MOST = timedelta(hours=1), timedelta(days=1)
# A02 remarks: a request that was accepted is not repeated within minutes or hours
AWAITED_FIRST, AWAITED_MOST = timedelta(days=1), timedelta(days=7)


@dataclass(frozen=True)
class Plan:
    """`renew`: ask for a new certificate now. `gone`: not needed any more. `next_at`: when to look
    again, None: only after a change."""

    leading: Certificate | None = None
    renew: bool = False
    gone: tuple[Certificate, ...] = ()
    next_at: datetime | None = None


def leading(state: State, utc: datetime) -> Certificate | None:
    """The station's certificate that counts: of those valid the one that began last."""
    own = state.of(None)
    return next((one for one in own if one.not_before <= utc < one.not_after), None)


def renew_from(one: Certificate) -> datetime:
    """A month before its end; of a short life the last third."""
    return one.not_after - min(MONTH, (one.not_after - one.not_before) / 3)


def plan(state: State, now: Now) -> Plan:
    """What is due. While the clock is not trusted: nothing."""
    if not now.quality.trusted:
        return Plan()
    utc = now.utc
    own = [one for one in state.of(None) if one.described]
    if not own:
        return Plan()
    first = leading(state, utc)
    moments = [one.not_before for one in own] + [one.not_after for one in own]
    due = renew_from(_to_be_renewed(own, first))
    if state.renewal is not None:
        due = max(due, state.renewal.next_at)
    gone = _gone(own, first, utc)
    moments += [due, *(_gone_at(one, own) for one in own)]
    later = [one for one in moments if one > utc]
    return Plan(first, due <= utc, gone, min(later, default=None))


def _to_be_renewed(own: list[Certificate], first: Certificate | None) -> Certificate:
    """The newest (A03.FR.02), unless there is a gap between the one in force and it."""
    newest = own[0]
    return first if first is not None and newest.not_before > first.not_after else newest


def _gone(own: list[Certificate], first: Certificate | None, utc: datetime
          ) -> tuple[Certificate, ...]:
    """What was replaced a month ago by one that works; the one in force never goes."""
    if first is None:
        return ()
    old = [one for one in own if one is not first and one.not_before <= first.not_before]
    past = [one for one in old if first.proved and _gone_at(one, own) <= utc]
    return tuple(past) + tuple(one for one in old[MOST_OWN - 1:] if one not in past)


def _gone_at(one: Certificate, own: list[Certificate]) -> datetime:
    """A month after the first that is newer came into force."""
    newer = [other for other in own if other.not_before > one.not_before
             or (other.not_before == one.not_before and other.added > one.added)]
    if not newer:
        return one.not_after + MONTH
    return min(max(other.not_before, other.added) for other in newer) + MONTH


def after_try(before: Renewal | None, utc: datetime, *, accepted: bool) -> Renewal:
    """When to try again, if nothing comes of this try."""
    tries = 0 if before is None else before.tries
    first, most = (AWAITED_FIRST, AWAITED_MOST) if accepted else (REFUSED_FIRST, REFUSED_MOST)
    wait = min(first * 2 ** min(tries, 10), most)
    return Renewal(tries + 1, utc + wait)

