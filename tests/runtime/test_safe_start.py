"""What the daemon does before anything else: every output requested at its safe level."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import virtual_loop

from cpctl.app_outputs import FILE
from cpctl.app_parts import Hardware, build_hardware, request_outputs
from cpctl.config import from_text
from cpctl.runtime.pilot_keeper import ANSWER_LIMIT_S, PilotKeeper
from hal.contracts import Contactor, ControlPilot, Heartbeat, Parts
from hal.deadman import DeadMan
from hal.errors import DeviceGone
from hal.values import NO_OFFER, Offer, PilotReading

TWO = """\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "Post"
[csms]
url = "ws://csms.invalid/ocpp"
[[evse]]
id = 1
[[evse]]
id = 2
"""


class Switch(Contactor):
    """Notes what is done to it; `broken` contactors cannot be had."""

    def __init__(self, name: str, did: list[str], *, broken: bool = False) -> None:
        super().__init__(name, 1, {}, Parts(deadman=DeadMan(thread=False)))
        self._did, self._broken = did, broken

    async def prepare(self) -> None:
        if self._broken:
            raise DeviceGone(f"{self.name}: no such line; check the wiring")
        self._did.append(f"{self.name} at rest")

    def _energise(self) -> None:
        raise AssertionError("nothing closes at a start")

    def _release(self) -> None:
        self._did.append(f"{self.name} released")

    def _read_feedback(self) -> bool | None:
        return None


class Beat(Heartbeat):
    def __init__(self, did: list[str], *, broken: bool = False) -> None:
        super().__init__("heartbeat", None, {}, Parts())
        self._did, self._broken = did, broken

    async def open(self) -> None:
        if self._broken:
            raise DeviceGone("heartbeat: no such line")
        self._did.append("heartbeat at rest")

    def beat(self) -> None:
        raise AssertionError("nothing beats at a start")

    def rest(self) -> None:
        self._did.append("heartbeat at rest")


def hardware(contactors: dict[int, Contactor], heartbeat: Heartbeat | None) -> Hardware:
    from dataclasses import replace

    whole = build_hardware(from_text(TWO), lambda: 0, deadman=DeadMan(thread=False))
    return replace(whole, heartbeat=heartbeat,
                   fitted=replace(whole.fitted, contactors=contactors))


@pytest.mark.parametrize("broken", ["", "heartbeat", "contactor 1", "contactor 2"])
def test_output_that_cannot_be_had_ends_the_start_after_all_others_are_at_rest(
        broken: str) -> None:
    did: list[str] = []
    switches: dict[int, Contactor] = {
        number: Switch(f"contactor {number}", did, broken=broken == f"contactor {number}")
        for number in (1, 2)}
    one = hardware(switches, Beat(did, broken=broken == "heartbeat"))

    async def start() -> None:
        await request_outputs(one)

    if broken:
        with pytest.raises(DeviceGone, match=broken):
            virtual_loop.run(start())
    else:
        virtual_loop.run(start())

    every = ["heartbeat at rest", "contactor 1 at rest", "contactor 2 at rest"]
    assert did == [word for word in every if not (broken and word.startswith(broken))]


class Pilot(ControlPilot):
    def __init__(self, evse: int, act: Callable[[], Any]) -> None:
        super().__init__(f"pilot {evse}", evse, {}, Parts())
        self.offers: list[Offer] = []
        self._act = act

    async def open(self) -> None:
        await self._act()

    async def read(self) -> PilotReading:
        return PilotReading(None)

    async def offer(self, offer: Offer) -> None:
        self.offers.append(offer)


def test_board_that_does_not_answer_keeps_no_other_from_withdrawing_its_offer(
        caplog: pytest.LogCaptureFixture) -> None:
    async def silent() -> None:
        await asyncio.Event().wait()

    async def gone() -> None:
        raise DeviceGone("pilot 2: no answer; check A/B wiring")

    async def there() -> None:
        return

    pilots = {1: Pilot(1, silent), 2: Pilot(2, gone), 3: Pilot(3, there)}
    took_s: list[float] = []

    async def start() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        keeper = PilotKeeper(pilots, None, spawn=lambda coro, name: None,  # type: ignore[arg-type]
                             lost=lambda evse, detail: None, post=lambda event: None,
                             mono_ns=lambda: 0)
        await keeper.withdraw_what_is_left()
        took_s.append(loop.time() - began)

    virtual_loop.run(start())

    assert [pilots[evse].offers for evse in (1, 2, 3)] == [[], [], [NO_OFFER]]
    assert took_s == [ANSWER_LIMIT_S], "virtual: one limit for all boards together"
    assert "evse=1" in caplog.text and "evse=2" in caplog.text


def test_outputs_are_kept_for_hw_safe_before_the_books_are_opened(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from support.station_bench import build
    from support.virtual_loop import VirtualLoop, run

    from cpctl import app as composition
    from cpctl.app_outputs import Output, Outputs

    contactor = Output("contactor", "gpio", "contactor 1", 1, {"pin": "GPIO17"})
    monkeypatch.setattr(composition, "outputs_of",
                        lambda config, boot: Outputs((contactor,), boot=boot))
    loop = VirtualLoop()
    seen: list[bool] = []

    async def whole() -> None:
        app = build(tmp_path, loop)
        path = app.config.store.path / FILE
        writer = app.seams.writer
        app.seams = type(app.seams)(**{**app.seams.__dict__, "writer": lambda: (
            seen.append(path.exists()), writer())[1]})
        running = asyncio.ensure_future(app.run())
        await asyncio.sleep(1)
        app.stop()
        await running
        found = json.loads(path.read_text())
        assert (found["boot"], found["outputs"][0][2]) == (app.clock.now().boot, "contactor 1")

    run(whole(), loop=loop)
    assert seen == [True]
