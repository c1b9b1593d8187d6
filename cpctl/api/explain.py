"""`why` and `limits`: per EVSE why it is not charging or what limits it, with the next step."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from cpctl.api.pictures import fault, time_of
from cpctl.core.faults import FaultCode
from cpctl.core.limits import LimitClaim
from cpctl.core.now import Now
from cpctl.core.values import Registration
from cpctl.core.views import ClaimState, EvsePicture, PowerState, StationPicture

MINIMUM_A = 6.0  # IEC 61851-1: below it there is no offer

Reason = dict[str, Any]

_SENTENCES = {
    "pilot_not_asking": ("the car does not ask for power", "the car decides; wake it up"),
    "not_locked": ("the plug is not locked", "check the plug lock"),
    "session_not_in_books": ("the session is not in the books", "see cpctl journal list"),
    "not_in_books": ("the session is not in the books", "see cpctl journal list"),
    "register_not_read": ("the meter was not read since the plug came in",
                          "check the meter: cpctl hw list"),
    "limit_below_minimum": ("less than 6 A is left for the EVSE", "see cpctl limits"),
    "stale": ("an order was overtaken by a release", "it is tried again by itself"),
}


def reason(code: str, sentence: str, change: str, *, since: str | None = None,
           evidence: str = "") -> Reason:
    return {"code": code, "sentence": sentence, "evidence": evidence, "since": since,
            "would_change": change}


def reasons(station: StationPicture, one: EvsePicture, *, in_service: bool) -> list[Reason]:
    """Why there is no power at an EVSE, the weightiest first; empty while it charges freely.

    `in_service`: nobody has taken the station as a whole out of service.
    """
    return [*_faults(station, one), *_service(station, one, in_service=in_service),
            *_use(one, station), *_power(one)]


def _faults(station: StationPicture, one: EvsePicture) -> Iterator[Reason]:
    for each in (*one.faults, *station.faults):
        if each.stops:
            row = fault(each)
            yield reason(row["code"].lower(), row["sentence"], row["remedy"],
                         since=row["since"], evidence=row["detail"])


def _service(station: StationPicture, one: EvsePicture, *, in_service: bool) -> Iterator[Reason]:
    if not station.booted:
        yield reason("starting", "the daemon is starting", "wait a moment")
    if station.resetting:
        yield reason("resetting", "the station is about to restart", "wait for the restart")
    if not in_service:
        yield reason("station_inoperative", "the station is out of service",
                     "cpctl evse availability 0 operative, or the central system")
    elif station.updating:
        yield reason("updating", "nothing begins while firmware is installed or on trial",
                     "wait for its end; see cpctl firmware")
    elif not station.operative and station.registration is not Registration.ACCEPTED:
        yield reason("not_accepted", "the central system has not accepted the station",
                     "see cpctl status; policy.tx_before_accepted rules what is possible",
                     evidence=f"registration {station.registration.value}")
    elif not one.operative:
        yield reason("evse_inoperative", "the EVSE is out of service",
                     f"cpctl evse availability {one.evse} operative, or the central system")


def _use(one: EvsePicture, station: StationPicture) -> Iterator[Reason]:
    if one.claim is ClaimState.ASKED:
        change = "the answer of the central system" if station.online else "the offline rules"
        yield reason("authorizing", "the token is being authorized", change)
    if not one.plugged and not one.transaction:
        yield reason("not_plugged", "no car is connected", "plug in a car",
                     evidence=f"pilot {one.pilot.value if one.pilot else 'unknown'}")
    if one.unplugged_inside:
        yield reason("unplugged", "the plug is out while the transaction goes on",
                     "plug in again")
    if one.finishing:
        yield reason("finishing", "this use of the plug is over", "unplug the car",
                     evidence=one.stopped_because)
    if one.reserved is not None and one.claim is not ClaimState.GRANTED:
        yield reason("reserved", "kept for a reservation", "the reserving token, or its expiry",
                     evidence=f"reservation {one.reserved}")
    elif one.claim is ClaimState.NONE and one.plugged and not one.finishing:
        yield reason("no_token", "nobody has presented a token", "hold a card to the reader")
    if one.claim is ClaimState.REVOKED:
        yield reason("revoked", "the token is no longer accepted", "use another token",
                     since=time_of(one.started))


def _power(one: EvsePicture) -> Iterator[Reason]:
    if one.power is PowerState.WINDING_DOWN:
        yield reason("winding_down", "charging is being ended", "wait a moment")
    charging = one.power is PowerState.ON
    if one.claim is ClaimState.GRANTED and one.plugged and not charging:
        if one.why_suspended:
            yield reason("suspended", "charging is suspended", "see cpctl limits",
                         evidence=one.why_suspended)
        elif one.offering and not one.car_asks:
            yield reason("car_not_asking", "current is on offer and the car does not take it",
                         "the car decides: full, a timer, or its lock",
                         evidence=f"pilot {one.pilot.value if one.pilot else 'unknown'}, "
                                  f"{one.offered_a:g} A on offer")
        if not one.transaction:
            yield from _before_the_transaction(one)
    if not charging and not one.finishing:  # a refusal of a use that is over says nothing
        for code in one.refused:
            sentence, change = _SENTENCES.get(code, (
                f"the interlock says no: {code.replace('_', ' ')}", "see cpctl hw list"))
            yield reason(code, sentence, change)
    elif not one.car_asks:
        yield reason("car_not_asking", "the car does not ask for power", "the car decides")


def _before_the_transaction(one: EvsePicture) -> Iterator[Reason]:
    """No transaction begins without a register to begin with."""
    lost = next((each for each in one.faults if each.code is FaultCode.METER_LOST), None)
    if lost is not None:
        row = fault(lost)
        yield reason("meter_lost", row["sentence"], row["remedy"], since=row["since"],
                     evidence=row["detail"])
    elif one.register_wh is None:
        yield reason("register_not_read", *_SENTENCES["register_not_read"])


def limits(claims: tuple[LimitClaim, ...], now: Now) -> list[dict[str, Any]]:
    """Each claim on the current in A per phase, the least one marked; `until`: it may change."""
    least = min((one.current_a for one in claims), default=0.0)
    return [{"owner": one.owner, "current_a": int(one.current_a * 10 + 1e-6) / 10,
             "until": _until(one, now), "leads": one.current_a == least,
             "enough": one.current_a >= MINIMUM_A, "behind": one.behind or None}
            for one in claims]


def _until(one: LimitClaim, now: Now) -> str | None:
    if one.until is None:
        return None
    return time_of(now.utc + timedelta(microseconds=(one.until - now.mono_ns) // 1000))
