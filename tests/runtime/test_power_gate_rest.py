"""A contactor that was opened rests before it is closed again."""

from support.gate_bench import GateBench

from cpctl.core.events import EnergiseRefused
from hal.values import PilotState


def _opened(bench: GateBench) -> None:
    """The car stops asking, the contact follows, and the car asks again at once."""
    bench.charging()
    bench.pilot(PilotState.B)
    bench.pilot(PilotState.C)
    assert not bench.coil()


def test_a_contactor_is_closed_again_only_after_a_second() -> None:
    bench = GateBench()
    _opened(bench)

    bench.gate.energise(1, bench.gate.number(1))
    bench.advance(0.99)
    assert not bench.coil()
    bench.advance(0.01)

    assert bench.coil()
    assert not any(isinstance(one, EnergiseRefused) for one in bench.posted)


def test_a_contactor_that_has_rested_is_closed_at_once() -> None:
    bench = GateBench()
    _opened(bench)
    bench.advance(1.0)

    bench.gate.energise(1, bench.gate.number(1))

    assert bench.coil()


def test_a_second_release_does_not_begin_the_rest_anew() -> None:
    bench = GateBench()
    _opened(bench)
    bench.advance(1.0)
    bench.gate.release(1, "twice")

    bench.gate.energise(1, bench.gate.number(1))

    assert bench.coil()
