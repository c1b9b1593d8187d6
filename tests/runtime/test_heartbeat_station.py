"""A whole station with a hold-in relay on its heartbeat, in virtual time."""

from pathlib import Path

from support.station_bench import StationBench, with_app

from hal.errors import DeviceGone

FITTED = '[heartbeat]\ndriver = "sim"\n'


def test_a_station_with_a_hold_in_relay_charges_and_lets_it_rest_afterwards(
        tmp_path: Path) -> None:
    async def story(bench: StationBench) -> None:
        relay = bench.app.hardware.heartbeat
        await bench.pass_s(60)
        at_idle = relay.beats
        await bench.charge()
        before = relay.beats
        await bench.pass_s(10)
        while_charging = relay.beats - before
        bench.board.unplug(1)
        await bench.until(lambda: bench.evse().session is None)
        await bench.pass_s(5)
        after = relay.beats
        await bench.pass_s(60)

        assert at_idle == 0
        assert while_charging in range(45, 56)
        assert relay.beats == after
        assert not relay.level

    with_app(story, tmp_path, after=FITTED)


def test_a_relay_that_cannot_be_fed_ends_the_charge_with_a_fault(tmp_path: Path) -> None:
    async def story(bench: StationBench) -> None:
        relay = bench.app.hardware.heartbeat
        await bench.charge()

        def broken() -> None:
            raise DeviceGone("heartbeat: the line is gone")

        relay.beat = relay.rest = broken
        await bench.until(lambda: not bench.coil(), limit_s=1.0)
        await bench.pass_s(1)
        told = [fault.code.value for fault in bench.evse().faults]
        del relay.beat, relay.rest
        await bench.pass_s(10)

        assert told == ["CONTACTOR_LOST"]
        assert bench.evse().faults == ()

    with_app(story, tmp_path, after=FITTED)
