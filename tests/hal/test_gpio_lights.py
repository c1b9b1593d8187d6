"""Lights and buzzer on digital lines: what is shown how (docs/indicators.md), in virtual time."""

import asyncio
from typing import Any

import pytest
from support.gpio_world import GpioWorld, wired
from support.virtual_loop import VirtualLoop, run

from hal import registry
from hal.contracts import Parts
from hal.errors import BadConfig, DeviceGone

LINES = {"red": 5, "green": 6, "blue": 13, "buzzer": 19}
LONG_S = 12.0


class LightsBench:
    """Lamps and a buzzer; `film` has what shone from when on, in seconds since the start."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *fitted: str, **options: Any) -> None:
        self.loop = VirtualLoop(start_ns=0)
        self.world = GpioWorld()
        self.film: list[tuple[float, str]] = []
        self.inverted = options.get("active_high") is False
        pins = {one: f"GPIO{LINES[one]}" for one in fitted or tuple(LINES)}
        self.lights = registry.build("indicator", "gpio", "indicator 1", 1, pins | options,
                                     Parts(lines=wired("gpiod", self.world)))
        for number in LINES.values():
            self.world.follow[number] = lambda _: self.loop.call_soon(self._look)

    def shine(self) -> str:
        def on(one: str) -> bool:
            wire = self.world.wires[LINES[one]]
            return wire.out and wire.high is not (self.inverted and one != "buzzer")
        return "+".join(one for one in LINES if on(one)) or "dark"

    def _look(self) -> None:
        now, shine = round(self.loop.time(), 3), self.shine()
        if self.film and self.film[-1][0] == now:
            self.film.pop()
        if not self.film or self.film[-1][1] != shine:
            self.film.append((now, shine))

    def show(self, *patterns: str, seconds: float = LONG_S, blink_times: int | None = None) -> None:
        """Each pattern for so long."""
        async def story() -> None:
            await self.lights.open()
            if blink_times is not None:
                await self.lights.adjust(intensity_percent=100, blink_times=blink_times)
            for pattern in patterns:
                await self.lights.show(pattern)
                await asyncio.sleep(seconds)
            await self.lights.close()

        run(story(), loop=self.loop)


@pytest.mark.parametrize(("pattern", "shine"), [
    ("off", "dark"), ("available", "green"), ("charging", "blue"), ("finishing", "green+blue"),
    ("reserved", "red+green"), ("unavailable", "red")])
def test_what_shines_steadily_shines_until_the_end(
        monkeypatch: pytest.MonkeyPatch, pattern: str, shine: str) -> None:
    bench = LightsBench(monkeypatch)

    bench.show(pattern)

    assert [one for _, one in bench.film if one != "dark"] == [shine] * (shine != "dark")
    assert shine == "dark" or bench.film[-1] == (LONG_S, "dark")  # closed


@pytest.mark.parametrize(("pattern", "lamp", "half_s"), [
    ("preparing", "green", 1.0), ("suspended", "blue", 1.0), ("fault", "red", 0.5)])
def test_what_blinks_is_on_and_off_for_the_same_time(
        monkeypatch: pytest.MonkeyPatch, pattern: str, lamp: str, half_s: float) -> None:
    bench = LightsBench(monkeypatch)

    bench.show(pattern, seconds=6 * half_s + half_s / 2)

    assert bench.film[:6] == [(round(n * half_s, 3), lamp if n % 2 == 0 else "dark")
                              for n in range(6)]


def test_a_card_that_is_taken_blinks_green_with_one_beep_and_what_was_shown_comes_back(
        monkeypatch: pytest.MonkeyPatch) -> None:
    bench = LightsBench(monkeypatch)

    bench.show("unavailable", "card_accepted", seconds=4.0)

    assert bench.film == [
        (0.0, "red"), (4.0, "green+buzzer"), (4.2, "buzzer"), (4.3, "dark"), (4.4, "green"),
        (4.6, "dark"), (4.8, "green"), (5.0, "dark"), (5.2, "red"), (8.0, "dark")]


def test_a_card_that_is_refused_blinks_red_with_three_beeps(
        monkeypatch: pytest.MonkeyPatch) -> None:
    bench = LightsBench(monkeypatch)

    bench.show("card_refused", seconds=4.0)

    beeps = [at for at, shine in bench.film if "buzzer" in shine]
    assert beeps == [0.0, 0.2, 0.4]
    assert bench.film[-1] == (1.0, "dark")


@pytest.mark.parametrize("times", [0, 1, 7])
def test_it_blinks_as_often_as_the_settings_say(
        monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    bench = LightsBench(monkeypatch, "green")

    bench.show("card_accepted", blink_times=times)

    assert [shine for _, shine in bench.film].count("green") == times


def test_what_lasts_waits_for_the_answer_to_a_card_and_a_fault_does_not(
        monkeypatch: pytest.MonkeyPatch) -> None:
    bench = LightsBench(monkeypatch, "red", "green", "blue")

    bench.show("card_accepted", "charging", "card_accepted", "fault", seconds=0.5)

    assert (1.2, "blue") not in bench.film  # another card meanwhile
    assert bench.film[-2:] == [(1.5, "red"), (2.0, "dark")]
    assert "blue" not in [shine for _, shine in bench.film]


def test_a_lamp_that_is_not_fitted_is_missing_and_costs_nothing(
        monkeypatch: pytest.MonkeyPatch) -> None:
    bench = LightsBench(monkeypatch, "green")

    async def story() -> tuple[int, str]:
        await bench.lights.open()
        await bench.lights.show("suspended")
        await bench.lights.show("card_refused")
        await bench.lights.show("reserved")
        timers = len(bench.loop._scheduled)  # type: ignore[attr-defined]
        shine = bench.shine()
        await bench.lights.close()
        return timers, shine

    timers, shine = run(story(), loop=bench.loop)

    assert timers == 1  # the limit of the story
    assert shine == "green"


@pytest.mark.parametrize("pattern", ["off", "available", "charging", "finishing", "unavailable"])
def test_steady_light_costs_no_wake_up(monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    bench = LightsBench(monkeypatch)

    async def story() -> int:
        await bench.lights.open()
        await bench.lights.show("fault")
        await bench.lights.show(pattern)
        timers = sum(not one.cancelled() for one in
                     bench.loop._scheduled)  # type: ignore[attr-defined]
        await bench.lights.close()
        return timers

    assert run(story(), loop=bench.loop) == 1  # the limit of the story


def test_lamps_that_shine_when_low_begin_dark(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = LightsBench(monkeypatch, "green", "buzzer", active_high=False)

    bench.show("off", "available", seconds=1.0)

    assert bench.world.wires[LINES["green"]].trace == [True, False, True, "in"]
    assert bench.world.wires[LINES["buzzer"]].trace == [False, "in"]


def test_lights_that_were_lost_show_the_last_pattern_when_they_are_back(
        monkeypatch: pytest.MonkeyPatch) -> None:
    bench = LightsBench(monkeypatch)

    async def story() -> str:
        await bench.lights.open()
        await bench.lights.show("charging")
        bench.world.lose()
        with pytest.raises(DeviceGone, match="indicator 1: GPIO"):
            await bench.lights.show("fault")
        await bench.lights.close()
        bench.world.restore()
        await bench.lights.open()
        shine = bench.shine()
        await bench.lights.close()
        return shine

    assert run(story(), loop=bench.loop) == "red"


def test_lights_that_are_lost_while_they_blink_say_so_at_the_next_pattern(
        monkeypatch: pytest.MonkeyPatch) -> None:
    bench = LightsBench(monkeypatch, "red")

    async def story() -> None:
        await bench.lights.open()
        await bench.lights.show("fault")
        bench.world.lose()
        await asyncio.sleep(5.0)
        try:
            await bench.lights.show("fault")
        finally:
            await bench.lights.close()

    with pytest.raises(DeviceGone, match="indicator 1: GPIO5"):
        run(story(), loop=bench.loop)


def test_lights_without_any_line_are_refused() -> None:
    with pytest.raises(BadConfig, match="indicator 1: no line is named; give red, green, blue"):
        registry.build("indicator", "gpio", "indicator 1", 1, {}, Parts())


def test_lights_that_are_not_open_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = LightsBench(monkeypatch, "red")

    with pytest.raises(DeviceGone, match="its lines are not there any more"):
        run(bench.lights.show("fault"), loop=bench.loop)
