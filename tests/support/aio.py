"""Running a coroutine on the real event loop, for units that touch threads or sockets."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(coro: Coroutine[Any, Any, T], *, limit_s: float = 60.0) -> T:
    """Run `coro` to its end; a hang ends in TimeoutError instead of a stuck suite."""

    async def bounded() -> T:
        async with asyncio.timeout(limit_s):
            return await coro

    return asyncio.run(bounded())
