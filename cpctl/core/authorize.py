"""How a token is decided: local list, then cache, then the central system, then the offline rules.

Pure; who looks the entries up and asks the central system is `runtime/authorizer.py`.
Source: OCPP 1.6 §3.4, §3.5, §4.1; OCPP 2.0.1 C (same order).
"""

from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.values import IdToken, TokenInfo, TokenSource, TokenStatus
from hal.late import dataclass


@dataclass(frozen=True)
class Verdict:
    """The token is decided: `info.status` ACCEPTED or why not, and by whom."""

    info: TokenInfo
    source: TokenSource

    @property
    def granted(self) -> bool:
        return self.info.status is TokenStatus.ACCEPTED


@dataclass(frozen=True)
class AskCsms:
    """Only the central system can tell; without its verdict call `decide` again, `in_vain`."""


Decision = Verdict | AskCsms


def decide(token: IdToken, *, list_entry: TokenInfo | None, cache_entry: TokenInfo | None,
           online: bool, settings: Settings, now: Now, for_group: bool = False,
           in_vain: bool = False) -> Decision:
    """The verdict on `token`, or that the central system must be asked.

    `list_entry` is None where the local list is off or does not hold the token; the cache counts
    only while it is enabled. `online`: connected and accepted. `for_group`: only the group is
    wanted, to stop a transaction; an entry without one does not tell it. `in_vain`: the central
    system was asked and gave no verdict.
    """
    known = _known(list_entry, cache_entry, settings, now)
    if known is not None and known.granted:
        grouped = for_group and known.info.group is not None
        if grouped or (online and settings.flag("auth.local_pre") and not for_group):
            return known
    if online and not in_vain:
        return AskCsms()
    return _unasked(known, online=online, settings=settings, for_group=for_group)


def _known(list_entry: TokenInfo | None, cache_entry: TokenInfo | None, settings: Settings,
           now: Now) -> Verdict | None:
    """What list or cache say; the list outranks the cache. Past its date an entry is Expired."""
    if list_entry is not None:
        info, source = list_entry, TokenSource.LOCAL_LIST
    elif cache_entry is not None and settings.flag("auth.cache_enabled"):
        info, source = cache_entry, TokenSource.CACHE
    else:
        return None
    expired = info.expires is not None and info.expires <= now.utc
    if expired and info.status is TokenStatus.ACCEPTED:
        info = TokenInfo(TokenStatus.EXPIRED, info.group, info.expires)
    return Verdict(info, source)


def _unasked(known: Verdict | None, *, online: bool, settings: Settings, for_group: bool
             ) -> Verdict:
    """The rules for a token about which the central system cannot be asked."""
    refused = Verdict(TokenInfo(TokenStatus.INVALID), TokenSource.OFFLINE_RULES)
    if online and settings.text("policy.authorize_timeout") == "reject":
        return refused
    if known is not None:
        if known.granted and not settings.flag("auth.local_offline"):
            return refused
        return known
    if settings.flag("auth.offline_unknown") and not for_group:
        return Verdict(TokenInfo(TokenStatus.ACCEPTED), TokenSource.OFFLINE_RULES)
    return refused
