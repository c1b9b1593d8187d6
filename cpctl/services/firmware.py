"""Updates of the firmware, carried out: releases fetched, checked, installed, confirmed.

When, is the core's to decide. Everything heavy is done in child processes; what it comes to is
posted as events. `slots.py` knows which release runs; here nothing of it is changed but in a child,
so that the daemon may be killed at any instant.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cpctl import slots
from cpctl.core.effects import (
    CancelFirmware,
    ConfirmFirmware,
    FetchFirmware,
    FindFirmware,
    FirmwareWork,
    InstallFirmware,
)
from cpctl.core.events import (
    Event,
    FirmwareChecked,
    FirmwareFound,
    FirmwareMoved,
    FirmwareRequested,
)
from cpctl.core.jobs import FirmwareFinding, FirmwareOrder, FirmwareStatus
from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.core.values import Outcome
from cpctl.services.child import ChildFailed, Children, Told
from cpctl.services.transfer import SCHEMES, TransferFailed, Transfers, forget, scheme_of, shown
from cpctl.store.migrations import JOURNAL, STATION

log = logging.getLogger(__name__)

MODULE = "cpctl.services.firmware_child"
CHECK_LIMIT_S = 15.0  # within the time in which every call is answered
WORK_LIMIT_S = 1800.0
DOWNLOAD_LIMIT_S = 6 * 3600.0
HOPELESS = ("unsupported", "too_large")  # trying again does not mend these

BOOKS = ("journal.db", "station.db")  # beside the folder of what is fetched

_VERDICTS = {"certificate": Outcome.INVALID_CERTIFICATE, "revoked": Outcome.REVOKED_CERTIFICATE}
_FAILURES = {"signature": FirmwareStatus.INVALID_SIGNATURE,
             "certificate": FirmwareStatus.INVALID_SIGNATURE,
             "revoked": FirmwareStatus.INVALID_SIGNATURE,
             "verification": FirmwareStatus.VERIFICATION_FAILED}
_FINDINGS = {slots.GOOD: FirmwareFinding.INSTALLED, slots.FAILED: FirmwareFinding.FAILED,
             slots.FAILING: FirmwareFinding.FAILED}


@dataclass(frozen=True)
class Place:
    """Where things are. `root`: the releases folder; `running`: the version of the slot that this
    daemon runs from, None when it runs from elsewhere; `folder`: for what is being fetched;
    `launched`: by the launcher, without which nobody would lead back from a release."""

    root: Path
    running: str | None
    folder: Path
    trial_s: float
    max_bytes: int
    unsigned_bundles: bool
    launched: bool = True


@dataclass(frozen=True)
class Around:
    """What the service needs of the daemon. `roots`: files of the manufacturer's roots."""

    settings: Callable[[], Settings]
    now: Callable[[], Now]
    roots: Callable[[], tuple[Path, ...]]
    post: Callable[[Event], None]
    spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class Firmware:
    """One object per daemon, made when it is first needed."""

    def __init__(self, place: Place, children: Children, transfers: Transfers, around: Around
                 ) -> None:
        self._place = place
        self._children = children
        self._transfers = transfers
        self._around = around
        self._fetching: asyncio.Task[None] | None = None
        self._ended: asyncio.Task[None] | None = None

    # --- doors -------------------------------------------------------------------------------

    def check(self, request: FirmwareRequested) -> None:
        """Look at the signing certificate; the verdict goes to the core."""
        self._around.spawn(self._check(request), "firmware certificate")

    def carry_out(self, effect: FirmwareWork) -> None:
        match effect:
            case FetchFirmware(order=order):
                self._drop(order)
                self._fetching = self._around.spawn(self._fetch(order), "firmware download")
            case CancelFirmware():
                self._drop(None)
            case InstallFirmware(order=order):
                self._around.spawn(self._install(order), "firmware installation")
            case FindFirmware(order=order):
                self._around.spawn(self._find(order), "firmware finding")
            case ConfirmFirmware(order=order):
                self._around.spawn(self._confirm(order), "firmware confirmation")

    def announce_trial(self) -> None:
        """A release on trial says so, whatever else is known of the update."""
        state = slots.read(str(self._place.root))
        if state is None or state.get("state") != slots.TRIAL or (
                state["version"] != self._place.running):
            return
        order = _order_of(state.get("order", {}))
        if order is not None:
            self._around.post(FirmwareFound(order, FirmwareFinding.ON_TRIAL))

    # --- the certificate ---------------------------------------------------------------------

    async def _check(self, request: FirmwareRequested) -> None:
        order = request.order
        why = self._why_not() or _why_not_fetched(order.url)
        verdict, detail = (Outcome.REJECTED, why) if why else await self._judged(order)
        if verdict is not Outcome.ACCEPTED:
            log.warning("%s refused: %s", _named(order), detail)
        self._around.post(FirmwareChecked(request.request, order, verdict, detail))

    async def _judged(self, order: FirmwareOrder) -> tuple[Outcome, str]:
        try:
            await self._child("check", order, online=True, limit_s=CHECK_LIMIT_S)
        except ChildFailed as failed:
            return _VERDICTS.get(failed.kind, Outcome.REJECTED), failed.detail or failed.kind
        return Outcome.ACCEPTED, ""

    def _why_not(self) -> str:
        """Why nothing can be installed here; "": it can."""
        if self._place.running is None:
            return (f"this daemon does not run from {self._place.root}/releases; update it the "
                    "way it was installed")
        if not self._place.launched:
            return (f"this daemon was started past {self._place.root}/launch; let the service "
                    "start that")
        return ""

    # --- fetching ----------------------------------------------------------------------------

    def _drop(self, order: FirmwareOrder | None) -> None:
        """End what is being fetched, and throw away what is not of `order`."""
        if self._fetching is not None:
            self._fetching.cancel()
            self._ended, self._fetching = self._fetching, None
        kept = () if order is None else (_partial(self._place, order).name,
                                         _whole(self._place, order).name)
        for file in self._place.folder.glob("*"):
            if not file.name.startswith(kept or ("\0",)):
                file.unlink(missing_ok=True)

    async def _fetch(self, order: FirmwareOrder) -> None:
        why = self._why_not()
        if why:  # nothing was fetched; after Downloading there is no other failure (16.FW.2)
            self._moved(order, FirmwareStatus.DOWNLOAD_FAILED, why)
            return
        if self._ended is not None:  # its child is gone before another writes the same file
            await asyncio.wait([self._ended])
        self._place.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        whole = _whole(self._place, order)
        if not whole.exists():
            failed = await self._downloaded(order)
            if failed is not None:
                forget(_partial(self._place, order))
                self._moved(order, FirmwareStatus.DOWNLOAD_FAILED, str(failed))
                return
            _partial(self._place, order).replace(whole)
        self._moved(order, FirmwareStatus.DOWNLOADED)
        await self._verify(order, whole)

    async def _downloaded(self, order: FirmwareOrder) -> TransferFailed | None:
        """Fetch the file, as often as allowed. Why not, or None."""
        for left in range(order.retries, -1, -1):
            try:
                await self._transfers.download(
                    order.url, _partial(self._place, order), limit_bytes=self._place.max_bytes,
                    limit_s=DOWNLOAD_LIMIT_S)
            except TransferFailed as failed:
                log.warning("firmware from %s: %s; tries left: %d", shown(order.url), failed,
                            0 if failed.kind in HOPELESS else left)
                if failed.kind in HOPELESS or not left:
                    return failed
                await asyncio.sleep(order.retry_s)
            else:
                return None
        raise AssertionError("at least one try")

    async def _verify(self, order: FirmwareOrder, file: Path) -> None:
        try:
            await self._child("verify", order)
        except ChildFailed as failed:
            self._failed(order, failed)
        else:
            self._moved(order, FirmwareStatus.SIGNATURE_VERIFIED)

    # --- installing --------------------------------------------------------------------------

    async def _install(self, order: FirmwareOrder) -> None:
        try:
            if not _whole(self._place, order).exists():
                raise ChildFailed("disk", "what was fetched is gone")
            done = await self._child("install", order)
        except ChildFailed as failed:
            self._failed(order, failed)
            return
        self._drop(None)
        if done["same"]:
            log.info("release %s runs already", done["version"])
            self._moved(order, FirmwareStatus.INSTALLED)
            return
        log.info("release %s is installed and will be started", done["version"])
        self._moved(order, FirmwareStatus.INSTALL_REBOOTING)

    async def _find(self, order: FirmwareOrder) -> None:
        """How far an order came that was being installed when the last life ended."""
        state = slots.read(str(self._place.root))
        if state is None or state.get("key") != _key(order):
            self._around.post(FirmwareFound(order, FirmwareFinding.NOTHING))
            return
        word = state.get("state")
        if word == slots.TRIAL and state["version"] == self._place.running:
            self._around.post(FirmwareFound(order, FirmwareFinding.ON_TRIAL))
            return
        if word == slots.TRIAL:  # the old release was started past the launcher
            slots.fail(str(self._place.root), "the old release was started instead", _key(order))
            state = slots.read(str(self._place.root)) or state
        finding = _FINDINGS.get(str(state.get("state")), FirmwareFinding.FAILED)
        if finding is FirmwareFinding.FAILED:
            log.error("release %s was given up: %s", state["version"], state.get("reason"))
            await self._tidied(order)
        self._drop(None)
        self._around.post(FirmwareFound(order, finding, str(state.get("reason", ""))))

    async def _tidied(self, order: FirmwareOrder) -> None:
        try:
            await self._child("tidy", order)
        except ChildFailed as failed:
            log.warning("the release that was given up is not removed: %s", failed)

    async def _confirm(self, order: FirmwareOrder) -> None:
        try:
            await self._child("confirm", order)
        except ChildFailed as failed:
            self._moved(order, FirmwareStatus.INSTALLATION_FAILED, failed.detail)
        else:
            log.info("release %s has reached the central system and stays", self._place.running)
            self._moved(order, FirmwareStatus.INSTALLED)

    # --- parts -------------------------------------------------------------------------------

    async def _child(self, work: str, order: FirmwareOrder, *, online: bool = False,
                     limit_s: float = WORK_LIMIT_S) -> Told:
        """Raises ChildFailed."""
        place, now = self._place, self._around.now()
        return await self._children.run(MODULE, {
            "do": work, "signed": order.job is not None, "certificate": order.certificate,
            "signature": order.signature, "online": online,
            "roots": [str(path) for path in self._around.roots()],
            "algorithms": list(self._around.settings().names("security.firmware_algorithms")),
            "utc": now.utc.isoformat(), "trusted": now.quality.trusted,
            "unsigned_bundles": place.unsigned_bundles, "file": str(_whole(place, order)),
            "root": str(place.root), "running": place.running, "max_bytes": place.max_bytes,
            "data": {"journal": len(JOURNAL), "station": len(STATION)},
            "books": [str(place.folder.parent / name) for name in BOOKS],
            "key": _key(order), "order": _order_told(order), "trial_s": place.trial_s,
        }, limit_s=limit_s)

    def _failed(self, order: FirmwareOrder, failed: ChildFailed) -> None:
        self._drop(None)
        self._moved(order, _FAILURES.get(failed.kind, FirmwareStatus.INSTALLATION_FAILED),
                    failed.detail or failed.kind)

    def _moved(self, order: FirmwareOrder, status: FirmwareStatus, detail: str = "") -> None:
        if detail:
            log.error("%s: %s: %s", _named(order), status.value, detail)
        else:
            log.info("%s: %s", _named(order), status.value)
        self._around.post(FirmwareMoved(order, status, detail))


def _why_not_fetched(url: str) -> str:
    scheme = scheme_of(url)
    return "" if scheme in SCHEMES else f"scheme {scheme[:20]!r} is not one of {', '.join(SCHEMES)}"


def _key(order: FirmwareOrder) -> str:
    """What tells one order from another, the same in each release."""
    words = (order.job, order.url, _in_utc(order.retrieve_at), order.signature)
    return hashlib.sha256(repr(words).encode()).hexdigest()[:24]


def _in_utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat()


def _partial(place: Place, order: FirmwareOrder) -> Path:
    return place.folder / f"{_key(order)}.part"


def _whole(place: Place, order: FirmwareOrder) -> Path:
    return place.folder / f"{_key(order)}.whole"


def _order_told(order: FirmwareOrder) -> dict[str, Any]:
    return {"url": order.url, "retrieve_at": order.retrieve_at.isoformat(), "job": order.job,
            "install_at": order.install_at.isoformat() if order.install_at else None,
            "certificate": order.certificate, "signature": order.signature,
            "retries": order.retries, "retry_s": order.retry_s}


def _order_of(told: Mapping[str, Any]) -> FirmwareOrder | None:
    try:
        return FirmwareOrder(
            told["url"], datetime.fromisoformat(told["retrieve_at"]), told["job"],
            datetime.fromisoformat(told["install_at"]) if told["install_at"] else None,
            told["certificate"], told["signature"], told["retries"], told["retry_s"])
    except (KeyError, TypeError, ValueError) as error:
        log.error("the order of the update on trial cannot be read: %s", error)
        return None


def _named(order: FirmwareOrder) -> str:
    number = "" if order.job is None else f" {order.job}"  # UpdateFirmware brings none
    return f"update{number} of the firmware"
