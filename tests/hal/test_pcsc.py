"""The PC/SC driver against a scripted pcscd: what is a tap, what is a loss, and that nothing spins.

The same driver on a real pcscd: tests/real/test_card_real.py.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from support.fake_pcsc import (
    READER,
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

from hal.errors import DeviceGone
from hal.readers._pcsc_words import chosen_by
from hal.readers._uid import is_random, uid_text
from hal.readers.pcsc import Reader, Watcher
from hal.values import CardUid

DEFAULTS = {option.name: option.default for option in Reader.OPTIONS}


def watch(pcsc: FakePcsc, **options: Any) -> list[str]:
    """The taps until the script is used up. Raises DeviceGone as the driver does."""
    taps: list[CardUid] = []
    watcher = Watcher("reader front", pcsc, {**DEFAULTS, **options}, ready=lambda: None,
                      tapped=taps.append, monotonic_s=pcsc.monotonic_s, nap=pcsc.nap)
    pcsc.on_end = watcher.stop
    watcher.run()
    return [card.text for card in taps]


def taps_of(*steps: Step, during_naps: Sequence[Step] = (), **options: Any) -> list[str]:
    return watch(FakePcsc(steps=steps, during_naps=during_naps), **options)


def test_each_tap_is_told_once() -> None:
    taps = taps_of(insert("04A1B2C3"), remove(), wait(2.0), insert("04A1B2C3"), remove())

    assert taps == ["04A1B2C3", "04A1B2C3"]


def test_a_card_that_flickers_in_the_field_is_one_tap() -> None:
    taps = taps_of(insert("04A1B2C3"), wait(10.0), remove(), wait(0.3), insert("04A1B2C3"))

    assert taps == ["04A1B2C3"]


def test_another_card_needs_no_pause() -> None:
    taps = taps_of(insert("04A1B2C3"), remove(), insert("04FFFFFF"))

    assert taps == ["04A1B2C3", "04FFFFFF"]


def test_a_removal_and_insertion_between_two_looks_is_a_tap() -> None:
    def swap(pcsc: FakePcsc) -> None:
        remove()(pcsc)
        insert("04FFFFFF")(pcsc)

    assert taps_of(insert("04A1B2C3"), swap) == ["04A1B2C3", "04FFFFFF"]


def test_a_card_that_lies_there_at_the_beginning_is_no_tap() -> None:
    pcsc = FakePcsc(steps=[remove(), wait(2.0), insert("04A1B2C3")])
    insert("04A1B2C3")(pcsc)

    assert watch(pcsc) == ["04A1B2C3"]


def test_a_card_pulled_early_is_normal() -> None:
    def pulled_before_it_is_read(pcsc: FakePcsc) -> None:
        insert("04A1B2C3")(pcsc)
        pcsc.connect_code = 0x8010000C

    def readable(pcsc: FakePcsc) -> None:
        pcsc.connect_code = 0

    taps = taps_of(pulled_before_it_is_read, remove(), readable, insert("04FFFFFF"))

    assert taps == ["04FFFFFF"]


def test_a_card_without_identifier_is_no_tap(caplog: pytest.LogCaptureFixture) -> None:
    pcsc = FakePcsc(steps=[insert("04A1B2C3")])
    pcsc.answer = [0x6A, 0x81]

    assert watch(pcsc) == []
    assert "not contactless" in caplog.text


def test_a_card_that_does_not_answer_is_no_tap() -> None:
    assert taps_of(insert("04A1B2C3", mute=True)) == []


def test_bytes_are_the_same_when_pyscard_hands_them_over_signed() -> None:
    pcsc = FakePcsc(steps=[insert("04A1B2C3")])
    pcsc.answer = [0x04, 0xA1 - 256, 0xB2 - 256, 0xC3 - 256, 0x90 - 256, 0]

    assert watch(pcsc) == ["04A1B2C3"]


def test_the_second_of_two_readers_counts_too_but_a_sam_slot_does_not() -> None:
    sam = "ACS ACR1252 SAM Interface 00 01"
    pcsc = FakePcsc(READER, "ACS ACR122U 01 00", sam, steps=[
        insert("04A1B2C3", "ACS ACR122U 01 00"), insert("04EEEEEE", sam), insert("04FFFFFF")])

    assert watch(pcsc) == ["04A1B2C3", "04FFFFFF"]


def test_a_restart_of_pcscd_is_bridged_and_a_card_left_lying_is_no_tap() -> None:
    def back_with_the_card_still_there(pcsc: FakePcsc) -> None:
        start(pcsc)

    taps = taps_of(insert("04A1B2C3"), crash, remove(), wait(2.0), insert("04FFFFFF"),
                   during_naps=[wait(0.0), back_with_the_card_still_there])

    assert taps == ["04A1B2C3", "04FFFFFF"]


def test_a_reader_unplugged_and_plugged_again_is_bridged() -> None:
    taps = taps_of(insert("04A1B2C3"), unplug(), wait(2.0), insert("04FFFFFF"),
                   during_naps=[wait(0.0), plug()])

    assert taps == ["04A1B2C3", "04FFFFFF"]


def test_a_reader_with_another_name_after_plugging_again_is_found() -> None:
    other = "ACS ACR122U PICC Interface 00 01"
    taps = taps_of(unplug(), insert("04FFFFFF", other), during_naps=[plug(other)], reader="ACR122")

    assert taps == ["04FFFFFF"]


@pytest.mark.parametrize("loss", [crash, unplug()], ids=["pcscd", "reader"])
def test_what_stays_away_is_a_loss_after_some_patience_and_few_tries(loss: Step) -> None:
    pcsc = FakePcsc(steps=[loss])

    with pytest.raises(DeviceGone, match="reader front"):
        watch(pcsc, patience_s=30.0)

    assert 30.0 <= pcsc.now_s - 1_000.0 <= 32.0
    assert pcsc.calls["establish"] < 40


def test_no_reader_at_the_beginning_is_told_at_once_with_those_there_are() -> None:
    with pytest.raises(DeviceGone, match=r"matches 'Identiv' \(found: 'ACS ACR122U"):
        watch(FakePcsc(), reader="Identiv")


def test_denied_access_names_the_cure() -> None:
    pcsc = FakePcsc()
    pcsc.denies = True

    with pytest.raises(DeviceGone, match="polkit"):
        watch(pcsc)


def test_a_pcscd_that_reports_changes_for_ever_does_not_make_the_thread_spin() -> None:
    def go_mad(pcsc: FakePcsc) -> None:
        pcsc.spins = True

    pcsc = FakePcsc(steps=[go_mad, wait(0.0)])

    with pytest.raises(DeviceGone, match="changes that are none"):
        watch(pcsc, patience_s=5.0)

    assert pcsc.calls["wait"] < 30


@pytest.mark.parametrize(("options", "text"), [
    ({}, "04A1B2C3D4E5F6"),
    ({"byte_order": "reversed"}, "F6E5D4C3B2A104"),
    ({"case": "lower"}, "04a1b2c3d4e5f6"),
    ({"separator": ":"}, "04:A1:B2:C3:D4:E5:F6"),
    ({"prefix": "RFID-", "case": "lower"}, "RFID-04a1b2c3d4e5f6"),
    ({"truncate": 4}, "04A1B2C3"),
    ({"truncate": 4, "byte_order": "reversed"}, "F6E5D4C3"),
])
def test_the_text_is_made_as_the_options_say(options: dict[str, Any], text: str) -> None:
    assert uid_text(bytes.fromhex("04A1B2C3D4E5F6"), options) == text


def test_only_a_single_size_uid_beginning_with_08_is_random() -> None:
    assert is_random(bytes.fromhex("08112233"))
    assert not is_random(bytes.fromhex("04112233"))
    assert not is_random(bytes.fromhex("08112233445566"))


def test_a_pattern_is_part_of_the_name_and_brackets_are_plain() -> None:
    name = "ACS ACR122U [PICC Interface] 00 00"

    assert chosen_by("")(name)
    assert chosen_by("acr122u [picc")(name)
    assert chosen_by("ACS*00 00")(name)
    assert not chosen_by("ACR1252")(name)
