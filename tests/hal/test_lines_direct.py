"""Lines straight from the kernel, on a chip in memory: what `cpctl hw safe` needs of them."""

import subprocess
import sys

import pytest
from support.gpio_world import FakeKernel, GpioWorld

from hal.errors import BadConfig, DeviceGone
from hal.lines.direct import Bank


@pytest.fixture
def world() -> GpioWorld:
    return GpioWorld()


@pytest.fixture
def lines(world: GpioWorld) -> Bank:
    bank = Bank("pinctrl-bcm2711")
    bank.kernel = FakeKernel(world)
    return bank


@pytest.mark.parametrize("active_high", [True, False])
def test_output_begins_off_and_is_off_when_it_is_let_go(
        lines: Bank, world: GpioWorld, active_high: bool) -> None:
    line = lines.output("contactor 1", "GPIO17", active_high=active_high)
    line.set(on=True)
    line.close()
    line.close()

    off = not active_high
    assert world.wires[17].trace == [off, not off, off, "in"]
    assert world.wires[17].consumer == ""


def test_line_of_somebody_else_is_told_with_its_owner(lines: Bank, world: GpioWorld) -> None:
    world.claim(17, "lights", out=True)

    with pytest.raises(DeviceGone, match=r"contactor 1: GPIO17 .* is taken by 'lights'"):
        lines.output("contactor 1", "GPIO17")


@pytest.mark.parametrize("active_high", [True, False])
def test_input_reads_its_logical_level(lines: Bank, world: GpioWorld, active_high: bool) -> None:
    line = lines.input("contactor 1", "GPIO27", active_high=active_high, pull="up")
    world.drive(27, True)
    high = line.read()
    world.drive(27, False)
    low = line.read()
    line.close()

    assert (high, low) == (active_high, not active_high)
    with pytest.raises(DeviceGone, match="let go"):
        line.read()


def test_there_are_no_edges_and_no_other_pulls(lines: Bank) -> None:
    line = lines.input("rcd", "GPIO23")

    with pytest.raises(DeviceGone, match="no edges"):
        line.listen(lambda on: None)
    line.close()
    with pytest.raises(BadConfig, match="pull"):
        lines.input("rcd", "GPIO23", pull="sideways")


def test_chip_that_is_gone_is_told(lines: Bank, world: GpioWorld) -> None:
    line = lines.output("contactor 1", "GPIO17")
    world.lose()

    with pytest.raises(DeviceGone, match="contactor 1: GPIO17 does not answer"):
        line.set(on=True)
    with pytest.raises(DeviceGone, match="does not answer"):
        line.close()


def test_neither_a_library_nor_an_event_loop_is_imported() -> None:
    words = ("import sys, hal.lines.direct, hal.contactors.gpio; "
             "print({'asyncio', 'gpiozero', 'gpiod', 'lgpio'} & set(sys.modules))")

    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
