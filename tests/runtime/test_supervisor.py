"""The supervisor: a bug ends the daemon in good order; systemd hears of whole control cycles."""

import asyncio
import socket
import time

import pytest
from support import virtual_loop

from cpctl.runtime.supervisor import Notifier, Supervisor, feed_watchdog


def test_power_goes_off_before_any_other_task_is_touched() -> None:
    order: list[str] = []

    async def other() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            order.append("other ended")

    async def bug() -> None:
        raise ZeroDivisionError

    async def whole() -> None:
        supervisor = Supervisor(lambda name: order.append(f"{name} died"))
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                supervisor.enter(group)
                supervisor.start(other(), "other")
                await asyncio.sleep(0)
                supervisor.start(bug(), "loop")
        assert supervisor.died_of is not None and "ZeroDivisionError" in supervisor.died_of

    virtual_loop.run(whole())
    assert order == ["loop died", "other ended"]


def test_a_reload_bears_the_time_that_the_manager_wants(tmp_path) -> None:
    """sd_notify(3): MONOTONIC_USEC, in microseconds of CLOCK_MONOTONIC."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        notifier = Notifier(address)
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        notifier.reloading()
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        notifier.close()

        word, stamp = systemd.recv(4096).decode().splitlines()

    assert word == "RELOADING=1" and stamp.startswith("MONOTONIC_USEC=")
    assert before <= int(stamp.partition("=")[2]) <= after


def test_a_task_started_outside_the_group_is_refused() -> None:
    async def work() -> None:
        raise AssertionError("never runs")

    with pytest.raises(RuntimeError, match="outside the group"):
        Supervisor(lambda name: None).start(work(), "work")


def test_the_watchdog_is_fed_only_after_a_whole_cycle() -> None:
    said: list[str] = []

    class Systemd(Notifier):
        def say(self, *lines: str) -> None:
            said.extend(lines)

    async def whole() -> None:
        waiting = []
        task = asyncio.ensure_future(feed_watchdog(Systemd(""), 5.0, waiting.append))
        await asyncio.sleep(60)
        assert said == []
        waiting.pop()()
        await asyncio.sleep(0.01)
        assert said == ["WATCHDOG=1"]
        await asyncio.sleep(60)
        assert said == ["WATCHDOG=1"]  # asked again, not answered
        task.cancel()

    virtual_loop.run(whole())


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_by_datagram(tmp_path, abstract: bool) -> None:
    address = f"@cpctl-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0" + address[1:] if abstract else address)
        notifier = Notifier(address)

        notifier.say("READY=1", "STATUS=running")

        assert systemd.recv(100) == b"READY=1\nSTATUS=running"
        notifier.close()
        notifier.close()


def test_without_systemd_nothing_is_said(tmp_path) -> None:
    Notifier("").say("READY=1")
    notifier = Notifier(str(tmp_path / "nobody"))
    notifier.say("READY=1")
    notifier.close()


@pytest.mark.parametrize(("usec", "pid", "period_s"), [
    ("5000000", "", 5.0), ("5000000", "1", None), ("", "", None), ("0", "", None)])
def test_the_period_of_the_watchdog_is_systemds(monkeypatch, usec, pid, period_s) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid)

    assert Notifier.watchdog_s() == period_s
