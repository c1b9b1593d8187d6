"""Whether a power path may be closed, or stay closed, at this very moment. Nothing else.

The power gate asks before it closes and before it renews a lease. Every input bears the time of its
reading: what is not known to be good and fresh is a no. Where a board closes its contactor by
itself, putting current on offer is the closing: `permits_offer` answers for it.
Source: house.md §6; IEC 61851-1 (state C, or D with ventilation, second hand).
"""

from cpctl.core.now import NS_PER_S
from hal.late import dataclass
from hal.values import PilotState

PILOT_LIMIT_NS = 1 * NS_PER_S
SAFETY_LIMIT_NS = 1 * NS_PER_S
ANSWER_LIMIT_NS = 2 * NS_PER_S
MENDED_BY_A_TEST = ("contactor_welded", "contactor_did_not_close")
ORDER_LIMIT_NS = 3 * NS_PER_S


@dataclass(frozen=True)
class Inputs:
    """All that counts, as last read. Times are monotonic ns of the reading.

    `safety`: (name, good, read at) of each fitted safety input. `feedback_closed` None: no
    auxiliary contact. `register_mono_ns` and `plugged_mono_ns`: the register must have been read
    since the plug came in (without a meter both are given as the plug's time). `session_in_books`:
    the session was committed. `barred`: the core's standing word. `answered_mono_ns`: when the
    loop last answered the gate's tick. `renewing`: a lease is to be prolonged, not a coil closed.
    `asking_mono_ns`: since when the car asks; None: it does not.
    """

    pilot: PilotState | None
    pilot_mono_ns: int
    diode_ok: bool
    ventilated: bool
    locked: bool
    safety: tuple[tuple[str, bool, int], ...]
    feedback_closed: bool | None
    coil_on: bool
    register_mono_ns: int | None
    plugged_mono_ns: int | None
    session_in_books: bool
    barred: tuple[str, ...]
    answered_mono_ns: int
    renewing: bool = False
    asking_mono_ns: int | None = None


@dataclass(frozen=True)
class Permit:
    """Everybody agrees."""


@dataclass(frozen=True)
class Refusal:
    """Somebody does not; `reasons` are stable lower-case words, at least one."""

    reasons: tuple[str, ...]


def permits(inputs: Inputs, now_mono_ns: int) -> Permit | Refusal:
    """Permit only when every input is good and fresh; otherwise all reasons why not."""
    reasons = _reasons(inputs, now_mono_ns)
    return Refusal(reasons) if reasons else Permit()


def permits_offer(inputs: Inputs, now_mono_ns: int) -> Permit | Refusal:
    """Permit current on offer at a board that closes its contactor by itself as soon as a car asks.

    As `permits`, but that the car need not ask yet. One that asks already would be served at once:
    that takes an order to close. While `renewing`, what is on offer may stay there, and the order
    has `ORDER_LIMIT_NS` to come.
    """
    reasons = _reasons(inputs, now_mono_ns)
    if inputs.pilot is PilotState.B:
        reasons = tuple(one for one in reasons if one != "pilot_not_asking")
    elif inputs.pilot is not None and inputs.pilot.asks and not inputs.renewing:
        reasons = (*reasons, "asks_already")
    asking_ns = inputs.asking_mono_ns
    if asking_ns is not None and now_mono_ns - asking_ns > ORDER_LIMIT_NS:
        reasons = (*reasons, "not_ordered")
    return Refusal(reasons) if reasons else Permit()


def permits_test(inputs: Inputs, now_mono_ns: int) -> Permit | Refusal:
    """Permit a contactor test: closed for a moment, where nobody can be at the other end.

    Nothing may be plugged in (pilot A, fresh), no session may be open, safety inputs are as for
    charging. Of what bars power only the faults that the test is to prove mended do not count.
    """
    reasons = (*_nobody_there(inputs, now_mono_ns), *_safety_reasons(inputs, now_mono_ns),
               *(one for one in _contact_reasons(inputs) if one != "not_locked"),
               *(one for one in inputs.barred if one not in MENDED_BY_A_TEST))
    if now_mono_ns - inputs.answered_mono_ns > ANSWER_LIMIT_NS:
        reasons = (*reasons, "loop_silent")
    return Refusal(reasons) if reasons else Permit()


def _nobody_there(inputs: Inputs, now_mono_ns: int) -> tuple[str, ...]:
    telling = {
        None: ("no_pilot",),
        PilotState.A: (),
        PilotState.F: ("pilot_unavailable",),  # that may be our own doing: then it passes
    }
    reasons: tuple[str, ...] = telling.get(inputs.pilot, ("plugged",))
    if now_mono_ns - inputs.pilot_mono_ns > PILOT_LIMIT_NS:
        reasons = (*reasons, "pilot_stale")
    if inputs.session_in_books:
        reasons = (*reasons, "session_open")
    return reasons


def _reasons(inputs: Inputs, now_mono_ns: int) -> tuple[str, ...]:
    return (*_pilot_reasons(inputs, now_mono_ns), *_safety_reasons(inputs, now_mono_ns),
            *_contact_reasons(inputs), *_book_reasons(inputs, now_mono_ns), *inputs.barred)


def _pilot_reasons(inputs: Inputs, now_mono_ns: int) -> tuple[str, ...]:
    asking = {
        PilotState.C: (),
        PilotState.D: () if inputs.ventilated else ("not_ventilated",),
    }
    reasons: list[str] = []
    reasons += asking.get(inputs.pilot, ("pilot_not_asking",)) if inputs.pilot else ("no_pilot",)
    if now_mono_ns - inputs.pilot_mono_ns > PILOT_LIMIT_NS:
        reasons.append("pilot_stale")
    if not inputs.diode_ok:
        reasons.append("diode_missing")
    return tuple(reasons)


def _safety_reasons(inputs: Inputs, now_mono_ns: int) -> tuple[str, ...]:
    reasons: list[str] = []
    for name, good, read_mono_ns in inputs.safety:
        if not good:
            reasons.append(name)
        if now_mono_ns - read_mono_ns > SAFETY_LIMIT_NS:
            reasons.append(f"{name}_stale")
    return tuple(reasons)


def _contact_reasons(inputs: Inputs) -> tuple[str, ...]:
    reasons: list[str] = []
    if not inputs.locked:
        reasons.append("not_locked")
    if inputs.feedback_closed and not inputs.coil_on:
        reasons.append("welded")
    if inputs.renewing and not inputs.coil_on:
        reasons.append("not_closed")
    return tuple(reasons)


def _book_reasons(inputs: Inputs, now_mono_ns: int) -> tuple[str, ...]:
    reasons: list[str] = []
    if not inputs.session_in_books:
        reasons.append("session_not_in_books")
    if inputs.plugged_mono_ns is None:
        reasons.append("not_plugged")
    elif inputs.register_mono_ns is None or inputs.register_mono_ns < inputs.plugged_mono_ns:
        reasons.append("register_not_read")
    if now_mono_ns - inputs.answered_mono_ns > ANSWER_LIMIT_NS:
        reasons.append("loop_silent")
    return tuple(reasons)
