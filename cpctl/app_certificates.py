"""The certificate service, put together when it is first needed: most stations never do.

The store itself is opened with the books (`open_certificates`); whoever makes connections asks it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cpctl.core.effects import Query
from cpctl.core.events import Event, Request
from cpctl.store.certificates import FOLDER, CertificateStore, Configured

if TYPE_CHECKING:
    from cpctl.app_home import Home
    from cpctl.config import Config
    from cpctl.core.now import Now
    from cpctl.core.views import StationPicture
    from cpctl.services.certificates import Certificates
    from cpctl.services.child import Children
    from cpctl.store.db import Writer


async def open_certificates(config: Config, writer: Writer, now: Callable[[], Now]
                            ) -> CertificateStore:
    """The certificates of the station, and those that its configuration names."""
    return await CertificateStore.open(config.store.path / FOLDER, writer, now,
                                       configured(config))


def configured(config: Config) -> Configured:
    csms, named = config.csms, config.certificates
    certificate, key = csms.client_cert_file, csms.client_key_file
    return Configured(
        (*(() if csms.ca_file is None else (csms.ca_file,)), *named.csms_root),
        named.manufacturer_root, None if certificate is None or key is None else (certificate, key))


class CertificateDesk:
    """The door to the service."""

    def __init__(self, app: Home, children: Children) -> None:
        self._app = app
        self._children = children
        self._service: Certificates | None = None
        self._accepted = False

    def start(self) -> None:
        """With certificates in the store or in the configuration there is something to see to."""
        store = self._app.certificates
        if store.state.files or store.waiting:
            self._serving()

    def take(self, request: Request) -> None:
        """Answer a request about certificates."""
        self._serving().take(request)

    def sign_wanted(self) -> None:
        """A request for a new certificate of the station is wanted."""
        self._serving().sign_wanted()

    def look(self) -> None:
        """The clock was set: see what is due."""
        if self._service is not None:
            self._service.look()

    def _serving(self) -> Certificates:
        if self._service is None:
            from cpctl.services.certificates import Around, Certificates

            app = self._app
            self._service = Certificates(app.certificates, self._children, Around(
                ask=self._ask, answer=app.answer, post=app.post,
                settings=lambda: app.loop.settings, now=app.now, online=app.is_online,
                reconnect=app.link.reconnect,
                shows_certificate=lambda: app.loop.settings.integer("link.security_profile") == 3,
                spawn=app.spawn,
                name=app.identity.serial_number or app.config.station.identity))
            app.spawn(self._service.run(), "certificates")
            app.loop.listen(self._pictured)
        return self._service

    async def _ask(self, query: Query, asked_for: bool) -> tuple[Event, ...]:
        return await self._app.link.ask(query, triggered=asked_for)

    def _pictured(self, picture: StationPicture) -> None:
        """The central system has taken us: what waited for it may be asked now."""
        accepted, self._accepted = self._accepted, self._app.is_online()
        if self._accepted and not accepted:
            self.look()

    def desks(self) -> dict[type[Request], Any]:
        from cpctl.core import events

        return dict.fromkeys((
            events.CertificateDeleteRequested, events.CertificateInstallRequested,
            events.CertificateSignedRequested, events.CertificatesRequested), self.take)
