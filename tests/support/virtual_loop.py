"""An event loop whose clock jumps to the next timer when nothing else is ready.

Deterministic and instant: an hour of `asyncio.sleep` takes no time. Work in threads is waited for
in real time as long as `loop.outside_work` counts it (none by default: virtual-time tests use
inline writers).
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.SelectSelector):
    """Looks at the sockets without waiting, and moves the clock instead of sleeping."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: VirtualLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        loop = self.loop
        assert loop is not None
        if loop.outside_work:
            return super().select(timeout)
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("virtual time: nothing will ever happen again (deadlock)")
        loop.jump(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """`start_ns` is the monotonic time at which the loop begins."""

    def __init__(self, start_ns: int = 1_000_000_000_000) -> None:
        selector = _JumpingSelector()
        self._now_ns = start_ns
        self.outside_work = 0
        super().__init__(selector)
        selector.loop = self
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._now_ns / 1e9

    def monotonic_ns(self) -> int:
        """The clock to hand to what asks for nanoseconds."""
        return self._now_ns

    def jump(self, seconds: float) -> None:
        """Move the clock; at least one nanosecond, so that time always passes."""
        self._now_ns += max(1, round(seconds * 1e9))


def run(coro: Coroutine[Any, Any, T], *, loop: VirtualLoop | None = None,
        limit_s: float = 400 * 86_400.0) -> T:
    """Run `coro` in virtual time. `limit_s` of virtual time end a story that never ends."""
    own = loop or VirtualLoop()

    async def bounded() -> T:
        async with asyncio.timeout(limit_s):
            return await coro

    with asyncio.Runner(loop_factory=lambda: own) as runner:
        return runner.run(bounded())


def run_with(make: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """As `run`, for a coroutine function that wants the loop."""
    loop = VirtualLoop()
    return run(make(loop), loop=loop)
