"""What the power gate knows of one EVSE. Decides nothing and touches nothing."""

from __future__ import annotations

from dataclasses import field

from cpctl.core.values import EvseLayout
from cpctl.runtime.pulse import Timer
from cpctl.runtime.trial import Trial
from hal.contracts import Contactor
from hal.late import dataclass
from hal.values import PilotState


@dataclass
class PowerPath:
    """What the gate knows of one EVSE. Times are monotonic ns of the reading."""

    layout: EvseLayout
    contactor: Contactor
    number: int = 0
    coil_on: bool = False
    armed: bool = False  # current is on offer to a board that closes by itself: leased
    asked_ns: int | None = None  # since when the car asks
    confirmed: bool = False  # the auxiliary contact was seen closed (or there is none)
    opened_ns: int | None = None  # when the coil was last switched off
    opening: bool = True  # released; the contact is not known open yet
    welded: bool = False
    order_until_ns: int | None = None  # an order to close waits for fresh readings until then
    close_by_ns: int = 0
    open_by_ns: int = 0
    look: Timer | None = None
    current_on_offer: bool = False
    barred: tuple[str, ...] = ("not_booted",)
    session_in_books: bool = False
    locked: bool = False
    pilot: PilotState | None = None
    pilot_ns: int = 0
    diode_ok: bool = True
    safety: dict[str, tuple[bool, int]] = field(default_factory=dict)
    register_ns: int | None = None
    plugged_ns: int | None = None
    lost: bool = False  # the contactor could not be driven; told once
    trial: Trial | None = None  # a contactor test goes on

    @property
    def leased(self) -> bool:
        """Power flows, or flows as soon as the car asks."""
        return self.coil_on or self.armed


def is_active(path: PowerPath) -> bool:
    """Whether power flows there or may soon: readings are then kept fresh."""
    return path.coil_on or path.current_on_offer or path.order_until_ns is not None


def passes(reason: str) -> bool:
    """Whether a moment may take the objection away: nothing is wrong, but unknown or too early."""
    return reason.endswith("_stale") or reason in (
        "loop_silent", "register_not_read", "heartbeat_starting", "pilot_unavailable",
        "contactor_resting")
