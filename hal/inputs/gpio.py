"""Safety input on a digital line: RCD, emergency stop, door, thermal switch, earth monitor.

Fail-safe by wiring: a normally closed contact holds the line at its good level, a pull takes it to
the other one, so that a broken wire reads as a trip. A polarity that would read a broken wire as
good is refused. The device must break the coil circuit itself; here it is only told.

Field:  not yet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from hal.contracts import Inputs, Option, Parts
from hal.errors import BadConfig, DeviceGone
from hal.pins import InputLine

_BAD_PULL = {"low": "down", "high": "up"}


class SafetyInput(Inputs):
    pushes: ClassVar[bool] = True
    recheck_s: ClassVar[float | None] = 30.0  # Linux 6.1 tells no edge when the chip goes
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("pin", str, required=True, role="pin", help='the line: pin = "GPIO23"'),
        Option("good_level", str, "low", choices=("low", "high"),
               help="the level while all is well; the closed contact holds it there"),
        Option("pull", str, "", choices=("", "up", "down", "none"),
               help="where a broken wire takes it; without it, away from the good level"),
        Option("debounce_ms", float, 5.0, minimum=0, maximum=100,
               help="a change counts once it has lasted so long"),
    )

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        super().__init__(name, evse, options, parts)
        good_level = str(options["good_level"])
        self._good_is_high = good_level == "high"
        self._pull = str(options["pull"]) or ("down" if self._good_is_high else "up")
        if self._pull == _BAD_PULL[good_level]:
            raise BadConfig(f"{name}: with pull = {self._pull!r} a broken wire reads as good; use "
                            "a normally closed contact that works against the pull")
        self._line: InputLine | None = None
        self._listener: Callable[[bool], None] | None = None
        self._told: bool | None = None

    async def open(self) -> None:
        """Raises DeviceGone, BadConfig."""
        await self.close()
        line = self.parts.digital(self.name).input(
            self.name, str(self.options["pin"]), active_high=self._good_is_high, pull=self._pull,
            debounce_ms=float(self.options["debounce_ms"]))
        self._line, self._told = line, None
        line.listen(self._changed)

    async def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()

    async def good(self) -> bool:
        if self._line is None:
            raise DeviceGone(f"{self.name}: {self.options['pin']} is not there any more")
        self._told = self._line.read()
        return self._told

    def listen(self, listener: Callable[[bool], None]) -> None:
        self._listener = listener

    def _changed(self, good: bool | None) -> None:
        """`good` None: the line is gone, so nothing is good."""
        if good is None:
            good, line, self._line = False, self._line, None
            if line is not None:
                line.close()
        if good is self._told:
            return
        self._told = good
        if self._listener is not None:
            self._listener(good)
