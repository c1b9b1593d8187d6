"""Digital lines through gpiozero on lgpio: the header of a Raspberry Pi, on Python 3.11 and 3.12.

Chip, first level and edges are ours (`_lgpio.py`); there is no other pin factory to fall back to.

Source: gpiozero 2.0.1, lgpio 0.2.2.
Field:  not yet.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

from hal.errors import BadConfig, DeviceGone
from hal.lines._finding import check_pull, chip_for, consumer, gone, line_for, not_to_be_had
from hal.lines._kernel import Chip, Kernel
from hal.pins import InputLine, Lines, OutputLine

log = logging.getLogger(__name__)

_FLOATING = {"up": "up", "down": "down", "none": "floating"}


class Bank(Lines):
    """Tests put their own `kernel` and `make_factory` here before the first line is asked for;
    `make_factory(chip, kernel)` gives a gpiozero pin factory (its MockFactory)."""

    def __init__(self, chip: str = "") -> None:
        super().__init__(chip)
        self.kernel: Any = Kernel()
        self.make_factory: Callable[[Chip, Any], Any] = _factory
        self._lock = threading.RLock()  # a contactor is opened by the dead-man's thread, too
        self._held: _Held | None = None

    def output(self, owner: str, pin: str, *, active_high: bool = True) -> OutputLine:
        def claim(held: _Held, name: str) -> OutputLine:
            device = _device(held, name, lambda pin: pin.output_with_state(not active_high))
            return _Output(held, device, owner, pin, active_high=active_high)

        line: OutputLine = self._claimed(owner, pin, claim)
        return line

    def input(self, owner: str, pin: str, *, active_high: bool = True, pull: str = "none",
              debounce_ms: float = 0.0) -> InputLine:
        check_pull(owner, pull)

        def begin(pin: Any) -> None:
            pin.consumer = consumer(owner)
            pin.input_with_pull(_FLOATING[pull])
            pin.bounce = debounce_ms / 1000 or None

        def claim(held: _Held, name: str) -> InputLine:
            return _Input(held, _device(held, name, begin), owner, pin, active_high=active_high)

        line: InputLine = self._claimed(owner, pin, claim)
        return line

    def _claimed(self, owner: str, pin: str, claim: Callable[[_Held, str], Any]) -> Any:
        chip = chip_for(owner, self.chip, self.kernel)
        number = line_for(owner, pin, chip, self.kernel)
        with self._lock:
            held = self._hold(owner, chip)
            try:
                return claim(held, f"GPIO{number}")
            except _failures() as error:
                held.spoiled |= "busy" not in str(error)
                raise not_to_be_had(owner, pin, number, chip, self.kernel, error) from error
            except _refusals() as error:
                raise BadConfig(f"{owner}: {pin} cannot be used: {error}{_advice(error)}"
                                ) from error
            finally:
                held.let_go()

    def _hold(self, owner: str, chip: Chip) -> _Held:
        """The factory of `chip`, a new one when the last is of no use any more."""
        held = self._held
        if held is None or held.spoiled or held.lines == 0 or held.chip != chip:
            try:
                factory = self.make_factory(chip, self.kernel)
            except ImportError as error:
                raise DeviceGone(
                    f"{owner}: gpiozero and lgpio are not both installed ({error}); lgpio is not "
                    'to be had for Python 3.13: set [gpio] backend = "gpiod"') from error
            except _failures() as error:
                raise DeviceGone(f"{owner}: {chip.path} ({chip.label}) cannot be opened: {error}; "
                                 "put the user of cpctl into the group gpio") from error
            held = self._held = _Held(chip, factory, self._lock)
        held.lines += 1
        return held


def _factory(chip: Chip, kernel: Kernel) -> Any:
    from hal.lines import _lgpio

    return _lgpio.Factory(chip, kernel)


def _failures() -> tuple[type[Exception], ...]:
    """What means that the chip does not do it."""
    lgpio = sys.modules.get("lgpio")  # not there before the first factory is made
    return (OSError,) if lgpio is None else (OSError, lgpio.error)


def _refusals() -> tuple[type[Exception], ...]:
    """What means that it cannot be meant."""
    from gpiozero.exc import GPIOZeroError

    return (GPIOZeroError,)


def _advice(error: Exception) -> str:
    from gpiozero.exc import PinInvalidPin

    if isinstance(error, PinInvalidPin):
        return '; lines off the header are reached with [gpio] backend = "gpiod"'
    return ""


def _device(held: _Held, name: str, begin: Callable[[Any], None]) -> Any:
    """A gpiozero device of a pin; what does not begin leaves nothing claimed."""
    from gpiozero import GPIODevice

    device = GPIODevice(name, pin_factory=held.factory)
    with contextlib.ExitStack() as undone:
        undone.callback(device.close)
        begin(device.pin)
        undone.pop_all()
    return device


class _Held:
    """A factory and how many lines it has out; with the last one it is closed."""

    def __init__(self, chip: Chip, factory: Any, lock: threading.RLock) -> None:
        self._lock = lock
        self.chip = chip
        self.factory = factory
        self.lines = 0
        self.spoiled = False

    def let_go(self) -> None:
        with self._lock:
            self.lines -= 1
            if self.lines:
                return
            try:
                self.factory.close()
            except _failures() as error:
                log.debug("%s: %s", self.chip.path, error)


class _Line:
    """What outputs and inputs share: a gpiozero device of a factory."""

    def __init__(self, held: _Held, device: Any, owner: str, pin: str, *, active_high: bool):
        self._held, self._device = held, device
        self._owner, self._pin = owner, pin
        self._active_high = active_high
        self._failing = _failures()
        held.lines += 1

    def _open(self) -> Any:
        if self._device is None:
            raise DeviceGone(f"{self._owner}: {self._pin} has been let go")
        return self._device

    def _gone(self, error: Exception) -> DeviceGone:
        self._held.spoiled = True
        return gone(self._owner, self._pin, error)

    def _let_go(self) -> None:
        device, self._device = self._device, None
        try:
            device.close()
        except self._failing as error:
            log.debug("%s: %s: %s", self._owner, self._pin, error)
        self._held.let_go()


class _Output(_Line, OutputLine):
    def set(self, *, on: bool) -> None:
        try:
            self._open().pin.state = on is self._active_high
        except self._failing as error:
            raise self._gone(error) from error

    def close(self) -> None:
        if self._device is None:
            return
        try:
            self.set(on=False)
        except DeviceGone as error:
            log.debug("%s", error)
        self._let_go()


class _Input(_Line, InputLine):
    def __init__(self, held: _Held, device: Any, owner: str, pin: str, *, active_high: bool):
        super().__init__(held, device, owner, pin, active_high=active_high)
        self._listener: Callable[[bool | None], None] | None = None

    def read(self) -> bool:
        try:
            return bool(self._open().pin.state) is self._active_high
        except self._failing as error:
            raise self._gone(error) from error

    def listen(self, listener: Callable[[bool | None], None]) -> None:
        pin = self._open().pin
        self._listener = listener
        try:
            pin.edges = "both"
            pin.when_changed = self._changed
        except self._failing as error:
            raise DeviceGone(f"{self._owner}: {self._pin} tells no edges: {error}") from error

    def _changed(self, _: object, high: bool | None) -> None:
        if self._listener is not None:
            self._listener(None if high is None else bool(high) is self._active_high)

    def close(self) -> None:
        if self._device is None:
            return
        self._listener = None
        self._let_go()
