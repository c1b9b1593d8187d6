"""Long times without network or clock: all is held, in order, with true times and durations."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from support import books, virtual_loop
from support.world import CARD, World, world

from cpctl.store.entries import Lane

SESSIONS = 1500
SAMPLES = 5
OFFLINE = 'auth.offline_unknown'


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


async def offline(w: World) -> None:
    w.app.loop.settings = w.app.loop.settings.with_text(OFFLINE, "true")
    w.network.down()
    await w.advance(1)


async def fill(path: Path, clock: books.Clock) -> list[tuple[datetime, datetime, int, int]]:
    """1500 sessions of 10 500 facts that are told, as a board without network wrote them."""
    journal = await books.open_journal(path, clock)
    told = []
    register = 1_000_000
    first = journal.next_session
    for session in range(first, first + SESSIONS):
        begun, meter_start = clock.tick(30), register
        await journal.record([books.opened(begun, session),
                              books.started(begun, session, wh=register)])
        for _ in range(SAMPLES):
            register += 100
            await journal.record([books.sampled(clock.tick(60), session, wh=register)])
        ended = clock.tick(20)
        await journal.record([books.ended(ended, session, wh=register),
                              books.closed(ended, session)])
        told.append((begun.utc, ended.utc, meter_start, register))
    await journal.close()
    return told


@pytest.mark.requirement("16.OFF.1", "16.OFF.2", "16.OFF.9", "16.BOOT.10")
def test_ten_thousand_messages_of_1500_sessions_survive_a_restart_without_clock_or_network(
) -> None:
    async def story() -> None:
        async with world(start=False) as w:
            clock = books.Clock(boot=w.time.boot_id(), mono_ns=w.time.mono_ns(),
                                utc=w.time.wall())
            state = w.directory / "life-0" / "state"
            state.mkdir(parents=True)
            told = await fill(state / "journal.db", clock)
            w.loop.jump((clock.mono_ns - w.time.mono_ns()) / 1e9)
            w.time.reboot()
            w.time.disciplined, w.time.wall_error_s = False, -30 * 86_400.0
            w.network.down()
            await w.start()
            waiting = w.app.journal.waiting().by_lane[Lane.MONEY]
            await w.kill()

            assert waiting == SESSIONS * (SAMPLES + 2) >= 10_000
            assert w.app.journal.waiting().by_lane[Lane.MONEY] == waiting

            w.network.up = True
            await w.delivered(7 * 86_400)
            assert w.central.books.orphans == []
            found = [(moment(one.started), moment(str(one.stopped)), one.meter_start,
                      one.meter_stop) for one in w.transactions]
            milli = timedelta(milliseconds=1)
            assert [one[2:] for one in found] == [one[2:] for one in told]
            assert all(abs(a - c) <= milli and abs(b - d) <= milli
                       for (a, b, *_), (c, d, *_) in zip(found, told, strict=True))
            assert all(len(one.samples) == SAMPLES for one in w.transactions)

    virtual_loop.run(story())


@pytest.mark.requirement("16.BOOT.10")
def test_a_session_killed_twice_before_the_first_contact_keeps_its_true_duration() -> None:
    async def story() -> None:
        async with world(start=False) as w:
            w.time.disciplined, w.time.wall_error_s = False, -400 * 86_400.0
            await w.start()
            w.app.loop.settings = w.app.loop.settings.with_text(
                "policy.tx_before_accepted", "always").with_text(OFFLINE, "true")
            w.network.down()
            await w.plug()
            begun = w.time.true_wall()
            await w.tap(CARD)
            await w.advance(600)
            await w.kill()
            await w.advance(30)
            await w.kill()
            w.network.up = True
            await w.advance(120)
            await w.unplug()
            await w.delivered()

            one, *_ = w.transactions
            took = moment(str(one.stopped)) - moment(one.started)
            assert one.reason == "Reboot"
            assert abs(moment(one.started) - begun) < timedelta(seconds=2)
            assert timedelta(seconds=590) <= took <= timedelta(seconds=602)

    virtual_loop.run(story())


@pytest.mark.requirement("16.BOOT.10", "16.TX.16")
def test_after_a_power_cut_without_a_clock_order_and_durations_inside_each_boot_are_right(
) -> None:
    async def story() -> None:
        async with world() as w:
            w.time.disciplined, w.time.wall_error_s = False, -400 * 86_400.0
            await offline(w)
            await w.charge(300)
            await w.unplug()
            await w.power_cut()
            w.app.loop.settings = w.app.loop.settings.with_text(OFFLINE, "true")
            await w.charge(200)
            await w.unplug()
            await w.power_cut()
            w.app.loop.settings = w.app.loop.settings.with_text(OFFLINE, "true")
            await w.charge(100)
            await w.unplug()
            w.network.up = True
            await w.delivered()

            times = [(moment(one.started), moment(str(one.stopped))) for one in w.transactions]
            flat = [instant for pair in times for instant in pair]
            assert flat == sorted(flat)
            assert [round((end - begin).total_seconds(), -1) for begin, end in times] == [
                300, 200, 100]
            await w.assert_books_agree()

    virtual_loop.run(story())


@pytest.mark.requirement("16.OFF.6")
def test_over_the_disk_budget_samples_go_first_and_visibly_starts_and_stops_never() -> None:
    async def story() -> None:
        async with world(start=False, more="max_mb = 1") as w:
            clock = books.Clock(boot=w.time.boot_id(), mono_ns=w.time.mono_ns(),
                                utc=w.time.wall())
            state = w.directory / "life-0" / "state"
            state.mkdir(parents=True)
            told = await fill(state / "journal.db", clock)
            w.loop.jump((clock.mono_ns - w.time.mono_ns()) / 1e9)
            w.network.down()
            await w.start()
            await offline(w)
            w.app.loop.settings = w.app.loop.settings.with_text(
                "policy.tx_before_accepted", "always")
            await w.charge(400)
            await w.unplug()
            waiting = w.app.journal.waiting()
            w.network.up = True
            await w.delivered(7 * 86_400)

            assert waiting.shed > 0
            assert [(one.meter_start, one.meter_stop) for one in w.transactions[:SESSIONS]] == [
                one[2:] for one in told]
            assert len(w.transactions) == SESSIONS + 1
            assert w.central.books.orphans == []

    virtual_loop.run(story())


@pytest.mark.requirement("16.MET.3", "16.MET.4", "16.OFF.9")
def test_what_was_kept_for_the_end_is_told_though_the_daemon_was_killed_meanwhile() -> None:
    async def story() -> None:
        keeping = 'StopTxnSampledData = "Energy.Active.Import.Register"'
        async with world(ocpp16=keeping) as w:
            await offline(w)
            for _ in range(4):
                await w.charge(200)
                await w.tap(CARD)
                await w.advance(8)
                await w.unplug()
            await w.kill()
            w.network.up = True
            await w.delivered()

            assert len(w.transactions) == 4
            for one in w.transactions:
                values = [value for taken in one.transaction_data
                          for value in taken["sampledValue"]]
                assert [value["context"] for value in values] == [
                    "Transaction.Begin", *["Sample.Periodic"] * 3, "Transaction.End"]
                assert [int(value["value"]) for value in (values[0], values[-1])] == [
                    one.meter_start, one.meter_stop]

    virtual_loop.run(story())
