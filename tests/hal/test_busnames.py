"""Which model answers at an address: what it says itself, what its registers look like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import meter_table
from support.bus_post import Line, model, mute_where_wrong, named, pilot_board
from support.evse_wb_board import EvseWbBoard
from support.relay_board import RelayBoard

from hal.busnames import configuration, meters, name_of
from hal.buswire import BusWire
from hal.errors import BadConfig
from hal.rtu import LineSettings
from hal.sim.rs485 import Flip, RegisterDevice, Silence, with_crc
from hal.values import PilotState

SETTINGS = LineSettings("/dev/ttyFAKE", baudrate=9600)


def told_of(line, address=5):
    return name_of(BusWire(SETTINGS, line.open, wait_s=0.2), address)


#: Models that look alike from outside.
TWINS = {
    "eastron_sdm230": "eastron_sdm120", "eastron_sdm72d_2": "eastron_sdm630",
    "gavazzi_em340": "gavazzi_em24_e1",
}  # fmt: skip


@pytest.mark.parametrize("name", meter_table.TABLE)
@pytest.mark.parametrize("manners", [lambda device: device, mute_where_wrong],
                         ids=["refuses", "mute"])  # fmt: skip
def test_every_model_is_recognised_by_its_registers(name, manners):
    told = told_of(Line(manners(model(name, 5))))

    assert (told.kind, told.sure) == ("meter", False)
    assert name in told.drivers
    assert set(told.drivers) <= {name, TWINS.get(name), *(
        one for one, twin in TWINS.items() if twin == name)}  # fmt: skip
    assert "1234.5 kWh" in told.because


def test_all_models_of_the_table_are_looked_for():
    assert set(meters()) == set(meter_table.TABLE)


@pytest.mark.parametrize(("name", "start", "text"), [
    ("abb_b21", 0x8960, "B21 112-100"), ("abb_b23", 0x8960, "B23 112-100"),
    ("abb_b23", 0x8960, "B24 352-100"), ("schneider_iem3155", 0x31, "iEM3155"),
])  # fmt: skip
def test_a_model_that_stands_in_its_registers_is_sure(name, start, text):
    device = model(name, 5)
    packed = text.encode().ljust(40, b"\0")
    device.put(3, start, *(int.from_bytes(packed[i : i + 2]) for i in range(0, 40, 2)))

    told = told_of(Line(device))

    assert (told.drivers, told.sure) == ((name,), True)


@pytest.mark.parametrize(("name", "code"), [
    ("gavazzi_em24", 71), ("gavazzi_em340", 341), ("gavazzi_em112", 103)])
def test_the_identification_code_of_carlo_gavazzi_is_sure(name, code):
    device = model(name, 5)

    def answer(request):  # register 0x000B alone is the code, in a longer read it is a voltage
        if request[1:6] == bytes((4, 0, 0x0B, 0, 1)):
            code_only = RegisterDevice(5, {4: {0x0B: code}})
            return code_only(request)
        return device(request)

    told = told_of(Line(answer))

    assert (told.drivers, told.sure) == ((name,), True)


@pytest.mark.parametrize(("name", "texts"), [
    ("siemens_pac2200", ("Siemens AG", "7KM2200-2EA00-1JA1 PAC2200", "V3.2")),
    ("schneider_iem3155", ("Schneider Electric", "A9MEM3155 IEM3155", "01.3")),
])
@pytest.mark.parametrize("at_once", [1, 9])
def test_a_device_that_knows_identification_is_told_by_its_own_words(name, texts, at_once):
    told = told_of(Line(named(model(name, 5), 5, *texts, at_once=at_once)))

    assert (told.drivers, told.sure, told.says) == ((name,), True, ", ".join(texts))


def test_words_of_a_stranger_are_told_and_nothing_is_guessed_of_them():
    told = told_of(Line(named(RegisterDevice(5), 5, "Acme", "A-1\x07", "")))

    assert (told.kind, told.drivers, told.says) == ("", (), "Acme, A-1, ")
    with pytest.raises(BadConfig, match="not recognised"):
        configuration(told, "rs485-1", 5)


@given(told=st.binary(max_size=250))
def test_no_answer_to_the_question_who_it_is_breaks_the_doctor(told):
    def answer(request):
        return with_crc(bytes((5, 43)) + told) if request[1] == 43 else None

    line = Line(answer)

    says = BusWire(SETTINGS, line.open, wait_s=0.2).identification(5)

    assert all(one.isprintable() for one in says)
    assert len(line.requests) <= 4


def test_an_evse_wb_is_recognised():
    told = told_of(Line(pilot_board(5)))

    assert (told.kind, told.drivers, told.sure) == ("pilot", ("evse_wb",), False)
    assert told.because == "firmware 17, vehicle state 1, cable 20 A"
    assert configuration(told, "rs485-1", 5) == (
        'pilot = { driver = "evse_wb", bus = "rs485-1", address = 5 }')


@pytest.mark.parametrize("car", [one for one in PilotState if one is not PilotState.F])
def test_a_board_written_from_the_datasheet_is_recognised_whatever_the_car_does(car):
    board = EvseWbBoard(firmware=18)
    board.car = car
    board.set_current = 16

    told = told_of(Line(board.answer), address=1)

    assert (told.kind, told.drivers) == ("pilot", ("evse_wb",))


def test_a_relay_board_is_recognised_by_its_coils_and_stays_as_it_is():
    board = RelayBoard(address=5)
    board.relays[2] = True

    told = told_of(Line(board.answer))

    assert (told.kind, told.drivers) == ("contactor", ("modbus_relay",))
    assert configuration(told, "rs485-1", 5) == (
        'contactor = { driver = "modbus_relay", bus = "rs485-1", address = 5, channel = 1 }')
    assert board.relays == [False, False, True, *[False] * 5]


@pytest.mark.parametrize("fill", [0, 0xFFFF, 0x7FFF])
def test_a_device_full_of_one_number_is_not_recognised(fill):
    device = RegisterDevice(5)
    for function in (3, 4):
        device.put(function, 0, *[fill] * 0x10000)

    assert told_of(Line(device)).drivers == ()


def test_noise_at_one_answer_does_not_hide_a_model():
    line = Line(model("abb_b23", 5))
    line.spoil(Silence(), Flip(-1), None, Flip(3))

    assert told_of(line).drivers == ("abb_b23",)


def test_a_three_phase_meter_on_one_phase_is_still_a_meter():
    device = model("schneider_iem3155", 5)
    device.put(3, 0x0BD5, 0, 0, 0, 0)

    assert told_of(Line(device)).drivers == ("schneider_iem3155",)


def test_only_read_functions_are_sent():
    line = Line(model("abb_b23", 5), pilot_board(6))

    told_of(line, 5)
    told_of(line, 6)

    assert {request[1] for request in line.requests} <= {1, 2, 3, 4, 43}
    with pytest.raises(ValueError, match="does not only read"):
        BusWire(SETTINGS, line.open, wait_s=0.1).ask(5, 6, 0, 1)


def test_the_line_to_paste_names_the_likeliest_driver():
    told = told_of(Line(model("inepro_pro380", 5)))

    assert configuration(told, "rs485-2", 5) == (
        'meter = { driver = "inepro_pro380", bus = "rs485-2", address = 5 }')
