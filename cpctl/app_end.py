"""The end in good order, each step within its limit: power off, transactions ended, books, told.

Decides nothing: the core has been told that the station ends, and this waits for what it does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from cpctl.core.station import is_wound_down
from cpctl.core.values import AfterPowerLoss, StationLayout
from cpctl.core.views import PowerState
from cpctl.runtime.executor import Executor
from cpctl.runtime.loop import Loop
from cpctl.runtime.power_gate import PowerGate

if TYPE_CHECKING:
    from cpctl.link.link import Link

log = logging.getLogger(__name__)

RELEASE_LIMIT_S = 3.0  # SIGTERM: after this power is off, whatever the cars do
ENDING_LIMIT_S = 2.0  # then for the transactions to end and the books to be written
TELL_LIMIT_S = 5.0  # and for the central system to be told


class Leaving(Protocol):
    """The daemon, as far as its end concerns it."""

    gate: PowerGate
    loop: Loop
    layout: StationLayout
    executor: Executor
    link: Link


async def wind_down(app: Leaving) -> None:
    """Returns with power off, whatever the cars, the books and the central system do."""
    await _until(app.loop, lambda: _is_dark(app), RELEASE_LIMIT_S)
    if not _is_dark(app):
        app.gate.release_all("shutdown")
    await _until(app.loop, lambda: _is_settled(app), ENDING_LIMIT_S)
    try:
        async with asyncio.timeout(ENDING_LIMIT_S):
            await app.executor.drained()
    except TimeoutError:
        log.warning("the executor still waits for the books")
    await app.executor.write_held()
    await app.link.drain(TELL_LIMIT_S)


def _is_dark(app: Leaving) -> bool:
    return all(not app.gate.is_on(one.evse) and one.power is PowerState.OFF
               for one in app.loop.picture.evses)


def _is_settled(app: Leaving) -> bool:
    resume = app.layout.after_power_loss is AfterPowerLoss.RESUME
    return is_wound_down(app.loop.station) and (
        resume or not any(one.transaction for one in app.loop.picture.evses))


async def _until(loop: Loop, holds: Callable[[], bool], limit_s: float) -> None:
    """Wait until `holds` after some picture, at most `limit_s`."""
    changed = asyncio.Event()
    end = loop.listen(lambda picture: changed.set())
    loop.ask(changed.set)
    try:
        async with asyncio.timeout(limit_s):
            while True:
                await changed.wait()
                changed.clear()
                if holds():
                    return
    except TimeoutError:
        log.warning("ending goes on after %.0f s although not all is at rest", limit_s)
    finally:
        end()
