"""A simulated car: when it asks for power, and how much it draws of what it is offered.

It decides as a car does, from the offer on the pilot; the board gives it the time, applies its
answers and knows what the contactor does.
"""

from dataclasses import field

from hal.late import dataclass
from hal.values import Offer, OfferKind, PilotState

MILLI = 1000

#: (seconds of charging from which on it holds, most current in A per phase), ascending
DemandCurve = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class CarKind:
    """What a car is like. Currents in A per phase, power in W over all phases.

    `power_w` None: it takes what is offered, up to `max_current_a` and the demand curve.
    `leave_delay_s` is how long it stays in C after the offer was withdrawn.
    """

    start_delay_s: float = 0.5
    leave_delay_s: float = 0.2
    max_current_a: float = 32.0
    phases: int = 3
    power_w: float | None = None
    demand: DemandCurve = ()


@dataclass
class Car:
    """One plugged car. `auto` False: it moves only by hand.

    Faults: `no_s2` never closes its switch, `stuck_in_c` never opens it, `greedy` draws more than
    it is offered.
    """

    kind: CarKind
    auto: bool = True
    s2_closed: bool = False
    wants_ventilation: bool = False
    no_s2: bool = False
    stuck_in_c: bool = False
    greedy: bool = False
    charged_ns: int = 0  # how long current has flowed into it
    offer: Offer = field(default_factory=lambda: Offer(OfferKind.NONE))

    @property
    def state(self) -> PilotState:
        """What it puts on the pilot of a station that does not force a state itself."""
        if not self.s2_closed:
            return PilotState.B
        return PilotState.D if self.wants_ventilation else PilotState.C

    def see(self, offer: Offer) -> tuple[float, bool] | None:
        """The offer has changed: (delay in s, S2 closed) it will move to, None: it stays."""
        self.offer = offer
        if not self.auto:
            return None
        offered = offer.kind is OfferKind.CURRENT
        if offered and not self.s2_closed and not self.no_s2:
            return self.kind.start_delay_s, True
        if not offered and self.s2_closed and not self.stuck_in_c:
            return self.kind.leave_delay_s, False
        return None

    def move(self, *, s2_closed: bool) -> None:
        """S2 moves, unless a fault holds it."""
        if s2_closed and self.no_s2:
            return
        if not s2_closed and self.stuck_in_c:
            return
        self.s2_closed = s2_closed

    def draw_mw(self, voltage_v: float, charged_ns: int) -> int:
        """Power in mW it takes from a closed contact after `charged_ns` of charging."""
        if not self.s2_closed:
            return 0
        current_a = self._current_a(charged_ns)
        per_ampere_mw = voltage_v * self.kind.phases * MILLI
        power_mw = round(current_a * per_ampere_mw)
        if self.kind.power_w is not None and not self.greedy:
            power_mw = min(power_mw, round(self.kind.power_w * MILLI))
        return power_mw

    def next_change_ns(self, charged_ns: int) -> int | None:
        """Charging time at which the demand changes next; None: it does not any more."""
        for since_s, _ in self.kind.demand:
            since_ns = round(since_s * 1e9)
            if since_ns > charged_ns:
                return since_ns
        return None

    def _current_a(self, charged_ns: int) -> float:
        if self.offer.kind is OfferKind.CURRENT:
            offered_a = self.offer.current_a
        else:  # the offer is gone: only a car that ignores the pilot goes on
            offered_a = self.kind.max_current_a if self.stuck_in_c else 0.0
        if self.greedy:
            return offered_a * 1.5 + 2.0
        return min(offered_a, self.kind.max_current_a, self._demand_a(charged_ns))

    def _demand_a(self, charged_ns: int) -> float:
        demand_a = self.kind.max_current_a
        for since_s, current_a in self.kind.demand:
            if charged_ns >= round(since_s * 1e9):
                demand_a = current_a
        return demand_a
