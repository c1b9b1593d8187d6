"""A blocking call in a thread of its own: what it returns, raises, and what comes too late."""

import asyncio
import threading

import pytest
from support.aio import run

from hal.aside import aside
from hal.errors import DeviceGone
from hal.lookout import Lookout


def test_it_returns_what_the_call_returns_and_raises_what_it_raises() -> None:
    def gone() -> int:
        raise DeviceGone("it is gone")

    assert run(aside(lambda: 7, "seven")) == 7
    with pytest.raises(DeviceGone, match="it is gone"):
        run(aside(gone, "gone"))


@pytest.fixture
def died(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when a thread dies of a bug."""
    event = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda arguments: event.set())
    return event


def test_a_bug_in_the_call_leaves_nobody_waiting(died: threading.Event) -> None:
    def bug() -> int:
        raise KeyError("oops")

    with pytest.raises(RuntimeError, match="work died of a bug"):
        run(aside(bug, "work"))
    assert died.wait(20.0)


def test_what_comes_when_nobody_waits_is_handed_over() -> None:
    go = threading.Event()
    late: list[str] = []

    async def story() -> None:
        task = asyncio.ensure_future(aside(lambda: "port" if go.wait(20) else "", "open",
                                           late=late.append))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        go.set()
        while not late:
            await asyncio.sleep(0.001)

    run(story())
    assert late == ["port"]


def test_a_bug_in_a_look_leaves_nobody_waiting(died: threading.Event) -> None:
    def bug() -> int:
        raise KeyError("oops")
    lookout = Lookout("pilot 1", bug, pause_s=lambda: None, failed=lambda error: None)

    async def story() -> None:
        lookout.start()
        for _ in range(2):
            with pytest.raises(DeviceGone, match="pilot 1"):
                await lookout.now()
        await lookout.close()

    run(story())
    assert died.wait(20.0)


def test_a_look_that_hangs_is_not_joined_by_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hal.lookout.JOIN_S", 0.01)
    go = threading.Event()
    lookout = Lookout("input temperature 1", lambda: go.wait(20), pause_s=lambda: None,
                      failed=lambda error: None)

    async def story() -> None:
        lookout.start()
        await lookout.close()
        with pytest.raises(DeviceGone, match="still hangs"):
            lookout.start()
        go.set()
        assert lookout._thread is not None
        lookout._thread.join(20)
        lookout.start()
        assert await lookout.now()
        await lookout.close()

    run(story())
