"""The dead-man: opens a contactor whose lease was not renewed in time.

A closed contactor is a lease (`hal/contracts.py`, Contactor). The dead-man keeps the deadlines and
opens what has lapsed, in a thread of its own, so that a hanging event loop ends in power off. It
decides nothing else; it never closes. Without leases the thread sleeps and costs no wake-ups.

Order of locks: a contactor's lock is always taken before the dead-man's. `register`, `renew`,
`forget`, `owe` and `has_lapsed` are called with the contactor's lock held; `check` calls
`Contactor.lapse` and the listener with no lock held.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from hal.errors import HalError
from hal.late import dataclass

log = logging.getLogger(__name__)

NS_PER_S = 1_000_000_000
RETRY_NS = NS_PER_S // 4  # between two tries to open what would not open


class Leased(Protocol):
    """What the dead-man needs of a contactor."""

    name: str

    def lapse(self) -> bool:
        """Open if the lease has run out; True when it opened."""
        ...


#: Told after each lapse: `error` None when the contactor is open now, else why it is not (told at
#: the first failure; the dead-man keeps trying and tells None when it worked). Runs in the
#: dead-man's thread.
Listener = Callable[[Leased, Exception | None], None]


@dataclass
class _Lease:
    deadline_ns: int
    look_ns: int  # when the dead-man looks next; later than the deadline after a failed try


class DeadMan:
    """Leases of all contactors of the process.

    `monotonic_ns` is the clock the leases run on. With `thread=False` nothing runs by itself:
    the owner calls `check()` (at `due_ns()` at the latest), which is how virtual time is served.
    """

    def __init__(
        self,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        *,
        thread: bool = True,
        listener: Listener | None = None,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._threaded = thread
        self.listener = listener
        self._leases: dict[Leased, _Lease] = {}
        self._failing: set[Leased] = set()
        self._changed = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._ending = thread  # nobody watches before start()

    def start(self) -> None:
        """Begin to watch. Harmless when already watching, and without a thread."""
        if self._watching():
            return
        self._ending = False
        if not self._threaded:
            return
        self._thread = threading.Thread(target=self._run, name="deadman", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Open whatever still has a lease, then end the thread."""
        with self._changed:
            self._ending = True
            now_ns = self._monotonic_ns()
            for lease in self._leases.values():
                lease.deadline_ns = min(lease.deadline_ns, now_ns)
                lease.look_ns = now_ns
            self._changed.notify()
        self.check()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    # --- for Contactor, its lock held ---------------------------------------------------------

    def register(self, contactor: Leased, lease_s: float) -> None:
        """A new lease, in place of any older one. Raises HalError when nobody watches."""
        with self._changed:
            if not self._watching():
                raise HalError(f"{contactor.name}: the dead-man does not run; nothing is closed")
            deadline_ns = self._monotonic_ns() + int(lease_s * NS_PER_S)
            self._leases[contactor] = _Lease(deadline_ns, deadline_ns)
            self._failing.discard(contactor)
            self._changed.notify()

    def renew(self, contactor: Leased, lease_s: float) -> bool:
        """Prolong a lease that has not lapsed. False: lapsed, given up, or nobody watches."""
        with self._changed:
            lease = self._leases.get(contactor)
            now_ns = self._monotonic_ns()
            if lease is None or now_ns >= lease.deadline_ns or not self._watching():
                return False
            earlier_ns = lease.deadline_ns
            lease.deadline_ns = lease.look_ns = now_ns + int(lease_s * NS_PER_S)
            if lease.deadline_ns < earlier_ns:  # a longer lease is noticed when the thread looks
                self._changed.notify()
            return True

    def forget(self, contactor: Leased) -> None:
        """Give up the lease; harmless without one."""
        with self._changed:
            self._leases.pop(contactor, None)

    def owe(self, contactor: Leased) -> None:
        """A release failed: its lease counts as lapsed, and it is tried again until it works."""
        with self._changed:
            now_ns = self._monotonic_ns()
            self._leases[contactor] = _Lease(now_ns, now_ns + RETRY_NS)
            self._changed.notify()

    def has_lapsed(self, contactor: Leased) -> bool:
        with self._changed:
            lease = self._leases.get(contactor)
            return lease is not None and self._monotonic_ns() >= lease.deadline_ns

    # --- watching -----------------------------------------------------------------------------

    def due_ns(self) -> int | None:
        """When `check` has something to do at the earliest; None: no leases."""
        with self._changed:
            return min((lease.look_ns for lease in self._leases.values()), default=None)

    def check(self) -> tuple[Leased, ...]:
        """Open what has lapsed by now; returns what was opened. A failing one stops no other."""
        with self._changed:
            now_ns = self._monotonic_ns()
            due = [one for one, lease in self._leases.items() if lease.look_ns <= now_ns]
            for contactor in due:  # a busy or failing one is not looked at without a pause
                self._leases[contactor].look_ns = now_ns + RETRY_NS
        return tuple(contactor for contactor in due if self._open(contactor))

    def _open(self, contactor: Leased) -> bool:
        try:
            if not contactor.lapse():
                self._look_at_deadline(contactor)
                return False
        except Exception as error:  # whatever a driver does, the other contactors are served
            if contactor not in self._failing:
                self._failing.add(contactor)
                log.error("%s: could not be opened after its lease lapsed (%s); trying again",
                          contactor.name, error, exc_info=not isinstance(error, HalError))
                self._tell(contactor, error)
            return False
        self._failing.discard(contactor)
        log.log(logging.INFO if self._ending else logging.ERROR,
                "%s: opened by the dead-man, its lease was not renewed", contactor.name)
        self._tell(contactor, None)
        return True

    def _look_at_deadline(self, contactor: Leased) -> None:
        """Not opened because it was renewed meanwhile: look again when that runs out."""
        with self._changed:
            lease = self._leases.get(contactor)
            if lease is not None and lease.deadline_ns > self._monotonic_ns():
                lease.look_ns = lease.deadline_ns

    def _tell(self, contactor: Leased, error: Exception | None) -> None:
        if self.listener is None:
            return
        try:
            self.listener(contactor, error)
        except Exception:  # the thread outlives a listener whose loop has gone
            log.exception("%s: nobody could be told of the lapse", contactor.name)

    def _watching(self) -> bool:
        if self._ending:
            return False
        return not self._threaded or (self._thread is not None and self._thread.is_alive())

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._ending and (nap_s := self._nap_s()) != 0.0:
                    self._changed.wait(nap_s)
                if self._ending:
                    return
            self.check()

    def _nap_s(self) -> float | None:
        """Seconds until there is something to look at; None: until a lease is registered."""
        if not self._leases:
            return None
        wake_ns = min(lease.look_ns for lease in self._leases.values())
        return max(0.0, (wake_ns - self._monotonic_ns()) / NS_PER_S)
