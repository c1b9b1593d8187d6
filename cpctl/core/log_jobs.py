"""Uploads of logs as the core knows them: one at a time, told while connected, ended by a restart.

What is uploaded and how is `services/logs.py`. The end of an upload that nobody could be told of is
kept, over restarts too, and told with the next connection.
Source: OCPP 1.6 §4.4, §5.9, security whitepaper N01; 16.DIAG.2, 16.DIAG.3, 16.SEC.17, E-31.
"""

from dataclasses import replace

from cpctl.core.effects import Answer, Delegate, Effect, KeepRecord, LogStatusTold, Notify
from cpctl.core.events import Booted, LogUploadMoved, Request
from cpctl.core.jobs import LogStatus
from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.state import Station
from cpctl.core.underway import LogJob
from cpctl.core.values import Outcome, Registration, Reply

KEPT = "log.job"


def requested(station: Station, event: Request, now: Now, settings: Settings
              ) -> tuple[Station, tuple[Effect, ...]]:
    """Carried out and answered elsewhere, unless we are about to leave."""
    if station.shutdown or station.reset is not None:
        return station, (Answer(event.request,
                                Reply(Outcome.REJECTED, "going_down", "try again")),)
    return station, (Delegate(event),)


def moved(station: Station, event: LogUploadMoved, now: Now
          ) -> tuple[Station, tuple[Effect, ...]]:
    """How an upload goes. An end is told of, and then forgotten."""
    job = LogJob(event.order.job, event.status)
    if event.status is LogStatus.CANCELED:
        return _canceled(station, job, now)
    if not job.runs and _can_tell(station):
        return replace(station, log_job=None), (KeepRecord(KEPT, None), *_told(job, now))
    effects = _told(job, now) if _can_tell(station) else ()
    return replace(station, log_job=job), (KeepRecord(KEPT, job), *effects)


def _canceled(station: Station, job: LogJob, now: Now) -> tuple[Station, tuple[Effect, ...]]:
    """E-31: the answer to the new request told it already. A job with a number gets its end; of
    one without, nothing could be told apart from the new one."""
    station = replace(station, log_job=None)
    if job.job is None or not _can_tell(station):
        return station, (KeepRecord(KEPT, None),)
    return station, (KeepRecord(KEPT, None),
                     *_told(replace(job, status=LogStatus.UPLOAD_FAILURE), now))


def connected(station: Station, now: Now) -> tuple[Station, tuple[Effect, ...]]:
    """Accepted again: the present state, or the end that came meanwhile."""
    job = station.log_job
    if job is None or not _can_tell(station):
        return station, ()
    if job.runs:
        return station, _told(job, now)
    return replace(station, log_job=None), (KeepRecord(KEPT, None), *_told(job, now))


def restored(station: Station, event: Booted) -> tuple[Station, tuple[Effect, ...]]:
    """An upload does not outlive the process: what ran has failed, and that is still to be told."""
    job = event.records.get(KEPT)
    if not isinstance(job, LogJob):
        return station, ()
    if job.runs:
        job = replace(job, status=LogStatus.UPLOAD_FAILURE)
    return replace(station, log_job=job), (KeepRecord(KEPT, job),)


def log_status(station: Station) -> tuple[int | None, LogStatus, bool]:
    """The upload that runs: its number, UPLOADING, whether it is one of GetDiagnostics.

    (None, IDLE, False) when none does.
    """
    job = station.log_job
    if job is None or not job.runs:
        return None, LogStatus.IDLE, False
    return job.job, job.status, job.job is None


def asked(station: Station, now: Now, *, diagnostics: bool) -> LogStatusTold:
    """What is told when somebody asks; N01.FR.12: without a number only when none runs."""
    job, status, is_diagnostics = log_status(station)
    if is_diagnostics is not diagnostics:
        job, status = None, LogStatus.IDLE
    return LogStatusTold(now, job, status, diagnostics=diagnostics)


def _can_tell(station: Station) -> bool:
    return station.online and station.registration is Registration.ACCEPTED


def _told(job: LogJob, now: Now) -> tuple[Effect, ...]:
    return (Notify(LogStatusTold(now, job.job, job.status, diagnostics=job.job is None)),)
