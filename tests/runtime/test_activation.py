"""The API's socket may come from systemd, and outlives the daemon then."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import aio
from support.api_bench import PlainMethods

from cpctl.api.server import Peer, Right, Server
from cpctl.runtime import activation
from cpctl.runtime.activation import handed_over


@pytest.fixture
def listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A socket as cpctl.socket makes it, by the number that `handed_over` begins with."""
    one = socket.socket(socket.AF_UNIX)
    path = tmp_path / "s"
    one.bind(str(path))
    one.listen()
    monkeypatch.setattr(activation, "FIRST", one.fileno())
    yield path
    one.close()


def ours(count: int = 1) -> dict[str, str]:
    return {"LISTEN_FDS": str(count), "LISTEN_PID": str(os.getpid())}


def test_socket_of_systemd_is_taken_when_it_is_the_one_of_the_configuration(
        listening: Path) -> None:
    found = handed_over(listening, ours())

    assert found is not None and found.getsockname() == str(listening)
    found.close()


def test_socket_at_another_path_is_told_and_left(
        listening: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert handed_over(listening.with_name("other"), ours()) is None

    assert f"systemd listens on {listening}" in caplog.text


@pytest.mark.parametrize("environ", [
    {}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
    {"LISTEN_FDS": "", "LISTEN_PID": str(os.getpid())},
    {"LISTEN_FDS": "many", "LISTEN_PID": str(os.getpid())},
    {"LISTEN_FDS": "0", "LISTEN_PID": str(os.getpid())}],
    ids=["nothing", "no process named", "another process", "no number", "words", "none"])
def test_what_was_meant_for_another_process_is_not_taken(
        listening: Path, environ: dict[str, str]) -> None:
    assert handed_over(listening, environ) is None


def test_descriptor_that_is_no_socket_is_passed_over(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "file").open("w") as file:
        monkeypatch.setattr(activation, "FIRST", file.fileno())

        assert handed_over(tmp_path / "s", ours()) is None


def test_socket_of_systemd_outlives_the_server_and_serves_the_next_one(listening: Path) -> None:
    async def once() -> None:
        server = Server(listening, PlainMethods(), listener=handed_over(listening, ours()),
                        credentials=lambda _: Peer(1, 0, 0), rights=lambda _: Right.ACT)
        await server.start()
        reader, writer = await asyncio.open_unix_connection(listening)
        writer.write(b'{"jsonrpc":"2.0","id":1,"method":"echo","params":{"x":1}}\n')
        answer: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        await server.close()
        assert answer["result"] == {"x": 1}

    aio.run(once())
    assert listening.is_socket()

    aio.run(once())


ACTIVATED = """
import os, socket, sys
from pathlib import Path
one = socket.socket(socket.AF_UNIX)
one.bind(sys.argv[1])
one.listen()
os.dup2(one.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="api")
os.execv(sys.executable, [sys.executable, "-c", '''
import os, sys
from pathlib import Path
from cpctl.runtime.activation import handed_over
found = handed_over(Path(sys.argv[1]))
assert found is not None
found.close()
if sys.argv[2:]:
    print("found twice")
else:
    os.execv(sys.executable, [*sys.orig_argv, "again"])
''', sys.argv[1]])
"""


def test_start_over_in_place_finds_the_socket_again(tmp_path: Path) -> None:
    ran = subprocess.run([sys.executable, "-c", ACTIVATED, str(tmp_path / "s")], timeout=60,
                         capture_output=True, text=True, check=False)

    assert ran.stdout == "found twice\n", ran.stderr
