"""`cpctl firmware`: the release that runs, those there are, and how the last update stands."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from cpctl.cli.main import DONE, common
from cpctl.cli.show import Screen, word
from cpctl.cli.talk import call

STATES = {"trial": "on trial: it has not reached the central system yet",
          "good": "installed", "failing": "given up", "failed": "given up"}
STEPS = {"scheduled": "until its date", "fetching": "being fetched",
         "ready": "until the date of installation", "waiting": "until no transaction runs",
         "installing": "being written", "restarting": "the next start is the new release",
         "on_trial": "until the central system is reached"}


def add(name: str, parser: ArgumentParser) -> None:
    common(parser, top=False)
    parser.set_defaults(run=show)


def show(args: Namespace, screen: Screen) -> int:
    found = call(args, "firmware")
    if screen.json:
        screen.object(found)
        return DONE
    slot = f"slot {found['slot']}" if found["slot"] else "no slot: updates are not taken here"
    if found["slot"] and not found.get("launched", True):
        slot += ", started past its launcher: updates are not taken"
    screen.line(f"running   {screen.paint(found['version'], 'bold')} ({slot})")
    screen.line(f"releases  {', '.join(found['releases']) or 'none'} in {found['folder']}, "
                f"current {word(found['current'])}")
    last, update = found["last"], found["update"]
    if last is not None:
        why = f": {last['reason']}" if last["reason"] else ""
        screen.line(f"last      {last['version']} {STATES.get(last['state'], last['state'])}{why}; "
                    f"before it {word(last['previous'])}")
    if update is not None:
        number = "" if update["job"] is None else f" {update['job']}"
        step = STEPS.get(update["step"], update["step"].replace("_", " "))
        screen.line(f"{f'update{number}':<8}  {update['status']} ({step})")
    return DONE
