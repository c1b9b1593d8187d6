"""What the central system answers, word by word, and what the station makes of it: over a real
WebSocket."""

import pytest
from support.octt import Octt, case
from support.story import configure
from support.trace import Trace
from support.world import CARD

from cpctl.demo.csms import Reply

requirement = pytest.mark.requirement
REFUSALS = ("Blocked", "Expired", "Invalid", "ConcurrentTx")


async def ended_and_unplugged(station: Octt) -> None:
    await station.until(lambda: not station.coil(), 30)
    await station.advance(5)
    await station.unplug()
    await station.until(lambda: not station.board.look(1).locked, 30)
    await station.delivered()


@case()
@requirement("16.TX.4", "16.AUTH.7", "StartTransaction.conf:Blocked",
             "StartTransaction.conf:Expired", "StartTransaction.conf:Invalid",
             "StartTransaction.conf:ConcurrentTx", "StartTransaction.conf:Accepted")
async def test_each_refusal_of_a_start_ends_it(station: Octt) -> None:
    for number, word in enumerate(REFUSALS):
        token = f"04AA00000000{number:02}"
        station.central.behave("StartTransaction", Reply(
            {"transactionId": 100 + number, "idTagInfo": {"status": word}}))
        trace = Trace(station)
        await station.charge(15, token=token)
        assert trace.one("StopTransaction")["reason"] == "DeAuthorized", word
        assert trace.one("StopTransaction")["transactionId"] == 100 + number
        await station.tap(token)  # the cable waits for who plugged it in
        await ended_and_unplugged(station)

    await station.charge(20)
    assert station.status() == "Charging"


@case()
@requirement("16.CACHE.1", "16.CACHE.5", "StopTransaction.conf:Blocked",
             "StopTransaction.conf:Expired", "StopTransaction.conf:Invalid",
             "StopTransaction.conf:ConcurrentTx", "StopTransaction.conf:Accepted")
async def test_the_answer_to_a_stop_is_remembered_and_stops_nothing(station: Octt) -> None:
    await configure(station, LocalPreAuthorize=True)
    for number, word in enumerate(("Accepted", *REFUSALS)):
        token = f"04BB00000000{number:02}"
        station.central.behave("StopTransaction", Reply({"idTagInfo": {"status": word}}))
        await station.charge(15, token=token)
        await station.tap(token)
        await ended_and_unplugged(station)
        trace = Trace(station)

        await station.tap(token)
        await station.advance(2)

        asked = trace.of("Authorize")
        assert asked == ([] if word == "Accepted" else [{"idTag": token}]), word
        await station.tap(token)  # given up
        await station.advance(2)
        assert station.status() == "Available"


@case()
@requirement("16.AUTH.6", "Authorize.conf:Blocked", "Authorize.conf:Expired",
             "Authorize.conf:Invalid", "Authorize.conf:ConcurrentTx")
async def test_each_refusal_of_a_tag_starts_nothing(station: Octt) -> None:
    await station.plug()
    for number, word in enumerate(REFUSALS):
        token = f"04CC00000000{number:02}"
        station.central.verdicts[token] = {"status": word}
        trace = Trace(station)
        await station.tap(token)
        await station.advance(2)
        assert trace.actions() == ["Authorize"], word
    await station.tap(CARD)
    await station.advance(10)
    assert station.status() == "Charging"


@case()
@requirement("16.DT.1", "DataTransfer.req:Accepted", "DataTransfer.req:Rejected",
             "DataTransfer.req:UnknownMessageId", "DataTransfer.req:UnknownVendorId")
async def test_each_answer_to_a_message_of_ours_is_told_to_who_sent_it(station: Octt) -> None:
    assert station.app is not None
    vendors = station.app.services.vendors
    trace = Trace(station)
    heard = []
    for word in ("Accepted", "Rejected", "UnknownMessageId", "UnknownVendorId"):
        station.central.behave("DataTransfer", Reply({"status": word, "data": word.lower()}))
        answer = await vendors.send("org.example", "Hello", "there")
        heard.append((answer.outcome.value, answer.content))

    assert heard == [("accepted", "accepted"), ("rejected", "rejected"),
                     ("unknown_message", "unknownmessageid"), ("unknown", "unknownvendorid")]
    assert trace.of("DataTransfer") == [
        {"vendorId": "org.example", "messageId": "Hello", "data": "there"}] * 4
