"""The log: tokens shortened, secrets never, priorities for journald, the last lines in memory."""

import io
import logging
import os
import socket
import subprocess
import sys

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


# --- fields for the journal ----------------------------------------------------------------------


class Sent:
    """What was given to the journal, field by field."""

    def __init__(self) -> None:
        self.lines: list[dict[str, str]] = []
        self.gone = False

    def sendv(self, *fields: str) -> None:
        if self.gone:
            raise ConnectionRefusedError
        self.lines.append(dict(one.split("=", 1) for one in fields))


def journal(root: logging.Logger) -> tuple[Sent, io.StringIO]:
    sent, instead = Sent(), io.StringIO()
    root.handlers[:] = [logs.Journal(sent.sendv, logging.StreamHandler(instead))]
    root.setLevel("DEBUG")
    return sent, instead


def ours(line: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in line.items() if name.startswith("CPCTL_")}


@pytest.mark.parametrize(("text", "args", "fields"), [
    ("evse=%s contactor closed", (1,), {"CPCTL_EVSE": "1"}),
    ("evse=%d session=%d transaction ends at %d Wh", (2, 812, 14320),
     {"CPCTL_EVSE": "2", "CPCTL_SESSION": "812"}),
    ("evse=%s code=%s %s", (1, "RCD_TRIPPED", "tripped"),
     {"CPCTL_EVSE": "1", "CPCTL_CODE": "RCD_TRIPPED"}),
    ("%5.1f %% of evse=%s, %r", (7.0, 3, "x"), {"CPCTL_EVSE": "3"}),
    ("session=%s fact %s given up", (5, 9), {"CPCTL_SESSION": "5"}),
    ("evse=1 written out", (), {}),
    ("asked for %s", ("evse=7 session=8 code=RCD_TRIPPED",), {}),
    ("evse=%s is none", ("front\nCPCTL_SESSION=9",), {}),
    ("evse=%s is none", (None,), {}),
    ("evse=%s session=%s code=%s", ("FRONT", "LAST", 7), {}),
], ids=str)
def test_fields_are_those_that_the_line_names_and_no_text_from_outside(
        root, text: str, args: tuple[object, ...], fields: dict[str, str]) -> None:
    sent, _ = journal(root)

    logging.getLogger("cpctl.x").info(text, *args)

    assert ours(sent.lines[0]) == fields
    assert sent.lines[0]["MESSAGE"] == f"x: {text % args}"


def test_extra_fields_count_too(root) -> None:
    sent, _ = journal(root)

    logging.getLogger("cpctl.x").info("by hand", extra={"evse": 4, "code": "METER_LOST"})

    assert ours(sent.lines[0]) == {"CPCTL_EVSE": "4", "CPCTL_CODE": "METER_LOST"}


def test_line_about_an_evse_is_of_the_session_that_is_open_there(root) -> None:
    sent, _ = journal(root)
    sessions = {1: 812}
    logs.follow(sessions)
    logger = logging.getLogger("cpctl.x")

    logger.info("evse=%s contactor closed", 1)
    logger.info("evse=%s session=%s is over", 1, 811)
    logger.info("evse=%s at rest", 2)
    logger.info("evse=%s is none", "front")
    sessions.clear()
    logger.info("evse=%s at rest", 1)

    assert [one.get("CPCTL_SESSION") for one in sent.lines] == ["812", "811", None, None, None]


def test_no_secret_and_no_whole_token_reaches_the_journal(root) -> None:
    sent, _ = journal(root)
    logger = logging.getLogger("cpctl.x")

    logger.warning("evse=%s card %s, password=%s", 1, IdToken("04A1B2C39F"), "sesame123")
    logger.info("by hand", extra={"session": "password=sesame123", "code": "04A1B2C39F"})
    try:
        raise ValueError("wss://CP1:sesame123@host/ocpp")
    except ValueError:
        logger.exception("broken")

    every = str(sent.lines)
    assert "sesame123" not in every and "04A1B2C39F" not in every
    assert sent.lines[0]["PRIORITY"] == "4"
    assert "ValueError" in sent.lines[2]["MESSAGE"]


def test_lines_that_the_journal_does_not_take_go_to_standard_error(root) -> None:
    sent, instead = journal(root)
    sent.gone = True

    logging.getLogger("cpctl.x").error("evse=%s lost", 1)

    assert instead.getvalue() == "evse=1 lost\n"


SPEAKER = """
import logging
from cpctl.runtime import log
log.set_up("INFO")
logging.getLogger("cpctl.runtime.power_gate").warning("evse=%s session=%s released: rcd", 1, 812)
logging.getLogger("cpctl.x").info("two\\nlines of %s", "text")
"""


def test_journal_gets_each_line_with_its_fields(tmp_path) -> None:
    """A process of its own, systemd-python, and a socket where systemd has the journal's."""
    pytest.importorskip("systemd.journal", reason="systemd-python is not installed")
    script = ("mkdir -p /run/systemd/journal && mount -t tmpfs t /run/systemd/journal && "
              f"mount --bind {tmp_path} /run/systemd/journal && exec \"$@\"")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as entries:
        entries.bind(str(tmp_path / "socket"))
        ran = subprocess.run(
            ["unshare", "-m", "-r", "--propagation", "private", "sh", "-c", script, "_",
             sys.executable, "-c", SPEAKER],
            env={**os.environ, "JOURNAL_STREAM": "8:1"}, capture_output=True, text=True,
            timeout=60, check=False)
        if ran.returncode and not ran.stderr.startswith("Traceback"):
            pytest.skip(f"no namespace of our own here: {ran.stderr.strip()}")
        entries.setblocking(False)
        first, second = entries.recv(65536), entries.recv(65536)

    assert (ran.returncode, ran.stderr) == (0, "")
    lines = first.decode().splitlines()
    assert {"MESSAGE=runtime.power_gate: evse=1 session=812 released: rcd", "PRIORITY=4",
            "SYSLOG_IDENTIFIER=cpctl", "CPCTL_EVSE=1", "CPCTL_SESSION=812"} <= set(lines)
    # Journal native protocol: a value of several lines goes with its length, little endian
    text = b"x: two\nlines of text"
    assert b"MESSAGE\n" + len(text).to_bytes(8, "little") + text + b"\n" in second
    assert b"CPCTL_" not in second
