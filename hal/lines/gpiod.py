"""Digital lines through gpiod."""

from hal.errors import DeviceGone
from hal.pins import InputLine, Lines, OutputLine


class Bank(Lines):
    def output(self, owner: str, pin: str, *, active_high: bool = True) -> OutputLine:
        raise DeviceGone(f"{owner}: lines through gpiod are not to be had")

    def input(self, owner: str, pin: str, *, active_high: bool = True, pull: str = "none",
              debounce_ms: float = 0.0) -> InputLine:
        raise DeviceGone(f"{owner}: lines through gpiod are not to be had")
