"""gpiozero's pins on lgpio, as a station needs them; imported when the first line is asked for.

Different from gpiozero's own: the chip is the one that was found, not chip 0; a pin is claimed
once, as what it shall be and at its level (gpiozero's is an input first, then low, which lets an
active-low relay pull for a millisecond); and inputs are the kernel's. lgpio 0.2.2 watches edges in
a thread that looks every 0.5 ms.

Source: gpiozero 2.0.1 (pins/lgpio.py, pins/pi.py), lgpio 0.2.2 (lgPthAlerts.c, lgNotify.c).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import tempfile
from collections import defaultdict
from threading import Lock
from typing import Any

from hal.lines._kernel import Chip, InputFile, Kernel

log = logging.getLogger(__name__)


def _import_lgpio() -> Any:
    """lgpio makes a FIFO in the working directory when it is imported: give it one of its own."""
    with tempfile.TemporaryDirectory(prefix="cpctl-lgpio-") as folder, contextlib.chdir(folder):
        before = os.environ.get("LG_WD")
        os.environ["LG_WD"] = folder
        try:
            import lgpio
        finally:
            if before is None:
                del os.environ["LG_WD"]
            else:
                os.environ["LG_WD"] = before
    return lgpio


lgpio = _import_lgpio()

from gpiozero.exc import PinFixedPull, PinSetInput, PinUnknownPi  # noqa: E402
from gpiozero.pins.lgpio import LGPIOFactory, LGPIOPin  # noqa: E402
from gpiozero.pins.local import LocalPiFactory, LocalPiPin, get_pi_revision  # noqa: E402
from gpiozero.pins.pi import PiPin  # noqa: E402

PI_4B = 0xC03114  # off a Pi the lines 0 to 27 are named as on its header
FAILURES = (lgpio.error, OSError)
_PULLS = {"up": "up", "down": "down", "floating": "none"}


class Factory(LGPIOFactory):  # type: ignore[misc]
    """The pins of one chip."""

    def __init__(self, chip: Chip, kernel: Kernel) -> None:
        LocalPiFactory.__init__(self)
        # gpiozero shares these between all factories of a process; a chip that comes back is a new
        # one and has new pins
        self.pins: dict[Any, Pin] = {}
        self._reservations: dict[Any, list[Any]] = defaultdict(list)
        self._res_lock = Lock()
        self.found, self.kernel = chip, kernel
        number = re.search(r"\d+$", chip.path)
        self._handle = None
        self._handle = lgpio.gpiochip_open(int(number.group()) if number else 0)
        self._chip = chip.path
        self.pin_class = Pin

    def _get_revision(self) -> int:
        try:
            return int(get_pi_revision())
        except PinUnknownPi:
            return PI_4B


class Pin(LGPIOPin):  # type: ignore[misc]
    """One pin; unclaimed until it is asked for as an output or an input."""

    consumer = "cpctl"

    def __init__(self, factory: Factory, info: Any) -> None:
        LocalPiPin.__init__(self, factory, info)
        self._pwm = self._callback = None
        self._bounce: float | None = None
        self._input: InputFile | None = None
        self._output = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def output_with_state(self, state: bool) -> None:
        self._let_go()
        lgpio.gpio_claim_output(self.factory._handle, self._number, int(bool(state)))
        self._output = True

    def input_with_pull(self, pull: str) -> None:
        if self.info.pull not in (pull, ""):
            raise PinFixedPull(f"{self!r} has a resistor on the board that pulls it "
                               f"{self.info.pull}")
        self._let_go()
        self._input = self.factory.kernel.input(
            self.factory.found, self._number, consumer=self.consumer, pull=_PULLS[pull])

    def close(self) -> None:
        self.when_changed = None
        self._let_go()

    def _let_go(self) -> None:
        if self._output:
            self._output = False
            try:
                lgpio.gpio_free(self.factory._handle, self._number)
            except lgpio.error as error:  # with a chip that is gone, its lines are
                log.debug("%r: %s", self, error)
        if self._input is not None:
            taken, self._input = self._input, None
            taken.close()

    def _get_function(self) -> str:
        return "output" if self._output else "input"

    def _set_function(self, value: str) -> None:
        raise NotImplementedError("a pin is claimed with its level or its pull")

    def _get_state(self) -> bool:
        if self._input is not None:
            return self._input.high()
        return bool(lgpio.gpio_read(self.factory._handle, self._number))

    def _set_state(self, value: bool) -> None:
        if not self._output:
            raise PinSetInput(f"cannot set state of pin {self!r}")
        lgpio.gpio_write(self.factory._handle, self._number, int(bool(value)))

    def _get_bounce(self) -> float | None:
        return self._bounce

    def _set_bounce(self, value: float | None) -> None:
        self._bounce = value

    def _get_edges(self) -> str:
        return "both"

    def _set_edges(self, value: str) -> None:
        if value != "both":
            raise NotImplementedError("edges are watched both ways")

    def _enable_event_detect(self) -> None:
        assert self._input is not None
        self._input.watch(debounce_us=round((self._bounce or 0.0) * 1e6))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._input.fd, self._told)

    def _disable_event_detect(self) -> None:
        if self._loop is not None and self._input is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._input.fd)
        self._loop = None

    def _told(self) -> None:
        assert self._input is not None
        try:
            self._input.forget_edges()
            high: bool | None = self._input.high()
        except OSError as error:  # the chip is gone: who reads next finds out
            log.debug("%r: %s", self, error)
            self._disable_event_detect()
            high = None
        PiPin._call_when_changed(self, 0.0, high)
