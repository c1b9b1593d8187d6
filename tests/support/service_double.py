"""What systemd does with `systemd/cpctl.service`, done by hand with the unit's own command lines.

Ready by notification, the watchdog (SIGABRT and SIGCONT, SIGKILL to who does not end of it),
ExecStopPost after every end, a start anew. The program that is started is a release in a folder
with the launcher; its contactor is a line that keeps its level when the process is gone, as a GPIO
of a Raspberry Pi does.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cpctl.api.client import Client, ClientError

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 60.0
CONFIG = """\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "Post"
[csms]
url = "ws://127.0.0.1:9/ocpp"
[options]
policy.tx_before_accepted = "always"
[ocpp16]
AllowOfflineTxForUnknownId = true
[store]
path = "{folder}/state"
[api]
socket = "{folder}/run/s"
[sim]
car_start_delay_s = 0.1
[[reader]]
id = "front"
driver = "sim"
[[evse]]
id = 1
pilot = {{ driver = "sim" }}
contactor = {{ driver = "line", pin = "{folder}/line" }}
meter = {{ driver = "sim" }}
"""
# USR1: the event loop stands still. USR2: the interpreter does, for sum() never lets go of it.
# RTMIN: it eats memory, but no more than a machine has.
PROGRAM = """\
import signal, sys, time
sys.path[:0] = {path!r}
from hal import registry
from hal.contracts import Contactor, Option

class Line(Contactor):
    OPTIONS = (Option("pin", str, required=True, role="pin"),)
    async def prepare(self):
        self._release()
    def _put(self, level):
        with open(self.options["pin"], "w") as file:
            file.write(level)
    def _energise(self):
        self._put("on")
    def _release(self):
        self._put("off")
    def _read_feedback(self):
        return None

load = registry.load
registry.load = lambda kind, driver: Line if driver == "line" else load(kind, driver)
signal.signal(signal.SIGUSR1, lambda *_: time.sleep(600))
signal.signal(signal.SIGUSR2, lambda *_: sum(range(1 << 60)))
eaten = []
signal.signal(signal.SIGRTMIN, lambda *_: eaten.extend(b"x" * (1 << 20) for _ in range(600)))
from cpctl.cli.main import main
sys.exit(main())
"""


def unit(name: str = "cpctl.service") -> dict[str, str]:
    """The last value of each key of a unit."""
    lines = (ROOT / "systemd" / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and line[0] not in "#;[")


@contextmanager
def memory_room(pid: int, mib: int) -> Iterator[None]:
    """`pid` may use so much memory and no more, as by the unit's MemoryMax. Raises OSError where
    no group of processes can be made."""
    v1 = Path("/sys/fs/cgroup/memory")
    group = (v1 if v1.exists() else Path("/sys/fs/cgroup")) / f"cpctl-test-{pid}"
    group.mkdir()
    try:
        limit = group / ("memory.limit_in_bytes" if v1.exists() else "memory.max")
        limit.write_text(str(mib << 20))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        group.rmdir()


class Service:
    """One service in `folder`. `watchdog_s` instead of the unit's WatchdogSec."""

    def __init__(self, folder: Path, *, watchdog_s: float | None = None) -> None:
        self.folder = folder
        self.line = folder / "line"
        self.config = folder / "etc" / "cpctl.toml"
        self.releases = folder / "opt"
        self._unit = unit()
        self.watchdog_s = watchdog_s or float(self._unit["WatchdogSec"])
        self.abort_s = float(self._unit["TimeoutAbortSec"])
        self.process: subprocess.Popen[bytes] | None = None
        self.statuses: list[str] = []
        self.stop_post_said = ""
        self._fed = 0.0
        self._ready = False
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        for name in ("etc", "state", "run", "opt"):
            (folder / name).mkdir()
        self.config.write_text(CONFIG.format(folder=folder))
        shutil.copyfile(ROOT / "cpctl" / "slots.py", self.releases / "launch")
        self.lay_out("1.0")
        (self.releases / "current").symlink_to("releases/1.0")
        self._notify.bind(str(folder / "notify"))

    def lay_out(self, version: str, program: str | None = None) -> None:
        path = [str(ROOT), *(one for one in sys.path if "site-packages" in one)]
        target = self.releases / "releases" / version / "bin" / "cpctl"
        target.parent.mkdir(parents=True)
        target.write_text(program or PROGRAM.format(path=path))

    def command(self, key: str) -> list[str]:
        """The unit's own words, with this machine's interpreter and the folders of the test."""
        instead = {"/usr/bin/python3": sys.executable,
                   "/opt/cpctl/launch": str(self.releases / "launch"),
                   "/etc/cpctl/cpctl.toml": str(self.config)}
        return [instead.get(word, word) for word in self._unit[key].split()]

    def environment(self) -> dict[str, str]:
        return {**os.environ, "NOTIFY_SOCKET": str(self.folder / "notify"),
                "WATCHDOG_USEC": str(int(self.watchdog_s * 1e6)),
                "STATE_DIRECTORY": str(self.folder / "state"),
                "RUNTIME_DIRECTORY": str(self.folder / "run")}

    # --- life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Returns when it is ready."""
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command("ExecStart"), env=self.environment(), cwd="/", stderr=log)
        self._ready = False
        self._fed = time.monotonic() + LIMIT_S  # the watchdog begins when it is ready
        self.tend(lambda: self._ready)
        assert self._ready, self.log()

    def _hear(self) -> None:
        lines = self._notify.recv(65536).decode().splitlines()
        self.statuses += [one[7:] for one in lines if one.startswith("STATUS=")]
        self._ready = self._ready or "READY=1" in lines
        if "WATCHDOG=1" in lines or "READY=1" in lines:
            self._fed = time.monotonic()

    def tend(self, until: Callable[[], bool]) -> None:
        """Do as systemd does until `until`; the end of the process ends it too."""
        end = time.monotonic() + LIMIT_S
        while not until() and not self.is_dead:
            assert time.monotonic() < end, "it never came to that"
            self._notify.settimeout(0.02)
            try:
                self._hear()
            except TimeoutError:
                if time.monotonic() - self._fed > self.watchdog_s:
                    self._abort()

    @property
    def is_dead(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    def _abort(self) -> None:
        """`WatchdogSignal`, then SIGCONT, as systemd's kill_and_sigcont does; then SIGKILL."""
        assert self.process is not None
        self.process.send_signal(signal.SIGABRT)
        self.process.send_signal(signal.SIGCONT)
        try:
            self.process.wait(self.abort_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def stop_post(self) -> int:
        """ExecStopPost: after every end, however it came."""
        ran = subprocess.run(self.command("ExecStopPost"), env=self.environment(), cwd="/",
                             timeout=float(self._unit["TimeoutStopSec"]), check=False,
                             capture_output=True, text=True)
        self.stop_post_said = ran.stdout + ran.stderr
        return ran.returncode

    def die(self, number: signal.Signals) -> None:
        """`number` is sent, and waited for what comes of it."""
        assert self.process is not None
        self.process.send_signal(number)
        self.tend(lambda: False)

    def log(self) -> str:
        return (self.folder / "log").read_text()

    # --- the technician ----------------------------------------------------------------------

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        with Client(str(self.folder / "run" / "s"), LIMIT_S) as client:
            return client.call(method, params)

    def level(self) -> str:
        return self.line.read_text()

    def charge(self) -> None:
        """Returns with the line on."""
        self.call("sim.plug", evse=1)
        self.tend(lambda: self._pilot() == "B")
        self.call("sim.tap", token="04A1B2C3")
        self.tend(lambda: self.level() == "on")
        assert not self.is_dead, self.log()

    def _pilot(self) -> str | None:
        pilot: str | None = self.call("evse.show", evse=1)["pilot"]
        return pilot

    def close(self) -> None:
        if self.process is not None and not self.is_dead:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
        self._notify.close()


@contextmanager
def service(folder: Path, *, watchdog_s: float | None = None) -> Iterator[Service]:
    one = Service(folder, watchdog_s=watchdog_s)
    try:
        yield one
    finally:
        one.close()


__all__ = ["LIMIT_S", "ClientError", "Service", "memory_room", "service", "unit"]
