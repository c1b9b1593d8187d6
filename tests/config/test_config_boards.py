"""Pilot boards and contactors that must fit each other, and what is said about weak ones."""

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

[serial.rs485-1]
port = "/dev/ttyUSB0"

[[evse]]
id = 1
pilot = {pilot}
contactor = {contactor}
meter = {{ driver = "sim" }}
"""
EVSE_WB = '{ driver = "evse_wb", bus = "rs485-1" }'
RELAY = '{ driver = "modbus_relay", bus = "rs485-1", address = 4, channel = 1 }'


def read(pilot: str, contactor: str) -> config.Config:
    return config.from_text(TEXT.format(pilot=pilot, contactor=contactor))


def test_a_board_without_a_silence_time_out_is_not_left_alone_with_the_contactor() -> None:
    with pytest.raises(ConfigError, match=r"goes on offering.*enable contactor in series"):
        read(EVSE_WB, '{ driver = "board" }')

    assert read(EVSE_WB, '{ driver = "board", trust_board = true }').evses[0].contactor.options == {
        "trust_board": True}


def test_a_pilot_that_switches_nothing_is_no_board_for_a_contactor() -> None:
    with pytest.raises(ConfigError, match="switches no contactor"):
        read('{ driver = "sim" }', '{ driver = "board" }')


def test_inputs_that_the_board_watches_are_those_of_the_evse() -> None:
    gpio = '{ driver = "gpio", pin = "GPIO17" }'

    without = read(EVSE_WB, gpio).layout().evses[0]
    fitted = read('{ driver = "evse_wb", bus = "rs485-1", rcd = true }', gpio).layout().evses[0]

    assert (without.inputs, fitted.inputs) == ((), ("rcd",))


def test_two_relays_of_one_board_are_two_contactors_and_the_same_one_is_not() -> None:
    second = TEXT[TEXT.index("[[evse]]"):].replace("id = 1", "id = 2")

    def two(other: str) -> str:
        return (TEXT + second).format(pilot='{ driver = "sim" }', contactor="CONTACTOR").replace(
            "CONTACTOR", RELAY, 1).replace("CONTACTOR", other)

    assert len(config.from_text(two(RELAY.replace("channel = 1", "channel = 2"))).evses) == 2
    with pytest.raises(ConfigError, match="address 4 on rs485-1 is used twice"):
        config.from_text(two(RELAY))


def test_a_relay_with_an_input_for_its_contact_has_feedback() -> None:
    with_contact = RELAY.replace("channel = 1", "channel = 1, feedback_input = 2")

    found = [read('{ driver = "sim" }', one).layout().evses[0].has_feedback
             for one in (RELAY, with_contact, '{ driver = "sim", feedback = false }')]

    assert found == [False, True, False]


@pytest.mark.parametrize("kind", ["pilot", "contactor", "indicator", "lock"])
def test_a_driver_that_does_not_exist_is_a_mistake_with_its_line(kind: str) -> None:
    devices = {"pilot": '{ driver = "sim" }', "contactor": '{ driver = "sim" }'}
    text = TEXT.format(**devices)
    wrong = f'{kind} = {{ driver = "nonsense" }}'
    text = (text.replace(f"{kind} = {devices[kind]}", wrong) if kind in devices
            else f"{text}{wrong}\n")

    with pytest.raises(ConfigError, match=rf'evse\.{kind}\.driver: there is no driver "nonsense"'):
        config.from_text(text)
