"""Talking to the daemon: where its socket is, one call, waiting for the picture to change."""

from __future__ import annotations

import os
import time
from argparse import Namespace

from cpctl.api.client import DEFAULT_TIMEOUT_S, Client
from cpctl.api.wire import DEFAULT_SOCKET
from cpctl.cli.show import Screen

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself would cost a tenth of the start
    from collections.abc import Callable
    from typing import Any

    Picture = dict[str, Any]


def connect(args: Namespace) -> Client:
    """A connection to the daemon. Raises Unreachable."""
    path = args.socket or os.environ.get("CPCTL_SOCKET") or DEFAULT_SOCKET
    return Client(path, DEFAULT_TIMEOUT_S if args.timeout is None else args.timeout)


def call(args: Namespace, method: str, **params: Any) -> dict[str, Any]:
    with connect(args) as client:
        return client.call(method, **params)


class WaitedInVain(TimeoutError):
    """The daemon answers, and what was waited for did not come. `hint`: the next step."""

    def __init__(self, message: str, hint: str):
        super().__init__(message)
        self.hint = hint


def wait(args: Namespace, screen: Screen, what: str, hint: str,
         until: Callable[[Picture], bool], limit_s: float) -> Picture:
    """Watch the picture until `until` holds. Raises WaitedInVain after `limit_s`."""
    ends = time.monotonic() + limit_s
    with connect(args) as client:
        picture = client.call("watch")
        try:
            while not until(picture):
                left_s = ends - time.monotonic()
                if left_s <= 0:
                    raise WaitedInVain(f"waited {limit_s:g} s {what}, in vain", hint)
                screen.progress(f"waiting {what} ... {left_s:.0f} s left")
                try:
                    picture = next(client.notifications(min(1.0, left_s)))
                except TimeoutError:
                    continue
        finally:
            screen.progress_done()
    return picture


def evse_in(picture: Picture, number: int) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in picture["evses"] if one["id"] == number)
    return found


def done(args: Namespace, screen: Screen, answer: dict[str, Any], sentence: str) -> int:
    """Tell what was done. Returns exit code 0."""
    if screen.json:
        screen.object(answer)
    else:
        screen.line(sentence)
        if answer.get("hint"):
            screen.line(f"  {answer['hint']}")
    return 0
