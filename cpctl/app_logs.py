"""Transfers, support bundles and uploads of logs, put together when they are first needed.

Most days nobody asks for one, so nothing of it is imported at the start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cpctl.core import security
from cpctl.core.events import LogRequested, Request
from cpctl.core.jobs import CertificateUse
from cpctl.core.settings import TABLE, Access

if TYPE_CHECKING:
    from cpctl.app_home import Home
    from cpctl.services.bundle import Bundles
    from cpctl.services.child import Children
    from cpctl.services.logs import Logs
    from cpctl.services.transfer import Transfers

log = logging.getLogger(__name__)

# What stands in a bundle beside books, log and configuration: name -> method of the local API.
PICTURES = {"status": "status", "devices": "hw.list", "buses": "hw.bus",
            "settings": "settings.list", "limits": "limits", "why": "why", "doctor": "doctor",
            "sessions": "sessions.list"}
PICTURE_LIMIT_S = 10.0


class LogDesk:
    """The door to all three."""

    def __init__(self, app: Home, children: Children) -> None:
        self._app = app
        self._children = children
        if (app.config.store.path / "outbox").exists():
            from cpctl.services.bundle import clean

            clean(app.config.store.path)

    def desks(self) -> dict[type[Request], Any]:
        return {LogRequested: self._requested}

    def _requested(self, request: LogRequested) -> None:
        self.logs.requested(request)

    @cached_property
    def transfers(self) -> Transfers:
        from cpctl.services.transfer import Transfers

        app = self._app
        return Transfers(
            self._children, app.config.store.path, roots=self._roots,
            post=lambda: app.loop.settings.text("transfer.http_method") == "post")

    @cached_property
    def bundles(self) -> Bundles:
        from cpctl.runtime.log import kept_lines
        from cpctl.services.bundle import Bundles, Sources

        app = self._app
        return Bundles(
            self._children, app.journal, app.config.store.path,
            Sources(kept_lines, self._pictures, self._secrets, self._tokens, app.config.files,
                    app.config.station.identity), app.now)

    @cached_property
    def logs(self) -> Logs:
        from cpctl.services.logs import Logs

        app = self._app
        return Logs(self.bundles, self.transfers, answer=app.answer, post=app.post,
                    spawn=app.spawn)

    # --- what they are made of -------------------------------------------------------------------

    def _roots(self) -> str:
        """Whom a file server's certificate may come from, beside the authorities of the system."""
        store = self._app.certificates
        texts = []
        for use in (CertificateUse.CSMS_ROOT, CertificateUse.MANUFACTURER_ROOT):
            for file in store.trust_files(use):
                with contextlib.suppress(OSError, UnicodeDecodeError):
                    texts.append(file.read_text())
        return "\n".join(texts)

    async def _pictures(self) -> Mapping[str, Any]:
        from cpctl.api.methods import Methods

        methods = Methods(self._app)
        nobody: Any = None  # none of these goes on telling
        found: dict[str, Any] = {}
        taken: Any

        async def picture(method: str) -> Any:
            async with asyncio.timeout(PICTURE_LIMIT_S):
                return await methods.call(method, {}, nobody)

        for name, method in PICTURES.items():
            # one that fails, of a bug even, is missing and no more
            (taken,) = await asyncio.gather(picture(method), return_exceptions=True)
            found[name] = taken if not isinstance(taken, BaseException) else {
                "error": f"{type(taken).__name__}: {taken}"}
        return found

    def _secrets(self) -> Iterator[str]:
        """Whatever must not leave the station, in each of its forms."""
        app = self._app
        texts = [app.config.csms.password or ""]
        texts += [app.loop.settings.text(name) for name, row in TABLE.items()
                  if row.access is Access.WRITE_ONLY]
        other = app.loop.station.access.other_password
        if other is not None:
            texts.append(other.text)
        for text in filter(None, texts):
            yield text
            for form in (text, self._as_sent(text)):
                yield f"{app.config.station.identity}:{form}"

    def _as_sent(self, text: str) -> str:
        encoding = self._app.loop.settings.text("compat.authkey_encoding")
        sent = security.password_bytes(text, encoding) or text.encode()
        return sent.decode("latin-1")

    def _tokens(self) -> Iterator[str]:
        book = self._app.authbook
        for token, info in (*book.entries(), *book.list_entries.items()):
            yield token
            if info.group is not None:
                yield info.group.value
