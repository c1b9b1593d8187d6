"""LocalAuthListManagement of 1.6: SendLocalList, GetLocalListVersion; a conflict as a status.

Source: OCPP 1.6 §3.5.2, §5.10, §5.15, §7.1, §7.47 with 16.LIST.*.
"""

from collections.abc import Mapping

from cpctl.core.effects import ListConflictTold
from cpctl.core.events import ListEntry, ListUpdateRequested, ListVersionRequested, Request
from cpctl.core.jobs import ListVersion
from cpctl.core.values import IdToken, Outcome, Reply
from cpctl.dialects.base import Call, RenderContext, Result, StatusReport, Wire
from cpctl.dialects.v16 import status
from cpctl.dialects.v16.answers import Answer, Confirmation, Handler, Reading, Telling, token_info

NO_LIST = -1  # §5.10: lists are not supported


def _send_local_list(wire: Wire, ctx: RenderContext) -> Request | Answer:
    entries = tuple(_entry(one) for one in wire.get("localAuthorizationList") or ())
    return ListUpdateRequested(ctx.new_request(), wire["updateType"] == "Full",
                               wire["listVersion"], entries)


def _entry(wire: Wire) -> ListEntry:
    info = wire.get("idTagInfo")
    return ListEntry(IdToken(wire["idTag"]), None if info is None else token_info(info))


def _version(wire: Wire, ctx: RenderContext) -> Request | Answer:
    return ListVersionRequested(ctx.new_request())


def _told_version(said: Reply, ctx: RenderContext) -> Answer:
    version = said.content.version if isinstance(said.content, ListVersion) else NO_LIST
    return Result({"listVersion": version})


def _conflict(item: ListConflictTold, ctx: RenderContext) -> tuple[Call, ...]:
    """16.LIST.5: of connector 0, whose status stays what it is."""
    station = status.reports(ctx.picture, ctx.layout)[0]
    return (status.call(StatusReport(None, 0, station.status, "LocalListConflict"), item.at, ctx),)


HANDLERS: Mapping[str, Handler] = {
    "GetLocalListVersion": _version,
    "SendLocalList": _send_local_list,
}
REPLIES: Mapping[str, Confirmation] = {
    "GetLocalListVersion": _told_version,
    "SendLocalList": ({Outcome.ACCEPTED: "Accepted", Outcome.VERSION_MISMATCH: "VersionMismatch",
                       Outcome.NOT_SUPPORTED: "NotSupported"}, "Failed"),
}
CALLS: Mapping[type, Telling] = {ListConflictTold: _conflict}
READINGS: Mapping[type, Reading] = {}
