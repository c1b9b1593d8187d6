"""The log: tokens shortened, secrets never, priorities for journald, the last lines in memory."""

import io
import logging

import pytest

from cpctl.core.values import IdToken
from cpctl.runtime import log as logs
from hal.values import CardUid


@pytest.fixture
def root():
    logger = logging.getLogger()
    before, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = before
    logger.setLevel(level)


def test_a_token_is_shortened_wherever_it_stands() -> None:
    assert logs.short_token("04A1B2C39F") == "04A1…9F"
    assert logs.short_token("ABC") == "AB…"
    assert logs.redact('{"idTag": "04A1B2C39F"}') == '{"idTag": "04A1…9F"}'
    assert logs.redact("IdToken(value='04A1B2C39F', kind=1)") == "IdToken(value='04A1…9F', kind=1)"


@pytest.mark.parametrize("line", [
    "password=sesame123", '"AuthorizationKey": "sesame123"', "wss://CP1:sesame123@host/ocpp",
    "upload to sftp://CP1:sesame123@host/logs", "upload to sftp://sesame123@host/logs",
    "url='ftp://CP1:p@sesame123/p@host/logs'", "https://host/logs?signature=sesame123",
    "Authorization: Basic c2VzYW1lMTIz", "password: 'sesame123'"])
def test_a_secret_never_appears(line: str) -> None:
    shown = logs.redact(line)

    assert "sesame123" not in shown and "c2VzYW1lMTIz" not in shown
    assert "***" in shown


def test_lines_carry_time_level_and_room(root) -> None:
    out = io.StringIO()
    ring = logs.set_up("INFO", out, journald=False)

    logging.getLogger("cpctl.runtime.loop").info("card %s, uid %s", IdToken("04A1B2C39F"),
                                                 CardUid("04A1B2C39F"))
    logging.getLogger("cpctl.runtime.loop").debug("not shown")

    assert out.getvalue().endswith("INFO    runtime.loop: card 04A1…9F, uid 04A1…9F\n")
    assert len(ring.lines()) == 1 and "04A1…9F" in ring.lines()[0]


def test_under_systemd_lines_carry_their_priority(root, monkeypatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    out = io.StringIO()
    logs.set_up("INFO", out)

    try:
        raise ValueError("password=sesame123")
    except ValueError:
        logging.getLogger("cpctl.x").exception("broken")

    lines = out.getvalue().splitlines()
    assert lines[0] == "<3>x: broken"
    assert all(line.startswith("<3>") for line in lines)
    assert "sesame123" not in out.getvalue()


def test_the_ring_keeps_the_last_lines() -> None:
    ring = logs.Ring(2)
    for text in ("one", "two", "three"):
        ring.emit(logging.LogRecord("x", logging.INFO, "", 1, text, (), None))

    assert [line.rsplit(" ", 1)[1] for line in ring.lines()] == ["two", "three"]
