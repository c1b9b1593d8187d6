"""Every effect: something shall be done. The only output of `station.step` besides the state.

Also the notices (news not owed after a lost link), queries and jobs; facts are in `facts.py`. The
executor carries effects out in the order of law 3: release, record, answer, energise, tell; within
a grade in the order given.
"""

from dataclasses import field
from datetime import datetime

from cpctl.core.events import Request
from cpctl.core.facts import Fact
from cpctl.core.jobs import FirmwareOrder, FirmwareStatus, LogStatus, Trigger
from cpctl.core.now import Now
from cpctl.core.settings import shown
from cpctl.core.values import (
    IdToken,
    Kept,
    Measured,
    ReadingContext,
    Reply,
    RequestId,
    ResetKind,
    TokenInfo,
)
from hal.late import dataclass
from hal.values import Offer

# --- notices, queries ------------------------------------------------------------------------


@dataclass(frozen=True)
class Notice:
    """News not owed after a lost link. (Status is none: the link watches the pictures.)"""

    at: Now


@dataclass(frozen=True)
class ClockSample(Notice):
    """Meter values outside a transaction (clock-aligned or triggered)."""

    evse: int | None
    connector: int | None
    context: ReadingContext
    values: tuple[Measured, ...]
    session: int | None = None


@dataclass(frozen=True)
class LogStatusTold(Notice):
    """How an upload is going. `job` None: of GetDiagnostics, or none runs (then IDLE).
    `diagnostics`: to be told in the words of DiagnosticsStatusNotification (1.6)."""

    job: int | None
    status: LogStatus
    diagnostics: bool = False


@dataclass(frozen=True)
class ListConflictTold(Notice):
    """The local list and the central system disagree on a token."""

    token: IdToken


@dataclass(frozen=True)
class FirmwareStatusTold(Notice):
    """Where the update is, because somebody asked. `signed`: in the words of a signed one."""

    job: int | None
    status: FirmwareStatus
    signed: bool = False


@dataclass(frozen=True)
class Query:
    """A question to the central system whose answer comes back as events."""


@dataclass(frozen=True)
class AnnounceBoot(Query):
    """BootNotification. The identity of the station comes from the render context."""

    reason: str = "PowerUp"


@dataclass(frozen=True)
class Heartbeat(Query):
    pass


@dataclass(frozen=True)
class AuthorizeToken(Query):
    ask: int
    token: IdToken


@dataclass(frozen=True)
class SendVendorMessage(Query):
    vendor: str
    message: str | None
    content: str | None


@dataclass(frozen=True)
class SignCertificate(Query):
    """Have a certificate made for our new key; `csr` is PEM. Answered by CertificateSigningAnswered
    with this `ask`."""

    ask: int
    csr: str


# --- effects ---------------------------------------------------------------------------------


class Effect:
    """Marker of all effects."""


@dataclass(frozen=True)
class ReleasePower(Effect):
    """Open now. Taken out of any queue and done first."""

    evse: int
    why: str


@dataclass(frozen=True)
class EnergisePower(Effect):
    """Close, if the interlock permits, and only if `after` is the number of the last release."""

    evse: int
    after: int


@dataclass(frozen=True)
class TestContactor(Effect):
    """Close for a moment with nothing plugged in and see that the contact follows, if the
    interlock permits, and only if `after` is the number of the last release. The outcome is a
    ContactorTested."""

    evse: int
    after: int


@dataclass(frozen=True)
class BarPower(Effect):
    """The core's standing word to the power gate: while `reasons` is not empty (a stopping fault,
    a weld, a jammed lock) nothing closes there, whoever orders it; an empty tuple lifts it."""

    evse: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class SetOffer(Effect):
    """Put an offer on the pilot (current, none, unavailable).

    `number` comes back in `OfferConfirmed`. `lower`: less than what may be on offer now; done at
    once, as a withdrawal is.
    """

    evse: int
    offer: Offer
    number: int = field(default=0, compare=False)
    lower: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class LockPlug(Effect):
    evse: int


@dataclass(frozen=True)
class UnlockPlug(Effect):
    evse: int


@dataclass(frozen=True)
class Record(Effect):
    """Write the fact to the books. Samples go with the lower grade of durability."""

    fact: Fact


@dataclass(frozen=True)
class SaveRegister(Effect):
    """Keep the present register of an open session (full durability)."""

    session: int
    register_wh: int
    at: Now


@dataclass(frozen=True)
class Keep(Effect):
    """Keep `value` under `key` over restarts (None removes it); full durability. What is kept under
    a key that begins with "secret." is not shown."""

    key: str
    value: str | None

    def __repr__(self) -> str:
        hidden = self.value is not None and self.key.startswith("secret.")
        return f"Keep({self.key!r}, {'***' if hidden else repr(self.value)})"


@dataclass(frozen=True)
class KeepRecord(Effect):
    """As `Keep`, for a value of more than a word; at the next start it is in `Booted.records`."""

    key: str
    record: Kept | None


@dataclass(frozen=True)
class SaveSetting(Effect):
    """Keep a setting over restarts. The loop uses the new value from the next event on."""

    setting: str
    text: str

    def __repr__(self) -> str:
        return f"SaveSetting({self.setting!r}, {shown(self.setting, self.text)})"


@dataclass(frozen=True)
class Remember(Effect):
    """Put a verdict of the central system into the authorization cache (lower grade)."""

    token: IdToken
    info: TokenInfo


@dataclass(frozen=True)
class CheckAgainstList(Effect):
    """See whether a verdict of the central system contradicts the local list; when it does, the
    central system is told."""

    token: IdToken
    info: TokenInfo


@dataclass(frozen=True)
class ForgetTokens(Effect):
    """Clear the authorization cache, and nothing else."""


@dataclass(frozen=True)
class Authorize(Effect):
    """Find out about `token`; the verdict comes as AuthorizationAnswered with this `ask`.

    `local_may_start` False: only the central system (or the offline rules) may say yes.
    """

    ask: int
    token: IdToken
    for_group: bool = False  # only its group is wanted, to stop a transaction


@dataclass(frozen=True)
class Answer(Effect):
    request: RequestId
    reply: Reply


@dataclass(frozen=True)
class Notify(Effect):
    """`triggered`: asked for by the central system, may go out while it has not accepted us."""

    notice: Notice
    triggered: bool = False


@dataclass(frozen=True)
class Delegate(Effect):
    """A request that somebody outside carries out and answers (lists, certificates, uploads,
    vendors): exactly one answer comes from there."""

    request: Request


@dataclass(frozen=True)
class Tell(Effect):
    """A message that was asked for, once the answer is out. `evse` None: all of them."""

    what: Trigger
    evse: int | None = None
    connector: int | None = None


@dataclass(frozen=True)
class Reconnect(Effect):
    """Close the link, once the answer is out, and open it anew: how we get in has changed."""

    why: str


class FirmwareWork(Effect):
    """Marker of what is done with releases outside the core."""


@dataclass(frozen=True)
class FetchFirmware(FirmwareWork):
    """Download and check; comes back as FirmwareMoved. One at a time: a new order ends the old."""

    order: FirmwareOrder


@dataclass(frozen=True)
class CancelFirmware(FirmwareWork):
    """Stop fetching; what was fetched is thrown away."""


@dataclass(frozen=True)
class InstallFirmware(FirmwareWork):
    """Install what was fetched; comes back as FirmwareMoved: INSTALL_REBOOTING when the next start
    is the new release."""

    order: FirmwareOrder


@dataclass(frozen=True)
class FindFirmware(FirmwareWork):
    """Find out how far the installation of `order` came before this start; comes back as
    FirmwareFound."""

    order: FirmwareOrder


@dataclass(frozen=True)
class ConfirmFirmware(FirmwareWork):
    """The release on trial has reached the central system: it stays; comes back as FirmwareMoved
    (INSTALLED)."""

    order: FirmwareOrder


@dataclass(frozen=True)
class RestartStation(Effect):
    """Restart the application (soft) or the machine (hard); everything is recorded already."""

    kind: ResetKind


@dataclass(frozen=True)
class Show(Effect):
    """Lights and buzzer: a pattern of `hal.contracts.Indicator`. `evse` None: at the readers."""

    evse: int | None
    pattern: str


def utc_text(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds and Z, as all our reports have it."""
    return moment.isoformat(timespec="milliseconds")[:23] + "Z"
