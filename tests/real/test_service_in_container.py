"""The service as it is, under systemd itself: in a container, where this machine allows one."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.container import CONFIG, Container, container, why_not

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    missing = why_not()
    if missing:
        pytest.skip(missing)
    folder: Path = tmp_path_factory.mktemp("container")
    try:
        with container(folder) as one:
            yield one
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this machine allows no container: {error}")


@pytest.fixture
def running(station: Container) -> Container:
    station.sh("systemctl start cpctl")
    station.until(lambda: station.show("ActiveState") == "active")
    return station


def main_pid(station: Container) -> str:
    return station.show("MainPID")


def charge(station: Container) -> None:
    station.sh("cpctl sim unplug 1; cpctl sim plug 1")
    station.until(lambda: "Preparing" in station.show("StatusText"))
    station.sh("cpctl sim tap 04A1B2C3")
    station.until(lambda: "EVSE 1 Charging" in station.show("StatusText"))


def started_anew(station: Container, old: str) -> bool:
    return station.show("ActiveState") == "active" and main_pid(station) not in ("0", old)


def test_service_runs_as_its_own_user_without_capabilities_and_finds_its_secret(
        running: Container) -> None:
    status = running.sh(f"cat /proc/{main_pid(running)}/status")

    uid = running.sh("id -u cpctl").strip()
    assert f"Uid:\t{uid}" in status and "CapEff:\t0000000000000000" in status
    assert running.show("ActiveState", "cpctl-safe.service") == "active"
    assert "cpctl.toml: good" in running.sh("cpctl config check")
    assert "sesame123" not in running.sh("journalctl -b --no-pager")


def test_rights_at_the_socket_go_by_group(running: Container) -> None:
    running.sh("useradd -G cpctl reader; useradd -G cpctl-admin admin; useradd other")

    def told(user: str, command: str) -> str:
        return running.sh(f"runuser -u {user} -- cpctl {command}")

    assert "CP001" in told("reader", "status") and "CP001" in told("admin", "status")
    assert "join group cpctl-admin" in told("reader", "evse availability 1 operative")
    assert "operative" in told("admin", "evse availability 1 operative")
    assert "join group cpctl, or use sudo" in told("other", "status")


def test_killed_while_charging_it_is_started_anew_and_the_session_is_closed(
        running: Container) -> None:
    charge(running)
    old = main_pid(running)

    running.sh(f"kill -9 {old}")
    running.until(lambda: started_anew(running, old))

    assert '"stop_reason": "Reboot"' in running.sh("cpctl --json sessions --limit 1")
    log = running.sh("journalctl -b -u cpctl --no-pager")
    assert "status=9/KILL" in log and "no output is configured but simulated ones" in log


def test_stopped_it_is_ended_by_the_watchdog_and_started_anew(running: Container) -> None:
    old = main_pid(running)

    running.sh(f"kill -STOP {old}")
    running.until(lambda: started_anew(running, old))

    assert "Failed with result 'watchdog'" in running.sh("journalctl -b -u cpctl --no-pager")


def test_journal_is_asked_by_evse_session_and_fault(running: Container) -> None:
    charge(running)
    running.sh("cpctl sim fault rcd --evse 1")
    running.until(lambda: "RCD_TRIPPED (1)" in running.show("StatusText"))
    running.sh("cpctl sim clear rcd --evse 1; cpctl sim unplug 1; sleep 1")
    running.sh("journalctl --sync")

    found = running.sh("journalctl -b CPCTL_EVSE=1 CPCTL_CODE=RCD_TRIPPED -o cat --no-pager")

    assert "the residual current device has tripped" in found and "is over" in found
    assert "transaction begins" in running.sh(
        "journalctl -b -u cpctl CPCTL_EVSE=1 -o cat --no-pager")


def test_stopped_by_a_technician_it_stays_stopped_whoever_asks(running: Container) -> None:
    running.sh("systemctl stop cpctl")

    told = running.sh("cpctl status")

    assert "no daemon answers" in told
    assert running.show("ActiveState") == "inactive"
    assert running.show("ActiveState", "cpctl.socket") == "inactive"


def test_wrong_configuration_is_told_waited_for_and_mended_without_a_command(
        station: Container) -> None:
    file = station.root / "etc/cpctl/cpctl.toml"
    file.write_text(CONFIG.replace("identity", "identitty"))

    told = station.sh("systemctl restart cpctl")
    assert "failed" in told, "at once, where a person sees it"
    station.until(lambda: "waiting for the configuration" in station.show("StatusText"))
    file.write_text(CONFIG)
    station.until(lambda: station.show("ActiveState") == "active")

    assert int(station.show("NRestarts")) > 0


def test_reload_reads_the_configuration_again(running: Container) -> None:
    running.sh("systemctl reload cpctl")

    running.until(lambda: "read again" in running.sh("journalctl -b -u cpctl --no-pager"))
    assert running.show("ActiveState") == "active"


def test_folder_of_secrets_that_is_gone_does_not_keep_it_from_starting(
        running: Container) -> None:
    running.sh("mv /etc/cpctl/credentials /root/kept; echo 'sesame123' > /etc/cpctl/csms-password;"
               "chown cpctl /etc/cpctl/csms-password; chmod 600 /etc/cpctl/csms-password")

    running.sh("systemctl restart cpctl")

    assert running.show("ActiveState") == "active"
    running.sh("mv /root/kept /etc/cpctl/credentials; rm /etc/cpctl/csms-password")


def test_jobs_of_the_daemon_work_in_its_sandbox(running: Container) -> None:
    told = running.sh("cd /tmp && cpctl support bundle -o /tmp/b.tar.gz && tar tzf /tmp/b.tar.gz")

    assert "status.json" in told
