"""Test cases of diagnostics and logs: real uploads to servers of loopback."""

import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import virtual_loop
from support.file_servers import FileServer, Trouble, ftp_server, http_server, sftp_server
from support.lapse_loop import LapseLoop
from support.octt import Octt, case
from support.pki import Authority
from support.world import world

from cpctl.core.events import SecurityEventNoticed

ROOT = Authority("Files Root")
pytestmark = pytest.mark.real


@contextmanager
def folder_of(station: Octt, serve: object = http_server) -> Iterator[FileServer]:
    folder = station.directory / "uploads"
    folder.mkdir()
    with serve(folder) as server:  # type: ignore[operator]
        yield server


def told(station: Octt, action: str) -> list[str]:
    return [one["status"] for one in station.calls(action)]


async def end_of(station: Octt, job: int) -> None:
    """Wait until the end of that upload was told."""
    await station.until(lambda: any(
        one["requestId"] == job and one["status"] != "Uploading"
        for one in station.calls("LogStatusNotification")))


@pytest.mark.requirement("16.DIAG.1", "16.DIAG.2", "GetDiagnostics.conf",
                         "DiagnosticsStatusNotification.req",
                         "DiagnosticsStatusNotification.req:Uploading",
                         "DiagnosticsStatusNotification.req:Uploaded")
@case("TC_045_1_CS")
async def test_diagnostics_are_uploaded(station: Octt) -> None:
    with folder_of(station, ftp_server) as server:
        answer = await station.central.call("GetDiagnostics", {
            "location": server.url(""), "retries": 1, "retryInterval": 5})
        await station.until(
            lambda: told(station, "DiagnosticsStatusNotification")[-1:] == ["Uploaded"])

        assert told(station, "DiagnosticsStatusNotification") == ["Uploading", "Uploaded"]
        assert [one.name for one in server.folder.iterdir()] == [answer["fileName"]]
        with tarfile.open(server.folder / answer["fileName"]) as bundle:
            assert "status.json" in bundle.getnames()


@pytest.mark.requirement("16.DIAG.2", "DiagnosticsStatusNotification.req:UploadFailed")
@case("TC_045_2_CS")
async def test_diagnostics_that_cannot_be_uploaded_have_failed(station: Octt) -> None:
    with folder_of(station) as server:
        answer = await station.central.call("GetDiagnostics", {
            "location": server.url("no/such/folder/"), "retries": 2, "retryInterval": 30})
        await station.until(
            lambda: told(station, "DiagnosticsStatusNotification")[-1:] == ["UploadFailed"])

        assert answer["fileName"]
        assert told(station, "DiagnosticsStatusNotification") == ["Uploading", "UploadFailed"]
        assert len(server.seen) == 3  # the first try and the retries


@pytest.mark.requirement("16.SEC.17", "GetLog.conf:Accepted", "LogStatusNotification.req",
                         "LogStatusNotification.req:Uploading",
                         "LogStatusNotification.req:Uploaded")
@case("TC_079_CS")
async def test_the_security_log_is_uploaded(station: Octt) -> None:
    with folder_of(station) as server:
        await station.central.send_raw("this is no frame")
        await station.advance(1)
        answer = await station.central.call("GetLog", {
            "logType": "SecurityLog", "requestId": 4711, "retries": 1, "retryInterval": 5,
            "log": {"remoteLocation": server.url("")}})
        await station.until(lambda: told(station, "LogStatusNotification")[-1:] == ["Uploaded"])

        assert answer["status"] == "Accepted"
        assert station.calls("LogStatusNotification") == [
            {"status": "Uploading", "requestId": 4711}, {"status": "Uploaded", "requestId": 4711}]
        lines = (server.folder / answer["filename"]).read_text().splitlines()
        assert "InvalidMessages" in [json.loads(line)["type"] for line in lines]


@pytest.mark.requirement("16.TRIG.2", "DiagnosticsStatusNotification.req:Idle",
                         "LogStatusNotification.req:Idle")
@case()
async def test_idle_is_told_only_when_asked_and_without_a_number(station: Octt) -> None:
    for action, message in (("TriggerMessage", "DiagnosticsStatusNotification"),
                            ("ExtendedTriggerMessage", "LogStatusNotification")):
        answer = await station.central.call(action, {"requestedMessage": message})
        await station.advance(1)

        assert answer == {"status": "Accepted"}
        assert station.calls(message) == [{"status": "Idle"}]


@pytest.mark.requirement("16.DIAG.2", "16.SEC.17", "16.TRIG.2")
@case()
async def test_what_runs_is_told_when_asked(station: Octt) -> None:
    with folder_of(station) as server:
        server.trouble = Trouble(status=503)
        await station.central.call("GetLog", {
            "logType": "DiagnosticsLog", "requestId": 5, "retries": 1, "retryInterval": 3600,
            "log": {"remoteLocation": server.url("")}})
        await station.until(lambda: len(server.seen) == 1)

        await station.central.call("TriggerMessage",
                                   {"requestedMessage": "DiagnosticsStatusNotification"})
        await station.central.call("ExtendedTriggerMessage",
                                   {"requestedMessage": "LogStatusNotification"})
        await station.advance(1)

        assert station.calls("DiagnosticsStatusNotification") == [{"status": "Idle"}]
        assert station.calls("LogStatusNotification") == [{"status": "Uploading",
                                                           "requestId": 5}] * 2
        await station.advance(3600)
        await station.until(lambda: told(station, "LogStatusNotification")[-1] == "Uploaded")


@pytest.mark.requirement("LogStatusNotification.req:UploadFailure",
                         "LogStatusNotification.req:BadMessage",
                         "LogStatusNotification.req:PermissionDenied",
                         "LogStatusNotification.req:NotSupportedOperation", "16.SEC.17")
@case()
async def test_why_an_upload_failed_is_told_as_precisely_as_there_are_words(station: Octt) -> None:
    with folder_of(station) as server:
        words = {503: "UploadFailure", 400: "BadMessage", 403: "PermissionDenied",
                 405: "NotSupportedOperation"}
        for status, word in words.items():
            server.trouble = Trouble(status=status)
            await station.central.call("GetLog", {
                "logType": "DiagnosticsLog", "requestId": status, "retries": 0,
                "log": {"remoteLocation": server.url("")}})
            await end_of(station, status)

            assert station.calls("LogStatusNotification")[-1] == {"status": word,
                                                                  "requestId": status}


@pytest.mark.requirement("16.DIAG.4")
@case()
async def test_an_address_of_another_kind_fails_and_nothing_else_happens(station: Octt) -> None:
    answer = await station.central.call("GetDiagnostics", {"location": "gopher://127.0.0.1/x"})
    await station.central.call("GetLog", {
        "logType": "DiagnosticsLog", "requestId": 1,
        "log": {"remoteLocation": "not an address at all"}})
    await station.until(lambda: told(station, "LogStatusNotification")[-1:] == [
        "NotSupportedOperation"])

    assert answer["fileName"]
    assert station.status(1) == "Available"


@pytest.mark.requirement("GetLog.conf:AcceptedCanceled", "16.SEC.17", "16.DIAG.3")
@case()
async def test_a_second_request_ends_the_first(station: Octt) -> None:
    with folder_of(station) as server:
        server.trouble = Trouble(status=503)

        async def asked(number: int) -> str:
            answer = await station.central.call("GetLog", {
                "logType": "DiagnosticsLog", "requestId": number, "retries": 1,
                "retryInterval": 3600, "log": {"remoteLocation": server.url("")}})
            return str(answer["status"])

        assert await asked(1) == "Accepted"
        await station.until(lambda: len(server.seen) == 1)
        assert await asked(2) == "AcceptedCanceled"
        await station.until(lambda: told(station, "LogStatusNotification")[-1] == "Uploaded")
        await station.advance(7200)

        assert station.calls("LogStatusNotification") == [
            {"status": "Uploading", "requestId": 1}, {"status": "UploadFailure", "requestId": 1},
            {"status": "Uploading", "requestId": 2}, {"status": "Uploaded", "requestId": 2}]
        assert await asked(3) == "Accepted"  # an upload that has ended is none to end
        await station.until(lambda: told(station, "LogStatusNotification")[-1] == "Uploaded")


@pytest.mark.requirement("16.DIAG.3")
@case()
async def test_a_second_get_diagnostics_takes_the_place_of_the_first(station: Octt) -> None:
    with folder_of(station) as server:
        server.trouble = Trouble(status=503)
        names = []
        for _ in range(2):
            answer = await station.central.call("GetDiagnostics", {
                "location": server.url(""), "retries": 1, "retryInterval": 3600})
            names.append(answer["fileName"])
            await station.until(lambda: len(server.seen) >= 1)
            await station.advance(2)
        await station.advance(7200)

        assert told(station, "DiagnosticsStatusNotification") == [
            "Uploading", "Uploading", "Uploaded"]
        assert [one.name for one in server.folder.iterdir()] == names[1:]


@pytest.mark.requirement("GetLog.conf:Rejected", "16.DIAG.1", "16.SEC.17", "GetDiagnostics.conf")
@case()
async def test_nothing_available_is_said_and_nothing_is_uploaded(station: Octt) -> None:
    future = {"oldestTimestamp": "2031-01-01T00:00:00Z"}
    turned_round = {"oldestTimestamp": "2026-05-02T00:00:00Z",
                    "latestTimestamp": "2026-05-01T00:00:00Z"}
    for kind in ("SecurityLog", "DiagnosticsLog"):
        for span in (future, turned_round):
            answer = await station.central.call("GetLog", {
                "logType": kind, "requestId": 1,
                "log": {"remoteLocation": "http://127.0.0.1:1/", **span}})
            assert answer == {"status": "Rejected"}
    answer = await station.central.call("GetDiagnostics", {
        "location": "http://127.0.0.1:1/", "startTime": "2031-01-01T00:00:00Z"})
    await station.advance(60)

    assert answer == {}
    assert station.calls("LogStatusNotification") == []
    assert station.calls("DiagnosticsStatusNotification") == []


@pytest.mark.requirement("16.DIAG.1", "16.SEC.17")
@case()
async def test_the_span_of_time_selects_what_goes_in(station: Octt) -> None:
    with folder_of(station) as server:
        assert station.app is not None
        station.app.post(SecurityEventNoticed("TamperDetectionActivated", "the door"))
        await station.advance(3600)
        middle = station.time.wall().isoformat()
        await station.advance(60)
        station.app.post(SecurityEventNoticed("TamperDetectionActivated", "the lid"))
        await station.advance(1)
        found = {}
        for job, bound in enumerate(("oldestTimestamp", "latestTimestamp")):
            answer = await station.central.call("GetLog", {
                "logType": "SecurityLog", "requestId": job,
                "log": {"remoteLocation": server.url(""), bound: middle}})
            await end_of(station, job)
            lines = (server.folder / answer["filename"]).read_text().splitlines()
            found[bound] = [json.loads(line)["techInfo"] for line in lines]

    assert "the lid" in found["oldestTimestamp"] and "the door" not in found["oldestTimestamp"]
    assert "the door" in found["latestTimestamp"] and "the lid" not in found["latestTimestamp"]


@pytest.mark.requirement("key:SupportedFileTransferProtocols", "16.DIAG.4")
@case()
async def test_the_protocols_are_told_in_the_words_of_the_errata(station: Octt) -> None:
    answer = await station.central.call("GetConfiguration",
                                        {"key": ["SupportedFileTransferProtocols"]})
    changed = await station.central.call("ChangeConfiguration", {
        "key": "SupportedFileTransferProtocols", "value": "FTP"})

    assert answer["configurationKey"] == [{"key": "SupportedFileTransferProtocols",
                                           "readonly": True, "value": "FTP,FTPS,HTTP,HTTPS"}]
    assert changed == {"status": "Rejected"}


@pytest.mark.requirement("16.DIAG.2", "16.SEC.17")
@case()
async def test_an_upload_that_a_restart_cut_is_told_as_failed(station: Octt) -> None:
    with folder_of(station) as server:
        server.trouble = Trouble(status=503, times=None)
        await station.central.call("GetLog", {
            "logType": "DiagnosticsLog", "requestId": 9, "retries": 9, "retryInterval": 60,
            "log": {"remoteLocation": server.url("")}})
        await station.until(lambda: len(server.seen) == 1)

        await station.power_cut()
        await station.until(
            lambda: told(station, "LogStatusNotification")[-1:] == ["UploadFailure"])
        await station.kill()
        await station.advance(600)

    assert station.calls("LogStatusNotification") == [
        {"status": "Uploading", "requestId": 9}, {"status": "UploadFailure", "requestId": 9}]
    assert station.app is not None
    assert not (station.app.config.store.path / "outbox").exists()


@pytest.mark.requirement("16.DIAG.2", "16.SEC.17")
@case()
async def test_an_end_that_came_while_offline_is_told_with_the_next_connection(station: Octt
                                                                               ) -> None:
    with folder_of(station) as server:
        server.trouble = Trouble(status=503)
        await station.central.call("GetLog", {
            "logType": "DiagnosticsLog", "requestId": 9, "retries": 1, "retryInterval": 300,
            "log": {"remoteLocation": server.url("")}})
        await station.until(lambda: len(server.seen) == 1)

        station.network.down()
        await station.until(lambda: len(server.seen) == 2)
        await station.advance(5)
        station.network.up = True
        await station.until(lambda: told(station, "LogStatusNotification")[-1:] == ["Uploaded"])

        assert told(station, "LogStatusNotification") == ["Uploading", "Uploaded"]


@pytest.mark.requirement("16.DIAG.4")
@pytest.mark.parametrize(("configured", "word"), [(True, "Uploaded"), (False, "UploadFailed")])
def test_a_file_server_is_trusted_by_the_roots_of_the_central_system(
        tmp_path: Path, word: str, *, configured: bool) -> None:
    (tmp_path / "uploads").mkdir()
    ca_file = (ROOT if configured else Authority("Another Root")).write(tmp_path, "root")[0]

    async def story() -> None:
        async with world(real_sockets=True, csms=f'ca_file = "{ca_file}"') as station:
            with http_server(tmp_path / "uploads", tls=ROOT.server("127.0.0.1")) as server:
                await station.central.call("GetDiagnostics", {"location": server.url(""),
                                                              "retries": 0})
                await station.until(
                    lambda: told(station, "DiagnosticsStatusNotification")[-1:] == [word])

    virtual_loop.run(story(), loop=LapseLoop())


@pytest.mark.requirement("16.DIAG.4")
@case()
async def test_diagnostics_go_over_sftp_too(station: Octt) -> None:
    with folder_of(station, sftp_server) as server:
        answer = await station.central.call("GetDiagnostics", {"location": server.url("")})
        await station.until(
            lambda: told(station, "DiagnosticsStatusNotification")[-1:] == ["Uploaded"])

        assert (server.folder / answer["fileName"]).stat().st_size > 1000
