"""What a technician reads in the log of one charge: sessions, transactions, faults as they come.

The core does not log: its effects and pictures are the log, and here they become lines. Each names
its EVSE, session and fault code as arguments, from which the journal's fields are made
(`runtime/log.py`). Decides nothing.
"""

from __future__ import annotations

import logging

from cpctl.core.effects import Effect, Record
from cpctl.core.events import Event
from cpctl.core.facts import (
    Fact,
    SessionClosed,
    SessionOpened,
    TransactionEnded,
    TransactionStarted,
)
from cpctl.core.faults import CATALOGUE, FaultCode
from cpctl.core.views import FaultPicture, StationPicture

log = logging.getLogger(__name__)

Place = tuple[int | None, FaultCode]  # EVSE (None: the station) and what is wrong there


class Diary:
    """`witness` is shown each event with its effects, `look` each picture.

    `sessions` holds the session that is open, by EVSE: lines that name only the EVSE are of it.
    """

    def __init__(self) -> None:
        self.sessions: dict[int, int] = {}
        self._faults: dict[Place, FaultPicture] = {}
        self._began_wh: dict[int | None, int] = {}  # register at the begin, by session

    def witness(self, event: Event, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if isinstance(effect, Record):
                self._fact(effect.fact)

    def _fact(self, fact: Fact) -> None:
        match fact:
            case SessionOpened(session=int(session)):
                self.sessions[fact.evse] = session
                log.info("evse=%s session=%s begins", fact.evse, fact.session)
            case TransactionStarted():
                self._began_wh[fact.session] = fact.register_wh
                log.info("evse=%s session=%s transaction begins at %d Wh, token %s", fact.evse,
                         fact.session, fact.register_wh, fact.token or "none")
            case TransactionEnded():
                began_wh = self._began_wh.pop(fact.session, None)
                spent = "" if began_wh is None else f", {fact.register_wh - began_wh} Wh"
                log.info("evse=%s session=%s transaction ends at %d Wh%s: %s", fact.evse,
                         fact.session, fact.register_wh, spent, fact.reason.value)
            case SessionClosed():
                log.info("evse=%s session=%s is over, the EVSE is free", fact.evse, fact.session)
                self.sessions.pop(fact.evse, None)

    def look(self, picture: StationPicture) -> None:
        """Faults that came and went since the last picture."""
        for one in picture.evses:  # also those that a previous life left open
            if one.session is not None:
                self.sessions[one.evse] = one.session
        present: dict[Place, FaultPicture] = {(None, one.code): one for one in picture.faults}
        for evse in picture.evses:
            present |= {(evse.evse, one.code): one for one in evse.faults}
        for place, fault in present.items():
            if place not in self._faults:
                self._tell(place, fault)
        for place in self._faults:
            if place not in present:
                _tell_gone(place)
        self._faults = present

    def _tell(self, place: Place, fault: FaultPicture) -> None:
        evse, code = place
        row = CATALOGUE[code]
        level = logging.ERROR if fault.latched else logging.WARNING
        sentence = f"{row.sentence}{': ' if fault.detail else ''}{fault.detail}; {row.remedy}"
        session = None if evse is None else self.sessions.get(evse)
        if evse is None:
            log.log(level, "code=%s %s", code.value, sentence)
        elif session is None:
            log.log(level, "evse=%s code=%s %s", evse, code.value, sentence)
        else:
            log.log(level, "evse=%s session=%s code=%s %s", evse, session, code.value, sentence)


def _tell_gone(place: Place) -> None:
    evse, code = place
    if evse is None:
        log.info("code=%s is over", code.value)
    else:
        log.info("evse=%s code=%s is over", evse, code.value)
