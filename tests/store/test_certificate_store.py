"""The store of certificates: files that are there whole, an index that decides, order of trust."""

import errno
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support import virtual_loop

from cpctl.core.jobs import CertificateHash, CertificateUse
from cpctl.core.now import Now, TimeQuality
from cpctl.store.certificates import (
    INDEX,
    Certificate,
    CertificateStore,
    Configured,
    PendingKey,
    Renewal,
    State,
    file_of,
)
from cpctl.store.db import InlineWriter
from cpctl.store.errors import StoreError

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
CSMS, MAKER = CertificateUse.CSMS_ROOT, CertificateUse.MANUFACTURER_ROOT


def clock(utc: datetime = NOON, quality: TimeQuality = TimeQuality.NTP) -> Callable[[], Now]:
    return lambda: Now(0, "boot-1", utc, quality)


def root(letter: str, use: CertificateUse = CSMS, *, begins: datetime = NOON - 100 * DAY,
         fallback: bool = False) -> Certificate:
    fingerprint = letter * 64
    return Certificate(
        file_of(use, fingerprint), use, NOON, f"CN={letter}", f"CN={letter}", "1f", fingerprint,
        begins, begins + 3650 * DAY, (CertificateHash("SHA256", "aa" * 32, "bb" * 32, "1f"),),
        fallback=fallback)


def own(letter: str, begins: datetime, days: int = 365) -> Certificate:
    fingerprint = letter * 64
    return Certificate(
        file_of(None, fingerprint), None, NOON, f"CN={letter}", "CN=root", "2", fingerprint,
        begins, begins + days * DAY, (CertificateHash("SHA256", "cc" * 32, "dd" * 32, "2"),),
        key=f"key-{letter * 16}.pem")


def text(one: Certificate) -> str:
    return f"PEM of {one.fingerprint}\n" * 40


def state(*certificates: Certificate, **more: object) -> State:
    return replace(State(certificates), **more)  # type: ignore[arg-type]


async def opened(folder: Path, configured: Configured | None = None,
                 trace: Callable[[str], None] | None = None,
                 now: Callable[[], Now] | None = None) -> CertificateStore:
    return await CertificateStore.open(folder, InlineWriter(), now or clock(), configured, trace)


async def filled(folder: Path, wanted: State, **how: object) -> CertificateStore:
    store = await opened(folder, **how)  # type: ignore[arg-type]
    keys = {one.key: "KEY\n" for one in wanted.certificates if one.key}
    await store.put(wanted, {one.file: text(one) for one in wanted.certificates} | keys)
    return store


def names(paths: tuple[Path, ...]) -> list[str]:
    return [one.name for one in paths]


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.requirement("A02.FR.05")
def test_folder_and_files_are_closed_to_others_from_the_moment_they_are_made(
        tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    modes: list[int] = []

    def look(step: str) -> None:
        modes.extend(one.stat().st_mode & 0o777 for one in folder.glob("*") if one.is_file())

    async def story() -> None:
        store = await opened(folder, trace=look)
        await store.put(state(own("a", NOON - DAY)),
                        {file_of(None, "a" * 64): "x", "key-aaaaaaaaaaaaaaaa.pem": "secret"})

    virtual_loop.run(story())

    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(modes) > 6
    assert set(modes) == {0o600}


def test_a_folder_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o755)

    virtual_loop.run(opened(folder))

    assert folder.stat().st_mode & 0o777 == 0o700


def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    wanted = state(root("a"), root("b", MAKER), own("c", NOON - DAY),
                   pending=(PendingKey("key-dddddddddddddddd.pem", "CSR", NOON),),
                   imported=("e" * 64,), renewal=Renewal(2, NOON + DAY))

    async def story() -> State:
        store = await filled(tmp_path, state(root("a"), root("b", MAKER), own("c", NOON - DAY)))
        await store.put(wanted, {"key-dddddddddddddddd.pem": "KEY"})
        return (await opened(tmp_path)).state

    assert virtual_loop.run(story()) == wanted


class PowerCut(Exception):
    pass


def test_a_power_cut_at_any_step_leaves_the_old_or_the_new_state_whole(tmp_path: Path) -> None:
    before = state(root("a"), own("b", NOON - 20 * DAY))
    after = state(root("c"), own("b", NOON - 20 * DAY), own("d", NOON - DAY))
    files = {one.file: text(one) for one in after.certificates} | {
        "key-dddddddddddddddd.pem": "KEY\n"}
    seen: set[State] = set()

    async def cut_at(folder: Path, number: int) -> bool:
        """Whether the cut came before all was done."""
        steps = 0

        def trace(step: str) -> None:
            nonlocal steps
            steps += 1
            if steps == number:
                raise PowerCut(step)

        await filled(folder, before)
        store = await opened(folder, trace=trace)
        try:
            await store.put(after, files)
        except PowerCut:
            found = await opened(folder)
            assert found.state in (before, after)
            assert not found.rebuilt
            for one in found.state.certificates:
                assert await found.text(one.file) == text(one)
                assert not one.key or await found.text(one.key) == "KEY\n"
            kept = {one.name for one in folder.iterdir()}
            assert kept == found.state.files | {INDEX}
            seen.add(found.state)
            return True
        return False

    for number in range(1, 200):
        if not virtual_loop.run(cut_at(tmp_path / str(number), number)):
            break
    assert number > 25
    assert seen == {before, after}


def test_content_is_on_the_disk_before_its_name_is(tmp_path: Path) -> None:
    steps: list[str] = []

    virtual_loop.run(filled(tmp_path, state(root("a")), trace=steps.append))

    for at, step in enumerate(steps):
        if step.startswith("rename"):
            assert steps[at - 1] == step.replace("rename", "sync")
            assert steps[at + 1] == "sync folder"
    assert [one.split()[1] for one in steps if one.startswith("rename")] == [
        f"{root('a').file}.new", f"{INDEX}.new"]


def test_a_full_disk_leaves_the_old_state_and_says_so(tmp_path: Path) -> None:
    full = False

    def trace(step: str) -> None:
        if full and step.startswith("write"):
            raise OSError(errno.ENOSPC, "No space left on device")

    async def story() -> None:
        nonlocal full
        store = await filled(tmp_path, state(root("a")), trace=trace)
        full = True
        with pytest.raises(StoreError, match="No space left"):
            await store.put(state(root("a"), root("b")), {root("b").file: "x"})
        assert store.state == state(root("a"))
        full = False
        await store.put(state(root("b")), {root("b").file: "x"})
        assert names(store.trust_files(CSMS)) == [root("b").file]

    virtual_loop.run(story())


def test_a_damaged_index_is_made_anew_from_the_names_of_the_files(
        tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    wanted = state(root("a"), root("b", MAKER), own("c", NOON - DAY))
    virtual_loop.run(filled(tmp_path / "good", wanted))
    content = (tmp_path / "good" / INDEX).read_bytes()

    async def damaged(number: int, spoiled: bytes) -> None:
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "good", folder)
        (folder / INDEX).write_bytes(spoiled)
        store = await opened(folder)
        assert store.rebuilt
        assert names(store.trust_files(CSMS)) == [root("a").file]
        assert names(store.trust_files(MAKER)) == [root("b", MAKER).file]
        assert not any(one.described for one in store.state.certificates)
        assert {one.name for one in folder.iterdir()} == wanted.files | {INDEX}

    for number in range(40):
        at, bit = chance.randrange(len(content)), 1 << chance.randrange(8)
        spoiled = content[:at] + bytes([content[at] ^ bit]) + content[at + 1:]
        virtual_loop.run(damaged(number, spoiled))
    for number, spoiled in enumerate((b"", content[:50], b"{}", content.replace(b"[", b"{"))):
        virtual_loop.run(damaged(100 + number, spoiled))


def test_an_index_of_another_release_is_made_anew(tmp_path: Path) -> None:
    import zlib

    virtual_loop.run(filled(tmp_path, state(root("a"))))
    body = json.dumps(["something", "else"]).encode()
    (tmp_path / INDEX).write_bytes(b"%08x\n" % zlib.crc32(body) + body)

    store = virtual_loop.run(opened(tmp_path))

    assert store.rebuilt
    assert names(store.trust_files(CSMS)) == [root("a").file]


def test_a_lost_index_is_made_anew_and_an_empty_folder_is_no_loss(tmp_path: Path) -> None:
    assert not virtual_loop.run(opened(tmp_path / "new")).rebuilt
    virtual_loop.run(filled(tmp_path, state(root("a"))))
    (tmp_path / INDEX).unlink()

    assert virtual_loop.run(opened(tmp_path)).rebuilt


def test_a_file_removed_by_hand_is_forgotten_aloud(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    virtual_loop.run(filled(tmp_path, state(root("a"), own("b", NOON - DAY))))
    (tmp_path / own("b", NOON).key).unlink()

    store = virtual_loop.run(opened(tmp_path))

    assert store.state == state(root("a"))
    assert "gone from the store" in caplog.text


def test_what_no_index_names_is_swept_away(tmp_path: Path) -> None:
    virtual_loop.run(filled(tmp_path, state(root("a"))))
    (tmp_path / "key-9999999999999999.pem").write_text("left by a cut")
    (tmp_path / "index.json.new").write_text("half")

    virtual_loop.run(opened(tmp_path))

    assert {one.name for one in tmp_path.iterdir()} == {root("a").file, INDEX}


# --- what is trusted, what is shown --------------------------------------------------------------


@pytest.mark.requirement("16.SEC.10", "A02.FR.09")
def test_of_several_valid_certificates_the_newest_is_shown_first(tmp_path: Path) -> None:
    old, newer, future = (own("a", NOON - 300 * DAY), own("b", NOON - 10 * DAY),
                          own("c", NOON + DAY))
    expired = own("d", NOON - 400 * DAY, days=30)

    store = virtual_loop.run(filled(tmp_path, state(old, future, expired, newer)))

    shown = store.client_credentials()
    assert [one.cert.name for one in shown] == [newer.file, old.file]
    assert [one.key.name for one in shown] == [newer.key, old.key]
    assert shown[0].not_after == newer.not_after


def test_with_a_clock_that_is_not_trusted_all_certificates_may_be_shown(tmp_path: Path) -> None:
    behind = clock(datetime(2020, 1, 1, tzinfo=UTC), TimeQuality.FLOOR)
    one, other = own("a", NOON - 300 * DAY), own("b", NOON - 10 * DAY)

    store = virtual_loop.run(filled(tmp_path, state(one, other), now=behind))

    assert [each.cert.name for each in store.client_credentials()] == [other.file, one.file]


def test_when_none_is_valid_the_central_system_may_judge_what_there_is(tmp_path: Path) -> None:
    expired = own("a", NOON - 400 * DAY, days=30)

    store = virtual_loop.run(filled(tmp_path, state(expired)))

    assert [one.cert.name for one in store.client_credentials()] == [expired.file]


@pytest.mark.requirement("16.SEC.13", "M05.FR.13")
def test_the_replaced_root_is_tried_after_the_new_one_and_alone(tmp_path: Path) -> None:
    store = virtual_loop.run(filled(tmp_path, state(root("a", fallback=True), root("b"))))

    assert [names(one) for one in store.trust_sets()] == [[root("b").file], [root("a").file]]
    assert names(store.trust_files(CSMS)) == [root("b").file, root("a").file]


def test_several_roots_are_one_set(tmp_path: Path) -> None:
    newer = root("b", begins=NOON - DAY)

    store = virtual_loop.run(filled(tmp_path, state(root("a"), newer, root("c", MAKER))))

    assert [names(one) for one in store.trust_sets()] == [[newer.file, root("a").file]]


def test_files_of_the_configuration_are_used_until_they_are_in_the_store(tmp_path: Path) -> None:
    ca, maker, certificate, key = (tmp_path / name for name in ("ca", "maker", "cert", "key"))
    for one in (ca, maker, certificate, key):
        one.write_text(one.name)
    named = Configured((ca,), (maker,), (certificate, key))

    async def story() -> None:
        store = await opened(tmp_path / "keys", named)
        assert store.trust_sets() == ((ca,),)
        assert store.trust_files(MAKER) == (maker,)
        assert [(one.cert, one.key) for one in store.client_credentials()] == [(certificate, key)]
        changes: list[int] = []
        end = store.listen(lambda: changes.append(1))
        taken = tuple(one.content for one in store.waiting)
        await store.put(state(root("a"), imported=taken), {root("a").file: "x"})
        end()
        await store.put(store.state)
        assert changes == [1]
        assert store.waiting == ()
        assert names(store.trust_files(CSMS)) == [root("a").file]
        assert store.trust_files(MAKER) == ()

        again = await opened(tmp_path / "keys", named)
        assert again.waiting == ()
        ca.write_text("another content")
        changed = await opened(tmp_path / "keys", named)
        assert [one.path for one in changed.waiting] == [ca]

    virtual_loop.run(story())


def test_a_root_is_in_use_while_the_connection_stands_on_it(tmp_path: Path) -> None:
    from hashlib import sha256

    der = b"the root in DER"
    used = replace(root("a"), fingerprint=sha256(der).hexdigest())
    shown: list[Certificate | None] = []

    async def story() -> None:
        store = await filled(tmp_path, state(used, root("b"), own("c", NOON - DAY)))
        store.on_connected = shown.append
        store.connected((b"the server's own", der), store.path / own("c", NOON).file)
        assert store.in_use(used)
        assert not store.in_use(root("b"))
        store.disconnected()
        assert not store.in_use(used)

    virtual_loop.run(story())

    assert shown == [own("c", NOON - DAY)]


@pytest.mark.requirement("16.SEC.15")
@pytest.mark.parametrize(("change", "same"), [
    ({}, True), ({"serial": "001F"}, True), ({"issuer_name": "AA" * 32}, True),
    ({"serial": "1e"}, False), ({"issuer_key": "ba" * 32}, False),
    ({"algorithm": "SHA384"}, False)])
def test_a_certificate_is_named_by_its_hashes_whatever_the_case(
        change: dict[str, str], same: bool) -> None:
    asked = replace(CertificateHash("SHA256", "aa" * 32, "bb" * 32, "1f"), **change)

    assert root("a").named_by(asked) is same
