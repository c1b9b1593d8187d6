"""DataTransfer, in both directions (§4.3, §5.6)."""

from collections.abc import Mapping

from cpctl.core.effects import SendVendorMessage
from cpctl.core.events import Event, Request, VendorMessageAnswered, VendorMessageReceived
from cpctl.core.jobs import VendorAnswer
from cpctl.core.values import Outcome, Reply
from cpctl.dialects.base import Call, CallError, RenderContext, Result, Wire
from cpctl.dialects.base import Outcome as CallOutcome
from cpctl.dialects.v16.answers import Answer, Confirmation, Handler, Reading, Telling

_WORDS: Mapping[Outcome, str] = {
    Outcome.ACCEPTED: "Accepted",
    Outcome.REJECTED: "Rejected",
    Outcome.UNKNOWN: "UnknownVendorId",
    Outcome.UNKNOWN_MESSAGE: "UnknownMessageId",
}
_OUTCOMES = {word: outcome for outcome, word in _WORDS.items()}


def _data_transfer(wire: Wire, ctx: RenderContext) -> Request | Answer:
    return VendorMessageReceived(ctx.new_request(), wire["vendorId"], wire.get("messageId"),
                                 wire.get("data"))


def _answered(said: Reply, ctx: RenderContext) -> Answer:
    """16.DT.1: data only from a handler that was found."""
    payload: Wire = {"status": _WORDS.get(said.outcome, "Rejected")}
    if isinstance(said.content, VendorAnswer) and said.outcome in (
            Outcome.ACCEPTED, Outcome.REJECTED):
        payload["data"] = said.content.text
    return Result(payload)


def _told(item: SendVendorMessage, ctx: RenderContext) -> tuple[Call, ...]:
    payload: Wire = {"vendorId": item.vendor}
    if item.message is not None:
        payload["messageId"] = item.message
    if item.content is not None:
        payload["data"] = item.content
    return (Call("DataTransfer", payload),)


def _heard(item: SendVendorMessage, outcome: CallOutcome, ctx: RenderContext
           ) -> tuple[Event, ...]:
    match outcome:
        case Result(payload=payload):
            return (VendorMessageAnswered(_OUTCOMES[payload["status"]], payload.get("data")),)
        case CallError(code="NotImplemented" | "NotSupported"):
            return (VendorMessageAnswered(Outcome.NOT_SUPPORTED),)
        case _:
            return (VendorMessageAnswered(Outcome.FAILED),)


HANDLERS: Mapping[str, Handler] = {"DataTransfer": _data_transfer}
REPLIES: Mapping[str, Confirmation] = {"DataTransfer": _answered}
CALLS: Mapping[type, Telling] = {SendVendorMessage: _told}
READINGS: Mapping[type, Reading] = {SendVendorMessage: _heard}
