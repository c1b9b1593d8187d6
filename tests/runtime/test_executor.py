"""The executor: release, record, answer, energise, tell, in this order, whatever the disk does."""

import asyncio
from datetime import UTC, datetime

import pytest
from support import virtual_loop

from cpctl.core.effects import (
    Answer,
    Authorize,
    BarPower,
    Effect,
    EnergisePower,
    ForgetTokens,
    Heartbeat,
    Keep,
    LockPlug,
    Notice,
    Notify,
    Record,
    ReleasePower,
    Remember,
    RestartStation,
    SaveRegister,
    SaveSetting,
    SetOffer,
    Show,
    UnlockPlug,
)
from cpctl.core.events import EnergiseRefused, JournalFailed, JournalRecovered
from cpctl.core.facts import Fact, SessionClosed, SessionOpened
from cpctl.core.now import Now, TimeQuality
from cpctl.core.values import (
    IdToken,
    Origin,
    Outcome,
    Reply,
    RequestId,
    ResetKind,
    TokenInfo,
    TokenStatus,
)
from cpctl.runtime import executor
from cpctl.store.errors import FactUnwritable, JournalError
from hal.values import NO_OFFER, Offer, OfferKind

NOW = Now(1, "boot", datetime(2026, 1, 1, tzinfo=UTC), TimeQuality.NTP)
TOKEN = IdToken("04A1B2C3")
OPENED = SessionOpened(NOW, 1, 1, 1)
CLOSED = SessionClosed(NOW, 1, 1)
CURRENT = Offer(OfferKind.CURRENT, 16.0)
REQUEST = RequestId(Origin.LOCAL, 7)


class World:
    """Everybody the executor works for; `log` is what happened, in order."""

    def __init__(self) -> None:
        self.log: list[object] = []
        self.posted: list[object] = []
        self.written: list[Fact] = []
        self.disk = asyncio.Event()
        self.disk.set()
        self.failing = False
        self.poison: Fact | None = None
        self.release_number = 3
        note = self.log.append
        hands = executor.Hands(
            offer=lambda evse, offer, number: note(("offer", evse, offer.kind.value)),
            lock=lambda evse: note(("lock", evse)), unlock=lambda evse: note(("unlock", evse)),
            show=lambda evse, pattern: note(("show", pattern)),
            authorize=lambda effect: note(("authorize", effect.ask)),
            answer=lambda request, reply: note(("answer", reply.outcome)),
            notify=lambda notice, triggered: note(("notify",)),
            delegate=lambda request: note(("delegate",)), tell=lambda effect: note(("tell",)),
            firmware=lambda effect: note(("firmware",)), facts_waiting=lambda: note(("waiting",)),
            reconnect=lambda why: note(("reconnect",)),
            restart=lambda kind: note(("restart", kind)),
            setting_lost=lambda setting: note(("lost", setting)))
        self.executor = executor.Executor(
            gate=self, books=self, shelf=self, tokens=self, hands=hands,
            post=self.posted.append)

    # gate
    def release(self, evse: int, why: str) -> None:
        self.log.append(("release", evse))

    def energise(self, evse: int, after: int) -> None:
        self.log.append(("energise", evse, after))

    def bar(self, evse: int, reasons: tuple[str, ...]) -> None:
        self.log.append(("bar", reasons))

    def books(self, evse: int, *, session_open: bool) -> None:
        self.log.append(("books", session_open))

    def number(self, evse: int) -> int:
        return self.release_number

    # books, shelf, tokens
    async def _write(self) -> None:
        await self.disk.wait()
        if self.failing:
            raise JournalError("the disk is full")

    async def record(self, facts) -> tuple[int, ...]:
        await self._write()
        if self.poison is not None and self.poison in facts:
            raise FactUnwritable("NaN")
        self.written += facts
        self.log.append(("record", len(facts)))
        return tuple(range(len(facts)))

    def hold(self, facts) -> int:
        return 0

    async def write_held(self) -> None:
        raise AssertionError("nothing was taken")

    async def save_register(self, session: int, register_wh: int, at: Now) -> None:
        await self._write()
        self.log.append(("register", register_wh))

    async def save_setting(self, setting: str, text: str) -> None:
        await self._write()
        self.log.append(("setting", setting))

    async def keep(self, key: str, value: str | None) -> None:
        await self._write()
        self.log.append(("keep", key, value))

    def remember(self, token: IdToken, info: TokenInfo) -> None:
        self.log.append(("remember",))

    async def forget_all(self) -> None:
        await self._write()
        self.log.append(("forget",))

    def did(self, word: str) -> list[object]:
        return [one for one in self.log if one[0] == word]


def play(story) -> World:
    """Run `story(world)` beside the executor, in virtual time."""
    seen: list[World] = []

    async def whole() -> None:
        world = World()
        seen.append(world)
        task = asyncio.ensure_future(world.executor.run())
        try:
            await story(world)
        finally:
            task.cancel()
            await asyncio.wait((task,))

    virtual_loop.run(whole())
    return seen[0]


def submitted(*effects: Effect) -> World:
    async def story(world: World) -> None:
        world.executor.submit(effects)
        await world.executor.drained()

    return play(story)


def test_effects_are_carried_out_in_the_order_of_the_third_law() -> None:
    world = submitted(
        Show(1, "charging"), EnergisePower(1, 3), Answer(REQUEST, Reply(Outcome.ACCEPTED)),
        Notify(Notice(NOW)), Record(OPENED), LockPlug(1), ReleasePower(2, "card"))

    assert world.log == [
        ("release", 2), ("record", 1), ("books", True),
        ("answer", Outcome.ACCEPTED), ("waiting",), ("energise", 1, 3), ("lock", 1),
        ("show", "charging"), ("notify",)]


def test_what_comes_after_a_decision_waits_for_its_record_and_its_answer() -> None:
    async def story(world: World) -> None:
        world.executor.after(lambda: world.log.append(("after", 0)))
        world.disk.clear()
        world.executor.submit((Keep("a", "1"), Answer(REQUEST, Reply(Outcome.ACCEPTED))))
        world.executor.after(lambda: world.log.append(("after", 1)))
        world.executor.submit((Answer(REQUEST, Reply(Outcome.ACCEPTED)),))
        world.executor.after(lambda: world.log.append(("after", 2)))
        await asyncio.sleep(60)
        assert world.log == [("after", 0)]

        world.disk.set()
        await world.executor.drained()
        assert [one for one in world.log if one[0] != "keep"] == [
            ("after", 0), ("answer", Outcome.ACCEPTED), ("after", 1),
            ("answer", Outcome.ACCEPTED), ("after", 2)]

    play(story)


@pytest.mark.parametrize("promise", [
    Outcome.ACCEPTED, Outcome.ACCEPTED_CANCELED, Outcome.SCHEDULED, Outcome.REBOOT_REQUIRED])
def test_no_promise_is_made_that_could_not_be_written(promise: Outcome) -> None:
    async def story(world: World) -> None:
        world.failing = True
        world.executor.submit((Keep("a", "1"), Answer(REQUEST, Reply(promise))))
        await asyncio.sleep(1)

    assert play(story).did("answer") == [("answer", Outcome.REJECTED)]


def test_facts_of_one_step_go_into_one_commit() -> None:
    world = submitted(Record(OPENED), Keep("availability.1", "yes"), Record(CLOSED),
                      SaveRegister(1, 500, NOW), SaveSetting("link.ping_s", "30"),
                      Remember(TOKEN, TokenInfo(TokenStatus.ACCEPTED)), ForgetTokens())

    assert world.did("record") == [("record", 2)]
    assert world.written == [OPENED, CLOSED]
    assert {one[0] for one in world.log} == {
        "books", "record", "waiting", "keep", "register", "setting", "remember", "forget"}
    assert world.did("books")[-1] == ("books", False)


@pytest.mark.parametrize(("effect", "done"), [
    (ReleasePower(1, "card"), ("release", 1)),
    (SetOffer(1, NO_OFFER), ("offer", 1, "none")),
    (SetOffer(1, CURRENT, 2, lower=True), ("offer", 1, "current")),
    (BarPower(1, ("rcd_tripped",)), ("bar", ("rcd_tripped",))),
    (Authorize(4, TOKEN), ("authorize", 4)),
])
def test_what_makes_safe_does_not_wait_for_the_disk(effect: Effect, done: object) -> None:
    async def story(world: World) -> None:
        world.disk.clear()
        world.executor.submit((Record(OPENED), EnergisePower(1, 3)))
        await asyncio.sleep(1)

        world.executor.submit((effect,))

        assert world.log == [done]

    play(story)


def test_nothing_is_promised_or_energised_before_its_record_is_durable() -> None:
    async def story(world: World) -> None:
        world.disk.clear()
        world.executor.submit((Record(OPENED), Answer(REQUEST, Reply(Outcome.ACCEPTED)),
                               EnergisePower(1, 3), SetOffer(1, CURRENT)))
        world.executor.submit((UnlockPlug(1), RestartStation(ResetKind.SOFT)))
        await asyncio.sleep(60)
        assert world.log == []

        world.disk.set()
        await world.executor.drained()
        assert [one[0] for one in world.log] == [
            "record", "books", "answer", "waiting", "energise", "offer", "unlock", "restart"]

    play(story)


@pytest.mark.parametrize(("waiting", "by", "word"), [
    (SetOffer(1, CURRENT), SetOffer(1, NO_OFFER), "offer"),
    (BarPower(1, ()), BarPower(1, ("rcd_tripped",)), "bar"),
])
@pytest.mark.parametrize("batch", ["current", "queued", "same"])
def test_what_is_overtaken_is_taken_out(waiting: Effect, by: Effect, word: str, batch: str) -> None:
    async def story(world: World) -> None:
        world.disk.clear()
        if batch == "current":
            world.executor.submit((Record(OPENED), waiting))
            await asyncio.sleep(1)
            world.executor.submit((by,))
        elif batch == "queued":
            world.executor.submit((Record(OPENED),))
            world.executor.submit((waiting,))
            await asyncio.sleep(1)
            world.executor.submit((by,))
        else:
            world.executor.submit((waiting, by))
        world.disk.set()
        await world.executor.drained()
        assert len(world.did(word)) == 1

    play(story)


def test_what_belongs_to_another_evse_is_not_taken_out() -> None:
    async def story(world: World) -> None:
        world.disk.clear()
        world.executor.submit((Record(OPENED), SetOffer(2, CURRENT), BarPower(2, ())))
        world.executor.submit((SetOffer(1, NO_OFFER), BarPower(1, ("rcd_tripped",))))
        world.disk.set()
        await world.executor.drained()

    world = play(story)
    assert ("offer", 2, "current") in world.log and ("bar", ()) in world.log


def test_an_order_to_close_goes_with_the_offer_that_is_withdrawn() -> None:
    async def story(world: World) -> None:
        world.disk.clear()
        world.executor.submit((Record(OPENED), EnergisePower(1, 3), EnergisePower(2, 3)))
        await asyncio.sleep(1)
        world.executor.submit((SetOffer(1, NO_OFFER),))
        world.disk.set()
        await world.executor.drained()

    world = play(story)
    assert [one[1] for one in world.log if one[0] == "energise"] == [2]


def test_an_order_to_close_that_waited_keeps_its_number_for_the_gate_to_refuse() -> None:
    async def story(world: World) -> None:
        world.disk.clear()
        world.executor.submit((Record(OPENED), EnergisePower(1, 3)))
        await asyncio.sleep(1)
        world.executor.submit((ReleasePower(1, "card"),))
        world.disk.set()
        await world.executor.drained()

    world = play(story)
    assert [one[0] for one in world.log] == ["release", "record", "books", "waiting", "energise"]
    assert world.did("energise") == [("energise", 1, 3)]


def test_a_closing_session_is_closed_for_the_gate_before_it_is_written() -> None:
    async def story(world: World) -> None:
        world.disk.clear()
        world.executor.submit((Record(CLOSED),))
        assert world.log == [("books", False)]

    play(story)


def test_failing_books_are_told_once_and_everything_is_held_and_refused() -> None:
    async def story(world: World) -> None:
        world.failing = True
        world.executor.submit((
            Record(OPENED), Keep("a", "b"), SaveRegister(1, 5, NOW),
            SaveSetting("link.ping_s", "30"), ForgetTokens(),
            Answer(REQUEST, Reply(Outcome.ACCEPTED)), EnergisePower(1, 3), SetOffer(1, CURRENT),
            LockPlug(1)))
        await asyncio.sleep(0.5)

        assert world.posted == [JournalFailed("the disk is full"),
                                EnergiseRefused(1, 3, ("journal_failed",))]
        assert world.executor.held == (OPENED,) and world.executor.failing
        assert world.log == [("lost", "link.ping_s"), ("answer", Outcome.REJECTED), ("lock", 1)]
        world.executor.submit((Record(CLOSED), EnergisePower(1, 3)))
        await asyncio.sleep(0.2)
        assert world.executor.held == (OPENED, CLOSED)
        assert world.posted.count(JournalFailed("the disk is full")) == 1
        assert not world.did("energise")

    play(story)


def test_a_refusal_stays_what_it_is_when_the_books_fail() -> None:
    async def story(world: World) -> None:
        world.failing = True
        world.executor.submit((Record(OPENED), Answer(REQUEST, Reply(Outcome.OCCUPIED, "busy"))))
        await asyncio.sleep(0.5)
        assert world.did("answer") == [("answer", Outcome.OCCUPIED)]

    play(story)


def test_what_was_held_is_written_first_and_in_order_as_soon_as_writing_works() -> None:
    async def story(world: World) -> None:
        world.failing = True
        world.executor.submit((Record(OPENED), Keep("a", "b"), SaveRegister(1, 5, NOW)))
        await asyncio.sleep(0.5)
        world.executor.submit((Record(CLOSED),))
        await asyncio.sleep(0.1)
        world.failing = False
        await asyncio.sleep(60)

        assert world.written == [OPENED, CLOSED]
        assert world.posted[-1] == JournalRecovered()
        assert world.executor.held == () and not world.executor.failing
        assert ("keep", "a", "b") in world.log and ("register", 5) in world.log
        world.executor.submit((EnergisePower(1, 3),))
        await world.executor.drained()
        assert world.did("energise")

    play(story)


def test_failing_settings_alone_fail_the_books_too_and_recover() -> None:
    async def story(world: World) -> None:
        world.failing = True
        world.executor.submit((ForgetTokens(), SaveSetting("link.ping_s", "30"),
                               Answer(REQUEST, Reply(Outcome.ACCEPTED))))
        await asyncio.sleep(0.2)
        assert world.log == [("lost", "link.ping_s"), ("answer", Outcome.REJECTED)]
        world.failing = False
        await asyncio.sleep(60)
        assert world.posted == [JournalFailed("the disk is full"), JournalRecovered()]

    play(story)


def test_a_fact_that_cannot_be_written_does_not_hold_up_the_others() -> None:
    async def story(world: World) -> None:
        world.poison = OPENED
        world.executor.submit((Record(OPENED), Record(CLOSED), EnergisePower(1, 3)))
        await world.executor.drained()
        assert world.written == [CLOSED]
        assert world.did("energise") and not world.executor.failing

    play(story)


def test_a_last_try_writes_what_is_held_at_the_end() -> None:
    async def story(world: World) -> None:
        world.failing = True
        world.executor.submit((Record(OPENED),))
        await asyncio.sleep(0.5)
        assert not await world.executor.write_held()
        world.failing = False
        assert await world.executor.write_held()
        assert world.written == [OPENED]
        assert await world.executor.write_held()

    play(story)


def kinds_of(effect: type) -> set[type]:
    """The kinds that have no kinds of their own."""
    heirs = [kind for kind in effect.__subclasses__() if kind.__name__ != effect.__name__]
    return {effect} if not heirs else set().union(*map(kinds_of, heirs))


def test_every_effect_has_a_grade() -> None:
    assert set(executor._GRADES) == kinds_of(Effect)
    assert Heartbeat not in executor._GRADES
