"""The Unix socket: no client may disturb the daemon, and rights go by the kernel's word."""

import asyncio
import json
import logging
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support import aio
from support.api_bench import ApiBench, PlainMethods, with_server

from cpctl.api import server as server_module
from cpctl.api import wire
from cpctl.api.server import Peer, Right, Server, SocketTaken, peer_of, right_of

GROUPS = {"cpctl": 900, "cpctl-admin": 901}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


def test_call_is_answered_with_its_id(path: Path) -> None:
    async def story(bench: ApiBench) -> None:
        line = await bench.connect()
        for id in (7, "seven", None, 1.5):
            answer = await line.ask(json.dumps(
                {"jsonrpc": "2.0", "id": id, "method": "echo", "params": {"x": "ü"}}).encode())
            assert answer == {"jsonrpc": "2.0", "id": id, "result": {"x": "ü"}}

    with_server(story, path)


def test_notification_is_carried_out_and_not_answered(path: Path) -> None:
    async def story(bench: ApiBench) -> None:
        line = await bench.connect()
        await line.send(b'{"jsonrpc":"2.0","method":"act","params":{"x":1}}\n')
        assert await line.is_alive()
        assert bench.methods.acted == [{"x": 1}]

    with_server(story, path)


MALFORMED = {
    b"hello": wire.PARSE_ERROR,
    b"{": wire.PARSE_ERROR,
    b"\xff\xfe": wire.PARSE_ERROR,
    b'{"jsonrpc":"2.0","id":1,"method":"echo","params":{"x":NaN}}': wire.PARSE_ERROR,
    b"[" * 200_000: wire.PARSE_ERROR,
    b"1": wire.INVALID_REQUEST,
    b"null": wire.INVALID_REQUEST,
    b"[]": wire.INVALID_REQUEST,
    b'[{"jsonrpc":"2.0","id":1,"method":"echo"}]': wire.INVALID_REQUEST,
    b"{}": wire.INVALID_REQUEST,
    b'{"jsonrpc":"1.0","id":1,"method":"echo"}': wire.INVALID_REQUEST,
    b'{"jsonrpc":"2.0","id":1,"method":5}': wire.INVALID_REQUEST,
    b'{"jsonrpc":"2.0","id":{},"method":"echo"}': wire.INVALID_REQUEST,
    b'{"jsonrpc":"2.0","id":true,"method":"echo"}': wire.INVALID_REQUEST,
    b'{"jsonrpc":"2.0","id":1,"method":"echo","params":[1]}': wire.INVALID_PARAMS,
    b'{"jsonrpc":"2.0","id":1,"method":"nope"}': wire.METHOD_NOT_FOUND,
    b'{"jsonrpc":"2.0","id":1,"method":""}': wire.METHOD_NOT_FOUND,
    b'{"jsonrpc":"2.0","id":1e999,"method":"echo"}': wire.PARSE_ERROR,
    b'{"jsonrpc":"2.0","id":"\\ud800","method":"echo"}': wire.PARSE_ERROR,
    b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}': wire.PARSE_ERROR,
    b'{"jsonrpc":"2.0","id":1,"method":"echo","params":{"x":"\\udfff"}}': wire.PARSE_ERROR,
}


@pytest.mark.parametrize("raw", MALFORMED, ids=lambda raw: raw[:40].decode(errors="replace"))
def test_malformed_line_gets_an_error_and_the_connection_goes_on(raw: bytes, path: Path) -> None:
    async def story(bench: ApiBench) -> None:
        line = await bench.connect()
        answer = await line.ask(raw)
        assert answer["error"]["code"] == MALFORMED[raw]
        assert answer["error"]["message"]
        assert await line.is_alive()

    with_server(story, path)


def test_error_of_a_readable_request_has_its_id_and_a_hint(path: Path) -> None:
    async def story(bench: ApiBench) -> None:
        line = await bench.connect()
        answer = await line.ask(b'{"jsonrpc":"2.0","id":"a","method":"echo","params":[1]}')
        assert answer["id"] == "a"
        assert answer["error"]["data"]["hint"]

    with_server(story, path)


def test_expected_failure_carries_code_message_and_hint(path: Path) -> None:
    async def story(bench: ApiBench) -> None:
        line = await bench.connect()
        assert (await line.call("act", refuse=True))["error"] == {
            "code": wire.REFUSED, "message": "refused: because",
            "data": {"hint": "do this instead"}}

    with_server(story, path)


def test_line_of_a_mebibyte_without_an_end_is_an_error_and_a_closed_connection(path: Path) -> None:
    async def story(bench: ApiBench) -> None:
        line, other = await bench.connect(), await bench.connect()
        line.writer.write(b"x" * (wire.MAX_LINE + 70_000))
        answer = await line.answer()
        assert answer["error"]["code"] == wire.INVALID_REQUEST
        assert await line.answer() == {}
        assert await other.is_alive()

    with_server(story, path)


def test_long_line_below_the_limit_is_served(path: Path) -> None:
    async def story(bench: ApiBench) -> None:
        line = await bench.connect()
        text = "x" * (wire.MAX_LINE - 1000)
        assert (await line.call("echo", text=text))["result"] == {"text": text}

    with_server(story, path)


def test_half_a_line_and_a_hang_up_disturb_nobody(path: Path) -> None:
    async def story(bench: ApiBench) -> None:
        line, other = await bench.connect(), await bench.connect()
        await line.send(b'{"jsonrpc":"2.0","id":1,"method":"act","par')
        line.writer.close()
        assert await other.is_alive()
        assert bench.methods.acted == []

    with_server(story, path)


def test_line_in_pieces_and_two_lines_in_one_are_both_served(path: Path) -> None:
    async def story(bench: ApiBench) -> None:
        line = await bench.connect()
        for piece in (b'{"jsonrpc":"2.0",', b'"id":1,"method"', b':"echo"}', b"\n"):
            await line.send(piece)
            await asyncio.sleep(0)
        assert (await line.answer())["id"] == 1
        await line.send(b'\n\r\n{"jsonrpc":"2.0","id":2,"method":"echo"}\n'
                        b'{"jsonrpc":"2.0","id":3,"method":"echo"}\n')
        assert [(await line.answer())["id"], (await line.answer())["id"]] == [2, 3]

    with_server(story, path)


@pytest.mark.parametrize("method", ["bug", "nonsense"])
def test_bug_in_a_method_costs_one_answer(method: str, path: Path,
                                          caplog: pytest.LogCaptureFixture) -> None:
    async def story(bench: ApiBench) -> None:
        line = await bench.connect()
        answer = await line.call(method)
        assert answer["error"]["code"] == wire.INTERNAL_ERROR
        assert "log" in answer["error"]["data"]["hint"]
        assert await line.is_alive()

    with_server(story, path)
    assert f"method {method} failed" in caplog.text


def test_slow_call_of_one_client_does_not_hold_up_another(path: Path) -> None:
    async def story(bench: ApiBench) -> None:
        line, other = await bench.connect(), await bench.connect()
        await line.send(wire.request(1, "slow", {}))
        assert await other.is_alive()
        bench.methods.let_go.set()
        assert (await line.answer())["id"] == 1

    with_server(story, path)


def test_client_that_stops_reading_is_dropped_and_nobody_waits_for_it(
        path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(bench: ApiBench) -> None:
        deaf, other = await bench.connect(), await bench.connect()
        await deaf.call("watch")
        (caller,) = bench.methods.callers
        for _ in range(100):
            caller.tell("watch", {"x": "y" * 60_000})
        await bench.until(lambda: not bench.methods.callers)
        assert await other.is_alive()

    with_server(story, path)
    assert "does not read" in caplog.text


def test_client_that_asks_and_never_reads_is_dropped(path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "SEND_LIMIT_S", 0.05)

    async def story(bench: ApiBench) -> None:
        deaf = socket.socket(socket.AF_UNIX)
        deaf.connect(str(path))
        deaf.setblocking(False)
        other = await bench.connect()
        big = wire.request(1, "echo", {"x": "y" * 500_000})
        loop = asyncio.get_running_loop()
        with pytest.raises(OSError):
            for _ in range(100):
                await loop.sock_sendall(deaf, big)
        assert await other.is_alive()
        deaf.close()

    with_server(story, path)


def test_watcher_that_hangs_up_is_forgotten(path: Path) -> None:
    async def story(bench: ApiBench) -> None:
        line = await bench.connect()
        await line.call("watch")
        line.writer.close()
        await bench.until(lambda: not bench.methods.callers)

    with_server(story, path)


def test_the_end_of_the_server_is_no_error_while_clients_are_connected(
        path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(bench: ApiBench) -> None:
        line = await bench.connect()
        assert await line.is_alive()
        await bench.server.close()
        assert await line.answer() == {}

    with_server(story, path)
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []


def test_one_client_too_many_is_told_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_CLIENTS", 2)

    async def story(bench: ApiBench) -> None:
        lines = [await bench.connect(), await bench.connect()]
        for line in lines:
            assert await line.is_alive()
        third = await bench.connect()
        assert "connected already" in (await third.answer())["error"]["message"]
        assert await third.answer() == {}
        lines[0].writer.close()
        await bench.until(lambda: len(bench.server._clients) < 2)
        assert await (await bench.connect()).is_alive()

    with_server(story, path)


# --- rights ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("peer", "right"), [
    (Peer(1, 0, 0), Right.ACT),
    (Peer(1, 500, 500), Right.ACT),
    (Peer(1, 1000, 901), Right.ACT),
    (Peer(1, 1000, 1000, (4, 901)), Right.ACT),
    (Peer(1, 1000, 900), Right.READ),
    (Peer(1, 1000, 1000, (900,)), Right.READ),
    (Peer(1, 1000, 1000, (4, 24)), Right.NONE),
])
def test_right_of_a_peer(peer: Peer, right: Right) -> None:
    assert right_of(peer, own_uid=500, lookup=GROUPS.get) is right


def test_groups_that_do_not_exist_give_no_right() -> None:
    assert right_of(Peer(1, 1000, 1000), own_uid=500, lookup=lambda name: None) is Right.NONE


@pytest.mark.parametrize(("right", "method", "code"), [
    (Right.NONE, "echo", wire.NOT_PERMITTED),
    (Right.NONE, "act", wire.NOT_PERMITTED),
    (Right.READ, "act", wire.NOT_PERMITTED),
    (Right.READ, "echo", None),
    (Right.ACT, "act", None),
])
def test_method_needs_its_right(right: Right, method: str, code: int | None, path: Path) -> None:
    async def story(bench: ApiBench) -> None:
        answer = await (await bench.connect()).call(method)
        assert answer.get("error", {}).get("code") == code
        if code:
            group = "cpctl-admin" if method == "act" else "cpctl"
            assert f"group {group}," in answer["error"]["data"]["hint"]
            assert bench.methods.acted == []

    with_server(story, path, rights=lambda peer: right)


def test_kernel_tells_who_is_there() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        peer = peer_of(ours)

    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert set(peer.groups) == set(os.getgroups())


def test_acting_is_logged_with_uid_and_pid_and_without_secrets(
        path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(bench: ApiBench) -> None:
        line = await bench.connect()
        await line.call("act", token="04A1B2C3D4E5F6", value="geheim")
        await line.call("echo", token="FFFFFFFFFF")

    caplog.set_level(logging.INFO)
    with_server(story, path)

    assert f"uid={os.geteuid()} pid={os.getpid()} calls act token=04A1…F6" in caplog.text
    assert "geheim" not in caplog.text and "FFFFFF" not in caplog.text


# --- the socket file ---------------------------------------------------------------------------


def test_socket_is_closed_to_others_and_gone_at_the_end(path: Path) -> None:
    async def story(bench: ApiBench) -> None:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660

    with_server(story, path)
    assert not path.exists()


def test_folder_of_the_socket_is_made(tmp_path: Path) -> None:
    async def story(bench: ApiBench) -> None:
        assert await (await bench.connect()).is_alive()

    with_server(story, tmp_path / "run" / "s")


def test_socket_a_previous_life_left_is_replaced(path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()

    async def story(bench: ApiBench) -> None:
        assert await (await bench.connect()).is_alive()

    with_server(story, path)


def test_socket_of_a_living_daemon_is_left_alone(path: Path) -> None:
    async def story(bench: ApiBench) -> None:
        with pytest.raises(SocketTaken, match="another daemon"):
            await Server(path, PlainMethods()).start()
        assert await (await bench.connect()).is_alive()

    with_server(story, path)


def test_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("precious")

    with pytest.raises(SocketTaken, match="not a socket"):
        aio.run(Server(path, PlainMethods()).start())
    assert path.read_text() == "precious"


def test_supplementary_groups_of_a_peer_count() -> None:
    asks = ("import socket, sys; from cpctl.api.server import peer_of; "
            "ours, _ = socket.socketpair(); print(*sorted(peer_of(ours).groups))")
    groups = [4242, 4243] if os.geteuid() == 0 else None

    told = subprocess.run([sys.executable, "-c", asks], extra_groups=groups, check=True,
                          capture_output=True, text=True).stdout

    assert told.split() == [str(one) for one in sorted(groups or os.getgroups())]


# --- the socket is open to everybody when systemd makes it ---------------------------------------


def test_stranger_is_told_what_is_missing_and_is_let_go(path: Path) -> None:
    async def story(bench: ApiBench) -> None:
        line = await bench.connect()

        answer = await line.call("echo", x=1)

        assert answer["error"]["code"] == wire.NOT_PERMITTED
        assert answer["error"]["data"]["hint"] == "join group cpctl, or use sudo"
        assert await line.answer() == {}, "one answer, then the end"

    with_server(story, path, rights=lambda peer: Right.NONE)


@pytest.mark.parametrize("said", [b"", b"half a line", b"x" * (wire.MAX_LINE + 2)],
                         ids=["nothing", "half", "too long"])
def test_strangers_that_stay_keep_nobody_out(said: bytes, path: Path) -> None:
    strangers = {"yes": True}

    async def story(bench: ApiBench) -> None:
        for _ in range(60):
            line = await bench.connect()
            line.writer.write(said)
        await bench.until(lambda: len(bench.server._strangers) <= server_module.MAX_STRANGERS)
        strangers.clear()

        assert await (await bench.connect()).is_alive()
        assert bench.server._strangers or said.startswith(b"xx")

    with_server(story, path, rights=lambda peer: Right.NONE if strangers else Right.ACT)
