"""`python -m bench`: every figure beside its goal, in one table. `python -m bench card` only some.

Missed goals are shown as missed; the exit code is 0 all the same, and 1 when a figure could not be
measured (the row says why). Times are of this machine at this moment and mean something only beside
what was measured with them; instruction counts are steady.
"""

import sys
import time
from collections.abc import Callable

from bench.card import card
from bench.release import release
from bench.replay import replay
from bench.rig import CannotMeasure
from bench.start import rest, start
from bench.table import Row, show
from bench.wear import wear

MEASUREMENTS: dict[str, tuple[str, Callable[[], list[Row]]]] = {
    "start": ("start to BootNotification", start),
    "rest": ("memory, wake-ups, cpctl status", rest),
    "card": ("card to Authorize and StartTransaction", card),
    "release": ("pilot leaves C to coil released", release),
    "replay": ("replay of queued messages", replay),
    "wear": ("fsyncs per charging hour", wear),
}


def main(chosen: list[str]) -> int:
    unknown = [name for name in chosen if name not in MEASUREMENTS]
    if unknown:
        print(f"no measurement {unknown[0]!r}; there are: {', '.join(MEASUREMENTS)}")
        return 2
    rows: list[Row] = []
    for name in chosen or MEASUREMENTS:
        title, measure = MEASUREMENTS[name]
        began = time.monotonic()
        print(f"{title} …", end=" ", file=sys.stderr, flush=True)
        try:
            rows += measure()
        except CannotMeasure as why:
            rows.append(Row(title, str(why), "", None))
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    print(show(rows))
    return 1 if any(one.met is None for one in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
