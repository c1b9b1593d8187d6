"""Words shared by the drivers and the core: what a device says, in field units.

Pure values only; everything here is frozen and imports nothing but the standard library.
"""

from enum import Enum

from hal.late import dataclass


class PilotState(Enum):
    """State of the control pilot as the car (or a fault) sets it.

    Source: IEC 61851-1 Annex A (second hand, see docs).
    """

    A = "A"  # no car
    B = "B"  # car connected, not asking
    C = "C"  # car asks for power
    D = "D"  # car asks for power and for ventilation
    E = "E"  # pilot shorted
    F = "F"  # pilot not available

    @property
    def plugged(self) -> bool:
        return self in (PilotState.B, PilotState.C, PilotState.D)

    @property
    def asks(self) -> bool:
        return self in (PilotState.C, PilotState.D)


class OfferKind(Enum):
    """What the station puts on the pilot."""

    NONE = "none"  # steady +12 V (x1): no current on offer
    CURRENT = "current"  # PWM: up to `current_a` per phase
    UNAVAILABLE = "unavailable"  # steady -12 V: state F


@dataclass(frozen=True)
class Offer:
    """What is offered to the car: `current_a` per phase, 6..80, only with OfferKind.CURRENT."""

    kind: OfferKind
    current_a: float = 0.0


NO_OFFER = Offer(OfferKind.NONE)
UNAVAILABLE = Offer(OfferKind.UNAVAILABLE)


@dataclass(frozen=True)
class PilotReading:
    """One look at the control pilot. `state` None: the board answers, but not with a state.

    `cable_a` is the rating of the plugged cable in A per phase; None: fixed cable or not measured.
    `offered_a` is what the board says it offers now; None when it does not tell.
    `diode_ok` False: the negative half wave is missing, this is not a car. `connector` tells in
    which connector of the EVSE the plug is, where the board can tell. `alarms` names the safety
    inputs the board watches itself that are bad now (rcd, ground …).
    """

    state: PilotState | None
    cable_a: float | None = None
    offered_a: float | None = None
    diode_ok: bool = True
    connector: int | None = None
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True)
class MeterReading:
    """One reading of an energy meter. What the meter does not tell is None or an empty tuple.

    Energies in Wh are the meter's own registers; tuples hold one value per phase, L1 first.
    """

    energy_import_wh: int
    energy_export_wh: int | None = None
    power_w: float | None = None
    powers_w: tuple[float, ...] = ()
    currents_a: tuple[float, ...] = ()
    voltages_v: tuple[float, ...] = ()
    reactive_power_var: float | None = None
    power_factor: float | None = None
    frequency_hz: float | None = None
    temperature_c: float | None = None
    serial: str | None = None


@dataclass(frozen=True)
class CardUid:
    """The identifier a reader took from a card, as the text that becomes the idTag/idToken.

    `random`: a four-byte UID beginning with 08 is drawn anew at each tap (ISO/IEC 14443-3);
    it cannot identify anybody.
    """

    text: str
    random: bool = False


class Health(Enum):
    """How a device does."""

    OK = "ok"
    LOST = "lost"
    NEVER_SEEN = "never_seen"


@dataclass(frozen=True)
class DeviceHealth:
    """State of one device for `cpctl hw list`: `detail` is a sentence with the next step."""

    health: Health
    detail: str = ""
