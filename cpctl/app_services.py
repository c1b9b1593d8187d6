"""What is carried out beside the core: who answers a delegated request, who tells what was asked.

Put together here; each service decides and does its own. A request that nobody takes is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cpctl.app_certificates import CertificateDesk
from cpctl.app_firmware import FirmwareDesk
from cpctl.app_logs import LogDesk
from cpctl.app_tell import Teller
from cpctl.core.effects import FirmwareWork, Tell
from cpctl.core.events import Request, VendorMessageReceived
from cpctl.core.jobs import Trigger
from cpctl.core.values import Outcome, Reply
from cpctl.runtime.vendors import Vendors
from cpctl.services.child import Children
from cpctl.services.token_list import TokenList

if TYPE_CHECKING:
    from cpctl.app_home import Home

Desk = Callable[[Any], None]


class Services:
    """One object per daemon; built when link and books are there."""

    def __init__(self, app: Home) -> None:
        self._app = app
        self.children = app.seams.children or Children()
        self.teller = Teller(app)
        self.vendors = Vendors(ask=app.ask_csms, answer=app.answer, spawn=app.spawn)
        self.vendors.start()
        self._desks: dict[type[Request], Desk] = {VendorMessageReceived: self.vendors.received}
        self.token_list = TokenList(
            app.authbook, settings=lambda: app.loop.settings, now=app.now, answer=app.answer,
            notify=app.link.notify, spawn=app.spawn)
        self._desks.update(self.token_list.desks)
        self.certificates = CertificateDesk(app, self.children)
        self._desks.update(self.certificates.desks())
        self.logs = LogDesk(app, self.children)
        self._desks.update(self.logs.desks())
        self.releases = FirmwareDesk(app, self.children, self.logs)
        self._desks.update(self.releases.desks())
        self.teller.others[Trigger.SIGN_CERTIFICATE] = self.certificates.sign_wanted

    def delegate(self, request: Request) -> None:
        """Hand a request to who answers it."""
        desk = self._desks.get(type(request))
        if desk is None:
            self._app.answer(request.request, Reply(Outcome.NOT_SUPPORTED, "not_supported"))
            return
        desk(request)

    def tell(self, effect: Tell) -> None:
        """Send a message that was asked for."""
        self.teller.tell(effect)

    def firmware(self, effect: FirmwareWork) -> None:
        """Fetch, drop, install, find or confirm a release."""
        self.releases.carry_out(effect)
