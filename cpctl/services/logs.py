"""Carries out GetDiagnostics and GetLog: makes the file, answers with its name, uploads it.

One upload at a time: a new request ends the one that runs (E-31, N01.FR.11). How it goes is posted
as LogUploadMoved; whether and how that is told is the core's and the dialect's.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from cpctl.core.events import Event, LogRequested, LogUploadMoved
from cpctl.core.jobs import LogFile, LogOrder, LogStatus
from cpctl.core.values import Outcome, Reply, RequestId
from cpctl.services.bundle import BundleFailed, Bundles
from cpctl.services.transfer import TransferFailed, Transfers, shown

log = logging.getLogger(__name__)

UPLOAD_LIMIT_S = 3600.0  # of one try

_STATUSES = {
    "permission": LogStatus.PERMISSION_DENIED,
    "bad_message": LogStatus.BAD_MESSAGE,
    "too_large": LogStatus.BAD_MESSAGE,
    "unsupported": LogStatus.NOT_SUPPORTED,
}


class Logs:
    """One object per daemon; `requested` takes what the core delegates."""

    def __init__(self, bundles: Bundles, transfers: Transfers, *,
                 answer: Callable[[RequestId, Reply], None], post: Callable[[Event], None],
                 spawn: Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]) -> None:
        self._bundles = bundles
        self._transfers = transfers
        self._answer = answer
        self._post = post
        self._spawn = spawn
        self._one_by_one = asyncio.Lock()
        self._running: tuple[LogOrder, asyncio.Task[None]] | None = None

    def requested(self, event: LogRequested) -> None:
        """Answer `event`, and upload what it asks for."""
        self._spawn(self._take(event), "log request")

    async def _take(self, event: LogRequested) -> None:
        order = event.order
        async with self._one_by_one:
            if not await self._bundles.holds(order.kind, order.since, order.until):
                self._answer(event.request, Reply(Outcome.REJECTED, "nothing_available"))
                return
            outcome = await self._cancel()
            name = self._bundles.name(order.kind, order.job)
            log.info("%s is asked for: %s", name, shown(order.url))
            self._answer(event.request, Reply(outcome, content=LogFile(name)))
            self._post(LogUploadMoved(order, LogStatus.UPLOADING))
            self._running = order, self._spawn(self._carry_out(order, name), "log upload")

    async def _cancel(self) -> Outcome:
        """End the upload that runs, if one does."""
        if self._running is None:
            return Outcome.ACCEPTED
        order, task = self._running
        self._running = None
        if task.done():
            return Outcome.ACCEPTED
        task.cancel()
        await asyncio.wait({task})
        log.info("the upload to %s is given up for a new one", shown(order.url))
        self._post(LogUploadMoved(order, LogStatus.CANCELED))
        return Outcome.ACCEPTED_CANCELED

    async def _carry_out(self, order: LogOrder, name: str) -> None:
        try:
            file = await self._bundles.make(order.kind, name, order.since, order.until)
        except BundleFailed as failed:
            log.error("%s; the upload has failed", failed)
            self._post(LogUploadMoved(order, LogStatus.UPLOAD_FAILURE))
            return
        try:
            status = await self._uploaded(order, file)
        finally:
            self._bundles.drop(file)
        self._post(LogUploadMoved(order, status))

    async def _uploaded(self, order: LogOrder, file: Path) -> LogStatus:
        """Try, and try again as often as asked; only what cannot change is not tried again."""
        left = order.retries
        while True:
            try:
                await self._transfers.upload(file, order.url, limit_s=UPLOAD_LIMIT_S,
                                             resume=left < order.retries)
                log.info("%s is uploaded", file.name)
                return LogStatus.UPLOADED
            except TransferFailed as failed:
                final = left <= 0 or failed.kind == "unsupported"
                log.warning("%s is not uploaded: %s; %s", file.name, failed,
                            "given up" if final else f"again in {order.retry_s} s")
                if final:
                    return _STATUSES.get(failed.kind, LogStatus.UPLOAD_FAILURE)
            left -= 1
            await asyncio.sleep(order.retry_s)
