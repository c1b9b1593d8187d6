"""SecurityEventNotification of the security whitepaper.

Its list (edition 3, §8) has no word for damaged books: what it does not name is not told.
"""

from collections.abc import Mapping

from cpctl.core import security
from cpctl.core.facts import SecurityEventRaised
from cpctl.dialects.base import Call, RenderContext, Wire
from cpctl.dialects.v16.answers import Confirmation, Handler, Reading, Telling

# Edition 3 spells two of them in a way of its own; the others are ours as they stand.
WIRE_NAMES: Mapping[str, str] = {
    "FailedToAuthenticateAtCentralSystem": "FailedToAuthenticationAtCentralSystem",
    "CentralSystemFailedToAuthenticate": "CentralSystemFailedToAuthentication",
}


def _told(item: SecurityEventRaised, ctx: RenderContext) -> tuple[Call, ...]:
    """A04: the critical ones, and as many others as security.notify says (E-35)."""
    if not security.is_told(item.kind, ctx.settings.text("security.notify")):
        return ()
    payload: Wire = {"type": WIRE_NAMES.get(item.kind, item.kind),
                     "timestamp": ctx.told_at(item.at)}
    if item.text:
        payload["techInfo"] = item.text[:security.TEXT_LIMIT]
    return (Call("SecurityEventNotification", payload),)


HANDLERS: Mapping[str, Handler] = {}
REPLIES: Mapping[str, Confirmation] = {}
CALLS: Mapping[type, Telling] = {SecurityEventRaised: _told}
READINGS: Mapping[type, Reading] = {}
