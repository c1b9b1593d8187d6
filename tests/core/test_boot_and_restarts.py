"""Starts: what was kept, what the previous life left open, who may charge before the first yes."""

from datetime import timedelta

import pytest
from support.core_world import START, World, evse_layout

from cpctl.core import effects as ef
from cpctl.core import events as ev
from cpctl.core import facts as fa
from cpctl.core.events import OpenSession
from cpctl.core.faults import FaultCode
from cpctl.core.now import NS_PER_S, Now, TimeQuality
from cpctl.core.station import is_wound_down
from cpctl.core.values import (
    AfterPowerLoss,
    BootCause,
    IdToken,
    Registration,
    StationLayout,
    StopReason,
)
from hal.values import PilotState

requirement = pytest.mark.requirement
RESUMING = StationLayout((evse_layout(1),), after_power_loss=AfterPowerLoss.RESUME)


def left_open(*, register_wh: int | None = 1500, boot: str = "boot-0", age_s: float = 60,
              planned: str | None = None, started: bool = True, evse: int = 1,
              session: int = 7) -> OpenSession:
    """A session whose last fact is `age_s` old; `boot` "boot-1" is the world's own."""
    mono = 1_000 * NS_PER_S - int(age_s * NS_PER_S)
    at = Now(mono, boot, START - timedelta(seconds=age_s), TimeQuality.NTP)
    fact = fa.TransactionStarted(at, session, evse, 1, 0, "Authorized", IdToken("04A1"), 1000)
    return OpenSession(session, evse, 1, IdToken("04A1"), fact if started else None,
                       register_wh if started else None, at, 5, planned_reason=planned)


# --- registration --------------------------------------------------------------------------------


@requirement("16.BOOT.9", "E-02")
@pytest.mark.parametrize(("policy", "kept", "serves"), [
    ("after_first_accept", {}, False), ("after_first_accept", {"accepted.ever": "yes"}, True),
    ("never", {"accepted.ever": "yes"}, False), ("always", {}, True)])
def test_who_may_charge_before_the_first_yes_of_the_central_system(
        policy: str, kept: dict[str, str], serves: bool) -> None:
    world = World(settings={"policy.tx_before_accepted": policy}, kept=kept)
    world.boot(online=False)

    world.charging()

    assert world.place().coil is serves
    assert world.evse().operative is serves


@requirement("16.BOOT.9")
def test_the_first_yes_is_kept_for_the_next_start() -> None:
    world = World().boot()

    again = World(kept=world.kept).boot(online=False).charging()

    assert world.kept["accepted.ever"] == "yes"
    assert again.place().coil


@requirement("16.BOOT.9")
def test_a_plug_that_waited_for_the_first_yes_is_served_then() -> None:
    world = World().boot(online=False)
    world.plug()

    world.tell(ev.LinkChanged(True, Registration.ACCEPTED))

    assert world.evse().session == 1


def test_before_the_boot_nothing_is_decided() -> None:
    world = World()

    world.pilot(PilotState.B)
    world.tap()
    world.advance(100)

    assert [one for one in world.log if not isinstance(one, ef.Show)] == []
    assert not world.picture.booted


def test_a_plug_that_is_in_at_the_start_opens_a_session() -> None:
    world = World()
    world.pilot(PilotState.B)

    world.tell(ev.Booted(BootCause.FIRST, 4))
    world.tell(ev.LinkChanged(True, Registration.ACCEPTED))

    assert world.evse().session == 4


def test_a_second_boot_event_changes_nothing() -> None:
    world = World().boot().charging()

    world.tell(ev.Booted(BootCause.CRASH, 1))

    assert world.place().coil


def test_the_gate_is_told_where_it_stands_at_the_first_opportunity() -> None:
    world = World().boot()

    assert isinstance(world.log[0], ef.BarPower)
    assert world.place().barred == ()


# --- what was left open --------------------------------------------------------------------------


@requirement("16.TX.16", "E-09")
@pytest.mark.parametrize(("cause", "planned", "reason"), [
    (BootCause.POWER_LOSS, None, StopReason.POWER_LOSS),
    (BootCause.CRASH, None, StopReason.REBOOT),
    (BootCause.PLANNED, "SoftReset", StopReason.SOFT_RESET),
    (BootCause.PLANNED, "HardReset", StopReason.HARD_RESET),
    (BootCause.PLANNED, None, StopReason.REBOOT),
    (BootCause.CRASH, "nonsense", StopReason.REBOOT),
])
def test_a_transaction_left_open_is_ended_with_the_reason_of_the_start(
        cause: BootCause, planned: str | None, reason: StopReason) -> None:
    world = World().boot(cause, open_sessions=(left_open(planned=planned),), next_session=8)

    (ended,) = world.ended()
    assert (ended.session, ended.report, ended.reason) == (7, 5, reason)
    assert ended.at == left_open().last_at
    assert isinstance(world.books[1], fa.SessionClosed)


def test_the_reason_kept_before_a_planned_stop_is_used_and_forgotten() -> None:
    world = World(kept={"planned": "HardReset"})

    world.boot(BootCause.PLANNED, open_sessions=(left_open(),))

    assert world.ended()[0].reason is StopReason.HARD_RESET
    assert "planned" not in world.kept


@requirement("16.TX.16")
@pytest.mark.parametrize(("present_wh", "expected_wh"), [
    (1500, 1500), (1550, 1550), (1499, 1500), (0, 1500), (500_000, 1500)])
def test_the_register_after_a_power_cut_is_the_present_one_if_that_can_be(
        present_wh: int, expected_wh: int) -> None:
    world = World()
    world.place().register_wh = present_wh

    world.boot(BootCause.POWER_LOSS, open_sessions=(left_open(),))

    assert world.ended()[0].register_wh == expected_wh


def test_within_the_same_kernel_boot_the_time_that_passed_bounds_the_energy() -> None:
    world = World()
    world.place().register_wh = 1900

    world.boot(BootCause.CRASH, open_sessions=(left_open(boot="boot-1", age_s=10),))

    assert world.ended()[0].register_wh == 1500, "22 kW for ten seconds are not 400 Wh"


def test_a_meter_that_is_silent_at_the_start_is_waited_for_and_then_the_books_hold() -> None:
    world = World()
    world.tell(ev.Booted(BootCause.POWER_LOSS, 8, (left_open(),)))
    before = list(world.ended())

    world.advance(5.1)

    assert before == []
    assert world.ended()[0].register_wh == 1500


def test_no_use_begins_before_the_old_one_is_ended() -> None:
    world = World(kept={"accepted.ever": "yes"})
    world.tell(ev.Booted(BootCause.POWER_LOSS, 8, (left_open(),), kept=world.kept))
    world.pilot(PilotState.B)
    early = world.evse().session

    world.meter(1500)

    assert early is None
    assert [type(one) for one in world.books] == [
        fa.TransactionEnded, fa.SessionClosed, fa.SessionOpened]
    assert world.evse().session == 8


def test_a_session_without_a_transaction_is_closed() -> None:
    world = World().boot(BootCause.CRASH, open_sessions=(left_open(started=False),))

    assert [type(one) for one in world.books] == [fa.SessionClosed]


def test_a_session_of_an_evse_that_is_gone_is_ended_by_the_books() -> None:
    world = World().boot(BootCause.POWER_LOSS, open_sessions=(left_open(evse=9),))

    assert world.ended()[0].register_wh == 1500
    assert isinstance(world.books[1], fa.SessionClosed)


def test_several_sessions_left_open_are_all_ended() -> None:
    world = World(evse_layout(1), evse_layout(2)).boot(
        BootCause.POWER_LOSS, open_sessions=(left_open(), left_open(evse=2, session=8)))

    assert [one.session for one in world.ended()] == [7, 8]


# --- resuming ------------------------------------------------------------------------------------


@requirement("E-09")
def test_by_option_a_transaction_goes_on_after_a_power_cut() -> None:
    world = World(layout=RESUMING)
    world.place().register_wh = 1510
    world.tell(ev.Booted(BootCause.POWER_LOSS, 8, (left_open(),), kept={"accepted.ever": "yes"}))
    world.pilot(PilotState.C)
    world.meter(1510)

    coil = world.place().coil
    world.advance(60, meter_each_s=1, power_w=3600)
    world.tap("04A1")
    world.pilot(PilotState.B)
    world.advance(2)

    assert coil
    (ended,) = world.ended()
    assert (ended.session, ended.register_wh) == (7, world.place().register_wh)
    reports = [one.report for one in world.facts if getattr(one, "report", None) is not None]
    assert reports == list(range(5, 5 + len(reports)))


@requirement("E-09")
def test_a_car_that_left_during_the_power_cut_ends_what_was_resumed() -> None:
    world = World(layout=RESUMING)
    world.boot(BootCause.POWER_LOSS, open_sessions=(left_open(),))

    world.advance(2)

    assert world.ended()[0].reason is StopReason.EV_DISCONNECTED


@requirement("E-09")
def test_a_reset_is_not_resumed_from() -> None:
    world = World(layout=RESUMING)

    world.boot(BootCause.PLANNED, open_sessions=(left_open(planned="SoftReset"),))

    assert world.ended()[0].reason is StopReason.SOFT_RESET


def test_a_shutdown_that_will_be_resumed_ends_no_transaction() -> None:
    world = World(layout=RESUMING).boot().charging()

    world.tell(ev.ShutdownRequested())
    world.advance(4)

    assert not world.place().coil
    assert world.ended() == []
    assert is_wound_down(world.station)


def test_after_a_shutdown_the_station_is_wound_down() -> None:
    world = World().boot().charging()
    before = is_wound_down(world.station)

    world.tell(ev.ShutdownRequested())
    world.advance(5)

    assert not before
    assert is_wound_down(world.station)


# --- the books -----------------------------------------------------------------------------------


def test_damaged_books_are_a_warning_and_charging_goes_on() -> None:
    world = World()
    world.tell(ev.Booted(BootCause.FIRST, 1, journal_good=False))
    world.tell(ev.LinkChanged(True, Registration.ACCEPTED))
    world.meter(1000)

    world.charging()

    assert [fault.code for fault in world.picture.faults] == [FaultCode.JOURNAL_DAMAGED]
    assert world.place().coil


def test_session_numbers_go_on_where_the_books_are() -> None:
    world = World(evse_layout(1), evse_layout(2)).boot(next_session=41)

    world.charging(2, "04A2").charging(1, "04A1")

    assert sorted(one.session or 0 for one in world.started()) == [41, 42]
