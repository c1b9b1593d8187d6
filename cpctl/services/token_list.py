"""Who answers for the local list: its updates, its version, and when a verdict contradicts it.

Carries out what `core/local_list.py` decides, one update after the other; an update is answered
when it is on the disk.
Source: OCPP 1.6 §3.5.2, §5.10, §5.15 with 16.LIST.*.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from cpctl.core.effects import CheckAgainstList, ListConflictTold, Notice
from cpctl.core.events import ListUpdateRequested, ListVersionRequested, Request
from cpctl.core.jobs import ListVersion
from cpctl.core.local_list import ListRefusal, contradicts, update, version_told
from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.values import Outcome, Reply, RequestId
from cpctl.store.authbook import AuthBook
from cpctl.store.errors import StoreError

log = logging.getLogger(__name__)

Desk = Callable[[Any], None]


class TokenList:
    """`desks` are the requests it answers, each exactly once."""

    def __init__(self, book: AuthBook, *, settings: Callable[[], Settings],
                 now: Callable[[], Now], answer: Callable[[RequestId, Reply], None],
                 notify: Callable[[Notice], None],
                 spawn: Callable[[Coroutine[Any, Any, None], str], object]) -> None:
        self._book = book
        self._settings = settings
        self._now = now
        self._answer = answer
        self._notify = notify
        self._spawn = spawn
        self._one_at_a_time = asyncio.Lock()

    @property
    def desks(self) -> dict[type[Request], Desk]:
        return {ListUpdateRequested: self.change, ListVersionRequested: self.tell_version}

    def change(self, request: ListUpdateRequested) -> None:
        """Update the list; answered when that is durable, or refused."""
        self._spawn(self._change(request), f"local list {request.version}")

    def tell_version(self, request: ListVersionRequested) -> None:
        version = version_told(self._book.list_version, self._settings())
        self._answer(request.request, Reply(Outcome.ACCEPTED, content=ListVersion(version)))

    def compare(self, effect: CheckAgainstList) -> None:
        """16.LIST.5: the central system hears of it when it says otherwise than the list."""
        now = self._now()
        entry = self._book.listed(effect.token)
        if contradicts(entry, effect.info, now.utc):
            log.warning("token %s: the local list and the central system (%s) disagree",
                        effect.token, effect.info.status.value)
            self._notify(ListConflictTold(now, effect.token))

    async def _change(self, request: ListUpdateRequested) -> None:
        async with self._one_at_a_time:
            self._answer(request.request, await self._changed(request))

    async def _changed(self, request: ListUpdateRequested) -> Reply:
        listed = self._book.list_entries
        decision = update(request, listed=listed, version=self._book.list_version,
                          length=len(listed), settings=self._settings())
        if isinstance(decision, ListRefusal):
            log.warning("local list %d refused: %s %s", request.version, decision.code,
                        decision.hint)
            return Reply(decision.outcome, decision.code, decision.hint)
        try:
            await self._book.change_list(decision)
        except StoreError as error:
            log.error("local list %d not taken: %s", request.version, error)
            return Reply(Outcome.FAILED, "not_stored", str(error))
        log.info("local list %d: %d tokens", decision.version, len(listed))
        return Reply(Outcome.ACCEPTED)
