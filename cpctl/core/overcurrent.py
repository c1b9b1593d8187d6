"""A car that draws more than it was offered. Pure.

Looked at with each reading of the meter while power is on. The breaker protects the cable; this
keeps a car that does not follow its pilot from the current that others were promised.
Source: tolerance in percent, noise in A and a time, as EVerest has them (EvseManager, over-current
supervision); IEC 61851-1 (5 s to follow a new duty cycle, second hand).
"""

from __future__ import annotations

from dataclasses import replace

from cpctl.core import sharing
from cpctl.core.faults import FaultCode
from cpctl.core.limits import FOLLOW_S
from cpctl.core.now import NS_PER_S, Now
from cpctl.core.settings import Settings
from cpctl.core.state import Evse, PowerState
from hal.values import MeterReading

DREW = "drew"  # how the detail of a fault that was found here begins


def watched(evse: Evse, now: Now, settings: Settings, voltage_v: float) -> tuple[Evse, str]:
    """The EVSE after a good reading, and the detail of the fault once it has lasted; "" for none.

    A reading without currents is judged by its power, spread evenly: it may miss one phase too
    many, it accuses no car wrongly.
    """
    limit_s = settings.integer("hardware.over_current_s")
    drawn_a = _drawn_a(evse.meter.good, evse.layout.phases, voltage_v)
    allowed_a = _allowed_a(evse, settings)
    exceeds = (limit_s > 0 and drawn_a > allowed_a and evse.power.state is PowerState.ON
               and not _may_still_follow(evse, now))
    since = None
    if exceeds:
        since = now.mono_ns if evse.meter.over_since is None else evse.meter.over_since
    if since != evse.meter.over_since:
        evse = replace(evse, meter=replace(evse.meter, over_since=since))
    if since is None or now.mono_ns - since <= limit_s * NS_PER_S:
        return evse, ""
    return evse, f"{DREW} {drawn_a:.1f} A, {sharing.on_the_board_a(evse):g} A on offer"


def forgiven(evse: Evse) -> Evse:
    """The car is gone, and with it what was found here; what a device tells stays."""
    kept = tuple(fault for fault in evse.faults if not (
        fault.code is FaultCode.OVER_CURRENT and fault.detail.startswith(DREW)))
    return evse if len(kept) == len(evse.faults) else replace(evse, faults=kept)


def _allowed_a(evse: Evse, settings: Settings) -> float:
    tolerance = 1 + settings.integer("hardware.over_current_percent") / 100
    return sharing.on_the_board_a(evse) * tolerance + settings.integer("hardware.over_current_a")


def _may_still_follow(evse: Evse, now: Now) -> bool:
    """The offer has just changed, or the board has just confirmed a lower one."""
    offering = evse.offering
    return now.since(offering.since) < FOLLOW_S or now.mono_ns < offering.counts_until


def _drawn_a(reading: MeterReading | None, phases: int, voltage_v: float) -> float:
    """In the most loaded phase, as far as it is known."""
    if reading is None:
        return 0.0
    if reading.currents_a:
        return max(reading.currents_a)
    return (reading.power_w or 0.0) / (voltage_v * phases)
