"""When firmware is fetched, installed, restarted into; what is told; what outlives a restart."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.core_world import START, World

from cpctl.core import effects as ef
from cpctl.core import events as ev
from cpctl.core import facts as fa
from cpctl.core import firmware
from cpctl.core.jobs import FirmwareFinding, FirmwareOrder, FirmwareStatus, Trigger
from cpctl.core.underway import FirmwareUpdate, Step
from cpctl.core.values import (
    BootCause,
    EvseLayout,
    Origin,
    Outcome,
    Registration,
    RequestId,
    ResetKind,
)

UNSIGNED = FirmwareOrder("https://maker.example/1.tar.gz", START)
SIGNED = replace(UNSIGNED, job=7, certificate="PEM", signature="c2ln")
S = FirmwareStatus


def told(w: World) -> list[str]:
    return [fact.status.value for fact in w.facts if isinstance(fact, fa.FirmwareStatusChanged)]


def events(w: World) -> list[str]:
    return [fact.kind for fact in w.facts if isinstance(fact, fa.SecurityEventRaised)
            and "Firmware" in fact.kind]


def work(w: World) -> list[str]:
    """What the service was asked to do, in order."""
    return [type(one).__name__ for one in w.log if isinstance(one, ef.FirmwareWork)]


def kept(w: World) -> FirmwareUpdate:
    """What the next life finds."""
    records = [one.record for one in w.log if isinstance(one, ef.KeepRecord)
               and one.key == firmware.RECORD]
    assert isinstance(records[-1], FirmwareUpdate)
    return records[-1]


def ask(w: World, order: FirmwareOrder, verdict: Outcome = Outcome.ACCEPTED, detail: str = "",
        ) -> Outcome:
    """An order of the central system, its certificate judged; the outcome that is answered."""
    request = w.request(ev.FirmwareRequested, order=order)
    if order.job is not None:
        assert w.answers[request] == [], "answered before the certificate was looked at"
        assert any(isinstance(one, ef.Delegate) for one in w.log)
        w.tell(ev.FirmwareChecked(request, order, verdict, detail))
    (reply,) = w.answers[request]
    return reply.outcome


def move(w: World, order: FirmwareOrder, *statuses: FirmwareStatus) -> None:
    for status in statuses:
        w.tell(ev.FirmwareMoved(order, status, "because"))


def up_to_installing(w: World, order: FirmwareOrder = SIGNED) -> None:
    ask(w, order)
    move(w, order, S.DOWNLOADED, S.SIGNATURE_VERIFIED)


def next_life(w: World, *, online: bool = True, cause: BootCause = BootCause.PLANNED) -> World:
    """A new start on what was kept."""
    new = World(*w.layout.evses)
    new.mono_ns = w.mono_ns
    new.tell(ev.Booted(cause, 10, kept=dict(w.kept), records={firmware.RECORD: kept(w)}))
    if online:
        new.tell(ev.LinkChanged(True, Registration.ACCEPTED))
    return new


# --- the way of an update ------------------------------------------------------------------------


@pytest.mark.requirement("16.FW.1", "16.FW.2")
def test_an_unsigned_order_is_answered_at_once_and_fetched() -> None:
    w = World().boot()

    assert ask(w, UNSIGNED) is Outcome.ACCEPTED

    assert told(w) == ["Downloading"]
    assert work(w) == ["FetchFirmware"]


@pytest.mark.requirement("16.FW.1")
def test_an_order_waits_for_its_date() -> None:
    w = World().boot()

    ask(w, replace(UNSIGNED, retrieve_at=START + timedelta(hours=3)))
    w.advance(3 * 3600 - 5)
    assert work(w) == []
    w.advance(10)

    assert work(w) == ["FetchFirmware"]


@pytest.mark.requirement("16.SEC.19", "L01.FR.13", "L01.FR.16",
                         "SignedFirmwareStatusNotification.req:DownloadScheduled")
def test_both_dates_of_a_signed_order_are_waited_for_and_told() -> None:
    w = World().boot()
    order = replace(SIGNED, retrieve_at=START + timedelta(hours=1),
                    install_at=START + timedelta(hours=2))

    ask(w, order)
    assert told(w) == ["DownloadScheduled"]
    w.advance(3601)
    move(w, order, S.DOWNLOADED, S.SIGNATURE_VERIFIED)
    assert told(w) == ["DownloadScheduled", "Downloading", "Downloaded", "SignatureVerified",
                       "InstallScheduled"]
    assert w.evse().operative
    w.advance(3600)

    assert told(w)[5:] == ["Installing"]
    assert work(w) == ["FetchFirmware", "InstallFirmware"]


@pytest.mark.requirement("16.SEC.19", "L01.FR.15")
def test_the_station_restarts_into_what_was_installed() -> None:
    w = World().boot()
    up_to_installing(w)

    move(w, SIGNED, S.INSTALL_REBOOTING)

    assert told(w)[3:] == ["Installing", "InstallRebooting"]
    assert [one.kind for one in w.restarts] == [ResetKind.SOFT]


@pytest.mark.requirement("16.FW.3", "16.SEC.22")
def test_installed_is_told_once_the_new_release_has_reached_the_central_system() -> None:
    w = World().boot()
    up_to_installing(w)
    move(w, SIGNED, S.INSTALL_REBOOTING)

    new = next_life(w, online=False)
    new.tell(ev.FirmwareFound(SIGNED, FirmwareFinding.ON_TRIAL))
    assert (work(new), told(new)) == (["FindFirmware"], [])
    new.tell(ev.LinkChanged(True, Registration.PENDING))
    assert work(new) == ["FindFirmware"]
    new.tell(ev.LinkChanged(True, Registration.ACCEPTED))
    assert work(new) == ["FindFirmware", "ConfirmFirmware"]
    assert told(new) == []
    move(new, SIGNED, S.INSTALLED)

    assert told(new) == ["Installed"]
    assert events(new) == ["FirmwareUpdated"]


@pytest.mark.requirement("16.FW.6")
def test_the_old_release_tells_that_the_new_one_was_given_up() -> None:
    w = World().boot()
    up_to_installing(w)
    move(w, SIGNED, S.INSTALL_REBOOTING)

    old = next_life(w)
    old.tell(ev.FirmwareFound(SIGNED, FirmwareFinding.FAILED, "never reached it"))

    fact, = (one for one in old.facts if isinstance(one, fa.FirmwareStatusChanged))
    assert (fact.job, fact.status) == (7, S.INSTALLATION_FAILED)
    assert old.evse().operative
    assert events(old) == []


@pytest.mark.requirement("16.FW.6")
def test_a_release_on_trial_proves_itself_though_nothing_was_kept_of_the_order() -> None:
    w = World().boot()

    w.tell(ev.FirmwareFound(SIGNED, FirmwareFinding.ON_TRIAL))
    assert work(w) == ["ConfirmFirmware"]
    move(w, SIGNED, S.INSTALLED)

    assert told(w) == ["Installed"]


# --- waiting for what runs -----------------------------------------------------------------------


@pytest.mark.requirement("16.FW.3", "16.SEC.20", "L01.FR.06", "L01.FR.07", "L01.FR.18", "L01.FR.19")
def test_an_installation_waits_for_transactions_and_keeps_free_evses_out_of_use() -> None:
    w = World(EvseLayout(1), EvseLayout(2)).boot().charging(1)

    up_to_installing(w)
    assert "InstallFirmware" not in work(w)
    assert w.evse(1).transaction
    assert (w.evse(1).operative, w.evse(2).operative) == (False, False)

    w.plug(2)
    w.tap("04B2", evses=(2,))
    assert not w.evse(2).transaction
    assert w.ask(ev.StartRequested, token=w.evse(1).token, evse=2).outcome is Outcome.REJECTED

    w.tap("04A1", evses=(1,))
    w.pilot(w.place(1).pilot.B, 1)
    w.meter(1000, 1)
    assert not w.evse(1).transaction
    assert work(w)[-1] == "InstallFirmware"


def test_sessions_begin_as_ever_while_firmware_is_fetched() -> None:
    w = World().boot()
    ask(w, SIGNED)

    w.charging()

    assert w.evse().transaction


@pytest.mark.requirement("16.SEC.19")
@pytest.mark.parametrize("failure", sorted(firmware.FAILURES, key=lambda one: one.value))
def test_a_failure_ends_the_update_and_the_evses_are_free_again(failure: FirmwareStatus) -> None:
    w = World().boot()
    up_to_installing(w)
    assert not w.evse().operative

    move(w, SIGNED, failure)

    assert told(w)[-1] == failure.value
    assert w.evse().operative
    expected = ["InvalidFirmwareSignature"] if failure is S.INVALID_SIGNATURE else []
    assert events(w) == expected


def test_no_order_is_taken_while_the_books_cannot_be_written() -> None:
    w = World().boot()
    w.tell(ev.JournalFailed("disk full"))

    assert ask(w, UNSIGNED) is Outcome.REJECTED
    assert work(w) == []


def test_nothing_is_installed_while_the_books_cannot_be_written() -> None:
    w = World().boot()
    ask(w, SIGNED)
    w.tell(ev.JournalFailed("disk full"))

    move(w, SIGNED, S.DOWNLOADED, S.SIGNATURE_VERIFIED)
    assert "InstallFirmware" not in work(w)
    w.tell(ev.JournalRecovered())

    assert work(w)[-1] == "InstallFirmware"


# --- what is answered ----------------------------------------------------------------------------


@pytest.mark.requirement("16.SEC.18", "L01.FR.02", "L01.FR.23", "L01.FR.24", "L01.FR.25")
@pytest.mark.parametrize("verdict", [Outcome.INVALID_CERTIFICATE, Outcome.REVOKED_CERTIFICATE])
def test_a_certificate_that_is_refused_is_answered_and_noted(verdict: Outcome) -> None:
    w = World().boot()

    assert ask(w, SIGNED, verdict, "not ours") is verdict

    assert events(w) == ["InvalidFirmwareSigningCertificate"]
    assert (told(w), work(w)) == ([], [])


@pytest.mark.requirement("16.FW.5", "16.SEC.18", "L01.FR.26")
@pytest.mark.parametrize("reached", [(), (S.DOWNLOADED,)])
def test_a_new_order_replaces_one_that_is_not_being_installed(reached: tuple[S, ...]) -> None:
    w = World().boot()
    ask(w, SIGNED)
    move(w, SIGNED, *reached)
    other = replace(SIGNED, job=8)

    assert ask(w, other) is Outcome.ACCEPTED_CANCELED

    assert work(w) == ["FetchFirmware", "CancelFirmware", "FetchFirmware"]
    move(w, SIGNED, S.DOWNLOADED, S.DOWNLOAD_FAILED)
    move(w, other, S.DOWNLOADED)
    jobs = [(one.job, one.status.value) for one in w.facts
            if isinstance(one, fa.FirmwareStatusChanged)]
    assert jobs[-2:] == [(8, "Downloading"), (8, "Downloaded")]


@pytest.mark.requirement("16.SEC.18", "L01.FR.26")
def test_an_order_that_waits_for_its_date_is_cancelled_too() -> None:
    w = World().boot()
    late = replace(SIGNED, install_at=START + timedelta(days=1))
    ask(w, late)
    move(w, late, S.DOWNLOADED, S.SIGNATURE_VERIFIED)

    assert ask(w, replace(SIGNED, job=8)) is Outcome.ACCEPTED_CANCELED


@pytest.mark.requirement("16.FW.5", "16.SEC.18", "16.RESET.1", "L01.FR.27", "E-30")
@pytest.mark.parametrize("order", [UNSIGNED, SIGNED], ids=["unsigned", "signed"])
def test_while_it_is_installed_neither_an_order_nor_a_reset_is_taken(order: FirmwareOrder) -> None:
    w = World().boot()
    up_to_installing(w)

    assert ask(w, replace(order, retrieve_at=START + timedelta(hours=1))) is Outcome.REJECTED
    for kind in ResetKind:
        assert w.ask(ev.ResetRequested, kind=kind).outcome is Outcome.REJECTED

    move(w, SIGNED, S.INSTALLATION_FAILED)
    assert w.ask(ev.ResetRequested, kind=ResetKind.SOFT).outcome is Outcome.ACCEPTED


def test_a_refusal_without_a_verdict_on_the_certificate_is_no_security_event() -> None:
    w = World().boot()

    assert ask(w, SIGNED, Outcome.REJECTED, "no slots here") is Outcome.REJECTED

    assert events(w) == []


@pytest.mark.requirement("16.TRIG.2", "16.SEC.21", "L01.FR.28", "L01.FR.29")
def test_who_asks_hears_the_last_status_and_idle_after_an_installation() -> None:
    def asked(w: World, *, signed: bool) -> tuple[int | None, str]:
        what = Trigger.SIGNED_FIRMWARE_STATUS if signed else Trigger.FIRMWARE_STATUS
        request = RequestId(Origin.LOCAL, len(w.notices))
        w.answers[request] = []
        w.tell(ev.TriggerRequested(request, what))
        notice = w.notices[-1]
        assert isinstance(notice, ef.FirmwareStatusTold)
        return notice.job, notice.status.value

    w = World().boot()
    assert asked(w, signed=True) == asked(w, signed=False) == (None, "Idle")
    ask(w, SIGNED)
    assert asked(w, signed=True) == asked(w, signed=False) == (7, "Downloading")
    assert firmware.firmware_status(w.station) == (7, S.DOWNLOADING, True)
    move(w, SIGNED, S.DOWNLOAD_FAILED)
    assert asked(w, signed=True) == (7, "DownloadFailed")
    assert asked(w, signed=False) == (None, "Idle")
    ask(w, UNSIGNED)
    assert asked(w, signed=False) == (None, "Downloading")
    assert asked(w, signed=True) == (None, "Idle")
    move(w, UNSIGNED, S.DOWNLOADED, S.SIGNATURE_VERIFIED, S.INSTALLED)
    assert asked(w, signed=True) == asked(w, signed=False) == (None, "Idle")


# --- restarts and power cuts ---------------------------------------------------------------------


WAY = (S.DOWNLOADED, S.SIGNATURE_VERIFIED, S.INSTALL_REBOOTING)
ALL = ["Downloading", "Downloaded", "SignatureVerified", "Installing", "InstallRebooting",
       "Installed"]


def finish(w: World, order: FirmwareOrder, *, switched: bool) -> list[str]:
    """Lead an update to its end as the service would, from whatever was kept."""
    if "FindFirmware" in work(w):
        w.tell(ev.FirmwareFound(order, FirmwareFinding.ON_TRIAL if switched
                                else FirmwareFinding.NOTHING))
    if "FetchFirmware" in work(w):
        move(w, order, S.DOWNLOADED, S.SIGNATURE_VERIFIED)
    if "InstallFirmware" in work(w):
        move(w, order, S.INSTALL_REBOOTING)
        first = told(w)
        new = next_life(w)
        new.tell(ev.FirmwareFound(order, FirmwareFinding.ON_TRIAL))
        move(new, order, S.INSTALLED)
        return first + told(new)
    move(w, order, S.INSTALLED)
    return told(w)


@pytest.mark.requirement("16.FW.6", "16.OFF.9", "L01.FR.01", "L01.FR.10")
@pytest.mark.parametrize(("cut", "switched"), [
    (0, False), (1, False), (2, False), (2, True), (3, True)])
def test_a_power_cut_anywhere_tells_each_state_once(cut: int, switched: bool) -> None:
    w = World().boot()
    ask(w, SIGNED)
    move(w, SIGNED, *WAY[:cut])
    before = told(w)

    after = finish(next_life(w, cause=BootCause.POWER_LOSS), SIGNED, switched=switched)

    expected = [*ALL]
    if switched and cut == 2:  # the restart was cut off before it could be told
        expected.remove("InstallRebooting")
    assert before + after == expected


@pytest.mark.requirement("16.SEC.19", "L01.FR.14")
def test_a_download_that_a_reset_interrupts_is_paused_and_goes_on() -> None:
    w = World().boot()
    ask(w, SIGNED)

    w.ask(ev.ResetRequested, kind=ResetKind.SOFT)
    assert told(w) == ["Downloading", "DownloadPaused"]
    new = next_life(w)

    assert told(new) == ["Downloading"]
    assert work(new) == ["FetchFirmware"]


@pytest.mark.requirement("16.FW.6")
def test_an_installation_cut_off_by_a_power_cut_waits_for_a_resumed_transaction() -> None:
    w = World().boot()
    up_to_installing(w)
    new = World()
    new.tell(ev.Booted(BootCause.POWER_LOSS, 10, records={firmware.RECORD: kept(w)}))
    new.tell(ev.FirmwareFound(SIGNED, FirmwareFinding.NOTHING))

    assert new.station.firmware is not None
    assert new.station.firmware.step in (Step.WAITING, Step.INSTALLING)
    assert told(new) == []


def test_what_comes_of_an_older_order_changes_nothing() -> None:
    w = World().boot()
    ask(w, UNSIGNED)

    move(w, replace(UNSIGNED, url="https://maker.example/0.tar.gz"), S.DOWNLOADED, S.INSTALLED)
    w.tell(ev.FirmwareFound(SIGNED, FirmwareFinding.FAILED))

    assert told(w) == ["Downloading"]


def test_no_order_is_taken_while_the_station_goes_down() -> None:
    w = World().boot()
    w.tell(ev.ShutdownRequested())

    assert ask(w, UNSIGNED) is Outcome.REJECTED
    request = w.request(ev.FirmwareRequested, Origin.CSMS, order=SIGNED)
    w.tell(ev.FirmwareChecked(request, SIGNED, Outcome.ACCEPTED))
    assert w.answers[request][0].outcome is Outcome.REJECTED


def test_an_order_shows_no_secret() -> None:
    order: Any = replace(SIGNED, url="ftp://user:secret@maker.example/x")

    assert "secret" not in repr(ev.FirmwareMoved(order, S.DOWNLOADED))
