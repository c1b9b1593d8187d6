"""How claims on the current are told to a technician."""

from datetime import UTC, datetime

import pytest

from cpctl.api.explain import limits
from cpctl.core.limits import LimitClaim
from cpctl.core.now import NS_PER_S, Now, TimeQuality

NOW = Now(100 * NS_PER_S, "boot", datetime(2026, 5, 1, 8, 0, tzinfo=UTC), TimeQuality.NTP)


@pytest.mark.requirement("16.SC.16")
def test_a_share_is_told_with_the_time_at_which_it_may_change() -> None:
    claims = (LimitClaim("hardware", 32.0), LimitClaim("station", 10.66, 160 * NS_PER_S))

    hardware, station = limits(claims, NOW)

    assert (hardware["leads"], hardware["until"]) == (False, None)
    assert (station["owner"], station["current_a"], station["leads"], station["enough"]) == (
        "station", 10.6, True, True)
    assert station["until"].startswith("2026-05-01T08:01:00")


def test_a_share_below_the_minimum_is_told_as_not_enough() -> None:
    (share,) = limits((LimitClaim("station", 5.9),), NOW)

    assert (share["current_a"], share["enough"]) == (5.9, False)
