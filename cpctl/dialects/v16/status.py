"""A picture of the station in the nine statuses of 1.6, with error code and info.

Derived anew from each picture; how long a status must last before it is told is the link's.
Source: OCPP 1.6 §4.9, §7.6, §7.7; rules 16.STAT.* of the conformance reference.
"""

from collections.abc import Sequence

from cpctl.core.faults import CATALOGUE, FaultCode
from cpctl.core.now import Now
from cpctl.core.values import StationLayout, StopReason
from cpctl.core.views import ClaimState, EvsePicture, FaultPicture, PowerState, StationPicture
from cpctl.dialects.base import Call, RenderContext, StatusReport, Wire
from cpctl.dialects.v16 import connectors

AVAILABLE, PREPARING, CHARGING = "Available", "Preparing", "Charging"
SUSPENDED_EV, SUSPENDED_EVSE = "SuspendedEV", "SuspendedEVSE"
FINISHING, RESERVED, UNAVAILABLE, FAULTED = "Finishing", "Reserved", "Unavailable", "Faulted"

UNPLUGGED_AT_EV = "EV side disconnected"  # the wording of §4.9
_TEXT_LIMIT = 50
_POWERED = (PowerState.CLOSING, PowerState.ON, PowerState.WINDING_DOWN)

# EVCommunicationError is none of them: it must not go with Faulted (§4.9), and these faults stop.
ERROR_CODES: dict[FaultCode, str] = {
    FaultCode.CONTACTOR_WELDED: "PowerSwitchFailure",
    FaultCode.CONTACTOR_DID_NOT_CLOSE: "PowerSwitchFailure",
    FaultCode.CONTACTOR_LOST: "PowerSwitchFailure",
    FaultCode.RCD_TRIPPED: "GroundFailure",
    FaultCode.GROUND_FAILURE: "GroundFailure",
    FaultCode.EMERGENCY_STOP: "OtherError",
    FaultCode.DOOR_OPEN: "OtherError",
    FaultCode.PILOT_SHORTED: "OtherError",
    FaultCode.PILOT_UNAVAILABLE: "InternalError",
    FaultCode.PILOT_LOST: "InternalError",
    FaultCode.DIODE_MISSING: "OtherError",
    FaultCode.OVER_TEMPERATURE: "HighTemperature",
    FaultCode.OVER_CURRENT: "OverCurrentFailure",
    FaultCode.METER_LOST: "PowerMeterFailure",
    FaultCode.METER_IMPLAUSIBLE: "PowerMeterFailure",
    FaultCode.READER_LOST: "ReaderFailure",
    FaultCode.LOCK_JAMMED: "ConnectorLockFailure",
    FaultCode.INPUT_LOST: "InternalError",
    FaultCode.JOURNAL_FAILED: "InternalError",
    FaultCode.JOURNAL_DAMAGED: "InternalError",
    FaultCode.FACT_SET_ASIDE: "OtherError",
    FaultCode.RESET_FAILED: "ResetFailure",
    FaultCode.OTHER: "OtherError",
}
_RANK = {code: rank for rank, code in enumerate(CATALOGUE)}


def reports(picture: StationPicture, layout: StationLayout) -> tuple[StatusReport, ...]:
    """Connector 0 first, then 1.. in order (16.BOOT.4)."""
    told = [_report(None, 0, _station_status(picture), picture.faults, "")]
    for number, evse, connector in connectors.numbered(layout):
        one = picture.evse(evse)
        if connector in one.out or _is_sibling(one, connector):
            told.append(StatusReport(evse, number, UNAVAILABLE))
            continue
        faults = one.faults
        if picture.faulted and not one.faulted:
            faults = picture.faults
        told.append(_report(evse, number, _evse_status(one, picture), faults, _info(one)))
    return tuple(told)


def _station_status(picture: StationPicture) -> str:
    if picture.faulted:
        return FAULTED
    return AVAILABLE if picture.operative else UNAVAILABLE


def _evse_status(one: EvsePicture, picture: StationPicture) -> str:
    # §7.7: Faulted is who cannot deliver because the charge point *or* the connector has an error
    if one.faulted or picture.faulted:
        return FAULTED
    if one.transaction:
        return _in_transaction(one)
    if not one.operative:
        return UNAVAILABLE
    return _without_transaction(one)


def _in_transaction(one: EvsePicture) -> str:
    if one.power in _POWERED and one.car_asks:
        return CHARGING  # 16.STAT.3: state C without current is Charging, too
    if one.ending:
        return FINISHING  # what is left is ours: coil, register
    if one.unplugged_inside:
        return SUSPENDED_EV  # 16.TX.12
    if one.beginning:
        return PREPARING  # B3 to B5 come with the first offer; an EVSE about to offer suspends none
    if not one.offering and not one.about_to_offer:
        return SUSPENDED_EVSE  # 16.STAT.2: it wins over the car's
    return SUSPENDED_EVSE if one.car_asks else SUSPENDED_EV


def _without_transaction(one: EvsePicture) -> str:
    if one.claim is ClaimState.GRANTED:
        return PREPARING  # A2, G2; F2 while the plug is still in
    if one.claim is ClaimState.ASKED and one.reserved is None:
        return PREPARING  # of a reserved one nobody knows yet whether it is G2
    if one.finishing:
        return FINISHING
    if one.reserved is not None:
        return RESERVED  # 16.RES.8: also with a plug and no token
    return PREPARING if one.plugged else AVAILABLE


def _is_sibling(one: EvsePicture, connector: int) -> bool:
    """16.TX.9: connectors of one EVSE share its power path; only the one in use stays."""
    if one.reserved_connector is not None and not one.transaction and (
            one.claim is not ClaimState.GRANTED):
        return connector != one.reserved_connector  # kept as a whole
    in_use = one.plugged or one.transaction or one.claim is not ClaimState.NONE
    return in_use and connector != one.connector


def _info(one: EvsePicture) -> str:
    """16.TX.12, 16.TX.13: how an unplugged car is told."""
    if one.unplugged_inside:
        return UNPLUGGED_AT_EV
    ended = one.ending or one.finishing
    unplugged = (one.ending and not one.plugged) or (
        one.stopped_because == StopReason.EV_DISCONNECTED.value)
    return UNPLUGGED_AT_EV if ended and unplugged else ""


def _report(evse: int | None, number: int, status: str, faults: Sequence[FaultPicture],
            info: str) -> StatusReport:
    relevant = [one for one in faults if one.stops] if status == FAULTED else list(faults)
    if not relevant:
        return StatusReport(evse, number, status, info=info)
    worst = min(relevant, key=lambda one: (not one.stops, _RANK[one.code]))
    vendor = worst.detail if worst.code is FaultCode.OTHER and worst.detail else worst.code.value
    return StatusReport(evse, number, status, ERROR_CODES[worst.code],
                        CATALOGUE[worst.code].sentence[:_TEXT_LIMIT], vendor[:_TEXT_LIMIT])


def call(report: StatusReport, at: Now, ctx: RenderContext) -> Call:
    """StatusNotification; `at` is when the status came about (16.STAT.7)."""
    payload: Wire = {
        "connectorId": report.connector,
        "errorCode": report.error,
        "status": report.status,
        "timestamp": ctx.told_at(at),
    }
    if report.info:
        payload["info"] = report.info
    if report.vendor_error:
        payload["vendorErrorCode"] = report.vendor_error
        payload["vendorId"] = ctx.identity.vendor
    return Call("StatusNotification", payload)
