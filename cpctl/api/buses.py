"""`hw.bus`: what passes on each serial line, by address; and what `doctor` makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cpctl.api.app import App, Table
from cpctl.api.args import Args
from cpctl.api.server import Caller, Right

WORTH_TELLING = 0.05  # share of requests that failed lately

Counts = dict[str, Any]

#: What is told of each address; times in ms, from a request to its good answer.
_COUNTED = ("requests", "answers", "retries", "timeouts", "crc_errors", "bad_frames", "exceptions",
            "port_losses", "latency_last_ms", "latency_mean_ms", "latency_max_ms")

#: what was counted -> (in words, what to look at)
_ERRORS: tuple[tuple[str, str, str], ...] = (
    ("crc_errors", "with a wrong checksum",
     "check termination and shield, and that no two devices have the same address (cpctl hw scan)"),
    ("bad_frames", "cut short or alien",
     "check wiring, baud rate and parity; another master on the line?"),
    ("timeouts", "without an answer",
     "check its supply, A/B wiring, address and baud rate (cpctl hw scan)"),
    ("exceptions", "refused by the device",
     "check that the driver is the one of the model (cpctl hw meter N --raw)"),
    ("port_losses", "while the port was gone", "check the plug of the adapter and its cable"),
)


class Buses:
    """Statistics of the serial lines since the start of the daemon."""

    def __init__(self, app: App):
        self._app = app

    def table(self) -> Table:
        return {"hw.bus": (Right.READ, self.lines)}

    async def lines(self, args: Args, caller: Caller) -> Any:
        args.done()
        return {"buses": lines(self._app)}


def lines(app: App) -> list[dict[str, Any]]:
    """Each line with the addresses that are configured on it or were asked."""
    return [_line(app, name, bus) for name, bus in app.hardware.buses.items()]


def _line(app: App, name: str, bus: Any) -> dict[str, Any]:
    counted = dict(bus.statistics())
    whole = counted.pop(0, None)
    owners = _owners(app, name)
    settings = bus.settings
    return {
        "bus": name, "port": settings.port, "baudrate": settings.baudrate,
        "parity": settings.parity, "stopbits": settings.stopbits,
        "stray_bytes": 0 if whole is None else whole.stray_bytes,
        "addresses": [_address(at, owners.get(at, ()), counted.get(at))
                      for at in sorted({*owners, *counted})]}


def _address(at: int, owners: tuple[str, ...], counted: Any) -> Counts:
    numbers = {name: round(getattr(counted, name, 0), 1) for name in _COUNTED}
    return {"address": at, "device": ", ".join(owners), **numbers,
            "failing": round(getattr(counted, "failing", 0.0), 3)}


def _owners(app: App, bus: str) -> dict[int, tuple[str, ...]]:
    """Which devices of the configuration are at which address of a line."""
    found: dict[int, tuple[str, ...]] = {}
    for evse in app.config.evses:
        for one in evse.devices:
            at = one.options.get("address")
            if one.options.get("bus") == bus and isinstance(at, int):
                name = f"{one.kind} {evse.id} ({one.driver})"
                found[at] = (*found.get(at, ()), name)
    return found


def bus_checks(app: App) -> Iterator[tuple[str, bool, str, str]]:
    """Check, good, finding, next step: one per address that was asked."""
    for line in lines(app):
        for one in line["addresses"]:
            if one["requests"]:
                yield _check(line["bus"], one)


def _check(bus: str, one: Counts) -> tuple[str, bool, str, str]:
    name = f"{bus} address {one['address']}"
    finding = f"{one['failing']:.0%} of the last requests failed"
    if one["failing"] < WORTH_TELLING:
        return name, True, finding, ""
    key, words, step = max(_ERRORS, key=lambda error: int(one[error[0]]))
    return name, False, f"{finding}; since the start {one[key]} of {one['requests']} {words}", step
