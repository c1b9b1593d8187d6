"""What polling needs: pauses that others can end, and samples that become states.

Which device is polled how often is decided in `devices.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from hal.values import PilotReading

SAMPLES = 2  # equal samples that make a polled state true, unless it is safer at once


class Nap:
    """A pause that others can end."""

    def __init__(self) -> None:
        self._wake = asyncio.Event()

    def wake(self) -> None:
        self._wake.set()

    async def take(self, seconds: float | None) -> None:
        """Rest for `seconds` (None: for ever) or until woken."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
        finally:
            self._wake.clear()


async def newest(orders: asyncio.Queue[str], else_after_s: float | None) -> str | None:
    """The newest of what is ordered, older orders dropped; None: nothing was, for so long."""
    try:
        async with asyncio.timeout(else_after_s):
            order = await orders.get()
    except TimeoutError:
        return None
    while not orders.empty():
        order = orders.get_nowait()
    return order


class Agreement:
    """What several sources make of one safety input: good when all say so, and as old as the
    oldest word. `tell` gives None while one of them has said nothing yet."""

    def __init__(self, *sources: str) -> None:
        self._words: dict[str, tuple[bool, int] | None] = dict.fromkeys(sources)

    def tell(self, source: str, at_ns: int, *, good: bool) -> tuple[bool, int] | None:
        self._words[source] = (good, at_ns)
        said = [word for word in self._words.values() if word is not None]
        if len(said) < len(self._words):
            return None
        return all(good for good, _ in said), min(at_ns for _, at_ns in said)


class Steady:
    """What polled samples make of themselves: a state counts once seen `SAMPLES` times in a row.

    `at_once(old, new)` tells which changes do not wait.
    """

    def __init__(self, at_once: Callable[[Any, Any], bool]):
        self._at_once = at_once
        self._told: Any = None
        self._candidate: Any = None
        self._seen = 0

    def take(self, sample: Any, *, sure: bool) -> bool:
        """Whether `sample` is news. `sure`: the device has debounced it itself."""
        if sample == self._told:
            self._candidate, self._seen = None, 0
            return False
        self._seen = self._seen + 1 if sample == self._candidate else 1
        self._candidate = sample
        if not (sure or self._told is None or self._at_once(self._told, sample)
                or self._seen >= SAMPLES):
            return False
        self._told, self._candidate, self._seen = sample, None, 0
        return True


def leaves_c(old: PilotReading, new: PilotReading) -> bool:
    """A car that stops asking is believed at the first sample."""
    asked = old.state is not None and old.state.asks
    asks = new.state is not None and new.state.asks
    return asked and not asks


def turns_bad(old: bool, new: bool) -> bool:
    """A safety input that trips is believed at the first sample."""
    return old and not new
