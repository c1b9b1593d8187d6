"""The composition: builds the parts, starts them in order, ends them in order. Decides nothing.

Order at start: coils off first, then the books, then what a previous life left open (`Booted`),
then devices, central system and local API; a central system that cannot be reached delays nothing.
Order at the end: offers withdrawn, power off, transactions ended, books written, the central system
told. A task that dies of a bug ends the daemon too: power off at once, then the books.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpctl.app_access import AccessDesk
from cpctl.app_certificates import open_certificates
from cpctl.app_door import Door
from cpctl.app_end import wind_down
from cpctl.app_outputs import keep, outputs_of
from cpctl.app_parts import (
    KEPT_BOOT,
    Ending,
    Hardware,
    Seams,
    boot_cause,
    build_hardware,
    carry_out,
    dialects_of,
    finding,
    follow_lights,
    request_outputs,
    reset_failed,
    tell_of_the_station,
)
from cpctl.app_reload import reload
from cpctl.app_services import Services
from cpctl.config import Config
from cpctl.core.effects import Effect, Notice, Query
from cpctl.core.events import (
    Booted,
    ClockStepped,
    Event,
    FaultReported,
    ShutdownRequested,
)
from cpctl.core.faults import FaultCode
from cpctl.core.limits import LimitClaim
from cpctl.core.now import Now
from cpctl.core.settings import TABLE, SettingError, Settings, to_text
from cpctl.core.values import (
    Origin,
    Outcome,
    Registration,
    Reply,
    RequestId,
    ResetKind,
)
from cpctl.core.views import StationPicture
from cpctl.dialects.base import Dialect, RenderContext
from cpctl.runtime.authorizer import Authorizer
from cpctl.runtime.clock import Clock, StepWatch, SystemTime, zone_offset_s
from cpctl.runtime.devices import Devices
from cpctl.runtime.executor import Executor, Hands
from cpctl.runtime.loop import Loop
from cpctl.runtime.pilot_keeper import PilotKeeper
from cpctl.runtime.power_gate import PowerGate
from cpctl.runtime.requests import LocalRequests
from cpctl.runtime.supervisor import Notifier, Supervisor, feed_watchdog
from cpctl.store.authbook import AuthBook
from cpctl.store.certificates import CertificateStore
from cpctl.store.errors import StoreError
from cpctl.store.journal import Journal
from cpctl.store.settings_store import StationStore
from cpctl.version import VERSION
from hal.errors import HalError

if TYPE_CHECKING:
    from cpctl.link.link import Link

__all__ = ["App", "Ending", "Seams", "carry_out"]

log = logging.getLogger(__name__)

FLOOR_S = 3600.0  # how often the time is kept for a start without a clock


class App:
    """One daemon, from start to end. What `run` opens is there once `ready` was called."""

    loop: Loop
    link: Link
    journal: Journal
    station_store: StationStore
    certificates: CertificateStore
    authbook: AuthBook
    executor: Executor
    authorizer: Authorizer
    requests: LocalRequests
    services: Services

    def __init__(self, config: Config, seams: Seams, hardware: Hardware):
        from cpctl.link.tap import FrameTap

        self.config = config
        self.layout = config.layout()
        self.identity = config.identity()
        self.seams = seams
        self.hardware = hardware
        self.board = hardware.board
        self.clock = Clock(seams.time or SystemTime(), offset_s=zone_offset_s)
        self.tap = FrameTap()
        self.notifier = seams.notifier or Notifier()
        self.supervisor = Supervisor(self._last_breath)
        self.gate = PowerGate(
            hardware.fitted.contactors, self.layout.evses, mono_ns=self.clock.mono_ns,
            later=lambda delay_s, call: asyncio.get_running_loop().call_later(delay_s, call),
            post=self.post, ask_loop=self._ask_loop,
            refresh=self._refresh, heartbeat=hardware.heartbeat)
        self.keeper = PilotKeeper(
            hardware.fitted.pilots, self.gate, spawn=self._start,
            lost=self._offer_failed, post=self.post,
            mono_ns=self.clock.mono_ns)
        self.gate.on_cut = self.keeper.cut
        self.devices = Devices(hardware.fitted, self.gate, self.keeper, post=self.post,
                               mono_ns=self.clock.mono_ns)
        self.door = Door(self.clock, wake_meter=self.devices.wake_meter, keep=self._keep)
        self.requests = LocalRequests(self.post)
        self.dialects: tuple[Dialect, ...] = dialects_of(config.csms.versions)
        self._tasks: list[asyncio.Task[None]] = []
        self._ending: Ending | None = None
        self._power_fails = False
        self._stop_wanted = asyncio.Event()
        self._next_request = 1
        self._step_watch: StepWatch | None = None

    @classmethod
    def build(cls, config: Config, seams: Seams | None = None) -> App:
        """Put the parts together; touches no hardware and no file. Raises BadConfig."""
        seams = seams or Seams()
        time = seams.time or SystemTime()
        seams = replace(seams, time=time)
        hardware = build_hardware(config, time.mono_ns, deadman=seams.deadman, board=seams.board)
        return cls(config, seams, hardware)

    # --- life --------------------------------------------------------------------------------

    async def run(self, ready: Callable[[], None] | None = None) -> Ending:
        """The whole life. Raises HalError when the power outputs cannot be had, StoreError when
        the books cannot be opened, SocketTaken when another daemon runs."""
        self.hardware.deadman.start()
        self.hardware.deadman.listener = self._lapsed
        try:
            await self._make_safe()
            await self._open_books()
            await self._live(ready)
        except ExceptionGroup as several:
            if self.supervisor.died_of is None:
                raise several.exceptions[0] from several
            self._ending = Ending.DIED  # told in the log when it happened
        finally:
            await self._leave()
        return self._ending or Ending.STOP

    def stop(self, ending: Ending = Ending.STOP) -> None:
        """End in good order (SIGTERM)."""
        if self._ending is None:
            self._ending = ending
            log.info("ending: %s", ending.value)
        self._stop_wanted.set()

    def power_fails(self) -> None:
        """End in good order while the battery lasts (SIGPWR): what charges ends as PowerLoss."""
        self._power_fails = True
        self.stop()

    async def _make_safe(self) -> None:
        """Coils off and offers withdrawn, before anything else is looked at."""
        await request_outputs(self.hardware)
        self.gate.make_safe()
        await self.keeper.withdraw_what_is_left()
        keep(self.config.store.path, outputs_of(self.config, self.clock.now().boot))

    async def _open_books(self) -> None:
        folder = self.config.store.path
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = self.seams.writer()
        self.station_store = await StationStore.open(folder / "station.db", self._writer)
        self.certificates = await open_certificates(
            self.config, self._writer, self.clock.now)
        kept = dict(self.station_store.kept)
        settings = self._settings()
        self.journal = await Journal.open(
            folder / "journal.db", self._writer, self.clock.now,
            max_bytes=self.config.store.max_mb * 2**20,
            retention_days=self.config.store.retention_days,
            sample_sync_s=settings.integer("store.sample_sync_s"))
        self.clock.raise_floor(self.journal.floor)
        self.journal.shedding = self.door.shed
        self.authbook = AuthBook(
            self.station_store, self.clock.now,
            list_is_on=lambda: self.loop.settings.flag("auth.list_enabled"))
        self._build_core(settings)
        await self._begin(kept)

    def _settings(self) -> Settings:
        """Defaults, then the file's initial values, then what the store remembers."""
        settings = Settings()
        for source in (self.config.initial_settings(), self.station_store.settings_texts):
            for name, text in source.items():
                try:
                    settings = settings.with_text(name, text)
                except (SettingError, KeyError) as error:
                    log.warning("setting passed over: %s", error)
        return settings

    def _build_core(self, settings: Settings) -> None:
        self.loop = Loop(self.layout, settings, self.clock.now, submit=self._submit)
        self.authorizer = Authorizer(
            self.authbook, ask=self.ask_csms, online=self.is_online,
            settings=lambda: self.loop.settings, now=self.clock.now, post=self.post,
            spawn=self._start)
        self.access = AccessDesk(self)
        self.link = self._build_link()
        self.services = Services(self)
        self.executor = Executor(
            gate=self.gate, books=self.journal, shelf=self.station_store, tokens=self.authbook,
            hands=self._hands(), post=self.post)
        self.loop.listen(lambda one: self.executor.after(lambda: self.link.picture(one)))
        self.loop.listen(self.devices.watch)
        follow_lights(self.devices, self.loop)
        tell_of_the_station(self.loop, self.notifier, self.statuses)

    def _ask_loop(self, answered: Callable[[], None]) -> None:
        self.loop.ask(answered)

    def _refresh(self, evse: int) -> None:
        self.devices.refresh(evse)

    def _offer_failed(self, evse: int, detail: str) -> None:
        self.devices.offer_failed(evse, detail)

    async def ask_csms(self, query: Query) -> tuple[Event, ...]:
        return await self.link.ask(query)

    def _submit(self, effects: tuple[Effect, ...]) -> None:
        self.executor.submit(effects)

    def _hands(self) -> Hands:
        return Hands(
            offer=self.keeper.offer, lock=self.devices.lock, unlock=self.devices.unlock,
            show=self.devices.show, authorize=self.authorizer.authorize, answer=self.answer,
            notify=self._notify, delegate=self.services.delegate, tell=self.services.tell,
            firmware=self.services.firmware, facts_waiting=self.link.facts_waiting,
            reconnect=self.link.reconnect, restart=self._restart, setting_lost=self._setting_lost,
            check_list=self.services.token_list.compare)

    def _build_link(self) -> Link:
        from cpctl.link.link import Link

        connector = self.seams.connector
        if connector is None:
            from cpctl.link.connection import WebsocketConnector

            connector = WebsocketConnector()
        return Link(
            dialects=self.dialects, journal=self.journal, context=self._context, post=self.post,
            now=self.clock.now, settings=lambda: self.loop.settings, connector=connector,
            itinerary=self.access.itinerary(), tap=self.tap, witness=self.certificates,
            rng=self.seams.rng or random.Random())

    async def _begin(self, kept: dict[str, str]) -> None:
        """Tell the core how we come to be here, then whatever happened meanwhile."""
        now = self.clock.now()
        open_sessions = self.journal.open_sessions()
        for one in open_sessions:
            self.gate.books(one.evse, session_open=True)
        cause = boot_cause(kept, now.boot)
        log.info("start: %s, %d session(s) left open", cause.value, len(open_sessions))
        self.door.open(self.loop, self.station_store, Booted(
            cause, next_session=self.journal.next_session, open_sessions=open_sessions,
            latched=self.journal.latched(), kept=kept, records=self.station_store.records,
            journal_good=not self.journal.report.damaged,
            journal_detail=finding(self.journal.report)))
        self.access.start()
        if reset_failed(kept, now.boot, self.config.station.on_reset):
            self.loop.post(FaultReported(None, FaultCode.RESET_FAILED, present=True))
        if kept.get(KEPT_BOOT) != now.boot:
            await self._booked("boot id", self.station_store.keep(KEPT_BOOT, now.boot))

    async def _live(self, ready: Callable[[], None] | None) -> None:
        server = await self._serve_api()
        try:
            async with asyncio.TaskGroup() as group:
                self.supervisor.enter(group)
                self._start_tasks()
                self.notifier.say("READY=1")
                if ready is not None:
                    ready()
                try:
                    await self._stop_wanted.wait()
                    await self._wind_down()
                finally:
                    self.gate.release_all("end")
                    self.clock.deaf()
                    for task in self._tasks:
                        task.cancel()
        finally:
            if server is not None:
                await server.close()

    def _start_tasks(self) -> None:
        self.clock.stepped = self._clock_stepped
        self.clock.trusted = self._time_is_trusted
        if self.clock.now().quality.trusted:
            self.clock.trusted()
        if self.board is not None:
            self.board.listen_faults(self.door.fault)
        self._start(self.loop.run(), "loop")
        self._start(self.executor.run(), "executor")
        self.devices.start(self._start)
        self._start(self.link.run(), "link")
        self._start(self._keep_time(), "time floor")
        self.services.certificates.start()
        self.services.releases.start()
        period_s = self.notifier.watchdog_s()
        if period_s is not None:
            self._start(feed_watchdog(self.notifier, period_s, self.loop.ask), "watchdog")
        if self.seams.signals:
            self._catch_signals()

    def _clock_stepped(self, step_s: float) -> None:
        self.post(ClockStepped(step_s))
        self.services.certificates.look()

    def _time_is_trusted(self) -> None:
        self._keep("trusted time", self.journal.synchronised(self.clock.now()))

    def _keep(self, what: str, writing: Coroutine[Any, Any, None]) -> None:
        self._start(self._booked(what, writing), what)

    async def _booked(self, what: str, writing: Coroutine[Any, Any, None]) -> None:
        """Something worth keeping that nothing hangs on: a failure is told and no more."""
        try:
            await writing
        except StoreError as error:
            log.warning("%s not kept: %s", what, error)

    def spawn(self, coro: Any, name: str) -> asyncio.Task[None]:
        """A task of the daemon for a service; its death by a bug is the daemon's."""
        return self._start(coro, name)

    def _start(self, coro: Any, name: str) -> asyncio.Task[None]:
        task = self.supervisor.start(coro, name)
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)
        return task

    async def _serve_api(self) -> Any:
        if not self.seams.api:
            return None
        from cpctl.api.methods import Methods
        from cpctl.api.server import Server
        from cpctl.runtime.activation import handed_over

        path = Path(self.config.socket)
        server = Server(path, Methods(self), listener=handed_over(path))
        await server.start()
        return server

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGPWR, self.power_fails)
        loop.add_signal_handler(signal.SIGHUP, reload, self)
        if isinstance(self.seams.time, SystemTime):
            watch = self._step_watch = StepWatch(self.clock.system_clock_set)
            if watch.fd >= 0:
                loop.add_reader(watch.fd, watch.ready)

    # --- the end -----------------------------------------------------------------------------

    async def _wind_down(self) -> None:
        """Offers withdrawn, power off, transactions ended, books written, central system told."""
        self.notifier.say("STOPPING=1")
        self.keeper.rest()
        if self._ending is Ending.STOP:  # before a reset the core has ended everything itself
            self.post(ShutdownRequested(self._power_fails))
        await wind_down(self)

    async def _leave(self) -> None:
        """Power off whatever happened before, then close what is open."""
        self.keeper.rest()
        self.gate.release_all("end")
        if self._step_watch is not None and self._step_watch.fd >= 0:
            asyncio.get_running_loop().remove_reader(self._step_watch.fd)
            self._step_watch.close()
        self.hardware.deadman.stop()
        await self.keeper.withdraw_all()
        await self.devices.close()
        for contactor in self.hardware.fitted.contactors.values():
            try:
                await contactor.finish()
            except HalError as error:
                log.error("%s", error)
        for bus in self.hardware.buses.values():
            bus.close()
        await self._close_books()
        self.notifier.close()

    async def _close_books(self) -> None:
        try:
            if hasattr(self, "executor"):
                await self.executor.write_held()
            if hasattr(self, "station_store"):
                await self.station_store.close()
            if hasattr(self, "journal"):
                await self.journal.save_floor()
                await self.journal.close()
        except StoreError as error:
            log.error("the books could not be closed: %s", error)
        finally:
            if hasattr(self, "_writer"):
                await self._writer.close()

    def _last_breath(self, name: str) -> None:
        """A task died of a bug: power off before anything else is touched."""
        self.keeper.rest()
        self.gate.release_all(f"{name}_died")

    def _lapsed(self, contactor: Any, error: Exception | None) -> None:
        """The dead-man opened a contactor; called in its thread."""
        self.devices.post_threadsafe(self.gate.lapsed, contactor)

    # --- events ------------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        """The one way in for events."""
        self.door.post(event)

    def _setting_lost(self, setting: str) -> None:
        """A setting could not be saved: what the store knows holds again."""
        initial = self.config.initial_settings().get(setting, to_text(TABLE[setting].default))
        text = self.station_store.settings_texts.get(setting, initial)
        self.loop.change_setting(setting, text)

    def _notify(self, notice: Notice, triggered: bool) -> None:
        self.link.notify(notice, triggered=triggered)

    def answer(self, request: RequestId, reply: Reply) -> None:
        """A request was decided: whoever asked is told."""
        if reply.outcome is Outcome.REJECTED and reply.code:
            hint = f"; {reply.hint}" if reply.hint else ""
            log.info("a request is refused: %s%s", reply.code.replace("_", " "), hint)
        if request.origin is Origin.LOCAL:
            self.requests.answer(request, reply)
        else:
            self.link.answer(request, reply)

    def _restart(self, kind: ResetKind) -> None:
        log.info("reset: %s", kind.value)
        self.stop(Ending(self.config.station.on_reset))

    async def _keep_time(self) -> None:
        """Keep the time for a start without a clock, once an hour."""
        while True:
            await asyncio.sleep(FLOOR_S)
            await self._booked("the time", self.journal.save_floor())

    # --- what others look at -----------------------------------------------------------------

    @property
    def version(self) -> str:
        return VERSION

    @property
    def reset_retries(self) -> int:
        """How often a reset that failed is tried again (ResetRetries)."""
        return self.loop.settings.integer("station.reset_retries") if hasattr(self, "loop") else 0

    @property
    def device_errors(self) -> tuple[type[Exception], ...]:
        return (HalError, StoreError, TimeoutError)

    @property
    def keys(self) -> Any:
        from cpctl.dialects.v16 import keys

        return keys

    def now(self) -> Now:
        return self.clock.now()

    def statuses(self, picture: StationPicture) -> Any:
        """Status of station and connectors in the words of 1.6."""
        dialect = self.dialects[-1]
        return dialect.statuses(picture, self._context(dialect))

    def claims(self, evse: int) -> tuple[LimitClaim, ...]:
        """Each claim on the current of an EVSE."""
        from cpctl.core.around import claims

        station = self.loop.station
        one = station.evse(evse)
        assert one is not None
        return claims(station, one, self.clock.now(), self.loop.settings)

    def is_online(self) -> bool:
        picture = self.loop.picture
        return picture.online and picture.registration is Registration.ACCEPTED

    def _new_request(self) -> RequestId:
        number, self._next_request = self._next_request, self._next_request + 1
        return RequestId(Origin.CSMS, number)

    def _context(self, dialect: Dialect) -> RenderContext:
        journal, name = self.journal, dialect.name
        return RenderContext(
            now=self.clock.now(), settings=self.loop.settings, layout=self.layout,
            identity=self.identity, picture=self.loop.picture,
            registration=self.loop.picture.registration,
            alias=lambda session: journal.alias(session, name),
            session_of=lambda csms_id: journal.session_of(name, csms_id),
            session_facts=journal.facts_of, told_at=journal.told_at,
            new_request=self._new_request, book=journal.book)
