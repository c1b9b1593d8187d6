"""Exit codes and error texts of the client, whatever answers at the other end."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.fake_daemon import FakeDaemon

from cpctl.cli.main import COMMANDS, main

Cli = Callable[..., tuple[int, str, str]]

PICTURE: dict[str, Any] = {
    "version": "1", "identity": "CP001",
    "station": {"status": "Available", "faults": []},
    "link": {"state": "online", "registration": "accepted", "url": "ws://x", "protocol": "ocpp1.6",
             "since": "2026-01-01T00:00:00.000Z"},
    "clock": {"utc": "2026-01-01T00:00:00.000Z", "quality": "ntp", "trusted": True},
    "journal": {"waiting": 0, "oldest": None},
    "evses": [{"id": 1, "status": "Available", "pilot": "A", "session": None, "token": None,
               "power_w": 0.0, "energy_wh": 0, "offered_a": 0.0, "faults": [], "power": "off",
               "transaction": False}],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


@pytest.fixture
def cli(path: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main(["--socket", str(path), *words])
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def refusal(code: int) -> dict[str, Any]:
    return {"error": {"code": code, "message": "it went wrong", "data": {"hint": "do this"}}}


@pytest.mark.parametrize(("code", "exit_code"), [
    (1, 1), (4, 4), (5, 5), (6, 6), (7, 7), (-32602, 2), (-32601, 1), (-32603, 1), (999, 1)])
def test_error_of_the_daemon_becomes_the_exit_code(code: int, exit_code: int, cli: Cli,
                                                   path: Path) -> None:
    with FakeDaemon(path, {"evse.stop": refusal(code)}):
        assert cli("evse", "stop", "1") == (exit_code, "", "cpctl: it went wrong\n  do this\n")


def test_error_as_json_goes_to_standard_output(cli: Cli, path: Path) -> None:
    with FakeDaemon(path, {"evse.stop": refusal(6)}):
        code, out, err = cli("--json", "evse", "stop", "1")

    assert (code, err) == (6, "")
    assert json.loads(out) == {
        "error": {"code": 6, "message": "it went wrong", "hint": "do this"}}


def test_no_daemon_is_3_with_the_next_step(cli: Cli) -> None:
    code, out, err = cli("status")

    assert (code, out) == (3, "")
    assert "no daemon answers" in err and "cpctl run" in err


def test_socket_that_nobody_listens_on_is_3(cli: Cli, path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()

    assert cli("status")[0] == 3


def test_socket_we_may_not_use_is_4(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: socket.socket, address: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", forbidden)

    code, _, err = cli("status")

    assert code == 4 and "group cpctl" in err


def test_daemon_that_does_not_answer_is_7(cli: Cli, path: Path) -> None:
    with FakeDaemon(path, {"status": None}):
        code, _, err = cli("--timeout", "0.05", "status")

    assert code == 7 and "timed out" in err


@pytest.mark.parametrize("answer", [b"hang up", b"hello\n", b"[1]\n"])
def test_daemon_that_makes_no_sense_is_3(answer: bytes, cli: Cli, path: Path) -> None:
    with FakeDaemon(path, {"status": answer}):
        code, _, err = cli("status")

    assert code == 3 and err.count("\n") == 2


@pytest.mark.parametrize("words", [
    ("evse",), ("evse", "stop"), ("evse", "stop", "one"), ("status", "--nope"), ("statsu",),
    ("evse", "halt", "1"), ("sim", "pilot", "1", "Z"), ("journal", "list", "--state", "lost"),
    ("--timeout", "soon", "status"), ("completion", "tcsh"), ("--timeout", "-1", "status"),
    ("--timeout", "0", "status"), ("--timeout", "nan", "status"), ("sessions", "--limit", "-2"),
    ("journal", "list", "--limit", "0"), ("ocpp", "tail", "--last", "-1"),
    ("evse", "start", "1", "AA", "--wait", "-3")])
def test_wrong_words_are_2_and_say_where_to_read_on(words: tuple[str, ...], cli: Cli) -> None:
    code, out, err = cli(*words)

    assert (code, out) == (2, "")
    assert "--help" in err or "did you mean" in err


def test_misspelled_command_gets_the_nearest(cli: Cli) -> None:
    assert "did you mean sessions?" in cli("sesions")[2]


def test_misspelled_verb_gets_the_nearest(cli: Cli) -> None:
    assert "did you mean start?" in cli("evse", "strat", "1")[2]


def test_waiting_in_vain_is_7_and_names_what_was_waited_for(cli: Cli, path: Path) -> None:
    with FakeDaemon(path, {"evse.start": {"result": {"outcome": "accepted"}}, "watch": PICTURE}):
        code, _, err = cli("evse", "start", "1", "AA", "--wait", "0.05")

    assert code == 7 and "for power" in err and "cpctl why 1" in err


def test_protocol_is_shown_only_where_one_was_agreed(cli: Cli, path: Path) -> None:
    held = PICTURE | {"link": PICTURE["link"] | {"state": "held", "protocol": None}}

    with FakeDaemon(path, {"status": held}):
        assert "(-)" not in cli("status")[1]


def test_what_was_measured_is_shown_with_three_digits(cli: Cli, path: Path) -> None:
    with FakeDaemon(path, {"hw.meter": {"evse": 1, "reading": {"currents_a": [16 / 3]}}}):
        assert cli("hw", "meter", "1")[1].split()[-1] == "5.333"


METER = {"evse": 1, "driver": "abb_b23", "bus": "rs485-1", "address": 7,
         "frames": ["> 07 03", "< 07"],
         "raw": [{"quantity": "power", "phase": None, "function": 3, "address": 23316,
                  "words": [0, 1], "value": 0.01, "unit": "W"}]}
LINE = {"bus": "rs485-1", "port": "/dev/ttyUSB0", "baudrate": 9600, "parity": "E", "stopbits": 1,
        "stray_bytes": 3, "addresses": [{
            "address": 7, "device": "meter 1 (abb_b23)", "requests": 21, "answers": 20,
            "retries": 1, "timeouts": 1, "crc_errors": 0, "bad_frames": 0, "exceptions": 0,
            "port_losses": 0, "latency_last_ms": 5.0, "latency_mean_ms": 41.6,
            "latency_max_ms": 80.0, "failing": 0.0123}]}


def test_frames_of_a_meter_are_written_where_they_were_wanted(
        cli: Cli, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "frames.txt"

    with FakeDaemon(path, {"hw.meter": METER}):
        code, out, _ = cli("hw", "meter", "1", "--record", str(file))

    first, *frames = file.read_text().splitlines()
    assert (code, frames) == (0, METER["frames"])
    assert first.startswith("# abb_b23, recorded by cpctl hw meter 1 --record on 2")
    assert out.splitlines()[1].split() == ["power", "-", "3", "0x5B14", "0000", "0001", "0.01", "W"]


def test_frames_that_cannot_be_written_are_a_failure_with_the_name_of_the_file(
        cli: Cli, path: Path, tmp_path: Path) -> None:
    with FakeDaemon(path, {"hw.meter": METER}):
        code, _, err = cli("hw", "meter", "1", "--record", str(tmp_path / "no" / "f"))

    assert code == 1 and "no/f cannot be written: No such file" in err


def test_lines_are_shown_with_what_went_wrong_at_each_address(cli: Cli, path: Path) -> None:
    with FakeDaemon(path, {"hw.bus": {"buses": [LINE]}}):
        code, out, _ = cli("hw", "bus")

    assert code == 0
    assert out.startswith("rs485-1: /dev/ttyUSB0, 9600 8E1, 3 stray bytes\n")
    assert out.splitlines()[2].split() == [
        "7", "meter", "1", "(abb_b23)", "21", "20", "1", "1", "0", "0", "0", "0", "1%",
        "42", "ms", "80", "ms"]


def test_a_station_without_serial_lines_says_so(cli: Cli, path: Path) -> None:
    with FakeDaemon(path, {"hw.bus": {"buses": []}}):
        assert cli("hw", "bus")[:2] == (0, "no serial line is configured\n")


def test_session_without_a_transaction_is_delivered_to_nobody(cli: Cli, path: Path) -> None:
    row = {"no": 2, "evse": 1, "token": None, "started": None, "ended": None, "energy_wh": 0,
           "stop_reason": None, "delivery": "delivered"}

    with FakeDaemon(path, {"sessions.list": {"sessions": [row]}}):
        assert "delivered" not in cli("sessions")[1]


def test_cpctl_alone_prints_the_status(cli: Cli, path: Path) -> None:
    with FakeDaemon(path, {"status": PICTURE}) as daemon:
        code, out, _ = cli()

    assert code == 0 and "CP001" in out and "Available" in out
    assert daemon.calls == [("status", {})]


def test_json_may_stand_before_or_behind_the_command(cli: Cli, path: Path) -> None:
    with FakeDaemon(path, {"status": PICTURE}):
        assert json.loads(cli("--json", "status")[1]) == PICTURE
        assert json.loads(cli("status", "--json")[1]) == PICTURE


def test_socket_may_come_from_the_environment(path: Path, monkeypatch: pytest.MonkeyPatch,
                                              capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CPCTL_SOCKET", str(path))
    with FakeDaemon(path, {"status": PICTURE}):
        assert main(["status"]) == 0


def test_nothing_is_coloured_into_a_pipe(cli: Cli, path: Path) -> None:
    with FakeDaemon(path, {"status": PICTURE}):
        assert "\033" not in cli("status")[1]


def test_terminal_gets_colour_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    from cpctl.cli.show import Screen

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\033[" in Screen().paint("Faulted")
    monkeypatch.setenv("NO_COLOR", "1")
    assert Screen().paint("Faulted") == "Faulted"


def test_waiting_ends_when_power_flows(cli: Cli, path: Path) -> None:
    charging = {**PICTURE, "evses": [{**PICTURE["evses"][0], "power": "on"}]}
    with FakeDaemon(path, {"evse.start": {"outcome": "accepted"}, "watch": PICTURE},
                    {"watch": [PICTURE, charging]}):
        code, out, _ = cli("evse", "start", "1", "ABC", "--wait", "20")

    assert (code, out) == (0, "EVSE 1: start accepted\n")


def test_waiting_in_vain_is_7(cli: Cli, path: Path) -> None:
    with FakeDaemon(path, {"evse.start": {"outcome": "accepted"}, "watch": PICTURE}):
        assert cli("evse", "start", "1", "ABC", "--wait", "0.05")[0] == 7


def test_tail_shows_frames_until_the_daemon_ends(cli: Cli, path: Path) -> None:
    frame = {"at": "2026-01-01T00:00:01.234Z", "direction": "sent", "action": "Heartbeat",
             "id": "1", "text": "[2,…]", "latency_ms": None, "outcome": "call"}
    answer = {**frame, "direction": "received", "latency_ms": 12.3, "outcome": "result"}
    with FakeDaemon(path, {"ocpp.tail": {"frames": [frame]}}, {"ocpp.tail": [answer]}):
        code, out, _ = cli("--timeout", "5", "ocpp", "tail", "--once")
        assert (code, out) == (0, "00:00:01.234 -> Heartbeat call  [2,…]\n")


def test_doctor_that_finds_something_is_8(cli: Cli, path: Path) -> None:
    checks = [{"check": "clock", "good": True, "finding": "from ntp", "next": ""},
              {"check": "link", "good": False, "finding": "not connected", "next": "look there"}]
    with FakeDaemon(path, {"doctor": {"checks": checks}}):
        code, out, _ = cli("doctor")
    assert code == 8 and "BAD  link: not connected\n     look there" in out

    path.unlink()
    with FakeDaemon(path, {"doctor": {"checks": checks[:1]}}):
        assert cli("doctor")[0] == 0


def test_export_pages_through_the_whole_journal(cli: Cli, path: Path) -> None:
    with FakeDaemon(path, {"journal.export": {"lines": ['{"no": 3}'], "more": False}}) as daemon:
        assert cli("journal", "export")[1] == '{"no": 3}\n'
    assert daemon.calls == [("journal.export", {"after": 0})]


HEAVY = ("asyncio", "ocpp", "websockets", "hal", "cpctl.core", "cpctl.config", "cpctl.app",
         "dataclasses", "inspect", "logging", "sqlite3", "ssl")


@pytest.mark.parametrize("words", [["status"], ["evse", "stop", "1"], ["ocpp", "tail", "--once"],
                                   ["sim", "tap", "ABC"], ["journal", "list"], ["hw", "list"]])
def test_client_imports_nothing_heavy(words: list[str], path: Path) -> None:
    code = ("import sys; from cpctl.cli.main import main; "
            f"main(['--socket', {str(path)!r}, *{words!r}]); print(*sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          timeout=30, check=True)

    modules = done.stdout.split()
    assert "cpctl.cli.main" in modules
    assert [one for one in modules if one.startswith(tuple(f"{name}." for name in HEAVY))
            or one in HEAVY] == []


def test_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "cpctl", "--help"], capture_output=True,
                          text=True, timeout=30, check=True)

    assert all(f"\n    {name} " in done.stdout.replace("\n       ", " ") for name in COMMANDS)
    assert "exit codes:" in done.stdout


def test_version_is_told(cli: Cli) -> None:
    code, out, _ = cli("--version")
    assert code == 0 and out.startswith("cpctl ")


def test_status_tells_why_the_link_is_down(cli: Cli, path: Path) -> None:
    down = {**PICTURE, "link": {**PICTURE["link"], "state": "offline",
                                "detail": "ws://x: refused with HTTP 401; check the password"}}
    with FakeDaemon(path, {"status": down}):
        assert "refused with HTTP 401; check the password" in cli("status")[1]
    path.unlink()
    with FakeDaemon(path, {"status": PICTURE}):
        assert "HTTP 401" not in cli("status")[1]
