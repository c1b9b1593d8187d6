"""When the journal is tended to: one timer, one task, the earliest wish wins."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from cpctl.store.errors import StoreError

log = logging.getLogger(__name__)

RETRY_S = 30.0


class Caretaker:
    """Runs `tend` when it is due, never twice at once; what fails is tried again."""

    def __init__(self, tend: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tend = tend
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended = False

    def arm(self, delay_s: float) -> None:
        """Tend in `delay_s`, or earlier when that is arranged already."""
        if self._ended:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + delay_s
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = loop.call_at(due, self._begin)

    def _begin(self) -> None:
        self._timer = None
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        else:
            self.arm(1.0)

    async def _run(self) -> None:
        try:
            await self._tend()
        except StoreError as error:
            log.warning("journal: upkeep failed, tried again later: %s", error)
            self.arm(RETRY_S)

    async def end(self) -> None:
        """No more of it; what is under way is waited for."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            await asyncio.wait([self._task])
