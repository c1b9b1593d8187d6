"""`cpctl run | config check | demo`: what runs without asking a daemon."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from cpctl.cli.main import DONE, FAILED, common
from cpctl.cli.show import Screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from cpctl.config import Config, ConfigError

DEFAULT_CONFIG = "/etc/cpctl/cpctl.toml"
EXIT_CONFIG, EXIT_PERMISSION, EXIT_HARDWARE = 78, 77, 69  # sysexits.h
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def add(name: str, parser: ArgumentParser) -> None:
    {"run": _run, "config": _config, "demo": _demo}[name](parser)


def _run(parser: ArgumentParser) -> None:
    common(parser, top=False)
    parser.add_argument("--config", metavar="FILE", default=DEFAULT_CONFIG,
                        help="configuration file (default %(default)s); "
                             "conf.d/*.toml beside it are read too")
    parser.add_argument("--log-level", choices=LEVELS, type=str.upper, default="INFO",
                        help="how much to log (default %(default)s)")
    parser.set_defaults(run=run)


def _config(parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    one = verbs.add_parser("check", help="read the configuration and tell every mistake",
                           description="read the configuration and tell every mistake")
    common(one, top=False)
    one.add_argument("file", nargs="?", default=DEFAULT_CONFIG,
                     help="configuration file (default %(default)s)")
    one.set_defaults(run=check)


def _demo(parser: ArgumentParser) -> None:
    common(parser, top=False)
    parser.add_argument("--csms", metavar="URL",
                        help="run against this central system instead, and stay up")
    parser.add_argument("--identity", metavar="ID", default="CP001",
                        help="identity of the station there (default %(default)s)")
    parser.add_argument("--stay", action="store_true",
                        help="keep station and central system up after the story, until Ctrl-C")
    parser.set_defaults(run=demo)


def run(args: Namespace, screen: Screen) -> int:
    """The daemon's whole life."""
    from pathlib import Path

    from cpctl import config
    from cpctl.cli import mistaken

    try:
        found = config.load(Path(args.config))
    except config.ConfigError as error:
        code = _mistakes(screen, error)
        mistaken.wait_for_a_change(args.config, error)
        return code
    mistaken.forget()
    if not _is_ours(found.socket) and _answers(str(found.socket)):  # before anything is touched
        screen.error(f"another daemon answers on {found.socket}",
                     "stop it first (systemctl stop cpctl), or set api.socket and store.path",
                     FAILED)
        return FAILED
    words = ["run", "--config", args.config, "--log-level", args.log_level]
    return _live(found, args.log_level, [*_program(), *words], screen)


def _program() -> list[str]:
    """What starts us: the launcher of the releases decides anew which of them it is."""
    import os

    launcher = os.environ.get("CPCTL_LAUNCHER")
    return [sys.executable, "-I", launcher] if launcher else [sys.executable, "-m", "cpctl"]


def _is_ours(path: Path) -> bool:
    """Whether systemd listens there for us: whoever connects then finds no other daemon."""
    import os

    if "LISTEN_FDS" not in os.environ:
        return False
    from cpctl.runtime.activation import handed_over

    socket = handed_over(path)
    if socket is not None:
        socket.close()
    return socket is not None


def _answers(path: str) -> bool:
    from cpctl.api.client import Client, Unreachable

    try:
        Client(path, 2.0).close()
    except Unreachable:
        return False
    return True


def _live(found: Config, log_level: str, command: list[str], screen: Screen) -> int:
    import asyncio
    import faulthandler
    import logging

    from cpctl.api.server import SocketTaken
    from cpctl.app import App, carry_out
    from cpctl.runtime.log import set_up
    from cpctl.store.errors import StoreError
    from hal.errors import BadConfig, HalError

    set_up(log_level)
    faulthandler.enable(2)  # SIGABRT of the watchdog leaves in the journal where it hung
    for note in found.notes:
        logging.getLogger("cpctl.config").warning("%s", note)
    try:
        app = App.build(found)
        return carry_out(asyncio.run(app.run()), command, retries=app.reset_retries)
    except BadConfig as error:
        return _ended(screen, error, f"see {found.files[0]} and cpctl.toml(5)", EXIT_CONFIG)
    except HalError as error:
        return _ended(screen, error, "check the power outputs and their wiring", EXIT_HARDWARE)
    except PermissionError as error:
        return _ended(screen, error, "run as root or as its owner, or set store.path "
                      "and api.socket", EXIT_PERMISSION)
    except SocketTaken as error:
        return _ended(screen, error, "one daemon at a time", FAILED)
    except (StoreError, OSError) as error:
        permission = isinstance(error.__cause__, PermissionError)
        return _ended(screen, error, f"check {found.store.path}: owner, mode, free space",
                      EXIT_PERMISSION if permission else FAILED)


def _ended(screen: Screen, error: Exception, hint: str, code: int) -> int:
    screen.error(str(error), hint, code)
    return code


def _mistakes(screen: Screen, error: ConfigError) -> int:
    if screen.json:
        screen.object({"problems": [
            {"file": one.where.file, "line": one.where.line, "sentence": one.sentence,
             "hint": one.hint} for one in error.problems]})
    else:
        for one in error.problems:
            print(one, file=sys.stderr)
    return EXIT_CONFIG


def check(args: Namespace, screen: Screen) -> int:
    from pathlib import Path

    from cpctl import config

    try:
        found = config.load(Path(args.file))
    except config.ConfigError as error:
        return _mistakes(screen, error)
    if screen.json:
        screen.object({"problems": [], "notes": list(found.notes), "files": list(found.files)})
        return DONE
    for note in found.notes:
        screen.line(f"note: {note}")
    screen.line(f"{', '.join(found.files)}: good; {found.station.identity} with "
                f"{len(found.evses)} EVSE, OCPP {', '.join(found.csms.versions)}")
    return DONE


def demo(args: Namespace, screen: Screen) -> int:
    from cpctl.demo import story

    if args.csms:
        return story.run_against(args.csms, args.identity)
    return story.demonstrate(stay=args.stay)
