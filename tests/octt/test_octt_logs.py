"""Test cases of diagnostics and logs: real uploads to servers of loopback."""

import gzip
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.file_servers import FileServer, Trouble, ftp_server, http_server
from support.octt import Octt, case

STARTUP = "StartupOfTheDevice"


@contextmanager
def http_folder(station: Octt) -> Iterator[FileServer]:
    folder = station.directory / "uploads"
    folder.mkdir()
    with http_server(folder) as server:
        yield server


def told(station: Octt, action: str) -> list[str]:
    return [one["status"] for one in station.calls(action)]


@pytest.mark.real
@pytest.mark.requirement("16.DIAG.1", "16.DIAG.2", "GetDiagnostics.conf",
                         "DiagnosticsStatusNotification.req:Uploading",
                         "DiagnosticsStatusNotification.req:Uploaded")
@case("TC_045_1_CS")
async def test_diagnostics_are_uploaded(station: Octt) -> None:
    with http_folder(station) as server:
        answer = await station.central.call("GetDiagnostics", {
            "location": server.url(""), "retries": 1, "retryInterval": 5})
        await station.until(
            lambda: told(station, "DiagnosticsStatusNotification")[-1:] == ["Uploaded"])

        assert told(station, "DiagnosticsStatusNotification") == ["Uploading", "Uploaded"]
        assert [one.name for one in server.folder.iterdir()] == [answer["fileName"]]
        with tarfile.open(server.folder / answer["fileName"]) as bundle:
            assert "status.json" in bundle.getnames()
