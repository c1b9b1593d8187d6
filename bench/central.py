"""A central system that costs little, in a process of its own: accepts everything, notes when.

It is told what to do by lines of JSON on its standard input and answers each on its output:

    {"do": "wait", "action": "StatusNotification", "count": 3}   answered when so many came
    {"do": "arrivals"}                                           [[monotonic ns, action], …]
    {"do": "forget"}                                             begin counting anew
    {"do": "kill", "pid": 1, "signal": 10, "action": …, "count": …}   answered when done
    {"do": "flood", "per_s": 200}   {"do": "calm"}               calls to the station

With two arguments, a certificate and its key, the port speaks TLS.
A client on /echo gets back what it sends: the raw ping-pong that others are compared with.
"""

import asyncio
import contextlib
import json
import os
import ssl
import sys
import time
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

ACCEPTED = {"status": "Accepted"}
NOW = "2026-01-01T00:00:00.000Z"


class Central:
    def __init__(self) -> None:
        self.arrivals: list[tuple[int, str]] = []
        self.counts: dict[str, int] = {}
        self.transactions = 0
        self.answered = 0
        self.sent = 0
        self.station: ServerConnection | None = None
        self.news = asyncio.Event()
        self.flood: asyncio.Task[None] | None = None

    async def attend(self, connection: ServerConnection) -> None:
        path = connection.request.path if connection.request else ""
        with contextlib.suppress(ConnectionClosed):
            if path.startswith("/echo"):
                async for text in connection:
                    await connection.send(text)
            else:
                self.station = connection
                async for text in connection:
                    await self.take(connection, text)

    async def take(self, connection: ServerConnection, text: str | bytes) -> None:
        parts = json.loads(text)
        if parts[0] != 2:
            self.answered += 1
            return
        _, message, action, _ = parts
        self.arrivals.append((time.monotonic_ns(), action))
        self.counts[action] = self.counts.get(action, 0) + 1
        self.counts["*"] = self.counts.get("*", 0) + 1
        await connection.send(json.dumps([3, message, self.answer(action)]))
        self.news.set()

    def answer(self, action: str) -> dict[str, Any]:
        match action:
            case "BootNotification":
                return {**ACCEPTED, "currentTime": _utc(), "interval": 86400}
            case "Heartbeat":
                return {"currentTime": _utc()}
            case "Authorize" | "StopTransaction":
                return {"idTagInfo": ACCEPTED}
            case "StartTransaction":
                self.transactions += 1
                return {"transactionId": self.transactions, "idTagInfo": ACCEPTED}
            case _:
                return {}

    # --- commands -----------------------------------------------------------------------------

    async def obey(self, order: dict[str, Any]) -> Any:
        match order["do"]:
            case "wait" | "kill":
                await self.reached(order["action"], order["count"])
                if order["do"] == "kill":
                    os.kill(order["pid"], order["signal"])
            case "arrivals":
                return self.arrivals
            case "forget":
                self.arrivals, self.counts = [], {}
            case "flood":
                self.sent = self.answered = 0
                self.flood = asyncio.create_task(self.flooding(order["per_s"]))
            case "calm":
                if self.flood is not None:
                    self.flood.cancel()
                return {"sent": self.sent, "answered": self.answered}
        return True

    async def reached(self, action: str, count: int) -> None:
        while self.counts.get(action, 0) < count:
            self.news.clear()
            await self.news.wait()

    async def flooding(self, per_s: int) -> None:
        """Calls at an even pace; each tenth is one that the station must write down."""
        begin = time.monotonic()
        while True:
            due = int((time.monotonic() - begin) * per_s)
            while self.sent < due and self.station is not None:
                await self.station.send(json.dumps([2, f"flood-{self.sent}", *self.call()]))
                self.sent += 1
            await asyncio.sleep(1 / per_s)

    def call(self) -> tuple[str, dict[str, Any]]:
        if self.sent % 10 == 0:
            seconds = 60 + self.sent // 10 % 2
            return "ChangeConfiguration", {"key": "ClockAlignedDataInterval",
                                           "value": str(900 * (seconds - 59))}
        if self.sent % 2:
            return "GetConfiguration", {"key": ["HeartbeatInterval", "MeterValueSampleInterval"]}
        return "DataTransfer", {"vendorId": "bench", "data": "x" * 200}


def _utc() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())


async def main() -> None:
    central = Central()
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    async with serve(
        central.attend, "127.0.0.1", 0, subprotocols=[Subprotocol("ocpp1.6")],
        ping_interval=None, compression=None, select_subprotocol=_first, ssl=_tls(*sys.argv[1:]),
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        print(json.dumps(port), flush=True)
        while line := await orders.readline():
            print(json.dumps(await central.obey(json.loads(line))), flush=True)


def _tls(*files: str) -> ssl.SSLContext | None:
    if not files:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


def _first(connection: ServerConnection, offered: Any) -> Any:
    return next(iter(offered), None)


if __name__ == "__main__":
    asyncio.run(main())
