"""UpdateFirmware and SignedUpdateFirmware, and how the update goes.

An unsigned update has seven words (§7.25), a signed one fourteen (whitepaper §6.8); what the seven
cannot say is not told, or told by the one that comes next to it where somebody asks.
Source: OCPP 1.6 §4.5, §5.19; security whitepaper L01; 16.FW.1 to 5, 16.SEC.18 to 21, E-29.
"""

from collections.abc import Mapping

from cpctl.core.effects import FirmwareStatusTold
from cpctl.core.events import FirmwareRequested, Request
from cpctl.core.facts import FirmwareStatusChanged
from cpctl.core.jobs import FirmwareOrder, FirmwareStatus
from cpctl.core.values import Outcome, Reply
from cpctl.dialects.base import Call, CallError, RenderContext, Result, Wire
from cpctl.dialects.payloads import parse_time
from cpctl.dialects.v16.answers import Answer, Confirmation, Handler, Reading, Telling

RETRIES, RETRY_S = 3, 60  # where the central system leaves them to us
MOST_RETRIES, LONGEST_RETRY_S = 100, 86_400

# Failures of an unsigned update that have no word of their own.
_PLAIN_FAILURES = (FirmwareStatus.INVALID_SIGNATURE, FirmwareStatus.VERIFICATION_FAILED)
_PLAIN = {one: one.value for one in (
    FirmwareStatus.IDLE, FirmwareStatus.DOWNLOADING, FirmwareStatus.DOWNLOADED,
    FirmwareStatus.DOWNLOAD_FAILED, FirmwareStatus.INSTALLING, FirmwareStatus.INSTALLED,
    FirmwareStatus.INSTALLATION_FAILED)}
_PLAIN |= dict.fromkeys(_PLAIN_FAILURES, "InstallationFailed")
# Said of these only to who asks: they are no news in the seven words.
_PLAIN_ASKED = {
    FirmwareStatus.DOWNLOAD_SCHEDULED: "Idle",
    FirmwareStatus.DOWNLOAD_PAUSED: "Downloading",
    FirmwareStatus.SIGNATURE_VERIFIED: "Downloaded",
    FirmwareStatus.INSTALL_SCHEDULED: "Downloaded",
    FirmwareStatus.INSTALL_REBOOTING: "Installing",
}


# --- requests ------------------------------------------------------------------------------------


def _update(wire: Wire, ctx: RenderContext) -> Request | Answer:
    if not _unsigned_allowed(ctx):
        return CallError("NotSupported", "only SignedUpdateFirmware is taken here")  # L01.FR.20
    return FirmwareRequested(ctx.new_request(), FirmwareOrder(
        wire["location"], parse_time(wire["retrieveDate"]), retries=_retries(wire),
        retry_s=_retry_s(wire)))


def _unsigned_allowed(ctx: RenderContext) -> bool:
    """E-29."""
    match ctx.settings.text("policy.unsigned_firmware"):
        case "always":
            return True
        case "never":
            return False
        case _:
            return ctx.settings.integer("link.security_profile") == 0


def _signed_update(wire: Wire, ctx: RenderContext) -> Request | Answer:
    firmware = wire["firmware"]
    install = firmware.get("installDateTime")
    return FirmwareRequested(ctx.new_request(), FirmwareOrder(
        firmware["location"], parse_time(firmware["retrieveDateTime"]), wire["requestId"],
        parse_time(install) if install else None, firmware["signingCertificate"],
        firmware["signature"], _retries(wire), _retry_s(wire)))


def _retries(wire: Wire) -> int:
    return min(max(int(wire.get("retries", RETRIES)), 0), MOST_RETRIES)


def _retry_s(wire: Wire) -> int:
    return min(max(int(wire.get("retryInterval", RETRY_S)), 0), LONGEST_RETRY_S)


HANDLERS: Mapping[str, Handler] = {
    "SignedUpdateFirmware": _signed_update,
    "UpdateFirmware": _update,
}


def _nothing_to_say(said: Reply, ctx: RenderContext) -> Answer:
    """UpdateFirmware.conf has no fields: what became of it is told by notifications."""
    return Result({})


REPLIES: Mapping[str, Confirmation] = {
    "SignedUpdateFirmware": ({
        Outcome.ACCEPTED: "Accepted", Outcome.ACCEPTED_CANCELED: "AcceptedCanceled",
        Outcome.INVALID_CERTIFICATE: "InvalidCertificate",
        Outcome.REVOKED_CERTIFICATE: "RevokedCertificate"}, "Rejected"),
    "UpdateFirmware": _nothing_to_say,
}


# --- notifications -------------------------------------------------------------------------------


def _changed(item: FirmwareStatusChanged, ctx: RenderContext) -> tuple[Call, ...]:
    if item.job is not None:
        return (_signed(item.job, item.status),)
    word = _PLAIN.get(item.status)
    return () if word is None else (Call("FirmwareStatusNotification", {"status": word}),)


def _asked(item: FirmwareStatusTold, ctx: RenderContext) -> tuple[Call, ...]:
    if item.signed:
        return (_signed(item.job, item.status),)
    word = _PLAIN.get(item.status) or _PLAIN_ASKED[item.status]
    return (Call("FirmwareStatusNotification", {"status": word}),)


def _signed(job: int | None, status: FirmwareStatus) -> Call:
    """L01.FR.21: the job always, unless Idle."""
    payload: Wire = {"status": status.value}
    if job is not None and status is not FirmwareStatus.IDLE:
        payload["requestId"] = job
    return Call("SignedFirmwareStatusNotification", payload)


CALLS: Mapping[type, Telling] = {
    FirmwareStatusChanged: _changed,
    FirmwareStatusTold: _asked,
}
READINGS: Mapping[type, Reading] = {}
