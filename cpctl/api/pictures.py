"""Pictures of the station as JSON objects with stable names: `status`, `evse.show`, `watch`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol

from cpctl.core.effects import utc_text
from cpctl.core.faults import CATALOGUE
from cpctl.core.now import Now
from cpctl.core.values import IdToken
from cpctl.core.views import EvsePicture, FaultPicture, StationPicture


class Status(Protocol):
    """The status of one connector as the dialect of 1.6 words it (0: the station)."""

    @property
    def connector(self) -> int: ...
    @property
    def status(self) -> str: ...


def time_of(moment: Now | datetime | None) -> str | None:
    """RFC 3339 in UTC, or None."""
    if moment is None:
        return None
    return utc_text(moment.utc if isinstance(moment, Now) else moment)


def token_of(token: IdToken | None) -> str | None:
    return None if token is None else token.value


def fault(one: FaultPicture) -> dict[str, Any]:
    row = CATALOGUE[one.code]
    return {"code": one.code.value, "stops": one.stops, "latched": one.latched,
            "since": time_of(one.since), "detail": one.detail, "sentence": row.sentence,
            "remedy": row.remedy}


def statuses(picture: StationPicture, told: Iterable[Status]) -> Mapping[tuple[int, int], str]:
    """Status by (EVSE, connector); (0, 0) is the station.

    1.6 numbers the connectors of the station from 1, in the order of EVSEs and connectors.
    """
    places = [(0, 0)] + [(one.evse, connector)
                         for one in picture.evses for connector in one.connectors]
    return {places[one.connector]: one.status for one in told if one.connector < len(places)}


def evse(one: EvsePicture, words: Mapping[tuple[int, int], str]) -> dict[str, Any]:
    told = [words.get((one.evse, number), "Unavailable") for number in one.connectors]
    return {
        "id": one.evse,
        "status": leading(told),
        "pilot": one.pilot.value if one.pilot else None,
        "plugged": one.plugged,
        "locked": one.locked,
        "power": one.power.value,
        "claim": one.claim.value,
        "token": token_of(one.token),
        "session": one.session,
        "transaction": one.transaction,
        "started": time_of(one.started),
        "power_w": one.power_w,
        "energy_wh": one.energy_wh,
        "register_wh": one.register_wh,
        "offered_a": one.offered_a,
        "operative": one.operative,
        "availability_pending": one.availability_pending,
        "connectors": [{"id": number, "status": word}
                       for number, word in zip(one.connectors, told, strict=True)],
        "faults": [fault(each) for each in one.faults],
        "refused": list(one.refused),
        "suspended_by": one.why_suspended or None,
        "stopped_because": one.stopped_because or None,
        "reservation": one.reserved,
    }


def leading(words: list[str]) -> str:
    """The status of an EVSE: that of the connector in use, if there is one."""
    for word in words:
        if word not in ("Available", "Unavailable"):
            return word
    return words[0] if words else "Unavailable"


def station(picture: StationPicture, words: Mapping[tuple[int, int], str]) -> dict[str, Any]:
    return {
        "status": words.get((0, 0), "Unavailable"),
        "booted": picture.booted,
        "operative": picture.operative,
        "resetting": picture.resetting,
        "waiting_token": token_of(picture.waiting_token),
        "faults": [fault(each) for each in picture.faults],
    }
