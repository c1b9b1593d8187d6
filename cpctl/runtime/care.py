"""One device in the care of `devices.py`, and how it does."""

from __future__ import annotations

import asyncio
from dataclasses import field

from cpctl.runtime.polling import Nap
from hal.contracts import Device
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
