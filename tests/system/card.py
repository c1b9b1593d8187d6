"""A contactless card held to the emulated USB reader.

QEMU's reader takes its card from a socket, in the protocol of libcacard: each message has a header
of three big-endian words (type, reader, length).
Source: QEMU, docs/ccid.txt and libcacard's vscard_common.h.
"""

import contextlib
import socket
import struct
import threading
import time
from pathlib import Path

from tests.system.machine import connect

INIT, ERROR, READER_ADD, READER_REMOVE, ATR, CARD_REMOVE, APDU = 1, 2, 3, 4, 5, 6, 7
ANSWER_TO_RESET = bytes.fromhex("3B8F8001804F0CA000000306030001000000006A")
GET_UID = bytes.fromhex("FFCA000000")
HELD_S = 1.0


class CardSlot:
    """The field of one reader. Connect anew after each boot and each new reader."""

    def __init__(self, path: Path):
        self.uid = b""
        self.asked = 0  # how often the identifier was read
        self._socket = connect(path)
        self._send(INIT, b"VSCD" + struct.pack(">II", 2, 0))
        self._send(READER_ADD, b"bench")
        threading.Thread(target=self._answer, daemon=True, name="card").start()

    def tap(self, uid: str, held_s: float = HELD_S) -> None:
        """Hold the card to the reader and take it away again."""
        self.insert(uid)
        time.sleep(held_s)
        self.remove()

    def insert(self, uid: str) -> None:
        self.uid = bytes.fromhex(uid)
        self._send(ATR, ANSWER_TO_RESET)

    def remove(self) -> None:
        self._send(CARD_REMOVE, b"")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _send(self, kind: int, content: bytes) -> None:
        self._socket.sendall(struct.pack(">III", kind, 0, len(content)) + content)

    def _answer(self) -> None:
        with contextlib.suppress(OSError, ValueError), self._socket.makefile("rb") as stream:
            while len(head := stream.read(12)) == 12:
                kind, _, length = struct.unpack(">III", head)
                content = stream.read(length)
                if kind == APDU:
                    known = content[:5] == GET_UID
                    self.asked += known
                    self._send(APDU, self.uid + b"\x90\x00" if known else b"\x6a\x81")
