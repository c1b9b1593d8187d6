"""What may be done before the central system has accepted us, and where the site decides."""

from itertools import pairwise

import pytest
from support.story import configure, last_status, statuses, story
from support.world import CARD, OTHER_CARD, world

from cpctl.demo.csms import Refuse, Silence

TWO_CONNECTORS = 'connectors = [{ id = 1, type = "cType2" }, { id = 2, type = "cType1" }]'


def options(**lines: str) -> str:
    """[options] with each line; a double underscore stands for the dot."""
    written = [f"{name.replace('__', '.')} = {value}" for name, value in lines.items()]
    return "\n".join(["[options]", *written, ""])


@pytest.mark.requirement("16.BOOT.9")
@pytest.mark.parametrize(("policy", "allowed"), [
    ("never", False), ("after_first_accept", False), ("always", True)])
@story
async def test_before_the_first_acceptance_ever_the_site_decides(policy: str,
                                                                 allowed: bool) -> None:
    more = options(policy__tx_before_accepted=f'"{policy}"')
    async with world(start=False, more=more,
                     ocpp16="AllowOfflineTxForUnknownId = true") as w:
        w.network.up = False
        await w.start()
        await w.charge(20)
        assert w.coil() is allowed


@pytest.mark.requirement("16.BOOT.9", "16.OFF.1")
@pytest.mark.parametrize("policy", ["never", "after_first_accept"])
@story
async def test_accepted_once_a_boot_offline_charges_by_the_offline_rules(policy: str) -> None:
    async with world(more=options(policy__tx_before_accepted=f'"{policy}"')) as w:
        await configure(w, AllowOfflineTxForUnknownId=True)
        w.network.down()
        await w.power_cut()
        await w.charge(70)
        assert w.coil() is (policy == "after_first_accept")
        await w.tap(CARD)
        await w.advance(10)
        await w.unplug()
        w.network.up = True
        await w.until(lambda: len(w.central.books.boots) == 2, 120)
        await w.delivered()
        await w.assert_books_agree()


@pytest.mark.requirement("16.BOOT.7", "16.BOOT.9")
@story
async def test_rejected_at_the_first_boot_nobody_charges() -> None:
    async with world(start=False) as w:
        w.central.heartbeat_s = 30
        w.central.registration.append("Rejected")
        await w.start()
        await w.charge(10)
        assert not w.coil()
        assert w.central.books.authorized == []
        await w.until(lambda: w.status() == "Preparing", 100)
        await w.tap(CARD)
        await w.advance(10)
        assert w.coil()


@pytest.mark.octt("TC_002_CS")
@pytest.mark.requirement("16.BOOT.6")
@pytest.mark.parametrize("answer", ["Pending", "Rejected"])
@story
async def test_the_next_boot_comes_not_before_the_interval(answer: str) -> None:
    async with world(start=False) as w:
        w.central.heartbeat_s = 50
        w.central.registration.extend([answer] * 3)
        await w.start()
        await w.until(lambda: w.central.books.boots, 10)
        for number in range(1, 4):
            await w.advance(48.5)
            assert len(w.central.books.boots) == number
            await w.advance(1.6)
            assert len(w.central.books.boots) == number + 1


@pytest.mark.requirement("16.TX.3")
@story
async def test_energy_does_not_wait_for_the_answer_to_the_start() -> None:
    async with world() as w:
        w.central.behave("StartTransaction", Silence(), for_ever=True)
        await w.charge(10)
        assert w.coil()


@pytest.mark.requirement("16.TX.17")
@story
async def test_a_stop_that_is_refused_never_blocks_the_connector() -> None:
    async with world() as w:
        w.central.behave("StopTransaction", Refuse(), Silence())
        await w.charge(20)
        await w.unplug()
        assert w.status() == "Available"
        await w.charge(20, token=OTHER_CARD)
        assert w.coil()
        await w.unplug()
        await w.delivered()
        assert len(w.transactions) == 2
        await w.assert_books_agree()


@pytest.mark.requirement("16.TX.9")
@story
async def test_connectors_that_share_one_power_path_are_used_one_at_a_time() -> None:
    async with world(evse_more=TWO_CONNECTORS) as w:
        assert (w.status(1), w.status(2)) == ("Available", "Available")
        await w.charge(20)
        assert (w.status(1), w.status(2)) == ("Charging", "Unavailable")
        await w.unplug()
        await w.delivered()
        assert (w.status(1), w.status(2)) == ("Available", "Available")


@pytest.mark.requirement("16.AVAIL.1")
@story
async def test_one_of_two_connectors_can_be_out_of_service() -> None:
    async with world(evse_more=TWO_CONNECTORS) as w:
        answer = await w.central.call("ChangeAvailability", {
            "connectorId": 2, "type": "Inoperative"})
        assert answer == {"status": "Accepted"}
        await w.advance(1)
        assert (w.status(1), w.status(2)) == ("Available", "Unavailable")
        answer = await w.central.call("RemoteStartTransaction", {
            "idTag": CARD, "connectorId": 2})
        assert answer == {"status": "Rejected"}
        await w.power_cut()
        await w.until(lambda: len(w.central.books.boots) == 2, 60)
        await w.advance(5)
        assert (w.status(1), w.status(2)) == ("Available", "Unavailable")
        await w.charge(10)
        assert w.transactions[0].connector == 1


# --- where the specification is silent -----------------------------------------------------------


@pytest.mark.requirement("16.TX.2")
@story
async def test_an_unclaimed_plug_may_stay_preparing() -> None:
    async with world(more=options(policy__plug_timeout='"stay_preparing"')) as w:
        await w.plug()
        await w.advance(100)
        assert w.status() == "Preparing"


@pytest.mark.requirement("16.AVAIL.1")
@story
async def test_inoperative_may_wait_for_who_is_preparing() -> None:
    async with world(more=options(policy__inoperative_preparing='"after_preparing"')) as w:
        await w.tap(CARD)
        answer = await w.central.call("ChangeAvailability", {
            "connectorId": 1, "type": "Inoperative"})
        assert answer == {"status": "Scheduled"}
        await w.advance(5)
        assert w.status() == "Preparing"
        await w.advance(70)
        assert w.status() == "Unavailable"


@pytest.mark.requirement("16.RSTART.3")
@story
async def test_a_remote_start_without_connector_may_be_refused() -> None:
    async with world(evses=2, more=options(policy__remote_start_any='"reject"')) as w:
        answer = await w.central.call("RemoteStartTransaction", {"idTag": CARD})
        assert answer == {"status": "Rejected"}


@pytest.mark.requirement("16.CONF.1")
@story
async def test_too_many_keys_may_all_be_answered() -> None:
    async with world(more=options(compat__too_many_keys='"answer_all"')) as w:
        answer = await w.central.call("GetConfiguration", {
            "key": [f"Key{number}" for number in range(150)]})
        assert len(answer["unknownKey"]) == 150


@pytest.mark.requirement("16.MET.11")
@story
async def test_the_begin_may_be_told_as_meter_values_too() -> None:
    async with world(more=options(compat__meter_begin_message="true")) as w:
        await w.charge(10)
        first, = w.calls("MeterValues")
        value = first["meterValue"][0]["sampledValue"][0]
        assert value["context"] == "Transaction.Begin"
        assert int(value["value"]) == w.calls("StartTransaction")[0]["meterStart"]


@pytest.mark.requirement("16.STAT.5")
@story
async def test_short_statuses_may_be_delayed_instead_of_dropped() -> None:
    async with world(more=options(policy__min_status='"delay"')) as w:
        await configure(w, MinimumStatusDuration=10)
        before = len(w.central.books.statuses)
        await w.plug()
        await w.tap(CARD)
        await w.advance(30)
        assert statuses(w, since=before) == ["Preparing", "SuspendedEV", "Charging"]


@pytest.mark.requirement("16.AUTH.6")
@story
async def test_an_authorize_without_an_answer_may_be_a_refusal() -> None:
    more = options(policy__authorize_timeout='"reject"')
    async with world(more=more, ocpp16="AllowOfflineTxForUnknownId = true") as w:
        await configure(w, MessageTimeout=10)
        w.central.behave("Authorize", Silence())
        await w.plug()
        await w.tap(CARD)
        await w.advance(20)
        assert not w.coil()


@pytest.mark.requirement("16.TX.16")
@story
async def test_a_power_cut_may_be_resumed_from() -> None:
    async with world(station='after_power_loss = "resume"') as w:
        await w.charge(100)
        before = w.register_wh()
        await w.power_cut()
        await w.advance(60)
        assert w.coil()
        assert w.status() == "Charging"
        await w.tap(CARD)
        await w.advance(10)
        await w.unplug()
        await w.delivered()
        one, = w.transactions
        assert one.reason == "Local"
        assert one.meter_stop == w.register_wh() > before
        await w.assert_books_agree()


@pytest.mark.requirement("16.OFF.4", "16.OFF.2")
@story
async def test_retries_wait_longer_each_time_and_end_after_the_attempts() -> None:
    async with world() as w:
        await configure(w, TransactionMessageAttempts=3, TransactionMessageRetryInterval=20,
                        MeterValueSampleInterval=0)
        sent: list[float] = []
        w.network.on_frame = lambda sender, text: (
            sent.append(w.loop.time()) if '"StopTransaction"' in text else None)
        w.central.behave("StopTransaction", Refuse(), for_ever=True)
        await w.charge(20)
        await w.unplug()
        await w.advance(300)
        waits = [round(after - before) for before, after in pairwise(sent)]
        assert waits[:2] == [20, 40]
        assert last_status(w)["status"] == "Available"
