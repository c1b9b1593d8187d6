"""The command `cpctl`: words in, one call or a few to the daemon, an exit code out.

Only the group of the command that was given is imported, and nothing heavy at all: `run`, `config`,
`demo`, `hw scan` and `hw safe` import what they need when they run.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from cpctl.api.client import RemoteError, Unreachable
from cpctl.api.wire import DEFAULT_SOCKET, INVALID_PARAMS
from cpctl.cli.show import Screen
from cpctl.cli.talk import WaitedInVain

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would cost a tenth of the start
    from collections.abc import Iterable, Sequence
    from typing import Any, NoReturn

DONE, FAILED, USAGE, UNREACHABLE, NOT_PERMITTED, NOT_FOUND, REFUSED, TIMED_OUT, PROBLEMS = range(9)
INTERRUPTED = 130

#: command -> (module with `add(parser)`, what it does)
COMMANDS: dict[str, tuple[str, str]] = {
    "status": ("station", "the whole picture (also what cpctl alone shows)"),
    "watch": ("station", "the picture again whenever it changes"),
    "why": ("station", "why an EVSE is not charging, or what limits it"),
    "limits": ("station", "each claim on the current, the least one marked"),
    "doctor": ("station", "checks with finding and next step"),
    "evse": ("evse", "show, start, stop, unlock, availability, clear-fault"),
    "sessions": ("books", "past and present sessions"),
    "journal": ("books", "what waits for the central system: list, show, retry, export"),
    "settings": ("books", "settings by id or configuration key: list, get, set"),
    "auth": ("books", "tokens: how one would be decided (check), what is known (list)"),
    "certificates": ("certificates", "certificates and their expiry: list, renew"),
    "ocpp": ("line", "the link: tail, disconnect, connect, data-transfer"),
    "sim": ("bench", "the hands of the simulated board: plug, tap, fault and others"),
    "hw": ("bench", "devices: list, meter, reader, pilot, bus, scan, contactor-test; "
           "safe drives outputs off"),
    "support": ("support", "bundle: an archive for whoever helps, without secrets"),
    "firmware": ("firmware", "the release that runs, those there are, how an update stands"),
    "run": ("daemon", "the daemon (systemd starts it)"),
    "config": ("daemon", "check the configuration file"),
    "demo": ("daemon", "charge a simulated car against an embedded central system"),
    "completion": ("completion", "a script for bash, zsh or fish"),
}

EXIT_CODES = """exit codes:
  0 done                 4 not permitted         7 timed out
  1 failed or refused    5 not found             8 a check found problems
  2 usage                6 refused by the EVSE's state or an interlock
  3 daemon not reachable
  cpctl run: 78 configuration, 77 permission, 69 hardware not available"""


class Formatter(argparse.RawDescriptionHelpFormatter):
    """argparse makes one with each argument; only help needs to know how wide the terminal is,
    and finding out imports shutil."""

    def __init__(self, prog: str):
        asked = {"-h", "--help"} & set(sys.argv)
        super().__init__(prog, width=None if asked else 78)


class Parser(argparse.ArgumentParser):
    """Says what is wrong and where to read on."""

    def __init__(self, **more: Any):
        super().__init__(formatter_class=Formatter, **more)

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}\n  {self.prog} --help tells more", file=sys.stderr)
        raise SystemExit(USAGE)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """A verb that is none: name the nearest."""
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            print(f"{self.prog}: there is no {self.prog} {value}\n  "
                  + _nearest(value, action.choices, f"{self.prog} --help"), file=sys.stderr)
            raise SystemExit(USAGE)
        super()._check_value(action, value)


def count(text: str) -> int:
    """A number of rows, for `type=`."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, not {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """A time to wait, above 0 and at most a day, for `type=`."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= 86400:
        raise argparse.ArgumentTypeError(f"expected seconds, above 0 to 86400, not {text!r}")
    return found


def common(parser: argparse.ArgumentParser, *, top: bool) -> None:
    """Options that may stand before or after the command."""
    unset = None if top else argparse.SUPPRESS
    parser.add_argument("--json", action="store_true",
                        default=False if top else argparse.SUPPRESS,
                        help="answer as JSON, one object per line")
    parser.add_argument("--socket", metavar="PATH", default=unset,
                        help=f"socket of the daemon (default {DEFAULT_SOCKET}, "
                             "or $CPCTL_SOCKET)")
    parser.add_argument("--timeout", metavar="S", type=seconds, default=unset,
                        help="seconds to wait for the daemon (default 30)")


def build(chosen: str | None) -> Parser:
    """The parser, with the options of the `chosen` command only; None: of all of them."""
    parser = Parser(prog="cpctl", description="EV charge point controller: daemon and client.",
                    epilog=EXIT_CODES)
    common(parser, top=True)
    parser.add_argument("--version", action="store_true", help="the version of this program")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser,
                                       prog="cpctl")  # prog: deriving it imports shutil
    for name, (module, help) in COMMANDS.items():
        if chosen is None or name == chosen:
            sub = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
            importlib.import_module(f"cpctl.cli.{module}").add(name, sub)
        elif chosen == "":
            commands.add_parser(name, help=help)
    return parser


def command_in(argv: Sequence[str]) -> str:
    """The command among the words, "" when there is none."""
    skip = False
    for word in argv:
        if skip:
            skip = False
        elif word in ("--socket", "--timeout"):
            skip = True
        elif not word.startswith("-"):
            return word
    return ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    chosen = command_in(words)
    if not chosen and not {"-h", "--help", "--version"} & set(words):
        words.append("status")
        chosen = "status"
    if chosen not in COMMANDS:
        if chosen:
            return _unknown(chosen)
        chosen = ""
    args = build(chosen).parse_args(words)
    if args.version:
        return _version()
    screen = Screen(json=args.json)
    try:
        code: int = args.run(args, screen)
        sys.stdout.flush()
        return code
    except RemoteError as problem:
        screen.error(str(problem), problem.hint, problem.code)
        return exit_code(problem.code)
    except Unreachable as problem:
        code = NOT_PERMITTED if problem.permission else UNREACHABLE
        screen.error(str(problem), problem.hint, code)
        return code
    except TimeoutError as problem:
        screen.error(*_in_vain(problem), TIMED_OUT)
        return TIMED_OUT
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # head, less: they have seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE


def exit_code(code: int) -> int:
    """The exit code for an error of the API."""
    if code == INVALID_PARAMS:
        return USAGE
    return code if FAILED <= code <= PROBLEMS else FAILED


def _in_vain(problem: TimeoutError) -> tuple[str, str]:
    """Sentence and next step: the daemon is silent, or what was waited for did not come."""
    if isinstance(problem, WaitedInVain):
        return str(problem), problem.hint
    return "timed out", ("the daemon did not answer in time: it hangs, or waits for its "
                         "configuration to be mended; see systemctl status cpctl")


def _unknown(word: str) -> int:
    hint = _nearest(word, COMMANDS, "cpctl --help")
    print(f"cpctl: there is no command {word}\n  {hint}", file=sys.stderr)
    return USAGE


def _nearest(word: str, known: Iterable[str], help: str) -> str:
    import difflib  # only a mistake pays for this

    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}?" if near else f"{help} lists the commands"


def _version() -> int:
    from cpctl.version import VERSION

    print(f"cpctl {VERSION}")
    return DONE
