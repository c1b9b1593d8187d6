"""The GPIO header of an emulated station, seen from outside: what is on its lines, and who pulls.

Lines are known by their number. The time of a change is the guest's monotonic clock.
"""

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.system.machine import Machine, Stuck, connect

#: Where everything is wired. The contacts of RCD and emergency stop hold their lines low while all
#: is well; the auxiliary contact pulls its line low while the contactor is closed.
CONTACTOR, FEEDBACK, RCD, EMERGENCY_STOP = 17, 27, 23, 24
RED, GREEN, BLUE, HEARTBEAT = 5, 6, 13, 25


@dataclass(frozen=True)
class Change:
    line: int
    level: bool
    guest_ns: int
    host_s: float


class Wires:
    """Connect anew after each boot."""

    def __init__(self, machine: Machine, *, told: Callable[[Change], None] | None = None):
        self.changes: list[Change] = []
        self._told = told
        self._levels: dict[int, bool] = {}
        self._news = threading.Condition()
        self._ready = threading.Event()
        self._socket = connect(machine.folder / "hands", machine.alive)
        self._thread = threading.Thread(target=self._read, daemon=True, name="wires")
        self._thread.start()
        until_s = time.monotonic() + 120
        while not self._ready.is_set():  # what is said before the port is opened may be lost
            if time.monotonic() > until_s or not machine.alive():
                raise Stuck("the hands inside the machine do not answer")
            self._say("here?")
            self._ready.wait(0.5)
        for line in (RCD, EMERGENCY_STOP):
            self.pull(line, False)
        self._say(f"watch {CONTACTOR}")

    def _say(self, text: str) -> None:
        try:
            self._socket.sendall(text.encode() + b"\n")
        except OSError as error:
            raise Stuck(f"the wires are gone: {error}") from error

    def _read(self) -> None:
        try:
            with self._socket.makefile("r") as stream:
                for text in stream:
                    words = text.split()
                    if words[:1] == ["ready"]:
                        self._ready.set()
                    elif words[:1] == ["level"] and len(words) == 4:
                        self._note(Change(int(words[1]), words[2] == "1", int(words[3]),
                                          time.monotonic()))
        except (OSError, ValueError):
            return

    def _note(self, change: Change) -> None:
        with self._news:
            self.changes.append(change)
            self._levels[change.line] = change.level
            self._news.notify_all()
        if self._told is not None:
            self._told(change)

    # --- hands ---------------------------------------------------------------------------------

    def pull(self, line: int, level: bool) -> None:
        """Put an input to a level."""
        self._say(f"pull {line} {int(level)}")

    def follow(self) -> None:
        """The auxiliary contact follows the coil: closed, it pulls its line to ground."""
        self._say(f"follow {FEEDBACK} {CONTACTOR}")

    def hold(self) -> None:
        """The auxiliary contact stays where it is."""
        self._say(f"hold {FEEDBACK}")

    def watch(self, line: int) -> None:
        self._say(f"watch {line}")

    # --- eyes ----------------------------------------------------------------------------------

    def level(self, line: int) -> bool:
        return self._levels.get(line, False)

    @property
    def closed(self) -> bool:
        return self.level(CONTACTOR)

    def until(self, line: int, level: bool, limit_s: float) -> Change:
        """Wait until the line is there; the change that brought it there. Raises Stuck."""
        until_s = time.monotonic() + limit_s
        with self._news:
            while self._levels.get(line) is not level:
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    raise Stuck(f"line {line} is not {'high' if level else 'low'} "
                                f"within {limit_s:g} s")
                self._news.wait(left_s)
            return next(one for one in reversed(self.changes)
                        if one.line == line and one.level is level)

    def close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()
