"""`doctor`: a few honest checks, each with its finding and the next step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cpctl.api.app import App
from cpctl.api.buses import bus_checks
from cpctl.api.certificates import certificate_checks
from cpctl.api.pictures import fault
from cpctl.core.values import Registration

OLD_S = 3600.0

Check = dict[str, Any]


def check(name: str, good: bool, finding: str, next_step: str = "") -> Check:
    return {"check": name, "good": good, "finding": finding, "next": "" if good else next_step}


def checks(app: App) -> list[Check]:
    return [*_link(app), *_books(app), *_devices(app), *_buses(app), *_faults(app),
            *_second_ways(app), *_contacts(app), *_pilots(app),
            *_configuration(app), *certificate_checks(app)]


def _link(app: App) -> Iterator[Check]:
    picture = app.loop.picture
    yield check("central system", picture.online, *_connection(app, online=picture.online))
    accepted = picture.registration is Registration.ACCEPTED
    yield check("registration", accepted, picture.registration.value,
                "the central system must know the identity "
                f"{app.config.station.identity} and accept it" if picture.online else
                "it comes with the connection")
    now = app.now()
    yield check("clock", now.quality.trusted, f"from {now.quality.value}" if now.quality.trusted
                else "not set; it goes on from the last time that is known",
                "connect to the central system or set up NTP")


def _connection(app: App, *, online: bool) -> tuple[str, str]:
    """Finding and next step; how the last try to connect went, where one did not."""
    state = app.link.state
    if online:
        return "connected", ""
    if state.held:
        return "held down by a technician", "cpctl ocpp connect"
    finding, _, step = state.detail.partition("; ")
    told = f"not connected: {finding}" if finding != "not connected yet" else finding
    return told, step or "check csms.url, the network and cpctl ocpp tail"


def _books(app: App) -> Iterator[Check]:
    waiting = app.journal.waiting()
    now = app.now()
    old = waiting.oldest is not None and (now.utc - waiting.oldest.utc).total_seconds() > OLD_S
    yield check("journal", not old, f"{waiting.count} waiting",
                "something has waited for an hour: cpctl journal list")
    yield check("told", not waiting.abandoned, f"{waiting.abandoned} given up",
                "cpctl journal list --state abandoned, then cpctl journal retry")


def _devices(app: App) -> Iterator[Check]:
    for one in app.devices.health():
        word, detail = one.health.health.value, one.health.detail
        yield check(one.name, word == "ok", detail or word.replace("_", " "),
                    "check its supply, wiring and configuration (cpctl hw list)")


def _second_ways(app: App) -> Iterator[Check]:
    """Contactors that stay as they are when this process ends need a second way to off."""
    for evse, one in app.devices.fitted.contactors.items():
        weakness = one.weakness(one.options)
        if weakness:
            fitted = app.config.heartbeat is not None
            yield check(f"second way to off {evse}", fitted,
                        "the hold-in relay on the heartbeat" if fitted else weakness,
                        "put a contactor driven by this machine in series, or fit [heartbeat]")


def _pilots(app: App) -> Iterator[Check]:
    """Pilots that must not meet cars in the field."""
    for evse, one in app.devices.fitted.pilots.items():
        unfit = one.unfit(one.options)
        if unfit:
            yield check(f"pilot board {evse}", False, unfit,
                        "on the bench nothing; for cars in the field fit a pilot board")
    for one in app.config.evses:
        if one.pilot.simulated and not one.contactor.simulated:
            yield check(f"pilot {one.id}", False, "simulated, beside a real contactor: whoever "
                        "may act here closes it by a command",
                        "on the bench nothing; for cars in the field fit a pilot board")


def _contacts(app: App) -> Iterator[Check]:
    """Said and no more: an auxiliary contact may be left out."""
    for evse in app.config.layout().evses:
        if not evse.has_feedback:
            yield check(f"auxiliary contact {evse.id}", True,
                        "none: a welded contactor shows at the meter alone", "")


def _buses(app: App) -> Iterator[Check]:
    for name, good, finding, step in bus_checks(app):
        yield check(name, good, finding, step)


def _faults(app: App) -> Iterator[Check]:
    picture = app.loop.picture
    places = [("station", picture.faults), *((f"EVSE {one.evse}", one.faults)
                                             for one in picture.evses)]
    for place, faults in places:
        for one in faults:
            row = fault(one)
            yield check(f"{place} {one.code.value.lower()}", False, row["sentence"], row["remedy"])


def _configuration(app: App) -> Iterator[Check]:
    csms, url = app.config.csms, app.link.state.url
    local = url.startswith(("ws://localhost", "ws://127.", "ws://[::1]"))
    yield check("encryption", local or url.startswith("wss:"),
                "not needed on this machine" if local else url.partition("://")[0],
                "use wss:// with security_profile = 2, unless the network is private")
    if url.startswith("wss:"):
        yield check("host name", csms.check_hostname, "checked" if csms.check_hostname else
                    "not checked", "check_hostname = false is for the bench")
