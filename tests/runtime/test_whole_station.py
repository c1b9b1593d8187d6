"""The whole daemon in virtual time: loop, core, executor, gate, devices, books."""

from support.station_bench import StationBench, with_app


def test_a_card_starts_and_stops_a_charge(tmp_path) -> None:
    async def story(bench: StationBench) -> None:
        await bench.charge()
        assert bench.evse().transaction

    with_app(story, tmp_path)
