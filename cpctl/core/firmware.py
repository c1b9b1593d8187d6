"""Updates of the firmware as the core decides them: when to download, to install, to restart.

The work is a service's; what it comes to returns as events. Each step is kept, so that the sequence
goes on after a restart or a power cut at any point; "Installed" is said by the new release once it
has reached the central system.
Source: OCPP 1.6 §4.5, §5.19, errata 3.46 to 3.49; security whitepaper L01; 16.FW.*, 16.SEC.18 to
22; house.md §15 "Firmware".
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from cpctl.core.effects import (
    Answer,
    CancelFirmware,
    ConfirmFirmware,
    Delegate,
    Effect,
    FetchFirmware,
    FindFirmware,
    FirmwareStatusTold,
    InstallFirmware,
    Keep,
    KeepRecord,
    Record,
)
from cpctl.core.events import (
    FirmwareChecked,
    FirmwareFound,
    FirmwareMoved,
    FirmwareRequested,
    Request,
)
from cpctl.core.facts import FirmwareStatusChanged, SecurityEventRaised
from cpctl.core.faults import FaultCode
from cpctl.core.jobs import FirmwareFinding, FirmwareOrder, FirmwareStatus
from cpctl.core.now import NS_PER_S, Now
from cpctl.core.settings import Settings
from cpctl.core.state import Station
from cpctl.core.underway import FirmwareUpdate, Step
from cpctl.core.values import Kept, Outcome, Reply, ResetKind, StopReason

StationMoved = tuple[Station, tuple[Effect, ...]]

RECORD = "firmware"
RESTART_WAIT_S = 20.0  # then the station restarts with what the books hold

# What the service can report of an order, and that ends it.
FAILURES = frozenset((
    FirmwareStatus.DOWNLOAD_FAILED, FirmwareStatus.INVALID_SIGNATURE,
    FirmwareStatus.VERIFICATION_FAILED, FirmwareStatus.INSTALLATION_FAILED))


_CANCELLABLE = (Step.SCHEDULED, Step.FETCHING, Step.READY, Step.WAITING)
_HOLDING = (Step.WAITING, Step.INSTALLING, Step.RESTARTING, Step.FINDING, Step.ON_TRIAL,
            Step.CONFIRMING)
_UNFINISHED = (Step.INSTALLING, Step.RESTARTING, Step.FINDING, Step.ON_TRIAL, Step.CONFIRMING)


def holds(station: Station) -> bool:
    """Nothing new begins: the update waits for the end of what runs, or is being installed
    (L01.FR.07). Nor on trial: what is recorded then may be lost on the way back."""
    return station.firmware is not None and station.firmware.step in _HOLDING


def is_writing(station: Station) -> bool:
    """No reset now (16.RESET.1)."""
    return station.firmware is not None and station.firmware.step in (
        Step.INSTALLING, Step.RESTARTING, Step.FINDING, Step.CONFIRMING)


def firmware_status(station: Station) -> tuple[int | None, FirmwareStatus, bool]:
    """For who asks: the job, the status, whether it is a signed update.

    Of a signed update the status told last, also when it has failed (L01.FR.29); IDLE after an
    installation (L01.FR.28), and of an unsigned one that is over (16.TRIG.2).
    """
    update = station.firmware
    if update is None or update.told is FirmwareStatus.INSTALLED:
        return None, FirmwareStatus.IDLE, False
    if update.step is Step.ENDED and not update.signed:
        return None, FirmwareStatus.IDLE, False
    return update.order.job, update.told, update.signed


def status_told(station: Station, now: Now, *, signed: bool) -> FirmwareStatusTold:
    """The notice that answers a trigger, in the words of a signed update or of an unsigned one."""
    job, status, _ = firmware_status(station)
    over = station.firmware is not None and station.firmware.step is Step.ENDED
    if (signed and job is None) or (not signed and over):
        return FirmwareStatusTold(now, None, FirmwareStatus.IDLE, signed=signed)
    return FirmwareStatusTold(now, job, status, signed=signed)


# --- requests ------------------------------------------------------------------------------------


def answered(station: Station, event: Request, now: Now, settings: Settings) -> StationMoved:
    """An unsigned order is decided at once; the certificate of a signed one is looked at first
    (L01.FR.23), and the order comes back with the verdict."""
    if isinstance(event, FirmwareChecked):
        return checked(station, event, now)
    assert isinstance(event, FirmwareRequested)
    if event.order.job is not None:
        return station, (Delegate(event),)
    return _taken(station, event, event.order, now)


def checked(station: Station, event: FirmwareChecked, now: Now) -> StationMoved:
    """The verdict on the certificate is there."""
    if event.verdict is Outcome.ACCEPTED:
        return _taken(station, event, event.order, now)
    refused = Answer(event.request, Reply(event.verdict, "firmware_refused", event.detail))
    if event.verdict is Outcome.REJECTED:
        return station, (refused,)
    return station, (refused, _security_event(  # L01.FR.02
        "InvalidFirmwareSigningCertificate", event.detail, now, critical=False))


def _taken(station: Station, event: FirmwareRequested | FirmwareChecked, order: FirmwareOrder,
           now: Now) -> StationMoved:
    """E-30, L01.FR.26, 27: the new order replaces one that is not being installed."""
    running = station.firmware
    going_down = station.shutdown or station.reset is not None
    if going_down or (running is not None and running.step in _UNFINISHED):
        return station, (Answer(event.request, Reply(
            Outcome.REJECTED, "installing", "wait until the installation is over")),)
    if not books_good(station):  # it would not outlive a restart
        return station, (Answer(event.request, Reply(
            Outcome.REJECTED, "journal_failed", "free disk space or replace the card")),)
    effects: tuple[Effect, ...] = ()
    outcome = Outcome.ACCEPTED
    if running is not None and running.step in _CANCELLABLE:
        outcome = Outcome.ACCEPTED_CANCELED
        effects = (CancelFirmware(),)
    update = FirmwareUpdate(order, Step.SCHEDULED)
    if order.retrieve_at > now.utc:
        update, told = _told(update, FirmwareStatus.DOWNLOAD_SCHEDULED, now)
        effects += told
    station = replace(station, firmware=update)
    return station, (Answer(event.request, Reply(outcome)), _kept(update), *effects)


# --- what the service tells ----------------------------------------------------------------------


def moved(station: Station, event: FirmwareMoved, now: Now) -> StationMoved:
    """The work has come a step further; of another order than the present one it is old news."""
    update = station.firmware
    if update is None or update.order != event.order or update.step is Step.ENDED:
        return station, ()
    if event.status in FAILURES:
        return _failed(station, update, event, now)
    match update.step, event.status:
        case Step.FETCHING, FirmwareStatus.DOWNLOADED:
            return _with(station, *_told(update, event.status, now))
        case Step.FETCHING, FirmwareStatus.SIGNATURE_VERIFIED:
            return _ready(station, update, now)
        case Step.INSTALLING, FirmwareStatus.INSTALL_REBOOTING:
            return _restarting(station, update, now)
        case _, FirmwareStatus.INSTALLED:
            return _installed(station, update, now)
        case _:
            return station, ()


def found(station: Station, event: FirmwareFound, now: Now) -> StationMoved:
    """How far an installation came before this start.

    A release on trial that finds no trace of the update in what was kept takes it over: it has
    to prove itself all the same.
    """
    update = station.firmware
    if update is None or update.order != event.order:
        if event.finding is not FirmwareFinding.ON_TRIAL or (
                update is not None and update.step not in (Step.ENDED, Step.FINDING)):
            return station, ()
        update = FirmwareUpdate(event.order, Step.FINDING, FirmwareStatus.INSTALL_REBOOTING)
    if update.step is not Step.FINDING:
        return station, ()
    match event.finding:
        case FirmwareFinding.NOTHING:  # the power failed in the middle: once more, when idle
            return _with(station, replace(update, step=Step.WAITING))
        case FirmwareFinding.ON_TRIAL:
            return _with(station, replace(update, step=Step.ON_TRIAL))
        case FirmwareFinding.INSTALLED:
            return _installed(station, update, now)
        case FirmwareFinding.FAILED:
            return _failed(station, update, FirmwareMoved(
                event.order, FirmwareStatus.INSTALLATION_FAILED, event.detail), now)


def _ready(station: Station, update: FirmwareUpdate, now: Now) -> StationMoved:
    update, told = _told(replace(update, step=Step.READY), FirmwareStatus.SIGNATURE_VERIFIED, now)
    at = update.order.install_at
    if at is not None and at > now.utc:  # L01.FR.16
        update, more = _told(update, FirmwareStatus.INSTALL_SCHEDULED, now)
        told += more
    return _with(station, update, told)


def _restarting(station: Station, update: FirmwareUpdate, now: Now) -> StationMoved:
    """Down as for a reset; whoever starts us starts the new release."""
    update, told = _told(replace(update, step=Step.RESTARTING), FirmwareStatus.INSTALL_REBOOTING,
                         now)
    station = replace(station, reset=ResetKind.SOFT, reset_by=now.after(RESTART_WAIT_S),
                      waiting=())
    station, effects = _with(station, update, told)
    return station, (*effects, Keep("planned", StopReason.SOFT_RESET.value))


def _installed(station: Station, update: FirmwareUpdate, now: Now) -> StationMoved:
    update, told = _told(replace(update, step=Step.ENDED), FirmwareStatus.INSTALLED, now)
    return _with(station, update, (*told, _security_event(
        "FirmwareUpdated", f"job {update.order.job}" if update.signed else "", now,
        critical=True)))


def _failed(station: Station, update: FirmwareUpdate, event: FirmwareMoved, now: Now
            ) -> StationMoved:
    update, told = _told(replace(update, step=Step.ENDED), event.status, now)
    if event.status is FirmwareStatus.INVALID_SIGNATURE:  # L01.FR.03
        told += (_security_event("InvalidFirmwareSignature", event.detail, now, critical=False),)
    return _with(station, update, told)


def _security_event(kind: str, text: str, now: Now, *, critical: bool) -> Record:
    return Record(SecurityEventRaised(now, None, kind, text[:255], critical=critical))


def _told(update: FirmwareUpdate, status: FirmwareStatus, now: Now
          ) -> tuple[FirmwareUpdate, tuple[Effect, ...]]:
    """Each state is told once when it is entered (16.FW.2), with the same job (L01.FR.10)."""
    if update.told is status:
        return update, ()
    fact = FirmwareStatusChanged(now, None, update.order.job, status)
    return replace(update, told=status), (Record(fact),)


def _with(station: Station, update: FirmwareUpdate, effects: tuple[Effect, ...] = ()
          ) -> StationMoved:
    return replace(station, firmware=update), (*effects, _kept(update))


def _kept(update: FirmwareUpdate) -> KeepRecord:
    return KeepRecord(RECORD, update)


# --- start, rules, deadlines ---------------------------------------------------------------------


def booted(station: Station, records: Mapping[str, Kept], now: Now) -> StationMoved:
    """Go on where the last life was cut off."""
    update = records.get(RECORD)
    if not isinstance(update, FirmwareUpdate):
        return station, ()
    station = replace(station, firmware=update)
    if update.step is Step.FETCHING:
        effects: tuple[Effect, ...] = ()
        if update.told is FirmwareStatus.DOWNLOAD_PAUSED:
            station, effects = _with(station, *_told(update, FirmwareStatus.DOWNLOADING, now))
        return station, (*effects, FetchFirmware(update.order))
    if update.step in _UNFINISHED:
        update = replace(update, step=Step.FINDING)
        return replace(station, firmware=update), (FindFirmware(update.order),)
    return station, ()


def go_on(station: Station, now: Now, settings: Settings) -> StationMoved:
    """A rule: what is due of the update."""
    update = station.firmware
    if update is None or update.step is Step.ENDED:
        return station, ()
    if station.shutdown or station.reset is not None:
        return _paused(station, update, now)
    match update.step:
        case Step.SCHEDULED if _has_come(update.order.retrieve_at, now):
            update, told = _told(replace(update, step=Step.FETCHING),
                                 FirmwareStatus.DOWNLOADING, now)
            station, effects = _with(station, update, told)
            return station, (*effects, FetchFirmware(update.order))
        case Step.READY if _has_come(update.order.install_at, now):
            return _with(station, replace(update, step=Step.WAITING))
        case Step.WAITING if _is_idle(station):
            update, told = _told(replace(update, step=Step.INSTALLING),
                                 FirmwareStatus.INSTALLING, now)
            station, effects = _with(station, update, told)
            return station, (*effects, InstallFirmware(update.order))
        case Step.ON_TRIAL if station.accepted_now:
            station, effects = _with(station, replace(update, step=Step.CONFIRMING))
            return station, (*effects, ConfirmFirmware(update.order))
        case _:
            return station, ()


def _paused(station: Station, update: FirmwareUpdate, now: Now) -> StationMoved:
    """The station goes down in the middle of a download, and goes on with it afterwards
    (L01.FR.14: tasks with higher priorities)."""
    if update.step is not Step.FETCHING or update.told is not FirmwareStatus.DOWNLOADING:
        return station, ()
    return _with(station, *_told(update, FirmwareStatus.DOWNLOAD_PAUSED, now))


def _has_come(moment: datetime | None, now: Now) -> bool:
    return moment is None or now.utc >= moment


def _is_idle(station: Station) -> bool:
    """Nothing is in use, nothing under power, and the books take what is written (L01.FR.06)."""
    return books_good(station) and all(
        evse.is_idle and evse.power.is_safe for evse in station.evses)


def books_good(station: Station) -> bool:
    """Whether what is written outlives a restart."""
    return all(fault.code is not FaultCode.JOURNAL_FAILED for fault in station.faults)


def next_due(station: Station, now: Now) -> int | None:
    """The monotonic moment (ns) of the date that is waited for."""
    update = station.firmware
    if update is None:
        return None
    dates = {Step.SCHEDULED: update.order.retrieve_at, Step.READY: update.order.install_at}
    at = dates.get(update.step)
    if at is None or at <= now.utc:
        return None
    return now.mono_ns + max(1, int((at - now.utc).total_seconds() * NS_PER_S))
