"""One simulated EVSE: what is plugged, offered, closed and counted at it.

Plain state and what follows from it; when something happens is `board.py`'s.
"""

from collections.abc import Callable
from dataclasses import field

from hal.late import dataclass
from hal.sim.car import MILLI, Car
from hal.values import (
    NO_OFFER,
    MeterReading,
    Offer,
    OfferKind,
    PilotReading,
    PilotState,
)

MW_NS_PER_WH = 3_600 * MILLI * 10**9  # 1 Wh in mW·ns

PilotListener = Callable[[PilotReading], None]


@dataclass
class Post:
    """The world at one EVSE. `contact` is the main contact, `coil` the order to it."""

    register_base_wh: int
    accounted_ns: int
    car: Car | None = None
    offer: Offer = NO_OFFER
    connector: int | None = None  # in which the car is, when somebody said so
    by_hand: PilotState | None = None  # E or F set by hand
    faults: set[str] = field(default_factory=set)
    coil: bool = False
    contact: bool = False
    stuck_feedback: bool = False
    locked: bool = False
    cable_a: float | None = None
    cable_type: str | None = None
    energy_mw_ns: int = 0  # on top of register_base_wh
    shown_power_mw: int | None = None
    voltage_v: float = 230.0
    noise: float = 0.0
    shown_pattern: str = "off"
    intensity_percent: int = 100
    blink_times: int = 3
    plan: int = 0  # number of the car's plan; an older one is void
    told: PilotReading | None = None
    listeners: list[PilotListener] = field(default_factory=list)

    @property
    def register_wh(self) -> int:
        return self.register_base_wh + self.energy_mw_ns // MW_NS_PER_WH

    @property
    def power_mw(self) -> int:
        """What flows now; nothing through an open contact."""
        if not self.contact:
            return 0
        if self.shown_power_mw is not None:
            return self.shown_power_mw
        if self.car is None:
            return 0
        return self.car.draw_mw(self.voltage_v, self.car.charged_ns)

    @property
    def pilot_state(self) -> PilotState:
        if "pilot_e" in self.faults:
            return PilotState.E
        if "pilot_f" in self.faults or self.offer.kind is OfferKind.UNAVAILABLE:
            return PilotState.F
        if self.by_hand is not None:
            return self.by_hand
        return PilotState.A if self.car is None else self.car.state

    def pilot_reading(self) -> PilotReading:
        plugged = self.car is not None
        return PilotReading(
            state=self.pilot_state,
            cable_a=self.cable_a if plugged else None,
            offered_a=self.offer.current_a if self.offer.kind is OfferKind.CURRENT else 0.0,
            diode_ok=not (plugged and "diode" in self.faults),
            connector=self.connector if plugged else None)

    def set_register(self, register_wh: int) -> None:
        self.register_base_wh, self.energy_mw_ns = register_wh, 0

    def give_faults(self) -> None:
        """The plugged car has the faults that are set here."""
        if self.car is not None:
            self.car.no_s2 = "no_s2" in self.faults
            self.car.stuck_in_c = "stuck_in_c" in self.faults
            self.car.greedy = "greedy" in self.faults

    def set_coil(self, *, on: bool) -> None:
        """The contact follows the coil, as far as it can."""
        self.coil = on
        if on and "did_not_close" not in self.faults:
            self.contact = True
        if not on and "weld" not in self.faults:
            self.contact = False

    def account(self, until_ns: int) -> None:
        """Book the energy that has flowed up to `until_ns`, the demand curve followed."""
        left_ns = until_ns - self.accounted_ns
        while left_ns > 0:
            car = self.car if self.contact else None
            charging = car is not None and car.s2_closed
            step_ns = left_ns
            if car is not None and charging:
                change_ns = car.next_change_ns(car.charged_ns)
                if change_ns is not None:
                    step_ns = min(step_ns, change_ns - car.charged_ns)
            self.energy_mw_ns += self.power_mw * step_ns
            self.accounted_ns += step_ns
            left_ns -= step_ns
            if car is not None and charging:
                car.charged_ns += step_ns

    def meter_reading(
        self, serial: str, phases: int, spread: Callable[[float], float]
    ) -> MeterReading:
        """What a three-phase meter shows; `spread` is the noise on what is not counted."""
        if self.car is not None:
            phases = self.car.kind.phases
        power_w = self.power_mw / MILLI
        powers_w = tuple(spread(power_w / phases) if phase < phases else 0.0 for phase in range(3))
        voltages_v = tuple(spread(self.voltage_v) for _ in range(3))
        return MeterReading(
            energy_import_wh=self.register_wh,
            power_w=sum(powers_w) if self.noise else power_w,
            powers_w=powers_w,
            currents_a=tuple(p / v if v else 0.0
                             for p, v in zip(powers_w, voltages_v, strict=True)),
            voltages_v=voltages_v,
            power_factor=1.0,
            frequency_hz=50.0,
            serial=serial)
