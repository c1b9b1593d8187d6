"""Readers on a serial line: frames out of bytes, and the driver on a pseudo terminal."""

import asyncio
import os
import pty
import random
import tty
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.aio import run
from support.battery import ReaderRules

from hal import registry
from hal.contracts import Parts
from hal.errors import BadReading, DeviceGone
from hal.readers._frames import Framing, Lines, Rdm6300, hex_line, text_line
from hal.readers.serial import FORMATS, SPOILED_MOST
from hal.values import CardUid

UID = "04A1B2C3"


def rdm(data: str) -> bytes:
    """A frame as the maker's document has it."""
    check = 0
    for byte in bytes.fromhex(data):
        check ^= byte
    return b"\x02" + f"{data}{check:02X}".encode() + b"\x03"


class Heard:
    """What a framing makes of bytes fed at times."""

    def __init__(self, make: Any, *more: Any) -> None:
        self.spoiled: list[str] = []
        self.framing: Framing = make(self.spoiled.append, *more)
        self.now_s = 10.0

    def feed(self, *chunks: bytes, pause_s: float = 0.01) -> list[str]:
        found: list[bytes | str] = []
        for chunk in chunks:
            self.now_s += pause_s
            found += self.framing.feed(chunk, self.now_s)
        return [one.hex().upper() if isinstance(one, bytes) else one for one in found]


def test_a_frame_of_the_makers_document_is_read() -> None:
    heard = Heard(Rdm6300)

    assert heard.feed(b"\x0262E3086CED08\x03") == ["62E3086CED"]  # the document's own example
    assert heard.spoiled == []


def test_frames_may_come_in_any_pieces() -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    stream = rdm("0004A1B2C3") * 3 + b"\r\n" + rdm("7F00000001")
    cuts = sorted(dice.sample(range(1, len(stream)), 9))

    heard = Heard(Rdm6300)
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    assert heard.feed(*pieces) == ["0004A1B2C3"] * 3 + ["7F00000001"]
    assert heard.spoiled == []


@pytest.mark.parametrize(("frame", "why"), [
    (b"\x0262E3086CED09\x03", "checksum"),
    (b"\x0262E3086CED\x03", "10 digits"),
    (b"\x0262E3086CZZ08\x03", "hexadecimal"),
    (b"\x0262E3\xff86CED08\x03", "hexadecimal"),
    (b"\x0262E3086CED08AA\x03", "does not end"),
    (b"\x0262E3" + rdm("0004A1B2C3"), "cut short"),
    (b"noise before", "outside"),
    (b"\x02\x03", "0 digits"),
])
def test_a_spoiled_frame_is_told_once_and_the_next_one_is_read(frame: bytes, why: str) -> None:
    heard = Heard(Rdm6300)
    swallowed = heard.feed(frame)

    after = heard.feed(rdm("0011223344"))

    assert [*swallowed, *after] in (["0011223344"], ["0004A1B2C3", "0011223344"])
    assert len(heard.spoiled) == 1 and why in heard.spoiled[0]


@pytest.mark.parametrize("at", range(14))
def test_no_flipped_byte_makes_another_card_of_a_frame(at: int) -> None:
    good = rdm("0004A1B2C3")
    for flip in range(1, 256):
        heard = Heard(Rdm6300)
        spoiled = bytes(byte ^ flip if index == at else byte for index, byte in enumerate(good))

        found = heard.feed(spoiled, good)

        # letters may change their case and stay the same digit
        assert [one for one in found if one != "0004A1B2C3"] == [], spoiled


def test_a_frame_that_stops_in_the_middle_does_not_join_the_next() -> None:
    heard = Heard(Rdm6300)
    heard.feed(b"\x0262E3086C")

    assert heard.feed(b"ED08\x03", rdm("0011223344"), pause_s=2.0) == ["0011223344"]
    assert "stopped" in heard.spoiled[0]


@pytest.mark.parametrize("line", [
    b"04A1B2C3\r", b"04A1B2C3\n", b"04A1B2C3\r\n", b"04a1b2c3\r", b"04:A1:B2:C3\r",
    b"04 A1 B2 C3\r", b"04-A1-B2-C3\r\n", b"\x0204A1B2C3\r\n\x03", b"\r\n\r\n04A1B2C3\r",
])
def test_a_line_of_digits_is_a_card_however_it_is_written(line: bytes) -> None:
    heard = Heard(Lines, hex_line)

    assert heard.feed(line, b"\r") == [UID]
    assert heard.spoiled == []


@pytest.mark.parametrize("line", [
    b"04A1B2C\r", b"hello\r", b"\xff\xfe\xfd\r", b"04" * 11 + b"\r", b"::\r", b"4" * 500 + b"\r"])
def test_a_line_that_is_no_uid_is_passed_over_and_the_next_one_read(line: bytes) -> None:
    heard = Heard(Lines, hex_line)

    assert heard.feed(line, b"04A1B2C3\r") == [UID]
    assert len(heard.spoiled) == 1


@pytest.mark.parametrize(("line", "is_card"), [
    ("A1B2C3", False), ("04A1B2C3", True), ("04A1B2C3D4E5F6", True), ("04" * 10, True),
    ("04" * 11, False)])
def test_a_uid_has_four_to_ten_bytes(line: str, is_card: bool) -> None:
    assert Heard(Lines, hex_line).feed(line.encode() + b"\r") == ([line] if is_card else [])


def test_a_line_that_does_not_end_is_told_at_once_and_not_kept() -> None:
    heard = Heard(Lines, hex_line)

    assert heard.feed(b"4" * 80) == [] and heard.spoiled == []
    assert heard.feed(*[b"4" * 80] * 100) == []
    assert len(heard.spoiled) == 1 and "more than 80 bytes" in heard.spoiled[0]
    assert heard.feed(b"04A1B2C3\r", b"04A1B2C3\r") == [UID]  # the first ends the noise
    heard.feed(b"4" * 81)
    assert heard.feed(b"04A1B2C3\r", pause_s=0.6) == [UID]  # after a pause nothing is left of it


def test_a_slow_reader_has_half_a_second_between_two_bytes() -> None:
    heard = Heard(Lines, hex_line)
    heard.now_s = 0.0

    assert heard.feed(b"04A1", b"B2C3", b"\r", pause_s=0.5) == [UID]
    assert heard.feed(b"04A1", b"B2C3\r", pause_s=0.51) == []
    assert len(heard.spoiled) == 2  # what stopped, and the two bytes that came after it


def test_noise_between_frames_is_told_once_until_something_begins() -> None:
    heard = Heard(Rdm6300)

    heard.feed(b"abc", b"def")
    assert len(heard.spoiled) == 1
    heard.feed(b"ghi", pause_s=1.0)
    assert len(heard.spoiled) == 2
    assert heard.feed(b"\x02" + rdm("0004A1B2C3")) == ["0004A1B2C3"]  # a start too many
    heard.feed(b"jkl")
    assert len(heard.spoiled) == 3
    heard.feed(b"\x02" + b"0" * 40)
    assert len(heard.spoiled) == 4  # what does not end is one frame, not many


def test_a_token_as_it_stands_has_up_to_36_characters_that_can_be_shown() -> None:
    heard = Heard(Lines, text_line)

    assert heard.feed(b"X" * 36 + b"\r", b"X" * 37 + b"\r", b"A\x1bB\r") == ["X" * 36]


def test_a_line_as_it_stands_keeps_decimal_numbers() -> None:
    heard = Heard(Lines, text_line)

    assert heard.feed(b"0006123456\r\n", b"X" * 37 + b"\r", b"caf\xc3\xa9\r") == ["0006123456"]
    assert len(heard.spoiled) == 2


@pytest.mark.parametrize("kind", FORMATS)
def test_no_noise_makes_a_framing_stumble(kind: str) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    make = {"line": lambda: Heard(Lines, hex_line), "text": lambda: Heard(Lines, text_line),
            "rdm6300": lambda: Heard(Rdm6300)}[kind]
    heard = make()
    for _ in range(300):
        heard.feed(dice.randbytes(dice.randrange(40)), pause_s=dice.choice((0.0, 0.01, 1.0)))

    good = rdm("0004A1B2C3") if kind == "rdm6300" else b"04A1B2C3\r"
    found = heard.feed(good, pause_s=1.0)

    assert found[-1].endswith(UID)


# --- the driver on a pseudo terminal --------------------------------------------------------------

class Line:
    """A pseudo terminal: we are the reader's electronics. `path` stays when it is plugged anew."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.path = folder / "reader"
        self.master: int | None = None
        self.options = options
        self.restore()
        given = {"port": str(self.path), "debounce_s": 0.0, **options}
        self.reader = registry.build("reader", "serial", "reader front", None, given, Parts())

    def send(self, what: bytes) -> None:
        assert self.master is not None
        os.write(self.master, what)

    def hold(self, uid_text: str) -> None:
        self.send(uid_text.encode() + b"\r")

    def lose(self) -> None:
        if self.master is not None:
            os.close(self.master)
            self.master = None
        self.path.unlink(missing_ok=True)

    def restore(self) -> None:
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self.path.symlink_to(os.ttyname(slave))
        os.close(slave)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


class TestSerialReader(ReaderRules):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> Any:
        line = Line(tmp_path)
        yield line
        line.lose()


async def next_of(cards: AsyncIterator[CardUid]) -> CardUid:
    async with asyncio.timeout(20.0):
        return await anext(cards)


def taps(line: Line, *chunks: bytes, count: int) -> list[CardUid]:
    async def story() -> list[CardUid]:
        await line.reader.open()
        cards = line.reader.cards()
        for chunk in chunks:
            line.send(chunk)
        found = [await next_of(cards) for _ in range(count)]
        await line.reader.close()
        return found

    try:
        return run(story())
    finally:
        line.lose()


def test_an_rdm6300_that_repeats_itself_is_one_tap_and_its_number_follows_the_options(
        folder: Path) -> None:
    line = Line(folder, format="rdm6300", debounce_s=5.0, byte_order="reversed", truncate=4,
                case="lower", separator=":")

    found = taps(line, rdm("0004A1B2C3") * 5, rdm("00FFEEDDCC"), count=2)

    assert [card.text for card in found] == ["c3:b2:a1:04", "cc:dd:ee:ff"]


def test_a_random_number_is_flagged_and_text_is_kept_as_it_is(folder: Path) -> None:
    (card,) = taps(Line(folder), b"08112233\r", count=1)
    assert card == CardUid("08112233", random=True)

    (word,) = taps(Line(folder, format="text", prefix="X-", case="lower"), b"AB 12\r", count=1)
    assert word == CardUid("X-ab 12")


def test_spoiled_frames_are_counted_and_cards_between_them_read(
        folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    line = Line(folder)
    noise = b"garbage\r" * (SPOILED_MOST - 1)

    found = taps(line, noise, b"04A1B2C3\r", noise, b"04FFFFFF\r", count=2)

    assert [card.text for card in found] == [UID, "04FFFFFF"]
    assert line.reader.spoiled == 2 * (SPOILED_MOST - 1)
    warned = [one for one in caplog.records if one.levelname == "WARNING"]
    assert len(warned) == 2


def test_nothing_but_noise_is_a_bad_reading_with_its_likely_cause(folder: Path) -> None:
    line = Line(folder, format="rdm6300")

    with pytest.raises(BadReading, match=r"make no sense.*check baudrate and format"):
        taps(line, *[rdm("0004A1B2C3")[:-1] + b"Z\x03"] * SPOILED_MOST, count=1)


def test_a_port_that_is_not_there_is_named_with_what_to_check(folder: Path) -> None:
    line = Line(folder)
    line.lose()

    with pytest.raises(DeviceGone, match=r"reader front: .*cannot be opened.*dialout"):
        run(line.reader.open())


def test_what_is_no_serial_port_is_refused_and_not_a_crash(folder: Path) -> None:
    line = Line(folder)
    line.lose()
    line.path.write_text("a file")

    with pytest.raises(DeviceGone, match="cannot be opened"):
        run(line.reader.open())


def test_a_second_program_cannot_have_the_port(folder: Path) -> None:
    line = Line(folder)
    other = registry.build("reader", "serial", "reader back", None,
                           {"port": str(line.path)}, Parts())

    async def story() -> None:
        await line.reader.open()
        try:
            with pytest.raises(DeviceGone, match="reader back"):
                await other.open()
        finally:
            await line.reader.close()

    run(story())
    line.lose()


def test_a_reader_that_is_gone_does_not_make_the_loop_spin(folder: Path) -> None:
    line = Line(folder)

    async def story() -> int:
        await line.reader.open()
        looks = 0
        arrived = line.reader._arrived

        def counted() -> None:
            nonlocal looks
            looks += 1
            arrived()
        asyncio.get_running_loop().add_reader(line.reader._port.fileno(), counted)
        line.lose()
        with pytest.raises(DeviceGone):
            await next_of(line.reader.cards())
        for _ in range(50):
            await asyncio.sleep(0)
        await line.reader.close()
        return looks

    assert run(story()) == 1
