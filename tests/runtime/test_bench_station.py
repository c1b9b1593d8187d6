"""The whole daemon on the drivers of a bench: a card from a serial line, a pilot by PWM and
converter, a thermometer; in real time, with their threads."""

import asyncio
import os
import pty
import tty
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

from support import aio
from support.fake_sysfs import FakeSysfs
from support.station_bench import CONFIG, NoWay

from cpctl import config
from cpctl.app import App, Seams
from cpctl.store.db import ThreadWriter
from hal.inputs.thermometer import W1
from hal.pilot_signal import read_by_car_a

ROM = "28-0316a2796fff"
BENCH = CONFIG[:CONFIG.index("[[reader]]")] + """
[[reader]]
id = "front"
driver = "serial"
port = "{path}/reader"
[[evse]]
id = 1
max_current_a = 16
contactor = {{ driver = "sim" }}
meter = {{ driver = "sim" }}
[evse.pilot]
driver = "bench"
high_channel = 0
low_channel = 1
cable_channel = 2
high_gain = 10.0
high_offset_v = -13.0
low_gain = 10.0
low_offset_v = -13.0
[evse.inputs]
temperature = {{ driver = "thermometer", sensor = "28-0316a2796fff", limit_c = 70 }}
"""


class Bench:
    """The hands: a car's volts, a card, a terminal's temperature."""

    def __init__(self, folder: Path) -> None:
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        (folder / "reader").symlink_to(os.ttyname(slave))
        os.close(slave)
        self.sysfs = FakeSysfs()
        self.chip = self.sysfs.add_pwm(0, "1f00098000.pwm")
        adc = self.sysfs.add_adc(0, "ads1015", "1-0048")
        self.high_v, self.low_v, self.cable_v = 12.0, -12.0, 3.3
        for channel, volts in enumerate((lambda: (self.high_v + 13) / 10,
                                         lambda: (self.low_v + 13) / 10, lambda: self.cable_v)):
            self.sysfs.files[f"{adc}/in_voltage{channel}_raw"] = (
                lambda volts=volts: str(round(volts() * 1000)))
        self.celsius = 30.0
        self.sysfs.files[f"{W1}/{ROM}/temperature"] = lambda: str(round(self.celsius * 1000))
        self.app = App.build(config.from_text(BENCH.format(path=folder, more=""),
                                              str(folder / "cpctl.toml")),
                             Seams(connector=NoWay(), writer=ThreadWriter, api=False,
                                   signals=False))
        fitted: Any = self.app.devices.fitted
        self.pilot, self.thermometer = fitted.pilots[1], fitted.inputs[1, "temperature"]
        self.pilot.sysfs = self.thermometer.sysfs = self.sysfs

    def plug(self) -> None:
        self.cable_v = 3.3 * 680 / 1680  # a cable of 20 A
        self.high_v = 9.0

    def tap(self) -> None:
        os.write(self.master, b"04A1B2C3\r\n")

    def ask(self) -> None:
        self.high_v = 6.0

    def coil(self) -> bool:
        assert self.app.board is not None
        return self.app.board.look(1).coil

    def offered_a(self) -> float:
        """What a car reads on the wire."""
        return read_by_car_a(self.chip.exported["pwm0"].high() * 100.0) or 0.0

    async def charge(self) -> None:
        health = self.app.devices.health
        await until(lambda: all(one.health.health.value == "ok" for one in health()))
        self.plug()
        await until(lambda: self.app.loop.picture.evse(1).plugged)
        self.tap()
        await until(lambda: self.offered_a() > 0)
        self.ask()
        await until(self.coil)
        await until(lambda: self.app.loop.picture.evse(1).power.value == "on")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.002)


def play(folder: Path, story: Callable[[Bench], Awaitable[None]]) -> Bench:
    bench = Bench(folder)

    async def whole() -> None:
        ready = asyncio.Event()
        running = asyncio.ensure_future(bench.app.run(ready.set))
        try:
            await ready.wait()
            await story(bench)
        finally:
            bench.app.stop()
            await running
            os.close(bench.master)

    run: Coroutine[Any, Any, None] = whole()
    aio.run(run)
    return bench


def test_a_card_charges_a_car_and_the_end_leaves_the_pilot_at_state_f(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.charge()
        assert round(bench.offered_a(), 1) == 16.0

    bench = play(tmp_path, story)

    wire = bench.chip.exported["pwm0"]
    assert (wire.enabled, wire.duty) == (True, 0)
    assert not bench.coil()


def test_a_cable_of_less_limits_the_offer(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.cable_v = 3.3 * 1500 / 2500
        bench.plug = lambda: setattr(bench, "high_v", 9.0)  # type: ignore[method-assign]
        await bench.charge()
        assert round(bench.offered_a(), 1) == 13.0
        bench.high_v = 12.0

    play(tmp_path, story)


def test_a_car_that_stops_asking_is_off_without_anybody_polling(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.charge()
        bench.high_v = 9.0
        await until(lambda: not bench.coil())
        bench.high_v = 6.0
        await until(bench.coil)
        bench.high_v = 12.0
        await until(lambda: not bench.coil())

    play(tmp_path, story)


def test_a_car_without_a_diode_gets_no_power(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.charge()
        bench.low_v = -3.0
        await until(lambda: not bench.coil())

    play(tmp_path, story)


def test_a_converter_that_goes_is_off_and_told(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.charge()
        bench.sysfs.gone = True
        await until(lambda: not bench.coil())
        await until(lambda: any(one.name == "pilot 1" and one.health.health.value == "lost"
                                for one in bench.app.devices.health()))
        bench.sysfs.gone = False

    play(tmp_path, story)


def test_a_terminal_that_gets_hot_is_off(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.charge()
        bench.celsius = 75.0
        bench.thermometer.monotonic_s = lambda: 1e9  # what was judged is old
        await until(lambda: not bench.coil())

    play(tmp_path, story)


def test_a_thermometer_that_goes_is_off_as_well(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        await bench.charge()
        del bench.sysfs.files[f"{W1}/{ROM}/temperature"]
        bench.thermometer.monotonic_s = lambda: 1e9
        await until(lambda: not bench.coil())
        bench.high_v = 12.0

    play(tmp_path, story)
