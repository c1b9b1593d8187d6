"""A journal spoiled on the disk between two lives of the real daemon, as a technician sees it."""

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest
from support.real_station import Daemon

from cpctl.demo.csms import CentralSystem, serve

pytestmark = pytest.mark.real

CARD = "04A1B2C3D4E5F6"
CONFIG = """\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "Bench"
[csms]
url = "{url}"
versions = ["1.6"]
reconnect = { wait_min_s = 1, random_s = 0, repeat_times = 0 }
[api]
socket = "{folder}/s"
[store]
path = "{folder}/state"
[sim]
car_start_delay_s = 0.1
[[reader]]
id = "front"
driver = "sim"
[[evse]]
id = 1
"""


async def charge(daemon: Daemon) -> None:
    await daemon.call("sim.plug", evse=1)
    await daemon.call("evse.start", evse=1, token=CARD)
    await daemon.until_evse(1, "Charging")


async def leave(daemon: Daemon, central: CentralSystem) -> None:
    await daemon.call("sim.unplug", evse=1)
    await daemon.until_evse(1, "Available")
    await central.until(lambda books: books.transactions[-1].stopped, 60)


async def cpctl(daemon: Daemon, *words: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cpctl", *words, "--json", "--socket", daemon.socket,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, err = await process.communicate()
    assert process.returncode == 0, err
    told: dict[str, Any] = json.loads(out)
    return told


def spoil(folder: Path, rng: random.Random) -> None:
    """Bits in the journal and its log, their headers among them."""
    for path in (folder / "journal.db", folder / "journal.db-wal"):
        if path.exists() and path.stat().st_size:
            content = bytearray(path.read_bytes())
            for at in [3, *(rng.randrange(len(content)) for _ in range(200))]:
                content[at] ^= 1 << rng.randrange(8)
            path.write_bytes(content)


async def play(folder: Path, rng: random.Random) -> dict[str, Any]:
    central = CentralSystem()
    async with serve(central) as url:
        text = CONFIG.replace("{url}", url)
        async with Daemon(folder, text) as daemon:
            await central.until(lambda books: books.status(1) == "Available", 60)
            await charge(daemon)
            await leave(daemon, central)
            await charge(daemon)  # killed in mid-charge, at the end of this block
        spoil(folder / "state", rng)
        async with Daemon(folder, text) as daemon:
            await daemon.until("online", lambda picture: picture["link"]["online"])
            status = await cpctl(daemon, "status")
            journal = await cpctl(daemon, "journal", "list")
            before = len(central.books.transactions)
            await charge(daemon)
            await leave(daemon, central)
            fresh = central.books.transactions[before:]
            sessions = await daemon.sessions()
            assert await daemon.stop() == 0
        return {"status": status, "journal": journal, "fresh": fresh, "sessions": sessions,
                "kept": sorted(path.name for path in (folder / "state").iterdir())}


@pytest.mark.requirement("16.OFF.1")
def test_a_technician_sees_what_became_of_a_damaged_journal(tmp_path: Path, seed: int) -> None:
    told = asyncio.run(play(tmp_path, random.Random(seed)))

    fault, = told["status"]["station"]["faults"]
    assert fault["code"] == "JOURNAL_DAMAGED"
    assert "set aside as journal.db.damaged-1" in fault["detail"]
    kinds = [entry["fact"]["kind"] for entry in told["journal"]["entries"]]
    assert "SecurityEventRaised" in [entry["kind"] for entry in told["journal"]["entries"]], kinds
    assert "journal.db.damaged-1" in told["kept"]
    last = told["fresh"][-1]
    assert last.meter_stop is not None
    assert told["sessions"][-1]["csms_id"] == last.number
    assert told["sessions"][-1]["energy_wh"] == last.energy_wh
