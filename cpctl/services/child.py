"""Long or heavy work in a child process: transfers, cryptography, archives.

The daemon stays small and a library that hangs or dies takes nothing along. The child is
`python -m <module>`; its order comes as one JSON line on its standard input (so that no secret
stands among the arguments), it answers with JSON lines: {"told": …} on the way, at the end
{"done": {…}} or {"failed": kind, "detail": …}. `Children` is the daemon's side, `serve` the
child's.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

log = logging.getLogger(__name__)

Told = dict[str, Any]
NICENESS = 5
OOM_SCORE = 500  # proc(5), oom_score_adj; the unit gives the daemon -500
LONGEST_LINE = 1 << 20  # bytes


class ChildFailed(Exception):
    """The work could not be done. `kind` is one word of the module's own, or "died", "timeout"."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail


class Children:
    """Starts children; one object per daemon, replaced in tests."""

    async def run(self, module: str, order: Mapping[str, Any], *, limit_s: float,
                  told: Callable[[Told], None] = lambda _: None) -> Told:
        """What the child of `module` answers to `order`. Cancelling this ends the child.

        `told` hears what it says on the way. Raises ChildFailed, also after `limit_s`.
        """
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, limit=LONGEST_LINE, start_new_session=True)
        try:
            async with asyncio.timeout(limit_s):
                return await _conversation(child, module, order, told)
        except TimeoutError as error:
            raise ChildFailed("timeout", f"{module}: no end after {limit_s:.0f} s") from error
        finally:
            await _ended(child)


async def _conversation(child: asyncio.subprocess.Process, module: str, order: Mapping[str, Any],
                        told: Callable[[Told], None]) -> Told:
    assert child.stdin is not None and child.stdout is not None
    with contextlib.suppress(ConnectionError):  # it died at once: its end is noticed below
        child.stdin.write(json.dumps(order).encode() + b"\n")
        await child.stdin.drain()
    while line := await child.stdout.readline():
        try:
            said = json.loads(line)
        except ValueError as error:
            raise ChildFailed("died", f"{module}: says {line[:80]!r}") from error
        if "told" in said:
            told(said["told"])
        elif "done" in said:
            done: Told = said["done"]
            return done
        else:
            raise ChildFailed(str(said.get("failed", "died")), str(said.get("detail", "")))
    raise ChildFailed("died", f"{module}: ended without a word")


async def _ended(child: asyncio.subprocess.Process) -> None:
    """It, and whatever it started, is gone."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    await child.wait()


# --- the child's side ----------------------------------------------------------------------------


def serve(work: Callable[[Told, Callable[[Told], None]], Told]) -> None:
    """Do the one order that stands on standard input; `work(order, tell)` returns what is done.

    It raises ChildFailed for what it knows; any other error is told on standard error, and ends it.
    The daemon holds the other end of standard input: when that goes, however, so does the child.
    """
    os.nice(NICENESS)
    _first_to_go()
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_daemon, daemon=True).start()
    try:
        _say({"done": work(order, lambda told: _say({"told": told}))})
    except ChildFailed as failed:
        _say({"failed": failed.kind, "detail": failed.detail})


def _first_to_go() -> None:
    """When memory is short a job is ended, not the daemon that holds the contactors."""
    path = "/proc/self/oom_score_adj"
    with contextlib.suppress(OSError), open(path, "w", encoding="ascii") as file:
        file.write(str(OOM_SCORE))  # suppressed: a kernel without it


def _end_with_the_daemon() -> None:
    sys.stdin.read()
    os._exit(1)


def _say(what: Told) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()
