"""The control pilot and the cable's coding in numbers: duty cycle, voltages, resistances. Pure.

Sources: IEC 61851-1 Annex A (duty cycle, voltages) and Annex B (proximity), second hand: EVerest's
`Charger.cpp`, makers' application notes; to be checked against the standard before productive use.
"""

from hal.late import dataclass
from hal.values import PilotState

PERIOD_NS = 1_000_000  # 1 kHz
LEAST_A = 6.0
MOST_A = 80.0
KNEE_A = 51.0  # up to here a percent is 0.6 A, above it 2.5 A; 51 to 52.5 A have no code

# Volts of the high level at the EVSE: at least, at most.
BANDS: tuple[tuple[PilotState, float, float], ...] = (
    (PilotState.A, 11.0, 13.0),
    (PilotState.B, 8.0, 10.0),
    (PilotState.C, 5.0, 7.0),
    (PilotState.D, 2.0, 4.0),
    (PilotState.E, -1.0, 1.0),
    (PilotState.F, -13.0, -11.0),
)
DIODE_V = -11.0  # the low level of a pilot with a diode behind it is not higher

SAMPLES = 3  # equal ones make a state, unless a car stops asking: that is believed at once
NOWHERE_S = 1.0  # between the bands for longer: no state any more
DIODE_SETTLES_S = 0.2  # after the pilot begins to swing

# Ohms between proximity and earth: at least, at most, amperes per phase.
CABLES: tuple[tuple[float, float, float], ...] = (
    (1_100.0, 2_460.0, 13.0),
    (400.0, 936.0, 20.0),
    (164.0, 308.0, 32.0),
    (80.0, 140.0, 63.0),
)
NO_CABLE_OHM = 4_500.0


def signalled_a(current_a: float) -> float:
    """The current that a pilot can say, not above `current_a`. A per phase, 6 to 80.

    Raises ValueError outside of that: less cannot be said, but by withdrawing the offer.
    """
    if not LEAST_A <= current_a <= MOST_A:
        raise ValueError(f"{current_a:g} A cannot be put on a pilot; it says 6 to 80 A")
    return KNEE_A if KNEE_A < current_a <= 52.5 else current_a


def duty_percent(current_a: float) -> float:
    """The duty cycle that offers `current_a`, 10 to 96 %. Raises ValueError as `signalled_a`."""
    told_a = signalled_a(current_a)
    return told_a / 0.6 if told_a <= KNEE_A else told_a / 2.5 + 64.0


def read_by_car_a(duty: float) -> float | None:
    """What a car may draw at a duty cycle in percent; None: it waits for digital communication."""
    if 3.0 <= duty <= 7.0:
        return None
    if duty < 8.0 or duty > 97.0:
        return 0.0
    if duty < 10.0:
        return LEAST_A
    if duty <= 85.0:
        return duty * 0.6
    return min((duty - 64.0) * 2.5, MOST_A)


def band_of(high_v: float) -> PilotState | None:
    """The state whose band a high level is in; None: between the bands."""
    for state, least_v, most_v in BANDS:
        if least_v <= high_v <= most_v:
            return state
    return None


def cable_a(ohm: float) -> float | None:
    """The rating of a cable by its coding resistor; None: no cable; 0: none that may be used."""
    if ohm > NO_CABLE_OHM:
        return None
    for least, most, rating_a in CABLES:
        if least <= ohm <= most:
            return rating_a
    return 0.0


@dataclass(frozen=True)
class Verdict:
    """What the samples so far make of the pilot. `settled` False: the next sample may change it."""

    state: PilotState | None
    diode_ok: bool
    settled: bool


class Judge:
    """Makes states of samples, with the patience and the haste that a pilot wants.

    A state needs `SAMPLES` equal samples; a car that stops asking is believed at the first. Between
    two bands the old state holds, for at most `NOWHERE_S`. The diode is looked for while the pilot
    swings; it is there without proof, and again when the plug has been pulled.
    """

    def __init__(self) -> None:
        self._state: PilotState | None = None
        self._diode_ok = True
        self._candidate: PilotState | None = None
        self._seen = 0
        self._against_diode = 0  # samples in a row that contradict `_diode_ok`
        self._nowhere_since_s: float | None = None
        self._swings_since_s: float | None = None

    def take(self, high_v: float, low_v: float, *, swings: bool, now_s: float) -> Verdict:
        """One sample: the peaks of both halves, in V. `swings`: there is a duty cycle."""
        seen = band_of(high_v)
        if seen is None:
            self._between(now_s)
        else:
            self._nowhere_since_s = None
            self._count(seen)
        self._judge_diode(low_v, swings, now_s)
        settled = self._candidate is None and not self._against_diode
        return Verdict(self._state, self._diode_ok, settled)

    def _between(self, now_s: float) -> None:
        self._candidate, self._seen = None, 0
        if self._nowhere_since_s is None:
            self._nowhere_since_s = now_s
        if now_s - self._nowhere_since_s > NOWHERE_S:
            self._state = None

    def _count(self, seen: PilotState) -> None:
        if seen is self._state:
            self._candidate, self._seen = None, 0
            return
        self._seen = self._seen + 1 if seen is self._candidate else 1
        self._candidate = seen
        stops_asking = self._state is not None and self._state.asks and not seen.asks
        if stops_asking or self._seen >= SAMPLES:
            self._state, self._candidate, self._seen = seen, None, 0

    def _judge_diode(self, low_v: float, swings: bool, now_s: float) -> None:
        if not swings:
            self._swings_since_s = None
        elif self._swings_since_s is None:
            self._swings_since_s = now_s
        if self._state is PilotState.A:
            self._diode_ok, self._against_diode = True, 0
        plugged = self._state is not None and self._state.plugged
        since_s = self._swings_since_s
        if not plugged or since_s is None or now_s - since_s < DIODE_SETTLES_S:
            return
        self._against_diode += 1
        if (low_v <= DIODE_V) is self._diode_ok:
            self._against_diode = 0
        elif self._against_diode >= SAMPLES:
            self._diode_ok, self._against_diode = not self._diode_ok, 0
