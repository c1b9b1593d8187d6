"""Frames as people may see them: tokens shortened, keys and passwords left out. Pure.

Applied when a frame is shown or logged, never to what is sent.
"""

import json
from typing import Any

LONGEST_SHOWN = 8192
_TOKEN_KEYS = frozenset(("idtag", "parentidtag", "idtoken"))
_SECRET_KEYS = frozenset(("password", "authorizationkey", "basicauthpassword"))
_ADDRESS_KEYS = frozenset(("location", "remotelocation"))  # of files: user, password, signature
HIDDEN = "***"


def token(text: str) -> str:
    """`04A1B2C3D4E59F` as `04A1…9F`; short ones lose more."""
    return f"{text[:4]}…{text[-2:]}" if len(text) > 8 else f"{text[:1]}…"


def frame(text: str) -> str:
    """The text of a frame without secrets; what is too long or no JSON is only described."""
    if len(text) > LONGEST_SHOWN:
        return f"({len(text)} characters)"
    try:
        parts = json.loads(text)
        return json.dumps(_cleaned(parts), separators=(",", ":"), ensure_ascii=False)
    except (ValueError, RecursionError):
        return f"(not JSON, {len(text)} characters)"


def _cleaned(value: Any) -> Any:
    if isinstance(value, list):
        return [_cleaned(one) for one in value]
    if not isinstance(value, dict):
        return value
    secret = any(isinstance(one, str) and one.lower() in _SECRET_KEYS
                 for one in (value.get("key"), _name(value.get("variable"))))
    return {key: _member(key, one, secret=secret) for key, one in value.items()}


def _address(url: str) -> str:
    """Without user, up to the last @, and query: a password may hold what it must not."""
    scheme, mark, rest = url.partition("://")
    if "@" in rest:
        rest = f"{HIDDEN}@{rest.rpartition('@')[2]}"
    return f"{scheme}{mark}{rest}".partition("?")[0]


def _name(variable: Any) -> Any:
    return variable.get("name") if isinstance(variable, dict) else None


def _member(key: str, value: Any, *, secret: bool) -> Any:
    lowered = key.lower()
    if lowered in _SECRET_KEYS or (secret and lowered in ("value", "attributevalue")):
        return HIDDEN
    if lowered in _TOKEN_KEYS and isinstance(value, str):
        return token(value)
    if lowered in _ADDRESS_KEYS and isinstance(value, str):
        return _address(value)
    return _cleaned(value)
