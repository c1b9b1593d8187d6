"""What the composition builds of a configuration, and what follows the end of the daemon."""

from pathlib import Path

from cpctl import config
from cpctl.app_parts import build_hardware
from hal.deadman import DeadMan

CONFIG = """
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "Post"
[csms]
url = "ws://csms.invalid/ocpp"
[serial.line]
port = "{port}"
baudrate = 19200
parity = "E"
stopbits = 2
timeout_s = 0.5
gap_s = 0.1
tries = 5
late_s = 2.5
[[evse]]
id = 1
"""


def test_every_key_of_a_serial_line_reaches_it(tmp_path: Path) -> None:
    found = config.from_text(CONFIG.format(port=tmp_path / "tty"))

    hardware = build_hardware(found, lambda: 0, deadman=DeadMan(thread=False))

    line = hardware.buses["line"].settings
    assert (line.baudrate, line.parity, line.stopbits) == (19200, "E", 2)
    assert (line.timeout_s, line.gap_s, line.tries, line.late_s) == (0.5, 0.1, 5, 2.5)
    for bus in hardware.buses.values():
        bus.close()
