"""Child processes: what they answer, how they fail, and that none outlives the daemon."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cpctl.services.child import OOM_SCORE, ChildFailed, Children

CHILD = """
import os, sys, time
sys.path[:0] = {path!r}
from cpctl.services.child import ChildFailed, serve

def work(order, tell):
    if order.get("fails"):
        raise ChildFailed("refused", "by order")
    if order.get("breaks"):
        raise RuntimeError("a bug")
    if order.get("who"):
        with open("/proc/self/oom_score_adj") as file:
            return {{"nice": os.nice(0), "oom": int(file.read())}}
    tell({{"step": 1}})
    time.sleep(order.get("sleep_s", 0))
    return {{"sum": order["a"] + order["b"]}}

serve(work)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "some_child.py").write_text(CHILD.format(path=sys.path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "some_child"


def ran(module: str, order: dict[str, Any], **how: Any) -> dict[str, Any]:
    return asyncio.run(Children().run(module, order, **{"limit_s": 60.0} | how))


def test_a_child_tells_on_the_way_and_answers(module: str) -> None:
    heard: list[dict[str, Any]] = []

    assert ran(module, {"a": 1, "b": 2}, told=heard.append) == {"sum": 3}

    assert heard == [{"step": 1}]


def test_a_child_steps_back_for_the_daemon_and_goes_first_when_memory_is_short(
        module: str) -> None:
    told = ran(module, {"who": True})

    assert told["nice"] > os.nice(0)
    assert told["oom"] == OOM_SCORE


@pytest.mark.parametrize(("order", "kind"), [
    ({"fails": True}, "refused"), ({"breaks": True}, "died"), ({"a": 1}, "died")])
def test_a_child_that_fails_says_how(module: str, order: dict[str, Any], kind: str) -> None:
    with pytest.raises(ChildFailed) as failed:
        ran(module, order)

    assert failed.value.kind == kind


def test_a_child_that_takes_too_long_is_ended(module: str) -> None:
    with pytest.raises(ChildFailed) as failed:
        ran(module, {"a": 1, "b": 2, "sleep_s": 600}, limit_s=0.5)

    assert failed.value.kind == "timeout"


def test_no_child_outlives_the_daemon(module: str) -> None:
    child = subprocess.Popen([sys.executable, "-m", module], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(json.dumps({"a": 1, "b": 2, "sleep_s": 600}) + "\n")
    child.stdin.flush()
    assert "told" in child.stdout.readline()

    child.stdin.close()  # as the end of the daemon does, whatever it was

    assert child.wait(60) == 1
    child.stdout.close()
