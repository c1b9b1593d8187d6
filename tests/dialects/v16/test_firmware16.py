"""UpdateFirmware and SignedUpdateFirmware in the words of 1.6: orders, answers, statuses."""

from datetime import UTC, datetime
from typing import Any

import pytest
from support.dialect_world import World

from cpctl.core.effects import FirmwareStatusTold
from cpctl.core.events import FirmwareRequested
from cpctl.core.facts import FirmwareStatusChanged
from cpctl.core.jobs import FirmwareStatus
from cpctl.core.values import Outcome, Reply
from cpctl.dialects.base import Call, CallError, RenderContext, Result
from cpctl.dialects.v16.dialect import Dialect16

DIALECT = Dialect16()
DATE = "2026-05-01T10:00:00+02:00"
UNSIGNED = {"location": "ftp://maker.example/1", "retrieveDate": DATE}
SIGNED: dict[str, Any] = {"requestId": 9, "firmware": {
    "location": "https://maker.example/1", "retrieveDateTime": DATE, "installDateTime": DATE,
    "signingCertificate": "PEM", "signature": "c2ln"}}
MOMENT = datetime(2026, 5, 1, 8, tzinfo=UTC)


def context(**settings: str) -> RenderContext:
    return World().set(settings).context


def taken(action: str, payload: dict[str, Any], **settings: str) -> Any:
    call = Call(action, payload)
    assert DIALECT.check(action, payload, response=False, ours=False) is None
    return DIALECT.request(call, context(**settings))


def told(item: Any) -> tuple[Call, ...]:
    calls = DIALECT.calls(item, context())
    for call in calls:
        assert DIALECT.check(call.action, call.payload, response=False, ours=True) is None
    return calls


@pytest.mark.requirement("16.FW.1", "UpdateFirmware.req")
def test_an_unsigned_order() -> None:
    order = taken("UpdateFirmware", {**UNSIGNED, "retries": 2, "retryInterval": 7}).order

    assert (order.url, order.retrieve_at, order.job) == ("ftp://maker.example/1", MOMENT, None)
    assert (order.retries, order.retry_s, order.install_at) == (2, 7, None)


@pytest.mark.requirement("16.SEC.18", "SignedUpdateFirmware.req")
def test_a_signed_order() -> None:
    order = taken("SignedUpdateFirmware", SIGNED).order

    assert (order.job, order.retrieve_at, order.install_at) == (9, MOMENT, MOMENT)
    assert (order.certificate, order.signature) == ("PEM", "c2ln")


@pytest.mark.parametrize(("given", "taken_as"), [(-5, 0), (10 ** 9, 100)])
def test_numbers_of_retries_are_kept_in_bounds(given: int, taken_as: int) -> None:
    order = taken("UpdateFirmware", {**UNSIGNED, "retries": given, "retryInterval": given}).order

    assert order.retries == taken_as
    assert 0 <= order.retry_s <= 86_400


@pytest.mark.requirement("16.FW.4", "L01.FR.20", "E-29")
@pytest.mark.parametrize(("policy", "profile", "allowed"), [
    ("by_profile", 0, True), ("by_profile", 1, False), ("by_profile", 3, False),
    ("never", 0, False), ("always", 2, True)])
def test_an_unsigned_order_is_refused_where_signed_ones_are_the_rule(
        policy: str, profile: int, allowed: bool) -> None:
    found = taken("UpdateFirmware", UNSIGNED, **{
        "policy.unsigned_firmware": policy, "link.security_profile": str(profile)})

    if allowed:
        assert isinstance(found, FirmwareRequested)
    else:
        assert isinstance(found, CallError)
        assert found.code == "NotSupported"


@pytest.mark.requirement("16.FW.1", "UpdateFirmware.conf")
@pytest.mark.parametrize("outcome", [Outcome.ACCEPTED, Outcome.REJECTED])
def test_the_answer_to_an_unsigned_order_is_empty(outcome: Outcome) -> None:
    assert DIALECT.reply(Call("UpdateFirmware", UNSIGNED), Reply(outcome), context()) == Result({})


@pytest.mark.requirement(
    "16.SEC.18", "SignedUpdateFirmware.conf:Accepted", "SignedUpdateFirmware.conf:Rejected",
    "SignedUpdateFirmware.conf:AcceptedCanceled", "SignedUpdateFirmware.conf:InvalidCertificate",
    "SignedUpdateFirmware.conf:RevokedCertificate")
@pytest.mark.parametrize(("outcome", "word"), [
    (Outcome.ACCEPTED, "Accepted"), (Outcome.ACCEPTED_CANCELED, "AcceptedCanceled"),
    (Outcome.INVALID_CERTIFICATE, "InvalidCertificate"),
    (Outcome.REVOKED_CERTIFICATE, "RevokedCertificate"), (Outcome.REJECTED, "Rejected"),
    (Outcome.NOT_SUPPORTED, "Rejected")])
def test_the_answer_to_a_signed_order(outcome: Outcome, word: str) -> None:
    call = Call("SignedUpdateFirmware", SIGNED)

    assert DIALECT.reply(call, Reply(outcome), context()) == Result({"status": word})


@pytest.mark.requirement(
    "16.SEC.19", "L01.FR.10", "L01.FR.21",
    "SignedFirmwareStatusNotification.req:Downloaded",
    "SignedFirmwareStatusNotification.req:DownloadFailed",
    "SignedFirmwareStatusNotification.req:Downloading",
    "SignedFirmwareStatusNotification.req:DownloadScheduled",
    "SignedFirmwareStatusNotification.req:DownloadPaused",
    "SignedFirmwareStatusNotification.req:InstallationFailed",
    "SignedFirmwareStatusNotification.req:Installing",
    "SignedFirmwareStatusNotification.req:Installed",
    "SignedFirmwareStatusNotification.req:InstallRebooting",
    "SignedFirmwareStatusNotification.req:InstallScheduled",
    "SignedFirmwareStatusNotification.req:InstallVerificationFailed",
    "SignedFirmwareStatusNotification.req:InvalidSignature",
    "SignedFirmwareStatusNotification.req:SignatureVerified")
@pytest.mark.parametrize("status", sorted(set(FirmwareStatus) - {FirmwareStatus.IDLE},
                                          key=lambda one: one.value))
def test_each_status_of_a_signed_update_bears_its_number(status: FirmwareStatus) -> None:
    now = context().now

    call, = told(FirmwareStatusChanged(now, None, 9, status))

    assert call == Call("SignedFirmwareStatusNotification",
                        {"status": status.value, "requestId": 9})


@pytest.mark.requirement("L01.FR.21", "L01.FR.28", "SignedFirmwareStatusNotification.req:Idle")
def test_idle_bears_no_number() -> None:
    call, = told(FirmwareStatusTold(context().now, 9, FirmwareStatus.IDLE, signed=True))

    assert call.payload == {"status": "Idle"}


SEVEN = {
    "Downloading": "Downloading", "Downloaded": "Downloaded", "DownloadFailed": "DownloadFailed",
    "Installing": "Installing", "Installed": "Installed",
    "InstallationFailed": "InstallationFailed", "InvalidSignature": "InstallationFailed",
    "InstallVerificationFailed": "InstallationFailed"}


@pytest.mark.requirement(
    "16.FW.2", "FirmwareStatusNotification.req:Downloading",
    "FirmwareStatusNotification.req:Downloaded", "FirmwareStatusNotification.req:DownloadFailed",
    "FirmwareStatusNotification.req:Installing", "FirmwareStatusNotification.req:Installed",
    "FirmwareStatusNotification.req:InstallationFailed")
@pytest.mark.parametrize("status", sorted(set(FirmwareStatus) - {FirmwareStatus.IDLE},
                                          key=lambda one: one.value))
def test_an_unsigned_update_is_told_in_seven_words(status: FirmwareStatus) -> None:
    calls = told(FirmwareStatusChanged(context().now, None, None, status))

    assert [call.payload for call in calls] == (
        [{"status": SEVEN[status.value]}] if status.value in SEVEN else [])


@pytest.mark.requirement("16.TRIG.2", "FirmwareStatusNotification.req:Idle")
@pytest.mark.parametrize("status", list(FirmwareStatus))
def test_who_asks_gets_one_of_the_seven_words(status: FirmwareStatus) -> None:
    call, = told(FirmwareStatusTold(context().now, 9, status))

    assert call.action == "FirmwareStatusNotification"
    assert call.payload["status"] in {*SEVEN.values(), "Idle"}
