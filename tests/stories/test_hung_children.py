"""Child processes that hang until their time is over: who asked is answered all the same, in time
and in the words of the message."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from support.pki import Authority
from support.releases import lay_out
from support.story import story
from support.world import world

from cpctl import slots
from cpctl.services.child import ChildFailed, Children, Told

RELEASES = '[firmware]\nreleases = "{world}/opt"\n'


class Hung(Children):
    async def run(self, module: str, order: Mapping[str, Any], *, limit_s: float,
                  told: Callable[[Told], None] = lambda _: None) -> Told:
        await asyncio.sleep(limit_s)
        raise ChildFailed("timeout", "no end")


ROOT = Authority("Some root").pem
CALLS = (
    ("SignedUpdateFirmware", {"requestId": 3, "firmware": {
        "location": "https://files.example/a", "retrieveDateTime": "2026-05-01T08:00:00Z",
        "signingCertificate": "none", "signature": "none"}}, "Rejected"),
    ("InstallCertificate", {"certificateType": "CentralSystemRootCertificate",
                            "certificate": ROOT}, "Failed"),
    ("CertificateSigned", {"certificateChain": ROOT}, "Rejected"),
    ("GetInstalledCertificateIds", {"certificateType": "CentralSystemRootCertificate"},
     "NotFound"),
)


@pytest.mark.requirement("16.RPC.4", "16.SEC.18", "SignedUpdateFirmware.conf:Rejected")
@pytest.mark.parametrize("action, payload, word", CALLS, ids=[one[0] for one in CALLS])
@story
async def test_a_child_that_hangs_is_a_refusal_in_time(
        action: str, payload: dict[str, Any], word: str) -> None:
    async with world(start=False, more=RELEASES) as w:
        w.children = Hung()
        lay_out(w.directory / "opt")
        w.release = slots.choose(str(w.directory / "opt"))
        await w.start()
        await w.until(lambda: w.status() == "Available", 60)

        answer = await w.central.call(action, payload)

        assert answer["status"] == word


@pytest.mark.requirement("16.RPC.4", "InstallCertificate.conf:Failed")
@story
async def test_requests_that_wait_for_one_another_are_answered_in_time_as_well() -> None:
    async with world(start=False) as w:
        w.children = Hung()
        await w.start()
        await w.until(lambda: w.status() == "Available", 60)

        answers = await asyncio.gather(*(w.central.call("InstallCertificate", {
            "certificateType": "ManufacturerRootCertificate", "certificate": ROOT})
            for _ in range(6)))

        assert answers == [{"status": "Failed"}] * 6
        assert await w.central.call("GetInstalledCertificateIds", {
            "certificateType": "ManufacturerRootCertificate"}) == {"status": "NotFound"}
