"""A random walker over the whole daemon in virtual time: everything may happen at any moment.

Two oracles. The board's memory: a coil is energised only while the pilot asks and no safety input
is tripped, and drops in the same instant when either goes. The books: when the storm is over and
the cars are gone, the central system's books equal the journal, and no session counts more than
flowed through its meter.
"""

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from support.world import CARD, OTHER_CARD, World, _registers, world

from cpctl.core.events import AvailabilityRequested, ClearFaultRequested, Event, UnlockRequested
from cpctl.core.values import RequestId
from cpctl.demo.csms import CallFailed, HangUp, Late, Nonsense, Refuse, Silence, TakenButSilent
from hal.errors import HalError
from hal.values import PilotState

STEPS = 40
EVSES = 2
UNKNOWN_CARD = "DEADBEEF"
TAGS = (CARD, OTHER_CARD, UNKNOWN_CARD)
TRIPS = {"rcd", "emergency_stop"}
FAULTS = ("rcd", "emergency_stop", "door", "ground", "over_temperature", "over_current",
          "meter_lost", "reader_lost", "pilot_lost", "contactor_lost", "lock_lost", "input_lost",
          "weld", "feedback_stuck", "did_not_close", "pilot_e", "pilot_f", "diode", "no_s2",
          "stuck_in_c", "greedy", "lock_jammed", "other")
#: faults of a run whose energies must be exact: none that hides the meter or flows uncommanded
EXACT = tuple(one for one in FAULTS if one not in {
    "weld", "meter_lost", "feedback_stuck", "contactor_lost"})
ACTIONS = ("BootNotification", "Authorize", "StartTransaction", "StopTransaction", "MeterValues",
           "StatusNotification", "Heartbeat")
TRIED_AGAIN_S = 6.0  # a lost output is looked at every 5 s
PAUSES_S = (0.0, 0.001, 0.02, 0.3, 1.0, 4.0, 7.0, 35.0, 90.0, 400.0)


class Errors(logging.Handler):
    """Errors logged with a traceback: bugs, unless a device was the cause."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.bugs: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and not isinstance(record.exc_info[1], HalError):
            self.bugs.append(logging.Formatter().format(record))


@contextlib.contextmanager
def no_traceback() -> Iterator[None]:
    handler = Errors()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    assert handler.bugs == [], handler.bugs[0]


class Walker:
    """One walk. `said` is what was done, for the one who has to understand a failure."""

    def __init__(self, w: World, rng: random.Random, *, exact: bool) -> None:
        self.w = w
        self.rng = rng
        self.exact = exact
        self.said: deque[str] = deque(maxlen=4 * STEPS)
        self.faults: set[tuple[str, int | None]] = set()
        self._watched: Any = None
        self._within_reach_s: dict[int, float] = {}
        self._watch()
        self._moves: tuple[tuple[int, Callable[[], Awaitable[None]]], ...] = (
            (10, self.plug), (6, self.unplug), (12, self.tap), (8, self.pilot), (8, self.fault),
            (8, self.mend), (3, self.network), (8, self.call), (3, self.manner), (2, self.death),
            (1, self.clock), (1, self.storm))

    # --- the oracle of power ---------------------------------------------------------------------

    def _watch(self) -> None:
        """Look at the coil at each movement of the board, in the same instant."""
        board = self.w.board
        if board is self._watched:
            return
        self._watched = board
        remember = board._remember

        def look(evse: int, what: str, value: Any) -> None:
            remember(evse, what, value)
            if what == "coil" and value:
                self._may_be_on(evse, "closed")

        board._remember = look  # type: ignore[method-assign]

    def _may_be_on(self, evse: int, when: str) -> None:
        board = self.w.board
        heard = board._heard(evse)
        assert heard.state is PilotState.C, (evse, when, heard)
        assert heard.diode_ok, (evse, when, heard)
        for name in TRIPS:
            assert (evse, name) not in board._tripped, (evse, when, name)
        assert board.look(evse).locked, (evse, when, "lock open")
        assert self.w.app is not None
        sessions = [one for one in self.w.app.journal.open_sessions() if one.evse == evse]
        assert len(sessions) == 1, (evse, when, sessions)

    async def check(self) -> None:
        """After each move: what is on may be on. The instant itself is given 1 ms to pass."""
        await self.w.advance(0.001)
        for evse in self.w.board.evses:
            if self.w.board.look(evse).coil and not self._out_of_reach(evse):
                self._may_be_on(evse, "stays")

    def _out_of_reach(self, evse: int) -> bool:
        """Nobody can drop a coil whose output does not answer; once it does, it is tried again."""
        if self.w.board._is_lost("contactor", evse):
            self._within_reach_s[evse] = self.w.loop.time() + TRIED_AGAIN_S
        return self.w.loop.time() < self._within_reach_s.get(evse, 0.0)

    # --- moves -----------------------------------------------------------------------------------

    async def step(self) -> None:
        weights, moves = zip(*self._moves, strict=True)
        move = self.rng.choices(moves, weights)[0]
        with contextlib.suppress(HalError, EOFError):
            await move()
        await self.check()
        pause_s = self.rng.choice(PAUSES_S)
        self.said.append(f"{pause_s} s")
        await self.w.advance(pause_s)
        await self._live()
        await self.check()

    async def _live(self) -> None:
        """A life that ended by itself (reset) is followed by the next; a crash is a failure."""
        task = self.w._task
        assert task is not None
        if task.done():
            task.result()
            self.w.network.cut()
            await self.w.start()
        self._watch()

    def _evse(self) -> int:
        return self.rng.randint(1, EVSES)

    def _say(self, *words: object) -> None:
        self.said.append(" ".join(str(one) for one in words))

    async def plug(self) -> None:
        evse = self._evse()
        self._say("plug", evse)
        self.w.board.plug(evse)

    async def unplug(self) -> None:
        evse = self._evse()
        self._say("unplug", evse)
        self.w.board.unplug(evse)

    async def tap(self) -> None:
        for _ in range(self.rng.choice((1, 1, 1, 2, 3))):
            token = self.rng.choice(TAGS)
            self._say("tap", token)
            self.w.board.tap(token)

    async def pilot(self) -> None:
        evse, state = self._evse(), self.rng.choice("ABCDEF")
        self._say("pilot", evse, state)
        self.w.board.pilot(evse, state)

    async def storm(self) -> None:
        evse = self._evse()
        self._say("storm", evse)
        for _ in range(20):
            self.w.board.unplug(evse)
            await self.w.advance(self.rng.choice((0.0, 0.01, 0.2)))
            self.w.board.plug(evse)
            await self.w.advance(self.rng.choice((0.0, 0.01, 0.2, 0.7)))

    async def fault(self) -> None:
        kinds = EXACT if self.exact else FAULTS
        for _ in range(self.rng.choice((1, 1, 2))):
            one = (self.rng.choice(kinds), self.rng.choice((1, 2, None)))
            self._say("fault", *one)
            self.faults.add(one)
            self.w.board.fault(*one)

    async def mend(self) -> None:
        if self.faults:
            one = self.rng.choice(sorted(self.faults, key=str))
            self._say("mend", *one)
            for evse in self.w.board.evses:
                self._out_of_reach(evse)
            self.faults.discard(one)
            self.w.board.clear(*one)

    async def network(self) -> None:
        how = self.rng.choice(("down", "up", "up", "cut", "freeze"))
        self._say("network", how)
        if how == "up":
            self.w.network.up = True
        else:
            getattr(self.w.network, how)()

    async def manner(self) -> None:
        action = self.rng.choice(ACTIONS)
        manner = self.rng.choice((Refuse(), Refuse("NotSupported"), Late(20.0), Nonsense(),
                                  Nonsense('[3,"{id}",{}]'), HangUp(), Silence()))
        if isinstance(manner, Silence) and action == "StartTransaction":
            manner = TakenButSilent()
        if action in ("StartTransaction", "StopTransaction", "MeterValues") and isinstance(
                manner, Refuse | Nonsense):
            manner = Late(70.0)  # what was refused for good is not in their books
        self._say("manner", action, manner)
        self.w.central.behave(action, manner)

    async def call(self) -> None:
        ids = [one.number for one in self.w.central.books.open_transactions()] or [0]
        connector = self._evse()
        action, payload = self.rng.choice((
            ("RemoteStartTransaction", {"idTag": self.rng.choice(TAGS)}),
            ("RemoteStartTransaction", {"idTag": CARD, "connectorId": connector}),
            ("RemoteStopTransaction", {"transactionId": self.rng.choice(ids)}),
            ("RemoteStopTransaction", {"transactionId": self.rng.choice((-1, 0, 2**31))}),
            ("ChangeAvailability", {"connectorId": self.rng.randint(0, EVSES),
                                    "type": self.rng.choice(("Operative", "Inoperative"))}),
            ("UnlockConnector", {"connectorId": connector}),
            ("Reset", {"type": self.rng.choice(("Soft", "Hard"))}),
            ("ClearCache", {}),
            ("GetConfiguration", {}),
            ("ChangeConfiguration", {"key": "MeterValueSampleInterval",
                                     "value": self.rng.choice(("0", "10", "60"))}),
            ("ChangeConfiguration", {"key": "ConnectionTimeOut", "value": "20"}),
        ))
        self._say("call", action, payload)
        if self.w.central.online:
            with contextlib.suppress(CallFailed, TimeoutError):
                async with virtual_timeout(100.0):
                    await self.w.central.call(action, payload)

    async def death(self) -> None:
        power = self.rng.random() < 0.5
        self._say("power cut" if power else "kill")
        await self.w.die(power=power)
        for one in sorted(self.faults, key=str):
            self.w.board.fault(*one)
        await self.w.start()
        self._watch()

    async def clock(self) -> None:
        error_s = self.rng.choice((0.0, 3_600.0, -3_600.0, 86_400.0 * 400))
        self._say("wall clock off by", error_s)
        self.w.time.wall_error_s = error_s

    # --- the end ---------------------------------------------------------------------------------

    async def calm_down(self) -> None:
        """Everything is mended, the cars leave, the network stands."""
        self._say("calm")
        for one in FAULTS:
            for evse in (None, *self.w.board.evses):
                self.w.board.clear(one, evse)
        self.faults.clear()
        for evse in self.w.board.evses:
            self.w.board.unplug(evse)
        self.w.central.behave_well()
        self.w.time.wall_error_s = 0.0
        self.w.network.up = True
        await self.w.advance(120)
        await self._live()
        for evse in self.w.board.evses:
            look = self.w.board.look(evse)
            assert not look.coil, evse
            assert not look.contact_closed, evse
        await self.w.delivered(86_400)
        for evse in self.w.board.evses:
            await self._technician(evse)
        await self.w.advance(5)
        await self.w.delivered(86_400)
        assert self.w.app is not None
        assert self.w.app.journal.open_sessions() == (), self.w.app.loop.station


    async def _technician(self, evse: int) -> None:
        """What is latched is cleared, a cable that is kept for its owner is let go."""
        assert self.w.app is not None
        await self._ask(lambda request: AvailabilityRequested(request, False, evse))
        await self._ask(lambda request: ClearFaultRequested(request, evse))
        await self._ask(lambda request: UnlockRequested(request, evse, 1))
        await self._ask(lambda request: AvailabilityRequested(request, True, evse))

    async def _ask(self, request: Callable[[RequestId], Event]) -> None:
        assert self.w.app is not None
        async with asyncio.timeout(60):
            await self.w.app.requests.ask(request)


def virtual_timeout(seconds: float) -> Any:
    return asyncio.timeout(seconds)


async def walk(seed: int, *, exact: bool, steps: int = STEPS) -> None:
    rng = random.Random(seed)
    # A wall clock wrong by more than the retention would rightly take delivered sessions away.
    async with world(evses=EVSES, more="retention_days = 3650") as w:
        w.central.known = {CARD, OTHER_CARD}
        walker = Walker(w, rng, exact=exact)
        try:
            for _ in range(steps):
                await walker.step()
            await walker.calm_down()
            await books_agree(w)
            await energies_hold(w, exact=exact)
        except BaseException as error:
            error.add_note(f"seed {seed} exact {exact}: " + "; ".join(walker.said))
            raise


async def books_agree(w: World) -> None:
    """Each transaction of the central system is one of the journal, to the Wh, and the reverse."""
    rows = {row.csms_id: row for row in await w.sessions() if row.started is not None}
    assert w.central.books.orphans == []
    assert sorted(one.number for one in w.transactions) == sorted(rows)
    for one in w.transactions:
        row = rows[one.number]
        assert (one.energy_wh, one.id_tag, one.connector) == (row.energy_wh, row.token, row.evse)
        assert one.stopped is not None, one
        registers = [one.meter_start, *_registers(one), one.meter_stop]
        assert registers == sorted(registers), one


async def energies_hold(w: World, *, exact: bool) -> None:
    """No session counts what did not flow; without hidden flows all of it is in the books."""
    rows = [row for row in await w.sessions() if row.energy_wh is not None]
    for evse in w.board.evses:
        told = sum(row.energy_wh for row in rows if row.evse == evse)
        flowed = w.register_wh(evse)
        assert told <= flowed, (evse, told, flowed)
        if exact:
            assert told == flowed, (evse, told, flowed)
