"""The real connection over loopback, against a server of `websockets` and a bare TCP one."""

import asyncio
import contextlib
import http
import json
import random
import shutil
import subprocess

import pytest
from support import aio
from support.link_world import World, ended, sampled, started
from websockets.asyncio.server import serve
from websockets.protocol import State

from cpctl.core.effects import AuthorizeToken
from cpctl.core.values import IdToken
from cpctl.dialects.base import NoVerdict
from cpctl.link import connection as wire
from cpctl.link.connection import WebsocketConnector
from cpctl.link.errors import CertificateRefused, ConnectionLost, ConnectRefused
from cpctl.link.link import Link
from cpctl.link.route import Choices, Itinerary, Tls
from cpctl.link.tap import FrameTap

OFFER = ("ocpp1.6",)
# waits of a second, so that a test of reconnecting is over soon
EAGER = {"link__wait_min_s": "1", "link__wait_random_s": "0", "link__wait_repeat": "0"}


class Served:
    """A central system on a real port: answers calls by `World.central.rules`."""

    def __init__(self, world, **options):
        self.world = world
        self.options = {"subprotocols": list(OFFER), **options}
        self.requests = []
        self.connections = []
        self.hang_up = False
        self.refusals = []

    async def __aenter__(self):
        self._server = await serve(
            self._talk, "127.0.0.1", 0, process_request=self._look, ping_interval=None,
            **self.options)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        for connection in self.connections:
            connection.transport.abort()
        self._server.close()
        await self._server.wait_closed()

    def _look(self, connection, request):
        self.requests.append(request)
        refuse = self.refusals.pop(0) if self.refusals else None
        return connection.respond(refuse, "no\n") if refuse is not None else None

    async def _talk(self, connection):
        self.connections.append(connection)
        if self.hang_up:
            await connection.close(1000)
            return
        with contextlib.suppress(Exception):
            async for text in connection:
                frame = json.loads(text)
                if frame[0] != 2:
                    self.world.central.answers.append(frame)
                    continue
                self.world.central.calls.append(frame)
                rule = self.world.central.rules[frame[2]]
                if rule is not None:
                    await connection.send(json.dumps([3, frame[1], rule]))


def link_to(world, port, **route):
    given = {"url": f"ws://127.0.0.1:{port}/ocpp", "identity": "CP 1", **route}
    world.link = Link(
        dialects=(world.dialect,), journal=world.books, context=world._context,
        post=world._posted, now=world.now, settings=lambda: world.settings,
        connector=WebsocketConnector(), itinerary=Itinerary(lambda: Choices(**given)),
        tap=FrameTap(),
        rng=random.Random(1))
    return world.link


async def until(holds, limit_s=20.0):
    async with asyncio.timeout(limit_s):
        while not holds():
            await asyncio.sleep(0.01)


def play(story, *, refusals=(), route=None, settings=None, **options):
    async def told():
        given = World(**(settings or {}))
        async with Served(given, **options) as server:
            server.refusals = list(refusals)
            link = asyncio.create_task(link_to(given, server.port, **(route or {})).run())
            try:
                await story(given, server)
                assert not link.done()
            finally:
                link.cancel()
                await asyncio.gather(link, return_exceptions=True)

    aio.run(told(), limit_s=90)


def test_a_session_is_told_over_a_real_socket():
    async def story(world, server):
        world.books.put(started(1), sampled(1, 110), ended(1, 120))
        await until(lambda: world.books.delivered() == [1, 2, 3])
        request = server.requests[0]
        assert request.path == "/ocpp/CP%201"
        assert "Authorization" not in request.headers
        assert "Sec-WebSocket-Extensions" not in request.headers
        await server.connections[0].send('[2,"q1","Get",{}]')
        await until(lambda: world.central.answers)
        assert world.central.answers == [[3, "q1", {"registration": "accepted"}]]

    play(story)


@pytest.mark.requirement("16.SEC.1")
def test_basic_authentication_reaches_the_other_side_byte_for_byte():
    async def story(world, server):
        await until(lambda: server.requests)
        assert server.requests[0].headers["Authorization"] == "Basic Q1AgMToB/zo="

    play(story, route={"profiles": (1,), "passwords": (b"\x01\xff:",)})


@pytest.mark.requirement("16.RPC.2")
@pytest.mark.parametrize("status", [401, 404, 503])
def test_a_refusal_is_tried_again(status):
    async def story(world, server):
        await until(world.central.said)
        assert len(server.requests) == 2

    play(story, settings=EAGER, refusals=[http.HTTPStatus(status)])


def test_accepting_and_closing_at_once_is_backed_off():
    async def story(world, server):
        server.hang_up = True
        await asyncio.sleep(2.5)
        assert 1 <= len(server.requests) <= 3

    play(story, settings=EAGER)


@pytest.mark.requirement("16.RPC.1")
def test_a_server_without_our_subprotocol_is_left():
    async def story(world, server):
        await until(lambda: server.connections)
        await until(lambda: server.connections[0].close_code == 1002)
        assert not world.link.state.online and world.central.said() == []

    play(story, subprotocols=None)


def test_a_frame_too_large_costs_the_connection_and_no_more():
    async def story(world, server):
        await until(lambda: world.link.state.registration.value == "accepted")
        await server.connections[0].send("x" * 300_000)
        await until(lambda: len(server.connections) == 2 and world.link.state.online)
        assert server.connections[0].state is State.CLOSED

    play(story, settings=EAGER)


def test_a_lost_connection_fails_the_open_call_at_once():
    async def story(world, server):
        await until(lambda: world.link.state.registration.value == "accepted")
        world.central.rules["Authorize"] = None
        asked = asyncio.create_task(world.link.ask(AuthorizeToken(4, IdToken("04A1"))))
        await until(lambda: "Authorize" in world.central.said())
        server.connections[0].transport.abort()
        assert await asyncio.wait_for(asked, 10.0) == (NoVerdict(4),)

    play(story)


@pytest.mark.requirement("16.RPC.11")
def test_a_half_open_link_is_noticed_and_closing_it_does_not_hang():
    async def story(world, server):
        await until(lambda: world.link.state.registration.value == "accepted")
        server.connections[0].transport.pause_reading()
        await until(lambda: not world.link.state.online, limit_s=20.0)
        await until(lambda: len(server.connections) == 2, limit_s=20.0)

    play(story, settings={**EAGER, "link__ping_s": "1", "link__pong_timeout_s": "1"})


def test_stopping_on_a_dead_link_does_not_hang():
    async def told():
        world = World()
        async with Served(world) as server:
            link = asyncio.create_task(link_to(world, server.port).run())
            await until(lambda: world.link.state.registration.value == "accepted")
            server.connections[0].transport.pause_reading()
            link.cancel()
            async with asyncio.timeout(4.0):
                await asyncio.gather(link, return_exceptions=True)
            server.connections[0].transport.abort()

    aio.run(told())


@contextlib.asynccontextmanager
async def bare_server(answer, *, wait=False):
    """Something on a port that is no WebSocket: says `answer` to a request, or nothing at all."""
    done = []

    async def talk(reader, writer):
        done.append(asyncio.current_task())
        await (reader.read() if wait else reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ocpp/CP"
        await asyncio.gather(*done, return_exceptions=True)


def connecting(url, tls=None):
    return WebsocketConnector().connect(url, OFFER, (), tls)


def test_nobody_there_is_a_refusal_with_the_next_step():
    async def told():
        with pytest.raises(ConnectRefused, match="check address"):
            await connecting("ws://127.0.0.1:1/ocpp/CP")

    aio.run(told())


def test_tls_with_somebody_who_does_not_speak_it_says_what_to_look_at():
    async def told():
        def hang_up(reader, writer):
            writer.close()

        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
            url = f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}/ocpp/CP"
            with pytest.raises(ConnectRefused, match="whether it speaks TLS"):
                await connecting(url, Tls())

    aio.run(told())


@pytest.mark.parametrize("answer", [
    b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 101 ?\r\n\r\n",
    b"\x00" * 100], ids=["nothing", "ssh", "a page", "half a handshake", "zeros"])
def test_something_else_there_is_a_refusal(answer):
    async def told():
        async with bare_server(answer) as url:
            with pytest.raises(ConnectRefused):
                await connecting(url)

    aio.run(told())


def test_a_redirect_is_not_followed():
    async def told():
        redirect = (b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/else\r\n"
                    b"Content-Length: 0\r\n\r\n")
        async with bare_server(redirect) as url:
            with pytest.raises(ConnectRefused, match="redirects are not followed") as found:
                await connecting(url)
            assert found.value.status == 302

    aio.run(told())


def test_a_silent_server_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(wire, "OPEN_TIMEOUT_S", 0.3)

    async def told():
        async with bare_server(b"", wait=True) as url:
            with pytest.raises(ConnectRefused, match="no answer"):
                await connecting(url)

    aio.run(told())


def test_a_socket_tells_how_it_was_closed():
    async def told():
        async def talk(connection):
            await connection.close(1000, "Disconnected by admin request")

        async with serve(talk, "127.0.0.1", 0, subprotocols=list(OFFER)) as server:
            port = server.sockets[0].getsockname()[1]
            socket = await connecting(f"ws://127.0.0.1:{port}/")
            with pytest.raises(ConnectionLost, match="admin request") as lost:
                await socket.recv()
            assert lost.value.code == 1000
            with pytest.raises(ConnectionLost):
                await socket.send("x")
            with pytest.raises(ConnectionLost):
                await socket.ping()
            await socket.close()

    aio.run(told())


def _certificate(folder, name):
    """A self-signed certificate for 127.0.0.1 with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates")
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", f"/CN={name}",
         "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return str(cert), str(key)


def test_tls_verifies_the_other_side_and_shows_our_certificate(tmp_path):
    import ssl

    cert, key = _certificate(tmp_path, "csms")
    own_cert, own_key = _certificate(tmp_path, "station")
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(cert, key)
    server_side.verify_mode = ssl.CERT_REQUIRED
    server_side.load_verify_locations(own_cert)

    async def told():
        async def talk(connection):
            await connection.send(connection.transport.get_extra_info("peercert")[
                "subject"][0][0][1])

        async with serve(talk, "127.0.0.1", 0, subprotocols=list(OFFER), ssl=server_side) as server:
            url = f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}/ocpp/CP"
            socket = await connecting(url, Tls((cert,), own_cert, own_key))
            assert await socket.recv() == "station"
            await socket.close()
            with pytest.raises(CertificateRefused, match="ca_file"):
                await connecting(url, Tls())
            with pytest.raises(ConnectRefused, match="client_cert_file"):
                await connecting(url, Tls((cert,), str(tmp_path / "gone.pem"), own_key))

    aio.run(told())
