"""GetDiagnostics and GetLog, and how their uploads go.

Source: OCPP 1.6 §4.4, §5.9, §6.17, §6.25; security whitepaper N01, §5.9 to §5.14; 16.DIAG.*,
16.SEC.17.
"""

from collections.abc import Mapping
from datetime import datetime

from cpctl.core.effects import LogStatusTold
from cpctl.core.events import LogRequested, Request
from cpctl.core.jobs import LogFile, LogKind, LogOrder, LogStatus
from cpctl.core.values import Outcome, Reply
from cpctl.dialects.base import Call, CallError, RenderContext, Result, Wire
from cpctl.dialects.payloads import parse_time
from cpctl.dialects.v16.answers import Answer, Confirmation, Handler, Reading, Telling

RETRIES, RETRY_S = 2, 60  # where the central system leaves it to us
MOST_RETRIES, MOST_RETRY_S = 100, 86_400


def _get_diagnostics(wire: Wire, ctx: RenderContext) -> Request | Answer:
    return _asked(ctx, LogKind.DIAGNOSTICS, wire, wire["location"], None,
                  (wire.get("startTime"), wire.get("stopTime")))


def _get_log(wire: Wire, ctx: RenderContext) -> Request | Answer:
    log = wire["log"]
    return _asked(ctx, LogKind(wire["logType"]), wire, log["remoteLocation"], wire["requestId"],
                  (log.get("oldestTimestamp"), log.get("latestTimestamp")))


def _asked(ctx: RenderContext, kind: LogKind, wire: Wire, url: str, job: int | None,
           span: tuple[str | None, str | None]) -> Request | Answer:
    since, until = (_moment(text) for text in span)
    return LogRequested(ctx.new_request(), LogOrder(
        kind, url, job, since, until,
        retries=_within(wire.get("retries"), RETRIES, MOST_RETRIES),
        retry_s=_within(wire.get("retryInterval"), RETRY_S, MOST_RETRY_S)))


def _moment(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)


def _within(number: int | None, otherwise: int, most: int) -> int:
    return otherwise if number is None else min(max(number, 0), most)


# --- answers -------------------------------------------------------------------------------------


def _diagnostics_answered(said: Reply, ctx: RenderContext) -> Result | CallError:
    """16.DIAG.1: without a name nothing is there, and nothing will come."""
    if isinstance(said.content, LogFile):
        return Result({"fileName": said.content.name})
    return Result({})


_LOG_WORDS = {Outcome.ACCEPTED: "Accepted", Outcome.ACCEPTED_CANCELED: "AcceptedCanceled"}


def _log_answered(said: Reply, ctx: RenderContext) -> Result | CallError:
    payload: Wire = {"status": _LOG_WORDS.get(said.outcome, "Rejected")}
    if isinstance(said.content, LogFile):
        payload["filename"] = said.content.name
    return Result(payload)


# --- calls ---------------------------------------------------------------------------------------

# §7.24 knows but one way to fail
_DIAGNOSTICS_WORDS = {LogStatus.IDLE: "Idle", LogStatus.UPLOADING: "Uploading",
                      LogStatus.UPLOADED: "Uploaded"}


def _status_told(item: LogStatusTold, ctx: RenderContext) -> tuple[Call, ...]:
    if item.diagnostics:
        word = _DIAGNOSTICS_WORDS.get(item.status, "UploadFailed")
        return (Call("DiagnosticsStatusNotification", {"status": word}),)
    status = LogStatus.UPLOAD_FAILURE if item.status is LogStatus.CANCELED else item.status
    payload: Wire = {"status": status.value}
    if item.job is not None:  # N01.FR.12
        payload["requestId"] = item.job
    return (Call("LogStatusNotification", payload),)


HANDLERS: Mapping[str, Handler] = {
    "GetDiagnostics": _get_diagnostics,
    "GetLog": _get_log,
}
REPLIES: Mapping[str, Confirmation] = {
    "GetDiagnostics": _diagnostics_answered,
    "GetLog": _log_answered,
}
CALLS: Mapping[type, Telling] = {
    LogStatusTold: _status_told,
}
READINGS: Mapping[type, Reading] = {}
