"""The method that tells what release runs, and how an update stands."""

from __future__ import annotations

from typing import Any

from cpctl.api.app import App, Table
from cpctl.api.args import Args
from cpctl.api.server import Caller, Right


class Firmware:
    """What is installed; updates themselves come from the central system."""

    def __init__(self, app: App):
        self._app = app

    def table(self) -> Table:
        return {"firmware": (Right.READ, self.show)}

    async def show(self, args: Args, caller: Caller) -> Any:
        args.done()
        return self._app.services.releases.picture()
