"""Scenarios: a newer package, an update that fails, and the end."""

import time
from datetime import UTC, datetime, timedelta

from tests.system.bench import APT, BROKEN, CONFIG, NEW, OLD, PAYLOAD, Bench, configure
from tests.system.central import Downloads
from tests.system.findings import Finding
from tests.system.scenarios_books import at_rest, told_wrong
from tests.system.station import HEARTBEAT, Station

TRUST = """
[certificates]
manufacturer_root = ["/etc/cpctl/test-root.pem"]

[firmware]
trial_s = 60
"""


def _version(station: Station) -> str:
    return str((station.status() or {}).get("version"))


def upgrade(bench: Bench, station: Station) -> list[Finding]:
    """apt installs a newer package while a car charges and another session waits to be told."""
    assert station.wires is not None
    machine = station.machine
    station.charge()
    station.unplug()
    at_rest(station)
    machine.shell("cpctl ocpp disconnect")  # from here on nothing can be told
    station.charge()
    station.unplug(60)
    station.charge()
    time.sleep(1.0)
    waiting = (station.status() or {}).get("journal", {}).get("waiting")
    before = machine.shell(f"sha256sum {CONFIG}")
    machine.shell(f"mkdir -p {PAYLOAD}; mountpoint -q {PAYLOAD} || mount -o ro /dev/vdb {PAYLOAD}")
    began_s = time.monotonic()
    machine.shell(f"{APT} install -y {PAYLOAD}/cpctl_{NEW}_amd64.deb", 600)
    took_s = time.monotonic() - began_s
    after = machine.shell(f"sha256sum {CONFIG}")
    station.until_ready(120)
    station.unplug()
    at_rest(station)
    station.charge()
    station.unplug()
    at_rest(station)
    wrong = told_wrong(station)
    wrong += [text for text, holds in (
        (f"version {_version(station)}", _version(station) != NEW),
        ("the configuration was changed", before != after),
        ("nothing waited for the central system", not waiting),
        (f"{len(station.central.transactions)} transactions, not 4",
         len(station.central.transactions) != 4)) if holds]
    return [Finding("upgrade to a newer package", "; ".join(wrong) or
                    f"{OLD} to {NEW} while charging; {waiting} facts waited and were told once, "
                    "configuration kept", f"{took_s:.0f} s", passed=not wrong)]


def update(bench: Bench, station: Station) -> list[Finding]:
    """The central system sends an update whose daemon cannot start: the one before comes back."""
    machine = station.machine
    machine.shell(f"mkdir -p {PAYLOAD}; mountpoint -q {PAYLOAD} || mount -o ro /dev/vdb {PAYLOAD}")
    machine.shell(f"install -m 0644 {PAYLOAD}/test-root.pem /etc/cpctl/test-root.pem")
    configure(station, more=HEARTBEAT + TRUST)
    station.until_ready()
    station.until_status("Available")
    version = _version(station)
    downloads = Downloads(bench.downloads)
    try:
        began_s = time.monotonic()
        station.central.call("UpdateFirmware", {
            "location": downloads.url(f"cpctl-{BROKEN}.tar.gz"),
            "retrieveDate": (datetime.now(UTC) - timedelta(minutes=1)).isoformat()})
        seen: list[str] = []

        def over() -> bool:
            seen[:] = [str(payload["status"]) for action, payload in station.central.books.other
                       if action == "FirmwareStatusNotification"]
            return "InstallationFailed" in seen

        station.until(over, 240, "the update is told as failed")
        took_s = time.monotonic() - began_s
    finally:
        downloads.stop()
    station.until_ready()
    station.until_status("Available", 60)
    station.charge()
    station.unplug()
    at_rest(station)
    wrong = told_wrong(station)
    if _version(station) != version:
        wrong.append(f"version {_version(station)} runs, not {version}")
    if "Installing" not in seen:
        wrong.append("it was never installed")
    left = machine.shell("ls /opt/cpctl/releases").split()
    if BROKEN in left:
        wrong.append(f"{BROKEN} is still there")
    return [Finding("update that fails", "; ".join(wrong) or
                    f"{', '.join(seen)}; {version} runs again and charges", f"{took_s:.0f} s",
                    passed=not wrong)]


def removal(bench: Bench, station: Station) -> list[Finding]:
    """apt remove while charging, then purge."""
    assert station.wires is not None
    machine = station.machine
    station.charge()
    machine.shell(f"{APT} remove -y cpctl", 300)
    off = not station.wires.closed
    kept = machine.code(f"test -f {CONFIG} && test -f /var/lib/cpctl/journal.db") == 0
    told = station.central.transactions[-1]
    gone = machine.code("systemctl is-active cpctl.service cpctl.socket") != 0
    program = machine.code("test -e /usr/bin/cpctl || test -e /opt/cpctl/current") != 0
    machine.shell(f"{APT} purge -y cpctl", 300)
    left = machine.shell("ls -d /etc/cpctl /var/lib/cpctl /opt/cpctl /run/cpctl 2> /dev/null",
                         check=False).split()
    failed = machine.shell("systemctl --failed --no-legend --plain").strip()
    wrong = [text for text, holds in (
        ("the coil stayed on", not off), ("configuration or journal went with remove", not kept),
        ("the service still runs", not gone), ("the program is still there", not program),
        (f"purge left {left}", bool(left)), (failed, bool(failed)),
        ("the transaction was not ended", told.stopped is None)) if holds]
    return [Finding("removal", "; ".join(wrong) or
                    "removed while charging: coil off, transaction ended, configuration and "
                    "journal kept; purge left nothing", passed=not wrong)]


