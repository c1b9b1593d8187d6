"""Charging profiles as values: what a central system may install, and what a schedule is.

What they mean together is in `charging_profiles.py`. Limits are A per phase or W in total, in
tenths at most. Source: OCPP 1.6 §3.13, OCPP 2.0.1 K01.
"""

from datetime import datetime
from enum import Enum

from cpctl.core.jobs import Content
from cpctl.core.values import Kept
from hal.late import dataclass


class Purpose(Enum):
    STATION_MAX = "ChargingStationMaxProfile"
    TX_DEFAULT = "TxDefaultProfile"
    TX = "TxProfile"
    EXTERNAL = "ChargingStationExternalConstraints"


class ProfileKind(Enum):
    ABSOLUTE = "Absolute"
    RECURRING = "Recurring"
    RELATIVE = "Relative"


class Recurrency(Enum):
    DAILY = "Daily"
    WEEKLY = "Weekly"


class RateUnit(Enum):
    AMPERE = "A"
    WATT = "W"


@dataclass(frozen=True)
class Period:
    """From `start_s` (after the schedule's start) on: `limit`, over so many `phases` (None: 3)."""

    start_s: int
    limit: float
    phases: int | None = None


@dataclass(frozen=True)
class Schedule:
    unit: RateUnit
    periods: tuple[Period, ...]
    start: datetime | None = None
    duration_s: int | None = None
    least: float | None = None  # minChargingRate: a hint, no floor


@dataclass(frozen=True)
class ChargingProfile:
    """`transaction`: the session whose transaction it is for (TX only), None: not named."""

    id: int
    stack_level: int
    purpose: Purpose
    kind: ProfileKind
    schedule: Schedule
    recurrency: Recurrency | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    transaction: int | None = None


@dataclass(frozen=True)
class InstalledProfile(Kept):
    """A profile in force. `evse` None: of the station (for TX_DEFAULT: of every EVSE); `connector`
    None: of all its connectors. `local_offset_s`: local time minus UTC when it came."""

    evse: int | None
    profile: ChargingProfile
    received: datetime
    connector: int | None = None
    local_offset_s: int = 0


@dataclass(frozen=True)
class CompositeSchedule(Content):
    """The limits from `start` on, for `duration_s`; the first period starts at 0. `connector`: the
    one that was asked for."""

    evse: int | None
    start: datetime
    duration_s: int
    unit: RateUnit
    periods: tuple[Period, ...]
    connector: int | None = None
