"""The state of the station as values: eight small machines per EVSE, and what the station adds.

Nothing here decides. `evse.py` and `rules.py` move the machines of one EVSE, `station.py` those of
the station. Moments are monotonic ns of the present kernel boot.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from cpctl.core.events import OpenSession
from cpctl.core.facts import TransactionStarted
from cpctl.core.faults import CATALOGUE, FaultCode
from cpctl.core.now import Now
from cpctl.core.profiles import InstalledProfile
from cpctl.core.underway import Access, FirmwareUpdate, LogJob
from cpctl.core.values import (
    EvseLayout,
    IdToken,
    Kept,
    Registration,
    RequestId,
    ResetKind,
    StationLayout,
    StopReason,
    TokenSource,
)
from hal.values import NO_OFFER, MeterReading, Offer, PilotState


class PowerState(Enum):
    OFF = "off"
    CLOSING = "closing"
    ON = "on"
    WINDING_DOWN = "winding_down"
    OPENING = "opening"
    WELDED = "welded"


class ClaimState(Enum):
    NONE = "none"
    ASKED = "asked"
    GRANTED = "granted"
    REVOKED = "revoked"


class LockState(Enum):
    OPEN = "open"
    LOCKING = "locking"
    LOCKED = "locked"
    UNLOCKING = "unlocking"
    JAMMED = "jammed"


class TxState(Enum):
    NONE = "none"
    OPEN = "open"
    ENDING = "ending"  # decided; the coil, then the register, are waited for
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Plug:
    """`plugged` outlives states that tell nothing of the plug (E, F, no answer). `connector`: in
    which the plug is, where the board tells.

    `expired`: nobody claimed it in time, or a transaction has ended since it came.
    """

    pilot: PilotState | None = None
    plugged: bool = False
    since: int = 0
    cable_a: float | None = None
    diode_ok: bool = True
    expired: bool = False
    connector: int | None = None


@dataclass(frozen=True, slots=True)
class Lock:
    """`locked` is what the feedback said last; `by` ends the present attempt, `tries` counts."""

    state: LockState = LockState.OPEN
    locked: bool = False
    by: int | None = None
    tries: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """Who may have power here. `until`: unused by then it is dropped (None: never). `profile`: the
    charging profile that comes into force with the transaction.

    `energy_until_wh`: a revoked claim may go on until the register says so; None: no energy.
    """

    state: ClaimState = ClaimState.NONE
    token: IdToken | None = None
    group: IdToken | None = None
    ask: int | None = None
    until: int | None = None
    source: TokenSource = TokenSource.NOT_ASKED
    connector: int | None = None
    evses: tuple[int, ...] = ()  # those it may move to while it waits at the station
    remote_start: int | None = None
    remote: bool = False
    granted_mono: int = 0
    energy_until_wh: int | None = None
    profile: InstalledProfile | None = None


NO_CLAIM = Claim()


@dataclass(frozen=True, slots=True)
class Second:
    """A second token that asks whether its group may stop, or free the cable."""

    ask: int
    token: IdToken
    until: int


@dataclass(frozen=True, slots=True)
class Holder:
    """For whom the lock stays shut after the transaction."""

    token: IdToken
    group: IdToken | None


@dataclass(frozen=True, slots=True)
class Session:
    no: int
    connector: int
    opened: Now


@dataclass(frozen=True, slots=True)
class Transaction:
    """`sampled_mono` is the slot of the last sample, `sampled_wh` its register; `due` a slot whose
    reading has not come yet. `saved_*`: the register last known to the books."""

    state: TxState = TxState.NONE
    started: TransactionStarted | None = None
    next_report: int = 0
    reason: StopReason | None = None
    trigger: str = ""
    stop_token: IdToken | None = None
    ending_since: int = 0
    charging_state: str = ""
    started_mono: int = 0
    sampled_mono: int = 0
    sampled_wh: int = 0
    due: int | None = None
    saved_mono: int = 0
    saved_wh: int = 0


NO_TRANSACTION = Transaction()


@dataclass(frozen=True, slots=True)
class Meter:
    """`good`: the last reading that can be true, measured not before `good_mono`.

    `suspect`: one that cannot; a second in line with it makes a new beginning, but never inside a
    transaction. `idle_wh` and `idle_rises` watch a register that counts with the coil off.
    `over_since`: since when (mono ns) the car has drawn more than its offer; None: it does not.
    """

    good: MeterReading | None = None
    good_mono: int = 0
    suspect: MeterReading | None = None
    suspect_mono: int = 0
    idle_wh: int | None = None
    idle_last_wh: int = 0
    idle_rises: int = 0
    over_since: int | None = None


@dataclass(frozen=True, slots=True)
class Testing:
    """A contactor test under way: who asked, and until when (mono ns) the gate has to tell."""

    request: RequestId
    by: int
    given_up: bool = False


@dataclass(frozen=True, slots=True)
class Power:
    """`number` is the gate's number of the last release; an order to close names it.

    `unnumbered` counts releases of ours whose number the gate has not told yet. `by` ends
    waiting. `refused`: why the gate said no last; `retry_at` when to ask again, later with each
    of `refusals`. `testing`: a contactor test is under way; `tested`: one was passed, and nothing
    was found wrong with the contactor since.
    """

    state: PowerState = PowerState.OFF
    number: int = 0
    unnumbered: int = 0
    by: int | None = None
    off_since: int = 0
    contact_closed: bool = False
    refused: tuple[str, ...] = ()
    retry_at: int | None = None
    refusals: int = 0
    testing: Testing | None = None
    tested: bool = False

    @property
    def is_safe(self) -> bool:
        """Nothing more can be done to take power away."""
        lost = self.state is PowerState.OPENING and self.by is None
        return self.state in (PowerState.OFF, PowerState.WELDED) or lost


@dataclass(frozen=True, slots=True)
class Offering:
    """What is ordered of the pilot board, and what it may still say.

    `number` is that of the last order, given at `since`. `confirmed_a`: what the board took last;
    None: nothing since this start, it may still offer what the last life did. `ordered`: (number,
    A) of the orders since. `counts_a` is what the station must reckon with until `counts_until`,
    because the car needs time to follow a lower offer.
    """

    offer: Offer = NO_OFFER
    number: int = 0
    since: int = 0
    confirmed_a: float | None = None
    ordered: tuple[tuple[int, float], ...] = ()
    counts_a: float = 0.0
    counts_until: int = 0
    told: bool = False  # since this start
    kept_none: bool = False  # the next life will know that nothing was on offer


class TakingMode(Enum):
    NONE = "none"  # nothing is on offer
    IDLE = "idle"  # it is, and the car does not ask
    ASKS = "asks"  # it does, and the path is not closed
    CHARGING = "charging"


@dataclass(frozen=True, slots=True)
class Taking:
    """What the car makes of its offer, in `mode` since `since`.

    `need_a`: what it would make use of; None: of all it can get. `phases`: how many it loads; None:
    not known, all of them.
    """

    mode: TakingMode = TakingMode.NONE
    since: int = 0
    need_a: float | None = None
    phases: int | None = None


NOTHING_TAKEN = Taking()


@dataclass(frozen=True, slots=True)
class PresentFault:
    code: FaultCode
    since: Now
    detail: str = ""

    @property
    def stops(self) -> bool:
        return CATALOGUE[self.code].stops

    @property
    def latched(self) -> bool:
        return CATALOGUE[self.code].latched


@dataclass(frozen=True, slots=True)
class Service:
    """`pending`: an availability that waits for idle. `out`: connectors that are inoperative."""

    operative: bool = True
    pending: bool | None = None
    out: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Recovery:
    """A session of the previous life that waits for the meter until `by`."""

    session: OpenSession
    reason: StopReason
    by: int


@dataclass(frozen=True, slots=True)
class TriggeredReading:
    """Meter values that somebody asked for and that wait for a fresh reading."""

    since: int
    connector: int | None


@dataclass(frozen=True, slots=True)
class Evse:
    layout: EvseLayout
    plug: Plug = Plug()
    lock: Lock = Lock()
    claim: Claim = NO_CLAIM
    session: Session | None = None
    transaction: Transaction = NO_TRANSACTION
    power: Power = Power()
    meter: Meter = Meter()
    offering: Offering = Offering()
    taking: Taking = NOTHING_TAKEN
    service: Service = Service()
    faults: tuple[PresentFault, ...] = ()
    second: Second | None = None
    holder: Holder | None = None
    unlocks: tuple[tuple[RequestId, int], ...] = ()
    recovering: tuple[Recovery, ...] = ()
    barred: tuple[str, ...] | None = None  # what the gate was told last
    shown: str = ""
    clock_due: int | None = None  # a clock-aligned slot whose reading has not come yet
    stopped: StopReason | None = None  # of the last transaction since the plug came
    held: bool = False  # kept for a reservation
    free_since: int = 0  # when it last ceased to be
    triggered: tuple[TriggeredReading, ...] = ()

    @property
    def id(self) -> int:
        return self.layout.id

    @property
    def connector(self) -> int:
        """The connector in use; while none is, the first."""
        if self.session is not None:
            return self.session.connector
        return self.plug.connector or self.claim.connector or self.layout.connectors[0].id

    @property
    def stopping(self) -> tuple[FaultCode, ...]:
        return tuple(fault.code for fault in self.faults if fault.stops)

    @property
    def locked(self) -> bool:
        """Known to be held: not while the lock moves either way."""
        held = self.lock.locked and self.lock.state is LockState.LOCKED
        return held or not self.layout.has_lock

    @property
    def in_transaction(self) -> bool:
        return self.transaction.state in (TxState.OPEN, TxState.ENDING)

    @property
    def is_idle(self) -> bool:
        """No use is going on, though a plug may be in."""
        return not self.in_transaction and not self.recovering

    @property
    def owner(self) -> Holder | None:
        """Whose token, or group, may stop or free what is going on here."""
        if self.holder is not None:
            return self.holder
        if self.claim.token is not None and self.claim.state is not ClaimState.NONE:
            return Holder(self.claim.token, self.claim.group)
        return None

    def has(self, code: FaultCode) -> bool:
        return any(fault.code is code for fault in self.faults)


@dataclass(frozen=True)
class Reservation(Kept):
    """An EVSE kept for `token`, or for a token of `group`, until `expires`. `evse` None: any."""

    id: int
    expires: datetime
    token: IdToken
    group: IdToken | None = None
    evse: int | None = None
    connector: int | None = None


@dataclass(frozen=True, slots=True)
class Around:
    """What an EVSE must know of the rest.

    `may_serve`: the station may open sessions (booted, registered as policy wants, not going
    down). `held`: for which reservations it is kept, `reserved` those a transaction here may use
    up. `ending`: why the station ends what runs, `resume` that transactions stay open for the
    next life. `share_a`: its part of the station's current, `profile_a` what its charging profiles
    allow (None: they say nothing), both in A per phase. `stopping`: faults of the station.
    `path_used`: another EVSE uses the power path that the two share.
    """

    online: bool = False
    may_serve: bool = False
    books_good: bool = True
    operative: bool = True
    stopping: tuple[FaultCode, ...] = ()
    ending: StopReason | None = None
    resume: bool = False
    share_a: float | None = None
    profile_a: float | None = None
    next_session: int = 1
    silence_s: float = 30.0
    nominal_voltage_v: float = 230.0
    wind_down_s: float = 6.0
    held: tuple[Reservation, ...] = ()
    reserved: tuple[Reservation, ...] = ()
    path_used: bool = False

    def with_share(self, share_a: float | None) -> "Around":
        return replace(self, share_a=share_a)

    def with_profile(self, profile_a: float | None) -> "Around":
        return replace(self, profile_a=profile_a)


@dataclass(frozen=True, slots=True)
class Turn:
    """An EVSE in the order in which current goes round; `since` None: its turn has no end."""

    evse: int
    since: int | None = None


NO_ACCESS = Access()


@dataclass(frozen=True, slots=True)
class Station:
    """The whole station. `waiting` are claims that have no EVSE yet, `going` why it goes down."""

    layout: StationLayout
    evses: tuple[Evse, ...]
    booted: bool = False
    online: bool = False
    registration: Registration = Registration.NONE
    accepted_ever: bool = False
    accepted_now: bool = False  # since this start
    operative: bool = True
    pending: bool | None = None
    faults: tuple[PresentFault, ...] = ()
    waiting: tuple[Claim, ...] = ()
    next_session: int = 1
    next_ask: int = 1
    reset: ResetKind | None = None
    reset_by: int | None = None
    shutdown: bool = False
    power_fails: bool = False  # that is why it shuts down
    restarted: bool = False
    clock_slot: int | None = None  # monotonic moment of the next clock-aligned reading
    clock_interval: int = 0
    settled_at: int = 0  # up to this moment all deadlines are served
    profiles: tuple[InstalledProfile, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    firmware: FirmwareUpdate | None = None
    turns: tuple[Turn, ...] = ()
    access: Access = NO_ACCESS
    log_job: LogJob | None = None  # of the upload that runs, or whose end is still to be told

    def evse(self, number: int | None) -> Evse | None:
        for one in self.evses:
            if one.id == number:
                return one
        return None

    def with_evse(self, changed: Evse) -> "Station":
        return replace(self, evses=tuple(
            changed if one.id == changed.id else one for one in self.evses))
