"""The meter drivers over a pseudo-terminal against an independent Modbus slave (pymodbus).

Real: pyserial, termios, minimalmodbus, the worker's thread, the time. What only real time can show
is here; the rest is in tests/hal.
"""

import asyncio
from dataclasses import fields

import pytest
from support import aio, meter_table
from support.meter_frames import FRAMES, SCENES, record
from support.modbus_slave import HOLDING, KINDS, ModbusSlave

from hal import registry
from hal.contracts import Parts
from hal.errors import (
    BadFrame,
    BadReading,
    CrcError,
    DeviceGone,
    DeviceTimeout,
    ExceptionAnswer,
    IllegalRequest,
)
from hal.meters import eastron_sdm120, eastron_sdm630, generic_modbus
from hal.rtu import LineSettings
from hal.serialbus import SerialBus

pytestmark = pytest.mark.real

TIMEOUT_S = 0.3


@pytest.fixture
def slave(tmp_path):
    with ModbusSlave(tmp_path / "rs485-1", addresses=(1, 2, 3)) as made:
        made[1].meter(
            energy_wh=1_234_560, export_wh=120, power_w=11_040.0, frequency_hz=50.0,
            voltage_v=(230.5, 231.0, 229.5), current_a=(16.0, 15.5, 16.5),
        )  # fmt: skip
        yield made


def make_bus(slave, **more):
    settings = {"timeout_s": TIMEOUT_S, "gap_s": 0.02, "tries": 1} | more
    return SerialBus("rs485-1", LineSettings(port=str(slave.port), **settings))


@pytest.fixture
def bus(slave):
    made = make_bus(slave)
    yield made
    made.close()


def meter(bus, driver=eastron_sdm630, address=1, **options):
    options = {"bus": "rs485-1", "address": address} | options
    return driver.Meter("meter 1", 1, options, Parts(buses={"rs485-1": bus}))


def test_an_sdm630_is_read_as_its_registers_say(bus, slave):
    reading = aio.run(meter(bus).read())

    assert reading.energy_import_wh == 1_234_560
    assert reading.energy_export_wh == 120
    assert reading.power_w == 11_040.0
    assert reading.currents_a == (16.0, 15.5, 16.5)
    assert reading.voltages_v == (230.5, 231.0, 229.5)
    assert reading.frequency_hz == 50.0
    assert slave.requests == [(1, 4, 0, 76)]


def test_an_sdm120_is_read_as_its_registers_say(bus, slave):
    slave[2].meter(energy_wh=98_760, voltage_v=(229.0,), current_a=(13.0,))
    slave[2].put(0x0C, 2977.0)

    reading = aio.run(meter(bus, eastron_sdm120, address=2).read())

    assert (reading.energy_import_wh, reading.power_w) == (98_760, 2977.0)
    assert (reading.voltages_v, reading.currents_a) == ((229.0,), (13.0,))


@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize(
    ("kind", "theirs", "value", "unit", "scale", "wh"),
    [
        ("f32", KINDS.FLOAT32, 1234.5, "kWh", 1, 1_234_500),
        ("f64", KINDS.FLOAT64, 1234567.0, "Wh", 1, 1_234_567),
        ("u32", KINDS.UINT32, 4_000_000, "kWh", 0.01, 40_000_000),
        ("i32", KINDS.INT32, 123_456, "kWh", 0.1, 12_345_600),
        ("u64", KINDS.UINT64, 5_000_000, "Wh", 1, 5_000_000),
        ("u16", KINDS.UINT16, 65_000, "kWh", 1, 65_000_000),
        ("i16", KINDS.INT16, 1234, "kWh", 1, 1_234_000),
    ],
)
def test_every_coding_and_word_order_is_read_as_it_was_written(
    bus, slave, kind, theirs, value, unit, scale, order, wh
):
    slave[3].put(0x10, value, theirs, function=HOLDING, word_order=order)
    slave[3].put(0x20, -230.5, KINDS.FLOAT32, function=HOLDING, word_order=order)
    ours = "high_first" if order == "big" else "low_first"
    registers = {
        "energy_import": {"type": kind, "function": "holding", "address": 0x10, "unit": unit,
                          "scale": scale},
        "power": {"type": "f32", "function": "holding", "address": 0x20, "unit": "W"},
    }  # fmt: skip

    generic = meter(bus, generic_modbus, address=3, registers=registers, word_order=ours)
    reading = aio.run(generic.read())

    assert reading.energy_import_wh == wh
    assert reading.power_w == -230.5


@pytest.mark.parametrize(
    ("fault", "error", "text"),
    [
        ("crc", CrcError, "wrong checksum"),
        ("silence", DeviceTimeout, "no answer from address 1 on rs485-1; check A/B"),
        (("cut", 20), BadFrame, "cut short, 20 of 157 bytes"),
        (("cut", 3), BadFrame, "cut short, 3 of 157 bytes"),
        (("garbage", b"\x00\xff\x5a"), BadFrame, "cut short"),
        (("garbage", b"\x37" * 300), CrcError, "wrong checksum"),
        (("exception", 2), IllegalRequest, "illegal data address"),
        (("exception", 4), ExceptionAnswer, "device failure"),
        (("late", 0.5), DeviceTimeout, "no answer"),
    ],
)
def test_each_fault_is_told_by_name_and_the_next_reading_is_right(bus, slave, fault, error, text):
    slave.spoil(fault)

    async def story():
        with pytest.raises(error, match=text) as caught:
            await meter(bus).read()
        return caught.value, await meter(bus).read()

    found, reading = aio.run(story())

    assert type(found) is error
    assert str(found).startswith("meter 1: ")
    assert reading.energy_import_wh == 1_234_560


def test_a_slow_answer_is_never_taken_for_that_of_the_next_request(bus, slave):
    """The trap: asked for power after a time-out, a careless driver got the voltage."""
    rows = {
        "energy_import": {"type": "f32", "function": "input", "address": 0x48, "unit": "kWh"},
    }
    first = meter(bus, generic_modbus, registers=rows)
    rows = {"energy_import": rows["energy_import"] | {"address": 0x4A}}
    second = meter(bus, generic_modbus, registers=rows)

    async def story():
        for late_s in (0.35, 0.5, 0.7, 1.1):
            slave.spoil(("late", late_s))
            with pytest.raises(DeviceTimeout):
                await first.read()
            assert (await second.read()).energy_import_wh == 120

    aio.run(story())


def test_an_answer_inside_the_time_is_waited_for(bus, slave):
    slave.spoil(("late", 0.15))

    assert aio.run(meter(bus).read()).energy_import_wh == 1_234_560


def test_a_refusal_is_told_without_waiting_out_the_response_time(slave):
    """minimalmodbus alone would wait for the rest of a good answer: here for a minute."""
    bus = make_bus(slave, timeout_s=60.0)
    slave.spoil(("exception", 2))

    with pytest.raises(ExceptionAnswer):
        aio.run(meter(bus).read(), limit_s=30.0)

    assert bus.statistics()[1].exceptions == 1
    bus.close()


@pytest.fixture(scope="module")
def all_models(tmp_path_factory):
    """One of each model on one line, at the addresses 1, 2, 3 …"""
    models = {model: address for address, model in enumerate(meter_table.TABLE, 1)}
    spans = {address: meter_table.spans(model) for model, address in models.items()}
    port = tmp_path_factory.mktemp("line") / "rs485-1"
    with ModbusSlave(port, tuple(models.values()), spans=spans) as made:
        line = LineSettings(port=str(made.port), baudrate=115200, gap_s=0.0, tries=1)
        one_bus = SerialBus("rs485-1", line)
        yield made, one_bus, models
        one_bus.close()


@pytest.mark.parametrize("model", meter_table.TABLE)
def test_every_model_is_read_as_its_whole_map_says(all_models, model):
    on_line, one_bus, models = all_models
    address = models[model]
    meter_table.show(model, on_line[address])
    options = {"bus": "rs485-1", "address": address}
    driver = registry.build("meter", model, "meter 1", 1, options, Parts({"rs485-1": one_bus}))

    found = aio.run(driver.read())

    wanted = meter_table.expected(model)
    for told in fields(wanted):
        value = getattr(wanted, told.name)
        assert getattr(found, told.name) == (
            value if value is None or told.name.endswith("_wh") else pytest.approx(value, rel=1e-5)
        ), told.name


def test_every_driver_of_a_model_is_in_the_table():
    assert set(meter_table.TABLE) == set(registry.names("meter")) - {"sim", "generic_modbus"}


@pytest.mark.parametrize("name", SCENES)
def test_the_recorded_frames_are_what_an_independent_slave_says(name):
    kept = (FRAMES / f"{name}.txt").read_text(encoding="ascii").splitlines()

    assert [line for line in kept if not line.startswith("#")] == record(name)


def test_retries_cure_what_happens_once(slave):
    bus = make_bus(slave, tries=3)
    slave.spoil("crc", ("cut", 7), "none")

    reading = aio.run(meter(bus).read())
    bus.close()

    assert reading.energy_import_wh == 1_234_560
    found = bus.statistics()[1]
    assert (found.crc_errors, found.bad_frames, found.retries, found.answers) == (1, 1, 2, 1)


def test_a_register_that_goes_back_is_told_as_it_was_read(bus, slave):
    async def story():
        before = await meter(bus).read()
        slave[1].meter(energy_wh=1000)
        return before, await meter(bus).read()

    before, after = aio.run(story())

    assert (before.energy_import_wh, after.energy_import_wh) == (1_234_560, 1000)


@pytest.mark.parametrize(
    ("start", "words", "text"),
    [
        (0x48, (0x7F80, 0x0000), "energy_import is inf"),
        (0x48, (0xBF80, 0x0000), "energy_import is -1000 Wh"),
        (0x48, (0xFFFF, 0xFFFF), "energy_import has no value"),
        (0x02, (0x461C, 0x4000), r"voltage L2 is 10000 V \(register 0x0002, raw 461C 4000\)"),
        (0x34, (0x4CBE, 0xBC20), "power is 1e\\+08 W"),
    ],
)
def test_an_absurd_value_is_refused_with_its_register(bus, slave, start, words, text):
    slave[1].put_words(start, *words)

    with pytest.raises(BadReading, match=text):
        aio.run(meter(bus).read())


def test_the_wrong_word_order_is_noticed_as_absurd_or_small(bus, slave):
    """Swapped words of a float are another number: mostly absurd, and never a better one."""
    with pytest.raises(BadReading, match="check driver, word order"):
        aio.run(meter(bus, word_order="low_first").read())


def test_an_address_where_nobody_is_times_out(bus):
    with pytest.raises(DeviceTimeout, match="address 77"):
        aio.run(meter(bus, address=77).read())


def test_a_pulled_adapter_is_gone_and_a_replugged_one_is_found_again(bus, slave):
    async def story():
        await meter(bus).read()
        slave.unplug()
        with pytest.raises(DeviceGone):
            await meter(bus).read()
        with pytest.raises(DeviceGone, match="rs485-1"):
            await meter(bus).read()
        slave.replug()
        while True:
            try:
                return await meter(bus).read()
            except DeviceGone:
                await asyncio.sleep(0.05)

    assert aio.run(story()).energy_import_wh == 1_234_560


def test_a_coil_is_switched_while_a_dead_meter_is_asked(bus, slave):
    slave.spoil_all("silence")

    async def story():
        asking = asyncio.create_task(meter(bus).read())
        await asyncio.sleep(0.05)
        with pytest.raises(DeviceTimeout):
            await bus.write_coil(2, 5, on=True)
        with pytest.raises(DeviceTimeout):
            await asking
        slave.spoil_all(None)
        await bus.write_coil(2, 6, on=True)

    aio.run(story())

    # The first was carried out, only its answer was lost; the second was confirmed.
    assert slave[2].coils == {5: True, 6: True}


def test_the_event_loop_keeps_turning_while_a_meter_is_silent(bus, slave):
    slave.spoil("silence")
    turns = 0

    async def story():
        nonlocal turns
        asking = asyncio.create_task(meter(bus).read())
        while not asking.done():
            turns += 1
            await asyncio.sleep(0.001)
        with pytest.raises(DeviceTimeout):
            await asking

    aio.run(story())

    assert turns > 20


def test_two_meters_share_a_line(bus, slave):
    slave[2].meter(energy_wh=5000)

    async def story():
        return await asyncio.gather(meter(bus).read(), meter(bus, address=2).read())

    first, second = aio.run(story())

    assert (first.energy_import_wh, second.energy_import_wh) == (1_234_560, 5000)
