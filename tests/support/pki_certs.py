"""For tests of the certificate store and its service: a world around them without a daemon.

The child's work is done in this process (`InlineChildren`), the clock is set by hand. Dates of
certificates are made relative to that clock.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from support.pki import Authority, Credential, Days

from cpctl.core.effects import Query, SignCertificate
from cpctl.core.events import CertificateSigningAnswered, Event, Request, SecurityEventNoticed
from cpctl.core.now import Now, TimeQuality
from cpctl.core.settings import Settings
from cpctl.core.values import Origin, Reply, RequestId
from cpctl.services import certificate_child
from cpctl.services.certificates import Around, Certificates
from cpctl.services.child import Children
from cpctl.store.certificates import CertificateStore, Configured
from cpctl.store.db import InlineWriter

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
SERIAL = "PP2-0001"


def span(begin: datetime, days: float) -> Days:
    """The dates of a certificate that begins at a moment, as `pki` wants them."""
    first = (begin - datetime.now(UTC)) / timedelta(days=1)
    return first, first + days


def named(subject: str) -> Any:
    """The subject of a station's certificate with that common name."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject),
                      x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example")])


class InlineChildren(Children):
    """Does what a child would do, here; counts the orders."""

    def __init__(self) -> None:
        self.orders: list[str] = []
        self.fails: Exception | None = None

    async def run(self, module: str, order: Any, **how: Any) -> Any:
        self.orders.append(order["do"])
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        return certificate_child.work(order, lambda told: None)


@dataclass
class Clock:
    utc: datetime = NOON
    quality: TimeQuality = TimeQuality.NTP
    mono_ns: int = 0

    def now(self) -> Now:
        return Now(self.mono_ns, "boot-1", self.utc, self.quality)


@dataclass
class Station:
    """The service with its store, and what it did to the rest of the daemon. `answers`: what the
    central system says to each SignCertificate in turn (None: it is not heard); then True."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    settings: Settings = field(default_factory=lambda: Settings().with_text(
        "security.cpo_name", "Example"))
    configured: Configured = field(default_factory=Configured)
    children: InlineChildren = field(default_factory=InlineChildren)
    replies: dict[int, list[Reply]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    asked: list[SignCertificate] = field(default_factory=list)
    answers: list[bool | None] = field(default_factory=list)
    reconnects: list[str] = field(default_factory=list)
    online: bool = True
    shows: bool = True
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    next_request: int = 1
    store: CertificateStore = field(init=False)
    service: Certificates = field(init=False)

    async def open(self) -> "Station":
        self.store = await CertificateStore.open(
            self.folder, InlineWriter(), self.clock.now, self.configured)
        self.service = Certificates(self.store, self.children, Around(
            ask=self._ask, answer=lambda request, reply: self.replies.setdefault(
                request.number, []).append(reply),
            post=self.events.append, settings=lambda: self.settings, now=self.clock.now,
            online=lambda: self.online, reconnect=self.reconnects.append,
            shows_certificate=lambda: self.shows, spawn=self._spawn, name=SERIAL))
        return self

    async def _ask(self, query: Query, asked_for: bool) -> tuple[Event, ...]:
        assert isinstance(query, SignCertificate)
        self.asked.append(query)
        answer = self.answers.pop(0) if self.answers else True
        return () if answer is None else (CertificateSigningAnswered(query.ask, answer),)

    def _spawn(self, coro: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coro)
        self.tasks.append(task)
        return task

    async def settled(self) -> None:
        """Wait until everything that was begun is done."""
        while any(not one.done() for one in self.tasks):
            await asyncio.wait(self.tasks)
        for one in self.tasks:
            one.result()

    async def request(self, kind: type[Request], *arguments: Any) -> Reply:
        """Ask, and the one answer."""
        number, self.next_request = self.next_request, self.next_request + 1
        self.service.take(kind(RequestId(Origin.CSMS, number), *arguments))
        await self.settled()
        (reply,) = self.replies[number]
        return reply

    async def sign(self) -> str | None:
        """The CSR that is sent when one is asked for; None: none is."""
        before = len(self.asked)
        self.service.sign_wanted()
        await self.settled()
        return self.asked[-1].csr if len(self.asked) > before else None

    def told(self, kind: str) -> list[str]:
        """The texts of the security events of a kind."""
        return [one.text for one in self.events
                if isinstance(one, SecurityEventNoticed) and one.kind == kind]


def write_client(root: Authority, folder: Path, *, valid: Days, name: str = "configured"
                 ) -> tuple[Path, Path]:
    """Certificate and key of the station, as an installer would have put them there."""
    credential: Credential = root.client(SERIAL, valid=valid)
    return credential.write(folder, name)
