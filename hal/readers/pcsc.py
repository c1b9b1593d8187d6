"""Contactless card readers over PC/SC (pcscd and pyscard's low-level calls).

Source: PC/SC part 3, pseudo-APDU FF CA 00 00 00 (UID); pcsc-lite's SCardGetStatusChange. What
single models do differently, and their makers' documents: _quirks.py, docs/readers.md.
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
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, ClassVar

from hal.contracts import CardReader, Option, Parts
from hal.errors import DeviceGone, HalError
from hal.readers._pcsc_words import (
    CANCELLED,
    LINK_ERRORS,
    NO_ACCESS,
    NO_READERS,
    READER_ERRORS,
    SHARING_VIOLATION,
    TIMEOUT,
    UNKNOWN_READER,
    chosen_by,
    import_scard,
    no_reader,
    reason,
)
from hal.readers._quirks import ESCAPE, Manners, Say, checked, quirk_of
from hal.readers._uid import DEBOUNCE, UID_OPTIONS, card_of
from hal.values import CardUid

log = logging.getLogger(__name__)

GET_UID = [0xFF, 0xCA, 0x00, 0x00, 0x00]
PLUG_AND_PLAY = "\\\\?PnP?\\Notification"
LOOK_ANEW_MS = 60_000  # a reader that came between listing and waiting is found then at the latest
BACK_OFF_S = (0.1, 0.25, 0.5, 1.0)
OPEN_S = 10.0  # pcscd may have to be started by its socket first
CLOSE_TRIES = 250  # times 20 ms
SPIN_S = 0.005  # a wait that ends sooner without news is an error, not a wait
HUNG_S = 15.0  # a card that is not read by then: reader or pcscd hang
SICK_AFTER = 3  # cards in a row that the reader could not be asked for
SIGNAL_OLD_S = 3.0  # a decision that could not be shown by then is not shown any more
NUDGE_S = 0.2

Exchange = Callable[[list[int]], tuple[int, bytes]]  # an APDU; the return code and the answer


class _Lost(Exception):
    """The round could not be finished; the text says why and what to do. `lasting`: patience
    will not help."""

    def __init__(self, text: str, *, lasting: bool = False) -> None:
        super().__init__(text)
        self.lasting = lasting


class Watcher:
    """The blocking part: watches the readers and tells of taps. Runs in a thread of its own.

    `ready()` is called once, when a reader is first watched; `tapped(card)` for each tap;
    `reading(True)` before card or reader are asked and `reading(False)` after. `run` returns when
    stopped and raises DeviceGone when what it needs was away for `patience_s`.
    """

    def __init__(
        self,
        name: str,
        scard: Any,
        options: Mapping[str, Any],
        *,
        ready: Callable[[], None],
        tapped: Callable[[CardUid], None],
        reading: Callable[[bool], None] = lambda is_reading: None,
        monotonic_s: Callable[[], float] = time.monotonic,
        nap: Callable[[float], object] | None = None,
    ) -> None:
        self.name = name
        self._scard = scard
        self._options = options
        self._ready = ready
        self._tapped = tapped
        self._reading = reading
        self._monotonic_s = monotonic_s
        self._stop = threading.Event()
        self._nap = nap or self._stop.wait
        self._chosen = chosen_by(options.get("reader", ""))
        self._context: Any = None
        self._context_lock = threading.Lock()  # cancel from outside, release from inside
        self._states: dict[str, int] = {}
        self._seen: dict[str, tuple[bytes, float]] = {}  # reader -> last UID, when it was there
        self._manners = Manners(name, buzzer=options.get("buzzer"),
                                signals=bool(options.get("signals", True)))
        self._signal: tuple[bool, float] | None = None  # accepted?, when it was decided
        self._last: str | None = None  # the reader of the last tap
        self._failed = 0  # cards in a row the reader could not be asked for
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
                    late = now_s - failing_since_s >= patience_s
                    if lost.lasting or late or not self._was_ready:
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
        self._cancel()

    def signal(self, *, accepted: bool) -> None:
        """From any thread: show at the reader of the last card what was decided about it."""
        self._signal = accepted, self._monotonic_s()
        self._cancel()

    def nudge(self) -> None:
        """Once more, where a signal came just before the wait."""
        if self._signal is not None:
            self._cancel()

    def _cancel(self) -> None:
        with self._context_lock:
            if self._context is not None:
                self._scard.SCardCancel(self._context)

    # --- one round ----------------------------------------------------------------------------

    def _round(self) -> None:
        """Wait for one change and deal with it. Raises _Lost."""
        if self._context is None:
            self._make_context()
        readers = self._readers()
        self._show_signal()
        watched = [(PLUG_AND_PLAY, 0)]
        watched += [(reader, self._states.get(reader, 0)) for reader in readers]
        known = all(reader in self._states for reader in readers)
        began_s = self._monotonic_s()
        code, told = self._call("SCardGetStatusChange", self._context, LOOK_ANEW_MS, watched)
        lasted = self._monotonic_s() - began_s >= SPIN_S
        self._calm = self._calm or lasted
        if code in (TIMEOUT, CANCELLED, UNKNOWN_READER):
            if code != TIMEOUT and self._signal is None and not self._stop.is_set():
                self._nap(BACK_OFF_S[0])
            return
        if code != 0:
            raise _Lost(reason(code))
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
        for reader in tuple(self._states):
            self._drop(reader)
        code, context = self._call("SCardEstablishContext", self._scard.SCARD_SCOPE_SYSTEM)
        if code != 0:
            raise _Lost(reason(code))
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
            raise _Lost(reason(code))
        names = list(names) if code == 0 else []
        chosen = [name for name in names if self._chosen(name)]
        for gone in self._states.keys() - set(chosen):
            self._drop(gone)
        if not chosen:
            raise _Lost(no_reader(str(self._options.get("reader", "")), names))
        return chosen

    def _drop(self, reader: str) -> None:
        del self._states[reader]
        self._manners.forget(reader)

    def _is_news(self, reader: str, state: int) -> bool:
        changed: int = self._scard.SCARD_STATE_CHANGED
        return (self._states.get(reader, 0) ^ state) & ~changed != 0

    def _look(self, reader: str, state: int) -> None:
        """Compare with what was known of `reader`; a card that has come is read."""
        scard = self._scard
        before = self._states.get(reader)
        self._states[reader] = state & ~scard.SCARD_STATE_CHANGED
        if state & (scard.SCARD_STATE_UNKNOWN | scard.SCARD_STATE_UNAVAILABLE):
            self._drop(reader)
            raise _Lost(f"{reader} is gone; check its USB plug")
        if before is None and self._manners.settle_early(reader):
            self._directly(reader, lambda say: self._manners.settle(reader, say))
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
        self._last = reader
        now_s = self._monotonic_s()
        last = self._seen.get(reader)
        self._seen[reader] = (uid, now_s)
        if last is not None and last[0] == uid and now_s - last[1] < self._options["debounce_s"]:
            return
        self._tapped(card_of(uid, self._options))

    def _uid(self, reader: str) -> bytes | None:
        """The card's UID; None when it was pulled early, which is normal. Raises _Lost."""
        with self._card(reader) as say:
            if say is None:
                return None
            code, answer = say(GET_UID)
            if code != 0:
                self._card_failed(reader, code)
                return None
            if self._manners.settle_with_card(reader):
                self._manners.settle(reader, lambda command: checked(say(list(command))))
        self._failed = 0
        uid, status = answer[:-2], answer[-2:]
        if status != b"\x90\x00" or not uid:
            log.warning("%s: a card without an identifier (answer %s); it is not contactless, or "
                        "%s does not know the command", self.name, status.hex(), reader)
            return None
        return uid

    @contextlib.contextmanager
    def _card(self, reader: str) -> Iterator[Exchange | None]:
        """A connection to the card in `reader`, left as it is afterwards; None: there is none."""
        scard = self._scard
        protocols = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
        with self._connected(reader, scard.SCARD_SHARE_SHARED, protocols) as (code, card, protocol):
            if code != 0:
                self._card_failed(reader, code)
                yield None
                return
            t0 = protocol == scard.SCARD_PROTOCOL_T0
            pci = scard.SCARD_PCI_T0 if t0 else scard.SCARD_PCI_T1

            def say(command: list[int]) -> tuple[int, bytes]:
                code, answer = self._call("SCardTransmit", card, pci, command)
                return code, bytes(byte & 0xFF for byte in answer)
            yield say

    @contextlib.contextmanager
    def _connected(self, reader: str, share: int, protocols: int
                   ) -> Iterator[tuple[int, Any, int]]:
        """Return code, connection and protocol; within it a call that hangs is noticed."""
        self._reading(True)
        try:
            code, handle, protocol = self._call(
                "SCardConnect", self._context, reader, share, protocols)
            try:
                yield code, handle, protocol
            finally:
                if code == 0:
                    self._call("SCardDisconnect", handle, self._scard.SCARD_LEAVE_CARD)
        finally:
            self._reading(False)

    def _card_failed(self, reader: str, code: int) -> None:
        if code in LINK_ERRORS or code in NO_ACCESS:
            raise _Lost(reason(code))
        if code in READER_ERRORS:
            self._failed += 1
            log.warning("%s: %s could not be asked for its card (%#010x)", self.name, reader, code)
            if self._failed >= SICK_AFTER:
                self._failed = 0
                hint = quirk_of(reader).hint
                raise _Lost(f"{reader} takes no commands ({code:#010x}); plug it anew"
                            + (f"; {hint}" if hint else ""), lasting=True)
        elif code == SHARING_VIOLATION:
            log.warning("%s: another program holds the card in %s for itself", self.name, reader)
        else:
            log.debug("%s: card pulled early (%#010x)", self.name, code)

    # --- courtesies ---------------------------------------------------------------------------

    def _show_signal(self) -> None:
        """Show what was decided about the last card, where its reader can. Never costs a tap."""
        signal, self._signal = self._signal, None
        reader = self._last
        if signal is None or reader is None or reader not in self._states:
            return
        accepted, decided_s = signal
        if self._monotonic_s() - decided_s > SIGNAL_OLD_S:
            return
        there = bool(self._states[reader] & self._scard.SCARD_STATE_PRESENT)
        if not self._manners.may_signal(reader, card_there=there):
            return
        if quirk_of(reader).escape:
            self._directly(reader, lambda say: self._manners.signal(reader, say, accepted=accepted))
            return
        with self._card(reader) as card:
            if card is not None:
                self._manners.signal(reader, lambda command: checked(card(list(command))),
                                     accepted=accepted)

    def _directly(self, reader: str, talk: Callable[[Say], None]) -> None:
        """Have `talk` send escape commands to the reader itself."""
        with self._connected(reader, self._scard.SCARD_SHARE_DIRECT, 0) as (code, handle, _):
            talk(lambda command: checked(
                (code, b"") if code else self._call("SCardControl", handle, ESCAPE, list(command))))

    def _call(self, function: str, *arguments: Any) -> Any:
        """One call, its return code made unsigned."""
        result = getattr(self._scard, function)(*arguments)
        if isinstance(result, (list, tuple)):
            return (result[0] & 0xFFFFFFFF, *result[1:])
        return result & 0xFFFFFFFF


def _changed(told: Any) -> bool:
    """Whether the plug-and-play line reports that readers came or went."""
    return any(name == PLUG_AND_PLAY and state & 0x2 for name, state, _ in told)


class Reader(CardReader):
    """A PC/SC reader. `open` returns when it is watched."""

    OPTIONS: ClassVar[tuple[Option, ...]] = (
        Option("reader", str, "", help="part of the reader's name (pcsc_scan shows it), * allowed"),
        *UID_OPTIONS,
        DEBOUNCE,
        Option("patience_s", float, 3.0, minimum=0, maximum=60,
               help="an absence of reader or pcscd up to this long is bridged in silence"),
        Option("buzzer", bool, None,
               help="whether it beeps at each card, where that can be set; without it, as it is"),
        Option("signals", bool, True,
               help="show accepted and refused with its own light and buzzer, where it has them"),
    )

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        defaults = {option.name: option.default for option in self.OPTIONS}
        super().__init__(name, evse, {**defaults, **options}, parts)
        self.import_scard: Callable[[], Any] = import_scard
        self._thread: threading.Thread | None = None
        self._left: threading.Thread | None = None  # one that pcscd did not give back
        self._patience: asyncio.TimerHandle | None = None  # with the card being read
        self._watcher: Watcher | None = None
        self._seen: asyncio.Queue[CardUid | HalError] = asyncio.Queue()

    async def open(self) -> None:
        await self.close()
        if self._left is not None and self._left.is_alive():
            raise DeviceGone(f"{self.name}: pcscd still holds a call of ours; plug the reader "
                             "anew or restart pcscd (systemctl restart pcscd)")
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

        def reading(is_reading: bool) -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._clock, is_reading)

        self._thread = threading.Thread(target=self._watch, args=(post, reading),
                                        name=f"pcsc {self.name}", daemon=True)
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
        self._clock(False)
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
            self._left = thread
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

    def signal(self, *, accepted: bool) -> None:
        watcher = self._watcher
        if watcher is not None:
            watcher.signal(accepted=accepted)
            asyncio.get_running_loop().call_later(NUDGE_S, watcher.nudge)

    def _clock(self, is_reading: bool) -> None:
        """A card that is being read has so much time; a reader that hangs is a loss."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if is_reading:
            self._patience = asyncio.get_running_loop().call_later(
                HUNG_S, self._seen.put_nowait, DeviceGone(
                    f"{self.name}: a card has not been read for {HUNG_S:g} s, the reader or pcscd "
                    "hangs; plug it anew, or systemctl restart pcscd"))

    def _watch(self, post: Callable[[CardUid | HalError | None], None],
               reading: Callable[[bool], None]) -> None:
        """The thread's life; however it ends, whoever waits for cards learns it."""
        end: HalError = DeviceGone(f"{self.name}: closed, or its thread has died (see the log)")
        try:
            self._watcher = Watcher(self.name, self.import_scard(), self.options,
                                    ready=lambda: post(None), tapped=post, reading=reading)
            self._watcher.run()
        except HalError as error:
            end = error
        finally:
            post(end)
