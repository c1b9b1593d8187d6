"""Every kind of configuration mistake: exit 78, with file, line, sentence and a suggestion."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cpctl import config
from cpctl.config import ConfigError

GOOD = """\
schema_version = 1

[station]
identity = "CP001"
vendor = "Example"
model = "PiPost 2"

[csms]
url = "ws://127.0.0.1:9000/ocpp"

[serial.rs485-1]
port = "/dev/ttyUSB0"

[[evse]]
id = 1
pilot = { driver = "sim" }
contactor = { driver = "sim" }
meter = { driver = "eastron_sdm630", bus = "rs485-1", address = 2 }
"""

#: what is wrong -> (line of the good text or "", what stands there instead, line told, words told)
KINDS = {
    "unknown key": (
        'model = "PiPost 2"', 'model = "PiPost 2"\nserial_numbr = "1"', 7,
        ["station.serial_numbr", "unknown key", "serial_number"]),
    "unknown section": ("[csms]", "[cmss]", 8, ["cmss", "unknown key", "csms"]),
    "wrong type": (
        'vendor = "Example"', "vendor = 5", 5, ["station.vendor", "text", "5", "quotes"]),
    "wrong unit": (
        "id = 1", "id = 1\nmax_current_ma = 16000", 16,
        ["evse.max_current_ma", "A", "max_current_a"]),
    "number with unit": (
        "id = 1", 'id = 1\nmax_current_a = "16 A"', 16,
        ["evse.max_current_a", "number of A", '"16 A"']),
    "out of range": ("id = 1", "id = 1\nmax_current_a = 200", 16, ["200", "6 to 80"]),
    "missing part": (
        'contactor = { driver = "sim" }', "", 14, ["evse.contactor is missing", "contactor ="]),
    "missing key": ('identity = "CP001"', "", 3, ["station.identity is missing"]),
    "missing section": (
        '[csms]\nurl = "ws://127.0.0.1:9000/ocpp"', "", 1, ["csms.url is missing", "url ="]),
    "duplicate address": (
        "address = 2 }", 'address = 2 }\n[[evse]]\nid = 2\npilot = { driver = "sim" }\n'
        'contactor = { driver = "sim" }\n'
        'meter = { driver = "eastron_sdm120", bus = "rs485-1", address = 2 }', 23,
        ["address 2 on rs485-1", "twice", "meter 1", ":18"]),
    "duplicate id": ("address = 2 }", "address = 2 }\n[[evse]]\nid = 1", 20, ["id 1", "twice"]),
    "duplicate port": (
        'port = "/dev/ttyUSB0"', 'port = "/dev/ttyUSB0"\n[serial.b]\nport = "/dev/ttyUSB0"', 14,
        ["/dev/ttyUSB0", "twice"]),
    "unknown driver": (
        '"eastron_sdm630"', '"eastron_sdm63"', 18, ["no driver", "eastron_sdm630"]),
    "unknown bus": ('bus = "rs485-1"', 'bus = "rs485"', 18, ['"rs485"', "rs485-1"]),
    "unknown option of a driver": (
        "address = 2", "adress = 2", 18, ["evse.meter.adress", "unknown key", "address"]),
    "missing option of a driver": (", address = 2", "", 18, ["evse.meter.address is missing"]),
    "version not spoken": (
        "[csms]", '[csms]\nversions = ["1.6",\n  "2.0.1"]', 10,
        ["2.0.1", "this release speaks 1.6"]),
    "section of a version not spoken": (
        "[csms]", '[ocpp201]\nx = 1\n[csms]', 8, ["ocpp201", "speaks 1.6"]),
    "unknown configuration key": (
        "[csms]", "[ocpp16]\nHeartbeatIntervall = 5\n[csms]", 9, ["HeartbeatInterval"]),
    "value that a key cannot have": (
        "[csms]", "[ocpp16]\nHeartbeatInterval = -5\n[csms]", 9, ["ocpp16.HeartbeatInterval"]),
    "unknown option": (
        "[csms]", "[options]\npolicy.plug_timout = \"finishing\"\n[csms]", 9,
        ["policy.plug_timout", "policy.plug_timeout"]),
    "value that an option cannot have": (
        "[csms]", "[options]\npolicy.plug_timeout = \"finish\"\n[csms]", 9,
        ["policy.plug_timeout", "finishing", "stay_preparing"]),
    "group of EVSEs that is none": (
        "[csms]", "[options]\nhardware.exclusive_groups = \"1-2\"\n[csms]", 9,
        ["hardware.exclusive_groups", "1-2", "1+2"]),
    "group with an EVSE that is not there": (
        "[csms]", "[options]\nhardware.exclusive_groups = \"1+9\"\n[csms]", 9,
        ["hardware.exclusive_groups", "no EVSE 9"]),
    "same setting in two places": (
        "[csms]", "[ocpp16]\nHeartbeatInterval = 60\n[options]\nlink.heartbeat_s = 60\n[csms]", 9,
        ["link.heartbeat_s", "already", ":11"]),
    "same key twice in another case": (
        "[csms]", "[ocpp16]\nHeartbeatInterval = 60\nheartbeatinterval = 60\n[csms]", 10,
        ["HeartbeatInterval", "already"]),
    "same line twice": ('vendor = "Example"', 'vendor = "Example"\nvendor = "Other"', 6,
                        ["TOML", "twice"]),
    "not TOML": ('vendor = "Example"', "vendor = Example", 5, ["TOML", "quotes"]),
    "not an address": ("ws://", "http://", 9, ["http://", "ws://"]),
    "no TLS where it is needed": (
        "[csms]", '[csms]\nsecurity_profile = 3\nclient_cert_file = "cpctl.toml"\n'
        'client_key_file = "cpctl.toml"', 12, ["ws://", "wss://"]),
    "missing password": ("[csms]", "[csms]\nsecurity_profile = 1", 8, ["password", "missing"]),
    "password file that is not there": (
        "[csms]", '[csms]\npassword_file = "nowhere"', 9, ["nowhere", "cannot be read", "0600"]),
    "certificate that is not there": (
        "[csms]", '[csms]\nca_file = "ca.pem"', 9, ["ca.pem", "cannot be read"]),
    "schema of another release": ("schema_version = 1", "schema_version = 2", 1, ["reads version"]),
    "no EVSE": (GOOD[GOOD.index("[[evse]]"):], "", 1, ["evse is missing", "[[evse]]"]),
    "reader for an EVSE that is not there": (
        "[[evse]]", '[[reader]]\nid = "front"\ndriver = "sim"\nevse = 7\n[[evse]]', 17,
        ["no EVSE 7", "1"]),
    "two names in one bracket": ("[[evse]]", "[evse]", 14, ["[[evse]]"]),
    "wrong register table": (
        'meter = { driver = "eastron_sdm630", bus = "rs485-1", address = 2 }',
        'meter = { driver = "generic_modbus", bus = "rs485-1", address = 2, '
        'registers = { energy_inport = { type = "f32" } } }', 18, ["energy_inport"]),
}


def spoiled(kind: str) -> str:
    old, new, _, _ = KINDS[kind]
    assert GOOD.count(old) >= 1, kind
    return GOOD.replace(old, new, 1)


def check(path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "cpctl", *words, str(path)],
                          capture_output=True, text=True, timeout=30, check=False)


def test_the_good_configuration_is_good(tmp_path: Path) -> None:
    path = tmp_path / "cpctl.toml"
    path.write_text(GOOD)

    done = check(path, "config", "check")

    assert (done.returncode, done.stderr) == (0, "")
    assert "CP001" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_mistake_is_told_with_file_line_and_suggestion(kind: str, tmp_path: Path) -> None:
    _, _, line, words = KINDS[kind]
    path = tmp_path / "cpctl.toml"
    path.write_text(spoiled(kind))

    with pytest.raises(ConfigError) as caught:
        config.load(path)

    told = [str(one) for one in caught.value.problems if one.where.line == line]
    assert told, caught.value
    assert all(one.where.file == str(path) for one in caught.value.problems)
    assert any(all(word in one for word in words) for one in told), caught.value
    assert all(one.hint for one in caught.value.problems), caught.value


@pytest.mark.parametrize("kind", ["unknown key", "wrong type", "missing part", "duplicate address",
                                  "not TOML", "version not spoken"])
def test_check_ends_with_78(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "cpctl.toml"
    path.write_text(spoiled(kind))

    done = check(path, "config", "check")

    assert done.returncode == 78
    assert re.search(rf"^{re.escape(str(path))}:{KINDS[kind][2]}: .+; .+$", done.stderr, re.M)
    assert "Traceback" not in done.stderr


def test_run_ends_with_78_before_anything_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "cpctl.toml"
    path.write_text(spoiled("unknown key"))

    done = check(path, "run", "--config")

    assert done.returncode == 78
    assert "did you mean serial_number?" in done.stderr
    assert list(tmp_path.iterdir()) == [path]


def test_json_lists_the_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "cpctl.toml"
    path.write_text(spoiled("unknown key"))

    done = check(path, "--json", "config", "check")

    assert done.returncode == 78
    assert '"line": 7' in done.stdout and '"hint": "did you mean serial_number?"' in done.stdout


def test_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = check(tmp_path / "cpctl.toml", "config", "check")

    assert done.returncode == 78
    assert "there is no such file" in done.stderr


def test_file_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                           ) -> None:
    path = tmp_path / "cpctl.toml"
    path.write_text(GOOD)
    path.chmod(0)
    if os.geteuid() == 0:  # root reads every file
        def forbidden(self: Path) -> bytes:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

        monkeypatch.setattr(Path, "read_bytes", forbidden)

    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        config.load(path)


def test_folder_instead_of_a_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory.*owner and mode"):
        config.load(tmp_path)


def test_bytes_that_are_no_text_are_told_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "cpctl.toml"
    path.write_bytes(GOOD.encode().replace(b"Example", b"Ex\xe4mple"))

    with pytest.raises(ConfigError, match=r"cpctl\.toml:5: .*UTF-8"):
        config.load(path)


def test_duplicate_pin_is_told_however_it_is_spelled(tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    from hal import registry
    from hal.contracts import Option

    options = (Option("pin", str, required=True, role="pin"),)
    monkeypatch.setattr(registry, "names", lambda kind: ("gpio", "sim"))
    monkeypatch.setattr(registry, "options_of",
                        lambda kind, driver: options if driver == "gpio" else ())
    path = tmp_path / "cpctl.toml"
    path.write_text(GOOD[:GOOD.index("pilot")] + """\
pilot = { driver = "sim" }
meter = { driver = "sim" }
contactor = { driver = "gpio", pin = "GPIO17" }
lock = { driver = "gpio", pin = "17" }
""")

    with pytest.raises(ConfigError, match=r"cpctl\.toml:19: the pin 17 is used twice.*"
                                          r"contactor 1 at .*:18; each can be used once"):
        config.load(path)


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_password_file_open_to_others_is_refused(mode: int, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("geheim\n")
    (tmp_path / "secret").chmod(mode)
    path = tmp_path / "cpctl.toml"
    path.write_text(GOOD.replace("[csms]", '[csms]\npassword_file = "secret"'))

    with pytest.raises(ConfigError, match=r"cpctl\.toml:9: .*readable by others.*chmod o-rwx"):
        config.load(path)


def test_password_in_a_file_open_to_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cpctl.toml"
    path.write_text(GOOD.replace("[csms]", '[csms]\npassword = "geheim"'))
    path.chmod(0o644)

    with pytest.raises(ConfigError, match="readable by others"):
        config.load(path)
    path.chmod(0o600)
    assert config.load(path).csms.password == "geheim"


def test_password_never_shows(tmp_path: Path) -> None:
    path = tmp_path / "cpctl.toml"
    path.write_text(GOOD.replace("[csms]", '[csms]\npassword = "geheim"'))
    path.chmod(0o600)

    assert "geheim" not in repr(config.load(path))


def test_several_mistakes_are_told_at_once() -> None:
    text = GOOD.replace('"Example"', "5").replace("id = 1", "id = 1\nphasen = 1") + "[gpio]\nx=1\n"

    with pytest.raises(ConfigError) as caught:
        config.from_text(text)

    assert [one.where.line for one in caught.value.problems] == [5, 16, 21]


def test_mistake_in_a_later_file_is_told_there(tmp_path: Path) -> None:
    (tmp_path / "cpctl.toml").write_text(GOOD)
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "10-site.toml").write_text("[csms]\n\nurl = 5\n")

    with pytest.raises(ConfigError, match=r"10-site\.toml:3: csms\.url: expected text"):
        config.load(tmp_path / "cpctl.toml")
