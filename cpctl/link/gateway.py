"""The way in: opens connections along the itinerary, one by one, and tells what was wrong.

Each kind of refusal is a security event of its own, raised once until the central system works with
us again. While the time is not known the dates of its certificate are checked against the time it
tells (a clock that is behind must not lock the station out).
Source: security whitepaper A00, 16.SEC.6, 7; reference "Time on boards without an RTC".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from cpctl.core.events import Event, SecurityEventNoticed
from cpctl.core.now import Now, TimeQuality
from cpctl.core.settings import Settings
from cpctl.link.connection import Connector, Socket
from cpctl.link.errors import ConnectRefused, LinkError, Why
from cpctl.link.route import Itinerary, Route

log = logging.getLogger(__name__)


class Witness(Protocol):
    """Who wants to know of a TLS connection: the store of certificates."""

    def connected(self, chain: Sequence[bytes] = (), credential: Path | None = None) -> None:
        """`chain`: theirs, verified, in DER; `credential`: the file of the one we showed."""
        ...

    def disconnected(self) -> None: ...


class Gateway:
    """See the module. `detail` is a sentence for people, how the last try went."""

    def __init__(self, connector: Connector, itinerary: Itinerary, *,
                 post: Callable[[Event], None], now: Callable[[], Now],
                 settings: Callable[[], Settings], witness: Witness | None = None) -> None:
        self._connector, self._itinerary = connector, itinerary
        self._post, self._now, self._settings = post, now, settings
        self._witness = witness
        self._told: set[str] = set()
        self._undated: Socket | None = None  # its dates are to be checked when time is known
        self._route: Route | None = None
        self.detail = "not connected yet"

    @property
    def url(self) -> str:
        """Of the connection, or of the next try."""
        return (self._route or self._itinerary.route()).url

    async def open(self, subprotocols: Sequence[str]) -> Socket | None:
        """One try; None: it failed, and `detail` says why."""
        self._undated = None
        self._route = route = self._itinerary.route()
        try:
            socket = await self._connected(route, subprotocols)
        except LinkError as error:
            self._failed(error)
            return None
        if socket.subprotocol in subprotocols:
            self._stands(socket, route)
            return socket
        self._failed(LinkError(
            f"{route.url}: speaks no protocol of ours (offered {', '.join(subprotocols)}, got"
            f" {socket.subprotocol}); check [csms] url and versions"))
        await socket.close(1002, "no common subprotocol")
        return None

    def proved(self) -> None:
        """The other side works with the connection: the way that led there was a good one."""
        proved = self._itinerary.proved()
        if proved is not None:
            self._post(proved)

    def taken(self) -> None:
        """The central system works with us: what goes wrong from now on is told again."""
        self._told.clear()

    def begin_anew(self) -> None:
        """How we get in was changed: what is wanted is tried first."""
        self._itinerary.begin_anew()

    def closed(self) -> None:
        if self._witness is not None:
            self._witness.disconnected()

    def trouble(self, kind: str, text: str) -> None:
        """A security event, once until the central system has worked with us again."""
        if kind and kind not in self._told:
            self._told.add(kind)
            self._post(SecurityEventNoticed(kind, text[:255]))

    # --- one try -----------------------------------------------------------------------------

    async def _connected(self, route: Route, subprotocols: Sequence[str]) -> Socket:
        async def connect(one: Route) -> Socket:
            return await self._connector.connect(
                one.address(), subprotocols, one.headers(), one.trust())

        try:
            return await connect(route)
        except ConnectRefused as error:
            if error.why is not Why.THEIR_DATES or not self._clock_may_be_wrong():
                raise
            now = self._now()
            at = now.utc if now.quality.trusted else None
            socket = await connect(replace(
                route, tls=replace(route.tls, check_time=False, valid_at=at)))
            if at is None:
                self._leave_open(socket, error)
            return socket

    def _clock_may_be_wrong(self) -> bool:
        """The machine's clock, by which TLS checks. Ours may be right: the central system's."""
        return (self._now().quality is not TimeQuality.NTP
                and self._settings().flag("security.tls_without_clock"))

    def _leave_open(self, socket: Socket, finding: ConnectRefused) -> None:
        """Whether its dates hold is found out when the time is known."""
        self._undated = socket
        log.warning("%s; the time is not known: the dates are checked when it is", finding)
        self.trouble(finding.why.security_event,
                     f"{finding}; our clock is not set: checked again with the time they tell")

    def _dates_hold(self, socket: Socket) -> bool:
        peer = socket.peer
        return peer is not None and peer.not_before <= self._now().utc <= peer.not_after

    def unfounded(self, socket: Socket) -> str:
        """Why a connection must end after all, now that the time is known; "": it may stand."""
        if socket is not self._undated or not self._now().quality.trusted:
            return ""
        self._undated = None
        if self._dates_hold(socket):
            return ""
        text = (f"{self.url}: its certificate is not valid at the time it tells; have it renewed"
                " there")
        self._told.discard("CentralSystemFailedToAuthenticate")
        self.trouble("CentralSystemFailedToAuthenticate", text)
        return text

    @property
    def dates_open(self) -> bool:
        return self._undated is not None

    def _stands(self, socket: Socket, route: Route) -> None:
        if self._witness is None:
            return
        peer = socket.peer
        if peer is not None:
            shown = route.tls.client_cert_file
            self._witness.connected(peer.chain, None if shown is None else Path(shown))

    def _failed(self, error: LinkError) -> None:
        self.detail = str(error)
        log.warning("not connected: %s", error)
        why = error.why if isinstance(error, ConnectRefused) else Why.NETWORK
        status = error.status if isinstance(error, ConnectRefused) else None
        self.trouble(why.security_event, f"HTTP {status}" if status else str(error))
        self._itinerary.refused(why, self._settings())
