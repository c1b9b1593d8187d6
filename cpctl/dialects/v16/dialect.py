"""OCPP 1.6 (edition 2 with errata) and its security whitepaper, over JSON: the table of messages.

Translation is in `outgoing`, `incoming` and `status`; here is who may say what, which schema it
must fit, and what errors are called.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from cpctl.core.events import Event, Request
from cpctl.core.facts import TransactionSampled
from cpctl.core.jobs import Trigger
from cpctl.core.now import Now
from cpctl.core.values import Reply, StationLayout
from cpctl.core.views import StationPicture
from cpctl.dialects.base import (
    Call,
    CallError,
    Item,
    Outcome,
    RenderContext,
    Result,
    StatusReport,
)
from cpctl.dialects.payloads import Payloads
from cpctl.dialects.v16 import connectors, incoming, outgoing, status, triggers
from cpctl.dialects.v16.meter_texts import MeterTexts

# Every action of 1.6 and its security extension; "in" is said by the central system.
ACTIONS: Mapping[str, str] = MappingProxyType({
    # Core
    "Authorize": "out", "BootNotification": "out", "ChangeAvailability": "in",
    "ChangeConfiguration": "in", "ClearCache": "in", "DataTransfer": "both",
    "GetConfiguration": "in", "Heartbeat": "out", "MeterValues": "out",
    "RemoteStartTransaction": "in", "RemoteStopTransaction": "in", "Reset": "in",
    "StartTransaction": "out", "StatusNotification": "out", "StopTransaction": "out",
    "UnlockConnector": "in",
    # FirmwareManagement
    "DiagnosticsStatusNotification": "out", "FirmwareStatusNotification": "out",
    "GetDiagnostics": "in", "UpdateFirmware": "in",
    # LocalAuthListManagement, Reservation
    "GetLocalListVersion": "in", "SendLocalList": "in",
    "CancelReservation": "in", "ReserveNow": "in",
    # SmartCharging, RemoteTrigger
    "ClearChargingProfile": "in", "GetCompositeSchedule": "in", "SetChargingProfile": "in",
    "TriggerMessage": "in",
    # Security whitepaper
    "CertificateSigned": "in", "DeleteCertificate": "in", "ExtendedTriggerMessage": "in",
    "GetInstalledCertificateIds": "in", "GetLog": "in", "InstallCertificate": "in",
    "LogStatusNotification": "out", "SecurityEventNotification": "out", "SignCertificate": "out",
    "SignedFirmwareStatusNotification": "out", "SignedUpdateFirmware": "in",
})

# OCPP-J 1.6 table 7; the spelling of Formation and Occurence is the one on the wire (errata 5).
ERROR_CODES: Mapping[str, str] = MappingProxyType({
    "not_implemented": "NotImplemented",
    "not_supported": "NotSupported",
    "internal": "InternalError",
    "protocol": "ProtocolError",
    "security": "SecurityError",
    "format": "FormationViolation",
    "property": "PropertyConstraintViolation",
    "occurrence": "OccurenceConstraintViolation",
    "type": "TypeConstraintViolation",
    "generic": "GenericError",
    "framework": "FormationViolation",  # 1.6 has no code of its own for these two
    "message_type": "FormationViolation",
})

# A message that cannot be triggered is NotImplemented (§5.17), whatever its name: the schema's list
# of names is left to the handlers.
ANY_TRIGGER: Mapping[str, Mapping[str, Trigger]] = MappingProxyType({
    "TriggerMessage": triggers.PLAIN, "ExtendedTriggerMessage": triggers.EXTENDED})

ANY_TIME = "2000-01-01T00:00:00Z"  # stands in for one that cannot be read while the rest is checked


class Dialect16:
    """The Dialect of OCPP 1.6."""

    name = "1.6"
    subprotocol = "ocpp1.6"
    actions = ACTIONS

    def __init__(self) -> None:
        self._payloads = Payloads("v16")
        self._meter_texts = MeterTexts(self._sample)

    def calls(self, item: Item, ctx: RenderContext) -> tuple[Call, ...]:
        return outgoing.calls(item, ctx)

    def sealed(self, item: Item, identity: str, ctx: RenderContext) -> tuple[str, str] | None:
        if type(item) is not TransactionSampled:
            return None
        text = self._meter_texts.text(item, identity, ctx)
        return None if text is None else ("MeterValues", text)

    def _sample(self, item: TransactionSampled, ctx: RenderContext) -> Call | None:
        """The call that tells a sample, checked."""
        made = outgoing.calls(item, ctx)
        if len(made) != 1 or self.check(made[0].action, made[0].payload, response=False, ours=True):
            return None
        return made[0]

    def events(self, item: Item, call: Call, outcome: Outcome, ctx: RenderContext
               ) -> tuple[Event, ...]:
        return outgoing.events(item, call, outcome, ctx)

    def settles(self, item: Item, outcome: Outcome) -> bool:
        return outgoing.settles(item, outcome)

    def request(self, call: Call, ctx: RenderContext) -> Request | Result | CallError:
        handler = incoming.HANDLERS.get(call.action)
        if handler is not None:
            return handler(call.payload, ctx)
        return self._unanswerable(call.action)

    def reply(self, call: Call, reply: Reply, ctx: RenderContext) -> Result | CallError:
        return incoming.reply(call.action, reply, ctx)

    def statuses(self, picture: StationPicture, ctx: RenderContext) -> tuple[StatusReport, ...]:
        return status.reports(picture, ctx.layout)

    def status_call(self, report: StatusReport, at: Now, ctx: RenderContext) -> Call:
        return status.call(report, at, ctx)

    def status_place(self, evse: int | None, connector: int, layout: StationLayout
                     ) -> tuple[int | None, int]:
        return evse, connectors.to_wire(layout, evse, connector)

    def check(self, action: str, payload: Any, *, response: bool, ours: bool) -> CallError | None:
        """Strict for what we send and for what is asked of us. From answers of the central system
        what the schema does not know is removed (16.RPC.7, 16.RPC.13), and one whose time cannot
        be read counts all the same: the clock passes it over, the acceptance holds."""
        if action not in ACTIONS or not (ours or response or self._is_answered(action)):
            return self._unanswerable(action)
        tolerant = response and ours
        if not response and action in ANY_TRIGGER:
            payload = _with_known_trigger(action, payload)
        flaw = self._payloads.flaw(action, payload, response=response, tolerant=tolerant)
        if tolerant and flaw is not None and (flaw.kind, flaw.where) == ("property", "currentTime"):
            rest = {**payload, "currentTime": ANY_TIME}
            flaw = self._payloads.flaw(action, rest, response=True, tolerant=True)
        if flaw is None:
            return None
        return CallError(ERROR_CODES[flaw.kind], f"{action} {flaw}")

    def error_code(self, kind: str) -> str:
        return ERROR_CODES[kind]

    def _is_answered(self, action: str) -> bool:
        return action in incoming.HANDLERS

    def _unanswerable(self, action: str) -> CallError:
        if action in ACTIONS:
            return CallError(ERROR_CODES["not_supported"], f"{action} is not supported")
        return CallError(ERROR_CODES["not_implemented"], f"{action[:60]} is not known")


def _with_known_trigger(action: str, payload: Any) -> Any:
    name = payload.get("requestedMessage") if isinstance(payload, dict) else None
    if not isinstance(name, str) or name in ANY_TRIGGER[action]:
        return payload
    return {**payload, "requestedMessage": "Heartbeat"}
