"""With the real event loop, real threads and a real process: what virtual time cannot show."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

from support import aio
from support.station_bench import CONFIG, NoWay

from cpctl import config
from cpctl.app import App, Seams
from cpctl.core.effects import EnergisePower
from cpctl.core.events import EnergiseRefused, PowerReleased
from cpctl.runtime import power_gate
from cpctl.store.db import ThreadWriter

QUICK = CONFIG.replace("car_start_delay_s = 1.0", "car_start_delay_s = 0.02")


class GatedWriter(ThreadWriter):
    """A disk whose jobs wait, in its thread, while `open` is not set."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.open.set()
        self.waiting = 0

    async def run(self, fn, then=None):
        def slow():
            self.waiting += 1
            try:
                assert self.open.wait(30)
            finally:
                self.waiting -= 1
            return fn()
        return await super().run(slow, then)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.005)


def with_real_app(tmp_path, story, writer=ThreadWriter) -> None:
    async def whole() -> None:
        app = App.build(config.from_text(QUICK.format(path=tmp_path, more=""),
                                         str(tmp_path / "cpctl.toml")),
                        Seams(connector=NoWay(), writer=writer, api=False, signals=False))
        ready = asyncio.Event()
        running = asyncio.ensure_future(app.run(ready.set))
        try:
            await ready.wait()
            await story(app)
        finally:
            app.stop()
            await running

    aio.run(whole())


async def charge(app: App) -> list[object]:
    trace: list[object] = []
    app.loop.witness(lambda event, effects: trace.extend((event, *effects)))
    app.board.plug(1)
    await until(lambda: app.loop.picture.evse(1).plugged)
    await until(lambda: any(unit.kind == "reader" and unit.health.health.value == "ok"
                            for unit in app.devices.health()))
    app.board.tap("04A1B2C3", evse=1)
    await until(lambda: app.board.look(1).coil)
    await until(lambda: app.loop.picture.evse(1).power.value == "on")
    return trace


def test_a_stalled_event_loop_loses_its_lease_and_the_lease_is_never_renewed(
        tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(power_gate, "LEASE_S", 1.0)
    monkeypatch.setattr(power_gate, "TICK_S", 0.25)

    async def story(app: App) -> None:
        trace = await charge(app)
        number = app.gate.number(1)

        lapsed = threading.Event()
        tell = app.hardware.deadman.listener
        app.hardware.deadman.listener = lambda contactor, error: (tell(contactor, error),
                                                                  lapsed.set())
        assert lapsed.wait(20)  # the event loop stands still: only the dead-man's thread lives
        assert not app.board.look(1).coil

        await until(lambda: any(isinstance(one, PowerReleased) and one.number > number
                                for one in trace))
        coil_moves = [one.value for one in app.board.history if one.what == "coil"]
        assert coil_moves[:2] == [True, False]
        orders = [one.after for one in trace if isinstance(one, EnergisePower)]
        assert orders == sorted(set(orders))  # what closes again is a new order that knows of it

    with_real_app(tmp_path, story)


def test_an_order_delayed_by_a_slow_disk_cannot_close_what_was_opened_meanwhile(tmp_path) -> None:
    writers: list[GatedWriter] = []

    def writer() -> GatedWriter:
        writers.append(GatedWriter())
        return writers[-1]

    async def story(app: App) -> None:
        trace = await charge(app)
        disk = writers[0]
        app.board.pilot(1, "B")
        await until(lambda: not app.board.look(1).coil)
        await until(lambda: app.loop.picture.evse(1).power.value == "off")
        disk.open.clear()
        app.executor.submit((EnergisePower(1, app.gate.number(1)),))  # nothing before it: at once
        app.loop.post(_unlatched_change(app))
        await until(lambda: disk.waiting > 0)

        before = app.gate.number(1)
        app.executor.submit((EnergisePower(1, before),))
        app.gate.release(1, "meanwhile")
        app.board.pilot(1, "C")
        disk.open.set()
        await until(lambda: any(isinstance(one, EnergiseRefused) and one.reasons == ("stale",)
                                for one in trace))
        assert app.gate.number(1) > before

    with_real_app(tmp_path, story, writer)


def _unlatched_change(app: App):
    """A request that is recorded before it is answered."""
    from cpctl.core.events import AvailabilityRequested
    from cpctl.core.values import Origin, RequestId

    return AvailabilityRequested(RequestId(Origin.LOCAL, 999), operative=False, evse=None)


class Systemd:
    """The other end of sd_notify."""

    def __init__(self, path) -> None:
        self.path = str(path / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(30)
        self.heard: list[str] = []

    def wait_for(self, line: str) -> None:
        while line not in self.heard:
            self.heard += self._socket.recv(4096).decode().splitlines()

    def close(self) -> None:
        self._socket.close()


def test_a_real_daemon_tells_systemd_reloads_and_ends_with_zero(tmp_path) -> None:
    file = tmp_path / "cpctl.toml"
    text = QUICK.format(path=tmp_path, more="").replace("csms.invalid", "127.0.0.1:9")
    file.write_text(text)
    systemd = Systemd(tmp_path)
    environment = {**os.environ, "NOTIFY_SOCKET": systemd.path, "WATCHDOG_USEC": "100000"}
    environment.pop("WATCHDOG_PID", None)
    daemon = subprocess.Popen([sys.executable, "-m", "cpctl", "run", "--config", str(file)],
                              env=environment, stderr=subprocess.PIPE, text=True)
    try:
        systemd.wait_for("READY=1")
        systemd.heard.clear()
        systemd.wait_for("WATCHDOG=1")
        file.write_text(text.replace("AllowOfflineTxForUnknownId = true",
                                     "AllowOfflineTxForUnknownId = false"))
        daemon.send_signal(signal.SIGHUP)
        systemd.wait_for("RELOADING=1")
        systemd.wait_for("READY=1")
        daemon.send_signal(signal.SIGTERM)
        systemd.wait_for("STOPPING=1")
        _, log = daemon.communicate(timeout=30)
    finally:
        daemon.kill()
        daemon.wait()
        systemd.close()

    assert daemon.returncode == 0, log
    assert "auth.offline_unknown applies now" in log
    assert "Traceback" not in log
