"""What single models of readers do differently, on a scripted pcscd, and readers that do not work.

The same with a real pcscd: tests/real/test_card_real.py.
"""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.aio import run
from support.fake_pcsc import (
    FakePcsc,
    Step,
    crash,
    insert,
    plug,
    remove,
    start,
    unplug,
    wait,
)

from hal import registry
from hal.contracts import Parts
from hal.errors import DeviceGone
from hal.readers import _pcsc_words, pcsc
from hal.readers._quirks import quirk_of
from hal.readers.pcsc import Reader, Watcher

ACR122 = "ACS ACR122U PICC Interface 00 00"
ACR1252 = "ACS ACR1252 Dual Reader [ACR1252 Dual Reader PICC] 00 00"
SILENT, LOUD = bytes.fromhex("FF00520000"), bytes.fromhex("FF0052FF00")
GREEN, RED = bytes.fromhex("FF0040A00401010101"), bytes.fromhex("FF0040500401010301")
READ_BEHAVIOUR = bytes.fromhex("E000002100")
DEFAULTS = {option.name: option.default for option in Reader.OPTIONS}
OK = b"\x90\x00"


class Stage:
    """The blocking half of the driver on a scripted pcscd, with `signal` as a step."""

    def __init__(self, reader: str, steps: Sequence[Step], commands: dict[bytes, bytes],
                 **options: Any) -> None:
        self.pcsc = FakePcsc(reader, steps=steps)
        self.pcsc.commands = commands
        self.taps: list[str] = []
        self.watcher = Watcher(
            "reader front", self.pcsc, {**DEFAULTS, "debounce_s": 0.0, **options},
            ready=lambda: None, tapped=lambda card: self.taps.append(card.text),
            monotonic_s=self.pcsc.monotonic_s, nap=self.pcsc.nap)
        self.pcsc.on_end = self.watcher.stop

    def decide(self, accepted: bool, late_s: float = 0.0) -> Step:
        def step(pcsc: FakePcsc) -> None:
            self.watcher.signal(accepted=accepted)
            pcsc.now_s += late_s
        return step

    def play(self) -> list[bytes]:
        self.watcher.run()
        return [command for _, command in self.pcsc.said]


def play(reader: str, *steps: Step, commands: dict[bytes, bytes], **options: Any) -> list[bytes]:
    return Stage(reader, steps, commands, **options).play()


@pytest.mark.parametrize(("name", "model"), [
    (ACR122, "ACS ACR122U"), ("ACS ACR122U 01 00", "ACS ACR122U"), (ACR1252, "ACS ACR1252U"),
    ("Identiv uTrust 3700 F CL Reader [uTrust 3700 F CL Reader] (5502) 00 00", "Identiv uTrust"),
    ("Elatec TWN4/B1.64/CPRx 00 00", "Elatec TWN4"),
    ("Gemalto PC Twin Reader (433-Swap) 00 00", "QEMU usb-ccid"),
])
def test_a_model_is_known_by_its_name(name: str, model: str) -> None:
    assert quirk_of(name).model == model
    assert quirk_of("CPCTL Virtual Reader 00 00").model == "PC/SC"


def test_a_reader_is_left_as_it_is_unless_told_otherwise() -> None:
    assert play(ACR122, insert("04A1B2C3", ACR122), commands={}) == []


@pytest.mark.parametrize(("buzzer", "command"), [(False, SILENT), (True, LOUD)])
def test_the_buzzer_of_an_acr122_is_set_with_the_first_card_and_once(
        buzzer: bool, command: bytes) -> None:
    stage = Stage(ACR122, [insert("04A1B2C3", ACR122), remove(ACR122), wait(5.0),
                           insert("04A1B2C3", ACR122)], {command: OK}, buzzer=buzzer)

    assert stage.play() == [command]
    assert stage.taps == ["04A1B2C3", "04A1B2C3"]


def test_a_reader_that_was_unplugged_is_told_about_its_buzzer_again() -> None:
    stage = Stage(ACR122, [insert("04A1B2C3", ACR122), unplug(ACR122), wait(1.0),
                           insert("04A1B2C3", ACR122)], {SILENT: OK}, buzzer=False)
    stage.pcsc._during_naps = [plug(ACR122)]

    assert stage.play() == [SILENT, SILENT]


def test_after_a_restart_of_pcscd_the_buzzer_is_set_again() -> None:
    stage = Stage(ACR122, [insert("04A1B2C3", ACR122), remove(ACR122), crash, wait(2.0),
                           insert("04A1B2C3", ACR122)], {SILENT: OK}, buzzer=False)
    stage.pcsc._during_naps = [start]

    assert stage.play() == [SILENT, SILENT]


def test_a_refused_buzzer_command_costs_no_tap_and_is_told_once(
        caplog: pytest.LogCaptureFixture) -> None:
    steps = [insert("04A1B2C3", ACR122), unplug(ACR122), insert("04FFFFFF", ACR122)]
    stage = Stage(ACR122, steps, {}, buzzer=False)
    stage.pcsc._during_naps = [plug(ACR122)]

    stage.play()

    assert stage.taps == ["04A1B2C3", "04FFFFFF"]
    assert caplog.text.count("took no command for its buzzer") == 1


@pytest.mark.parametrize(("before", "buzzer", "written"), [
    (0x8F, False, 0x87), (0x7F, False, 0x77), (0x87, True, 0x8F), (0x87, False, None)])
def test_the_buzzer_of_an_acr1252_is_a_bit_written_only_when_it_differs(
        before: int, buzzer: bool, written: int | None) -> None:
    answer = bytes.fromhex("E10000000100")[:5]
    commands = {READ_BEHAVIOUR: answer + bytes((before,))}
    write = bytes.fromhex("E000002101") + bytes((written or 0,))
    commands[write] = answer + write[-1:]
    stage = Stage(ACR1252, [wait(1.0)], commands, buzzer=buzzer)
    stage.pcsc.escapes_pass = True

    said = stage.play()

    assert said == ([READ_BEHAVIOUR] if written is None else [READ_BEHAVIOUR, write])


def test_an_escape_that_libccid_forbids_is_told_with_the_option_to_set(
        caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(ACR1252, [insert("04A1B2C3", ACR1252), remove(ACR1252),
                            insert("04A1B2C3", ACR1252)], {}, buzzer=False)

    assert stage.play() == []
    assert stage.taps == ["04A1B2C3", "04A1B2C3"]
    assert caplog.text.count("ifdDriverOptions") == 1


def test_accepted_and_refused_are_shown_by_the_reader_that_saw_the_card() -> None:
    stage = Stage(ACR122, [], {GREEN: b"\x90\x00", RED: b"\x90\x02"})
    for step in (insert("04A1B2C3", ACR122), stage.decide(True), remove(ACR122),
                 insert("04FFFFFF", ACR122), stage.decide(False), remove(ACR122)):
        stage.pcsc.do(step)

    assert stage.play() == [GREEN, RED]
    assert stage.taps == ["04A1B2C3", "04FFFFFF"]


def test_a_reader_with_a_silent_buzzer_shows_it_by_light_alone() -> None:
    stage = Stage(ACR122, [], {}, buzzer=False)
    for step in (insert("04A1B2C3", ACR122), stage.decide(False)):
        stage.pcsc.do(step)

    assert stage.play() == [SILENT, RED[:-1] + b"\x00"]


def test_a_decision_after_the_card_has_left_or_long_ago_is_not_shown_on_a_card_connection() -> None:
    stage = Stage(ACR122, [], {GREEN: b"\x90\x00"})
    for step in (insert("04A1B2C3", ACR122), remove(ACR122), stage.decide(True),
                 insert("04A1B2C3", ACR122), stage.decide(True, late_s=5.0)):
        stage.pcsc.do(step)

    assert stage.play() == []


def test_a_reader_reached_by_escape_shows_it_without_a_card_too() -> None:
    beep = bytes.fromhex("E0000028010A")
    stage = Stage(ACR1252, [], {beep: bytes.fromhex("E1000000010A")})
    stage.pcsc.escapes_pass = True
    for step in (insert("04A1B2C3", ACR1252), remove(ACR1252), stage.decide(True)):
        stage.pcsc.do(step)

    assert stage.play() == [beep]


def test_signals_can_be_turned_off() -> None:
    stage = Stage(ACR122, [], {GREEN: b"\x90\x00"}, signals=False)
    for step in (insert("04A1B2C3", ACR122), stage.decide(True)):
        stage.pcsc.do(step)

    assert stage.play() == []


@pytest.mark.parametrize("reader", [ACR122, ACR1252])
@pytest.mark.parametrize("escapes", [False, True])
def test_a_reader_that_took_no_signal_is_not_asked_again(
        reader: str, escapes: bool, caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(reader, [], {})
    stage.pcsc.escapes_pass = escapes
    for step in (insert("04A1B2C3", reader), stage.decide(True), stage.decide(True),
                 remove(reader), insert("04A1B2C3", reader), stage.decide(False)):
        stage.pcsc.do(step)

    stage.play()

    assert stage.taps == ["04A1B2C3", "04A1B2C3"]
    assert caplog.text.count("for its lights") == 1


# --- readers that do not work ---------------------------------------------------------------------

def test_a_reader_that_takes_no_commands_is_a_loss_with_what_helps_this_model() -> None:
    def deaf(pcsc: FakePcsc) -> None:
        pcsc.transmit_code = 0x80100016
    steps = [deaf, *[insert("04A1B2C3", ACR122), remove(ACR122)] * 5]

    with pytest.raises(DeviceGone, match=r"takes no commands.*plug it anew.*libacsccid1"):
        play(ACR122, *steps, commands={}, patience_s=60.0)


def test_a_card_that_could_not_be_asked_now_and_then_is_no_loss() -> None:
    def deaf(code: int) -> Step:
        return lambda pcsc: setattr(pcsc, "transmit_code", code)
    tap = [insert("04A1B2C3", ACR122), remove(ACR122)]
    stage = Stage(ACR122, [deaf(0x80100016), *tap, *tap, deaf(0), *tap] * 3, {})

    stage.play()

    assert len(stage.taps) == 3


def test_a_reader_that_the_kernel_holds_is_named_with_the_cure(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for entry in ("1-1.4:1.0", "bind", "new_id"):
        (tmp_path / entry).touch()
    monkeypatch.setattr(_pcsc_words, "KERNEL_NFC", str(tmp_path))
    stage = Stage(ACR122, [], {})
    stage.pcsc.slots.clear()

    with pytest.raises(DeviceGone, match=r"pn533_usb holds the one at USB 1-1\.4: blacklist"):
        stage.play()


def test_a_pcscd_that_is_not_there_is_named_with_the_cure() -> None:
    stage = Stage(ACR122, [], {})
    stage.pcsc.up = False

    with pytest.raises(DeviceGone, match=r"not running.*apt install pcscd"):
        stage.play()


def test_a_reader_that_hangs_over_a_card_is_lost_and_its_thread_is_not_doubled(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcsc, "HUNG_S", 0.05)
    monkeypatch.setattr(pcsc, "CLOSE_TRIES", 3)
    world = FakePcsc(ACR122)
    world.hold = threading.Event()
    reader = registry.build("reader", "pcsc", "reader front", None, {}, Parts())
    reader.import_scard = lambda: world

    async def story() -> None:
        await reader.open()
        world.do(insert("04A1B2C3", ACR122))
        with pytest.raises(DeviceGone, match="hangs; plug it anew"):
            await anext(reader.cards())
        await reader.close()
        with pytest.raises(DeviceGone, match="still holds a call of ours"):
            await reader.open()
        world.hold.set()
        while reader._left.is_alive():
            await asyncio.sleep(0.01)
        await reader.open()
        world.do(remove(ACR122))
        world.do(insert("04FFFFFF", ACR122))
        assert (await anext(reader.cards())).text == "04FFFFFF"
        await reader.close()

    run(story())
