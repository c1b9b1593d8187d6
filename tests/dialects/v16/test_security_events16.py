"""SecurityEventNotification: which events are told, how, and what settles them."""

import pytest
from support.dialect_world import World, moment

from cpctl.core import security
from cpctl.core.facts import SecurityEventRaised
from cpctl.dialects.base import Call, CallError
from cpctl.dialects.v16.dialect import Dialect16

DIALECT = Dialect16()
# The list of the whitepaper, edition 3, section 8: name on the wire, critical.
LIST = {
    "FirmwareUpdated": True, "FailedToAuthenticationAtCentralSystem": False,
    "CentralSystemFailedToAuthentication": False, "SettingSystemTime": True,
    "StartupOfTheDevice": True, "ResetOrReboot": True, "SecurityLogWasCleared": True,
    "ReconfigurationOfSecurityParameters": False, "MemoryExhaustion": True,
    "InvalidMessages": False, "AttemptedReplayAttacks": False, "TamperDetectionActivated": True,
    "InvalidFirmwareSignature": False, "InvalidFirmwareSigningCertificate": False,
    "InvalidCentralSystemCertificate": False, "InvalidChargePointCertificate": False,
    "InvalidTLSVersion": False, "InvalidTLSCipherSuite": False,
}
KINDS = sorted(security.CRITICAL | security.TESTED | security.OTHERS)
UNTOLD = [kind for kind in KINDS if kind in security.OTHERS]


def raised(kind: str, text: str = "why") -> SecurityEventRaised:
    return SecurityEventRaised(moment(60), None, kind, text, critical=kind in security.CRITICAL)


def told(kind: str, notify: str = "all", text: str = "why") -> tuple[Call, ...]:
    world = World()
    world.settings = world.settings.with_text("security.notify", notify)
    return DIALECT.calls(raised(kind, text), world.context)


@pytest.mark.requirement("16.SEC.16", "SecurityEventNotification.req")
@pytest.mark.parametrize("kind", [
    pytest.param(kind, marks=pytest.mark.requirement(f"SecurityEventNotification.req:{kind}"))
    for kind in KINDS])
def test_each_event_of_the_list_is_told_in_its_words(kind: str) -> None:
    (call,) = told(kind)

    assert call.action == "SecurityEventNotification"
    assert call.payload["type"] in LIST
    assert LIST[call.payload["type"]] == (kind in security.CRITICAL)
    assert call.payload["timestamp"] == "2026-03-01T12:01:00.000Z"
    assert call.payload["techInfo"] == "why"
    assert DIALECT.check(call.action, call.payload, response=False, ours=True) is None


def test_the_whole_list_can_be_told() -> None:
    assert {told(kind)[0].payload["type"] for kind in KINDS} == set(LIST)


@pytest.mark.requirement("16.SEC.16")
@pytest.mark.parametrize("kind", KINDS)
def test_by_default_the_critical_and_the_tested_ones_are_told(kind: str) -> None:
    assert bool(told(kind, "tested")) == (kind not in UNTOLD)
    assert bool(told(kind, "critical")) == (kind in security.CRITICAL)


def test_an_event_without_a_text_tells_none_and_a_long_one_is_cut() -> None:
    assert "techInfo" not in told("ResetOrReboot", text="")[0].payload
    assert len(told("ResetOrReboot", text="x" * 300)[0].payload["techInfo"]) == 255


@pytest.mark.requirement("16.SEC.16")
@pytest.mark.parametrize("code", [
    "NotImplemented", "NotSupported", "InternalError", "GenericError"])
def test_a_central_system_that_does_not_know_them_is_not_asked_again(code: str) -> None:
    assert DIALECT.settles(raised("ResetOrReboot"), CallError(code))
