"""One serial line: order, retries, silence after an error, loss of the port, statistics.

The line is made up and its time is its own: nothing here waits for real time.
"""

import asyncio
import itertools
import random
import threading

import pytest
from support import aio

from hal.errors import (
    BadConfig,
    BadFrame,
    CrcError,
    DeviceGone,
    DeviceTimeout,
    ExceptionAnswer,
    IllegalRequest,
)
from hal.rtu import WRITE_COIL, LineSettings, Request
from hal.serialbus import SerialBus
from hal.sim.rs485 import (
    Cut,
    FakeLine,
    Flip,
    Garbage,
    Late,
    Refuse,
    RegisterDevice,
    Silence,
    Unplug,
    with_crc,
)

SETTINGS = LineSettings(port="/dev/ttyFAKE", baudrate=115200, timeout_s=0.3, gap_s=0.1, tries=3)


@pytest.fixture
def device():
    made = RegisterDevice(address=3)
    made.put(4, 0, *range(1000, 1100))
    made.put(1, 0, 0)
    return made


@pytest.fixture
def line(device):
    return FakeLine(device)


@pytest.fixture
def bus(line):
    made = SerialBus("rs485-1", SETTINGS, open_port=line.open, clock=line)
    yield made
    made.close()


def read(bus, start=0, count=2, **more):
    return aio.run(bus.ask(Request(3, 4, start, count), **more))


async def queued_at_once(bus, *questions):
    """Start all of them before the worker gets to see any."""
    tasks = [asyncio.create_task(question) for question in questions]
    with bus._wake:
        await asyncio.sleep(0)
    return tasks


def test_registers_are_read(bus):
    assert read(bus, start=10, count=3) == (1010, 1011, 1012)


def test_bits_and_writes_go_through(bus, device):
    async def switch():
        await bus.write_coil(3, 0, on=True)
        await bus.write_registers(3, 7, 42)
        await bus.write_registers(3, 8, 43, 44)
        return await bus.read_registers(3, 7, 3, function=3)

    assert aio.run(switch()) == (42, 43, 44)
    assert device.registers[1][0] == 0xFF00


def test_between_two_exchanges_there_is_the_gap(bus, line):
    async def twice():
        await bus.read_registers(3, 0, 2)
        await bus.read_registers(3, 0, 2)

    aio.run(twice())

    assert line.sent_at[1] - line.sent_at[0] == pytest.approx(SETTINGS.gap_s + line.answer_s)


@pytest.mark.parametrize(
    ("fault", "error", "counter"),
    [
        (Silence(), DeviceTimeout, "timeouts"),
        (Flip(4), CrcError, "crc_errors"),
        (Flip(-1, bit=6), CrcError, "crc_errors"),
        (Flip(0), CrcError, "crc_errors"),
        (Cut(3), BadFrame, "bad_frames"),
        (Cut(8), BadFrame, "bad_frames"),
        (Garbage(b"\x55" * 9), CrcError, "crc_errors"),
        (Garbage(b"\xff\xff\xff"), BadFrame, "bad_frames"),
        (Garbage(with_crc(b"\x05\x04\x04\x00\x00\x00\x00")), BadFrame, "bad_frames"),
        (Refuse(2), IllegalRequest, "exceptions"),
        (Refuse(4), ExceptionAnswer, "exceptions"),
    ],
)
def test_each_fault_has_its_name_and_its_counter(bus, line, fault, error, counter):
    line.spoil(fault)

    with pytest.raises(error) as caught:
        read(bus, tries=1)

    assert type(caught.value) is error
    assert "address 3" in str(caught.value)
    assert "rs485-1" in str(caught.value)
    assert getattr(bus.statistics()[3], counter) == 1
    assert bus.statistics()[3].answers == 0


@pytest.mark.parametrize("fault", [Silence(), Flip(5), Cut(4), Garbage(b"\x00" * 30)])
def test_one_fault_is_cured_by_a_retry(bus, line, fault):
    line.spoil(fault)

    assert read(bus) == (1000, 1001)
    assert bus.statistics()[3].retries == 1


def test_after_the_last_try_the_message_tells_finding_and_next_step(bus, line):
    line.spoil(Silence(), Silence(), Silence())

    with pytest.raises(DeviceTimeout, match="no answer from address 3 on rs485-1 after 3 tries; c"):
        read(bus)

    assert len(line.requests) == 3


def test_a_refusal_is_an_answer_and_is_not_retried(bus, line):
    line.spoil(Refuse(2))

    with pytest.raises(ExceptionAnswer, match="illegal data address"):
        read(bus)

    assert len(line.requests) == 1


def test_a_refusal_does_not_wait_out_the_response_time(bus, line):
    line.spoil(Refuse(1))
    before = line.now

    with pytest.raises(ExceptionAnswer):
        read(bus, count=70)

    assert line.now - before < SETTINGS.timeout_s


@pytest.mark.parametrize("fault", [Silence(), Flip(5), Cut(4), Refuse(2)])
def test_after_any_error_the_line_is_quiet_for_a_whole_response_time(bus, line, fault):
    line.spoil(fault)
    with pytest.raises((DeviceTimeout, BadFrame, ExceptionAnswer)):
        read(bus, tries=1)
    failed_at = line.now

    read(bus, count=5)

    assert line.sent_at[1] - failed_at >= SETTINGS.timeout_s - 1e-6


def test_bytes_in_the_quiet_time_prolong_it_and_are_thrown_away(bus, line):
    line.spoil(Late(0.5))
    with pytest.raises(DeviceTimeout):
        read(bus, tries=1)

    assert read(bus, start=0, count=3) == (1000, 1001, 1002)

    assert bus.statistics()[0].stray_bytes == 9
    assert line.sent_at[1] - line.sent_at[0] >= 0.5 + SETTINGS.timeout_s


@pytest.mark.parametrize("late_s", [0.31, 0.45, 0.59, 0.61, 0.75, 0.9, 1.2, 1.45])
def test_a_slow_answer_is_never_taken_for_that_of_the_next_request(bus, line, late_s):
    line.spoil(Late(late_s))
    with pytest.raises(DeviceTimeout):
        read(bus, start=0, tries=1)

    assert read(bus, start=50, tries=1) == (1050, 1051)


@pytest.mark.parametrize("seed", range(40))
def test_no_order_of_slow_and_spoiled_answers_mixes_up_two_requests(seed):
    print(f"seed {seed}")
    rng = random.Random(seed)
    device = RegisterDevice(address=3)
    device.put(4, 0, *range(1000, 1100))
    line = FakeLine(device)
    bus = SerialBus("rs485-1", SETTINGS, open_port=line.open, clock=line)
    good = 0

    async def one():
        nonlocal good
        start, count = rng.choice((0, 10, 20)), rng.choice((2, 2, 4))
        line.spoil(_some_fault(rng))
        try:
            answer = await bus.ask(Request(3, 4, start, count), tries=rng.choice((1, 3)))
        except (DeviceTimeout, BadFrame):
            return
        assert answer == tuple(range(1000 + start, 1000 + start + count))
        good += 1

    async def many():
        for _ in range(25):
            await asyncio.gather(*(one() for _ in range(rng.choice((1, 1, 2, 4)))))

    aio.run(many())
    bus.close()
    assert good > 15


def _some_fault(rng):
    faults = (None, Late(rng.uniform(0.2, 1.45)), Silence(), Flip(3), Cut(6))
    return rng.choices(faults, weights=(2, 4, 1, 1, 1))[0]


def test_a_coil_goes_before_what_waits_and_does_not_wait_out_the_quiet_time(bus, line):
    line.spoil(Silence())

    async def story():
        with pytest.raises(DeviceTimeout):
            await bus.ask(Request(3, 4, 0, 2), tries=1)
        failed_at = line.now
        reads = [bus.read_registers(3, i, 2) for i in range(3)]
        await asyncio.gather(*await queued_at_once(bus, *reads, bus.write_coil(3, 0, on=False)))
        return failed_at

    failed_at = aio.run(story())

    assert line.requests[1][1] == WRITE_COIL
    assert line.sent_at[1] - failed_at < SETTINGS.timeout_s


def test_a_dead_device_does_not_starve_the_others_on_its_line(bus, line):
    """Its second try comes after what the others had waiting."""

    async def story():
        dead, *others = (bus.read_registers(address, 0, 2) for address in (77, 3, 3))
        await asyncio.gather(*await queued_at_once(bus, dead, *others), return_exceptions=True)

    aio.run(story())

    assert [request[0] for request in line.requests] == [77, 3, 3, 77, 77]


def test_a_read_that_must_wait_for_an_owed_answer_holds_up_nobody_else(bus, line):
    line.spoil(Silence())

    async def story():
        with pytest.raises(DeviceTimeout):
            await bus.ask(Request(3, 4, 0, 2), tries=1)
        # Equal in look to the one owed: it waits. The other two can be told apart.
        questions = [bus.read_registers(3, 30 + 10 * count, count) for count in (2, 3, 4)]
        await asyncio.gather(*await queued_at_once(bus, *questions))

    aio.run(story())

    assert [request[3] for request in line.requests] == [0, 60, 70, 50]


def test_what_moves_hardware_is_not_tried_twice(bus, line):
    line.spoil(Silence())

    with pytest.raises(DeviceTimeout):
        aio.run(bus.write_coil(3, 0, on=True))

    assert len(line.requests) == 1


def test_a_thread_can_switch_a_coil_without_an_event_loop(bus, device):
    bus.ask_now(Request(3, WRITE_COIL, 0, values=(1,)), wait_s=5.0)

    assert device.registers[1][0] == 0xFF00


def test_the_door_for_threads_waits_only_so_long(line, device):
    stuck, go_on = threading.Event(), threading.Event()

    def slow(request):
        stuck.set()
        go_on.wait(5.0)
        return device(request)

    line.device = slow
    bus = SerialBus("rs485-1", SETTINGS, open_port=line.open, clock=line)
    first = threading.Thread(
        target=lambda: bus.ask_now(Request(3, WRITE_COIL, 0, values=(1,)), wait_s=5.0)
    )
    first.start()
    assert stuck.wait(5.0)

    with pytest.raises(DeviceTimeout):
        bus.ask_now(Request(3, WRITE_COIL, 1, values=(1,)), wait_s=0.0)
    with pytest.raises(DeviceTimeout):
        bus.ask_now(Request(3, WRITE_COIL, 2, values=(1,)), wait_s=0.0, must_happen=True)
    go_on.set()
    first.join()
    bus.ask_now(Request(3, WRITE_COIL, 3, values=(1,)), wait_s=5.0)
    bus.close()

    # Given up before it was sent: never sent. What must happen: done.
    assert [request[3] for request in line.requests] == [0, 2, 3]


def test_a_request_given_up_by_its_caller_is_not_sent(bus, line):
    async def story():
        with bus._wake:
            (task,) = await queued_at_once(bus, bus.read_registers(3, 0, 2))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await bus.read_registers(3, 50, 2)

    aio.run(story())

    assert [request[3] for request in line.requests] == [50]


def test_an_adapter_pulled_out_is_gone_and_comes_back(bus, line):
    line.spoil(Unplug())
    with pytest.raises(DeviceGone, match="ttyFAKE is lost"):
        read(bus)
    with pytest.raises(DeviceGone, match="tried again in"):
        read(bus)
    line.now += 1.0
    with pytest.raises(DeviceGone, match="is the adapter plugged in"):
        read(bus)

    line.plugged = True
    line.now += 60.0

    assert read(bus) == (1000, 1001)
    assert line.opened == 2
    assert bus.statistics()[3].port_losses == 3


def test_opening_is_tried_less_and_less_often(bus, line):
    line.plugged = False
    tries = []
    open_port = bus._open_port
    bus._open_port = lambda settings: tries.append(line.now) or open_port(settings)

    for _ in range(4000):
        with pytest.raises(DeviceGone):
            read(bus)
        line.now += 0.05

    pauses = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert pauses[0] < 1.0
    assert all(b >= a - 0.06 for a, b in itertools.pairwise(pauses))
    assert 29.0 < pauses[-1] < 31.0


def test_a_missing_port_is_told_with_the_next_step():
    bus = SerialBus("rs485-1", LineSettings(port="/dev/not-there"))

    with pytest.raises(DeviceGone, match="/dev/not-there cannot be opened: no such port"):
        aio.run(bus.open())

    bus.close()


def test_what_must_happen_is_sent_before_the_line_is_closed(bus, line, device):
    device.put(1, 0, 1)
    entered, go_on = threading.Event(), threading.Event()

    def answer(request):
        entered.set()
        go_on.wait(20)
        return None if request[0] == 7 else device(request)

    line.device = answer
    bus.tell_now(Request(7, WRITE_COIL, 0, values=(0,)), tries=3)  # nobody there
    entered.wait(20)
    bus.tell_now(Request(3, WRITE_COIL, 0, values=(0,)), tries=3)
    closing = threading.Thread(target=bus.close, args=(20.0,))
    closing.start()
    while not bus._closing:
        entered.wait(0)
    go_on.set()
    closing.join(20)

    assert device.registers[1][0] == 0
    asked = [one[0] for one in line.requests]
    assert asked[:2] == [7, 3]  # who does not answer keeps no other one waiting
    assert asked.count(7) == 3


def test_a_closed_bus_says_so(bus):
    read(bus)

    bus.close()

    with pytest.raises(DeviceGone, match="rs485-1 is closed"):
        read(bus)


def test_nothing_is_imported_and_no_thread_runs_before_the_first_request():
    before = threading.active_count()

    SerialBus("rs485-1", SETTINGS)

    assert threading.active_count() == before


def test_statistics_tell_latency(bus, line):
    line.answer_s = 0.04
    read(bus)
    line.answer_s = 0.02
    read(bus)

    found = bus.statistics()[3]

    assert (found.requests, found.answers) == (2, 2)
    assert found.latency_max_ms == pytest.approx(40, abs=1)
    assert found.latency_last_ms == pytest.approx(20, abs=1)
    assert found.latency_mean_ms == pytest.approx(30, abs=1)


def test_a_listener_sees_the_frames(bus):
    seen = []
    bus.listen(lambda direction, frame: seen.append((direction, frame[:2])))

    read(bus)

    assert seen == [(">", b"\x03\x04"), ("<", b"\x03\x04")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": 0},
        {"address": 248},
        {"function": 7},
        {"start": -1},
        {"count": 0},
        {"count": 126},
        {"function": 6},
        {"function": 6, "values": (1, 2)},
        {"values": (1,)},
        {"function": 16, "values": (70000,)},
    ],
)
def test_a_request_that_cannot_be_is_refused_before_it_is_queued(wrong):
    with pytest.raises(BadConfig):
        Request(**({"address": 1, "function": 4, "start": 0} | wrong))


@pytest.mark.parametrize("wrong", [{"parity": "X"}, {"stopbits": 3}, {"timeout_s": 0}])
def test_wrong_line_settings_are_refused(wrong):
    with pytest.raises(BadConfig, match="ttyFAKE"):
        LineSettings(port="/dev/ttyFAKE", **wrong)


def test_an_order_joins_only_the_very_same_one_and_none_that_a_later_one_has_overruled(bus, line):
    entered, go_on = threading.Event(), threading.Event()

    def answer(request):
        entered.set()
        go_on.wait(20)
        return request

    line.device = answer
    off, on = (Request(3, WRITE_COIL, 0, values=(value,)) for value in (0, 1))
    told = []
    bus.tell_now(Request(3, WRITE_COIL, 9, values=(0,)))
    entered.wait(20)
    for number, request in enumerate((off, off, on, off, off)):
        bus.tell_now(request, lambda _, number=number: told.append(number))
    go_on.set()
    bus.close(20.0)

    levels = [one[4] for one in line.requests if one[3] == 0]
    assert levels == [0x00, 0xFF, 0x00]
    assert sorted(told) == [0, 1, 2, 3, 4]


def test_an_urgent_read_waits_out_the_quiet_after_an_error(bus, line, device):
    line.spoil(Silence())
    with pytest.raises(DeviceTimeout):
        aio.run(bus.ask(Request(3, 4, 0), tries=1))
    failed_at = line.now

    assert bus.ask_now(Request(3, 4, 0), wait_s=20.0) == (1000,)

    assert line.sent_at[-1] - failed_at > 0.9 * SETTINGS.timeout_s
