"""Runs inside the namespace of `support.pcscd`: real pcscd, virtual cards, the driver `pcsc`.

Called with the name of a story; prints what happened as one JSON object.
"""

import asyncio
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from support.pcscd import NAME, Pcscd
from support.vcard import VirtualCard

from hal.contracts import Parts
from hal.errors import DeviceGone
from hal.readers.pcsc import Reader
from hal.registry import build
from hal.values import CardUid

PAUSE_S = 0.6  # more than the debouncing of these stories
UID = bytes.fromhex("04A1B2C3D4E5F6")


class Watched:
    """A reader whose taps are collected, as `[text, random]`; a loss is its text."""

    def __init__(self, **options: Any) -> None:
        options = {"reader": "CPCTL Virtual", "debounce_s": 0.5, **options}
        self.reader: Reader = build("reader", "pcsc", "reader front", None, options, Parts())
        self.taps: list[list[Any]] = []
        self.lost = ""
        self.news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Watched":
        await self.reader.open()
        self._task = asyncio.create_task(self._collect())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await self.reader.close()

    async def _collect(self) -> None:
        try:
            async for card in self.reader.cards():
                self.note(card)
        except DeviceGone as gone:
            self.lost = str(gone)
            self.news.set()

    async def until(self, what: Callable[[], object], limit_s: float = 20.0) -> None:
        """Wait for a tap or a loss that makes `what` true."""
        async with asyncio.timeout(limit_s):
            while not what():
                self.news.clear()
                await self.news.wait()

    def note(self, card: CardUid) -> None:
        self.taps.append([card.text, card.random])
        self.news.set()


async def tap(pcscd: Pcscd, uid: bytes | None) -> None:
    await asyncio.to_thread(pcscd.tap, uid)
    await asyncio.sleep(PAUSE_S)


async def two_taps(pcscd: Pcscd) -> dict[str, Any]:
    async with Watched() as watched:
        await tap(pcscd, UID)
        first = list(watched.taps)
        await tap(pcscd, UID)
        return {"first": first, "taps": watched.taps, "lost": watched.lost}


async def kinds_of_cards(pcscd: Pcscd) -> dict[str, Any]:
    options = {"byte_order": "reversed", "case": "lower", "separator": ":", "prefix": "x"}
    async with Watched(**options) as watched:
        await tap(pcscd, bytes.fromhex("0A0B0C0D"))
        await tap(pcscd, bytes.fromhex("08112233"))  # random
        await tap(pcscd, None)  # not contactless
        return {"taps": watched.taps, "lost": watched.lost}


async def short_restart(pcscd: Pcscd) -> dict[str, Any]:
    """pcscd is killed and comes back while a card lies on the reader."""
    async with Watched(patience_s=20.0) as watched:
        with VirtualCard(UID):
            await watched.until(lambda: watched.taps)
            pcscd.kill()
        pcscd.start()
        with VirtualCard(UID):  # it lies there before the reader is watched again, or is a new tap
            await asyncio.to_thread(pcscd.wait_for_card, present=True)
            await asyncio.sleep(PAUSE_S)
        await asyncio.to_thread(pcscd.wait_for_card, present=False)
        before = len(watched.taps)
        for _ in range(5):  # the driver looks again after a second at most, on a busy machine later
            await tap(pcscd, bytes.fromhex("04010203"))
            if len(watched.taps) > before:
                break
        return {"taps": watched.taps, "new": watched.taps[before:], "lost": watched.lost}


async def long_absence(pcscd: Pcscd) -> dict[str, Any]:
    """pcscd stays away: the loss is told, opening fails with a reason, then works again."""
    async with Watched(patience_s=0.5) as watched:
        pcscd.stop()
        await watched.until(lambda: watched.lost)
        used_s = time.process_time()
        refused = ""
        try:
            await watched.reader.open()
        except DeviceGone as gone:
            refused = str(gone)
        used_s = time.process_time() - used_s
    pcscd.start()
    async with Watched() as again:
        await tap(pcscd, UID)
        return {"lost": watched.lost, "refused": refused, "taps": again.taps, "used_s": used_s}


async def quiet_wait(_: Pcscd) -> dict[str, Any]:
    """Waiting costs no processor time, and closing ends the wait."""
    async with Watched() as watched:
        used_s = time.process_time()
        await asyncio.sleep(2.0)
        used_s = time.process_time() - used_s
        thread = watched.reader._thread
    assert thread is not None
    return {"used_s": used_s, "ended": not thread.is_alive(), "lost": watched.lost}


async def no_such_reader(_: Pcscd) -> dict[str, Any]:
    try:
        await Watched(reader="ACR122").reader.open()
    except DeviceGone as gone:
        return {"refused": str(gone)}
    return {"refused": ""}


async def courtesies(pcscd: Pcscd) -> dict[str, Any]:
    """The reader passes for an ACR122U: its buzzer is turned off, a decision is shown."""
    cards = VirtualCard(UID), VirtualCard(bytes.fromhex("04010203"))
    async with Watched(reader="ACR122U", buzzer=False) as watched:
        for number, card in enumerate(cards):
            with card:
                await watched.until(lambda: len(watched.taps) > number)  # noqa: B023
                watched.reader.signal(accepted=not number)
                async with asyncio.timeout(20.0):
                    while not any(one.startswith("ff0040") for one in card.heard):
                        await asyncio.sleep(0.02)
            await asyncio.to_thread(pcscd.wait_for_card, present=False)
    return {"taps": watched.taps, "heard": [card.heard for card in cards], "lost": watched.lost}


async def forbidden_escape(pcscd: Pcscd) -> dict[str, Any]:
    """The reader passes for an ACR1252U, whose driver takes no escape commands: cards are read."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("hal.readers").addHandler(handler)
    async with Watched(reader="ACR1252", buzzer=False) as watched:
        await tap(pcscd, UID)
        watched.reader.signal(accepted=True)
        await tap(pcscd, UID)
        return {"taps": watched.taps, "said": said, "lost": watched.lost}


STORIES: Sequence[Callable[[Pcscd], Awaitable[dict[str, Any]]]] = (
    two_taps, kinds_of_cards, short_restart, long_absence, quiet_wait, no_such_reader,
    courtesies, forbidden_escape)
MODELS = {"courtesies": "ACS ACR122U PICC Interface",
          "forbidden_escape": "ACS ACR1252 Dual Reader PICC"}


def main(name: str) -> None:
    story = {story.__name__: story for story in STORIES}[name]

    async def told() -> dict[str, Any]:
        with Pcscd(MODELS.get(name, NAME)) as pcscd:
            return await story(pcscd)

    print(json.dumps(asyncio.run(told())))


if __name__ == "__main__":
    main(sys.argv[1])
