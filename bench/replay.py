"""Delivery of what queued up offline, one message in flight, beside a raw WebSocket ping-pong.

Both run against the same process on the same machine in the same minute; the ping-pong sends a
text as long as a queued message. Instructions per message are the difference between two daemons
on equally long queues, one stopped early and one late, so that the start does not count, nor that
the books are looked through when they are opened.
"""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.rig import (
    PYTHON,
    CannotMeasure,
    Central,
    callgrind,
    central,
    instructions,
    run,
    station,
)
from bench.table import Row, row

if TYPE_CHECKING:
    from cpctl.core.facts import Fact
    from cpctl.core.now import Now

MESSAGES = 2000
QUEUED = 1300
EARLY, LATE = 200, 1200
PER_SESSION = 10
TEXT = "x" * 420


def replay() -> list[Row]:
    pace, raw = _pace()
    ratio = pace / raw
    per_message = (_spent(LATE) - _spent(EARLY)) / (LATE - EARLY)
    return [
        row(f"replay of {MESSAGES} messages, x raw ping-pong", ratio, 0.50, "x", at_least=True,
            beside=f"{pace:.0f} against {raw:.0f} messages/s"),
        row("  instructions per message", per_message / 1e3, 420, "k", digits=0),
    ]  # fmt: skip


def _pace() -> tuple[float, float]:
    """Messages per second of the daemon and of the ping-pong."""
    with central() as csms, station(csms.url) as post:
        _queue(post.config, MESSAGES)
        raw = _ping_pong(csms)
        post.start()
        post.client().close()
        csms.do("wait", action="StopTransaction", count=MESSAGES // PER_SESSION)
        at = [
            when for when, action in csms.do("arrivals")
            if action in ("StartTransaction", "MeterValues", "StopTransaction")
        ]  # fmt: skip
        raw = (raw + _ping_pong(csms)) / 2
    return (len(at) - 1) * 1e9 / (at[-1] - at[0]), raw


def _ping_pong(csms: Central) -> float:
    done = run(PYTHON, "-m", "bench.replay", "ping", csms.echo_url)
    if done.returncode != 0:
        raise CannotMeasure(done.stderr.strip()[-200:])
    return float(done.stdout)


def _spent(messages: int) -> int:
    """Instructions of a daemon that delivers so many of `QUEUED` messages."""
    with central() as csms, station(csms.url) as post:
        _queue(post.config, QUEUED)
        prefix, report = callgrind(post.folder)
        pid = post.start(*prefix)
        csms.do("kill", pid=pid, signal=signal.SIGUSR1, action="StopTransaction",
                count=messages // PER_SESSION)  # fmt: skip
        assert post.process is not None
        post.process.wait(60)
        return instructions(report)


def _queue(config: Path, messages: int) -> None:
    done = run(PYTHON, "-m", "bench.replay", "queue", str(config), str(messages))
    if done.returncode != 0:
        raise CannotMeasure(done.stderr.strip()[-300:])


# --- the processes that prepare and compare ------------------------------------------------------


async def queue(path: str, messages: int) -> None:
    """Write sessions into the journal as if they had been charged offline."""
    from cpctl.config import load
    from cpctl.runtime.clock import Clock, SystemTime
    from cpctl.store.db import ThreadWriter
    from cpctl.store.journal import Journal

    folder = load(Path(path)).store.path
    folder.mkdir(parents=True, exist_ok=True)
    clock = Clock(SystemTime())
    writer = ThreadWriter()
    journal = await Journal.open(folder / "journal.db", writer, clock.now)
    for session in range(1, messages // PER_SESSION + 1):
        await journal.record(_session(session, clock.now()))
    await journal.close()
    await writer.close()


def _session(session: int, now: "Now") -> "list[Fact]":
    """The facts of one session: start, eight samples of four values, stop."""
    from cpctl.core import facts as facts_of
    from cpctl.core.values import IdToken, Measured, Quantity, ReadingContext, StopReason

    token = IdToken(f"{session:08X}")
    facts: list[Fact] = [
        facts_of.SessionOpened(now, session, 1, 1),
        facts_of.TransactionStarted(now, session, 1, 1, 0, "Authorized", token, 1000, offline=True),
    ]
    for number in range(1, PER_SESSION - 1):
        wh = 1000 + 100 * number
        told = (
            Measured(Quantity.ENERGY_IMPORT_REGISTER, float(wh)),
            Measured(Quantity.POWER_IMPORT, 11_040.0),
            Measured(Quantity.CURRENT_IMPORT, 16.0, "L1"),
            Measured(Quantity.VOLTAGE, 230.1, "L1"),
        )
        facts.append(facts_of.TransactionSampled(
            now, session, 1, 1, ReadingContext.PERIODIC, wh, number, told, offline=True))
    facts.append(facts_of.TransactionEnded(
        now, session, 1, 1, PER_SESSION, "EVDeparted", StopReason.EV_DISCONNECTED, 2000,
        offline=True))
    return [*facts, facts_of.SessionClosed(now, session, 1)]


async def ping(url: str) -> float:
    """Messages per second, one in flight."""
    from websockets.asyncio.client import connect

    async with connect(url, compression=None, ping_interval=None) as socket:
        for _ in range(200):
            await socket.send(TEXT)
            await socket.recv()
        began = time.perf_counter()
        for _ in range(MESSAGES):
            await socket.send(TEXT)
            await socket.recv()
        return MESSAGES / (time.perf_counter() - began)


def main(words: list[str]) -> Any:
    if words[0] == "ping":
        return asyncio.run(ping(words[1]))
    return json.dumps(asyncio.run(queue(words[1], int(words[2]))))


if __name__ == "__main__":
    print(main(sys.argv[1:]))
