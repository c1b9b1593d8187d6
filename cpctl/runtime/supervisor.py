"""Keeps the tasks together, and systemd informed.

A task that dies of a bug takes the daemon down in good order: power off at once, then the rest of
the tasks, then the books. A device that dies is an event, not a bug, and never gets here.
The watchdog is fed only after a whole control cycle: an event went through the loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Coroutine
from typing import Any

log = logging.getLogger(__name__)

WATCHDOG_PATIENCE = 0.4  # fed at this part of the time systemd allows


class Notifier:
    """Speaks sd_notify by plain datagram; without systemd it says nothing."""

    def __init__(self, address: str | None = None):
        self._address = os.environ.get("NOTIFY_SOCKET") if address is None else address
        self._socket: socket.socket | None = None

    @property
    def is_heard(self) -> bool:
        """Whether systemd listens."""
        return bool(self._address)

    def say(self, *lines: str) -> None:
        """Send lines such as READY=1; a lost datagram is no reason to stop."""
        if not self._address:
            return
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            self._socket.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.debug("systemd was not told: %s", error)

    def reloading(self) -> None:
        """A reload begins; READY=1 ends it. The time is the kernel's own, as sd_notify(3) wants
        it: no clock of the daemon's goes into anything here."""
        import time

        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self.say("RELOADING=1", f"MONOTONIC_USEC={usec}")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @staticmethod
    def watchdog_s() -> float | None:
        """How often systemd wants to hear from us, in s; None: not at all."""
        text = os.environ.get("WATCHDOG_USEC", "")
        pid = os.environ.get("WATCHDOG_PID", "")
        if not text.isdigit() or int(text) == 0 or (pid.isdigit() and int(pid) != os.getpid()):
            return None
        return int(text) / 1e6


class Supervisor:
    """Starts tasks in one group. `last_breath(name)` runs at once when one of them dies of a bug,
    before any other task is touched; it must switch off power and may not wait."""

    def __init__(self, last_breath: Callable[[str], None]):
        self._last_breath = last_breath
        self._group: asyncio.TaskGroup | None = None
        self.died_of: str | None = None

    def enter(self, group: asyncio.TaskGroup) -> None:
        self._group = group

    def start(self, coro: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[None]:
        """Run `coro` as a task of the group; its end by an exception ends the daemon."""
        if self._group is None:
            coro.close()
            raise RuntimeError(f"{name}: started outside the group of tasks")
        task = self._group.create_task(self._watched(coro, name), name=name)
        task.add_done_callback(lambda _: coro.close())  # cancelled before its first step
        return task

    async def _watched(self, coro: Coroutine[Any, Any, Any], name: str) -> None:
        try:
            await coro
        except Exception as error:
            self.died_of = self.died_of or f"{name}: {type(error).__name__}: {error}"
            self._last_breath(name)
            log.critical("task %s died of a bug: power is off, the daemon ends", name,
                         exc_info=error)
            raise


async def feed_watchdog(notifier: Notifier, period_s: float,
                        ask: Callable[[Callable[[], None]], None]) -> None:
    """Tell systemd that we live, each time after an event went through the whole loop."""
    while True:
        answered = asyncio.Event()
        ask(answered.set)
        await answered.wait()
        notifier.say("WATCHDOG=1")
        await asyncio.sleep(period_s * WATCHDOG_PATIENCE)
