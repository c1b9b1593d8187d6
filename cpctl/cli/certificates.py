"""`cpctl certificates list | renew`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from cpctl.cli.main import DONE, common
from cpctl.cli.show import Screen, moment
from cpctl.cli.talk import call, done

_USES = {"CentralSystemRootCertificate": "central system root",
         "ManufacturerRootCertificate": "manufacturer root",
         "ChargePointCertificate": "station's own"}


def add(name: str, parser: ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    _verb(verbs, "list", "what is installed, for what, until when", listed)
    _verb(verbs, "renew", "ask the central system for a new certificate of the station", renew)


def _verb(verbs: Any, word: str, help: str, run: Any) -> None:
    one: ArgumentParser = verbs.add_parser(word, help=help, description=help)
    common(one, top=False)
    one.set_defaults(run=run)


def listed(args: Namespace, screen: Screen) -> int:
    answer = call(args, "certificates.list")
    if screen.json:
        screen.object(answer)
        return DONE
    screen.table(("USE", "SUBJECT", "UNTIL", "STATE", "IN USE", "SHA-256"), [
        (_use(one["use"]), one["subject"][:48] or "-", moment(one["not_after"])[:10],
         one["state"] + (", fallback" if one["fallback"] else ""),
         "yes" if one["in_use"] else "no", one["fingerprint"][:16] or "-")
        for one in answer["certificates"]])
    for one in answer["files"]:
        screen.line(f"{_use(one['use'])}: used from {one['path']}")
    for one in answer["requests"]:
        screen.line(f"a certificate is awaited since {moment(one['made'])}")
    if answer["renewal"] is not None:
        screen.line(f"renewal: tried {answer['renewal']['tries']} times, again"
                    f" {moment(answer['renewal']['next'])}")
    return DONE


def _use(word: str) -> str:
    return _USES.get(word, word)


def renew(args: Namespace, screen: Screen) -> int:
    answer = call(args, "certificates.renew")
    return done(args, screen, answer,
                "a new certificate is asked for; cpctl certificates list shows it when it comes")
