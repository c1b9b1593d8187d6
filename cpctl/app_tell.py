"""Messages that were asked for: who sends each of them.

The core has promised it and the answer is out; here it is handed to the link, to a meter that must
be read first, or to whoever registered for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from cpctl.core.effects import AnnounceBoot, Heartbeat, Tell
from cpctl.core.jobs import Trigger

if TYPE_CHECKING:
    from cpctl.app_home import Home

log = logging.getLogger(__name__)


class Teller:
    """Carries out `Tell`. `others` is where services register for what is theirs."""

    def __init__(self, app: Home) -> None:
        self._app = app
        self.others: dict[Trigger, Callable[[], None]] = {}
        self._asking: set[Trigger] = set()  # on their way: one complies with several requests

    def tell(self, effect: Tell) -> None:
        other = self.others.get(effect.what)
        match effect.what:
            case _ if other is not None:
                other()
            case Trigger.BOOT:
                self._ask(effect.what, AnnounceBoot("Triggered"))
            case Trigger.HEARTBEAT:
                self._ask(effect.what, Heartbeat())
            case Trigger.STATUS:
                self._status(effect)
            case Trigger.METER_VALUES if effect.evse is not None:
                self._app.devices.wake_meter(effect.evse)
            case _:
                log.error("asked to tell %s: nobody does", effect.what.value)

    def _ask(self, what: Trigger, query: AnnounceBoot | Heartbeat) -> None:
        if what not in self._asking:
            self._asking.add(what)
            self._app.spawn(self._asked(what, query), f"triggered {what.value}")

    async def _asked(self, what: Trigger, query: AnnounceBoot | Heartbeat) -> None:
        try:
            for event in await self._app.link.ask(query, triggered=True):
                self._app.post(event)
        finally:
            self._asking.discard(what)

    def _status(self, effect: Tell) -> None:
        """Of an EVSE without a connector: of all its connectors."""
        link = self._app.link
        if effect.evse is None or effect.connector is not None:
            link.tell_status_again(effect.evse, effect.connector)
            return
        for evse in self._app.layout.evses:
            if evse.id == effect.evse:
                for connector in evse.connectors:
                    link.tell_status_again(evse.id, connector.id)
