"""Rows out of a damaged sqlite file: what can be read page by page, whatever became of the rest.

No use is made of sqlite: every table leaf page of the file and of its log is decoded by itself and
a row counts only when its CRC holds. Pages of the log come after those of the file, in order.
Source: https://www.sqlite.org/fileformat2.html (b-tree pages, record format, WAL format).
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cpctl.store.db import PAGE_BYTES
from cpctl.store.rows import Row, Table

LEAF = 0x0D
WAL_HEADER = 32
FRAME_HEADER = 24
FRAME = FRAME_HEADER + PAGE_BYTES
_INT_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
Pages = Callable[[int], bytes]
_WORD = 0xFFFFFFFF


def committed_frames(wal: bytes) -> list[tuple[int, int]]:
    """(page number, offset of the page) of each frame up to the last commit of this round.

    Frames of the round bear its salt. When the log's own header is broken, the salt of the first
    frame is taken: what follows was written after it. A commit whose last page was never written
    (the process was killed after the page's header) does not count.
    """
    salt = _salt(wal)
    frames: list[tuple[int, int]] = []
    before = committed = 0
    for start in range(WAL_HEADER, len(wal) - FRAME + 1, FRAME):
        page, size = struct.unpack_from(">II", wal, start)
        if wal[start + 8:start + 16] != salt:
            if _salts_equal(wal, start + FRAME, salt):  # one broken header between sound ones
                frames.append((0, start + FRAME_HEADER))
                continue
            break
        frames.append((page, start + FRAME_HEADER))
        if size:
            before, committed = committed, len(frames)
    if committed and _is_torn(wal, frames[committed - 1][1] - FRAME_HEADER):
        return frames[:before]
    return frames[:committed]


def _is_torn(wal: bytes, start: int) -> bool:
    """The page of the frame at `start` is not the one its header was written for, and no flipped
    bit explains it. The checksum is linear, so that one flipped bit can be told from another page.

    Source: the SQLite file format, 4.2 "Checksum Algorithm".
    """
    chained = start - FRAME + 16 if start > WAL_HEADER else WAL_HEADER - 8
    first, second = struct.unpack_from(">II", wal, chained)
    page = start + FRAME_HEADER
    order = ">" if wal[3] & 1 else "<"
    words = struct.unpack(f"{order}{(8 + PAGE_BYTES) // 4}I",
                          wal[start:start + 8] + wal[page:page + PAGE_BYTES])
    for index in range(0, len(words), 2):
        first = (first + words[index] + second) & _WORD
        second = (second + words[index + 1] + first) & _WORD
    stored = struct.unpack_from(">II", wal, start + 16)
    if (first, second) == stored:
        return False
    if ((first ^ stored[0]) | (second ^ stored[1]) << 32).bit_count() == 1:
        return False
    return not _is_one_bit((stored[0] - first) & _WORD, (stored[1] - second) & _WORD, len(words))


def _is_one_bit(first: int, second: int, words: int) -> bool:
    """Whether one flipped bit in one of `words` words makes this difference of the checksum."""
    steps = [sign << bit for bit in range(32) for sign in (1, -1)]
    even, odd = (1, 1), (0, 1)  # what a word of the last pair does to the sums
    for _ in range(words // 2):
        for one, other in (even, odd):
            if any((step * one) & _WORD == first and (step * other) & _WORD == second
                   for step in steps):
                return True
        even = (even[0] + even[1]) & _WORD, (even[0] + 2 * even[1]) & _WORD
        odd = (odd[0] + odd[1]) & _WORD, (odd[0] + 2 * odd[1]) & _WORD
    return False


def _salt(wal: bytes) -> bytes:
    if _header_is_sound(wal):
        return wal[16:24]
    return wal[WAL_HEADER + 8:WAL_HEADER + 16]


def _salts_equal(wal: bytes, start: int, salt: bytes) -> bool:
    return start + FRAME <= len(wal) and wal[start + 8:start + 16] == salt


def _header_is_sound(wal: bytes) -> bool:
    if len(wal) < WAL_HEADER:
        return False
    magic, = struct.unpack_from(">I", wal)
    if magic not in (0x377F0682, 0x377F0683):
        return False
    words = struct.unpack_from(">6I" if magic & 1 else "<6I", wal)
    first = second = 0
    for index in range(0, 6, 2):
        first = (first + words[index] + second) & 0xFFFFFFFF
        second = (second + words[index + 1] + first) & 0xFFFFFFFF
    return (first, second) == struct.unpack_from(">II", wal, 24)


def carve(path: Path, wal: bytes, tables: Sequence[Table]) -> Iterator[tuple[Table, Row]]:
    """Every sound row of `tables`, older ones first; a row may come more than once."""
    latest = dict(committed_frames(wal))
    size = path.stat().st_size if path.exists() else 0
    with path.open("rb") as file:

        def page(number: int) -> bytes:
            if number in latest:
                return wal[latest[number]:latest[number] + PAGE_BYTES]
            file.seek((number - 1) * PAGE_BYTES)
            return file.read(PAGE_BYTES).ljust(PAGE_BYTES, b"\0")

        for number in range(1, -(-size // PAGE_BYTES) + 1):
            file.seek((number - 1) * PAGE_BYTES)
            own = file.read(PAGE_BYTES).ljust(PAGE_BYTES, b"\0")
            yield from _rows(own, number, page, tables)
        for number, start in committed_frames(wal):
            yield from _rows(wal[start:start + PAGE_BYTES], number, page, tables)


def _rows(page: bytes, number: int, pages: Pages, tables: Sequence[Table]
          ) -> Iterator[tuple[Table, Row]]:
    start = 100 if number == 1 else 0
    if page[start] != LEAF:
        return
    count, = struct.unpack_from(">H", page, start + 3)
    for index in range(min(count, (PAGE_BYTES - start - 8) // 2)):
        cell, = struct.unpack_from(">H", page, start + 8 + 2 * index)
        try:
            rowid, values = _record(*_payload(page, cell, pages))
        except (IndexError, struct.error, ValueError):
            continue
        found = _match(rowid, values, tables)
        if found is not None:
            yield found


def _match(rowid: int, values: list[object], tables: Sequence[Table]) -> tuple[Table, Row] | None:
    for table in tables:
        if len(values) != len(table.columns) + 1:
            continue
        row = [rowid, *values[1:]] if table.rowid else values
        if table.is_sound(row):
            return table, tuple(row[:-1])  # type: ignore[arg-type]
    return None


def _payload(page: bytes, cell: int, pages: Pages) -> tuple[int, bytes]:
    """(rowid, whole payload) of a table leaf cell, overflow pages included."""
    length, cell = _varint(page, cell)
    rowid, cell = _varint(page, cell)
    if length > 1 << 24:
        raise ValueError("no payload of ours is that long")
    most = PAGE_BYTES - 35
    if length <= most:
        return rowid, page[cell:cell + length]
    least = (PAGE_BYTES - 12) * 32 // 255 - 23
    local = least + (length - least) % (PAGE_BYTES - 4)
    local = local if local <= most else least
    payload = page[cell:cell + local]
    following, = struct.unpack_from(">I", page, cell + local)
    while len(payload) < length:
        if following == 0:
            raise ValueError("the overflow chain ends early")
        more = pages(following)
        following, = struct.unpack_from(">I", more)
        payload += more[4:4 + length - len(payload)]
    return rowid, payload


def _record(rowid: int, payload: bytes) -> tuple[int, list[object]]:
    header, position = _varint(payload, 0)
    kinds = []
    while position < header:
        kind, position = _varint(payload, position)
        kinds.append(kind)
    values: list[object] = []
    for kind in kinds:
        value, position = _value(payload, position, kind)
        values.append(value)
    return rowid, values


def _value(payload: bytes, position: int, kind: int) -> tuple[object, int]:
    if kind in (0, 8, 9):
        return (None, 0, 1)[(0, 8, 9).index(kind)], position
    if kind in _INT_BYTES:
        end = position + _INT_BYTES[kind]
        return int.from_bytes(payload[position:end], "big", signed=True), _within(payload, end)
    if kind >= 13 and kind % 2:
        end = position + (kind - 13) // 2
        return payload[position:end].decode(), _within(payload, end)
    raise ValueError("no kind of value that we write")


def _within(payload: bytes, end: int) -> int:
    if end > len(payload):
        raise ValueError("the record ends early")
    return end


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for index in range(9):
        byte = data[position + index]
        if index == 8:
            return _signed((value << 8) | byte), position + 9
        value = (value << 7) | (byte & 0x7F)
        if byte < 0x80:
            return value, position + index + 1
    raise ValueError("no varint")


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
