"""`make run`: the daemon on the simulated board charges a car against the embedded central system.

The daemon is a process of its own, started as systemd would start it, and led by the same local
socket a technician uses; the central system listens on loopback in this process. Shown as they
happen: the frames, and the state of the EVSE. At the end the books of the central system are laid
beside the meter and the station's own journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cpctl.api.client import Client, ClientError
from cpctl.demo.csms import CallFailed, CentralSystem, Frame, serve

CARD = "04A1B2C3D4E5F6"
CHARGE_S = 4.0  # before, under and after the limit
LIMIT_A = 10.0
READY_S = 30.0


def write_config(directory: Path, *, url: str, identity: str) -> Path:
    """The configuration of a wholly simulated station that keeps all it has in `directory`."""
    path = directory / "cpctl.toml"
    path.write_text(f"""\
schema_version = 1

[station]
identity = {json.dumps(identity)}
vendor = "cpctl"
model = "Simulated post"
serial_number = "SIM-0001"
on_reset = "exec"

[csms]
url = {json.dumps(url)}
versions = ["1.6"]
reconnect = {{ wait_min_s = 2, random_s = 1, repeat_times = 3 }}

[ocpp16]
MeterValueSampleInterval = 4
StopTxnSampledData = "Energy.Active.Import.Register"

[api]
socket = {json.dumps(str(directory / "cpctl.sock"))}

[store]
path = {json.dumps(str(directory / "state"))}

[sim]
car_start_delay_s = 0.5

[[reader]]
id = "front"
driver = "sim"

[[evse]]
id = 1
""")
    return path


def daemon_command(config: Path) -> list[str]:
    return [sys.executable, "-m", "cpctl", "run", "--config", str(config)]


class Teller:
    """Prints the story, each line with the seconds since its beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f}s  {text}", flush=True)

    def step(self, text: str) -> None:
        print(flush=True)
        self.say(f"== {text}")

    def frame(self, frame: Frame) -> None:
        arrow = "csms -> station" if frame.sent else "station -> csms"
        text = frame.text if len(frame.text) <= 160 else frame.text[:157] + "..."
        self.say(f"   {arrow}  {text}")


class Station:
    """The daemon as a child process, and its socket."""

    def __init__(self, config: Path, teller: Teller) -> None:
        self._teller = teller
        self.socket = str(config.parent / "cpctl.sock")
        self._log = (config.parent / "daemon.log").open("w")
        self.process = subprocess.Popen(daemon_command(config), stdout=self._log, stderr=self._log)
        self._told = ""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        with Client(self.socket) as client:
            answer: dict[str, Any] = client.call(method, params)
            return answer

    async def ready(self) -> None:
        """Wait until the local API answers. Raises RuntimeError when the daemon ended instead."""
        limit = time.monotonic() + READY_S
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"the daemon ended with exit code {self.process.returncode}")
            with contextlib.suppress(ClientError, OSError):
                await asyncio.to_thread(self.call, "status")
                return
            if time.monotonic() > limit:
                raise RuntimeError(f"the daemon did not answer within {READY_S:.0f} s")
            await asyncio.sleep(0.1)

    async def evse(self) -> dict[str, Any]:
        """The EVSE as it stands; a change of it is told."""
        picture = await asyncio.to_thread(self.call, "status")
        evse: dict[str, Any] = picture["evses"][0]
        line = f"EVSE 1: {evse['status']}, pilot {evse['pilot']}, offered {evse['offered_a']} A"
        if line != self._told:
            self._told = line
            self._teller.say(f"   [{line}]")
        return evse

    async def until(self, *statuses: str, limit_s: float = 30.0) -> None:
        """Wait for one of these statuses, telling each change on the way."""
        limit = time.monotonic() + limit_s
        while (evse := await self.evse())["status"] not in statuses:
            if time.monotonic() > limit:
                raise RuntimeError(f"EVSE 1 stays {evse['status']}, expected {statuses}")
            await asyncio.sleep(0.2)

    async def follow(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await self.evse()
            await asyncio.sleep(0.5)

    async def offers(self, holds: Callable[[float], bool], limit_s: float = 15.0) -> float:
        """Wait until the current on offer, in A, is as wanted."""
        limit = time.monotonic() + limit_s
        while not holds(offered_a := float((await self.evse())["offered_a"])):
            if time.monotonic() > limit:
                raise RuntimeError(f"EVSE 1 stays at an offer of {offered_a:g} A")
            await asyncio.sleep(0.2)
        return offered_a

    async def stop(self) -> int:
        """End the daemon as systemd would; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return await asyncio.to_thread(self.process.wait, 20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return await asyncio.to_thread(self.process.wait, 5)
        finally:
            self._log.close()


async def _charge_one_car(station: Station, central: CentralSystem, teller: Teller) -> float:
    """The whole story; the current in A that was on offer under the limit."""
    teller.step("the station starts")
    await station.ready()
    await central.until(lambda books: books.status(1) == "Available", 30)
    await station.until("Available")
    teller.step("a cable is plugged in")
    station.call("sim.plug", evse=1)
    await station.until("Preparing")
    teller.step(f"card {CARD} is held to the reader")
    station.call("sim.tap", token=CARD)
    await station.until("Charging")
    teller.step(f"charging for {CHARGE_S:.0f} s")
    await station.follow(CHARGE_S)
    limited_a = await _limit_for_a_while(station, central, teller)
    teller.step("the same card again")
    station.call("sim.tap", token=CARD)
    await station.until("Finishing")
    await central.until(lambda books: books.transactions and not books.open_transactions(), 30)
    teller.step("the cable is unplugged")
    station.call("sim.unplug", evse=1)
    await station.until("Available")
    await central.until(lambda books: books.status(1) == "Available", 30)
    return limited_a


async def _limit_for_a_while(station: Station, central: CentralSystem, teller: Teller) -> float:
    """A charging profile lowers the offer, and is taken back; the lowered offer in A."""
    teller.step(f"the central system limits the transaction to {LIMIT_A:g} A")
    before = await station.offers(lambda offered_a: offered_a > LIMIT_A)
    await central.call("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": {
        "chargingProfileId": 1, "transactionId": central.books.transactions[0].number,
        "stackLevel": 0, "chargingProfilePurpose": "TxProfile", "chargingProfileKind": "Relative",
        "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [
            {"startPeriod": 0, "limit": LIMIT_A}]}}})
    limited_a = await station.offers(lambda offered_a: offered_a < before)
    await station.follow(CHARGE_S)
    teller.step("it takes the limit back")
    await central.call("ClearChargingProfile", {"id": 1})
    await station.offers(lambda offered_a: offered_a == before)
    await station.follow(CHARGE_S)
    return limited_a


def _summary(station: Station, central: CentralSystem, limited_a: float) -> bool:
    """Print the books side by side; True when they agree."""
    session = station.call("sessions.list")["sessions"][0]
    reading = station.call("hw.meter", evse=1)["reading"]
    entry = central.books.transactions[0]
    rows = [
        ("energy of the session", f"{entry.energy_wh} Wh", f"{session['energy_wh']} Wh"),
        ("meter at the end", f"{entry.meter_stop} Wh", f"{reading['energy_import_wh']} Wh"),
        ("card", entry.id_tag, str(session["token"])),
        ("why it ended", str(entry.reason), str(session["stop_reason"])),
        ("limit for a while", f"{LIMIT_A:g} A", f"{limited_a:g} A offered"),
    ]
    rows.append(("samples", str(len(entry.samples)), f"in {len(central.frames)} frames"))
    print(f"\n{'summary':<24}{'the central system':<26}the station's meter and journal")
    for name, theirs, ours in rows:
        print(f"  {name:<22}{theirs:<26}{ours}")
    agree = (entry.energy_wh == session["energy_wh"] and limited_a == LIMIT_A
             and entry.meter_stop == reading["energy_import_wh"] and not central.books.orphans)
    print("\nthe books agree" if agree else "\nTHE BOOKS DO NOT AGREE")
    return agree


async def _demonstrate(directory: Path, *, stay: bool) -> int:
    teller = Teller()
    central = CentralSystem()
    central.on_frame = teller.frame
    async with serve(central) as url:
        config = write_config(directory, url=url, identity="CP001")
        station = Station(config, teller)
        try:
            limited_a = await _charge_one_car(station, central, teller)
            agree = await asyncio.to_thread(_summary, station, central, limited_a)
            if stay:
                await _stay(station)
        except (RuntimeError, ClientError, TimeoutError, CallFailed, EOFError) as error:
            log = (directory / "daemon.log").read_text()[-4000:]
            print(f"\nthe demonstration failed: {error}\nthe daemon's log ends:\n{log}",
                  file=sys.stderr)
            return 1
        finally:
            code = await station.stop()
    if code != 0:
        print(f"the daemon ended with exit code {code}", file=sys.stderr)
    return 0 if agree and code == 0 else 1


async def _stay(station: Station) -> None:
    """Until Ctrl-C, or until the daemon has ended."""
    program = Path(sys.executable).with_name("cpctl")
    print(f"\nstation and central system stay up until Ctrl-C; from another shell:\n"
          f"  export CPCTL_SOCKET={station.socket}\n"
          f"  {program} status; {program} sim plug 1; {program} sim tap {CARD}\n", flush=True)
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, asked.set)
    while not asked.is_set() and station.process.poll() is None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asked.wait(), 0.5)


def demonstrate(*, stay: bool = False) -> int:
    """Play the story; 0 when the books agree at its end. `stay`: the station stays up after it."""
    directory = Path(tempfile.mkdtemp(prefix="cpctl-demo-"))
    try:
        return asyncio.run(_demonstrate(directory, stay=stay))
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def run_against(url: str, identity: str) -> int:
    """Become the daemon, simulated, against somebody's own central system; stays up."""
    directory = Path(os.environ.get("CPCTL_DEMO_DIR", ".demo")).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    config = write_config(directory, url=url, identity=identity)
    program = Path(sys.executable).with_name("cpctl")
    print(f"the simulated station {identity} runs against {url}; from another shell:\n"
          f"  export CPCTL_SOCKET={directory / 'cpctl.sock'}\n"
          f"  {program} status; {program} sim plug 1; {program} sim tap {CARD}\n"
          f"its books stay in {directory / 'state'}", flush=True)
    command = daemon_command(config)
    os.execv(command[0], command)
