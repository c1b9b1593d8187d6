"""The journal through its public door: lanes, order, marks, aliases, what is open, what is kept."""

import json
import random
from datetime import timedelta
from pathlib import Path

import pytest
from support import virtual_loop
from support.aio import run
from support.books import (
    TOKEN,
    Clock,
    closed,
    ended,
    open_journal,
    opened,
    sampled,
    started,
    whole_session,
)

from cpctl.core.facts import (
    Fact,
    FaultLatched,
    FaultUnlatched,
    SecurityEventRaised,
    TransactionChanged,
    TransactionEnded,
    TransactionSampled,
    TransactionStarted,
)
from cpctl.core.faults import FaultCode
from cpctl.core.values import ReadingContext, StopReason
from cpctl.store.db import ThreadWriter
from cpctl.store.entries import ABANDONED, DELIVERED, WAITING, Lane
from cpctl.store.journal import Journal


def news(clock: Clock, text: str = "") -> SecurityEventRaised:
    return SecurityEventRaised(clock.tick(), None, "StartupOfTheDevice", text)


async def drain(journal: Journal, lane: Lane = Lane.MONEY) -> list[Fact]:
    """Deliver everything, in the order the journal gives it."""
    told = []
    while (entry := journal.head(lane)) is not None:
        told.append(entry.fact)
        await journal.settle(entry.no)
    return told


# --- lanes and order -------------------------------------------------------------------------


@pytest.mark.requirement("16.OFF.2")
def test_facts_are_handed_out_in_the_order_of_recording_over_all_evses(tmp_path: Path) -> None:
    async def story() -> tuple[list[Fact], list[Fact]]:
        clock = Clock()
        journal = await open_journal(tmp_path / "journal.db", clock)
        one, two = whole_session(clock, 1, evse=1), whole_session(clock, 2, evse=2)
        recorded: list[Fact] = []
        for pair in zip(one, two, strict=True):
            for facts in pair:
                await journal.record(facts)
                recorded += facts
        return recorded, await drain(journal)

    recorded, told = run(story())

    assert told == [fact for fact in recorded if not type(fact).__name__.startswith("Session")]


def test_news_never_waits_for_money_nor_money_for_news(tmp_path: Path) -> None:
    async def story() -> tuple[list[Fact], list[Fact], int]:
        clock = Clock()
        journal = await open_journal(tmp_path / "journal.db", clock)
        await journal.record([started(clock.tick(), 1), news(clock)])
        await journal.record([ended(clock.tick(), 1)])
        first = await drain(journal, Lane.NEWS)
        left = journal.waiting()
        assert left.by_lane == {Lane.MONEY: 2, Lane.NEWS: 0}
        return first, await drain(journal), journal.waiting().count

    first, money, left = run(story())

    assert [type(fact) for fact in first] == [SecurityEventRaised]
    assert [type(fact) for fact in money] == [TransactionStarted, TransactionEnded]
    assert left == 0


def test_our_own_facts_and_samples_for_the_end_are_in_no_lane(tmp_path: Path) -> None:
    async def story() -> tuple[int, list[type[Fact]]]:
        clock = Clock()
        journal = await open_journal(tmp_path / "journal.db", clock)
        await journal.record([opened(clock.tick(), 1), sampled(clock.tick(), 1, None)])
        return journal.waiting().count, [type(fact) for fact in journal.facts_of(1)]

    count, facts = run(story())

    assert count == 0
    assert TransactionSampled in facts


def test_upcoming_gives_the_head_first_and_never_more_than_there_is(tmp_path: Path) -> None:
    async def story() -> tuple[list[int], int | None]:
        clock = Clock()
        journal = await open_journal(tmp_path / "journal.db", clock)
        assert journal.upcoming(Lane.MONEY, 4) == ()
        for facts in whole_session(clock, 1, samples=5):
            await journal.record(facts)
        head = journal.head(Lane.MONEY)
        return [entry.no for entry in journal.upcoming(Lane.MONEY, 4)], head and head.no

    nos, head = run(story())

    assert nos == [2, 3, 4, 5]
    assert head == 2


def test_waiting_tells_count_and_age(tmp_path: Path) -> None:
    async def story() -> None:
        clock = Clock()
        journal = await open_journal(tmp_path / "journal.db", clock)
        assert journal.waiting().oldest is None
        first = news(clock)
        await journal.record([first])
        await journal.record([started(clock.tick(), 1)])

        waiting = journal.waiting()

        assert waiting.count == 2
        assert waiting.oldest == first.at

    run(story())


# --- what became of facts --------------------------------------------------------------------


@pytest.mark.requirement("16.OFF.5")
def test_attempts_and_settled_calls_survive_a_restart(tmp_path: Path) -> None:
    async def story() -> tuple[int, int]:
        clock, path = Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        no, = await journal.record([started(clock.tick(), 1)])
        assert await journal.fail(no) == 1
        assert await journal.fail(no) == 2
        await journal.part_settled(no, 1)
        await journal.close()
        journal = await open_journal(path, clock)
        assert await journal.fail(no) == 3
        entry = journal.head(Lane.MONEY)
        assert entry is not None
        return entry.attempts, entry.calls_settled

    assert run(story()) == (3, 1)


def test_a_settled_fact_does_not_come_back_after_a_restart(tmp_path: Path) -> None:
    async def story() -> list[int]:
        clock, path = Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        nos = await journal.record([started(clock.tick(), 1), ended(clock.tick(), 1)])
        await journal.settle(nos[0])
        await journal.close()
        journal = await open_journal(path, clock)
        return [entry.no for entry in journal.upcoming(Lane.MONEY, 9)]

    assert run(story()) == [2]


def test_lazy_marks_reach_the_file_after_five_seconds(tmp_path: Path) -> None:
    async def story() -> str:
        import asyncio
        clock, path = Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        no, = await journal.record([started(clock.tick(), 1)])
        await journal.settle(no)
        await asyncio.sleep(5.1)
        journal._db.close()  # killed
        journal = await open_journal(path, clock)
        row = await journal.entry(no)
        assert row is not None
        return row.state

    assert virtual_loop.run(story()) == DELIVERED


def test_an_abandoned_fact_stays_visible_with_its_reason_and_can_be_retried(tmp_path: Path
                                                                             ) -> None:
    async def story() -> None:
        clock, path = Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        first, second = await journal.record([started(clock.tick(), 1), ended(clock.tick(), 1)])
        await journal.abandon(first, "CALLERROR InternalError three times", (1, "1.6", -1))
        assert journal.alias(1, "1.6") == -1
        await journal.close()

        journal = await open_journal(path, clock)
        row, = await journal.entries(ABANDONED)
        assert (row.no, row.reason) == (first, "CALLERROR InternalError three times")
        assert journal.waiting().abandoned == 1
        head = journal.head(Lane.MONEY)
        assert head is not None and head.no == second

        assert await journal.retry(first)
        assert not await journal.retry(second)
        assert not await journal.retry(99)
        assert [entry.no for entry in journal.upcoming(Lane.MONEY, 9)] == [first, second]
        assert journal.waiting().abandoned == 0
        await journal.settle(first)
        await journal.close()
        journal = await open_journal(path, clock)
        assert [entry.no for entry in journal.upcoming(Lane.MONEY, 9)] == [second]

    run(story())


@pytest.mark.requirement("E11.FR.07")
def test_what_waits_when_the_link_goes_counts_as_recorded_offline(tmp_path: Path) -> None:
    async def story() -> list[tuple[bool, bool]]:
        clock, path = Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        await journal.record([started(clock.tick(), 1), news(clock)])
        await journal.mark_offline()
        await journal.record([sampled(clock.tick(), 1, 1, offline=True)])
        await journal.record([sampled(clock.tick(), 1, 2)])
        assert journal.head(Lane.NEWS).offline  # type: ignore[union-attr]
        await journal.close()
        journal = await open_journal(path, clock)
        return [(entry.offline, entry.fact.offline)  # type: ignore[attr-defined]
                for entry in journal.upcoming(Lane.MONEY, 9)]

    assert run(story()) == [(True, True), (True, True), (False, False)]


# --- aliases ---------------------------------------------------------------------------------


@pytest.mark.requirement("16.TX.7")
def test_an_id_that_repeats_finds_the_running_session_and_loses_none(tmp_path: Path) -> None:
    async def story() -> None:
        clock, path = Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        for number in (1, 2):
            for facts in whole_session(clock, number, samples=0):
                await journal.record(facts)
        for number in (3, 4):
            await journal.record([opened(clock.tick(), number), started(clock.tick(), number)])
        starts = {entry.fact.session: entry.no for entry in journal.upcoming(Lane.MONEY, 9)
                  if isinstance(entry.fact, TransactionStarted)}
        for number, its in ((1, 7), (2, 7), (3, 7), (4, 8)):
            await journal.settle(starts[number], (number, "1.6", its))
        for _ in range(2):
            assert [journal.alias(number, "1.6") for number in (1, 2, 3, 4)] == [7, 7, 7, 8]
            assert journal.alias(1, "2.0.1") is None
            assert journal.session_of("1.6", 7) == 3
            assert journal.session_of("1.6", 9) is None
            assert journal.session_of("2.0.1", 7) is None
            await journal.close()
            journal = await open_journal(path, clock)
        await journal.record([ended(clock.tick(), 3), closed(clock.tick(), 3)])
        assert journal.session_of("1.6", 7) == 3  # none runs: the newest

    run(story())


@pytest.mark.parametrize("its", [0, -5, 2**31 - 1, "0c7e-…", ""])
def test_an_alias_comes_back_as_it_was_given(tmp_path: Path, its: int | str) -> None:
    async def story() -> int | str | None:
        clock, path = Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        no, _ = await journal.record([started(clock.tick(), 1), ended(clock.tick(), 1)])
        await journal.settle(no, (1, "1.6", its))
        await journal.close()
        return (await open_journal(path, clock)).alias(1, "1.6")

    assert run(story()) == its


# --- what a start finds ----------------------------------------------------------------------


@pytest.mark.requirement("16.TX.16")
def test_an_open_session_is_found_with_its_register_samples_and_next_report(tmp_path: Path
                                                                           ) -> None:
    async def story() -> None:
        clock, path = Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        for facts in whole_session(clock, 1):
            await journal.record(facts)
        await journal.record([opened(clock.tick(), 2, evse=2)])
        begin = started(clock.tick(), 2, evse=2, wh=5000)
        samples = [sampled(clock.tick(), 2, 1, 2, 5100), sampled(clock.tick(), 2, None, 2, 5200)]
        await journal.record([begin])
        for sample in samples:
            await journal.record([sample])
        saved_at = clock.tick(120)
        await journal.save_register(2, 5321, saved_at)
        await journal.record([opened(clock.tick(), 3)])
        journal._db.close()

        journal = await open_journal(path, clock)
        running, plugged = journal.open_sessions()

        assert (running.session, running.evse, running.connector) == (2, 2, 1)
        assert running.started == begin and running.token == TOKEN
        assert running.samples == tuple(samples)
        assert (running.last_register_wh, running.last_at) == (5321, saved_at)
        assert running.next_report == 2
        assert running.ended is None
        assert (plugged.session, plugged.started, plugged.token) == (3, None, None)
        assert plugged.last_register_wh is None and plugged.next_report == 0
        assert journal.next_session == 4

    run(story())


def test_a_session_whose_transaction_ended_but_that_is_not_closed_is_open_and_ended(
        tmp_path: Path) -> None:
    async def story() -> None:
        clock, path = Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        end = ended(clock.tick(9), 1)
        await journal.record([opened(clock(), 1), started(clock(), 1), end])
        await journal.close()
        journal = await open_journal(path, clock)

        found, = journal.open_sessions()

        assert found.ended == end
        await journal.record([closed(clock.tick(), 1)])
        assert journal.open_sessions() == ()
        await journal.close()
        assert (await open_journal(path, clock)).open_sessions() == ()

    run(story())


def test_faults_stay_latched_until_cleared_also_over_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        clock, path = Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        weld = FaultCode.CONTACTOR_WELDED
        await journal.record([FaultLatched(clock.tick(), None, 1, weld),
                              FaultLatched(clock.tick(), 4, 2, weld)])
        await journal.record([FaultUnlatched(clock.tick(), None, 1, weld)])
        await drain(journal, Lane.NEWS)
        for _ in range(2):
            assert journal.latched() == ((2, weld),)
            await journal.close()
            journal = await open_journal(path, clock)

    run(story())


def test_numbers_go_on_after_a_restart_and_a_new_file_is_a_new_book(tmp_path: Path) -> None:
    async def story() -> None:
        clock, path = Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        assert journal.report.fresh and not journal.report.damaged
        book = journal.book
        assert await journal.record([opened(clock.tick(), 41)]) == (1,)
        await journal.close()
        journal = await open_journal(path, clock)
        assert not journal.report.fresh
        assert (journal.book, journal.next_session) == (book, 42)
        assert await journal.record([closed(clock.tick(), 41)]) == (2,)
        other = await open_journal(tmp_path / "other.db", clock)
        assert other.book != book

    run(story())


# --- much ------------------------------------------------------------------------------------


@pytest.mark.requirement("16.OFF.1", "16.OFF.2")
def test_ten_thousand_messages_of_1500_sessions_are_held_and_told_in_order(tmp_path: Path) -> None:
    async def story() -> None:
        clock, path, writer = Clock(), tmp_path / "journal.db", ThreadWriter()
        journal = await open_journal(path, clock, writer)
        expected: list[tuple[int, str]] = []
        for number in range(1, 1501):
            facts = [fact for step in whole_session(clock, number, 5 if number % 3 else 4,
                                                    offline=True) for fact in step]
            nos = await journal.record(facts)
            expected += [(no, type(fact).__name__) for no, fact in zip(nos, facts, strict=True)
                         if not type(fact).__name__.startswith("Session")]
        assert len(expected) == 10_000
        assert journal.waiting().count == 10_000
        await journal.close()

        journal = await open_journal(path, clock, writer)
        assert journal.waiting().count == 10_000
        told = []
        most_sessions = 0
        while (entry := journal.head(Lane.MONEY)) is not None:
            assert len(journal.upcoming(Lane.MONEY, 16)) == min(16, 10_000 - len(told))
            told.append((entry.no, type(entry.fact).__name__))
            session = entry.fact.session
            assert session is not None
            if isinstance(entry.fact, TransactionStarted):
                await journal.settle(entry.no, (session, "1.6", session % 7))
            else:
                if isinstance(entry.fact, TransactionEnded):
                    assert journal.alias(session, "1.6") == session % 7
                    kinds = [type(fact).__name__ for fact in journal.facts_of(session)]
                    assert kinds[0] == "SessionOpened" and kinds[-1] == "SessionClosed"
                await journal.settle(entry.no)
            most_sessions = max(most_sessions, len(journal._sessions.facts))
        assert told == expected
        assert most_sessions <= 64
        assert len(journal._sessions.aliases) <= 1024
        await journal.close()
        journal = await open_journal(path, clock, writer)
        assert journal.waiting().count == 0
        await journal.close()
        await writer.close()

    run(story())


def test_any_history_agrees_with_a_simple_model(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)

    async def story() -> None:
        clock, path = Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        model: list[tuple[int, int]] = []
        abandoned: set[int] = set()
        for _ in range(600):
            match rng.choice("rrrrssssfaxt"):
                case "r":
                    count = rng.randrange(1, 9)
                    facts: list[Fact] = [sampled(clock.tick(), rng.randrange(1, 5), 1)
                                         for _ in range(count)]
                    model += [(no, 0) for no in await journal.record(facts)]
                case "s" if model:
                    await journal.settle(model.pop(0)[0])
                case "f" if model:
                    no, attempts = model[0]
                    model[0] = (no, await journal.fail(no))
                    assert model[0][1] == attempts + 1
                case "a" if model:
                    no, _ = model.pop(0)
                    await journal.abandon(no, "tried")
                    abandoned.add(no)
                case "t" if abandoned:
                    no = abandoned.pop()
                    assert await journal.retry(no)
                    model = sorted([*model, (no, 0)])
                case "x":
                    await journal.close()
                    journal = await open_journal(path, clock)
            assert journal.waiting().count == len(model)
            assert journal.waiting().abandoned == len(abandoned)
            assert [(entry.no, entry.attempts) for entry in journal.upcoming(Lane.MONEY, 16)
                    ] == model[:16]

    run(story())


# --- time and space --------------------------------------------------------------------------


def test_retention_deletes_only_what_was_delivered_long_ago(tmp_path: Path) -> None:
    async def story() -> None:
        clock, path = Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock, retention_days=90)
        for number in (1, 2, 3):
            for facts in whole_session(clock, number):
                await journal.record(facts)
        await journal.record([opened(clock.tick(), 4), started(clock.tick(), 4)])
        weld, door = FaultCode.CONTACTOR_WELDED, FaultCode.OTHER
        await journal.record([FaultLatched(clock.tick(), None, 1, weld),
                              FaultLatched(clock.tick(), None, 1, door)])
        await journal.record([FaultUnlatched(clock.tick(), None, 1, door), news(clock)])
        waiting = [entry.no for entry in journal.upcoming(Lane.MONEY, 16)]
        for no in waiting:  # session 2 waits, 3 was given up, 1 and 4 are delivered
            row = await journal.entry(no)
            assert row is not None
            if row.session in (1, 4):
                await journal.settle(no)
            elif row.session == 3:
                await journal.abandon(no, "tried")
        await drain(journal, Lane.NEWS)
        clock.tick(91 * 86_400)
        for facts in whole_session(clock, 5):
            await journal.record(facts)
        top = journal.next_session
        await journal.close()
        journal = await open_journal(path, clock, retention_days=90)
        await journal._tend()

        left = await journal.sessions()

        assert [row.no for row in left] == [5, 4, 3, 2]
        assert journal.latched() == ((1, weld),)
        rows = [row.fact for row in await journal.entries(limit=999)]
        assert not any(isinstance(fact, SecurityEventRaised | FaultUnlatched) for fact in rows)
        assert sum(isinstance(fact, FaultLatched) for fact in rows) == 1
        await journal.close()
        journal = await open_journal(path, clock)
        assert journal.latched() == ((1, weld),)
        assert journal.next_session == top

    run(story())


def test_numbers_are_not_used_again_after_everything_was_deleted(tmp_path: Path) -> None:
    async def story() -> None:
        clock, path = Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock, retention_days=1)
        for facts in whole_session(clock, 1):
            await journal.record(facts)
        await drain(journal)
        clock.tick(3 * 86_400)
        await journal._tend()
        assert await journal.entries() == ()
        await journal.close()
        journal = await open_journal(path, clock)
        assert journal.next_session == 2
        assert await journal.record([opened(clock.tick(), 2)]) == (7,)

    run(story())


def test_without_trusted_time_nothing_is_deleted(tmp_path: Path) -> None:
    async def story() -> int:
        from cpctl.core.now import TimeQuality
        clock = Clock()
        journal = await open_journal(tmp_path / "journal.db", clock, retention_days=1)
        for facts in whole_session(clock, 1):
            await journal.record(facts)
        await drain(journal)
        clock.power_cut("boot-2", utc=clock.utc + timedelta(days=400),
                        quality=TimeQuality.FLOOR)
        await journal._tend()
        return len(await journal.entries())

    assert run(story()) == 6


@pytest.mark.requirement("16.OFF.6")
def test_over_the_budget_every_second_middle_sample_goes_and_is_counted(tmp_path: Path) -> None:
    async def story() -> None:
        clock, path = Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock, max_bytes=200_000)
        announced: list[int] = []
        journal.shedding = announced.append
        kinds = ("TransactionStarted", "TransactionEnded", "SessionOpened", "SessionClosed")
        kept: list[int] = []
        ends_of_samples: list[int] = []
        samples = 0
        for number in range(1, 31):
            facts = [fact for step in whole_session(clock, number, 40) for fact in step]
            nos = await journal.record(facts)
            kept += [no for no, fact in zip(nos, facts, strict=True)
                     if type(fact).__name__ in kinds]
            ends_of_samples += [nos[2], nos[41]]
            samples += 40
            await journal._tend()
        waiting = journal.waiting()
        rows = await journal.entries(limit=99_999)
        assert waiting.shed > 0
        assert sum(announced) == waiting.shed
        assert waiting.count == 60 + samples - waiting.shed
        assert len(rows) == 120 + samples - waiting.shed
        there = {row.no for row in rows}
        assert set(kept) <= there
        assert set(ends_of_samples) <= there
        used = journal._db.used_bytes()
        assert used < 200_000 * 1.25
        await journal.close()

        journal = await open_journal(path, clock, max_bytes=200_000)
        assert journal.waiting().shed == waiting.shed
        told = await drain(journal)
        assert len(told) == waiting.count
        assert sum(isinstance(fact, TransactionStarted) for fact in told) == 30
        assert sum(isinstance(fact, TransactionEnded) for fact in told) == 30

    run(story())


def test_delivered_samples_are_shed_before_any_that_waits(tmp_path: Path) -> None:
    async def story() -> None:
        clock = Clock()
        journal = await open_journal(tmp_path / "journal.db", clock, max_bytes=1)
        journal._max_bytes = 0
        for number in (1, 2):
            for facts in whole_session(clock, number, 30):
                await journal.record(facts)
        for entry in journal.upcoming(Lane.MONEY, 64):
            if entry.fact.session == 1:
                await journal.settle(entry.no)
        await journal.flush()
        waiting = journal.waiting().count
        journal._max_bytes = 1

        await journal._tend()

        assert journal.waiting().shed == 14
        assert journal.waiting().count == waiting

    run(story())


# --- for people ------------------------------------------------------------------------------


def test_sessions_are_told_with_energy_times_reason_and_delivery(tmp_path: Path) -> None:
    async def story() -> None:
        clock = Clock()
        journal = await open_journal(tmp_path / "journal.db", clock)
        for number in (1, 2):
            for facts in whole_session(clock, number, 3):
                await journal.record(facts)
        await journal.record([opened(clock.tick(), 3)])
        await journal.record([TransactionChanged(clock.tick(), 3, 1, 1, 0, "x", "Charging")])
        head = journal.head(Lane.MONEY)
        assert head is not None
        await journal.settle(head.no, (1, "1.6", 77))
        for entry in journal.upcoming(Lane.MONEY, 4):
            await journal.settle(entry.no)

        third, second, first = await journal.sessions()

        assert (first.no, first.delivery, first.csms_id) == (1, DELIVERED, 77)
        assert (first.token, first.evse, first.connector) == (TOKEN.value, 1, 1)
        assert first.energy_wh == 400
        assert first.stop_reason == StopReason.EV_DISCONNECTED.value
        assert first.started is not None and first.ended is not None
        assert first.started.mono_ns < first.ended.mono_ns
        assert first.closed
        assert (second.delivery, second.csms_id) == (WAITING, None)
        assert (third.started, third.closed, third.energy_wh) == (None, False, 0)
        assert [row.no for row in await journal.sessions(limit=1)] == [3]
        assert [row.no for row in await journal.sessions(before=3)] == [2, 1]
        assert await journal.session(1) == first
        assert await journal.session(9) is None
        assert len(await journal.session_facts(1)) == 7
        assert await journal.session_facts(9) == ()

    run(story())


def test_an_export_is_json_lines_of_every_fact(tmp_path: Path) -> None:
    async def story() -> None:
        clock = Clock()
        journal = await open_journal(tmp_path / "journal.db", clock)
        for facts in whole_session(clock, 1):
            await journal.record(facts)
        head = journal.head(Lane.MONEY)
        assert head is not None
        await journal.settle(head.no)

        lines = [json.loads(line) for line in await journal.export()]

        assert [line["no"] for line in lines] == [1, 2, 3, 4, 5, 6]
        assert lines[1]["state"] == DELIVERED and lines[2]["state"] == WAITING
        assert lines[0]["state"] is None
        assert lines[5]["kind"] == "SessionClosed"
        assert lines[2]["body"]["context"] == ReadingContext.PERIODIC.value
        assert [json.loads(line)["no"] for line in await journal.export(after=4, limit=1)] == [5]

    run(story())


def test_a_fact_of_a_newer_release_is_kept_named_and_does_not_hold_up_the_lane(
        tmp_path: Path) -> None:
    async def story() -> None:
        import sqlite3

        from cpctl.store.rows import FACTS
        clock, path = Clock(), tmp_path / "journal.db"
        journal = await open_journal(path, clock)
        nos = await journal.record([news(clock), news(clock, "second")])
        await journal.close()
        con = sqlite3.connect(path)
        row = list(con.execute("SELECT * FROM facts WHERE no = 1").fetchone())
        row[5] = "RoofOpened"
        con.execute(FACTS.insert, FACTS.sealed(tuple(row[:-1])))
        con.commit()
        con.close()

        journal = await open_journal(path, clock)

        assert not journal.report.damaged
        head = journal.head(Lane.NEWS)
        assert head is not None and head.no == nos[1]
        assert journal.waiting().unreadable == 1
        row_of_it = await journal.entry(nos[0])
        assert row_of_it is not None
        assert "RoofOpened" in row_of_it.problem
        assert row_of_it.state == WAITING

    run(story())
