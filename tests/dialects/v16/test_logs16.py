"""GetDiagnostics, GetLog and their status messages in the words of 1.6."""

from datetime import UTC, datetime
from typing import Any

import pytest
from support.dialect_world import World, moment

from cpctl.core.effects import LogStatusTold
from cpctl.core.events import LogRequested
from cpctl.core.jobs import LogFile, LogKind, LogOrder, LogStatus
from cpctl.core.values import Outcome, Reply
from cpctl.dialects.base import Call, CallError, Result
from cpctl.dialects.v16.dialect import Dialect16

DIALECT = Dialect16()
FILE = Reply(Outcome.ACCEPTED, content=LogFile("a.tar.gz"))


def order_of(action: str, payload: dict[str, Any]) -> LogOrder:
    call = Call(action, payload)
    assert DIALECT.check(action, payload, response=False, ours=False) is None
    request = DIALECT.request(call, World().context)
    assert isinstance(request, LogRequested)
    return request.order


@pytest.mark.requirement("16.DIAG.1")
def test_get_diagnostics_is_understood_whole() -> None:
    assert order_of("GetDiagnostics", {
        "location": "ftp://u:p@h/d", "retries": 5, "retryInterval": 7,
        "startTime": "2026-03-01T10:00:00+02:00", "stopTime": "2026-03-01T09:00:00Z"}) == LogOrder(
        LogKind.DIAGNOSTICS, "ftp://u:p@h/d", None, datetime(2026, 3, 1, 8, tzinfo=UTC),
        datetime(2026, 3, 1, 9, tzinfo=UTC), 5, 7)


@pytest.mark.requirement("16.SEC.17")
def test_get_log_is_understood_whole() -> None:
    for name, kind in (("SecurityLog", LogKind.SECURITY), ("DiagnosticsLog", LogKind.DIAGNOSTICS)):
        assert order_of("GetLog", {
            "logType": name, "requestId": -3, "retries": 1, "retryInterval": 2,
            "log": {"remoteLocation": "sftp://h/d", "latestTimestamp": "2026-03-01T09:00:00Z"}
        }) == LogOrder(kind, "sftp://h/d", -3, None, datetime(2026, 3, 1, 9, tzinfo=UTC), 1, 2)


@pytest.mark.parametrize(("given", "retries", "retry_s"), [
    ({}, 2, 60), ({"retries": 0, "retryInterval": 0}, 0, 0),
    ({"retries": -1, "retryInterval": -9}, 0, 0),
    ({"retries": 10**9, "retryInterval": 10**9}, 100, 86_400)])
def test_numbers_without_sense_become_ones_with_it(given: dict[str, int], retries: int,
                                                   retry_s: int) -> None:
    order = order_of("GetDiagnostics", {"location": "http://h/", **given})

    assert (order.retries, order.retry_s) == (retries, retry_s)


@pytest.mark.requirement("16.DIAG.1", "GetDiagnostics.conf")
def test_get_diagnostics_is_answered_with_a_name_or_with_nothing() -> None:
    for said, payload in ((FILE, {"fileName": "a.tar.gz"}),
                          (Reply(Outcome.REJECTED, "nothing_available"), {}),
                          (Reply(Outcome.NOT_SUPPORTED), {})):
        answer = DIALECT.reply(Call("GetDiagnostics", {}), said, World().context)
        assert answer == Result(payload)
        assert DIALECT.check("GetDiagnostics", payload, response=True, ours=False) is None


@pytest.mark.requirement("16.SEC.17", "GetLog.conf:Accepted", "GetLog.conf:Rejected",
                         "GetLog.conf:AcceptedCanceled")
@pytest.mark.parametrize(("said", "payload"), [
    (FILE, {"status": "Accepted", "filename": "a.tar.gz"}),
    (Reply(Outcome.ACCEPTED_CANCELED, content=LogFile("b")),
     {"status": "AcceptedCanceled", "filename": "b"}),
    (Reply(Outcome.REJECTED, "nothing_available"), {"status": "Rejected"}),
    (Reply(Outcome.FAILED), {"status": "Rejected"})])
def test_get_log_is_answered_with_its_status(said: Reply, payload: dict[str, str]) -> None:
    answer = DIALECT.reply(Call("GetLog", {}), said, World().context)

    assert answer == Result(payload)
    assert DIALECT.check("GetLog", payload, response=True, ours=False) is None


@pytest.mark.parametrize("status", LogStatus)
@pytest.mark.parametrize("diagnostics", [False, True])
def test_each_status_has_a_word_that_the_schema_knows(status: LogStatus, *, diagnostics: bool
                                                      ) -> None:
    job = None if diagnostics or status is LogStatus.IDLE else 7
    item = LogStatusTold(moment(), job, status, diagnostics=diagnostics)

    (call,) = DIALECT.calls(item, World().context)

    assert call.action == ("DiagnosticsStatusNotification" if diagnostics
                           else "LogStatusNotification")
    assert DIALECT.check(call.action, call.payload, response=False, ours=True) is None
    assert call.payload.get("requestId") == job
    if diagnostics and status not in (LogStatus.IDLE, LogStatus.UPLOADING, LogStatus.UPLOADED):
        assert call.payload == {"status": "UploadFailed"}


def test_a_time_that_is_none_is_refused() -> None:
    flaw = DIALECT.check("GetDiagnostics", {"location": "ftp://h", "startTime": "soon"},
                         response=False, ours=False)

    assert isinstance(flaw, CallError)
