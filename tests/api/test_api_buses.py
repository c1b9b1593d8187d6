"""What the local API tells of serial lines: statistics, recorded frames, and what doctor finds."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from support import aio, meter_table
from support.modbus_slave import Registers

from cpctl.api import wire
from cpctl.api.buses import Buses, bus_checks
from cpctl.api.methods import Methods
from cpctl.api.server import Right
from cpctl.config_devices import DeviceSpec
from hal import registry
from hal.contracts import Parts
from hal.errors import HalError
from hal.rtu import LineSettings, Request
from hal.serialbus import SerialBus
from hal.sim.rs485 import (
    FakeLine,
    Fault,
    Flip,
    Recording,
    RegisterDevice,
    Silence,
    Unplug,
    recorded_exchanges,
)

NOBODY: Any = None


class Post:
    """One EVSE with a meter on a line, as the methods see the daemon."""

    def __init__(self, driver: str = "abb_b23", address: int = 7) -> None:
        shown = Registers(address)
        for words in shown.words.values():
            for start, count in meter_table.spans(driver):
                words.update((at, 0) for at in range(start, start + count))
        meter_table.show(driver, shown)
        self.line = FakeLine(RegisterDevice(address, shown.words))
        settings = LineSettings("/dev/ttyUSB0", gap_s=0.0, tries=1)
        self.bus = SerialBus("rs485-1", settings, open_port=self.line.open, clock=self.line)
        options = {"bus": "rs485-1", "address": address}
        parts = Parts(buses={"rs485-1": self.bus})
        self.meter = registry.build("meter", driver, "meter 1", 1, options, parts)
        spec = DeviceSpec("meter", driver, options)
        evse = SimpleNamespace(id=1, meter=spec, devices=(spec,))
        self.app: Any = SimpleNamespace(
            config=SimpleNamespace(evses=(evse,)), device_errors=(HalError,),
            hardware=SimpleNamespace(buses={"rs485-1": self.bus}),
            devices=SimpleNamespace(fitted=SimpleNamespace(meters={1: self.meter})),
            loop=SimpleNamespace(picture=SimpleNamespace(evses=(SimpleNamespace(evse=1),))))
        self.methods = Methods(self.app)

    def call(self, method: str, **params: Any) -> Any:
        return aio.run(self.methods.call(method, params, NOBODY))

    def read(self, *faults: Fault) -> None:
        """One reading for each fault, spoiled by it."""
        for fault in faults:
            self.line.spoil(fault)
            with pytest.raises(HalError):
                aio.run(self.meter.read())

    def read_well(self, times: int = 1) -> None:
        for _ in range(times):
            aio.run(self.meter.read())

    def address(self) -> Any:
        (line,) = self.call("hw.bus")["buses"]
        (one,) = line["addresses"]
        return one


@pytest.fixture
def post() -> Iterator[Post]:
    made = Post()
    yield made
    made.bus.close()


def test_a_line_that_was_not_used_yet_tells_who_is_configured_on_it(post: Post) -> None:
    (line,) = post.call("hw.bus")["buses"]

    assert (line["bus"], line["port"], line["baudrate"], line["parity"]) == (
        "rs485-1", "/dev/ttyUSB0", 9600, "N")
    (one,) = line["addresses"]
    assert (one["address"], one["device"], one["requests"]) == (7, "meter 1 (abb_b23)", 0)


def test_each_kind_of_error_is_counted_at_its_address(post: Post) -> None:
    post.read_well()
    post.read(Silence(), Silence(), Flip(-1))

    one = post.address()

    assert (one["requests"], one["answers"]) == (5, 2)
    assert (one["timeouts"], one["crc_errors"], one["exceptions"]) == (2, 1, 0)
    assert one["latency_last_ms"] == one["latency_max_ms"] == pytest.approx(5.0)
    assert one["failing"] == pytest.approx(0.03, abs=0.001)


def test_who_is_asked_without_being_configured_is_told_too(post: Post) -> None:
    aio.run(post.bus.read_registers(7, 0x5000, 4, function=3))
    with pytest.raises(HalError):
        aio.run(post.bus.read_registers(9, 0, 1))

    (line,) = post.call("hw.bus")["buses"]

    assert [(one["address"], one["device"]) for one in line["addresses"]] == [
        (7, "meter 1 (abb_b23)"), (9, "")]


def test_a_station_without_lines_has_none_to_tell() -> None:
    app: Any = SimpleNamespace(hardware=SimpleNamespace(buses={}))

    assert Buses(app).table()["hw.bus"][0] is Right.READ
    assert list(bus_checks(app)) == []


def test_doctor_is_content_with_a_line_that_works_and_with_one_slip(post: Post) -> None:
    post.read_well()
    post.read(Silence())

    (told,) = bus_checks(post.app)

    assert told == ("rs485-1 address 7", True, "1% of the last requests failed", "")


@pytest.mark.parametrize(("fault", "finding", "step"), [
    (Silence(), "8 of 8 without an answer", "address and baud rate (cpctl hw scan)"),
    (Flip(-1), "8 of 8 with a wrong checksum", "no two devices have the same address"),
    (Unplug(), "8 of 8 while the port was gone", "the plug of the adapter"),
])
def test_doctor_names_the_weightiest_error_and_the_next_step(
        post: Post, fault: Fault, finding: str, step: str) -> None:
    post.read(*[fault] * 8)

    ((name, good, found, next_step),) = bus_checks(post.app)

    assert (name, good) == ("rs485-1 address 7", False)
    assert found == f"8% of the last requests failed; since the start {finding}"
    assert step in next_step


def test_doctor_forgets_what_is_long_over(post: Post) -> None:
    post.read(*[Silence()] * 8)
    post.read_well(40)

    ((_, good, _, _),) = bus_checks(post.app)

    assert good


def test_recorded_frames_make_a_meter_that_says_the_same(post: Post, tmp_path: Any) -> None:
    told = post.call("hw.meter", evse=1, record=True)

    assert (told["driver"], told["bus"], told["address"]) == ("abb_b23", "rs485-1", 7)
    assert len(told["frames"]) == 2 * len(post.meter.blocks)
    path = tmp_path / "abb_b23.txt"
    path.write_text("\n".join(told["frames"]))
    before = aio.run(post.meter.read())
    post.line.device = Recording(recorded_exchanges(path))
    assert aio.run(post.meter.read()) == before
    assert post.call("hw.meter", evse=1, raw=True)["raw"] == told["raw"]
    assert not post.bus.heard


def test_what_others_say_on_the_line_and_spoiled_answers_are_not_recorded() -> None:
    post = Post()
    bus, meter = post.bus, post.meter
    bus.settings = LineSettings("/dev/ttyUSB0", gap_s=0.0, tries=3)
    post.line.spoil(Flip(-1))

    async def story() -> Any:
        other = bus.ask(Request(9, 3, 0, 1), tries=1)
        return await asyncio.gather(meter.record(), other, return_exceptions=True)

    (_, frames), silence = aio.run(story())
    bus.close()

    assert isinstance(silence, HalError)
    assert [line[:4] for line in frames] == ["> 07", "< 07"] * len(meter.blocks)


def test_a_line_is_recorded_by_one_at_a_time(post: Post) -> None:
    post.bus.listen(lambda direction, frame: None)

    with pytest.raises(wire.ApiError, match="being recorded") as caught:
        post.call("hw.meter", evse=1, record=True)

    assert caught.value.hint == "try again"
