"""What the central system asks for in 1.6: its calls as requests, our replies as confirmations.

A call has been checked against its schema before it comes here. What the core has no say in
(reading keys, refusals that the installation decides) is answered at once.
"""

from collections.abc import Mapping

from cpctl.core.events import (
    AvailabilityRequested,
    ClearCacheRequested,
    Request,
    ResetRequested,
    SettingChangeRequested,
    StartRequested,
    StopRequested,
    UnlockRequested,
)
from cpctl.core.settings import Access, SettingError
from cpctl.core.values import IdToken, Outcome, Registration, Reply, ResetKind
from cpctl.dialects.base import CallError, RenderContext, Result, Wire
from cpctl.dialects.v16 import (
    certificates,
    connectors,
    firmware,
    keys,
    lists,
    logs,
    reservations,
    smart_charging,
    triggers,
    vendors,
)
from cpctl.dialects.v16.answers import YES_OR_NO, Answer, Confirmation, Handler, status

# Where the messages outside Core are translated.
BLOCKS = (lists, reservations, smart_charging, triggers, logs, firmware, certificates, vendors)


# --- requests --------------------------------------------------------------------------------


def _change_availability(wire: Wire, ctx: RenderContext) -> Request | Answer:
    operative = wire["type"] == "Operative"
    number = wire["connectorId"]
    if number == 0:
        return AvailabilityRequested(ctx.new_request(), operative)
    place = connectors.from_wire(ctx.layout, number)
    if place is None:
        return status("Rejected")
    evse, connector = place
    alone = connectors.siblings(ctx.layout, evse) == 1
    return AvailabilityRequested(ctx.new_request(), operative, evse, None if alone else connector)


def _change_configuration(wire: Wire, ctx: RenderContext) -> Request | Answer:
    key = keys.find(wire["key"], ctx.layout)
    if key is None:
        return status("NotSupported")
    try:
        text = keys.new_value(key, wire["value"], ctx.layout)
    except SettingError:
        return status("Rejected")
    assert key.setting is not None  # a derived key is read-only
    return SettingChangeRequested(ctx.new_request(), key.setting, text)


def _clear_cache(wire: Wire, ctx: RenderContext) -> Request | Answer:
    if not ctx.settings.flag("auth.cache_enabled"):
        return status("Rejected")  # 16.CACHE.6
    return ClearCacheRequested(ctx.new_request())


def _get_configuration(wire: Wire, ctx: RenderContext) -> Request | Answer:
    asked = wire.get("key") or ()
    too_many = len(asked) > keys.GET_CONFIGURATION_MAX_KEYS
    if too_many and ctx.settings.text("compat.too_many_keys") == "error":
        return CallError("OccurenceConstraintViolation",
                         f"at most {keys.GET_CONFIGURATION_MAX_KEYS} keys")
    if not asked:
        return Result({"configurationKey": [_told(key, ctx) for key in keys.listed(ctx.layout)]})
    known: dict[str, keys.Key] = {}
    unknown: dict[str, None] = {}
    for name in asked:
        key = keys.find(name, ctx.layout)
        if key is None:
            unknown[name] = None
        else:
            known[key.name] = key
    payload: Wire = {"configurationKey": [_told(key, ctx) for key in known.values()]}
    if unknown:
        payload["unknownKey"] = list(unknown)
    return Result(payload)


def _told(key: keys.Key, ctx: RenderContext) -> Wire:
    """A secret is listed without its value (16.CONF.1)."""
    told: Wire = {"key": key.name, "readonly": keys.is_read_only(key, ctx.layout)}
    if key.access is not Access.WRITE_ONLY:
        told["value"] = keys.reading(key, ctx.settings, ctx.layout)
    return told


def _remote_start(wire: Wire, ctx: RenderContext) -> Request | Answer:
    """With a charging profile that cannot be, the whole request is refused (16.RSTART.5)."""
    if ctx.registration is not Registration.ACCEPTED:
        return status("Rejected")  # 16.BOOT.5
    evse = connector = None
    if "connectorId" in wire:
        place = connectors.from_wire(ctx.layout, wire["connectorId"])
        if place is None:
            return status("Rejected")
        evse, connector = place
    profile = smart_charging.of_remote_start(wire)
    if isinstance(profile, Result):
        return profile
    return StartRequested(ctx.new_request(), IdToken(wire["idTag"]), evse, connector,
                          ctx.settings.flag("auth.remote_needs_authorization"), profile=profile)


def _remote_stop(wire: Wire, ctx: RenderContext) -> Request | Answer:
    if ctx.registration is not Registration.ACCEPTED:
        return status("Rejected")  # 16.BOOT.5
    session = ctx.session_of(wire["transactionId"])
    if session is None:
        return status("Rejected")  # 16.RSTOP.1
    return StopRequested(ctx.new_request(), session)


def _reset(wire: Wire, ctx: RenderContext) -> Request | Answer:
    kind = ResetKind.HARD if wire["type"] == "Hard" else ResetKind.SOFT
    return ResetRequested(ctx.new_request(), kind)


def _unlock_connector(wire: Wire, ctx: RenderContext) -> Request | Answer:
    place = connectors.from_wire(ctx.layout, wire["connectorId"])
    if place is None:
        return status("NotSupported")  # 16.UNLOCK.1: an unknown connector, and 0
    return UnlockRequested(ctx.new_request(), *place)


HANDLERS: Mapping[str, Handler] = {
    "ChangeAvailability": _change_availability,
    "ChangeConfiguration": _change_configuration,
    "ClearCache": _clear_cache,
    "GetConfiguration": _get_configuration,
    "RemoteStartTransaction": _remote_start,
    "RemoteStopTransaction": _remote_stop,
    "Reset": _reset,
    "UnlockConnector": _unlock_connector,
    **{action: handler for block in BLOCKS for action, handler in block.HANDLERS.items()},
}


# --- replies ---------------------------------------------------------------------------------

# Action -> outcome -> status, or who words the confirmation.
REPLIES: Mapping[str, Confirmation] = {
    "ChangeAvailability": ({Outcome.ACCEPTED: "Accepted", Outcome.SCHEDULED: "Scheduled"},
                           "Rejected"),
    "ChangeConfiguration": ({Outcome.ACCEPTED: "Accepted",
                             Outcome.REBOOT_REQUIRED: "RebootRequired",
                             Outcome.NOT_SUPPORTED: "NotSupported",
                             Outcome.UNKNOWN: "NotSupported"}, "Rejected"),
    "ClearCache": YES_OR_NO,
    "RemoteStartTransaction": YES_OR_NO,
    "RemoteStopTransaction": YES_OR_NO,
    "Reset": ({Outcome.ACCEPTED: "Accepted", Outcome.SCHEDULED: "Accepted"}, "Rejected"),
    "UnlockConnector": ({Outcome.UNLOCKED: "Unlocked", Outcome.ACCEPTED: "Unlocked",
                         Outcome.NOT_SUPPORTED: "NotSupported",
                         Outcome.UNKNOWN: "NotSupported"}, "UnlockFailed"),
    **{action: words for block in BLOCKS for action, words in block.REPLIES.items()},
}


def reply(action: str, said: Reply, ctx: RenderContext) -> Answer:
    """The confirmation that says what was decided."""
    words = REPLIES[action]
    if callable(words):
        return words(said, ctx)
    known, otherwise = words
    return status(known.get(said.outcome, otherwise))
