"""Scenarios: what the kernel's trace says of a start, and what the station costs at rest."""

import re
import time

from tests.system.bench import Bench, configure
from tests.system.findings import Finding, within
from tests.system.post import BOARD, METER
from tests.system.station import HEARTBEAT, INPUTS, SIMULATED, UNIT, Station
from tests.system.wires import CONTACTOR

IDLE_S = 40.0
WAKE_UPS, POLLS, MEMORY_MIB = 1.5, 1.05, 42.0
TRACE = "/sys/kernel/tracing"
BASE = ("for chip in /sys/class/gpio/gpiochip*; do grep -q pinctrl-bcm2711 $chip/label && "
        "cat $chip/base; done")


def pulse(bench: Bench, station: Station) -> list[Finding]:
    """An active-low relay: from before the start until after the end of the daemon its line never
    goes low, not even for a moment. By both libraries; told by the kernel's own trace."""
    assert station.wires is not None
    machine = station.machine
    found = []
    base = int(machine.shell(BASE))
    for backend in ("gpiozero", "gpiod"):
        configure(station, backend=backend, active_high=False)
        machine.shell(f"systemctl stop {UNIT}", 60)
        station.wires.pull(CONTACTOR, True)
        time.sleep(0.2)
        machine.shell(f"mount -t tracefs t {TRACE} 2> /dev/null; cd {TRACE} && echo 0 > tracing_on "
                      "&& echo > trace && echo 1 > events/gpio/enable && echo 1 > tracing_on")
        machine.shell(f"systemctl start {UNIT}", 120)
        station.until_ready()
        time.sleep(2.0)
        machine.shell(f"systemctl stop {UNIT}", 60)
        machine.shell(f"echo 0 > {TRACE}/tracing_on")
        told = [(int(value), line) for line in machine.read(f"{TRACE}/trace").splitlines()
                if (value := _level_set(line, base + CONTACTOR)) is not None]
        lows = [line for value, line in told if value == 0]
        found.append(Finding(f"start pulse, {backend}", "\n".join(lows) or
                             "active-low line: only ever high, start to end",
                             f"{len(told)} requests and writes", "0 lows",
                             passed=not lows and bool(told)))
    machine.shell(f"echo 0 > {TRACE}/events/gpio/enable")
    station.wires.pull(CONTACTOR, False)
    configure(station)
    station.until_ready()
    return found


def _level_set(line: str, number: int) -> str | None:
    """The level that a line of the trace says `number` was set to."""
    words = re.search(r"gpio_value:\s+(\d+)\s+set\s+([01])", line)
    return words[2] if words and int(words[1]) == number else None


def idle(bench: Bench, station: Station) -> list[Finding]:
    """At rest without a session: polls of what must be polled, memory; and with devices that tell
    by themselves alone, the wake-ups of all threads."""
    machine = station.machine
    station.until_status("Available")
    time.sleep(15.0)
    asked = dict(station.post.requests)
    began_s = time.monotonic()
    time.sleep(IDLE_S)
    took_s = time.monotonic() - began_s
    polls = {name: (station.post.requests[address] - asked[address]) / took_s
             for name, address in (("pilot board", BOARD), ("meter", METER))}
    told = machine.read(f"/proc/{station.main_pid()}/status")
    memory, own = (int(told.split(f"{name}:")[1].split()[0]) / 1024 for name in
                   ("VmRSS", "RssAnon"))
    found = [within(f"polls at rest, {name}", "with all real drivers", rate, POLLS, "/s")
             for name, rate in polls.items()]
    found.append(within("memory at rest", f"resident with all real drivers, {own:.1f} MiB its "
                        "own", memory, MEMORY_MIB, "MiB", digits=1))
    configure(station, devices=SIMULATED + INPUTS, more=HEARTBEAT)
    station.until_ready()
    station.until_status("Available")
    time.sleep(15.0)
    before, _ = _switches(station)
    began_s = time.monotonic()
    time.sleep(IDLE_S)
    after, threads = _switches(station)
    found.append(within("wake-ups at rest", "contactor, inputs, lights on lines, reader by PC/SC; "
                        + threads, (after - before) / (time.monotonic() - began_s), WAKE_UPS, "/s"))
    configure(station)
    station.until_ready()
    return found


def _switches(station: Station) -> tuple[int, str]:
    """Voluntary context switches of all threads of the daemon, and how they divide."""
    pid = station.main_pid()
    text = station.machine.shell(
        f"for task in /proc/{pid}/task/*; do echo $(cat $task/comm) "
        "$(grep ^voluntary $task/status); done")
    counts = {}
    for number, line in enumerate(text.splitlines()):
        name, _, count = line.rpartition(" ")
        counts[f"{name.split()[0]}{number}"] = int(count)
    return sum(counts.values()), f"{len(counts)} threads"
