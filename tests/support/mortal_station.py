"""A station that is killed again and again; what is real outlives it.

As a program, `mortal_station.py FOLDER` (or `FOLDER LIFE …` for one life without the nursery): the
nursery has everything imported and forks one life per line it reads, `LIFE URL AFTER MODE SEED`, so
that a start costs little; each life is a daemon of its own, from nothing, on the disk as it is. It
answers `born PID`, later `ended STATUS`.

The world at the post is kept in memory shared through a file, which outlives SIGKILL: register,
coil, car. The coil even stays on after a kill, as an output can that keeps its level; energy flows
until the next life switches it off. `world.log` has a line per thing that moved, unbuffered.

Mode "idle": nothing is done. Mode "busy": hands plug, tap, stop and unplug for ever. Mode "rest":
the car leaves, everything is delivered, the station ends in good order and writes its sessions to
`end.json`.
"""

import asyncio
import ctypes
import importlib
import json
import logging
import mmap
import os
import random
import signal
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cpctl import config as configuration
from cpctl.app import App, Seams
from cpctl.store.db import ThreadWriter, Writer
from hal.errors import HalError
from hal.sim.board import Board
from hal.sim.car import Car
from hal.sim.post import Post
from hal.values import Offer, OfferKind

EVSE = 1
HIGH_A = 80.0
MAGIC = b"post"
CONFIG = """\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "Post"
after_power_loss = "{after}"
[csms]
url = "{url}"
versions = ["1.6"]
reconnect = {{ wait_min_s = 1, random_s = 0, repeat_times = 0 }}
[ocpp16]
AllowOfflineTxForUnknownId = true
MeterValueSampleInterval = 1
StopTxnSampledData = "Energy.Active.Import.Register"
[api]
socket = "{folder}/cpctl.sock"
[store]
path = "{folder}/state"
[sim]
car_start_delay_s = 0.05
car_max_current_a = {amperes}
[[reader]]
id = "front"
driver = "sim"
[[evse]]
id = 1
max_current_a = {amperes}
"""


@dataclass
class World:
    """What is kept of one post, whoever lives. Energy in mW·ns, so that nothing is rounded."""

    energy_mw_ns: int = 0
    accounted_ns: int = 0
    power_mw: int = 0
    coil: bool = False
    plugged: bool = False
    s2_closed: bool = False
    token: int = 0


class Memory:
    """A `World` in shared memory: two copies and the number of the valid one, never half a one."""

    _ONE = struct.Struct("<QQQQ???xQ")
    _AT = (16, 16 + _ONE.size)

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(MAGIC + bytes(4092))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 4096)

    def load(self) -> World:
        high, low, *rest = self._ONE.unpack_from(self._map, self._AT[self._map[8]])
        return World(high << 63 | low, *rest)

    def save(self, world: World) -> None:
        other = 1 - self._map[8]
        high, low = divmod(world.energy_mw_ns, 1 << 63)
        self._ONE.pack_into(
            self._map, self._AT[other], high, low, world.accounted_ns, world.power_mw,
            world.coil, world.plugged, world.s2_closed, world.token)
        self._map[8] = other


class Log:
    """Lines that are in the file when the call returns."""

    def __init__(self, path: Path, life: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._life = life

    def say(self, *words: object) -> None:
        line = " ".join(str(word) for word in (self._life, time.monotonic_ns(), *words))
        os.write(self._file, line.encode() + b"\n")


class KeptPost(Post):
    """A post whose register, coil and car are those of the shared memory."""

    memory: Memory
    token = 0

    def keep_in(self, memory: Memory) -> None:
        """Take over the world as it is: what was on is still on, and has been all the time."""
        world = memory.load()
        self.memory, self.token = memory, world.token
        now_ns = time.monotonic_ns()
        self.energy_mw_ns = world.energy_mw_ns + world.power_mw * (
            now_ns - world.accounted_ns if world.accounted_ns else 0)
        self.accounted_ns = now_ns
        self.coil = self.contact = world.coil
        self.save()

    def account(self, until_ns: int) -> None:
        super().account(until_ns)
        self.save()

    def set_coil(self, *, on: bool) -> None:
        super().set_coil(on=on)
        self.save()

    def save(self) -> None:
        car = self.car
        self.memory.save(World(
            self.energy_mw_ns, self.accounted_ns, self.power_mw, self.contact, car is not None,
            car is not None and car.s2_closed, self.token))


class KeptBoard(Board):
    """The simulated board on the shared memory; its coil and its reading hands are logged."""

    def __init__(self, memory: Memory, log: Log) -> None:
        super().__init__([EVSE], time.monotonic_ns, call_later=_call_later,
                         car_start_delay_s=0.05, car_max_current_a=HIGH_A)
        self.log = log
        self.who: Callable[[], str] = lambda: "nobody"  # for whom the station closes the coil
        world = memory.load()
        self.kept = KeptPost(0, time.monotonic_ns())
        if world.plugged:
            self.kept.car = Car(self.car_kind, s2_closed=world.s2_closed)
            self.kept.offer = Offer(OfferKind.CURRENT, HIGH_A) if world.s2_closed else Offer(
                OfferKind.NONE)
            self.kept.car.offer = self.kept.offer
        self.kept.keep_in(memory)
        self._posts = {EVSE: self.kept}

    def set_coil(self, evse: int, *, on: bool) -> None:
        if on:
            self.log.say("on", self.who())
        super().set_coil(evse, on=on)
        if not on:
            self.log.say("off", self.kept.register_wh)

    def next_token(self) -> str:
        self.kept.token += 1
        self.kept.save()
        return f"04{self.kept.token:08X}"


def _call_later(delay_s: float, call: Any) -> object:
    return asyncio.get_running_loop().call_later(delay_s, call)


# --- hands ---------------------------------------------------------------------------------------


async def _tap(board: Board, token: str) -> None:
    while True:
        try:
            board.tap(token)
            return
        except HalError:  # the reader is not open yet
            await asyncio.sleep(0.01)


async def be_busy(board: KeptBoard, rng: random.Random) -> None:
    """Sessions without end, each begun and ended in one of the usual ways."""
    while True:
        await asyncio.sleep(rng.uniform(0.0, 0.15))
        if board.look(EVSE).plugged and rng.random() < 0.7:
            board.unplug(EVSE)
            await asyncio.sleep(rng.uniform(0.02, 0.1))
        token = board.next_token()
        card_first = rng.random() < 0.3
        if card_first:
            await _tap(board, token)
        if not board.look(EVSE).plugged:
            board.plug(EVSE)
        if not card_first:
            await asyncio.sleep(rng.uniform(0.0, 0.05))
            await _tap(board, token)
        await asyncio.sleep(rng.uniform(0.1, 0.9))
        if rng.random() < 0.5:
            await _tap(board, token)
        else:
            board.unplug(EVSE)


async def come_to_rest(app: App, board: KeptBoard, folder: Path) -> None:
    """The car leaves, everything is told; then the end, with what the journal says."""
    if board.look(EVSE).plugged:
        await asyncio.sleep(1.0)
        board.unplug(EVSE)
    while app.journal.waiting().count or app.journal.open_sessions() or not app.link.state.online:
        await asyncio.sleep(0.05)
    rows = [asdict(row) for row in await app.journal.sessions(100_000, None)]
    (folder / "end.json").write_text(json.dumps(
        {"sessions": rows, "register_wh": board.look(EVSE).register_wh,
         "damaged": app.journal.report.damaged}, default=str))
    app.stop()


# --- life ----------------------------------------------------------------------------------------


async def live(folder: Path, life: int, url: str, after: str, mode: str, seed: int) -> None:
    log = Log(folder / "world.log", life)
    log.say("start")
    path = folder / "cpctl.toml"
    half = folder / "cpctl.toml.half"
    half.write_text(CONFIG.format(folder=folder, url=url, after=after, amperes=HIGH_A))
    os.replace(half, path)
    board = KeptBoard(Memory(folder / "world"), log)

    def books() -> Writer:
        log.say("books")
        return ThreadWriter()

    app = App.build(configuration.load([path]), Seams(
        board=board, api=False, signals=False, writer=books, rng=random.Random(seed)))
    tasks: list[asyncio.Task[None]] = []

    def holder() -> str:
        token = app.loop.picture.evses[0].token
        return token.value if token is not None else "nobody"

    board.who = holder

    def ready() -> None:
        log.say("ready")
        if mode == "busy":
            tasks.append(asyncio.create_task(be_busy(board, random.Random(seed))))
        elif mode == "rest":
            tasks.append(asyncio.create_task(come_to_rest(app, board, folder)))

    ending = await app.run(ready)
    for task in tasks:
        task.cancel()
    log.say("end", ending.value)


def _be_born(folder: Path, words: list[str]) -> None:
    life, url, after, mode, seed = words
    logging.basicConfig(level=logging.INFO, format=f"life {life} %(relativeCreated)d %(message)s",
                        filename=folder / "daemon.log")
    asyncio.run(live(folder, int(life), url, after, mode, int(seed)))


def nurse(folder: Path) -> None:
    """Fork a life per line; one at a time."""
    for name in ("websockets.asyncio.client", "cpctl.dialects.v16.dialect",
                 "cpctl.link.connection", "cpctl.link.link"):
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            die_with_the_parent()
            code = 70
            try:
                _be_born(folder, line.split())
                code = 0
            finally:
                logging.shutdown()
                os._exit(code)
        print("born", child, flush=True)
        print("ended", os.waitpid(child, 0)[1], flush=True)


def die_with_the_parent() -> None:
    """A test that is itself killed leaves no station behind."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def main() -> None:
    die_with_the_parent()
    folder = Path(sys.argv[1])
    if len(sys.argv) > 2:
        _be_born(folder, sys.argv[2:])
    else:
        nurse(folder)


if __name__ == "__main__":
    main()
