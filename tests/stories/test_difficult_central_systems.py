"""Central systems that misbehave: nothing is lost, nothing blocks, the station is never mute."""

import json

import pytest
from support import virtual_loop
from support.world import CARD, OTHER_CARD, World, world

from cpctl.demo.csms import (
    CallFailed,
    HangUp,
    Late,
    Manner,
    Nonsense,
    Refuse,
    Reply,
    Silence,
    TakenButSilent,
)

MANNERS: dict[str, Manner] = {
    "callerror": Refuse("InternalError"),
    "strange_callerror": Refuse("NoSuchCodeAtAll", "x" * 2000),
    "nonsense": Nonsense("this is no JSON"),
    "nonsense_array": Nonsense('[3,"{id}"]'),
    "nonsense_payload": Reply({"surprise": [1, 2, 3]}),
    "nonsense_type": Nonsense('[3,"{id}","text"]'),
    "late": Late(45.0),
    "silence": Silence(),
    "lost_answer": TakenButSilent(),
    "hang_up": HangUp(),
}
ACTIONS = ("StartTransaction", "MeterValues", "StopTransaction")


async def charge_once(w: World, seconds: float = 200) -> None:
    await w.plug()
    await w.tap(CARD)
    await w.advance(seconds)
    await w.tap(CARD)
    await w.advance(8)
    await w.unplug()


@pytest.mark.requirement("16.OFF.2", "16.OFF.3", "16.OFF.4", "16.RPC.6", "16.RPC.8")
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("manner", sorted(MANNERS))
def test_one_bad_answer_loses_nothing(action: str, manner: str) -> None:
    async def story() -> None:
        async with world() as w:
            w.central.behave(action, MANNERS[manner])
            await charge_once(w)
            await w.delivered()

            one, = w.transactions
            assert one.meter_stop == w.register_wh()
            assert len(one.samples) == 3
            await w.assert_books_agree()

    virtual_loop.run(story())


@pytest.mark.requirement("16.OFF.2")
@pytest.mark.parametrize("manner", ["callerror", "nonsense", "silence", "late", "hang_up"])
@pytest.mark.parametrize("action", ["StatusNotification", "Heartbeat", "Authorize"])
def test_no_transaction_waits_for_another_kind_of_message(action: str, manner: str) -> None:
    async def story() -> None:
        async with world() as w:
            w.app.loop.settings = w.app.loop.settings.with_text("auth.offline_unknown", "true")
            w.central.behave(action, MANNERS[manner], for_ever=manner != "hang_up")
            if manner == "hang_up":
                w.central.behave(action, *[HangUp()] * 2)
            await charge_once(w)
            await w.delivered()

            one, = w.transactions
            assert one.meter_stop == w.register_wh()
            await w.assert_books_agree()

    virtual_loop.run(story())


def test_one_status_never_answered_is_told_again_and_holds_up_nothing() -> None:
    async def story() -> None:
        async with world() as w:
            w.central.behave("StatusNotification", Silence())
            await w.plug()
            await w.tap(CARD)
            await w.advance(200)
            assert w.coil()
            assert len(w.transactions) == 1
            assert w.status() == "Charging"

    virtual_loop.run(story())


@pytest.mark.requirement("16.TX.6", "16.OFF.4")
def test_a_start_refused_for_ever_is_given_up_and_the_rest_goes_out_without_an_id() -> None:
    async def story() -> None:
        async with world() as w:
            w.central.behave("StartTransaction", Refuse(), for_ever=True)
            await charge_once(w, 900)
            await w.delivered()

            assert len(w.calls("StartTransaction")) == 3
            stop, = w.calls("StopTransaction")
            assert stop["transactionId"] == -1
            assert stop["meterStop"] == w.register_wh()
            given_up = [entry for entry in await w.app.journal.entries("abandoned", 10)]
            assert len(given_up) == 1

    virtual_loop.run(story())


@pytest.mark.requirement("16.OFF.4")
def test_no_finished_session_is_given_up_because_of_one_callerror() -> None:
    async def story() -> None:
        async with world() as w:
            w.central.behave("StopTransaction", Refuse())
            await charge_once(w)
            await w.delivered()

            first, second = w.calls("StopTransaction")
            assert first == second
            await w.assert_books_agree()

    virtual_loop.run(story())


@pytest.mark.requirement("16.RPC.12", "16.RPC.2")
def test_accept_then_close_backs_off_and_comes_in_at_last() -> None:
    async def story() -> None:
        async with world(start=False) as w:
            w.central.hang_up_after_accept = 10_000
            await w.start()
            await w.advance(600)
            assert 3 <= w.central.connections <= 40
            w.central.hang_up_after_accept = 0
            await w.until(lambda: w.status() == "Available", 600)

    virtual_loop.run(story())


@pytest.mark.requirement("16.BOOT.5", "16.RPC.4")
def test_calls_before_the_boot_answer_are_answered() -> None:
    async def story() -> None:
        async with world(start=False) as w:
            w.central.before_boot_answer = [
                ("GetConfiguration", {"key": ["SupportedFeatureProfiles"]}),
                ("ChangeConfiguration", {"key": "MeterValueSampleInterval", "value": "30"})]
            await w.start()
            await w.until(lambda: w.status() == "Available", 60)

            answers = [frame.parts for frame in w.central.frames
                       if not frame.sent and frame.text.startswith("[3,")]
            profiles, change = (answer[2] for answer in answers)
            assert profiles["configurationKey"][0]["value"].startswith("Core,")
            assert change == {"status": "Accepted"}

    virtual_loop.run(story())


@pytest.mark.requirement("16.TX.7")
def test_the_same_transaction_id_twice_mixes_nothing_up() -> None:
    async def story() -> None:
        async with world(evses=2) as w:
            w.central.same_transaction_id = 1_700_000_000
            await w.plug(1)
            await w.tap(CARD, evse=1)
            await w.plug(2)
            await w.tap(OTHER_CARD, evse=2)
            await w.advance(130)
            await w.unplug(1)
            await w.advance(100)
            await w.unplug(2)
            await w.delivered()

            first, second = w.calls("StopTransaction")
            assert first["transactionId"] == second["transactionId"] == 1_700_000_000
            assert first["meterStop"] == w.register_wh(1)
            assert second["meterStop"] == w.register_wh(2)
            assert {call["connectorId"] for call in w.calls("MeterValues")} == {1, 2}

    virtual_loop.run(story())


def test_a_central_system_without_security_events_is_told_everything_else() -> None:
    async def story() -> None:
        async with world() as w:
            w.central.behave("SecurityEventNotification", Refuse("NotImplemented"), for_ever=True)
            await charge_once(w)
            await w.power_cut()
            await w.advance(120)
            await w.delivered()

            await w.assert_books_agree()

    virtual_loop.run(story())


@pytest.mark.requirement("16.RPC.11")
def test_a_half_open_link_is_noticed_within_ping_interval_and_timeout() -> None:
    async def story() -> None:
        async with world() as w:
            before = w.central.connections
            w.network.freeze()
            limit_s = (w.app.loop.settings.integer("link.ping_s")
                       + w.app.loop.settings.integer("link.pong_timeout_s"))
            await w.until(lambda: not w.app.link.state.online, limit_s + 1)
            await w.until(lambda: w.central.connections > before, 120)
            await charge_once(w)
            await w.delivered()
            await w.assert_books_agree()

    virtual_loop.run(story())


@pytest.mark.requirement("16.BOOT.5", "16.BOOT.6", "16.RSTART.2")
@pytest.mark.octt("TC_002_CS")
def test_pending_answers_calls_sends_nothing_and_boots_again_after_the_interval() -> None:
    async def story() -> None:
        async with world(start=False) as w:
            w.central.heartbeat_s = 40
            w.central.registration.append("Pending")
            await w.start()
            await w.advance(20)
            assert len(w.central.books.boots) == 1
            assert w.central.books.statuses == []
            found = await w.central.call("GetConfiguration", {})
            assert found["configurationKey"]
            refused = await w.central.call("RemoteStartTransaction", {"idTag": CARD})
            assert refused == {"status": "Rejected"}
            await w.until(lambda: w.status() == "Available", 60)
            assert len(w.central.books.boots) == 2

    virtual_loop.run(story())


@pytest.mark.requirement("16.BOOT.7")
def test_rejected_is_silent_until_the_interval_has_passed() -> None:
    async def story() -> None:
        async with world(start=False) as w:
            w.central.heartbeat_s = 90
            w.central.registration.extend(["Rejected", "Rejected"])
            await w.start()
            await w.advance(60)
            assert [frame.parts[2] for frame in w.central.frames if not frame.sent] == [
                "BootNotification"]
            await w.until(lambda: w.status() == "Available", 400)
            assert len(w.central.books.boots) == 3

    virtual_loop.run(story())


@pytest.mark.requirement("16.BOOT.2")
def test_a_reconnect_sends_no_boot_and_only_what_changed() -> None:
    async def story() -> None:
        async with world(evses=2) as w:
            w.network.down()
            await w.plug(2)
            await w.advance(10)
            before = len(w.central.books.statuses)
            w.network.up = True
            await w.until(lambda: w.status(2) == "Preparing", 120)

            assert len(w.central.books.boots) == 1
            assert [one["connectorId"] for one in w.central.books.statuses[before:]] == [2]

    virtual_loop.run(story())


@pytest.mark.parametrize("text", [
    "", "null", "[]", "{}", "[2]", '[2,"a"]', '[2,"a","Reset"]', '[2,"a",["Reset"],{}]',
    '[2,"a",{"q":1},{}]', '[2,{"z":1},"Reset",{}]', '[2,"' + "x" * 300 + '","Reset",{}]',
    "[" * 100_000, '[2,"a","Heartbeat",{"n":' + "9" * 5000 + "}]", '["2","a","Reset",{}]',
    '[5,"a",{}]', '[9,"a","b",{}]', '[3,"unknown",{}]', '[4,"unknown","InternalError","",{}]',
    '[2,"a","Reset",{"type":NaN}]', '[2,"a","NoSuchAction",{}]', '[2,"a","Reset",null]',
    '[2,"a","GetConfiguration",{"key":"' + "k" * 200_000 + '"}]'])
def test_no_frame_makes_the_station_deaf(text: str) -> None:
    async def story() -> None:
        async with world() as w:
            await w.central.send_raw(text)
            await w.advance(1)
            answer = await w.central.call("GetConfiguration", {"key": ["NumberOfConnectors"]})

            assert answer["configurationKey"][0]["value"] == "1"
            for frame in w.central.frames:
                if not frame.sent:
                    json.loads(frame.text)

    virtual_loop.run(story())


def test_ten_thousand_stray_answers_change_nothing() -> None:
    async def story() -> None:
        async with world() as w:
            for number in range(5_000):
                await w.central.send_raw(json.dumps([3, f"stray-{number}", {}]))
                await w.central.send_raw(json.dumps([4, f"stray-{number}", "X", "", {}]))
            await w.advance(1)
            await charge_once(w)
            await w.delivered()

            await w.assert_books_agree()

    virtual_loop.run(story())


@pytest.mark.requirement("16.RPC.7")
def test_what_a_station_is_never_asked_is_refused_by_the_right_error() -> None:
    async def story() -> None:
        async with world() as w:
            for action, payload, code in (
                    ("Authorize", {"idTag": CARD}, "NotSupported"),
                    ("Heartbeat", {}, "NotSupported"),
                    ("NoSuchThing", {}, "NotImplemented")):
                with pytest.raises(CallFailed) as refused:
                    await w.central.call(action, payload)
                assert refused.value.code == code

    virtual_loop.run(story())


@pytest.mark.requirement("16.TX.4")
@pytest.mark.parametrize("status", ["Blocked", "Expired", "Invalid", "ConcurrentTx"])
def test_a_start_refused_with_id_zero_ends_the_transaction(status: str) -> None:
    async def story() -> None:
        async with world() as w:
            w.central.behave("StartTransaction", Reply(
                {"transactionId": 0, "idTagInfo": {"status": status}}))
            await w.plug()
            await w.tap(CARD)
            await w.advance(30)
            assert not w.coil()
            stop, = w.calls("StopTransaction")
            assert (stop["transactionId"], stop["reason"]) == (0, "DeAuthorized")

    virtual_loop.run(story())


@pytest.mark.requirement("16.BOOT.4")
@pytest.mark.parametrize("time", ["", "yesterday", "2026-13-45T99:99:99Z", "1767225600"])
def test_an_acceptance_counts_though_its_time_cannot_be_read(time: str) -> None:
    async def story() -> None:
        async with world(start=False) as w:
            w.central.behave("BootNotification", Reply(
                {"status": "Accepted", "currentTime": time, "interval": 300}))
            await w.start()
            await w.until(lambda: w.status() == "Available", 30)
            await charge_once(w)
            await w.delivered()

            assert len(w.calls("BootNotification")) == 1
            await w.assert_books_agree()

    virtual_loop.run(story())


@pytest.mark.requirement("16.BOOT.6")
@pytest.mark.parametrize("status", ["Pending", "Rejected"])
def test_an_absurd_interval_does_not_silence_the_station_for_years(status: str) -> None:
    async def story() -> None:
        async with world(start=False) as w:
            w.central.behave("BootNotification", Reply(
                {"status": status, "currentTime": "2026-05-01T08:00:00Z", "interval": 2**31}))
            await w.start()
            await w.until(lambda: w.status() == "Available", 2 * 86_400)

    virtual_loop.run(story())
