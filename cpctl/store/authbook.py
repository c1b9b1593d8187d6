"""The authorization cache (and, once there is one, the local list): what is known of tokens.

Decides only what is dropped when the cache is full; what a verdict means is `core/authorize.py`'s.
Source: 16.CACHE.1, 16.CACHE.3, 16.CACHE.4.
"""

from collections.abc import Callable
from datetime import datetime

from cpctl.core.now import Now
from cpctl.core.values import IdToken, TokenInfo, TokenKind, TokenStatus
from cpctl.store.facts_json import moment_of, utc_us
from cpctl.store.rows import Row
from cpctl.store.settings_store import StationStore

CACHE_SIZE = 1_000


class AuthBook:
    """Verdicts of the central system by token. `size` bounds the cache (entries)."""

    def __init__(self, store: StationStore, now: Callable[[], Now], *, size: int = CACHE_SIZE
                 ) -> None:
        self._store, self._now, self._size = store, now, size
        self._cache: dict[str, TokenInfo] = {}  # oldest first
        self._used = 0
        for row in store.tokens:
            key, used = str(row[0]), int(str(row[1]))
            self._used = max(self._used, used)
            self._cache[key] = _info_of(row)
        self._make_room()

    def cached(self, token: IdToken) -> TokenInfo | None:
        """The last verdict on `token`, as it came (its date may have passed)."""
        return self._cache.get(token.key)

    def listed(self, token: IdToken) -> TokenInfo | None:
        """The entry of the local list; this release keeps none."""
        return None

    def remember(self, token: IdToken, info: TokenInfo) -> None:
        """Keep a verdict: at once here, on the disk within seconds."""
        self._cache.pop(token.key, None)
        self._cache[token.key] = info
        self._used += 1
        self._store.put_token(token.key, _row_of(token.key, self._used, info))
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
            key = next(useless, None) or next(iter(self._cache))
            del self._cache[key]
            self._store.put_token(key, None)


def _is_valid(info: TokenInfo, utc: datetime) -> bool:
    return info.status is TokenStatus.ACCEPTED and (info.expires is None or info.expires > utc)


def _row_of(key: str, used: int, info: TokenInfo) -> Row:
    group = info.group
    return (key, used, info.status.value, group.value if group else None,
            group.kind.value if group else None,
            utc_us(info.expires) if info.expires is not None else None)


def _info_of(row: Row) -> TokenInfo:
    _, _, status, group, kind, expires = row
    return TokenInfo(
        TokenStatus(status),
        IdToken(str(group), TokenKind(kind)) if group is not None else None,
        moment_of(int(expires)) if expires is not None else None)
