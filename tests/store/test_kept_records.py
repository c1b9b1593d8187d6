"""A kept record that cannot be read costs itself, never the start."""

import json
from datetime import UTC, datetime

import pytest

from cpctl.core.state import Reservation
from cpctl.core.values import IdToken
from cpctl.store.records import PREFIX, records_of, text_of


@pytest.mark.parametrize("moment", [10**18, -(10**18), "soon", None])
def test_a_record_with_an_impossible_time_no_longer_holds(moment: object) -> None:
    good = text_of(Reservation(7, datetime(2026, 5, 1, tzinfo=UTC), IdToken("A")))
    name, _, body = good.partition(" ")
    spoiled = json.loads(body)
    assert spoiled[1] > 10**15  # µs
    spoiled[1] = moment

    found = records_of({f"{PREFIX}good": good, f"{PREFIX}bad": f"{name} {json.dumps(spoiled)}"})

    assert list(found) == ["good"]
