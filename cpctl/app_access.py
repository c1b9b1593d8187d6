"""What the station can get in with: configuration, settings and the store of certificates together.

Which of it is tried is decided by `link/route.py`, what may be changed by `core/security.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cpctl.core import security
from cpctl.core.events import CredentialsChanged

if TYPE_CHECKING:
    from pathlib import Path

    from cpctl.app_home import Home
    from cpctl.link.route import Choices, Itinerary


class AccessDesk:
    """Built with the link; `start` once the core has booted."""

    def __init__(self, app: Home) -> None:
        self._app = app

    def itinerary(self) -> Itinerary:
        from cpctl.link.route import Itinerary

        return Itinerary(self.choices)

    def start(self) -> None:
        """Tell the core what there is, now and after each change."""
        self._tell()
        self._app.certificates.listen(self._tell)

    def choices(self) -> Choices:
        """Of each kind what is wanted first, then what falls back."""
        from cpctl.link.route import Choices

        app, csms, access = self._app, self._app.config.csms, self._app.loop.station.access
        settings = app.loop.settings
        profiles = (settings.integer("link.security_profile"), access.other_profile)
        passwords = [self._password(settings.text("link.password"))]
        if access.other_password is not None:
            passwords.append(self._password(access.other_password.text))
        return Choices(
            csms.url, app.config.station.identity, csms.url_tls,
            tuple(dict.fromkeys(one for one in profiles if one is not None)),
            tuple(dict.fromkeys(passwords)), self._trust(),
            tuple((str(one.cert), str(one.key)) for one in app.certificates.client_credentials()),
            csms.check_hostname)

    def _password(self, text: str) -> bytes | None:
        """E-32. "": that of the configuration, which may be of any length."""
        encoding = self._app.loop.settings.text("compat.authkey_encoding")
        given = text or self._app.config.csms.password
        return None if given is None else (
            security.password_bytes(given, encoding) or given.encode())

    def _trust(self) -> tuple[tuple[str, ...], ...]:
        """The sets of roots. Where no file names them the machine's own hold as well: a root that
        is installed for later must not lock the station out today."""
        sets = tuple(_texts(one) for one in self._app.certificates.trust_sets())
        alone = self._app.loop.settings.flag("security.additional_root_check")
        config = self._app.config
        named = config.csms.ca_file is not None or bool(config.certificates.csms_root)
        if not named and not (sets and alone):
            return (*sets, ())
        return sets

    def _tell(self) -> None:
        app = self._app
        now = app.now()
        encoding = app.loop.settings.text("compat.authkey_encoding")
        given = app.config.csms.password
        app.post(CredentialsChanged(
            password=given is not None and security.password_bytes(given, encoding) is not None,
            csms_root=bool(app.certificates.trust_sets()),
            certificate=any(not now.quality.trusted or now.utc < one.not_after
                            for one in app.certificates.client_credentials())))


def _texts(paths: tuple[Path, ...]) -> tuple[str, ...]:
    return tuple(str(one) for one in paths)
