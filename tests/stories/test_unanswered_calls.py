"""Calls beside transactions that are answered with nonsense, late, or never: nothing waits for
them, and once the central system behaves what is owed is told.
"""

import asyncio
import gc
import warnings
from random import Random

import pytest
from support.story import story
from support.wide_walker import Moody
from support.world import CARD, World, world

from cpctl.demo.csms import CallFailed, HangUp, Late, Manner, Nonsense, Refuse, Reply, Silence

NEW = ("DiagnosticsStatusNotification", "FirmwareStatusNotification", "LogStatusNotification",
       "SecurityEventNotification", "SignCertificate", "SignedFirmwareStatusNotification",
       "DataTransfer")
MANNERS: dict[str, Manner] = {
    "callerror": Refuse("InternalError"), "unknown": Refuse("NotImplemented", "x" * 5000),
    "no_json": Nonsense(), "no_object": Nonsense('[3,"{id}",[[]]]'), "half": Nonsense('[3,"{id}"'),
    "wrong_type": Nonsense('[9,"{id}",{}]'),
    "surprise": Reply({"status": {"a": [1]}, "more": ["x"] * 50}), "late": Late(40.0),
    "silence": Silence()}


async def provoke(w: World) -> None:
    """Whatever makes the station say something new."""
    url = "http://files.example/a"
    for action, payload in (
            ("GetLog", {"logType": "DiagnosticsLog", "requestId": 1,
                        "log": {"remoteLocation": url}, "retries": 0}),
            ("GetDiagnostics", {"location": url, "retries": 0}),
            ("TriggerMessage", {"requestedMessage": "DiagnosticsStatusNotification"}),
            ("TriggerMessage", {"requestedMessage": "FirmwareStatusNotification"}),
            ("ExtendedTriggerMessage", {"requestedMessage": "FirmwareStatusNotification"}),
            ("ExtendedTriggerMessage", {"requestedMessage": "LogStatusNotification"}),
            ("ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"}),
            ("ChangeConfiguration", {"key": "AuthorizationKey", "value": "0123456789abcdef0123"}),
            ("InstallCertificate", {"certificateType": "ManufacturerRootCertificate",
                                    "certificate": "none"})):
        try:
            await w.central.call(action, payload)
        except CallFailed as failed:
            assert failed.code != "InternalError", action
        await w.advance(1)


@pytest.mark.requirement("16.OFF.2", "16.RPC.6", "16.RPC.8")
@pytest.mark.parametrize("manner", sorted(MANNERS))
@story
async def test_no_transaction_waits_for_calls_that_are_not_transactions(manner: str) -> None:
    async with world(start=False) as w:
        w.children = Moody(Random(1))
        for action in NEW:
            w.central.behave(action, MANNERS[manner], for_ever=True)
        await w.start()
        await w.until(lambda: w.status() == "Available", 60)
        await provoke(w)
        await w.charge(130)
        assert len(w.transactions) == 1
        await provoke(w)
        await w.tap(CARD)
        await w.advance(8)
        await w.unplug()
        await w.until(lambda: w.transactions[0].stopped is not None, 120)
        assert w.status() == "Available"

        w.central.behave_well()
        await w.advance(600)
        await w.delivered()
        await w.assert_books_agree()


@pytest.mark.parametrize("action", NEW)
@story
async def test_a_central_system_that_hangs_up_over_a_call_hears_the_rest(action: str) -> None:
    async with world(start=False) as w:
        w.children = Moody(Random(1))
        w.central.behave(action, *[HangUp()] * 3)
        await w.start()
        await w.until(lambda: w.status() == "Available", 600)
        await w.until(lambda: w.central.online, 600)
        try:
            await provoke(w)
        except EOFError:
            await w.until(lambda: w.central.online, 600)
        await w.charge(130)
        await w.tap(CARD)
        await w.advance(8)
        await w.unplug()
        await w.delivered()
        await w.assert_books_agree()


@pytest.mark.requirement("16.SEC.17")
@story
async def test_a_log_given_up_for_another_at_any_moment_leaves_nothing_behind() -> None:
    async with world(start=False) as w:
        w.children = Moody(Random(1))
        await w.start()
        await w.until(lambda: w.status() == "Available", 60)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for turns in range(60):
                word = await w.central.call("GetLog", {
                    "logType": "DiagnosticsLog", "requestId": turns,
                    "log": {"remoteLocation": "http://files.example/a"}, "retries": 0})
                assert word["status"] in ("Accepted", "AcceptedCanceled")
                for _ in range(turns):
                    await asyncio.sleep(0)
            gc.collect()
        assert [str(one.message) for one in caught] == []
        await w.advance(900)

        told = [one["status"] for one in w.calls("LogStatusNotification")
                if one.get("requestId") == 59]
        assert told[-1] != "Uploading"
        assert not list((w._state / "state").glob("outbox/*"))
