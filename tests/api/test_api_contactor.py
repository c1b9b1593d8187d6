"""`hw.contactor_test` in a whole daemon, and what it takes to declare a contactor mended."""

from pathlib import Path
from typing import Any

import pytest
from support.station_bench import StationBench, with_app

from cpctl.api import wire
from cpctl.api.methods import Methods
from cpctl.api.wire import ApiError


async def call(bench: StationBench, method: str, **params: Any) -> Any:
    """The answer, or the ApiError it came to."""
    methods = Methods(bench.app)
    try:
        return await methods.call(method, params, None)  # type: ignore[arg-type]
    except ApiError as problem:
        return problem


async def out_of_service(bench: StationBench, *, operative: bool = False) -> None:
    await call(bench, "evse.availability", evse=1, operative=operative)
    await bench.pass_s(1)


def test_contactor_is_tested_out_of_service_with_nothing_plugged_in(tmp_path: Path) -> None:
    seen: list[Any] = []

    async def story(bench: StationBench) -> None:
        bench.app.loop.witness(lambda *_: seen.append(bench.coil()))
        seen.append(await call(bench, "hw.contactor_test", evse=1))
        await out_of_service(bench)
        bench.see()
        seen.append(await call(bench, "hw.contactor_test", evse=1))
        assert not bench.coil()

    with_app(story, tmp_path)

    refused, passed = [one for one in seen if not isinstance(one, bool)]
    assert isinstance(refused, ApiError)
    assert (refused.code, refused.more["reason"]) == (wire.REFUSED, "evse_operative")
    assert refused.hint == "cpctl evse availability 1 inoperative"
    assert (passed["evse"], passed["passed"], passed["feedback"]) == (1, True, True)
    assert 0 <= passed["closed_ms"] < 500 and 0 <= passed["opened_ms"] < 500


def test_plug_that_is_in_is_not_fed(tmp_path: Path) -> None:
    async def story(bench: StationBench) -> None:
        await out_of_service(bench)
        bench.board.plug(1)
        await bench.pass_s(1)
        problem = await call(bench, "hw.contactor_test", evse=1)
        assert isinstance(problem, ApiError) and problem.more["reason"] == "plugged"
        assert not bench.coil()

    with_app(story, tmp_path)


def test_plug_that_comes_in_the_middle_opens_at_once(tmp_path: Path) -> None:
    import asyncio

    async def story(bench: StationBench) -> None:
        await out_of_service(bench)
        testing = asyncio.ensure_future(call(bench, "hw.contactor_test", evse=1))
        await bench.until(bench.coil)
        bench.board.plug(1)
        await bench.until(lambda: not bench.coil(), 0.1)
        problem = await testing
        assert isinstance(problem, ApiError) and problem.code == wire.FAILED
        assert problem.more["reason"] in ("plugged", "test_given_up")
        await bench.pass_s(3)
        assert not bench.coil()

    with_app(story, tmp_path)


def test_weld_is_declared_mended_only_after_a_passed_test_and_charging_goes_on_then(
        tmp_path: Path) -> None:
    async def story(bench: StationBench) -> None:
        await bench.charge()
        bench.board.fault("weld", 1)
        bench.board.unplug(1)
        await bench.pass_s(5)
        await out_of_service(bench)
        welded = await call(bench, "hw.contactor_test", evse=1)
        bench.board.clear("weld", 1)
        await bench.pass_s(3)
        untested = await call(bench, "evse.clear_fault", evse=1)
        tested = await call(bench, "hw.contactor_test", evse=1)
        cleared = await call(bench, "evse.clear_fault", evse=1)
        await out_of_service(bench, operative=True)

        assert isinstance(welded, ApiError) and welded.more["reason"] == "contact_closed"
        assert isinstance(untested, ApiError) and untested.more["reason"] == "contactor_not_tested"
        assert untested.hint == "cpctl hw contactor-test 1"
        assert tested["passed"] and cleared["outcome"] == "accepted"
        await bench.charge(token="04B2")
        assert bench.coil()

    with_app(story, tmp_path)


def test_contactor_that_does_not_follow_is_told(tmp_path: Path) -> None:
    async def story(bench: StationBench) -> None:
        await out_of_service(bench)
        bench.board.fault("feedback_stuck", 1)
        problem = await call(bench, "hw.contactor_test", evse=1)
        assert isinstance(problem, ApiError) and problem.more["reason"] == "did_not_close"
        assert not bench.coil()
        untested = await call(bench, "evse.clear_fault", evse=1)
        assert isinstance(untested, ApiError) and untested.more["reason"] == "contactor_not_tested"

    with_app(story, tmp_path)


@pytest.mark.parametrize("params", [{}, {"evse": 9}, {"evse": "one"}, {"evse": 1, "now": True}])
def test_wrong_parameters_are_refused(tmp_path: Path, params: dict[str, Any]) -> None:
    async def story(bench: StationBench) -> None:
        assert isinstance(await call(bench, "hw.contactor_test", **params), ApiError)

    with_app(story, tmp_path)


