"""Charging profiles read a second time, slowly: every period of every profile becomes a stretch of
seconds on the calendar, and what holds at a second is looked up by walking through all of them.

Written from the specification, not from the code: whole seconds since 1970 and exact fractions
instead of offsets and floats, occurrences counted out one by one instead of computed.
Source: OCPP 1.6 §3.13, §5.5, §5.7, §5.16, §7.8..7.14, errata 3.8, 3.25, 3.34, 3.43, 3.44.
"""

from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from math import floor

from cpctl.core.profiles import ChargingProfile, Period

FOREVER = 1 << 60
LEVELS = range(10, -1, -1)
SECONDS = {"Daily": 24 * 3600, "Weekly": 7 * 24 * 3600}
AMPERES_HIGHEST = 10**9


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


@dataclass
class Post:
    """One EVSE; `transaction`: (number, when it began)."""

    max_a: Fraction
    phases: int
    cable_a: Fraction | None = None
    transaction: tuple[int, int] | None = None


@dataclass
class Entry:
    """A profile as installed: on which connector (0: the charge point), and when it came."""

    connector: int
    profile: ChargingProfile
    came: int


@dataclass(frozen=True)
class Stretch:
    """From one second to another (that one not included) a limit in A holds, on some phases."""

    begin: int
    end: int
    amps: Fraction
    phases: int


def first_second(entry: Entry, began: int) -> int:
    """Where the schedule begins; `began`: the transaction."""
    profile = entry.profile
    if profile.kind.value == "Relative":
        return began
    if profile.schedule.start is not None:
        return seconds(profile.schedule.start)
    if profile.valid_from is not None:
        return seconds(profile.valid_from)
    return entry.came


@dataclass
class ChargePoint:
    """A charge point of the model. `station_a`: what its supply can, `default_a`: what holds where
    no profile speaks, `override`: profiles of one connector put all those of connector 0 out."""

    posts: dict[int, Post]
    volts: int = 230
    station_a: Fraction | None = None
    default_a: int = 0
    override: bool = False
    entries: list[Entry] = field(default_factory=list)

    # --- what may be installed -------------------------------------------------------------------

    def set(self, connector: int, profile: ChargingProfile, now: int) -> bool:
        """SetChargingProfile; whether it is accepted."""
        if not self._acceptable(connector, profile, now):
            return False
        keep = []
        for entry in self.entries:
            same_id = entry.profile.id == profile.id
            same_slot = (entry.connector == connector
                         and entry.profile.purpose is profile.purpose
                         and entry.profile.stack_level == profile.stack_level)
            if not (same_id or same_slot):
                keep.append(entry)
        self.entries = [*keep, Entry(connector, profile, now)]
        return True

    def clear(self, id: int | None, connector: int | None, purpose: str | None,
              level: int | None) -> bool:
        """ClearChargingProfile; whether anything was cleared."""
        before = len(self.entries)
        keep = []
        for entry in self.entries:
            profile = entry.profile
            if id is not None:
                goes = profile.id == id
            else:
                goes = True
                if connector is not None and entry.connector != connector:
                    goes = False
                if purpose is not None and profile.purpose.value != purpose:
                    goes = False
                if level is not None and profile.stack_level != level:
                    goes = False
            if not goes:
                keep.append(entry)
        self.entries = keep
        return len(keep) < before

    def _acceptable(self, connector: int, profile: ChargingProfile, now: int) -> bool:
        if not self._purpose_acceptable(connector, profile):
            return False
        if profile.stack_level not in LEVELS:
            return False
        if (profile.kind.value == "Recurring") != (profile.recurrency is not None):
            return False
        if profile.kind.value == "Recurring" and profile.schedule.start is None:
            return False
        if profile.valid_to is not None:
            if seconds(profile.valid_to) <= now:
                return False
            if profile.valid_from is not None and profile.valid_from >= profile.valid_to:
                return False
        return self._schedule_acceptable(profile)

    def _purpose_acceptable(self, connector: int, profile: ChargingProfile) -> bool:
        purpose = profile.purpose.value
        if purpose == "TxProfile":
            running = self.posts[connector].transaction if connector > 0 else None
            return running is not None and profile.transaction in (None, running[0])
        if profile.transaction is not None:
            return False
        if purpose == "ChargingStationMaxProfile":
            return connector == 0 and profile.kind.value != "Relative"
        return True

    def _schedule_acceptable(self, profile: ChargingProfile) -> bool:
        periods = profile.schedule.periods
        if not 1 <= len(periods) <= 96 or periods[0].start_s != 0:
            return False
        for number in range(1, len(periods)):
            if periods[number].start_s <= periods[number - 1].start_s:
                return False
        for period in periods:
            if period.limit < 0 or period.limit > AMPERES_HIGHEST:
                return False
            if period.phases is not None and not 1 <= period.phases <= 3:
                return False
        duration = profile.schedule.duration_s
        return duration is None or duration > 0

    # --- what holds at a second ------------------------------------------------------------------

    def stretches(self, entry: Entry, began: int, until: int, wires: int) -> list[Stretch]:
        """All of a profile up to `until`; `began`: when the transaction did. `wires`: how many
        phases there are to charge with; a limit for more is as it is for those (errata 3.34)."""
        profile = entry.profile
        schedule = profile.schedule
        every = None
        first = first_second(entry, began)
        if profile.recurrency is not None:
            every = SECONDS[profile.recurrency.value]
        valid_from = -FOREVER if profile.valid_from is None else seconds(profile.valid_from)
        valid_to = FOREVER if profile.valid_to is None else seconds(profile.valid_to)
        found = []
        while first <= until:
            last = first + schedule.duration_s if schedule.duration_s is not None else FOREVER
            if every is not None:
                last = min(last, first + every)
            begins = [first + period.start_s for period in schedule.periods]
            for period, begin, end in zip(schedule.periods, begins, [*begins[1:], FOREVER],
                                          strict=True):
                begin, end = max(begin, valid_from), min(end, last, valid_to)
                if begin < end:
                    found.append(self._stretch(begin, end, period, schedule.unit.value, wires))
            if every is None:
                break
            first += every
        return found

    def _stretch(self, begin: int, end: int, period: Period, unit: str, wires: int) -> Stretch:
        phases = 3 if period.phases is None else period.phases
        phases = min(phases, wires)
        amps = Fraction(round(period.limit * 10), 10)
        if unit == "W":
            amps = amps / (self.volts * phases)
        return Stretch(begin, end, amps, phases)

    def course(self, connector: int, now: int, until: int) -> "Course":
        """Everything that concerns a connector, laid out for looking up."""
        post = self.posts[connector]
        number, began = post.transaction if post.transaction is not None else (None, now)
        tx, own, general = {}, {}, {}
        windows = []
        for entry in self.entries:
            purpose, level = entry.profile.purpose.value, entry.profile.stack_level
            found = self.stretches(entry, began, until, post.phases)
            if purpose == "TxProfile" and entry.connector == connector and number is not None:
                tx[level] = found
                window = (entry.profile.valid_from, entry.profile.valid_to)
                windows.append((-FOREVER if window[0] is None else seconds(window[0]),
                                FOREVER if window[1] is None else seconds(window[1])))
            elif purpose == "TxDefaultProfile" and entry.connector == connector:
                own[level] = found
            elif purpose == "TxDefaultProfile" and entry.connector == 0:
                general[level] = found
        default = dict(general)
        if own and self.override:
            default = {}
        default.update(own)  # at the same level the connector's own stands in for that of all
        return Course(tx, windows, default)

    def station_course(self, now: int, until: int) -> dict[int, list[Stretch]]:
        wires = max(post.phases for post in self.posts.values())
        return {entry.profile.stack_level: self.stretches(entry, now, until, wires)
                for entry in self.entries
                if entry.profile.purpose.value == "ChargingStationMaxProfile"}

    # --- what is told ----------------------------------------------------------------------------

    def local(self, post: Post, found: Stretch | None) -> tuple[Fraction, int]:
        """With the limits of hardware and cable."""
        choices = [(post.max_a, post.phases)]
        if post.cable_a is not None:
            choices.append((post.cable_a, post.phases))
        if found is not None:
            choices.append((found.amps, min(found.phases, post.phases)))
        elif self.default_a:
            choices.append((Fraction(self.default_a), post.phases))
        return min(choices)

    def capped(self, limit: tuple[Fraction, int], station: Stretch | None
               ) -> tuple[Fraction, int]:
        choices = [limit]
        if self.station_a is not None:
            choices.append((self.station_a, limit[1]))
        if station is not None:
            choices.append((station.amps, min(station.phases, limit[1])))
        return min(choices)

    def told(self, limit: tuple[Fraction, int], unit: str) -> tuple[float, int]:
        amps, phases = limit
        value = amps * self.volts * phases if unit == "W" else amps
        return floor(value * 10) / 10, phases


@dataclass
class Course:
    """The stretches of the profiles of a transaction and of the default ones, by stack level."""

    tx: dict[int, list[Stretch]]
    tx_windows: list[tuple[int, int]]
    default: dict[int, list[Stretch]]

    def at(self, second: int) -> Stretch | None:
        overruled = False
        for begin, end in self.tx_windows:
            if begin <= second < end:
                overruled = True
        return look_up(self.tx if overruled else self.default, second)


def look_up(levels: dict[int, list[Stretch]], second: int) -> Stretch | None:
    """What the highest level that says anything then says."""
    for level in LEVELS:
        for stretch in levels.get(level, ()):
            if stretch.begin <= second < stretch.end:
                return stretch
    return None
