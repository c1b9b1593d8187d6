"""How the official test cases are driven: a daemon on simulated hardware, a central system behind
a real WebSocket, time that lapses.

`@case("TC_…", …)` makes a test of a coroutine function that takes an `Octt`; keywords are those of
`support.world.world`. What a case checks on the wire is asked of `central` and `calls`; that each
frame of the station fits its schema is checked for all.
"""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support import virtual_loop
from support.lapse_loop import LapseLoop
from support.trace import assert_every_frame_fits_its_schema
from support.world import World, world

Octt = World


def case(*ids: str, **options: Any) -> Callable[[Callable[[World], Awaitable[None]]], Any]:
    """Marks the test with the ids and runs it over a real WebSocket."""

    def made(story: Callable[[World], Awaitable[None]]) -> Any:
        @pytest.mark.octt(*ids)
        def run() -> None:
            async def told() -> None:
                async with world(real_sockets=True, **options) as station:
                    await story(station)
                    assert_every_frame_fits_its_schema(station)

            virtual_loop.run(told(), loop=LapseLoop())

        functools.update_wrapper(run, story)
        del run.__wrapped__  # pytest would take the station for a fixture
        return run

    return made
