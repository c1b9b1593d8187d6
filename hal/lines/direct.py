"""Digital lines straight from the kernel, without a library: for what must be quick.

`cpctl hw safe` drives outputs off with them after the daemon has ended, while a coil may still be
on: importing a library takes longer than all the rest. There are no edges. A chip does what it
does through the other backends; it is no choice for [gpio] backend.

Source: linux/gpio.h, GPIO character device, version 2 (Linux 5.10 and later).
Field:  not yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hal.errors import DeviceGone
from hal.lines._finding import check_pull, chip_for, consumer, gone, line_for, not_to_be_had
from hal.lines._kernel import Kernel
from hal.pins import InputLine, Lines, OutputLine


class Bank(Lines):
    """Tests put their own `kernel` here before the first line is asked for."""

    def __init__(self, chip: str = "") -> None:
        super().__init__(chip)
        self.kernel: Any = Kernel()

    def output(self, owner: str, pin: str, *, active_high: bool = True) -> OutputLine:
        file = self._requested(owner, pin, lambda chip, number: self.kernel.output(
            chip, number, consumer=consumer(owner), high=not active_high))
        return _Output(file, owner, pin, active_high=active_high)

    def input(self, owner: str, pin: str, *, active_high: bool = True, pull: str = "none",
              debounce_ms: float = 0.0) -> InputLine:
        check_pull(owner, pull)
        file = self._requested(owner, pin, lambda chip, number: self.kernel.input(
            chip, number, consumer=consumer(owner), pull=pull))
        return _Input(file, owner, pin, active_high=active_high)

    def _requested(self, owner: str, pin: str, request: Callable[[Any, int], Any]) -> Any:
        chip = chip_for(owner, self.chip, self.kernel)
        number = line_for(owner, pin, chip, self.kernel)
        try:
            return request(chip, number)
        except OSError as error:
            raise not_to_be_had(owner, pin, number, chip, self.kernel, error) from error


class _Line:
    def __init__(self, file: Any, owner: str, pin: str, *, active_high: bool) -> None:
        self._file: Any = file
        self._owner, self._pin, self._active_high = owner, pin, active_high

    def _had(self) -> Any:
        if self._file is None:
            raise DeviceGone(f"{self._owner}: {self._pin} has been let go")
        return self._file

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


class _Output(_Line, OutputLine):
    def set(self, *, on: bool) -> None:
        try:
            self._had().drive(high=on is self._active_high)
        except OSError as error:
            raise gone(self._owner, self._pin, error) from error

    def close(self) -> None:
        if self._file is None:
            return
        try:
            self.set(on=False)
        finally:
            super().close()


class _Input(_Line, InputLine):
    def read(self) -> bool:
        try:
            return bool(self._had().high() is self._active_high)
        except OSError as error:
            raise gone(self._owner, self._pin, error) from error

    def listen(self, listener: Callable[[bool | None], None]) -> None:
        raise DeviceGone(f"{self._owner}: {self._pin} tells no edges without a library")
