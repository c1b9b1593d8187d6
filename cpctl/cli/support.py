"""`cpctl support bundle`: an archive for whoever helps, without secrets."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from cpctl.cli.main import DONE, FAILED, common
from cpctl.cli.show import Screen
from cpctl.cli.talk import connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpctl.api.client import Client

MAKE_S = 300.0  # a small station needs its time


def add(name: str, parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    help = "make an archive of log, journal, configuration and state, without secrets"
    one = verbs.add_parser("bundle", help=help, description=help)
    common(one, top=False)
    one.add_argument("-o", "--output", metavar="FILE",
                     help="where to write it (default: its own name, here)")
    one.add_argument("--since", metavar="TIME", help="log and journal from this time on, as "
                                                     "2026-05-01T08:00:00Z")
    one.add_argument("--until", metavar="TIME", help="log and journal up to this time")
    one.set_defaults(run=bundle)


def bundle(args: Namespace, screen: Screen) -> int:
    if args.timeout is None:
        args.timeout = MAKE_S
    with connect(args) as client:
        screen.progress("collecting ...")
        try:
            made = client.call("support.bundle", since=args.since, until=args.until)
            path = args.output or os.path.basename(made["bundle"])
            try:
                size = _fetched(client, screen, made["bundle"], made["bytes"], path)
            except OSError as problem:
                screen.progress_done()
                screen.error(f"{path} cannot be written: {problem.strerror}",
                             "name another file with -o", FAILED)
                return FAILED
        finally:
            screen.progress_done()
    if screen.json:
        screen.object({"file": path, "bytes": size})
    else:
        screen.line(f"{path}: {size} bytes; without secrets, and yet look through it before you "
                    "give it away")
    return DONE


def _fetched(client: Client, screen: Screen, name: str, size: int, path: str) -> int:
    """Write the bundle to `path`, for the owner only; what is there already is replaced."""
    from base64 import b64decode

    done = 0
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(number, "wb") as file:
        more = True
        while more:
            answer = client.call("support.bundle", bundle=name, offset=done)
            done += file.write(b64decode(answer["piece"]))
            more = answer["more"]
            screen.progress(f"{done} of {size} bytes")
    return done
