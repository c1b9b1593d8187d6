"""The embedded central system: OCPP 1.6J with books of its own, for `make run` and the tests.

It keeps what a central system keeps (boots, statuses, transactions with their meter values) from
the frames alone and knows nothing of the station's insides. Its manners can be changed call by
call (`behave`): refuse, stay silent, answer late, answer nonsense, hang up. The same message id
twice is answered from memory, as a central system with books must.

It serves any `Socket`: `serve()` opens a WebSocket port on loopback, the tests bring a pair in
memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

Wire = dict[str, Any]


class Socket(Protocol):
    """One WebSocket as the central system sees it; `recv` raises EOFError once it is closed."""

    async def recv(self) -> str | bytes: ...

    async def send(self, text: str) -> None: ...

    async def close(self, code: int = 1000, reason: str = "") -> None: ...


# --- manners: what may be done with a call instead of answering it properly --------------------


@dataclass(frozen=True)
class Refuse:
    """Answer with a CALLERROR."""

    code: str = "InternalError"
    description: str = ""


@dataclass(frozen=True)
class Silence:
    """Never answer, and do not take it into the books."""


@dataclass(frozen=True)
class TakenButSilent:
    """Take it into the books and never answer: the answer was lost."""


@dataclass(frozen=True)
class Late:
    """Answer properly, `delay_s` later."""

    delay_s: float


@dataclass(frozen=True)
class Nonsense:
    """Send this text instead of an answer; "{id}" becomes the message id."""

    text: str = "this is no JSON"


@dataclass(frozen=True)
class HangUp:
    """Close the connection instead of answering."""

    code: int = 1000


@dataclass(frozen=True)
class Reply:
    """Answer with this payload instead of the proper one; the books are kept all the same."""

    payload: Wire


Manner = Refuse | Silence | TakenButSilent | Late | Nonsense | HangUp | Reply


# --- books -------------------------------------------------------------------------------------


@dataclass
class Transaction:
    """What the central system knows of one transaction; energies in Wh as they came."""

    number: int
    connector: int
    id_tag: str
    meter_start: int
    started: str
    samples: list[tuple[str, Wire]] = field(default_factory=list)
    meter_stop: int | None = None
    stopped: str | None = None
    reason: str | None = None
    stop_id_tag: str | None = None
    transaction_data: list[Wire] = field(default_factory=list)

    @property
    def energy_wh(self) -> int | None:
        return None if self.meter_stop is None else self.meter_stop - self.meter_start


@dataclass
class Books:
    """All that one station told."""

    boots: list[Wire] = field(default_factory=list)
    heartbeats: int = 0
    statuses: list[Wire] = field(default_factory=list)
    authorized: list[str] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)
    orphans: list[tuple[str, Wire]] = field(default_factory=list)  # stops/values without a start
    meter_values: list[Wire] = field(default_factory=list)  # outside transactions
    other: list[tuple[str, Wire]] = field(default_factory=list)

    def status(self, connector: int) -> str | None:
        """The newest status of a connector, as told."""
        for one in reversed(self.statuses):
            if one["connectorId"] == connector:
                return str(one["status"])
        return None

    def open_transactions(self) -> list[Transaction]:
        return [one for one in self.transactions if one.stopped is None]


@dataclass(frozen=True)
class CallFailed(Exception):
    """A call of the central system was answered with a CALLERROR."""

    code: str
    description: str

    def __str__(self) -> str:
        return f"{self.code}: {self.description}"


@dataclass(frozen=True)
class Frame:
    """One frame as it passed; `sent` True when the central system sent it."""

    sent: bool
    text: str

    @property
    def parts(self) -> list[Any]:
        parts: list[Any] = json.loads(self.text)
        return parts


class CentralSystem:
    """One central system for one station (its books survive reconnects)."""

    def __init__(self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC),
                 heartbeat_s: int = 300, known: set[str] | None = None) -> None:
        self.now = now
        self.heartbeat_s = heartbeat_s
        self.known = known  # None: every tag is accepted
        self.verdicts: dict[str, Wire] = {}  # idTagInfo by tag, before `known`
        self.books = Books()
        self.frames: list[Frame] = []
        self.connections = 0
        self.registration = deque[str]()  # statuses for the next boots; then Accepted
        self.next_transaction = 1
        self.same_transaction_id: int | None = None  # hand this id out again and again
        self.hang_up_after_accept = 0  # so many connections are closed at once
        self.before_boot_answer: list[tuple[str, Wire]] = []
        self.on_frame: Callable[[Frame], None] | None = None
        self._manners: dict[str, deque[Manner]] = defaultdict(deque)
        self._for_ever: dict[str, Manner] = {}
        self._answers: dict[str, Wire] = {}
        self._waiting: dict[str, asyncio.Future[Wire]] = {}
        self._socket: Socket | None = None
        self._late: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    # --- scripting -----------------------------------------------------------------------------

    def behave(self, action: str, *manners: Manner, for_ever: bool = False) -> None:
        """Treat the next calls of `action` so, one manner a call; `for_ever` keeps the last."""
        if for_ever:
            self._for_ever[action] = manners[-1]
        else:
            self._manners[action].extend(manners)

    def behave_well(self) -> None:
        self._manners.clear()
        self._for_ever.clear()

    @property
    def online(self) -> bool:
        return self._socket is not None

    async def disconnect(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection from this side."""
        if self._socket is not None:
            await self._socket.close(code, reason)

    async def call(self, action: str, payload: Wire | None = None) -> Wire:
        """Send a CALL and wait for its answer. Raises CallFailed, EOFError when the link goes."""
        socket = self._socket
        if socket is None:
            raise EOFError("no station is connected")
        message = str(uuid.uuid4())
        future: asyncio.Future[Wire] = asyncio.get_running_loop().create_future()
        self._waiting[message] = future
        try:
            await self._send(socket, json.dumps([2, message, action, payload or {}]))
            return await future
        finally:
            self._waiting.pop(message, None)

    async def send_raw(self, text: str) -> None:
        """Send any text at all to the station."""
        if self._socket is None:
            raise EOFError("no station is connected")
        await self._send(self._socket, text)

    async def until(self, holds: Callable[[Books], Any], limit_s: float = 3600.0) -> None:
        """Wait until the books say so. Raises TimeoutError."""
        async with asyncio.timeout(limit_s):
            while not holds(self.books):
                self._changed.clear()
                await self._changed.wait()

    # --- serving -------------------------------------------------------------------------------

    async def attend(self, socket: Socket) -> None:
        """Serve one connection until it ends."""
        self.connections += 1
        if self.hang_up_after_accept > 0:
            self.hang_up_after_accept -= 1
            await socket.close(1000, "unknown station")
            return
        self._socket = socket
        self._note()
        try:
            while True:
                text = await socket.recv()
                await self._take(socket, text if isinstance(text, str) else text.decode())
        except EOFError:
            pass
        finally:
            if self._socket is socket:
                self._socket = None
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(EOFError("the station hung up"))
            self._note()

    async def _take(self, socket: Socket, text: str) -> None:
        self._log(Frame(sent=False, text=text))
        parts = json.loads(text)
        if parts[0] == 2:
            await self._answer(socket, str(parts[1]), str(parts[2]), parts[3])
        elif parts[1] in self._waiting and not self._waiting[parts[1]].done():
            future = self._waiting[parts[1]]
            if parts[0] == 3:
                future.set_result(parts[2])
            else:
                future.set_exception(CallFailed(str(parts[2]), str(parts[3])))
        self._note()

    async def _answer(self, socket: Socket, message: str, action: str, payload: Wire) -> None:
        manner = self._manner(action)
        match manner:
            case Silence():
                return
            case Refuse(error, description):
                await self._send(socket, json.dumps([4, message, error, description, {}]))
            case Nonsense(text):
                await self._send(socket, text.replace("{id}", message))
            case _:
                await self._enter_and_answer(socket, message, action, payload, manner)

    async def _enter_and_answer(self, socket: Socket, message: str, action: str, payload: Wire,
                                manner: Manner | None) -> None:
        if action == "BootNotification":
            for early, early_payload in self.before_boot_answer:
                await self._send(socket, json.dumps([2, str(uuid.uuid4()), early, early_payload]))
        proper = self._answers.get(message)
        if proper is None:
            proper = self._answers[message] = self._enter(action, payload)
        match manner:
            case TakenButSilent():
                return
            case HangUp(code):
                await socket.close(code, "")
            case Late(delay_s):
                self._send_later(socket, json.dumps([3, message, proper]), delay_s)
            case Reply(instead):
                await self._send(socket, json.dumps([3, message, instead]))
            case _:
                await self._send(socket, json.dumps([3, message, proper]))

    def _send_later(self, socket: Socket, text: str, delay_s: float) -> None:
        task = asyncio.create_task(self._send_late(socket, text, delay_s))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def _manner(self, action: str) -> Manner | None:
        queue = self._manners.get(action)
        if queue:
            return queue.popleft()
        return self._for_ever.get(action)

    async def _send_late(self, socket: Socket, text: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        with contextlib.suppress(EOFError):
            await self._send(socket, text)

    async def _send(self, socket: Socket, text: str) -> None:
        self._log(Frame(sent=True, text=text))
        await socket.send(text)

    def _log(self, frame: Frame) -> None:
        self.frames.append(frame)
        if self.on_frame is not None:
            self.on_frame(frame)

    def _note(self) -> None:
        self._changed.set()

    # --- what the frames mean for the books ------------------------------------------------------

    def _enter(self, action: str, payload: Wire) -> Wire:
        entry: Callable[[Wire], Wire] | None = getattr(self, f"_on_{action}", None)
        if entry is None:
            self.books.other.append((action, payload))
            return {}
        return entry(payload)

    def _clock(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _verdict(self, tag: str) -> Wire:
        if tag in self.verdicts:
            return self.verdicts[tag]
        if self.known is None or tag in self.known:
            return {"status": "Accepted"}
        return {"status": "Invalid"}

    def _on_BootNotification(self, payload: Wire) -> Wire:
        self.books.boots.append(payload)
        status = self.registration.popleft() if self.registration else "Accepted"
        return {"status": status, "currentTime": self._clock(), "interval": self.heartbeat_s}

    def _on_Heartbeat(self, payload: Wire) -> Wire:
        self.books.heartbeats += 1
        return {"currentTime": self._clock()}

    def _on_StatusNotification(self, payload: Wire) -> Wire:
        self.books.statuses.append(payload)
        return {}

    def _on_Authorize(self, payload: Wire) -> Wire:
        self.books.authorized.append(payload["idTag"])
        return {"idTagInfo": self._verdict(payload["idTag"])}

    def _on_StartTransaction(self, payload: Wire) -> Wire:
        number = self.same_transaction_id
        if number is None:
            number = self.next_transaction
            self.next_transaction += 1
        self.books.transactions.append(Transaction(
            number, payload["connectorId"], payload["idTag"], payload["meterStart"],
            payload["timestamp"]))
        return {"transactionId": number, "idTagInfo": self._verdict(payload["idTag"])}

    def _find(self, number: int, connector: int | None = None) -> Transaction | None:
        for one in self.books.transactions:
            if one.number == number and one.stopped is None and (
                    connector is None or one.connector == connector):
                return one
        return None

    def _on_MeterValues(self, payload: Wire) -> Wire:
        if "transactionId" not in payload:
            self.books.meter_values.append(payload)
            return {}
        found = self._find(payload["transactionId"], payload["connectorId"])
        if found is None:
            self.books.orphans.append(("MeterValues", payload))
            return {}
        found.samples.extend((value["timestamp"], value) for value in payload["meterValue"])
        return {}

    def _on_StopTransaction(self, payload: Wire) -> Wire:
        found = self._find(payload["transactionId"])
        if found is None:
            self.books.orphans.append(("StopTransaction", payload))
            return {}
        found.meter_stop = payload["meterStop"]
        found.stopped = payload["timestamp"]
        found.reason = payload.get("reason", "Local")
        found.stop_id_tag = payload.get("idTag")
        found.transaction_data = payload.get("transactionData", [])
        return {"idTagInfo": self._verdict(payload["idTag"])} if "idTag" in payload else {}

    def _on_DataTransfer(self, payload: Wire) -> Wire:
        self.books.other.append(("DataTransfer", payload))
        return {"status": "UnknownVendorId"}


class _WebSocket:
    """A connection of the `websockets` server as a `Socket`."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def recv(self) -> str | bytes:
        from websockets.exceptions import ConnectionClosed

        try:
            received: str | bytes = await self._connection.recv()
        except ConnectionClosed as closed:
            raise EOFError(str(closed)) from closed
        return received

    async def send(self, text: str) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            await self._connection.send(text)
        except ConnectionClosed as closed:
            raise EOFError(str(closed)) from closed

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self._connection.close(code, reason)


@contextlib.asynccontextmanager
async def serve(central: CentralSystem, host: str = "127.0.0.1", port: int = 0,
                path_prefix: str = "/ocpp") -> AsyncIterator[str]:
    """Listen for the station; yields the URL without the identity."""
    from websockets.asyncio.server import ServerConnection
    from websockets.asyncio.server import serve as listen
    from websockets.typing import Subprotocol

    async def attend(connection: ServerConnection) -> None:
        await central.attend(_WebSocket(connection))

    async with listen(attend, host, port, subprotocols=[Subprotocol("ocpp1.6")],
                      ping_interval=None, compression=None) as server:
        bound = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://{host}:{bound}{path_prefix}"
