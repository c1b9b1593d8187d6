"""Read-only pictures of the state: what dialects, API and lights may know of an EVSE.

Status is derived, never stored: each dialect maps a picture to its own words.
`picture(station, now, settings)` is at the end; everything above it is plain values.
"""

from dataclasses import dataclass
from enum import Enum

from cpctl.core.faults import FaultCode
from cpctl.core.now import Now
from cpctl.core.values import IdToken, Registration
from hal.values import PilotState


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


@dataclass(frozen=True)
class FaultPicture:
    code: FaultCode
    latched: bool
    stops: bool
    since: Now
    detail: str = ""  # for OTHER: the vendor's code


@dataclass(frozen=True)
class EvsePicture:
    """One EVSE at a moment.

    `offering` tells that current is on offer (or would be, were it not for the car);
    `car_asks` that the car is in C or D. `finishing`: the plug is in and a transaction has ended
    since it came, or its time to be claimed has run out. `unplugged_inside`: the plug is out while
    the transaction goes on. `refused`: reasons of the interlock or the core why there is no power.
    Energies in Wh; `energy_wh` is that of the session so far.
    """

    evse: int
    connectors: tuple[int, ...]
    pilot: PilotState | None
    plugged: bool
    locked: bool
    claim: ClaimState
    token: IdToken | None
    session: int | None
    transaction: bool
    started: Now | None
    power: PowerState
    offering: bool
    offered_a: float
    car_asks: bool
    finishing: bool
    unplugged_inside: bool
    operative: bool
    availability_pending: bool
    faults: tuple[FaultPicture, ...]
    refused: tuple[str, ...]
    register_wh: int | None
    energy_wh: int
    power_w: float | None
    reserved: int | None = None
    why_suspended: str = ""
    stopped_because: str = ""  # last stop reason while finishing, for the status' info text

    @property
    def faulted(self) -> bool:
        return any(fault.stops for fault in self.faults)


@dataclass(frozen=True)
class StationPicture:
    """The station: `operative` is what availability 0 says, `faults` those of the station."""

    at: Now
    booted: bool
    online: bool
    registration: Registration
    operative: bool
    faults: tuple[FaultPicture, ...]
    evses: tuple[EvsePicture, ...]
    waiting_token: IdToken | None = None
    resetting: bool = False

    @property
    def faulted(self) -> bool:
        return any(fault.stops for fault in self.faults)

    def evse(self, number: int) -> EvsePicture:
        for one in self.evses:
            if one.evse == number:
                return one
        raise KeyError(number)
