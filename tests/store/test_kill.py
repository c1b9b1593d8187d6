"""SIGKILL between any two writes and at random, and a file that may not grow: nothing promised is
lost, nothing is doubled.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from support import kill_farm


def farm(*words: object) -> int:
    """Run the farm in a process of one thread; the number it prints."""
    root = Path(kill_farm.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, kill_farm.__file__, *map(str, words)], capture_output=True, text=True,
        check=False, timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(root), str(root / "tests")))})
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout)


@pytest.mark.requirement("16.TX.16", "16.OFF.1")
def test_a_kill_between_any_two_writes_loses_nothing_that_was_promised(tmp_path: Path) -> None:
    assert farm("every", tmp_path) > 100


def test_kills_at_random_moments_lose_nothing_from_life_to_life(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)

    assert farm("random", tmp_path, seed, 15) > 15


def test_a_kill_while_a_damaged_file_is_set_aside_is_mended_by_the_next_start(tmp_path: Path
                                                                              ) -> None:
    assert farm("aside", tmp_path) > 20


def test_a_file_that_may_not_grow_loses_nothing_it_accepted(tmp_path: Path) -> None:
    assert farm("space", tmp_path) > 100
