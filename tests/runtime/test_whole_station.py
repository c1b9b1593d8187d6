"""The whole daemon in virtual time: loop, core, executor, gate, devices, books."""

import asyncio
from datetime import timedelta

import pytest
from support.station_bench import CONFIG, StationBench, VirtualTime, with_app
from support.virtual_loop import VirtualLoop

from cpctl import app_reload
from cpctl.app import Ending
from cpctl.core.effects import EnergisePower, Record, ReleasePower, SetOffer
from cpctl.core.events import (
    DeviceLost,
    EnergiseRefused,
    JournalFailed,
    JournalRecovered,
    PowerReleased,
    ResetRequested,
    SettingChangeRequested,
    StopRequested,
)
from cpctl.core.facts import TransactionEnded
from cpctl.core.now import TimeQuality
from cpctl.core.values import Outcome, Registration, ResetKind, StopReason
from cpctl.dialects.base import RegistrationAnswered
from cpctl.store.errors import JournalError
from hal.errors import DeviceTimeout
from hal.values import OfferKind


def moments(bench: StationBench, what: str, value: object) -> list[int]:
    return [one.mono_ns for one in bench.board.history if (one.what, one.value) == (what, value)]


def offer_withdrawn_ns(bench: StationBench) -> int:
    return next(one.mono_ns for one in reversed(bench.board.history)
                if one.what == "offer" and one.value.kind is not OfferKind.CURRENT)


def ended(bench: StationBench) -> list[TransactionEnded]:
    return [one.fact for one in bench.trace
            if isinstance(one, Record) and isinstance(one.fact, TransactionEnded)]


async def card(bench: StationBench) -> None:
    bench.board.tap("04A1B2C3", evse=1)


async def remote_stop(bench: StationBench) -> None:
    session = bench.evse().session
    await bench.app.requests.ask(lambda request: StopRequested(request, session=session))


async def limit_below_the_least(bench: StationBench) -> None:
    bench.board.cable(1, 5.0)


GENTLE = pytest.mark.parametrize("act", [card, remote_stop, limit_below_the_least],
                                 ids=lambda act: act.__name__)


@GENTLE
def test_what_ends_charging_without_danger_asks_the_car_first(tmp_path, act) -> None:
    async def story(bench: StationBench) -> None:
        await bench.charge()

        await act(bench)
        await bench.until(lambda: not bench.coil())

        left_c = moments(bench, "pilot", bench.board.look(1).pilot)[-1]
        off = moments(bench, "coil", False)[-1]
        assert offer_withdrawn_ns(bench) < left_c <= off

    with_app(story, tmp_path)


@GENTLE
def test_a_car_that_stays_in_c_is_cut_off_after_six_seconds_at_the_latest(tmp_path, act) -> None:
    async def story(bench: StationBench) -> None:
        await bench.charge()
        bench.board.fault("stuck_in_c", 1)

        await act(bench)
        await bench.until(lambda: not bench.coil())

        waited_ns = moments(bench, "coil", False)[-1] - offer_withdrawn_ns(bench)
        assert 5_500_000_000 <= waited_ns <= 6_000_000_000

    with_app(story, tmp_path)


@pytest.mark.parametrize("state", ["A", "B", "E", "F"])
def test_a_pilot_leaving_c_opens_at_the_same_moment(tmp_path, state: str) -> None:
    async def story(bench: StationBench) -> None:
        await bench.charge()

        bench.board.pilot(1, state)
        await bench.until(lambda: not bench.coil())

        assert moments(bench, "coil", False)[-1] - moments(
            bench, "pilot", bench.board.look(1).pilot)[-1] < 1_000_000

    with_app(story, tmp_path)


def test_a_tripped_rcd_opens_at_the_same_moment(tmp_path) -> None:
    async def story(bench: StationBench) -> None:
        await bench.charge()
        tripped_ns = bench.virtual.monotonic_ns()

        bench.board.fault("rcd", 1)
        await bench.until(lambda: not bench.coil())

        assert moments(bench, "coil", False)[-1] - tripped_ns < 1_000_000
        assert bench.evse().faulted

    with_app(story, tmp_path)


def test_a_pilot_poller_that_hangs_leads_to_power_off(tmp_path) -> None:
    async def story(bench: StationBench) -> None:
        await bench.charge()
        bench.see()

        async def hang():
            await asyncio.Event().wait()
        bench.app.hardware.fitted.pilots[1].read = hang
        await bench.until(lambda: not bench.coil(), limit_s=2.5)

        release = next(one for one in bench.trace if isinstance(one, PowerReleased))
        assert release.reasons == ("pilot_stale",)
        await bench.until(lambda: any(isinstance(one, DeviceLost) and one.kind == "pilot"
                                      for one in bench.trace))

    with_app(story, tmp_path)


def test_a_meter_that_falls_silent_leads_to_power_off_and_charging_goes_on_after(tmp_path) -> None:
    async def story(bench: StationBench) -> None:
        await bench.charge()

        bench.board.fault("meter_lost", 1)
        await bench.until(lambda: not bench.coil(), limit_s=45)
        assert bench.evse().transaction

        bench.board.clear("meter_lost", 1)
        await bench.until(bench.coil, limit_s=60)

    with_app(story, tmp_path)


def test_a_loop_that_does_not_answer_leads_to_power_off(tmp_path) -> None:
    async def story(bench: StationBench) -> None:
        await bench.charge()

        loop = bench.app.loop
        loop._take = lambda most: loop._wake.clear()  # it hears and does nothing
        await bench.until(lambda: not bench.coil(), limit_s=3)
        del loop._take

    with_app(story, tmp_path)


class Disk:
    """Books whose writing can be made to fail or to wait."""

    def __init__(self, bench: StationBench) -> None:
        self.fails = self.waiting = False
        self.turn = asyncio.Event()
        self.turn.set()
        self._record = bench.app.journal.record
        bench.app.journal.record = self.record
        self._write_held = bench.app.journal.write_held
        bench.app.journal.write_held = self.write_held

    async def write_held(self):
        if self.fails:
            raise JournalError("journal.db: the disk is full")
        await self._write_held()

    async def record(self, facts):
        self.waiting = True
        await self.turn.wait()
        self.waiting = False
        if self.fails:
            raise JournalError("journal.db: the disk is full")
        return await self._record(facts)


def test_nothing_is_energised_while_the_books_cannot_be_written(tmp_path) -> None:
    async def story(bench: StationBench) -> None:
        disk = Disk(bench)
        disk.fails = True
        bench.see()

        bench.board.plug(1)
        await bench.pass_s(0.5)
        bench.board.tap("04A1B2C3", evse=1)
        await bench.pass_s(30)

        assert not bench.coil() and not moments(bench, "coil", True)
        assert any(isinstance(one, JournalFailed) for one in bench.trace)
        assert bench.app.executor.held

    with_app(story, tmp_path)


def test_a_disk_that_fails_ends_the_charge_and_what_was_held_is_written_later(tmp_path) -> None:
    async def story(bench: StationBench) -> None:
        await bench.charge()
        session = bench.evse().session
        disk = Disk(bench)
        disk.fails = True
        bench.see()

        bench.board.tap("04A1B2C3", evse=1)
        await bench.until(lambda: not bench.coil())
        await bench.pass_s(20)
        assert any(isinstance(one, TransactionEnded) for one in bench.app.executor.held)

        disk.fails = False
        await bench.until(lambda: any(isinstance(one, JournalRecovered) for one in bench.trace))
        row = await bench.app.journal.session(session)
        assert row is not None and row.stop_reason == "Local"
        assert not bench.app.executor.held

    with_app(story, tmp_path)


def test_a_release_does_not_wait_for_a_slow_disk(tmp_path) -> None:
    async def story(bench: StationBench) -> None:
        await bench.charge()
        disk = Disk(bench)
        disk.turn.clear()
        bench.see()
        await bench.until(lambda: disk.waiting)
        bench.board.fault("stuck_in_c", 1)

        bench.board.tap("04A1B2C3", evse=1)
        await bench.until(lambda: not bench.coil())

        assert disk.waiting
        assert any(isinstance(one, ReleasePower) for one in bench.trace)
        disk.turn.set()

    with_app(story, tmp_path)


def test_an_order_that_waited_behind_a_slow_disk_cannot_close_what_was_opened(tmp_path) -> None:
    async def story(bench: StationBench) -> None:
        await bench.charge()
        bench.board.pilot(1, "B")
        await bench.until(lambda: not bench.coil())
        await bench.pass_s(30)
        disk = Disk(bench)
        disk.turn.clear()
        bench.see()
        await bench.until(lambda: disk.waiting)

        bench.board.pilot(1, "C")
        await bench.until(lambda: any(isinstance(one, EnergisePower) for one in bench.trace))
        assert not bench.coil()
        bench.board.pilot(1, "B")
        await bench.pass_s(0.1)
        bench.board.pilot(1, "C")
        await bench.pass_s(0.1)
        disk.turn.set()
        await bench.pass_s(0.05)

        refusals = [one for one in bench.trace if isinstance(one, EnergiseRefused)]
        assert refusals and refusals[0].reasons == ("stale",)
        assert not bench.coil()
        await bench.until(bench.coil, limit_s=60)

    with_app(story, tmp_path)


def test_no_offer_outlives_its_withdrawal_in_the_queue(tmp_path) -> None:
    async def story(bench: StationBench) -> None:
        bench.board.cable(1, 10.0)
        await bench.charge()
        disk = Disk(bench)
        disk.turn.clear()
        bench.see()
        await bench.until(lambda: disk.waiting)
        bench.board.cable(1, 20.0)
        await bench.until(lambda: any(isinstance(one, SetOffer) and one.offer.current_a == 20.0
                                      for one in bench.trace))

        bench.board.unplug(1)
        await bench.pass_s(1)
        disk.turn.set()
        await bench.pass_s(1)

        offers = [one.value for one in bench.board.history if one.what == "offer"]
        assert offers[-1].kind is not OfferKind.CURRENT
        assert all(one.current_a != 20.0 for one in offers)

    with_app(story, tmp_path)


def test_the_end_withdraws_the_offer_ends_the_transaction_and_writes_the_books(tmp_path) -> None:
    seen: list[StationBench] = []

    async def story(bench: StationBench) -> None:
        await bench.charge()
        bench.see()
        seen.append(bench)

    ending = with_app(story, tmp_path)

    bench = seen[0]
    assert ending is Ending.STOP
    assert not bench.coil()
    assert [fact.reason for fact in ended(bench)] == [StopReason.REBOOT]
    assert offer_withdrawn_ns(bench) < moments(bench, "coil", False)[-1]


def test_at_the_end_a_car_that_stays_in_c_is_cut_off_within_three_seconds(tmp_path) -> None:
    seen: list[tuple[StationBench, int]] = []

    async def story(bench: StationBench) -> None:
        await bench.charge()
        bench.see()
        bench.board.fault("stuck_in_c", 1)
        seen.append((bench, bench.virtual.monotonic_ns()))

    with_app(story, tmp_path)

    bench, began_ns = seen[0]
    assert moments(bench, "coil", False)[-1] - began_ns <= 3_000_000_000
    assert [fact.reason for fact in ended(bench)] == [StopReason.REBOOT]


def test_a_task_that_dies_of_a_bug_takes_power_off_before_anything_else(tmp_path, caplog) -> None:
    seen: list[StationBench] = []

    async def story(bench: StationBench) -> None:
        await bench.charge()
        seen.append(bench)

        def bug(most: int) -> None:
            raise ZeroDivisionError("a bug in the core")
        bench.app.loop._take = bug
        bench.app.loop.ask(lambda: None)
        await bench.until(lambda: not bench.coil())

    ending = with_app(story, tmp_path)

    assert ending is Ending.DIED
    assert not seen[0].coil()
    assert "died of a bug" in caplog.text


def test_coils_are_off_before_anything_else_happens_at_a_start(tmp_path) -> None:
    from support.station_bench import build
    from support.virtual_loop import VirtualLoop, run

    loop = VirtualLoop()

    async def whole() -> None:
        app = build(tmp_path, loop)
        app.board.set_coil(1, on=True)
        order: list[str] = []
        app.seams = type(app.seams)(**{**app.seams.__dict__, "writer": lambda: (
            order.append("books"), __import__("cpctl.store.db").store.db.InlineWriter())[1]})
        before = app.gate.make_safe
        app.gate.make_safe = lambda: (before(), order.append(
            "on" if app.board.look(1).coil else "off"))
        running = asyncio.ensure_future(app.run(lambda: order.append("ready")))
        await asyncio.sleep(1)
        app.stop()
        await running
        assert order == ["off", "books", "ready"]

    run(whole(), loop=loop)


def test_what_a_previous_life_left_on_offer_is_withdrawn_before_the_books_are_opened(
        tmp_path) -> None:
    from support.station_bench import build
    from support.virtual_loop import VirtualLoop, run

    from hal.values import NO_OFFER, Offer, OfferKind

    loop = VirtualLoop()

    async def whole() -> None:
        app = build(tmp_path, loop)
        app.board.set_offer(1, Offer(OfferKind.CURRENT, 16.0))
        seen: list[object] = []
        app.seams = type(app.seams)(**{**app.seams.__dict__, "writer": lambda: (
            seen.append(app.board.look(1).offer),
            __import__("cpctl.store.db").store.db.InlineWriter())[1]})
        running = asyncio.ensure_future(app.run())
        await asyncio.sleep(1)
        app.stop()
        await running
        assert seen == [NO_OFFER]

    run(whole(), loop=loop)


def test_a_charge_left_open_by_a_dead_process_is_ended_at_the_next_start(tmp_path) -> None:
    sessions: list[int] = []

    async def charge(bench: StationBench) -> None:
        await bench.charge()
        sessions.append(bench.evse().session)
        bench.app.loop._take = lambda most: (_ for _ in ()).throw(RuntimeError("killed"))
        bench.app.loop.ask(lambda: None)
        await bench.until(lambda: not bench.coil())

    async def look(bench: StationBench) -> None:
        await bench.pass_s(10)
        row = await bench.app.journal.session(sessions[0])
        assert row is not None and row.stop_reason == "Reboot"

    assert with_app(charge, tmp_path) is Ending.DIED
    with_app(look, tmp_path)


def test_at_idle_nothing_wakes_up(tmp_path) -> None:
    async def story(bench: StationBench) -> None:
        await bench.pass_s(60)
        turns = 0
        once = bench.virtual._run_once

        def counted() -> None:
            nonlocal turns
            turns += 1
            once()
        bench.virtual._run_once = counted
        await bench.pass_s(600)
        del bench.virtual._run_once
        assert turns < 150, f"{turns} turns of the event loop in 600 s"

    with_app(story, tmp_path)


def test_the_end_does_not_wait_for_a_pilot_board_that_takes_no_offer(tmp_path) -> None:
    async def story(bench: StationBench) -> None:
        await bench.charge()

        async def deaf(offer):
            raise DeviceTimeout("pilot 1: no answer")
        bench.app.hardware.fitted.pilots[1].offer = deaf
        bench.board.tap("04A1B2C3", evse=1)
        await bench.until(lambda: not bench.coil())

    assert with_app(story, tmp_path) is Ending.STOP


def test_no_board_is_left_with_current_on_offer_when_a_task_dies(tmp_path) -> None:
    seen: list[StationBench] = []

    async def story(bench: StationBench) -> None:
        await bench.charge()
        seen.append(bench)
        bench.app.loop._take = None  # calling it is a bug
        bench.app.loop.ask(lambda: None)
        await bench.until(lambda: not bench.coil())

    assert with_app(story, tmp_path) is Ending.DIED
    assert seen[0].board.look(1).offer.kind is not OfferKind.CURRENT


@pytest.mark.parametrize(("kind", "reason"), [
    (ResetKind.SOFT, StopReason.SOFT_RESET), (ResetKind.HARD, StopReason.HARD_RESET)])
def test_a_reset_ends_the_charge_and_then_the_daemon(tmp_path, kind, reason) -> None:
    seen: list[StationBench] = []

    async def story(bench: StationBench) -> None:
        await bench.charge()
        bench.see()
        seen.append(bench)

        reply = await bench.app.requests.ask(lambda request: ResetRequested(request, kind))
        assert reply.outcome is Outcome.ACCEPTED
        await bench.app._stop_wanted.wait()

    assert with_app(story, tmp_path) is Ending.EXIT
    assert [fact.reason for fact in ended(seen[0])] == [reason]
    assert not seen[0].coil()


@pytest.mark.requirement("16.RESET.4")
def test_a_machine_that_was_not_restarted_is_a_reset_that_failed(tmp_path) -> None:
    reboots = 'on_reset = "reboot"'
    faults: list[list[str]] = []

    async def reset(bench: StationBench) -> None:
        await bench.app.requests.ask(lambda request: ResetRequested(request, ResetKind.HARD))
        await bench.app._stop_wanted.wait()

    async def look(bench: StationBench) -> None:
        await bench.pass_s(1)
        faults.append([one.code.value for one in bench.app.loop.picture.faults])

    assert with_app(reset, tmp_path, station=reboots) is Ending.REBOOT
    with_app(look, tmp_path, station=reboots)
    with_app(look, tmp_path, station=reboots)
    assert faults == [["RESET_FAILED"], []]


def test_a_reload_finds_files_that_are_new_beside_the_first(tmp_path) -> None:
    async def story(bench: StationBench) -> None:
        (tmp_path / "cpctl.toml").write_text(CONFIG.format(path=tmp_path, more=""))
        (tmp_path / "conf.d").mkdir()
        added = tmp_path / "conf.d" / "10-samples.toml"
        added.write_text("[ocpp16]\nMeterValueSampleInterval = 23\n")

        app_reload.reload(bench.app)
        assert bench.app.loop.settings.integer("sampling.interval_s") == 23

        added.unlink()
        app_reload.reload(bench.app)
        assert bench.app.loop.settings.integer("sampling.interval_s") == 60

    with_app(story, tmp_path)


def test_a_reload_applies_what_is_safe_and_names_what_waits(tmp_path, caplog) -> None:
    async def story(bench: StationBench) -> None:
        file = tmp_path / "cpctl.toml"
        text = CONFIG.format(path=tmp_path, more="")
        file.write_text(text.replace("[ocpp16]", "[ocpp16]\nMeterValueSampleInterval = 17")
                        .replace('identity = "CP001"', 'identity = "CP002"')
                        .replace('"always"', '"never"'))

        app_reload.reload(bench.app)
        assert bench.app.loop.settings.integer("sampling.interval_s") == 17
        assert bench.app.loop.settings.text("policy.tx_before_accepted") == "never"
        assert bench.app.config.station.identity == "CP001"

        file.write_text("nonsense")
        app_reload.reload(bench.app)
        assert bench.app.loop.settings.integer("sampling.interval_s") == 17

    with_app(story, tmp_path)
    assert "station waits for a restart" in caplog.text
    assert "configuration not reloaded" in caplog.text


@pytest.mark.requirement("16.MET.2")
def test_readings_are_aligned_to_local_midnight_when_so_configured(tmp_path, monkeypatch) -> None:
    """A slot of every six hours is at 18:00, and two hours east of UTC that is 16:00 UTC."""
    monkeypatch.setattr("cpctl.app.zone_offset_s", lambda utc: 7200)

    async def story(bench: StationBench) -> None:
        await bench.pass_s(1)
        slot, now = bench.app.loop.station.clock_slot, bench.app.now()
        assert slot is not None
        when = now.utc + timedelta(seconds=round((slot - now.mono_ns) / 1e9))
        assert (when.hour, when.minute) == (16, 0)

    with_app(story, tmp_path, options='time.align = "local"',
             keys="ClockAlignedDataInterval = 21600")


def test_a_refused_card_is_shown_for_a_moment_only(tmp_path) -> None:
    async def story(bench: StationBench) -> None:
        await bench.pass_s(1)
        before = bench.board.look(1).pattern
        bench.app.devices.show(None, "card_refused")
        await bench.pass_s(0.5)
        assert bench.board.look(1).pattern == "card_refused"
        await bench.pass_s(5)
        assert bench.board.look(1).pattern == before

    with_app(story, tmp_path)


def test_the_interval_the_central_system_gives_is_kept_and_its_time_taken(tmp_path) -> None:
    async def story(bench: StationBench) -> None:
        bench.app.post(RegistrationAnswered(Registration.ACCEPTED, 77, "2027-01-01T00:00:00Z"))
        await bench.pass_s(1)
        assert bench.app.loop.settings.integer("link.heartbeat_s") == 77
        assert bench.app.station_store.settings_texts["link.heartbeat_s"] == "77"
        assert bench.app.now().quality is TimeQuality.CSMS
        assert bench.app.now().utc.year == 2027

    loop = VirtualLoop()
    time = VirtualTime(loop)
    time.trusted = False
    with_app(story, tmp_path, loop=loop, time=time)


def test_a_setting_that_could_not_be_saved_is_as_before(tmp_path) -> None:
    async def story(bench: StationBench) -> None:
        async def full(setting: str, text: str) -> None:
            raise JournalError("station.db: the disk is full")
        bench.app.station_store.save_setting = full

        reply = await bench.app.requests.ask(
            lambda request: SettingChangeRequested(request, "link.ping_s", "33"))

        assert reply.outcome is Outcome.REJECTED
        assert bench.app.loop.settings.integer("link.ping_s") == 60

    with_app(story, tmp_path)


def test_a_contactor_that_was_lost_and_came_back_charges_again(tmp_path) -> None:
    async def story(bench: StationBench) -> None:
        bench.board.fault("contactor_lost", 1)
        bench.board.plug(1)
        await bench.pass_s(0.5)
        bench.board.tap("04A1B2C3", evse=1)
        await bench.pass_s(30)
        assert not bench.coil() and bench.evse().faulted

        bench.board.clear("contactor_lost", 1)
        await bench.until(lambda: not bench.evse().faulted)
        bench.board.unplug(1)
        await bench.pass_s(5)
        await bench.charge()

    with_app(story, tmp_path)
