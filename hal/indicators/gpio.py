"""Lights and buzzer on digital lines: red, green and blue lamps, any of them, and a buzzer.

What is shown how stands in the tables below and in docs/indicators.md. A pattern of two colours
lights both lamps; a lamp that is not fitted is simply missing. Lamps are on or off: dimming a line
by software takes hundreds of wake-ups a second. Timers run only while something blinks.

Field:  not yet.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from hal.contracts import Indicator, Option, Parts
from hal.errors import BadConfig, DeviceGone, HalError
from hal.late import dataclass
from hal.pins import OutputLine

log = logging.getLogger(__name__)

LAMPS = ("red", "green", "blue")

Step = tuple[tuple[str, ...], float | None]  # what is on, and for how long in s (None: for good)


@dataclass(frozen=True)
class Light:
    """Lamps that shine together; with `half_s` they blink, on and off for so long each."""

    lamps: tuple[str, ...] = ()
    half_s: float = 0.0


#: What lasts until something else is shown.
LASTING: Mapping[str, Light] = {
    "off": Light(),
    "available": Light(("green",)),
    "preparing": Light(("green",), half_s=1.0),
    "charging": Light(("blue",)),
    "suspended": Light(("blue",), half_s=1.0),
    "finishing": Light(("green", "blue")),
    "reserved": Light(("red", "green")),
    "unavailable": Light(("red",)),
    "fault": Light(("red",), half_s=0.5),
}
#: The answer to a card: the lamp that blinks so often as the settings say, and the beeps.
ANSWERS: Mapping[str, tuple[str, int, float]] = {
    "card_accepted": ("green", 1, 0.3),
    "card_refused": ("red", 3, 0.1),
}
BLINK_S = 0.2  # on, and again off, in answer to a card


class Lights(Indicator):
    adjusts: ClassVar[bool] = True
    dims: ClassVar[bool] = False
    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("red", str, "", role="pin", help="the line of the red lamp"),
        Option("green", str, "", role="pin", help="the line of the green lamp"),
        Option("blue", str, "", role="pin", help="the line of the blue lamp"),
        Option("active_high", bool, True, help="false: a lamp shines when its line is low"),
        Option("buzzer", str, "", role="pin", help="the line of the buzzer"),
        Option("buzzer_active_high", bool, True),
    )

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        super().__init__(name, evse, options, parts)
        if not any(options[one] for one in (*LAMPS, "buzzer")):
            raise BadConfig(f"{name}: no line is named; give red, green, blue or buzzer")
        self._lamps = _Player(name)
        self._buzzer = _Player(name)
        self._blink_times = 3
        self._lasting = "off"
        self._answering = False

    async def open(self) -> None:
        """All off, then what was shown last. Raises DeviceGone, BadConfig."""
        await self.close()
        for one in (*LAMPS, "buzzer"):
            player = self._lamps if one in LAMPS else self._buzzer
            high = self.options["active_high" if one in LAMPS else "buzzer_active_high"]
            if self.options[one]:
                player.lines[one] = self.parts.digital(self.name).output(
                    self.name, str(self.options[one]), active_high=bool(high))
        self._last()

    async def close(self) -> None:
        self._answering = False
        self._lamps.close()
        self._buzzer.close()

    async def adjust(self, *, intensity_percent: int, blink_times: int) -> None:
        self._blink_times = blink_times

    async def show(self, pattern: str) -> None:
        """An answer to a card is shown to its end before what lasts; a fault waits for nothing."""
        if not self._lamps.lines and not self._buzzer.lines:
            raise DeviceGone(f"{self.name}: its lines are not there any more")
        if pattern in ANSWERS:
            self._answer(*ANSWERS[pattern])
        else:
            self._lasting = pattern
            if not self._answering or pattern == "fault":
                self._last()
        self._lamps.check()
        self._buzzer.check()

    def _answer(self, lamp: str, beeps: int, beep_s: float) -> None:
        if lamp in self._lamps.lines:
            self._answering = True
            self._lamps.play(_times(self._blink_times, lamp, BLINK_S), then=self._last)
        if self._buzzer.lines:
            self._buzzer.play(_times(beeps, "buzzer", beep_s))

    def _last(self) -> None:
        self._answering = False
        light = LASTING[self._lasting]
        lamps = tuple(one for one in light.lamps if one in self._lamps.lines)
        if lamps and light.half_s:
            self._lamps.play(itertools.cycle(((lamps, light.half_s), ((), light.half_s))))
        else:
            self._lamps.play(iter(((lamps, None),)))


def _times(times: int, line: str, half_s: float) -> Iterator[Step]:
    return itertools.chain(*itertools.repeat((((line,), half_s), ((), half_s)), times))


class _Player:
    """Some outputs that play one row of steps at a time, on the timers of the event loop."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.lines: dict[str, OutputLine] = {}
        self._on: frozenset[str] = frozenset()
        self._timer: asyncio.TimerHandle | None = None
        self._steps: Iterator[Step] = iter(())
        self._then: Callable[[], None] | None = None
        self._failed: HalError | None = None

    def play(self, steps: Iterator[Step], then: Callable[[], None] | None = None) -> None:
        """In place of what is played now; `then` is called after the last step."""
        self._stop()
        self._steps, self._then = steps, then
        self._step()

    def check(self) -> None:
        """Raises what went wrong since the last look."""
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed

    def close(self) -> None:
        self._stop()
        self._failed, self._on = None, frozenset()
        while self.lines:
            _, line = self.lines.popitem()
            line.close()

    def _step(self) -> None:
        self._timer = None
        step = next(self._steps, None)
        try:
            self._light(frozenset(step[0] if step else ()))
        except HalError as error:
            if self._failed is None:
                log.warning("%s", error)
            self._failed = error
            return
        if step is None:
            then, self._then = self._then, None
            if then is not None:
                then()
        elif step[1] is not None:
            self._timer = asyncio.get_running_loop().call_later(step[1], self._step)

    def _light(self, on: frozenset[str]) -> None:
        for one in sorted(on ^ self._on):
            self.lines[one].set(on=one in on)
        self._on = on

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._then = None, None
