"""Sampled and clock-aligned values, values for the stop, and meters that cannot be believed."""

from itertools import pairwise
from typing import Any

import pytest
from support.story import configure, last_status, sampled, story
from support.world import CARD, World, world

REGISTER, POWER = "Energy.Active.Import.Register", "Power.Active.Import"


def contexts(w: World) -> list[str]:
    return [call["meterValue"][0]["sampledValue"][0]["context"] for call in w.calls("MeterValues")]


def register_in(values: list[dict[str, Any]]) -> int:
    found, = [one["value"] for one in values if one["measurand"] == REGISTER]
    return int(found)


@pytest.mark.octt("TC_070_CS")
@pytest.mark.requirement("16.MET.1", "16.MET.7", "16.MET.8")
@story
async def test_samples_come_at_the_interval_with_the_measurands_asked_for() -> None:
    async with world() as w:
        w.board.meter(1, energy_wh=123_456)
        await w.advance(5)
        await configure(w, MeterValueSampleInterval=20,
                        MeterValuesSampledData=f"{REGISTER},Voltage.L1,Current.Import")
        await w.charge(105)
        calls = w.calls("MeterValues")
        assert len(calls) == 5
        for call in calls:
            assert (call["connectorId"], call["transactionId"]) == (1, 1)
            values = call["meterValue"][0]["sampledValue"]
            assert [(one["measurand"], one.get("phase")) for one in values] == [
                (REGISTER, None), ("Voltage", "L1-N"),
                ("Current.Import", "L1"), ("Current.Import", "L2"), ("Current.Import", "L3")]
            assert {one["context"] for one in values} == {"Sample.Periodic"}
            assert [one["unit"] for one in values] == ["Wh", "V", "A", "A", "A"]
        registers = [register_in(call["meterValue"][0]["sampledValue"]) for call in calls]
        assert registers == sorted(registers)
        assert registers[0] > 123_456
        seconds = [int(call["meterValue"][0]["timestamp"][17:19]) for call in calls]
        steps = {(after - before) % 60 for before, after in pairwise(seconds)}
        assert steps <= {19, 20, 21}


@pytest.mark.requirement("16.MET.1", "16.MET.11")
@story
async def test_an_interval_of_zero_means_no_samples_and_none_come_without_a_transaction() -> None:
    async with world() as w:
        await configure(w, MeterValueSampleInterval=10)
        await w.plug()
        await w.advance(50)
        assert w.calls("MeterValues") == []
        await configure(w, MeterValueSampleInterval=0)
        await w.tap(CARD)
        await w.advance(60)
        assert w.coil()
        assert w.calls("MeterValues") == []


@pytest.mark.octt("TC_071_CS")
@pytest.mark.requirement("16.MET.2", "16.MET.11")
@story
async def test_clock_aligned_values_come_on_the_boundary_also_without_a_transaction() -> None:
    async with world(evses=2) as w:
        await configure(w, ClockAlignedDataInterval=60, MeterValueSampleInterval=0,
                        MeterValuesAlignedData=f"{REGISTER},{POWER}")
        await w.advance(70)
        await w.charge(60, evse=1)
        calls = w.calls("MeterValues")
        assert {call["connectorId"] for call in calls} == {1, 2}
        for call in calls:
            assert call["meterValue"][0]["timestamp"][17:19] == "00", call
        assert set(contexts(w)) == {"Sample.Clock"}
        last = {call["connectorId"]: call for call in calls}
        assert last[1]["transactionId"] == 1
        assert "transactionId" not in last[2]
        assert "transactionId" not in calls[0]


@pytest.mark.requirement("16.MET.2")
@story
async def test_slots_are_counted_from_midnight() -> None:
    async with world() as w:
        await w.advance(100)
        await configure(w, ClockAlignedDataInterval=420)
        await w.advance(900)
        stamps = [call["meterValue"][0]["timestamp"][11:19] for call in w.calls("MeterValues")]
        assert stamps == ["08:03:00", "08:10:00"]


@pytest.mark.requirement("16.MET.13")
@story
async def test_values_outside_a_transaction_are_not_owed_after_a_lost_link() -> None:
    async with world() as w:
        await configure(w, ClockAlignedDataInterval=60)
        w.network.down()
        await w.advance(200)
        w.network.up = True
        await w.advance(60)
        stamps = [call["meterValue"][0]["timestamp"][11:19] for call in w.calls("MeterValues")]
        assert len(stamps) <= 2


@pytest.mark.requirement("16.MET.3", "16.MET.4")
@story
async def test_the_stop_carries_the_values_kept_for_it_with_begin_and_end() -> None:
    async with world() as w:
        await configure(w, StopTxnSampledData=REGISTER, MeterValueSampleInterval=20)
        await w.charge(70)
        await w.tap(CARD)
        await w.advance(10)
        stop, = w.calls("StopTransaction")
        found = [(value["context"], register_in(one["sampledValue"]))
                 for one in stop["transactionData"] for value in one["sampledValue"][:1]]
        assert [context for context, _ in found] == [
            "Transaction.Begin", *["Sample.Periodic"] * 3, "Transaction.End"]
        assert found[0][1] == w.calls("StartTransaction")[0]["meterStart"]
        assert found[-1][1] == stop["meterStop"]
        registers = [register for _, register in found]
        assert registers == sorted(registers)


@pytest.mark.requirement("16.MET.3")
@story
async def test_clock_aligned_values_for_the_stop_are_kept_too() -> None:
    async with world() as w:
        await configure(w, StopTxnAlignedData=POWER, ClockAlignedDataInterval=60,
                        MeterValueSampleInterval=0, MeterValuesAlignedData="")
        await w.charge(150)
        await w.tap(CARD)
        await w.advance(10)
        stop, = w.calls("StopTransaction")
        found = {value["context"] for one in stop["transactionData"]
                 for value in one["sampledValue"]}
        assert found == {"Transaction.Begin", "Sample.Clock", "Transaction.End"}
        assert w.calls("MeterValues") == []


@pytest.mark.requirement("16.MET.3", "16.TX.10")
@story
async def test_without_values_for_the_stop_there_is_no_transaction_data() -> None:
    async with world() as w:
        await w.charge(70)
        await w.tap(CARD)
        await w.advance(10)
        stop, = w.calls("StopTransaction")
        assert "transactionData" not in stop


@pytest.mark.requirement("16.MET.5", "16.MET.4")
@story
async def test_too_many_values_for_the_stop_are_thinned_in_the_middle() -> None:
    async with world() as w:
        limit = await w.central.call("GetConfiguration", {"key": ["StopTransactionMaxMeterValues"]})
        most = int(limit["configurationKey"][0]["value"])
        await configure(w, StopTxnSampledData=REGISTER, MeterValuesSampledData="",
                        MeterValueSampleInterval=1)
        await w.charge(most + 60)
        await w.tap(CARD)
        await w.advance(10)
        await w.delivered()
        stop, = w.calls("StopTransaction")
        told = stop["transactionData"]
        assert len(told) <= most
        assert told[0]["sampledValue"][0]["context"] == "Transaction.Begin"
        assert told[-1]["sampledValue"][0]["context"] == "Transaction.End"
        stamps = [one["timestamp"] for one in told]
        assert stamps == sorted(stamps)


@pytest.mark.requirement("16.MET.12", "16.CONF.5")
@story
async def test_a_changed_interval_holds_from_the_next_sample_on() -> None:
    async with world() as w:
        await configure(w, MeterValueSampleInterval=60)
        await w.charge(70)
        assert len(w.calls("MeterValues")) == 1
        await configure(w, MeterValueSampleInterval=10)
        await w.advance(55)
        assert 5 <= len(w.calls("MeterValues")) <= 7


@pytest.mark.requirement("16.MET.6", "16.MET.9")
@story
async def test_each_measurand_of_ours_can_be_asked_for_and_is_told() -> None:
    names = ("Energy.Active.Import.Register", "Energy.Active.Import.Interval",
             "Power.Active.Import", "Power.Offered", "Current.Import", "Current.Offered", "Voltage")
    async with world() as w:
        await configure(w, MeterValueSampleInterval=20, MeterValuesSampledData=",".join(names))
        await w.charge(30)
        told = {one["measurand"] for one in sampled(w)}
        assert told >= set(names)
        interval, = [one for one in sampled(w) if one["measurand"] == names[1]]
        start = w.calls("StartTransaction")[0]["meterStart"]
        assert int(interval["value"]) == register_in(sampled(w)) - start


# --- meters that cannot be believed --------------------------------------------------------------


@pytest.mark.requirement("16.MET.14")
@story
async def test_a_silent_meter_suspends_the_charge_and_invents_nothing() -> None:
    async with world() as w:
        await configure(w, MeterValueSampleInterval=10)
        await w.charge(35)
        w.board.drop("meter", 1)
        known = w.register_wh()
        count = len(w.calls("MeterValues"))
        await w.advance(60)
        assert not w.coil()
        told = last_status(w)
        assert (told["status"], told["errorCode"]) == ("SuspendedEVSE", "PowerMeterFailure")
        assert len(w.calls("MeterValues")) <= count + 1
        await w.tap(CARD)
        await w.advance(10)
        stop, = w.calls("StopTransaction")
        assert known - 20 <= stop["meterStop"] <= known
        await w.unplug()


@pytest.mark.requirement("16.MET.14")
@story
async def test_charging_goes_on_when_the_meter_is_back_and_no_energy_is_lost() -> None:
    async with world() as w:
        await w.charge(35)
        w.board.drop("meter", 1)
        await w.advance(60)
        assert not w.coil()
        w.board.restore("meter", 1)
        await w.advance(60)
        assert w.coil()
        assert last_status(w)["errorCode"] == "NoError"
        await w.tap(CARD)
        await w.advance(10)
        await w.unplug()
        await w.delivered()
        assert w.transactions[0].meter_stop == w.register_wh()
        await w.assert_books_agree()


@pytest.mark.requirement("16.MET.8", "16.MET.14")
@pytest.mark.parametrize("jump", [-50_000, 5_000_000, -10**9])
@story
async def test_a_register_that_jumps_never_reaches_the_books(jump: int) -> None:
    async with world() as w:
        w.board.meter(1, energy_wh=100_000)
        await configure(w, MeterValueSampleInterval=10)
        await w.charge(35)
        before = w.register_wh()
        w.board.meter(1, energy_wh=max(0, before + jump))
        await w.advance(50)
        assert last_status(w)["errorCode"] == "PowerMeterFailure"
        await w.tap(CARD)
        await w.advance(10)
        await w.unplug()
        await w.delivered()
        one, = w.transactions
        assert one.meter_start == 100_000
        assert before - 20 <= one.meter_stop <= before
        registers = [register_in(value["sampledValue"]) for _, value in one.samples]
        assert all(100_000 <= register <= before for register in registers)


@pytest.mark.requirement("16.MET.8")
@story
async def test_a_meter_changed_between_charges_begins_anew() -> None:
    async with world() as w:
        w.board.meter(1, energy_wh=100_000)
        await w.charge(35)
        await w.unplug()
        await w.delivered()
        w.board.meter(1, energy_wh=7)
        await w.advance(30)
        await w.charge(35)
        await w.unplug()
        await w.delivered()
        first, second = w.transactions
        assert first.meter_start == 100_000
        assert second.meter_start == 7
        await w.assert_books_agree()
