"""What the tables of the messages are made of: handlers of calls, words of answers."""

from collections.abc import Callable, Mapping
from typing import Any

from cpctl.core.events import Event, Request
from cpctl.core.values import IdToken, Outcome, Reply, TokenInfo, TokenStatus
from cpctl.dialects.base import Call, CallError, RenderContext, Result, Wire
from cpctl.dialects.base import Outcome as CallOutcome
from cpctl.dialects.payloads import parse_time

Answer = Result | CallError
Handler = Callable[[Wire, RenderContext], Request | Answer]
Words = tuple[Mapping[Outcome, str], str]  # what is not listed is said with the second
Confirmation = Words | Callable[[Reply, RenderContext], Answer]
Telling = Callable[[Any, RenderContext], tuple[Call, ...]]
Reading = Callable[[Any, CallOutcome, RenderContext], tuple[Event, ...]]

YES_OR_NO: Words = ({Outcome.ACCEPTED: "Accepted"}, "Rejected")


def token_info(wire: Wire) -> TokenInfo:
    """An idTagInfo in our words."""
    group, expires = wire.get("parentIdTag"), wire.get("expiryDate")
    return TokenInfo(TokenStatus(wire["status"]),
                     IdToken(group) if group else None,
                     parse_time(expires) if expires else None)


def status(word: str) -> Result:
    return Result({"status": word})
