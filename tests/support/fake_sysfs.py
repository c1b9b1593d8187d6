"""A /sys in memory that behaves: PWM channels with the kernel's refusals, converters, sensors.

Source: the kernel's drivers/pwm/sysfs.c and core.c (what is EINVAL, EBUSY, ENODEV), sysfs-bus-iio.
"""

import errno
import os
import threading
from collections.abc import Callable

from hal.sysfs import Sysfs

PWM = "/sys/class/pwm"
IIO = "/sys/bus/iio/devices"


def fails(number: int, path: str) -> OSError:
    return OSError(number, os.strerror(number), path)


class FakeSysfs(Sysfs):
    """`files` are plain ones: text, or what makes it at each reading (it may raise OSError)."""

    def __init__(self) -> None:
        self.files: dict[str, str | Callable[[], str]] = {}
        self.links: dict[str, str] = {}
        self.pwms: dict[str, FakePwm] = {}
        self.gone = False  # everything
        self.late = 0  # refusals of a fresh PWM channel's files, until udev has been there
        self.writes: list[tuple[str, str]] = []
        self.lock = threading.RLock()

    def add_pwm(self, number: int, device: str, channels: int = 4) -> "FakePwm":
        chip = f"{PWM}/pwmchip{number}"
        self.links[chip] = f"/sys/devices/platform/axi/{device}/pwm/pwmchip{number}"
        self.pwms[chip] = FakePwm(chip, channels)
        return self.pwms[chip]

    def add_adc(self, number: int, name: str, folder: str, scale_mv: float = 1.0) -> str:
        path = f"{IIO}/iio:device{number}"
        self.links[path] = f"/sys/devices/platform/soc/i2c-1/{folder}/iio:device{number}"
        self.files[f"{path}/name"] = name
        self.files[f"{path}/in_voltage_scale"] = str(scale_mv)
        return path

    # --- the tree -----------------------------------------------------------------------------

    def read(self, path: str) -> str:
        with self.lock:
            if self.gone:
                raise fails(errno.ENODEV, path)
            found = self._pwm_file(path)
            if found is not None:
                return found[0].read(found[1], path)
            if path not in self.files:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            text = self.files[path]
        return text if isinstance(text, str) else text()

    def write(self, path: str, text: str) -> None:
        with self.lock:
            if self.gone:
                raise fails(errno.ENODEV, path)
            chip, _, name = path.rpartition("/")
            if name == "export" and chip in self.pwms:
                self.pwms[chip].export(int(text), path)
                return
            found = self._pwm_file(path)
            if found is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            if self.late > 0:
                self.late -= 1
                raise PermissionError(errno.EACCES, "Permission denied", path)
            self.writes.append((found[1], text))
            found[0].write(found[1], text, path)

    def names(self, folder: str) -> list[str]:
        if self.gone:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
        paths = [*self.files, *self.pwms]
        found = {path[len(folder) + 1:].split("/")[0] for path in paths
                 if path.startswith(f"{folder}/")}
        if not found:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
        return sorted(found)

    def real(self, path: str) -> str:
        return self.links.get(path, path)

    def exists(self, path: str) -> bool:
        if self.gone:
            return False
        chip, _, name = path.rpartition("/")
        if chip in self.pwms:
            return name in self.pwms[chip].exported
        return path in self.files

    def _pwm_file(self, path: str) -> "tuple[FakeChannel, str] | None":
        channel, _, name = path.rpartition("/")
        chip, _, word = channel.rpartition("/")
        if chip in self.pwms and word in self.pwms[chip].exported:
            return self.pwms[chip].exported[word], name
        return None


class FakePwm:
    def __init__(self, path: str, channels: int) -> None:
        self.path = path
        self.channels = channels
        self.exported: dict[str, FakeChannel] = {}

    def export(self, number: int, path: str) -> None:
        if number >= self.channels:
            raise fails(errno.ENODEV, path)
        if f"pwm{number}" in self.exported:
            raise fails(errno.EBUSY, path)
        self.exported[f"pwm{number}"] = FakeChannel()


class FakeChannel:
    """One PWM channel; fresh ones have no period, and take nothing else before they have one."""

    def __init__(self) -> None:
        self.period = self.duty = 0
        self.enabled = False
        self.inversed = False

    def high(self) -> float:
        """The share of the time at which the output is high; None of it while it is off."""
        if not self.enabled:
            return 0.0
        share = self.duty / self.period
        return 1.0 - share if self.inversed else share

    def read(self, name: str, path: str) -> str:
        match name:
            case "period":
                return str(self.period)
            case "duty_cycle":
                return str(self.duty)
            case "enable":
                return str(int(self.enabled))
            case "polarity":
                return "inversed" if self.inversed else "normal"
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)

    def write(self, name: str, text: str, path: str) -> None:
        period, duty = self.period, self.duty
        match name:
            case "period":
                period = int(text)
            case "duty_cycle":
                duty = int(text)
            case "polarity" if self.enabled:
                raise fails(errno.EBUSY, path)
            case "enable" | "polarity":
                pass
            case _:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if not period or duty > period:
            raise fails(errno.EINVAL, path)
        self.period, self.duty = period, duty
        if name == "enable":
            self.enabled = text == "1"
        elif name == "polarity":
            self.inversed = text == "inversed"
