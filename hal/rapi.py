"""The serial line of an OpenEVSE: one command at a time, answers found by their number.

Source: "RAPI protocol" in the firmware of OpenEVSE (rapi_proc.h), v3 and later: `$CC args :ss^xk`
and a carriage return, ss a number that the answer repeats (never 00), xk the XOR of all characters
before `^`; answers `$OK …` and `$NK …`; `$A…` comes unasked. 115200 baud, 8N1.

One worker thread owns the port. It sleeps until something comes, is asked for, or is due; garbage
is passed over up to the next `$`. What an answer means is the driver's business.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from hal.errors import BadReading, DeviceGone, DeviceTimeout, HalError
from hal.late import dataclass
from hal.rtu import LineSettings, open_serial

log = logging.getLogger(__name__)

LONGEST = 120  # characters of a line; longer ones are garbage
ANSWER_S = 0.5  # the board answers within some 50 ms, but for its self-tests
CHUNK = 256


class Wire(Protocol):
    """The port and its time; tests hand in one that jumps."""

    def monotonic(self) -> float: ...
    def write(self, text: bytes) -> None: ...

    def read(self, wait_s: float | None) -> bytes:
        """What came, waited for at most so long (None: for ever), or b"" also when woken."""

    def wake(self) -> None:
        """End a `read` that waits; from any thread."""

    def close(self) -> None: ...


class SerialWire:
    """A serial port that can be waited for together with a word from another thread."""

    def __init__(self, port: str, baudrate: int) -> None:
        self._port: Any = open_serial(LineSettings(port=port, baudrate=baudrate))
        self._name = port
        self._gone: tuple[type[Exception], ...] = (
            OSError, importlib.import_module("termios").error)
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._lock = threading.Lock()
        self._open = True

    def monotonic(self) -> float:
        return time.monotonic()

    def write(self, text: bytes) -> None:
        try:
            self._port.write(text)
        except self._gone as error:
            raise self._lost(error) from error

    def read(self, wait_s: float | None) -> bytes:
        try:
            ready, _, _ = select.select([self._port.fileno(), self._wake_read], [], [], wait_s)
            if self._wake_read in ready:
                os.read(self._wake_read, CHUNK)
            if self._port.fileno() not in ready:
                return b""
            came = os.read(self._port.fileno(), CHUNK)
        except BlockingIOError:
            return b""
        except self._gone as error:
            raise self._lost(error) from error
        if not came:
            raise DeviceGone(f"{self._name} is lost (end of file); is the adapter plugged in?")
        return came

    def wake(self) -> None:
        with self._lock:
            if self._open:
                try:
                    os.write(self._wake_write, b"!")
                except BlockingIOError:
                    return  # it is full of words already

    def close(self) -> None:
        with self._lock:
            self._open = False
            try:
                self._port.close()
            except self._gone as error:
                log.debug("%s: not closed: %s", self._name, error)
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _lost(self, error: Exception) -> DeviceGone:
        return DeviceGone(f"{self._name} is lost ({error}); is the adapter plugged in?")


@dataclass(frozen=True)
class Answer:
    """`ok` False: refused ($NK). `words` are what stands after it."""

    ok: bool
    words: tuple[str, ...]


class _Job:
    def __init__(self, command: str, done: Callable[[Answer | HalError], None], *, tries: int = 1,
                 wanted: Callable[[], bool] | None = None) -> None:
        self.command = command
        self.waiting = [done]
        self.tries = tries
        self.wanted = wanted
        self.given_up = False

    def done(self, answer: Answer | HalError) -> None:
        for done in self.waiting:
            done(answer)


class Rapi:
    """Commands to one board. `heard(words)` gets each line that came unasked, `lost(error)` is told
    when the port is lost; `idle()` is called after `idle_s` without anything to do. All three are
    called from the worker's thread."""

    def __init__(self, name: str, make_wire: Callable[[], Wire], *,
                 heard: Callable[[tuple[str, ...]], None], lost: Callable[[HalError], None],
                 idle: Callable[[], None], idle_s: float | None) -> None:
        self._name = name
        self._make_wire = make_wire
        self._heard = heard
        self._lost = lost
        self._idle = idle
        self._idle_s = idle_s
        self._lock = threading.Lock()  # over what follows
        self._urgent: deque[_Job] = deque()
        self._normal: deque[_Job] = deque()
        self._wire: Wire | None = None
        self._thread: threading.Thread | None = None
        self._closing = False
        # only the worker touches these
        self._text = b""
        self._number = 0
        self._told = ""  # why the port is not there
        self.spoiled = 0  # lines that were none, since the start

    # --- asking ------------------------------------------------------------------------------

    async def ask(self, command: str, *, tries: int = 1,
                  wanted: Callable[[], bool] | None = None) -> Answer:
        """The board's answer. Raises DeviceTimeout, DeviceGone.

        `wanted` is asked just before sending: what a later order overtook is not sent.
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
                log.debug("%s: an answer came after its event loop had ended", self._name)

        job = self._submit(_Job(command, done, tries=tries, wanted=wanted))
        try:
            return _unwrap(await outcome)
        finally:
            job.given_up = True

    def ask_now(self, *commands: str, wait_s: float, tries: int = 1) -> Answer:
        """For threads: urgent, in this order, each sent whether or not anybody waits any more.

        The answer to the last one. Raises DeviceTimeout after `wait_s`, DeviceGone.
        """
        arrived = threading.Event()
        results: list[Answer | HalError] = []

        def done(result: Answer | HalError) -> None:
            results.append(result)
            if len(results) == len(commands):
                arrived.set()

        jobs = [_Job(one, done, tries=tries) for one in commands]
        self._submit(*jobs, urgent=True)
        if not arrived.wait(wait_s):
            raise DeviceTimeout(f"{self._name}: {commands[0]} is not done after {wait_s:g} s")
        for result in results:
            _unwrap(result)
        return _unwrap(results[-1])

    def tell(self, *commands: str,
             done: Callable[[Answer | HalError], None] = lambda _: None) -> None:
        """Urgent, in this order, and not waited for; also from the worker's own thread. `done` gets
        the answer to each."""
        self._submit(*[_Job(one, done) for one in commands], urgent=True)

    def close(self, wait_s: float = 2.0) -> None:
        """End the worker and let go of the port. Not from the worker's own thread."""
        with self._lock:
            self._closing = True
            thread, wire = self._thread, self._wire
        if wire is not None:
            wire.wake()
        if thread is not None:
            thread.join(wait_s)

    def _submit(self, *jobs: _Job, urgent: bool = False) -> _Job:
        with self._lock:
            if self._closing and self._thread is not None:
                raise DeviceGone(f"{self._name} is being closed")
            self._closing = False
            last = list(self._urgent)[-len(jobs):]
            if urgent and [one.command for one in last] == [one.command for one in jobs]:
                for waits, job in zip(last, jobs, strict=True):  # told once, however often ordered
                    waits.waiting += job.waiting
            else:
                (self._urgent if urgent else self._normal).extend(jobs)
            wire = self._wire
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name=f"rapi {self._name}", daemon=True)
                self._thread.start()
        if wire is not None and self._thread is not threading.current_thread():
            wire.wake()
        return jobs[0]

    # --- the worker --------------------------------------------------------------------------

    def _work(self) -> None:
        error: HalError = DeviceGone(f"{self._name} was closed")
        try:
            wire = self._make_wire()
            with self._lock:
                self._wire = wire
            self._text, self._told = b"", ""
            while not self._closing:
                job = self._next()
                if job is not None:
                    self._serve(wire, job)
                else:
                    self._listen(wire)
        except HalError as problem:
            error = problem
            if not self._closing and str(problem) != self._told:
                self._told = str(problem)
                log.warning("%s: %s", self._name, problem)
        finally:
            self._end(error)

    def _next(self) -> _Job | None:
        with self._lock:
            lane = self._urgent or self._normal
            return lane.popleft() if lane else None

    def _end(self, error: HalError) -> None:
        with self._lock:
            wire, self._wire, self._thread = self._wire, None, None
            closed = self._closing
            left = [*self._urgent, *self._normal]
            self._urgent.clear()
            self._normal.clear()
        if wire is not None:
            wire.close()
        for job in left:
            job.done(error)
        if not closed:
            self._lost(error)

    def _listen(self, wire: Wire) -> None:
        began = wire.monotonic()
        came = wire.read(self._idle_s)
        if self._idle_s is not None and wire.monotonic() - began >= self._idle_s:
            self._idle()
        for line in self._lines(came):
            self._sort(line, 0)

    def _serve(self, wire: Wire, job: _Job) -> None:
        if job.given_up:
            return
        if job.wanted is not None and not job.wanted():
            job.done(DeviceTimeout(f"{self._name}: overtaken by a later order, not sent"))
            return
        answer: Answer | HalError = DeviceTimeout(
            f"{self._name}: no answer to {job.command}; check its cable and supply")
        try:
            for _ in range(job.tries):
                found = self._exchange(wire, job.command)
                if found is not None:
                    answer = found
                    break
        except HalError as error:
            answer = error
            raise
        finally:
            job.done(answer)

    def _exchange(self, wire: Wire, command: str) -> Answer | None:
        self._number = self._number % 255 + 1
        wire.write(framed(f"${command} :{self._number:02X}"))
        end = wire.monotonic() + ANSWER_S
        while (left_s := end - wire.monotonic()) > 0 and not self._closing:
            for line in self._lines(wire.read(left_s)):
                answer = self._sort(line, self._number)
                if answer is not None:
                    return answer
        return None

    # --- lines -------------------------------------------------------------------------------

    def _lines(self, came: bytes) -> list[str]:
        """Whole lines with a right checksum, without it; what is none is counted."""
        self._text += came
        *whole, self._text = self._text.split(b"\r")
        if len(self._text) > LONGEST:
            self._text = b""
            self.spoiled += 1
        found: list[str] = []
        for one in whole:
            line = unframed(one)
            if line is None:
                self.spoiled += 1
                log.debug("%s: spoiled line %r", self._name, one)
            else:
                found.append(line)
        return found

    def _sort(self, line: str, number: int) -> Answer | None:
        """The answer with this number; what came unasked is told, late answers are dropped."""
        words = line.split()
        if words[0] not in ("$OK", "$NK"):
            self._heard((words[0][1:], *words[1:]))
            return None
        if words[-1] != f":{number:02X}":
            log.debug("%s: late answer %s", self._name, line)
            return None
        return Answer(words[0] == "$OK", tuple(words[1:-1]))


def framed(text: str) -> bytes:
    """With checksum and end of line."""
    return f"{text}^{_checksum(text):02X}\r".encode("ascii")


def unframed(line: bytes) -> str | None:
    """The text of a line without its checksum; None when that is wrong or missing."""
    text, mark, digits = line[line.rfind(b"$"):].decode("ascii", "replace").partition("^")
    if not text.startswith("$") or not mark or len(text) < 3:
        return None
    try:
        return text if int(digits, 16) == _checksum(text) else None
    except ValueError:
        return None


def _checksum(text: str) -> int:
    result = 0
    for character in text:
        result ^= ord(character)
    return result


def _unwrap(result: Answer | HalError) -> Answer:
    if isinstance(result, HalError):
        raise result
    return result


def number_of(word: str, base: int, what: str) -> int:
    """Raises BadReading."""
    try:
        return int(word, base)
    except ValueError as error:
        raise BadReading(f"{what} is {word!r}, which is no number; is this an OpenEVSE?") from error
