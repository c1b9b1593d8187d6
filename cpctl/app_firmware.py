"""Updates of the firmware, put together when the first is asked for, or one is on trial."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cpctl.core.effects import FirmwareWork
from cpctl.core.events import FirmwareRequested, Request
from cpctl.core.jobs import CertificateUse

if TYPE_CHECKING:
    from cpctl.app_home import Home
    from cpctl.app_logs import LogDesk
    from cpctl.services.child import Children
    from cpctl.services.firmware import Firmware

FOLDER = "firmware"  # of what is being fetched, beside the books


class FirmwareDesk:
    """The door to the service."""

    def __init__(self, app: Home, children: Children, logs: LogDesk) -> None:
        """Releases are fetched by the transfers of `logs`."""
        self._app = app
        self._children = children
        self._logs = logs

    def desks(self) -> dict[type[Request], Any]:
        return {FirmwareRequested: self._check}

    def _check(self, request: FirmwareRequested) -> None:
        self.service.check(request)

    def carry_out(self, effect: FirmwareWork) -> None:
        """Fetch, drop, install, find or confirm a release."""
        self.service.carry_out(effect)

    def start(self) -> None:
        """A release on trial proves itself, whatever was kept of the update."""
        root = self._app.config.firmware.releases
        if not (root / "releases").is_dir():
            return
        from cpctl import slots

        state = slots.read(str(root))
        if state is not None and state.get("state") == slots.TRIAL:
            self.service.announce_trial()

    @property
    def running(self) -> str | None:
        """The slot that this daemon runs from."""
        from cpctl import slots

        releases = str(self._app.config.firmware.releases)
        return self._app.seams.release or slots.release_of(releases, __file__)

    @property
    def launched(self) -> bool:
        """Whether the launcher has started this daemon: nobody else leads back from a release."""
        return self._app.seams.release is not None or "CPCTL_LAUNCHER" in os.environ

    def picture(self) -> dict[str, Any]:
        """What is installed, and how the last update stands, for people."""
        from cpctl import slots

        root = str(self._app.config.firmware.releases)
        state = slots.read(root) or {}
        update = self._app.loop.station.firmware
        return {
            "version": self._app.version, "folder": root, "slot": self.running,
            "launched": self.launched,
            "current": slots.current(root), "releases": slots.releases(root),
            "last": {key: state.get(key) for key in ("version", "state", "previous", "reason")}
            if state else None,
            "update": None if update is None else {
                "job": update.order.job, "step": update.step.value, "status": update.told.value}}

    @cached_property
    def service(self) -> Firmware:
        from cpctl.services.firmware import Around, Firmware, Place

        app, spec = self._app, self._app.config.firmware
        place = Place(spec.releases, self.running, app.config.store.path / FOLDER, spec.trial_s,
                      spec.max_mb << 20, spec.unsigned_bundles, self.launched)
        return Firmware(place, self._children, self._logs.transfers, Around(
            settings=lambda: app.loop.settings, now=app.now, post=app.post, spawn=app.spawn,
            roots=lambda: app.certificates.trust_files(CertificateUse.MANUFACTURER_ROOT)))
