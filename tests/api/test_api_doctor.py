"""What `doctor` tells: of the link how the last try went, and what is not for the field."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from support.station_bench import StationBench, with_app

from cpctl.api.methods import Methods
from cpctl.config import DeviceSpec
from hal import registry
from hal.contracts import Parts

NOBODY: Any = None


async def checks(app: Any) -> dict[str, Any]:
    told = await Methods(app).call("doctor", {}, NOBODY)
    return {one["check"]: one for one in told["checks"]}


def test_a_central_system_out_of_reach_is_told_with_the_reason(tmp_path: Path) -> None:
    async def story(bench: StationBench) -> None:
        await bench.pass_s(5)

        told = await checks(bench.app)

        assert told["central system"]["finding"].startswith("not connected: ws://")
        assert told["registration"]["next"] == "it comes with the connection"

    with_app(story, tmp_path)


def test_a_pilot_that_is_not_for_the_field_is_told(tmp_path: Path) -> None:
    options = {"high_channel": 0, "low_channel": 1, "high_gain": 10.0, "low_gain": 10.0}
    pilot = registry.build("pilot", "bench", "pilot 1", 1, options, Parts())

    async def story(bench: StationBench) -> None:
        assert "pilot board 1" not in await checks(bench.app)

        bench.app.devices.fitted.pilots[1] = pilot
        told = (await checks(bench.app))["pilot board 1"]

        assert not told["good"]
        assert "bench" in told["finding"] and "fit a pilot board" in told["next"]

    with_app(story, tmp_path)


def test_a_simulated_pilot_beside_a_real_contactor_is_told(tmp_path: Path) -> None:
    async def story(bench: StationBench) -> None:
        app = bench.app
        assert "pilot 1" not in {name for name, one in (await checks(app)).items()
                                 if not one["good"]}
        real = app.config.evses[0]._replace(
            contactor=DeviceSpec("contactor", "gpio", {"pin": "GPIO17"}))
        app.config = replace(app.config, evses=(real,))

        told = await Methods(app).call("doctor", {}, NOBODY)

        assert [one["check"] for one in told["checks"]
                if "beside a real contactor" in one["finding"]] == ["pilot 1"]
        contact = (await checks(app))["auxiliary contact 1"]
        assert contact["good"] and "at the meter alone" in contact["finding"]

    with_app(story, tmp_path)
