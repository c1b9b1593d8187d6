"""pyscard's low-level module played by a script: no pcscd, no threads of its own, no waiting.

What happens to readers and cards is a queue of steps; a wait for a status change takes them one by
one until one of them is a change, and blocks when there are none left (or ends, see `end`).
"""

import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

PNP = "\\\\?PnP?\\Notification"
READER = "ACS ACR122U PICC Interface 00 00"

Step = Callable[["FakePcsc"], None]


@dataclass
class _Slot:
    uid: bytes | None = None  # of the card that lies on it
    count: int = 0  # insertions and removals
    mute: bool = False


class FakePcsc:
    """`during_naps` are steps taken one per pause of the driver; give it `nap` as its pause."""

    SCARD_SCOPE_SYSTEM = 2
    SCARD_SHARE_SHARED, SCARD_SHARE_DIRECT = 2, 3
    SCARD_LEAVE_CARD = 0
    SCARD_PROTOCOL_T0, SCARD_PROTOCOL_T1 = 1, 2
    SCARD_PCI_T0, SCARD_PCI_T1 = 100, 200
    SCARD_STATE_CHANGED, SCARD_STATE_UNKNOWN, SCARD_STATE_UNAVAILABLE = 0x2, 0x4, 0x8
    SCARD_STATE_EMPTY, SCARD_STATE_PRESENT, SCARD_STATE_MUTE = 0x10, 0x20, 0x200

    def __init__(self, *readers: str, steps: Sequence[Step] = (),
                 during_naps: Sequence[Step] = ()) -> None:
        self.slots = {name: _Slot() for name in readers or (READER,)}
        self.up = True
        self.denies = False
        self.spins = False  # reports changes that are none
        self.calls: Counter[str] = Counter()
        self.now_s = 1_000.0
        self.connect_code = 0
        self.answer: list[int] | None = None  # in place of the UID
        #: what readers answer to commands of their own, by the command; others get 6A 81
        self.commands: dict[bytes, bytes] = {}
        self.escapes_pass = False  # libccid with bit 0 of ifdDriverOptions
        self.said: list[tuple[str, bytes]] = []  # commands of readers' own, by reader
        self.transmit_code = 0
        self.hold: threading.Event | None = None  # a card is not answered before it is set
        self.on_end: Callable[[], None] | None = None  # steps are used up
        self._steps: queue.Queue[Step | None] = queue.Queue()
        for step in steps:
            self._steps.put(step)
        self._during_naps = list(during_naps)
        self._lock = threading.RLock()
        self._context = 0
        self._known_readers: tuple[str, ...] = ()

    # --- the script ---------------------------------------------------------------------------

    def do(self, step: Step) -> None:
        """Let `step` happen now, seen by whoever waits."""
        self._steps.put(step)

    def nap(self, seconds: float) -> None:
        self.now_s += seconds
        self.calls["nap"] += 1
        if self._during_naps:
            self._during_naps.pop(0)(self)

    def monotonic_s(self) -> float:
        return self.now_s

    # --- what pyscard offers ------------------------------------------------------------------

    def SCardEstablishContext(self, scope: int) -> tuple[int, int]:
        self.calls["establish"] += 1
        if not self.up or self.denies:
            return _signed(0x8010001D if not self.up else 0x8010006A), 0
        self._context += 1
        return 0, self._context

    def SCardReleaseContext(self, context: int) -> int:
        return 0

    def SCardListReaders(self, context: int, groups: list[str]) -> tuple[int, list[str]]:
        if not self.up:
            return _signed(0x80100013), []
        self._known_readers = tuple(self.slots)
        return (0, list(self.slots)) if self.slots else (_signed(0x8010002E), [])

    def SCardGetStatusChange(
        self, context: int, timeout_ms: int, watched: list[tuple[str, int]]
    ) -> tuple[int, list[tuple[str, int, list[int]]]]:
        self.calls["wait"] += 1
        while True:
            if not self.up or context != self._context:
                return _signed(0x80100013), []
            told = [(name, *self._told(name, state)) for name, state in watched]
            if self.spins or any(state & self.SCARD_STATE_CHANGED for _, state, _ in told):
                return 0, told
            step = self._next()
            if step is None:
                return _signed(0x80100002), told
            step(self)

    def SCardCancel(self, context: int) -> int:
        with self._steps.mutex:  # before what is still to come
            self._steps.queue.appendleft(None)
            self._steps.unfinished_tasks += 1
            self._steps.not_empty.notify()
        return 0

    def SCardConnect(self, context: int, reader: str, share: int, protocols: int
                     ) -> tuple[int, Any, int]:
        self.calls["connect"] += 1
        if share == self.SCARD_SHARE_DIRECT:
            return 0, reader, 0
        if self.connect_code or self.slots[reader].uid is None:
            return _signed(self.connect_code or 0x8010000C), 0, 0
        return 0, reader, self.SCARD_PROTOCOL_T1

    def SCardTransmit(self, card: str, pci: int, command: list[int]) -> tuple[int, list[int]]:
        if self.hold is not None:
            self.hold.wait(30.0)
        if self.transmit_code:
            return _signed(self.transmit_code), []
        if bytes(command[:2]) != b"\xff\xca":
            return 0, list(self._own(card, bytes(command)))
        if self.answer is not None:
            return 0, self.answer
        uid = self.slots[card].uid
        if uid is None:  # pulled meanwhile
            return _signed(0x80100069), []
        return 0, [*uid, 0x90, 0x00]

    def SCardControl(self, card: str, code: int, command: list[int]) -> tuple[int, list[int]]:
        if not self.escapes_pass or code != 0x42000001:
            return _signed(0x80100016), []
        return 0, list(self._own(card, bytes(command)))

    def _own(self, reader: str, command: bytes) -> bytes:
        self.said.append((reader, command))
        return self.commands.get(command, b"\x6a\x81")

    def SCardDisconnect(self, card: str, disposition: int) -> int:
        return 0

    # --- inside -------------------------------------------------------------------------------

    def _told(self, name: str, known: int) -> tuple[int, list[int]]:
        if name == PNP:
            changed = tuple(self.slots) != self._known_readers
            return (self.SCARD_STATE_CHANGED if changed else 0), []
        slot = self.slots.get(name)
        if slot is None:
            return self.SCARD_STATE_UNKNOWN | self.SCARD_STATE_CHANGED, []
        state = slot.count << 16
        state |= self.SCARD_STATE_EMPTY if slot.uid is None else self.SCARD_STATE_PRESENT
        if slot.mute and slot.uid is not None:
            state |= self.SCARD_STATE_MUTE
        return state | (self.SCARD_STATE_CHANGED if state != known else 0), []

    def _next(self) -> Step | None:
        if self.on_end is not None and self._steps.empty():
            self.on_end()
        return self._steps.get(timeout=30.0)


def insert(uid: str, reader: str = READER, *, mute: bool = False) -> Step:
    def step(pcsc: FakePcsc) -> None:
        slot = pcsc.slots[reader]
        slot.uid, slot.count, slot.mute = bytes.fromhex(uid), slot.count + 1, mute
    return step


def remove(reader: str = READER) -> Step:
    def step(pcsc: FakePcsc) -> None:
        slot = pcsc.slots[reader]
        slot.uid, slot.count = None, slot.count + 1
    return step


def wait(seconds: float) -> Step:
    def step(pcsc: FakePcsc) -> None:
        pcsc.now_s += seconds
    return step


def crash(pcsc: FakePcsc) -> None:
    pcsc.up = False


def start(pcsc: FakePcsc) -> None:
    pcsc.up = True


def unplug(reader: str = READER) -> Step:
    return lambda pcsc: pcsc.slots.pop(reader) and None


def plug(reader: str = READER) -> Step:
    return lambda pcsc: pcsc.slots.update({reader: _Slot()})


def _signed(code: int) -> int:
    """As pyscard hands codes over."""
    return code - (1 << 32) if code else 0
