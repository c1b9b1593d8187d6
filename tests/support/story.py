"""Words for stories: a coroutine as a test in virtual time, keys of 1.6, what was told."""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

from support import virtual_loop
from support.world import World

P = ParamSpec("P")

#: An EVSE with a fixed cable: the same simulated parts, but no plug lock.
FIXED_CABLE = "\n".join((
    'pilot = { driver = "sim" }', 'contactor = { driver = "sim" }', 'meter = { driver = "sim" }',
    'inputs = { rcd = { driver = "sim" }, emergency_stop = { driver = "sim" } }'))


def story(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """The coroutine as a test that runs in a virtual loop of its own."""

    @functools.wraps(test)
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        virtual_loop.run(test(*args, **kwargs))

    return told


async def configure(w: World, **keys: object) -> None:
    """ChangeConfiguration for each key; it must be accepted. Booleans become true and false."""
    for key, value in keys.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        answer = await w.central.call("ChangeConfiguration", {"key": key, "value": text})
        assert answer == {"status": "Accepted"}, (key, value, answer)


async def read_key(w: World, key: str) -> str:
    """The value of one configuration key as the central system reads it."""
    answer = await w.central.call("GetConfiguration", {"key": [key]})
    entry, = answer["configurationKey"]
    return str(entry["value"])


def statuses(w: World, connector: int = 1, since: int = 0) -> list[str]:
    """All statuses told of a connector, in order, from the `since`-th notification on."""
    return [one["status"] for one in w.central.books.statuses[since:]
            if one["connectorId"] == connector]


def last_status(w: World, connector: int = 1) -> dict[str, Any]:
    """The newest StatusNotification of a connector, whole."""
    return next(one for one in reversed(w.central.books.statuses)
                if one["connectorId"] == connector)


def sampled(w: World, index: int = -1) -> list[dict[str, Any]]:
    """The sampledValue list of one MeterValues call of the station."""
    values: list[dict[str, Any]] = w.calls("MeterValues")[index]["meterValue"][0]["sampledValue"]
    return values


async def next_life(w: World) -> None:
    """The station starts again after a life that ended by itself (reset)."""
    await w.until(lambda: w._task is not None and w._task.done(), 60)
    w.network.cut()
    await w.start()
