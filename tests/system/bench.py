"""What all scenarios share: packages, the golden disk with the station installed, stations.

The golden disk is an installed and configured station that was shut down in good order. Each
station's disk is laid over it.
"""

import fcntl
import shutil
import sys
from pathlib import Path

from tests.system.central import Central
from tests.system.ingredients import ROOT, Ingredients, ingredients, run
from tests.system.machine import keep, pack
from tests.system.say import NotPossible, say
from tests.system.station import UNIT, Station, configuration

PAYLOAD = "/media/payload"
CONFIG = "/etc/cpctl/cpctl.toml"
OLD, NEW, BROKEN = "0.1.0", "0.1.1", "0.1.2"
APT = "DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0"

STALL = '''\
"""A vendor whose handler does what none may: it holds up the event loop."""

import time


class Stall:
    def __init__(self, line):
        self.messages = {"Stall": self.stall}

    async def stall(self, content):
        with open("/run/cpctl/stalled", "w") as file:
            file.write(str(time.monotonic_ns()))
        time.sleep(60)
'''


class Bench:
    """One run of the system test: its folder, its packages, its stations."""

    def __init__(self, folder: Path, *, again: bool = False):
        self.folder = folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._lock = (folder.parent / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotPossible(f"another system test runs in {folder.parent}") from None
        self.made: Ingredients = ingredients()
        self.payload = folder / "payload.img"
        self.golden = folder / "golden.qcow2"
        self.downloads = folder / "downloads"
        self.cuts = 50
        self.is_alone = True  # one station has all the power cuts
        self.tries_again = False  # what failed is tried once more, on a fresh station
        self.is_ready = again and self.golden.exists()
        if not self.is_ready:
            shutil.rmtree(folder, ignore_errors=True)
        self.downloads.mkdir(parents=True, exist_ok=True)
        self._centrals: list[Central] = []

    def close(self) -> None:
        for central in self._centrals:
            central.stop()
        self._lock.close()

    # --- packages ------------------------------------------------------------------------------

    def build(self, *, short: bool) -> None:
        """The packages as `make deb` makes them: this version and, for the upgrade, the next."""
        files = self.folder / "payload"
        files.mkdir()
        for version in (OLD,) if short else (OLD, NEW):
            say(f"building cpctl_{version}_amd64.deb")
            run([sys.executable, ROOT / "deploy" / "make_deb.py", "--out", files,
                 "--arch", "amd64", "--version", version], cwd=ROOT)
        stall = files / "stall"
        (stall / "stall-1.dist-info").mkdir(parents=True)
        (stall / "stall.py").write_text(STALL)
        (stall / "stall-1.dist-info" / "METADATA").write_text(
            "Metadata-Version: 2.1\nName: stall\nVersion: 1\n")
        (stall / "stall-1.dist-info" / "entry_points.txt").write_text(
            "[cpctl.vendors]\nstall = stall:Stall\n")
        if not short:
            self._build_bundles(files)
        pack(files, self.payload)

    def _build_bundles(self, files: Path) -> None:
        """A release that works and one that ends at once, signed by one key for tests."""
        say("building bundles of an update that works and of one that does not")
        run([sys.executable, "-m", "tests.system.bundles", self.downloads], cwd=ROOT)
        shutil.copy(self.downloads / "test-root.pem", files)

    # --- stations ------------------------------------------------------------------------------

    def central(self) -> Central:
        central = Central()
        self._centrals.append(central)
        return central

    def station(self, name: str, *, over: Path | None = None) -> Station:
        """A new station with a central system of its own, over the golden disk; off."""
        return Station(self.made, self.folder / name, self.central(),
                       over=over or self.golden, payload=self.payload)

    def keep_golden(self, station: Station) -> None:
        """The station's disk as the one that all others begin with; the station is off then."""
        station.off()
        keep(station.machine, self.golden)


def configure(station: Station, **more: str) -> None:
    """Write the station's configuration and restart the daemon."""
    machine = station.machine
    machine.shell(f"mkdir -p {PAYLOAD}; mountpoint -q {PAYLOAD} || mount -o ro /dev/vdb {PAYLOAD}")
    machine.write(CONFIG, configuration(station.central.url, **more))
    machine.shell(f"chown root:cpctl {CONFIG} && chmod 0640 {CONFIG} && "
                  f"systemctl restart {UNIT}", 120)
