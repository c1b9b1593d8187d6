"""A meter told by its registers: codings, block reads, what is missing and what cannot be true."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import aio

from hal.contracts import Parts
from hal.errors import BadConfig, BadReading, ExceptionAnswer
from hal.modbus_meter import (
    BY_KIND,
    HOLDING,
    INPUT,
    LOW_FIRST,
    Block,
    ModbusMeter,
    blocks_of,
    f32,
    f64,
    i16,
    i32,
    i64,
    u16,
    u32,
    u64,
)
from hal.rtu import LineSettings
from hal.serialbus import SerialBus
from hal.sim.rs485 import FakeLine, Refuse, RegisterDevice

LETTERS = {
    "u16": "H", "i16": "h", "u32": "I", "i32": "i", "u64": "Q", "i64": "q", "f32": "f", "f64": "d"
}  # fmt: skip


def words(kind, value):
    packed = struct.pack(">" + LETTERS[kind], value)
    return [int.from_bytes(packed[i : i + 2], "big") for i in range(0, len(packed), 2)]


@pytest.fixture
def device():
    made = RegisterDevice(address=9)
    for function in (INPUT, HOLDING):
        made.put(function, 0, *([0] * 300))
    return made


@pytest.fixture
def bus(device):
    line = FakeLine(device)
    settings = LineSettings("/dev/ttyFAKE", baudrate=115200, gap_s=0.0, tries=1)
    made = SerialBus("line", settings, open_port=line.open, clock=line)
    made.line = line
    yield made
    made.close()


def made_of(bus, options=None, **members):
    driver = type("Meter", (ModbusMeter,), members)
    return driver(
        "meter 1", 1, {"bus": "line", "address": 9} | (options or {}), Parts(buses={"line": bus})
    )


def read(bus, options=None, **members):
    return aio.run(made_of(bus, options, **members).read())


# --- codings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value", "scale", "unit", "wh"),
    [
        ("u16", 65_534, 1, "kWh", 65_534_000),
        ("i16", 32_766, 1, "Wh", 32_766),
        ("u32", 4_294_967, 0.1, "kWh", 429_496_700),
        ("i32", 214_748, 1, "kWh", 214_748_000),
        ("u64", 100_000_001, 0.01, "kWh", 1_000_000_010),
        ("u64", 987_654_321, 1, "Wh", 987_654_321),
        ("i64", 55, 1, "MWh", 55_000_000),
        ("f32", 14.32, 1, "kWh", 14_320),
        ("f64", 123_456.789, 1, "kWh", 123_456_789),
    ],
)
def test_energy_is_whole_wh_whatever_its_coding(bus, device, kind, value, scale, unit, wh):
    device.put(INPUT, 10, *words(kind, value))

    if wh > 1_000_000_000:
        with pytest.raises(BadReading):
            read(bus, energy_import=BY_KIND[kind](INPUT, 10, unit, scale=scale))
    else:
        found = read(bus, energy_import=BY_KIND[kind](INPUT, 10, unit, scale=scale))
        assert found.energy_import_wh == wh
        assert type(found.energy_import_wh) is int


@given(value=st.integers(0, 1_000_000_000), kind=st.sampled_from(("u32", "i32", "u64", "i64")))
def test_integer_energy_keeps_every_wh(value, kind):
    field = BY_KIND[kind](INPUT, 0, "Wh")

    assert field.value(words(kind, value), "high_first") == value
    assert field.value(words(kind, value)[::-1], "low_first") == value


def test_low_word_first_can_be_said_for_a_meter_a_field_or_in_the_options(bus, device):
    swapped = words("u32", 70_000)[::-1]
    device.put(INPUT, 10, *swapped)

    for_field = read(bus, energy_import=u32(INPUT, 10, "Wh", word_order=LOW_FIRST))
    for_meter = read(bus, energy_import=u32(INPUT, 10, "Wh"), word_order=LOW_FIRST)
    in_options = read(bus, {"word_order": "low_first"}, energy_import=u32(INPUT, 10, "Wh"))

    assert {r.energy_import_wh for r in (for_field, for_meter, in_options)} == {70_000}


def test_all_quantities_arrive_in_the_units_of_a_reading(bus, device):
    device.put(HOLDING, 0, 1, 2301, 2302, 2303, 1601, 1602, 1603)
    device.put(HOLDING, 20, *words("i16", -11), *words("i16", -500), 99, 5001, *words("i16", -40))
    device.put(HOLDING, 40, *words("u32", 12345678), 7)
    device.put(HOLDING, 50, *words("i16", -1), 2, 3)

    found = read(
        bus,
        energy_import=u16(HOLDING, 0, "MWh"),
        energy_export=u16(HOLDING, 42, "kWh"),
        voltage=u16(HOLDING, (1, 2, 3), "V", scale=0.1),
        current=u16(HOLDING, (4, 5, 6), "mA", scale=10),
        power=i16(HOLDING, 20, "kW"),
        powers=i16(HOLDING, (50, 51, 52), "kW"),
        reactive_power=i16(HOLDING, 21, "var"),
        power_factor=u16(HOLDING, 22, "1", scale=0.01),
        frequency=u16(HOLDING, 23, "Hz", scale=0.01),
        temperature=i16(HOLDING, 24, "°C", scale=0.1),
        serial_number=u32(HOLDING, 40, "1"),
    )

    assert found.energy_import_wh == 1_000_000
    assert found.energy_export_wh == 7_000
    assert found.voltages_v == pytest.approx((230.1, 230.2, 230.3))
    assert found.currents_a == pytest.approx((16.01, 16.02, 16.03))
    assert (found.power_w, found.powers_w) == (-11_000.0, (-1000.0, 2000.0, 3000.0))
    assert (found.reactive_power_var, found.power_factor) == (-500.0, pytest.approx(0.99))
    assert (found.frequency_hz, found.temperature_c) == pytest.approx((50.01, -4.0))
    assert found.serial == "12345678"


def test_what_a_meter_does_not_have_is_none(bus, device):
    found = read(bus, energy_import=u16(INPUT, 0, "Wh"))

    assert found.power_w is None
    assert found.voltages_v == ()
    assert found.serial is None


# --- no value, absurd value -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "raw"),
    [
        (u16(INPUT, 10, "W"), [0xFFFF]),
        (i16(INPUT, 10, "W"), [0x7FFF]),
        (u32(INPUT, 10, "W"), [0xFFFF, 0xFFFF]),
        (i32(INPUT, 10, "W"), [0x7FFF, 0xFFFF]),
        (u64(INPUT, 10, "W"), [0xFFFF] * 4),
        (f32(INPUT, 10, "W"), [0x7FC0, 0x0000]),
        (f32(INPUT, 10, "W"), [0xFFFF, 0xFFFF]),
        (f64(INPUT, 10, "W"), [0xFFFF] * 4),
        (i16(INPUT, 10, "W"), [0x8000]),
        (i32(INPUT, 10, "W"), [0x8000, 0x0000]),
        (i64(INPUT, 10, "W"), [0x8000, 0, 0, 0]),
        (i16(INPUT, 10, "W", no_value=-1), [0xFFFF]),
        (i16(INPUT, 10, "W", no_value=-32768), [0x8000]),
    ],
)
def test_no_value_is_none_and_not_a_number(bus, device, field, raw):
    device.put(INPUT, 10, *raw)

    assert read(bus, energy_import=u16(INPUT, 0, "Wh"), power=field).power_w is None


def test_minus_one_is_a_number(bus, device):
    device.put(INPUT, 10, 0xFFFF)

    assert read(bus, energy_import=u16(INPUT, 0, "Wh"), power=i16(INPUT, 10, "W")).power_w == -1.0


def test_energy_without_a_value_is_no_reading(bus, device):
    device.put(INPUT, 0x48, 0xFFFF, 0xFFFF)

    with pytest.raises(BadReading, match=r"meter 1: energy_import has no value \(register 0x0048"):
        read(bus, energy_import=f32(INPUT, 0x48, "kWh"))


def test_phases_that_are_not_told_are_left_out(bus, device):
    device.put(INPUT, 1, 230, 0xFFFF, 0xFFFF)
    one = read(bus, energy_import=u16(INPUT, 0, "Wh"), voltage=u16(INPUT, (1, 2, 3), "V"))
    device.put(INPUT, 1, 0xFFFF, 231, 232)
    gap = read(bus, energy_import=u16(INPUT, 0, "Wh"), voltage=u16(INPUT, (1, 2, 3), "V"))

    assert one.voltages_v == (230.0,)
    assert gap.voltages_v == ()  # nobody can tell which phase is meant


@pytest.mark.parametrize(
    ("quantity", "unit", "value", "believed"),
    [
        ("energy_import", "kWh", 42_950_000.0, False),  # seen: module without meter
        ("energy_import", "kWh", -0.5, False),
        ("energy_import", "kWh", math.inf, False),
        ("energy_export", "kWh", -1.0, False),
        ("energy_import", "kWh", 999_999.0, True),
        ("voltage", "V", 501.0, False),
        ("voltage", "V", -1.0, False),
        ("voltage", "V", 0.0, True),
        ("voltage", "V", 277.0, True),
        ("current", "A", 401.0, False),
        ("current", "A", -401.0, False),
        ("current", "A", -16.0, True),
        ("power", "kW", 251.0, False),
        ("power", "kW", -math.inf, False),
        ("power", "kW", -22.0, True),
        ("powers", "kW", 101.0, False),
        ("power_factor", "1", 1.5, False),
        ("frequency", "Hz", 101.0, False),
        ("temperature", "°C", 400.0, False),
    ],
)
def test_an_absurd_value_is_refused_by_the_name_of_its_register(
    bus, device, quantity, unit, value, believed
):
    device.put(INPUT, 0x20, *words("f32", value))
    members = {"energy_import": u16(INPUT, 0, "Wh")} | {quantity: f32(INPUT, 0x20, unit)}

    if believed:
        read(bus, **members)
    else:
        with pytest.raises(BadReading, match=rf"meter 1: {quantity} is .*register 0x0020, raw "):
            read(bus, **members)


def test_the_limits_can_be_drawn_closer(bus, device):
    device.put(INPUT, 1, 63, 12_000)
    members = {
        "energy_import": u16(INPUT, 0, "Wh"),
        "current": u16(INPUT, 1, "A"),
        "power": u16(INPUT, 2, "W"),
    }

    read(bus, **members)
    with pytest.raises(BadReading, match="current is 63 A"):
        read(bus, {"max_current_a": 40}, **members)
    with pytest.raises(BadReading, match="power is 12000 W"):
        read(bus, {"max_power_w": 11_500}, **members)


def test_raw_shows_what_a_reading_refuses(bus, device):
    device.put(INPUT, 0x20, 0xFFFF)
    meter = made_of(
        bus, energy_import=u16(INPUT, 0x20, "Wh"), voltage=u16(INPUT, (0, 1), "V")
    )

    found = aio.run(meter.raw())

    assert [(r.quantity, r.phase, r.address, r.words, r.value) for r in found] == [
        ("energy_import", None, 0x20, (0xFFFF,), None),
        ("voltage", 1, 0, (0,), 0),
        ("voltage", 2, 1, (0,), 0),
    ]


# --- block reads ------------------------------------------------------------------------------


def test_neighbours_are_read_by_one_request():
    fields = (f32(INPUT, (0, 2, 4), "V"), f32(INPUT, 6, "A"), f32(HOLDING, 8, "W"))

    assert blocks_of(fields, longest=80, holes=0) == (Block(3, 8, 2), Block(4, 0, 8))


def test_holes_are_read_over_only_where_the_driver_says_so():
    fields = (u16(INPUT, 0, "V"), u16(INPUT, 5, "A"))

    assert blocks_of(fields, longest=80, holes=0) == (Block(4, 0, 1), Block(4, 5, 1))
    assert blocks_of(fields, longest=80, holes=4) == (Block(4, 0, 6),)
    assert blocks_of(fields, longest=5, holes=4) == (Block(4, 0, 1), Block(4, 5, 1))


@given(
    addresses=st.lists(st.integers(0, 400), min_size=1, max_size=30),
    longest=st.integers(4, 125),
    holes=st.integers(0, 100),
)
def test_blocks_cover_every_field_once_and_are_never_too_long(addresses, longest, holes):
    fields = [f32(INPUT, at, "V") for at in addresses]

    blocks = blocks_of(fields, longest=longest, holes=holes)

    for at in addresses:
        assert any(b.start <= at and at + 2 <= b.end for b in blocks)
    assert all(b.count <= longest for b in blocks)


def test_shorter_blocks_can_be_asked_for(bus, device):
    meter = made_of(
        bus, {"block_registers": 4}, energy_import=u16(INPUT, 0, "Wh"),
        voltage=u16(INPUT, (1, 2, 3), "V"), current=u16(INPUT, (4, 5, 6), "A"),
    )  # fmt: skip

    aio.run(meter.read())

    assert [request[5] for request in bus.line.requests] == [4, 3]


def test_a_meter_that_refuses_a_long_read_gets_short_ones_from_then_on(bus, device):
    del device.registers[INPUT][5]  # nobody asked for it, it lies between
    meter = made_of(
        bus, holes=4, energy_import=u16(INPUT, 0, "Wh"), voltage=u16(INPUT, (3, 6, 7), "V")
    )

    with pytest.raises(ExceptionAnswer):
        aio.run(meter.read())
    for _ in range(2):
        assert aio.run(meter.read()).voltages_v == (0.0, 0.0, 0.0)

    counts = [request[5] for request in bus.line.requests]
    assert counts == [8, *(1, 1, 2) * 2]


@pytest.mark.parametrize("code", [4, 6, 8, 11])
def test_a_meter_that_is_busy_for_once_is_asked_by_long_reads_as_before(bus, device, code):
    meter = made_of(
        bus, holes=4, energy_import=u16(INPUT, 0, "Wh"), voltage=u16(INPUT, (3, 6, 7), "V")
    )
    bus.line.spoil(Refuse(code))

    with pytest.raises(ExceptionAnswer):
        aio.run(meter.read())
    aio.run(meter.read())

    assert [request[5] for request in bus.line.requests] == [8, 8]


def test_a_meter_that_refuses_a_short_read_is_asked_the_same_again(bus, device):
    device.registers[INPUT].clear()
    meter = made_of(bus, energy_import=u16(INPUT, 0, "Wh"), voltage=u16(INPUT, (3, 6, 7), "V"))

    for _ in range(3):
        with pytest.raises(ExceptionAnswer, match=r"^meter 1: .*refused"):
            aio.run(meter.read())

    assert len(set(bus.line.requests)) == 1


# --- configuration ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "options", "text"),
    [
        ({}, {}, "at least the register energy_import"),
        ({"energy_import": u16(INPUT, 0, "W")}, {}, "energy_import is in Wh"),
        ({"energy_import": u16(INPUT, 0, "Wh"), "power": u16(INPUT, 1, "Wh")}, {}, "power is in W"),
        ({"energy_import": u16(INPUT, 0, "Wh")}, {"bus": "nope"}, "no serial line 'nope'.*line"),
    ],
)
def test_a_wrong_table_or_line_is_refused_before_anything_is_opened(bus, members, options, text):
    with pytest.raises(BadConfig, match=text):
        made_of(bus, options, **members)

    assert bus.line.opened == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: f32(INPUT, 0, "kilowatts"),
        lambda: f32(1, 0, "Wh"),
        lambda: f32(INPUT, 70_000, "Wh"),
        lambda: f32(INPUT, (), "Wh"),
        lambda: f32(INPUT, 0, "Wh", word_order="middle"),
        lambda: f32(INPUT, 0, "Wh", scale="much"),
        lambda: f32(INPUT, 0, "Wh", scale=0),
    ],
)
def test_a_field_that_cannot_be_is_refused(make):
    with pytest.raises(BadConfig):
        make()
