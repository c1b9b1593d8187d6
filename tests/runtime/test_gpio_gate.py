"""The power gate on a contactor that hangs on digital lines: what it makes of coil and contact."""

from collections.abc import Mapping
from typing import Any

import pytest
from support.gate_bench import GateBench
from support.gpio_world import LIBRARIES, GpioWorld, wired
from support.virtual_loop import run

from cpctl.core.events import ContactorReported, DeviceLost, EnergiseRefused, PowerReleased
from hal import registry
from hal.contracts import Contactor, Parts
from hal.pins import Lines

COIL, CONTACT, RCD = 17, 27, 23
SETTLE_S = 0.6  # a little over what the gate gives the contact


class GpioGateBench(GateBench):
    """A gate bench whose contactor has its coil on line 17 and its contact on line 27."""

    def __init__(self, library: str, monkeypatch: pytest.MonkeyPatch, *, mirror: bool = False,
                 welded: bool = False) -> None:
        self.world = GpioWorld()
        self.lines: Lines = wired(library, self.world)
        self.mirror = mirror
        self.welded, self.stuck_open, self.wire_cut = welded, False, False
        self.world.follow[COIL] = lambda _: self.move()
        monkeypatch.setattr("support.gate_bench.Switch", self._switch)
        self.move()
        super().__init__()

    def _switch(self, name: str, evse: int, _: Mapping[str, Any], parts: Parts) -> Contactor:
        options = {"pin": f"GPIO{COIL}", "feedback_pin": f"GPIO{CONTACT}",
                   "feedback_active_high": self.mirror}
        made: Contactor = registry.build("contactor", "gpio", name, evse, options,
                                         Parts(lines=self.lines, deadman=parts.deadman))
        run(made.prepare())
        return made

    def coil(self, evse: int = 1) -> bool:
        wire = self.world.wires[COIL]
        return wire.out and wire.high

    def move(self) -> None:
        closed = (self.coil() or self.welded) and not self.stuck_open
        shut = closed is not self.mirror and not self.wire_cut
        self.world.drive(CONTACT, False if shut else None)


@pytest.fixture(params=LIBRARIES)
def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> GpioGateBench:
    return GpioGateBench(request.param, monkeypatch)


def test_the_coil_follows_the_gate(bench: GpioGateBench) -> None:
    bench.charging()
    bench.advance(60.0)
    was_on = bench.coil()

    bench.gate.release(1, "test")
    bench.advance(SETTLE_S)

    assert was_on
    assert not bench.coil()
    assert bench.last(ContactorReported) == ContactorReported(1, closed=False)


def test_a_contact_that_stays_closed_is_a_weld(bench: GpioGateBench) -> None:
    bench.charging()
    bench.welded = True

    bench.gate.release(1, "test")
    at_once = list(bench.posted)
    bench.advance(SETTLE_S)

    assert not bench.coil()
    assert ContactorReported(1, closed=True, welded=True) not in at_once
    assert bench.last(ContactorReported) == ContactorReported(1, closed=True, welded=True)
    assert not bench.gate.may_unlock(1)


def test_a_weld_found_at_the_start_is_told_before_anything_closes(
        monkeypatch: pytest.MonkeyPatch) -> None:
    bench = GpioGateBench("gpiod", monkeypatch, welded=True)

    bench.gate.make_safe()
    bench.advance(SETTLE_S)
    bench.gate.energise(1, bench.gate.number(1))

    assert ContactorReported(1, closed=True, welded=True) in bench.posted
    assert isinstance(bench.last(EnergiseRefused), EnergiseRefused)
    assert bench.world.wires[COIL].trace == [False]


def test_a_broken_wire_of_a_mirror_contact_is_told_as_a_weld(
        monkeypatch: pytest.MonkeyPatch) -> None:
    bench = GpioGateBench("gpiod", monkeypatch, mirror=True)
    bench.charging()
    bench.wire_cut = True

    bench.gate.release(1, "test")
    bench.advance(SETTLE_S)

    assert bench.last(ContactorReported) == ContactorReported(1, closed=True, welded=True)


def test_a_contact_that_does_not_close_takes_the_coil_off(bench: GpioGateBench) -> None:
    bench.stuck_open = True
    bench.ready()

    bench.gate.energise(1, bench.gate.number(1))
    tried = bench.coil()
    bench.advance(SETTLE_S)

    assert tried
    assert not bench.coil()
    released = bench.last(PowerReleased)
    assert isinstance(released, PowerReleased)
    assert released.reasons == ("did_not_close",)


def test_a_contact_that_opens_by_itself_takes_the_coil_off(bench: GpioGateBench) -> None:
    bench.charging()
    bench.advance(2.0)

    bench.stuck_open = True
    bench.move()
    bench.advance(SETTLE_S)

    assert not bench.coil()


def test_a_stalled_loop_ends_in_a_coil_without_power(bench: GpioGateBench) -> None:
    bench.charging()

    bench.stall(2.5)

    assert not bench.coil()


def test_a_chip_that_goes_while_charging_is_told_and_its_coil_stays_off_when_it_is_back(
        bench: GpioGateBench) -> None:
    bench.charging()

    bench.world.lose()
    bench.advance(1.0)
    lost = [event for event in bench.posted if isinstance(event, DeviceLost)]
    bench.gate.release(1, "contactor lost")
    bench.world.wires[COIL].trace.clear()
    bench.world.restore()
    bench.advance(10.0)

    assert [(one.evse, one.kind) for one in lost] == [(1, "contactor")]
    assert bench.world.wires[COIL].trace == [False]
    assert not bench.coil()


def test_a_tripped_input_line_opens_before_anybody_is_told(
        monkeypatch: pytest.MonkeyPatch) -> None:
    bench = GpioGateBench("mock", monkeypatch)
    bench.world.drive(RCD, False)
    rcd = registry.build("input", "gpio", "input rcd 1", 1, {"pin": f"GPIO{RCD}"},
                         Parts(lines=bench.lines))
    run(rcd.open())
    run(rcd.good())
    rcd.listen(lambda good: bench.gate.input_read(1, "rcd", bench.now_ns, good=good))
    bench.charging()
    order: list[str] = []
    bench.world.follow[COIL] = lambda high: order.append("coil on" if high else "coil off")
    bench.gate._post = lambda event: order.append(type(event).__name__)

    bench.world.drive(RCD, None)

    assert order[:2] == ["coil off", "PowerReleased"]
    run(rcd.close())
