"""A whole daemon in virtual time: simulated board, real journal on disk, central system in memory.

The world outlives the daemon: `power_cut` and `kill` take the daemon away in the middle of whatever
it does (the disk stays as it was at that instant, coils drop, cars stay plugged), `start` brings a
new one up on the same disk.
"""

import asyncio
import contextlib
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from support.lapse_loop import LapsingChildren
from support.memory_link import Network
from support.real_network import RealNetwork
from support.virtual_loop import VirtualLoop

from cpctl import config as configuration
from cpctl.app import App, Seams
from cpctl.demo.csms import CentralSystem, Transaction
from cpctl.store.db import InlineWriter
from hal.deadman import DeadMan
from hal.sim.board import Board

CARD = "04A1B2C3D4E5F6"
OTHER_CARD = "04FFEEDDCCBBAA"
MORNING = datetime(2026, 5, 1, 8, 0, tzinfo=UTC)


class VirtualTime:
    """The clocks of the machine on which the daemon runs. A power cut begins a new boot."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.loop = loop
        self.boots = 1
        self.disciplined = True
        self.wall_error_s = 0.0
        self._wall_at_zero = MORNING - timedelta(microseconds=loop.monotonic_ns() / 1000)
        self._booted_ns = 0

    def mono_ns(self) -> int:
        return self.loop.monotonic_ns() - self._booted_ns

    def wall(self) -> datetime:
        return self.true_wall() + timedelta(seconds=self.wall_error_s)

    def true_wall(self) -> datetime:
        return self._wall_at_zero + timedelta(microseconds=self.loop.monotonic_ns() / 1000)

    def boot_id(self) -> str:
        return f"boot-{self.boots}"

    def synchronised(self) -> bool:
        return self.disciplined

    def reboot(self) -> None:
        self.boots += 1
        self._booted_ns = self.loop.monotonic_ns() - 1_000_000_000


def config_text(directory: Path, *, evses: int = 1, more: str = "", ocpp16: str = "",
                evse_more: str = "", station: str = "", csms: str = "",
                url: str = "ws://csms.example/ocpp") -> str:
    posts = "\n".join(f"[[evse]]\nid = {number}\n{evse_more}\n" for number in range(1, evses + 1))
    return f"""\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "Post"
{station}
[csms]
url = "{url}"
versions = ["1.6"]
{csms}
[ocpp16]
{ocpp16}
[api]
socket = "{directory}/cpctl.sock"
[store]
path = "{directory}/state"
{more}
[[reader]]
id = "front"
driver = "sim"
{posts}
"""


class World:
    """See the module. Build it with `world(...)`, inside a virtual loop."""

    def __init__(self, loop: VirtualLoop, directory: Path, **options: Any) -> None:
        self.loop = loop
        self.directory = directory
        self.options = options
        self.evses = options.get("evses", 1)
        self.time = VirtualTime(loop)
        self.central = CentralSystem(now=self.time.true_wall)
        self.network: Any = Network(self.central)
        self.board = self._new_board()
        self.app: App | None = None
        self.generation = 0
        self.release: str | None = None  # the slot that the next start runs from
        self.children: Any = LapsingChildren()  # of the lives that are started from now on
        self.writer: Any = InlineWriter  # the disk of those lives
        self.coils_at_start: list[bool] = []
        self._task: asyncio.Task[Any] | None = None
        self._state = directory / "life-0"
        self._state.mkdir()

    def over_real_sockets(self, tls: Any = None) -> None:
        """Before the first start: a real WebSocket (and TLS) instead of the pair in memory."""
        self.network = RealNetwork(self.central, tls=tls)

    def _new_board(self, registers: dict[int, int] | None = None) -> Board:
        """`registers` in Wh; the board's clock runs through all boots."""
        board = Board(range(1, self.evses + 1), self.loop.monotonic_ns,
                      call_later=self.loop.call_later, seed=1)
        for evse, register in (registers or {}).items():
            board.meter(evse, energy_wh=register)
        return board

    # --- life of the daemon ----------------------------------------------------------------------

    async def start(self, *, ready: bool = True) -> None:
        """Bring a daemon up on the disk as it is."""
        options = dict(self.options)
        if isinstance(self.network, RealNetwork):
            if not self.network.port:
                await self.network.open()
            options.setdefault("url", self.network.url)
        text = config_text(self._state, **options)
        path = self._state / "cpctl.toml"
        path.write_text(text.replace("{world}", str(self.directory)))
        self.coils_at_start = [self.board.look(evse).coil for evse in self.board.evses]
        self.app = App.build(configuration.load([path]), Seams(
            time=self.time, connector=self.network, writer=self.writer,
            rng=random.Random(self.generation), board=self.board, api=False, signals=False,
            deadman=DeadMan(self.loop.monotonic_ns, thread=False), children=self.children,
            release=self.release))
        up = asyncio.Event()
        self._task = asyncio.create_task(self.app.run(up.set))
        if ready:
            waiter = asyncio.create_task(up.wait())
            await asyncio.wait({waiter, self._task}, return_when=asyncio.FIRST_COMPLETED)
            waiter.cancel()
            if self._task.done():
                self._task.result()
            await self.advance(0.1)

    async def stop(self) -> Any:
        """SIGTERM; what `run` came to."""
        assert self.app is not None and self._task is not None
        self.app.stop()
        ending = await self._task
        self._task = None
        return ending

    async def die(self, *, power: bool, disk_is_frozen: bool = False) -> None:
        """kill -9, or the mains gone: nothing more is written, sent or switched by this life."""
        if not disk_is_frozen:
            self.freeze_disk()
        self.network.cut()
        registers = {evse: self.board.look(evse).register_wh for evse in self.board.evses}
        plugged = [evse for evse in self.board.evses if self.board.look(evse).plugged]
        dead = self._task
        self.board = self._new_board(registers)
        for evse in plugged:
            self.board.plug(evse)
        if dead is not None:
            dead.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await dead
        self.network.cut()
        if power:
            self.time.reboot()

    def freeze_disk(self) -> None:
        """The disk as it is now is what the next life finds."""
        self.generation += 1
        life = self.directory / f"life-{self.generation}"
        shutil.copytree(self._state, life)
        self._state = life

    async def power_cut(self) -> None:
        await self.die(power=True)
        await self.start()

    async def kill(self) -> None:
        await self.die(power=False)
        await self.start()

    # --- hands -----------------------------------------------------------------------------------

    async def advance(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def plug(self, evse: int = 1, **how: Any) -> None:
        self.board.plug(evse, **how)
        await self.advance(0.5)

    async def unplug(self, evse: int = 1) -> None:
        self.board.unplug(evse)
        await self.advance(0.5)

    async def tap(self, token: str = CARD, evse: int | None = None) -> None:
        self.board.tap(token, evse=evse)
        await self.advance(0.5)

    async def charge(self, seconds: float, evse: int = 1, token: str = CARD) -> None:
        """Plug, tap, charge; the session stays open."""
        await self.plug(evse)
        await self.tap(token)
        await self.advance(seconds)

    async def until(self, holds: Callable[[], Any], limit_s: float = 3600.0) -> None:
        """Wait until something is so. Raises TimeoutError with what was waited for."""
        end = self.loop.time() + limit_s
        while not holds():
            if self.loop.time() > end:
                raise TimeoutError(f"does not hold after {limit_s} s: {self.describe()}")
            await self.advance(0.25)

    def describe(self) -> str:
        assert self.app is not None
        return (f"{[self.status(n) for n in self.board.evses]} {self.app.link.state} "
                f"waiting {self.app.journal.waiting()} {self.central.books}")

    async def delivered(self, limit_s: float = 3600.0) -> None:
        """Wait until nothing waits for the central system."""
        await self.until(lambda: self.app is not None and self.app.journal.waiting().count == 0,
                         limit_s)

    # --- looking ---------------------------------------------------------------------------------

    def status(self, connector: int = 1) -> str:
        """The status the central system was told last."""
        return str(self.central.books.status(connector))

    def coil(self, evse: int = 1) -> bool:
        return self.board.look(evse).coil

    def register_wh(self, evse: int = 1) -> int:
        return self.board.look(evse).register_wh

    @property
    def transactions(self) -> list[Transaction]:
        return self.central.books.transactions

    def calls(self, action: str) -> list[dict[str, Any]]:
        """Payloads of the station's calls of one action, in order, retries included."""
        return [frame.parts[3] for frame in self.central.frames
                if not frame.sent and frame.text.startswith("[2,") and frame.parts[2] == action]

    async def sessions(self) -> list[Any]:
        assert self.app is not None
        return list(reversed(await self.app.journal.sessions(1000, None)))

    async def assert_books_agree(self) -> None:
        """The central system's books, the journal and the meters tell the same."""
        rows = [row for row in await self.sessions() if row.started is not None]
        theirs = self.central.books.transactions
        assert self.central.books.orphans == []
        assert len(theirs) == len(rows), (theirs, rows)
        for one, row in zip(theirs, rows, strict=True):  # told in the order in which they began
            assert (one.energy_wh, one.id_tag) == (row.energy_wh, row.token), (one, row)
        for one in theirs:
            assert one.stopped is not None, one
            assert one.meter_stop is not None and one.meter_stop >= one.meter_start, one
            registers = [one.meter_start, *_registers(one), one.meter_stop]
            assert registers == sorted(registers), one


def _registers(transaction: Transaction) -> list[int]:
    found = []
    for _, sample in transaction.samples:
        found += [int(float(value["value"])) for value in sample["sampledValue"]
                  if value.get("measurand", "Energy.Active.Import.Register")
                  == "Energy.Active.Import.Register"]
    return found


@contextlib.asynccontextmanager
async def world(*, start: bool = True, real_sockets: bool = False, tls: Any = None,
                **options: Any) -> AsyncIterator[World]:
    """A world on a disk of its own; ends with the daemon gone. Only in a virtual loop.

    `real_sockets` (in a LapseLoop): the central system is behind a real port of loopback.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    base = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="cpctl-world-", dir=base) as directory:
        made = World(loop, Path(directory), **options)
        if real_sockets:
            made.over_real_sockets(tls)
        if start:
            await made.start()
            await made.until(lambda: made.status(1) == "Available", 60)
        try:
            yield made
        finally:
            if made._task is not None:
                made._task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await made._task
            await made.network.close()


