"""`cpctl ocpp tail | disconnect | connect | data-transfer`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from cpctl.cli.main import DONE, FAILED, common, count, seconds
from cpctl.cli.show import Screen, word
from cpctl.cli.talk import call, connect, done, wait

_ARROWS = {"sent": "->", "received": "<-"}


def add(name: str, parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    one = _verb(verbs, "tail", "every frame as it passes", tail)
    one.add_argument("--last", type=count, metavar="N", help="begin with the last N frames (20)")
    one.add_argument("--once", action="store_true", help="the last frames only, then end")
    _verb(verbs, "disconnect", "hold the link down until connect", disconnect)
    one = _verb(verbs, "connect", "let the link come back", reconnect)
    one.add_argument("--wait", type=seconds, metavar="S", nargs="?", const=60.0,
                     help="wait until it is online, S seconds at most (60)")
    one = _verb(verbs, "data-transfer", "send a vendor's message and show the answer", transfer)
    one.add_argument("vendor", metavar="VENDOR", help="id of the vendor")
    one.add_argument("message", metavar="MESSAGE", nargs="?", help="id of the message")
    one.add_argument("data", metavar="DATA", nargs="?", help="text")


def _verb(verbs: Any, word: str, help: str, run: Any) -> ArgumentParser:
    one: ArgumentParser = verbs.add_parser(word, help=help, description=help)
    common(one, top=False)
    one.set_defaults(run=run)
    return one


def tail(args: Namespace, screen: Screen) -> int:
    with connect(args) as client:
        for frame in client.call("ocpp.tail", last=args.last)["frames"]:
            _frame(screen, frame)
        if args.once:
            return DONE
        for frame in client.notifications():
            _frame(screen, frame)
    return DONE


def _frame(screen: Screen, frame: dict[str, Any]) -> None:
    if screen.json:
        screen.object(frame)
        return
    latency = frame.get("latency_ms")
    after = f" {latency:.0f} ms" if latency is not None else ""
    colour = "red" if frame["outcome"] in ("error", "bad", "late", "stray") else None
    screen.line(f"{frame['at'][11:23]} {_ARROWS.get(frame['direction'], '??')} "
                f"{word(frame['action'])} {screen.paint(frame['outcome'], colour)}{after}  "
                f"{frame['text']}")


def disconnect(args: Namespace, screen: Screen) -> int:
    return done(args, screen, call(args, "ocpp.disconnect"),
                "the link is held down; cpctl ocpp connect lets it come back")


def reconnect(args: Namespace, screen: Screen) -> int:
    answer = call(args, "ocpp.connect")
    if args.wait is not None:
        wait(args, screen, "for the central system", "cpctl status",
             lambda picture: picture["link"]["state"] == "online", args.wait)
    return done(args, screen, answer, "the link may come back")


_ANSWERS = {
    "accepted": "accepted",
    "rejected": "rejected",
    "unknown": "the central system does not know the vendor",
    "unknown_message": "the central system does not know the message",
    "not_supported": "the central system knows no such calls",
}


def transfer(args: Namespace, screen: Screen) -> int:
    """Exit code 1 unless the central system accepts."""
    answer = call(args, "ocpp.data_transfer", vendor=args.vendor, message=args.message,
                  data=args.data)
    done(args, screen, answer, _ANSWERS[answer["outcome"]])
    if answer["data"] is not None and not screen.json:
        screen.line(word(answer["data"]))
    return DONE if answer["outcome"] == "accepted" else FAILED
