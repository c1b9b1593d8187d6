"""gpiozero's pins on the kernel's own interface; imported when the first line is asked for.

In place of gpiozero's pins on lgpio, for what those cost and do: lgpio 0.2.2 wakes up 50 times a
second once a chip is open, and 2000 times while an edge is watched; gpiozero 2.0.1 takes chip 0 or
4 whatever it is told, and claims an output first as an input and then low, which lets an active-low
relay pull for a millisecond. Here the chip is the one that was found, a pin is claimed once, as
what it shall be and at its level, and nothing wakes up.

Source: gpiozero 2.0.1 (pins/pi.py, pins/lgpio.py), lgpio 0.2.2 (lgPthTx.c, lgPthAlerts.c).
"""

from __future__ import annotations

import logging
from collections import defaultdict
from threading import Lock
from typing import TYPE_CHECKING, Any

from gpiozero.exc import PinFixedPull, PinInvalidFunction, PinSetInput, PinUnknownPi
from gpiozero.pins.local import LocalPiFactory, LocalPiPin, get_pi_revision
from gpiozero.pins.pi import PiPin

from hal.lines._kernel import Chip, InputFile, Kernel, OutputFile

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger(__name__)

PI_4B = 0xC03114  # off a Pi the lines 0 to 27 are named as on its header
_PULLS = {"up": "up", "down": "down", "floating": "none"}


class Factory(LocalPiFactory):  # type: ignore[misc]
    """Pins by the names of a Pi's header; each is told its chip before it is claimed."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        # gpiozero shares these between all factories of a process
        self.pins: dict[Any, Pin] = {}
        self._reservations: dict[Any, list[Any]] = defaultdict(list)
        self._res_lock = Lock()
        self.kernel = kernel
        self.pin_class = Pin

    def _get_revision(self) -> int:
        try:
            return int(get_pi_revision())
        except PinUnknownPi:
            return PI_4B


class Pin(LocalPiPin):  # type: ignore[misc]
    """One pin; unclaimed until it is asked for as an output or an input."""

    chip: Chip
    consumer: str

    def __init__(self, factory: Factory, info: Any) -> None:
        super().__init__(factory, info)
        self._file: OutputFile | InputFile | None = None
        self._bounce: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def output_with_state(self, state: bool) -> None:
        self._let_go()
        self._file = self.factory.kernel.output(
            self.chip, self._number, consumer=self.consumer, high=bool(state))

    def input_with_pull(self, pull: str) -> None:
        if self.info.pull not in (pull, ""):
            raise PinFixedPull(f"{self!r} has a resistor on the board that pulls it "
                               f"{self.info.pull}")
        self._let_go()
        self._file = self.factory.kernel.input(
            self.chip, self._number, consumer=self.consumer, pull=_PULLS[pull])

    def close(self) -> None:
        self.when_changed = None
        self._let_go()

    def _let_go(self) -> None:
        taken, self._file = self._file, None
        if taken is not None:
            taken.close()

    def _claimed(self) -> OutputFile | InputFile:
        if self._file is None:
            raise PinInvalidFunction(f"{self!r} is claimed neither as an output nor as an input")
        return self._file

    @property
    def factory(self) -> Factory:
        factory: Factory = self._factory
        return factory

    def _get_function(self) -> str:
        return "output" if isinstance(self._file, OutputFile) else "input"

    def _set_function(self, value: str) -> None:
        raise PinInvalidFunction(f"{self!r} is claimed with its level or its pull, not as {value}")

    def _get_state(self) -> bool:
        return self._claimed().high()

    def _set_state(self, value: bool) -> None:
        file = self._claimed()
        if isinstance(file, InputFile):
            raise PinSetInput(f"cannot set state of pin {self!r}")
        file.drive(high=bool(value))

    def _get_bounce(self) -> float | None:
        return self._bounce

    def _set_bounce(self, value: float | None) -> None:
        self._bounce = value

    def _get_edges(self) -> str:
        return "both"

    def _set_edges(self, value: str) -> None:
        if value != "both":
            raise PinInvalidFunction(f"{self!r}: edges are watched both ways, not {value}")

    def _enable_event_detect(self) -> None:
        file = self._claimed()
        assert isinstance(file, InputFile)
        file.watch(debounce_us=round((self._bounce or 0.0) * 1e6))
        import asyncio  # who only drives outputs off waits for no more than that

        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(file.fd, self._told, file)

    def _disable_event_detect(self) -> None:
        if self._loop is not None and self._file is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._file.fd)
        self._loop = None

    def _told(self, file: InputFile) -> None:
        try:
            file.forget_edges()
            high: bool | None = file.high()
        except OSError as error:  # the chip is gone: who reads next finds out
            log.debug("%r: %s", self, error)
            self._disable_event_detect()
            high = None
        PiPin._call_when_changed(self, 0.0, high)
