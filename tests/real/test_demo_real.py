"""What `make run` runs: the demonstration as a process, with the real daemon under it."""

import subprocess
import sys

import pytest


@pytest.mark.real
def test_the_demonstration_ends_with_books_that_agree() -> None:
    done = subprocess.run([sys.executable, "-m", "cpctl", "demo"], capture_output=True, text=True,
                          timeout=180, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "the books agree" in done.stdout
    assert "StopTransaction" in done.stdout
    assert "offered 10.0 A" in done.stdout  # under the charging profile
