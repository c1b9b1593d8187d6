"""The scenarios in their order, each on a station that is well before it begins.

Exit code: 0 all passed, 1 a scenario failed, 77 the system test cannot run here (and why).
"""

import argparse
import signal
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.system import scenarios_books as books
from tests.system import scenarios_death as death
from tests.system import scenarios_devices as devices
from tests.system import scenarios_measure as measure
from tests.system import scenarios_package as package
from tests.system.bench import Bench
from tests.system.findings import Finding, as_json, table
from tests.system.ingredients import cache
from tests.system.machine import Stuck
from tests.system.say import NotPossible, say
from tests.system.station import Station

CANNOT = 77
Scenario = Callable[[Bench, Station], list[Finding]]


@dataclass(frozen=True)
class Entry:
    """`short`: part of the short form. `own`: gets a station of its own, over the golden disk,
    since it leaves another one behind. `off`: it boots that itself."""

    run: Scenario
    short: bool = False
    own: bool = False
    off: bool = False


SCENARIOS: dict[str, Entry] = {
    "charge": Entry(death.charge, short=True),
    "kill": Entry(death.kill, short=True),
    "stop": Entry(death.stop),
    "stall": Entry(death.stall),
    "rcd": Entry(devices.rcd),
    "weld": Entry(devices.weld),
    "reader": Entry(devices.reader),
    "adapter": Entry(devices.adapter),
    "reboot": Entry(death.reboot),
    "idle": Entry(measure.idle),
    "pulse": Entry(measure.pulse),
    "trips": Entry(devices.trips),
    "cuts": Entry(books.cuts, short=True, own=True, off=True),
    "more_cuts": Entry(books.more_cuts, own=True, off=True),
    "disk_full": Entry(books.disk_full, own=True),
    "upgrade": Entry(package.upgrade, own=True),
    "update": Entry(package.update, own=True),
    "removal": Entry(package.removal, own=True),
}


def main() -> int:
    words = argparse.ArgumentParser(prog="python -m tests.system", description=__doc__)
    words.add_argument("--short", action="store_true", help="install, charge, kill, one power cut")
    words.add_argument("--only", action="append", metavar="NAME", choices=[*SCENARIOS, "install"],
                       help="this scenario (after the install); may be repeated")
    words.add_argument("--cuts", type=int, help="how many power cuts (50; the short form: 1)")
    words.add_argument("--json", action="store_true", help="the findings as JSON")
    words.add_argument("--again", action="store_true",
                       help="with the packages and the installed station of the run before")
    words.add_argument("--list", action="store_true", help="the names of the scenarios")
    words.add_argument("--ci", action="store_true",
                       help="exit code 0 where it cannot be run; a scenario that fails is tried "
                            "once more, on a fresh station, since others work beside it")
    asked = words.parse_args()
    if asked.list:
        print("\n".join(["install", *SCENARIOS]))
        return 0
    signal.signal(signal.SIGTERM, _interrupted)  # no emulator is left behind
    try:
        bench = Bench(cache() / "run", again=asked.again)
        if not bench.is_ready:
            bench.build(short=asked.short)
    except NotPossible as why:
        print(f"system test: not run, since it is not possible here: {why}", flush=True)
        return 0 if asked.ci else CANNOT
    try:
        findings = _run(bench, asked)
    finally:
        bench.close()
    print(as_json(findings) if asked.json else table(findings), flush=True)
    return 1 if _failed(findings) else 0


def _failed(findings: list[Finding]) -> bool:
    return any(one.passed is False for one in findings)


def _interrupted(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _run(bench: Bench, asked: argparse.Namespace) -> list[Finding]:
    chosen = {name: entry for name, entry in SCENARIOS.items()
              if (name in asked.only if asked.only else entry.short or not asked.short)}
    bench.cuts = asked.cuts or (1 if asked.short else 50)
    bench.is_alone = "more_cuts" not in chosen
    bench.tries_again = asked.ci
    findings: list[Finding] = []
    if not bench.is_ready:
        with Station(bench.made, bench.folder / "installed", bench.central(),
                     payload=bench.payload) as station:
            findings += _tried("install", bench, station, death.install)
            if len(findings) == 1:
                return findings  # it stopped half-way: there is nothing to go on with
            bench.keep_golden(station)
    findings += _one_after_the_other(bench, {
        name: entry for name, entry in chosen.items() if not entry.own})
    return findings + _side_by_side(bench, {
        name: entry for name, entry in chosen.items() if entry.own})


def _one_after_the_other(bench: Bench, chosen: dict[str, Entry]) -> list[Finding]:
    """On one station, as long as it is well; alone on the machine, since they measure times."""
    findings: list[Finding] = []
    station = bench.station("main")
    try:
        for name, entry in chosen.items():
            if station.machine.alive() and not _is_well(station):
                station.cut()
            if not station.machine.alive() and station.machine.boots:
                station = bench.station(f"main-{name}")
            found = _tried(name, bench, station, entry.run, boot=not station.machine.alive())
            if bench.tries_again and _failed(found):
                station.cut()
                station = bench.station(f"again-{name}")
                found = _tried(name, bench, station, entry.run, boot=True)
            findings += found
            if _failed(found):
                station.cut()  # the next one gets a fresh one
    finally:
        station.cut()
    return findings


def _is_well(station: Station) -> bool:
    try:
        station.until_status("Available", 10)
    except Stuck:
        return False
    return True


def _side_by_side(bench: Bench, chosen: dict[str, Entry]) -> list[Finding]:
    """Each on a station of its own, two at a time."""
    def one(name: str) -> list[Finding]:
        with bench.station(name) as station:
            found = _tried(name, bench, station, chosen[name].run, boot=not chosen[name].off)
        if bench.tries_again and _failed(found):
            with bench.station(f"again-{name}") as station:
                found = _tried(name, bench, station, chosen[name].run, boot=not chosen[name].off)
        return found

    with ThreadPoolExecutor(2) as workers:
        return [finding for found in workers.map(one, chosen) for finding in found]


def _tried(name: str, bench: Bench, station: Station, scenario: Scenario, *, boot: bool = False
           ) -> list[Finding]:
    say(f"{name} …")
    began_s = time.monotonic()
    try:
        if boot:
            station.boot()
            station.until_ready()
            station.until_status("Available")
        found = scenario(bench, station)
    except (Stuck, AssertionError, LookupError, OSError) as error:
        told = "".join(traceback.format_exception_only(error)).strip()
        where = traceback.extract_tb(error.__traceback__)
        line = next((f"{one.name}:{one.lineno}" for one in reversed(where)
                     if "scenarios_" in one.filename), "")
        try:
            log = station.told()
        except (Stuck, OSError) as problem:
            log = str(problem)
        found = [Finding(name, f"{told}\n({line})\n{log}", passed=False)]
    for one in found:
        words = {True: "pass", False: "FAIL", None: "not tried"}[one.passed]
        say(f"  {words}: {one.name}: {one.saw.splitlines()[0] if one.saw else ''} {one.figure}")
    say(f"{name}: {time.monotonic() - began_s:.0f} s")
    return found


if __name__ == "__main__":
    sys.exit(main())
