"""Certificates for the technician: what is there, until when, for what; asking for a new one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from cpctl.api import wire
from cpctl.api.app import App, Table
from cpctl.api.args import Args
from cpctl.api.pictures import time_of
from cpctl.api.server import Caller, Right
from cpctl.api.wire import ApiError
from cpctl.core.jobs import CertificateUse

SOON = timedelta(days=30)
OWN = "ChargePointCertificate"
CLIENT_PROFILE = 3
_WORDS = {CertificateUse.CSMS_ROOT: "CentralSystemRootCertificate"}

Check = dict[str, Any]


class CertificateBook:
    """The store of certificates, seen from the technician's side."""

    def __init__(self, app: App):
        self._app = app

    def table(self) -> Table:
        return {
            "certificates.list": (Right.READ, self.list),
            "certificates.renew": (Right.ACT, self.renew),
        }

    async def list(self, args: Args, caller: Caller) -> Any:
        """All certificates; files of the configuration that are used from their own place; keys
        whose certificate is awaited. No private key is told."""
        args.done()
        store = self._app.certificates
        state = store.state
        return {
            "certificates": [_told(self._app, one) for one in state.certificates],
            "files": [{"use": _use(one.use), "path": str(one.path)} for one in store.waiting],
            "requests": [{"made": time_of(one.made)} for one in state.pending],
            "renewal": None if state.renewal is None else {
                "tries": state.renewal.tries, "next": time_of(state.renewal.next_at)},
        }

    async def renew(self, args: Args, caller: Caller) -> Any:
        """Ask the central system for a new certificate of the station, with a new key."""
        args.done()
        if not self._app.loop.settings.text("security.cpo_name"):
            raise ApiError(wire.REFUSED, "the operator's name is not set",
                           'cpctl settings set CpoName "…"')
        if not self._app.loop.picture.online:
            raise ApiError(wire.REFUSED, "the central system is not connected", "cpctl status")
        self._app.services.certificates.sign_wanted()
        return {"outcome": "accepted"}


def _use(use: CertificateUse | None) -> str:
    return OWN if use is None else _WORDS.get(use, use.value)


def _told(app: App, one: Any) -> dict[str, Any]:
    return {
        "use": _use(one.use), "subject": one.subject, "issuer": one.issuer, "serial": one.serial,
        "fingerprint": one.fingerprint, "not_before": time_of(one.not_before),
        "not_after": time_of(one.not_after), "state": _state(app, one),
        "in_use": _in_use(app, one), "fallback": one.fallback, "file": one.file,
    }


def _state(app: App, one: Any) -> str:
    now = app.now()
    if not one.described or not now.quality.trusted:
        return "unknown"
    if now.utc < one.not_before:
        return "not valid yet"
    if now.utc >= one.not_after:
        return "expired"
    return "expires soon" if _ends_soon(one, now.utc) else "valid"


def _ends_soon(one: Any, utc: datetime) -> bool:
    """Within a month; of a short life within its last fifth, when it should be replaced."""
    return bool(one.not_after - utc <= min(SOON, (one.not_after - one.not_before) / 5))


def _in_use(app: App, one: Any) -> bool:
    """A root of the present connection; of the station's own the one that would be shown."""
    store = app.certificates
    if one.use is not None:
        return bool(store.in_use(one))
    shown = store.client_credentials()
    return bool(shown and shown[0].cert.name == one.file)


def certificate_checks(app: App) -> Iterator[Check]:
    """What a doctor looks at: expiry, renewal, and the clock that all dates depend on."""
    store, settings = app.certificates, app.loop.settings
    told = [_told(app, one) for one in store.state.certificates]
    for one in told:
        bad = one["state"] in ("expired", "expires soon", "not valid yet")
        matters = one["use"] != OWN or one["in_use"] or not bad
        if bad and matters:
            yield _check(f"certificate {one['subject']}", False,
                         f"{one['state']} ({one['not_before'][:10]} to {one['not_after'][:10]})",
                         _remedy(one))
    if told and all(one["state"] == "valid" for one in told):
        first = min(one["not_after"] for one in told)
        yield _check("certificates", True, f"{len(told)} valid, the first ends {first[:10]}")
    profile = settings.integer("link.security_profile")
    if profile == CLIENT_PROFILE or store.state.of(None):
        named = bool(settings.text("security.cpo_name"))
        yield _check("renewal", named, "possible" if named else "CpoName is not set",
                     'cpctl settings set CpoName "…", the name that the certificate is to bear')
    if profile == CLIENT_PROFILE and not store.client_credentials():
        yield _check("own certificate", False, "there is none",
                     "set [csms] client_cert_file, or have one signed: cpctl certificates renew")
    if profile > 1 or app.config.csms.url.startswith("wss:"):
        now = app.now()
        yield _check("certificate dates", now.quality.trusted,
                     "checked" if now.quality.trusted else "the clock is not set yet",
                     "connect to the central system or set up NTP")


def _remedy(one: dict[str, Any]) -> str:
    if one["use"] == OWN:
        return "cpctl certificates renew, and see whether the central system answers"
    return "have the central system install its successor"


def _check(name: str, good: bool, finding: str, next_step: str = "") -> Check:
    return {"check": name, "good": good, "finding": finding, "next": "" if good else next_step}
