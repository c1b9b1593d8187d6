"""From the pilot leaving C to the coil released, on the simulated board, at rest and under load.

The daemon runs in a process of its own with its real event loop, writer thread and WebSocket; a
second thread plays the car, as a pilot board's thread would: it hands the change to the loop and
reads from the board's memory when the coil was dropped.
"""

import asyncio
import contextlib
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.rig import (
    ENVIRONMENT,
    PYTHON,
    ROOT,
    CannotMeasure,
    central,
    quantile,
    run,
    station,
)
from bench.table import Row, row

if TYPE_CHECKING:
    from hal.sim.board import Board

ROUNDS = 1500
FRAMES_PER_S = 200
WAIT_S = 20.0


def release() -> list[Row]:
    rows: list[Row] = []
    for name, flood in (
        ("pilot leaves C to coil released, p99.9", False),
        (f"  the same, {FRAMES_PER_S} frames/s arriving and journal syncing", True),
    ):
        with central() as csms, station(csms.url) as post:
            if flood:
                csms.do("flood", per_s=FRAMES_PER_S)
            with bare_handovers() as bare:
                done = run(PYTHON, "-m", "bench.release", str(post.config))
            told: dict[str, Any] = csms.do("calm") if flood else {}
        if done.returncode != 0:
            raise CannotMeasure(done.stderr.strip()[-300:])
        spent = json.loads(done.stdout.splitlines()[-1])
        beside = (f"median {quantile(spent, 0.5):.2f}, worst {max(spent):.1f} of {len(spent)}; "
                  f"bare handover to a loop meanwhile p99.9 {quantile(bare, 0.999):.1f} ms")
        if flood:
            beside += f"; {told['answered']} of {told['sent']} frames answered"
        rows.append(row(name, quantile(spent, 0.999), 20, "ms", beside=beside))
    return rows


# --- the machine's own share --------------------------------------------------------------------


@contextlib.contextmanager
def bare_handovers() -> Iterator[list[float]]:
    """What it takes here to hand something from a thread to an event loop that does nothing else,
    in a process beside; filled when the block ends."""
    found: list[float] = []
    process = subprocess.Popen(
        [PYTHON, "-m", "bench.release"], cwd=ROOT, env=ENVIRONMENT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield found
    finally:
        told, _ = process.communicate("enough\n")
    found.extend(json.loads(told))


async def hand_over() -> list[float]:
    """Until a line comes on the standard input: ms from a thread to the loop, each 5 ms."""
    loop = asyncio.get_running_loop()
    spent: list[float] = []
    enough = threading.Event()

    def take(began: int) -> None:
        spent.append((time.monotonic_ns() - began) / 1e6)

    def hand() -> None:
        while not enough.is_set():
            loop.call_soon_threadsafe(take, time.monotonic_ns())
            time.sleep(0.005)

    handing = threading.Thread(target=hand, daemon=True)
    handing.start()
    told = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    await told.readline()
    enough.set()
    return spent


# --- the process that is measured ------------------------------------------------------------


class Car(threading.Thread):
    """Leaves C again and again; `spent_ms` is how long the coil stayed on."""

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop):
        super().__init__(daemon=True)
        self.board: Board = app.board
        self.app = app
        self.loop = loop
        self.spent_ms: list[float] = []
        self.failed = ""

    def run(self) -> None:
        try:
            self.do(self.board.plug, 1, auto=False)
            time.sleep(0.2)
            self.do(self.board.tap, "04A1B2C3")
            rng = random.Random(1)
            for _ in range(ROUNDS):
                self.until(lambda: self.board.look(1).offer.current_a > 0, "an offer")
                self.do(self.board.pilot, 1, "C")
                self.until(lambda: self.board.look(1).coil, "a closed coil")
                time.sleep(rng.uniform(0.001, 0.01))
                self.leave()
        except TimeoutError as error:
            self.failed = str(error)
        self.loop.call_soon_threadsafe(self.app.stop)

    def leave(self) -> None:
        began = time.monotonic_ns()
        self.do(self.board.pilot, 1, "B")
        self.until(lambda: not self.board.look(1).coil, "an open coil")
        dropped = next(one.mono_ns for one in reversed(self.board.history) if one.what == "coil")
        self.spent_ms.append((dropped - began) / 1e6)

    def do(self, hand: Any, *words: Any, **more: Any) -> None:
        self.loop.call_soon_threadsafe(lambda: hand(*words, **more))

    def until(self, holds: Any, what: str) -> None:
        end = time.monotonic() + WAIT_S
        while not holds():
            if time.monotonic() > end:
                objections = ", ".join(self.app.gate.objections(1))
                raise TimeoutError(f"round {len(self.spent_ms)}: no {what} ({objections})")
            time.sleep(0.0005)


async def measure(path: str) -> list[float]:
    from cpctl.app import App, Seams
    from cpctl.config import load

    app = App.build(load(Path(path)), Seams(api=False, signals=False))
    car = Car(app, asyncio.get_running_loop())
    await app.run(car.start)
    if car.failed:
        raise SystemExit(car.failed)
    return car.spent_ms


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1]) if sys.argv[1:] else hand_over())))
