"""The contactor test: closed for a moment with nothing plugged in, to prove that it follows.

Here is decided who may have one and what it means; the power gate carries it out by rules of its
own (`interlock.permits_test`). Only a passed test lets a technician declare a welded contactor, or
one that did not close, mended (house.md §8). It does not outlive a restart or the next such fault.
"""

from dataclasses import replace

from cpctl.core.effects import Answer, Effect, ReleasePower, TestContactor
from cpctl.core.events import ContactorTested, ContactorTestRequested
from cpctl.core.faults import FaultCode
from cpctl.core.jobs import ContactorTimes
from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.state import (
    Around,
    ClaimState,
    Evse,
    PowerState,
    PresentFault,
    Station,
    Testing,
)
from cpctl.core.values import Outcome, Reply

Moved = tuple[Evse, tuple[Effect, ...]]

LIMIT_S = 12.0  # the gate has told by then; beyond its own patience, and a slow disk
PROVES = (FaultCode.CONTACTOR_WELDED, FaultCode.CONTACTOR_DID_NOT_CLOSE)


def is_proof_needed(faults: tuple[PresentFault, ...]) -> bool:
    """Whether one of these goes only after a passed test."""
    return any(one.code in PROVES for one in faults)


def why_not_testable(evse: Evse) -> str:
    """Why no test may begin now, as a word; "" when it may."""
    at_rest = evse.power.state in (PowerState.OFF, PowerState.WELDED)
    checks = (
        ("evse_operative", not evse.service.operative),
        ("evse_in_use", evse.is_idle and evse.claim.state is ClaimState.NONE
         and evse.session is None),
        ("plugged", not evse.plug.plugged),
        ("contact_closed", at_rest and not evse.power.contact_closed),
        ("release_under_way", not evse.power.unnumbered),
    )
    return next((word for word, good in checks if not good), "")


def requested(station: Station, event: ContactorTestRequested, now: Now, settings: Settings
              ) -> tuple[Station, tuple[Effect, ...]]:
    """A technician asks for a test; the answer comes when it is over."""
    evse = station.evse(event.evse)
    if evse is None:
        return station, (Answer(event.request, Reply(
            Outcome.REJECTED, "no_such_evse", "see cpctl status")),)
    why = "test_runs" if evse.power.testing is not None else why_not_testable(evse)
    if station.shutdown or station.reset is not None:
        why = "going_down"
    if why:
        hints = {"evse_operative": f"cpctl evse availability {evse.id} inoperative",
                 "plugged": "take the plug out", "test_runs": "wait for it",
                 "going_down": "wait for the restart", "release_under_way": "try again"}
        hint = hints.get(why, f"cpctl evse show {evse.id}")
        return station, (Answer(event.request, Reply(Outcome.REJECTED, why, hint)),)
    testing = Testing(event.request, now.after(LIMIT_S))
    evse = replace(evse, power=replace(evse.power, testing=testing, tested=False))
    return station.with_evse(evse), (TestContactor(evse.id, evse.power.number),)


def on_tested(evse: Evse, event: ContactorTested) -> Moved:
    """The gate tells how it went."""
    testing = evse.power.testing
    power = replace(evse.power, number=max(evse.power.number, event.number), testing=None,
                    tested=not event.reasons and testing is not None)
    evse = replace(evse, power=power)
    if testing is None:
        return evse, ()
    times = ContactorTimes(event.closed_ms, event.opened_ms, event.feedback)
    if event.reasons:
        reply = Reply(Outcome.FAILED, event.reasons[0], _hint(evse, event.reasons), content=times)
    else:
        reply = Reply(Outcome.ACCEPTED, content=times)
    return evse, (Answer(testing.request, reply),)


def _hint(evse: Evse, reasons: tuple[str, ...]) -> str:
    more = f"also: {', '.join(one.replace('_', ' ') for one in reasons[1:])}; " if reasons[1:] \
        else ""
    return f"{more}nothing is mended yet; see cpctl evse show {evse.id} and the log"


def give_up_when_not_permitted(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    """A plug that comes, an EVSE that is put back into service, the end of the daemon."""
    testing = evse.power.testing
    if testing is None or testing.given_up:
        return evse, ()
    service = evse.service
    if not service.operative and not evse.plug.plugged and around.ending is None:
        return evse, ()
    power = replace(evse.power, testing=replace(testing, given_up=True),
                    unnumbered=evse.power.unnumbered + 1)
    return replace(evse, power=power), (ReleasePower(evse.id, "test_given_up"),)


def end_when_the_gate_is_silent(evse: Evse, around: Around, now: Now, settings: Settings) -> Moved:
    testing = evse.power.testing
    if testing is None or now.mono_ns < testing.by:
        return evse, ()
    power = replace(evse.power, testing=None, unnumbered=evse.power.unnumbered + 1)
    return replace(evse, power=power), (
        ReleasePower(evse.id, "gate_silent"),
        Answer(testing.request, Reply(Outcome.FAILED, "gate_silent", "see the log")))
