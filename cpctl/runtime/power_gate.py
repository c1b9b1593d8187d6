"""The only holder of contactors: opens at once, closes only with everybody's consent.

Decides nothing about sessions: `core.interlock.permits` says yes or no, the core orders. Devices
tell readings straight to the gate (no queue, no disk); it opens first and posts afterwards.
It never closes on its own. Releases are numbered per EVSE; an order to close names the release it
knows of, so that one that waited cannot close what was opened meanwhile.
A board that closes its contactor by itself does so on what is on offer: there the offer has the
lease, waits for the interlock, and goes with the first objection.
Nothing here awaits. What is on offer to the car is put there by `pilot_keeper.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from cpctl.core.events import (
    ContactorReported,
    DeviceFound,
    DeviceLost,
    EnergiseRefused,
    Event,
    PowerReleased,
    ReleaseNumbered,
)
from cpctl.core.interlock import Inputs, Permit, Refusal, permits, permits_offer, permits_test
from cpctl.core.now import NS_PER_S
from cpctl.core.values import EvseLayout
from cpctl.runtime import trial
from cpctl.runtime.power_path import PowerPath, is_active, passes
from cpctl.runtime.pulse import Later, Pulse, Timer
from hal.contracts import Contactor, Heartbeat
from hal.errors import HalError
from hal.values import PilotReading

log = logging.getLogger(__name__)

LEASE_S = 2.0  # a closed contactor opens by itself when the gate is silent for so long
TICK_S = 0.5  # renewed, judged and re-read this often while a coil is on or may soon be
SETTLE_S = 0.5  # an auxiliary contact follows its coil within this time
LOOK_S = 0.05  # how often it is looked at until then
WELD_LOOK_S = 1.0  # and once it is known to be welded
LOST_LOOK_S = 5.0  # how often a contactor that cannot be driven is tried again: opened only
PATIENCE_NS = NS_PER_S  # an order waits so long for readings that are only too old
REST_NS = NS_PER_S  # between opening and closing: contacts that are cycled faster weld


Judge = Callable[[Inputs, int], Permit | Refusal]


class PowerGate:
    """Power of all EVSEs.

    `later` is the event loop's call_later, `post` hands an event to the loop, `ask_loop(answered)`
    has `answered` called by the loop's consumer, `refresh(evse)` has the devices of an EVSE read,
    `heartbeat` feeds a hold-in relay where one is fitted.
    """

    def __init__(self, contactors: Mapping[int, Contactor], layouts: tuple[EvseLayout, ...], *,
                 mono_ns: Callable[[], int], later: Later, post: Callable[[Event], None],
                 ask_loop: Callable[[Callable[[], None]], None],
                 refresh: Callable[[int], None], heartbeat: Heartbeat | None = None):
        self._pulse = Pulse(
            heartbeat, mono_ns=mono_ns, later=later, changed=self._heartbeat_changed,
            dropped=self._heartbeat_dropped,
            needed=lambda: any(map(is_active, self._paths.values())))
        #: told which EVSE's board has been ordered off: nothing is on offer there any more
        self.on_cut: Callable[[int], None] = lambda evse: None
        self._mono_ns = mono_ns
        self._later = later
        self._post = post
        self._ask_loop = ask_loop
        self._refresh = refresh
        self._answered_ns = 0
        self._tick: Timer | None = None
        self._paths = {
            layout.id: PowerPath(layout, contactors[layout.id],
                             safety={name: (False, 0) for name in layout.inputs},
                             locked=not layout.has_lock)
            for layout in layouts}

    # --- orders ------------------------------------------------------------------------------

    def release_all(self, why: str) -> None:
        """Open everything now, whoever asks; one contactor that fails does not spare the others."""
        with ExitStack() as each:  # a driver's bug comes out only when all were tried
            for path in reversed(self._paths.values()):
                each.callback(self._release, path, (why,))

    def make_safe(self) -> None:
        """First act of a start: coils off, before anything is read or told."""
        with ExitStack() as each:
            for path in reversed(self._paths.values()):
                each.callback(self._begin_settling, path)
                each.callback(self._de_energise, path)

    def release(self, evse: int, why: str) -> None:
        """The core wants power off. Done before this returns; the number follows as an event."""
        path = self._paths[evse]
        was_on = path.coil_on
        if path.trial is not None:
            path.trial.stop(why)
        self._open(path)
        if was_on:
            log.info("evse=%s released: %s", evse, why)
        self._post(ReleaseNumbered(evse, path.number))
        self._begin_settling(path)

    def energise(self, evse: int, after: int) -> None:
        """Close, if `after` is the last release and the interlock permits at this moment."""
        path = self._paths[evse]
        if path.trial is not None:
            self._post(EnergiseRefused(evse, path.number, ("contactor_test",)))
        elif after != path.number:
            self._refuse(path, ("stale",))
        elif path.coil_on:
            self._tell_closed(path)
        elif path.opening:
            self._refuse(path, ("opening",))
        else:
            path.order_until_ns = self._mono_ns() + PATIENCE_NS
            self._attempt(path)
            if path.order_until_ns is not None:
                self._look_after(path)

    def test(self, evse: int, after: int) -> None:
        """Close for a moment with nothing plugged in, by the rules of `permits_test`; how it went
        is told by a ContactorTested. A board that closes by itself cannot be asked to: there only
        what it tells of its contactor counts."""
        path = self._paths[evse]
        if path.trial is not None:
            return
        path.trial = trial.Trial()
        in_use = path.leased or path.order_until_ns is not None
        at_rest = "welded" if path.welded else "opening" if path.opening else ""
        why = "stale" if after != path.number else "in_use" if in_use else at_rest
        if why or path.contactor.follows_offer:
            path.trial.reasons = (why,) if why else ()
            self._end_trial(path)
            return
        path.order_until_ns = self._mono_ns() + trial.PATIENCE_NS
        self._look_after(path)

    def bar(self, evse: int, reasons: tuple[str, ...]) -> None:
        """The core's standing word: while `reasons` is not empty nothing closes there."""
        path = self._paths[evse]
        path.barred = reasons
        self._reconsider(path)

    def books(self, evse: int, *, session_open: bool) -> None:
        """Whether a session of this EVSE is open in the books, durably."""
        path = self._paths[evse]
        path.session_in_books = session_open
        self._reconsider(path)

    def current_offered(self, evse: int, *, on: bool) -> None:
        """While current is on offer readings are kept fresh, so that closing need not wait."""
        path = self._paths[evse]
        path.current_on_offer = on
        if on:
            self._look_after(path)
        elif path.armed and not path.coil_on:
            self._de_energise(path)

    def admit_offer(self, evse: int) -> tuple[str, ...]:
        """Asked before current is put on the pilot: why it must not be yet; empty: it may.

        Where a board closes on it by itself the lease begins now.
        """
        path = self._paths[evse]
        if not path.contactor.follows_offer:
            return ()
        if path.leased:
            self._renew(path)
            return () if path.leased else ("released",)
        reasons = self._judged(permits_offer, path)
        if path.opening:
            reasons = (*reasons, "opening")
        return reasons or self._arm(path)

    def _arm(self, path: PowerPath) -> tuple[str, ...]:
        if not self._lease(path):
            self._begin_settling(path)
            return ("contactor_lost",)
        path.armed = True
        return ()

    # --- readings ----------------------------------------------------------------------------

    def pilot_read(self, evse: int, reading: PilotReading, at_ns: int) -> None:
        """A look at the pilot, taken at `at_ns`; an older one than is known changes nothing."""
        path = self._paths[evse]
        if at_ns < path.pilot_ns:
            return
        plugged = reading.state is not None and reading.state.plugged
        if not plugged:
            path.plugged_ns = None
        elif path.plugged_ns is None:
            path.plugged_ns = at_ns
        path.pilot, path.pilot_ns, path.diode_ok = reading.state, at_ns, reading.diode_ok
        if reading.state is None or not reading.state.asks:
            path.asked_ns = None
        elif path.asked_ns is None:
            path.asked_ns = at_ns
        self._reconsider(path)

    def input_read(self, evse: int, name: str, at_ns: int, *, good: bool) -> None:
        """A look at a safety input."""
        path = self._paths[evse]
        if at_ns < path.safety[name][1]:
            return
        path.safety[name] = (good, at_ns)
        self._reconsider(path)

    def register_read(self, evse: int, at_ns: int) -> None:
        """The meter told its register."""
        path = self._paths[evse]
        path.register_ns = at_ns
        self._reconsider(path)

    def lock_reported(self, evse: int, *, locked: bool) -> None:
        path = self._paths[evse]
        path.locked = locked or not path.layout.has_lock
        self._reconsider(path)

    def lapsed(self, contactor: Contactor) -> None:
        """The dead-man opened `contactor`: its lease had not been renewed."""
        for path in self._paths.values():
            if path.contactor is contactor and path.leased:
                self._release(path, ("lease_lapsed",))

    # --- questions ---------------------------------------------------------------------------

    def is_on(self, evse: int) -> bool:
        return self._paths[evse].coil_on

    def may_unlock(self, evse: int) -> bool:
        """Whether the path is known to be open: no plug is unlocked before."""
        path = self._paths[evse]
        return not path.leased and not path.opening

    def is_watched(self, evse: int) -> bool:
        """Whether readings of this EVSE must be kept fresh."""
        return is_active(self._paths[evse])

    def number(self, evse: int) -> int:
        """The number of the last release."""
        return self._paths[evse].number

    def objections(self, evse: int) -> tuple[str, ...]:
        """Why nothing may close there now; empty: it may."""
        path = self._paths[evse]
        return self._objections(path)

    # --- closing -----------------------------------------------------------------------------

    def _attempt(self, path: PowerPath) -> None:
        """Carry out a waiting order, keep it waiting for fresh readings, or refuse it."""
        assert path.order_until_ns is not None
        reasons = (*self._objections(path), *self._resting(path))
        if not reasons:
            self._close(path)
        elif self._mono_ns() >= path.order_until_ns or not all(map(passes, reasons)):
            self._refuse(path, reasons)

    def _close(self, path: PowerPath) -> None:
        path.order_until_ns = None
        if path.trial is not None:
            path.trial.ordered_ns = self._mono_ns()
        if not path.armed and not self._lease(path):
            self._refuse(path, ("contactor_lost",))
            self._begin_settling(path)
            return
        path.coil_on, path.confirmed = True, False
        path.close_by_ns = self._mono_ns() + int(SETTLE_S * NS_PER_S)
        log.info("evse=%s contactor closed", path.layout.id)
        self._confirm(path)
        self._look_after(path)

    def _lease(self, path: PowerPath) -> bool:
        """Close with a lease; False, and open again, where that cannot be driven."""
        try:
            path.contactor.close(LEASE_S)
        except HalError as error:
            self._open(path)
            self._lose(path, error)
            return False
        return True

    def _confirm(self, path: PowerPath) -> None:
        """Wait for the auxiliary contact to follow the coil."""
        if self._feedback(path) is not False:
            path.confirmed = True
            self._tell_closed(path)
        elif self._mono_ns() >= path.close_by_ns:
            self._release(path, ("did_not_close",))
        else:
            self._look_again(path, LOOK_S, self._confirm)

    def _tell_closed(self, path: PowerPath) -> None:
        if path.trial is not None:
            path.trial.closed_ns = self._mono_ns()
            path.look = self._later(trial.HOLD_S, lambda: self._release(path, ()))
        elif path.confirmed:
            self._post(ContactorReported(path.layout.id, closed=True))

    def _refuse(self, path: PowerPath, reasons: tuple[str, ...]) -> None:
        path.order_until_ns = None
        log.info("evse=%s not closed: %s", path.layout.id, ", ".join(reasons))
        if path.trial is None:
            self._post(EnergiseRefused(path.layout.id, path.number, reasons))
        else:
            lasting = [one for one in reasons if not passes(one)]
            path.trial.stop(*(lasting or reasons))
            self._end_trial(path)

    def _end_trial(self, path: PowerPath) -> None:
        ended, path.trial = path.trial, None
        assert ended is not None
        outcome = ended.outcome(path.layout.id, path.number, feedback=path.layout.has_feedback)
        log.info("evse=%s contactor test: %s", path.layout.id,
                 ", ".join(outcome.reasons) or "passed")
        self._post(outcome)

    # --- opening -----------------------------------------------------------------------------

    def _release(self, path: PowerPath, reasons: tuple[str, ...]) -> None:
        """The gate opens by itself: at once, then it says so. No reasons: a test is over."""
        was_on = path.leased
        if path.trial is not None:
            path.trial.stop(*reasons)
        self._open(path)
        if was_on and reasons:
            log.warning("evse=%s released: %s", path.layout.id, ", ".join(reasons))
        self._post(PowerReleased(path.layout.id, path.number, reasons or ("contactor_test",)))
        self._begin_settling(path)

    def _open(self, path: PowerPath) -> None:
        self._de_energise(path)
        if path.trial is not None:
            path.trial.released_ns = self._mono_ns()
        path.number += 1

    def _resting(self, path: PowerPath) -> tuple[str, ...]:
        if path.opened_ns is None or self._mono_ns() - path.opened_ns >= REST_NS:
            return ()
        return ("contactor_resting",)

    def _de_energise(self, path: PowerPath) -> None:
        if path.coil_on:
            path.opened_ns = self._mono_ns()
        path.coil_on = path.armed = False
        path.order_until_ns = None
        if path.look is not None:
            path.look.cancel()
        try:
            path.contactor.open()
        except HalError as error:
            self._lose(path, error)
        if path.contactor.follows_offer:
            self.on_cut(path.layout.id)

    def _begin_settling(self, path: PowerPath) -> None:
        path.opening = True
        path.open_by_ns = self._mono_ns() + int(SETTLE_S * NS_PER_S)
        self._settle(path)

    def _settle(self, path: PowerPath) -> None:
        """Wait for the auxiliary contact to open; a contact that stays closed is welded."""
        if self._feedback(path) is not True:
            path.opening, path.welded = False, False
            self._post(ContactorReported(path.layout.id, closed=False))
            if path.trial is not None:
                path.trial.opened_ns = self._mono_ns()
                self._end_trial(path)
        elif self._mono_ns() < path.open_by_ns:
            self._look_again(path, LOOK_S, self._settle)
        else:
            self._weld(path)

    def _weld(self, path: PowerPath) -> None:
        if not path.welded:
            path.welded = True
            log.error("evse=%s the contactor stays closed though released: switch the supply off",
                      path.layout.id)
            self._post(ContactorReported(path.layout.id, closed=True, welded=True))
            if path.trial is not None:
                path.trial.stop("welded")
                self._end_trial(path)
        self._look_again(path, WELD_LOOK_S, self._settle)

    def _look_again(self, path: PowerPath, delay_s: float,
                    step: Callable[[PowerPath], None]) -> None:
        delay_s = delay_s if path.trial is None else trial.LOOK_S
        path.look = self._later(delay_s, lambda: step(path))

    # --- judging -----------------------------------------------------------------------------

    def _reconsider(self, path: PowerPath) -> None:
        """Something is known anew: open if it objects, close if it was waited for."""
        reasons = self._standing(path) if path.leased else ()
        if reasons:
            self._release(path, reasons)
        elif path.order_until_ns is not None:
            self._attempt(path)

    def _standing(self, path: PowerPath) -> tuple[str, ...]:
        """Objections to what is closed, or on offer to a board that closes by itself."""
        return self._objections(path) if path.coil_on else self._judged(permits_offer, path)

    def _objections(self, path: PowerPath) -> tuple[str, ...]:
        return self._judged(permits if path.trial is None else permits_test, path)

    def _judged(self, judge: Judge, path: PowerPath) -> tuple[str, ...]:
        verdict = judge(self._inputs(path), self._mono_ns())
        reasons = () if isinstance(verdict, Permit) else verdict.reasons
        return (*reasons, *self._pulse.objections())

    def _inputs(self, path: PowerPath) -> Inputs:
        return Inputs(
            pilot=path.pilot,
            pilot_mono_ns=path.pilot_ns,
            diode_ok=path.diode_ok,
            ventilated=path.layout.ventilated,
            locked=path.locked,
            safety=tuple((name, good, at) for name, (good, at) in path.safety.items()),
            feedback_closed=self._feedback(path),
            coil_on=path.leased,
            register_mono_ns=path.register_ns if path.layout.has_meter else path.plugged_ns,
            plugged_mono_ns=path.plugged_ns,
            session_in_books=path.session_in_books,
            barred=path.barred,
            answered_mono_ns=self._answered_ns,
            renewing=path.leased,
            asking_mono_ns=path.asked_ns,
        )

    def _feedback(self, path: PowerPath) -> bool | None:
        """The auxiliary contact; one that cannot be read counts as none, and is told as lost."""
        closed: bool | None = None
        try:
            closed = path.contactor.feedback()
        except HalError as error:
            self._lose(path, error)
        return closed

    def _lose(self, path: PowerPath, error: HalError) -> None:
        if path.trial is not None:
            path.trial.stop("contactor_lost")  # what was not seen is not proved
        if not path.lost:
            path.lost = True
            log.error("evse=%s %s", path.layout.id, error)
            self._post(DeviceLost(path.layout.id, "contactor", str(error)))
            self._later(LOST_LOOK_S, lambda: self._find(path))

    def _find(self, path: PowerPath) -> None:
        """Look whether a lost contactor can be driven again."""
        try:
            if not path.leased:
                path.contactor.open()
            path.contactor.feedback()
        except HalError:
            self._later(LOST_LOOK_S, lambda: self._find(path))
        else:
            path.lost = False
            self._post(DeviceFound(path.layout.id, "contactor"))

    def _heartbeat_changed(self, error: HalError | None) -> None:
        """The hold-in relay has let go, or works again."""
        for path in self._paths.values():
            if error is not None:
                self._post(DeviceLost(path.layout.id, "contactor", str(error)))
            elif not path.lost:
                self._post(DeviceFound(path.layout.id, "contactor"))
            self._reconsider(path)

    def _heartbeat_dropped(self) -> None:
        """The next edge may energise what is closed: it opens before."""
        for path in self._paths.values():
            self._reconsider(path)

    # --- the tick ----------------------------------------------------------------------------

    def _look_after(self, path: PowerPath) -> None:
        """Have everything read again now, and from now on with each tick."""
        self._keep_ticking()
        self._refresh(path.layout.id)
        self._ask_loop(self._loop_answered)

    def _keep_ticking(self) -> None:
        if self._tick is None:
            self._tick = self._later(TICK_S, self._on_tick)

    def _on_tick(self) -> None:
        self._tick = None
        for path in self._paths.values():
            if path.leased:
                self._renew(path)
            if path.order_until_ns is not None:
                self._attempt(path)
            if is_active(path):
                self._refresh(path.layout.id)
        if any(map(is_active, self._paths.values())):
            self._ask_loop(self._loop_answered)
            self._keep_ticking()

    def _renew(self, path: PowerPath) -> None:
        reasons = self._standing(path)
        if path.confirmed and self._feedback(path) is False:
            reasons = (*reasons, "contact_lost")
        if reasons:
            self._release(path, reasons)
        elif not path.contactor.renew(LEASE_S):
            self._release(path, ("lease_lapsed",))

    def _loop_answered(self) -> None:
        self._answered_ns = self._mono_ns()
        self._pulse.answered()
        for path in self._paths.values():
            if path.order_until_ns is not None:
                self._attempt(path)
