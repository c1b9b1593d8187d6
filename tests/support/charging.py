"""Charging profiles in tests: made in a line, installed, and what comes of them told in pairs."""

from datetime import datetime

from support.core_world import START, World

from cpctl.core import events as ev
from cpctl.core.profiles import (
    ChargingProfile,
    CompositeSchedule,
    Period,
    ProfileKind,
    Purpose,
    RateUnit,
    Schedule,
)
from cpctl.core.values import Outcome

AMPERE, WATT = RateUnit.AMPERE, RateUnit.WATT
ABSOLUTE, RECURRING, RELATIVE = ProfileKind.ABSOLUTE, ProfileKind.RECURRING, ProfileKind.RELATIVE
HOUR_S, DAY_S = 3600, 86_400


def periods(*pairs: tuple[int, float]) -> tuple[Period, ...]:
    return tuple(Period(start_s, limit) for start_s, limit in pairs)


def profile(number: int = 1, *pairs: tuple[int, float], purpose: Purpose = Purpose.TX_DEFAULT,
            kind: ProfileKind = ABSOLUTE, level: int = 0, unit: RateUnit = AMPERE,
            start: datetime | None = START, duration_s: int | None = None,
            **more: object) -> ChargingProfile:
    """A profile; an absolute one from the beginning of the world."""
    began = None if kind is RELATIVE else start
    schedule = Schedule(unit, periods(*(pairs or ((0, 10.0),))), began, duration_s)
    return ChargingProfile(number, level, purpose, kind, schedule, **more)  # type: ignore[arg-type]


def install(world: World, one: ChargingProfile, evse: int | None = None, **more: object) -> None:
    reply = world.ask(ev.SetProfileRequested, profile=one, evse=evse, **more)
    assert reply.outcome is Outcome.ACCEPTED, reply


def told(world: World, duration_s: int, evse: int | None = 1, unit: RateUnit | None = None,
         **more: object) -> CompositeSchedule:
    reply = world.ask(ev.CompositeRequested, duration_s=duration_s, evse=evse, unit=unit, **more)
    assert reply.outcome is Outcome.ACCEPTED, reply
    assert isinstance(reply.content, CompositeSchedule)
    return reply.content


def course(world: World, duration_s: int, evse: int | None = 1, unit: RateUnit | None = None
           ) -> list[tuple[int, float]]:
    return [(one.start_s, one.limit) for one in told(world, duration_s, evse, unit).periods]


def offered(world: World, evse: int = 1) -> float:
    return world.place(evse).offer.current_a
