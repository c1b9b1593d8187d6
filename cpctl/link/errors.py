"""What can go wrong with the link to the central system."""

from enum import Enum


class LinkError(Exception):
    """The link could not do its job. The message names thing, finding and next step."""


class Why(Enum):
    """What kept us from connecting, as far as the next try depends on it.

    Each value is the security event that it is; "": none.
    """

    NETWORK = ""
    PASSWORD = "FailedToAuthenticateAtCentralSystem"
    OUR_CERTIFICATE = "FailedToAuthenticateAtCentralSystem "  # refused, or demanded and missing
    THEIR_CERTIFICATE = "InvalidCentralSystemCertificate"
    THEIR_DATES = "InvalidCentralSystemCertificate "  # expired or not yet valid, by our clock
    TLS_VERSION = "InvalidTLSVersion"
    CIPHERS = "InvalidTLSCipherSuite"
    TLS = " "  # some other trouble with TLS

    @property
    def security_event(self) -> str:
        return self.value.strip()


class ConnectRefused(LinkError):
    """No connection came about. `status` is the HTTP status when the other side gave one."""

    def __init__(self, finding: str, *, status: int | None = None, why: Why = Why.NETWORK) -> None:
        super().__init__(finding)
        self.status = status
        self.why = Why.PASSWORD if status in (401, 403) else why


class CertificateRefused(ConnectRefused):
    """The central system's certificate does not hold, or TLS failed otherwise."""

    def __init__(self, finding: str, *, why: Why = Why.THEIR_CERTIFICATE) -> None:
        super().__init__(finding, why=why)


class ConnectionLost(LinkError):
    """The connection is gone. `code` and `reason` as RFC 6455 closes; 1006: without a word."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"connection lost ({code} {reason})".replace(" )", ")"))
        self.code = code
        self.reason = reason
