"""Messages of vendors: who answers a DataTransfer, and who sends one.

A vendor is known by its id, its messages by their names (without regard to case). Handlers come
from entry points of group `cpctl.vendors` (the name is the vendor id) or are registered in code. A
handler that raises or hangs costs its one message. How to write one: docs/vendors.md.
Source: OCPP 1.6 §4.3, §5.6.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import Any, Protocol

from cpctl.core.effects import Query, SendVendorMessage
from cpctl.core.events import Event, VendorMessageAnswered, VendorMessageReceived
from cpctl.core.jobs import VendorAnswer
from cpctl.core.values import Outcome, Reply, RequestId
from hal.late import dataclass

log = logging.getLogger(__name__)

ENTRY_POINTS = "cpctl.vendors"
HANDLER_LIMIT_S = 10.0  # an answer is owed within 20 s
LONGEST_CONTENT = 65_536  # characters; the specification names no limit


@dataclass(frozen=True)
class Says:
    """A handler's answer. `content` goes out as it is."""

    accepted: bool = True
    content: str | None = None


@dataclass(frozen=True)
class Heard:
    """What the central system answered: ACCEPTED, REJECTED, UNKNOWN (vendor), UNKNOWN_MESSAGE;
    FAILED when there was no answer, NOT_SUPPORTED when it knows no such calls."""

    outcome: Outcome
    content: str | None = None


class Line(Protocol):
    """What a handler may do: send a message of its own vendor."""

    async def send(self, message: str | None, content: str | None) -> Heard: ...


Handler = Callable[[str | None], Awaitable[Says]]


class Vendor(Protocol):
    """A vendor's messages: name -> coroutine function of the content. The name "" stands for a
    call without a name. `started` runs once as a task when the station is up, if there is one."""

    @property
    def messages(self) -> Mapping[str, Handler]: ...


Factory = Callable[[Line], Vendor]


class _VendorLine:
    def __init__(self, vendors: Vendors, vendor: str) -> None:
        self._vendors, self._vendor = vendors, vendor

    async def send(self, message: str | None, content: str | None) -> Heard:
        return await self._vendors.send(self._vendor, message, content)


class Vendors:
    """The registry. `spawn(coroutine, name)` starts a task of the daemon."""

    def __init__(self, *, ask: Callable[[Query], Awaitable[tuple[Event, ...]]],
                 answer: Callable[[RequestId, Reply], None],
                 spawn: Callable[[Coroutine[Any, Any, None], str], Any]) -> None:
        self._ask, self._answer, self._spawn = ask, answer, spawn
        self._known: dict[str, Vendor] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._known)

    def register(self, vendor: str, factory: Factory) -> None:
        """From now on `vendor`'s messages go to what `factory` makes; the last one holds."""
        self._known[vendor.casefold()] = factory(_VendorLine(self, vendor))

    def start(self) -> None:
        """Find the installed ones. One that cannot be loaded is left out, and said so."""
        for name, target in installed():
            try:
                self.register(name, _loaded(target))
            except Exception:  # somebody else's code: the station works without it
                log.exception("vendor %s (%s) cannot be loaded; its messages are unknown", name,
                              target)

    def received(self, request: VendorMessageReceived) -> None:
        """A call came; its answer goes out when the handler is done."""
        vendor = self._known.get(request.vendor.casefold())
        if vendor is None:
            self._answer(request.request, Reply(Outcome.UNKNOWN, "unknown_vendor"))
            return
        handler = self._handler(vendor, request)
        if handler is None:
            self._answer(request.request, Reply(Outcome.UNKNOWN_MESSAGE, "unknown_message"))
            return
        self._spawn(self._handle(handler, request), f"vendor {request.vendor[:40]}")

    def _handler(self, vendor: Vendor, request: VendorMessageReceived) -> Handler | None:
        wanted = (request.message or "").casefold()
        return next((handler for name, handler in vendor.messages.items()
                     if name.casefold() == wanted), None)

    async def _handle(self, handler: Handler, request: VendorMessageReceived) -> None:
        try:
            async with asyncio.timeout(HANDLER_LIMIT_S):
                reply = _reply(await handler(request.content))
        except TimeoutError:
            log.error("vendor %s: %s was not answered within %.0f s", request.vendor,
                      request.message, HANDLER_LIMIT_S)
            reply = Reply(Outcome.REJECTED, "handler_hangs")
        except Exception:  # somebody else's code: a mistake of it costs one message
            log.exception("vendor %s: %s failed", request.vendor, request.message)
            reply = Reply(Outcome.REJECTED, "handler_failed")
        self._answer(request.request, reply)

    async def send(self, vendor: str, message: str | None, content: str | None) -> Heard:
        """Send a DataTransfer; never raises."""
        for event in await self._ask(SendVendorMessage(vendor, message, content)):
            if isinstance(event, VendorMessageAnswered):
                return Heard(event.outcome, event.content)
        return Heard(Outcome.FAILED)


def _reply(says: object) -> Reply:
    if not isinstance(says, Says):
        raise TypeError(f"a handler answers with Says, not {type(says).__name__}")
    outcome = Outcome.ACCEPTED if says.accepted else Outcome.REJECTED
    if says.content is None:
        return Reply(outcome)
    if not isinstance(says.content, str) or len(says.content) > LONGEST_CONTENT:
        raise TypeError(f"the content is text of at most {LONGEST_CONTENT} characters")
    return Reply(outcome, content=VendorAnswer(says.content))


# --- entry points --------------------------------------------------------------------------------


def installed(paths: list[str] | None = None) -> Iterator[tuple[str, str]]:
    """Name and "module:object" of each entry point of the group.

    Read from the installed distributions directly: `importlib.metadata` brings the e-mail parser
    along, 3 MB that a station without vendors has no use for.
    """
    for folder in sys.path if paths is None else paths:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue  # sys.path names what need not be there: an archive, a folder not installed
        for name in sorted(names):
            if name.endswith(".dist-info"):
                yield from _points(os.path.join(folder, name, "entry_points.txt"))


def _points(file: str) -> Iterator[tuple[str, str]]:
    try:
        with open(file, encoding="utf-8") as lines:
            text = lines.read()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        log.warning("%s cannot be read: %s", file, error)
        return
    group = ""
    for line in text.splitlines() if f"[{ENTRY_POINTS}]" in text else ():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif group == ENTRY_POINTS and "=" in line and not line.startswith(("#", ";")):
            name, _, target = line.partition("=")
            yield name.strip(), target.strip()


def _loaded(target: str) -> Factory:
    module, _, path = target.partition(":")
    found: Any = importlib.import_module(module.strip())
    for part in path.strip().split("."):
        found = getattr(found, part)
    factory: Factory = found
    return factory
