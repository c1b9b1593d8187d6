"""What the methods need of the daemon, in its own words: handed in, never imported.

Structural: `cpctl.app.App` fits by its shape. What belongs to other rooms (journal, link, devices,
simulated board) is reached through the few members named here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

from cpctl.api import wire
from cpctl.api.args import Args
from cpctl.api.pictures import Status
from cpctl.api.server import Caller, Right
from cpctl.core.effects import Query
from cpctl.core.events import Event, Request
from cpctl.core.limits import LimitClaim
from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.state import Station
from cpctl.core.values import Outcome, Reply, RequestId
from cpctl.core.views import StationPicture

ANSWER_LIMIT_S = 10.0  # the core answers at once; what is carried out first takes longer

Method = Callable[[Args, Caller], Awaitable[Any]]
Table = Mapping[str, tuple[Right, Method]]


class Loop(Protocol):
    @property
    def station(self) -> Station: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def picture(self) -> StationPicture: ...
    def listen(self, listener: Callable[[StationPicture], None]) -> Callable[[], None]: ...


class Requests(Protocol):
    async def ask(self, make: Callable[[RequestId], Request], *, limit_s: float = ...
                  ) -> Reply: ...


class App(Protocol):
    """The daemon as the methods see it."""

    @property
    def loop(self) -> Loop: ...
    @property
    def requests(self) -> Requests: ...
    @property
    def config(self) -> Any: ...
    @property
    def journal(self) -> Any: ...
    @property
    def authbook(self) -> Any: ...
    @property
    def certificates(self) -> Any: ...
    @property
    def link(self) -> Any: ...
    @property
    def services(self) -> Any:
        """What is carried out beside the core; `logs.bundles` makes support bundles."""
        ...
    @property
    def tap(self) -> Any: ...
    @property
    def devices(self) -> Any: ...
    @property
    def hardware(self) -> Any:
        """What was built of the configuration; `buses`: the serial lines by name."""
        ...
    @property
    def board(self) -> Any: ...
    @property
    def clock(self) -> Any: ...
    @property
    def version(self) -> str: ...
    @property
    def device_errors(self) -> tuple[type[Exception], ...]:
        """What a device or a book may raise; told as a failed operation."""
        ...
    @property
    def keys(self) -> Any:
        """The name table of configuration keys (`dialects.v16.keys`)."""
        ...

    def now(self) -> Now: ...

    async def ask_csms(self, query: Query) -> tuple[Event, ...]:
        """What an answer of the central system means; FAILED events when there is none."""
        ...

    def claims(self, evse: int) -> tuple[LimitClaim, ...]:
        """Each claim on the current of an EVSE: owner and A per phase."""
        ...

    def statuses(self, picture: StationPicture) -> Iterable[Status]:
        """The status of station and connectors in the words of 1.6."""
        ...


_CODES = {
    Outcome.FAILED: wire.FAILED,
    Outcome.UNKNOWN: wire.NOT_FOUND,
}
_NEXT = {  # by the code of a refusal that brings no next step of its own
    "read_only": "the configuration file or the hardware decides it; see docs/configuration.md",
    "no_such_connector": "cpctl evse show tells which connectors there are",
    "no_such_fault": "cpctl evse show tells which faults there are",
    "no_lock": "the configuration names no lock: the cable is fixed",
    "going_down": "wait for the restart",
}
_GOOD = (Outcome.ACCEPTED, Outcome.SCHEDULED, Outcome.REBOOT_REQUIRED, Outcome.UNLOCKED)


async def ask(app: App, make: Callable[[RequestId], Request], what: str) -> dict[str, Any]:
    """The core's answer to a request, as a result or an ApiError with the reason."""
    reply = await good_reply(app, make, what)
    return {"outcome": reply.outcome.value, "code": reply.code, "hint": reply.hint,
            "session": reply.session}


async def good_reply(app: App, make: Callable[[RequestId], Request], what: str,
                     limit_s: float = ANSWER_LIMIT_S) -> Reply:
    """The core's answer to a request. Raises ApiError with the reason when it is no good one."""
    try:
        reply = await app.requests.ask(make, limit_s=limit_s)
    except TimeoutError as problem:
        raise wire.ApiError(wire.TIMED_OUT, f"{what}: no answer in time",
                            "see cpctl status and the log") from problem
    if reply.outcome in _GOOD:
        return reply
    why = reply.code.replace("_", " ") or reply.outcome.value.replace("_", " ")
    raise wire.ApiError(_CODES.get(reply.outcome, wire.REFUSED), f"{what} refused: {why}",
                        reply.hint or _NEXT.get(reply.code, "cpctl why tells more"),
                        reason=reply.code)


def known_evse(app: App, number: int) -> int:
    """`number` if there is such an EVSE. Raises ApiError."""
    numbers = [one.evse for one in app.loop.picture.evses]
    if number not in numbers:
        raise wire.ApiError(wire.NOT_FOUND, f"there is no EVSE {number}",
                            f"the EVSEs are: {', '.join(str(one) for one in numbers)}")
    return number
