"""A whole emulated station: machine, wires, post, card, and the central system it reports to.

Post, car, meter and central system outlive its power cuts. What is waited for is waited for by what
it does; a limit that is missed raises `Stuck` with what the station said last.
"""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.system.card import CardSlot
from tests.system.central import Central
from tests.system.ingredients import Ingredients
from tests.system.machine import Machine, Stuck, connect
from tests.system.post import Post
from tests.system.wires import Wires

TOKEN = "04A1B2C3D4E580"
OTHER_TOKEN = "04FFEEDDCCBB80"
SAME_CARD_S = 2.0  # the reader's debounce_s, and what its news take
UNIT = "cpctl.service"
ADAPTER = "/dev/serial/by-id/usb-QEMU_QEMU_USB_SERIAL_RS485-if00-port0"

CONFIGURATION = """\
schema_version = 1

[station]
identity = "SYSTEM-1"
vendor = "Example"
model = "Emulated"
{station}

[csms]
url = "{url}"
versions = ["1.6"]
security_profile = 0
reconnect = {{ wait_min_s = 1, random_s = 1, repeat_times = 2 }}

[ocpp16]
MeterValueSampleInterval = 5
{ocpp}

[options]
{options}

[gpio]
backend = "{backend}"
chip = "pinctrl-bcm2711"

[serial.rs485-1]
port = "{adapter}"
baudrate = 9600

[[reader]]
id = "front"
driver = "{reader}"

[[evse]]
id = 1
max_current_a = 32
phases = 3
connectors = [{{ id = 1, type = "cType2" }}]
contactor = {{ driver = "gpio", pin = "GPIO17", feedback_pin = "GPIO27", \
active_high = {active_high}, \
feedback_active_high = {active_low} }}
{devices}
{more}
"""
WIRED = """\
pilot = { driver = "evse_wb", bus = "rs485-1", address = 1 }
meter = { driver = "eastron_sdm630", bus = "rs485-1", address = 2 }
"""
SIMULATED = """\
pilot = { driver = "sim" }
meter = { driver = "sim" }
"""
RCD_ONLY = """\
inputs = { rcd = { driver = "gpio", pin = "GPIO23" } }
"""
INPUTS = """\
inputs = { rcd = { driver = "gpio", pin = "GPIO23" }, \
emergency_stop = { driver = "gpio", pin = "GPIO24" } }
indicator = { driver = "gpio", red = "GPIO5", green = "GPIO6", blue = "GPIO13" }
"""
HEARTBEAT = """
[heartbeat]
driver = "gpio"
pin = "GPIO25"
"""


def configuration(url: str, *, backend: str = "gpiod", active_high: bool = True,
                  options: str = "", station: str = "", ocpp: str = "", reader: str = "pcsc",
                  devices: str = WIRED + INPUTS, more: str = HEARTBEAT) -> str:
    """The station's /etc/cpctl/cpctl.toml: a Raspberry Pi with an EVSE-WB and an SDM630."""
    return CONFIGURATION.format(url=url, backend=backend, active_high=str(active_high).lower(),
                                active_low=str(not active_high).lower(),
                                options=options, station=station, adapter=ADAPTER, ocpp=ocpp,
                                reader=reader, devices=devices, more=more)


class Station:
    """One emulated station; `with Station(…) as station: station.boot()`."""

    def __init__(self, made: Ingredients, folder: Path, central: Central, *,
                 over: Path | None = None, payload: Path | None = None):
        self.central = central
        self.machine = Machine(made, folder, over=over, payload=payload,
                               say=f"bench.central={central.url}")
        self.wires: Wires | None = None
        self._decoy: socket.socket | None = None
        self._last_tap = ("", 0.0)
        self.card: CardSlot | None = None
        self.post = Post(lambda: self.wires is not None and self.wires.closed)

    def __enter__(self) -> "Station":
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    # --- power ---------------------------------------------------------------------------------

    def boot(self) -> float:
        """Switch on and connect everything; returns the seconds until the agent answered."""
        self.machine.start()
        began_s = time.monotonic()
        self.plug_adapter()
        self.take_card_slot()
        self.machine.reach()
        self.machine.booted_s = time.monotonic() - began_s
        self.wires = Wires(self.machine, told=lambda _: self.post.count())
        return self.machine.booted_s

    def cut(self) -> None:
        """The power goes."""
        self.post.count()
        self.machine.cut()
        self._disconnect()

    def off(self) -> None:
        """Shut down in good order."""
        self.machine.off()
        self._disconnect()

    def reboot(self) -> float:
        """`reboot` inside; QEMU ends then, and is started again over the same disk."""
        self.machine.ask("shell", words="systemctl --no-block reboot", limit_s=20)
        self.machine.wait_off()
        self._disconnect()
        return self.boot()

    def _disconnect(self) -> None:
        self.post.count()
        wires, self.wires = self.wires, None
        if wires is not None:
            wires.close()
        if self.card is not None:
            self.card.close()
            self.card = None
        self.drop_decoy()
        self.post.disconnect()

    def plug_adapter(self) -> None:
        """The USB adapter of pilot board and meter."""
        self.post.connect(self.machine.folder / "serial")

    def take_card_slot(self) -> None:
        """The reader's field; anew after the reader was plugged anew."""
        if self.card is not None:
            self.card.close()
        self.card = CardSlot(self.machine.folder / "card")

    def take_decoy(self) -> None:
        """Another USB adapter, with nothing behind it, takes the first free name."""
        self._decoy = connect(self.machine.folder / "decoy")

    def drop_decoy(self) -> None:
        decoy, self._decoy = self._decoy, None
        if decoy is not None:
            decoy.close()

    # --- what it says ----------------------------------------------------------------------------

    def status(self) -> dict[str, Any] | None:
        """The whole picture; None while the daemon does not answer."""
        return self.machine.call("status")

    def evse(self) -> dict[str, Any]:
        status = self.status()
        return dict(status["evses"][0]) if status else {}

    def until(self, holds: Callable[[], Any], limit_s: float, what: str) -> float:
        """Wait until it holds; how long that took in s. Raises Stuck with the log's end."""
        began_s = time.monotonic()
        while not holds():
            if time.monotonic() - began_s > limit_s:
                raise Stuck(f"not within {limit_s:g} s: {what}\n{self.told()}")
            time.sleep(0.1)
        return time.monotonic() - began_s

    def until_ready(self, limit_s: float = 120.0) -> float:
        """Wait until the daemon answers and is accepted by the central system."""
        return self.until(self._is_ready, limit_s, "the daemon is ready and online")

    def _is_ready(self) -> bool:
        status = self.status()
        return bool(status and status["link"]["state"] in ("online", "accepted", "connected"))

    def until_status(self, wanted: str, limit_s: float = 30.0) -> float:
        return self.until(lambda: self.evse().get("status") == wanted, limit_s,
                          f"the EVSE is {wanted}; it is {self.evse()}")

    def told(self, lines: int = 40) -> str:
        """The end of the daemon's log, and of what systemd says of it."""
        if not self.machine.alive():
            return self.machine.console()
        try:
            return self.machine.shell(
                f"journalctl -q -b --no-pager -o short-monotonic -n {lines} -u cpctl -u "
                "cpctl-safe -u cpctl.socket -u pcscd", check=False)
        except Stuck as error:
            return str(error)

    def sessions(self) -> list[dict[str, Any]]:
        """All sessions of its journal, the first one first."""
        answer = self.machine.call("sessions.list", limit=1000)
        if answer is None:
            raise Stuck(f"the daemon does not tell its sessions\n{self.told()}")
        return sorted(answer["sessions"], key=lambda one: int(one["no"]))

    def main_pid(self) -> int:
        return int(self.machine.shell(f"systemctl show -P MainPID {UNIT}"))

    # --- what is done ----------------------------------------------------------------------------

    def tap(self, token: str = TOKEN, held_s: float = 1.0) -> None:
        """Hold a card to the reader. The same one again is a new tap only a while after it left."""
        assert self.card is not None
        if token == self._last_tap[0]:
            time.sleep(max(0.0, self._last_tap[1] + SAME_CARD_S - time.monotonic()))
        self.card.tap(token, held_s)
        self._last_tap = (token, time.monotonic())

    def charge(self, token: str = TOKEN, limit_s: float = 60.0) -> float:
        """Plug, tap, wait for the contactor; seconds from tap to closed coil."""
        assert self.wires is not None
        self.post.plug()
        self.until_status("Preparing")
        began_s = time.monotonic()
        self.tap(token)
        try:
            closed = self.wires.until(17, True, limit_s)
        except Stuck as error:
            raise Stuck(f"{error}\n{self.evse()}\n{self.told()}") from error
        return closed.host_s - began_s

    def unplug(self, limit_s: float = 30.0) -> None:
        """The car goes; wait until the EVSE is free."""
        self.post.unplug()
        self.until_status("Available", limit_s)
