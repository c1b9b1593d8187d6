"""The whole daemon as a process with a pilot board that switches its own contactor, on a
pseudo-terminal: charge, alarm, kill, and the safe level afterwards.
"""

import asyncio
import contextlib
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from support.aio import run
from support.evse_wb_board import SPANS, EvseWbBoard
from support.modbus_slave import ModbusSlave
from support.openevse_board import OpenEvseBoard, PtyBoard
from support.real_station import Daemon

from hal.values import PilotState

pytestmark = pytest.mark.real

A, B, C = PilotState.A, PilotState.B, PilotState.C
LIMIT_S = 20.0

CONFIG = """\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "Bench"
[csms]
url = "ws://127.0.0.1:9/ocpp"
[ocpp16]
AllowOfflineTxForUnknownId = true
LocalAuthorizeOffline = true
[options]
"policy.tx_before_accepted" = "always"
[api]
socket = "{folder}/s"
[store]
path = "{folder}/state"
SERIAL
[[reader]]
id = "front"
driver = "sim"
[[evse]]
id = 1
max_current_a = 16
pilot = PILOT
contactor = { driver = "board"TRUST }
meter = { driver = "sim" }
"""


def configured(pilot: str, *, serial: str = "", trust: str = "") -> str:
    return CONFIG.replace("SERIAL", serial).replace("PILOT", pilot).replace("TRUST", trust)


async def comes(what: str, holds: Callable[[], object], daemon: Daemon) -> None:
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < end, f"{what}: not so after {LIMIT_S:g} s\n{daemon.log()}"
        await asyncio.sleep(0.02)


async def safe(folder: Path) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cpctl", "hw", "safe", "--config", str(folder / "cpctl.toml"))
    return await process.wait()


@contextlib.asynccontextmanager
async def charging(folder: Path, config: str, board: EvseWbBoard | OpenEvseBoard,
                   ) -> AsyncIterator[Daemon]:
    """A card was tapped, the car asked, and the board has closed its contactor."""
    async with Daemon(folder, config) as daemon:
        await charge(daemon, board)
        yield daemon


async def charge(daemon: Daemon, board: EvseWbBoard | OpenEvseBoard) -> None:
    board.car = B
    await daemon.until("plugged", lambda now: now["evses"][0]["pilot"] == "B")
    await daemon.call("sim.tap", reader="front", token="04A1B2C3")
    await comes("an offer", lambda: board.offered_a, daemon)
    board.car = C
    await comes("a closed contactor", lambda: board.relay, daemon)
    await daemon.until_evse(1, "Charging")


def test_an_openevse_charges_is_stopped_by_its_alarm_and_by_hw_safe_after_a_kill(
        tmp_path: Path) -> None:
    board = OpenEvseBoard(monotonic=time.monotonic)

    async def story() -> None:
        with PtyBoard(tmp_path / "openevse", board):
            config = configured(f'{{ driver = "openevse", port = "{tmp_path}/openevse" }}')
            async with charging(tmp_path, config, board) as daemon:
                assert board.offered_a == 16
                board.break_down(0x06)
                await daemon.until("the RCD told", lambda now: "RCD_TRIPPED" in str(now))
                await daemon.until_evse(1, "Faulted")
                board.break_down(0)
                board.put(A)
                await daemon.until_evse(1, "Available")
                await charge(daemon, board)

                assert daemon._process is not None
                daemon._process.send_signal(signal.SIGKILL)
                await daemon._process.wait()
            left_on = board.relay
            code = await safe(tmp_path)
            assert (left_on, code, board.relay, board.offered_a) == (True, 0, False, 0)

    run(story(), limit_s=120.0)


def test_an_evse_wb_charges_until_the_car_leaves(tmp_path: Path) -> None:
    board = EvseWbBoard(boot_a=16)

    async def story() -> None:
        with ModbusSlave(tmp_path / "rs485-1", spans={1: SPANS}) as slave:
            slave.devices[1].words = board.registers().words
            config = configured(
                '{ driver = "evse_wb", bus = "rs485-1" }', trust=", trust_board = true",
                serial=f'[serial.rs485-1]\nport = "{slave.port}"\ngap_s = 0.02')
            async with charging(tmp_path, config, board) as daemon:
                assert board.offered_a == 16
                board.car = A
                await daemon.until_evse(1, "Available")
                await comes("nothing on offer", lambda: not board.offered_a, daemon)
                code = await daemon.stop()
                assert code == 0, daemon.log()
            assert ended(tmp_path) == 1

    run(story(), limit_s=120.0)


def ended(folder: Path) -> int:
    """Transactions that have ended, by the journal of a daemon that has stopped."""
    with contextlib.closing(sqlite3.connect(folder / "state" / "journal.db")) as books:
        (found,) = books.execute(
            "select count(*) from facts where kind = 'TransactionEnded'").fetchone()
    return int(found)
