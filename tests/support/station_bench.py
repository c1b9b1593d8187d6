"""A whole daemon on the simulated board in virtual time, without a central system.

`with_app(story, tmp_path)` runs `story(bench)` inside the running daemon. Offline tokens are
accepted, so that everything but the link takes part.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support import virtual_loop

from cpctl import config
from cpctl.app import App, Ending, Seams
from cpctl.core.effects import Effect
from cpctl.core.events import Event
from cpctl.core.views import EvsePicture
from cpctl.link.errors import ConnectRefused
from cpctl.store.db import InlineWriter
from hal.deadman import DeadMan

CONFIG = """
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "Bench"
[csms]
url = "ws://csms.invalid/ocpp"
[options]
policy.tx_before_accepted = "always"
[ocpp16]
AllowOfflineTxForUnknownId = true
[store]
path = "{path}"
[api]
socket = "{path}/cpctl.sock"
[sim]
car_start_delay_s = 1.0
{more}
[[reader]]
id = "front"
driver = "sim"
[[evse]]
id = 1
"""


class VirtualTime:
    """Clocks of a virtual loop. `boot` is the kernel's boot id."""

    def __init__(self, loop: virtual_loop.VirtualLoop, boot: str = "boot-1") -> None:
        self._loop, self._boot = loop, boot
        self.start = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
        self.trusted = True

    def mono_ns(self) -> int:
        return self._loop.monotonic_ns()

    def wall(self) -> datetime:
        return self.start + timedelta(microseconds=self.mono_ns() // 1000)

    def boot_id(self) -> str:
        return self._boot

    def synchronised(self) -> bool:
        return self.trusted


class NoWay:
    """A connector that never gets through."""

    async def connect(self, url, subprotocols, headers, ssl):
        raise ConnectRefused(f"{url}: nobody there")


class StationBench:
    """Hands and eyes of a story."""

    def __init__(self, app: App, loop: virtual_loop.VirtualLoop) -> None:
        self.app, self.virtual = app, loop
        self.trace: list[Event | Effect] = []

    @property
    def board(self):
        return self.app.board

    def see(self) -> None:
        """From now on keep each event and effect in `trace`."""
        def witness(event: Event, effects: tuple[Effect, ...]) -> None:
            self.trace.append(event)
            self.trace.extend(effects)
        self.app.loop.witness(witness)

    def evse(self, number: int = 1) -> EvsePicture:
        return self.app.loop.picture.evse(number)

    def coil(self, evse: int = 1) -> bool:
        return self.board.look(evse).coil

    @property
    def now_s(self) -> float:
        return self.virtual.monotonic_ns() / 1e9

    async def pass_s(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def until(self, holds: Callable[[], bool], limit_s: float = 120.0) -> float:
        """Wait in steps of 10 ms until `holds`; returns the seconds it took."""
        began = self.now_s
        while not holds():
            assert self.now_s - began < limit_s, f"not within {limit_s} s: {self.evse()}"
            await asyncio.sleep(0.01)
        return self.now_s - began

    async def charge(self, evse: int = 1, token: str = "04A1B2C3", **plug) -> None:
        """Plug in, tap, and wait until power flows."""
        self.board.plug(evse, **plug)
        await self.pass_s(0.5)
        self.board.tap(token, evse=evse)
        await self.until(lambda: self.coil(evse))
        await self.pass_s(1.0)


def build(path: Path, loop: virtual_loop.VirtualLoop, *, more: str = "", evses: int = 1,
          after: str = "", station: str = "", options: str = "", keys: str = "", csms: str = "",
          **seams) -> App:
    text = CONFIG.format(path=path, more=more)
    for section, lines in (("[csms]", station), ("[options]", csms), ("[ocpp16]", options),
                           ("[store]", keys)):
        text = text.replace(section, f"{lines}\n{section}")  # at the end of the one before
    text += "".join(f"[[evse]]\nid = {number}\n" for number in range(2, evses + 1)) + after
    chosen = {"time": VirtualTime(loop), "connector": NoWay(), "writer": InlineWriter,
              "deadman": DeadMan(loop.monotonic_ns, thread=False), "api": False,
              "signals": False, **seams}
    return App.build(config.from_text(text, str(path / "cpctl.toml")), Seams(**chosen))


def with_app(story: Callable[[StationBench], Awaitable[None]], path: Path, *,
             loop: virtual_loop.VirtualLoop | None = None, **options) -> Ending:
    """Run `story` in a running daemon, then stop it; returns how it ended."""
    loop = loop or virtual_loop.VirtualLoop()

    async def whole() -> Ending:
        app = build(path, loop, **options)
        ready = asyncio.Event()
        running = asyncio.ensure_future(app.run(ready.set))
        waiting = asyncio.ensure_future(ready.wait())
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            waiting.cancel()
            return running.result()
        try:
            await story(StationBench(app, loop))
        finally:
            app.stop()
            ending = await running
        return ending

    return virtual_loop.run(whole(), loop=loop)
