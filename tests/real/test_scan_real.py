"""The bus doctor on real ports: `cpctl hw scan` against a pymodbus slave, and beside a daemon."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import meter_table
from support.meter_frames import driver_of
from support.modbus_slave import ModbusSlave
from support.real_station import Daemon

from cpctl.cli.main import main
from hal.busnames import name_of
from hal.buswire import BusWire
from hal.rtu import LineSettings, open_serial
from hal.sim.rs485 import recorded_exchanges

pytestmark = pytest.mark.real

CONFIG = """
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "Bench"
[csms]
url = "ws://127.0.0.1:9/ocpp"
versions = ["1.6"]
[api]
socket = "{folder}/s"
[store]
path = "{folder}/state"
[serial.rs485-1]
port = "{folder}/line"
baudrate = 115200
gap_s = 0.01
[[evse]]
id = 1
pilot = { driver = "sim" }
contactor = { driver = "sim" }
meter = { driver = "abb_b23", bus = "rs485-1", address = 2 }
"""


@pytest.fixture
def slave(tmp_path: Path) -> Iterator[ModbusSlave]:
    models = {2: "abb_b23", 3: "eastron_sdm630"}
    spans = {address: meter_table.spans(model) for address, model in models.items()}
    with ModbusSlave(tmp_path / "line", tuple(models), spans=spans) as made:
        for address, model in models.items():
            meter_table.show(model, made[address])
        yield made


def test_two_meters_are_found_and_recognised(
        slave: ModbusSlave, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["hw", "scan", "--port", str(slave.port), "--addresses", "2-3", "--wait", "2",
                 "--json"])

    (line,) = json.loads(capsys.readouterr().out)["lines"]
    assert (code, line["problems"]) == (0, [])
    assert [(row["address"], row["drivers"], row["sure"], row["says"])
            for row in line["sweeps"][0]["addresses"]] == [
        (2, ["abb_b23"], False, ""),
        (3, ["eastron_sdm630", "eastron_sdm72d_2"], False, "")]
    assert {function for _, function, _, _ in slave.requests} <= {1, 3, 4}


def test_a_device_that_is_asked_who_it_is_says_so(tmp_path: Path) -> None:
    identity = ("Siemens AG", "SENTRON PAC2200", "V3.2.2")
    with ModbusSlave(tmp_path / "line", (7,), identity=identity) as slave:
        wire = BusWire(LineSettings(str(slave.port)), open_serial, wait_s=2.0)
        told = name_of(wire, 7)
        wire.close()

    assert (told.drivers, told.sure, told.says) == (
        ("siemens_pac2200",), True, "Siemens AG, SENTRON PAC2200, V3.2.2")


def test_a_setting_that_the_port_cannot_do_is_told(
        slave: ModbusSlave, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["hw", "scan", "--port", str(slave.port), "--addresses", "2", "--parities", "E",
                 "--baudrates", "9600"])

    assert code == 8 and "the port cannot do 9600 8E1" in capsys.readouterr().out


def test_a_port_that_a_daemon_holds_is_left_to_it(
        slave: ModbusSlave, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--socket", str(tmp_path / "s")]
    frames = tmp_path / "abb_b23@here.txt"

    async def story() -> tuple[int, int, int, str]:
        async with Daemon(tmp_path, CONFIG) as daemon:
            await daemon.call("hw.meter", evse=1)  # the port is open from now on
            return (
                await asyncio.to_thread(main, ["hw", "scan", "--config",
                                               str(tmp_path / "cpctl.toml")]),
                await asyncio.to_thread(main, [*words, "hw", "meter", "1", "--record",
                                               str(frames)]),
                await asyncio.to_thread(main, [*words, "hw", "bus"]), daemon.log())

    scan, record, bus, log = asyncio.run(story())

    out, err = capsys.readouterr()
    assert (scan, record, bus) == (6, 0, 0), err + log
    assert "stop the daemon first" in err
    assert "2        meter 1 (abb_b23)" in out
    assert driver_of(frames.stem) == "abb_b23"
    assert [request[0] for request, _ in recorded_exchanges(frames)] == [2, 2]
