"""EVSEs that share one power path: while one is in use the others of its group have to wait.

A group is written with plus signs, as 1+2; several are separated by commas. Pure.
Source: OCPP 1.6 with 16.TX.9, E-08.
"""

from collections.abc import Iterable

from cpctl.core.settings import SettingError, Settings
from cpctl.core.state import ClaimState, Evse, Station


def groups(names: Iterable[str]) -> tuple[tuple[int, ...], ...]:
    """The EVSEs of each group. Raises SettingError with a sentence for people."""
    found: list[tuple[int, ...]] = []
    for name in names:
        parts = name.split("+")
        if len(parts) < 2 or not all(part.isascii() and part.isdigit() for part in parts):
            raise SettingError(f"hardware.exclusive_groups: {name[:40]!r} is not a group of EVSEs "
                               "such as 1+2")
        found.append(tuple(int(part) for part in parts))
    flat = [number for group in found for number in group]
    if len(set(flat)) != len(flat):
        raise SettingError("hardware.exclusive_groups: an EVSE stands twice")
    return tuple(found)


def partners(evse: int, settings: Settings) -> tuple[int, ...]:
    """The EVSEs that cannot be used while this one is."""
    names = settings.names("hardware.exclusive_groups")
    return tuple(number for group in groups(names) if evse in group
                 for number in group if number != evse)


def who_waits(station: Station, settings: Settings) -> frozenset[int]:
    """The EVSEs whose power path another one uses."""
    names = settings.names("hardware.exclusive_groups")
    if not names:
        return frozenset()
    waits: set[int] = set()
    for group in groups(names):
        using = [evse for evse in station.evses if evse.id in group and _is_used(evse)]
        if using:
            first = min(using, key=_claim_on_the_path)
            waits.update(number for number in group if number != first.id)
    return frozenset(waits)


def _is_used(evse: Evse) -> bool:
    return (evse.plug.plugged or evse.in_transaction or evse.claim.state is not ClaimState.NONE
            or evse.session is not None or not evse.power.is_safe)


def _claim_on_the_path(evse: Evse) -> tuple[bool, bool, bool, int, int]:
    """Least is who has it: power before transaction before claim, then who came first."""
    number = evse.session.no if evse.session is not None else 1 << 60
    return (evse.power.is_safe, not evse.in_transaction,
            evse.claim.state is ClaimState.NONE, number, evse.plug.since)
