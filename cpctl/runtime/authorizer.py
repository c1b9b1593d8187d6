"""Finds out about tokens: fetches what `core.authorize` asks for, and never asks twice at once.

Decides nothing: list, cache, central system and offline rules are weighed in `core/authorize.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from cpctl.core.authorize import Decision, Verdict, decide
from cpctl.core.effects import Authorize, AuthorizeToken, Query
from cpctl.core.events import AuthorizationAnswered, Event
from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.values import IdToken, TokenInfo
from cpctl.dialects.base import NoVerdict

log = logging.getLogger(__name__)

Asker = Callable[[Query], Coroutine[Any, Any, tuple[Event, ...]]]

ASK_MARGIN_S = 15.0  # beyond the link's own limit for a call; then no verdict is assumed


class TokenBook(Protocol):
    def listed(self, token: IdToken) -> TokenInfo | None: ...
    def cached(self, token: IdToken) -> TokenInfo | None: ...


class Authorizer:
    """`authorize(effect)` is answered by exactly one AuthorizationAnswered with its `ask`."""

    def __init__(self, book: TokenBook, *, ask: Asker,
                 online: Callable[[], bool], settings: Callable[[], Settings],
                 now: Callable[[], Now], post: Callable[[Event], None],
                 spawn: Callable[[Coroutine[Any, Any, Any], str], object]):
        self._book = book
        self._ask = ask
        self._online = online
        self._settings = settings
        self._now = now
        self._post = post
        self._spawn = spawn
        self._open: dict[str, list[Authorize]] = {}

    def authorize(self, effect: Authorize) -> None:
        """Decide at once from what is known here, or ask the central system."""
        decision = self.decide(effect)
        if isinstance(decision, Verdict):
            self._answer(effect, decision)
            return
        waiting = self._open.setdefault(effect.token.key, [])
        waiting.append(effect)
        if len(waiting) == 1:
            self._spawn(self._ask_csms(effect), f"authorize {effect.ask}")

    def decide(self, effect: Authorize, *, in_vain: bool = False) -> Decision:
        """What the rules say now; `in_vain`: the central system gave no verdict."""
        return decide(
            effect.token, list_entry=self._book.listed(effect.token),
            cache_entry=self._book.cached(effect.token), online=self._online(),
            settings=self._settings(), now=self._now(), for_group=effect.for_group,
            in_vain=in_vain)

    async def _ask_csms(self, first: Authorize) -> None:
        events: tuple[Event, ...] = ()
        limit_s = self._settings().integer("link.call_timeout_s") + ASK_MARGIN_S
        try:
            async with asyncio.timeout(limit_s):
                events = await self._ask(AuthorizeToken(first.ask, first.token))
        except TimeoutError:
            log.warning("no verdict on token %s in time", first.token)
        waiting = self._open.pop(first.token.key)
        verdict = _verdict_in(events)
        for event in events:
            if not isinstance(event, AuthorizationAnswered | NoVerdict):
                self._post(event)
        for effect in waiting:
            if verdict is not None:
                self._answer(effect, verdict)
            else:
                self._answer_without_csms(effect)

    def _answer_without_csms(self, effect: Authorize) -> None:
        decision = self.decide(effect, in_vain=True)
        assert isinstance(decision, Verdict)  # in vain, so it does not ask again
        self._answer(effect, decision)

    def _answer(self, effect: Authorize, verdict: Verdict) -> None:
        log.info("token %s: %s by %s", effect.token, verdict.info.status.value,
                 verdict.source.value)
        self._post(AuthorizationAnswered(effect.ask, effect.token, verdict.info, verdict.source))


def _verdict_in(events: tuple[Event, ...]) -> Verdict | None:
    for event in events:
        if isinstance(event, AuthorizationAnswered):
            return Verdict(event.info, event.source)
    return None
