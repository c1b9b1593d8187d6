"""Scenarios: the books, when the disk is full and when the power goes."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.system.bench import Bench
from tests.system.findings import Finding
from tests.system.machine import Stuck
from tests.system.say import say
from tests.system.station import OTHER_TOKEN, TOKEN, Station
from tests.system.wires import CONTACTOR, Wires

SEED = 20260
BOOTING_S = 12.0  # a cut in this time after the start finds no daemon yet
BUSY_S = 14.0  # and one in this time after it was online finds it charging, mostly
ROUNDING_WH = 2  # of one transaction: both registers are whole Wh

FILL = """\
set -e
free=$(($(stat -f -c %f /) * $(stat -f -c %S /)))
fallocate -l $((free - 3000000)) /filler || true
dd if=/dev/zero of=/filler2 bs=4k 2> /dev/null || true
sync; df / | tail -1"""


def told_wrong(station: Station) -> list[str]:
    """Where the station's journal and the central system's books differ; both are at rest."""
    wrong = []
    sessions = [one for one in station.sessions() if one["started"]]
    books = station.central.transactions
    ids = Counter(one["csms_id"] for one in sessions)
    by_id = {one.number: one for one in books}
    for one in sessions:
        told = by_id.get(int(one["csms_id"])) if one["csms_id"] is not None else None
        if told is None:
            wrong.append(f"session {one['no']} is not in the books of the central system")
        elif ids[one["csms_id"]] > 1:
            wrong.append(f"session {one['no']} shares its number {one['csms_id']} with another")
        elif told.stopped is None or told.energy_wh != one["energy_wh"]:
            wrong.append(f"session {one['no']}: {one['energy_wh']} Wh, told {told.energy_wh} Wh")
    starts = Counter((one.started, one.meter_start) for one in books)
    wrong += [f"told twice: begun {start[0]} at {start[1]} Wh"
              for start, count in starts.items() if count > 1]
    if len(books) != len(sessions):
        wrong.append(f"{len(books)} transactions told, {len(sessions)} in the journal")
    if station.central.books.orphans:
        wrong.append(f"without a start: {station.central.books.orphans[:3]}")
    return wrong


def at_rest(station: Station) -> None:
    """Everything recorded has been told."""
    station.until(lambda: (station.status() or {}).get("journal", {}).get("waiting") == 0, 120,
                  "everything is told")
    station.until(lambda: all(one["ended"] for one in station.sessions() if one["started"]), 30,
                  "no transaction is open")


# --- a full disk ---------------------------------------------------------------------------------


def disk_full(bench: Bench, station: Station) -> list[Finding]:
    """The disk fills up while charging; the daemon starts on the full disk; then there is room."""
    assert station.wires is not None
    machine = station.machine
    station.charge()
    machine.shell(FILL, 120)
    time.sleep(15.0)
    during = f"charging: coil {'on' if station.wires.closed else 'off'}"
    station.post.unplug()
    time.sleep(3.0)
    machine.shell("systemctl stop cpctl; sync; dd if=/dev/zero of=/filler3 bs=4k 2> /dev/null || "
                  "true; systemctl start cpctl", 120, check=False)
    station.until(lambda: station.status() is not None, 60, "the daemon on the full disk answers")
    closings = len(station.wires.changes)
    station.post.plug()
    time.sleep(2.0)
    station.tap()
    time.sleep(8.0)
    energised = any(one.line == CONTACTOR and one.level
                    for one in station.wires.changes[closings:])
    known = len([one for one in station.sessions() if one["started"]])
    full = station.evse().get("status")
    station.post.unplug()
    time.sleep(2.0)
    machine.shell("rm -f /filler /filler2 /filler3; sync")
    began_s = time.monotonic()
    station.until_status("Available", 90)
    back_s = time.monotonic() - began_s
    station.charge()
    time.sleep(2.0)
    station.unplug()
    at_rest(station)
    wrong = told_wrong(station)
    if energised and known < 2:
        wrong.append("energised without a record")
    on_it = "recorded, coil on" if energised else "coil off"
    return [Finding("disk full", "; ".join(wrong) or f"{during}; started on it: {full}, "
                    f"{on_it}; with room again it charges", f"well {back_s:.1f} s after",
                    passed=not wrong)]


# --- power cuts ----------------------------------------------------------------------------------


@dataclass
class Closing:
    """The coil went on when the meter stood there."""

    register_wh: float
    boot: int


@dataclass
class Cuts:
    """One station whose power is cut again and again."""

    station: Station
    count: int
    seed: int
    closings: list[Closing] = field(default_factory=list)
    phases: Counter[str] = field(default_factory=Counter)
    broken: str = ""

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._until_s = 0.0
        self._seen = 0  # changes of the lines in this boot
        self._told = 0  # statuses before this boot

    def run(self) -> None:
        try:
            for number in range(self.count):
                phase = self._one()
                self.phases[phase] += 1
                say(f"  cut {number + 1} of {self.count} (seed {self.seed}): {phase}")
            self._last_boot()
        except (Stuck, OSError, AssertionError, LookupError) as error:
            self.broken = f"{type(error).__name__}: {error}\n{self._log()}"

    def _log(self) -> str:
        """What the station says of itself; the agent is not asked during the cuts."""
        try:
            self.station.machine.reach(60)
        except (Stuck, OSError) as error:
            return str(error)
        return self.station.told(80) + self.station.machine.shell(
            "systemctl --failed --no-legend; systemctl list-jobs --no-legend; ip -br addr",
            check=False)

    def _one(self) -> str:
        """Boot, charge, cut; what was going on then."""
        station = self.station
        connections = station.central.system.connections
        station.machine.start()
        began_s = time.monotonic()
        station.plug_adapter()
        station.take_card_slot()
        if self._random.random() < 0.15:
            time.sleep(max(0.0, began_s + self._random.uniform(0, BOOTING_S) - time.monotonic()))
            station.cut()
            return "booting"
        station.wires = Wires(station.machine, told=lambda _: station.post.count())
        self._seen = 0
        station.central.until(lambda _: station.central.system.connections > connections, 240,
                              "the station again")
        self._told = len(station.central.books.statuses)
        self._until_s = time.monotonic() + self._random.uniform(1.0, BUSY_S)
        phase = "idle"
        while phase != "cut" and time.monotonic() < self._until_s:
            phase = self._charge()
        on = station.wires.closed
        self._note_closings()
        open_ones = len(station.central.books.open_transactions())
        station.cut()
        station.post.unplug()
        return "charging" if on else "between start and stop" if open_ones else "not charging"

    def _wait(self, holds: Callable[[], object], limit_s: float = 15.0) -> bool:
        """Until it holds; False when the power goes first."""
        until_s = min(self._until_s, time.monotonic() + limit_s)
        while not holds():
            if time.monotonic() >= until_s:
                return False
            time.sleep(0.02)
        return True

    def _status(self) -> str:
        """What the connector's status was told to be last, in this boot."""
        told = self.station.central.books.statuses[self._told:]
        return next((str(one["status"]) for one in reversed(told) if one["connectorId"] == 1), "")

    def _charge(self) -> str:
        """One charge, as far as it gets."""
        station = self.station
        wires = station.wires
        assert wires is not None and station.card is not None
        token = self._random.choice((TOKEN, OTHER_TOKEN))
        self._wait(lambda: self._status() == "Available")
        station.post.plug()
        if not self._wait(lambda: self._status() == "Preparing"):
            return "cut"
        station.card.insert(token)
        self._wait(lambda: wires.closed, 4.0)
        station.card.remove()
        self._note_closings()
        flowing_s = self._random.uniform(0.1, 5.0)
        self._wait(lambda: False, flowing_s)
        if time.monotonic() >= self._until_s:
            return "cut"
        station.post.unplug()
        self._wait(lambda: not wires.closed)
        return "charged"

    def _note_closings(self) -> None:
        wires = self.station.wires
        assert wires is not None
        news, self._seen = wires.changes[self._seen:], len(wires.changes)
        self.closings += [Closing(self.station.post.energy_wh, self.station.machine.boots)
                          for one in news if one.line == CONTACTOR and one.level]

    def _last_boot(self) -> None:
        self.station.post.unplug()
        self.station.boot()
        self.station.until_ready(240)
        self.station.until_status("Available", 60)
        at_rest(self.station)


def cuts(bench: Bench, station: Station) -> list[Finding]:
    """The machine loses its power at random instants of charging: half of the cuts."""
    return _cuts(station, bench.cuts if bench.is_alone else bench.cuts - bench.cuts // 2, SEED)


def more_cuts(bench: Bench, station: Station) -> list[Finding]:
    """The other half, on another station."""
    return _cuts(station, bench.cuts // 2, SEED + 1)


def _cuts(station: Station, count: int, seed: int) -> list[Finding]:
    farm = Cuts(station, count, seed)
    register_wh = station.post.energy_wh
    farm.run()
    wrong, sessions = _judged(farm, register_wh)
    phases = ", ".join(f"{number} {phase}" for phase, number in farm.phases.most_common())
    return [Finding(f"{count} power cut{'s' if count > 1 else ''}", "\n".join(wrong) or
                    f"{sessions} sessions, each told once, none lost, all energy accounted for",
                    phases, passed=not wrong)]


def _judged(farm: Cuts, register_wh: float) -> tuple[list[str], int]:
    """What is wrong with the books after the last boot, and how many transactions there are."""
    if farm.broken:
        return [farm.broken], 0
    station = farm.station
    wrong = told_wrong(station)
    sessions = [one for one in station.sessions() if one["started"]]
    for closing in farm.closings:
        if not any(one["start_wh"] - ROUNDING_WH <= closing.register_wh
                   <= one["start_wh"] + one["energy_wh"] + ROUNDING_WH for one in sessions):
            wrong.append(f"boot {closing.boot}: energised at {closing.register_wh:.1f} Wh without "
                         "a session in the books")
    flowed_wh = station.post.energy_wh - register_wh
    told_wh = sum(int(one["energy_wh"]) for one in sessions)
    if abs(flowed_wh - told_wh) > ROUNDING_WH * max(1, len(sessions)):
        wrong.append(f"{flowed_wh:.1f} Wh flowed, {told_wh} Wh are told")
    return wrong, len(sessions)
