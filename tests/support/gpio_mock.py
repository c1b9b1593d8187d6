"""gpiozero's mock pins, tied to the wires of a chip in memory (gpio_world.py)."""

from __future__ import annotations

import errno
from typing import Any

from gpiozero.pins.mock import MockFactory, MockPin
from support.gpio_world import GpioWorld, Wire


class TiedFactory(MockFactory):  # type: ignore[misc]
    def __init__(self, world: GpioWorld) -> None:
        super().__init__(pin_class=TiedPin)
        self.world = world


class TiedPin(MockPin):  # type: ignore[misc]
    def __init__(self, factory: TiedFactory, info: Any) -> None:
        super().__init__(factory, info)
        self._world = factory.world
        self._life = self._world.life
        self._had = False

    @property
    def _wire(self) -> Wire:
        return self._world.wires[self._number]

    def _get_state(self) -> bool:
        self._look()
        return self._wire.high

    def _set_state(self, value: bool) -> None:
        self._look()
        super()._set_state(value)
        self._world.put(self._number, bool(value))

    def output_with_state(self, state: bool) -> None:
        self._world.claim(self._number, "mock", out=True, level=bool(state))
        self._had, self._life = True, self._world.life
        super().output_with_state(state)

    def input_with_pull(self, pull: str) -> None:
        self._world.claim(self._number, "mock", out=False,
                          pull={"floating": "none"}.get(pull, pull))
        self._had, self._life = True, self._world.life
        super().input_with_pull(pull)
        self._state = self._wire.high
        self._wire.edges.append(self._moved)

    def _moved(self) -> None:
        if self._life != self._world.life:  # nobody would tell an edge of a chip that is gone
            return
        (self.drive_high if self._wire.high else self.drive_low)()

    def close(self) -> None:
        super().close()
        if self._had and self._life == self._world.life:
            self._world.free(self._number)
        self._had = False

    def _look(self) -> None:
        if self._life != self._world.life:
            raise OSError(errno.ENODEV, "No such device")
