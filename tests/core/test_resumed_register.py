"""A transaction resumed after a crash: its register is read anew before it can end."""

import pytest
from support.core_world import World

from cpctl.core import facts as fa
from cpctl.core.events import OpenSession
from cpctl.core.values import AfterPowerLoss, BootCause, EvseLayout, IdToken, StationLayout


@pytest.fixture
def world() -> World:
    """A station that resumes, killed in mid-charge: the books know 1200 Wh. The car has left."""
    world = World(layout=StationLayout(
        (EvseLayout(1),), after_power_loss=AfterPowerLoss.RESUME))
    token = IdToken("04A1")
    started = fa.TransactionStarted(world.now, 7, 1, 1, 0, "Authorized", token, 1000)
    left = OpenSession(session=7, evse=1, connector=1, token=token, started=started,
                       last_register_wh=1200, last_at=world.now, next_report=3)
    return world.boot(BootCause.CRASH, open_sessions=(left,), read=False)


@pytest.mark.requirement("16.TX.16")
def test_what_flowed_until_the_crash_is_counted_though_the_car_has_left(world: World) -> None:
    assert world.ended() == []

    world.advance(0.2)
    world.meter(1211)

    end, = world.ended()
    assert end.register_wh == 1211


@pytest.mark.requirement("16.TX.16")
def test_without_any_reading_the_register_of_the_books_stands(world: World) -> None:
    world.advance(10)

    end, = world.ended()
    assert end.register_wh == 1200
