"""From a card at the reader to Authorize and to StartTransaction on the wire, over loopback.

The way counted is the whole one: the tap comes in over the local socket, the daemon and the central
system are processes of their own; the clock (monotonic) is the machine's.
"""

import time

from bench.rig import CannotMeasure, Central, central, fsync_ms, quantile, station
from bench.table import Row, row
from cpctl.api.client import Client

ROUNDS = 200


def card() -> list[Row]:
    with central() as csms, station(csms.url) as post:
        post.start()
        csms.do("wait", action="StatusNotification", count=1)
        client = post.client()
        authorize: list[float] = []
        start: list[float] = []
        before = fsync_ms(post.folder)
        for number in range(1, ROUNDS + 1):
            tapped = _one(client, csms, number)
            authorize.append(tapped[0])
            start.append(tapped[1])
        sync = max(before, fsync_ms(post.folder))
        client.close()
    rows: list[Row] = []
    for name, values in (("card to Authorize", authorize), ("card to StartTransaction", start)):
        rows += [
            row(f"{name}, median of {ROUNDS}", quantile(values, 0.5), 8, "ms",
                beside=f"one fsync: {sync:.2f} ms"),
            row("  the same, p99", quantile(values, 0.99), 25, "ms"),
        ]  # fmt: skip
    return rows


def _one(client: Client, csms: Central, number: int) -> tuple[float, float]:
    """Plug, tap, stop by unplugging; ms from the tap to both messages."""
    client.call("sim.plug", evse=1)
    csms.do("forget")
    tapped = time.monotonic_ns()
    client.call("sim.tap", token=f"{number:08X}")
    csms.do("wait", action="StartTransaction", count=1)
    arrivals = {action: at for at, action in reversed(csms.do("arrivals"))}
    if "Authorize" not in arrivals:
        raise CannotMeasure("the station sent no Authorize; is a cache switched on?")
    client.call("sim.unplug", evse=1)
    csms.do("wait", action="StopTransaction", count=1)
    _free(client)
    spent = [(arrivals[action] - tapped) / 1e6 for action in ("Authorize", "StartTransaction")]
    return spent[0], spent[1]


def _free(client: Client) -> None:
    """Wait until the EVSE has no session."""
    until = time.monotonic() + 20.0
    while client.call("status")["evses"][0].get("session") is not None:
        if time.monotonic() > until:
            raise CannotMeasure("a session does not end")
        time.sleep(0.01)


