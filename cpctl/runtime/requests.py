"""Requests of the technician's socket: a number for each, a future for its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cpctl.core.events import Request
from cpctl.core.values import Origin, Reply, RequestId

ANSWER_LIMIT_S = 10.0


class LocalRequests:
    """Puts requests to the core and hands their answers back to who waits."""

    def __init__(self, post: Callable[[Request], None]):
        self._post = post
        self._next = 1
        self._open: dict[int, asyncio.Future[Reply]] = {}

    async def ask(self, make: Callable[[RequestId], Request], *,
                  limit_s: float = ANSWER_LIMIT_S) -> Reply:
        """The core's answer to the request that `make` builds. Raises TimeoutError."""
        number = self._next
        self._next += 1
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._open[number] = answer
        self._post(make(RequestId(Origin.LOCAL, number)))
        try:
            async with asyncio.timeout(limit_s):
                return await answer
        finally:
            del self._open[number]

    def answer(self, request: RequestId, reply: Reply) -> None:
        """Deliver an answer; one that nobody waits for any more is let go."""
        waiting = self._open.get(request.number)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)
