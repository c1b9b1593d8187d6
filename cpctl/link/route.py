"""Where to connect, with which words of identity, and how long to wait before the next try. Pure.

The sockets are opened in `connection.py`; when a connection counts as a success is said by the
link, which resets the back-off.
"""

import random
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit, urlunsplit

from cpctl.core.settings import Settings
from cpctl.link.errors import LinkError

_PATH_MARKS = "/%:@!$&'()*+,;=~-._"
LONGEST_DOUBLINGS = 20


@dataclass(frozen=True)
class Tls:
    """What a TLS connection is checked against; files in PEM. `check_hostname` False: bench only.

    `ca_file` None: the machine's own trust store. Client certificate: security profile 3.
    """

    ca_file: str | None = None
    client_cert_file: str | None = None
    client_key_file: str | None = None
    check_hostname: bool = True


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
