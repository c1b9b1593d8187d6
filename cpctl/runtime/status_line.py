"""The station in one line, for `systemctl status cpctl`: link, EVSEs, faults. Told when it changes.

Words for statuses come from outside; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cpctl.core.views import StationPicture
from cpctl.runtime.supervisor import Notifier

MOST = 300  # characters

#: (EVSE, its status in a word) of each EVSE.
Words = Callable[[StationPicture], Iterable[tuple[int, str]]]


class StatusLine:
    """`look` follows the pictures of the loop."""

    def __init__(self, notifier: Notifier, words: Words):
        self._notifier = notifier
        self._words = words
        self._told = ""

    def look(self, picture: StationPicture) -> None:
        text = status_text(picture, self._words(picture))
        if text != self._told:
            self._told = text
            self._notifier.say(f"STATUS={text}")


def status_text(picture: StationPicture, words: Iterable[tuple[int, str]]) -> str:
    """As "online, Accepted; EVSE 1 Charging, 2 Available; faults: RCD_TRIPPED (2)"."""
    registration = picture.registration.value.replace("none", "not registered")
    link = f"{'online' if picture.online else 'offline'}, {registration}"
    evses = ", ".join(f"{number} {word}" for number, word in words)
    faults = [one.code.value for one in picture.faults]
    faults += [f"{one.code.value} ({evse.evse})" for evse in picture.evses for one in evse.faults]
    text = f"{link}; EVSE {evses}"
    if faults:
        text += f"; faults: {', '.join(faults)}"
    return text if len(text) <= MOST else text[:MOST - 1] + "…"
