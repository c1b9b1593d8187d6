"""Files of the kernel that stand for devices, and finding a device among them by what it is.

Numbers under /sys change from kernel to kernel and from plug to plug; a device is named by its own
name or by a folder on its path, never by a number.
Source: the kernel's ABI/testing/sysfs-class-pwm, sysfs-bus-iio, sysfs-driver-w1_therm.
"""

import os

from hal.errors import DeviceGone


class Sysfs:
    """The tree itself. Every method may raise OSError."""

    def read(self, path: str) -> str:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()

    def write(self, path: str, text: str) -> None:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)

    def names(self, folder: str) -> list[str]:
        return sorted(os.listdir(folder))

    def real(self, path: str) -> str:
        """Where the links of `path` lead."""
        return os.path.realpath(path)

    def exists(self, path: str) -> bool:
        return os.path.exists(path)


def find(sysfs: Sysfs, owner: str, folder: str, prefix: str, wanted: str) -> str:
    """The one device `prefix`N in `folder` that is named `wanted`, or has it as a folder on its
    path; without `wanted` the only one there is. Raises DeviceGone, naming those there are."""
    try:
        names = [name for name in sysfs.names(folder) if name.startswith(prefix)]
    except OSError:
        names = []
    known = {f"{folder}/{name}": _words(sysfs, f"{folder}/{name}") for name in names}
    fits = [path for path, words in known.items() if not wanted or wanted in words]
    if len(fits) == 1:
        return fits[0]
    there = "; ".join(f"{path.rpartition('/')[2]} is {words[0]!r}"
                      for path, words in known.items()) or "none"
    what = f"{len(fits)} fit {wanted!r}" if wanted and fits else (
        f"none is {wanted!r}" if wanted else "it is not named and there is not just one")
    raise DeviceGone(f"{owner}: {folder}: {what} (there: {there}); check the overlay in config.txt "
                     "and the option")


def _words(sysfs: Sysfs, path: str) -> list[str]:
    """What a device may be called: its own name, then the folders it lies in, nearest first."""
    folders = [part for part in sysfs.real(path).split("/") if part][-6:-1]
    words = [part for part in reversed(folders) if part not in ("pwm", "hwmon", "iio")]
    try:
        return [sysfs.read(f"{path}/name"), *words]
    except OSError:
        return words or [path]


def why(error: OSError) -> str:
    """An error of the kernel in few words, with what helps where that is known."""
    text = error.strerror or str(error)
    if isinstance(error, PermissionError):
        return f"{text}; the user needs its group (udev rule of the package)"
    return text
