"""A walker that knows all profiles of 1.6: lists, reservations, charging profiles, triggers, logs,
firmware, certificates, keys, beside all that `support.walker` does.

Its oracles, beside those of power and books: what was answered Accepted is there after every death
(list version, keys, profiles, reservations); a call is answered exactly once as long as its
connection lives; nobody charges where it is kept for another; the offers never exceed the station's
current; at the end the status told of each connector is the one derived.
"""

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from support.releases import lay_out
from support.trace import assert_every_frame_fits_its_schema
from support.walker import EVSES, TAGS, Walker, books_agree, energies_hold
from support.world import CARD, OTHER_CARD, World, world

from cpctl import slots
from cpctl.api.methods import Methods
from cpctl.core import reservation
from cpctl.core.underway import Step
from cpctl.demo.csms import CallFailed
from cpctl.services.child import ChildFailed, Children, Told

LIMIT_A = 20.0
LIMITS = f"[limits]\nstation_max_current_a = {LIMIT_A:.0f}\n"
FAR = "2035-01-01T00:00:00Z"  # further than any clock here is wrong
ANSWERED_S = 60.0
URLS = ("http://files.example/a", "ftp://u:secret@files.example/b", "sftp://files.example/c",
        "gopher://files.example", "http://[::1", "")
#: keys with values that read back as they were written
KEYS: Mapping[str, tuple[str, ...]] = {
    "AllowOfflineTxForUnknownId": ("true", "false"),
    "AuthorizeRemoteTxRequests": ("true", "false"),
    "ClockAlignedDataInterval": ("0", "300", "900"),
    "ConnectorPhaseRotation": ("1.RST,2.RST", "1.STR,2.Unknown"),
    "CpoName": ("", "One", "Another Operator"),
    "LocalAuthorizeOffline": ("true", "false"),
    "LocalPreAuthorize": ("true", "false"),
    "MaxEnergyOnInvalidId": ("0", "50"),
    "MinimumStatusDuration": ("0", "2"),
    "ReserveConnectorZeroSupported": ("true", "false"),
    "StopTransactionOnEVSideDisconnect": ("true",),
    "StopTransactionOnInvalidId": ("true", "false"),
    "StopTxnSampledData": ("", "Energy.Active.Import.Register"),
    "UnlockConnectorOnEVSideDisconnect": ("true", "false"),
}
NEW_ACTIONS = ("DiagnosticsStatusNotification", "FirmwareStatusNotification",
               "LogStatusNotification", "SecurityEventNotification", "SignCertificate",
               "SignedFirmwareStatusNotification", "DataTransfer")
Payload = dict[str, Any]


class Moody(Children):
    """Child processes that need their time and come to all kinds of ends."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    async def run(self, module: str, order: Mapping[str, Any], *, limit_s: float,
                  told: Callable[[Told], None] = lambda _: None) -> Told:
        need_s = self._rng.choice((0.0, 0.2, 5.0, 120.0))
        await asyncio.sleep(min(need_s, limit_s))
        if need_s > limit_s:
            raise ChildFailed("timeout", "in this story")
        if module.endswith("bundle_child") and self._rng.random() < 0.8:
            Path(order["out"]).write_bytes(b"bundle")
            return {}
        if module.endswith("transfer_child") and self._rng.random() < 0.5:
            if order["act"] == "download":
                Path(order["file"]).write_bytes(b"no release")
            return {}
        if module.endswith("firmware_child") and order["do"] == "check":
            return {}
        raise ChildFailed(self._rng.choice(("died", "timeout", "unreachable", "cut", "strange")),
                          "in this story")


class WideWalker(Walker):
    """`versions`, `kept`: what the list's version and the keys may be; more than one where the
    answer was lost."""

    def __init__(self, w: World, rng: random.Random, *, exact: bool) -> None:
        super().__init__(w, rng, exact=exact)
        self.versions = {0}
        self.kept: dict[str, set[str]] = {}
        self.asked = 0
        self._calling: set[asyncio.Task[None]] = set()
        wide: tuple[tuple[int, Callable[[], Awaitable[None]]], ...] = (
            (30, self.wide_call), (8, self.burst), (3, self.twice), (4, self.look_up),
            (3, self.wide_manner))
        self._moves = (*self._moves, *wide)

    # --- the oracles -----------------------------------------------------------------------------

    def _watch(self) -> None:
        board = self.w.board
        fresh = board is not self._watched
        super()._watch()
        if not fresh:
            return
        remember = board._remember

        def look(evse: int, what: str, value: Any) -> None:
            remember(evse, what, value)
            if what == "offer":
                offers = [board.look(one).offer.current_a for one in board.evses]
                assert sum(offers) <= LIMIT_A + 0.01, offers

        board._remember = look  # type: ignore[method-assign]

    def _may_be_on(self, evse: int, when: str) -> None:
        super()._may_be_on(evse, when)
        if when != "closed":
            return
        assert self.w.app is not None
        station = self.w.app.loop.station
        mine = station.evse(evse)
        assert mine is not None
        held = tuple(one for one in station.reservations if one.evse == evse)
        claim = mine.claim
        assert reservation.admits(held, claim.token, claim.group), (evse, held, claim)

    async def death(self) -> None:
        before, update = self._owed(), self._station().firmware
        self.w.children = Moody(self.rng)
        await super().death()
        if update is not None and update.step is Step.SCHEDULED:  # it waits for its date
            found_update = self._station().firmware
            assert found_update is not None and found_update.order == update.order, update
        if not self.faults:  # a fault ends reservations
            profiles, reservations = before
            found = self._owed()
            assert profiles <= found[0], ("profiles", before, found)
            usable = {one.id for one in self._station().evses
                      if not one.stopping and one.service.operative}
            lost = {one for one in reservations - found[1] if one[1] in usable}
            assert not lost or self._a_session_lives(lost), (before, found)

    def _a_session_lives(self, lost: set[Any]) -> bool:
        """One that used the reservation up at the moment of its end."""
        open_at = {one.evse for one in self.w.app.journal.open_sessions()} if self.w.app else set()
        return all(one[1] in open_at for one in lost)

    def _station(self) -> Any:
        assert self.w.app is not None
        return self.w.app.loop.station

    def _owed(self) -> tuple[set[Any], set[Any]]:
        """Profiles that outlive transactions, and reservations that name an EVSE."""
        station = self._station()
        now = self.w.app.now().utc if self.w.app else None
        return ({(one.profile.id, one.evse) for one in station.profiles
                 if one.profile.transaction is None and one.profile.purpose.value != "tx"},
                {(one.id, one.evse, one.token.value) for one in station.reservations
                 if one.evse is not None and now is not None and one.expires > now})

    def _is_linked(self) -> bool:
        """As the station sees it: the other end of a torn cable learns nothing."""
        return self.w.app is not None and self.w.app.link.state.online

    # --- calls -----------------------------------------------------------------------------------

    async def ask(self, action: str, payload: Payload) -> Payload | None:
        """The answer, None when it was refused as a call or the connection went."""
        central, network = self.w.central, self.w.network
        self._say("call", action, json.dumps(payload)[:200])
        before = central.connections
        try:
            async with asyncio.timeout(ANSWERED_S):
                return await central.call(action, payload)
        except CallFailed as failed:
            if failed.code == "InternalError" and "Certificate" in action:
                return None  # children that hang make each other wait
            assert failed.code in ("GenericError", "PropertyConstraintViolation", "NotSupported",
                                   "OccurenceConstraintViolation"), (action, payload, failed)
        except EOFError:
            pass
        except TimeoutError:
            frozen = any(wire.silent for wire in network._wires)
            if central.connections == before and self._is_linked() and not frozen:
                raise AssertionError(f"{action} {payload} was not answered") from None
        return None

    async def wide_call(self) -> None:
        if self.w.central.online:
            await self.rng.choice(self._wide_calls())()

    def _wide_calls(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        return (self.send_list, self.send_list, self.reserve, self.reserve, self.cancel,
                self.set_profile, self.set_profile, self.set_profile, self.clear_profile,
                self.change_key, self.change_key, self.anything, self.anything)

    async def burst(self) -> None:
        """Several at once, and whatever comes next does not wait for them."""
        for _ in range(self.rng.randint(2, 7)):
            task = asyncio.create_task(self.wide_call())
            self._calling.add(task)
        await self.w.advance(self.rng.choice((0.0, 0.001, 0.05)))

    async def twice(self) -> None:
        """The same frame again and again."""
        if not self.w.central.online:
            return
        self.asked += 1
        text = json.dumps([2, f"twice-{self.asked}", "GetConfiguration", {"key": ["CpoName"]}])
        self._say("twice", text)
        for _ in range(self.rng.randint(2, 5)):
            with contextlib.suppress(EOFError):
                await self.w.central.send_raw(text)

    async def settle(self) -> None:
        """Every call that is under way has come to an end."""
        for task in tuple(self._calling):
            await task
            self._calling.discard(task)

    async def send_list(self) -> None:
        version = self.rng.randint(1, 99)
        entries = [self._entry(number) for number in range(self.rng.choice((0, 1, 3, 40)))]
        payload = {"listVersion": version, "updateType": self.rng.choice(("Full", "Differential")),
                   "localAuthorizationList": entries}
        before = set(self.versions)
        told = {version}
        if not entries:  # §5.10: 0 says that the list is empty
            told = {0} if payload["updateType"] == "Full" else {version, *(before & {0})}
        self.versions |= told
        answer = await self.ask("SendLocalList", payload)
        if answer is not None and not self._calling:
            self.versions = told if answer["status"] == "Accepted" else before

    def _entry(self, number: int) -> Payload:
        tag = self.rng.choice((*TAGS, f"LIST{number:04d}")) if number < 3 else f"LIST{number:04d}"
        status = "Accepted" if tag in (CARD, OTHER_CARD) else self.rng.choice(
            ("Accepted", "Blocked", "Expired", "Invalid"))
        return {"idTag": tag, "idTagInfo": {"status": status, "expiryDate": FAR}}

    async def reserve(self) -> None:
        await self.ask("ReserveNow", {
            "connectorId": self.rng.randint(0, EVSES), "idTag": self.rng.choice(TAGS),
            "reservationId": self.rng.randint(1, 4), "expiryDate": self._soon_or_far(),
            **({"parentIdTag": "GROUP"} if self.rng.random() < 0.3 else {})})

    def _soon_or_far(self) -> str:
        if self.rng.random() < 0.6:
            return FAR
        return self.w.time.true_wall().strftime("%Y-%m-%dT%H:59:59Z")

    async def cancel(self) -> None:
        await self.ask("CancelReservation", {"reservationId": self.rng.randint(1, 4)})

    async def set_profile(self) -> None:
        await self.ask("SetChargingProfile", {"connectorId": self.rng.randint(0, EVSES),
                                              "csChargingProfiles": self._profile()})

    def _profile(self) -> Payload:
        rng = self.rng
        kind = rng.choice(("Absolute", "Recurring", "Relative"))
        starts = sorted(rng.sample(range(1, 4000), rng.randint(0, 3)))
        schedule: Payload = {"chargingRateUnit": rng.choice("AW"), "chargingSchedulePeriod": [
            {"startPeriod": at, "limit": rng.choice((0, 3, 6, 9.5, 16, 32, 4000))}
            for at in (0, *starts)]}
        if kind != "Relative":
            schedule["startSchedule"] = rng.choice(
                ("2026-05-01T07:30:00Z", "2026-05-01T08:30:00+02:00", "2027-01-01T00:00:00Z"))
        if rng.random() < 0.4:
            schedule["duration"] = rng.choice((1, 600, 86_400))
        made: Payload = {
            "chargingProfileId": rng.randint(1, 9), "stackLevel": rng.randint(0, 3),
            "chargingProfilePurpose": rng.choice(
                ("ChargePointMaxProfile", "TxDefaultProfile", "TxProfile")),
            "chargingProfileKind": kind, "chargingSchedule": schedule}
        if kind == "Recurring":
            made["recurrencyKind"] = rng.choice(("Daily", "Weekly"))
        return made

    async def clear_profile(self) -> None:
        criteria = {"id": self.rng.randint(1, 9), "connectorId": self.rng.randint(0, EVSES),
                    "chargingProfilePurpose": "TxDefaultProfile",
                    "stackLevel": self.rng.randint(0, 3)}
        await self.ask("ClearChargingProfile", {
            name: value for name, value in criteria.items() if self.rng.random() < 0.4})

    async def change_key(self) -> None:
        key = self.rng.choice(sorted(KEYS))
        value = self.rng.choice(KEYS[key])
        before = set(self.kept.get(key, ()))
        if key in self.kept:
            self.kept[key] |= {value}
        answer = await self.ask("ChangeConfiguration", {"key": key, "value": value})
        if self._calling or answer is None:
            if key not in self.kept:  # what it was before is not known
                return
        elif answer["status"] == "Accepted":
            self.kept[key] = {value}
        elif before:
            self.kept[key] = before

    async def anything(self) -> None:
        rng, number = self.rng, self.rng.randint(0, EVSES)
        url = rng.choice(URLS)
        action, payload = rng.choice((
            ("TriggerMessage", {"requestedMessage": rng.choice((
                "BootNotification", "DiagnosticsStatusNotification", "Heartbeat", "MeterValues",
                "FirmwareStatusNotification", "StatusNotification"))}),
            ("TriggerMessage", {"requestedMessage": "MeterValues", "connectorId": number}),
            ("ExtendedTriggerMessage", {"requestedMessage": rng.choice((
                "LogStatusNotification", "SignChargePointCertificate", "StatusNotification",
                "BootNotification", "FirmwareStatusNotification"))}),
            ("GetDiagnostics", {"location": url, "retries": rng.randint(0, 2),
                                "retryInterval": 5}),
            ("GetLog", {"logType": rng.choice(("DiagnosticsLog", "SecurityLog")), "requestId": 7,
                        "log": {"remoteLocation": url}, "retries": 1, "retryInterval": 5}),
            ("UpdateFirmware", {"location": url, "retrieveDate": self._soon_or_far(),
                                "retries": 1, "retryInterval": 5}),
            ("SignedUpdateFirmware", {"requestId": 3, "firmware": {
                "location": url, "retrieveDateTime": self._soon_or_far(),
                "signingCertificate": "none", "signature": "none"}}),
            ("InstallCertificate", {"certificateType": "CentralSystemRootCertificate",
                                    "certificate": "-----BEGIN CERTIFICATE-----\nAA==\n"}),
            ("CertificateSigned", {"certificateChain": "nothing"}),
            ("GetInstalledCertificateIds", {"certificateType": "CentralSystemRootCertificate"}),
            ("DeleteCertificate", {"certificateHashData": {
                "hashAlgorithm": "SHA256", "issuerNameHash": "aa", "issuerKeyHash": "bb",
                "serialNumber": "1"}}),
            ("GetCompositeSchedule", {"connectorId": number, "duration": 86_400}),
            ("DataTransfer", {"vendorId": "com.example", "data": "x"}),
            ("RemoteStartTransaction", {"idTag": CARD, "connectorId": max(1, number),
                                        "chargingProfile": {
                                            **self._profile(),
                                            "chargingProfilePurpose": "TxProfile"}}),
        ))
        await self.ask(action, payload)

    async def wide_manner(self) -> None:
        self.rng.choice((self._bad_new_call, self._bad_new_call))()

    def _bad_new_call(self) -> None:
        from cpctl.demo.csms import HangUp, Late, Nonsense, Refuse, Reply, Silence

        action = self.rng.choice(NEW_ACTIONS)
        manner = self.rng.choice((Refuse("NotImplemented"), Refuse(), Silence(), Late(50.0),
                                  Nonsense(), Nonsense('[3,"{id}",[]]'), HangUp(),
                                  Reply({"status": 5, "x": {"y": [1]}})))
        self._say("manner", action, manner)
        self.w.central.behave(action, manner)

    # --- looking up ------------------------------------------------------------------------------

    async def look_up(self) -> None:
        """What was accepted holds, whatever happened since."""
        await self.settle()
        if not self.w.central.online:
            return
        answer = await self.ask("GetLocalListVersion", {})
        if answer is not None:
            assert answer["listVersion"] in self.versions, (answer, self.versions)
        answer = await self.ask("GetConfiguration", {"key": sorted(KEYS)})
        if answer is not None:
            found = {one["key"]: one["value"] for one in answer["configurationKey"]}
            for key, possible in self.kept.items():
                assert found[key] in possible, (key, found[key], possible)

    async def calm_down(self) -> None:
        await self.settle()
        await super().calm_down()
        for number in range(1, 5):
            await self.ask("CancelReservation", {"reservationId": number})
        await self.w.advance(60)
        await self.look_up()
        await self._statuses_agree()
        self._answered_once()

    async def _statuses_agree(self) -> None:
        nobody: Any = None
        picture = await Methods(self.w.app).call("status", {}, nobody)  # type: ignore[arg-type]
        for one in picture["evses"]:
            assert one["status"] == self.w.status(one["id"]), (one, self.w.status(one["id"]))

    def _answered_once(self) -> None:
        """16.RPC.4: never twice, but for a frame that came as often."""
        sent: Counter[str] = Counter()
        answers: Counter[str] = Counter()
        for frame in self.w.central.frames:
            with contextlib.suppress(ValueError):
                parts = json.loads(frame.text)
                if frame.sent and parts[0] == 2:
                    sent[parts[1]] += 1
                elif not frame.sent and parts[0] != 2:
                    answers[parts[1]] += 1
        for message, number in answers.items():
            assert number <= sent[message], (message, number, sent[message])


async def wide_walk(seed: int, *, exact: bool, steps: int) -> None:
    rng = random.Random(seed)
    more = f'retention_days = 3650\n{LIMITS}[firmware]\nreleases = "{{world}}/opt"\n'
    async with world(start=False, evses=EVSES, more=more) as w:
        w.children = Moody(rng)
        lay_out(w.directory / "opt")
        w.release = slots.choose(str(w.directory / "opt"))
        w.central.known = {CARD, OTHER_CARD}
        await w.start()
        await w.until(lambda: w.status(1) == "Available", 60)
        walker = WideWalker(w, rng, exact=exact)
        try:
            for _ in range(steps):
                await walker.step()
            await walker.calm_down()
            await books_agree(w)
            await energies_hold(w, exact=exact)
            assert_every_frame_fits_its_schema(w, redated=True)
        except BaseException as error:
            error.add_note(f"seed {seed} exact {exact}: " + "; ".join(walker.said))
            raise
