"""What never leaves the station in a bundle: secrets, whole tokens. Used in the bundle's process.

Three nets, one behind the other: what is known to be secret by its place is not written; what is
known to be secret by its value is found wherever it stands; what looks like a secret goes as well.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any

HIDDEN = "***"
SHORTEST_SECRET = 4  # characters; a shorter one would be found everywhere
SHORTEST_TOKEN = 4
# Names of fields that hold a secret, or a token, in whatever we write as an object.
_SECRET_NAME = re.compile(r"pass(word|phrase|wd)?$|secret|authorizationkey|private|credential|psk",
                          re.IGNORECASE)
_SECRET_KEY = re.compile(r"(^|_)key$", re.IGNORECASE)
TOKEN_NAMES = frozenset(("token", "group", "idtag", "id_tag", "parent", "parentidtag", "master"))
_WORD = re.compile(r"[^\s\"'=,;()\[\]{}<>]{4,64}")
_PATTERNS = (
    (re.compile(r"""((?:password|passwd|AuthorizationKey|BasicAuthPassword|secret)["']?\s*"""
                r"""[=:]\s*["']?)[^"'\s,}]+""", re.IGNORECASE), r"\1***"),
    (re.compile(r"""(["'](?:AuthorizationKey|BasicAuthPassword)["']\s*,\s*["']value["']\s*:\s*["'])"""
                r"""[^"']*""", re.IGNORECASE), r"\1***"),
    (re.compile(r"""(["']value["']\s*:\s*["'])[^"']*(["']\s*,\s*["']key["']\s*:\s*["']"""
                r"""(?:AuthorizationKey|BasicAuthPassword)["'])""", re.IGNORECASE), r"\1***\2"),
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,15}://)[^\s\"'<>]{1,2000}@"), r"\1***@"),
    (re.compile(r"(://[^\s?\"']{1,2000}\?)[^\s\"']+"), r"\1***"),
    (re.compile(r"((?:Basic|Bearer)\s+)[A-Za-z0-9+/=._-]{8,}"), r"\1***"),
    (re.compile(r"""((?:idTag|parentIdTag)["']?\s*[=:]\s*["'])([^"']{1,4})[^"']*(["'])"""),
     r"\1\2…\3"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*"), HIDDEN),
)


def short(token: str) -> str:
    """A token as it may be shown: 04A1B2C39F becomes 04A1…9F; up to 6 characters: 04…"""
    return token[:2] + "…" if len(token) <= 6 else f"{token[:4]}…{token[-2:]}"


class Redactor:
    """Knows what is secret here; `tokens` may be many."""

    def __init__(self, secrets: Iterable[str], tokens: Iterable[str]) -> None:
        self._secrets = sorted(_variants(secrets), key=len, reverse=True)
        self._tokens: set[str] = set()
        self._odd: set[str] = set()  # those that are no word: looked for one by one
        self._odd_pattern: re.Pattern[str] | None = None
        for token in tokens:
            self.learn(token)

    def learn(self, token: str) -> None:
        """A token that was met: from now on it is found wherever it stands."""
        if len(token) < SHORTEST_TOKEN:
            return
        if _WORD.fullmatch(token):
            self._tokens.add(token.casefold())
        else:
            self._odd.add(token)
            self._odd_pattern = None

    def line(self, text: str) -> str:
        """`text` without secrets and whole tokens."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, HIDDEN)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        if self._odd:
            self._odd_pattern = self._odd_pattern or re.compile(
                "|".join(map(re.escape, sorted(self._odd))), re.IGNORECASE)
            text = self._odd_pattern.sub(lambda found: short(found[0]), text)
        return _WORD.sub(self._word, text) if self._tokens else text

    def _word(self, found: re.Match[str]) -> str:
        word = found[0]
        if word.casefold() in self._tokens:
            return short(word)
        bare = word.strip(".:!?/")
        if bare != word and bare.casefold() in self._tokens:
            return word.replace(bare, short(bare))
        return word

    def value(self, value: Any, name: str = "") -> Any:
        """An object as JSON can hold it, without secrets; what stands under a token's name is
        shortened, and remembered."""
        if _is_secret(name) and value not in (None, "", [], {}):
            return HIDDEN
        if isinstance(value, Mapping):
            return {key: self.value(one, str(key)) for key, one in value.items()}
        if name.lower() in TOKEN_NAMES:
            return self._token(value)
        if isinstance(value, list | tuple):
            return [self.value(one, name) for one in value]
        return self.line(value) if isinstance(value, str) else value

    def _token(self, value: Any) -> Any:
        """Also as the books have it: a list that begins with the token."""
        if isinstance(value, str) and value:
            self.learn(value)
            return short(value)
        if isinstance(value, list) and value and isinstance(value[0], str):
            return [self._token(value[0]), *value[1:]]
        return value


def _is_secret(name: str) -> bool:
    """Files are named, not shown; a name such as `client_key_file` is no secret."""
    return bool(_SECRET_NAME.search(name) or _SECRET_KEY.search(name))


def _variants(secrets: Iterable[str]) -> set[str]:
    """Each secret, and how else it may be written."""
    found: set[str] = set()
    for secret in secrets:
        if len(secret) < SHORTEST_SECRET:
            continue
        found |= {secret, secret.encode().hex(), secret.encode().hex().upper(),
                  base64.b64encode(secret.encode()).decode()}
    return found
