"""What holds for every test: log lines format, nobody leaves the machine, nobody sleeps."""

import ipaddress
import logging
import random
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = str(Path(__file__).parent)


class _Formats(logging.Handler):
    """Formats each record at once; a record that does not format fails its test."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.broken: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        try:
            record.getMessage()
        except (TypeError, ValueError) as error:
            self.broken.append(f"{record.name}:{record.lineno} {record.msg!r}: {error}")


@pytest.fixture(autouse=True)
def log_lines_format() -> Iterator[None]:
    handler = _Formats()
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield
    root.removeHandler(handler)
    root.setLevel(before)
    assert handler.broken == []


@pytest.fixture(autouse=True)
def nobody_leaves_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            assert ipaddress.ip_address(address[0]).is_loopback, f"a test connects to {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def nobody_sleeps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test waits for something by its name, never for a while. Tests with real parts may."""
    if request.node.get_closest_marker("real") is not None:
        return
    sleep = time.sleep

    def guarded(seconds: float) -> None:
        caller = sys._getframe(1).f_code.co_filename
        assert not caller.startswith(TESTS), f"{caller} sleeps"
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", guarded)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A fresh seed, printed so that a failure can be had again: pytest --seed N."""
    given = request.config.getoption("--seed")
    number = int(given) if given is not None else random.SystemRandom().randrange(1_000_000)
    print(f"seed {number}")
    return number


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", default=None, help="seed of the random tests")
