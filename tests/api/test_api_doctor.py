"""What `doctor` tells of the link: how the last try went, and the next step of that."""

from pathlib import Path
from typing import Any

from support.station_bench import StationBench, with_app

from cpctl.api.methods import Methods

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
