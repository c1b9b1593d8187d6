"""`cpctl hw safe`: every configured output to its safe level, without the daemon.

systemd calls it after the daemon has ended, however it ended, and once at boot. One output that
cannot be driven does not keep the next one from being driven.
"""

from __future__ import annotations

from cpctl.cli.daemon import EXIT_HARDWARE, _mistakes
from cpctl.cli.main import DONE
from cpctl.cli.show import Screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cpctl.config import Config

LIMIT_S = 5.0  # per output


def drive(file: str, screen: Screen, *, wait_s: float = 0.0) -> int:
    """Exit code: 0 when every output is safe, 78 configuration, 69 when one could not be driven."""
    import asyncio
    from pathlib import Path

    from cpctl import config

    try:
        found = config.load(Path(file))
    except config.ConfigError as error:
        return _mistakes(screen, error)
    outcomes = asyncio.run(_drive_all(found))
    if screen.json:
        screen.object({"outputs": [{"output": name, "problem": problem}
                                   for name, problem in outcomes]})
    else:
        for name, problem in outcomes:
            screen.line(f"{name}: {problem or 'safe'}")
        if not outcomes:
            screen.line("no output is configured but simulated ones")
    return EXIT_HARDWARE if any(problem for _, problem in outcomes) else DONE


async def _drive_all(found: Config) -> list[tuple[str, str]]:
    """(output, what went wrong or ""): contactors first, then pilots."""
    import asyncio

    from hal import registry
    from hal.contracts import Parts
    from hal.deadman import DeadMan
    from hal.errors import HalError

    deadman = DeadMan(thread=False)
    parts = Parts(buses=_buses(found), deadman=deadman)
    outcomes: list[tuple[str, str]] = []
    for kind, act in (("contactor", _open), ("pilot", _withdraw)):
        for evse in found.evses:
            spec = getattr(evse, kind)
            if spec.simulated:
                continue
            name = f"{kind} {evse.id}"
            try:
                async with asyncio.timeout(LIMIT_S):
                    device = registry.build(kind, spec.driver, name, evse.id, spec.options, parts)
                    await act(device)
            except (HalError, OSError, ImportError, TimeoutError) as error:
                outcomes.append((name, str(error) or f"no answer within {LIMIT_S:g} s"))
            else:
                outcomes.append((name, ""))
    for bus in parts.buses.values():
        bus.close()
    return outcomes


async def _open(contactor: Any) -> None:
    await contactor.prepare()
    await contactor.finish()


async def _withdraw(pilot: Any) -> None:
    from hal.values import NO_OFFER

    await pilot.open()
    try:
        await pilot.offer(NO_OFFER)
    finally:
        await pilot.close()


def _buses(found: Config) -> dict[str, Any]:
    if not found.serial:
        return {}
    from hal.rtu import LineSettings
    from hal.serialbus import SerialBus

    return {name: SerialBus(name, LineSettings(**spec.settings()))
            for name, spec in found.serial.items()}
