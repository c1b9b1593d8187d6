"""What the local API refuses, it refuses with a next step that helps."""

from pathlib import Path
from typing import Any

import pytest
from support.station_bench import StationBench, with_app

from cpctl.api import wire
from cpctl.api.methods import Methods

NOBODY: Any = None


@pytest.mark.parametrize(("method", "params", "word"), [
    ("settings.set", {"name": "smart.share", "value": "fifo"}, "configuration"),
    ("evse.unlock", {"evse": 1, "connector": 9}, "cpctl evse show"),
])
def test_a_refusal_brings_its_own_next_step(method: str, params: dict[str, Any], word: str,
                                            tmp_path: Path) -> None:
    async def story(bench: StationBench) -> None:
        with pytest.raises(wire.ApiError) as refusal:
            await Methods(bench.app).call(method, params, NOBODY)
        assert word in refusal.value.hint

    with_app(story, tmp_path)
