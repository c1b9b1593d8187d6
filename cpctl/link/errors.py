"""What can go wrong with the link to the central system."""


class LinkError(Exception):
    """The link could not do its job. The message names thing, finding and next step."""


class ConnectRefused(LinkError):
    """No connection came about. `status` is the HTTP status when the other side gave one."""

    def __init__(self, finding: str, *, status: int | None = None) -> None:
        super().__init__(finding)
        self.status = status


class CertificateRefused(ConnectRefused):
    """The central system's certificate does not hold, or TLS failed otherwise."""


class ConnectionLost(LinkError):
    """The connection is gone. `code` and `reason` as RFC 6455 closes; 1006: without a word."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"connection lost ({code} {reason})".replace(" )", ")"))
        self.code = code
        self.reason = reason
