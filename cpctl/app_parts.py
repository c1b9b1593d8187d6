"""Builds the hardware of the configuration: board, lines, dead-man, devices. Opens nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cpctl.config import Config, DeviceSpec
from cpctl.runtime.devices import Fitted, FittedReader
from hal import registry
from hal.contracts import Parts
from hal.deadman import DeadMan

if TYPE_CHECKING:
    from hal.serialbus import SerialBus
    from hal.sim.board import Board


@dataclass(frozen=True)
class Hardware:
    """What was built. `board` None: nothing is simulated."""

    fitted: Fitted
    parts: Parts
    board: Board | None
    buses: Mapping[str, SerialBus]
    deadman: DeadMan


def build_hardware(config: Config, mono_ns: Callable[[], int], *, deadman: DeadMan | None = None,
                   board: Board | None = None) -> Hardware:
    """All devices of `config`. Raises BadConfig. `deadman`, `board` stand in for our own."""
    if board is None and _simulated(config):
        board = _board(config, mono_ns)
    deadman = deadman or DeadMan(time.monotonic_ns)
    buses = _buses(config)
    parts = Parts(buses=buses, board=board, deadman=deadman, monotonic_ns=mono_ns)
    return Hardware(_fitted(config, parts), parts, board, buses, deadman)


def _simulated(config: Config) -> bool:
    specs = [one.device for one in config.readers]
    for evse in config.evses:
        specs += evse.devices
    return any(one.simulated for one in specs)


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

    buses = {}
    for name, one in config.serial.items():
        settings: dict[str, Any] = {} if one.gap_s is None else {"gap_s": one.gap_s}
        buses[name] = SerialBus(name, LineSettings(
            one.port, baudrate=one.baudrate, parity=one.parity, stopbits=one.stopbits,
            timeout_s=one.timeout_s, **settings))
    return buses


def _fitted(config: Config, parts: Parts) -> Fitted:
    def made(spec: DeviceSpec, name: str, evse: int | None) -> Any:
        return registry.build(spec.kind, spec.driver, name, evse, spec.options, parts)

    evses = config.evses
    return Fitted(
        contactors={one.id: made(one.contactor, f"contactor {one.id}", one.id) for one in evses},
        pilots={one.id: made(one.pilot, f"pilot {one.id}", one.id) for one in evses},
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
