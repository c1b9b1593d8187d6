"""What a dialect is: a pure translator between our words and one version of OCPP.

No I/O, no clock, no state: whatever a translation needs to know stands in the `RenderContext`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, Protocol

from cpctl.core.effects import Notice, Query
from cpctl.core.events import Event, Request
from cpctl.core.facts import Fact
from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.values import Registration, Reply, RequestId, StationLayout
from cpctl.core.views import StationPicture
from hal.late import dataclass

Wire = dict[str, Any]
Item = Fact | Notice | Query


@dataclass(frozen=True)
class Call:
    """One CALL, ours or theirs. `id` is empty until the link gives ours one."""

    action: str
    payload: Wire
    id: str = ""


@dataclass(frozen=True)
class Result:
    """The CALLRESULT to a call of ours (validated), or ours to a call of theirs."""

    payload: Wire


@dataclass(frozen=True)
class CallError:
    """A CALLERROR, in either direction; `code` is the version's own spelling."""

    code: str
    description: str = ""
    details: Wire = field(default_factory=dict)


@dataclass(frozen=True)
class TimedOut:
    """No answer in time on a link that stayed up."""


@dataclass(frozen=True)
class Disconnected:
    """The link went before an answer came."""


Outcome = Result | CallError | TimedOut | Disconnected


@dataclass(frozen=True)
class StationIdentity:
    """What BootNotification tells. Lengths are checked by the configuration."""

    vendor: str
    model: str
    serial_number: str = ""
    firmware_version: str = ""
    meter_type: str = ""
    meter_serial_number: str = ""
    iccid: str = ""
    imsi: str = ""


@dataclass(frozen=True)
class StatusReport:
    """The status of one connector as a dialect words it; equal reports need not be told twice.

    `connector` is the number the dialect uses on the wire (1.6: 0 for the station);
    2.x keeps its EVSE in `evse`.
    """

    evse: int | None
    connector: int
    status: str
    error: str = "NoError"
    info: str = ""
    vendor_error: str = ""


@dataclass(frozen=True)
class RenderContext:
    """Read-only surroundings of a translation.

    `alias(session)` is the central system's id of a session's transaction in this dialect: None
    while unknown. `session_of(csms_id)` finds a running session by it. `session_facts(session)`
    are all facts of a session in order (for transactionData). `told_at(at)` is the time stamp a
    moment gets on the wire, repaired where the clock was unknown when it happened.
    """

    now: Now
    settings: Settings
    layout: StationLayout
    identity: StationIdentity
    picture: StationPicture
    registration: Registration
    alias: Callable[[int], int | str | None]
    session_of: Callable[[int | str], int | None]
    session_facts: Callable[[int], Sequence[Fact]]
    told_at: Callable[[Now], str]
    new_request: Callable[[], RequestId]
    book: str = ""


# --- events of the link that a dialect makes out of answers; they never reach the core ---------


@dataclass(frozen=True)
class RegistrationAnswered(Event):
    """The answer to AnnounceBoot. `utc_text` is the central system's currentTime as it came.

    `round_trip_s` is filled in by the link: the time was told somewhere within it.
    """

    registration: Registration
    interval_s: int
    utc_text: str
    round_trip_s: float = 0.0


@dataclass(frozen=True)
class ClockOffered(Event):
    """The central system told its time (`utc_text`, ISO 8601 as it came)."""

    utc_text: str
    round_trip_s: float = 0.0


@dataclass(frozen=True)
class AliasGiven(Event):
    """The central system's id for a session's transaction; settle fact and alias in one commit."""

    session: int
    csms_id: int | str


@dataclass(frozen=True)
class NoVerdict(Event):
    """AuthorizeToken got no verdict (CALLERROR, timeout, link lost): the offline rules decide."""

    ask: int


class Unready(Exception):
    """An item cannot be rendered yet (its transaction id is not known): try again later."""


class Dialect(Protocol):
    """One version of OCPP."""

    name: str  # "1.6", "2.0.1": as in the configuration's `versions`
    subprotocol: str  # "ocpp1.6"

    def calls(self, item: Item, ctx: RenderContext) -> tuple[Call, ...]:
        """The calls that tell `item`; none when this version does not know it. May raise Unready.

        A query that renders to no call cannot be asked (a token too long for this version):
        `events(item, Call("", {}), Disconnected(), ctx)` tells what becomes of it.
        """
        ...

    def sealed(self, item: Item, identity: str, ctx: RenderContext) -> tuple[str, str] | None:
        """In a hurry: the action of the one call that tells `item`, and the text of its frame,
        equal to that of `calls`, checked; None: the usual way is to be gone. A Result means
        nothing to us but that the item is told."""
        ...

    def events(self, item: Item, call: Call, outcome: Outcome, ctx: RenderContext
               ) -> tuple[Event, ...]:
        """What the outcome of a call means to us."""
        ...

    def settles(self, item: Item, outcome: Outcome) -> bool:
        """Whether a fact is done with this outcome although it is not a Result (NotSupported for a
        security event, say). A Result always settles."""
        ...

    def request(self, call: Call, ctx: RenderContext) -> Request | Result | CallError:
        """What the central system wants: a request for the core, or an answer right away."""
        ...

    def reply(self, call: Call, reply: Reply, ctx: RenderContext) -> Result | CallError:
        """The answer to `call`, given what the core said."""
        ...

    def statuses(self, picture: StationPicture, ctx: RenderContext) -> tuple[StatusReport, ...]:
        """The status of the station and of each connector, in the order they are to be told."""
        ...

    def status_call(self, report: StatusReport, at: Now, ctx: RenderContext) -> Call: ...

    def status_place(self, evse: int | None, connector: int, layout: StationLayout
                     ) -> tuple[int | None, int]:
        """EVSE and connector as the reports of `statuses` have them."""
        ...

    def check(self, action: str, payload: Any, *, response: bool, ours: bool) -> CallError | None:
        """Whether a payload fits its schema; the error is the version's own.

        `ours`: the call is ours, so that with `response` the payload is the central system's
        answer; what an answer has too much is removed from `payload`.
        """
        ...

    def error_code(self, kind: str) -> str:
        """This version's spelling for: not_implemented, not_supported, internal, protocol,
        security, format, property, occurrence, type, generic, framework, message_type."""
        ...

    @property
    def actions(self) -> Mapping[str, str]:
        """Action -> "in", "out" or "both": what this version knows at all."""
        ...
