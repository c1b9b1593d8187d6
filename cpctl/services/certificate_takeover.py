"""What was there before the certificate service: files of the configuration, a store without index.

A file that cannot be taken over goes on being used from its place, and that is told.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from cpctl.core.jobs import CertificateUse
from cpctl.core.now import Now
from cpctl.core.settings import Settings
from cpctl.services.certificate_about import About, about_of
from cpctl.services.child import ChildFailed, Told
from cpctl.store.certificates import CertificateStore, Waiting, key_file_of
from cpctl.store.errors import StoreError

log = logging.getLogger(__name__)


class Takeover:
    """Once per start, before anything is answered. `child` carries out an order."""

    def __init__(self, store: CertificateStore, child: Callable[[dict[str, Any]], Awaitable[Told]],
                 settings: Callable[[], Settings], now: Callable[[], Now]) -> None:
        self._store, self._child = store, child
        self._settings, self._now = settings, now

    async def run(self) -> None:
        """What the configuration names is in the store, and all that is in it is described."""
        for one in self._store.waiting:
            await self._take_over(one)
        await self._describe_all()

    async def _take_over(self, one: Waiting) -> None:
        """A file that cannot be taken over goes on being used from its place."""
        try:
            if one.use is None:
                await self._take_over_own(one)
            else:
                await self._take_over_roots(one, one.use)
        except (ChildFailed, StoreError) as error:
            log.warning("%s is not taken into the certificate store: %s", one.path, error)

    async def _take_over_own(self, one: Waiting) -> None:
        told = await self._child({"do": "take_over", "certificate": str(one.path),
                                  "key": str(one.key), "folder": str(self._store.path)})
        about = about_of(told["about"])
        new = about.certificate(None, self._now().utc, key=told["key"])
        state = self._store.state.with_certificate(new)
        await self._store.put(replace(state, imported=(*state.imported, one.content)),
                             {new.file: told["pem"]})

    async def _take_over_roots(self, one: Waiting, use: CertificateUse) -> None:
        most = self._settings().integer("security.store_max")
        try:
            text = one.path.read_text(errors="replace")
        except OSError as error:
            raise StoreError(f"{one.path}: {error.strerror}") from error
        if text.count("-----BEGIN ") > most:
            log.info("%s holds more certificates than the store takes: used as it is", one.path)
            return
        told = await self._child({"do": "describe", "pem": text, "most": most})
        state, files = self._store.state, {}
        for found in told["found"]:
            new = about_of(found["about"]).certificate(use, self._now().utc)
            if all(other.file != new.file for other in state.certificates):
                state = state.with_certificate(new)
                files[new.file] = found["pem"]
        if len(state.roots) > most:
            raise ChildFailed("full", f"the store takes {most} certificates")
        await self._store.put(replace(state, imported=(*state.imported, one.content)), files)

    async def _describe_all(self) -> None:
        """After the index was lost: find out what the files are."""
        state = self._store.state
        bare = [one for one in state.certificates if not one.described]
        if not bare:
            return
        for one in bare:
            try:
                about = (await self._described(await self._store.text(one.file)))[0]
            except (ChildFailed, StoreError) as error:
                log.error("%s is no certificate and is dropped: %s", one.file, error)
                state = state.without(one)
                continue
            key = key_file_of(about.public_key) if one.use is None else ""
            state = state.without(one)
            if one.use is not None or key in state.files:
                state = state.with_certificate(replace(
                    about.certificate(one.use, one.added, key=key), file=one.file))
        taken = {one.key for one in state.certificates}
        state = replace(state, pending=tuple(
            one for one in state.pending if one.key not in taken))
        try:
            await self._store.put(state)
        except StoreError as error:
            log.error("certificates: %s", error)

    async def _described(self, text: str) -> tuple[About, ...]:
        told = await self._child({"do": "describe", "pem": text})
        return tuple(about_of(one["about"]) for one in told["found"])
