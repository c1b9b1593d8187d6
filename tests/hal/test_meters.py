"""The meter drivers against recorded frames: as they came, spoiled, and missing."""

import random
import struct

import pytest
from support import aio, meter_table
from support.battery import MeterRules
from support.meter_frames import FRAMES, GENERIC_OPTIONS, SCENES, driver_of, recordings
from support.modbus_slave import Registers

from hal import registry
from hal.contracts import Option, Parts
from hal.errors import BadConfig, BadFrame, BadReading, DeviceTimeout, ExceptionAnswer, HalError
from hal.meters import generic_modbus
from hal.rtu import LineSettings
from hal.serialbus import SerialBus
from hal.sim.rs485 import (
    Cut,
    FakeLine,
    Flip,
    Garbage,
    Late,
    Missing,
    Recording,
    Refuse,
    RegisterDevice,
    Silence,
    recorded_exchanges,
)
from hal.values import MeterReading

NAMES = recordings()
KINDS = {"u16": 1, "i16": 1, "u32": 2, "i32": 2, "f32": 2, "u64": 4, "i64": 4, "f64": 4}


class Bench:
    """One driver on a line that replays its recording."""

    def __init__(self, name, tries=1):
        driver = driver_of(name)
        _, options = SCENES[driver]
        recorded = recorded_exchanges(FRAMES / f"{name}.txt")
        self.line = FakeLine(Recording(recorded))
        settings = LineSettings("/dev/ttyFAKE", baudrate=115200, gap_s=0.0, tries=tries)
        self.bus = SerialBus("line", settings, open_port=self.line.open, clock=self.line)
        chosen = {"bus": "line", "address": recorded[0][0][0]} | options
        parts = Parts(buses={"line": self.bus})
        self.meter = registry.build("meter", driver, "meter 1", 1, chosen, parts)

    def read(self):
        return aio.run(self.meter.read())


@pytest.fixture
def bench(request):
    made = Bench(request.param)
    yield made
    made.bus.close()


class ShownMeter:
    """One driver on a line with a made-up meter of its model, for the battery."""

    def __init__(self, model):
        self.model = model
        self.shown = Registers(1)
        for words in self.shown.words.values():
            for start, count in meter_table.spans(model):
                words.update((at, 0) for at in range(start, start + count))
        meter_table.show(model, self.shown)
        self.row = meter_table.rows(model)["energy_import"]
        self.line = FakeLine(RegisterDevice(1, self.shown.words))
        settings = LineSettings("/dev/ttyFAKE", baudrate=115200, gap_s=0.0)
        self.bus = SerialBus("line", settings, open_port=self.line.open, clock=self.line)
        options = {"bus": "line", "address": 1}
        parts = Parts(buses={"line": self.bus})
        self.meter = registry.build("meter", model, "meter 1", 1, options, parts)

    def show(self, register_wh):
        """Shown as closely as the coding of the model can; what that is."""
        self.row.put(self.shown, register_wh)
        counts = register_wh / self.row.count_is
        if self.row.kind == "f32":
            return round(struct.unpack(">f", struct.pack(">f", counts))[0] * self.row.count_is)
        return round(round(counts) * self.row.count_is)

    def lose(self):
        self.line.plugged = False

    def restore(self):
        self.line.plugged = True
        self.line.now += 60.0  # past the pause before the port is opened again


class TestEveryModel(MeterRules):
    @pytest.fixture(params=meter_table.TABLE)
    def bench(self, request):
        made = ShownMeter(request.param)
        yield made
        made.bus.close()


#: What nobody believes, by quantity, small enough for the coarsest coding.
ABSURD = {
    "energy_import": 2e9, "energy_export": 2e9, "voltage": 600.0, "current": 900.0,
    "power": 120e3, "power_total": 400e3, "reactive_power_total": -400e3,
    "power_factor_total": 1.5, "frequency": 150.0,
}  # fmt: skip
READ = [(model, quantity) for model in meter_table.TABLE for quantity in meter_table.rows(model)
        if quantity in ABSURD]  # fmt: skip
NAMES_OF_OURS = {"power": "powers", "power_total": "power", "power_factor_total": "power_factor",
                 "reactive_power_total": "reactive_power"}


@pytest.fixture
def shown(request):
    made = ShownMeter(request.param)
    yield made
    made.bus.close()


@pytest.mark.parametrize(("shown", "quantity"), READ, indirect=["shown"])
def test_no_model_says_what_nobody_believes(shown, quantity):
    meter_table.rows(shown.model)[quantity].put(shown.shown, ABSURD[quantity])

    with pytest.raises(BadReading, match=rf"^meter 1: {NAMES_OF_OURS.get(quantity, quantity)}\b"):
        aio.run(shown.meter.read())


@pytest.mark.parametrize("shown", meter_table.TABLE, indirect=True)
def test_what_a_model_has_no_value_of_is_left_out_of_its_reading(shown):
    for quantity, row in meter_table.rows(shown.model).items():
        if quantity != "energy_import":
            for at in row.addresses:
                width = KINDS[row.kind]
                words = [0xFFFF] * width if row.kind[0] in "uf" else [0x8000] + [0] * (width - 1)
                ordered = words if row.order == "big" else words[::-1]
                shown.shown.put_words(at, *ordered, function=row.function)

    found = aio.run(shown.meter.read())

    assert found == MeterReading(energy_import_wh=1_234_500)


@pytest.mark.parametrize("shown", meter_table.TABLE, indirect=True)
def test_a_reading_takes_at_most_seven_requests_and_none_is_too_long(shown):
    aio.run(shown.meter.read())

    longest = 11 if shown.model.startswith("gavazzi") else 80
    assert len(shown.line.requests) <= 7
    assert max(request[5] for request in shown.line.requests) <= longest


every_driver = pytest.mark.parametrize("bench", NAMES, indirect=True)


@pytest.mark.parametrize("bench", ["eastron_sdm630"], indirect=True)
def test_the_sdm630_says_what_was_recorded(bench):
    found = bench.read()

    assert (found.energy_import_wh, found.energy_export_wh) == (1_234_560, 40)
    assert found.power_w == pytest.approx(11_040.5)
    assert found.powers_w == pytest.approx((3680.0, 3679.5, 3681.0))
    assert found.currents_a == pytest.approx((16.01, 15.99, 15.97))
    assert found.voltages_v == pytest.approx((230.1, 229.9, 231.4))
    assert found.reactive_power_var == pytest.approx(-210.5)
    assert found.power_factor == pytest.approx(0.999)
    assert found.frequency_hz == pytest.approx(50.02)
    assert len(bench.line.requests) == 1


@pytest.mark.parametrize("bench", ["eastron_sdm120"], indirect=True)
def test_the_sdm120_says_what_was_recorded(bench):
    found = bench.read()

    assert (found.energy_import_wh, found.energy_export_wh) == (98_760, 0)
    assert found.power_w == pytest.approx(2977.6)
    assert found.currents_a == pytest.approx((12.98,))
    assert found.voltages_v == pytest.approx((229.4,))
    assert len(bench.line.requests) == 1


@pytest.mark.parametrize("bench", ["generic_modbus"], indirect=True)
def test_a_meter_from_the_configuration_says_what_was_recorded(bench):
    found = bench.read()

    assert found.energy_import_wh == 76_543_210
    assert found.power_w == pytest.approx(-1234.56)
    assert found.voltages_v == pytest.approx((230.1,))


@every_driver
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Silence(), DeviceTimeout),
        (Late(5.0), DeviceTimeout),
        (Cut(1), BadFrame),
        (Cut(6), BadFrame),
        (Garbage(b""), DeviceTimeout),
        (Garbage(b"\xa5" * 40), BadFrame),
        (Refuse(2), ExceptionAnswer),
        (Refuse(6), ExceptionAnswer),
    ],
)
def test_a_spoiled_answer_is_an_error_by_name_and_never_a_reading(bench, fault, error):
    bench.line.spoil(fault)

    with pytest.raises(error, match=r"^meter 1: "):
        bench.read()


@every_driver
def test_no_single_bit_turns_into_a_reading(bench, seed):
    rng = random.Random(seed)
    for _ in range(60):
        bench.line.spoil(Flip(rng.randrange(7), bit=rng.randrange(8)))
        with pytest.raises(HalError):
            bench.read()


@every_driver
def test_no_answer_with_a_missing_byte_or_end_is_a_reading(bench):
    answer = len(bench.line.device(recorded_request(bench)))
    at = sorted({*range(0, answer, max(1, answer // 9)), answer - 2, answer - 1})

    for fault in [*map(Cut, at), *map(Missing, at)]:
        bench.line.spoil(fault)
        with pytest.raises(HalError):
            bench.read()


def recorded_request(bench):
    """The first request of a reading."""
    bench.read()
    return bench.line.requests[0]


@every_driver
def test_after_a_spoiled_answer_the_next_reading_is_right(bench):
    right = bench.read()

    for fault in (Silence(), Cut(4), Garbage(b"\x01\x04"), Late(0.5), Flip(3)):
        bench.line.spoil(fault)
        with pytest.raises(HalError):
            bench.read()
        assert bench.read() == right


@every_driver
def test_a_missing_recording_is_a_silent_meter(bench):
    bench.line.device = Recording([])

    with pytest.raises(DeviceTimeout, match="no answer from address 1"):
        bench.read()


@every_driver
def test_building_a_driver_opens_nothing(bench):
    assert bench.line.opened == 0


@every_driver
def test_every_driver_declares_what_the_configuration_check_must_know(bench):
    options = {option.name: option for option in bench.meter.OPTIONS}

    assert all(isinstance(option, Option) and option.help for option in options.values())
    assert options["bus"].required and options["bus"].role == "bus"
    assert options["address"].required and options["address"].role == "address"
    assert set(bench.meter.serial) == {"baudrate", "parity", "stopbits"}


def test_the_eastron_drivers_ask_for_one_block_within_their_limit():
    for name in ("eastron_sdm630", "eastron_sdm120"):
        bench = Bench(name)
        assert [(b.start, b.count) for b in bench.meter.blocks] == [(0x0000, 76)]


ENERGY = GENERIC_OPTIONS["registers"]["energy_import"]


@pytest.mark.parametrize(
    ("registers", "text"),
    [
        ({}, "at least the register energy_import"),
        ({"energie": ENERGY}, "registers.energie: no such quantity; there are energy_import"),
        ({"energy_import": 7}, "a table is expected"),
        ({"energy_import": {"type": "u32"}}, "missing function, address, unit"),
        ({"energy_import": ENERGY | {"adress": 1}}, "unknown adress"),
        ({"energy_import": ENERGY | {"type": "float"}}, "type is one of f32"),
        ({"energy_import": ENERGY | {"function": "coil"}}, "function is input or holding"),
        ({"energy_import": ENERGY | {"unit": "J"}}, "registers.energy_import: no unit 'J'"),
        ({"energy_import": ENERGY | {"address": "0x10"}}, "registers.energy_import: "),
        ({"energy_import": ENERGY | {"scale": "0.1"}}, "scale is a number"),
    ],
)
def test_a_mistake_in_the_registers_is_told_with_its_place(registers, text):
    bus = Bench("generic_modbus").bus

    with pytest.raises(BadConfig, match=text):
        generic_modbus.Meter(
            "meter 1", 1, {"bus": "line", "address": 1, "registers": registers},
            Parts(buses={"line": bus}),
        )  # fmt: skip


@every_driver
def test_a_reading_that_cannot_be_true_is_refused(bench):
    energy = bench.meter.fields["energy_import"]
    words = (0xFFFF,) * energy.width

    def unfitted(request):
        count = int.from_bytes(request[4:6], "big")
        return with_ones(request, count)

    bench.line.device = unfitted

    with pytest.raises(BadReading, match=r"energy_import (has no value|is -)") as caught:
        bench.read()
    assert " ".join(f"{word:04X}" for word in words) in str(caught.value)


def with_ones(request, count):
    from hal.sim.rs485 import with_crc

    return with_crc(bytes((request[0], request[1], 2 * count)) + b"\xff" * (2 * count))
