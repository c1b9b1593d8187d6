"""A clock, facts and opened journals for the tests of the store."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cpctl.core.facts import (
    Fact,
    SessionClosed,
    SessionOpened,
    TransactionEnded,
    TransactionSampled,
    TransactionStarted,
)
from cpctl.core.now import Now, TimeQuality
from cpctl.core.values import IdToken, Measured, Quantity, ReadingContext, StopReason
from cpctl.store.db import InlineWriter, Writer
from cpctl.store.journal import Journal

S = 1_000_000_000
TOKEN = IdToken("04A1B2C3")


@dataclass
class Clock:
    """A board's clock: monotonic time and what it believes of the wall."""

    boot: str = "boot-1"
    mono_ns: int = 100 * S
    utc: datetime = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    quality: TimeQuality = TimeQuality.NTP

    def __call__(self) -> Now:
        return Now(self.mono_ns, self.boot, self.utc, self.quality)

    def tick(self, seconds: float = 1.0) -> Now:
        self.mono_ns += int(seconds * S)
        self.utc += timedelta(seconds=seconds)
        return self()

    def synchronise(self, utc: datetime, quality: TimeQuality = TimeQuality.CSMS) -> Now:
        self.utc, self.quality = utc, quality
        return self()

    def power_cut(self, boot: str, *, utc: datetime | None = None, uptime_s: float = 20.0,
                  quality: TimeQuality = TimeQuality.FLOOR) -> None:
        """A new kernel boot that is `uptime_s` old; `utc` what it believes without a network."""
        self.boot, self.mono_ns, self.quality = boot, int(uptime_s * S), quality
        self.utc = utc or self.utc


def opened(at: Now, session: int, evse: int = 1) -> SessionOpened:
    return SessionOpened(at, session, evse, 1)


def started(at: Now, session: int, evse: int = 1, wh: int = 1000, **more: Any
            ) -> TransactionStarted:
    return TransactionStarted(at, session, evse, 1, 0, "Authorized", TOKEN, wh, **more)


def sampled(at: Now, session: int, report: int | None = 1, evse: int = 1, wh: int = 1500,
            **more: Any) -> TransactionSampled:
    values = (Measured(Quantity.ENERGY_IMPORT_REGISTER, float(wh)),
              Measured(Quantity.VOLTAGE, 230.5, "L1"))
    told = values if report is not None else ()
    return TransactionSampled(at, session, evse, 1, ReadingContext.PERIODIC, wh, report, told,
                              values if report is None else (), **more)


def ended(at: Now, session: int, report: int = 2, evse: int = 1, wh: int = 2000, **more: Any
          ) -> TransactionEnded:
    return TransactionEnded(at, session, evse, 1, report, "EVDeparted",
                            StopReason.EV_DISCONNECTED, wh, **more)


def closed(at: Now, session: int, evse: int = 1) -> SessionClosed:
    return SessionClosed(at, session, evse)


def whole_session(clock: Clock, session: int, samples: int = 2, *, evse: int = 1,
                  offline: bool = False) -> list[list[Fact]]:
    """The facts of one session as they are recorded, commit by commit."""
    steps: list[list[Fact]] = [[opened(clock.tick(), session, evse)],
                               [started(clock.tick(), session, evse, offline=offline)]]
    for number in range(1, samples + 1):
        steps.append([sampled(clock.tick(60), session, number, evse, 1000 + 100 * number,
                              offline=offline)])
    steps.append([ended(clock.tick(), session, samples + 1, evse, 1000 + 100 * (samples + 1),
                        offline=offline)])
    steps.append([closed(clock.tick(), session, evse)])
    return steps


async def open_journal(path: Path, clock: Clock, writer: Writer | None = None, **more: Any
                       ) -> Journal:
    return await Journal.open(path, writer or InlineWriter(), clock, **more)


def plain(fact: Fact) -> Fact:
    """The fact as the file gives it back: without the local offset of its clock."""
    return replace(fact, at=replace(fact.at, local_offset_s=0))
