"""The short way for short texts beside the one through `websockets`: nothing lost or overtaken."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from itertools import pairwise

import pytest
from support import aio
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

from cpctl.link.connection import Socket, WebsocketConnector
from cpctl.link.errors import ConnectionLost

OFFER = ("ocpp1.6",)
PING, PONG = b"\x89\x02hi", b"\x8a\x02no"


class Ear:
    """Notes what it is told; `wants` says whether it takes a text."""

    def __init__(self, wants: Callable[[], bool] = lambda: True) -> None:
        self.at_once = 0
        self.texts: list[str | bytes] = []
        self._wants = wants

    def __call__(self, text: str) -> bool:
        if not self._wants():
            return False
        self.at_once += 1
        self.texts.append(text)
        return True

    async def listen(self, socket: Socket, count: int) -> None:
        socket.listen(self)
        waiting = asyncio.create_task(self._receive(socket))
        await socket.send("I am listening")
        async with asyncio.timeout(20):
            while len(self.texts) < count and not waiting.done():
                await asyncio.sleep(0.001)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    async def _receive(self, socket: Socket) -> None:
        while True:
            self.texts.append(await socket.recv())


def with_server(talk: Callable[[ServerConnection], Awaitable[None]],
                story: Callable[[Socket], Awaitable[None]]) -> None:
    async def told() -> None:
        async with serve(talk, "127.0.0.1", 0, subprotocols=list(OFFER),  # type: ignore[arg-type]
                         ping_interval=None, max_size=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            socket = await WebsocketConnector().connect(f"ws://127.0.0.1:{port}/", OFFER, (), None)
            await story(socket)
            await socket.close()

    aio.run(told())


def said(segments: Iterable[bytes], ear: Ear, count: int) -> None:
    """The server sends `segments`, each in a packet of its own as far as it can be done."""

    async def talk(connection: ServerConnection) -> None:
        await connection.recv()
        for segment in segments:
            connection.transport.write(segment)
            await asyncio.sleep(0.002)
        await connection.wait_closed()

    with_server(talk, lambda socket: ear.listen(socket, count))


def frame(text: str, *, opcode: Opcode = Opcode.TEXT, fin: bool = True) -> bytes:
    return Frame(opcode, text.encode(), fin).serialize(mask=False)


def test_a_short_text_that_comes_whole_is_told_at_once() -> None:
    ear = Ear()

    said([frame("[3]"), frame(""), frame("é" * 62)], ear, 3)

    assert ear.texts == ["[3]", "", "é" * 62]
    assert ear.at_once == 3


def test_an_ear_that_is_busy_is_passed_by_and_nothing_is_lost() -> None:
    ear = Ear(wants=lambda: False)

    said([frame("a"), frame("b")], ear, 2)

    assert ear.texts == ["a", "b"]
    assert ear.at_once == 0


@pytest.mark.parametrize("seed", range(6))
def test_whatever_comes_is_told_in_order(seed: int) -> None:
    dice = random.Random(f"short way {seed}")
    texts = [str(number) + "x" * dice.choice((0, 1, 100, 121, 122, 123, 300, 70_000))
             for number in range(60)]
    stream = bytearray()
    cuts = [0]
    for text in texts:
        middle = dice.randrange(len(text) + 1)
        if dice.random() < 0.25:
            stream += frame(text[:middle], fin=False)
            stream += dice.choice((b"", PING, PONG))
            stream += frame(text[middle:], opcode=Opcode.CONT)
        else:
            stream += frame(text) + dice.choice((b"", b"", PING))
        if dice.random() < 0.7:
            cuts.append(len(stream))
        if dice.random() < 0.2:
            cuts.append(dice.randrange(cuts[-1], len(stream) + 1))
    cuts.append(len(stream))
    ear = Ear(wants=lambda: dice.random() < 0.9)

    said([bytes(stream[a:b]) for a, b in pairwise(cuts)], ear, len(texts))

    assert ear.texts == texts, f"seed {seed}"
    assert ear.at_once, f"seed {seed}"


@pytest.mark.parametrize(("bad", "code"), [
    (b"\x81\x02\xff\xfe", 1007),  # a text that is no UTF-8
    (b"\xc1\x01x", 1002),  # a bit that nobody has asked for
    (b"\x81\x81\x00\x00\x00\x00x", 1002),  # masked by a server
])
def test_what_is_wrong_ends_the_connection_as_ever(bad: bytes, code: int) -> None:
    ear, codes = Ear(), []

    async def talk(connection: ServerConnection) -> None:
        await connection.recv()
        connection.transport.write(frame("good"))
        await asyncio.sleep(0.01)
        connection.transport.write(bad)
        await connection.wait_closed()
        codes.append(connection.close_code)

    async def story(socket: Socket) -> None:
        socket.listen(ear)
        await socket.send("I am listening")
        with pytest.raises(ConnectionLost):
            await socket.recv()

    with_server(talk, story)

    assert ear.texts == ["good"]
    assert codes == [code]


def test_after_a_farewell_nothing_is_told_at_once() -> None:
    ear = Ear()

    async def talk(connection: ServerConnection) -> None:
        await connection.recv()
        connection.transport.write(b"\x88\x02\x03\xe8")
        connection.transport.write(frame("too late"))
        await connection.wait_closed()

    async def story(socket: Socket) -> None:
        socket.listen(ear)
        await socket.send("I am listening")
        with pytest.raises(ConnectionLost):
            await socket.recv()
        assert not socket.send_now("too late as well")

    with_server(talk, story)

    assert not ear.texts


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_texts_of_all_lengths_arrive_as_they_were_sent(length: int) -> None:
    text = "ü" * (length // 2) + "x" * (length % 2)
    heard: list[str | bytes] = []

    async def talk(connection: ServerConnection) -> None:
        async for one in connection:
            heard.append(one)
            await connection.send("got it")

    async def story(socket: Socket) -> None:
        for one in (text, "and one behind it"):
            assert socket.send_now(one)
            await socket.recv()

    with_server(talk, story)

    assert heard == [text, "and one behind it"]


def test_who_does_not_read_is_waited_for() -> None:
    over = asyncio.Event()

    async def talk(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await over.wait()
        connection.transport.abort()

    async def story(socket: Socket) -> None:
        sent = 0
        while socket.send_now("x" * 60_000) and sent < 1000:
            sent += 1
        assert sent < 1000
        waiting = asyncio.ensure_future(socket.send("x" * 60_000))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        waiting.cancel()
        over.set()

    with_server(talk, story)
