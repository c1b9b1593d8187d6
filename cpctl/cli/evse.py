"""`cpctl evse show | start | stop | unlock | availability | clear-fault`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from cpctl.cli.main import DONE, common, seconds
from cpctl.cli.show import Screen, pairs
from cpctl.cli.talk import call, done, evse_in, wait


def add(name: str, parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

    def verb(word: str, help: str) -> ArgumentParser:
        one: ArgumentParser = verbs.add_parser(word, help=help, description=help)
        common(one, top=False)
        one.add_argument("evse", type=int, help="number of the EVSE")
        one.set_defaults(run=globals()[word.replace("-", "_")])
        return one

    verb("show", "everything about one EVSE")
    one = verb("start", "start charging with a token, by the rules of a card")
    one.add_argument("token", help="the token, as a reader would tell it")
    _waits(one, "until the car charges")
    one = verb("stop", "stop charging")
    one.add_argument("token", nargs="?", help="the token to stop with, by the rules of a card")
    _waits(one, "until the transaction has ended")
    one = verb("unlock", "unlock the plug, ending what goes on")
    one.add_argument("--connector", type=int, metavar="N", help="which one (default 1)")
    one = verb("availability", "take into or out of service, now or when idle; 0 is the station")
    one.add_argument("state", choices=("operative", "inoperative"))
    one.add_argument("--connector", type=int, metavar="N", help="one connector only")
    one = verb("clear-fault", "declare a latched fault mended; needs the EVSE out of service")
    one.add_argument("code", nargs="?", help="which one (default: all latched ones)")


def _waits(parser: ArgumentParser, what: str) -> None:
    parser.add_argument("--wait", type=seconds, metavar="S", nargs="?", const=60.0,
                        help=f"wait {what}, S seconds at most (60)")


def show(args: Namespace, screen: Screen) -> int:
    answer = call(args, "evse.show", evse=args.evse)
    if screen.json:
        screen.object(answer)
    else:
        pairs(screen, answer)
    return DONE


def start(args: Namespace, screen: Screen) -> int:
    answer = call(args, "evse.start", evse=args.evse, token=args.token)
    if args.wait is not None:
        wait(args, screen, "for power (cpctl why tells what is missing)", f"cpctl why {args.evse}",
             lambda picture: evse_in(picture, args.evse)["power"] == "on", args.wait)
    return done(args, screen, answer, f"EVSE {args.evse}: start {answer['outcome']}")


def stop(args: Namespace, screen: Screen) -> int:
    answer = call(args, "evse.stop", evse=args.evse, token=args.token)
    if args.wait is not None:
        wait(args, screen, "for the end of the transaction", f"cpctl evse show {args.evse}",
             lambda picture: not evse_in(picture, args.evse)["transaction"], args.wait)
    return done(args, screen, answer, f"EVSE {args.evse}: stop {answer['outcome']}")


def unlock(args: Namespace, screen: Screen) -> int:
    answer = call(args, "evse.unlock", evse=args.evse, connector=args.connector)
    return done(args, screen, answer, f"EVSE {args.evse}: {answer['outcome']}")


def availability(args: Namespace, screen: Screen) -> int:
    answer = call(args, "evse.availability", evse=args.evse or None, connector=args.connector,
                  operative=args.state == "operative")
    place = f"EVSE {args.evse}" if args.evse else "the station"
    when = "as soon as it is idle" if answer["outcome"] == "scheduled" else "now"
    return done(args, screen, answer, f"{place}: {args.state} {when}")


def clear_fault(args: Namespace, screen: Screen) -> int:
    answer = call(args, "evse.clear_fault", evse=args.evse or None, code=args.code)
    return done(args, screen, answer, f"EVSE {args.evse}: fault cleared")
