"""The units as systemd reads them: nothing unknown in them, and little that the service may do."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "systemd"
SERVICES = ("cpctl.service", "cpctl-safe.service")
MOST_EXPOSED = 2.0

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None,
                                   reason="systemd-analyze is not installed")


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True,
                          timeout=60, check=False)


def lines_of(unit: str) -> list[str]:
    text = (FOLDER / unit).read_text()
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@needs_analyze
@pytest.mark.parametrize("name", SERVICES)
def test_service_is_exposed_to_two_of_ten_at_most(name: str) -> None:
    ran = analyze("security", "--offline=true", "--threshold=20", str(FOLDER / name))

    exposure = re.search(r"exposure level for \S+: ([0-9.]+)", ran.stdout)

    assert exposure is not None, ran.stdout + ran.stderr
    assert float(exposure[1]) <= MOST_EXPOSED and ran.returncode == 0
    assert "ignoring" not in ran.stderr, ran.stderr


@needs_analyze
def test_systemd_finds_nothing_wrong_in_any_unit(tmp_path: Path) -> None:
    # what it names lies elsewhere on the station: stand-ins beside the units
    for name in ("cpctl.service", "cpctl-safe.service", "cpctl.socket"):
        text = (FOLDER / name).read_text().replace("/usr/bin/python3", "/bin/true")
        (tmp_path / name).write_text(text)

    for one in sorted(tmp_path.iterdir()):
        ran = analyze("verify", "--man=no", str(one))

        assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


@pytest.mark.parametrize("name", ["cpctl.service", "cpctl-safe.service"])
def test_outputs_are_driven_by_the_launcher_and_not_by_one_release(name: str) -> None:
    safe = [line for line in lines_of(name) if "hw safe" in line]

    assert len(safe) == 1 and "/usr/bin/python3 -I /opt/cpctl/launch hw safe " in safe[0]


def test_nothing_leaves_the_station_dead() -> None:
    lines = lines_of("cpctl.service")

    assert "Restart=always" in lines and "StartLimitIntervalSec=0" in lines
    assert not any(line.startswith("RestartPreventExitStatus") for line in lines)


def test_every_serial_adapter_is_allowed_although_its_driver_is_loaded_later() -> None:
    for name in SERVICES:
        allowed = {line.split("=")[1].split()[0] for line in lines_of(name)
                   if line.startswith("DeviceAllow=")}

        # Documentation/admin-guide/devices.txt of the kernel: ttyUSB 188, ttyACM 166, ttyAMA 204
        assert {"char-188", "char-166", "char-204", "char-gpiochip"} <= allowed


def test_drop_in_of_the_manager_stays_below_what_the_pi_can_count() -> None:
    found = configparser.ConfigParser()
    found.read(FOLDER / "90-cpctl-watchdog.conf")

    assert 0 < int(found["Manager"]["RuntimeWatchdogSec"]) < 15


def test_daemon_may_ask_whether_the_clock_is_synchronised_and_cannot_set_it() -> None:
    """ProtectClock= forbids both (systemd.exec(5)); the time would never be trusted then."""
    lines = lines_of("cpctl.service")
    allowed = " ".join(line.split("=", 1)[1] for line in lines
                       if line.startswith("SystemCallFilter=")).split()

    assert "ProtectClock=yes" not in lines
    assert {"adjtimex", "clock_adjtime"} <= set(allowed)
    assert "CapabilityBoundingSet=" in lines and "AmbientCapabilities=" in lines


def test_what_the_units_name_of_ours_is_there() -> None:
    from cpctl.cli.daemon import DEFAULT_CONFIG

    root = FOLDER.parent
    command = next(line for line in lines_of("cpctl.service") if line.startswith("ExecStart="))

    assert DEFAULT_CONFIG in command
    assert "ListenStream=/run/cpctl/cpctl.sock" in lines_of("cpctl.socket")
    assert (root / "docs" / "service.md").exists()


def test_limits_of_the_unit_leave_room_for_what_the_daemon_and_hw_safe_take() -> None:
    from cpctl import app_end, slots
    from cpctl.cli import safe

    unit = dict(line.split("=", 1) for line in lines_of("cpctl.service") if "=" in line)
    ending_s = app_end.RELEASE_LIMIT_S + 2 * app_end.ENDING_LIMIT_S + app_end.TELL_LIMIT_S

    assert int(unit["TimeoutStopSec"]) > ending_s
    assert int(unit["TimeoutStopSec"]) > 2 * slots.SAFE_LIMIT_S, "two releases are asked"
    assert slots.SAFE_LIMIT_S > safe.LIMIT_S
