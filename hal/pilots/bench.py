"""Control pilot by a PWM output and an analogue input of the computer itself: for the bench only.

Not for productive use. At 6 A the high level lasts 100 µs and no program meets it: the levels come
through peak detectors for both halves, and what they say is late. The daemon's death leaves the PWM
running, so that the car goes on being offered current; nothing here opens a contactor within the
100 ms of IEC 61851-1 when the machine is busy. A pilot board does both by itself. See
docs/bench.md.

Source: IEC 61851-1 Annex A and B (pilot_signal.py), the kernel's PWM and IIO classes (pwm.py,
iio.py).
Field:  not yet.

A thread of its own samples the pilot: every 20 ms while current is on offer, every 250 ms while a
car is plugged, once a second otherwise, and at once when asked; each change is told by itself.
It is left at state F when closed.
"""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from hal.aside import aside
from hal.contracts import ControlPilot, Option, Parts
from hal.errors import BadConfig, HalError
from hal.iio import Adc
from hal.lookout import Lookout
from hal.pilot_signal import PERIOD_NS, Judge, Verdict, duty_percent, signalled_a
from hal.proximities.iio import DIVIDER, rating_a
from hal.pwm import Pwm
from hal.sysfs import Sysfs
from hal.values import Offer, OfferKind, PilotReading

log = logging.getLogger(__name__)

OFFERED_S = 0.02
PLUGGED_S = 0.25
IDLE_S = 1.0
BETWEEN_S = 0.005  # two samples of one look
SAMPLES_MOST = 5  # in one look
CABLE_S = 1.0  # how old a measured cable may be
LATE_S = 0.1  # a car that leaves state C is to be noticed by then
FULL = PERIOD_NS  # steady +12 V
NONE = 0  # steady -12 V


class Pilot(ControlPilot):
    pushes = True
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("pwm_chip", str, "", help="device of the PWM, as 1f00098000.pwm; without it the "
               "only one there is"),
        Option("pwm_channel", int, 0, minimum=0, maximum=15),
        Option("pwm_inverted", bool, False, help="the driver stage turns the signal over"),
        Option("adc", str, "", help="name of the analogue input, as ads1015, or its folder, as "
               "1-0048; without it the only one there is"),
        Option("high_channel", int, required=True, minimum=0, maximum=31,
               help="channel of the positive peak"),
        Option("low_channel", int, required=True, minimum=0, maximum=31,
               help="channel of the negative peak"),
        Option("high_gain", float, required=True,
               help="volts of the pilot per volt at the channel"),
        Option("high_offset_v", float, 0.0, help="added to that"),
        Option("low_gain", float, required=True),
        Option("low_offset_v", float, 0.0),
        Option("cable_channel", int, None, minimum=0, maximum=31,
               help="channel of the proximity contact of a socket outlet"),
        *DIVIDER,
    )

    @classmethod
    def unfit(cls, options: Mapping[str, Any]) -> str:
        return ("the bench driver: it offers current until somebody stops it, and sees late that a "
                "car stops asking (docs/bench.md)")

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        defaults = {option.name: option.default for option in self.OPTIONS}
        super().__init__(name, evse, {**defaults, **options}, parts)
        for gain in ("high_gain", "low_gain"):
            if not self.options[gain]:
                raise BadConfig(f"{name}: {gain} is 0; it is the ratio of the divider")
        self.sysfs = Sysfs()
        self.nap: Callable[[float], object] = time.sleep
        self.monotonic_s: Callable[[], float] = time.monotonic
        self._listener: Callable[[PilotReading], None] = lambda reading: None
        self._lookout: Lookout[PilotReading] = Lookout(
            name, self._look, pause_s=self._pause_s, failed=self._failed)
        self._forget()

    def _forget(self) -> None:
        """As at the first opening."""
        self._judge = Judge()
        self._told: PilotReading | None = None
        self._offer_a: float | None = None  # on the pilot; None: no duty cycle
        self._cable: tuple[float | None, float] | None = None  # rating, when it was measured
        self._looked_s: float | None = None
        self._late_told = False
        self._pwm = Pwm(self.name, self.sysfs, self.options["pwm_chip"],
                        self.options["pwm_channel"], inverted=self.options["pwm_inverted"],
                        nap=self.nap)
        self._adc = Adc(self.name, self.sysfs, self.options["adc"])

    async def open(self) -> None:
        await self.close()
        self._forget()
        await aside(self._open_both, f"open {self.name}")
        self._lookout.start()

    def _open_both(self) -> None:
        """First of all nothing is on offer any more, whoever offered it before."""
        self._pwm.open(PERIOD_NS, FULL)
        channels = [self.options["high_channel"], self.options["low_channel"]]
        if self.options["cable_channel"] is not None:
            channels.append(self.options["cable_channel"])
        self._adc.open(tuple(channels))

    async def close(self) -> None:
        await self._lookout.close()
        self._offer_a = None
        self._pwm.leave(NONE)

    async def read(self) -> PilotReading:
        return await self._lookout.now()

    def listen(self, listener: Callable[[PilotReading], None]) -> None:
        self._listener = listener

    async def offer(self, offer: Offer) -> None:
        match offer.kind:
            case OfferKind.CURRENT:
                self._put(offer.current_a)
            case OfferKind.NONE:
                self._steady(FULL)
            case OfferKind.UNAVAILABLE:
                self._steady(NONE)
        self._lookout.hurry()

    def _put(self, current_a: float) -> None:
        try:
            duty_ns = round(PERIOD_NS * duty_percent(current_a) / 100.0)
        except ValueError as error:
            raise BadConfig(f"{self.name}: {error}") from error
        self._pwm.set(duty_ns)
        self._offer_a = signalled_a(current_a)
        self._late_told = False

    def _steady(self, duty_ns: int) -> None:
        self._pwm.set(duty_ns)
        self._offer_a = None

    # --- in the thread ------------------------------------------------------------------------

    def _pause_s(self) -> float:
        if self._offer_a is not None:
            return OFFERED_S
        told = self._told
        plugged = told is not None and told.state is not None and told.state.plugged
        return PLUGGED_S if plugged else IDLE_S

    def _look(self) -> PilotReading:
        """Samples until they agree. Raises HalError."""
        for number in range(SAMPLES_MOST):
            if number:
                self.nap(BETWEEN_S)
            verdict = self._sample()
            if verdict.settled:
                break
        self._note_pace()
        plugged = verdict.state is not None and verdict.state.plugged
        reading = PilotReading(verdict.state, self._rating_a() if plugged else None,
                               offered_a=self._offer_a or 0.0, diode_ok=verdict.diode_ok)
        before, self._told = self._told, reading
        if before is None or _news(before) != _news(reading):
            self._listener(reading)
        return reading

    def _sample(self) -> Verdict:
        options = self.options
        high_v = (self._adc.volts(options["high_channel"]) * options["high_gain"]
                  + options["high_offset_v"])
        low_v = (self._adc.volts(options["low_channel"]) * options["low_gain"]
                 + options["low_offset_v"])
        return self._judge.take(high_v, low_v, swings=self._offer_a is not None,
                                now_s=self.monotonic_s())

    def _rating_a(self) -> float | None:
        """Of the plugged cable; None: no contact is wired; 0: it shows nothing that is known."""
        channel = self.options["cable_channel"]
        if channel is None:
            return None
        now_s = self.monotonic_s()
        if self._cable is None or now_s - self._cable[1] > CABLE_S or not _was_plugged(self._told):
            self._cable = rating_a(self._adc.volts(channel), self.options), now_s
        return self._cable[0]

    def _note_pace(self) -> None:
        before, self._looked_s = self._looked_s, self.monotonic_s()
        if (self._offer_a is not None and before is not None and not self._late_told
                and self._looked_s - before > LATE_S and _was_offered(self._told)):
            self._late_told = True
            log.warning("%s: looked at the pilot only after %.0f ms; a car that stops asking is "
                        "noticed too late: use a pilot board", self.name,
                        (self._looked_s - before) * 1000.0)

    def _failed(self, error: HalError) -> None:
        """The state is unknown; who hears of it reads, and learns why."""
        before, self._told = self._told, PilotReading(None)
        if before is None or before.state is not None:
            log.debug("%s", error)
            self._listener(self._told)


def _news(reading: PilotReading) -> tuple[Any, ...]:
    return reading.state, reading.cable_a, reading.diode_ok


def _was_plugged(reading: PilotReading | None) -> bool:
    return reading is not None and reading.state is not None and reading.state.plugged


def _was_offered(reading: PilotReading | None) -> bool:
    return reading is not None and bool(reading.offered_a)
