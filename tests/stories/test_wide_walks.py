"""Random walks over the whole daemon with the messages of every profile; `support.wide_walker`."""

import pytest
from support import virtual_loop
from support.walker import no_traceback
from support.wide_walker import wide_walk


@pytest.mark.requirement("16.RPC.4", "16.SC.16", "16.RES.1", "16.LIST.1")
@pytest.mark.parametrize("exact", [True, False], ids=["exact", "any_fault"])
def test_no_walk_through_all_profiles_loses_what_was_accepted(seed: int, exact: bool) -> None:
    with no_traceback():
        for number in range(seed, seed + 3):
            virtual_loop.run(wide_walk(number, exact=exact, steps=60))
