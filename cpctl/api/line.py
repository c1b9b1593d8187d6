"""Methods about the link to the central system: its state, every frame, holding it down."""

from __future__ import annotations

from typing import Any

from cpctl.api import wire
from cpctl.api.app import App, Table
from cpctl.api.args import Args
from cpctl.api.plain import plain
from cpctl.api.server import Caller, Right
from cpctl.api.wire import ApiError
from cpctl.core.effects import SendVendorMessage
from cpctl.core.events import VendorMessageAnswered
from cpctl.core.values import Outcome

VENDOR_LIMIT, MESSAGE_LIMIT = 255, 50  # characters, of OCPP 1.6 and 2.x


class Line:
    """The link, seen from the technician's side."""

    def __init__(self, app: App):
        self._app = app

    def table(self) -> Table:
        return {
            "ocpp.tail": (Right.READ, self.tail),
            "ocpp.disconnect": (Right.ACT, self.disconnect),
            "ocpp.connect": (Right.ACT, self.connect),
            "ocpp.data_transfer": (Right.ACT, self.data_transfer),
        }

    def link(self) -> dict[str, Any]:
        """State of the link for `status`."""
        shown: dict[str, Any] = plain(self._app.link.state)
        online = bool(shown.pop("online", False))
        held = bool(shown.pop("held", False))
        word = "online" if online else ("held" if held else "offline")
        return {"state": word, "online": online, **shown}

    async def tail(self, args: Args, caller: Caller) -> Any:
        """The last frames, then a notification `ocpp.tail` with each further one."""
        last = args.whole_or_none("last")
        args.done()
        frames = self._app.tap.recent()
        caller.goes_on("ocpp.tail", lambda: self._app.tap.listen(
            lambda frame: caller.tell("ocpp.tail", plain(frame))))
        count = 20 if last is None else max(0, last)
        return {"frames": [plain(frame) for frame in frames[-count:]] if count else []}

    async def disconnect(self, args: Args, caller: Caller) -> Any:
        args.done()
        self._app.link.hold()
        return self.link()

    async def connect(self, args: Args, caller: Caller) -> Any:
        args.done()
        self._app.link.release()
        return self.link()

    async def data_transfer(self, args: Args, caller: Caller) -> Any:
        """Send a vendor's message; what the central system says to it."""
        vendor, message = args.text("vendor"), args.text_or_none("message")
        content = args.text_or_none("data")
        args.done()
        if len(vendor) > VENDOR_LIMIT or len(message or "") > MESSAGE_LIMIT:
            raise ApiError(wire.INVALID_PARAMS, "the vendor or message id is too long",
                           f"at most {VENDOR_LIMIT} and {MESSAGE_LIMIT} characters")
        for event in await self._app.ask_csms(SendVendorMessage(vendor, message, content)):
            if isinstance(event, VendorMessageAnswered) and event.outcome is not Outcome.FAILED:
                return {"outcome": event.outcome.value, "data": event.content}
        raise ApiError(wire.FAILED, "the central system did not answer",
                       "cpctl status shows the link, cpctl ocpp tail the frames")
