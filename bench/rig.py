"""What the measurements stand on: the central system, the daemon, valgrind, strace."""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cpctl.api.client import Client, ClientError

ROOT = Path(__file__).parent.parent
PYTHON = sys.executable
PATIENCE_S = 60.0
ANSWER_S = 300.0  # valgrind makes everything fifty times slower

#: An installed package is compiled; the first run of each measurement sees to it.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
}

CONFIG = """schema_version = 1
[station]
identity = "BENCH"
vendor = "bench"
model = "bench"
on_reset = "exit"
[csms]
url = "{url}"
versions = ["1.6"]
{security}
[ocpp16]
MeterValueSampleInterval = 60
LocalPreAuthorize = false
AuthorizationCacheEnabled = false
[api]
socket = "{socket}"
[store]
path = "{store}"
[[reader]]
id = "front"
driver = "sim"
[[evse]]
id = 1
[sim]
car_start_delay_s = 0
"""


class CannotMeasure(Exception):
    """This figure cannot be had here; the text says why and what to do."""


def run(*command: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=900,
        env=ENVIRONMENT, **more,
    )  # fmt: skip


def needed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise CannotMeasure(f"{program} is not installed (apt install {program})")
    return found


class Central:
    """The process of `central.py`; with `tls`, certificate and key, it speaks TLS."""

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        self._scheme = "ws" if tls is None else "wss"
        self._process = subprocess.Popen(
            [PYTHON, "-m", "bench.central", *(str(one) for one in tls or ())], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT,
        )  # fmt: skip
        self.port = int(self._answer())

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}/ocpp"

    @property
    def echo_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/echo"

    def do(self, what: str, **more: Any) -> Any:
        """Give an order and wait for its answer."""
        self.begin(what, **more)
        return self._answer()

    def begin(self, what: str, **more: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self._process.stdin.flush()

    def end_of_begun(self) -> Any:
        return self._answer()

    def _answer(self) -> Any:
        out = self._process.stdout
        assert out is not None
        if not select.select([out], [], [], ANSWER_S)[0]:
            raise CannotMeasure(f"what was waited for did not come within {ANSWER_S:.0f} s")
        line = out.readline()
        if not line:
            raise CannotMeasure("the central system of the bench died")
        return json.loads(line)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Station:
    """A folder with a configuration, and the daemon on it."""

    def __init__(self, url: str, folder: Path, security: str = "security_profile = 0"):
        self.folder = folder
        self.socket = folder / "s"
        self.config = folder / "cpctl.toml"
        self.log = folder / "log"
        self.config.write_text(
            CONFIG.format(url=url, socket=self.socket, store=folder / "store", security=security),
            encoding="utf-8",
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *prefix: str, stderr: Path | None = None) -> int:
        """Start the daemon, under `prefix` (valgrind …); its pid."""
        command = [*prefix, PYTHON, "-m", "cpctl", "run", "--config", str(self.config)]
        with (stderr or self.log).open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=log, env=ENVIRONMENT
            )
        return self.process.pid

    def client(self) -> Client:
        """A client, as soon as the daemon has its socket."""
        until = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(ClientError):
                return Client(str(self.socket))
            self.must_live(until)
            time.sleep(0.01)

    def must_live(self, until: float) -> None:
        assert self.process is not None
        if self.process.poll() is not None:
            last = " / ".join(self.log.read_text(errors="replace").splitlines()[-3:])
            raise CannotMeasure(f"the daemon ended by {self.process.returncode}: {last}")
        if time.monotonic() > until:
            raise CannotMeasure(f"the daemon does not answer on {self.socket}")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None


@contextlib.contextmanager
def central(tls: tuple[Path, Path] | None = None) -> Iterator[Central]:
    made = Central(tls)
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def station(url: str, security: str = "security_profile = 0") -> Iterator[Station]:
    """A fresh station on a real file system (fsync costs nothing on a tmpfs)."""
    place = ROOT / ".bench"
    place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        made = Station(url, Path(folder), security)
        if len(str(made.socket)) > 100:
            raise CannotMeasure(f"the path {made.socket} is too long for a socket")
        try:
            yield made
        finally:
            made.stop()


@contextlib.contextmanager
def certificate() -> Iterator[tuple[Path, Path]]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    with tempfile.TemporaryDirectory() as folder:
        made, key = Path(folder) / "csms.pem", Path(folder) / "csms.key"
        done = run(
            needed("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(key), "-out", str(made),
            "-days", "2", "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1",
        )  # fmt: skip
        if done.returncode != 0:
            raise CannotMeasure(f"openssl: {done.stderr.strip()[-200:]}")
        yield made, key


def compile_all() -> None:
    """As an installed package is: compiling would count as work of the daemon."""
    run(PYTHON, "-m", "compileall", "-q", "cpctl", "hal")


def callgrind(folder: Path) -> tuple[list[str], Path]:
    """The words before a command whose instructions are to be counted, and where valgrind tells."""
    compile_all()
    report = folder / "valgrind.log"
    report.unlink(missing_ok=True)
    return [
        needed("valgrind"), "--tool=callgrind", "--callgrind-out-file=/dev/null",
        f"--log-file={report}",
    ], report  # fmt: skip


def instructions(report: Path) -> int:
    """What callgrind counted. Raises CannotMeasure."""
    found = re.search(r"Collected : (\d+)", report.read_text(encoding="utf-8"))
    if found is None:
        raise CannotMeasure("valgrind told no count; see whether it supports this processor")
    return int(found.group(1))


def counted(*command: str) -> int:
    """Instructions of a command that ends by itself."""
    with tempfile.TemporaryDirectory() as folder:
        prefix, report = callgrind(Path(folder))
        done = run(*prefix, *command)
        if done.returncode != 0:
            raise CannotMeasure(f"{command[0]} ended by {done.returncode} under valgrind")
        return instructions(report)


def quantile(values: Sequence[float], part: float) -> float:
    """The smallest value that is not exceeded by `part` of all."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def fsync_ms(folder: Path, rounds: int = 50) -> float:
    """Median of appending 4 KiB and syncing it, in the same folder as the books."""
    spent: list[float] = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(rounds):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fsync(file.fileno())
            spent.append((time.perf_counter() - began) * 1000)
    return quantile(spent, 0.5)
