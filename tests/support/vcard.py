"""A contactless card held to the virtual reader of vsmartcard-vpcd.

The reader listens on a TCP port; a connection is a card in the field, its end is the card gone.
Each message has two bytes of length before it; a single byte is a control message.
Source: vsmartcard, virtualsmartcard/src/vpcd.
"""

import contextlib
import socket
import threading
from types import TracebackType

PORT = 0x9A4C  # of the first slot; the second has the next one
ATR = bytes.fromhex("3B8F8001804F0CA000000306030001000000006A")
GIVE_ATR = 4
GET_UID = bytes.fromhex("FFCA000000")
FOR_THE_READER = b"\xff\x00"
OK = b"\x90\x00"
NOT_CONTACTLESS = b"\x6a\x81"


class VirtualCard:
    """A card with the identifier `uid`; None: a card that is not contactless.

    `heard` are the commands for the reader itself that came by (FF 00 …), which it takes.
    """

    def __init__(self, uid: bytes | None, port: int = PORT) -> None:
        self.uid = uid
        self.port = port
        self.heard: list[str] = []
        self._socket: socket.socket | None = None

    def insert(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=10.0)
        self._socket.settimeout(None)
        threading.Thread(target=self._answer, args=(self._socket,), daemon=True).start()

    def remove(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):  # pcscd may have gone first
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._socket = None

    def __enter__(self) -> "VirtualCard":
        self.insert()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.remove()

    def _answer(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError), line.makefile("rb") as stream:
            while len(length := stream.read(2)) == 2:
                answer = self._answer_to(stream.read(int.from_bytes(length, "big")))
                if answer is not None:
                    line.sendall(len(answer).to_bytes(2, "big") + answer)

    def _answer_to(self, message: bytes) -> bytes | None:
        if len(message) == 1:
            return ATR if message[0] == GIVE_ATR else None
        if message[:5] == GET_UID and self.uid is not None:
            return self.uid + OK
        if message[:2] == FOR_THE_READER:
            self.heard.append(message.hex())
            return OK
        return NOT_CONTACTLESS
