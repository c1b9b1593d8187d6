"""The coding of a plugged cable, by the resistor between proximity and earth, on an analogue input.

Source: IEC 61851-1 Annex B (pilot_signal.py), the kernel's IIO class (iio.py).
Field:  not yet.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from hal.aside import aside
from hal.contracts import Option, Parts
from hal.contracts import Proximity as Contract
from hal.iio import Adc
from hal.pilot_signal import cable_a
from hal.sysfs import Sysfs

DIVIDER: tuple[Option, ...] = (
    Option("cable_pullup_ohm", float, 1000.0, minimum=1, maximum=1e6,
           help="from the supply of the proximity contact"),
    Option("cable_supply_v", float, 3.3, minimum=1, maximum=15),
)


def rating_a(volts: float, options: Mapping[str, Any]) -> float:
    """What a cable may carry, in A per phase, by the voltage at its resistor; 0: nothing known."""
    supply_v: float = options["cable_supply_v"]
    if volts >= supply_v:
        return 0.0
    ohm = options["cable_pullup_ohm"] * max(volts, 0.0) / (supply_v - volts)
    return cable_a(ohm) or 0.0


class Proximity(Contract):
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("adc", str, "", help="name of the analogue input, as ads1015, or its folder, as "
               "1-0048; without it the only one there is"),
        Option("channel", int, required=True, minimum=0, maximum=31,
               help="channel of the proximity contact"),
        *DIVIDER,
    )

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        defaults = {option.name: option.default for option in self.OPTIONS}
        super().__init__(name, evse, {**defaults, **options}, parts)
        self.sysfs = Sysfs()

    async def open(self) -> None:
        self._adc = Adc(self.name, self.sysfs, self.options["adc"])
        await aside(lambda: self._adc.open((self.options["channel"],)), f"open {self.name}")

    async def cable_a(self) -> float:
        volts = await aside(lambda: self._adc.volts(self.options["channel"]), self.name)
        return rating_a(volts, self.options)
