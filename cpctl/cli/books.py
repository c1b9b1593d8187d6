"""`cpctl sessions`, `journal`, `settings`, `auth`: what is written down."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from cpctl.cli.main import DONE, common, count
from cpctl.cli.show import Screen, energy, moment, pairs, word
from cpctl.cli.talk import call, connect, done


def add(name: str, parser: ArgumentParser) -> None:
    {"sessions": _sessions, "journal": _journal, "settings": _settings, "auth": _auth}[name](parser)


def _verb(verbs: Any, word: str, help: str, run: Any) -> ArgumentParser:
    one: ArgumentParser = verbs.add_parser(word, help=help, description=help)
    common(one, top=False)
    one.set_defaults(run=run)
    return one


def _sessions(parser: ArgumentParser) -> None:
    common(parser, top=False)
    parser.add_argument("no", type=int, nargs="?", help="number of a session: everything about it")
    parser.add_argument("--limit", type=count, metavar="N", help="the newest N (50)")
    parser.add_argument("--before", type=int, metavar="NO", help="older than session NO")
    parser.set_defaults(run=sessions)


def _journal(parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    one = _verb(verbs, "list", "what waits, what was delivered, what was given up", journal_list)
    one.add_argument("--state", choices=("waiting", "delivered", "abandoned"))
    one.add_argument("--limit", type=count, metavar="N", help="the newest N (50)")
    one = _verb(verbs, "show", "one entry, with its attempts and why it was given up",
                journal_show)
    one.add_argument("no", type=int, help="number of the entry")
    one = _verb(verbs, "retry", "let an entry that was given up wait again", journal_retry)
    one.add_argument("no", type=int, help="number of the entry")
    _verb(verbs, "export", "the whole journal as JSON lines", journal_export)


def _settings(parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _verb(verbs, "list", "all settings, with their configuration keys", settings_list)
    one = _verb(verbs, "get", "one setting", settings_get)
    one.add_argument("name", help="id or configuration key, in any case")
    one = _verb(verbs, "set", "change a setting, as the central system would", settings_set)
    one.add_argument("name", help="id or configuration key, in any case")
    one.add_argument("value", help="the new value as text")


def _auth(parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    one = _verb(verbs, "check", "how a token would be decided now, and why", auth_check)
    one.add_argument("token", help="the token, as a reader would tell it")
    _verb(verbs, "list", "tokens that are known here", auth_list)


def _told(screen: Screen, answer: dict[str, Any]) -> bool:
    if screen.json:
        screen.object(answer)
    return screen.json


def sessions(args: Namespace, screen: Screen) -> int:
    if args.no is not None:
        answer = call(args, "sessions.show", no=args.no)
        if not _told(screen, answer):
            pairs(screen, answer["session"])
        return DONE
    answer = call(args, "sessions.list", limit=args.limit, before=args.before)
    if not _told(screen, answer):
        screen.table(("NO", "EVSE", "TOKEN", "STARTED", "ENDED", "ENERGY", "REASON", "DELIVERY"), [
            (str(one["no"]), word(one["evse"]), word(one["token"]), moment(one["started"]),
             moment(one["ended"]), energy(one["energy_wh"] if one["started"] else None),
             word(one["stop_reason"]), word(one["delivery"] if one["started"] else None))
            for one in answer["sessions"]])
    return DONE


def journal_list(args: Namespace, screen: Screen) -> int:
    answer = call(args, "journal.list", state=args.state, limit=args.limit)
    if _told(screen, answer):
        return DONE
    oldest = f", the oldest of {moment(answer['oldest'])}" if answer["oldest"] else ""
    screen.line(f"{answer['waiting']} waiting{oldest}")
    screen.table(("NO", "WHAT", "SESSION", "AT", "STATE", "ATTEMPTS", "REASON"), [
        (str(one["no"]), one["kind"], word(one["session"]), moment(one["at"]),
         one["state"] if one["lane"] else "ours", str(one["attempts"]), word(one["reason"]))
        for one in answer["entries"]])
    return DONE


def journal_show(args: Namespace, screen: Screen) -> int:
    answer = call(args, "journal.show", no=args.no)
    if not _told(screen, answer):
        pairs(screen, answer["entry"])
    return DONE


def journal_retry(args: Namespace, screen: Screen) -> int:
    answer = call(args, "journal.retry", no=args.no)
    return done(args, screen, answer, f"entry {args.no} waits for the central system again")


def journal_export(args: Namespace, screen: Screen) -> int:
    """JSON lines in any case: this is for programs and for support."""
    import json

    after, more = 0, True
    with connect(args) as client:
        while more:
            answer = client.call("journal.export", after=after)
            for line in answer["lines"]:
                screen.line(line)
            more = answer["more"]
            after = json.loads(answer["lines"][-1])["no"] if more else after
    return DONE


def settings_list(args: Namespace, screen: Screen) -> int:
    answer = call(args, "settings.list")
    if not _told(screen, answer):
        screen.table(("SETTING", "KEY", "VALUE", "UNIT", "ACCESS"), [
            (one["id"], ", ".join(one["keys"]) or "-", word(one["value"])[:48],
             one["unit"] or "-", one["access"].replace("_", " ")) for one in answer["settings"]])
    return DONE


def settings_get(args: Namespace, screen: Screen) -> int:
    answer = call(args, "settings.get", name=args.name)
    if not _told(screen, answer):
        pairs(screen, answer)
    return DONE


def settings_set(args: Namespace, screen: Screen) -> int:
    answer = call(args, "settings.set", name=args.name, value=args.value)
    later = " after a restart" if answer["outcome"] == "reboot_required" else ""
    return done(args, screen, answer, f"{answer['id']} = {answer['value']}{later}")


def auth_check(args: Namespace, screen: Screen) -> int:
    answer = call(args, "auth.check", token=args.token)
    if not _told(screen, answer):
        pairs(screen, answer)
    return DONE


def auth_list(args: Namespace, screen: Screen) -> int:
    answer = call(args, "auth.list")
    if not _told(screen, answer):
        rows = [(place, one["token"], word(one["status"]), word(one.get("group")),
                 moment(one.get("expires"))) for place in ("list", "cache")
                for one in answer[place]]
        screen.table(("FROM", "TOKEN", "STATUS", "GROUP", "EXPIRES"), rows)
    return DONE
