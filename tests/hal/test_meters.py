"""The meter drivers against recorded frames: as they came, spoiled, and missing."""

import random

import pytest
from support import aio
from support.meter_frames import FRAMES, GENERIC_OPTIONS, SCENES

from hal.contracts import Option, Parts
from hal.errors import BadConfig, BadFrame, BadReading, DeviceTimeout, ExceptionAnswer, HalError
from hal.meters import eastron_sdm120, eastron_sdm630, generic_modbus
from hal.rtu import LineSettings
from hal.serialbus import SerialBus
from hal.sim.rs485 import Cut, FakeLine, Flip, Garbage, Late, Recording, Refuse, Silence

NAMES = tuple(SCENES)


class Bench:
    """One driver on a line that replays its recording."""

    def __init__(self, name, tries=1):
        driver, _, options = SCENES[name]
        self.line = FakeLine(Recording.of(FRAMES / f"{name}.txt"))
        settings = LineSettings("/dev/ttyFAKE", baudrate=115200, gap_s=0.0, tries=tries)
        self.bus = SerialBus("line", settings, open_port=self.line.open, clock=self.line)
        chosen = {"bus": "line", "address": 1} | options
        self.meter = driver.Meter("meter 1", 1, chosen, Parts(buses={"line": self.bus}))

    def read(self):
        return aio.run(self.meter.read())


@pytest.fixture
def bench(request):
    made = Bench(request.param)
    yield made
    made.bus.close()


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
    for driver in (eastron_sdm630, eastron_sdm120):
        bench = Bench(driver.__name__.rsplit(".", 1)[-1])
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

    with pytest.raises(BadReading, match="energy_import has no value") as caught:
        bench.read()
    assert " ".join(f"{word:04X}" for word in words) in str(caught.value)


def with_ones(request, count):
    from hal.sim.rs485 import with_crc

    return with_crc(bytes((request[0], request[1], 2 * count)) + b"\xff" * (2 * count))
