"""A reader on a serial port in the configuration: the port is its own, and nobody else's."""

from pathlib import Path

import pytest

from cpctl import config
from cpctl.config import ConfigError

STATION = """\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "PiPost"
[csms]
url = "ws://csms.example/ocpp"
versions = ["1.6"]
security_profile = 0
[serial.rs485-1]
port = "/dev/ttyUSB0"
[[evse]]
id = 1
"""
READER = '[[reader]] | id = "front" | driver = "serial"'


def load(tmp_path: Path, reader: str) -> config.Config:
    path = tmp_path / "cpctl.toml"
    path.write_text(STATION + "".join(f"{line}\n" for line in reader.split(" | ") if line))
    return config.load(path)


def test_a_reader_has_a_port_and_a_format(tmp_path: Path) -> None:
    read = load(tmp_path, f'{READER} | port = "/dev/ttyUSB1" | format = "rdm6300" | truncate = 4')

    assert read.readers[0].device.options == {
        "port": "/dev/ttyUSB1", "format": "rdm6300", "truncate": 4}


def test_the_port_of_a_serial_line_is_taken(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the port /dev/ttyUSB0 is used twice"):
        load(tmp_path, f'{READER} | port = "/dev/ttyUSB0"')


def test_two_readers_do_not_share_a_port(tmp_path: Path) -> None:
    other = READER.replace("front", "back")

    with pytest.raises(ConfigError, match=r"the port /dev/b is used twice.*reader back"):
        load(tmp_path, f'{other} | port = "/dev/b" | {READER} | port = "/dev/b"')


def test_an_unknown_format_is_an_error_that_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"rdm6300"):
        load(tmp_path, f'{READER} | port = "/dev/b" | format = "rdm63"')
