"""Every event: something happened. The only input of `station.step` besides time and settings.

Requests (of the central system or of a technician) are events too: they carry a `RequestId` and are
answered exactly once by an `Answer` effect. An event with `evse` None concerns the station.
"""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from cpctl.core.facts import TransactionEnded, TransactionSampled, TransactionStarted
from cpctl.core.faults import FaultCode
from cpctl.core.jobs import (
    CertificateHash,
    CertificateUse,
    FirmwareFinding,
    FirmwareOrder,
    FirmwareStatus,
    LogOrder,
    LogStatus,
    Trigger,
)
from cpctl.core.now import Now
from cpctl.core.profiles import ChargingProfile, Purpose, RateUnit
from cpctl.core.settings import shown
from cpctl.core.values import (
    BootCause,
    IdToken,
    Kept,
    Outcome,
    Registration,
    RequestId,
    ResetKind,
    TokenInfo,
    TokenSource,
)
from hal.late import dataclass
from hal.values import MeterReading, Offer, PilotState


class Event:
    """Marker of all events."""


# --- life of the process ---------------------------------------------------------------------


@dataclass(frozen=True)
class OpenSession:
    """A session the previous life left open, as its books tell.

    `started` None: a session without a transaction. `last_register_wh` and `last_at` come from the
    newest fact or saved register. `energised` is whether power may have flowed when we died.
    """

    session: int
    evse: int
    connector: int
    token: IdToken | None
    started: TransactionStarted | None
    last_register_wh: int | None
    last_at: Now
    next_report: int
    samples: tuple[TransactionSampled, ...] = ()
    planned_reason: str | None = None  # StopReason value recorded before a planned stop
    ended: TransactionEnded | None = None


@dataclass(frozen=True)
class Booted(Event):
    """The daemon starts. Coils are off already. `kept` is what `Keep` effects stored, `records`
    what `KeepRecord` effects did, by key."""

    cause: BootCause
    next_session: int
    open_sessions: tuple[OpenSession, ...] = ()
    latched: tuple[tuple[int | None, FaultCode], ...] = ()  # faults not cleared in the books
    kept: Mapping[str, str] = field(default_factory=dict)
    records: Mapping[str, Kept] = field(default_factory=dict)
    journal_good: bool = True
    journal_detail: str = ""  # what was found, when it is not


@dataclass(frozen=True)
class DeadlineReached(Event):
    """Time has come to `next_deadline`; also any step is free to notice that."""


@dataclass(frozen=True)
class ClockStepped(Event):
    """Wall time was set or corrected by `step_s`; schedules are to be computed anew."""

    step_s: float


@dataclass(frozen=True)
class ShutdownRequested(Event):
    """SIGTERM: wind down, end transactions (Reboot unless they are to be resumed). `power_fails`
    (SIGPWR): the mains are gone and a battery holds for a while; they end as PowerLoss."""

    power_fails: bool = False


# --- devices ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class PilotChanged(Event):
    """The pilot's state after debouncing. `state` None: the board answers with no valid state."""

    evse: int
    state: PilotState | None
    cable_a: float | None = None
    diode_ok: bool = True
    connector: int | None = None  # in which the plug is, where the board tells


@dataclass(frozen=True)
class ContactorReported(Event):
    """The gate closed or opened the coil, or its auxiliary contact changed.

    `closed` is the feedback, or the coil order where no auxiliary contact is fitted. `welded`: the
    gate waited for the settle time after a release and the contact still says closed.
    """

    evse: int
    closed: bool
    welded: bool = False


@dataclass(frozen=True)
class PowerReleased(Event):
    """The gate opened by itself, or a lease lapsed. `number` is the number of this release."""

    evse: int
    number: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class ReleaseNumbered(Event):
    """The gate carried out a `ReleasePower` of ours; orders must now say `after=number`."""

    evse: int
    number: int


@dataclass(frozen=True)
class EnergiseRefused(Event):
    """The gate did not close. `reasons` are the interlock's, or "stale"; `number` as it stands."""

    evse: int
    number: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class ContactorTested(Event):
    """A contactor test is over. `reasons` empty: passed, else what was in the way or went wrong.

    Times in ms from the order to the auxiliary contact, None where it was not seen to follow;
    `feedback`: one is fitted. `number` of the last release.
    """

    evse: int
    number: int
    reasons: tuple[str, ...]
    closed_ms: float | None = None
    opened_ms: float | None = None
    feedback: bool = True


@dataclass(frozen=True)
class OfferConfirmed(Event):
    """The pilot board took `offer`, the order `number` (0: none of this start); it is out now."""

    evse: int
    offer: Offer
    number: int


@dataclass(frozen=True)
class LockReported(Event):
    """Result of one attempt of the lock; `locked` is what is true now, `jammed` that it failed."""

    evse: int
    locked: bool
    jammed: bool = False


@dataclass(frozen=True)
class MeterRead(Event):
    """`asked_mono_ns`: when the reading was begun; None: it counts as taken now."""

    evse: int
    reading: MeterReading
    asked_mono_ns: int | None = None


@dataclass(frozen=True)
class InputChanged(Event):
    """A safety input. `good` False: tripped, open, broken wire. `evse` None: of the station."""

    evse: int | None
    name: str  # rcd, emergency_stop, door, temperature, ground, …
    good: bool


@dataclass(frozen=True)
class DeviceLost(Event):
    """A device stopped answering. `kind` as in the registry: meter, pilot, contactor, lock, …"""

    evse: int | None
    kind: str
    detail: str = ""


@dataclass(frozen=True)
class DeviceFound(Event):
    evse: int | None
    kind: str


@dataclass(frozen=True)
class FaultReported(Event):
    """Somebody below found a fault that has no event of its own (a simulated fault, a driver)."""

    evse: int | None
    code: FaultCode
    present: bool
    vendor_code: str = ""


@dataclass(frozen=True)
class CardPresented(Event):
    """A card was held to a reader. `evses` are those the reader serves; empty: all."""

    reader: str
    token: IdToken
    evses: tuple[int, ...] = ()


@dataclass(frozen=True)
class CardUnusable(Event):
    """A card whose identifier is random or unreadable."""

    reader: str
    evses: tuple[int, ...] = ()


# --- link ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LinkChanged(Event):
    online: bool
    registration: Registration


@dataclass(frozen=True)
class AuthorizationAnswered(Event):
    """The verdict on `Authorize(ask)`. `source` tells who gave it."""

    ask: int
    token: IdToken
    info: TokenInfo
    source: TokenSource


@dataclass(frozen=True)
class TransactionAnswered(Event):
    """The central system's verdict on a started (or ended) transaction's token.

    `token` is the one judged, for the cache; a verdict on a stop never revokes anything.
    """

    session: int
    info: TokenInfo
    token: IdToken | None = None


@dataclass(frozen=True)
class SecurityEventNoticed(Event):
    """Something that belongs into the security log; `kind` as `SecurityEventRaised` names it."""

    kind: str
    text: str = ""
    critical: bool = False


@dataclass(frozen=True)
class CredentialsChanged(Event):
    """What there is to get in with, beside the settings: a valid password in the configuration,
    a root certificate of the central system, a valid certificate of the station."""

    password: bool
    csms_root: bool
    certificate: bool


@dataclass(frozen=True)
class AccessProved(Event):
    """The central system has accepted us under this security profile. `other_password`: with the
    one that was to be replaced; None: no password was told."""

    profile: int
    other_password: bool | None = None


@dataclass(frozen=True)
class JournalFailed(Event):
    """The books cannot be written."""

    detail: str


@dataclass(frozen=True)
class JournalRecovered(Event):
    pass


@dataclass(frozen=True)
class FactAbandoned(Event):
    """A fact was given up or set aside; it stays visible in the books."""

    fact: int
    session: int | None
    reason: str


# --- jobs ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LogUploadMoved(Event):
    """How the upload of `order` is going; the last one of an order is an end state."""

    order: LogOrder
    status: LogStatus


@dataclass(frozen=True)
class FirmwareMoved(Event):
    """Where the update of `order` is; `detail` is for people."""

    order: FirmwareOrder
    status: FirmwareStatus
    detail: str = ""


@dataclass(frozen=True)
class FirmwareFound(Event):
    """Answers FindFirmware; also told unasked by a release on trial."""

    order: FirmwareOrder
    finding: FirmwareFinding
    detail: str = ""


@dataclass(frozen=True)
class CertificateSigningAnswered(Event):
    """Whether the central system has a certificate made for the CSR of `ask`."""

    ask: int
    accepted: bool


@dataclass(frozen=True)
class VendorMessageAnswered(Event):
    """What came of a message of a vendor's that we sent; told to who sent it, not to the core."""

    outcome: Outcome
    content: str | None = None


# --- requests --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request(Event):
    """Marker of all requests; `Answer(request, …)` is owed exactly once."""

    request: RequestId


@dataclass(frozen=True)
class StartRequested(Request):
    """Remote start, or the technician's. `evse`/`connector` None: the station chooses.

    `authorize` True: the token must pass authorization as a card would.
    """

    token: IdToken
    evse: int | None = None
    connector: int | None = None
    authorize: bool = False
    remote_start: int | None = None
    profile: ChargingProfile | None = None


@dataclass(frozen=True)
class StopRequested(Request):
    """Stop the transaction of `session` (from the central system) or on `evse` (local).

    A local stop carries a token and obeys the rules of a card.
    """

    session: int | None = None
    evse: int | None = None
    token: IdToken | None = None


@dataclass(frozen=True)
class UnlockRequested(Request):
    evse: int
    connector: int = 1


@dataclass(frozen=True)
class AvailabilityRequested(Request):
    """`evse` None: the whole station. `connector` None: the whole EVSE."""

    operative: bool
    evse: int | None = None
    connector: int | None = None


@dataclass(frozen=True)
class ResetRequested(Request):
    kind: ResetKind


@dataclass(frozen=True)
class SettingChangeRequested(Request):
    """`setting` is an id of `settings.py`, `text` its canonical text. A secret is not shown."""

    setting: str
    text: str

    def __repr__(self) -> str:
        return (f"SettingChangeRequested({self.request}, {self.setting!r},"
                f" {shown(self.setting, self.text)})")


@dataclass(frozen=True)
class ClearCacheRequested(Request):
    pass


@dataclass(frozen=True)
class ClearFaultRequested(Request):
    """A technician declares a latched fault mended; needs the EVSE inoperative and idle."""

    evse: int | None
    code: FaultCode | None = None


@dataclass(frozen=True)
class ContactorTestRequested(Request):
    """A technician wants to see the contactor close and open; needs the EVSE inoperative and idle,
    and nothing plugged in."""

    evse: int


@dataclass(frozen=True)
class VendorMessageReceived(Request):
    """DataTransfer of the central system."""

    vendor: str
    message: str | None
    content: str | None


@dataclass(frozen=True)
class PresenceRequested(Request):
    """Nothing but an answer is wanted (used for requests that the dialect renders from views)."""


@dataclass(frozen=True)
class ListEntry:
    """One token of a local list; `info` None: to be taken out (differential only)."""

    token: IdToken
    info: TokenInfo | None


@dataclass(frozen=True)
class ListUpdateRequested(Request):
    """SendLocalList; `full` False: differential."""

    full: bool
    version: int
    entries: tuple[ListEntry, ...] = ()


@dataclass(frozen=True)
class ListVersionRequested(Request):
    """Answered with a `ListVersion`."""


@dataclass(frozen=True)
class ReserveRequested(Request):
    """Keep an EVSE for `token`, or for a token of `group`. `evse` None: any (connector 0)."""

    id: int
    expires: datetime
    token: IdToken
    group: IdToken | None = None
    evse: int | None = None
    connector: int | None = None


@dataclass(frozen=True)
class CancelReservationRequested(Request):
    id: int


@dataclass(frozen=True)
class TriggerRequested(Request):
    """A message is wanted. `evse` None: of all that there are, the station included."""

    what: Trigger
    evse: int | None = None
    connector: int | None = None


@dataclass(frozen=True)
class SetProfileRequested(Request):
    """`evse` None: of the station. `connector` None: any of the EVSE."""

    profile: ChargingProfile
    evse: int | None = None
    connector: int | None = None


@dataclass(frozen=True)
class ClearProfilesRequested(Request):
    """All criteria that are given must fit; `id` alone decides when given. `everywhere` True:
    no EVSE was named; else `evse` None means the station's own profiles."""

    id: int | None = None
    everywhere: bool = True
    evse: int | None = None
    purpose: Purpose | None = None
    stack_level: int | None = None
    connector: int | None = None


@dataclass(frozen=True)
class CompositeRequested(Request):
    """Answered with a `CompositeSchedule`. `evse` None: the station's connection to the grid."""

    duration_s: int
    evse: int | None = None
    unit: RateUnit | None = None
    connector: int | None = None


@dataclass(frozen=True)
class LogRequested(Request):
    """Answered with a `LogFile`; progress comes as LogUploadMoved."""

    order: LogOrder


@dataclass(frozen=True)
class FirmwareRequested(Request):
    """Update the firmware; progress is told as FirmwareStatusChanged facts."""

    order: FirmwareOrder


@dataclass(frozen=True)
class FirmwareChecked(Request):
    """A FirmwareRequested with a certificate comes back with the verdict on it: ACCEPTED,
    INVALID_CERTIFICATE, REVOKED_CERTIFICATE, or REJECTED when there can be no update at all."""

    order: FirmwareOrder
    verdict: Outcome
    detail: str = ""


@dataclass(frozen=True)
class CertificateInstallRequested(Request):
    use: CertificateUse
    pem: str


@dataclass(frozen=True)
class CertificateDeleteRequested(Request):
    hash: CertificateHash


@dataclass(frozen=True)
class CertificatesRequested(Request):
    """Answered with `Certificates`. `uses` empty: all."""

    uses: tuple[CertificateUse, ...] = ()


@dataclass(frozen=True)
class CertificateSignedRequested(Request):
    """The certificate (chain, PEM) that was made for our CSR."""

    pem: str
