"""Runs inside the namespace of `support.pcscd`: the real daemon, a real card, a real meter.

pcscd with a virtual reader and a card of known UID, a Modbus slave on a pseudo-terminal, the
embedded central system on the loopback; pilot and contactor are simulated. Called with the name of
a story; prints what the books say as one JSON object.
"""

import asyncio
import contextlib
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from support.modbus_slave import ModbusSlave
from support.pcscd import Pcscd
from support.real_station import Daemon, Supply, as_told
from support.vcard import VirtualCard

from cpctl.demo.csms import CentralSystem, serve

PORT = 9100  # nobody else is in this namespace
CARD, OTHER = "04A1B2C3D4E5F6", "04112233445566"
GONE_S = 20.0
DEBOUNCE_S = 0.3


def config(evses: int) -> str:
    posts = "\n".join(f"""\
[[evse]]
id = {number}
pilot = {{ driver = "sim" }}
contactor = {{ driver = "sim" }}
meter = {{ driver = "eastron_sdm630", bus = "rs485-1", address = {number} }}
""" for number in range(1, evses + 1))
    return f"""\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "Bench"
[csms]
url = "ws://127.0.0.1:{PORT}/ocpp"
versions = ["1.6"]
reconnect = {{ wait_min_s = 1, random_s = 0, repeat_times = 0 }}
[ocpp16]
MeterValueSampleInterval = 1
AllowOfflineTxForUnknownId = true
[limits]
meter_silence_s = 30
[api]
socket = "{{folder}}/s"
[store]
path = "{{folder}}/state"
[sim]
car_start_delay_s = 0.1
[serial.rs485-1]
port = "{{folder}}/rs485-1"
[[reader]]
id = "front"
driver = "pcsc"
reader = "CPCTL Virtual"
debounce_s = {DEBOUNCE_S}
{posts}
"""


def _card_present() -> bool:
    """What pcscd knows of its reader, by a context of our own."""
    from smartcard import scard

    _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_USER)
    try:
        _, readers = scard.SCardListReaders(context, [])
        first = next(name for name in readers if name.endswith("00 00"))
        _, states = scard.SCardGetStatusChange(context, 0, [(first, scard.SCARD_STATE_UNAWARE)])
        return bool(states[0][1] & scard.SCARD_STATE_PRESENT)
    finally:
        scard.SCardReleaseContext(context)


@contextlib.asynccontextmanager
async def held(uid: str) -> AsyncIterator[None]:
    """A card lies on the reader; afterwards pcscd has noticed that it is gone."""
    with VirtualCard(bytes.fromhex(uid)):
        yield
    end = time.monotonic() + GONE_S
    while await asyncio.to_thread(_card_present):
        assert time.monotonic() < end, "pcscd does not notice that the card is gone"
        await asyncio.sleep(0.05)
    await asyncio.sleep(2 * DEBOUNCE_S)


class Bench:
    """All the parts, put together and started."""

    def __init__(self, folder: Path, slave: ModbusSlave, central: CentralSystem, evses: int
                 ) -> None:
        rng = random.Random(evses)
        self.central = central
        self.daemon = Daemon(folder, config(evses))
        self.supplies = {number: Supply(slave[number], 100_000 * number + 17, rng)
                         for number in range(1, evses + 1)}

    async def begin(self, evse: int, uid: str) -> None:
        """Plug in and hold the card to the reader until the car charges."""
        await self.daemon.call("sim.plug", evse=evse)
        await self.daemon.until_evse(evse, "Preparing")
        async with held(uid):
            await self.daemon.until_evse(evse, "Charging")

    async def end(self, evse: int, uid: str) -> None:
        """The card again; then the car leaves."""
        await self.daemon.until_read(evse, self.supplies[evse].register_wh)
        async with held(uid):
            await self.daemon.until_evse(evse, "Finishing")
        await self.leave(evse)

    async def leave(self, evse: int) -> None:
        await self.daemon.call("sim.unplug", evse=evse)
        await self.daemon.until_evse(evse, "Available")

    async def told(self) -> dict[str, Any]:
        """The books, once everything is told."""
        await self.daemon.until("everything is told",
                                lambda picture: picture["journal"]["waiting"] == 0)
        return {
            "authorized": self.central.books.authorized,
            "transactions": [as_told(one) for one in self.central.books.transactions],
            "orphans": self.central.books.orphans,
            "sessions": await self.daemon.sessions(),
            "shown": {number: sorted(one.shown) for number, one in self.supplies.items()},
            "exit": await self.daemon.stop(),
        }


async def one_card(bench: Bench, central: CentralSystem) -> dict[str, Any]:
    """A card starts a session that the meter measures, and stops it at the second tap."""
    async with serve(central, port=PORT), bench.daemon:
        await central.until(lambda books: books.status(1) == "Available", 60)
        supply = bench.supplies[1]
        start_wh = supply.register_wh
        await bench.begin(1, CARD)
        await supply.flow_until(120)
        await central.until(lambda books: len(books.transactions[0].samples) >= 4, 60)
        stop_wh = supply.register_wh
        await bench.end(1, CARD)
        return {**await bench.told(), "start_wh": start_wh, "stop_wh": stop_wh}


async def three_sessions(bench: Bench, central: CentralSystem) -> dict[str, Any]:
    """Two EVSEs, the second session begun offline and ended after reconnecting."""
    one, two = bench.supplies.values()
    marks: list[tuple[int, int]] = []
    began: dict[int, int] = {}

    async def begin(evse: int, uid: str) -> None:
        began[evse] = bench.supplies[evse].register_wh
        await bench.begin(evse, uid)

    def ended(evse: int) -> None:
        marks.append((began[evse], bench.supplies[evse].register_wh))

    async with contextlib.AsyncExitStack() as stack:
        async with serve(central, port=PORT):
            await stack.enter_async_context(bench.daemon)
            await central.until(lambda books: books.status(2) == "Available", 60)
            await begin(1, CARD)
            await one.flow_until(60)
        await bench.daemon.until("offline", lambda picture: not picture["link"]["online"])
        await begin(2, OTHER)
        await asyncio.gather(one.flow_until(60), two.flow_until(90))
        offline = [as_told(each) for each in central.books.transactions]
        async with serve(central, port=PORT):
            await central.until(lambda books: len(books.transactions) == 2, 60)
            await asyncio.gather(one.flow_until(30), two.flow_until(30))
            await bench.end(2, OTHER)
            ended(2)
            await bench.end(1, CARD)
            ended(1)
            await begin(1, OTHER)
            await one.flow_until(45)
            await bench.daemon.until_read(1, one.register_wh)
            await bench.leave(1)
            ended(1)
            return {**await bench.told(), "offline": offline, "marks": marks}


STORIES = {"one_card": (one_card, 1), "three_sessions": (three_sessions, 2)}


async def tell(name: str) -> dict[str, Any]:
    story, evses = STORIES[name]
    central = CentralSystem()
    with tempfile.TemporaryDirectory(prefix="cpctl-real-") as directory:
        folder = Path(directory)
        with Pcscd(), ModbusSlave(folder / "rs485-1", tuple(range(1, evses + 1))) as slave:
            return await story(Bench(folder, slave, central, evses), central)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(tell(sys.argv[1]))))
