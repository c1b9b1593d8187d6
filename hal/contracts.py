"""The contracts of the devices: what a driver promises and what it may rely on.

A driver is one module with one class per contract it fulfils, named as in `registry.py`
(`Reader`, `Meter`, `Pilot`, `Switch`, `Lock`, `Inputs`, `Lights`). It is built with its options
(checked against `OPTIONS`) and the `Parts` it shares with others; building touches no hardware,
`open()` does. Reopening after a loss is the caller's business. All methods but those of
`Contactor` are coroutines and may raise `HalError`; they never block the event loop.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar

from hal.deadman import DeadMan
from hal.errors import BadConfig
from hal.late import dataclass
from hal.values import CardUid, MeterReading, Offer, PilotReading

if TYPE_CHECKING:
    from hal.pins import Lines
    from hal.serialbus import SerialBus
    from hal.sim.board import Board

LAPSE_WAIT_S = 0.05  # the dead-man's patience with one contactor that is busy


@dataclass(frozen=True)
class Option:
    """One option of a driver as it stands in the configuration file.

    `kind` is bool, int, float, str or dict (free-form table, checked by the driver itself).
    `role` tells the configuration check what must be unique or known: "pin", "bus", "address",
    "port".
    """

    name: str
    kind: type
    default: Any = None
    required: bool = False
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    role: str | None = None
    help: str = ""


@dataclass
class Parts:
    """What drivers share: serial lines by name, digital lines, the simulated board, the dead-man.

    `pilots` holds the pilots by EVSE; they are built before the contactors, some of which a pilot
    board switches.
    """

    buses: Mapping[str, SerialBus] = field(default_factory=dict)
    lines: Lines | None = None
    pilots: dict[int, ControlPilot] = field(default_factory=dict)
    board: Board | None = None
    deadman: DeadMan | None = None
    monotonic_ns: Callable[[], int] | None = None

    def serial(self, owner: str, name: str) -> SerialBus:
        """The serial line that `owner` hangs on. Raises BadConfig where there is none."""
        if name not in self.buses:
            known = ", ".join(sorted(self.buses)) or "none is configured"
            raise BadConfig(f"{owner}: no serial line {name!r}; there are: {known}")
        return self.buses[name]

    def digital(self, owner: str) -> Lines:
        """The digital lines that `owner` is built on. Raises BadConfig where there are none."""
        if self.lines is None:
            raise BadConfig(f"{owner}: there are no digital lines; see [gpio]")
        return self.lines


class Device(ABC):  # noqa: B024 - what is abstract is said by each contract
    """What all devices have in common."""

    OPTIONS: ClassVar[tuple[Option, ...]] = ()

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        self.name = name  # as people know it: "meter 1", "reader front"
        self.evse = evse
        self.options = options
        self.parts = parts

    async def open(self) -> None:  # noqa: B027 - a device without anything to open is fine
        """Make ready. Raises DeviceGone when the device or the way to it is not there."""

    async def close(self) -> None:  # noqa: B027
        """Let go of the device; harmless when it was never opened."""


class CardReader(Device):
    @abstractmethod
    def cards(self) -> AsyncIterator[CardUid]:
        """Each card once per tap, as it is held to the reader. Raises DeviceGone on loss."""

    def signal(self, *, accepted: bool) -> None:
        """Show at the reader what was decided about its last card, where it has lights or a buzzer
        of its own. A courtesy: quick, raises nothing, and may come to nothing."""


class EnergyMeter(Device):
    @abstractmethod
    async def read(self) -> MeterReading:
        """One consistent reading. Raises DeviceTimeout, BadReading, DeviceGone."""


class ControlPilot(Device):
    """The control pilot, through its board."""

    #: The driver calls the listener on each change by itself, besides being read.
    pushes: ClassVar[bool] = False
    #: Safety inputs that the board watches itself (names as in the configuration: rcd, ground …);
    #: those that are bad now stand in `PilotReading.alarms`.
    watches: ClassVar[tuple[str, ...]] = ()
    #: A board that hears nothing from us withdraws its offer by itself.
    silence_timeout: ClassVar[bool] = False
    #: The board closes a contactor of its own when current is on offer and the car asks; it can
    #: be told to open it (`cut`). What `contactor = { driver = "board" }` needs.
    switches: ClassVar[bool] = False

    @classmethod
    def watched(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """What of `watches` a board with these options really watches."""
        return cls.watches

    @classmethod
    def unfit(cls, options: Mapping[str, Any]) -> str:
        """Why it must not meet cars in the field; "" when it may."""
        return ""

    @abstractmethod
    async def read(self) -> PilotReading: ...

    @abstractmethod
    async def offer(self, offer: Offer) -> None:
        """Put `offer` on the pilot. Returns when the board confirmed it."""

    def listen(self, listener: Callable[[PilotReading], None]) -> None:
        """Call `listener` on each change, from any thread (only where `pushes`)."""

    def cut(self) -> None:
        """Order the board to open its contactor and to offer nothing, now; only where `switches`.

        Called from any thread, blocks for as little as the board's line allows; the order goes out
        even when nobody can wait for its confirmation. Raises HalError when it is not confirmed.
        """
        raise NotImplementedError(f"{self.name} switches no contactor")

    def stuck(self) -> bool | None:
        """Whether the board found its contactor welded when it was last read; None: it does not
        tell. Only where `switches`."""
        return None


class Proximity(Device):
    """The coding of the plugged cable, where the pilot board does not tell it."""

    @abstractmethod
    async def cable_a(self) -> float:
        """Rating of the cable that is plugged now, in A per phase; 0: none that may be used."""


class PlugLock(Device):
    #: It has a motor that must not stay driven: `hw safe` opens and closes it, which ends that.
    runs: ClassVar[bool] = False

    @abstractmethod
    async def lock(self) -> bool | None:
        """Try once to lock. True: locked by feedback, False: jammed, None: no feedback fitted."""

    @abstractmethod
    async def unlock(self) -> bool | None:
        """Try once to unlock; True: unlocked by feedback, False: jammed, None: no feedback."""

    def listen(self, listener: Callable[[bool], None]) -> None:
        """Call `listener(locked)` when the bolt moves, from any thread; called once it is open."""

    async def is_locked(self) -> bool | None:
        """Where the bolt was found when the lock was opened; None: nobody knows."""
        return None


class Inputs(Device):
    """One digital safety input. The configuration names it (rcd, emergency_stop, door …)."""

    pushes: ClassVar[bool] = False
    #: At rest one that pushes is read this often all the same: a loss may be silent.
    recheck_s: ClassVar[float | None] = None

    @abstractmethod
    async def good(self) -> bool:
        """True: all is well. A broken wire reads False."""

    def listen(self, listener: Callable[[bool], None]) -> None:
        """Call `listener(good)` on each change, from any thread (only where `pushes`)."""


class Indicator(Device):
    adjusts: ClassVar[bool] = False  # how often it blinks can be set, and where it dims how bright
    dims: ClassVar[bool] = True

    @abstractmethod
    async def show(self, pattern: str) -> None:
        """Show one of: off, available, preparing, charging, suspended, finishing, reserved,
        unavailable, fault, card_accepted, card_refused."""

    async def adjust(self, *, intensity_percent: int, blink_times: int) -> None:
        """How bright (0 to 100 %; only where `dims`), and how often to blink when signalling; only
        where `adjusts`."""


class Heartbeat(Device):
    """An output that feeds a hold-in relay: it holds while edges keep coming, and drops within a
    second when they stop. Fed by the power gate only, while something is closed or may be soon."""

    #: How long after the first beat the relay has pulled in.
    pull_in_s: float = 0.5

    async def open(self) -> None:
        """Request the output at rest. Raises DeviceGone."""

    @abstractmethod
    def beat(self) -> None:
        """One edge. Quick, never blocks. Raises HalError."""

    @abstractmethod
    def rest(self) -> None:
        """To its level of rest; harmless when it is there. Raises HalError."""


class Contactor(ABC):
    """One switched power path. Off is the resting state of the hardware.

    `close`, `renew` and `open` are final: no driver can forget the lease. A closed contactor is a
    lease that lapses by itself: the dead-man opens it when `renew` does not come in time.
    One lock per contactor covers the loop's thread and the dead-man's.
    Driver methods `_energise`, `_release`, `_read_feedback` may raise HalError and must be quick
    (a coil on a bus goes to the head of the bus queue).
    """

    #: Not ours to close: a pilot board closes it by itself when current is on offer and the car
    #: asks. The lease then begins with the offer, and `open` withdraws it.
    follows_offer: ClassVar[bool] = False

    OPTIONS: ClassVar[tuple[Option, ...]] = ()

    @classmethod
    def feeds_back(cls, options: Mapping[str, Any]) -> bool:
        """Whether an auxiliary contact is fitted with these options."""
        return bool(options.get("feedback_pin"))

    @classmethod
    def unfit(cls, pilot: type[ControlPilot], options: Mapping[str, Any]) -> str:
        """Why it cannot be used beside this pilot, with the next step; "" when it can."""
        return ""

    @classmethod
    def weakness(cls, options: Mapping[str, Any]) -> str:
        """Why it needs a second way to off on the spot: a contactor of ours in series, or a
        hold-in relay on the heartbeat; "" when it needs none."""
        return ""

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        if parts.deadman is None:
            raise ValueError(f"{name}: a contactor is built with a dead-man")
        self.name = name
        self.evse = evse
        self.options = options
        self.parts = parts
        self._deadman = parts.deadman
        self._lock = threading.RLock()

    async def prepare(self) -> None:  # noqa: B027
        """Request the output at its safe level. Raises DeviceGone."""

    async def finish(self) -> None:
        """Open and let go of the hardware."""
        self.open()

    def close(self, lease_s: float) -> None:
        """Energise the coil and register a lease of `lease_s` seconds.

        Raises HalError when the coil cannot be driven; the path is then open, as far as it can be.
        """
        with self._lock:
            self._deadman.register(self, lease_s)
            try:
                self._energise()
            except BaseException:
                self.open()
                raise

    def renew(self, lease_s: float) -> bool:
        """Prolong the lease; never energises. False once the lease has lapsed or was given up."""
        with self._lock:
            return self._deadman.renew(self, lease_s)

    def open(self) -> None:
        """De-energise; harmless when already open. The lease is given up first."""
        with self._lock:
            self._deadman.forget(self)
            try:
                self._release()
            except BaseException:
                self._deadman.owe(self)  # it goes on trying until the coil is off
                raise

    def lapse(self) -> bool:
        """For the dead-man only: open if the lease has run out. True when it opened.

        False also when a driver call holds the contactor's lock: the dead-man comes again, so that
        one hanging driver keeps it from no other contactor.
        """
        if not self._lock.acquire(timeout=LAPSE_WAIT_S):
            return False
        try:
            if not self._deadman.has_lapsed(self):
                return False
            self.open()
            return True
        finally:
            self._lock.release()

    def feedback(self) -> bool | None:
        """True: the auxiliary contact says closed; None: none fitted."""
        with self._lock:
            return self._read_feedback()

    @abstractmethod
    def _energise(self) -> None: ...

    @abstractmethod
    def _release(self) -> None: ...

    @abstractmethod
    def _read_feedback(self) -> bool | None: ...
