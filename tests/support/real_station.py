"""The real daemon as a process, its meters as registers of a Modbus slave, led by the local API.

For tests with real parts. Everything is waited for by name, with a limit that only a broken run
reaches.
"""

import asyncio
import contextlib
import json
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from support.modbus_slave import Registers

from cpctl.api.client import Client, ClientError
from cpctl.demo.csms import Transaction

LIMIT_S = 60.0
#: at most what a 22 kW post can be believed to count, with all the readings a daemon may skip
STEP_S, STEP_WH = 0.1, 4


class Failed(AssertionError):
    """Something did not come about; the text tells how things stood."""


class Daemon:
    """`cpctl run` on the configuration in its folder. Use as an asynchronous context."""

    def __init__(self, folder: Path, config: str) -> None:
        self.folder = folder
        self.socket = str(folder / "s")
        self._config = folder / "cpctl.toml"
        self._config.write_text(config.replace("{folder}", str(folder)))
        self._log = folder / "daemon.log"
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "Daemon":
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cpctl", "run", "--config", str(self._config),
                stdout=log, stderr=log)
        end = time.monotonic() + LIMIT_S
        while True:
            with contextlib.suppress(ClientError, OSError):
                await self.status()
                return self
            if self._process.returncode is not None or time.monotonic() > end:
                await self.__aexit__()
                raise Failed(f"the daemon does not come up:\n{self.log()}")
            await asyncio.sleep(0.05)

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(LIMIT_S):
            return await self._process.wait()

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        def once() -> dict[str, Any]:
            with Client(self.socket) as client:
                return client.call(method, params)

        return await asyncio.to_thread(once)

    async def status(self) -> dict[str, Any]:
        return await self.call("status")

    async def evse(self, number: int) -> dict[str, Any]:
        evses: list[dict[str, Any]] = (await self.status())["evses"]
        return next(one for one in evses if one["id"] == number)

    async def until(self, what: str, holds: Callable[[dict[str, Any]], object],
                    limit_s: float = LIMIT_S) -> dict[str, Any]:
        """The first picture in which it holds. Raises Failed with `what` was waited for."""
        end = time.monotonic() + limit_s
        while not holds(picture := await self.status()):
            if time.monotonic() > end:
                raise Failed(f"{what}: not so after {limit_s:.0f} s\n"
                             f"{json.dumps(picture, indent=1)}\n{self.log()}")
            await asyncio.sleep(0.05)
        return picture

    async def until_evse(self, number: int, *statuses: str) -> None:
        await self.until(f"EVSE {number} {' or '.join(statuses)}",
                         lambda picture: _evse(picture, number)["status"] in statuses)

    async def until_read(self, number: int, register_wh: int) -> None:
        """The daemon has read this register."""
        await self.until(f"register {register_wh} Wh of EVSE {number}",
                         lambda picture: _evse(picture, number)["register_wh"] == register_wh)

    async def sessions(self) -> list[dict[str, Any]]:
        """As `cpctl sessions --json` tells them, the first one first."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cpctl", "sessions", "--json", "--socket", self.socket,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        out, err = await process.communicate()
        if process.returncode != 0:
            raise Failed(f"cpctl sessions: exit {process.returncode}\n{err.decode()}{self.log()}")
        rows = json.loads(out)["sessions"]
        return sorted(rows, key=lambda row: int(row["no"]))

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-5000:]


def _evse(picture: dict[str, Any], number: int) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in picture["evses"] if one["id"] == number)
    return found


class Supply:
    """What flows through one meter: its true register, shown by the slave, and all it has shown."""

    def __init__(self, registers: Registers, register_wh: int, rng: random.Random) -> None:
        self._registers = registers
        self._rng = rng
        self._task: asyncio.Task[None] | None = None
        self.register_wh = register_wh
        self.shown: set[int] = set()
        self.hidden = False  # the slave shows something else
        self._show()

    def _show(self) -> None:
        if not self.hidden:
            self.shown.add(self.register_wh)
            self._registers.meter(
                energy_wh=self.register_wh, power_w=11_040.0, voltage_v=(230.0, 231.0, 229.0),
                current_a=(16.0, 16.0, 16.0), frequency_hz=50.0)

    def show_instead(self, register_wh: int) -> None:
        """A meter that says something else, until `tell_truth`."""
        self.hidden = True
        self._registers.meter(energy_wh=register_wh)

    def tell_truth(self) -> None:
        self.hidden = False
        self._show()

    async def _flow(self) -> None:
        while True:
            await asyncio.sleep(STEP_S)
            self.register_wh += self._rng.randint(0, STEP_WH)
            self._show()

    @contextlib.asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._flow())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def flow_until(self, more_wh: int) -> None:
        """Let `more_wh` flow at least."""
        end_wh = self.register_wh + more_wh
        async with self.flowing():
            while self.register_wh < end_wh:
                await asyncio.sleep(STEP_S)


def told_registers(transaction: Transaction) -> list[int]:
    """Wh of each energy register in the samples, as they came."""
    return [int(float(value["value"])) for _, sample in transaction.samples
            for value in sample["sampledValue"]
            if value.get("measurand", "Energy.Active.Import.Register")
            == "Energy.Active.Import.Register"]


def as_told(transaction: Transaction) -> dict[str, Any]:
    """A transaction of the central system's books, to be printed as JSON."""
    return {"number": transaction.number, "connector": transaction.connector,
            "id_tag": transaction.id_tag, "meter_start": transaction.meter_start,
            "meter_stop": transaction.meter_stop, "energy_wh": transaction.energy_wh,
            "reason": transaction.reason, "stop_id_tag": transaction.stop_id_tag,
            "registers": told_registers(transaction)}
