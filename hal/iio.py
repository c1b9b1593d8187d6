"""An analogue input of the kernel (industrial I/O): volts at a channel.

Source: the kernel's ABI/testing/sysfs-bus-iio: (raw + offset) * scale is millivolts.
Field:  not yet.
"""

from hal.errors import BadReading, DeviceGone
from hal.sysfs import Sysfs, find, why

FOLDER = "/sys/bus/iio/devices"


class Adc:
    """One converter, by its name ("ads1015") or a folder on its path ("1-0048")."""

    def __init__(self, owner: str, sysfs: Sysfs, wanted: str) -> None:
        self._owner = owner
        self._sysfs = sysfs
        self._wanted = wanted
        self._path = ""
        self._scales: dict[int, tuple[float, float]] = {}  # channel -> offset, mV per step

    def open(self, channels: tuple[int, ...]) -> None:
        """Find it and its scales. Raises DeviceGone."""
        self._path = find(self._sysfs, self._owner, FOLDER, "iio:device", self._wanted)
        self._scales = {channel: (self._offset(channel), self._scale(channel))
                        for channel in channels}

    def volts(self, channel: int) -> float:
        """What stands at `channel` now, in V. Blocks for a conversion. Raises DeviceGone,
        BadReading."""
        offset, scale = self._scales[channel]
        name = f"in_voltage{channel}_raw"
        text = self._read(name)
        try:
            return (float(text) + offset) * scale / 1000.0
        except ValueError:
            raise BadReading(f"{self._owner}: {self._path}/{name} reads {text!r}") from None

    def _offset(self, channel: int) -> float:
        for name in (f"in_voltage{channel}_offset", "in_voltage_offset"):
            if self._sysfs.exists(f"{self._path}/{name}"):
                return self._number(name)
        return 0.0

    def _scale(self, channel: int) -> float:
        for name in (f"in_voltage{channel}_scale", "in_voltage_scale"):
            if self._sysfs.exists(f"{self._path}/{name}"):
                return self._number(name)
        raise DeviceGone(f"{self._owner}: {self._path} has no channel {channel} with a scale; "
                         "check the option")

    def _number(self, name: str) -> float:
        text = self._read(name)
        try:
            return float(text)
        except ValueError:
            raise DeviceGone(f"{self._owner}: {self._path}/{name} reads {text!r}") from None

    def _read(self, name: str) -> str:
        try:
            return self._sysfs.read(f"{self._path}/{name}")
        except OSError as error:
            raise DeviceGone(f"{self._owner}: {self._path}/{name}: {why(error)}; check its "
                             "wiring") from error
