"""A connection of `websockets` with a short way for short texts: no task, no queue, no parser.

What is not plainly one whole frame of text, or comes while anything else is under way, goes through
the library: handshake, pings, fragments, closing, flow control and every error stay its business.
Loaded with the library, when the first connection is opened. Tried with 16.0 and 17.4; with 15.0
texts that come go the long way, for it keeps what is under way under other names.
Source: RFC 6455 section 5.2.
"""

from asyncio import BaseTransport
from collections.abc import Callable
from os import urandom

from websockets.asyncio.client import ClientConnection
from websockets.protocol import OPEN

try:
    from websockets.speedups import apply_mask
except ImportError:  # built without a compiler
    from websockets.utils import apply_mask

WHOLE_TEXT = 0x81  # FIN and opcode text
SHORT = 126  # bytes: lengths from here on are told in another way
LONG = 1 << 16


class ShortWay(ClientConnection):
    """`ear` is told each text that comes the short way, in order with what `recv` returns; False:
    not now, `recv` is to return it. None: nobody listens."""

    ear: Callable[[str], bool] | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        try:
            self._unparsed = self.protocol.reader.buffer
            self._unread = self.recv_messages.frames.queue
            self._knows_all = self.protocol.current_size is None
        except AttributeError:  # another release keeps them elsewhere: all goes the long way
            self._knows_all = False

    def data_received(self, data: bytes) -> None:
        ear = self.ear
        if (ear is not None and len(data) > 1 and data[0] == WHOLE_TEXT
                and data[1] == len(data) - 2 and data[1] < SHORT and self._rests()):
            try:
                text = data[2:].decode()
            except UnicodeDecodeError:  # the library knows what to say to that
                super().data_received(data)
                return
            if ear(text):
                return
        super().data_received(data)

    def _rests(self) -> bool:
        """Nothing has come in that was not taken out."""
        protocol = self.protocol
        return (self._knows_all and protocol.state is OPEN and protocol.current_size is None
                and not (self._unparsed or self._unread or protocol.extensions))

    def send_text_now(self, text: str) -> bool:
        """Send without waiting; False: nothing was sent, `send` may have to wait or to fail."""
        transport, protocol = self.transport, self.protocol
        if (protocol.state is not OPEN or transport.get_write_buffer_size()
                or transport.is_closing()):
            return False
        body = text.encode()
        length = len(body)
        if length >= LONG or protocol.extensions or protocol.expect_continuation_frame:
            protocol.send_text(body)
            self.send_data()
            return True
        mask = urandom(4)
        head = (bytes((WHOLE_TEXT, 0x80 | length)) if length < SHORT
                else b"\x81\xfe" + length.to_bytes(2, "big"))
        transport.write(head + mask + apply_mask(body, mask))
        return True
