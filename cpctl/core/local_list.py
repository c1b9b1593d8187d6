"""Whether an update of the local list is taken, and what it changes; when list and verdict differ.

Pure. Who holds the list is `store/authbook.py`; how an entry decides a token is `authorize.py`.
Source: OCPP 1.6 §3.5.2, §5.10, §5.15, §6.41, §7.1, §7.47 with 16.LIST.*; OCPP 2.0.1 D01, D02.
"""

from collections.abc import Container, Iterable
from datetime import datetime

from cpctl.core.events import ListEntry, ListUpdateRequested
from cpctl.core.settings import Settings
from cpctl.core.values import Outcome, TokenInfo, TokenStatus
from hal.late import dataclass


@dataclass(frozen=True)
class ListChange:
    """What an accepted update does: `put` in (after all went out if `full`), `drop` by key.

    `version` is what the list has afterwards; an empty list is of version 0 (§5.10).
    """

    full: bool
    version: int
    put: tuple[ListEntry, ...] = ()
    drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class ListRefusal:
    """The list stays as it is. `code` and `hint` are for people."""

    outcome: Outcome
    code: str
    hint: str = ""


def update(request: ListUpdateRequested, *, listed: Container[str], version: int, length: int,
           settings: Settings) -> ListChange | ListRefusal:
    """The change that `request` asks for, or why it is refused.

    `listed` are the keys of the tokens in the list as it stands, `length` their number.
    """
    refusal = _why_not(request, version, settings)
    if refusal is not None:
        return refusal
    put = tuple(entry for entry in request.entries if entry.info is not None)
    drop = tuple(entry.token.key for entry in request.entries
                 if entry.info is None and entry.token.key in listed)
    if request.full:
        after = len(put)
    else:
        added = sum(1 for entry in put if entry.token.key not in listed)
        after = length + added - len(drop)
    most = settings.integer("auth.list_max")
    if after > most:
        return ListRefusal(Outcome.FAILED, "list_too_long", f"{after} of at most {most} tokens")
    return ListChange(request.full, request.version if after else 0, put, drop)


def _why_not(request: ListUpdateRequested, version: int, settings: Settings
             ) -> ListRefusal | None:
    """What refuses an update whatever is in the list."""
    entries, most = request.entries, settings.integer("auth.list_send_max")
    if not settings.flag("auth.list_enabled"):
        off = settings.text("compat.local_list_disabled")
        return ListRefusal(_WHEN_OFF[off], "list_disabled", "switch the local list on")
    if request.version < 1:  # errata 3.52: 0 and -1 have meanings of their own
        return ListRefusal(Outcome.FAILED, "bad_version", "a version is 1 or more")
    if not request.full and request.version <= version:
        return ListRefusal(Outcome.VERSION_MISMATCH, "old_version", f"the list has {version}")
    if len(entries) > most:
        return ListRefusal(Outcome.FAILED, "too_many_entries", f"{len(entries)} of {most}")
    if len({entry.token.key for entry in entries}) != len(entries):
        return ListRefusal(Outcome.FAILED, "duplicate_token", "each token once")
    if request.full and any(entry.info is None for entry in entries):
        return ListRefusal(Outcome.FAILED, "entry_without_info", "a full list says all")
    return None


_WHEN_OFF = {"failed": Outcome.FAILED, "not_supported": Outcome.NOT_SUPPORTED}


def version_told(version: int, settings: Settings) -> int:
    """16.LIST.2: the version as it is told; -1: no list, 0: an empty one (E-05)."""
    if settings.flag("auth.list_enabled"):
        return version
    return -1 if settings.text("compat.local_list_disabled") == "not_supported" else 0


# --- the list and what the central system says ---------------------------------------------------

_VALID = (TokenStatus.ACCEPTED, TokenStatus.CONCURRENT_TX)  # §3.5.2: in use elsewhere is no flaw


def is_valid(info: TokenInfo, utc: datetime) -> bool:
    """The token is good, though perhaps in use elsewhere."""
    return info.status in _VALID and (info.expires is None or info.expires > utc)


def contradicts(entry: TokenInfo | None, said: TokenInfo, utc: datetime) -> bool:
    """16.LIST.5: the list and the central system's verdict differ on whether a token is good."""
    return entry is not None and is_valid(entry, utc) is not is_valid(said, utc)


def digest_of(crcs: Iterable[int]) -> int:
    """What tells whether all rows of the list are there: the CRCs of its rows, in any order."""
    found = 0
    for crc in crcs:
        found ^= crc
    return found
