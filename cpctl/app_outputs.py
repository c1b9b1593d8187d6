"""The outputs that can put power on something: which there are, kept for whoever comes after us.

The daemon keeps those that it drives in `outputs.json` in the folder of the books, before anything
can be energised. `cpctl hw safe` drives them off when the daemon has ended: by then the
configuration may name other pins, or not be readable at all. Read without the rest of the
configuration, so that a mistake there keeps no output from being driven.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hal import registry
from hal.contracts import Parts
from hal.deadman import DeadMan

if TYPE_CHECKING:
    from cpctl.config import Config
    from cpctl.config_devices import DeviceSpec

log = logging.getLogger(__name__)

FILE = "outputs.json"
FORMAT = 1


class Output(NamedTuple):
    """One device that is driven off: a contactor, a pilot, the heartbeat, a lock's motor."""

    kind: str
    driver: str
    name: str
    evse: int | None
    options: Mapping[str, Any]


class Outputs(NamedTuple):
    """All of a station, with the lines that they need. `boot` is that of the kernel."""

    outputs: tuple[Output, ...]
    gpio: tuple[str, str] = ("", "")  # backend and chip
    serial: Mapping[str, Mapping[str, Any]] = {}
    boot: str = ""

    def parts(self) -> Parts:
        """What the drivers share; nothing is opened. Raises BadConfig."""
        return Parts(buses=self._buses(), lines=self._lines(), deadman=DeadMan(thread=False))

    def _lines(self) -> Any:
        """Straight from the kernel, whatever the backend: its library alone would take a second
        on a small machine, while a coil may still be on."""
        backend, chip = self.gpio
        return registry.lines("direct", chip) if backend else None

    def divided(self) -> tuple[Outputs, Outputs]:
        """Those on a line of this machine, which is there at once, and those behind a bus."""
        wired = tuple(one for one in self.outputs if one.options.get("pin"))
        others = tuple(one for one in self.outputs if one not in wired)
        return self._replace(outputs=wired, serial={}), self._replace(outputs=others)

    def _buses(self) -> dict[str, Any]:
        if not self.serial:
            return {}
        from hal.rtu import LineSettings
        from hal.serialbus import SerialBus

        return {name: SerialBus(name, LineSettings(**one)) for name, one in self.serial.items()}

    def without(self, others: Outputs) -> Outputs:
        """Those that `others` does not drive in the very same way."""
        same = self.gpio == others.gpio and self.serial == others.serial
        return self._replace(outputs=tuple(
            one for one in self.outputs if not (same and one in others.outputs)))


def outputs_of(config: Config, boot: str = "") -> Outputs:
    """Those of a whole configuration; simulated ones are none."""
    found = [output for evse in config.evses
             for output in of_devices(evse.id, evse.contactor, evse.pilot,
                                      *(() if evse.lock is None else (evse.lock,)))]
    if config.heartbeat is not None:
        found.insert(0, of_heartbeat(config.heartbeat))
    return Outputs(
        tuple(found), (config.gpio.backend, config.gpio.chip),
        {name: one.settings() for name, one in config.serial.items()}, boot)


def of_devices(evse: int, *devices: DeviceSpec) -> list[Output]:
    """Contactor, pilot and motor of the lock of an EVSE, as far as they are not simulated."""
    return [Output(one.kind, one.driver, f"{one.kind} {evse}", evse, dict(one.options))
            for one in devices if not one.simulated and _must_rest(one)]


def _must_rest(device: DeviceSpec) -> bool:
    """A lock that is held by power is left as it is: off may be unlocked."""
    return device.kind != "lock" or bool(registry.load("lock", device.driver).runs)


def of_heartbeat(spec: DeviceSpec) -> Output:
    return Output(spec.kind, spec.driver, "heartbeat", None, dict(spec.options))


# --- kept ----------------------------------------------------------------------------------------


def keep(folder: Path, outputs: Outputs) -> None:
    """On the disk when this returns; what stands there already is not written again.

    Nothing hangs on it while the configuration can be read, so a failure is told and no more.
    """
    path = folder / FILE
    text = json.dumps({"format": FORMAT, **outputs._asdict()}, indent=1)
    half = path.with_suffix(".half")
    try:
        if path.read_text() == text if path.exists() else not outputs.outputs:
            return
        folder.mkdir(parents=True, exist_ok=True)
        with half.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    except (OSError, UnicodeDecodeError) as error:
        log.warning("%s not kept: %s; after a kill the outputs are those of the configuration",
                    path, error)


def kept(folder: Path) -> Outputs | None:
    """What the daemon kept; None: nothing, or nothing that can be read."""
    try:
        found = json.loads((folder / FILE).read_text())
        if found["format"] != FORMAT:
            return None
        backend, chip = found["gpio"]
        return Outputs(tuple(_output(*one) for one in found["outputs"]), (backend, chip),
                       {name: dict(one) for name, one in found["serial"].items()},
                       str(found["boot"]))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _output(kind: str, driver: str, name: str, evse: int | None, options: dict[str, Any]) -> Output:
    if kind not in ("contactor", "pilot", "heartbeat", "lock"):
        raise ValueError(kind)
    if not (isinstance(driver, str) and isinstance(name, str) and isinstance(evse, int | None)):
        raise ValueError(f"{driver!r} {name!r} {evse!r}")
    return Output(kind, driver, name, evse, dict(options))


def boot_id() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
