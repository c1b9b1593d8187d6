"""The simulated world: EVSEs (`post.py`) with cars, inputs and readers, and the hands that move it.

People and tests use the hands (`plug`, `tap`, `fault` …, the `sim.*` methods of the API); the
drivers of `hal/sim/devices.py` show the world to the daemon. It decides nothing about charging.

Time is the injected monotonic clock. The meter integrates power over it, in whole mW·ns, so that a
register is exact and the same in each run. What the car does later waits on `call_later`; without
one the owner calls `settle()` after moving the clock. Nothing is armed while nothing is to come.

The hands and `settle` belong to one thread; only `set_coil` and `feedback` may come from others
(the dead-man opens). Listeners are called with no lock held.
"""

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from hal.errors import DeviceGone, DeviceTimeout, HalError
from hal.late import dataclass
from hal.sim.car import MILLI, Car, CarKind
from hal.sim.post import PilotListener, Post
from hal.sim.words import FAULT_KINDS, INPUT_FAULTS, LOST_FAULTS
from hal.values import CardUid, MeterReading, Offer, PilotReading, PilotState

if TYPE_CHECKING:
    import random

InputListener = Callable[[bool], None]
#: (EVSE or None for the station, name of the fault code, present, vendor's code)
FaultListener = Callable[[int | None, str, bool, str], None]


class ReaderSlot(Protocol):
    """What the board needs of a simulated reader that is open."""

    name: str
    evse: int | None

    def hold(self, card: CardUid) -> None: ...

    def lose(self) -> None: ...


@dataclass(frozen=True)
class EvseLook:
    """What somebody standing beside the post sees. Energies in Wh, power in W."""

    pilot: PilotState
    plugged: bool
    offer: Offer
    coil: bool
    contact_closed: bool
    locked: bool
    register_wh: int
    power_w: float
    pattern: str
    cable_a: float | None
    cable_type: str | None


@dataclass(frozen=True)
class Moment:
    """One line of the board's memory: what moved when."""

    mono_ns: int
    evse: int
    what: str  # coil, offer, pilot, lock
    value: Any


class Board:
    """The simulated world of a station with the EVSEs `evse_numbers`.

    `call_later(delay_s, function)` is the loop's; None: the owner calls `settle()`.
    """

    def __init__(
        self,
        evse_numbers: Iterable[int],
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        *,
        call_later: Callable[[float, Callable[[], None]], object] | None = None,
        seed: int = 0,
        car_start_delay_s: float = 0.5,
        car_max_current_a: float = 32.0,
        car_phases: int = 3,
        meter_starts_at_wh: int = 0,
        meter_resets_on_plug: bool = False,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._call_later = call_later
        self._seed = seed
        self._random: random.Random | None = None
        self.car_kind = CarKind(start_delay_s=car_start_delay_s, max_current_a=car_max_current_a,
                                phases=car_phases)
        self._starts_at_wh = meter_starts_at_wh
        self._resets_on_plug = meter_resets_on_plug
        now_ns = monotonic_ns()
        self._posts = {number: Post(meter_starts_at_wh, now_ns)
                       for number in evse_numbers}
        self._lock = threading.RLock()
        self._plans: list[tuple[int, int, int, int, bool]] = []  # due, order, evse, plan, S2
        self._order = 0
        self._armed_ns: int | None = None
        self._readers: dict[str, ReaderSlot] = {}
        self._lost: set[tuple[str, int | None, str]] = set()  # kind, EVSE, name ("" is all)
        self._inputs: dict[tuple[int | None, str], list[InputListener]] = {}
        self._tripped: set[tuple[int | None, str]] = set()
        self._fault_listeners: list[FaultListener] = []
        self._station_pattern = "off"
        self.history: deque[Moment] = deque(maxlen=2_000)

    @property
    def evses(self) -> tuple[int, ...]:
        return tuple(self._posts)

    # --- hands ----------------------------------------------------------------------------------

    def plug(
        self,
        evse: int,
        *,
        auto: bool = True,
        power_w: float | None = None,
        kind: CarKind | None = None,
        connector: int | None = None,
    ) -> None:
        """Cable and car connected, to `connector` of the EVSE (None: the board does not tell).
        With `auto` the car asks for power when it is offered some."""
        post = self._post(evse)
        if post.car is not None:
            raise HalError(f"evse {evse}: a car is plugged already; unplug it first")
        chosen = replace(kind or self.car_kind)
        if power_w is not None:
            chosen = replace(chosen, power_w=power_w)
        with self._lock:
            post.account(self._monotonic_ns())
            if self._resets_on_plug:
                post.set_register(self._starts_at_wh)
            post.by_hand = None
            post.connector = connector
            post.car = Car(chosen, auto=auto)
            post.give_faults()
            self._show_offer(evse, post)
        self._announce(evse)

    def unplug(self, evse: int) -> None:
        """The car is gone: pilot A. Harmless without a car."""
        post = self._post(evse)
        with self._lock:
            post.account(self._monotonic_ns())
            post.car = post.by_hand = post.shown_power_mw = None
            post.plan += 1
        self._announce(evse)

    def pilot(self, evse: int, state: PilotState | str) -> None:
        """The car's state by hand; from then on this car moves only by hand."""
        state = PilotState(state)
        post = self._post(evse)
        if state is PilotState.A:
            self.unplug(evse)
            return
        with self._lock:
            post.account(self._monotonic_ns())
            post.plan += 1
            if state in (PilotState.E, PilotState.F):
                post.by_hand = state
            else:
                self._move_by_hand(post, state)
        self._announce(evse)

    def tap(
        self,
        token: str,
        *,
        reader: str | None = None,
        evse: int | None = None,
        random_uid: bool = False,
    ) -> None:
        """A card held to a reader: the named one, else the one of `evse`, else the first.

        A reader that is lost does not see it. Raises HalError when there is no such reader.
        """
        slot = self._reader(reader, evse)
        if not self._is_lost("reader", slot.evse, slot.name):
            slot.hold(CardUid(token, random=random_uid))

    def meter(
        self,
        evse: int,
        *,
        power_w: float | None = None,
        energy_wh: int | None = None,
        voltage_v: float | None = None,
    ) -> None:
        """What the meter shows. `power_w` flows while the contact is closed, until the unplug."""
        post = self._post(evse)
        with self._lock:
            post.account(self._monotonic_ns())
            if power_w is not None:
                post.shown_power_mw = round(power_w * MILLI)
            if energy_wh is not None:
                post.set_register(energy_wh)
            if voltage_v is not None:
                post.voltage_v = voltage_v

    def noise(self, evse: int, relative: float) -> None:
        """Spread of voltages, currents and power as shown; the register stays exact."""
        self._post(evse).noise = relative

    def cable(self, evse: int, rating_a: float | None = None, type: str | None = None) -> None:
        """The cable that comes with the car; `rating_a` None: fixed cable, not measured."""
        post = self._post(evse)
        post.cable_a, post.cable_type = rating_a, type
        self._announce(evse)

    def fault(self, kind: str, evse: int | None = None, *, vendor_code: str = "") -> None:
        """Something breaks, at `evse` or everywhere. Raises HalError for an unknown kind."""
        self._set_fault(kind, evse, present=True, vendor_code=vendor_code)

    def clear(self, kind: str, evse: int | None = None) -> None:
        """What `fault` broke is mended."""
        self._set_fault(kind, evse, present=False, vendor_code="")

    def weld(self, evse: int) -> None:
        """The contact does not open any more, once it is closed."""
        self.fault("weld", evse)

    def feedback_stuck(self, evse: int) -> None:
        """The auxiliary contact stays as it is now."""
        self.fault("feedback_stuck", evse)

    def drop(self, kind: str, evse: int | None = None, name: str = "") -> None:
        """A device falls silent. `evse` None: all of this kind; `name`: one reader or input."""
        self._lost.add((kind, evse, name))
        if kind == "reader":
            for slot in tuple(self._readers.values()):
                if self._is_lost("reader", slot.evse, slot.name):
                    slot.lose()
        self._announce_all()

    def restore(self, kind: str, evse: int | None = None, name: str = "") -> None:
        """The device answers again."""
        self._lost.discard((kind, evse, name))
        self._announce_all()

    def look(self, evse: int) -> EvseLook:
        post = self._post(evse)
        self._tick()
        with self._lock:
            post.account(self._monotonic_ns())
            return EvseLook(
                pilot=post.pilot_state, plugged=post.car is not None, offer=post.offer,
                coil=post.coil, contact_closed=post.contact, locked=post.locked,
                register_wh=post.register_wh, power_w=post.power_mw / MILLI,
                pattern=post.shown_pattern, cable_a=post.cable_a, cable_type=post.cable_type)

    # --- for the simulated devices ------------------------------------------------------------

    def read_pilot(self, evse: int) -> PilotReading:
        self._must_answer("pilot", evse)
        self._tick()
        return self._post(evse).pilot_reading()

    def set_offer(self, evse: int, offer: Offer) -> None:
        self._must_answer("pilot", evse)
        self._tick()
        post = self._post(evse)
        with self._lock:
            post.account(self._monotonic_ns())
            if post.offer != offer:
                post.offer = offer
                self._remember(evse, "offer", offer)
                self._show_offer(evse, post)
        self._announce(evse)

    def listen_pilot(self, evse: int, listener: PilotListener) -> None:
        """`listener` is called at each change; with state None when the board falls silent."""
        post = self._post(evse)
        post.told = self._heard(evse)
        post.listeners.append(listener)

    def read_meter(self, evse: int) -> MeterReading:
        self._must_answer("meter", evse)
        self._tick()
        post = self._post(evse)
        with self._lock:
            post.account(self._monotonic_ns())
            return post.meter_reading(f"SIM-{evse}", self.car_kind.phases, self._spread(post))

    def set_coil(self, evse: int, *, on: bool) -> None:
        """From any thread. Raises DeviceGone when the output is lost; the coil then stays."""
        self._must_answer("contactor", evse, gone=True)
        post = self._post(evse)
        with self._lock:
            post.account(self._monotonic_ns())
            if post.coil != on:
                self._remember(evse, "coil", on)
            post.set_coil(on=on)

    def feedback(self, evse: int) -> bool:
        """From any thread: what the auxiliary contact says."""
        self._must_answer("contactor", evse, gone=True)
        post = self._post(evse)
        with self._lock:
            return post.stuck_feedback if "feedback_stuck" in post.faults else post.contact

    def move_lock(self, evse: int, *, shut: bool) -> bool:
        """True when the bolt is where it was sent; a jammed one stays where it is."""
        self._must_answer("lock", evse)
        post = self._post(evse)
        if "lock_jammed" not in post.faults and post.locked != shut:
            post.locked = shut
            self._remember(evse, "lock", shut)
        return post.locked == shut

    def fit_input(self, evse: int | None, name: str) -> None:
        """An input is wired: faults of its kind trip it from now on."""
        self._inputs.setdefault((evse, name), [])

    def read_input(self, evse: int | None, name: str) -> bool:
        if self._is_lost("input", evse, name):
            raise DeviceTimeout(f"input {name}: simulated input does not answer; clear input_lost")
        return (evse, name) not in self._tripped

    def listen_input(self, evse: int | None, name: str, listener: InputListener) -> None:
        """`listener(good)` at each change; with False when the input falls silent."""
        self.fit_input(evse, name)
        self._inputs[evse, name].append(listener)

    def listen_faults(self, listener: FaultListener) -> None:
        """Faults for which no device is fitted, and kind "other", are told here."""
        self._fault_listeners.append(listener)

    def add_reader(self, slot: ReaderSlot) -> None:
        """A reader opens. Raises DeviceGone while it is lost."""
        if self._is_lost("reader", slot.evse, slot.name):
            raise DeviceGone(f"{slot.name}: simulated reader is not there; clear reader_lost")
        self._readers[slot.name] = slot

    def remove_reader(self, slot: ReaderSlot) -> None:
        if self._readers.get(slot.name) is slot:
            del self._readers[slot.name]

    def light(self, evse: int | None, intensity_percent: int, blink_times: int) -> None:
        """How the lights of an EVSE are set."""
        if evse is not None:
            post = self._post(evse)
            post.intensity_percent, post.blink_times = intensity_percent, blink_times

    def lights(self, evse: int) -> tuple[int, int]:
        """Brightness in percent and how often to blink, as the lights were told last."""
        post = self._post(evse)
        return post.intensity_percent, post.blink_times

    def show(self, evse: int | None, pattern: str) -> None:
        if evse is None:
            self._station_pattern = pattern
        else:
            self._post(evse).shown_pattern = pattern

    # --- time -----------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let happen what is due by now, each thing at its own moment."""
        moved: list[int] = []
        while self._plans and self._plans[0][0] <= self._monotonic_ns():
            due_ns, _, evse, plan, s2_closed = heapq.heappop(self._plans)
            post = self._posts[evse]
            if plan != post.plan or post.car is None:
                continue
            with self._lock:
                post.account(due_ns)
                post.car.move(s2_closed=s2_closed)
            moved.append(evse)
            self._announce(evse)
        self._arm()

    def _tick(self) -> None:
        if self._call_later is None:
            self.settle()

    def _arm(self) -> None:
        if self._call_later is None or not self._plans:
            return
        due_ns = self._plans[0][0]
        if self._armed_ns is not None and self._armed_ns <= due_ns:
            return
        self._armed_ns = due_ns
        self._call_later(max(0.0, (due_ns - self._monotonic_ns()) / 1e9), self._wake)

    def _wake(self) -> None:
        self._armed_ns = None
        self.settle()

    def _show_offer(self, evse: int, post: Post) -> None:
        """The car sees what is offered now and plans what it does about it."""
        post.plan += 1
        if post.car is None:
            return
        plan = post.car.see(post.offer)
        if plan is None:
            return
        delay_s, s2_closed = plan
        self._order += 1
        due_ns = self._monotonic_ns() + round(delay_s * 1e9)
        heapq.heappush(self._plans, (due_ns, self._order, evse, post.plan, s2_closed))
        self._arm()

    # --- inside ---------------------------------------------------------------------------------

    def _post(self, evse: int) -> Post:
        post = self._posts.get(evse)
        if post is None:
            known = ", ".join(str(number) for number in self._posts) or "none"
            raise HalError(f"there is no simulated EVSE {evse}; simulated are: {known}")
        return post

    def _move_by_hand(self, post: Post, state: PilotState) -> None:
        post.by_hand = None
        if post.car is None:
            post.car = Car(self.car_kind)
            post.give_faults()
        post.car.auto = False
        post.car.offer = post.offer
        post.car.s2_closed = state.asks
        post.car.wants_ventilation = state is PilotState.D

    def _reader(self, name: str | None, evse: int | None) -> ReaderSlot:
        slots = tuple(self._readers.values())
        if name is not None:
            slots = tuple(s for s in slots if name in (s.name, s.name.removeprefix("reader ")))
        elif evse is not None:
            slots = tuple(s for s in slots if s.evse == evse) or tuple(
                s for s in slots if s.evse is None)
        if not slots:
            wanted = f" {name!r}" if name is not None else ""
            known = ", ".join(self._readers) or "none"
            raise HalError(f"no simulated reader{wanted} is open; open are: {known}")
        return slots[0]

    def _set_fault(self, kind: str, evse: int | None, *, present: bool, vendor_code: str) -> None:
        if kind not in FAULT_KINDS:
            import difflib  # only a wrong word needs it

            near = difflib.get_close_matches(kind, FAULT_KINDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(FAULT_KINDS)}"
            raise HalError(f"there is no simulated fault {kind!r}; {hint}")
        if evse is not None:
            self._post(evse)
        if kind in LOST_FAULTS:
            (self.drop if present else self.restore)(LOST_FAULTS[kind], evse)
        elif kind in INPUT_FAULTS:
            self._trip(kind, evse, present=present, vendor_code=vendor_code)
        elif kind == "other":
            self._report(evse, "OTHER", present=present, vendor_code=vendor_code)
        else:
            for number in self._posts if evse is None else (evse,):
                self._break(kind, number, present=present)

    def _trip(self, kind: str, evse: int | None, *, present: bool, vendor_code: str) -> None:
        name, code = INPUT_FAULTS[kind]
        places: tuple[int | None, ...] = (None, *self._posts) if evse is None else (evse,)
        fitted = [place for place in places if (place, name) in self._inputs]
        for place in fitted:
            was_good = (place, name) not in self._tripped
            (self._tripped.add if present else self._tripped.discard)((place, name))
            if was_good == present:
                for listener in tuple(self._inputs[place, name]):
                    listener(not present)
        if not fitted:
            for place in self._posts if evse is None else (evse,):
                self._report(place, code, present=present, vendor_code=vendor_code)

    def _report(self, evse: int | None, code: str, *, present: bool, vendor_code: str) -> None:
        for listener in tuple(self._fault_listeners):
            listener(evse, code, present, vendor_code)

    def _break(self, kind: str, evse: int, *, present: bool) -> None:
        post = self._posts[evse]
        with self._lock:
            post.account(self._monotonic_ns())
            if kind == "feedback_stuck" and present and kind not in post.faults:
                post.stuck_feedback = post.contact
            (post.faults.add if present else post.faults.discard)(kind)
            if kind == "weld" and not present:
                post.set_coil(on=post.coil)
            post.give_faults()
            if kind in ("no_s2", "stuck_in_c"):
                self._show_offer(evse, post)
        self._announce(evse)

    def _is_lost(self, kind: str, evse: int | None, name: str = "") -> bool:
        short = name.removeprefix(f"{kind} ")
        serves_all = kind == "reader" and evse is None
        return any(lost == kind and (where in (None, evse) or serves_all)
                   and which in ("", name, short)
                   for lost, where, which in tuple(self._lost))

    def _must_answer(self, kind: str, evse: int, *, gone: bool = False) -> None:
        if self._is_lost(kind, evse):
            text = f"{kind} {evse}: simulated device does not answer; clear {kind}_lost"
            raise DeviceGone(text) if gone else DeviceTimeout(text)

    def _heard(self, evse: int) -> PilotReading:
        if self._is_lost("pilot", evse):
            return PilotReading(None)
        return replace(self._posts[evse].pilot_reading(), offered_a=None)

    def _announce(self, evse: int) -> None:
        """Call who listens to the pilot, if it has changed. No lock is held."""
        post = self._posts[evse]
        heard = self._heard(evse)
        if heard == post.told:
            return
        post.told = heard
        self._remember(evse, "pilot", heard.state)
        for listener in tuple(post.listeners):
            listener(heard)

    def _announce_all(self) -> None:
        for evse in self._posts:
            self._announce(evse)
        for (place, name), listeners in tuple(self._inputs.items()):
            lost = self._is_lost("input", place, name)
            key = (place, f"{name} lost")
            if lost == (key in self._tripped):
                continue
            (self._tripped.add if lost else self._tripped.discard)(key)
            for listener in tuple(listeners):
                listener(not lost and (place, name) not in self._tripped)

    def _remember(self, evse: int, what: str, value: Any) -> None:
        self.history.append(Moment(self._monotonic_ns(), evse, what, value))

    def _spread(self, post: Post) -> Callable[[float], float]:
        """What noise does to a shown value."""
        if not post.noise:
            return float
        if self._random is None:
            import random  # only a noisy meter needs it

            self._random = random.Random(self._seed)
        chance, noise = self._random, post.noise
        return lambda value: value * chance.gauss(1.0, noise)
