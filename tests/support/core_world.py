"""The world around the core: coil, books, lock and meter, fed by the effects alone.

It answers as the gate, the lock and the central system would, and holds what they would see.
Nothing here looks into the station but through `picture`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cpctl.core import effects as ef
from cpctl.core import events as ev
from cpctl.core import facts as fa
from cpctl.core.now import NS_PER_S, Now, TimeQuality
from cpctl.core.settings import Settings
from cpctl.core.station import new, next_deadline, step
from cpctl.core.values import (
    BootCause,
    EvseLayout,
    IdToken,
    Origin,
    Registration,
    Reply,
    RequestId,
    StationLayout,
    TokenInfo,
    TokenSource,
    TokenStatus,
)
from cpctl.core.views import EvsePicture, StationPicture, picture
from hal.values import NO_OFFER, MeterReading, Offer, PilotState

START = datetime(2026, 3, 1, 10, 0, 0, tzinfo=UTC)
ACCEPTED = TokenInfo(TokenStatus.ACCEPTED)
#: Order of effects, law 3: release, record, answer, energise, tell.
GRADES = ((ef.ReleasePower, ef.BarPower), (ef.Record, ef.SaveRegister, ef.Keep, ef.SaveSetting),
          (ef.Answer,), (ef.EnergisePower, ef.SetOffer, ef.LockPlug, ef.UnlockPlug))


def in_order(effects: Sequence[ef.Effect]) -> list[ef.Effect]:
    def grade(effect: ef.Effect) -> int:
        return next((number for number, kinds in enumerate(GRADES)
                     if isinstance(effect, kinds)), len(GRADES))
    return sorted(effects, key=grade)


@dataclass
class Place:
    """One EVSE as it stands in the world."""

    layout: EvseLayout
    pilot: PilotState | None = None
    plugged: bool = False
    coil: bool = False
    welds: bool = False
    does_not_close: bool = False
    locked: bool = False
    jams: bool = False
    number: int = 0
    barred: tuple[str, ...] = ("not_booted",)
    offer: Offer = NO_OFFER
    board_answers: bool = True  # the pilot board takes offers, and says so
    register_wh: int = 1000
    patterns: list[str] = field(default_factory=list)


class World:
    """A station among its devices. Times are in seconds; the register moves only by `meter`."""

    def __init__(self, *evses: EvseLayout, settings: dict[str, object] | None = None,
                 layout: StationLayout | None = None, start: datetime = START,
                 kept: dict[str, str] | None = None) -> None:
        self.layout = layout or StationLayout(evses or (EvseLayout(1),))
        self.settings = Settings(settings)  # type: ignore[arg-type]
        self.start = start
        self.mono_ns = 1_000 * NS_PER_S
        self.skew = timedelta()
        self.tests: list[int] = []  # contactors that were tested
        self.places = {one.id: Place(one) for one in self.layout.evses}
        self.station = new(self.layout)
        self.facts: list[fa.Fact] = []
        self.saved: list[ef.SaveRegister] = []
        self.kept: dict[str, str] = dict(kept or {})
        self.records: dict[str, ef.Kept] = {}
        self.answers: dict[RequestId, list[Reply]] = {}
        self.notices: list[ef.Notice] = []
        self.asks: list[ef.Authorize] = []
        self.remembered: list[ef.Remember] = []
        self.shown: list[ef.Show] = []
        self.log: list[ef.Effect] = []
        self.restarts: list[ef.RestartStation] = []
        self.forgotten = 0
        self.saved_settings: dict[str, str] = {}
        self.queue: deque[ev.Event] = deque()
        self.judge: Callable[[IdToken], TokenInfo | None] = lambda token: ACCEPTED
        self.gate_answers = True
        self.lock_answers = True
        self.boot_id = "boot-1"
        self._requests = 0
        self.local_offset_s = 0

    # --- time and events ---

    @property
    def now(self) -> Now:
        passed = timedelta(microseconds=(self.mono_ns - 1_000 * NS_PER_S) // 1000)
        return Now(self.mono_ns, self.boot_id, self.start + passed + self.skew, TimeQuality.NTP,
                   self.local_offset_s)

    def tell(self, event: ev.Event) -> None:
        """Let the core see an event, and everything that comes of it at once."""
        self.queue.append(event)
        while self.queue:
            self.station, effects = step(self.station, self.queue.popleft(), self.now,
                                         self.settings)
            for effect in in_order(effects):
                self._carry_out(effect)

    def advance(self, seconds: float, *, meter_each_s: float | None = None,
                power_w: float = 0.0) -> None:
        """Time passes; deadlines are served when they come, the meters read every so often.

        `power_w` flows through every coil that is on at a reading.
        """
        end = self.mono_ns + int(seconds * NS_PER_S)
        each = int(meter_each_s * NS_PER_S) if meter_each_s else None
        next_read = self.mono_ns + each if each else None
        while True:
            deadline = next_deadline(self.station, self.now, self.settings)
            moments = [at for at in (deadline, next_read, end) if at is not None and at <= end]
            at = max(min(moments), self.mono_ns)
            self.mono_ns = at
            if next_read is not None and each is not None and at >= next_read:
                next_read += each
                for place in self.places.values():
                    rise = power_w * (meter_each_s or 0.0) / 3600 if place.coil else 0.0
                    self.meter(place.register_wh + round(rise), place.layout.id)
            self.tell(ev.DeadlineReached())
            if at >= end:
                return

    # --- the hands ---

    def boot(self, cause: BootCause = BootCause.FIRST, *, online: bool = True,
             open_sessions: tuple[ev.OpenSession, ...] = (), next_session: int = 1,
             latched: tuple[tuple[int | None, object], ...] = (), read: bool = True) -> "World":
        self.tell(ev.Booted(cause, next_session, open_sessions, latched,  # type: ignore[arg-type]
                            dict(self.kept), dict(self.records)))
        if online:
            self.tell(ev.LinkChanged(True, Registration.ACCEPTED))
        for place in self.places.values():
            if read:
                self.meter(place.register_wh, place.layout.id)
            self.pilot(PilotState.A, place.layout.id)
        return self

    def pilot(self, state: PilotState | None, evse: int = 1, *, cable_a: float | None = None,
              diode_ok: bool = True) -> None:
        place = self.places[evse]
        place.pilot = state
        if state is not None and state not in (PilotState.E, PilotState.F):
            place.plugged = state.plugged
        self.tell(ev.PilotChanged(evse, state, cable_a, diode_ok))

    def plug(self, evse: int = 1, *, read: bool = True) -> None:
        self.pilot(PilotState.B, evse)
        if read:
            self.meter(self.places[evse].register_wh, evse)

    def unplug(self, evse: int = 1) -> None:
        self.pilot(PilotState.A, evse)

    def meter(self, register_wh: int, evse: int = 1, **more: object) -> None:
        """The meter shows this now, and is read."""
        self.places[evse].register_wh = register_wh
        self.tell(ev.MeterRead(evse, MeterReading(register_wh, **more)))  # type: ignore[arg-type]

    def tap(self, token: str = "04A1", reader: str = "front", evses: tuple[int, ...] = ()
            ) -> None:
        self.tell(ev.CardPresented(reader, IdToken(token), evses))

    def charging(self, evse: int = 1, token: str = "04A1") -> "World":
        """A session in the midst of charging."""
        self.plug(evse)
        self.tap(token, evses=(evse,))
        self.pilot(PilotState.C, evse)
        return self

    def request(self, what: type[ev.Request], origin: Origin = Origin.CSMS, **fields: object
                ) -> RequestId:
        self._requests += 1
        number = RequestId(origin, self._requests)
        self.answers[number] = []
        self.tell(what(number, **fields))  # type: ignore[arg-type]
        return number

    def ask(self, what: type[ev.Request], origin: Origin = Origin.CSMS, **fields: object
            ) -> Reply:
        """A request and its answer, which must come at once."""
        (reply,) = self.answers[self.request(what, origin, **fields)]
        return reply

    # --- what is seen ---

    @property
    def picture(self) -> StationPicture:
        return picture(self.station, self.now, self.settings)

    def evse(self, number: int = 1) -> EvsePicture:
        return self.picture.evse(number)

    def place(self, number: int = 1) -> Place:
        return self.places[number]

    def told(self, kind: type[fa.Fact], session: int | None = None) -> list[fa.Fact]:
        return [fact for fact in self.facts if isinstance(fact, kind)
                and (session is None or fact.session == session)]

    @property
    def books(self) -> list[fa.Fact]:
        """The facts without the security log."""
        return [fact for fact in self.facts if not isinstance(fact, fa.SecurityEventRaised)]

    def started(self) -> list[fa.TransactionStarted]:
        return [fact for fact in self.facts if isinstance(fact, fa.TransactionStarted)]

    def ended(self) -> list[fa.TransactionEnded]:
        return [fact for fact in self.facts if isinstance(fact, fa.TransactionEnded)]

    def samples(self) -> list[fa.TransactionSampled]:
        return [fact for fact in self.facts if isinstance(fact, fa.TransactionSampled)]

    # --- effects ---

    def _carry_out(self, effect: ef.Effect) -> None:
        self.log.append(effect)
        match effect:
            case ef.ReleasePower(evse=evse):
                self._release(self.places[evse])
            case ef.BarPower(evse=evse, reasons=reasons):
                self.places[evse].barred = reasons
            case ef.EnergisePower(evse=evse, after=after):
                self._energise(self.places[evse], after)
            case ef.TestContactor(evse=evse, after=after):
                self._test(self.places[evse], after)
            case ef.SetOffer():
                self._offer(self.places[effect.evse], effect)
            case ef.LockPlug(evse=evse) | ef.UnlockPlug(evse=evse):
                self._move_lock(self.places[evse], locking=isinstance(effect, ef.LockPlug))
            case ef.Authorize():
                self._judge(effect)
            case _:
                self._note(effect)

    def _note(self, effect: ef.Effect) -> None:
        match effect:
            case ef.Record(fact=fact):
                self.facts.append(fact)
            case ef.SaveRegister():
                self.saved.append(effect)
            case ef.Keep(key=key, value=value):
                self.kept.pop(key, None)
                if value is not None:
                    self.kept[key] = value
            case ef.KeepRecord(key=key, record=record):
                self.records.pop(key, None)
                if record is not None:
                    self.records[key] = record
            case ef.Answer(request=request, reply=reply):
                self.answers[request].append(reply)
            case ef.Notify(notice=notice):
                self.notices.append(notice)
            case _:
                self._note_rest(effect)

    def _note_rest(self, effect: ef.Effect) -> None:
        match effect:
            case ef.RestartStation():
                self.restarts.append(effect)
            case ef.Remember():
                self.remembered.append(effect)
            case ef.Show(evse=evse, pattern=pattern):
                self.shown.append(effect)
                if evse is not None:
                    self.places[evse].patterns.append(pattern)
            case ef.ForgetTokens():
                self.forgotten += 1
            case ef.SaveSetting(setting=setting, text=text):
                self.saved_settings[setting] = text
                self.settings = self.settings.with_text(setting, text)

    def _offer(self, place: Place, effect: ef.SetOffer) -> None:
        if place.board_answers:
            place.offer = effect.offer
            self.queue.append(ev.OfferConfirmed(effect.evse, effect.offer, effect.number))

    def _release(self, place: Place) -> None:
        place.coil = False
        place.number += 1
        if self.gate_answers:
            self.queue.append(ev.ReleaseNumbered(place.layout.id, place.number))
            self.queue.append(ev.ContactorReported(place.layout.id, place.welds, place.welds))

    def _energise(self, place: Place, after: int) -> None:
        evse = place.layout.id
        if not self.gate_answers:
            return
        if after != place.number or place.barred:
            reasons = place.barred or ("stale",)
            self.queue.append(ev.EnergiseRefused(evse, place.number, reasons))
        elif place.does_not_close:
            self.trip(evse, "did_not_close")
        else:
            place.coil = True
            self.queue.append(ev.ContactorReported(evse, closed=True))

    def _test(self, place: Place, after: int) -> None:
        """A contactor test as the gate carries it out, over at once."""
        evse = place.layout.id
        if not self.gate_answers:
            return
        if after != place.number or place.plugged:
            why = "plugged" if place.plugged else "stale"
            self.queue.append(ev.ContactorTested(evse, place.number, (why,)))
            return
        self.tests.append(evse)
        why = "did_not_close" if place.does_not_close else "welded" if place.welds else ""
        self.trip(evse, "did_not_close" if place.does_not_close else "contactor_test")
        self.queue.append(ev.ContactorTested(
            evse, place.number, (why,) if why else (), 20.0 if not why else None,
            15.0 if not why else None))

    def trip(self, evse: int, *reasons: str) -> None:
        """The gate opens by itself."""
        place = self.places[evse]
        place.coil = False
        place.number += 1
        self.queue.append(ev.PowerReleased(evse, place.number, reasons))
        self.queue.append(ev.ContactorReported(evse, place.welds, place.welds))

    def _move_lock(self, place: Place, *, locking: bool) -> None:
        if not self.lock_answers:
            return
        if not place.jams:
            place.locked = locking
        self.queue.append(ev.LockReported(place.layout.id, place.locked, place.jams))

    def _judge(self, effect: ef.Authorize) -> None:
        self.asks.append(effect)
        info = self.judge(effect.token)
        if info is not None:
            self.queue.append(ev.AuthorizationAnswered(
                effect.ask, effect.token, info, TokenSource.CSMS))


def with_settings(world: World, **values: object) -> None:
    """Change settings in the midst of things; `_` of the names stands for the dot."""
    world.settings = Settings({**{name: world.settings.value(name) for name in world.settings},
                               **values})  # type: ignore[arg-type]


def evse_layout(number: int = 1, **more: object) -> EvseLayout:
    return replace(EvseLayout(number), **more)  # type: ignore[arg-type]
