"""What the tables of the messages are made of: handlers of calls, words of answers."""

from collections.abc import Callable, Mapping
from typing import Any

from cpctl.core.events import Event, Request
from cpctl.core.values import Outcome, Reply
from cpctl.dialects.base import Call, CallError, RenderContext, Result, Wire
from cpctl.dialects.base import Outcome as CallOutcome

Answer = Result | CallError
Handler = Callable[[Wire, RenderContext], Request | Answer]
Words = tuple[Mapping[Outcome, str], str]  # what is not listed is said with the second
Confirmation = Words | Callable[[Reply, RenderContext], Answer]
Telling = Callable[[Any, RenderContext], tuple[Call, ...]]
Reading = Callable[[Any, CallOutcome, RenderContext], tuple[Event, ...]]

YES_OR_NO: Words = ({Outcome.ACCEPTED: "Accepted"}, "Rejected")


def status(word: str) -> Result:
    return Result({"status": word})
