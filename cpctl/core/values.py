"""Words of the core that events, effects and facts share. No protocol version among them."""

from datetime import datetime
from enum import Enum

from cpctl.core.jobs import Content
from hal.late import dataclass


class Kept:
    """Marker of the values that are kept over restarts (`KeepRecord`): frozen dataclasses."""


class TokenKind(Enum):
    """What a token is, in the words of OCPP 2.x IdTokenEnumType (1.6 knows only the text)."""

    CENTRAL = "Central"
    ISO14443 = "ISO14443"
    ISO15693 = "ISO15693"
    KEY_CODE = "KeyCode"
    LOCAL = "Local"
    EMAID = "eMAID"
    MAC_ADDRESS = "MacAddress"
    NO_AUTHORIZATION = "NoAuthorization"


@dataclass(frozen=True, slots=True)
class IdToken:
    """Who asks for power: idTag of 1.6, idToken of 2.x. Compared without regard to case."""

    value: str
    kind: TokenKind = TokenKind.ISO14443

    @property
    def key(self) -> str:
        """What lists and comparisons go by (CiString: case does not count)."""
        return self.value.casefold()

    def same_as(self, other: "IdToken | None") -> bool:
        return other is not None and self.key == other.key


class TokenStatus(Enum):
    """Verdict on a token; the union of 1.6 AuthorizationStatus and 2.x."""

    ACCEPTED = "Accepted"
    BLOCKED = "Blocked"
    EXPIRED = "Expired"
    INVALID = "Invalid"
    CONCURRENT_TX = "ConcurrentTx"
    NO_CREDIT = "NoCredit"
    NOT_ALLOWED_TYPE_EVSE = "NotAllowedTypeEVSE"
    NOT_AT_THIS_LOCATION = "NotAtThisLocation"
    NOT_AT_THIS_TIME = "NotAtThisTime"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What is known of a token. `expires` None: does not expire by date."""

    status: TokenStatus
    group: IdToken | None = None
    expires: datetime | None = None


class TokenSource(Enum):
    """Who gave the verdict."""

    LOCAL_LIST = "local_list"
    CACHE = "cache"
    CSMS = "csms"
    OFFLINE_RULES = "offline_rules"
    NOT_ASKED = "not_asked"  # a remote start that needs no authorization


class StopReason(Enum):
    """Why a transaction ended; the union of 1.6 and 2.x reasons."""

    LOCAL = "Local"
    REMOTE = "Remote"
    EV_DISCONNECTED = "EVDisconnected"
    DEAUTHORIZED = "DeAuthorized"
    SOFT_RESET = "SoftReset"
    HARD_RESET = "HardReset"
    UNLOCK_COMMAND = "UnlockCommand"
    EMERGENCY_STOP = "EmergencyStop"
    POWER_LOSS = "PowerLoss"
    REBOOT = "Reboot"
    OTHER = "Other"
    ENERGY_LIMIT = "EnergyLimitReached"
    GROUND_FAULT = "GroundFault"
    OVERCURRENT = "OvercurrentFault"
    STOPPED_BY_EV = "StoppedByEV"
    TIMEOUT = "Timeout"
    TIME_LIMIT = "TimeLimitReached"


class Quantity(Enum):
    """What can be measured, version-free; the unit is fixed by the quantity (SI, energy in Wh)."""

    ENERGY_IMPORT_REGISTER = "energy_import_register"  # Wh
    ENERGY_EXPORT_REGISTER = "energy_export_register"  # Wh
    ENERGY_IMPORT_INTERVAL = "energy_import_interval"  # Wh
    POWER_IMPORT = "power_import"  # W
    POWER_OFFERED = "power_offered"  # W
    POWER_REACTIVE_IMPORT = "power_reactive_import"  # var
    POWER_FACTOR = "power_factor"
    CURRENT_IMPORT = "current_import"  # A
    CURRENT_OFFERED = "current_offered"  # A
    VOLTAGE = "voltage"  # V
    FREQUENCY = "frequency"  # Hz
    TEMPERATURE = "temperature"  # degrees Celsius
    STATE_OF_CHARGE = "state_of_charge"  # percent


class ReadingContext(Enum):
    """On what occasion a value was taken."""

    BEGIN = "Transaction.Begin"
    END = "Transaction.End"
    PERIODIC = "Sample.Periodic"
    CLOCK = "Sample.Clock"
    TRIGGER = "Trigger"
    INTERRUPTION_BEGIN = "Interruption.Begin"
    INTERRUPTION_END = "Interruption.End"
    OTHER = "Other"


@dataclass(frozen=True, slots=True)
class Measured:
    """One measured value. `phase` is "L1", "L2", "L3" (as the meter numbers them) or None."""

    quantity: Quantity
    value: float
    phase: str | None = None


class Outcome(Enum):
    """What an answer to a request says, version-free; the dialect finds its own word."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SCHEDULED = "scheduled"
    REBOOT_REQUIRED = "reboot_required"
    NOT_SUPPORTED = "not_supported"
    UNLOCKED = "unlocked"
    UNLOCK_FAILED = "unlock_failed"
    ONGOING = "ongoing"  # refused because an authorized transaction runs
    UNKNOWN = "unknown"
    OCCUPIED = "occupied"
    FAULTED = "faulted"
    UNAVAILABLE = "unavailable"
    FAILED = "failed"
    ACCEPTED_CANCELED = "accepted_canceled"  # accepted; what ran before was cancelled for it
    NOT_FOUND = "not_found"
    NOT_IMPLEMENTED = "not_implemented"
    VERSION_MISMATCH = "version_mismatch"
    UNKNOWN_MESSAGE = "unknown_message"  # the vendor is known, its message is not
    INVALID_CERTIFICATE = "invalid_certificate"
    REVOKED_CERTIFICATE = "revoked_certificate"


@dataclass(frozen=True)
class Reply:
    """The answer to one request. `code` and `hint` are for people at the local socket; `content`
    is what the answer holds beside its outcome."""

    outcome: Outcome
    code: str = ""
    hint: str = ""
    session: int | None = None
    content: Content | None = None


class Origin(Enum):
    CSMS = "csms"
    LOCAL = "local"


@dataclass(frozen=True)
class RequestId:
    """Which request an answer belongs to; drawn by who received it, unique within the process."""

    origin: Origin
    number: int


@dataclass(frozen=True)
class ConnectorLayout:
    """One connector as installed: `id` within its EVSE (1..), `type` as OCPP 2.x names it."""

    id: int
    type: str = "cType2"


@dataclass(frozen=True)
class EvseLayout:
    """One EVSE as installed. Currents in A per phase."""

    id: int
    max_current_a: float = 32.0
    phases: int = 3
    connectors: tuple[ConnectorLayout, ...] = (ConnectorLayout(1),)
    has_lock: bool = False  # False: fixed cable, counts as always locked
    has_feedback: bool = False
    has_meter: bool = True
    ventilated: bool = False  # may serve a car in state D
    inputs: tuple[str, ...] = ()  # safety inputs fitted: rcd, emergency_stop, door, …
    has_lights: bool = False  # whose blinking can be set, and their brightness where `lights_dim`
    lights_dim: bool = True


class AfterPowerLoss(Enum):
    END = "end"
    RESUME = "resume"


@dataclass(frozen=True)
class StationLayout:
    """The installation facts the core decides with. Nothing from outside can raise them."""

    evses: tuple[EvseLayout, ...]
    station_max_current_a: float | None = None
    after_power_loss: AfterPowerLoss = AfterPowerLoss.END
    meter_silence_s: float = 30.0
    nominal_voltage_v: float = 230.0


class Registration(Enum):
    """What the central system thinks of us since the last boot."""

    NONE = "none"  # not asked, or no answer yet
    ACCEPTED = "accepted"
    PENDING = "pending"
    REJECTED = "rejected"


class BootCause(Enum):
    """Why we start: decides the reason of what a previous life left open."""

    POWER_LOSS = "power_loss"  # the kernel's boot id changed and nothing was planned
    CRASH = "crash"  # same kernel boot, we died
    PLANNED = "planned"  # a reset or a stop that was recorded
    FIRST = "first"


class ResetKind(Enum):
    SOFT = "soft"  # when sessions are ended in good order
    HARD = "hard"
