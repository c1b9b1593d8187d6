"""Kills a process that keeps books, at every instant, and looks at what the next one finds.

Run as a program with one thread: `kill_farm.py every|random|aside|space FOLDER [SEED ROUNDS]`. Each
life is a fork; what it was promised comes back through a pipe, line by line, before it goes on.
Prints the number of lives; any finding ends it with a traceback.
"""

import asyncio
import json
import os
import random
import resource
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from support.books import Clock, closed, ended, open_journal, opened, sampled, started

from cpctl.core.facts import Fact
from cpctl.store.db import InlineWriter, ThreadWriter
from cpctl.store.entries import ABANDONED, DELIVERED, Lane
from cpctl.store.errors import JournalError
from cpctl.store.journal import Journal

Tell = Callable[..., None]


@dataclass
class Promised:
    """What the lives so far were promised by their books."""

    facts: dict[int, str] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)  # with an alias or given up: at once
    lazily: set[int] = field(default_factory=set)
    aliases: dict[int, int] = field(default_factory=dict)
    registers: dict[int, int] = field(default_factory=dict)

    def hear(self, line: list[object]) -> None:
        match line:
            case ["fact", int(no), str(kind)]:
                self.facts[no] = kind
            case ["alias", int(no), int(session), int(its)]:
                self.settled.add(no)
                self.aliases[session] = its
            case ["abandoned", int(no)]:
                self.settled.add(no)
            case ["lazily", int(no)]:
                self.lazily.add(no)
            case ["register", int(session), int(wh)]:
                self.registers[session] = wh

    async def check(self, folder: Path, clock: Clock, *, whole: bool = True) -> int:
        """Open the books and compare; the number of facts in them."""
        journal = await open_journal(folder / "journal.db", clock)
        rows = {row.no: row for row in await journal.entries(limit=1_000_000)}
        if whole:
            assert not journal.report.damaged, journal.report
            lost = {no: kind for no, kind in self.facts.items()
                    if no not in rows or rows[no].kind != kind}
            assert not lost, f"lost: {lost}"
            for no in self.settled:
                assert rows[no].state in (DELIVERED, ABANDONED), f"{no} comes again"
        waiting = {row.no for row in rows.values() if row.lane and row.state == "waiting"}
        told = {no for no, kind in self.facts.items() if kind.startswith("Transaction")}
        in_flight = told - self.settled - self.lazily - waiting
        assert len(in_flight) <= 1, "a fact that waits was lost"
        assert not whole or all(rows[no].state != "waiting" for no in in_flight)
        self.lazily |= in_flight  # done, and killed before it could be told
        assert len(self.lazily & waiting) <= 20 or not whole, "more than a batch comes again"
        for session, its in self.aliases.items():
            alias = journal.alias(session, "1.6")
            assert alias == its or not whole, f"alias of {session}: {alias}, promised {its}"
        for found in journal.open_sessions():
            saved = self.registers.get(found.session)
            assert saved is None or (found.last_register_wh or 0) >= saved
        await journal.close()
        return len(rows)


async def charge(journal: Journal, clock: Clock, tell: Tell, session: int, samples: int) -> None:
    """One session with all that is written for one."""

    async def record(*facts: Fact) -> tuple[int, ...]:
        nos = await journal.record(facts)
        for no, fact in zip(nos, facts, strict=True):
            tell("fact", no, type(fact).__name__)
        return nos

    await record(opened(clock.tick(), session))
    begin, = await record(started(clock.tick(), session))
    await journal.fail(begin)
    for number in range(1, samples + 1):
        await record(sampled(clock.tick(60), session, number, wh=1000 + number))
    await journal.save_register(session, 1100, clock.tick())
    tell("register", session, 1100)
    while (head := journal.head(Lane.MONEY)) is not None and head.no < begin:
        await journal.settle(head.no)
        tell("lazily", head.no)
    if head is not None:
        await journal.settle(begin, (session, "1.6", session * 7))
        tell("alias", begin, session, session * 7)
    if (head := journal.head(Lane.MONEY)) is not None:
        await journal.settle(head.no)
        tell("lazily", head.no)
    await journal.mark_offline()
    if (head := journal.head(Lane.MONEY)) is not None:
        await journal.abandon(head.no, "tried")
        tell("abandoned", head.no)
    await record(ended(clock.tick(), session, samples + 1), closed(clock.tick(), session))


async def short_life(folder: Path, tell: Tell, trace: Callable[[str], None]) -> None:
    """Open, charge twice with a restart between, close."""
    clock, path = Clock(), folder / "journal.db"
    for session in (1, 2):
        journal = await open_journal(path, clock, InlineWriter(trace))
        await charge(journal, clock, tell, session, samples=3)
        await journal.synchronised(clock())
        await journal._tend()
        await journal.close()


async def long_life(folder: Path, tell: Tell, clock: Clock) -> None:
    """Charge until somebody ends it, on the real thread."""
    journal = await open_journal(folder / "journal.db", clock, ThreadWriter())
    while True:
        await charge(journal, clock, tell, journal.next_session, samples=6)


def live(life: Callable[[Tell], Awaitable[None]], promised: Promised,
         kill_after_s: float | None = None) -> bool:
    """Fork, let `life` run until it ends or dies; whether it came to its own end."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(out)
            asyncio.run(life(lambda *line: os.write(into, json.dumps(line).encode() + b"\n")))
            code = 0
        finally:
            os._exit(code)
    os.close(into)
    if kill_after_s is not None:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, kill_after_s)
    heard = b""
    while part := os.read(out, 1 << 16):  # between two reads the alarm gets its turn
        heard += part
    os.close(out)
    for line in heard.splitlines():
        promised.hear(json.loads(line))
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the life ended with an error"
    return not os.WIFSIGNALED(status)


class Executioner:
    """Counts instants (statements, renames, syncs) and kills at the one it is told."""

    def __init__(self, instant: int, skip: str = "") -> None:
        self.left, self.skip = instant, skip

    def __call__(self, sql: object = None) -> None:
        if self.skip and str(sql).startswith(self.skip):
            return
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch_files(self) -> None:
        for name in ("replace", "fsync"):
            real = getattr(os, name)

            def watched(*args: object, real: Callable[..., object] = real) -> object:
                self()
                return real(*args)

            setattr(os, name, watched)


def every(base: Path) -> int:
    """Kill at the first instant of a life, at the second, … until it comes to its end."""
    instant = 0
    done = False
    while not done:
        instant += 1
        folder = base / "books"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        promised = Promised()

        async def life(tell: Tell, instant: int = instant, folder: Path = folder) -> None:
            end = Executioner(instant)
            end.watch_files()
            await short_life(folder, tell, end)

        done = live(life, promised)
        asyncio.run(promised.check(folder, Clock()))
    return instant


def at_random(base: Path, seed: int, rounds: int) -> int:
    """Kill at random moments, the books going on from life to life."""
    rng, promised, clock = random.Random(seed), Promised(), Clock()
    facts = 0
    for _ in range(rounds):
        live(lambda tell: long_life(base, tell, clock), promised, rng.uniform(0.02, 0.15))
        clock.tick(100_000)
        facts = asyncio.run(promised.check(base, clock))
        # what came again may come again: its marks were in memory
    assert facts >= len(promised.facts) > 0
    return facts


def aside(base: Path) -> int:
    """Kill at every instant of setting a damaged file aside."""
    promised = Promised()
    model = base / "model"
    model.mkdir(parents=True)

    async def fill(tell: Tell) -> None:
        clock = Clock()
        journal = await open_journal(model / "journal.db", clock)
        for session in range(1, 5):
            await charge(journal, clock, tell, session, samples=4)
        await journal.close()

    live(fill, promised)
    broken = bytearray((model / "journal.db").read_bytes())
    broken[:100] = bytes(100)
    instant, done = 0, False
    while not done:
        instant += 1
        folder = base / "books"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "journal.db").write_bytes(broken)

        async def life(tell: Tell, instant: int = instant, folder: Path = folder) -> None:
            end = Executioner(instant, skip="INSERT")  # all in one transaction
            end.watch_files()
            await open_journal(folder / "journal.db", Clock(), InlineWriter(end))

        done = live(life, promised)
        asyncio.run(promised.check(folder, Clock(), whole=False))
        kept = [path.read_bytes() for path in folder.glob("journal.db.damaged-?")]
        assert kept == [bytes(broken)], "the damaged file was not kept as it was"
        assert not list(folder.glob("*.new*")) and not list(folder.glob("*.half"))
    return instant


def short_of_space(base: Path) -> int:
    """The kernel lets files grow no more (RLIMIT_FSIZE); what was accepted is all there."""
    async def life(tell: Tell) -> None:
        clock, promised = Clock(), []
        journal = await open_journal(base / "journal.db", clock, InlineWriter())
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
        refused = 0
        for number in range(1, 400):
            try:
                promised += await journal.record([sampled(clock.tick(), number)] * 5)
            except JournalError:
                refused += 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        promised += await journal.record([started(clock.tick(), 999)])
        for no in promised:
            tell("fact", no, "x")
        assert refused > 10

    async def check(promised: Promised) -> int:
        journal = await open_journal(base / "journal.db", Clock())
        assert not journal.report.damaged
        assert {row.no for row in await journal.entries(limit=9999)} == set(promised.facts)
        return len(promised.facts)

    promised = Promised()
    assert live(life, promised)
    return asyncio.run(check(promised))


def main() -> None:
    what, base = sys.argv[1], Path(sys.argv[2])
    if what == "every":
        print(every(base))
    elif what == "aside":
        print(aside(base))
    elif what == "space":
        print(short_of_space(base))
    else:
        print(at_random(base, int(sys.argv[3]), int(sys.argv[4])))


if __name__ == "__main__":
    main()
