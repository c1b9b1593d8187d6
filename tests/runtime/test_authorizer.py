"""The authorizer: one answer for each question, never two questions about one token at once."""

import asyncio
from datetime import UTC, datetime

import pytest
from support import virtual_loop

from cpctl.core.effects import Authorize, AuthorizeToken, Query
from cpctl.core.events import AuthorizationAnswered, Event, FactAbandoned
from cpctl.core.now import Now, TimeQuality
from cpctl.core.settings import Settings
from cpctl.core.values import IdToken, TokenInfo, TokenSource, TokenStatus
from cpctl.dialects.base import NoVerdict
from cpctl.runtime.authorizer import Authorizer

NOW = Now(1, "boot", datetime(2026, 1, 1, tzinfo=UTC), TimeQuality.NTP)
TOKEN = IdToken("04A1B2C3")
GOOD = TokenInfo(TokenStatus.ACCEPTED)
BLOCKED = TokenInfo(TokenStatus.BLOCKED)
OTHER_NEWS = FactAbandoned(1, None, "told along with it")


class World:
    """A token book and a central system that answers when told to."""

    def __init__(self) -> None:
        self.cache: dict[str, TokenInfo] = {}
        self.posted: list[Event] = []
        self.asked: list[Query] = []
        self.online = True
        self.settings = Settings()
        self.answer: asyncio.Future[tuple[Event, ...]] = asyncio.get_running_loop().create_future()
        self.tasks: list[asyncio.Task[None]] = []
        self.authorizer = Authorizer(
            self, ask=self.ask, online=lambda: self.online, settings=lambda: self.settings,
            now=lambda: NOW, post=self.posted.append,
            spawn=lambda coro, name: self.tasks.append(asyncio.ensure_future(coro)))

    def cached(self, token: IdToken) -> TokenInfo | None:
        return self.cache.get(token.key)

    def listed(self, token: IdToken) -> TokenInfo | None:
        return None

    async def ask(self, query: Query) -> tuple[Event, ...]:
        self.asked.append(query)
        return await self.answer

    def verdicts(self) -> list[tuple[int, TokenStatus, TokenSource]]:
        return [(one.ask, one.info.status, one.source) for one in self.posted
                if isinstance(one, AuthorizationAnswered)]


def play(story) -> None:
    async def whole() -> None:
        await story(World())

    virtual_loop.run(whole())


def test_what_is_known_here_is_answered_at_once() -> None:
    async def story(world: World) -> None:
        world.online = False
        world.cache[TOKEN.key] = GOOD

        world.authorizer.authorize(Authorize(1, TOKEN))

        assert world.verdicts() == [(1, TokenStatus.ACCEPTED, TokenSource.CACHE)]
        assert world.asked == []

    play(story)


def test_the_central_system_is_asked_once_and_all_who_wait_are_answered() -> None:
    async def story(world: World) -> None:
        world.authorizer.authorize(Authorize(1, TOKEN))
        world.authorizer.authorize(Authorize(2, IdToken("04a1b2c3")))
        world.authorizer.authorize(Authorize(3, IdToken("OTHER")))
        await asyncio.sleep(1)
        assert world.asked == [AuthorizeToken(1, TOKEN), AuthorizeToken(3, IdToken("OTHER"))]

        world.answer.set_result((
            AuthorizationAnswered(1, TOKEN, BLOCKED, TokenSource.CSMS), OTHER_NEWS))
        await asyncio.sleep(1)

        assert {one[0] for one in world.verdicts()} == {1, 2, 3}
        assert all(one[1:] == (TokenStatus.BLOCKED, TokenSource.CSMS) for one in world.verdicts())
        assert OTHER_NEWS in world.posted

    play(story)


@pytest.mark.parametrize("policy", ["offline_rules", "reject"])
def test_without_a_verdict_the_policy_decides(policy: str) -> None:
    async def story(world: World) -> None:
        world.settings = world.settings.with_text("policy.authorize_timeout", policy).with_text(
            "auth.offline_unknown", "true")
        world.authorizer.authorize(Authorize(1, TOKEN))
        world.answer.set_result((NoVerdict(1),))
        await asyncio.sleep(1)

        expected = TokenStatus.ACCEPTED if policy == "offline_rules" else TokenStatus.INVALID
        assert world.verdicts() == [(1, expected, TokenSource.OFFLINE_RULES)]

    play(story)


def test_a_central_system_that_never_answers_is_no_verdict() -> None:
    async def story(world: World) -> None:
        world.authorizer.authorize(Authorize(1, TOKEN))
        await asyncio.sleep(3600)

        assert world.verdicts() == [(1, TokenStatus.INVALID, TokenSource.OFFLINE_RULES)]
        world.answer = asyncio.get_running_loop().create_future()
        world.authorizer.authorize(Authorize(2, TOKEN))
        await asyncio.sleep(1)
        assert len(world.asked) == 2

    play(story)
