"""`cpctl hw scan`: who is on a serial line. Needs no daemon, and none that holds the port.

Reads only; see hal/busscan.py for how it asks and hal/busnames.py for how it recognises.
"""

from __future__ import annotations

import argparse
import os
from argparse import ArgumentParser, Namespace

from cpctl.cli.main import (
    DONE,
    FAILED,
    NOT_FOUND,
    NOT_PERMITTED,
    PROBLEMS,
    REFUSED,
    USAGE,
    seconds,
)
from cpctl.cli.show import Screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cpctl.config import Config
    from hal.busnames import Name
    from hal.busscan import Sweep
    from hal.errors import HalError
    from hal.rtu import LineSettings

    Found = dict[str, Any]

_PATIENCE_S = 0.5  # for an answer once it is known that somebody is there


def numbers(text: str) -> tuple[int, ...]:
    """Modbus addresses as 1-20,30, for `type=`."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise argparse.ArgumentTypeError(f"expected addresses as 1-20,30, not {text!r}")
        if not 1 <= int(first) <= int(last or first) <= 247:
            raise argparse.ArgumentTypeError(f"addresses are 1 to 247, not {part.strip()}")
        found.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(found))


def baudrates(text: str) -> tuple[int, ...]:
    """Baud rates as 9600,19200, for `type=`."""
    parts = [one.strip() for one in text.split(",")]
    if not all(one.isdecimal() and 300 <= int(one) <= 1_000_000 for one in parts):
        raise argparse.ArgumentTypeError(f"expected baud rates as 9600,19200, not {text!r}")
    return tuple(int(one) for one in parts)


def parities(text: str) -> tuple[str, ...]:
    """Parities as N,E, for `type=`."""
    parts = tuple(one.strip().upper() for one in text.split(","))
    if not set(parts) <= {"N", "E", "O"}:
        raise argparse.ArgumentTypeError(f"expected parities as N,E,O, not {text!r}")
    return parts


def options(one: ArgumentParser) -> None:
    one.add_argument("--port", metavar="PORT",
                     help="this port, instead of the lines of the configuration")
    one.add_argument("--bus", metavar="NAME", help="only this line of the configuration")
    one.add_argument("--config", metavar="FILE", default="/etc/cpctl/cpctl.toml",
                     help="configuration file (default %(default)s)")
    one.add_argument("--addresses", metavar="LIST", type=numbers, default=numbers("1-20"),
                     help="which addresses (default 1-20, and those of the configuration)")
    one.add_argument("--baudrates", metavar="LIST", type=baudrates,
                     help="which baud rates (default the usual ones, the configured first)")
    one.add_argument("--parities", metavar="LIST", type=parities,
                     help="which parities (default N,E, the configured first)")
    one.add_argument("--wait", metavar="S", type=seconds, default=0.15,
                     help="how long an answer is waited for (default %(default)s)")
    one.add_argument("--deep", action="store_true",
                     help="ask more, for devices that say nothing rather than refuse; slower")
    one.add_argument("--all", action="store_true",
                     help="all baud rates and parities, even when somebody was found")


def scan(args: Namespace, screen: Screen) -> int:
    """Exit code 0: somebody answers and nothing is wrong; 8: something is."""
    from cpctl.cli.daemon import _mistakes
    from cpctl.config import ConfigError
    from hal.errors import HalError

    try:
        lines = _lines(args)
    except ConfigError as error:
        return _mistakes(screen, error)
    if not lines:
        wanted = f"no serial line {args.bus}" if args.bus else "no serial line"
        where = f"in {args.config}" if os.path.exists(args.config) else (
            f"is known: there is no {args.config}")
        screen.error(f"{wanted} {where}", _ports_to_name(), USAGE)
        return USAGE
    told: list[Found] = []
    for line in lines:
        try:
            told.append(line.swept(args, screen))
        except HalError as error:
            return _gone(screen, error)
        finally:
            screen.progress_done()
        if not screen.json:
            _show(screen, told[-1])
    if screen.json:
        screen.object({"lines": told})
    return PROBLEMS if any(one["problems"] for one in told) else DONE


def _lines(args: Namespace) -> list[_Line]:
    """What is to be swept. Raises ConfigError."""
    from hal.rtu import LineSettings

    if args.port:
        return [_Line("rs485-1", LineSettings(args.port, tries=1), {}, known=False)]
    from pathlib import Path

    from cpctl import config

    if not Path(args.config).exists():  # a fresh machine: the port is asked for
        return []
    found = config.load(Path(args.config))
    return [_Line(name, LineSettings(**one.settings()), _configured(found, name), known=True)
            for name, one in found.serial.items() if args.bus in (None, name)]


def _ports_to_name() -> str:
    """The next step, with the ports that this machine has."""
    from glob import glob

    ports = sorted(glob("/dev/serial/by-id/*")) or sorted(glob("/dev/tty[UA][SC][BM]*"))
    there = f"; there are: {', '.join(ports)}" if ports else "; this machine shows none"
    return f"name the port: --port /dev/ttyUSB0{there}"


def _configured(found: Config, bus: str) -> dict[int, tuple[str, str]]:
    """By address: device and driver of the configuration."""
    told: dict[int, tuple[str, str]] = {}
    for evse in found.evses:
        for one in evse.devices:
            at = one.options.get("address")
            if one.options.get("bus") == bus and isinstance(at, int):
                told[at] = (f"{one.kind} {evse.id}", one.driver)
    return told


class _Line:
    """One line: its name, the settings it is known by, and who should be on it."""

    def __init__(self, name: str, settings: LineSettings, configured: dict[int, tuple[str, str]],
                 *, known: bool):
        self.name = name
        self.settings = settings
        self.configured = configured
        self.known = known

    def swept(self, args: Namespace, screen: Screen) -> Found:
        """Raises DeviceGone."""
        from hal.busnames import deep_probes
        from hal.busscan import (
            BAUDRATES,
            PARITIES,
            PROBES,
            line_words,
            settings_to_try,
            sweeps,
            verdicts,
        )
        from hal.rtu import open_serial

        known = self.settings
        addresses = sorted({*args.addresses, *self.configured})
        speeds = args.baudrates or _with_known(known.baudrate, BAUDRATES)
        evens = args.parities or _with_known(known.parity, PARITIES)

        def progress(settings: LineSettings, address: int, found: int) -> None:
            screen.progress(f"{self.name} {line_words(settings)}: address {address} of "
                            f"{addresses[0]}-{addresses[-1]}, {found} found")

        told = sweeps(settings_to_try(known, speeds, evens), addresses, open_port=open_serial,
                      wait_s=args.wait, probes=deep_probes() if args.deep else PROBES,
                      progress=progress, everything=args.all)
        found = [self._named(one, args, screen) for one in told]
        rows = [row for one in found for row in one["addresses"]]
        return {"bus": self.name, "port": known.port, "sweeps": found,
                "problems": [*verdicts(told), *self._against_configuration(told, rows)]}

    def _named(self, one: Sweep, args: Namespace, screen: Screen) -> Found:
        """A sweep with the names of those it found."""
        from hal.busnames import name_of
        from hal.buswire import BusWire
        from hal.rtu import open_serial

        rows: list[Found] = []
        if one.found:
            wire = BusWire(one.settings, open_serial, wait_s=max(args.wait, _PATIENCE_S))
            try:
                for address in one.addresses:
                    screen.progress(f"{self.name}: who is at address {address}?")
                    rows.append(self._row(name_of(wire, address), address))
            finally:
                wire.close()
        settings = one.settings
        return {"baudrate": settings.baudrate, "parity": settings.parity,
                "stopbits": settings.stopbits, "addresses": rows, "echo": one.echo,
                "unasked": one.unasked.hex(" "),
                "garbled": [{"address": at, "bytes": frame.hex(" ")}
                            for at, frame in one.garbled.items()]}

    def _row(self, name: Name, address: int) -> Found:
        from hal.busnames import configuration

        line = configuration(name, self.name, address) if name.drivers else ""
        return {"address": address, "kind": name.kind, "drivers": list(name.drivers),
                "sure": name.sure, "because": name.because, "says": name.says,
                "configuration": line}

    def _against_configuration(self, told: Sequence[Sweep], rows: list[Found]) -> list[str]:
        """What the configuration says otherwise."""
        found = {row["address"]: row for row in rows}
        problems = [
            f"address {at}: {device} ({driver}) is configured here and does not answer; "
            "check its supply, wiring and the address it is set to"
            for at, (device, driver) in self.configured.items() if at not in found]
        problems += [
            f"address {at}: configured as {driver} and is {' or '.join(found[at]['drivers'])}; "
            "name that driver"
            for at, (_, driver) in self.configured.items()
            if at in found and found[at]["sure"] and driver not in found[at]["drivers"]]
        problems += [
            f"{self.name} is configured with another baud rate or parity; it wants "
            f"baudrate = {one.settings.baudrate}, parity = \"{one.settings.parity}\""
            for one in told if self.known and one.found and one.settings != self.settings]
        return problems


def _with_known(known: Any, usual: Sequence[Any]) -> tuple[Any, ...]:
    return (known, *(one for one in usual if one != known))


def _gone(screen: Screen, error: HalError) -> int:
    """A port that cannot be had (or a library): what is in the way, and the exit code."""
    import errno

    from hal.busscan import error_number

    codes = {errno.ENOENT: NOT_FOUND, errno.EACCES: NOT_PERMITTED, errno.EPERM: NOT_PERMITTED,
             errno.EBUSY: REFUSED, errno.EWOULDBLOCK: REFUSED}
    code = codes.get(error_number(error), FAILED)
    finding, _, step = str(error).partition("; ")
    if code == REFUSED:
        step = "stop the daemon first (systemctl stop cpctl); a port has one master"
    screen.error(finding, step or "is the adapter plugged in?", code)
    return code


def _show(screen: Screen, line: Found) -> None:
    screen.line(f"{line['bus']}: {line['port']}")
    for one in line["sweeps"]:
        if not one["addresses"]:
            continue
        for words in (f"[serial.{line['bus']}]", f"port = \"{line['port']}\"",
                      f"baudrate = {one['baudrate']}", f"parity = \"{one['parity']}\"",
                      f"stopbits = {one['stopbits']}"):
            screen.line(f"  {words}")
        for row in one["addresses"]:
            _show_row(screen, row)
    for problem in line["problems"]:
        screen.line(screen.paint(f"  {problem}", "yellow"))


def _show_row(screen: Screen, row: Found) -> None:
    says = f" ({row['says']})" if row["says"] else ""
    if not row["drivers"]:
        screen.line(f"  address {row['address']}: somebody answers{says}, not recognised; "
                    "a meter of any model is read by generic_modbus")
        return
    which = " or ".join(row["drivers"])
    words = f"{which}, as it says{says}" if row["sure"] else (
        f"looks like {which}{says}: {row['because']}")
    screen.line(f"  address {row['address']}: {words}")
    screen.line(f"    {row['configuration']}")
