"""Sessions in memory: those that are open, and those a waiting fact at hand belongs to."""

import json
from collections.abc import Callable, Iterable, Iterator, Set

from cpctl.core.events import OpenSession
from cpctl.core.facts import (
    Fact,
    SessionClosed,
    SessionOpened,
    TransactionChanged,
    TransactionEnded,
    TransactionSampled,
    TransactionStarted,
)
from cpctl.core.now import Now
from cpctl.core.values import IdToken
from cpctl.store.ledger import Loaded, Sweep

ALIASES_KEPT = 512


class SessionBook:
    """Facts, registers and aliases of the sessions that memory must know."""

    def __init__(self, found: Sweep) -> None:
        self.open: dict[int, int] = dict(found.open)  # session -> facts so far
        self.facts: dict[int, dict[int, Fact]] = {}
        self.registers = {session: saved for session, saved in found.registers.items()
                          if session in found.open}
        newest = sorted(found.aliases)[-ALIASES_KEPT:]
        self.aliases: dict[tuple[int, str], int | str] = {
            key: json.loads(found.aliases[key]) for key in newest}
        self._running: set[int] = set()

    def count(self, fact: Fact) -> int:
        """The place of a new fact within its session."""
        return self.open.get(fact.session, 0) if fact.session is not None else 0

    def add(self, no: int, fact: Fact) -> Now | None:
        """Take a fact in; the moment of the one before it in its session."""
        session = fact.session
        if session is None:
            return None
        opens = isinstance(fact, SessionOpened | TransactionStarted)
        if session not in self.open and not opens and session not in self.facts:
            return None
        facts = self.facts.setdefault(session, {})
        previous = next(reversed(facts.values())).at if facts else None
        facts[no] = fact
        if opens or session in self.open:
            self.open[session] = self.open.get(session, 0) + 1
        self._note(fact, session)
        return previous

    def _note(self, fact: Fact, session: int) -> None:
        if isinstance(fact, TransactionStarted):
            self._running.add(session)
        elif isinstance(fact, TransactionEnded):
            self._running.discard(session)
        elif isinstance(fact, SessionClosed) and session not in self._running:
            self.open.pop(session, None)
            self.registers.pop(session, None)

    def take(self, loaded: Loaded) -> None:
        """Take in what was read from the file."""
        for session, facts in loaded.sessions.items():
            own = self.facts.setdefault(session, {})
            known = dict(own)
            own.clear()
            own.update(facts | known)
            if session in self.open and _is_running(own.values()):
                self._running.add(session)
        for key, text in loaded.aliases.items():
            self.aliases.setdefault(key, json.loads(text))

    def keep_only(self, wanted: Set[int | None]) -> None:
        """Forget facts of sessions neither open nor `wanted`, and all but the newest aliases."""
        for session in [each for each in self.facts if each not in self.open]:
            if session not in wanted:
                del self.facts[session]
        if len(self.aliases) > 2 * ALIASES_KEPT:
            spare = sorted(key for key in self.aliases if key[0] not in self.facts)
            for key in spare[:-ALIASES_KEPT]:
                del self.aliases[key]

    def drop(self, nos: Iterable[int]) -> None:
        for no in nos:
            for facts in self.facts.values():
                facts.pop(no, None)

    def charging(self) -> bool:
        """Whether a transaction runs."""
        return bool(self._running)

    def session_of(self, dialect: str, csms_id: int | str) -> int | None:
        same = [session for (session, name), its in self.aliases.items()
                if name == dialect and its == csms_id]
        running = [session for session in same if session in self._running]
        return max(running or same, default=None)

    def moments(self) -> Iterator[Iterator[Now]]:
        """The moments of each session in memory, in order."""
        for facts in self.facts.values():
            yield (fact.at for fact in facts.values())


def _is_running(facts: Iterable[Fact]) -> bool:
    running = False
    for fact in facts:
        if isinstance(fact, TransactionStarted):
            running = True
        elif isinstance(fact, TransactionEnded):
            running = False
    return running


def open_session(number: int, facts: tuple[Fact, ...], register: tuple[int, Now] | None,
                 order: Callable[[Now], tuple[int, int]]) -> OpenSession:
    """What the books tell of a session that is not closed; `facts` is not empty."""
    started = next((fact for fact in facts if isinstance(fact, TransactionStarted)), None)
    ended = next((fact for fact in facts if isinstance(fact, TransactionEnded)), None)
    place = next(fact for fact in facts if hasattr(fact, "evse"))
    last_at = max((fact.at for fact in facts), key=order)
    metered = [(order(fact.at), fact.register_wh) for fact in facts
               if isinstance(fact, TransactionStarted | TransactionSampled | TransactionEnded)]
    if register is not None:
        metered.append((order(register[1]), register[0]))
        last_at = max(last_at, register[1], key=order)
    reports = [report for fact in facts
               if (report := getattr(fact, "report", None)) is not None]
    return OpenSession(
        session=number, evse=place.evse, connector=getattr(place, "connector", 1),
        token=_token(facts), started=started,
        last_register_wh=max(metered)[1] if metered else None, last_at=last_at,
        next_report=max(reports, default=-1) + 1,
        samples=tuple(fact for fact in facts if isinstance(fact, TransactionSampled)),
        ended=ended)


def _token(facts: tuple[Fact, ...]) -> IdToken | None:
    tokens = (fact.token for fact in facts
              if isinstance(fact, TransactionStarted | TransactionChanged))
    return next((token for token in tokens if token is not None), None)
