"""A charge decided by the core, as the central system hears of it in 1.6."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from support.dialect_world import CARD, World, moment

from cpctl.core import station as stations
from cpctl.core.effects import Authorize, EnergisePower, Record, ReleasePower
from cpctl.core.events import (
    AuthorizationAnswered,
    Booted,
    CardPresented,
    ContactorReported,
    DeadlineReached,
    Event,
    LinkChanged,
    MeterRead,
    PilotChanged,
    ReleaseNumbered,
)
from cpctl.core.settings import Settings
from cpctl.core.values import (
    BootCause,
    EvseLayout,
    Registration,
    StationLayout,
    TokenInfo,
    TokenSource,
    TokenStatus,
)
from cpctl.core.views import picture
from cpctl.dialects.v16.dialect import Dialect16
from hal.values import MeterReading, PilotState

LAYOUT = StationLayout((EvseLayout(1),))


@dataclass
class Charge:
    """The core with one EVSE whose gate and central system do at once what they are told."""

    world: World = field(default_factory=lambda: World(layout=LAYOUT, aliases={1: 11}))
    settings: Settings = field(default_factory=Settings)
    seconds: float = 100.0
    register_wh: int = 1000
    releases: int = 0
    heard: list[str] = field(default_factory=list)
    stops: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dialect = Dialect16()
        self.station = stations.new(LAYOUT)
        self.feed(Booted(BootCause.FIRST, 1))
        self.feed(LinkChanged(online=True, registration=Registration.ACCEPTED))
        self.pilot(PilotState.A)
        self.heard.clear()

    def feed(self, event: Event) -> None:
        now = moment(self.seconds)
        self.station, effects = stations.step(self.station, event, now, self.settings)
        self._look()
        for effect in effects:
            match effect:
                case Record(fact):
                    self._tell(fact)
                case Authorize(ask, token):
                    self.feed(AuthorizationAnswered(ask, token, TokenInfo(TokenStatus.ACCEPTED),
                                                    TokenSource.CSMS))
                case ReleasePower(evse):
                    self.releases += 1
                    self.feed(ReleaseNumbered(evse, self.releases))
                    self.feed(ContactorReported(evse, closed=False))
                case EnergisePower(evse):
                    self.feed(ContactorReported(evse, closed=True))

    def _look(self) -> None:
        shown = picture(self.station, moment(self.seconds), self.settings)
        _, connector = self.dialect.statuses(shown, self.world.context)
        word = " ".join(filter(None, (connector.status, connector.info)))
        told = [one for one in self.heard if not one.endswith(".req")]
        if not told or told[-1] != word:
            self.heard.append(word)

    def _tell(self, fact: Any) -> None:
        self.world.record(fact)
        for call in self.dialect.calls(fact, self.world.context):
            assert self.dialect.check(call.action, call.payload, response=False, ours=True) is None
            self.heard.append(f"{call.action}.req")
            if call.action == "StopTransaction":
                self.stops.append(call.payload)

    def pilot(self, state: PilotState) -> None:
        """The car moves; then two seconds of readings pass."""
        self.feed(PilotChanged(1, state))
        for _ in range(4):
            self.seconds += 0.5
            self.register_wh += 1
            self.feed(MeterRead(1, MeterReading(self.register_wh, power_w=3600.0)))
            self.feed(DeadlineReached())

    def tap(self) -> None:
        self.feed(CardPresented("front", CARD))


@pytest.mark.requirement("16.TX.1", "16.TX.10", "16.TX.15", "16.STAT.1")
@pytest.mark.octt("TC_003_CS")
def test_plug_card_charge_pause_card_unplug() -> None:
    charge = Charge()

    charge.pilot(PilotState.B)
    charge.tap()
    for state in (PilotState.C, PilotState.B, PilotState.C):
        charge.pilot(state)
    charge.tap()
    charge.pilot(PilotState.B)
    charge.pilot(PilotState.A)

    assert charge.heard == [
        "Preparing", "SuspendedEV", "StartTransaction.req", "Charging", "SuspendedEV",
        "Charging", "Finishing", "StopTransaction.req", "Available"]
    assert charge.stops[0]["reason"] == "Local"
    assert charge.stops[0]["idTag"] == CARD.value


@pytest.mark.requirement("16.TX.13")
def test_card_plug_charge_and_the_car_is_unplugged() -> None:
    charge = Charge()

    charge.tap()
    charge.pilot(PilotState.B)
    charge.pilot(PilotState.C)
    charge.pilot(PilotState.A)

    assert charge.heard[-4:] == ["Charging", "Finishing EV side disconnected",
                                 "Available", "StopTransaction.req"]
    assert charge.stops[0]["reason"] == "EVDisconnected"
    assert "idTag" not in charge.stops[0]


@pytest.mark.requirement("16.TX.12")
def test_a_transaction_that_outlives_the_unplug_is_suspended_by_the_car() -> None:
    charge = Charge()
    charge.settings = charge.settings.with_text("session.stop_on_unplug", "false")

    charge.tap()
    for state in (PilotState.B, PilotState.C, PilotState.A, PilotState.B, PilotState.C):
        charge.pilot(state)

    assert charge.heard[-1] == "Charging"
    assert "SuspendedEV EV side disconnected" in charge.heard
    assert charge.stops == []
