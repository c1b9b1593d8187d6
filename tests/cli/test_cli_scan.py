"""`cpctl hw scan`: what is asked for, what is shown, and how it ends."""

import errno
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.bus_post import Line, model, named, pilot_board

from cpctl.cli.main import main
from hal import rtu
from hal.errors import DeviceGone
from hal.rtu import LineSettings
from hal.sim.rs485 import RegisterDevice

Cli = Callable[..., tuple[int, str, str]]

CONFIG = """
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "Bench"
[csms]
url = "ws://127.0.0.1:9000/ocpp"
[serial.rs485-1]
port = "/dev/ttyUSB0"
[serial.rs485-2]
port = "/dev/ttyUSB1"
baudrate = 19200
parity = "E"
[[evse]]
id = 1
pilot = { driver = "sim" }
contactor = { driver = "sim" }
meter = { driver = "eastron_sdm630", bus = "rs485-1", address = 33 }
[[evse]]
id = 2
pilot = { driver = "sim" }
contactor = { driver = "sim" }
meter = { driver = "abb_b23", bus = "rs485-2", address = 34 }
"""


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> dict[str, Line]:
    """Lines by the name of their port; no other port is there."""
    lines: dict[str, Line] = {}

    def open_port(settings: LineSettings) -> Any:
        if settings.port not in lines:
            problem = OSError(errno.ENOENT, "No such file")
            raise DeviceGone(f"{settings.port} cannot be opened: no such port") from problem
        return lines[settings.port].open(settings)

    monkeypatch.setattr(rtu, "open_serial", open_port)
    return lines


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main(["hw", "scan", *words])
        except SystemExit as end:
            code = int(str(end.code))
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "cpctl.toml"
    path.write_text(CONFIG)
    return str(path)


def test_whoever_is_on_a_port_is_shown_with_the_line_to_paste(
        cli: Cli, ports: dict[str, Line]) -> None:
    theirs = LineSettings("/dev/ttyUSB7", baudrate=19200)
    b23 = named(model("schneider_iem3155", 3), 3, "Schneider Electric", "iEM3155")
    ports["/dev/ttyUSB7"] = Line(
        pilot_board(1), model("eastron_sdm630", 2), b23, RegisterDevice(4), settings=theirs)

    code, out, err = cli("--port", "/dev/ttyUSB7")

    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "rs485-1: /dev/ttyUSB7",
        "  [serial.rs485-1]",
        '  port = "/dev/ttyUSB7"',
        "  baudrate = 19200",
        '  parity = "N"',
        "  stopbits = 1",
        "  address 1: looks like evse_wb: firmware 17, vehicle state 1, cable 20 A",
        '    pilot = { driver = "evse_wb", bus = "rs485-1", address = 1 }',
        "  address 2: looks like eastron_sdm630 or eastron_sdm72d_2: "
        "230.1 V, 49.9 Hz, 1234.5 kWh",
        '    meter = { driver = "eastron_sdm630", bus = "rs485-1", address = 2 }',
        "  address 3: schneider_iem3155, as it says (Schneider Electric, iEM3155)",
        '    meter = { driver = "schneider_iem3155", bus = "rs485-1", address = 3 }',
        "  address 4: somebody answers, not recognised; "
        "a meter of any model is read by generic_modbus",
    ]


def test_a_program_gets_the_same_as_one_object(cli: Cli, ports: dict[str, Line]) -> None:
    ports["/dev/ttyUSB7"] = Line(model("abb_b23", 2))

    code, out, err = cli("--port", "/dev/ttyUSB7", "--json")

    (line,) = json.loads(out)["lines"]
    (sweep,) = line["sweeps"]
    assert (code, err, line["port"], line["problems"]) == (0, "", "/dev/ttyUSB7", [])
    assert (sweep["baudrate"], sweep["parity"]) == (9600, "N")
    assert [(one["address"], one["drivers"], one["sure"]) for one in sweep["addresses"]] == [
        (2, ["abb_b23"], False)]


def test_only_what_was_asked_for_is_tried(cli: Cli, ports: dict[str, Line]) -> None:
    line = ports["/dev/ttyUSB7"] = Line()

    code, out, _ = cli("--port", "/dev/ttyUSB7", "--addresses", "3,7-8", "--baudrates",
                       "2400,4800", "--parities", "e,O")

    assert code == 8 and "the line is silent" in out
    assert {request[0] for request in line.requests} == {3, 7, 8}
    assert [(one.baudrate, one.parity) for one in line.opened_as] == [
        (2400, "E"), (4800, "E"), (2400, "O"), (4800, "O")]


def test_the_lines_of_the_configuration_are_swept_with_their_addresses(
        cli: Cli, ports: dict[str, Line], config: str) -> None:
    settings = LineSettings("", baudrate=19200, parity="E")
    ports["/dev/ttyUSB0"] = Line(model("eastron_sdm630", 33))
    ports["/dev/ttyUSB1"] = Line(model("abb_b23", 34), settings=settings)

    code, out, err = cli("--config", config)

    assert (code, err) == (0, "")
    assert 'meter = { driver = "eastron_sdm630", bus = "rs485-1", address = 33 }' in out
    assert 'meter = { driver = "abb_b23", bus = "rs485-2", address = 34 }' in out
    assert [len(line.opened_as) for line in ports.values()] == [2, 2]  # swept, and named


def test_one_line_of_the_configuration_can_be_chosen(
        cli: Cli, ports: dict[str, Line], config: str) -> None:
    ports["/dev/ttyUSB1"] = Line(model("abb_b23", 34))

    code, out, _ = cli("--config", config, "--bus", "rs485-2")

    assert code == 0 and out.startswith("rs485-2: /dev/ttyUSB1")


def test_what_the_configuration_says_otherwise_is_told(
        cli: Cli, ports: dict[str, Line], config: str) -> None:
    other = named(model("schneider_iem3155", 34), 34, "Schneider Electric", "iEM3155")
    ports["/dev/ttyUSB0"] = Line(model("eastron_sdm630", 2))
    ports["/dev/ttyUSB1"] = Line(other, settings=LineSettings("", baudrate=9600))

    code, out, _ = cli("--config", config)

    assert code == 8
    assert ("address 33: meter 1 (eastron_sdm630) is configured here and does not answer; "
            "check its supply, wiring and the address it is set to") in out
    assert ("address 34: configured as abb_b23 and is schneider_iem3155; name that driver") in out
    assert ('rs485-2 is configured with another baud rate or parity; it wants baudrate = 9600, '
            'parity = "N"') in out


@pytest.mark.parametrize(("number", "code", "hint"), [
    (errno.ENOENT, 5, "by-id"), (errno.EACCES, 4, "dialout"),
    (errno.EBUSY, 6, "stop the daemon first (systemctl stop cpctl)"),
    (errno.EWOULDBLOCK, 6, "stop the daemon first (systemctl stop cpctl)"), (errno.EIO, 1, "")])
def test_a_port_that_cannot_be_had_has_its_exit_code(
        cli: Cli, monkeypatch: pytest.MonkeyPatch, number: int, code: int, hint: str) -> None:
    serial = pytest.importorskip("serial")

    def refuse(**settings: Any) -> Any:
        raise serial.SerialException(number, "no")

    monkeypatch.setattr(serial, "Serial", refuse)

    found, out, err = cli("--port", "/dev/ttyUSB7")

    assert (found, out) == (code, "")
    assert err.startswith("cpctl: /dev/ttyUSB7 cannot be opened") and hint in err
    assert err.count("\n") == 2


def test_a_library_that_is_missing_is_named(
        cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "serial", None)

    code, _, err = cli("--port", "/dev/ttyUSB7")

    assert code == 1
    assert "serial is not installed" in err and "install cpctl[pi]" in err


def test_a_mistake_in_the_configuration_is_78(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "cpctl.toml").write_text(CONFIG + "nonsense = 1\n")

    assert cli("--config", str(tmp_path / "cpctl.toml"))[0] == 78


def test_without_a_line_the_port_is_asked_for(cli: Cli, config: str) -> None:
    code, _, err = cli("--config", config, "--bus", "rs485-9")

    assert code == 2
    assert "no serial line rs485-9" in err and "--port /dev/ttyUSB0" in err


def test_on_a_machine_without_a_configuration_the_port_is_asked_for(
        cli: Cli, tmp_path: Path) -> None:
    code, _, err = cli("--config", str(tmp_path / "nothing.toml"))

    assert code == 2 and "name the port: --port /dev/ttyUSB0; " in err


@pytest.mark.parametrize("words", [
    ["--addresses", "0"], ["--addresses", "1-248"], ["--addresses", "a"], ["--addresses", "5-1"],
    ["--addresses", "1-"], ["--baudrates", "fast"], ["--baudrates", "1"], ["--parities", "X"],
    ["--wait", "0"]])
def test_words_that_mean_nothing_are_a_mistake_of_usage(cli: Cli, words: list[str]) -> None:
    assert cli("--port", "/dev/ttyUSB7", *words)[0] == 2
