"""Where to connect, with which words of identity, and how long to wait before the next try. Pure.

The sockets are opened in `connection.py`; when a connection counts as a success is said by the
link, which resets the back-off.
"""

import random
from base64 import b64encode
from collections.abc import Callable
from dataclasses import field
from datetime import datetime
from typing import NamedTuple, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

from cpctl.core.events import AccessProved
from cpctl.core.settings import Settings
from cpctl.link.errors import LinkError, Why
from hal.late import dataclass

T = TypeVar("T")

_PATH_MARKS = "/%:@!$&'()*+,;=~-._"
LONGEST_DOUBLINGS = 20
PROFILE_TRIES = 3  # failures under a new security profile until the old one is tried


@dataclass(frozen=True)
class Tls:
    """What a TLS connection is checked against; files in PEM. `check_hostname` False: bench only.

    `trust`: each certificate in these files is an anchor; empty: the machine's own trust store.
    `client_*`: security profile 3. `check_time` False: their certificate's dates are held against
    `valid_at` instead of the machine's clock, or with None are left to who asked for it.
    """

    trust: tuple[str, ...] = ()
    client_cert_file: str | None = None
    client_key_file: str | None = None
    check_hostname: bool = True
    check_time: bool = True
    valid_at: datetime | None = None


@dataclass(frozen=True)
class Route:
    """One way to the central system. `url` is the end point without the identity.

    `password` goes into the basic authentication header byte for byte (security profiles 1 and 2;
    a 1.6 AuthorizationKey may be any 20 bytes). Source: OCPP-J 1.6 sections 3.1 and 6.2.2.
    """

    url: str
    identity: str
    security_profile: int = 0
    password: bytes | None = field(default=None, repr=False)
    tls: Tls = Tls()

    def address(self) -> str:
        """The full URL: the identity percent-encoded behind the path. Raises LinkError."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise LinkError(f"csms.url {self.url!r} is no WebSocket address; it begins with ws://"
                            " or wss:// and names a host")
        if self.security_profile >= 2 and parts.scheme != "wss":
            raise LinkError(f"csms.url {self.url!r}: security profile {self.security_profile}"
                            " needs wss://")
        path = quote(parts.path.rstrip("/"), safe=_PATH_MARKS)
        host = parts.netloc.rpartition("@")[2]  # credentials are told in the header alone
        full = f"{path}/{quote(self.identity, safe='')}"
        query = quote(parts.query, safe=_PATH_MARKS + "?")
        return urlunsplit((parts.scheme, host, full, query, ""))

    def headers(self) -> tuple[tuple[str, str], ...]:
        """What the opening request says besides the WebSocket's own headers."""
        if self.security_profile not in (1, 2) or self.password is None:
            return ()
        pair = self.identity.encode() + b":" + self.password
        return (("Authorization", "Basic " + b64encode(pair).decode("ascii")),)

    def trust(self) -> Tls | None:
        """What TLS is checked against; None for ws://."""
        return self.tls if self.url.startswith("wss:") else None


def with_tls(url: str) -> str:
    """The same place over TLS: ws://host:80/path becomes wss://host:80/path, without a port the
    port becomes that of wss."""
    return "wss:" + url.removeprefix("ws:") if url.startswith("ws:") else url


class Choices(NamedTuple):
    """All there is to connect with; of each kind what is wanted first, then what falls back.

    `url_tls` is used instead of a ws:// address by security profiles 2 and 3. `trust`: sets of
    files, one set at a time; `certificates`: file and key.
    """

    url: str
    identity: str
    url_tls: str = ""
    profiles: tuple[int, ...] = (0,)
    passwords: tuple[bytes | None, ...] = (None,)
    trust: tuple[tuple[str, ...], ...] = ()
    certificates: tuple[tuple[str, str], ...] = ()
    check_hostname: bool = True


class Itinerary:
    """Which of the choices is tried next.

    Each kind has its own turn: a refused password leads to the other password after
    `net.password_fallback` refusals (E-33), a certificate of theirs that does not hold to the next
    set of roots (16.SEC.13), one of ours that is refused to the one before it (16.SEC.10), three
    failures of any kind to the security profile before (16.SEC.5), and round again.
    """

    def __init__(self, choices: Callable[[], Choices]) -> None:
        self._choices = choices
        self.begin_anew()

    def begin_anew(self) -> None:
        """What is wanted comes first again."""
        self._profile = self._password = self._trust = self._certificate = 0
        self._failures = self._refusals = 0

    def route(self) -> Route:
        """The way to try now."""
        all_of = self._choices()
        profile = _at(all_of.profiles, self._profile, 0)
        tls_url = all_of.url_tls or with_tls(all_of.url)
        certificate: tuple[str | None, str | None] = (None, None)
        if profile == 3:
            certificate = _at(all_of.certificates, self._certificate, certificate)
        password = _at(all_of.passwords, self._password, None)
        return Route(
            tls_url if profile >= 2 and all_of.url.startswith("ws:") else all_of.url,
            all_of.identity, profile, password if profile in (1, 2) else None,
            Tls(_at(all_of.trust, self._trust, ()), *certificate, all_of.check_hostname))

    def refused(self, why: Why, settings: Settings) -> None:
        """The way of now did not lead there."""
        match why:
            case Why.PASSWORD:
                self._refusals += 1
                limit = settings.integer("net.password_fallback")
                if limit and self._refusals >= limit:
                    self._password, self._refusals = self._password + 1, 0
            case Why.THEIR_CERTIFICATE | Why.THEIR_DATES:
                self._trust += 1
            case Why.OUR_CERTIFICATE:
                self._certificate += 1
        self._failures += 1
        if self._failures >= PROFILE_TRIES:
            self._profile, self._failures = self._profile + 1, 0

    def proved(self) -> AccessProved | None:
        """The way of now led there: what the core must know of it, if there was a choice."""
        all_of = self._choices()
        if len(all_of.profiles) < 2 and len(all_of.passwords) < 2:
            self._failures = self._refusals = 0
            return None
        profile = _at(all_of.profiles, self._profile, 0)
        other = self._password % len(all_of.passwords) > 0
        self.begin_anew()
        return AccessProved(profile, other if profile in (1, 2) else None)


def _at(choices: tuple[T, ...], turn: int, none: T) -> T:
    return choices[turn % len(choices)] if choices else none


class BackOff:
    """How long to wait before the next try to connect.

    The first wait is `link.wait_min_s` plus a random part of `link.wait_random_s`; each further one
    doubles the fixed part, `link.wait_repeat` times, then it stays. Source: 16.RPC.12; OCPP 2.0.1
    part 4 section 5.3.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.tries = 0

    def next_wait_s(self, settings: Settings) -> float:
        doublings = min(self.tries, settings.integer("link.wait_repeat"), LONGEST_DOUBLINGS)
        self.tries += 1
        fixed = settings.integer("link.wait_min_s") * (1 << doublings)
        return fixed + self._rng.random() * settings.integer("link.wait_random_s")

    def longest_s(self, settings: Settings) -> float:
        """The longest wait there can be."""
        doublings = min(settings.integer("link.wait_repeat"), LONGEST_DOUBLINGS)
        fixed = settings.integer("link.wait_min_s") * float(1 << doublings)
        return fixed + settings.integer("link.wait_random_s")

    def reset(self) -> None:
        """The central system took us: the next loss begins with the shortest wait again."""
        self.tries = 0
