"""What a good configuration means: layout, initial settings, merging, what a change means."""

import tomllib
from pathlib import Path

import pytest

from cpctl import config
from cpctl.app_standing import standing
from cpctl.core.values import AfterPowerLoss
from cpctl.version import VERSION

BASE = """\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "PiPost 2"
[csms]
url = "ws://127.0.0.1:9000/ocpp"
[[evse]]
id = 1
"""
FOLDERS = """\
[api]
socket = "cpctl.sock"
[store]
path = "books"
[firmware]
releases = "/srv/releases"
"""


def test_evse_with_nothing_but_its_id_is_wholly_simulated() -> None:
    found = config.from_text(BASE)

    (evse,) = found.evses
    assert {one.kind for one in evse.devices} == {
        "pilot", "contactor", "meter", "lock", "indicator", "input"}
    assert all(one.simulated for one in evse.devices)
    assert [one.device.driver for one in found.readers] == ["sim"]


def test_evse_with_one_device_named_has_only_what_is_named() -> None:
    found = config.from_text(BASE + """\
meter = { driver = "sim" }
pilot = { driver = "sim" }
contactor = { driver = "sim", feedback = false }
""")

    (evse,) = found.layout().evses
    assert (evse.has_lock, evse.has_feedback, evse.inputs) == (False, False, ())


def test_layout_holds_the_installation_facts() -> None:
    found = config.from_text(BASE.replace("[csms]", 'after_power_loss = "resume"\n[csms]') + """\
max_current_a = 16
phases = 1
connectors = [{ id = 1, type = "sType2" }]
[[evse]]
id = 2
[limits]
station_max_current_a = 40
meter_silence_s = 10
""")

    layout = found.layout()
    assert [(one.id, one.max_current_a, one.phases) for one in layout.evses] == [
        (1, 16.0, 1), (2, 32.0, 3)]
    assert layout.evses[0].connectors[0].type == "sType2"
    assert layout.station_max_current_a == 40.0
    assert layout.meter_silence_s == 10.0
    assert layout.after_power_loss is AfterPowerLoss.RESUME


def test_identity_tells_the_release_unless_told_otherwise() -> None:
    own = config.from_text(BASE).identity().firmware_version
    told = config.from_text(BASE.replace("[csms]", 'firmware_version = "X1"\n[csms]'))

    assert own and own[0].isdigit()
    assert told.identity().firmware_version == "X1"


def test_release_tells_the_version_of_the_package() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()

    assert tomllib.loads(text)["project"]["version"] == VERSION


def test_keys_are_known_in_any_case_and_take_values_or_text() -> None:
    found = config.from_text(BASE + """\
[ocpp16]
metervaluesampleinterval = 60
HeartbeatInterval = "120"
LocalPreAuthorize = true
StopTxnSampledData = "Energy.Active.Import.Register,Voltage"
MeterValuesSampledData = ["Energy.Active.Import.Register"]
""")

    assert found.initial_settings() == {
        "sampling.interval_s": "60", "link.heartbeat_s": "120", "auth.local_pre": "true",
        "sampling.end_measurands": "energy_import_register,voltage",
        "sampling.measurands": "energy_import_register"}


def test_what_the_installation_decides_is_passed_over_with_a_note() -> None:
    found = config.from_text(BASE + "[ocpp16]\nNumberOfConnectors = 5\n")

    assert found.initial_settings() == {}
    assert found.notes == (
        "cpctl.toml:11: NumberOfConnectors is decided by the installation; passed over",)


@pytest.mark.parametrize("text", [
    '[options]\npolicy.plug_timeout = "stay_preparing"\n',
    '[options]\n"policy.plug_timeout" = "stay_preparing"\n',
    '[options.policy]\nplug_timeout = "stay_preparing"\n',
    'options = { policy = { plug_timeout = "stay_preparing" } }\n',
])
def test_options_may_be_written_dotted_quoted_or_as_tables(text: str) -> None:
    head, tail = (text, "") if text.startswith("options =") else ("", text)

    found = config.from_text(head + BASE + tail)

    assert found.initial_settings() == {"policy.plug_timeout": "stay_preparing"}


def test_reconnect_becomes_settings() -> None:
    found = config.from_text(BASE.replace(
        "[[evse]]", "reconnect = { wait_min_s = 3, random_s = 0, repeat_times = 2 }\n[[evse]]"))

    assert found.initial_settings() == {
        "link.wait_min_s": "3", "link.wait_random_s": "0", "link.wait_repeat": "2"}


def test_later_files_win_by_key_and_by_id(tmp_path: Path) -> None:
    (tmp_path / "cpctl.toml").write_text(BASE + """\
max_current_a = 16
[[evse]]
id = 2
[ocpp16]
HeartbeatInterval = 10
""")
    later = tmp_path / "conf.d"
    later.mkdir()
    (later / "20-b.toml").write_text("[ocpp16]\nHeartbeatInterval = 30\n")
    (later / "10-a.toml").write_text(
        '[station]\nmodel = "Other"\n[[evse]]\nid = 1\nphases = 1\n[[evse]]\nid = 3\n'
        "[ocpp16]\nHeartbeatInterval = 20\n")
    (later / "ignored.txt").write_text("no TOML at all")

    found = config.load(tmp_path / "cpctl.toml")

    assert found.station.model == "Other"
    assert found.station.vendor == "Example"
    assert [(one.id, one.max_current_a, one.phases) for one in found.evses] == [
        (1, 16.0, 1), (2, 32.0, 3), (3, 32.0, 3)]
    assert found.initial_settings() == {"link.heartbeat_s": "30"}
    assert [Path(name).name for name in found.files] == ["cpctl.toml", "10-a.toml", "20-b.toml"]


def test_device_of_a_later_file_replaces_the_whole_device(tmp_path: Path) -> None:
    (tmp_path / "cpctl.toml").write_text(BASE + """\
pilot = { driver = "sim" }
contactor = { driver = "sim" }
meter = { driver = "eastron_sdm630", bus = "a", address = 2 }
[serial.a]
port = "/dev/ttyUSB0"
""")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "10.toml").write_text('[[evse]]\nid = 1\nmeter = { driver = "sim" }\n')

    found = config.load(tmp_path / "cpctl.toml")

    assert found.evses[0].meter.simulated
    assert found.evses[0].meter.options == {}


def test_password_file_stands_beside_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "cpctl.toml").write_text(BASE)
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "10.toml").write_text(
        '[csms]\nsecurity_profile = 1\npassword_file = "secret"\n')
    (tmp_path / "conf.d" / "secret").write_text("geheim\n")
    (tmp_path / "conf.d" / "secret").chmod(0o640)

    assert config.load(tmp_path / "cpctl.toml").csms.password == "geheim"


def test_reader_serves_all_evses_or_those_it_names() -> None:
    found = config.from_text(BASE + """\
[[evse]]
id = 2
[[reader]]
id = "all"
driver = "sim"
[[reader]]
id = "left"
driver = "sim"
evse = 1
[[reader]]
id = "both"
driver = "pcsc"
evse = [1, 2]
case = "lower"
""")

    assert [(one.id, one.evses) for one in found.readers] == [
        ("all", ()), ("left", (1,)), ("both", (1, 2))]
    assert found.readers[2].device.options == {"case": "lower"}


def test_option_applies_now_and_an_address_waits() -> None:
    old = config.from_text(BASE)
    new = config.from_text(BASE.replace("9000", "9001") + """\
[options]
policy.plug_timeout = "stay_preparing"
[ocpp16]
HeartbeatInterval = 30
""")

    change = config.difference(old, new)

    assert change.now == {"policy.plug_timeout": "stay_preparing"}
    assert change.initial == ("link.heartbeat_s",)
    assert change.waits == ("csms waits for a restart",)


def test_option_that_is_taken_out_falls_back_to_its_default() -> None:
    old = config.from_text(BASE + '[options]\npolicy.plug_timeout = "stay_preparing"\n')

    assert config.difference(old, config.from_text(BASE)).now == {
        "policy.plug_timeout": "finishing"}


def test_nothing_changes_without_a_change() -> None:
    assert config.difference(config.from_text(BASE), config.from_text(BASE)).nothing


def test_an_evse_has_no_more_phases_than_the_supply() -> None:
    found = config.from_text(BASE + "[[evse]]\nid = 2\nphases = 1\n[limits]\nphases = 2\n")

    assert [one.phases for one in found.layout().evses] == [2, 1]


def test_files_and_folders_are_beside_the_file_that_names_them(tmp_path: Path) -> None:
    file = tmp_path / "cpctl.toml"
    file.write_text("\ufeff" + BASE + FOLDERS, encoding="utf-8")  # as some editors begin a text

    found = config.load(file)

    assert (found.socket, found.store.path) == (tmp_path / "cpctl.sock", tmp_path / "books")
    assert found.firmware.releases == Path("/srv/releases")
    assert standing(file).store == tmp_path / "books"
