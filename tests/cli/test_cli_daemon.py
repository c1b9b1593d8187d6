"""Every command against a running daemon on the simulated board: a process of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cpctl.cli.main import main

Cli = Callable[..., tuple[int, str, str]]

CONFIG = """\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "Bench"
[csms]
url = "ws://127.0.0.1:9/ocpp"
reconnect = {{ wait_min_s = 60 }}
[options]
policy.tx_before_accepted = "always"
[ocpp16]
AllowOfflineTxForUnknownId = true
[store]
path = "{folder}/state"
[api]
socket = "{folder}/s"
[sim]
car_start_delay_s = 0.05
[[evse]]
id = 1
"""


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`cpctl run`, ready as systemd would be told."""
    (folder / "cpctl.toml").write_text(CONFIG.format(folder=folder))
    notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notified.bind(str(folder / "notify"))
    notified.settimeout(30)
    environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cpctl", "run", "--config", str(folder / "cpctl.toml")],
            stdout=log, stderr=log, env=environment)
    try:
        while b"READY=1" not in notified.recv(4096):
            pass
        yield process
    finally:
        notified.close()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("d")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with daemon(folder) as process:
        yield process


@pytest.fixture
def cli(running: subprocess.Popen[bytes], folder: Path,
        capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["--socket", str(folder / "s"), *words])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_one_charge_from_the_command_line(cli: Cli) -> None:
    assert cli("sim", "plug", "1", "--power", "7000")[0] == 0
    assert cli("evse", "start", "1", "04A1B2C3", "--wait", "20")[0] == 0
    code, out, _ = cli("status")
    assert code == 0 and "Charging" in out and "04A1B2C3" in out
    assert "nothing stands in the way" in cli("why", "1")[1]
    assert cli("evse", "stop", "1", "04A1B2C3", "--wait", "20")[0] == 0
    assert cli("sim", "unplug", "1")[0] == 0
    code, out, _ = cli("sessions")
    assert code == 0 and "04A1B2C3" in out and "Local" in out
    assert "TransactionStarted" in cli("journal", "list", "--state", "waiting")[1]
    assert "04A1B2C3" in cli("journal", "export")[1]
    assert "no" in cli("sessions", "1")[1]


@pytest.mark.parametrize("line", [
    "status", "why", "limits 1", "evse show 1", "sessions --limit 5", "journal list",
    "settings list", "settings get HeartbeatInterval", "settings set HeartbeatInterval 120",
    "auth check 04A1B2C3", "auth list", "hw list", "hw meter 1", "hw pilot 1",
    "ocpp tail --once --last 5", "ocpp disconnect", "ocpp connect",
    "evse availability 1 inoperative", "evse availability 1 operative",
    "evse availability 0 operative", "evse unlock 1",
    "sim fault rcd --evse 1", "sim clear rcd --evse 1", "sim cable 1 --rating 20 --type x",
    "sim meter 1 --power 100 --energy 5000 --voltage 229", "sim pilot 1 b", "sim pilot 1 A",
])
def test_command_works_for_people_and_for_programs(line: str, cli: Cli) -> None:
    code, out, err = cli(*line.split())
    assert (code, err) == (0, ""), line
    code, out, err = cli("--json", *line.split())
    assert (code, err) == (0, ""), line
    for row in out.splitlines():
        json.loads(row)


@pytest.mark.parametrize(("line", "code"), [
    ("evse show 7", 5), ("sessions 999", 5), ("journal show 999", 5), ("journal retry 999", 5),
    ("settings get Nope", 5), ("settings set HeartbeatInterval soon", 2),
    ("settings set NumberOfConnectors 2", 6), ("evse stop 1", 6), ("evse clear-fault 1", 6),
    ("sim fault nonsense", 1), ("hw meter 1 --raw", 1), ("doctor", 8)])
def test_refusal_has_its_exit_code_and_a_next_step(line: str, code: int, cli: Cli) -> None:
    found, out, err = cli(*line.split())

    assert found == code, (out, err)
    if code != 8:
        assert err.startswith("cpctl: ") and err.count("\n") == 2, err


def test_support_bundle_is_written_without_tokens(cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli("support", "bundle", "-o", str(tmp_path / "b.tgz"))

    assert (code, err) == (0, ""), out
    with tarfile.open(tmp_path / "b.tgz") as archive:
        texts = [archive.extractfile(one).read().decode()  # type: ignore[union-attr]
                 for one in archive.getmembers()]
    assert any("start: first" in text for text in texts)
    assert not any("04A1B2C3" in text for text in texts)


def test_second_daemon_ends_before_it_touches_anything(cli: Cli, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "cpctl", "run", "--config",
                           str(folder / "cpctl.toml")],
                          capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert "another daemon answers" in done.stderr and "start:" not in done.stderr
    assert cli("status")[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGPWR])
def test_daemon_ends_with_0_and_takes_its_socket_along(number: signal.Signals, tmp_path: Path
                                                       ) -> None:
    with daemon(tmp_path) as process:
        assert (tmp_path / "s").exists()
        process.send_signal(number)
        assert process.wait(30) == 0

    assert not (tmp_path / "s").exists()


def test_reload_with_a_mistake_keeps_the_daemon_running(tmp_path: Path) -> None:
    with daemon(tmp_path) as process:
        path = tmp_path / "cpctl.toml"
        path.write_text(path.read_text() + "[nonsense]\n")
        process.send_signal(signal.SIGHUP)
        assert main(["--socket", str(tmp_path / "s"), "status"]) == 0

    assert process.returncode == 0
