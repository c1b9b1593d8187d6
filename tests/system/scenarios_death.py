"""Scenarios: install, charge, and everything that can happen to the process while it charges."""

import signal
import time

from tests.system.bench import APT, CONFIG, OLD, PAYLOAD, Bench, configure
from tests.system.findings import Finding, within
from tests.system.machine import Stuck
from tests.system.station import TOKEN, UNIT, Station
from tests.system.wires import CONTACTOR

KILL_LIMIT_S = 2.0
#: The watchdog's 5 s, 2 s until SIGKILL, and what `hw safe` takes.
WATCHDOG_LIMIT_S = 9.0
#: The lease of 2 s, and half a second for the thread that watches over it.
DEADMAN_LIMIT_S = 2.5


def install(bench: Bench, station: Station) -> list[Finding]:
    """`apt install ./cpctl_*.deb` on a fresh Debian 12 without a network, then the file."""
    booted_s = station.boot()
    machine = station.machine
    machine.shell(f"mkdir -p {PAYLOAD} && mount -o ro /dev/vdb {PAYLOAD}")
    began_s = time.monotonic()
    machine.shell(f"{APT} install -y {PAYLOAD}/cpctl_{OLD}_amd64.deb", 600)
    took_s = time.monotonic() - began_s
    station.until(lambda: station.status() is not None, 60, "the fresh daemon answers")
    fresh = station.evse().get("status")
    # the scenario of the stalled loop needs a handler that does what none may
    machine.shell(f"cp -r {PAYLOAD}/stall/* /opt/cpctl/releases/{OLD}/lib/")
    configure(station)
    checked = machine.shell(f"cpctl config check {CONFIG}")
    station.until_ready()
    station.until_status("Available")
    doctor = machine.shell("cpctl doctor", check=False)
    bad = [line for line in doctor.splitlines()
           if line.startswith("BAD") and "encryption" not in line]
    exposure = machine.shell("systemd-analyze security --no-pager cpctl.service | tail -1")
    level = float(exposure.split(":")[1].split()[0])
    failed = machine.shell("systemctl --failed --no-legend --plain").strip()
    return [
        Finding("install",
                failed or f"apt without a network, fresh station {fresh}, {checked.strip()}",
                f"{took_s:.0f} s (boot {booted_s:.0f} s)", passed=not failed),
        Finding("doctor", "no check found a problem but the plain ws:// of the bench"
                if not bad else "\n".join(bad), passed=not bad),
        within("sandbox", "systemd-analyze security cpctl.service", level, 2.0, "", digits=1),
    ]


def charge(bench: Bench, station: Station) -> list[Finding]:
    """Plug, card, charge, card, unplug; the central system's books beside the meter."""
    began = len(station.central.transactions)
    register_wh = station.post.energy_wh
    closed_s = station.charge()
    central = station.central
    central.until(lambda books: len(books.transactions) > began
                  and len(books.transactions[-1].samples) > 0, 30, "a meter value")
    station.tap(TOKEN)
    told = central.transactions[-1]
    central.until(lambda _: told.stopped, 30, "the end of the transaction")
    station.unplug()
    flowed_wh = station.post.energy_wh - register_wh
    good = (told.reason == "Local" and told.id_tag == TOKEN and told.energy_wh is not None
            and abs(told.energy_wh - flowed_wh) <= 2
            and abs(told.meter_start - register_wh) <= 2)
    return [Finding("charge with a card",
                    f"books {told.energy_wh} Wh, meter {flowed_wh:.1f} Wh, reason {told.reason}, "
                    f"{len(told.samples)} sample(s)", f"card to coil {closed_s:.2f} s",
                    "<= 5 s", good and closed_s <= 5.0)]


def _off_after(station: Station, began_ns: int, limit_s: float) -> float:
    """Seconds of the guest from `began_ns` until the coil was off."""
    assert station.wires is not None
    return (station.wires.until(CONTACTOR, False, limit_s).guest_ns - began_ns) / 1e9


def _closed_again(station: Station, before: int) -> str:
    """What became of the one transaction that was interrupted; "" when all is well."""
    central = station.central
    station.until_ready()
    told = central.transactions[before]
    central.until(lambda _: told.stopped, 60, "the end of the interrupted transaction")
    register_wh = station.post.energy_wh
    wrong = []
    if len(central.transactions) != before + 1:
        wrong.append(f"{len(central.transactions) - before} transactions instead of one")
    if told.meter_stop is None or abs(told.meter_stop - register_wh) > 2:
        wrong.append(f"told {told.meter_stop} Wh, the meter says {register_wh:.0f} Wh")
    if central.books.orphans:
        wrong.append(f"orphans: {central.books.orphans}")
    station.unplug()
    still = [one["no"] for one in station.sessions() if not one["closed"]]
    if still:
        wrong.append(f"sessions still open: {still}")
    return "; ".join(wrong)


def kill(bench: Bench, station: Station) -> list[Finding]:
    """`kill -9` while charging: ExecStopPost drives the coil off (the kernel would not)."""
    before = len(station.central.transactions)
    station.charge()
    time.sleep(2.0)
    pid = station.main_pid()
    killed = station.machine.ask("signal", pid=pid, signal=int(signal.SIGKILL))
    off_s = _off_after(station, killed["ns"], 30)
    began_s = time.monotonic()
    wrong = _closed_again(station, before)
    told = station.central.transactions[before]
    return [within("kill -9 while charging", "killed; coil off by ExecStopPost", off_s,
                   KILL_LIMIT_S, "s"),
            Finding("kill -9: its session", wrong or
                    f"ended after the restart, reason {told.reason}, {told.energy_wh} Wh",
                    f"{time.monotonic() - began_s:.1f} s after", passed=not wrong)]


def stop(bench: Bench, station: Station) -> list[Finding]:
    """SIGSTOP while charging: nothing inside can act, systemd's watchdog does."""
    before = len(station.central.transactions)
    station.charge()
    time.sleep(2.0)
    restarts = int(station.machine.shell(f"systemctl show -P NRestarts {UNIT}"))
    stopped = station.machine.ask("signal", pid=station.main_pid(), signal=int(signal.SIGSTOP))
    off_s = _off_after(station, stopped["ns"], 60)
    wrong = _closed_again(station, before)
    again = int(station.machine.shell(f"systemctl show -P NRestarts {UNIT}")) - restarts
    if again != 1:
        wrong += f" restarted {again} times"
    return [within("SIGSTOP while charging", "watchdog; coil off by ExecStopPost", off_s,
                   WATCHDOG_LIMIT_S, "s"),
            Finding("SIGSTOP: its session", wrong or "ended after the restart, told once",
                    passed=not wrong)]


def stall(bench: Bench, station: Station) -> list[Finding]:
    """The event loop stands still while charging: the dead-man drops the coil, then the watchdog
    ends the process. A vendor's handler, installed for this, blocks."""
    before = len(station.central.transactions)
    station.charge()
    time.sleep(2.0)
    try:
        station.central.call("DataTransfer", {"vendorId": "stall", "messageId": "Stall"}, 3.0)
    except Stuck:
        pass
    began_ns = int(station.machine.read("/run/cpctl/stalled"))
    off_s = _off_after(station, began_ns, 30)
    wrong = _closed_again(station, before)
    log = station.machine.shell(f"journalctl -q -b --no-pager -u {UNIT} | tail -300")
    if "Watchdog timeout" not in log and "watchdog" not in log.lower():
        wrong += " the log knows of no watchdog"
    return [within("event loop stalled", "dead-man dropped the coil, before the watchdog", off_s,
                   DEADMAN_LIMIT_S, "s"),
            Finding("event loop stalled: its session",
                    wrong or "ended after the restart, told once", passed=not wrong)]


def reboot(bench: Bench, station: Station) -> list[Finding]:
    """`reboot` while charging."""
    before = len(station.central.transactions)
    station.charge()
    time.sleep(1.0)
    took_s = station.reboot()
    wrong = _closed_again(station, before)
    told = station.central.transactions[before]
    if told.reason != "Reboot":
        wrong += f" reason {told.reason}"
    return [Finding("reboot while charging", wrong or
                    f"reason {told.reason}, {told.energy_wh} Wh, told once",
                    f"up again in {took_s:.0f} s", passed=not wrong)]
