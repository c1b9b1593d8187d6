"""The card reader driver on a real pcscd with the virtual reader of vsmartcard-vpcd.

Skipped where a part of that is missing, with the part's name; with CPCTL_REAL=required a missing
part is a failure.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from support.pcscd import need_pcscd, run_in_pcsc_namespace

pytestmark = pytest.mark.real

STORY = Path(__file__).with_name("card_story.py")


@pytest.fixture(scope="module", autouse=True)
def real_parts() -> None:
    need_pcscd()


def tell(story: str) -> dict[str, Any]:
    done = run_in_pcsc_namespace(STORY, story)
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_a_card_is_read_once_per_tap() -> None:
    told = tell("two_taps")

    assert told["first"] == [["04A1B2C3D4E5F6", False]]
    assert told["taps"] == [["04A1B2C3D4E5F6", False]] * 2
    assert told["lost"] == ""


def test_the_text_follows_the_options_and_a_random_uid_is_flagged() -> None:
    told = tell("kinds_of_cards")

    assert told["taps"] == [["x0d:0c:0b:0a", False], ["x33:22:11:08", True]]
    assert told["lost"] == ""


def test_a_killed_pcscd_that_comes_back_is_bridged_in_silence() -> None:
    told = tell("short_restart")

    assert told["taps"][0] == ["04A1B2C3D4E5F6", False]
    assert told["new"] == [["04010203", False]]
    assert told["lost"] == ""


def test_a_pcscd_that_stays_away_is_a_loss_and_reopening_cures_it() -> None:
    told = tell("long_absence")

    assert "pcscd" in told["lost"]
    assert "pcscd" in told["refused"]
    assert told["taps"] == [["04A1B2C3D4E5F6", False]]


def test_waiting_costs_nothing_and_closing_ends_it() -> None:
    told = tell("quiet_wait")

    assert told["used_s"] < 0.2  # of two seconds; a spinning thread would use them all
    assert told["ended"]


def test_a_pattern_that_fits_no_reader_names_those_there_are() -> None:
    told = tell("no_such_reader")

    assert "ACR122" in told["refused"]
    assert "CPCTL Virtual Reader 00 00" in told["refused"]


def test_a_model_is_told_about_its_buzzer_once_and_shows_what_was_decided() -> None:
    told = tell("courtesies")

    assert [text for text, _ in told["taps"]] == ["04A1B2C3D4E5F6", "04010203"]
    assert told["heard"] == [["ff00520000", "ff0040a00401010100"], ["ff0040500401010300"]]
    assert told["lost"] == ""


def test_a_reader_whose_driver_takes_no_escape_commands_reads_cards_all_the_same() -> None:
    told = tell("forbidden_escape")

    assert told["taps"] == [["04A1B2C3D4E5F6", False]] * 2
    assert told["lost"] == ""
    assert len([one for one in told["said"] if "ifdDriverOptions" in one]) == 2  # buzzer, lights
