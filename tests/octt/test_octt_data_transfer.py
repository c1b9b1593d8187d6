"""DataTransfer over a real WebSocket: TC_062, and what vendors' handlers make of it."""

import asyncio
from typing import Any

import pytest
from support.octt import Octt, case

from cpctl.core.values import Outcome
from cpctl.demo.csms import Refuse, Reply, Silence
from cpctl.runtime.vendors import Heard, Line, Says


class Tariffs:
    """A vendor that knows a few messages."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.heard: list[Heard] = []
        self.messages = {"": self.plain, "GetTariff": self.tariff, "SetTariff": self.refuse,
                         "Crash": self.crash, "Hang": self.hang, "Odd": self.odd,
                         "Report": self.report}

    async def plain(self, content: str | None) -> Says:
        return Says()

    async def tariff(self, content: str | None) -> Says:
        return Says(content=f"0.39 EUR for {content}")

    async def refuse(self, content: str | None) -> Says:
        return Says(accepted=False, content="read-only")

    async def crash(self, content: str | None) -> Says:
        raise ZeroDivisionError("nobody thought of this")

    async def hang(self, content: str | None) -> Says:
        await asyncio.sleep(10_000)
        return Says()

    async def odd(self, content: str | None) -> Any:
        return {"status": "Accepted"}

    async def report(self, content: str | None) -> Says:
        self.heard.append(await self.line.send("Report", content))
        return Says()


def with_tariffs(station: Octt) -> Tariffs:
    made: list[Tariffs] = []
    assert station.app is not None
    station.app.services.vendors.register(
        "org.Example", lambda line: made.append(Tariffs(line)) or made[0])
    return made[0]


async def transfer(station: Octt, vendor: str, message: str | None = None,
                   data: str | None = None) -> dict[str, Any]:
    wire = {"vendorId": vendor, "messageId": message, "data": data}
    return await station.central.call(
        "DataTransfer", {name: text for name, text in wire.items() if text is not None})


@case("TC_062_CS")
@pytest.mark.requirement("16.DT.1", "16.DT.2", "DataTransfer.conf:UnknownVendorId")
async def test_a_vendor_that_nobody_knows(station: Octt) -> None:
    answer = await transfer(station, "org.nobody", "Anything", "x")

    assert answer == {"status": "UnknownVendorId"}


@case("TC_062_CS")
@pytest.mark.requirement("16.DT.1", "DataTransfer.conf:Accepted", "DataTransfer.conf:Rejected",
                         "DataTransfer.conf:UnknownMessageId")
async def test_a_vendor_with_a_handler(station: Octt) -> None:
    with_tariffs(station)

    assert await transfer(station, "org.example", "gettariff", "1 h") == {
        "status": "Accepted", "data": "0.39 EUR for 1 h"}
    assert await transfer(station, "ORG.EXAMPLE") == {"status": "Accepted"}
    assert await transfer(station, "org.example", "SetTariff") == {
        "status": "Rejected", "data": "read-only"}
    assert await transfer(station, "org.example", "Unheard") == {"status": "UnknownMessageId"}


@case()
@pytest.mark.requirement("16.DT.2")
async def test_a_handler_that_fails_costs_one_message(station: Octt) -> None:
    with_tariffs(station)

    assert await transfer(station, "org.example", "Crash") == {"status": "Rejected"}
    assert await transfer(station, "org.example", "Odd") == {"status": "Rejected"}
    assert await transfer(station, "org.example", "Hang") == {"status": "Rejected"}
    assert await transfer(station, "org.example") == {"status": "Accepted"}
    await station.charge(60)
    assert station.status() == "Charging"


@case()
@pytest.mark.requirement("16.DT.1", "DataTransfer.req")
async def test_a_handler_may_send(station: Octt) -> None:
    tariffs = with_tariffs(station)
    station.central.behave("DataTransfer", Reply({"status": "Accepted", "data": "thanks"}),
                           Reply({"status": "Rejected"}), Reply({"status": "UnknownMessageId"}),
                           Reply({"status": "UnknownVendorId"}), Refuse("NotSupported"), Silence())

    for _ in range(6):
        assert await transfer(station, "org.example", "Report", "42") == {"status": "Accepted"} or (
            len(tariffs.heard) == 5)
    await station.until(lambda: len(tariffs.heard) == 5, 60)

    assert station.calls("DataTransfer")[0] == {
        "vendorId": "org.Example", "messageId": "Report", "data": "42"}
    assert [(one.outcome, one.content) for one in tariffs.heard] == [
        (Outcome.ACCEPTED, "thanks"), (Outcome.REJECTED, None), (Outcome.UNKNOWN_MESSAGE, None),
        (Outcome.UNKNOWN, None), (Outcome.NOT_SUPPORTED, None)]
