"""A thermometer of the kernel as a safety input: good below a limit.

One-wire sensors (DS18B20, 1-Wire by overlay w1-gpio), chips of the hardware monitor (LM75, …), and
thermal zones.
Source: Maxim, "DS18B20" (85 °C after power-on, -55 to 125 °C, 750 ms for a conversion); the
kernel's w1_therm.rst, hwmon/sysfs-interface.rst and sysfs-class-thermal: millidegrees Celsius.
Field:  not yet.

A reading blocks for a conversion, so a thread makes them: when the input is asked for and the last
one is 4 s old. What was judged holds for 5 s; after that the answer waits for a reading, and
without one there is none. It trips at the limit and is good again `hysteresis_k` below it. There is
no derating: it charges fully or not at all.
"""

import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from hal.aside import aside
from hal.contracts import Inputs, Option, Parts
from hal.errors import BadConfig, BadReading, DeviceGone, HalError
from hal.lookout import Lookout
from hal.sysfs import Sysfs, why

log = logging.getLogger(__name__)

W1 = "/sys/bus/w1/devices"
HWMON = "/sys/class/hwmon"
ZONES = "/sys/class/thermal"
AGAIN_S = 4.0
FRESH_S = 5.0
POWER_ON_C = 85.0  # what a one-wire sensor says before its first conversion
NEAR_K = 5.0  # a true 85 °C comes from a temperature near it
LEAST_C, MOST_C = -55.0, 150.0

_ONE_WIRE = re.compile(r"[0-9a-f]{2}-[0-9a-f]{12}")


class SafetyInput(Inputs):
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("sensor", str, "", help="28-0316a2796fff (one-wire), the name of a chip (lm75), or "
               "the type of a thermal zone"),
        Option("channel", int, 1, minimum=1, maximum=32, help="of a chip"),
        Option("path", str, "", help="the file itself, in place of a sensor"),
        Option("limit_c", float, required=True, minimum=0, maximum=125,
               help="at this temperature it is not good any more: limit_c = 70"),
        Option("hysteresis_k", float, 5.0, minimum=0, maximum=50,
               help="good again so much below the limit"),
    )

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        defaults = {option.name: option.default for option in self.OPTIONS}
        super().__init__(name, evse, {**defaults, **options}, parts)
        if bool(self.options["sensor"]) == bool(self.options["path"]):
            raise BadConfig(f"{name}: name a sensor or a path, one of them")
        self.sysfs = Sysfs()
        self.monotonic_s: Callable[[], float] = time.monotonic
        self.celsius: float | None = None  # the last reading
        self._path = ""
        self._good: bool | None = None  # as last judged; None: nothing that still holds
        self._tripped = False
        self._read_s = 0.0
        self._lookout: Lookout[bool] = Lookout(
            name, self._look, pause_s=lambda: None, failed=self._failed)

    async def open(self) -> None:
        await self.close()
        self._path = self.options["path"] or await aside(self._find, f"find {self.name}")
        self.celsius = self._good = None
        self._lookout.start()
        await self._lookout.now()

    async def close(self) -> None:
        await self._lookout.close()
        self._good = None

    async def good(self) -> bool:
        good, age_s = self._good, self.monotonic_s() - self._read_s
        if good is None or age_s > FRESH_S:
            return await self._lookout.now()
        if age_s > AGAIN_S:
            self._lookout.hurry()
        return good

    # --- which file ---------------------------------------------------------------------------

    def _find(self) -> str:
        """The file of the sensor. Raises DeviceGone, naming the sensors there are."""
        sensor = self.options["sensor"]
        if _ONE_WIRE.fullmatch(sensor.lower()):
            return f"{W1}/{sensor.lower()}/temperature"
        found: list[str] = []
        for folder, prefix, label, file in (
                (HWMON, "hwmon", "name", f"temp{self.options['channel']}_input"),
                (ZONES, "thermal_zone", "type", "temp")):
            for device in self._names(folder, prefix):
                name = self._word(f"{folder}/{device}/{label}")
                if name == sensor:
                    return f"{folder}/{device}/{file}"
                found.append(name)
        found += self._names(W1, "")
        raise DeviceGone(f"{self.name}: there is no sensor {sensor!r} (there: "
                         f"{', '.join(found) or 'none'}); check its wiring and the overlay in "
                         "config.txt")

    def _names(self, folder: str, prefix: str) -> list[str]:
        try:
            return [name for name in self.sysfs.names(folder) if name.startswith(prefix)]
        except OSError:  # that kind of sensor is not there at all
            return []

    def _word(self, path: str) -> str:
        try:
            return self.sysfs.read(path)
        except OSError:
            return "?"

    # --- in the thread ------------------------------------------------------------------------

    def _look(self) -> bool:
        """Read and judge. Raises DeviceGone, BadReading."""
        celsius = self._plausible(self._read())
        self.celsius, self._read_s = celsius, self.monotonic_s()
        limit_c: float = self.options["limit_c"]
        again_c: float = limit_c - self.options["hysteresis_k"]
        good = celsius <= again_c if self._tripped else celsius < limit_c
        self._good, self._tripped = good, not good
        return good

    def _read(self) -> float:
        try:
            text = self.sysfs.read(self._path)
        except OSError as error:
            raise DeviceGone(f"{self.name}: {self._path}: {why(error)}; check the sensor's "
                             "wiring") from error
        try:
            return int(text) / 1000.0
        except ValueError:
            raise BadReading(f"{self.name}: {self._path} reads {text!r}; check the sensor's "
                             "wiring") from None

    def _plausible(self, celsius: float) -> float:
        """Raises BadReading for what a sensor says when it does not measure."""
        if not LEAST_C <= celsius <= MOST_C:
            raise BadReading(f"{self.name}: {celsius:g} °C cannot be; check the sensor's wiring")
        if celsius == POWER_ON_C and _ONE_WIRE.search(self._path):
            before = self.celsius
            if before is None or abs(celsius - before) > NEAR_K:
                raise BadReading(f"{self.name}: exactly 85 °C is what the sensor says after losing "
                                 "its supply; check its wiring")
        return celsius

    def _failed(self, error: HalError) -> None:
        """One lost reading is made up for by the next; who asks when none is fresh learns why."""
        log.debug("%s", error)
