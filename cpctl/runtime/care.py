"""The devices in the care of `devices.py`: which are fitted, and how each does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import field

from cpctl.runtime.polling import Nap
from hal.contracts import (
    CardReader,
    Contactor,
    ControlPilot,
    Device,
    EnergyMeter,
    Indicator,
    Inputs,
    PlugLock,
)
from hal.late import dataclass
from hal.values import DeviceHealth, Health


@dataclass
class Unit:
    """One device in our care."""

    kind: str
    evse: int | None
    name: str
    device: Device
    nap: Nap = field(default_factory=Nap)
    health: Health = Health.NEVER_SEEN
    detail: str = ""
    listened: bool = False
    moving: bool = False  # a lock has an order
    failures: int = 0
    lasting: str = "off"  # the pattern of an indicator that no passing one replaces for good
    orders: asyncio.Queue[str] = field(default_factory=asyncio.Queue)


@dataclass(frozen=True)
class DeviceState:
    """How one device does; `evse` None: it belongs to the station."""

    kind: str
    name: str
    evse: int | None
    health: DeviceHealth


@dataclass(frozen=True)
class FittedReader:
    """A reader and the EVSEs it serves (empty: all)."""

    id: str
    device: CardReader
    evses: tuple[int, ...] = ()


@dataclass(frozen=True)
class Fitted:
    """All devices of the station, built and not yet opened."""

    contactors: Mapping[int, Contactor]
    pilots: Mapping[int, ControlPilot]
    meters: Mapping[int, EnergyMeter] = field(default_factory=dict)
    locks: Mapping[int, PlugLock] = field(default_factory=dict)
    inputs: Mapping[tuple[int, str], Inputs] = field(default_factory=dict)
    indicators: Mapping[int, Indicator] = field(default_factory=dict)
    readers: tuple[FittedReader, ...] = ()
