"""Reservation of 1.6: ReserveNow, CancelReservation.

Source: OCPP 1.6 §3.11, §5.2, §5.13, §7.40 with 16.RES.*.
"""

from collections.abc import Mapping

from cpctl.core.events import CancelReservationRequested, Request, ReserveRequested
from cpctl.core.values import IdToken, Outcome
from cpctl.dialects.base import RenderContext, Wire
from cpctl.dialects.payloads import parse_time
from cpctl.dialects.v16 import connectors
from cpctl.dialects.v16.answers import (
    YES_OR_NO,
    Answer,
    Confirmation,
    Handler,
    Reading,
    Telling,
    status,
)


def _reserve_now(wire: Wire, ctx: RenderContext) -> Request | Answer:
    """connectorId 0 is any connector; one that there is not cannot be reserved."""
    number, group = wire["connectorId"], wire.get("parentIdTag")
    place = connectors.from_wire(ctx.layout, number)
    if number != 0 and place is None:
        return status("Rejected")
    evse, connector = place if place is not None else (None, None)
    alone = evse is not None and connectors.siblings(ctx.layout, evse) == 1
    return ReserveRequested(
        ctx.new_request(), wire["reservationId"], parse_time(wire["expiryDate"]),
        IdToken(wire["idTag"]), IdToken(group) if group else None, evse,
        None if alone else connector)


def _cancel_reservation(wire: Wire, ctx: RenderContext) -> Request | Answer:
    return CancelReservationRequested(ctx.new_request(), wire["reservationId"])


HANDLERS: Mapping[str, Handler] = {
    "CancelReservation": _cancel_reservation,
    "ReserveNow": _reserve_now,
}
REPLIES: Mapping[str, Confirmation] = {
    "CancelReservation": YES_OR_NO,
    "ReserveNow": ({Outcome.ACCEPTED: "Accepted", Outcome.OCCUPIED: "Occupied",
                    Outcome.FAULTED: "Faulted", Outcome.UNAVAILABLE: "Unavailable"}, "Rejected"),
}
CALLS: Mapping[type, Telling] = {}
READINGS: Mapping[type, Reading] = {}
