"""TriggerMessage, and ExtendedTriggerMessage of the security whitepaper.

A message that cannot be asked for is NotImplemented (§5.17), also one that the schema does not
know: `dialect.py` lets its name through. A connectorId that means nothing to a message is ignored.
"""

from collections.abc import Mapping

from cpctl.core.events import Request, TriggerRequested
from cpctl.core.jobs import Trigger
from cpctl.core.values import Outcome
from cpctl.dialects.base import RenderContext, Wire
from cpctl.dialects.v16 import connectors
from cpctl.dialects.v16.answers import (
    Answer,
    Confirmation,
    Handler,
    Reading,
    Telling,
    Words,
    status,
)

#: requestedMessage of TriggerMessage (§7.32)
PLAIN: Mapping[str, Trigger] = {
    "BootNotification": Trigger.BOOT,
    "DiagnosticsStatusNotification": Trigger.DIAGNOSTICS_STATUS,
    "FirmwareStatusNotification": Trigger.FIRMWARE_STATUS,
    "Heartbeat": Trigger.HEARTBEAT,
    "MeterValues": Trigger.METER_VALUES,
    "StatusNotification": Trigger.STATUS,
}
#: requestedMessage of ExtendedTriggerMessage (whitepaper §6.16)
EXTENDED: Mapping[str, Trigger] = {
    "BootNotification": Trigger.BOOT,
    "FirmwareStatusNotification": Trigger.SIGNED_FIRMWARE_STATUS,
    "Heartbeat": Trigger.HEARTBEAT,
    "LogStatusNotification": Trigger.LOG_STATUS,
    "MeterValues": Trigger.METER_VALUES,
    "SignChargePointCertificate": Trigger.SIGN_CERTIFICATE,
    "StatusNotification": Trigger.STATUS,
}
_OF_CONNECTORS = (Trigger.METER_VALUES, Trigger.STATUS)


def _trigger_message(wire: Wire, ctx: RenderContext) -> Request | Answer:
    return _wanted(PLAIN.get(wire["requestedMessage"]), wire, ctx)


def _extended_trigger_message(wire: Wire, ctx: RenderContext) -> Request | Answer:
    return _wanted(EXTENDED.get(wire["requestedMessage"]), wire, ctx)


def _wanted(what: Trigger | None, wire: Wire, ctx: RenderContext) -> Request | Answer:
    if what is None:
        return status("NotImplemented")
    number = wire.get("connectorId")
    if number is None or what not in _OF_CONNECTORS:
        return TriggerRequested(ctx.new_request(), what)
    if number == 0:
        return TriggerRequested(ctx.new_request(), what, None, 0)
    place = connectors.from_wire(ctx.layout, number)
    if place is None:
        return status("Rejected")  # 16.TRIG.1
    return TriggerRequested(ctx.new_request(), what, *place)


_PROMISE: Words = ({Outcome.ACCEPTED: "Accepted", Outcome.NOT_IMPLEMENTED: "NotImplemented",
                    Outcome.NOT_SUPPORTED: "NotImplemented"}, "Rejected")

HANDLERS: Mapping[str, Handler] = {
    "ExtendedTriggerMessage": _extended_trigger_message,
    "TriggerMessage": _trigger_message,
}
REPLIES: Mapping[str, Confirmation] = {
    "ExtendedTriggerMessage": _PROMISE,
    "TriggerMessage": _PROMISE,
}
CALLS: Mapping[type, Telling] = {}
READINGS: Mapping[type, Reading] = {}
