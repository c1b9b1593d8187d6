"""Devices on digital lines in the configuration: what is taken, and what is told of a mistake."""

import pytest

from cpctl import config
from cpctl.config import ConfigError

TEXT = """\
schema_version = 1

[station]
identity = "CP001"
vendor = "Example"
model = "PiPost 2"

[csms]
url = "ws://127.0.0.1:9000/ocpp"

[gpio]
backend = "gpiod"
chip = "pinctrl-rp1"

[heartbeat]
driver = "gpio"
pin = "GPIO25"

[[evse]]
id = 1
pilot = { driver = "sim" }
meter = { driver = "sim" }
contactor = { driver = "gpio", pin = "GPIO17", active_high = true, feedback_pin = "GPIO27" }
lock = { driver = "motor", lock_pin = "GPIO22", unlock_pin = "GPIO10", feedback_pin = "GPIO9" }
inputs = { rcd = { driver = "gpio", pin = "GPIO23" }, door = { driver = "gpio", pin = "DOOR" } }
indicator = { driver = "gpio", red = "GPIO5", green = "GPIO6", blue = "GPIO13", buzzer = "GPIO19" }
"""


def test_a_station_on_digital_lines_is_taken_as_it_stands() -> None:
    found = config.from_text(TEXT)

    layout = found.layout().evses[0]
    assert (layout.has_feedback, layout.has_lock, layout.inputs) == (True, True, ("rcd", "door"))
    assert (layout.has_lights, layout.lights_dim) == (True, False)
    assert found.gpio == ("gpiod", "pinctrl-rp1")
    assert found.heartbeat is not None
    assert found.heartbeat.options == {"pin": "GPIO25"}


@pytest.mark.parametrize(("was", "now", "where"), [
    ('feedback_pin = "GPIO27"', 'feedback_pin = "17"', "contactor 1"),
    ('unlock_pin = "GPIO10"', 'unlock_pin = "BCM22"', "lock 1"),
    ('feedback_pin = "GPIO9"', 'feedback_pin = "GPIO27"', "contactor 1"),
    ('pin = "GPIO23"', 'pin = "gpio10"', "lock 1"),
    ('red = "GPIO5"', 'red = "DOOR"', "indicator 1"),
    ('buzzer = "GPIO19"', 'buzzer = "GPIO6"', "indicator 1"),
    ('blue = "GPIO13"', 'blue = "GPIO25"', "indicator 1"),
])
def test_a_line_is_used_once_by_whatever_option_names_it(was: str, now: str, where: str) -> None:
    assert TEXT.count(was) == 1

    with pytest.raises(ConfigError, match=rf"is used twice: here and by {where} at"):
        config.from_text(TEXT.replace(was, now))


@pytest.mark.parametrize(("was", "now", "said"), [
    ('pin = "GPIO17"', 'pin = "BOARD11"', "written as GPIO numbers, not by the place"),
    ('pin = "GPIO17"', "pin = 17", "contactor.pin"),
    ('pin = "GPIO23"', 'pin = "GPIO23", pull = "down"', "a broken wire reads as good"),
    ('pin = "GPIO23"', 'pin = "GPIO23", good_level = "high", pull = "up"',
     "a broken wire reads as good"),
    ('pin = "GPIO23"', 'pin = "GPIO23", good_level = "shut"', "good_level"),
    ('pin = "GPIO23"', 'pin = "GPIO23", debounce_ms = 500', "debounce_ms"),
    ('unlock_pin = "GPIO10", ', "", "unlock_pin"),
    ('lock_pin = "GPIO22"', 'lock_pin = "GPIO22", pulse_s = 3.0', "pulse_s"),
    ('red = "GPIO5", green = "GPIO6", blue = "GPIO13", buzzer = "GPIO19"', "active_high = true",
     "no line is named; give red, green, blue or buzzer"),
    ('backend = "gpiod"', 'backend = "rpigpio"', "backend"),
])
def test_what_cannot_be_meant_is_told_before_anything_is_driven(
        was: str, now: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf":\d+: .*{said}"):
        config.from_text(TEXT.replace(was, now, 1))
