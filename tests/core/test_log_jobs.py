"""Uploads of logs as the core knows them: what is told when, and what a restart makes of one."""

from dataclasses import replace

import pytest
from support.core_world import World

from cpctl.core import effects as ef
from cpctl.core import events as ev
from cpctl.core.jobs import LogKind, LogOrder, LogStatus
from cpctl.core.log_jobs import KEPT, asked, log_status
from cpctl.core.settings import Settings
from cpctl.core.state import Station
from cpctl.core.station import new, step
from cpctl.core.underway import LogJob
from cpctl.core.values import (
    BootCause,
    EvseLayout,
    Origin,
    Outcome,
    Registration,
    RequestId,
    ResetKind,
    StationLayout,
)

NOW = World().now
GET_LOG = LogOrder(LogKind.SECURITY, "ftp://h/", 7)
DIAGNOSTICS = LogOrder(LogKind.DIAGNOSTICS, "ftp://h/")
ONLINE = ev.LinkChanged(online=True, registration=Registration.ACCEPTED)
OFFLINE = ev.LinkChanged(online=False, registration=Registration.ACCEPTED)


class Told:
    """A station, and what it has told and kept of uploads."""

    def __init__(self, *, kept: LogJob | None = None, online: bool = True) -> None:
        self.station: Station = new(StationLayout((EvseLayout(1),)))
        self.told: list[tuple[int | None, LogStatus, bool]] = []
        self.kept: object = "nothing"
        self.effects: tuple[ef.Effect, ...] = ()
        self.send(ev.Booted(BootCause.CRASH, 1, records={KEPT: kept} if kept else {}))
        if online:
            self.send(ONLINE)

    def send(self, *events: ev.Event) -> None:
        for event in events:
            self.station, self.effects = step(self.station, event, NOW, Settings())
            for effect in self.effects:
                if isinstance(effect, ef.Notify) and isinstance(effect.notice, ef.LogStatusTold):
                    one = effect.notice
                    self.told.append((one.job, one.status, one.diagnostics))
                elif isinstance(effect, ef.KeepRecord) and effect.key == KEPT:
                    self.kept = effect.record

    def moved(self, order: LogOrder, *statuses: LogStatus) -> None:
        self.send(*(ev.LogUploadMoved(order, status) for status in statuses))


@pytest.mark.requirement("16.DIAG.2", "16.SEC.17")
@pytest.mark.parametrize(("order", "who"), [(GET_LOG, (7, False)), (DIAGNOSTICS, (None, True))])
def test_begin_and_end_are_told_and_then_forgotten(order: LogOrder, who: tuple[int | None, bool]
                                                   ) -> None:
    job, diagnostics = who
    it = Told()

    it.moved(order, LogStatus.UPLOADING)
    assert it.kept == LogJob(job, LogStatus.UPLOADING)
    assert log_status(it.station) == (job, LogStatus.UPLOADING, diagnostics)
    it.moved(order, LogStatus.UPLOADED)

    assert it.told == [(job, LogStatus.UPLOADING, diagnostics),
                       (job, LogStatus.UPLOADED, diagnostics)]
    assert it.kept is None
    assert log_status(it.station) == (None, LogStatus.IDLE, False)


@pytest.mark.requirement("16.DIAG.2", "16.SEC.17")
def test_offline_the_end_waits_and_only_the_present_is_told() -> None:
    it = Told(online=False)
    it.moved(GET_LOG, LogStatus.UPLOADING)
    assert it.told == []
    it.send(ONLINE)
    assert it.told == [(7, LogStatus.UPLOADING, False)]

    it.send(OFFLINE)
    it.moved(GET_LOG, LogStatus.PERMISSION_DENIED)
    assert log_status(it.station) == (None, LogStatus.IDLE, False)
    it.send(ev.LinkChanged(online=True, registration=Registration.PENDING))
    assert len(it.told) == 1
    it.send(ONLINE, ONLINE)

    assert it.told[1:] == [(7, LogStatus.PERMISSION_DENIED, False)]
    assert it.kept is None


@pytest.mark.requirement("16.DIAG.2", "16.SEC.17")
@pytest.mark.parametrize(("left", "told"), [
    (LogJob(7, LogStatus.UPLOADING), (7, LogStatus.UPLOAD_FAILURE, False)),
    (LogJob(None, LogStatus.UPLOADING), (None, LogStatus.UPLOAD_FAILURE, True)),
    (LogJob(7, LogStatus.UPLOADED), (7, LogStatus.UPLOADED, False))])
def test_what_a_restart_cut_has_failed_and_what_was_untold_is_told(
        left: LogJob, told: tuple[int | None, LogStatus, bool]) -> None:
    it = Told(kept=left, online=False)
    assert it.kept == replace(left, status=told[1])  # a second restart says the same
    it.send(ONLINE)

    assert it.told == [told]
    assert it.kept is None


@pytest.mark.requirement("16.DIAG.3")
def test_an_upload_that_was_ended_for_another_has_failed_if_it_has_a_number() -> None:
    it = Told()
    it.moved(GET_LOG, LogStatus.UPLOADING, LogStatus.CANCELED)
    it.moved(DIAGNOSTICS, LogStatus.UPLOADING, LogStatus.CANCELED, LogStatus.UPLOADING)

    assert it.told == [(7, LogStatus.UPLOADING, False), (7, LogStatus.UPLOAD_FAILURE, False),
                       (None, LogStatus.UPLOADING, True), (None, LogStatus.UPLOADING, True)]


@pytest.mark.requirement("16.TRIG.2")
def test_who_asks_hears_of_uploads_of_that_kind_only() -> None:
    it = Told()
    it.moved(GET_LOG, LogStatus.UPLOADING)

    assert asked(it.station, NOW, diagnostics=False) == ef.LogStatusTold(
        NOW, 7, LogStatus.UPLOADING)
    assert asked(it.station, NOW, diagnostics=True) == ef.LogStatusTold(
        NOW, None, LogStatus.IDLE, diagnostics=True)


def test_a_request_is_handed_on_unless_we_are_leaving() -> None:
    request = ev.LogRequested(RequestId(Origin.CSMS, 1), GET_LOG)
    it = Told()
    it.send(request)
    assert it.effects == (ef.Delegate(request),)

    it.send(ev.ResetRequested(RequestId(Origin.CSMS, 2), ResetKind.SOFT))
    it.send(request)
    (answer,) = [one for one in it.effects if isinstance(one, ef.Answer)]
    assert (answer.request, answer.reply.outcome) == (request.request, Outcome.REJECTED)
