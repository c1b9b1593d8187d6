"""What the system test says while it works: one line per step, with the time since it began."""

import sys
import time

BEGAN_S = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - BEGAN_S:6.1f} s] {text}", file=sys.stderr, flush=True)


class NotPossible(Exception):
    """The system test cannot run here; the text says what is missing and what would cure it."""
