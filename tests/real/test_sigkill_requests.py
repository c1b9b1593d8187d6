"""SIGKILL while the central system changes lists, reservations, profiles, keys and certificates.

Real processes, a real disk, real websockets (`support.nursery`). What was answered Accepted holds
in the next life; what was not answered holds wholly or not at all.
"""

import asyncio
import contextlib
import json
import os
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from support.nursery import Exchange, Nursery, nursery
from support.pki import Authority

from cpctl.demo.csms import CallFailed, CentralSystem

pytestmark = pytest.mark.real

KILLS = int(os.environ.get("CPCTL_KILLS", "8"))
FAR = "2035-01-01T00:00:00Z"
UP_S = 30.0
KEY = "ClockAlignedDataInterval"
INTERVALS = ("0", "30", "60", "900")


class Account:
    """What was promised: thing -> what it may be."""

    def __init__(self) -> None:
        self.version: set[int] = {0}
        self.keys: dict[str, set[str]] = {}
        self.reservation: set[bool] = {False}
        self.profiles: dict[int, set[bool]] = {}
        self.password: set[str] = {""}
        self.roots: dict[str, set[bool]] = {}


class Clerk:
    """Asks for changes, and later whether they held."""

    def __init__(self, central: CentralSystem, rng: random.Random) -> None:
        self.central = central
        self.rng = rng
        self.account = Account()
        self.authorities = {name: Authority(name) for name in ("One", "Two")}
        self.serials = {f"{one.certificate.serial_number:x}": name
                        for name, one in self.authorities.items()}
        self.accepted = 0

    async def ask(self, action: str, payload: dict[str, Any]) -> str | None:
        """The status; None: no answer came."""
        try:
            async with asyncio.timeout(UP_S):
                answer = await self.central.call(action, payload)
        except (EOFError, CallFailed, TimeoutError):
            return None
        self.accepted += answer["status"] == "Accepted"
        return str(answer["status"])

    async def busy(self) -> None:
        """One change after the other, until the station is gone."""
        changes = (self.send_list, self.change_key, self.reserve, self.set_profile,
                   self.change_password, self.install_root)
        while self.central.online:
            await self.rng.choice(changes)()

    async def send_list(self) -> None:
        before, version = set(self.account.version), self.rng.randint(1, 10**6)
        self.account.version |= {version}
        word = await self.ask("SendLocalList", {
            "listVersion": version, "updateType": "Full", "localAuthorizationList": [
                {"idTag": f"T{number:04d}", "idTagInfo": {
                    "status": "Accepted", "parentIdTag": f"V{version}"}}
                for number in range(self.rng.randint(1, 300))]})
        if word is not None:
            self.account.version = {version} if word == "Accepted" else before

    async def change_key(self) -> None:
        key, value = KEY, self.rng.choice(INTERVALS)
        before = set(self.account.keys.get(key, INTERVALS))
        self.account.keys[key] = before | {value}
        word = await self.ask("ChangeConfiguration", {"key": key, "value": value})
        if word is not None:
            self.account.keys[key] = {value} if word == "Accepted" else before

    async def change_password(self) -> None:
        value = f"{self.rng.randrange(1 << 128):032x}"
        before = set(self.account.password)
        self.account.password = before | {value}
        word = await self.ask("ChangeConfiguration", {"key": "AuthorizationKey", "value": value})
        if word is not None:
            self.account.password = {value} if word == "Accepted" else before

    async def reserve(self) -> None:
        before = set(self.account.reservation)
        wanted = self.rng.random() < 0.5
        self.account.reservation = before | {wanted}
        word = await self.ask(*(
            ("ReserveNow", {"connectorId": 1, "idTag": "A", "reservationId": 1,
                            "expiryDate": FAR}) if wanted else
            ("CancelReservation", {"reservationId": 1})))
        if word == "Accepted":
            self.account.reservation = {wanted}
        elif word is not None:  # cancelling what is not there
            assert not wanted or word == "Occupied", word
            self.account.reservation = before if wanted else {False}

    async def set_profile(self) -> None:
        number = self.rng.randint(1, 4)
        before = set(self.account.profiles.get(number, {False}))
        wanted = self.rng.random() < 0.6
        self.account.profiles[number] = before | {wanted}
        word = await self.ask(*(("SetChargingProfile", {
            "connectorId": 0, "csChargingProfiles": _profile(number)}) if wanted else
            ("ClearChargingProfile", {"id": number})))
        if word is not None:
            self.account.profiles[number] = {wanted and word == "Accepted"}

    async def install_root(self) -> None:
        name = self.rng.choice(sorted(self.authorities))
        before = set(self.account.roots.get(name, {False}))
        self.account.roots[name] = before | {True}
        word = await self.ask("InstallCertificate", {
            "certificateType": "ManufacturerRootCertificate",
            "certificate": self.authorities[name].pem})
        if word is not None:
            self.account.roots[name] = {True} if word == "Accepted" else before

    # --- looking ---------------------------------------------------------------------------------

    async def look(self) -> None:
        """Everything that was promised holds. Raises EOFError when the station goes meanwhile."""
        account = self.account
        found = await self.central.call("GetLocalListVersion")
        assert found["listVersion"] in account.version, (found, account.version)
        account.version = {found["listVersion"]}
        found = await self.central.call("GetConfiguration", {"key": [KEY]})
        for one in found["configurationKey"]:
            assert one["value"] in account.keys.get(one["key"], {one["value"]}), (one, account.keys)
        for number, may_be in account.profiles.items():
            there = await self.ask("ClearChargingProfile", {"id": number})
            if there is None:
                raise EOFError
            assert (there == "Accepted") in may_be, (number, there, may_be)
            account.profiles[number] = {False}
        held = await self.ask("CancelReservation", {"reservationId": 1})
        if held is None:
            raise EOFError
        assert (held == "Accepted") in account.reservation, (held, account.reservation)
        account.reservation = {False}
        roots = await self.central.call("GetInstalledCertificateIds", {
            "certificateType": "ManufacturerRootCertificate"})
        names = {self.serials[one["serialNumber"].lower().lstrip("0")]
                 for one in roots.get("certificateHashData", ())}
        for name, may_be in account.roots.items():
            assert (name in names) in may_be, (name, names, may_be)

    def look_at_the_disk(self, folder: Path) -> None:
        """The list is of one piece, the password one of those that were sent, files are whole."""
        store = folder / "state" / "station.db"
        with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as con:
            groups = {row[0] for row in con.execute("SELECT group_value FROM listed")}
            versions = [row[0] for row in con.execute("SELECT version FROM listing")]
            kept = [row[0] for row in con.execute(
                "SELECT text FROM settings WHERE id = 'link.password'")]
            ok = con.execute("PRAGMA integrity_check").fetchone()[0]
        assert ok == "ok"
        assert groups <= {f"V{version}" for version in versions}, (groups, versions)
        assert set(versions) <= self.account.version | {0}, (versions, self.account.version)
        assert {*(kept or [""])} <= self.account.password, "a password nobody sent"
        for path in (folder / "state").rglob("*"):
            assert path.is_dir() or path.stat().st_mode & 0o077 == 0, path


def _profile(number: int) -> dict[str, Any]:
    return {"chargingProfileId": number, "stackLevel": number,
            "chargingProfilePurpose": "ChargePointMaxProfile", "chargingProfileKind": "Absolute",
            "chargingSchedule": {
                "startSchedule": "2026-01-01T00:00:00Z", "chargingRateUnit": "A",
                "chargingSchedulePeriod": [{"startPeriod": at, "limit": 10 + at}
                                           for at in range(number * 3)]}}


async def kill_again_and_again(folder: Path, rng: random.Random) -> Clerk:
    central = CentralSystem()
    exchange = Exchange(central)
    clerk = Clerk(central, rng)
    await exchange.up()
    async with nursery(folder) as born:
        for life in range(1, KILLS + 1):
            url = f"ws://127.0.0.1:{exchange.port}/{life}"
            await one_life(born, clerk, [str(life), url, "end", "idle", "1"], life)
            clerk.look_at_the_disk(folder)
    await exchange.close()
    return clerk


async def one_life(born: Nursery, clerk: Clerk, words: list[str], life: int) -> None:
    """It is looked at, kept busy, and killed at a moment it does not know."""
    boots = len(clerk.central.books.boots)
    ready = asyncio.Event()

    async def led() -> None:
        await clerk.central.until(lambda books: len(books.boots) > boots, UP_S)
        await clerk.look()
        ready.set()
        await clerk.busy()

    async def killed() -> None:
        async with asyncio.timeout(UP_S):
            await ready.wait()
        await asyncio.sleep(clerk.rng.uniform(0.0, 0.6))

    leading = asyncio.create_task(led())
    try:
        await born.kill_when(words, killed())
        await asyncio.wait_for(leading, UP_S)
    except BaseException:
        if leading.done() and not leading.cancelled() and leading.exception() is not None:
            leading.result()
        leading.cancel()
        raise


def test_what_was_accepted_outlives_kills(tmp_path: Path, seed: int) -> None:
    clerk = asyncio.run(kill_again_and_again(tmp_path, random.Random(seed)))

    print(f"{KILLS} kills, {clerk.accepted} changes accepted, {json.dumps(sorted(clerk.serials))}")
    assert clerk.accepted > 3 * KILLS, "hardly anything was changed; this run shows nothing"
