"""Carries effects out in the order of law 3: release, record, answer, energise, tell.

What makes the station safer (power off, an offer withdrawn, a bar) is done at once, even while a
slow disk is awaited, and takes out of the queue what it overtakes; a token is asked about at once,
too, since nothing durable hangs on a question. Everything else waits its turn, batch by batch:
nothing is promised or energised before the record it hangs on is durable. While the books cannot be
written facts are held in memory, told from there as far as the journal takes them, and written
first as soon as writing works.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from enum import IntEnum
from typing import Protocol

from cpctl.core.effects import (
    Answer,
    Authorize,
    BarPower,
    CancelFirmware,
    CheckAgainstList,
    ConfirmFirmware,
    Delegate,
    Effect,
    EnergisePower,
    FetchFirmware,
    FindFirmware,
    FirmwareWork,
    ForgetTokens,
    InstallFirmware,
    Keep,
    KeepRecord,
    LockPlug,
    Notice,
    Notify,
    Reconnect,
    Record,
    ReleasePower,
    Remember,
    RestartStation,
    SaveRegister,
    SaveSetting,
    SetOffer,
    Show,
    Tell,
    TestContactor,
    UnlockPlug,
)
from cpctl.core.events import EnergiseRefused, Event, JournalFailed, JournalRecovered, Request
from cpctl.core.facts import Fact, SessionClosed, SessionOpened
from cpctl.core.now import Now
from cpctl.core.values import IdToken, Kept, Outcome, Reply, RequestId, ResetKind, TokenInfo
from cpctl.store.errors import FactUnwritable, StoreError
from hal.late import dataclass
from hal.values import Offer, OfferKind

log = logging.getLogger(__name__)

RETRY_FIRST_S = 1.0  # between tries to write while the books cannot be written
RETRY_MOST_S = 30.0
_PROMISES = (Outcome.ACCEPTED, Outcome.ACCEPTED_CANCELED, Outcome.SCHEDULED,
             Outcome.REBOOT_REQUIRED)
_NOT_WRITTEN = "free disk space or replace the card"


class Gate(Protocol):
    def release(self, evse: int, why: str) -> None: ...
    def energise(self, evse: int, after: int) -> None: ...
    def test(self, evse: int, after: int) -> None: ...
    def bar(self, evse: int, reasons: tuple[str, ...]) -> None: ...
    def books(self, evse: int, *, session_open: bool) -> None: ...
    def number(self, evse: int) -> int: ...


class Books(Protocol):
    """The journal, as far as effects need it."""

    async def record(self, facts: Sequence[Fact]) -> tuple[int, ...]: ...
    def hold(self, facts: Sequence[Fact]) -> int: ...
    async def write_held(self) -> None: ...
    async def save_register(self, session: int, register_wh: int, at: Now) -> None: ...


class Shelf(Protocol):
    """What is kept beside the journal: settings and kept values."""

    async def save_setting(self, setting: str, text: str) -> None: ...
    async def keep(self, key: str, value: str | None) -> None: ...
    def record_entry(self, key: str, record: Kept | None) -> tuple[str, str | None]:
        """How a record is kept: the key and the text for `keep`."""
        ...


class Tokens(Protocol):
    def remember(self, token: IdToken, info: TokenInfo) -> None: ...
    async def forget_all(self) -> None: ...


def _none_to_check(effect: CheckAgainstList) -> None:
    """Where there is no local list."""


@dataclass(frozen=True)
class Hands:
    """Who does what, beside gate and books. None of these may block."""

    offer: Callable[[int, Offer, int], None]  # EVSE, offer, number of the order
    lock: Callable[[int], None]
    unlock: Callable[[int], None]
    show: Callable[[int | None, str], None]
    authorize: Callable[[Authorize], None]
    answer: Callable[[RequestId, Reply], None]
    notify: Callable[[Notice, bool], None]  # the notice, and whether it was asked for
    delegate: Callable[[Request], None]  # carried out and answered elsewhere
    tell: Callable[[Tell], None]
    firmware: Callable[[FirmwareWork], None]
    facts_waiting: Callable[[], None]
    reconnect: Callable[[str], None]  # once the answers are out; why
    restart: Callable[[ResetKind], None]
    setting_lost: Callable[[str], None]  # could not be saved: the old value holds again
    check_list: Callable[[CheckAgainstList], None] = _none_to_check


class Grade(IntEnum):
    AT_ONCE = 0
    RECORD = 1
    ANSWER = 2
    ENERGISE = 3
    TELL = 4


_GRADES: dict[type[Effect], Grade] = {
    ReleasePower: Grade.AT_ONCE,
    Record: Grade.RECORD,
    SaveRegister: Grade.RECORD,
    Keep: Grade.RECORD,
    KeepRecord: Grade.RECORD,
    SaveSetting: Grade.RECORD,
    Remember: Grade.RECORD,
    ForgetTokens: Grade.RECORD,
    Answer: Grade.ANSWER,
    Delegate: Grade.ANSWER,
    SetOffer: Grade.ENERGISE,
    BarPower: Grade.ENERGISE,
    EnergisePower: Grade.ENERGISE,
    TestContactor: Grade.ENERGISE,
    LockPlug: Grade.ENERGISE,
    UnlockPlug: Grade.ENERGISE,
    Authorize: Grade.AT_ONCE,
    CheckAgainstList: Grade.TELL,
    Notify: Grade.TELL,
    Tell: Grade.TELL,
    FetchFirmware: Grade.TELL,
    CancelFirmware: Grade.TELL,
    InstallFirmware: Grade.TELL,
    FindFirmware: Grade.TELL,
    ConfirmFirmware: Grade.TELL,
    Reconnect: Grade.TELL,
    Show: Grade.TELL,
    RestartStation: Grade.TELL,
}


def grade(effect: Effect) -> Grade:
    """When its turn comes. Lowering an offer and barring are as urgent as a release."""
    if isinstance(effect, SetOffer) and (
            effect.lower or effect.offer.kind is not OfferKind.CURRENT):
        return Grade.AT_ONCE
    if isinstance(effect, BarPower) and effect.reasons:
        return Grade.AT_ONCE
    return _GRADES[type(effect)]


def _overtaken(effect: Effect, by: Effect) -> bool:
    """Whether `effect`, still waiting, means nothing any more once `by` was done."""
    if isinstance(by, SetOffer):
        if isinstance(effect, EnergisePower):
            return effect.evse == by.evse and by.offer.kind is not OfferKind.CURRENT
        return isinstance(effect, SetOffer) and effect.evse == by.evse
    if isinstance(by, BarPower):
        return isinstance(effect, BarPower) and effect.evse == by.evse
    return False  # an order to close is refused by its number, and the core told so


class Executor:
    """One queue of batches; a batch is what one step of the core wants done."""

    def __init__(self, *, gate: Gate, books: Books, shelf: Shelf, tokens: Tokens, hands: Hands,
                 post: Callable[[Event], None]):
        self._gate = gate
        self._books = books
        self._shelf = shelf
        self._tokens = tokens
        self._hands = hands
        self._post = post
        self._queue: deque[list[Effect]] = deque()
        self._current: list[Effect] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._failing = False
        self._retry_s = RETRY_FIRST_S
        self._held: list[Fact] = []
        self._handed = 0  # of those held: so many the journal has in memory and tells
        self._held_keeps: dict[str, str | None] = {}
        self._held_registers: dict[int, SaveRegister] = {}
        self._submitted = self._done = 0  # batches
        self._thens: deque[tuple[int, Callable[[], None]]] = deque()
        self._new_facts = False

    @property
    def held(self) -> tuple[Fact, ...]:
        """Facts that could not be written yet, oldest first."""
        return tuple(self._held)

    @property
    def failing(self) -> bool:
        return self._failing

    def submit(self, effects: tuple[Effect, ...]) -> None:
        """Take what a step wants done; what is urgent is done before this returns."""
        batch: list[Effect] = []
        for effect in effects:
            if grade(effect) is Grade.AT_ONCE:
                self._take_out(effect, batch)
                self._do_at_once(effect)
            else:
                batch.append(effect)
            if isinstance(effect, Record) and isinstance(effect.fact, SessionClosed):
                self._gate.books(effect.fact.evse, session_open=False)
        if batch:
            self._queue.append(batch)
            self._submitted += 1
            self._idle.clear()
            self._wake.set()

    def after(self, then: Callable[[], None]) -> None:
        """Call `then` once all that was submitted so far is recorded and answered: what is told of
        a decision comes behind its answer, however slow the disk is."""
        if self._done == self._submitted:
            then()
        else:
            self._thens.append((self._submitted, then))

    async def run(self) -> None:
        """Work through the queue for ever; while writing fails, try again in between."""
        while True:
            await self._next_turn()
            while self._queue:
                self._current = self._queue.popleft()
                await self._carry_out(self._current)
                self._done += 1
                while self._thens and self._thens[0][0] <= self._done:
                    self._thens.popleft()[1]()
            if self._failing:
                await self.write_held()
            self._wake.clear()
            if not self._queue:
                self._idle.set()

    async def drained(self) -> None:
        """Returns when everything submitted so far was carried out."""
        await self._idle.wait()

    async def write_held(self) -> bool:
        """A last try to write what is held; True when nothing is left in memory only."""
        if self._failing:
            await self._write((), {}, {}, ())
            self._tell_of_facts()
        return not self._failing

    async def _next_turn(self) -> None:
        if self._queue:
            return
        if not self._failing:
            await self._wake.wait()
            return
        try:
            async with asyncio.timeout(self._retry_s):
                await self._wake.wait()
        except TimeoutError:
            self._retry_s = min(2 * self._retry_s, RETRY_MOST_S)

    # --- at once -----------------------------------------------------------------------------

    def _take_out(self, by: Effect, batch: list[Effect]) -> None:
        for waiting in (*self._queue, self._current, batch):
            waiting[:] = [effect for effect in waiting if not _overtaken(effect, by)]

    def _do_at_once(self, effect: Effect) -> None:
        match effect:
            case ReleasePower():
                self._gate.release(effect.evse, effect.why)
            case SetOffer():
                self._hands.offer(effect.evse, effect.offer, effect.number)
            case BarPower():
                self._gate.bar(effect.evse, effect.reasons)
            case Authorize():
                self._hands.authorize(effect)

    # --- in order ----------------------------------------------------------------------------

    async def _carry_out(self, batch: list[Effect]) -> None:
        written = await self._record(batch)
        for turn in (Grade.ANSWER, Grade.ENERGISE, Grade.TELL):
            for effect in [one for one in batch if grade(one) is turn]:
                if effect in batch:  # not taken out meanwhile
                    self._do(effect, written=written)
            if turn is Grade.ANSWER:
                self._tell_of_facts()
        batch.clear()

    def _tell_of_facts(self) -> None:
        if self._new_facts:
            self._new_facts = False
            self._hands.facts_waiting()

    async def _record(self, batch: list[Effect]) -> bool:
        """Write what the batch wants kept. False: something of it is in memory only."""
        facts = [effect.fact for effect in batch if isinstance(effect, Record)]
        keeps = self._keeps(batch)
        registers = {effect.session: effect for effect in batch
                     if isinstance(effect, SaveRegister)}
        others = [effect for effect in batch if isinstance(effect, SaveSetting | ForgetTokens)]
        for effect in batch:
            if isinstance(effect, Remember):
                self._tokens.remember(effect.token, effect.info)
        if not (facts or keeps or registers or others):
            return True
        return await self._write(facts, keeps, registers, others)

    def _keeps(self, batch: list[Effect]) -> dict[str, str | None]:
        keeps: dict[str, str | None] = {}
        for effect in batch:
            if isinstance(effect, Keep):
                keeps[effect.key] = effect.value
            elif isinstance(effect, KeepRecord):
                key, text = self._shelf.record_entry(effect.key, effect.record)
                keeps[key] = text
        return keeps

    async def _write(self, facts: Sequence[Fact], keeps: dict[str, str | None],
                     registers: dict[int, SaveRegister], others: Sequence[Effect]) -> bool:
        self._held += facts
        self._held_keeps.update(keeps)
        self._held_registers.update(registers)
        try:
            await self._write_facts()
            await self._write_keeps()
            await self._write_registers()
        except StoreError as error:
            self._fail(error)
            self._hand_over()
            self._lose(others)
            return False
        if not await self._write_others(others):
            return False
        self._recover()
        return True

    def _hand_over(self) -> None:
        """What cannot be written is told all the same, as far as the journal takes it."""
        taken = self._books.hold(self._held[self._handed:])
        self._handed += taken
        if taken:
            self._new_facts = True

    async def _write_facts(self) -> None:
        if self._handed:
            await self._books.write_held()
            self._written(tuple(self._held[:self._handed]))
        if not self._held:
            return
        facts = tuple(self._held)
        try:
            await self._books.record(facts)
        except FactUnwritable:
            await self._write_one_by_one()
        else:
            self._written(facts)
        self._new_facts = True

    async def _write_one_by_one(self) -> None:
        """One fact cannot be kept at all: it must not hold up the others."""
        while self._held:
            fact = self._held[0]
            try:
                await self._books.record((fact,))
            except FactUnwritable as error:
                log.error("a fact is not recorded: %s", error)
                del self._held[0]
            else:
                self._written((fact,))

    def _written(self, facts: tuple[Fact, ...]) -> None:
        """These, the oldest that were held, are durable now."""
        del self._held[:len(facts)]
        self._handed = max(0, self._handed - len(facts))
        for fact in facts:
            if isinstance(fact, SessionOpened | SessionClosed):
                self._gate.books(fact.evse, session_open=isinstance(fact, SessionOpened))

    async def _write_keeps(self) -> None:
        for key, value in tuple(self._held_keeps.items()):
            await self._shelf.keep(key, value)
            del self._held_keeps[key]

    async def _write_registers(self) -> None:
        for session, save in tuple(self._held_registers.items()):
            await self._books.save_register(session, save.register_wh, save.at)
            del self._held_registers[session]

    async def _write_others(self, others: Sequence[Effect]) -> bool:
        for index, effect in enumerate(others):
            try:
                await self._write_other(effect)
            except StoreError as error:
                self._fail(error)
                self._lose(others[index:])
                return False
        return True

    def _write_other(self, effect: Effect) -> Awaitable[None]:
        if isinstance(effect, SaveSetting):
            return self._shelf.save_setting(effect.setting, effect.text)
        return self._tokens.forget_all()

    def _lose(self, others: Sequence[Effect]) -> None:
        for effect in others:
            if isinstance(effect, SaveSetting):
                self._hands.setting_lost(effect.setting)

    def _fail(self, error: StoreError) -> None:
        if self._failing:
            return
        self._failing = True
        self._retry_s = RETRY_FIRST_S
        log.error("the books cannot be written, nothing is promised or energised: %s", error)
        self._post(JournalFailed(str(error)))

    def _recover(self) -> None:
        if not self._failing:
            return
        self._failing = False
        log.warning("the books can be written again, nothing was lost")
        self._post(JournalRecovered())

    # --- one effect --------------------------------------------------------------------------

    def _do(self, effect: Effect, *, written: bool) -> None:
        match effect:
            case Answer():
                self._hands.answer(effect.request, _kept(effect.reply, written=written))
            case Delegate():
                self._hands.delegate(effect.request)
            case EnergisePower() | TestContactor():
                self._close(effect)
            case SetOffer() if self._failing:
                log.info("evse=%s nothing is offered while the books cannot be written",
                         effect.evse)
            case SetOffer():
                self._hands.offer(effect.evse, effect.offer, effect.number)
            case BarPower():
                self._gate.bar(effect.evse, effect.reasons)
            case LockPlug():
                self._hands.lock(effect.evse)
            case UnlockPlug():
                self._hands.unlock(effect.evse)
            case _:
                self._tell(effect)

    def _close(self, effect: EnergisePower | TestContactor) -> None:
        match effect:
            case TestContactor():  # no energy flows where nothing is plugged in
                self._gate.test(effect.evse, effect.after)
            case _ if self._failing:
                self._post(EnergiseRefused(effect.evse, self._gate.number(effect.evse),
                                           ("journal_failed",)))
            case _:
                self._gate.energise(effect.evse, effect.after)

    def _tell(self, effect: Effect) -> None:
        match effect:
            case Notify():
                self._hands.notify(effect.notice, effect.triggered)
            case Tell():
                self._hands.tell(effect)
            case CheckAgainstList():
                self._hands.check_list(effect)
            case FirmwareWork():
                self._hands.firmware(effect)
            case Reconnect():
                self._hands.reconnect(effect.why)
            case Show():
                self._hands.show(effect.evse, effect.pattern)
            case RestartStation():
                self._hands.restart(effect.kind)


def _kept(reply: Reply, *, written: bool) -> Reply:
    """A promise that could not be written down is none."""
    if written or reply.outcome not in _PROMISES:
        return reply
    return replace(reply, outcome=Outcome.REJECTED, code="journal_failed", hint=_NOT_WRITTEN)
