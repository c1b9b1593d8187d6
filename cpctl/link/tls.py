"""TLS to the central system: what we offer and accept, and why a handshake failed, by name.

TLS 1.2 with the suites of the whitepaper, or 1.3; chain and host name verified, no compression, no
renegotiation. A server that only hangs up is asked once more by a handshake over which nothing is
said, to see whether its version or its suites are the reason.

The suites of 1.3 are OpenSSL's own, since the ssl module of Python 3.11 to 3.14 cannot choose among
them: AES-GCM in both lengths, and ChaCha20-Poly1305, which A00.FR.318 does not name and A00.FR.319
does not forbid.
Source: security whitepaper edition 3, A00.FR.307 to 322; X509_V_* of OpenSSL's x509_vfy.h.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from datetime import datetime, timezone
from typing import Any, NamedTuple

from cpctl.link.errors import CertificateRefused, ConnectRefused, Why
from cpctl.link.route import Tls

SUITES = (
    "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384",
    "AES128-GCM-SHA256", "AES256-GCM-SHA384",
)
VERSIONS = ("TLSv1.2", "TLSv1.3")
PROBE_LIMIT_S = 10.0
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME

_NOT_YET_VALID, _EXPIRED, _HOST, _ADDRESS = 9, 10, 62, 64
_FINDINGS = {  # by verify_code: the finding and the next step
    _EXPIRED: ("its certificate has expired", "have it renewed there, and look at our clock"),
    _NOT_YET_VALID: ("its certificate is not valid yet",
                     "look at our clock; else have it replaced there"),
    _HOST: ("its certificate is for another host", "check [csms] url"),
    _ADDRESS: ("its certificate is for another host", "check [csms] url"),
    18: ("its certificate is self-signed", "put it into [csms] ca_file if it is to be trusted"),
    19: ("its chain ends in a root that is not trusted here", "check [csms] ca_file"),
    20: ("its certificate is signed by a root that is not trusted here", "check [csms] ca_file"),
    21: ("its certificate is signed by a root that is not trusted here", "check [csms] ca_file"),
}
_OLD_VERSION = ("UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE",
                "UNSUPPORTED_SSL_VERSION")
_WEAK = ("INSUFFICIENT_SECURITY", "NO_SHARED_CIPHER", "DH_KEY_TOO_SMALL", "WRONG_CIPHER")
_OUR_CERTIFICATE = ("ALERT_UNKNOWN_CA", "ALERT_BAD_CERTIFICATE", "CERTIFICATE_REQUIRED",
                    "ALERT_CERTIFICATE", "UNSUPPORTED_CERTIFICATE", "ALERT_ACCESS_DENIED")


class Peer(NamedTuple):
    """The central system's certificate. `chain` in DER, its own first, the root last."""

    not_before: datetime
    not_after: datetime
    chain: tuple[bytes, ...]


class Observed(ssl.SSLObject):
    """Keeps what the handshake came to, which asyncio does not tell when it fails."""

    trouble: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        context = self.context
        assert isinstance(context, Context)
        context.observed = self
        super().do_handshake()
        if context.valid_at is not None:
            self._must_hold_at(context.valid_at)

    def _must_hold_at(self, moment: datetime) -> None:
        """Before anything is said: raises as OpenSSL would by its own clock."""
        dates = peer(self)
        code = (_EXPIRED if dates is None or moment > dates.not_after
                else _NOT_YET_VALID if moment < dates.not_before else 0)
        if code:
            error = ssl.SSLCertVerificationError(1, "its dates do not hold")
            error.verify_code, error.verify_message = code, "its dates do not hold"
            raise error

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        try:
            return super().read(len, buffer)
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            raise
        except ssl.SSLError as error:
            self.trouble = error
            raise


class Context(ssl.SSLContext):
    """A client's context that remembers its one handshake."""

    observed: Observed | None = None
    valid_at: datetime | None = None
    sslobject_class = Observed


def context_for(tls: Tls) -> Context:
    """What we offer and accept. Raises ConnectRefused when our own files cannot be used."""
    context = Context(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join(SUITES))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # 7.1: each root that is installed is an anchor, whoever signed it
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_TRUSTED_FIRST
    if not tls.check_time:
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
        context.valid_at = tls.valid_at
    try:
        for file in tls.trust:
            context.load_verify_locations(cafile=file)
        if not tls.trust:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        if tls.client_cert_file is not None:
            context.load_cert_chain(tls.client_cert_file, tls.client_key_file)
    except OSError as error:
        raise ConnectRefused(f"certificate files cannot be used: {error}; check [csms] ca_file,"
                             " client_cert_file and client_key_file", why=Why.TLS) from error
    context.check_hostname = tls.check_hostname
    return context


def refused(url: str, error: ssl.SSLError, context: Context, tls: Tls) -> ConnectRefused:
    """Why the handshake failed, as far as the other side or our own check says so."""
    if isinstance(error, ssl.SSLCertVerificationError):
        found = _FINDINGS.get(error.verify_code)
        finding, step = found or (f"its certificate does not hold: {error.verify_message}",
                                  "check [csms] ca_file and the certificate there")
        dates = error.verify_code in (_EXPIRED, _NOT_YET_VALID)
        return CertificateRefused(f"{url}: {finding}; {step}",
                                  why=Why.THEIR_DATES if dates else Why.THEIR_CERTIFICATE)
    reason = error.reason or str(error)
    if any(one in reason for one in _OLD_VERSION):
        return _too_old(url, "an old version")
    if any(one in reason for one in _WEAK):
        return _too_weak(url, "none of ours")
    if any(one in reason for one in _OUR_CERTIFICATE):
        return _ours(url, tls, reason)
    if "HANDSHAKE_FAILURE" in reason:  # before their hello: nothing in common; after: our turn
        return _ours(url, tls, reason) if _answered(context) else _too_weak(url, "none of ours")
    if "WRONG_VERSION_NUMBER" in reason or "HTTP_REQUEST" in reason:
        return ConnectRefused(f"{url}: no TLS is spoken there; check the port, or write ws:// into"
                              " [csms] url", why=Why.TLS)
    return ConnectRefused(f"{url}: TLS failed: {reason}; check the TLS settings there",
                          why=Why.TLS)


def hung_up(url: str, context: Context, tls: Tls) -> ConnectRefused | None:
    """The other side closed without an alert, or one came behind the handshake. None: it did not
    even answer our hello."""
    observed = context.observed
    if observed is not None and observed.trouble is not None:
        return refused(url, observed.trouble, context, tls)
    return _ours(url, tls, "it hung up after the handshake") if _answered(context) else None


def _answered(context: Context) -> bool:
    return context.observed is not None and context.observed.cipher() is not None


def _ours(url: str, tls: Tls, reason: str) -> ConnectRefused:
    finding, step = "our certificate was refused", "check it with the operator"
    if tls.client_cert_file is None:
        finding = "a client certificate seems to be demanded and we show none"
        step = "security profile 3 shows one ([csms] client_cert_file)"
    return ConnectRefused(f"{url}: {finding} ({reason}); {step}", why=Why.OUR_CERTIFICATE)


def _too_old(url: str, offered: str) -> ConnectRefused:
    return ConnectRefused(f"{url}: of TLS only {offered} is offered there, and 1.2 is the least;"
                          " have the central system updated", why=Why.TLS_VERSION)


def _too_weak(url: str, offered: str) -> ConnectRefused:
    return ConnectRefused(f"{url}: of the cipher suites offered there ({offered}) none is allowed;"
                          " have the central system offer AES-GCM with ECDHE", why=Why.CIPHERS)


async def what_is_offered(url: str, host: str, port: int) -> ConnectRefused | None:
    """A handshake that takes anything, to see what a server that only hangs up speaks; nothing is
    sent over it. None: it tells nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    try:
        async with asyncio.timeout(PROBE_LIMIT_S):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, TimeoutError):
        return None
    try:
        spoken = writer.get_extra_info("ssl_object")
        version, suite = spoken.version(), spoken.cipher()[0]
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    if version not in VERSIONS:
        return _too_old(url, version)
    return _too_weak(url, suite) if version == "TLSv1.2" and suite not in SUITES else None


def peer(connected: ssl.SSLObject) -> Peer | None:
    """Who is at the other end of a handshake that succeeded."""
    told = connected.getpeercert()
    if not told:
        return None
    return Peer(_moment(str(told["notBefore"])), _moment(str(told["notAfter"])),
                _chain(connected))


def _moment(text: str) -> datetime:
    seconds = ssl.cert_time_to_seconds(text)
    return datetime.fromtimestamp(seconds, timezone.utc)  # noqa: UP017


def _chain(connected: Any) -> tuple[bytes, ...]:
    """The verified chain; public from Python 3.13 on, before that of the inner object."""
    if hasattr(connected, "get_verified_chain"):
        return tuple(connected.get_verified_chain())
    inner: Any = getattr(connected, "_sslobj", None)
    if not hasattr(inner, "get_verified_chain"):
        return (connected.getpeercert(True),)
    return tuple(ssl.PEM_cert_to_DER_cert(one.public_bytes())
                 for one in inner.get_verified_chain())
