"""The methods of the local API: one table, put together from the groups beside it.

A method is a coroutine that takes checked parameters and gives a JSON object; acting goes through
requests to the core, which decides.
"""

from __future__ import annotations

from typing import Any

from cpctl.api import wire
from cpctl.api.app import App, Method, Table, ask, known_evse
from cpctl.api.args import Args
from cpctl.api.books import Books
from cpctl.api.buses import Buses
from cpctl.api.certificates import CertificateBook
from cpctl.api.doctor import checks
from cpctl.api.explain import limits, reasons
from cpctl.api.firmware import Firmware
from cpctl.api.line import Line
from cpctl.api.pictures import evse, station, statuses, time_of
from cpctl.api.server import Caller, Right
from cpctl.api.support import Support
from cpctl.api.tools import Tools
from cpctl.core.events import (
    AvailabilityRequested,
    ClearFaultRequested,
    StartRequested,
    StopRequested,
    UnlockRequested,
)
from cpctl.core.faults import FaultCode
from cpctl.core.values import IdToken
from cpctl.core.views import StationPicture


class Methods:
    """Everything the socket serves."""

    def __init__(self, app: App):
        self._app = app
        self._table: Table = {
            **StationMethods(app).table(), **Books(app).table(), **Line(app).table(),
            **CertificateBook(app).table(), **Tools(app).table(), **Firmware(app).table(),
            **Support(app).table(), **Buses(app).table()}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._table)

    def right_for(self, method: str) -> Right:
        """The right that `method` needs. Raises ApiError when there is none of that name."""
        return self._row(method)[0]

    async def call(self, method: str, params: wire.Params, caller: Caller) -> Any:
        """Carry out one call. Raises ApiError for what was expected to go wrong."""
        act = self._row(method)[1]
        try:
            return await act(Args(method, params), caller)
        except TimeoutError as problem:
            raise wire.ApiError(wire.TIMED_OUT, f"{method}: no answer in time",
                                "see cpctl hw list and the log") from problem
        except self._app.device_errors as problem:
            finding, _, step = str(problem).rpartition("; ")
            raise wire.ApiError(wire.FAILED, finding or step,
                                step if finding else "see cpctl hw list") from problem

    def _row(self, method: str) -> tuple[Right, Method]:
        row = self._table.get(method)
        if row is not None:
            return row
        import difflib  # only a mistake pays for this

        near = difflib.get_close_matches(method, self._table, n=1)
        hint = f"did you mean {near[0]}?" if near else "see cpctl --help"
        raise wire.ApiError(wire.METHOD_NOT_FOUND, f"method not found: {method[:64]}", hint)


class StationMethods:
    """The picture of the station, and acting on one EVSE."""

    def __init__(self, app: App):
        self._app = app

    def table(self) -> Table:
        return {
            "status": (Right.READ, self.status),
            "watch": (Right.READ, self.watch),
            "why": (Right.READ, self.why),
            "limits": (Right.READ, self.limits),
            "doctor": (Right.READ, self.doctor),
            "evse.show": (Right.READ, self.show),
            "evse.start": (Right.ACT, self.start),
            "evse.stop": (Right.ACT, self.stop),
            "evse.unlock": (Right.ACT, self.unlock),
            "evse.availability": (Right.ACT, self.availability),
            "evse.clear_fault": (Right.ACT, self.clear_fault),
        }

    async def status(self, args: Args, caller: Caller) -> Any:
        args.done()
        return self._status(self._app.loop.picture)

    def _status(self, picture: StationPicture) -> dict[str, Any]:
        app = self._app
        words = statuses(picture, app.statuses(picture))
        waiting = app.journal.waiting()
        now = app.now()
        return {
            "version": app.version,
            "identity": app.config.station.identity,
            "station": station(picture, words),
            "link": Line(app).link(),
            "clock": {"utc": time_of(now), "quality": now.quality.value,
                      "trusted": now.quality.trusted},
            "journal": {"waiting": waiting.count, "oldest": time_of(waiting.oldest),
                        "abandoned": waiting.abandoned, "unreadable": waiting.unreadable,
                        "shed": waiting.shed},
            "evses": [evse(one, words) for one in picture.evses],
        }

    async def watch(self, args: Args, caller: Caller) -> Any:
        """The picture now, and a notification `watch` with each one that differs."""
        args.done()
        caller.goes_on("watch", lambda: self._app.loop.listen(
            lambda picture: caller.tell("watch", self._status(picture))))
        return self._status(self._app.loop.picture)

    async def why(self, args: Args, caller: Caller) -> Any:
        number = args.whole_or_none("evse")
        args.done()
        picture = self._app.loop.picture
        words, now = statuses(picture, self._app.statuses(picture)), self._app.now()
        if number is not None:
            known_evse(self._app, number)
        return {"evses": [
            {"id": one.evse, "status": evse(one, words)["status"], "power": one.power.value,
             "offered_a": one.offered_a,
             "reasons": reasons(picture, one, in_service=self._app.loop.station.operative),
             "limits": limits(self._app.claims(one.evse), now)}
            for one in picture.evses if number in (None, one.evse)]}

    async def limits(self, args: Args, caller: Caller) -> Any:
        number = args.whole_or_none("evse")
        args.done()
        if number is not None:
            known_evse(self._app, number)
        now = self._app.now()
        return {"evses": [
            {"id": one.evse, "offered_a": one.offered_a,
             "claims": limits(self._app.claims(one.evse), now)}
            for one in self._app.loop.picture.evses if number in (None, one.evse)]}

    async def doctor(self, args: Args, caller: Caller) -> Any:
        args.done()
        return {"checks": checks(self._app)}

    async def show(self, args: Args, caller: Caller) -> Any:
        number = known_evse(self._app, args.whole("evse"))
        args.done()
        picture = self._app.loop.picture
        return evse(picture.evse(number), statuses(picture, self._app.statuses(picture)))

    async def start(self, args: Args, caller: Caller) -> Any:
        number = known_evse(self._app, args.whole("evse"))
        token = IdToken(args.text("token"))
        connector = args.whole_or_none("connector")
        args.done()
        return await ask(self._app, lambda request: StartRequested(
            request, token, evse=number, connector=connector, authorize=True),
            f"start on EVSE {number}")

    async def stop(self, args: Args, caller: Caller) -> Any:
        number = known_evse(self._app, args.whole("evse"))
        text = args.text_or_none("token")
        args.done()
        token = IdToken(text) if text else None
        return await ask(self._app, lambda request: StopRequested(
            request, evse=number, token=token), f"stop on EVSE {number}")

    async def unlock(self, args: Args, caller: Caller) -> Any:
        number = known_evse(self._app, args.whole("evse"))
        connector = args.whole_or_none("connector") or 1
        args.done()
        return await ask(self._app, lambda request: UnlockRequested(
            request, number, connector), f"unlock of EVSE {number}")

    async def availability(self, args: Args, caller: Caller) -> Any:
        """`evse` 0 or none: the whole station."""
        given = args.whole_or_none("evse") or None
        connector = args.whole_or_none("connector")
        operative = args.flag("operative", True)
        args.done()
        number = known_evse(self._app, given) if given is not None else None
        return await ask(self._app, lambda request: AvailabilityRequested(
            request, operative, number, connector), "change of availability")

    async def clear_fault(self, args: Args, caller: Caller) -> Any:
        given = args.whole_or_none("evse") or None
        code = _fault_code(args.text_or_none("code"))
        args.done()
        number = known_evse(self._app, given) if given is not None else None
        return await ask(self._app, lambda request: ClearFaultRequested(request, number, code),
                         "clearing the fault")


def _fault_code(text: str | None) -> FaultCode | None:
    if text is None:
        return None
    try:
        return FaultCode(text.upper())
    except ValueError as problem:
        raise wire.ApiError(wire.NOT_FOUND, f"there is no fault {text[:40]}",
                            "cpctl evse show lists the faults present") from problem
