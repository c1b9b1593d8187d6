"""What a dialect is shown in tests: a small station, its books as lists, moments on one day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cpctl.core.effects import utc_text
from cpctl.core.facts import Fact, TransactionEnded, TransactionSampled, TransactionStarted
from cpctl.core.faults import CATALOGUE, FaultCode
from cpctl.core.now import NS_PER_S, Now, TimeQuality
from cpctl.core.settings import Settings
from cpctl.core.values import (
    ConnectorLayout,
    EvseLayout,
    IdToken,
    Measured,
    Origin,
    Quantity,
    ReadingContext,
    Registration,
    RequestId,
    StationLayout,
    StopReason,
)
from cpctl.core.views import ClaimState, EvsePicture, FaultPicture, PowerState, StationPicture
from cpctl.dialects.base import RenderContext, StationIdentity
from hal.values import PilotState

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
CARD = IdToken("04A1B2C3D4E5F6")
IDENTITY = StationIdentity("Example", "PiPost 2", "PP2-0001", "0.1.0")
TWO_EVSES = StationLayout((EvseLayout(1, has_lock=True), EvseLayout(2)))
TWINS = StationLayout((EvseLayout(1, connectors=(ConnectorLayout(1), ConnectorLayout(2))),
                       EvseLayout(2)))


def moment(seconds: float = 0.0) -> Now:
    return Now(int(seconds * NS_PER_S), "boot-1", START + timedelta(seconds=seconds),
               TimeQuality.NTP)


def wh(value: float) -> Measured:
    return Measured(Quantity.ENERGY_IMPORT_REGISTER, value)


def started(session: int | None = 7, **changes: object) -> TransactionStarted:
    fact = TransactionStarted(moment(), session, evse=1, connector=1, report=0,
                              trigger="Authorized", token=CARD, register_wh=1000)
    return replace(fact, **changes)  # type: ignore[arg-type]


def sampled(seconds: float, register_wh: int, session: int = 7, **changes: object
            ) -> TransactionSampled:
    fact = TransactionSampled(moment(seconds), session, evse=1, connector=1,
                              context=ReadingContext.PERIODIC, register_wh=register_wh,
                              report=1, told=(wh(register_wh),))
    return replace(fact, **changes)  # type: ignore[arg-type]


def ended(seconds: float, register_wh: int, session: int = 7, **changes: object
          ) -> TransactionEnded:
    fact = TransactionEnded(moment(seconds), session, evse=1, connector=1, report=9,
                            trigger="EVDeparted", reason=StopReason.LOCAL,
                            register_wh=register_wh, token=CARD)
    return replace(fact, **changes)  # type: ignore[arg-type]


def evse_picture(number: int = 1, **changes: object) -> EvsePicture:
    """An idle EVSE, and what is different about it."""
    idle = EvsePicture(
        evse=number, connectors=(1,), pilot=PilotState.A, plugged=False, locked=False,
        claim=ClaimState.NONE, token=None, session=None, transaction=False, started=None,
        power=PowerState.OFF, offering=False, offered_a=0.0, car_asks=False, finishing=False,
        unplugged_inside=False, operative=True, availability_pending=False, faults=(), refused=(),
        register_wh=1000, energy_wh=0, power_w=None)
    return replace(idle, **changes)  # type: ignore[arg-type]


def station_picture(*evses: EvsePicture, **changes: object) -> StationPicture:
    picture = StationPicture(at=moment(), booted=True, online=True,
                             registration=Registration.ACCEPTED, operative=True, faults=(),
                             evses=evses or (evse_picture(1), evse_picture(2)))
    return replace(picture, **changes)  # type: ignore[arg-type]


def fault(code: FaultCode, detail: str = "") -> FaultPicture:
    row = CATALOGUE[code]
    return FaultPicture(code, row.latched, row.stops, moment(), detail)


@dataclass
class World:
    """Surroundings of a translation that a test may change before it asks for `context`."""

    layout: StationLayout = TWO_EVSES
    settings: Settings = field(default_factory=Settings)
    identity: StationIdentity = IDENTITY
    registration: Registration = Registration.ACCEPTED
    aliases: dict[int, int | str] = field(default_factory=dict)
    facts: dict[int, list[Fact]] = field(default_factory=dict)
    requests: int = 0

    def set(self, values: Mapping[str, str]) -> "World":
        for name, text in values.items():
            self.settings = self.settings.with_text(name, text)
        return self

    def record(self, *facts: Fact) -> None:
        for fact in facts:
            if fact.session is None:
                continue  # of no session: the security log
            self.facts.setdefault(fact.session, []).append(fact)

    def _request(self) -> RequestId:
        self.requests += 1
        return RequestId(Origin.CSMS, self.requests)

    def _session_of(self, csms_id: int | str) -> int | None:
        return next((no for no, alias in self.aliases.items() if alias == csms_id), None)

    def _facts_of(self, session: int) -> Sequence[Fact]:
        return self.facts.get(session, ())

    @property
    def context(self) -> RenderContext:
        return RenderContext(
            now=moment(), settings=self.settings, layout=self.layout, identity=self.identity,
            picture=station_picture(), registration=self.registration, alias=self.aliases.get,
            session_of=self._session_of, session_facts=self._facts_of,
            told_at=lambda at: utc_text(at.utc), new_request=self._request, book="book-1")
