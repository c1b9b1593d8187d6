"""How `cpctl run` ends when it cannot begin."""

from pathlib import Path

import pytest

from cpctl import app as composition
from cpctl.api.server import SocketTaken
from cpctl.cli.main import main
from cpctl.runtime import log
from cpctl.store.errors import JournalError, StoreError
from hal.errors import BadConfig, DeviceGone

CONFIG = """\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "Bench"
[csms]
url = "ws://127.0.0.1:9/ocpp"
[store]
path = "{folder}/state"
[api]
socket = "{folder}/s"
[[evse]]
id = 1
"""


class Stillborn:
    """An app whose life ends at its beginning."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def run(self) -> None:
        raise self.error


def because(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(("error", "code"), [
    (DeviceGone("contactor 1: no such line; check the wiring"), 69),
    (BadConfig("meter 1: word order"), 78),
    (PermissionError(13, "Permission denied", "/run/cpctl"), 77),
    (because(StoreError("journal.db cannot be opened"), PermissionError(13, "no")), 77),
    (JournalError("journal.db: the disk is full"), 1),
    (SocketTaken("another daemon answers on /run/cpctl/cpctl.sock"), 1),
    (OSError(98, "Address already in use"), 1),
], ids=str)
def test_failed_start_has_its_exit_code_and_a_next_step(
        error: Exception, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cpctl.toml"
    path.write_text(CONFIG.format(folder=tmp_path))
    monkeypatch.setattr(log, "set_up", lambda level: None)
    monkeypatch.setattr(composition.App, "build", lambda config: Stillborn(error))

    assert main(["run", "--config", str(path)]) == code

    told = capsys.readouterr().err
    assert told.startswith("cpctl: ") and str(error) in told and told.count("\n") == 2
