"""A Modbus relay board with contactors on its relays and their auxiliary contacts on its inputs."""

from hal.sim.rs485 import crc16, with_crc


class RelayBoard:
    """Relays and inputs are counted from 0, as on the wire."""

    def __init__(self, address: int = 4, relays: int = 8) -> None:
        self.address = address
        self.relays = [False] * relays
        self.welded: set[int] = set()
        self.stuck_open: set[int] = set()
        self.silent = False
        self.frames: list[bytes] = []

    def contact(self, relay: int) -> bool:
        closes = self.relays[relay] and relay not in self.stuck_open
        return closes or relay in self.welded

    def restart(self) -> None:
        self.relays = [False] * len(self.relays)

    def answer(self, request: bytes) -> bytes | None:
        if self.silent or request[0] != self.address or crc16(request[:-2]) != request[-2:]:
            return None
        self.frames.append(request)
        function, start, last = request[1], *_two_words(request[2:6])
        if function not in (1, 2, 5):
            return self._refused(function, 1)
        if start >= len(self.relays):
            return self._refused(function, 2)
        if function == 5:
            return self._switched(request, start, last)
        bits = self.relays if function == 1 else [self.contact(at) for at in range(8)]
        packed = sum(bit << at for at, bit in enumerate(bits[start:start + last]))
        return with_crc(bytes((self.address, function, 1, packed)))

    def _switched(self, request: bytes, relay: int, value: int) -> bytes:
        if value not in (0x0000, 0xFF00):
            return self._refused(5, 3)
        self.relays[relay] = value == 0xFF00
        return request

    def _refused(self, function: int, code: int) -> bytes:
        return with_crc(bytes((self.address, function | 0x80, code)))


def _two_words(four: bytes) -> tuple[int, int]:
    return int.from_bytes(four[:2]), int.from_bytes(four[2:])
