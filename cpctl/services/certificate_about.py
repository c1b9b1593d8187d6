"""What a child process found out about a certificate, and how it is told over a pipe."""

from datetime import datetime
from typing import Any

from cpctl.core.jobs import CertificateHash, CertificateUse
from cpctl.services.child import ChildFailed
from cpctl.store.certificates import Certificate, file_of
from cpctl.store.errors import FactUnreadable
from cpctl.store.facts_json import nested_codec
from hal.late import dataclass


@dataclass(frozen=True)
class About:
    """`fingerprint` and `public_key`: SHA-256, hex, of the certificate in DER and of its
    SubjectPublicKeyInfo. `hashes`: all by which it may be asked for, the proper ones first."""

    subject: str
    issuer: str
    serial: str
    fingerprint: str
    public_key: str
    not_before: datetime
    not_after: datetime
    hashes: tuple[CertificateHash, ...]

    def certificate(self, use: CertificateUse | None, added: datetime, *, key: str = ""
                    ) -> Certificate:
        """As the store keeps it."""
        return Certificate(
            file_of(use, self.fingerprint), use, added, self.subject, self.issuer, self.serial,
            self.fingerprint, self.not_before, self.not_after, self.hashes, key)


def about_of(told: Any) -> About:
    """What a child told, as a value. Raises ChildFailed."""
    try:
        about: About = nested_codec(About)[1](told)
    except (KeyError, TypeError, ValueError, FactUnreadable) as error:
        raise ChildFailed("died", f"not a description of a certificate: {error}") from error
    return about


def told_of(about: About) -> Any:
    """`about` as JSON."""
    return nested_codec(About)[0](about)
