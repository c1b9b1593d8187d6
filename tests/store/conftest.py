"""The tests of the store write much and sync often: they do it in memory where there is some."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SHM = Path("/dev/shm")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """An empty folder, on a file system in memory if the machine has one."""
    in_memory = SHM if os.access(SHM, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="cpctl-store-", dir=in_memory))
    yield folder
    shutil.rmtree(folder)
