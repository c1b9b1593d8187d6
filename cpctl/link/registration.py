"""When the boot is announced, and what may be said before it is accepted. Pure.

Announced after each start of ours, and again on a later connection only when its content changed.
Until it is answered nothing else is sent; Pending lets only what was asked for out; Rejected makes
us mute until the interval has passed. Times are monotonic seconds.
Source: OCPP 1.6 section 4.2, OCPP-J 1.6 section 5.4, 16.BOOT.1 to 8.
"""

from typing import Any

from cpctl.core.values import Registration

OWN_INTERVAL_S = 60.0  # when the central system leaves the interval to us (0)
LONGEST_INTERVAL_S = 86_400.0  # more is taken for a mistake: nobody wants a station mute for years


class BootRules:
    """Registration as the central system answered it last."""

    def __init__(self) -> None:
        self.registration = Registration.NONE
        self._due_s = float("-inf")
        self._accepted: Any = None  # the content that was accepted last

    @property
    def accepted(self) -> bool:
        return self.registration is Registration.ACCEPTED

    def connected(self, content: Any) -> None:
        """A connection stands; `content` is what a boot announcement would say now."""
        if self.accepted and content != self._accepted:
            self.registration = Registration.NONE
        if self.registration is Registration.NONE:
            self._due_s = float("-inf")

    def due_s(self) -> float | None:
        """From when on the boot is to be announced; None: it is not."""
        return None if self.accepted else self._due_s

    def asked_for(self) -> bool:
        """The central system wants the announcement now. False: refused, we are accepted (R)."""
        if self.accepted:
            return False
        self._due_s = float("-inf")
        return True

    def answered(self, registration: Registration, interval_s: float, content: Any, *,
                 now_s: float, jitter: float) -> None:
        """The verdict. `jitter`, 0 to 1, spreads the waits that we choose ourselves."""
        self.registration = registration
        if registration is Registration.ACCEPTED:
            self._accepted = content
            return
        own_s = OWN_INTERVAL_S * (0.75 + 0.5 * jitter)
        self._due_s = now_s + (min(interval_s, LONGEST_INTERVAL_S) if interval_s > 0 else own_s)

    def unanswered(self, wait_s: float, *, now_s: float) -> None:
        """The announcement was refused by an error, or not answered at all."""
        self._due_s = now_s + wait_s

    def mute(self, now_s: float) -> bool:
        """Whether nothing at all may be said, not even an answer (16.BOOT.7)."""
        return self.registration is Registration.REJECTED and now_s < self._due_s
