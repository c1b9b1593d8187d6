"""`cpctl status | watch | why | limits | doctor`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from cpctl.cli.main import DONE, PROBLEMS, common
from cpctl.cli.show import Screen, amps, energy, moment, power, word
from cpctl.cli.talk import call, connect

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would cost a tenth of the start
    from typing import Any

# key of the picture -> the words behind its number; shown only when there is any
GIVEN_UP = (("abandoned", "given up"), ("unreadable", "unreadable"), ("shed", "samples shed"))


def add(name: str, parser: ArgumentParser) -> None:
    common(parser, top=False)
    if name in ("why", "limits"):
        parser.add_argument("evse", type=int, nargs="?", help="number of the EVSE (default all)")
    parser.set_defaults(run={"status": status, "watch": watch, "why": why, "limits": limits,
                             "doctor": doctor}[name])


def status(args: Namespace, screen: Screen) -> int:
    _picture(screen, call(args, "status"))
    return DONE


def watch(args: Namespace, screen: Screen) -> int:
    with connect(args) as client:
        picture = client.call("watch")
        told = client.notifications()
        while True:
            if not screen.json:
                screen.clear()
            _picture(screen, picture)
            picture = next(told)


def _picture(screen: Screen, picture: dict[str, Any]) -> None:
    if screen.json:
        screen.object(picture)
        return
    link, clock, journal = picture["link"], picture["clock"], picture["journal"]
    screen.line(f"{screen.paint(picture['identity'], 'bold')}  "
                f"{screen.paint(picture['station']['status'])}  cpctl {picture['version']}")
    registration = word(link.get("registration")).replace("none", "not registered")
    protocol = f" ({link['protocol']})" if link.get("protocol") else ""
    screen.line(f"link     {screen.paint(link['state'])}, {registration}, {word(link.get('url'))}"
                f"{protocol} since {moment(link.get('since'))}")
    if link["state"] == "offline" and link.get("detail"):
        screen.line(f"         {link['detail']}")
    screen.line(f"clock    {moment(clock['utc'])} ({clock['quality']})")
    oldest = f", oldest {moment(journal['oldest'])}" if journal.get("oldest") else ""
    given_up = "".join(f", {journal[key]} {words}" for key, words in GIVEN_UP if journal.get(key))
    screen.line(f"journal  {journal['waiting']} waiting{oldest}{given_up}")
    for fault in picture["station"]["faults"]:
        screen.line(_fault(screen, fault))
    screen.line()
    screen.table(("EVSE", "STATUS", "PILOT", "SESSION", "TOKEN", "POWER", "ENERGY", "OFFERED"), [
        (str(one["id"]), one["status"], word(one["pilot"]), word(one["session"]),
         word(one["token"]), power(one["power_w"]), energy(one["energy_wh"]),
         amps(one["offered_a"])) for one in picture["evses"]])
    for one in picture["evses"]:
        for fault in one["faults"]:
            screen.line(_fault(screen, fault, f"EVSE {one['id']}: "))


def _fault(screen: Screen, fault: dict[str, Any], where: str = "") -> str:
    detail = f" ({fault['detail']})" if fault["detail"] else ""
    return (f"{screen.paint('fault', 'red')}    {where}{fault['sentence']}{detail} since "
            f"{moment(fault['since'])}; {fault['remedy']}")


def why(args: Namespace, screen: Screen) -> int:
    answer = call(args, "why", evse=args.evse)
    if screen.json:
        screen.object(answer)
        return DONE
    for one in answer["evses"]:
        screen.line(f"EVSE {one['id']}: {screen.paint(one['status'])}")
        for reason in one["reasons"]:
            evidence = f" ({reason['evidence']})" if reason["evidence"] else ""
            since = f", since {moment(reason['since'])}" if reason["since"] else ""
            screen.line(f"  {reason['code']}: {reason['sentence']}{evidence}{since}")
            screen.line(f"    to change it: {reason['would_change']}")
        if not one["reasons"]:
            screen.line("  nothing stands in the way")
        _claims(screen, one["limits"])
    return DONE


def limits(args: Namespace, screen: Screen) -> int:
    answer = call(args, "limits", evse=args.evse)
    if screen.json:
        screen.object(answer)
        return DONE
    for one in answer["evses"]:
        screen.line(f"EVSE {one['id']}: {amps(one['offered_a'])} on offer")
        _claims(screen, one["claims"])
    return DONE


def _claims(screen: Screen, claims: list[dict[str, Any]]) -> None:
    for claim in claims:
        mark = screen.paint("<- leads", "yellow") if claim["leads"] else ""
        behind = f" by {claim['behind']}" if claim.get("behind") else ""
        until = f"{behind} until {moment(claim['until'])}" if claim["until"] else behind
        screen.line(f"  {claim['owner']:<10} {claim['current_a']:g} A{until}  {mark}".rstrip())


def doctor(args: Namespace, screen: Screen) -> int:
    answer = call(args, "doctor")
    bad = [one for one in answer["checks"] if not one["good"]]
    if screen.json:
        screen.object(answer)
    else:
        for one in answer["checks"]:
            mark = screen.paint("ok  ", "green") if one["good"] else screen.paint("BAD ", "red")
            screen.line(f"{mark} {one['check']}: {one['finding']}")
            if one["next"]:
                screen.line(f"     {one['next']}")
    return PROBLEMS if bad else DONE
