"""The checksum of Modbus RTU."""


def crc16(frame: bytes) -> bytes:
    """The checksum of an RTU frame, low byte first.

    Source: "MODBUS over Serial Line" V1.02, 6.2.2.
    """
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc.to_bytes(2, "little")


def with_crc(frame: bytes) -> bytes:
    return frame + crc16(frame)


def is_whole(frame: bytes) -> bool:
    """Whether the bytes are one frame with its checksum."""
    return len(frame) >= 5 and crc16(frame[:-2]) == frame[-2:]
