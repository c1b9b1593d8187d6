"""What is asked of the kernel and read from it, against the structures of linux/gpio.h.

The structures stand here a second time, as ctypes has them, so that a misplaced byte shows.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from ctypes import c_char, c_int32, c_uint32, c_uint64
from typing import Any

import pytest

from hal.lines import _kernel
from hal.lines._kernel import Chip, Kernel


class ChipInfo(ctypes.Structure):
    _fields_ = (("name", c_char * 32), ("label", c_char * 32), ("lines", c_uint32))


class Attribute(ctypes.Structure):
    _fields_ = (("id", c_uint32), ("padding", c_uint32), ("value", c_uint64))


class ConfigAttribute(ctypes.Structure):
    _fields_ = (("attr", Attribute), ("mask", c_uint64))


class LineConfig(ctypes.Structure):
    _fields_ = (("flags", c_uint64), ("num_attrs", c_uint32), ("padding", c_uint32 * 5),
                ("attrs", ConfigAttribute * 10))


class LineRequest(ctypes.Structure):
    _fields_ = (("offsets", c_uint32 * 64), ("consumer", c_char * 32), ("config", LineConfig),
                ("num_lines", c_uint32), ("event_buffer_size", c_uint32),
                ("padding", c_uint32 * 5), ("fd", c_int32))


class LineInfo(ctypes.Structure):
    _fields_ = (("name", c_char * 32), ("consumer", c_char * 32), ("offset", c_uint32),
                ("num_attrs", c_uint32), ("flags", c_uint64), ("attrs", Attribute * 10),
                ("padding", c_uint32 * 4))


class LineValues(ctypes.Structure):
    _fields_ = (("bits", c_uint64), ("mask", c_uint64))


def _io(direction: int, number: int, structure: type[ctypes.Structure]) -> int:
    return direction << 30 | ctypes.sizeof(structure) << 16 | 0xB4 << 8 | number


READ, BOTH = 2, 3
CHIP_INFO, LINE_INFO = _io(READ, 0x01, ChipInfo), _io(BOTH, 0x05, LineInfo)
REQUEST, CONFIGURE = _io(BOTH, 0x07, LineRequest), _io(BOTH, 0x0D, LineConfig)
VALUES = _io(BOTH, 0x0E, LineValues)
SET_VALUES = _io(BOTH, 0x0F, LineValues)
USED, INPUT, OUTPUT, RISING, FALLING, PULL_UP, PULL_DOWN, NO_PULL = (
    1 << bit for bit in (0, 2, 3, 4, 5, 8, 9, 10))


class Machine:
    """Chips as files, and what is asked of them."""

    def __init__(self, folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.chips: dict[str, tuple[str, int]] = {}
        self.lines: dict[int, tuple[str, str, int]] = {}
        self.requests: list[LineRequest] = []
        self.configs: list[LineConfig] = []
        self.driven: list[bool] = []
        self.high = True
        self.refusal: OSError | None = None
        self.edges, self._edge_source = os.pipe()
        monkeypatch.setattr(_kernel.glob, "glob", lambda _: list(self.chips))
        monkeypatch.setattr(_kernel.fcntl, "ioctl", self._ioctl)

    def chip(self, name: str, label: str, lines: int) -> str:
        path = self.folder / name
        path.touch()
        self.chips[str(path)] = (label, lines)
        return str(path)

    def edge(self) -> None:
        os.write(self._edge_source, bytes(48))

    def close(self) -> None:
        os.close(self._edge_source)

    def _ioctl(self, fd: int, what: int, memory: bytearray) -> int:
        if self.refusal is not None:
            raise self.refusal
        if what == CHIP_INFO:
            chip = ChipInfo.from_buffer(memory)
            path = os.readlink(f"/proc/self/fd/{fd}")
            chip.name, chip.label, chip.lines = (
                os.path.basename(path).encode(), self.chips[path][0].encode(), self.chips[path][1])
        elif what == LINE_INFO:
            line = LineInfo.from_buffer(memory)
            name, consumer, line.flags = self.lines.get(line.offset, ("", "", 0))
            line.name, line.consumer = name.encode(), consumer.encode()
        elif what == REQUEST:
            request = LineRequest.from_buffer(memory)
            request.fd = self.edges
            self.requests.append(LineRequest.from_buffer_copy(memory))
        elif what == CONFIGURE:
            self.configs.append(LineConfig.from_buffer_copy(memory))
        else:
            assert what in (VALUES, SET_VALUES) and fd == self.edges
            values = LineValues.from_buffer(memory)
            assert values.mask == 1
            if what == VALUES:
                values.bits = int(self.high)
            else:
                self.driven.append(bool(values.bits))
        return 0


@pytest.fixture
def machine(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine(tmp_path, monkeypatch)
    yield machine
    machine.close()


def test_chips_are_told_by_path_label_and_lines(machine: Machine) -> None:
    first = machine.chip("gpiochip0", "pinctrl-bcm2711", 58)
    second = machine.chip("gpiochip1", "raspberrypi-exp-gpio", 8)

    assert Kernel().chips() == (Chip(first, "pinctrl-bcm2711", 58),
                                Chip(second, "raspberrypi-exp-gpio", 8))


def test_a_chip_is_told_once_whatever_links_lead_to_it(machine: Machine) -> None:
    path = machine.chip("gpiochip0", "pinctrl-rp1", 54)
    os.symlink(path, machine.folder / "gpiochip4")
    machine.chips[str(machine.folder / "gpiochip4")] = ("pinctrl-rp1", 54)

    assert Kernel().chips() == (Chip(path, "pinctrl-rp1", 54),)


def test_a_chip_that_went_meanwhile_is_passed_over(machine: Machine) -> None:
    there = machine.chip("gpiochip0", "pinctrl-bcm2711", 58)
    os.unlink(machine.chip("gpiochip1", "gpio-mcp2221", 4))

    assert [chip.path for chip in Kernel().chips()] == [there]


def test_chips_that_may_not_be_opened_are_told_when_there_is_no_other(machine: Machine) -> None:
    machine.chip("gpiochip0", "pinctrl-bcm2711", 58)
    machine.refusal = PermissionError(errno.EACCES, "Permission denied", "/dev/gpiochip0")

    with pytest.raises(PermissionError):
        Kernel().chips()


def test_a_line_is_told_with_its_name_and_who_has_it(machine: Machine) -> None:
    path = machine.chip("gpiochip0", "pinctrl-bcm2711", 4)
    machine.lines = {1: ("RELAY_L1", "", 0), 2: ("", "spi0 CS0", USED), 3: ("N" * 31, "", INPUT)}
    chip = Chip(path, "pinctrl-bcm2711", 4)

    told = [(line.number, line.name, line.consumer, line.used) for line in Kernel().lines(chip)]

    assert told == [(0, "", "", False), (1, "RELAY_L1", "", False), (2, "", "spi0 CS0", True),
                    (3, "N" * 31, "", False)]
    assert Kernel().line(chip, 2).consumer == "spi0 CS0"


@pytest.mark.parametrize(("pull", "flag"), [
    ("up", PULL_UP), ("down", PULL_DOWN), ("none", NO_PULL)])
def test_an_input_is_requested_with_its_pull_and_watched_with_its_debouncing(
        machine: Machine, pull: str, flag: int) -> None:
    chip = Chip(machine.chip("gpiochip0", "pinctrl-bcm2711", 58), "pinctrl-bcm2711", 58)

    line = Kernel().input(chip, 23, consumer="cpctl input emergency_stop 1 and more", pull=pull)
    line.watch(debounce_us=5000)
    line.watch(debounce_us=0)
    line.close()

    request, = machine.requests
    assert (request.num_lines, request.offsets[0], request.config.flags) == (1, 23, INPUT | flag)
    assert request.consumer == b"cpctl input emergency_stop 1 an"
    assert request.config.num_attrs == 0
    debounced, plain = machine.configs
    assert debounced.flags == plain.flags == INPUT | flag | RISING | FALLING
    assert (debounced.num_attrs, plain.num_attrs) == (1, 0)
    first = debounced.attrs[0]
    assert (first.attr.id, first.attr.value, first.mask) == (3, 5000, 1)


@pytest.mark.parametrize("high", [True, False])
def test_an_output_is_requested_with_its_first_level_in_the_request_itself(
        machine: Machine, high: bool) -> None:
    chip = Chip(machine.chip("gpiochip0", "pinctrl-bcm2711", 58), "pinctrl-bcm2711", 58)

    line = Kernel().output(chip, 17, consumer="cpctl contactor 1", high=high)
    line.drive(high=not high)
    line.drive(high=high)
    line.close()

    request, = machine.requests
    first = request.config.attrs[0]
    assert (request.num_lines, request.offsets[0], request.config.flags) == (1, 17, OUTPUT)
    assert request.consumer == b"cpctl contactor 1"
    assert (request.config.num_attrs, first.attr.id, first.attr.value, first.mask) == (
        1, 2, int(high), 1)
    assert machine.driven == [not high, high]


def test_an_input_reads_its_level_and_forgets_its_edges(machine: Machine) -> None:
    chip = Chip(machine.chip("gpiochip0", "pinctrl-bcm2711", 58), "pinctrl-bcm2711", 58)
    line = Kernel().input(chip, 23, consumer="cpctl", pull="up")
    levels = []
    for machine.high in (True, False, True):
        levels.append(line.high())

    machine.edge()
    machine.edge()
    line.forget_edges()
    line.forget_edges()  # none is left: it does not wait for one

    assert levels == [True, False, True]
    line.close()


def test_a_line_that_is_busy_raises_the_kernels_word(machine: Machine) -> None:
    chip = Chip(machine.chip("gpiochip0", "pinctrl-bcm2711", 58), "pinctrl-bcm2711", 58)
    machine.refusal = OSError(errno.EBUSY, "Device or resource busy")

    with pytest.raises(OSError, match="busy"):
        Kernel().input(chip, 23, consumer="cpctl", pull="up")

    os.close(machine.edges)
