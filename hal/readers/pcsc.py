"""Contactless card readers over PC/SC (pcscd and pyscard's low-level calls).

Source: PC/SC part 3, pseudo-APDU FF CA 00 00 00 (UID); pcsc-lite's SCardGetStatusChange.
Field:  pcscd 1.9.9 with the virtual reader of vsmartcard-vpcd (Debian 12).

One thread per reader blocks in SCardGetStatusChange and costs no wake-ups while nothing happens.
It is our own: pyscard's CardMonitor dies with pcscd. A short absence (pcscd restarted, the plug
wiggled) is bridged inside: after any error the thread backs off, makes a new context and looks
again. What lasts longer than `patience_s` raises DeviceGone; reopening is then the caller's.
A card that lies on the reader when we begin to look, or look again, is no tap.
"""

import asyncio
import contextlib
import logging
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, ClassVar

from hal.contracts import CardReader, Option, Parts
from hal.errors import DeviceGone, HalError
from hal.values import CardUid

log = logging.getLogger(__name__)

GET_UID = [0xFF, 0xCA, 0x00, 0x00, 0x00]
PLUG_AND_PLAY = "\\\\?PnP?\\Notification"
LOOK_ANEW_MS = 60_000  # a reader that came between listing and waiting is found then at the latest
BACK_OFF_S = (0.1, 0.25, 0.5, 1.0)
OPEN_S = 10.0  # pcscd may have to be started by its socket first
CLOSE_TRIES = 250  # times 20 ms
SPIN_S = 0.005  # a wait that ends sooner without news is an error, not a wait

# Return codes of pcsc-lite, unsigned. Source: pcsclite.h
INVALID_HANDLE = 0x80100003
CANCELLED = 0x80100002
UNKNOWN_READER = 0x80100009
TIMEOUT = 0x8010000A
SHARING_VIOLATION = 0x8010000B
NO_SERVICE = 0x8010001D
SERVICE_STOPPED = 0x8010001E
COMMUNICATION = 0x80100013
NO_READERS = 0x8010002E
NO_ACCESS = frozenset({0x8010006A, 0x80100027})  # SCARD_W_SECURITY_VIOLATION, SCARD_E_NO_ACCESS
#: the way to the daemon is broken, not the card
LINK_ERRORS = frozenset({INVALID_HANDLE, NO_SERVICE, SERVICE_STOPPED, COMMUNICATION})


class _Lost(Exception):
    """The round could not be finished; the text says why and what to do."""


def uid_text(uid: bytes, options: Mapping[str, Any]) -> str:
    """The UID as it goes to the central system: order, then `truncate` bytes, case, separator."""
    ordered = uid[::-1] if options.get("byte_order", "normal") == "reversed" else uid
    kept = ordered[: options.get("truncate") or None]
    text = str(options.get("separator", "")).join(f"{byte:02X}" for byte in kept)
    text = text.lower() if options.get("case", "upper") == "lower" else text
    return f"{options.get('prefix', '')}{text}"


def is_random(uid: bytes) -> bool:
    """A UID drawn anew at each tap. Source: ISO/IEC 14443-3, single size UID with uid0 = 08."""
    return len(uid) == 4 and uid[0] == 0x08


def chosen_by(pattern: str) -> Callable[[str], bool]:
    """Whether a reader's name is meant: part of the name, * for anything; SAM slots never are."""
    wanted = re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.IGNORECASE)
    sam = re.compile(r"\bSAM\b")
    return lambda name: wanted.search(name) is not None and sam.search(name) is None


def import_scard() -> Any:
    """pyscard's low-level module. Raises DeviceGone when it is not installed."""
    try:
        from smartcard import scard
    except ImportError as error:
        raise DeviceGone(f"pyscard cannot be imported ({error}); "
                         "pip install 'cpctl[pi]'") from error
    return scard


class Watcher:
    """The blocking part: watches the readers and tells of taps. Runs in a thread of its own.

    `ready()` is called once, when a reader is first watched; `tapped(card)` for each tap. `run`
    returns when stopped and raises DeviceGone when what it needs was away for `patience_s`.
    """

    def __init__(
        self,
        name: str,
        scard: Any,
        options: Mapping[str, Any],
        *,
        ready: Callable[[], None],
        tapped: Callable[[CardUid], None],
        monotonic_s: Callable[[], float] = time.monotonic,
        nap: Callable[[float], object] | None = None,
    ) -> None:
        self.name = name
        self._scard = scard
        self._options = options
        self._ready = ready
        self._tapped = tapped
        self._monotonic_s = monotonic_s
        self._stop = threading.Event()
        self._nap = nap or self._stop.wait
        self._chosen = chosen_by(options.get("reader", ""))
        self._context: Any = None
        self._context_lock = threading.Lock()  # cancel from outside, release from inside
        self._states: dict[str, int] = {}
        self._seen: dict[str, tuple[bytes, float]] = {}  # reader -> last UID, when it was there
        self._was_ready = False
        self._calm = False  # a wait has worked since the last error

    def run(self) -> None:
        """Watch until stopped. Raises DeviceGone."""
        failing_since_s: float | None = None
        tries = 0
        try:
            while not self._stop.is_set():
                try:
                    self._round()
                except _Lost as lost:
                    now_s = self._monotonic_s()
                    if self._calm:
                        failing_since_s, tries, self._calm = None, 0, False
                    failing_since_s = now_s if failing_since_s is None else failing_since_s
                    self._forget_context()
                    patience_s = self._options.get("patience_s", 3.0)
                    if not self._was_ready or now_s - failing_since_s >= patience_s:
                        raise DeviceGone(f"{self.name}: {lost}") from lost
                    log.debug("%s: %s; looking again", self.name, lost)
                    self._nap(BACK_OFF_S[min(tries, len(BACK_OFF_S) - 1)])
                    tries += 1
        finally:
            self._forget_context()

    def stop(self) -> None:
        """From any thread: end the wait. To be repeated until the thread has ended, since a
        cancel that comes just before the wait is lost."""
        self._stop.set()
        with self._context_lock:
            if self._context is not None:
                self._scard.SCardCancel(self._context)

    # --- one round ----------------------------------------------------------------------------

    def _round(self) -> None:
        """Wait for one change and deal with it. Raises _Lost."""
        if self._context is None:
            self._make_context()
        readers = self._readers()
        watched = [(PLUG_AND_PLAY, 0)]
        watched += [(reader, self._states.get(reader, 0)) for reader in readers]
        known = all(reader in self._states for reader in readers)
        began_s = self._monotonic_s()
        code, told = self._call("SCardGetStatusChange", self._context, LOOK_ANEW_MS, watched)
        lasted = self._monotonic_s() - began_s >= SPIN_S
        self._calm = self._calm or lasted
        if code in (TIMEOUT, CANCELLED, UNKNOWN_READER):
            if code != TIMEOUT and not self._stop.is_set():
                self._nap(BACK_OFF_S[0])
            return
        if code != 0:
            raise _Lost(_reason(code))
        news = [(reader, state) for reader, state, _ in told if reader != PLUG_AND_PLAY]
        is_news = any(self._is_news(*one) for one in news)
        if not is_news and not lasted:
            if _changed(told):  # readers came or went
                self._nap(BACK_OFF_S[0])
                return
            raise _Lost("pcscd reports changes that are none; restart it if this lasts "
                        "(systemctl restart pcscd)")
        self._calm = self._calm or (known and is_news)
        for reader, state in news:
            self._look(reader, state)
        if not self._was_ready:
            self._was_ready = True
            self._ready()

    def _make_context(self) -> None:
        self._states.clear()
        code, context = self._call("SCardEstablishContext", self._scard.SCARD_SCOPE_SYSTEM)
        if code != 0:
            raise _Lost(_reason(code))
        with self._context_lock:
            self._context = context

    def _forget_context(self) -> None:
        with self._context_lock:
            context, self._context = self._context, None
        if context is not None:
            self._call("SCardReleaseContext", context)

    def _readers(self) -> list[str]:
        """Names of the readers meant. Raises _Lost when there is none."""
        code, names = self._call("SCardListReaders", self._context, [])
        if code not in (0, NO_READERS):
            raise _Lost(_reason(code))
        names = list(names) if code == 0 else []
        chosen = [name for name in names if self._chosen(name)]
        for gone in self._states.keys() - set(chosen):
            del self._states[gone]
        if not chosen:
            found = ", ".join(repr(name) for name in names) or "none"
            raise _Lost(f"no PC/SC reader matches {self._options.get('reader', '')!r} "
                        f"(found: {found}); check its USB plug and the option 'reader'")
        return chosen

    def _is_news(self, reader: str, state: int) -> bool:
        changed: int = self._scard.SCARD_STATE_CHANGED
        return (self._states.get(reader, 0) ^ state) & ~changed != 0

    def _look(self, reader: str, state: int) -> None:
        """Compare with what was known of `reader`; a card that has come is read."""
        scard = self._scard
        before = self._states.get(reader)
        self._states[reader] = state & ~scard.SCARD_STATE_CHANGED
        if state & (scard.SCARD_STATE_UNKNOWN | scard.SCARD_STATE_UNAVAILABLE):
            del self._states[reader]
            raise _Lost(f"{reader} is gone; check its USB plug")
        if not state & scard.SCARD_STATE_PRESENT:
            self._note_leaving(reader, before)
            return
        if before is None or state & scard.SCARD_STATE_MUTE:
            return  # it lay there when we began to look, or does not answer
        moved = (before ^ state) >> 16 != 0  # pcsc-lite counts insertions and removals up there
        if moved or not before & scard.SCARD_STATE_PRESENT:
            self._take(reader)

    def _note_leaving(self, reader: str, before: int | None) -> None:
        """Debouncing counts from when the card left."""
        if before is not None and before & self._scard.SCARD_STATE_PRESENT and reader in self._seen:
            self._seen[reader] = (self._seen[reader][0], self._monotonic_s())

    def _take(self, reader: str) -> None:
        uid = self._uid(reader)
        if uid is None:
            return
        now_s = self._monotonic_s()
        last = self._seen.get(reader)
        self._seen[reader] = (uid, now_s)
        if last is not None and last[0] == uid and now_s - last[1] < self._options["debounce_s"]:
            return
        self._tapped(CardUid(uid_text(uid, self._options), random=is_random(uid)))

    def _uid(self, reader: str) -> bytes | None:
        """The card's UID; None when it was pulled early, which is normal. Raises _Lost."""
        scard = self._scard
        protocols = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
        code, card, protocol = self._call(
            "SCardConnect", self._context, reader, scard.SCARD_SHARE_SHARED, protocols)
        if code != 0:
            self._card_failed(reader, code)
            return None
        try:
            pci = scard.SCARD_PCI_T0 if protocol == scard.SCARD_PROTOCOL_T0 else scard.SCARD_PCI_T1
            code, answer = self._call("SCardTransmit", card, pci, GET_UID)
        finally:
            self._call("SCardDisconnect", card, scard.SCARD_LEAVE_CARD)
        if code != 0:
            self._card_failed(reader, code)
            return None
        said = bytes(byte & 0xFF for byte in answer)
        uid, status = said[:-2], said[-2:]
        if status != b"\x90\x00" or not uid:
            log.warning("%s: a card without an identifier (answer %s); it is not contactless, or "
                        "%s does not know the command", self.name, status.hex(), reader)
            return None
        return uid

    def _card_failed(self, reader: str, code: int) -> None:
        if code in LINK_ERRORS or code in NO_ACCESS:
            raise _Lost(_reason(code))
        if code == SHARING_VIOLATION:
            log.warning("%s: another program holds the card in %s for itself", self.name, reader)
        else:
            log.debug("%s: card pulled early (%#010x)", self.name, code)

    def _call(self, function: str, *arguments: Any) -> Any:
        """One call, its return code made unsigned."""
        result = getattr(self._scard, function)(*arguments)
        if isinstance(result, (list, tuple)):
            return (result[0] & 0xFFFFFFFF, *result[1:])
        return result & 0xFFFFFFFF


def _changed(told: Any) -> bool:
    """Whether the plug-and-play line reports that readers came or went."""
    return any(name == PLUG_AND_PLAY and state & 0x2 for name, state, _ in told)


def _reason(code: int) -> str:
    if code in NO_ACCESS:
        return ("pcscd denies access; install the polkit rule for this user "
                "(deploy/50-cpctl-pcscd.rules)")
    if code in LINK_ERRORS:
        return f"pcscd does not answer ({code:#010x}); see systemctl status pcscd"
    return f"PC/SC error {code:#010x}; see journalctl -u pcscd"


class Reader(CardReader):
    """A PC/SC reader. `open` returns when it is watched."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("reader", str, "", help="part of the reader's name (pcsc_scan shows it), * allowed"),
        Option("byte_order", str, "normal", choices=("normal", "reversed")),
        Option("case", str, "upper", choices=("upper", "lower")),
        Option("separator", str, "", help="between the bytes"),
        Option("prefix", str, ""),
        Option("truncate", int, 0, minimum=0, maximum=10, help="bytes kept; 0: all"),
        Option("debounce_s", float, 1.0, minimum=0, maximum=10,
               help="the same card back within this time is the same tap"),
        Option("patience_s", float, 3.0, minimum=0, maximum=60,
               help="an absence of reader or pcscd up to this long is bridged in silence"),
    )

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        defaults = {option.name: option.default for option in self.OPTIONS}
        super().__init__(name, evse, {**defaults, **options}, parts)
        self.import_scard: Callable[[], Any] = import_scard
        self._thread: threading.Thread | None = None
        self._watcher: Watcher | None = None
        self._seen: asyncio.Queue[CardUid | HalError] = asyncio.Queue()

    async def open(self) -> None:
        await self.close()
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        seen: asyncio.Queue[CardUid | HalError] = asyncio.Queue()
        self._seen = seen

        def hand_over(what: CardUid | HalError | None) -> None:
            if not opened.done():
                if isinstance(what, HalError):
                    opened.set_exception(what)
                    return
                opened.set_result(None)
            if what is not None:
                seen.put_nowait(what)

        def post(what: CardUid | HalError | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has gone: nobody is left to tell
                loop.call_soon_threadsafe(hand_over, what)

        self._thread = threading.Thread(
            target=self._watch, args=(post,), name=f"pcsc {self.name}", daemon=True)
        self._thread.start()
        try:
            async with asyncio.timeout(OPEN_S):
                await opened
        except TimeoutError as error:
            await self.close()
            raise DeviceGone(f"{self.name}: pcscd takes longer than {OPEN_S:g} s to answer; "
                             "see systemctl status pcscd") from error
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        for _ in range(CLOSE_TRIES):
            if self._watcher is not None:
                self._watcher.stop()
            if not thread.is_alive():
                break
            await asyncio.sleep(0.02)
        else:
            log.warning("%s: pcscd holds its thread; it is left behind", self.name)
        self._watcher = None

    async def cards(self) -> AsyncIterator[CardUid]:
        if self._thread is None:
            raise DeviceGone(f"{self.name}: is not open")
        while True:
            what = await self._seen.get()
            if isinstance(what, HalError):
                raise what
            yield what

    def _watch(self, post: Callable[[CardUid | HalError | None], None]) -> None:
        """The thread's life; however it ends, whoever waits for cards learns it."""
        end: HalError = DeviceGone(f"{self.name}: closed, or its thread has died (see the log)")
        try:
            self._watcher = Watcher(self.name, self.import_scard(), self.options,
                                    ready=lambda: post(None), tapped=post)
            self._watcher.run()
        except HalError as error:
            end = error
        finally:
            post(end)
