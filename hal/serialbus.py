"""One RS-485 line with all devices on it: a queue, one worker thread, sole owner of the port.

Decides who may talk and when: urgent requests (coils) first, a pause between exchanges, retries,
and silence after an error. RTU answers bear no number: a late one would be taken for the answer to
the next request. So after any error the line stays quiet until it has been silent for a whole
response time, and for `late_s` no read is sent whose answer could be mistaken for the one still
owed. The bytes of an exchange are `rtu.py`'s business. What must happen waits once however often it
is ordered, and a device that does not take it is told again once a second, not before the others.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from hal.bus_statistics import BusStatistics
from hal.busjobs import Answer, Done, Job, Silence
from hal.errors import DeviceGone, DeviceTimeout, ExceptionAnswer, HalError
from hal.rtu import (
    READ_COILS,
    READ_INPUT,
    WRITE_COIL,
    WRITE_REGISTER,
    WRITE_REGISTERS,
    Exchange,
    FrameListener,
    LineSettings,
    Request,
    open_serial,
)

log = logging.getLogger(__name__)

_BACKOFF_FIRST_S = 0.5
_BACKOFF_LAST_S = 30.0
_DEAF_S = 1.0  # so often a device that does not take what must happen is told again

OpenPort = Callable[[LineSettings], Any]


class BusClock(Protocol):
    """The time of the line; tests hand in one that jumps."""

    def monotonic(self) -> float: ...

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        """Wait for a notification at most `seconds` (None: for ever); the lock is held."""


class _RealClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        condition.wait(seconds)


class SerialBus:
    """A line by name. Requests come from the event loop, or from any thread by `ask_now`."""

    def __init__(
        self,
        name: str,
        settings: LineSettings,
        *,
        open_port: OpenPort = open_serial,
        clock: BusClock | None = None,
    ):
        self.name = name
        self.settings = settings
        self._open_port = open_port
        self._clock: BusClock = clock or _RealClock()
        self._wake = threading.Condition()
        self._urgent: deque[Job] = deque()
        self._normal: deque[Job] = deque()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._close_by = 0.0
        self._listener: FrameListener | None = None
        self._statistics: dict[int, BusStatistics] = {}
        # Only the worker touches what follows.
        self._exchange: Exchange | None = None
        self._silence = Silence()
        self._free_at = 0.0
        self._reopen_at = 0.0
        self._backoff_s = _BACKOFF_FIRST_S
        self._lost_because = ""
        # Addresses that did not take what must happen, and when it is tried again.
        self._deaf: dict[int, float] = {}
        self._others_turn = False

    # --- asking ---------------------------------------------------------------------------

    async def ask(
        self,
        request: Request | None,
        *,
        urgent: bool = False,
        tries: int | None = None,
        wait_s: float = 10.0,
        wanted: Callable[[], bool] | None = None,
    ) -> Answer:
        """The answer to `request`; without a request: see that the port is open.

        `urgent` writes pass everything, the quiet time too; urgent reads only what waits.
        `wait_s` bounds the time in the queue. `wanted` is asked by the worker just before sending:
        what a later order has overtaken is not sent, and DeviceTimeout says so. Raises
        DeviceTimeout, CrcError, BadFrame, ExceptionAnswer, DeviceGone.
        """
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Answer | HalError] = loop.create_future()

        def settle(result: Answer | HalError) -> None:
            if not outcome.done():
                outcome.set_result(result)

        def done(result: Answer | HalError) -> None:
            try:
                loop.call_soon_threadsafe(settle, result)
            except RuntimeError:
                log.debug("%s: an answer came after its event loop had ended", self.name)

        job = self._submit(request, done, urgent=urgent, tries=tries, wait_s=wait_s, wanted=wanted)
        try:
            async with asyncio.timeout(wait_s + self._longest_exchange_s(job)):
                return _unwrap(await outcome)
        except TimeoutError as error:
            raise DeviceTimeout(f"{self.name} is stuck; unplug and replug its adapter") from error
        finally:
            job.given_up = True

    def ask_now(
        self, request: Request, *, wait_s: float, tries: int = 1, must_happen: bool = False
    ) -> Answer:
        """For threads: urgent, blocks for at most `wait_s`.

        What was not sent by then is not sent any more, unless it `must_happen` (a coil off): that
        stays in the queue, and DeviceTimeout only says that nobody knows yet.
        """
        arrived = threading.Event()
        results: list[Answer | HalError] = []

        def done(result: Answer | HalError) -> None:
            results.append(result)
            arrived.set()

        job = self._submit(
            request, done, urgent=True, tries=tries, wait_s=None if must_happen else wait_s
        )
        if not arrived.wait(wait_s):
            job.given_up = not must_happen
            raise DeviceTimeout(f"{self.name}: {request} is not done after {wait_s:g} s")
        return _unwrap(results[0])

    def tell_now(
        self,
        request: Request,
        done: Done = lambda _: None,
        *,
        wait_s: float | None = None,
        tries: int = 1,
    ) -> None:
        """For threads: urgent, and not waited for; `done` is called from the worker's thread.

        Without `wait_s` it must happen; with it, what was not sent by then is not sent any more.
        """
        self._submit(request, done, urgent=True, tries=tries, wait_s=wait_s)

    async def read_registers(
        self, address: int, start: int, count: int, *, function: int = READ_INPUT
    ) -> Answer:
        return await self.ask(Request(address, function, start, count))

    async def read_bits(
        self, address: int, start: int, count: int, *, function: int = READ_COILS
    ) -> Answer:
        return await self.ask(Request(address, function, start, count))

    async def write_registers(self, address: int, start: int, *values: int) -> None:
        """Write once, without a second try: it may move hardware."""
        function = WRITE_REGISTER if len(values) == 1 else WRITE_REGISTERS
        await self.ask(Request(address, function, start, values=values), tries=1)

    async def write_coil(self, address: int, start: int, *, on: bool) -> None:
        """Switch a coil, before everything else that waits, without a second try."""
        request = Request(address, WRITE_COIL, start, values=(int(on),))
        await self.ask(request, urgent=True, tries=1)

    async def open(self) -> None:
        """See that the port is there. Raises DeviceGone."""
        await self.ask(None)

    def close(self, wait_s: float = 2.0) -> None:
        """End the worker and let go of the port; what waits gets DeviceGone, but that what must
        happen is sent first. Not for the loop's thread while requests run: it blocks for up to
        `wait_s`."""
        with self._wake:
            self._closing = True
            self._close_by = self._clock.monotonic() + wait_s
            thread = self._thread
            self._wake.notify_all()
        if thread is not None:
            thread.join(wait_s)

    # --- looking --------------------------------------------------------------------------

    def listen(self, listener: FrameListener | None) -> None:
        """Tell `listener(">" or "<", bytes)` each frame, from the worker's thread."""
        with self._wake:
            self._listener = listener

    @property
    def heard(self) -> bool:
        """Whether somebody listens to the frames."""
        return self._listener is not None

    def statistics(self) -> dict[int, BusStatistics]:
        """By address; 0 is the line itself (port losses, stray bytes)."""
        with self._wake:
            return dict(self._statistics)

    # --- the queue ------------------------------------------------------------------------

    def _submit(
        self,
        request: Request | None,
        done: Done,
        *,
        urgent: bool,
        tries: int | None,
        wait_s: float | None,
        wanted: Callable[[], bool] | None = None,
    ) -> Job:
        until = None if wait_s is None else self._clock.monotonic() + wait_s
        passes = urgent and request is not None and request.look is None
        job = Job(request, passes, tries or self.settings.tries, until, [done], wanted)
        with self._wake:
            if self._closing:
                raise DeviceGone(f"{self.name} is closed")
            waiting = self._waiting_like(job)
            if waiting is not None:
                waiting.waiting.append(done)
                return waiting
            if passes:
                self._urgent.append(job)
            elif urgent:
                self._normal.appendleft(job)  # a read: first in its lane, but never in the quiet
            else:
                self._normal.append(job)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name=f"bus {self.name}", daemon=True
                )
                self._thread.start()
            self._wake.notify_all()
        return job

    def _waiting_like(self, job: Job) -> Job | None:
        """The same order, still waiting and with no other one to that place behind it."""
        if not job.must_happen:
            return None
        last = next((one for one in reversed(self._urgent) if one.place == job.place), None)
        same = last is not None and last.must_happen and last.request == job.request
        return last if same else None

    def _longest_exchange_s(self, job: Job) -> float:
        return 5.0 + job.tries * (3 * self.settings.timeout_s + self.settings.lateness_s)

    def _work(self) -> None:
        try:
            while (job := self._next()) is not None:
                try:
                    self._serve(job)
                finally:
                    self._never_unanswered(job)
        finally:
            self._end()

    def _next(self) -> Job | None:
        """The next job that may be sent now; waits for it. None when the bus is closed."""
        with self._wake:
            while not self._closing or self._is_owed():
                job, wait_s = self._choose()
                if job is not None:
                    return job
                self._clock.wait(self._wake, wait_s)
            return None

    def _choose(self) -> tuple[Job | None, float | None]:
        now = self._clock.monotonic()
        for job in self._urgent:
            if not self._is_deaf(job):
                self._urgent.remove(job)
                return job, None
        first, second = self._urgent, self._normal
        if self._others_turn:
            first, second = second, first
        soonest = float("inf")
        for job in (*first, *second):
            ready_at = max(self._free_at, self._silence.ready_at(job.request), self._again_at(job))
            if job.given_up or now >= ready_at:
                lane = self._urgent if job.urgent else self._normal
                lane.remove(job)
                self._others_turn = job.urgent
                return job, None
            soonest = min(soonest, ready_at)
        return None, None if soonest == float("inf") else soonest - now

    def _is_owed(self) -> bool:
        """Something that must happen can still be sent before the line is closed."""
        return self._clock.monotonic() < self._close_by and any(
            job.must_happen and not self._is_deaf(job) for job in self._urgent)

    def _is_deaf(self, job: Job) -> bool:
        return job.request is not None and job.request.address in self._deaf

    def _again_at(self, job: Job) -> float:
        if not job.urgent or job.request is None:
            return 0.0
        return self._deaf.get(job.request.address, 0.0)

    def _end(self) -> None:
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None
        with self._wake:
            self._thread = None
            left = [*self._urgent, *self._normal]
            self._urgent.clear()
            self._normal.clear()
        for job in left:
            job.answer(DeviceGone(f"{self.name} was closed"))

    # --- one job --------------------------------------------------------------------------

    def _serve(self, job: Job) -> None:
        now = self._clock.monotonic()
        if job.given_up or (job.until is not None and now > job.until):
            job.answer(DeviceTimeout(f"{self.name}: too many requests, this one waited too long"))
            return
        if job.wanted is not None and not job.wanted():
            job.answer(DeviceTimeout(f"{self.name}: overtaken by a later order, not sent"))
            return
        try:
            exchange = self._opened(urgent=job.urgent)
            if not job.urgent and self._still_noisy(exchange):
                self._put_back(job)
                return
            job.answer(self._exchanged(exchange, job))
        except HalError as error:
            self._failed(job, error)

    def _exchanged(self, exchange: Exchange, job: Job) -> Answer:
        if job.request is None:
            return ()
        job.tried += 1
        began = job.sent_at = self._clock.monotonic()
        try:
            answer = exchange.ask(job.request)
        finally:
            now = self._clock.monotonic()
            self._free_at = now + self.settings.pause_s
        self._deaf.pop(job.request.address, None)
        self._count(job.request.address, lambda s: s.answered((now - began) * 1000))
        if self._silence.still_owed(job.request, began):
            # What came may be the late answer to an earlier try: that of this one is owed then.
            self._silence.begin(now, self.settings.timeout_s)
            self._note_owed(job)
        return answer

    def _failed(self, job: Job, error: HalError) -> None:
        now = self._clock.monotonic()
        self._count(job.request.address if job.request else 0, lambda s: s.failed(error))
        if isinstance(error, DeviceGone):
            self._lose(error, now)
            job.answer(error)
            return
        self._silence.begin(now, self.settings.timeout_s)
        self._note_deaf(job, error, now)
        if not isinstance(error, ExceptionAnswer):
            self._note_owed(job)
        if job.tried < job.tries and not isinstance(error, ExceptionAnswer):
            self._count(job.request.address if job.request else 0, lambda s: s.retried())
            self._put_back(job, behind=True)  # the others first: nobody starves
            return
        job.answer(_with_tries(self.name, error, job.tried))

    def _note_deaf(self, job: Job, error: HalError, now: float) -> None:
        if job.request is None:
            return
        if not isinstance(error, DeviceTimeout):
            self._deaf.pop(job.request.address, None)
        elif job.must_happen and (self._is_deaf(job) or job.tried >= job.tries):
            self._deaf[job.request.address] = now + _DEAF_S

    def _note_owed(self, job: Job) -> None:
        if job.request is not None:
            given_up_at = job.sent_at + self.settings.timeout_s
            self._silence.note_owed(job.request, given_up_at + self.settings.lateness_s)

    def _put_back(self, job: Job, *, behind: bool = False) -> None:
        lane = self._urgent if job.urgent else self._normal
        with self._wake:
            if behind:
                lane.append(job)
            else:
                lane.appendleft(job)

    def _still_noisy(self, exchange: Exchange) -> bool:
        """Throw away what came in the quiet time; bytes in it prolong it."""
        if not self._silence.unsettled:
            return False
        stray = exchange.drain()
        if not stray or self._silence.drains_left == 1:
            self._silence.drains_left = 0
            return False
        self._count(0, lambda s: replace(s, stray_bytes=s.stray_bytes + stray))
        self._silence.until = self._clock.monotonic() + self.settings.timeout_s
        self._silence.drains_left -= 1
        return True

    def _never_unanswered(self, job: Job) -> None:
        with self._wake:
            waiting = job in self._urgent or job in self._normal
        if not waiting:
            job.answer(DeviceGone(f"{self.name} failed by a fault of its own; see the log"))

    # --- the port -------------------------------------------------------------------------

    def _opened(self, *, urgent: bool) -> Exchange:
        if self._exchange is None:
            now = self._clock.monotonic()
            if now < self._reopen_at and not urgent:
                raise DeviceGone(
                    f"{self._lost_because}; tried again in {self._reopen_at - now:.0f} s"
                )
            self._exchange = Exchange(self.settings, self._open_port(self.settings))
            self._backoff_s = _BACKOFF_FIRST_S
            log.info("%s: %s is open", self.name, self.settings.port)
        self._exchange.listen(self._listener)
        return self._exchange

    def _lose(self, error: DeviceGone, now: float) -> None:
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None
            log.warning("%s: %s", self.name, error)
        if now >= self._reopen_at:
            self._lost_because = str(error)
            self._reopen_at = now + self._backoff_s
            self._backoff_s = min(2 * self._backoff_s, _BACKOFF_LAST_S)

    def _count(self, address: int, change: Callable[[BusStatistics], BusStatistics]) -> None:
        with self._wake:
            self._statistics[address] = change(self._statistics.get(address, BusStatistics()))


def _unwrap(result: Answer | HalError) -> Answer:
    if isinstance(result, HalError):
        raise result
    return result


def _with_tries(bus: str, error: HalError, tries: int) -> HalError:
    after = f" after {tries} tries" if tries > 1 else ""
    if isinstance(error, DeviceTimeout):
        advice = "check A/B wiring, address and baud rate"
        return DeviceTimeout(f"{error} on {bus}{after}; {advice}")
    finding, _, advice = str(error).partition("; ")
    return type(error)(f"{finding} on {bus}{after}; {advice}")
