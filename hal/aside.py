"""A blocking call in a thread of its own, so that a device that hangs holds up nobody.

The thread is a daemon: a call that never returns does not keep the process from ending, as a pool's
would.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

from hal.errors import HalError

T = TypeVar("T")


async def aside(call: Callable[[], T], name: str, late: Callable[[T], object] | None = None) -> T:
    """What `call` returns; raises the HalError or OSError it raises. When nobody waits any more,
    `late` gets what it returned."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if told.done():
            if error is None and late is not None:
                late(result)  # type: ignore[arg-type]
        elif error is not None:
            told.set_exception(error)
        else:
            told.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result: T | None = None
        error: Exception | None = RuntimeError(f"{name} died of a bug (see the log)")
        try:
            result, error = call(), None
        except (HalError, OSError) as failed:
            error = failed
        finally:
            with contextlib.suppress(RuntimeError):  # the loop has gone, and the process goes too
                loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name=name, daemon=True).start()
    return await told
