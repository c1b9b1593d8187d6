"""Coils are off before `hw safe` is imported (cpctl/cli/early.py), on a chip in memory."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.gpio_world import FakeKernel, GpioWorld

from cpctl.app_outputs import Output, Outputs, boot_id, keep
from cpctl.cli import early
from hal.lines import direct

Kept = Callable[..., Path]
COIL = Output("contactor", "gpio", "contactor 1", 1, {"pin": "GPIO17", "active_high": True})


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> GpioWorld:
    world = GpioWorld()
    monkeypatch.setattr(direct, "Kernel", lambda: FakeKernel(world))
    return world


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    def put(*outputs: Output, boot: str = "") -> Path:
        keep(tmp_path, Outputs(outputs, ("gpiozero", "pinctrl-bcm2711"), {}, boot or boot_id()))
        return tmp_path / "outputs.json"

    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    return put


def left_on(world: GpioWorld, number: int, *, level: bool = True) -> None:
    """A line as a killed daemon leaves it on a Raspberry Pi."""
    world.claim(number, "cpctl", out=True, level=level)
    world.free(number)
    world.wires[number].trace.clear()


def test_each_coil_is_driven_to_its_off_level_and_let_go(world: GpioWorld, kept: Kept) -> None:
    kept(COIL, Output("contactor", "gpio", "contactor 2", 2,
                      {"pin": "GPIO22", "active_high": False}))
    left_on(world, 17)
    left_on(world, 22, level=False)

    early.drive_coils_off()

    assert world.wires[17].trace[:1] == [False]
    assert world.wires[22].trace[:1] == [True]
    assert (world.wires[17].consumer, world.wires[22].consumer) == ("", "")


def test_coil_that_cannot_be_had_keeps_the_next_from_nothing(world: GpioWorld, kept: Kept) -> None:
    kept(Output("contactor", "gpio", "contactor 2", 2, {"pin": "GPIO99"}), COIL)

    early.drive_coils_off()

    assert world.wires[17].trace[:1] == [False]


def test_what_hangs_on_a_bus_and_what_was_driven_in_another_boot_is_left_to_the_command(
        world: GpioWorld, kept: Kept) -> None:
    kept(Output("contactor", "board", "contactor 1", 1, {}),
         Output("pilot", "bench", "pilot 1", 1, {"pin": "GPIO12"}))
    early.drive_coils_off()
    kept(COIL, boot="another")
    early.drive_coils_off()

    assert [wire.trace for wire in world.wires if wire.trace] == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 1}', json.dumps({
    "format": 1, "boot": "@", "gpio": [], "outputs": [["contactor", "gpio", "c", 1, None]]})])
def test_damaged_memory_of_the_daemon_is_passed_over(
        world: GpioWorld, kept: Kept, text: str) -> None:
    kept(COIL).write_text(text.replace("@", boot_id()))

    early.drive_coils_off()

    assert [wire.trace for wire in world.wires if wire.trace] == []


def test_without_systemd_nothing_is_driven_here(
        world: GpioWorld, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(COIL)
    monkeypatch.delenv("STATE_DIRECTORY")

    early.drive_coils_off()

    assert world.wires[17].trace == []


def test_hardly_anything_is_imported_for_it() -> None:
    words = ("import sys, cpctl.cli.early, hal.lines.direct; "
             "print({'argparse', 'asyncio', 'logging', 'subprocess', 'gpiozero'} "
             "& set(sys.modules))")

    done: Any = subprocess.run([sys.executable, "-I", "-c", words], capture_output=True, text=True,
                               check=True)

    assert done.stdout.strip() == "set()"
