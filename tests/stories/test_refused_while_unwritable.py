"""What cannot be kept is refused, in the word its message has, and changes nothing.

The store refuses every commit, as a full disk does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.story import story
from support.world import CARD, World, world

FAR = "2030-01-01T00:00:00Z"
PROFILE: dict[str, Any] = {
    "chargingProfileId": 1, "stackLevel": 0, "chargingProfilePurpose": "TxDefaultProfile",
    "chargingProfileKind": "Absolute", "chargingSchedule": {
        "chargingRateUnit": "A", "startSchedule": "2026-05-01T08:00:00Z",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 10}]}}
REFUSALS = (
    ("SendLocalList", {"listVersion": 5, "updateType": "Full", "localAuthorizationList": []},
     "Failed"),
    ("ReserveNow", {"connectorId": 1, "idTag": CARD, "reservationId": 1, "expiryDate": FAR},
     "Faulted"),
    ("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": PROFILE}, "Rejected"),
    ("ClearChargingProfile", {"id": 7}, "Unknown"),
    ("ChangeConfiguration", {"key": "MeterValueSampleInterval", "value": "77"}, "Rejected"),
    ("ChangeConfiguration", {"key": "AuthorizationKey", "value": "0123456789abcdef0123"},
     "Rejected"),
    ("ChangeAvailability", {"connectorId": 1, "type": "Inoperative"}, "Rejected"),
    ("ChangeAvailability", {"connectorId": 0, "type": "Inoperative"}, "Rejected"),
    ("ClearCache", {}, "Rejected"),
)


@contextmanager
def unwritable(w: World) -> Iterator[None]:
    assert w.app is not None
    books = (w.app.journal._db.con, w.app.station_store._db.con)
    for con in books:
        con.execute("PRAGMA query_only=ON")
    try:
        yield
    finally:
        for con in books:
            con.execute("PRAGMA query_only=OFF")


def of(w: World) -> tuple[Any, ...]:
    """What requests change."""
    assert w.app is not None
    station, settings = w.app.loop.station, w.app.loop.settings
    return (station.profiles, station.operative, [one.service for one in station.evses],
            station.access, settings.integer("sampling.interval_s"),
            settings.text("link.password"), w.app.authbook.list_version)


@pytest.mark.requirement("16.TX.10", "SendLocalList.conf:Failed",
                         "SetChargingProfile.conf:Rejected")
@story
async def test_while_the_books_fail_each_request_is_refused_and_changes_nothing() -> None:
    async with world() as w:
        await w.central.call("SetChargingProfile", {
            "connectorId": 1, "csChargingProfiles": {**PROFILE, "chargingProfileId": 7}})
        await w.central.call("SendLocalList", {
            "listVersion": 3, "updateType": "Full", "localAuthorizationList": [
                {"idTag": CARD, "idTagInfo": {"status": "Accepted"}}]})
        with unwritable(w):
            await w.tap(CARD)  # something that the books are to hold: now they are known to fail
            await w.advance(5)
            before, connections = of(w), w.central.connections
            for action, payload, word in REFUSALS:
                answer = await w.central.call(action, payload)
                assert answer == {"status": word}, action
                assert of(w) == before, action
            await w.advance(60)
            assert w.central.connections == connections
        await w.advance(60)
        await w.kill()
        await w.advance(20)
        profile, = w.app.loop.station.profiles  # type: ignore[union-attr]
        assert profile.profile.id == 7
        assert w.status() == "Available"
        answer = await w.central.call("GetLocalListVersion")
        assert answer == {"listVersion": 3}
