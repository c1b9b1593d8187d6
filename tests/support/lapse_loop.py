"""An event loop with real sockets whose clock jumps when nothing is under way.

Both ends of each connection live in this process, on loopback: what one end has written the other
can read at once. So when for `QUIET_S` of real time no socket is ready, nothing is under way and
the clock may jump to the next timer. Hours of a story pass in milliseconds, over real WebSockets
and real TLS. Work outside (a thread, a child process) is counted in `outside_work`; while it is
not 0 real time is waited for.
"""

import asyncio
import contextlib
import selectors
from collections.abc import Iterator
from typing import Any

from support.virtual_loop import VirtualLoop

from cpctl.services.child import Children

QUIET_S = 0.002
OUTSIDE_LOOK_S = 0.01


class _LapsingSelector(selectors.EpollSelector):
    def __init__(self) -> None:
        super().__init__()
        self.loop: LapseLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self.loop
        assert loop is not None
        if timeout == 0:
            return super().select(0)
        if loop.outside_work:
            return self._in_real_time(timeout)
        ready = super().select(QUIET_S)
        if ready:
            return ready
        if timeout is None:
            raise RuntimeError("lapse of time: nothing will ever happen again (deadlock)")
        loop.jump(timeout)
        return []

    def _in_real_time(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        """Outside work goes on: the clock moves with real time, a little at once."""
        loop = self.loop
        assert loop is not None
        wait_s = OUTSIDE_LOOK_S if timeout is None else min(timeout, OUTSIDE_LOOK_S)
        ready = super().select(wait_s)
        if not ready:
            loop.jump(wait_s)
        return ready


class LapseLoop(VirtualLoop):
    """See the module."""

    def __init__(self, start_ns: int = 1_000_000_000_000) -> None:
        selector = _LapsingSelector()
        self._now_ns = start_ns
        self.outside_work = 0
        asyncio.SelectorEventLoop.__init__(self, selector)
        selector.loop = self
        self._clock_resolution = 1e-9

    def run_in_executor(self, executor, func, *args):  # type: ignore[no-untyped-def]
        """Threads count as outside work."""
        future = super().run_in_executor(executor, func, *args)
        self.outside_work += 1
        future.add_done_callback(self._came_back)
        return future

    def _came_back(self, _: object) -> None:
        self.outside_work -= 1


@contextlib.contextmanager
def outside() -> Iterator[None]:
    """Something outside the loop works meanwhile (a child process, a server in a thread)."""
    loop = asyncio.get_running_loop()
    counted = isinstance(loop, VirtualLoop)
    if counted:
        loop.outside_work += 1  # type: ignore[attr-defined]
    try:
        yield
    finally:
        if counted:
            loop.outside_work -= 1  # type: ignore[attr-defined]


class LapsingChildren(Children):
    """Real child processes, waited for in real time."""

    async def run(self, module: str, order: Any, **how: Any) -> Any:
        with outside():
            return await super().run(module, order, **how)
