"""The whole path from card to central system on real input: the end of the first story.

A card read through a real PC/SC stack starts and stops a session of the real daemon, and a real
Modbus RTU slave measures it. The embedded central system keeps the books to compare with.
"""

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest
from support.modbus_slave import ModbusSlave
from support.pcscd import need_pcscd, run_in_pcsc_namespace
from support.real_station import Daemon, Supply, told_registers

from cpctl.demo.csms import CentralSystem, serve

pytestmark = pytest.mark.real

STORY = Path(__file__).with_name("card_meter_story.py")
CARD, OTHER = "04A1B2C3D4E5F6", "04112233445566"


def tell(story: str) -> dict[str, Any]:
    need_pcscd()
    done = run_in_pcsc_namespace(STORY, story, timeout_s=300.0)
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.mark.requirement("16.TX.1", "16.TX.10", "16.AUTH.1", "16.AUTH.2")
def test_a_real_card_starts_and_stops_a_session_that_a_real_meter_measures() -> None:
    told = tell("one_card")

    transaction, = told["transactions"]
    session, = told["sessions"]
    assert told["authorized"] == [CARD]
    assert (transaction["id_tag"], transaction["stop_id_tag"]) == (CARD, CARD)
    assert transaction["reason"] == "Local"
    assert transaction["meter_start"] == told["start_wh"] == 100_017
    assert transaction["meter_stop"] == told["stop_wh"] > told["start_wh"]
    assert len(transaction["registers"]) >= 4
    assert set(transaction["registers"]) <= set(told["shown"]["1"])
    assert transaction["registers"] == sorted(transaction["registers"])
    assert session["token"] == CARD
    assert session["energy_wh"] == transaction["energy_wh"]
    assert told["orphans"] == []
    assert told["exit"] == 0


@pytest.mark.requirement("16.TX.15")
def test_two_evses_and_three_sessions_one_begun_offline_agree_to_the_wh() -> None:
    told = tell("three_sessions")

    theirs, ours = told["transactions"], told["sessions"]
    assert len(told["offline"]) == 1, "the second was told while the central system was away"
    assert [one["id_tag"] for one in theirs] == [CARD, OTHER, OTHER]
    assert [one["connector"] for one in theirs] == [1, 2, 1]
    assert [one["reason"] for one in theirs] == ["Local", "Local", "EVDisconnected"]
    assert [row["csms_id"] for row in ours] == [one["number"] for one in theirs] == [1, 2, 3]
    assert [row["delivery"] for row in ours] == ["delivered"] * 3
    assert [row["energy_wh"] for row in ours] == [one["energy_wh"] for one in theirs]
    second, first, third = told["marks"]  # in the order in which they ended
    for one, mark in zip(theirs, (first, second, third), strict=True):
        assert [one["meter_start"], one["meter_stop"]] == mark
        assert set(one["registers"]) <= set(told["shown"][str(one["connector"])])
        assert [mark[0], *one["registers"], mark[1]] == sorted(
            [mark[0], *one["registers"], mark[1]])
    assert told["orphans"] == []
    assert told["exit"] == 0


# --- a meter that fails ---------------------------------------------------------------------------

SILENCE_S = 2
FAULTY = {1: "silent", 2: "garbage", 3: "backwards", 4: "absurd"}
FAULTS = {1: "METER_LOST", 2: "METER_LOST", 3: "METER_IMPLAUSIBLE", 4: "METER_IMPLAUSIBLE"}


def _config(url: str) -> str:
    lines = "\n".join(f"""\
[serial.line-{evse}]
port = "{{folder}}/line-{evse}"
timeout_s = 0.2
[[evse]]
id = {evse}
pilot = {{ driver = "sim" }}
contactor = {{ driver = "sim" }}
meter = {{ driver = "eastron_sdm630", bus = "line-{evse}", address = 1 }}
""" for evse in FAULTY)
    return f"""\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "Bench"
[csms]
url = "{url}"
versions = ["1.6"]
[ocpp16]
MeterValueSampleInterval = 1
[limits]
meter_silence_s = {SILENCE_S}
[api]
socket = "{{folder}}/s"
[store]
path = "{{folder}}/state"
[sim]
car_start_delay_s = 0.1
[[reader]]
id = "front"
driver = "sim"
{lines}
"""


def _break(evse: int, slave: ModbusSlave, supply: Supply) -> None:
    if FAULTY[evse] == "silent":
        slave.spoil_all("silence")
    elif FAULTY[evse] == "garbage":
        slave.spoil_all(("garbage", b"\x37\x00\xff" * 60))
    elif FAULTY[evse] == "backwards":
        supply.show_instead(supply.register_wh - 500)
    else:
        supply.show_instead(supply.register_wh + 400_000)


def _mend(slave: ModbusSlave, supply: Supply) -> None:
    slave.spoil_all(None)
    supply.tell_truth()


def _codes(evse: dict[str, Any]) -> list[str]:
    return [one["code"] for one in evse["faults"]]


async def _one_failing_meter(daemon: Daemon, evse: int, slave: ModbusSlave, supply: Supply,
                             *, mends: bool) -> dict[str, Any]:
    """Charge; the meter fails, the EVSE suspends; it is mended, or not, and the car leaves.

    What flows until the EVSE has suspended is counted by the meter and shown by nobody.
    """
    start_wh = supply.register_wh
    await daemon.call("sim.plug", evse=evse)
    await daemon.call("evse.start", evse=evse, token=f"{CARD}{evse}")
    await daemon.until_evse(evse, "Charging")
    await supply.flow_until(30)
    await daemon.until_read(evse, supply.register_wh)
    last_good_wh = supply.register_wh
    async with supply.flowing():
        _break(evse, slave, supply)
        await daemon.until(f"EVSE {evse} suspends", lambda picture: any(
            one["id"] == evse and one["status"] == "SuspendedEVSE" and one["power"] == "off"
            for one in picture["evses"]))
    known_wh = (await daemon.evse(evse))["register_wh"]
    await daemon.until(f"EVSE {evse} tells its fault", lambda picture: any(
        one["id"] == evse and _codes(one) == [FAULTS[evse]] for one in picture["evses"]))
    if mends:
        _mend(slave, supply)
        await daemon.until_evse(evse, "Charging")
        assert _codes(await daemon.evse(evse)) == []
        await supply.flow_until(30)
        await daemon.until_read(evse, supply.register_wh)
    await daemon.call("sim.unplug", evse=evse)
    await daemon.until_evse(evse, "Available")
    return {"start_wh": start_wh, "last_good_wh": last_good_wh, "known_wh": known_wh,
            "stop_wh": supply.register_wh if mends else known_wh}


async def _failing_meters(folder: Path, *, mends: bool) -> tuple[
        CentralSystem, dict[int, dict[str, Any]], dict[int, Supply], list[dict[str, Any]]]:
    central, rng = CentralSystem(), random.Random(5)
    slaves = {evse: ModbusSlave(folder / f"line-{evse}") for evse in FAULTY}
    supplies = {evse: Supply(slave[1], 5_000_000 + evse, rng) for evse, slave in slaves.items()}
    try:
        for slave in slaves.values():
            slave.__enter__()
        async with serve(central) as url, Daemon(folder, _config(url)) as daemon:
            await central.until(lambda books: books.status(4) == "Available", 60)
            stories = await asyncio.gather(*(
                _one_failing_meter(daemon, evse, slaves[evse], supplies[evse], mends=mends)
                for evse in FAULTY))
            await daemon.until("everything is told",
                               lambda picture: picture["journal"]["waiting"] == 0)
            sessions = await daemon.sessions()
            assert await daemon.stop() == 0
    finally:
        for slave in slaves.values():
            slave.__exit__(None, None, None)
    return central, dict(zip(FAULTY, stories, strict=True)), supplies, sessions


@pytest.mark.parametrize("mends", [True, False], ids=["and_comes_back", "and_stays_so"])
def test_a_meter_that_fails_suspends_its_evse_and_puts_no_wrong_wh_into_the_books(
        tmp_path: Path, mends: bool) -> None:
    central, stories, supplies, sessions = asyncio.run(_failing_meters(tmp_path, mends=mends))

    theirs = {one.connector: one for one in central.books.transactions}
    ours = {row["evse"]: row for row in sessions}
    assert len(central.books.transactions) == len(theirs) == len(ours) == len(FAULTY)
    assert central.books.orphans == []
    for evse, kind in FAULTY.items():
        one, story = theirs[evse], stories[evse]
        assert story["known_wh"] >= story["last_good_wh"]
        assert story["known_wh"] in supplies[evse].shown
        assert (one.meter_start, one.meter_stop) == (story["start_wh"], story["stop_wh"]), kind
        assert set(told_registers(one)) <= supplies[evse].shown, kind
        assert told_registers(one) == sorted(told_registers(one)), kind
        assert ours[evse]["energy_wh"] == one.energy_wh, kind
    assert (theirs[1].meter_stop == supplies[1].register_wh) is mends
