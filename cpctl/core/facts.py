"""Every fact: a durable line of the books, told to the central system in order.

Some are ours alone and never sent. What is told (measurands, context) is decided when a fact is
recorded; how it is worded when it is sent.
"""

from cpctl.core.faults import FaultCode
from cpctl.core.jobs import FirmwareStatus
from cpctl.core.now import Now
from cpctl.core.values import IdToken, Measured, ReadingContext, StopReason
from hal.late import dataclass


@dataclass(frozen=True)
class Fact:
    """A line of the books. `at` is when it happened; `session` None: not of a session."""

    at: Now
    session: int | None


@dataclass(frozen=True)
class SessionOpened(Fact):
    """Ours alone, never sent."""

    evse: int
    connector: int


@dataclass(frozen=True)
class SessionClosed(Fact):
    """Ours alone: the EVSE is free again."""

    evse: int


@dataclass(frozen=True)
class TransactionStarted(Fact):
    """`report` numbers the reports of a transaction without a gap (2.x seqNo), from 0.

    `register_wh` is the meter's register, `begin` the values of context Transaction.Begin that are
    kept for the end. `offline`: recorded while the link was down. `trigger` is what 2.x calls it.
    """

    evse: int
    connector: int
    report: int
    trigger: str
    token: IdToken | None
    register_wh: int
    begin: tuple[Measured, ...] = ()
    offline: bool = False
    reservation: int | None = None
    remote_start: int | None = None


@dataclass(frozen=True)
class TransactionChanged(Fact):
    """Something 2.x reports with a trigger and 1.6 does not: charging state, authorization …"""

    evse: int
    connector: int
    report: int
    trigger: str
    charging_state: str
    token: IdToken | None = None
    stop_reason: StopReason | None = None
    offline: bool = False


@dataclass(frozen=True)
class TransactionSampled(Fact):
    """Values of one instant. `told` become a report of their own (`report` its number, None when
    `told` is empty); `kept` wait for the end of the transaction."""

    evse: int
    connector: int
    context: ReadingContext
    register_wh: int
    report: int | None = None
    told: tuple[Measured, ...] = ()
    kept: tuple[Measured, ...] = ()
    offline: bool = False


@dataclass(frozen=True)
class TransactionEnded(Fact):
    """`token` only when one was used to stop. `end` as `begin`, context Transaction.End."""

    evse: int
    connector: int
    report: int
    trigger: str
    reason: StopReason
    register_wh: int
    token: IdToken | None = None
    end: tuple[Measured, ...] = ()
    offline: bool = False


@dataclass(frozen=True)
class FaultLatched(Fact):
    """A latched fault; `session` is the session it fell into, if any."""

    evse: int | None
    code: FaultCode
    detail: str = ""


@dataclass(frozen=True)
class FaultUnlatched(Fact):
    """FaultCleared of the house: a technician declared it mended."""

    evse: int | None
    code: FaultCode


@dataclass(frozen=True)
class SecurityEventRaised(Fact):
    """`kind` is the name in the list of the security whitepaper / 2.x appendix."""

    kind: str
    text: str = ""
    critical: bool = False


@dataclass(frozen=True)
class FirmwareStatusChanged(Fact):
    """Where an update is. `job` None: an unsigned update of 1.6."""

    job: int | None
    status: FirmwareStatus
