"""The support bundle: what it holds, and that nothing secret is in it, however it got there."""

import base64
import json
import logging
import tarfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import virtual_loop
from support.lapse_loop import LapseLoop
from support.world import CARD, World, world

from cpctl.core.jobs import LogKind
from cpctl.runtime.log import Ring
from cpctl.services.bundle import FOLDER, BundleFailed, Bundles
from cpctl.services.child import ChildFailed, Children
from cpctl.services.redaction import Redactor

PASSWORD = "Canary-Pass-0001"
NEW_KEY = "43616e6172792d4b65792d303030322d5858"  # what it is in bytes: Canary-Key-0002-XX
KEY_PEM = "-----BEGIN PRIVATE KEY-----\nQ2FuYXJ5UHJpdmF0ZUtleTAwMDM=\n-----END PRIVATE KEY-----\n"
LISTED = "Canary Tag 0004"
CANARIES = (PASSWORD, PASSWORD.encode().hex(), base64.b64encode(PASSWORD.encode()).decode(),
            base64.b64encode(f"CP001:{PASSWORD}".encode()).decode(),
            NEW_KEY, NEW_KEY.upper(), bytes.fromhex(NEW_KEY).decode(),
            base64.b64encode(b"CP001:" + bytes.fromhex(NEW_KEY)).decode(),
            "Q2FuYXJ5UHJpdmF0ZUtleTAwMDM", CARD, LISTED, "Canary-Url-0005", "Canary-Sig-0006",
            "CanarySecret0007")


@pytest.fixture
def ring() -> Iterator[Ring]:
    """The log as `cpctl run --log-level DEBUG` keeps it, frames and all."""
    handler, root = Ring(), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(before)


def lived(story: Callable[[World], Awaitable[None]], **options: Any) -> None:
    async def told() -> None:
        async with world(**options) as w:
            await story(w)

    virtual_loop.run(told(), loop=LapseLoop())


def bundles(w: World) -> Bundles:
    assert w.app is not None
    made: Bundles = w.app.services.logs.bundles
    return made


async def unpacked(w: World, **span: Any) -> dict[str, str]:
    """The bundle as a dictionary of texts; the file is gone again."""
    file = await bundles(w).make(LogKind.DIAGNOSTICS, bundles(w).name(LogKind.DIAGNOSTICS), **span)
    try:
        assert file.stat().st_mode & 0o077 == 0 and file.parent.stat().st_mode & 0o077 == 0
        with tarfile.open(file) as archive:
            return {one.name: archive.extractfile(one).read().decode()  # type: ignore[union-attr]
                    for one in archive.getmembers()}
    finally:
        bundles(w).drop(file)


@pytest.mark.real
@pytest.mark.requirement("16.DIAG.1")
def test_a_bundle_tells_what_a_helper_wants_to_know(ring: Ring) -> None:
    async def story(w: World) -> None:
        await w.charge(120)
        logging.getLogger("cpctl.test").info("evse=1 something to be seen")
        parts = await unpacked(w)

        assert {"README.txt", "status.json", "devices.json", "settings.json", "doctor.json",
                "journal.jsonl", "security.jsonl", "log.txt", "machine.json",
                "config/cpctl.toml.json"} <= set(parts)
        assert "problems.txt" not in parts
        assert json.loads(parts["status.json"])["evses"][0]["status"] == "Charging"
        kinds = [json.loads(line)["kind"] for line in parts["journal.jsonl"].splitlines()]
        assert "TransactionStarted" in kinds and "TransactionSampled" in kinds
        assert "something to be seen" in parts["log.txt"]
        assert json.loads(parts["config/cpctl.toml.json"])["station"]["vendor"] == "Example"
        assert json.loads(parts["machine.json"])["packages"]["websockets"]
        assert f"{CARD[:4]}…{CARD[-2:]}" in parts["journal.jsonl"]

    lived(story)


@pytest.mark.real
def test_no_secret_and_no_whole_token_is_in_a_bundle(ring: Ring, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    password.chmod(0o600)

    async def story(w: World) -> None:
        assert w.app is not None
        keys = w.app.config.store.path / "keys"
        keys.mkdir(exist_ok=True)
        (keys / "station.key").write_text(KEY_PEM)
        await w.charge(60)
        await w.central.call("ChangeConfiguration", {"key": "AuthorizationKey", "value": NEW_KEY})
        await w.advance(60)
        await w.central.call("SendLocalList", {
            "listVersion": 1, "updateType": "Full",
            "localAuthorizationList": [{"idTag": LISTED, "idTagInfo": {"status": "Accepted"}}]})
        await w.central.call("GetDiagnostics", {
            "location": "ftp://user:Canary-Url-0005@127.0.0.1:1/x?sig=Canary-Sig-0006",
            "retries": 0})
        await w.advance(30)
        log = logging.getLogger("cpctl.test")
        log.warning("refused: password=%s, Authorization: Basic %s", PASSWORD,
                    base64.b64encode(f"CP001:{PASSWORD}".encode()).decode())
        log.warning("tag %s, (%s), '%s' %s: %s", CARD, CARD.lower(), LISTED, NEW_KEY, CARD)
        log.warning("secret = CanarySecret0007\n%s", KEY_PEM.partition("\n")[0])
        parts = await unpacked(w)

        for name, text in parts.items():
            found = [canary for canary in CANARIES if canary.casefold() in text.casefold()]
            assert found == [], name
        assert "AuthorizationKey" in parts["settings.json"]
        assert "refused: password=***" in parts["log.txt"]

    lived(story, csms=f'security_profile = 1\npassword_file = "{password}"')


@pytest.mark.real
def test_the_span_of_time_selects_log_and_journal(ring: Ring) -> None:
    async def story(w: World) -> None:
        await w.charge(120)
        middle = w.time.wall()
        await w.advance(90)
        before, after = await unpacked(w, until=middle), await unpacked(w, since=middle)

        kinds = {name: [json.loads(line)["kind"] for line in parts["journal.jsonl"].splitlines()]
                 for name, parts in (("before", before), ("after", after))}
        assert "TransactionStarted" in kinds["before"]
        assert set(kinds["after"]) == {"TransactionSampled"}
        assert "boot answered" in after["log.txt"]  # the log goes by the clock of the machine
        assert before["log.txt"] == ""

    lived(story)


@pytest.mark.real
def test_files_are_gone_after_use_and_at_the_next_start() -> None:
    async def story(w: World) -> None:
        assert w.app is not None
        folder = w.app.config.store.path / FOLDER
        kept = await bundles(w).make(LogKind.SECURITY, "one.jsonl")
        await unpacked(w)
        assert [one for one in folder.rglob("*") if one.is_file()] == [kept]

        await w.kill()

        assert not (w.app.config.store.path / FOLDER).exists()

    lived(story)


def test_a_bundle_that_cannot_be_made_leaves_nothing_and_says_so() -> None:
    class Full(Children):
        async def run(self, module: str, order: Any, **how: Any) -> Any:
            Path(order["out"]).write_bytes(b"half")
            raise ChildFailed("disk_full", "No space left on device")

    async def story(w: World) -> None:
        made = bundles(w)
        made._children = Full()
        with pytest.raises(BundleFailed, match="No space left"):
            await made.make(LogKind.DIAGNOSTICS, "x.tar.gz")
        assert w.app is not None
        assert list((w.app.config.store.path / FOLDER).iterdir()) == []

    lived(story)


def test_a_bundle_is_made_when_the_books_cannot_be_read() -> None:
    """Their trouble may be why somebody wants it."""
    seen: list[Any] = []

    class Watched(Children):
        async def run(self, module: str, order: Any, **how: Any) -> Any:
            seen.append(order)
            return {}

    async def story(w: World) -> None:
        from cpctl.store.errors import JournalError

        async def broken(*_: Any) -> Any:
            raise JournalError("journal.db: the disk is gone")

        made = bundles(w)
        made._children = Watched()
        assert w.app is not None
        w.app.journal.newest = broken  # type: ignore[method-assign]
        await made.make(LogKind.DIAGNOSTICS, "x.tar.gz")

    lived(story)
    assert seen[0]["problems"] == ["the books cannot be read: journal.db: the disk is gone"]
    assert "books" not in seen[0]


def test_names_of_files_hold_nothing_that_leads_elsewhere() -> None:
    async def story(w: World) -> None:
        made = bundles(w)
        object.__setattr__(made._sources, "identity", "../..//CP 1/ä")
        name = made.name(LogKind.SECURITY, 12)
        assert "/" not in name and not name.startswith(".")
        assert name.endswith("-12.jsonl") and "security" in name

    lived(story)


@pytest.mark.parametrize("line", [
    'password = "CANARY1"', "AuthorizationKey=CANARY1", "wss://CP001:CANARY1@host/path",
    "sftp://CANARY1@host/", "ftp://CP1:a@CANARY1/b@host/", "https://host/a?X-Amz-Signature=CANARY1",
    "Authorization: Basic CANARY1x=", '{"key": "AuthorizationKey", "value": "CANARY1"}',
    '{"value":"CANARY1","key":"AuthorizationKey"}', '{"idTag": "CANARY1"}',
    "-----BEGIN EC PRIVATE KEY-----CANARY1", "Bearer CANARY1234"])
def test_what_looks_like_a_secret_goes_though_nobody_knew_it(line: str) -> None:
    assert "CANARY1" not in Redactor((), ()).line(line)


def test_known_tokens_and_secrets_are_found_wherever_they_stand() -> None:
    redactor = Redactor(["hunter-two"], ["04A1B2C3", "Tag with space", "ABC"])

    assert redactor.line("evse=1 04a1b2c3, 04A1B2C3: and 04A1B2C39") == (
        "evse=1 04a1…c3, 04A1…C3: and 04A1B2C39")
    assert redactor.line("hunter-two 68756e7465722d74776f") == "*** ***"
    assert "tag with space" not in redactor.line("for tag with space today").lower()
    assert redactor.line("ABC alphabet") == "ABC alphabet"  # too short to be looked for
    assert redactor.value({
        "password": "x", "a": {"client_key": 1}, "key_file": "k.pem", "none": None,
        "token": ["04DEADBEEF", "ISO14443"], "token_text": "04deadbeef"}) == {
        "password": "***", "a": {"client_key": "***"}, "key_file": "k.pem", "none": None,
        "token": ["04DE…EF", "ISO14443"], "token_text": "04de…ef"}


def test_only_the_newest_of_a_long_part_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                              ) -> None:
    from cpctl.services import bundle_child

    monkeypatch.setattr(bundle_child, "MOST_PART_BYTES", 1000)
    monkeypatch.setattr(bundle_child.resource, "setrlimit", lambda *_: None)
    out, lines, tokens = tmp_path / "x-diagnostics-1.tar.gz", tmp_path / "l", tmp_path / "t"
    lines.write_text("".join(f'[{n}, "line {n}"]\n' for n in range(1000)))
    tokens.touch()
    bundle_child.work({
        "out": str(out), "kind": "DiagnosticsLog", "secrets": [], "tokens": str(tokens),
        "problems": [], "since": None, "until": None, "lines": str(lines),
        "config_files": [str(tmp_path / "none.toml")], "pictures": {}, "store": str(tmp_path)},
        lambda told: None)

    with tarfile.open(out) as archive:
        texts = {one.name: archive.extractfile(one).read().decode()  # type: ignore[union-attr]
                 for one in archive.getmembers()}
    assert len(texts["log.txt"]) <= 1000 and texts["log.txt"].endswith("line 999\n")
    assert "log.txt: only the newest part" in texts["problems.txt"]
    assert "none.toml cannot be read" in texts["problems.txt"]


