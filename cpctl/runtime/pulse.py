"""Feeds the heartbeat of a hold-in relay: while power flows or may soon, and the loop answers.

The relay lets every contactor drop when the edges stop. No thread feeds it: they come from the
event loop's own timer, and only as long as the consumer of events has answered in time; so a loop
that stands still, or a process that ends, ends them. Belongs to the power gate and decides nothing
else. Without a heartbeat fitted it does nothing and objects to nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from cpctl.core.interlock import ANSWER_LIMIT_NS
from cpctl.core.now import NS_PER_S
from hal.contracts import Heartbeat
from hal.errors import HalError

log = logging.getLogger(__name__)

BEAT_S = 0.2  # between two edges
LATE_NS = NS_PER_S // 2  # edges further apart may have let the relay drop
AGAIN_S = 5.0  # how often an output that cannot be driven is tried again


class Timer(Protocol):
    def cancel(self) -> None: ...


Later = Callable[[float, Callable[[], None]], Timer]


class Pulse:
    """`needed()`: something is closed or may be soon. `changed(error)` is told when the output can
    not be driven (an error), and when it can be again (None); `dropped()` before an edge after
    which the relay may pull in anew."""

    def __init__(self, heartbeat: Heartbeat | None, *, mono_ns: Callable[[], int], later: Later,
                 needed: Callable[[], bool], changed: Callable[[HalError | None], None],
                 dropped: Callable[[], None]):
        self._heartbeat = heartbeat
        self._mono_ns = mono_ns
        self._later = later
        self._needed = needed
        self._changed = changed
        self._dropped = dropped
        self._timer: Timer | None = None
        self._answered_ns = 0
        self._since_ns: int | None = None  # the first beat of those that go on now
        self._last_ns = 0
        self._lost = False

    def answered(self) -> None:
        """The consumer of events has answered: begin to beat, or go on."""
        self._answered_ns = self._mono_ns()
        if self._heartbeat is not None and self._timer is None:
            self._beat()

    def objections(self) -> tuple[str, ...]:
        """Why nothing may be closed as far as the relay is concerned."""
        if self._heartbeat is None:
            return ()
        if self._lost:
            return ("heartbeat_lost",)
        pull_in_ns = int(self._heartbeat.pull_in_s * NS_PER_S)
        if self._since_ns is None or self._mono_ns() - self._since_ns < pull_in_ns:
            return ("heartbeat_starting",)
        return ()

    def _beat(self) -> None:
        assert self._heartbeat is not None
        self._timer = None
        if self._since_ns is not None and self._mono_ns() - self._last_ns > LATE_NS:
            self._since_ns = None
            self._dropped()
        silent = self._mono_ns() - self._answered_ns > ANSWER_LIMIT_NS
        try:
            if silent or not self._needed():
                self._since_ns = None
                self._heartbeat.rest()
            else:
                self._heartbeat.beat()
                self._last_ns = self._mono_ns()
                if self._since_ns is None:
                    self._since_ns = self._mono_ns()
                self._timer = self._later(BEAT_S, self._beat)
        except HalError as error:
            self._lose(error)
        else:
            self._find()

    def _lose(self, error: HalError) -> None:
        self._since_ns = None
        self._timer = self._later(AGAIN_S, self._beat)
        if not self._lost:
            self._lost = True
            log.error("%s", error)
            self._changed(error)

    def _find(self) -> None:
        if self._lost:
            self._lost = False
            log.info("the heartbeat can be driven again")
            self._changed(None)
