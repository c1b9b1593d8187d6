"""What the composition builds of a configuration, and what follows the end of the daemon."""

import os
from pathlib import Path

import pytest

from cpctl import config
from cpctl.app_parts import (
    KEPT_BOOT,
    KEPT_PLANNED,
    Ending,
    build_hardware,
    carry_out,
    reset_failed,
)
from hal.deadman import DeadMan

CONFIG = """
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "Post"
[csms]
url = "ws://csms.invalid/ocpp"
[serial.line]
port = "{port}"
baudrate = 19200
parity = "E"
stopbits = 2
timeout_s = 0.5
gap_s = 0.1
tries = 5
late_s = 2.5
[[evse]]
id = 1
"""


def test_every_key_of_a_serial_line_reaches_it(tmp_path: Path) -> None:
    found = config.from_text(CONFIG.format(port=tmp_path / "tty"))

    hardware = build_hardware(found, lambda: 0, deadman=DeadMan(thread=False))

    line = hardware.buses["line"].settings
    assert (line.baudrate, line.parity, line.stopbits) == (19200, "E", 2)
    assert (line.timeout_s, line.gap_s, line.tries, line.late_s) == (0.5, 0.1, 5, 2.5)
    for bus in hardware.buses.values():
        bus.close()


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that notes each call and fails while `refuse` exists."""
    tool = tmp_path / "systemctl"
    tool.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\ntest ! -e {tmp_path}/refuse\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


@pytest.mark.requirement("16.RESET.4")
def test_a_reset_of_the_machine_that_fails_is_tried_as_often_as_configured(systemctl: Path
                                                                           ) -> None:
    (systemctl / "refuse").touch()
    pauses: list[float] = []

    code = carry_out(Ending.REBOOT, [], retries=2, pause=pauses.append)

    assert code == 1
    assert (systemctl / "calls").read_text() == "reboot\n" * 3
    assert len(pauses) == 2


@pytest.mark.requirement("16.RESET.4")
def test_a_reset_of_the_machine_that_works_is_asked_for_once(systemctl: Path) -> None:
    assert carry_out(Ending.REBOOT, [], retries=2) == 0
    assert (systemctl / "calls").read_text() == "reboot\n"


def test_a_program_that_cannot_be_started_again_ends_with_one(tmp_path: Path) -> None:
    assert carry_out(Ending.EXEC, [str(tmp_path / "gone")], retries=1,
                     pause=lambda seconds: None) == 1


@pytest.mark.parametrize(("ending", "code"), [(Ending.STOP, 0), (Ending.EXIT, 0), (Ending.DIED, 1)])
def test_an_end_without_a_start_is_an_exit_code(ending: Ending, code: int) -> None:
    assert carry_out(ending, []) == code


@pytest.mark.requirement("16.RESET.4")
@pytest.mark.parametrize(("planned", "boot", "on_reset", "failed"), [
    ("SoftReset", "same", "reboot", True), ("HardReset", "same", "reboot", True),
    ("HardReset", "other", "reboot", False), ("HardReset", "same", "exit", False),
    ("Reboot", "same", "reboot", False)])
def test_a_reset_has_failed_when_the_machine_was_not_restarted(
        planned: str, boot: str, on_reset: str, failed: bool) -> None:
    kept = {KEPT_BOOT: "same", KEPT_PLANNED: planned}

    assert reset_failed(kept, boot, on_reset) is failed
