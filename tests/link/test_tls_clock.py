"""A clock that is behind must not lock the station out, and lets nobody in for good."""

from datetime import UTC, datetime, timedelta

import pytest
from support.pki import EXPIRED, NOT_YET_VALID, Credential
from support.tls_world import Secured, root, run, secured
from support.world import World

SOON = (30.0, 60.0)


def in_days(days: float) -> datetime:
    """By the clock of the machine, which is the one TLS goes by."""
    return datetime.now(UTC) + timedelta(days=days)


def without_a_clock(told_days: float):
    """The station does not know the time; the central system says it is in so many days."""
    def prepare(world: World) -> None:
        world.time.disciplined = False
        started, loop = in_days(told_days), world.loop
        begin_s = loop.time()
        world.central.now = lambda: started + timedelta(seconds=loop.time() - begin_s)

    return prepare


def behind(server: Credential, told_days: float, **how):
    return secured(server, prepare=without_a_clock(told_days), **how)


@pytest.mark.requirement("16.SEC.7")
def test_a_clock_behind_lets_the_station_in_when_the_time_told_fits():
    async def story():
        async with behind(root().server(valid=SOON), told_days=40) as station:
            await station.back()

            assert station.world.status(1) == "Available"
            ((kind, text), *others) = await station.log()
            assert kind == "InvalidCentralSystemCertificate"
            assert "clock is not set" in text
            assert [one for one, _ in others] == ["SettingSystemTime"]

    run(story)


@pytest.mark.requirement("16.SEC.7")
def test_with_the_time_of_the_central_system_it_is_trusted_later_without_a_word():
    async def story():
        async with behind(root().server(valid=SOON), told_days=40) as station:
            await station.back()
            before = await station.events()
            station.world.network.cut()
            await station.world.advance(2)
            await station.back()

            assert await station.events() == before

    run(story)


@pytest.mark.requirement("16.SEC.7")
@pytest.mark.parametrize(("valid", "told_days"), [(SOON, 90), (EXPIRED, 0)])
def test_the_connection_ends_when_the_time_told_does_not_fit(valid, told_days):
    async def story():
        async with behind(root().server(valid=valid), told_days) as station:
            await station.world.until(lambda: station.world.central.connections > 0, 60)
            await station.world.advance(600)

            assert not station.online
            assert station.world.central.connections == 1
            assert await station.events() == [
                "InvalidCentralSystemCertificate", "SettingSystemTime",
                "CentralSystemFailedToAuthenticate"]
            assert station.world.central.books.statuses == []

    run(story)


@pytest.mark.requirement("16.SEC.7")
@pytest.mark.parametrize("how", ["the host", "the root"])
def test_chain_and_host_are_verified_though_the_time_is_not(how):
    from support.pki import Authority

    server = (root().server("csms.example", valid=NOT_YET_VALID) if how == "the host"
              else Authority("Somebody").server(valid=NOT_YET_VALID))

    async def story():
        async with behind(server, told_days=40) as station:
            await station.world.advance(300)

            assert station.world.central.connections == 0
            assert await station.events() == ["InvalidCentralSystemCertificate"]

    run(story)


@pytest.mark.requirement("16.SEC.7")
def test_it_can_be_switched_off():
    async def story():
        async with behind(root().server(valid=SOON), told_days=40,
                          more="[options]\nsecurity.tls_without_clock = false") as station:
            await station.world.advance(300)

            assert station.world.central.connections == 0

    run(story)


@pytest.mark.requirement("16.SEC.7")
def test_a_clock_that_is_kept_right_by_the_system_decides_at_once():
    async def story():
        async with secured(root().server(valid=SOON)) as station:
            await station.world.advance(300)

            assert station.world.central.connections == 0

    run(story)


@pytest.mark.requirement("16.SEC.7")
def test_nothing_is_told_of_charging_before_the_time_fits():
    async def story():
        async with behind(root().server(valid=SOON), told_days=90) as station:
            await station.world.plug()
            await station.world.tap()
            await station.world.advance(300)

            assert _actions(station) == {"BootNotification"}

    run(story)


def _actions(station: Secured) -> set[str]:
    return {frame.parts[2] for frame in station.world.central.frames
            if not frame.sent and frame.text.startswith("[2,")}
