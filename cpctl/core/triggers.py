"""Messages that the central system wants to be sent now: which are promised, and what goes out.

The answer goes first (16.TRIG.1); present values only, never history. Meter values wait a moment
for a fresh reading. Status, heartbeat and boot are the link's to tell.
Source: OCPP 1.6 §5.17, errata 3.35, 3.46; security whitepaper A02, L01.FR.28, 29, N01.FR.12.
"""

from collections.abc import Iterable
from dataclasses import replace

from cpctl.core import firmware, log_jobs, metering
from cpctl.core.effects import (
    Answer,
    ClockSample,
    Effect,
    Notice,
    Notify,
    Tell,
)
from cpctl.core.events import TriggerRequested
from cpctl.core.faults import FaultCode
from cpctl.core.jobs import Trigger
from cpctl.core.now import NS_PER_S, Now
from cpctl.core.settings import Settings
from cpctl.core.state import Around, Evse, Station, TriggeredReading
from cpctl.core.values import Outcome, ReadingContext, Registration, Reply

StationMoved = tuple[Station, tuple[Effect, ...]]
Moved = tuple[Evse, tuple[Effect, ...]]

READING_WAIT_S = 5.0  # for a fresh reading; then the newest there is, be it old


def answered(station: Station, event: TriggerRequested, now: Now, settings: Settings
             ) -> StationMoved:
    """The promise, or why there is none, and what follows at once."""
    refused = _why_not(station, event, settings)
    if refused is not None:
        return station, (Answer(event.request, refused),)
    accepted = Answer(event.request, Reply(Outcome.ACCEPTED))
    notice: Notice
    match event.what:
        case Trigger.METER_VALUES:
            station, effects = _readings_wanted(station, event, now)
            return station, (accepted, *effects)
        case Trigger.FIRMWARE_STATUS | Trigger.SIGNED_FIRMWARE_STATUS:
            signed = event.what is Trigger.SIGNED_FIRMWARE_STATUS
            notice = firmware.status_told(station, now, signed=signed)
        case Trigger.LOG_STATUS | Trigger.DIAGNOSTICS_STATUS:
            diagnostics = event.what is Trigger.DIAGNOSTICS_STATUS
            notice = log_jobs.asked(station, now, diagnostics=diagnostics)
        case _:
            return station, (accepted, Tell(event.what, event.evse, event.connector))
    return station, (accepted, Notify(notice, triggered=True))


def _why_not(station: Station, event: TriggerRequested, settings: Settings) -> Reply | None:
    match event.what:
        case Trigger.BOOT if station.registration is Registration.ACCEPTED:
            return Reply(Outcome.REJECTED, "accepted_already")  # 16.BOOT.8
        case Trigger.STATUS if not _exists(station, event):
            return Reply(Outcome.REJECTED, "no_such_connector")
        case Trigger.METER_VALUES if not _measures(station, event, settings):
            return Reply(Outcome.REJECTED, "nothing_to_measure")
        case Trigger.SIGN_CERTIFICATE if not settings.text("security.cpo_name"):
            return Reply(Outcome.REJECTED, "no_operator_name", "set CpoName")  # A02, prerequisite
        case _:
            return None


def _exists(station: Station, event: TriggerRequested) -> bool:
    """Without an EVSE: all of them, or with connector 0 the station itself."""
    if event.evse is None:
        return event.connector in (None, 0)
    evse = station.evse(event.evse)
    return evse is not None and (event.connector is None or any(
        one.id == event.connector for one in evse.layout.connectors))


def _measures(station: Station, event: TriggerRequested, settings: Settings) -> bool:
    """Whether there will be values; the station itself has no main meter."""
    if not _exists(station, event) or not settings.names("sampling.measurands"):
        return False
    return bool(tuple(_meant(station, event)))


def _meant(station: Station, event: TriggerRequested) -> Iterable[Evse]:
    if event.evse is None and event.connector == 0:
        return
    for evse in station.evses:
        lost = evse.meter.good is None and evse.has(FaultCode.METER_LOST)
        if event.evse in (None, evse.id) and evse.layout.has_meter and not lost:
            yield evse


# --- meter values --------------------------------------------------------------------------------


def _readings_wanted(station: Station, event: TriggerRequested, now: Now) -> StationMoved:
    effects: list[Effect] = []
    for evse in _meant(station, event):
        if any(one.connector == event.connector for one in evse.triggered):
            continue  # §5.17: one message may comply with several requests
        wanted = TriggeredReading(now.mono_ns, event.connector)
        station = station.with_evse(replace(evse, triggered=(*evse.triggered, wanted)))
        if not _fresh(evse, now.mono_ns):
            effects.append(Tell(Trigger.METER_VALUES, evse.id))
    return station, tuple(effects)


def _fresh(evse: Evse, since: int) -> bool:
    return metering.read_since(evse, since - int(metering.FRESH_S * NS_PER_S))


def tell_triggered_readings(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    """A rule: what was asked for goes out with a fresh reading, or with the newest there is."""
    if not evse.triggered:
        return evse, ()
    first = evse.triggered[0]
    if not _fresh(evse, first.since) and now.mono_ns < due_by(first):
        return evse, ()
    evse = replace(evse, triggered=evse.triggered[1:])
    values = metering.values(evse, settings.names("sampling.measurands"), _interval_wh(evse),
                             around.nominal_voltage_v)
    if not values:
        return evse, ()
    session = evse.session
    connector = first.connector or (
        session.connector if session is not None else evse.layout.connectors[0].id)
    running = session.no if session is not None and evse.in_transaction and (
        connector == session.connector) else None
    notice = ClockSample(_taken_at(evse, now), evse.id, connector, ReadingContext.TRIGGER, values,
                         running)
    return evse, (Notify(notice, triggered=True),)


def due_by(wanted: TriggeredReading) -> int:
    return wanted.since + int(READING_WAIT_S * NS_PER_S)


def _interval_wh(evse: Evse) -> int | None:
    return evse.transaction.sampled_wh if evse.in_transaction else None


def _taken_at(evse: Evse, now: Now) -> Now:
    """When the values were true: an old reading does not become new by being asked for."""
    taken = evse.meter.good_mono
    return metering.moment(now, taken) if 0 < taken < now.mono_ns else now
