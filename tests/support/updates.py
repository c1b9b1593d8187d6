"""What the stories of firmware updates need: a station in a slot, a maker, a file server.

    @case("TC_080_CS", **UPDATING)
    async def test_…(station):
        async with updating(station) as site:
            …
"""

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from support import virtual_loop
from support.file_servers import FileServer, http_server
from support.lapse_loop import LapseLoop
from support.releases import Maker, lay_out
from support.world import World, world

from cpctl import slots

MORE = """\
[firmware]
releases = "{world}/opt"
max_mb = 64
[certificates]
manufacturer_root = ["{world}/maker.pem"]
"""
#: keywords of `world` and `case`
UPDATING: dict[str, Any] = {"start": False, "more": MORE}
LONG_AGO = "2026-04-30T00:00:00Z"


class Site:
    """The station, what it is updated from, and the releases folder."""

    def __init__(self, station: World, maker: Maker, server: FileServer) -> None:
        self.station, self.maker, self.server = station, maker, server
        self.root = station.directory / "opt"
        self.out = server.folder

    def order(self, bundle: Path, job: int = 7, *, signature: str | None = None,
              signer: str | None = None, url: str | None = None, retrieve: str = LONG_AGO,
              install: str | None = None, **more: Any) -> dict[str, Any]:
        """The payload of SignedUpdateFirmware for a bundle."""
        firmware = {
            "location": url or self.server.url(bundle.name), "retrieveDateTime": retrieve,
            "signingCertificate": signer or self.maker.signer.pem,
            "signature": self.maker.signature(bundle) if signature is None else signature}
        if install is not None:
            firmware["installDateTime"] = install
        return {"requestId": job, "firmware": firmware, "retries": 0, **more}

    async def signed(self, bundle: Path, job: int = 7, **how: Any) -> str:
        """Send SignedUpdateFirmware; the status of the answer."""
        answer = await self.station.central.call("SignedUpdateFirmware",
                                                 self.order(bundle, job, **how))
        return str(answer["status"])

    def told(self, job: int | None = 7) -> list[str]:
        """The statuses told of a signed update (None: of an unsigned one), in order. What was
        sent again under the same message id counts once."""
        return [payload["status"] for action, payload in self.station.central.books.other
                if action == ("FirmwareStatusNotification" if job is None else
                              "SignedFirmwareStatusNotification")
                and payload.get("requestId") == job]

    def events(self) -> list[str]:
        """The security events told."""
        return [payload["type"] for action, payload in self.station.central.books.other
                if action == "SecurityEventNotification"]

    async def until_told(self, status: str, job: int | None = 7, limit_s: float = 900) -> None:
        """Wait for a status, starting the release that is to run whenever the station ends."""
        end = self.station.loop.time() + limit_s
        while status not in self.told(job):
            if self.station.loop.time() > end:
                raise TimeoutError(f"{status} not after {limit_s} s: {self.told(job)}")
            await self.turn()

    async def turn(self) -> None:
        """A moment passes; a station that has ended is started as its launcher would."""
        station = self.station
        if station._task is not None and station._task.done():
            station.network.cut()
            await self.start()
        await asyncio.sleep(0.25)

    async def start(self) -> None:
        self.station.release = slots.choose(str(self.root))
        await self.station.start()

    async def power_cut(self) -> None:
        await self.station.die(power=True)
        await self.start()


@contextlib.asynccontextmanager
async def updating(station: World, **maker: Any) -> AsyncIterator[Site]:
    """A station started from the slot 0.1.0, with an HTTPS server to be updated from."""
    who = Maker(**maker)
    (station.directory / "maker.pem").write_text(who.root.pem)
    folder = station.directory / "server"
    folder.mkdir()
    lay_out(station.directory / "opt")
    with http_server(folder, tls=who.root.server()) as server:
        site = Site(station, who, server)
        await site.start()
        await station.until(lambda: station.status(1) == "Available", 60)
        yield site


def update_story(**options: Any) -> Callable[[Callable[..., Awaitable[None]]], Any]:
    """A coroutine that takes a `Site` first, as a test: children work in real time, the rest in
    virtual time. `options` are keywords of `world`."""

    def made(story: Callable[..., Awaitable[None]]) -> Any:
        @functools.wraps(story)
        def run(**arguments: Any) -> None:
            async def told() -> None:
                async with world(**{**UPDATING, **options}) as station, updating(station) as site:
                    await story(site, **arguments)

            virtual_loop.run(told(), loop=LapseLoop())

        _, *others = inspect.signature(story).parameters.values()
        run.__signature__ = inspect.Signature(others)  # type: ignore[attr-defined]
        return run

    return made
