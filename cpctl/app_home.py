"""What the desks beside the core need of the daemon: `cpctl.app.App` fits by its shape.

So the composition imports its desks, and no desk the composition.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from cpctl.api.app import App

if TYPE_CHECKING:
    from cpctl.app_parts import Seams
    from cpctl.config import Config
    from cpctl.core.events import Event
    from cpctl.core.values import Reply, RequestId, StationLayout
    from cpctl.dialects.base import StationIdentity
    from cpctl.link.link import Link
    from cpctl.runtime.devices import Devices
    from cpctl.runtime.loop import Loop
    from cpctl.store.authbook import AuthBook
    from cpctl.store.certificates import CertificateStore
    from cpctl.store.journal import Journal


class Home(App, Protocol):
    """The daemon as its own parts see it."""

    @property
    def seams(self) -> Seams: ...
    @property
    def config(self) -> Config: ...
    @property
    def layout(self) -> StationLayout: ...
    @property
    def identity(self) -> StationIdentity: ...
    @property
    def loop(self) -> Loop: ...
    @property
    def link(self) -> Link: ...
    @property
    def journal(self) -> Journal: ...
    @property
    def authbook(self) -> AuthBook: ...
    @property
    def certificates(self) -> CertificateStore: ...
    @property
    def devices(self) -> Devices: ...

    def post(self, event: Event) -> None: ...
    def answer(self, request: RequestId, reply: Reply) -> None: ...
    def spawn(self, coro: Any, name: str) -> asyncio.Task[None]: ...
    def is_online(self) -> bool: ...
