"""A thread that looks at a slow device: from time to time by itself, and whenever somebody asks.

For devices whose reading blocks (files of the kernel that convert when they are read).
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from hal.aside import aside
from hal.errors import DeviceGone, HalError

T = TypeVar("T")
JOIN_S = 3.0


class Lookout(Generic[T]):
    """`look` makes a reading or raises HalError; `failed` hears of that. Both in the thread.

    `pause_s()` is the rest between two looks, asked for after each; None: until asked.
    """

    def __init__(self, name: str, look: Callable[[], T], *, pause_s: Callable[[], float | None],
                 failed: Callable[[HalError], None]) -> None:
        self._name = name
        self._look = look
        self._pause_s = pause_s
        self._failed = failed
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._lock = threading.Lock()  # over what follows
        self._open = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[T]]] = []

    def start(self) -> None:
        """Look now and then from now on. Raises DeviceGone while an old look still hangs."""
        if self._thread is not None and self._thread.is_alive():
            raise DeviceGone(f"{self._name}: a reading still hangs in the kernel; check its wiring")
        with self._lock:
            self._open = True
        self._thread = threading.Thread(target=self._run, name=f"look {self._name}", daemon=True)
        self._thread.start()

    def hurry(self) -> None:
        """Look now; the pace may have changed. From any thread."""
        self._wake.set()

    async def now(self) -> T:
        """A reading begun after this call. Raises HalError."""
        loop = asyncio.get_running_loop()
        told: asyncio.Future[T] = loop.create_future()
        with self._lock:
            if not self._open:
                raise DeviceGone(f"{self._name}: is not open")
            self._waiting.append((loop, told))
        self._wake.set()
        return await told

    async def close(self) -> None:
        """Look no more; harmless when it never did."""
        thread = self._thread
        with self._lock:
            self._open = False
        if thread is not None and thread.is_alive():
            self._wake.set()
            await aside(lambda: thread.join(JOIN_S), f"join {self._name}")

    def _run(self) -> None:
        try:
            while self._open:
                self._wake.clear()
                self._once()
                self._wake.wait(self._pause_s())
        finally:
            with self._lock:
                self._open = False
            self._tell(self._taken(), None, DeviceGone(f"{self._name}: looks no more"))

    def _once(self) -> None:
        waiting = self._taken()
        try:
            reading = self._look()
        except HalError as error:
            self._tell(waiting, None, error)
            self._failed(error)
        except BaseException:  # a bug: nobody may wait for ever
            self._tell(waiting, None, DeviceGone(f"{self._name}: its thread died (see the log)"))
            raise
        else:
            self._tell(waiting, reading, None)

    def _taken(self) -> list[tuple[asyncio.AbstractEventLoop, asyncio.Future[T]]]:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        return waiting

    def _tell(self, waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[T]]],
              reading: Any, error: HalError | None) -> None:
        for loop, told in waiting:
            with contextlib.suppress(RuntimeError):  # that loop has gone
                loop.call_soon_threadsafe(_settle, told, reading, error)


def _settle(told: asyncio.Future[Any], reading: Any, error: HalError | None) -> None:
    if told.done():
        return
    if error is not None:
        told.set_exception(error)
    else:
        told.set_result(reading)
