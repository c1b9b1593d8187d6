"""A PWM output of the kernel (sysfs), which is made by hardware: no scheduling moves its edges.

Source: the kernel's Documentation/driver-api/pwm.rst and ABI/testing/sysfs-class-pwm.
Field:  not yet.

The output goes on when the process has died: whoever uses it needs something else that opens then.
"""

import time
from collections.abc import Callable

from hal.errors import DeviceGone
from hal.sysfs import Sysfs, find, why

FOLDER = "/sys/class/pwm"
EXPORT_S = 2.0  # udev hands the files of a fresh channel to the group in that time
LOOK_S = 0.02


class Pwm:
    """One channel. All methods block for little and raise DeviceGone."""

    def __init__(self, owner: str, sysfs: Sysfs, chip: str, channel: int, *, inverted: bool,
                 nap: Callable[[float], object] = time.sleep) -> None:
        self._owner = owner
        self._sysfs = sysfs
        self._wanted_chip = chip
        self._channel = channel
        self._polarity = "inversed" if inverted else "normal"
        self._nap = nap
        self._path = ""
        self._period_ns = 0

    def open(self, period_ns: int, duty_ns: int) -> None:
        """Take the channel, whatever it does now, and have it at this duty cycle."""
        chip = find(self._sysfs, self._owner, FOLDER, "pwmchip", self._wanted_chip)
        path = f"{chip}/pwm{self._channel}"
        if not self._sysfs.exists(path):
            self._export(chip)
        self._path, self._period_ns = path, period_ns
        try:
            self._set_up(period_ns, duty_ns)
        except DeviceGone:
            self._path = ""
            raise

    def _set_up(self, period_ns: int, duty_ns: int) -> None:
        self._wait_for_files()
        turned = self._get("polarity") != self._polarity
        if turned and self._get("enable") == "1":
            self._put("enable", 0)  # it cannot be turned over while it runs
        if int(self._get("duty_cycle")) > period_ns:
            self._put("duty_cycle", 0)  # the duty cycle is never longer than the period
        self._put("period", period_ns)  # nothing else is taken before a period is set
        if turned:
            self._put("polarity", self._polarity)
        self.set(duty_ns)

    def set(self, duty_ns: int) -> None:
        """The high time of each period, 0 to all of it; done when the kernel has confirmed it."""
        if not self._path:
            raise DeviceGone(f"{self._owner}: its PWM is not open")
        self._put("duty_cycle", duty_ns)
        if self._get("enable") != "1":
            self._put("enable", 1)
        now = self._get("duty_cycle"), self._get("period"), self._get("enable")
        if now != (str(duty_ns), str(self._period_ns), "1"):
            raise DeviceGone(f"{self._owner}: {self._path} is at {'/'.join(now)} (duty cycle, "
                             "period, enable): another program drives it too")

    def leave(self, duty_ns: int) -> None:
        """Let go of the channel, running at this duty cycle; harmless when it is not open."""
        if not self._path:
            return
        try:
            self.set(duty_ns)
        finally:
            self._path = ""

    def _export(self, chip: str) -> None:
        try:
            self._sysfs.write(f"{chip}/export", str(self._channel))
        except OSError as error:
            raise DeviceGone(f"{self._owner}: {chip} gives no channel {self._channel} "
                             f"({why(error)}); is it taken, is the overlay right?") from error

    def _wait_for_files(self) -> None:
        """They come when exported, and are ours when udev has seen them."""
        for _ in range(round(EXPORT_S / LOOK_S)):
            try:
                self._sysfs.write(f"{self._path}/enable", self._get("enable"))
            except (DeviceGone, PermissionError, FileNotFoundError):
                self._nap(LOOK_S)
            except OSError:  # nothing is set yet: a channel without a period cannot be told
                return
            else:
                return
        self._put("enable", self._get("enable"))

    def _get(self, name: str) -> str:
        try:
            return self._sysfs.read(f"{self._path}/{name}")
        except OSError as error:
            raise DeviceGone(f"{self._owner}: {self._path}/{name}: {why(error)}") from error

    def _put(self, name: str, value: int | str) -> None:
        try:
            self._sysfs.write(f"{self._path}/{name}", str(value))
        except OSError as error:
            raise DeviceGone(f"{self._owner}: {self._path}/{name} = {value}: "
                             f"{why(error)}") from error
