"""Charging profiles in tests: made in a line, installed, and what comes of them told in pairs."""

from datetime import datetime, timedelta
from typing import Any

from support.core_world import START, World
from support.world import World as DaemonWorld

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


# --- on the wire ---------------------------------------------------------------------------------


def on_the_wire(number: int = 1, *pairs: tuple[int, float], purpose: str = "TxDefaultProfile",
                kind: str = "Absolute", level: int = 0, unit: str = "A",
                start: str | None = None, duration: int | None = None, phases: int | None = None,
                **more: object) -> dict[str, Any]:
    """A ChargingProfile of 1.6 as a central system sends it."""
    told = [{"startPeriod": start_s, "limit": limit} for start_s, limit in pairs or ((0, 10.0),)]
    if phases is not None:
        told = [{**one, "numberPhases": phases} for one in told]
    schedule: dict[str, Any] = {"chargingRateUnit": unit, "chargingSchedulePeriod": told}
    if start is not None:
        schedule["startSchedule"] = start
    if duration is not None:
        schedule["duration"] = duration
    return {"chargingProfileId": number, "stackLevel": level, "chargingProfilePurpose": purpose,
            "chargingProfileKind": kind, "chargingSchedule": schedule, **more}


def utc_at(station: DaemonWorld, seconds: float = 0.0) -> str:
    """The time so many seconds from now, as the wire has it."""
    moment = station.time.true_wall() + timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


async def set_profile(station: DaemonWorld, connector: int, told: dict[str, Any]) -> str:
    """SetChargingProfile; the status of the answer."""
    answer = await station.central.call(
        "SetChargingProfile", {"connectorId": connector, "csChargingProfiles": told})
    return str(answer["status"])


async def composite(station: DaemonWorld, connector: int, duration: int, **more: object
                    ) -> dict[str, Any]:
    """GetCompositeSchedule; the whole answer."""
    return await station.central.call(
        "GetCompositeSchedule", {"connectorId": connector, "duration": duration, **more})


def told_course(answer: dict[str, Any]) -> list[tuple[int, float]]:
    """startPeriod and limit of each period of a composite schedule."""
    assert answer["status"] == "Accepted", answer
    return [(one["startPeriod"], one["limit"])
            for one in answer["chargingSchedule"]["chargingSchedulePeriod"]]


def offered_a(station: DaemonWorld, evse: int = 1) -> float:
    """What the pilot of the simulated board says."""
    return station.board.look(evse).offer.current_a
