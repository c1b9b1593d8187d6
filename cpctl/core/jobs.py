"""Words of what is carried out outside the core: logs, firmware, certificates, triggered messages.

Values only; no protocol version among them. The words are those of OCPP 2.0.1 and of the 1.6
security whitepaper, which agree; each dialect finds its own where it has fewer.
"""

from dataclasses import field
from datetime import datetime
from enum import Enum

from hal.late import dataclass


class Trigger(Enum):
    """A message that the central system wants to be sent now."""

    BOOT = "BootNotification"
    HEARTBEAT = "Heartbeat"
    STATUS = "StatusNotification"
    METER_VALUES = "MeterValues"
    LOG_STATUS = "LogStatusNotification"
    DIAGNOSTICS_STATUS = "DiagnosticsStatusNotification"
    FIRMWARE_STATUS = "FirmwareStatusNotification"
    SIGNED_FIRMWARE_STATUS = "SignedFirmwareStatusNotification"
    SIGN_CERTIFICATE = "SignChargePointCertificate"


class LogKind(Enum):
    DIAGNOSTICS = "DiagnosticsLog"
    SECURITY = "SecurityLog"


class LogStatus(Enum):
    IDLE = "Idle"
    UPLOADING = "Uploading"
    UPLOADED = "Uploaded"
    UPLOAD_FAILURE = "UploadFailure"
    BAD_MESSAGE = "BadMessage"
    PERMISSION_DENIED = "PermissionDenied"
    NOT_SUPPORTED = "NotSupportedOperation"
    CANCELED = "AcceptedCanceled"


class FirmwareStatus(Enum):
    IDLE = "Idle"
    DOWNLOAD_SCHEDULED = "DownloadScheduled"
    DOWNLOADING = "Downloading"
    DOWNLOAD_PAUSED = "DownloadPaused"
    DOWNLOADED = "Downloaded"
    DOWNLOAD_FAILED = "DownloadFailed"
    SIGNATURE_VERIFIED = "SignatureVerified"
    INVALID_SIGNATURE = "InvalidSignature"
    INSTALL_SCHEDULED = "InstallScheduled"
    INSTALL_REBOOTING = "InstallRebooting"
    INSTALLING = "Installing"
    VERIFICATION_FAILED = "InstallVerificationFailed"
    INSTALLATION_FAILED = "InstallationFailed"
    INSTALLED = "Installed"


class FirmwareFinding(Enum):
    """How far an installation came before this start."""

    NOTHING = "nothing"  # the old release is as it was
    ON_TRIAL = "on_trial"  # we are the new release, and have not proved ourselves yet
    INSTALLED = "installed"
    FAILED = "failed"  # we are the old release again


class CertificateUse(Enum):
    """What a certificate of the store is trusted for."""

    CSMS_ROOT = "CSMSRootCertificate"
    MANUFACTURER_ROOT = "ManufacturerRootCertificate"
    V2G_ROOT = "V2GRootCertificate"
    MO_ROOT = "MORootCertificate"


@dataclass(frozen=True)
class CertificateHash:
    """What names a certificate (RFC 6960): hashes in lower-case hex, serial without zeros ahead.

    `algorithm` is SHA256, SHA384 or SHA512.
    """

    algorithm: str
    issuer_name: str
    issuer_key: str
    serial: str


@dataclass(frozen=True)
class LogOrder:
    """What log to upload where. `job` is the central system's number for it; None: it has none
    (GetDiagnostics of 1.6). `retries` beside the first try, `retry_s` between them."""

    kind: LogKind
    url: str
    job: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    retries: int = 0
    retry_s: int = 60


@dataclass(frozen=True)
class FirmwareOrder:
    """What firmware to fetch from where. `job` None: an unsigned update of 1.6. `certificate`
    (PEM) and `signature` (base64) only with a signed one."""

    url: str = field(repr=False)  # may hold a password
    retrieve_at: datetime
    job: int | None = None
    install_at: datetime | None = None
    certificate: str = field(default="", repr=False)
    signature: str = field(default="", repr=False)
    retries: int = 0
    retry_s: int = 60


# --- what an answer may hold beside its outcome --------------------------------------------------


class Content:
    """Marker of what `Reply.content` may be."""


@dataclass(frozen=True)
class ListVersion(Content):
    version: int


@dataclass(frozen=True)
class LogFile(Content):
    """The name of the file that will be uploaded."""

    name: str


@dataclass(frozen=True)
class ContactorTimes(Content):
    """How long coil and auxiliary contact took, in ms; None: not seen, or none is fitted."""

    closed_ms: float | None
    opened_ms: float | None
    feedback: bool


@dataclass(frozen=True)
class Certificates(Content):
    """Installed certificates with their uses."""

    found: tuple[tuple[CertificateUse, CertificateHash], ...]


@dataclass(frozen=True)
class VendorAnswer(Content):
    """What a vendor's handler says beside its outcome."""

    text: str
