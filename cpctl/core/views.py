"""Read-only pictures of the state: what dialects, API and lights may know of an EVSE.

Status is derived, never stored: each dialect maps a picture to its own words.
`picture(station, now, settings)` is at the end; everything above it is plain values.
"""

from cpctl.core import firmware, metering, power, rules
from cpctl.core.around import around, is_going_down, may_serve
from cpctl.core.faults import FaultCode
from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.state import (
    Around,
    ClaimState,
    Evse,
    LockState,
    PowerState,
    PresentFault,
    Station,
    TxState,
)
from cpctl.core.values import IdToken, Registration
from hal.late import dataclass
from hal.values import OfferKind, PilotState

__all__ = ["ClaimState", "EvsePicture", "FaultPicture", "PowerState", "StationPicture", "picture"]


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
    the transaction goes on. `about_to_offer`: nothing keeps the offer back but a lock on its way or
    a register not yet read since the plug came; `beginning`: that, and it is the first offer of the
    transaction. `refused`: reasons of the interlock or the core why there is no power.
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
    reserved_connector: int | None = None
    why_suspended: str = ""
    stopped_because: str = ""  # last stop reason while finishing, for the status' info text
    ending: bool = False  # the transaction's end is decided; coil or register are waited for
    connector: int = 1  # the one in use (that of the session or claim); the first while none is
    about_to_offer: bool = False
    beginning: bool = False
    out: tuple[int, ...] = ()  # connectors that are inoperative though the EVSE is not

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
    updating: bool = False  # nothing begins: firmware waits for idle, is installed or on trial

    @property
    def faulted(self) -> bool:
        return any(fault.stops for fault in self.faults)

    def evse(self, number: int) -> EvsePicture:
        for one in self.evses:
            if one.evse == number:
                return one
        raise KeyError(number)


def picture(station: Station, now: Now, settings: Settings) -> StationPicture:
    """The station as it is now. Cheap enough for every step."""
    rest = around(station, now, settings)
    serving = may_serve(station, settings) or (
        is_going_down(station) and not firmware.holds(station))
    return StationPicture(
        at=now, booted=station.booted, online=station.online, registration=station.registration,
        operative=station.operative and serving, faults=_faults(station.faults),
        evses=tuple(_evse(evse, rest[evse.id], now, settings, serving=serving)
                    for evse in station.evses),
        waiting_token=station.waiting[0].token if station.waiting else None,
        resetting=station.reset is not None, updating=firmware.holds(station))


def _faults(faults: tuple[PresentFault, ...]) -> tuple[FaultPicture, ...]:
    return tuple(FaultPicture(f.code, f.latched, f.stops, f.since, f.detail) for f in faults)


def _evse(evse: Evse, its_around: Around, now: Now, settings: Settings, *, serving: bool
          ) -> EvsePicture:
    tx, pilot = evse.transaction, evse.plug.pilot
    running = evse.in_transaction
    why = power.why_no_power(evse, its_around, now, settings) if running else ""
    soon = running and _is_about_to_offer(evse, its_around, why, now)
    finishing = tx.state is not TxState.ENDING and rules.is_finishing(evse, settings)
    out = evse.service.out - {evse.connector} if running else evse.service.out
    return EvsePicture(
        evse=evse.id, connectors=tuple(one.id for one in evse.layout.connectors),
        pilot=pilot, plugged=evse.plug.plugged, locked=evse.locked, claim=evse.claim.state,
        token=evse.claim.token, session=evse.session.no if evse.session is not None else None,
        transaction=running, started=tx.started.at if tx.started is not None else None,
        power=evse.power.state, offering=evse.offering.offer.kind is OfferKind.CURRENT,
        offered_a=evse.offering.offer.current_a, car_asks=pilot is not None and pilot.asks,
        finishing=finishing or _is_freeing_the_plug(evse),
        unplugged_inside=running and not evse.plug.plugged,
        operative=evse.service.operative and serving and not its_around.path_used
        and not _is_partner_held(evse, its_around),
        availability_pending=evse.service.pending is not None, faults=_faults(evse.faults),
        refused=evse.power.refused or ((why,) if why else ()),
        register_wh=metering.register_wh(evse), energy_wh=_energy_wh(evse),
        power_w=evse.meter.good.power_w if evse.meter.good is not None else None,
        why_suspended=why if running else "",
        stopped_because=evse.stopped.value if evse.stopped is not None else "",
        ending=tx.state is TxState.ENDING, connector=evse.connector,
        about_to_offer=soon, beginning=soon and tx.charging_state == "EVConnected",
        out=tuple(sorted(out)) if evse.service.operative else (),
        **_reserved(evse, its_around, settings))


def _is_partner_held(evse: Evse, its_around: Around) -> bool:
    """The EVSE with which it shares a power path is reserved (16.TX.9)."""
    return bool(its_around.held) and its_around.held[0].evse not in (None, evse.id)


def _reserved(evse: Evse, its_around: Around, settings: Settings) -> dict[str, int | None]:
    """What the status shows of a reservation (E-21, E-23); `{}` for nothing."""
    if not its_around.held:
        return {}
    one = its_around.held[0]
    if _is_partner_held(evse, its_around):
        return {}
    hidden = one.evse is None and settings.text("policy.reserve_zero_status") == "available"
    begun = evse.plug.plugged and settings.text("policy.reserved_plug") == "preparing"
    if hidden or begun:
        return {}
    return {"reserved": one.id, "reserved_connector": one.connector}


def _is_about_to_offer(evse: Evse, its_around: Around, why: str, now: Now) -> bool:
    if why == "not_locked":
        return evse.lock.state is LockState.LOCKING
    silent = now.mono_ns >= metering.silent_at(evse, its_around.silence_s)
    return why == "meter_silent" and not silent


def _is_freeing_the_plug(evse: Evse) -> bool:
    """The car is gone, its transaction over, and the station's end of the cable still locked."""
    return (evse.stopped is not None and not evse.plug.plugged and not evse.in_transaction
            and evse.claim.state is ClaimState.NONE and evse.lock.state is LockState.UNLOCKING)


def _energy_wh(evse: Evse) -> int:
    """Of the transaction of the present session, by the register of the books."""
    started, register_wh = evse.transaction.started, metering.register_wh(evse)
    if started is None or register_wh is None:
        return 0
    return max(0, register_wh - started.register_wh)
