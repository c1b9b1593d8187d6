"""Methods for the bench: the hands of the simulated board, and looking at devices."""

from __future__ import annotations

import asyncio
from typing import Any

from cpctl.api import wire
from cpctl.api.app import App, Table, good_reply, known_evse
from cpctl.api.args import Args
from cpctl.api.plain import plain
from cpctl.api.server import Caller, Right
from cpctl.api.wire import ApiError
from cpctl.core.events import ContactorTestRequested
from cpctl.core.faults import CATALOGUE, FaultCode

READ_LIMIT_S = 10.0
TEST_LIMIT_S = 15.0  # the core has answered by then
CONTACTOR_FAULTS = (FaultCode.CONTACTOR_LOST, FaultCode.CONTACTOR_WELDED,
                    FaultCode.CONTACTOR_DID_NOT_CLOSE)
STATES = ("A", "B", "C", "D", "E", "F")


class Tools:
    """`sim.*` for devices with driver "sim", `hw.*` for all."""

    def __init__(self, app: App):
        self._app = app

    def table(self) -> Table:
        return {
            "sim.plug": (Right.ACT, self.plug),
            "sim.unplug": (Right.ACT, self.unplug),
            "sim.pilot": (Right.ACT, self.pilot),
            "sim.tap": (Right.ACT, self.tap),
            "sim.meter": (Right.ACT, self.meter),
            "sim.fault": (Right.ACT, self.fault),
            "sim.clear": (Right.ACT, self.clear),
            "sim.cable": (Right.ACT, self.cable),
            "hw.list": (Right.READ, self.hardware),
            "hw.meter": (Right.READ, self.read_meter),
            "hw.pilot": (Right.READ, self.read_pilot),
            "hw.reader": (Right.READ, self.reader),
            "hw.contactor_test": (Right.ACT, self.contactor_test),
        }

    # --- simulator ---------------------------------------------------------------------------

    def _board(self, number: int | None, kind: str) -> Any:
        """The board, when `kind` of EVSE `number` is simulated. Raises ApiError."""
        board = self._app.board
        if board is None:
            raise _not_simulated("anything of this station")
        if number is not None:
            known_evse(self._app, number)
            spec = next(one for one in self._app.config.evses if one.id == number)
            device = getattr(spec, kind, None)
            if device is None or not device.simulated:
                raise _not_simulated(f"the {kind} of EVSE {number}")
        return board

    async def plug(self, args: Args, caller: Caller) -> Any:
        number, connector = args.whole("evse"), args.whole_or_none("connector")
        auto, power_w = args.flag("auto", True), args.number_or_none("power_w")
        args.done()
        board = self._board(number, "pilot")
        spec = next(one for one in self._app.config.evses if one.id == number)
        if connector is not None and connector not in {one.id for one in spec.connectors}:
            raise ApiError(wire.NOT_FOUND, f"EVSE {number} has no connector {connector}",
                           f"see cpctl evse show {number}")
        board.plug(number, auto=auto, power_w=power_w, connector=connector)
        return {"evse": number}

    async def unplug(self, args: Args, caller: Caller) -> Any:
        number = args.whole("evse")
        args.done()
        self._board(number, "pilot").unplug(number)
        return {"evse": number}

    async def pilot(self, args: Args, caller: Caller) -> Any:
        number, state = args.whole("evse"), args.text("state").upper()
        args.done()
        if state not in STATES:
            raise ApiError(wire.INVALID_PARAMS, f"{state[:10]} is no state of the pilot",
                           "A, B, C, D, E or F")
        self._board(number, "pilot").pilot(number, state)
        return {"evse": number, "state": state}

    async def tap(self, args: Args, caller: Caller) -> Any:
        token = args.text("token")
        reader, number = args.text_or_none("reader"), args.whole_or_none("evse")
        args.done()
        if number is not None:
            known_evse(self._app, number)
        if self._app.board is None or not any(
                one.device.simulated for one in self._app.config.readers):
            raise _not_simulated("any card reader")
        self._app.board.tap(token, reader=reader, evse=number)
        return {"token": token}

    async def meter(self, args: Args, caller: Caller) -> Any:
        number = args.whole("evse")
        power_w, voltage_v = args.number_or_none("power_w"), args.number_or_none("voltage_v")
        energy_wh = args.whole_or_none("energy_wh")
        args.done()
        self._board(number, "meter").meter(number, power_w=power_w, energy_wh=energy_wh,
                                           voltage_v=voltage_v)
        return {"evse": number}

    async def fault(self, args: Args, caller: Caller) -> Any:
        kind, number = args.text("kind"), args.whole_or_none("evse")
        vendor_code = args.text_or_none("vendor_code") or ""
        args.done()
        self._for_fault(number).fault(kind, number, vendor_code=vendor_code)
        return {"kind": kind, "evse": number}

    async def clear(self, args: Args, caller: Caller) -> Any:
        kind, number = args.text("kind"), args.whole_or_none("evse")
        args.text_or_none("vendor_code")
        args.done()
        self._for_fault(number).clear(kind, number)
        return {"kind": kind, "evse": number}

    def _for_fault(self, number: int | None) -> Any:
        if number is None:
            return self._board(None, "")
        known_evse(self._app, number)
        spec = next(one for one in self._app.config.evses if one.id == number)
        if self._app.board is None or not any(one.simulated for one in spec.devices):
            raise _not_simulated(f"EVSE {number}")
        return self._app.board

    async def cable(self, args: Args, caller: Caller) -> Any:
        number = args.whole("evse")
        rating_a, kind = args.number_or_none("rating_a"), args.text_or_none("type")
        args.done()
        self._board(number, "pilot").cable(number, rating_a, kind)
        return {"evse": number}

    # --- hardware ----------------------------------------------------------------------------

    def _devices(self) -> list[dict[str, Any]]:
        found = [{"kind": one.kind, "name": one.name, "evse": one.evse,
                  "health": one.health.health.value, "detail": one.health.detail}
                 for one in self._app.devices.health()]
        return [*found, *self._contactors()]

    def _contactors(self) -> list[dict[str, Any]]:
        """Contactors are the gate's; how they do is told by their faults."""
        lost = {one.evse: fault for one in self._app.loop.picture.evses for fault in one.faults
                if fault.code in CONTACTOR_FAULTS}
        return [{"kind": "contactor", "name": one.name, "evse": number,
                 "health": "lost" if number in lost else "ok",
                 "detail": CATALOGUE[lost[number].code].sentence if number in lost else ""}
                for number, one in self._app.devices.fitted.contactors.items()]

    async def hardware(self, args: Args, caller: Caller) -> Any:
        args.done()
        return {"devices": self._devices()}

    async def read_meter(self, args: Args, caller: Caller) -> Any:
        """One reading, now. `raw`: each register as the meter gives it, not judged; `record`: and
        the frames on the line."""
        number = known_evse(self._app, args.whole("evse"))
        raw, record = args.flag("raw", False), args.flag("record", False)
        args.done()
        if not raw and not record:
            return {"evse": number, "reading": plain(await self._app.devices.read_meter(number))}
        meter = self._app.devices.fitted.meters.get(number)
        if not hasattr(meter, "raw"):
            raise ApiError(wire.FAILED, f"meter {number}: its driver knows no raw registers",
                           "leave --raw and --record out")
        spec = next(one for one in self._app.config.evses if one.id == number).meter
        about = {"evse": number, "driver": spec.driver, "bus": spec.options.get("bus"),
                 "address": spec.options.get("address")}
        async with asyncio.timeout(READ_LIMIT_S):
            if not record:
                return {**about, "raw": plain(await meter.raw())}
            values, frames = await meter.record()
            return {**about, "raw": plain(values), "frames": list(frames)}

    async def read_pilot(self, args: Args, caller: Caller) -> Any:
        number = known_evse(self._app, args.whole("evse"))
        args.done()
        return {"evse": number, "reading": plain(await self._app.devices.read_pilot(number))}

    async def reader(self, args: Args, caller: Caller) -> Any:
        """The readers and their health, and each card as a notification `hw.reader`."""
        args.done()
        caller.goes_on("hw.reader", lambda: self._app.devices.listen_cards(
            lambda reader, card: caller.tell("hw.reader", {
                "reader": reader, "token": card.text, "random": card.random})))
        return {"devices": [one for one in self._devices() if one["kind"] == "reader"]}

    async def contactor_test(self, args: Args, caller: Caller) -> Any:
        """Close and open it once, with nothing plugged in; passed, it may be declared mended.

        Raises ApiError when it is refused or not passed.
        """
        number = known_evse(self._app, args.whole("evse"))
        args.done()
        reply = await good_reply(
            self._app, lambda request: ContactorTestRequested(request, number),
            f"contactor test of EVSE {number}", TEST_LIMIT_S)
        return {"evse": number, "passed": True, **plain(reply.content)}


def _not_simulated(what: str) -> ApiError:
    return ApiError(wire.FAILED, f"not simulated: {what}",
                    'only devices with driver = "sim" have simulated hands')
