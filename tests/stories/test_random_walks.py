"""A random walker over the whole daemon in virtual time; see `support.walker`."""

import pytest
from support import virtual_loop
from support.walker import no_traceback, walk


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "any_fault"])
def test_no_walk_closes_a_coil_wrongly_or_spoils_the_books(seed: int, exact: bool) -> None:
    with no_traceback():
        for number in range(seed, seed + 10):
            virtual_loop.run(walk(number, exact=exact))
