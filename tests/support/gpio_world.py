"""A GPIO chip in memory, as the kernel and gpiod show it, and the hands of what hangs on it.

`wired(library)` gives a bank of lines on such a chip: "gpiod" through a module written from the
documented API of libgpiod 2, "gpiozero" through our own pins on the kernel's interface, "mock"
through gpiozero's MockFactory.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from types import SimpleNamespace
from typing import Any

from hal.lines import gpiod as gpiod_backend
from hal.lines import gpiozero as gpiozero_backend
from hal.lines._kernel import Chip, InputFile, Line, OutputFile
from hal.pins import Lines

LIBRARIES = ("gpiod", "gpiozero", "mock")


@dataclass
class Wire:
    """One line: what the chip does with it, and what hangs on it."""

    name: str = ""
    consumer: str = ""
    out: bool = False
    driven: bool = False  # the level of an output
    pull: str = "none"
    outside: bool | None = None  # what a contact puts on it; None: nothing
    active_low: bool = False
    edges: list[Callable[[], None]] = field(default_factory=list)
    debounce_us: int = 0
    #: level by level as an output, "in" while it is none
    trace: list[bool | str] = field(default_factory=list)

    @property
    def high(self) -> bool:
        if self.out:
            return self.driven
        return self.outside if self.outside is not None else self.pull == "up"


class GpioWorld:
    """One chip. `gone`: it was pulled out; `denied`: its file may not be opened."""

    def __init__(self, label: str = "pinctrl-bcm2711", lines: int = 58) -> None:
        self.chip = Chip("/dev/gpiochip0", label, lines)
        self.others: tuple[Chip, ...] = ()
        self.wires = [Wire() for _ in range(lines)]
        self.gone = self.denied = False
        self.follow: dict[int, Callable[[bool], None]] = {}  # by output: who follows its level
        self.life = 0  # a chip that comes back is a new one: old requests stay dead

    def look(self) -> None:
        if self.gone:
            raise OSError(errno.ENODEV, "No such device")

    def claim(self, number: int, consumer: str, *, out: bool, level: bool = False,
              pull: str = "none") -> None:
        self.look()
        if self.denied:
            raise PermissionError(errno.EACCES, "Permission denied", self.chip.path)
        wire = self.wires[number]
        if wire.consumer:
            raise OSError(errno.EBUSY, "Device or resource busy")
        wire.consumer, wire.out, wire.pull = consumer, out, pull
        if out:
            self.put(number, level)
        else:
            wire.trace.append("in")

    def put(self, number: int, level: bool) -> None:
        self.look()
        wire = self.wires[number]
        assert wire.out, f"line {number} is no output"
        wire.driven = level
        if wire.trace[-1:] != [level]:
            wire.trace.append(level)
        self._tell(number)

    def free(self, number: int) -> None:
        wire = self.wires[number]
        if wire.consumer:
            wire.consumer, wire.out, wire.edges = "", False, []
            wire.trace.append("in")
            self._tell(number)

    def drive(self, number: int, outside: bool | None) -> None:
        """A contact puts a level on a line, or lets it go."""
        wire = self.wires[number]
        before = wire.high
        wire.outside = outside
        if wire.high is not before:
            for told in tuple(wire.edges):
                told()

    def lose(self) -> None:
        self.gone = True
        self.life += 1
        for number, wire in enumerate(self.wires):
            edges = tuple(wire.edges)
            self.free(number)
            for told in edges:
                told()

    def restore(self) -> None:
        self.gone = False

    def _tell(self, number: int) -> None:
        if number in self.follow:
            self.follow[number](self.wires[number].high)


class FakeKernel:
    """`hal.lines._kernel.Kernel` on a world."""

    def __init__(self, world: GpioWorld) -> None:
        self.world = world

    def chips(self) -> tuple[Chip, ...]:
        if self.world.denied:
            raise PermissionError(errno.EACCES, "Permission denied", self.world.chip.path)
        return (*self.world.others, *(() if self.world.gone else (self.world.chip,)))

    def lines(self, chip: Chip) -> Iterator[Line]:
        for number in range(chip.lines):
            yield self.line(chip, number)

    def line(self, chip: Chip, number: int) -> Line:
        self.world.look()
        wire = self.world.wires[number]
        return Line(number, wire.name, wire.consumer, bool(wire.consumer))

    def output(self, chip: Chip, number: int, *, consumer: str, high: bool) -> FakeOutputFile:
        self.world.claim(number, consumer, out=True, level=high)
        return FakeOutputFile(self.world, number)

    def input(self, chip: Chip, number: int, *, consumer: str, pull: str) -> FakeInputFile:
        self.world.claim(number, consumer, out=False, pull=pull)
        return FakeInputFile(self.world, number)


class EdgeFile:
    """A file that becomes readable with each edge."""

    def __init__(self) -> None:
        self.fd, self._other = os.pipe()
        self._open = [self.fd, self._other]
        os.set_blocking(self.fd, False)

    def told(self) -> None:
        if self._open:
            os.write(self._other, b"e")

    def empty(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 1024)

    def close(self) -> None:
        while self._open:
            os.close(self._open.pop())

    def __del__(self) -> None:
        self.close()


class FakeLineFile(EdgeFile):
    def __init__(self, world: GpioWorld, number: int) -> None:
        super().__init__()
        self.world, self.number, self.life = world, number, world.life

    def high(self) -> bool:
        self._look()
        return self.world.wires[self.number].high

    def close(self) -> None:
        if self._open and self.life == self.world.life:
            self.world.free(self.number)
        super().close()

    def _look(self) -> None:
        if self.life != self.world.life:
            raise OSError(errno.ENODEV, "No such device")


class FakeOutputFile(FakeLineFile, OutputFile):
    def drive(self, *, high: bool) -> None:
        self._look()
        self.world.put(self.number, high)


class FakeInputFile(FakeLineFile, InputFile):
    def watch(self, *, debounce_us: int) -> None:
        self._look()
        wire = self.world.wires[self.number]
        wire.debounce_us = debounce_us
        wire.edges.append(self.told)

    def forget_edges(self) -> None:
        self._look()
        self.empty()


# --- gpiod ---------------------------------------------------------------------------------------


class Direction(Enum):
    INPUT, OUTPUT = 1, 2


class Bias(Enum):
    PULL_UP, PULL_DOWN, DISABLED = "up", "down", "none"


class Value(Enum):
    INACTIVE, ACTIVE = 0, 1


class Edge(Enum):
    NONE, BOTH = 0, 1


@dataclass
class LineSettings:
    direction: Direction
    active_low: bool = False
    output_value: Value = Value.INACTIVE
    bias: Bias = Bias.DISABLED
    edge_detection: Edge = Edge.NONE
    debounce_period: timedelta = timedelta()


class FakeRequest(EdgeFile):
    """`gpiod.LineRequest` of one line."""

    def __init__(self, world: GpioWorld, number: int, settings: LineSettings) -> None:
        super().__init__()
        self.world, self.number, self.life = world, number, world.life
        self.inverted = settings.active_low

    def set_value(self, line: int, value: Value) -> None:
        self._look(line)
        self.world.put(line, (value is Value.ACTIVE) is not self.inverted)

    def get_value(self, line: int) -> Value:
        self._look(line)
        return Value.ACTIVE if self.world.wires[line].high is not self.inverted else Value.INACTIVE

    def reconfigure_lines(self, config: dict[int, LineSettings]) -> None:
        (line, settings), = config.items()
        self._look(line)
        wire = self.world.wires[line]
        wire.debounce_us = int(settings.debounce_period.total_seconds() * 1e6)
        if settings.edge_detection is Edge.BOTH:
            wire.edges.append(self.told)

    def read_edge_events(self) -> list[object]:
        self._look(self.number)
        self.empty()
        return []

    def release(self) -> None:
        self.close()
        if self.life == self.world.life:
            self.world.free(self.number)

    def _look(self, line: int) -> None:
        assert line == self.number
        if self.life != self.world.life:
            raise OSError(errno.ENODEV, "No such device")


def fake_gpiod(world: GpioWorld) -> Any:
    """The module `gpiod` on a world."""

    def request_lines(path: str, *, consumer: str, config: dict[int, LineSettings]) -> FakeRequest:
        assert path == world.chip.path
        (number, settings), = config.items()
        out = settings.direction is Direction.OUTPUT
        level = (settings.output_value is Value.ACTIVE) is not settings.active_low
        world.claim(number, consumer, out=out, level=level, pull=settings.bias.value)
        return FakeRequest(world, number, settings)

    line = SimpleNamespace(Direction=Direction, Bias=Bias, Value=Value, Edge=Edge)
    return SimpleNamespace(line=line, LineSettings=LineSettings, request_lines=request_lines)


def wired(library: str, world: GpioWorld, chip: str = "") -> Lines:
    """A bank of lines on `world` through one of `LIBRARIES`."""
    if library == "gpiod":
        bank = gpiod_backend.Bank(chip)
        bank.kernel = FakeKernel(world)
        bank.library = lambda: fake_gpiod(world)
        return bank
    other = gpiozero_backend.Bank(chip)
    other.kernel = FakeKernel(world)
    if library == "mock":
        from support.gpio_mock import TiedFactory

        other.make_factory = lambda kernel: TiedFactory(world)
    return other
