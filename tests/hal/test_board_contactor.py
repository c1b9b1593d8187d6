"""The contactor of a pilot board: its lease, and which boards it may belong to."""

import pytest
from support.battery import ContactorRules
from support.gate_bench import BoardPilot

from hal import registry
from hal.contactors.board import Switch
from hal.contactors.modbus_relay import Switch as Relay
from hal.contracts import Parts
from hal.deadman import DeadMan
from hal.errors import BadConfig
from hal.values import NO_OFFER, Offer, OfferKind, PilotState


class Reckless(BoardPilot):
    silence_timeout = False


class Bench:
    """What the lease covers is the offer: `close` stands for a car that is served under it."""

    def __init__(self, **options: object) -> None:
        self.now_ns = 1_000_000_000
        self.pilot = BoardPilot("pilot 1", 1)
        self.pilot.state = PilotState.C
        self.deadman = DeadMan(lambda: self.now_ns, thread=False)
        self.deadman.start()
        made: Switch = registry.build(
            "contactor", "board", "contactor 1", 1, options,
            Parts(deadman=self.deadman, pilots={1: self.pilot}))
        self.contactor = Offering(made, self.pilot)

    def coil(self) -> bool:
        return self.pilot.closed

    def pass_time(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)
        self.deadman.check()

    def lose(self) -> None:
        self.pilot.gone = True

    def restore(self) -> None:
        self.pilot.gone = False


class Offering:
    """The contactor with the keeper beside it: after `close` current is put on offer."""

    def __init__(self, contactor: Switch, pilot: BoardPilot) -> None:
        self._contactor = contactor
        self._pilot = pilot

    def close(self, lease_s: float) -> None:
        self._contactor.close(lease_s)
        if self._pilot.gone:  # the keeper finds the board gone, and the gate opens
            self._contactor.open()
        self._pilot.offered = Offer(OfferKind.CURRENT, 16.0)

    def __getattr__(self, name: str) -> object:
        return getattr(self._contactor, name)


class TestBoardContactor(ContactorRules):
    @pytest.fixture
    def bench(self):
        return Bench()


def test_opening_orders_the_board_off_and_leaves_nothing_on_offer():
    bench = Bench()
    bench.contactor.close(2.0)

    bench.contactor.open()

    assert bench.pilot.offered == NO_OFFER
    assert bench.pilot.cuts == 1


def test_feedback_is_only_the_weld_that_the_board_found():
    bench = Bench()
    bench.contactor.close(2.0)
    sound = bench.contactor.feedback()

    bench.pilot.welded = True

    assert (sound, bench.contactor.feedback()) == (None, True)
    assert Switch.follows_offer and not Switch.feeds_back({})


def test_a_board_that_goes_on_offering_in_silence_is_trusted_only_when_told_to():
    def build(**options):
        return registry.build("contactor", "board", "contactor 1", 1, options, Parts(
            deadman=DeadMan(thread=False), pilots={1: Reckless("pilot 1", 1)}))

    with pytest.raises(BadConfig, match="goes on offering when this machine falls silent"):
        build()
    assert build(trust_board=True).name == "contactor 1"


def test_it_belongs_to_the_pilot_of_its_evse():
    with pytest.raises(BadConfig, match="no pilot board"):
        registry.build("contactor", "board", "contactor 2", 2, {}, Parts(
            deadman=DeadMan(thread=False), pilots={1: BoardPilot("pilot 1", 1)}))


def test_a_relay_on_a_bus_says_that_it_needs_a_second_way_to_off():
    assert "keeps its relays" in Relay.weakness({})
    assert Relay.weakness({"backed_up": True}) == Switch.weakness({}) == ""
