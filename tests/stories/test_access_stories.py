"""A new password, another security profile: taken, proved, or fallen back from; secrets kept."""

import json
import logging
import stat
from base64 import b64decode
from pathlib import Path

import pytest
from support import virtual_loop
from support.pki import self_signed, server_context
from support.tls_world import OTHER_PASSWORD, PASSWORD, Secured, root, run, secured
from support.world import CARD, world

WITH_A_DOOR = """
pilot = { driver = "sim" }
contactor = { driver = "sim" }
meter = { driver = "sim" }
inputs = { door = { driver = "sim" } }
"""
OLD, NEW = bytes.fromhex(PASSWORD), bytes.fromhex(OTHER_PASSWORD)


def takes(station: Secured, *passwords: bytes) -> None:
    """The central system lets in who tells one of these."""
    def check(headers: dict[str, str]) -> int | None:
        told = b64decode(headers.get("authorization", "").removeprefix("Basic "))
        return None if told.partition(b":")[2] in passwords else 401

    station.world.network.check = check


def tried(station: Secured) -> list[bytes]:
    return [b64decode(one["authorization"].removeprefix("Basic ")).partition(b":")[2]
            for one in station.world.network.openings if "authorization" in one]


async def change(station: Secured, key: str, value: str) -> str:
    answer = await station.world.central.call("ChangeConfiguration", {"key": key, "value": value})
    return str(answer["status"])


async def read(station: Secured, key: str) -> dict:
    answer = await station.world.central.call("GetConfiguration", {"key": [key]})
    return answer["configurationKey"][0]


@pytest.mark.requirement("16.SEC.3", "key:AuthorizationKey")
def test_what_is_under_way_is_kept_while_the_password_changes():
    async def story():
        async with secured(profile=1, plain=True) as station:
            await station.back()
            await station.world.charge(130)
            assert await change(station, "AuthorizationKey", OTHER_PASSWORD) == "Accepted"
            takes(station, NEW)
            await station.world.advance(120)
            await station.world.tap(CARD)
            await station.world.unplug()
            await station.world.delivered()

            assert tried(station)[-1] == NEW
            assert len(station.world.transactions) == 1
            await station.world.assert_books_agree()

    run(story)


@pytest.mark.requirement("16.SEC.4", "key:AuthorizationKey")
def test_a_new_password_that_is_refused_is_tried_three_times_then_the_old_one():
    async def story():
        async with secured(profile=1, plain=True) as station:
            await station.back()
            takes(station, OLD)
            await change(station, "AuthorizationKey", OTHER_PASSWORD)
            await station.world.advance(1)
            await station.back()

            assert tried(station)[1:] == [NEW, NEW, NEW, OLD]
            station.world.network.cut()
            await station.world.advance(1)
            await station.back()
            assert tried(station)[-1] == OLD

            takes(station, NEW)  # it had been written down there after all
            station.world.network.cut()
            await station.world.advance(1)
            await station.back()
            assert tried(station)[-1] == NEW

    run(story)


@pytest.mark.requirement("16.SEC.4")
def test_a_power_cut_while_the_new_password_is_refused_loses_neither():
    async def story():
        async with secured(profile=1, plain=True) as station:
            await station.back()
            takes(station, OLD)
            await change(station, "AuthorizationKey", OTHER_PASSWORD)
            await station.world.advance(5)
            await station.world.power_cut()
            await station.back()

            assert tried(station)[-4:] == [NEW, NEW, NEW, OLD]

    run(story)


@pytest.mark.requirement("16.SEC.4")
def test_once_the_new_password_was_taken_the_old_one_is_never_told_again():
    async def story():
        async with secured(profile=1, plain=True) as station:
            await station.back()
            await change(station, "AuthorizationKey", OTHER_PASSWORD)
            await station.world.advance(10)
            takes(station, OLD)
            station.world.network.cut()
            await station.world.advance(1800)

            assert set(tried(station)[1:]) == {NEW}

    run(story)


@pytest.mark.requirement("16.SEC.5", "key:SecurityProfile")
@pytest.mark.parametrize("flaw", ["no TLS there", "a bad certificate", "nobody there"])
def test_a_profile_that_does_not_lead_there_is_fallen_back_from(flaw):
    async def story():
        async with secured(profile=1, plain=True) as station:
            await station.back()
            assert await change(station, "SecurityProfile", "2") == "Accepted"
            await station.world.until(lambda: not station.online, 5)
            if flaw == "a bad certificate":
                await station.mend(self_signed())
            elif flaw == "nobody there":
                station.world.network.up = False
            await station.world.advance(45)
            assert not station.online
            if flaw == "a bad certificate":
                await station.without_tls()
            station.world.network.up = True
            await station.back()

            assert (await read(station, "SecurityProfile"))["value"] == "1"
            texts = [text for kind, text in await station.log()
                     if kind == "ReconfigurationOfSecurityParameters"]
            assert texts == ["SecurityProfile 1 changed to 2",
                             "SecurityProfile back to 1: no connection under 2"]

    run(story)


@pytest.mark.requirement("16.SEC.5", "key:SecurityProfile")
def test_a_profile_that_leads_there_is_never_fallen_back_from():
    async def story():
        async with secured(profile=1, plain=True) as station:
            await station.back()
            await change(station, "SecurityProfile", "2")
            await station.world.until(lambda: not station.online, 5)
            await station.mend()
            await station.back()
            await station.without_tls()
            await station.world.advance(1800)

            assert not station.online
            assert station.world.app.loop.settings.integer("link.security_profile") == 2

    run(story)


@pytest.mark.requirement("16.SEC.5", "key:SecurityProfile")
def test_all_the_way_up_from_no_security_to_certificates():
    async def story():
        async with secured(profile=0, plain=True, client=root().client()) as station:
            await station.back()
            assert await change(station, "SecurityProfile", "1") == "Accepted"
            await station.world.advance(10)
            assert tried(station)[-1:] == [OLD]
            assert await change(station, "SecurityProfile", "3") == "Accepted"
            await station.world.until(lambda: not station.online, 5)
            await station.mend(context=server_context(root().server(), client_ca=root()))
            await station.back()

            (connection,) = station.world.network._connections
            assert connection.transport.get_extra_info("peercert")
            assert (await read(station, "SecurityProfile"))["value"] == "3"

    run(story)


@pytest.mark.requirement("16.SEC.5", "key:SecurityProfile", "ChangeConfiguration.conf:Rejected")
def test_without_what_it_needs_a_profile_is_refused():
    async def story():
        async with world() as w:
            for profile in ("1", "2", "3"):
                answer = await w.central.call("ChangeConfiguration", {
                    "key": "SecurityProfile", "value": profile})
                assert answer == {"status": "Rejected"}

    virtual_loop.run(story())


@pytest.mark.requirement("16.SEC.3", "16.CONF.1", "key:AuthorizationKey")
def test_a_password_is_nowhere_to_be_read(caplog):
    caplog.set_level(logging.DEBUG)

    async def story():
        async with secured(profile=1, plain=True) as station:
            await station.back()
            await change(station, "AuthorizationKey", OTHER_PASSWORD)
            await station.world.advance(10)
            app = station.world.app
            everything = await station.world.central.call("GetConfiguration")
            listed = {one["key"]: one for one in everything["configurationKey"]}
            assert "value" not in listed["AuthorizationKey"]

            answers = await local_answers(app)
            told = json.dumps([everything, answers], default=str)
            journal = "".join(await app.journal.export(0, 10_000))
            frames = repr(app.tap.recent())
            for secret in (PASSWORD, OTHER_PASSWORD):
                for text in (told, journal, frames, caplog.text, repr(app.config)):
                    assert secret.lower() not in text.lower()

            folder = Path(app.config.store.path)
            for file in folder.glob("*.db*"):
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file

    run(story)


async def local_answers(app) -> list:
    """What a technician reads at the local socket."""
    from cpctl.api.methods import Methods
    from cpctl.api.server import Caller, Peer

    methods, caller = Methods(app), Caller(Peer(1, 0, 0), None)
    asked = [("settings.list", {}), ("settings.get", {"name": "AuthorizationKey"}),
             ("settings.get", {"name": "link.password"}), ("journal.list", {}),
             ("settings.set", {"name": "AuthorizationKey", "value": PASSWORD}), ("status", {})]
    return [await methods.call(name, params, caller) for name, params in asked]


@pytest.mark.requirement("16.SEC.16", "16.SEC.22", "SecurityEventNotification.req")
def test_events_wait_while_offline_over_a_power_cut_and_keep_their_order():
    async def story():
        async with world(evse_more=WITH_A_DOOR) as w:
            await w.delivered()
            w.network.down()
            w.board.fault("door", 1)
            await w.advance(60)
            await w.power_cut()
            await w.advance(60)
            before = len(w.calls("SecurityEventNotification"))
            w.network.up = True
            await w.delivered()

            told = [one["type"] for one in w.calls("SecurityEventNotification")[before:]]
            assert told == ["TamperDetectionActivated", "StartupOfTheDevice"]

    virtual_loop.run(story())


@pytest.mark.requirement("16.SEC.22", "SecurityEventNotification.req:ResetOrReboot")
def test_a_reset_is_told_as_one():
    async def story():
        async with world() as w:
            await w.delivered()
            await w.central.call("Reset", {"type": "Soft"})
            await w.until(w._task.done, 60)
            w._task = None
            await w.start()
            await w.delivered()

            told = [(one["type"], one.get("techInfo"))
                    for one in w.calls("SecurityEventNotification")]
            assert told[-2:] == [("StartupOfTheDevice", "planned"), ("ResetOrReboot", "SoftReset")]

    virtual_loop.run(story())


@pytest.mark.requirement("16.SEC.16", "SecurityEventNotification.req")
@pytest.mark.parametrize("code", ["NotImplemented", "NotSupported", "InternalError"])
def test_a_central_system_without_the_extension_is_told_each_event_once(code):
    from cpctl.demo.csms import Refuse

    async def story():
        async with world(start=False) as w:
            w.central.behave("SecurityEventNotification", Refuse(code), for_ever=True)
            await w.start()
            await w.advance(600)
            await w.charge(60)
            await w.tap(CARD)
            await w.unplug()
            await w.delivered(60)

            assert len(w.calls("SecurityEventNotification")) == 1
            assert len(w.transactions) == 1
            assert w.app.loop.picture.faults == ()

    virtual_loop.run(story())
