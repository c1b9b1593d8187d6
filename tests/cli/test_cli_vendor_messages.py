"""`cpctl ocpp data-transfer`: what is sent, what is shown, which exit code."""

from pathlib import Path

import pytest
from support.fake_daemon import FakeDaemon

from cpctl.cli.main import main


@pytest.mark.requirement("16.DT.1")
@pytest.mark.parametrize(("outcome", "code", "shown"), [
    ("accepted", 0, "accepted"), ("rejected", 1, "rejected"),
    ("unknown", 1, "does not know the vendor"), ("unknown_message", 1, "does not know the message"),
    ("not_supported", 1, "knows no such calls")])
def test_the_exit_code_is_the_central_system_s_answer(
        outcome: str, code: int, shown: str, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s"
    with FakeDaemon(path, {"ocpp.data_transfer": {"outcome": outcome, "data": "thanks"}}) as daemon:
        ended = main(["--socket", str(path), "ocpp", "data-transfer", "org.example", "Hello", "x"])

    assert ended == code
    assert daemon.calls == [("ocpp.data_transfer", {
        "vendor": "org.example", "message": "Hello", "data": "x"})]
    out = capsys.readouterr().out
    assert shown in out and out.endswith("thanks\n")
