"""Digital lines through gpiod (libgpiod 2): any chip, any line, and Python 3.13.

The kernel keeps polarity and debouncing, and sets an output's first level in the request itself.
Edges arrive on the event loop through the file of the request; there is no thread.

Source: libgpiod 2, Python bindings (gpiod 2.1 and later).
Field:  not yet.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hal.errors import DeviceGone
from hal.lines._finding import check_pull, chip_for, consumer, gone, line_for, not_to_be_had
from hal.lines._kernel import Kernel
from hal.pins import InputLine, Lines, OutputLine

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger(__name__)


class Bank(Lines):
    """Tests put their own `kernel` and `library` here before the first line is asked for."""

    def __init__(self, chip: str = "") -> None:
        super().__init__(chip)
        self.kernel: Any = Kernel()
        self.library: Callable[[], Any] = _gpiod

    def output(self, owner: str, pin: str, *, active_high: bool = True) -> OutputLine:
        gpiod = self._library(owner)
        settings = gpiod.LineSettings(
            direction=gpiod.line.Direction.OUTPUT, active_low=not active_high,
            output_value=gpiod.line.Value.INACTIVE)
        return _Output(gpiod, *self._request(gpiod, owner, pin, settings))

    def input(self, owner: str, pin: str, *, active_high: bool = True, pull: str = "none",
              debounce_ms: float = 0.0) -> InputLine:
        check_pull(owner, pull)
        gpiod = self._library(owner)
        bias = gpiod.line.Bias
        settings = gpiod.LineSettings(
            direction=gpiod.line.Direction.INPUT, active_low=not active_high,
            bias={"up": bias.PULL_UP, "down": bias.PULL_DOWN, "none": bias.DISABLED}[pull],
            debounce_period=timedelta(milliseconds=debounce_ms))
        return _Input(gpiod, settings, *self._request(gpiod, owner, pin, settings))

    def _library(self, owner: str) -> Any:
        try:
            return self.library()
        except ImportError as error:
            raise DeviceGone(f"{owner}: the library gpiod is not installed ({error}); install "
                             'gpiod 2.1 or later, or set [gpio] backend = "gpiozero"') from error

    def _request(self, gpiod: Any, owner: str, pin: str, settings: Any
                 ) -> tuple[Any, int, str, str]:
        chip = chip_for(owner, self.chip, self.kernel)
        number = line_for(owner, pin, chip, self.kernel)
        try:
            request = gpiod.request_lines(chip.path, consumer=consumer(owner),
                                          config={number: settings})
        except (OSError, ValueError) as error:
            raise not_to_be_had(owner, pin, number, chip, self.kernel, error) from error
        return request, number, owner, pin


def _gpiod() -> Any:
    import gpiod
    import gpiod.line

    return gpiod


class _Output(OutputLine):
    def __init__(self, gpiod: Any, request: Any, number: int, owner: str, pin: str) -> None:
        self._value = gpiod.line.Value
        self._request: Any = request
        self._number, self._owner, self._pin = number, owner, pin

    def set(self, *, on: bool) -> None:
        if self._request is None:
            raise DeviceGone(f"{self._owner}: {self._pin} has been let go")
        value = self._value.ACTIVE if on else self._value.INACTIVE
        try:
            self._request.set_value(self._number, value)
        except OSError as error:
            raise gone(self._owner, self._pin, error) from error

    def close(self) -> None:
        if self._request is None:
            return
        try:
            self.set(on=False)
        except DeviceGone as error:
            log.debug("%s", error)
        finally:
            request, self._request = self._request, None
            request.release()


class _Input(InputLine):
    def __init__(self, gpiod: Any, settings: Any, request: Any, number: int, owner: str,
                 pin: str) -> None:
        self._gpiod = gpiod
        self._settings = settings
        self._request: Any = request
        self._number, self._owner, self._pin = number, owner, pin
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listener: Callable[[bool | None], None] | None = None

    def read(self) -> bool:
        if self._request is None:
            raise DeviceGone(f"{self._owner}: {self._pin} has been let go")
        try:
            return bool(self._request.get_value(self._number) is self._gpiod.line.Value.ACTIVE)
        except OSError as error:
            raise gone(self._owner, self._pin, error) from error

    def listen(self, listener: Callable[[bool | None], None]) -> None:
        if self._request is None:
            raise DeviceGone(f"{self._owner}: {self._pin} has been let go")
        self._settings.edge_detection = self._gpiod.line.Edge.BOTH
        try:
            self._request.reconfigure_lines({self._number: self._settings})
        except OSError as error:
            raise DeviceGone(f"{self._owner}: {self._pin} tells no edges: {error}; use a line of a "
                             "chip with interrupts") from error
        import asyncio  # who only drives outputs off waits for no more than that

        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._request.fd, self._edges)

    def _edges(self) -> None:
        """Whatever the edges were: what counts is the level now."""
        level: bool | None = None
        try:
            self._request.read_edge_events()
            level = self.read()
        except (OSError, DeviceGone) as error:
            log.debug("%s: %s: %s", self._owner, self._pin, error)
            self._stop_listening()
        if self._listener is not None:
            self._listener(level)

    def _stop_listening(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._request.fd)
        self._loop = None

    def close(self) -> None:
        if self._request is None:
            return
        self._stop_listening()
        self._listener = None
        request, self._request = self._request, None
        request.release()
