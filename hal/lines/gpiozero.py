"""Digital lines through gpiozero: the header of a Raspberry Pi.

Chip, first level and edges are ours (`_pins.py`); there is no other pin factory to fall back to.

Source: gpiozero 2.0.1.
Field:  not yet.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any

from hal.errors import BadConfig, DeviceGone
from hal.lines._finding import check_pull, chip_for, consumer, gone, line_for, not_to_be_had
from hal.lines._kernel import Kernel
from hal.pins import InputLine, Lines, OutputLine

log = logging.getLogger(__name__)

_PULLS = {"up": "up", "down": "down", "none": "floating"}


class Bank(Lines):
    """Tests put their own `kernel` and `make_factory` here before the first line is asked for;
    `make_factory(kernel)` gives a gpiozero pin factory (its MockFactory)."""

    def __init__(self, chip: str = "") -> None:
        super().__init__(chip)
        self.kernel: Any = Kernel()
        self.make_factory: Callable[[Any], Any] = _own_factory
        self._factory: Any = None
        self._lock = threading.Lock()  # a contactor is opened by the dead-man's thread, too

    def output(self, owner: str, pin: str, *, active_high: bool = True) -> OutputLine:
        device = self._claimed(owner, pin, lambda pin: pin.output_with_state(not active_high))
        return _Output(device, owner, pin, active_high=active_high)

    def input(self, owner: str, pin: str, *, active_high: bool = True, pull: str = "none",
              debounce_ms: float = 0.0) -> InputLine:
        check_pull(owner, pull)

        def begin(pin: Any) -> None:
            pin.input_with_pull(_PULLS[pull])
            pin.bounce = debounce_ms / 1000 or None

        return _Input(self._claimed(owner, pin, begin), owner, pin, active_high=active_high)

    def _claimed(self, owner: str, pin: str, begin: Callable[[Any], None]) -> Any:
        """A gpiozero device whose pin has begun; what does not begin leaves nothing claimed."""
        factory = self._pins(owner)
        from gpiozero import GPIODevice
        from gpiozero.exc import GPIOZeroError

        chip = chip_for(owner, self.chip, self.kernel)
        number = line_for(owner, pin, chip, self.kernel)
        with self._lock, contextlib.ExitStack() as undone:
            try:
                device = GPIODevice(f"GPIO{number}", pin_factory=factory)
                undone.callback(device.close)
                device.pin.chip, device.pin.consumer = chip, consumer(owner)
                begin(device.pin)
            except OSError as error:
                raise not_to_be_had(owner, pin, number, chip, self.kernel, error) from error
            except GPIOZeroError as error:
                raise BadConfig(f"{owner}: {pin} cannot be used: {error}{_advice(error)}"
                                ) from error
            undone.pop_all()
        return device

    def _pins(self, owner: str) -> Any:
        if self._factory is None:
            try:
                self._factory = self.make_factory(self.kernel)
            except ImportError as error:
                raise DeviceGone(f"{owner}: the library gpiozero is not installed ({error}); "
                                 'install gpiozero 2, or set [gpio] backend = "gpiod"') from error
        return self._factory


def _own_factory(kernel: Kernel) -> Any:
    from hal.lines import _pins

    return _pins.Factory(kernel)


def _advice(error: Exception) -> str:
    from gpiozero.exc import PinInvalidPin

    if isinstance(error, PinInvalidPin):
        return '; lines off the header are reached with [gpio] backend = "gpiod"'
    return ""


class _Line:
    """What outputs and inputs share: a gpiozero device."""

    def __init__(self, device: Any, owner: str, pin: str, *, active_high: bool):
        self._device = device
        self._owner, self._pin = owner, pin
        self._active_high = active_high

    def _open(self) -> Any:
        if self._device is None:
            raise DeviceGone(f"{self._owner}: {self._pin} has been let go")
        return self._device.pin

    def _let_go(self) -> None:
        device, self._device = self._device, None
        device.close()


class _Output(_Line, OutputLine):
    def set(self, *, on: bool) -> None:
        try:
            self._open().state = on is self._active_high
        except OSError as error:
            raise gone(self._owner, self._pin, error) from error

    def close(self) -> None:
        if self._device is None:
            return
        try:
            self.set(on=False)
        except DeviceGone as error:
            log.debug("%s", error)
        self._let_go()


class _Input(_Line, InputLine):
    def __init__(self, device: Any, owner: str, pin: str, *, active_high: bool):
        super().__init__(device, owner, pin, active_high=active_high)
        self._listener: Callable[[bool | None], None] | None = None

    def read(self) -> bool:
        try:
            return bool(self._open().state) is self._active_high
        except OSError as error:
            raise gone(self._owner, self._pin, error) from error

    def listen(self, listener: Callable[[bool | None], None]) -> None:
        pin = self._open()
        self._listener = listener
        try:
            pin.edges = "both"
            pin.when_changed = self._changed
        except OSError as error:
            raise DeviceGone(f"{self._owner}: {self._pin} tells no edges: {error}; use a line of a "
                             "chip with interrupts") from error

    def _changed(self, _: object, high: bool | None) -> None:
        if self._listener is not None:
            self._listener(None if high is None else bool(high) is self._active_high)

    def close(self) -> None:
        if self._device is None:
            return
        self._listener = None
        self._let_go()
