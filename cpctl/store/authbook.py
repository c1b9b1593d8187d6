"""The authorization cache and the local list: what is known of tokens.

Decides only what is dropped when the cache is full; what a verdict means is `core/authorize.py`'s,
whether an update of the list is taken `core/local_list.py`'s.
Source: OCPP 1.6 §3.5 with 16.CACHE.1, 16.CACHE.3, 16.CACHE.4, 16.LIST.1, 16.LIST.3.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType

from cpctl.core.local_list import ListChange, digest_of
from cpctl.core.now import Now
from cpctl.core.values import IdToken, TokenInfo, TokenKind, TokenStatus
from cpctl.store.facts_json import moment_of, utc_us
from cpctl.store.rows import LISTED, Row, Value
from cpctl.store.settings_store import StationStore

log = logging.getLogger(__name__)

CACHE_SIZE = 1_000
_HEAD = 1  # the only row of the table `listing`


class AuthBook:
    """Verdicts of the central system by token, and its list. `size` bounds the cache (entries).

    While `list_is_on` says no, no token counts as listed.
    """

    def __init__(self, store: StationStore, now: Callable[[], Now], *, size: int = CACHE_SIZE,
                 list_is_on: Callable[[], bool] = lambda: True) -> None:
        self._store, self._now, self._size = store, now, size
        self._list_is_on = list_is_on
        self._cache: dict[str, TokenInfo] = {}  # oldest first
        self._used = 0
        for row in store.tokens:
            key, used = str(row[0]), int(str(row[1]))
            self._used = max(self._used, used)
            self._cache[key] = _info_of(row[2:])
        self._list: dict[str, TokenInfo] = {}
        self._version = self._digest = 0
        self._list_is_torn = False
        self._load_list()
        self._make_room()

    # --- the cache -------------------------------------------------------------------------------

    def cached(self, token: IdToken) -> TokenInfo | None:
        """The last verdict on `token`, as it came (its date may have passed)."""
        return self._cache.get(token.key)

    def remember(self, token: IdToken, info: TokenInfo) -> None:
        """Keep a verdict: at once here, on the disk within seconds. A listed token has none."""
        if self.listed(token) is not None:
            return
        self._cache.pop(token.key, None)
        self._cache[token.key] = info
        self._used += 1
        self._store.put_token(token.key, (token.key, self._used, *_columns(info)))
        self._make_room()

    async def forget_all(self) -> None:
        """Clear the cache, and nothing else; on the disk when this returns. Raises JournalError."""
        await self._store.forget_tokens()
        self._cache.clear()

    def entries(self) -> tuple[tuple[str, TokenInfo], ...]:
        """What is cached, the oldest first."""
        return tuple(self._cache.items())

    def _make_room(self) -> None:
        while len(self._cache) > self._size:
            now = self._now()
            useless = (key for key, info in self._cache.items() if not _is_valid(info, now.utc))
            self._uncache(next(useless, None) or next(iter(self._cache)))

    def _uncache(self, key: str) -> None:
        del self._cache[key]
        self._store.put_token(key, None)

    # --- the local list --------------------------------------------------------------------------

    def listed(self, token: IdToken) -> TokenInfo | None:
        """The entry of the local list, as it came (its date may have passed)."""
        return self._list.get(token.key) if self._list_is_on() else None

    @property
    def list_version(self) -> int:
        """0: empty, or never sent."""
        return self._version

    @property
    def list_entries(self) -> Mapping[str, TokenInfo]:
        """The list by the keys of its tokens, whether it is on or not."""
        return MappingProxyType(self._list)

    async def change_list(self, change: ListChange) -> None:
        """Bring the list to its new state, on the disk when this returns; wholly or not at all.

        Raises JournalError: the list is as it was.
        """
        shared = {info: info for info in self._list.values()}
        put = {entry.token.key: shared.setdefault(entry.info, entry.info)
               for entry in change.put if entry.info is not None}
        replaced = change.full or self._list_is_torn
        gone = () if replaced else change.drop
        length = len(put) if replaced else (
            len(self._list) - len(gone) + sum(key not in self._list for key in put))
        digest = self._digest_after(put, gone, replaced=replaced)

        def applied() -> None:
            if replaced:
                self._list.clear()
            for key in gone:
                del self._list[key]
            self._list.update(put)
            self._version, self._digest = change.version, digest
            self._list_is_torn = False
            for key in put:
                if key in self._cache:  # §3.5.3: a listed token is not in the cache
                    self._uncache(key)

        await self._store.put_list(
            (_HEAD, change.version, length, digest), list(map(_listed_row, put.items())), gone,
            full=replaced, applied=applied)

    def _digest_after(self, put: Mapping[str, TokenInfo], gone: Iterable[str], *, replaced: bool
                      ) -> int:
        crcs = [LISTED.crc(_listed_row(item)) for item in put.items()]
        if replaced:
            return digest_of(crcs)
        out = [LISTED.crc(_listed_row((key, self._list[key])))
               for key in (*gone, *(key for key in put if key in self._list))]
        return digest_of([self._digest, *crcs, *out])

    def _load_list(self) -> None:
        head, rows = self._store.take_list()
        shared: dict[TokenInfo, TokenInfo] = {}
        for row in rows:
            info = _info_of(row[1:])
            self._list[str(row[0])] = shared.setdefault(info, info)
        if head is None and not rows:
            return
        digest = digest_of(map(LISTED.crc, rows))
        if head is None or head[2:] != (len(rows), digest):
            log.error("the local list was damaged and is dropped; the central system must send it "
                      "again (%d entries were left)", len(rows))
            self._list.clear()
            self._list_is_torn = True
            return
        self._version, self._digest = int(str(head[1])), digest


def _is_valid(info: TokenInfo, utc: datetime) -> bool:
    return info.status is TokenStatus.ACCEPTED and (info.expires is None or info.expires > utc)


def _listed_row(item: tuple[str, TokenInfo]) -> Row:
    return (item[0], *_columns(item[1]))


def _columns(info: TokenInfo) -> tuple[Value, ...]:
    """Status, group, kind of the group, date: as both tables have them at their end."""
    group = info.group
    return (info.status.value, group.value if group else None, group.kind.value if group else None,
            utc_us(info.expires) if info.expires is not None else None)


def _info_of(columns: Row) -> TokenInfo:
    status, group, kind, expires = columns
    return TokenInfo(
        TokenStatus(status),
        IdToken(str(group), TokenKind(kind)) if group is not None else None,
        moment_of(int(str(expires))) if expires is not None else None)
