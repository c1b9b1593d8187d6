"""What the composition is made of: seams, endings, and how hardware, route, dialects are built.

Opens nothing: board, serial lines, dead-man and devices are only put together.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from cpctl.config import Config, DeviceSpec
from cpctl.core.effects import Effect
from cpctl.core.events import Event, SettingChangeRequested
from cpctl.core.values import BootCause, StopReason
from cpctl.core.views import StationPicture
from cpctl.dialects.base import Dialect
from cpctl.runtime.care import Fitted, FittedReader
from cpctl.runtime.clock import TimeSource
from cpctl.runtime.devices import Devices
from cpctl.runtime.diary import Diary
from cpctl.runtime.log import follow
from cpctl.runtime.loop import Loop
from cpctl.runtime.supervisor import Notifier
from cpctl.services.child import Children
from cpctl.store.db import ThreadWriter, Writer
from cpctl.store.entries import OpenReport
from hal import registry
from hal.contracts import ControlPilot, Heartbeat, Parts, Proximity
from hal.deadman import DeadMan
from hal.errors import HalError
from hal.late import dataclass

if TYPE_CHECKING:
    from cpctl.link.connection import Connector
    from hal.pins import Lines
    from hal.serialbus import SerialBus
    from hal.sim.board import Board

log = logging.getLogger(__name__)

# Keys of what is kept beside the settings; those of the core are its own.
KEPT_BOOT = "runtime.boot_id"
KEPT_PLANNED = "planned"  # the core's: what a previous life was about to do
RESET_AGAIN_S = 5.0  # between two tries of a reset that failed


class Ending(Enum):
    """Why `run` came to its end; `carry_out` does what follows."""

    STOP = "stop"
    EXIT = "exit"  # a reset: whoever supervises us starts us again
    EXEC = "exec"  # a reset: start over in place
    REBOOT = "reboot"  # a reset of the machine
    DIED = "died"  # a task died of a bug


@dataclass(frozen=True)
class Seams:
    """Where tests and demonstrations put their own parts in. None: the real one."""

    time: TimeSource | None = None
    connector: Connector | None = None
    writer: Callable[[], Writer] = ThreadWriter
    rng: random.Random | None = None
    deadman: DeadMan | None = None
    board: Board | None = None
    notifier: Notifier | None = None
    children: Children | None = None
    release: str | None = None  # the version of the slot that this daemon runs from
    api: bool = True
    signals: bool = True


@dataclass(frozen=True)
class Hardware:
    """What was built. `board` None: nothing is simulated."""

    fitted: Fitted
    parts: Parts
    board: Board | None
    buses: Mapping[str, SerialBus]
    deadman: DeadMan
    heartbeat: Heartbeat | None = None


def build_hardware(config: Config, mono_ns: Callable[[], int], *, deadman: DeadMan | None = None,
                   board: Board | None = None) -> Hardware:
    """All devices of `config`. Raises BadConfig. `deadman`, `board` stand in for our own."""
    if board is None and _simulated(config):
        board = _board(config, mono_ns)
    deadman = deadman or DeadMan(time.monotonic_ns)
    buses = _buses(config)
    parts = Parts(buses=buses, lines=_lines(config), board=board, deadman=deadman,
                  monotonic_ns=mono_ns)
    return Hardware(_fitted(config, parts), parts, board, buses, deadman,
                    _heartbeat(config, parts))


def _simulated(config: Config) -> bool:
    return any(one.simulated for one in _specs(config))


def _specs(config: Config) -> list[DeviceSpec]:
    specs = [one.device for one in config.readers]
    for evse in config.evses:
        specs += evse.devices
    return specs


def _board(config: Config, mono_ns: Callable[[], int]) -> Board:
    from hal.sim.board import Board

    sim = config.sim
    return Board(
        [one.id for one in config.evses], mono_ns, call_later=_call_later, seed=sim.seed or 0,
        car_start_delay_s=sim.car_start_delay_s, car_max_current_a=sim.car_max_current_a,
        car_phases=sim.car_phases, meter_starts_at_wh=sim.meter_starts_at_wh,
        meter_resets_on_plug=sim.meter_resets_on_plug)


def _call_later(delay_s: float, call: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_later(delay_s, call)


def _buses(config: Config) -> dict[str, SerialBus]:
    if not config.serial:
        return {}
    from hal.rtu import LineSettings
    from hal.serialbus import SerialBus

    return {name: SerialBus(name, LineSettings(**one.settings()))
            for name, one in config.serial.items()}


def _lines(config: Config) -> Lines | None:
    """None when nothing but the simulated board could ask for one."""
    if all(one.simulated for one in _specs(config)) and config.heartbeat is None:
        return None
    return registry.lines(config.gpio.backend, config.gpio.chip)


def _heartbeat(config: Config, parts: Parts) -> Heartbeat | None:
    spec = config.heartbeat
    if spec is None:
        return None
    made: Heartbeat = registry.build(spec.kind, spec.driver, "heartbeat", None, spec.options, parts)
    return made


def _fitted(config: Config, parts: Parts) -> Fitted:
    def made(spec: DeviceSpec, name: str, evse: int | None) -> Any:
        return registry.build(spec.kind, spec.driver, name, evse, spec.options, parts)

    evses = config.evses
    pilots = {one.id: made(one.pilot, f"pilot {one.id}", one.id) for one in evses}
    parts.pilots.update(pilots)
    pilots |= {one.id: _cabled(pilots[one.id],
                               made(one.proximity, f"proximity {one.id}", one.id))
               for one in evses if one.proximity is not None}
    return Fitted(
        contactors={one.id: made(one.contactor, f"contactor {one.id}", one.id) for one in evses},
        pilots=pilots,
        meters={one.id: made(one.meter, f"meter {one.id}", one.id) for one in evses},
        locks={one.id: made(one.lock, f"lock {one.id}", one.id)
               for one in evses if one.lock is not None},
        inputs={(one.id, name): made(spec, f"{name} {one.id}", one.id)
                for one in evses for name, spec in one.inputs.items()},
        indicators={one.id: made(one.indicator, f"indicator {one.id}", one.id)
                    for one in evses if one.indicator is not None},
        readers=tuple(FittedReader(
            one.id, made(one.device, f"reader {one.id}",
                         one.evses[0] if len(one.evses) == 1 else None), one.evses)
            for one in config.readers))


def _cabled(pilot: ControlPilot, proximity: Proximity) -> ControlPilot:
    from hal.cabled_pilot import CabledPilot

    return CabledPilot(pilot, proximity)


async def request_outputs(hardware: Hardware) -> None:
    """Heartbeat and coils at their safe level, each whatever becomes of the others.

    Raises HalError, the first one, when an output cannot be had.
    """
    prepare = [one.prepare for one in hardware.fitted.contactors.values()]
    if hardware.heartbeat is not None:
        prepare.insert(0, hardware.heartbeat.open)
    failed: list[HalError] = []
    for one in prepare:
        try:
            await one()
        except HalError as error:
            log.error("%s", error)
            failed.append(error)
    if failed:
        raise failed[0]


def dialects_of(versions: tuple[str, ...]) -> tuple[Dialect, ...]:
    """A translator for each version, in the order of the configuration."""
    from cpctl.dialects.v16.dialect import Dialect16

    known: dict[str, Callable[[], Dialect]] = {"1.6": Dialect16}
    return tuple(known[version]() for version in versions)


def finding(report: OpenReport) -> str:
    """What opening the books found wrong, and where what was damaged is kept."""
    if not report.damaged or report.set_aside is None:
        return ""
    return f"{report.reason}; set aside as {report.set_aside.name}"


def boot_cause(kept: dict[str, str], boot: str) -> BootCause:
    if KEPT_BOOT not in kept:
        return BootCause.FIRST
    if KEPT_PLANNED in kept:
        return BootCause.PLANNED
    return BootCause.CRASH if kept[KEPT_BOOT] == boot else BootCause.POWER_LOSS


def reset_failed(kept: Mapping[str, str], boot: str, on_reset: str) -> bool:
    """A reset that was to restart the machine, and the machine was not restarted (16.RESET.4)."""
    planned = kept.get(KEPT_PLANNED) in (StopReason.SOFT_RESET.value, StopReason.HARD_RESET.value)
    return on_reset == Ending.REBOOT.value and planned and kept.get(KEPT_BOOT) == boot


def carry_out(ending: Ending, argv: list[str], *, retries: int = 0,
              pause: Callable[[float], None] = time.sleep) -> int:
    """What follows the end: the exit code, or a new start that does not return.

    `argv` is the command that started us, for Ending.EXEC. A reset that fails is tried `retries`
    times more (ResetRetries, 16.RESET.4); then we end with 1 and whoever supervises us starts us.
    """
    acts = {Ending.EXEC: lambda: _start_over(argv), Ending.REBOOT: _restart_machine}
    act = acts.get(ending)
    if act is None:
        return 1 if ending is Ending.DIED else 0
    for left in range(retries, -1, -1):
        problem = act()
        if not problem:
            return 0
        log.error("reset: %s; tries left: %d", problem, left)
        if left:
            pause(RESET_AGAIN_S)
    return 1


def _start_over(argv: list[str]) -> str:
    log.info("starting over in place")
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        return f"{argv[0]} cannot be started: {error}"


def _restart_machine() -> str:
    """Ask systemd for it; what went wrong, or ""."""
    import subprocess

    try:
        code = subprocess.call(["systemctl", "reboot"])
    except OSError as error:
        return f"systemctl cannot be started: {error}"
    return f"systemctl reboot ended with {code}; may this user restart it?" if code else ""


def follow_lights(devices: Devices, loop: Loop) -> None:
    """Brightness and blinking as the settings have them, now and when they change."""
    def lights() -> tuple[int, int]:
        return (loop.settings.integer("lights.intensity_percent"),
                loop.settings.integer("lights.blink_times"))

    def look(event: Event, effects: tuple[Effect, ...]) -> None:
        if isinstance(event, SettingChangeRequested) and event.setting.startswith("lights."):
            devices.relight()

    devices.lights = lights
    loop.witness(look)


def tell_of_the_station(loop: Loop, notifier: Notifier,
                        statuses: Callable[[StationPicture], Any]) -> None:
    """In the log what comes and goes, to systemd the station in one line."""
    diary = Diary()
    loop.witness(diary.witness)
    loop.listen(diary.look)
    follow(diary.sessions)
    if not notifier.is_heard:
        return
    from cpctl.api import pictures
    from cpctl.runtime.status_line import StatusLine

    def words(picture: StationPicture) -> list[tuple[int, str]]:
        told = pictures.statuses(picture, statuses(picture))
        return [(one.evse, pictures.leading([
            told.get((one.evse, number), "Unavailable") for number in one.connectors]))
            for one in picture.evses]

    loop.listen(StatusLine(notifier, words).look)
