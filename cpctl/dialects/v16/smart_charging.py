"""SmartCharging of 1.6: SetChargingProfile, ClearChargingProfile, GetCompositeSchedule.

Also the profile that a RemoteStartTransaction brings. What a profile must fulfil to be installed is
decided in `core/profile_requests.py`; here is refused what has no place in our words: connectors
that are not installed (PropertyConstraintViolation, errata 3.39), transactions that do not run.
Words and times that do not exist are the schema's business (errata 3.24, 3.38).
Source: OCPP 1.6 §5.5, §5.7, §5.16, §6.13, §6.21, §6.43, §7.8..7.14; rules 16.SC.*.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from cpctl.core.effects import utc_text
from cpctl.core.events import (
    ClearProfilesRequested,
    CompositeRequested,
    Request,
    SetProfileRequested,
)
from cpctl.core.profiles import (
    ChargingProfile,
    CompositeSchedule,
    Period,
    ProfileKind,
    Purpose,
    RateUnit,
    Recurrency,
    Schedule,
)
from cpctl.core.values import Outcome, Reply
from cpctl.dialects.base import CallError, RenderContext, Result, Wire
from cpctl.dialects.payloads import parse_time
from cpctl.dialects.v16 import connectors
from cpctl.dialects.v16.answers import Answer, Confirmation, Handler, Reading, Telling, status

PURPOSES = {
    "ChargePointMaxProfile": Purpose.STATION_MAX,
    "TxDefaultProfile": Purpose.TX_DEFAULT,
    "TxProfile": Purpose.TX,
}
_VIOLATION = "PropertyConstraintViolation"

Place = tuple[int | None, int | None]


# --- values --------------------------------------------------------------------------------------


def profile_from_wire(wire: Wire, transaction: int | None = None) -> ChargingProfile:
    """The profile; `transaction` is the session that its transactionId means."""
    recurrency = wire.get("recurrencyKind")
    return ChargingProfile(
        id=wire["chargingProfileId"], stack_level=wire["stackLevel"],
        purpose=PURPOSES[wire["chargingProfilePurpose"]],
        kind=ProfileKind(wire["chargingProfileKind"]),
        schedule=_schedule(wire["chargingSchedule"]),
        recurrency=None if recurrency is None else Recurrency(recurrency),
        valid_from=_moment(wire, "validFrom"), valid_to=_moment(wire, "validTo"),
        transaction=transaction)


def _schedule(wire: Wire) -> Schedule:
    least = wire.get("minChargingRate")
    return Schedule(
        unit=RateUnit(wire["chargingRateUnit"]),
        periods=tuple(Period(one["startPeriod"], float(one["limit"]), one.get("numberPhases"))
                      for one in wire["chargingSchedulePeriod"]),
        start=_moment(wire, "startSchedule"), duration_s=wire.get("duration"),
        least=None if least is None else float(least))


def _moment(wire: Wire, name: str) -> datetime | None:
    """In UTC, whatever offset it came with (16.RPC.9)."""
    return parse_time(wire[name]).astimezone(UTC) if name in wire else None


def _place(wire: Wire, ctx: RenderContext) -> Place | None:
    """EVSE and connector of the connectorId, none for the whole station; None: not installed."""
    number = wire["connectorId"]
    if number == 0:
        return None, None
    place = connectors.from_wire(ctx.layout, number)
    if place is None:
        return None
    evse, connector = place
    return evse, None if connectors.siblings(ctx.layout, evse) == 1 else connector


# --- requests ------------------------------------------------------------------------------------


def _set_profile(wire: Wire, ctx: RenderContext) -> Request | Answer:
    place = _place(wire, ctx)
    if place is None:
        return CallError(_VIOLATION, f"there is no connector {wire['connectorId']}")
    told = wire["csChargingProfiles"]
    session = None
    if "transactionId" in told:
        session = ctx.session_of(told["transactionId"])
        if session is None or told["chargingProfilePurpose"] != "TxProfile":
            return status("Rejected")  # not the running one, or none of its business
    return SetProfileRequested(ctx.new_request(), profile_from_wire(told, session), *place)


def of_remote_start(wire: Wire) -> ChargingProfile | Result | None:
    """The profile that a remote start brings, if any; or its refusal (errata 3.41)."""
    told = wire.get("chargingProfile")
    if told is None:
        return None
    if "transactionId" in told:
        return status("Rejected")
    return profile_from_wire(told)


def _clear_profiles(wire: Wire, ctx: RenderContext) -> Request | Answer:
    """With an id all else is ignored, an unknown connector too (errata 3.26)."""
    if "id" in wire:
        return ClearProfilesRequested(ctx.new_request(), wire["id"])
    purpose = wire.get("chargingProfilePurpose")
    place: Place | None = None, None
    if "connectorId" in wire:
        place = _place(wire, ctx)
    if place is None:
        return status("Unknown")
    return ClearProfilesRequested(
        ctx.new_request(), None, "connectorId" not in wire, place[0],
        None if purpose is None else PURPOSES[purpose], wire.get("stackLevel"), place[1])


def _composite(wire: Wire, ctx: RenderContext) -> Request | Answer:
    place = _place(wire, ctx)
    if place is None:
        return status("Rejected")
    unit = wire.get("chargingRateUnit")
    return CompositeRequested(ctx.new_request(), wire["duration"], place[0],
                              None if unit is None else RateUnit(unit), place[1])


# --- replies -------------------------------------------------------------------------------------


def _composite_told(said: Reply, ctx: RenderContext) -> Answer:
    """16.SC.22: refused without more; the schedule counts from scheduleStart, so it has no
    startSchedule of its own."""
    told = said.content
    if said.outcome is not Outcome.ACCEPTED or not isinstance(told, CompositeSchedule):
        return status("Rejected")
    return Result({
        "status": "Accepted",
        "connectorId": connectors.to_wire(ctx.layout, told.evse, told.connector),
        "scheduleStart": utc_text(told.start),
        "chargingSchedule": {
            "duration": told.duration_s,
            "chargingRateUnit": told.unit.value,
            "chargingSchedulePeriod": [_period(one) for one in told.periods],
        },
    })


def _period(period: Period) -> Wire:
    wire: Wire = {"startPeriod": period.start_s, "limit": round(period.limit, 1)}
    if period.phases is not None:
        wire["numberPhases"] = period.phases
    return wire


HANDLERS: Mapping[str, Handler] = {
    "ClearChargingProfile": _clear_profiles,
    "GetCompositeSchedule": _composite,
    "SetChargingProfile": _set_profile,
}
REPLIES: Mapping[str, Confirmation] = {
    "ClearChargingProfile": ({Outcome.ACCEPTED: "Accepted"}, "Unknown"),
    "GetCompositeSchedule": _composite_told,
    "SetChargingProfile": ({Outcome.ACCEPTED: "Accepted",
                            Outcome.NOT_SUPPORTED: "NotSupported"}, "Rejected"),
}
CALLS: Mapping[type, Telling] = {}
READINGS: Mapping[type, Reading] = {}
