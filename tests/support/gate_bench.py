"""A power gate on simulated contactors, with a clock and timers moved by hand."""

import heapq
from collections.abc import Callable

from cpctl.core.events import Event
from cpctl.core.values import EvseLayout
from cpctl.runtime import power_gate
from hal.contactors import board as board_contactor
from hal.contracts import Contactor, ControlPilot, Heartbeat, Parts
from hal.deadman import DeadMan
from hal.errors import DeviceGone, HalError
from hal.sim.board import Board
from hal.sim.devices import Switch
from hal.values import NO_OFFER, Offer, OfferKind, PilotReading, PilotState

START_NS = 1_000_000_000_000


class HandTimer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class BoardPilot(ControlPilot):
    """A board that closes its contactor by itself: on what is on offer, while the car asks."""

    switches = silence_timeout = True

    def __init__(self, name: str, evse: int) -> None:
        super().__init__(name, evse, {}, Parts())
        self.offered = NO_OFFER
        self.state = PilotState.A
        self.welded = self.gone = False
        self.cuts = 0

    @property
    def closed(self) -> bool:
        return self.welded or (self.offered.kind is OfferKind.CURRENT and self.state.asks)

    async def read(self) -> PilotReading:
        return PilotReading(self.state)

    async def offer(self, offer: Offer) -> None:
        self.offered = offer

    def cut(self) -> None:
        self.cuts += 1
        if self.gone:
            raise DeviceGone(f"{self.name}: does not answer")
        self.offered = NO_OFFER

    def stuck(self) -> bool | None:
        return self.welded


class Relay(Heartbeat):
    """A hold-in relay on a heartbeat: `beats` in ns, `at_rest`, and whether it can be driven."""

    def __init__(self, mono_ns: Callable[[], int]) -> None:
        super().__init__("heartbeat", None, {}, Parts())
        self._mono_ns = mono_ns
        self.beats: list[int] = []
        self.at_rest = True
        self.gone = False

    def beat(self) -> None:
        self._check()
        self.at_rest = False
        self.beats.append(self._mono_ns())

    def rest(self) -> None:
        self._check()
        self.at_rest = True

    def _check(self) -> None:
        if self.gone:
            raise DeviceGone("heartbeat: the line is gone")


class GateBench:
    """One or two EVSEs with fitted feedback, one safety input "rcd" and a lock.

    `loop_answers`, `pilot_answers`, `inputs_answer` and `meter_answers` switch off who keeps the
    readings fresh. `board`: the contactor is the pilot board's own. `heartbeat`: a hold-in relay.
    """

    def __init__(self, *, evses: tuple[int, ...] = (1,), feedback: bool = True,
                 inputs: tuple[str, ...] = ("rcd",), has_lock: bool = True,
                 has_meter: bool = True, ventilated: bool = False,
                 board: bool = False, heartbeat: bool = False) -> None:
        self.now_ns = START_NS
        self._timers: list[tuple[int, int, HandTimer, Callable[[], None]]] = []
        self._order = 0
        self.board = Board(evses, self.mono_ns)
        self.deadman = DeadMan(self.mono_ns, thread=False)
        self.deadman.start()
        parts = Parts(board=self.board, deadman=self.deadman)
        self.boards = {evse: BoardPilot(f"pilot {evse}", evse) for evse in evses if board}
        parts.pilots.update(self.boards)
        self.switches: dict[int, Contactor] = {
            evse: board_contactor.Switch(f"contactor {evse}", evse, {}, parts) if board
            else Switch(f"contactor {evse}", evse, {"feedback": feedback}, parts)
            for evse in evses}
        self.relay = Relay(self.mono_ns) if heartbeat else None
        self.cut: list[int] = []
        self.posted: list[Event] = []
        self.loop_answers = self.pilot_answers = True
        self.inputs_answer = self.meter_answers = True
        self.pilots = dict.fromkeys(evses, PilotReading(PilotState.A))
        self.rcd_good = dict.fromkeys(evses, True)
        self.inputs = inputs
        self.unanswered: list[Callable[[], None]] = []
        self.refreshed: list[int] = []
        layouts = tuple(EvseLayout(evse, has_lock=has_lock, has_meter=has_meter,
                                   ventilated=ventilated, has_feedback=feedback, inputs=inputs)
                        for evse in evses)
        self.gate = power_gate.PowerGate(
            self.switches, layouts, mono_ns=self.mono_ns, later=self.later,
            post=self.posted.append, ask_loop=self._ask, refresh=self.refresh,
            heartbeat=self.relay)
        self.gate.on_cut = self.cut.append

    def mono_ns(self) -> int:
        return self.now_ns

    def later(self, delay_s: float, call: Callable[[], None]) -> HandTimer:
        timer = HandTimer()
        self._order += 1
        heapq.heappush(self._timers, (self.now_ns + round(delay_s * 1e9), self._order, timer, call))
        return timer

    @property
    def armed(self) -> int:
        """Timers that will still ring."""
        return sum(not timer.cancelled for _, _, timer, _ in self._timers)

    def advance(self, seconds: float) -> None:
        """Let time pass, with every timer at its moment and the dead-man always awake."""
        end_ns = self.now_ns + round(seconds * 1e9)
        while self._timers and self._timers[0][0] <= end_ns:
            due_ns, _, timer, call = heapq.heappop(self._timers)
            self._sleep_until(due_ns)
            if not timer.cancelled:
                call()
        self._sleep_until(end_ns)

    def stall(self, seconds: float) -> None:
        """Let time pass while the event loop stands still: only the dead-man lives."""
        self._sleep_until(self.now_ns + round(seconds * 1e9))

    def _sleep_until(self, moment_ns: int) -> None:
        due_ns = self.deadman.due_ns()
        if due_ns is not None and due_ns <= moment_ns:
            self.now_ns = max(self.now_ns, due_ns)
            self.deadman.check()
        self.now_ns = max(self.now_ns, moment_ns)

    def _ask(self, answered: Callable[[], None]) -> None:
        if self.loop_answers:
            answered()
        else:
            self.unanswered.append(answered)

    def refresh(self, evse: int) -> None:
        """What the devices do when the gate asks for fresh readings."""
        self.refreshed.append(evse)
        if self.pilot_answers:
            self.gate.pilot_read(evse, self.pilots[evse], self.now_ns)
        if self.inputs_answer:
            for name in self.inputs:
                self.gate.input_read(evse, name, self.now_ns, good=self.rcd_good[evse])

    # --- hands -------------------------------------------------------------------------------

    def pilot(self, state: PilotState | None, evse: int = 1, *, diode_ok: bool = True) -> None:
        if evse in self.boards and state is not None:
            self.boards[evse].state = state
        self.pilots[evse] = PilotReading(state, diode_ok=diode_ok)
        self.gate.pilot_read(evse, self.pilots[evse], self.now_ns)

    def rcd(self, *, good: bool, evse: int = 1) -> None:
        self.rcd_good[evse] = good
        self.gate.input_read(evse, "rcd", self.now_ns, good=good)

    def meter(self, evse: int = 1) -> None:
        self.gate.register_read(evse, self.now_ns)

    def ready(self, evse: int = 1) -> None:
        """Everything that closing needs, as after a plug, a card and a locked plug."""
        self.gate.make_safe()
        self.gate.bar(evse, ())
        self.rcd(good=True, evse=evse) if self.inputs else None
        self.pilot(PilotState.B, evse)
        self.meter(evse)
        self.gate.lock_reported(evse, locked=True)
        self.gate.books(evse, session_open=True)
        self.gate.current_offered(evse, on=True)
        self.pilot(PilotState.C, evse)
        self.posted.clear()

    def charging(self, evse: int = 1) -> None:
        self.ready(evse)
        self.gate.energise(evse, self.gate.number(evse))
        assert self.coil(evse), self.posted
        self.posted.clear()

    def offering(self, evse: int = 1, current_a: float = 16.0) -> None:
        """As `ready`, the car in B, and current is on offer at the board."""
        self.ready(evse)
        self.pilot(PilotState.B, evse)
        assert self.put(evse, current_a) == (), self.posted
        self.posted.clear()
        self.cut.clear()

    def put(self, evse: int = 1, current_a: float = 16.0) -> tuple[str, ...]:
        """What the keeper does: ask, and put current on offer at the board if it may go out."""
        held = self.gate.admit_offer(evse)
        if not held and evse in self.boards:
            self.boards[evse].offered = Offer(OfferKind.CURRENT, current_a)
        return held

    def coil(self, evse: int = 1) -> bool:
        return self.boards[evse].closed if evse in self.boards else self.board.look(evse).coil

    def contact(self, evse: int = 1) -> bool:
        return self.board.look(evse).contact_closed

    def last(self, kind: type) -> Event:
        found = [event for event in self.posted if isinstance(event, kind)]
        assert found, f"no {kind.__name__} in {self.posted}"
        return found[-1]

    def kinds(self) -> list[str]:
        return [type(event).__name__ for event in self.posted]


class Broken(HalError):
    """A contactor that cannot be driven."""
