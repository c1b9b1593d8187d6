"""The contract of digital lines (hal/pins.py) through both backends, on a chip in memory."""

import asyncio
import importlib
import inspect
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from support.gpio_world import (
    LIBRARIES,
    FakeKernel,
    GpioWorld,
    LineSettings,
    fake_gpiod,
    wired,
)
from support.virtual_loop import run

from hal import registry
from hal.errors import BadConfig, DeviceGone
from hal.lines._kernel import Chip
from hal.lines.gpiod import Bank as GpiodBank
from hal.lines.gpiozero import Bank as GpiozeroBank
from hal.pins import Lines, line_number


@pytest.fixture
def world() -> GpioWorld:
    return GpioWorld()


@pytest.fixture(params=LIBRARIES)
def lines(request: pytest.FixtureRequest, world: GpioWorld) -> Iterator[Lines]:
    yield wired(request.param, world)
    assert [wire.consumer for wire in world.wires if wire.consumer] == [], "lines left behind"


# --- outputs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("active_high", [True, False])
def test_an_output_begins_at_its_off_level_and_knows_no_other_before_it_is_set(
        lines: Lines, world: GpioWorld, active_high: bool) -> None:
    line = lines.output("contactor 1", "GPIO17", active_high=active_high)
    begun = list(world.wires[17].trace)
    line.set(on=True)
    line.set(on=False)
    line.close()

    off, on = not active_high, active_high
    assert begun == [off]
    assert world.wires[17].trace == [off, on, off, "in"]


def test_closing_switches_off_before_it_lets_go(lines: Lines, world: GpioWorld) -> None:
    line = lines.output("contactor 1", "GPIO17")
    line.set(on=True)

    line.close()
    line.close()

    assert world.wires[17].trace == [False, True, False, "in"]


def test_a_closed_output_is_gone(lines: Lines) -> None:
    line = lines.output("contactor 1", "GPIO17")
    line.close()

    with pytest.raises(DeviceGone, match="contactor 1: GPIO17 has been let go"):
        line.set(on=True)


@pytest.mark.parametrize("pin", ["GPIO17", "gpio17", "BCM17", "17", "RELAY_L1"])
def test_a_line_is_found_by_number_and_by_the_kernels_name(
        lines: Lines, world: GpioWorld, pin: str) -> None:
    world.wires[17].name = "RELAY_L1"

    lines.output("contactor 1", pin).close()

    assert world.wires[17].trace == [False, "in"]


# --- inputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pull", "outside", "active_high", "on"), [
    ("up", None, True, True), ("up", None, False, False), ("up", False, False, True),
    ("down", None, True, False), ("down", True, True, True), ("none", True, True, True),
    ("none", False, False, True),
])
def test_an_input_reads_its_level_in_its_own_sense(
        lines: Lines, world: GpioWorld, pull: str, outside: bool | None, active_high: bool,
        on: bool) -> None:
    world.drive(23, outside)

    line = lines.input("rcd 1", "GPIO23", active_high=active_high, pull=pull)
    read = line.read()
    line.close()

    assert read is on
    assert world.wires[23].pull == pull


def test_a_listener_hears_the_level_after_each_edge(lines: Lines, world: GpioWorld) -> None:
    async def story() -> list[bool | None]:
        heard: list[bool | None] = []
        line = lines.input("rcd 1", "GPIO23", active_high=False, pull="up")
        line.listen(heard.append)
        for outside in (False, None, False):
            world.drive(23, outside)
            await asyncio.sleep(0.01)
        line.close()
        return heard

    assert run(story()) == [True, False, True]


def test_many_edges_at_once_tell_the_level_they_end_at(
        lines: Lines, world: GpioWorld) -> None:
    async def story() -> bool | None:
        heard: list[bool | None] = []
        line = lines.input("rcd 1", "GPIO23", pull="down")
        line.listen(heard.append)
        for _ in range(50):
            world.drive(23, True)
            world.drive(23, None)
        world.drive(23, True)
        await asyncio.sleep(0.01)
        line.close()
        return heard[-1]

    assert run(story()) is True


def test_nothing_is_heard_of_an_input_that_is_closed(lines: Lines, world: GpioWorld) -> None:
    async def story() -> list[bool | None]:
        heard: list[bool | None] = []
        line = lines.input("rcd 1", "GPIO23", pull="up")
        line.listen(heard.append)
        line.close()
        world.drive(23, False)
        await asyncio.sleep(0.01)
        return heard

    assert run(story()) == []


@pytest.mark.parametrize("library", ["gpiod", "gpiozero"])
def test_the_kernel_is_told_to_debounce(library: str, world: GpioWorld) -> None:
    async def story() -> int:
        line = wired(library, world).input("rcd 1", "GPIO23", debounce_ms=7.5)
        line.listen(lambda on: None)
        told = world.wires[23].debounce_us
        line.close()
        return told

    assert run(story()) == 7500


@pytest.mark.parametrize("library", ["gpiod", "gpiozero"])
def test_a_chip_that_goes_tells_its_listeners_none_and_then_nothing(
        library: str, world: GpioWorld) -> None:
    async def story() -> list[bool | None]:
        heard: list[bool | None] = []
        line = wired(library, world).input("rcd 1", "GPIO23", pull="up")
        line.listen(heard.append)
        world.lose()
        await asyncio.sleep(0.01)
        with pytest.raises(DeviceGone, match="rcd 1: GPIO23 does not answer"):
            line.read()
        line.close()
        return heard

    assert run(story()) == [None]


# --- what is not to be had -----------------------------------------------------------------------


def test_lines_of_a_chip_that_went_are_gone_and_those_of_the_next_one_work(
        lines: Lines, world: GpioWorld) -> None:
    old = lines.output("contactor 1", "GPIO17")
    other = lines.output("contactor 2", "GPIO18")
    world.lose()
    with pytest.raises(DeviceGone, match="contactor 1: GPIO17 does not answer"):
        old.set(on=True)
    with pytest.raises(DeviceGone):
        lines.output("contactor 1", "GPIO17")

    world.restore()
    old.close()
    new = lines.output("contactor 1", "GPIO17")
    new.set(on=True)
    high = world.wires[17].high
    other.close()
    new.close()

    assert high


def test_a_line_that_somebody_has_is_told_with_who(lines: Lines, world: GpioWorld) -> None:
    world.wires[17].consumer = "spi0 CS0"

    with pytest.raises(DeviceGone, match=r"contactor 1: GPIO17 \(line 17 of pinctrl-bcm2711\) is "
                                         r"taken by 'spi0 CS0'; free it"):
        lines.output("contactor 1", "GPIO17")
    with pytest.raises(DeviceGone, match="is taken by 'spi0 CS0'"):
        lines.input("rcd 1", "GPIO17")

    world.wires[17].consumer = ""


@pytest.mark.parametrize(("pin", "said"), [
    ("GPIO58", "there is no line 58 .* on pinctrl-bcm2711; it has 0 to 57"),
    ("RELAY", "no line named 'RELAY'; its names .*: LED, LED, SIREN"),
    ("LED", "2 lines named 'LED': 3, 4; name the pin by its number"),
    ("BOARD11", "pins are written as GPIO numbers"),
    ("J8:11", "pins are written as GPIO numbers"),
    (" ", "a pin is empty"),
])
def test_a_pin_that_cannot_be_meant_is_refused(
        lines: Lines, world: GpioWorld, pin: str, said: str) -> None:
    for number, name in ((3, "LED"), (4, "LED"), (5, "SIREN")):
        world.wires[number].name = name

    with pytest.raises(BadConfig, match=said):
        lines.output("contactor 1", pin)


def test_a_line_off_the_header_is_for_the_other_backend(world: GpioWorld) -> None:
    with pytest.raises(BadConfig, match=r'GPIO44 cannot be used: .*backend = "gpiod"'):
        wired("gpiozero", world).output("contactor 1", "GPIO44")

    wired("gpiod", world).output("contactor 1", "GPIO44").close()


def test_a_pull_against_a_resistor_of_the_board_is_refused(world: GpioWorld) -> None:
    with pytest.raises(BadConfig, match=r"GPIO2 .*resistor on the board"):
        wired("gpiozero", world).input("rcd 1", "GPIO2", pull="down")


def test_a_pull_that_is_none_is_refused(lines: Lines) -> None:
    with pytest.raises(BadConfig, match="pull is 'upp'"):
        lines.input("rcd 1", "GPIO23", pull="upp")


def test_a_line_cannot_be_had_twice(lines: Lines) -> None:
    first = lines.output("contactor 1", "GPIO17")

    with pytest.raises((DeviceGone, BadConfig), match="contactor 2"):
        lines.output("contactor 2", "GPIO17")

    first.close()


# --- chips ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["pinctrl-rp1", "pinctrl-bcm2711", "pinctrl-bcm2835"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_without_a_label_it_is_the_header_of_a_pi(label: str, library: str) -> None:
    world = GpioWorld(label)
    world.others = (Chip("/dev/gpiochip10", "gpio-brcmstb@107d508500", 32),)

    wired(library, world).output("contactor 1", "GPIO17").close()

    assert world.wires[17].trace == [False, "in"]


def test_no_other_chip_is_taken_for_the_one_that_was_named(world: GpioWorld) -> None:
    lines = wired("gpiod", world, chip="pinctrl-rp1")

    with pytest.raises(DeviceGone, match=r"no GPIO chip has the label 'pinctrl-rp1'; there is "
                                         r"'pinctrl-bcm2711' \(/dev/gpiochip0, 58 lines\)"):
        lines.output("contactor 1", "GPIO17")

    assert world.wires[17].trace == []


@pytest.mark.parametrize("library", LIBRARIES)
def test_off_a_pi_no_chip_is_taken_without_a_label(library: str) -> None:
    world = GpioWorld("gpio-mcp2221")

    with pytest.raises(DeviceGone, match="no chip of a Pi's header is here; there is "
                                         "'gpio-mcp2221'"):
        wired(library, world).output("contactor 1", "GPIO3")
    wired(library, world, chip="gpio-mcp2221").output("contactor 1", "GPIO3").close()

    assert world.wires[3].trace == [False, "in"]


def test_two_chips_of_one_label_cannot_be_told_apart(world: GpioWorld) -> None:
    world.others = (Chip("/dev/gpiochip1", "pinctrl-bcm2711", 58),)

    with pytest.raises(BadConfig, match="/dev/gpiochip1, /dev/gpiochip0 all have the label"):
        wired("gpiod", world).output("contactor 1", "GPIO17")


def test_a_machine_without_gpio_is_told_so(world: GpioWorld) -> None:
    world.gone = True

    with pytest.raises(DeviceGone, match="this machine has no GPIO chip"):
        wired("gpiod", world).output("contactor 1", "GPIO17")


def test_a_user_without_the_right_is_told_the_group(world: GpioWorld) -> None:
    world.denied = True

    with pytest.raises(DeviceGone, match=r"no permission for /dev/gpiochip0; .* group gpio"):
        wired("gpiod", world).output("contactor 1", "GPIO17")


def test_a_missing_library_names_the_other_backend(world: GpioWorld) -> None:
    def missing(*_: object) -> object:
        raise ModuleNotFoundError("No module named 'gpiozero'")

    first, second = GpiozeroBank(), GpiodBank()
    first.kernel = second.kernel = FakeKernel(world)
    first.make_factory = second.library = missing

    with pytest.raises(DeviceGone, match=r'set \[gpio\] backend = "gpiod"'):
        first.output("contactor 1", "GPIO17")
    with pytest.raises(DeviceGone, match=r'set \[gpio\] backend = "gpiozero"'):
        second.output("contactor 1", "GPIO17")


def test_backends_are_found_by_their_name_and_open_nothing() -> None:
    assert isinstance(registry.lines("gpiozero", ""), GpiozeroBank)
    assert isinstance(registry.lines("gpiod", "x"), GpiodBank)


def test_the_gpiod_of_these_tests_has_nothing_that_the_library_does_not_have() -> None:
    real = pytest.importorskip("gpiod")
    line = importlib.import_module("gpiod.line")
    fake = fake_gpiod(GpioWorld())

    for name in ("Direction", "Bias", "Value", "Edge"):
        words = {member.name for member in getattr(fake.line, name)}
        assert words <= {member.name for member in getattr(line, name)}
    assert {one.name for one in fields(LineSettings)} <= {
        one.name for one in fields(real.LineSettings)}
    wanted = ("set_value", "get_value", "reconfigure_lines", "read_edge_events", "release", "fd")
    assert [name for name in wanted if not hasattr(real.LineRequest, name)] == []
    inspect.signature(real.request_lines).bind("/dev/gpiochip0", consumer="cpctl", config={})


def test_a_chip_that_is_no_chip_is_told_by_the_library_as_it_is_here(tmp_path: Path) -> None:
    pytest.importorskip("gpiod")
    lines = GpiodBank("pinctrl-bcm2711")
    world = GpioWorld()
    world.chip = Chip(str(tmp_path / "gpiochip0"), "pinctrl-bcm2711", 58)
    lines.kernel = FakeKernel(world)

    with pytest.raises(DeviceGone, match=r"contactor 1: GPIO17 .* cannot be had"):
        lines.output("contactor 1", "GPIO17")


@pytest.mark.parametrize(("pin", "number"), [
    ("GPIO17", 17), ("BCM4", 4), ("0", 0), ("RELAY_L1", None), ("GPIO17A", None)])
def test_how_a_pin_is_written(pin: str, number: int | None) -> None:
    assert line_number(pin) == number
