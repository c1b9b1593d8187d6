"""The daemon as a process, started from a slot by the launcher, updated over real connections."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.file_servers import http_server
from support.releases import Maker, left_in, whole_slot

from cpctl import slots
from cpctl.demo.csms import CentralSystem, serve

CONFIG = """\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "Post"
[csms]
url = "{url}"
reconnect = {{ wait_min_s = 1, random_s = 0, repeat_times = 0 }}
[api]
socket = "{folder}/s"
[store]
path = "{folder}/state"
[firmware]
releases = "{folder}/opt"
trial_s = {trial_s}
[certificates]
manufacturer_root = ["maker.pem"]
[[evse]]
id = 1
"""
LIMIT_S = 60.0
LONG_AGO = "2026-01-01T00:00:00Z"


class Supervised:
    """The launcher, started again whenever what it became has ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.starts = 0
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        log = self.folder / "daemon.log"
        while True:
            self.starts += 1
            with log.open("ab") as out:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable, "-I", str(self.folder / "opt" / "launch"), "run",
                    "--config", str(self.folder / "cpctl.toml"), cwd=self.folder,
                    stdout=out, stderr=out)
            await self._process.wait()

    async def end(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def log(self) -> str:
        return (self.folder / "daemon.log").read_text(errors="replace")[-4000:]


class Site:
    def __init__(self, folder: Path, central: CentralSystem, station: Supervised, url: str,
                 maker: Maker) -> None:
        self.folder, self.central, self.station = folder, central, station
        self.url, self.maker = url, maker

    async def update(self, bundle: Path) -> str:
        answer = await self.central.call("SignedUpdateFirmware", {
            "requestId": 5, "retries": 0, "firmware": {
                "location": f"{self.url}{bundle.name}", "retrieveDateTime": LONG_AGO,
                "signingCertificate": self.maker.signer.pem,
                "signature": self.maker.signature(bundle)}})
        return str(answer["status"])

    def told(self) -> list[str]:
        return [payload["status"] for action, payload in self.central.books.other
                if action == "SignedFirmwareStatusNotification" and payload["requestId"] == 5]

    def events(self) -> list[str]:
        return [payload["type"] for action, payload in self.central.books.other
                if action == "SecurityEventNotification"]

    def versions(self) -> list[str]:
        """The release of each boot."""
        return [one["firmwareVersion"] for one in self.central.books.boots]

    async def until(self, what: str, holds: Any) -> None:
        try:
            await self.central.until(lambda _: holds(), LIMIT_S)
        except TimeoutError:
            raise AssertionError(f"{what}: not so\n{self.told()} {self.versions()}\n"
                                 f"{self.station.log()}") from None


@contextlib.asynccontextmanager
async def running(folder: Path, trial_s: int = 60) -> AsyncIterator[Site]:
    maker, central, station = Maker(), CentralSystem(), Supervised(folder)
    (folder / "maker.pem").write_text(maker.root.pem)
    (folder / "server").mkdir()
    whole_slot(folder / "opt", "0.1.0")
    with http_server(folder / "server", tls=maker.root.server()) as files:
        async with serve(central) as url:
            (folder / "cpctl.toml").write_text(CONFIG.format(url=url, folder=folder,
                                                             trial_s=trial_s))
            task = asyncio.create_task(station.run())
            site = Site(folder, central, station, files.url(), maker)
            try:
                await site.until("the first boot", lambda: central.books.status(1) == "Available")
                yield site
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await station.end()


@pytest.mark.real
@pytest.mark.requirement("16.FW.3", "16.FW.6", "16.SEC.19", "16.SEC.22", "L01.FR.15")
def test_the_next_release_is_fetched_started_and_stays(tmp_path: Path) -> None:
    async def story() -> None:
        async with running(tmp_path) as site:
            bundle = site.maker.whole(tmp_path / "server", "0.2.0")
            assert await site.update(bundle) == "Accepted"
            await site.until("Installed", lambda: "FirmwareUpdated" in site.events()
                             and "Installed" in site.told())

            assert site.told() == ["Downloading", "Downloaded", "SignatureVerified", "Installing",
                                   "InstallRebooting", "Installed"]
            assert site.versions() == ["0.1.0", "0.2.0"]
            assert site.station.starts == 2
            root = str(tmp_path / "opt")
            assert slots.current(root) == "0.2.0"
            state = slots.read(root)
            assert state is not None and state["state"] == slots.GOOD
            assert left_in(tmp_path / "opt") == {"0.1.0", "0.2.0"}

    asyncio.run(story())


BROKEN = {
    "crashes": ({"cpctl/services/child.py": "raise RuntimeError('a broken release')"}, 60, 5),
    "hangs": ({"cpctl/services/child.py": "import time; time.sleep(600)"}, 5, 3),
}


@pytest.mark.real
@pytest.mark.requirement("16.FW.3", "16.FW.6",
                         "SignedFirmwareStatusNotification.req:InstallationFailed")
@pytest.mark.parametrize("how", BROKEN)
def test_a_release_that_does_not_come_up_is_left_for_the_one_before(how: str, tmp_path: Path
                                                                    ) -> None:
    async def story() -> None:
        patches, trial_s, starts = BROKEN[how]
        async with running(tmp_path, trial_s) as site:
            bundle = site.maker.whole(tmp_path / "server", "0.2.0", patches)
            assert await site.update(bundle) == "Accepted"
            await site.until("InstallationFailed", lambda: "InstallationFailed" in site.told())

            assert site.told() == ["Downloading", "Downloaded", "SignatureVerified", "Installing",
                                   "InstallRebooting", "InstallationFailed"]
            assert site.versions() == ["0.1.0", "0.1.0"]
            assert site.station.starts == starts
            assert slots.current(str(tmp_path / "opt")) == "0.1.0"
            assert left_in(tmp_path / "opt") == {"0.1.0"}
            await site.until("service", lambda: site.central.books.status(1) == "Available")

    asyncio.run(story())
