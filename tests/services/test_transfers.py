"""Uploads and downloads against real servers of this machine: HTTP(S), FTP(S), SFTP."""

import asyncio
import contextlib
import os
import random
import resource
import socket
import subprocess
from collections.abc import Coroutine, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from support import file_servers
from support.file_servers import PASSWORD, USER, FileServer, Trouble
from support.pki import EXPIRED, Authority, self_signed, server_context

from cpctl.services.child import Children
from cpctl.services.transfer import (
    TransferFailed,
    Transfers,
    forget,
    resume_file,
    scrubbed,
    shown,
)

ROOT = Authority("Files Root")
SERVER = ROOT.server("127.0.0.1", "localhost", "::1")
KINDS = ("http", "https", "ftp", "ftps", "sftp")
MIB = 1 << 20
pytestmark = pytest.mark.real


def serving(kind: str, folder: Path, **more: Any) -> AbstractContextManager[FileServer]:
    folder.mkdir(exist_ok=True)
    if kind.startswith("http"):
        return file_servers.http_server(folder, tls=SERVER if kind == "https" else None, **more)
    if kind.startswith("ftp"):
        return file_servers.ftp_server(folder, tls=SERVER if kind == "ftps" else None, **more)
    return file_servers.sftp_server(folder, **more)


def transfers(tmp_path: Path, **how: Any) -> Transfers:
    how.setdefault("roots", lambda: ROOT.pem)
    return Transfers(how.pop("children", None) or Children(), tmp_path, **how)


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def run(coro: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coro)


def failing(coro: Coroutine[Any, Any, Any]) -> TransferFailed:
    with pytest.raises(TransferFailed) as caught:
        run(coro)
    return caught.value


def upload(tmp_path: Path, url: str, **how: Any) -> Coroutine[Any, Any, None]:
    file = tmp_path / "diag.tar.gz"
    file.write_bytes(content(300_000))
    moves = how.pop("moves", None) or transfers(tmp_path)
    return moves.upload(file, url, limit_s=how.pop("limit_s", 20), **how)


def download(tmp_path: Path, url: str, **how: Any) -> Coroutine[Any, Any, None]:
    moves = how.pop("moves", None) or transfers(tmp_path)
    return moves.download(url, tmp_path / "got.bin", limit_bytes=how.pop("limit_bytes", MIB),
                          limit_s=how.pop("limit_s", 20), **how)


# --- whole ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.requirement("16.DIAG.4")
def test_a_file_goes_up_whole_and_comes_down_whole(kind: str, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    with serving(kind, tmp_path / "there", **({"login": True} if kind[0] == "h" else {})) as server:
        run(upload(tmp_path, server.url(), told=lambda done, of: told.append((done, of))))
        run(download(tmp_path, server.url("diag.tar.gz")))

        assert (server.folder / "diag.tar.gz").read_bytes() == content(300_000)
    assert (tmp_path / "got.bin").read_bytes() == content(300_000)
    assert (tmp_path / "got.bin").stat().st_mode & 0o077 == 0
    assert told[-1] == (300_000, 300_000)


def test_a_post_carries_the_file_in_a_form(tmp_path: Path) -> None:
    with serving("http", tmp_path / "there") as server:
        run(upload(tmp_path, server.url("take.me"), moves=transfers(tmp_path, post=lambda: True)))

        form = (server.folder / "take.me").read_bytes()
    boundary = server.headers[0]["content-type"].partition("boundary=")[2].encode()
    head, _, body = form.partition(b"\r\n\r\n")
    assert server.seen == ["POST /take.me"]
    assert b'name="file"; filename="diag.tar.gz"' in head and head.startswith(b"--" + boundary)
    assert body == content(300_000) + b"\r\n--" + boundary + b"--\r\n"


@pytest.mark.parametrize("kind", ["http", "ftp", "sftp"])
def test_a_location_that_is_a_file_is_that_file(kind: str, tmp_path: Path) -> None:
    with serving(kind, tmp_path / "there") as server:
        (server.folder / "logs").mkdir()
        run(upload(tmp_path, server.url("logs/of CP 1%.gz")))

        assert [one.name for one in (server.folder / "logs").iterdir()] == ["of CP 1%.gz"]


@pytest.mark.parametrize("kind", ["ftp", "sftp"])
@pytest.mark.requirement("16.DIAG.4")
def test_a_location_that_is_a_directory_gets_the_file_by_its_name(kind: str, tmp_path: Path
                                                                  ) -> None:
    with serving(kind, tmp_path / "there") as server:
        (server.folder / "logs").mkdir()
        run(upload(tmp_path, server.url("logs")))

        assert [one.name for one in (server.folder / "logs").iterdir()] == ["diag.tar.gz"]


def test_a_signed_address_is_left_as_it_is(tmp_path: Path) -> None:
    with serving("http", tmp_path / "there") as server:
        run(upload(tmp_path, server.url("bucket") + "?X-Signature=a%2Fb&n=1"))

    assert server.seen == ["PUT /bucket?X-Signature=a%2Fb&n=1"]


def test_ipv6_addresses_and_names_in_percent_code_are_understood(tmp_path: Path) -> None:
    with serving("https", tmp_path / "there", host="::1", login=True) as server:
        run(upload(tmp_path, server.url("größe & co.gz")))

        assert (server.folder / "größe & co.gz").stat().st_size == 300_000


def test_no_proxy_and_no_netrc_of_the_machine_takes_part(tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login someone password other\n")
    (tmp_path / ".netrc").chmod(0o600)
    for name in ("http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("HOME", str(tmp_path))

    with serving("http", tmp_path / "there") as server:
        run(upload(tmp_path, server.url()))

    assert "authorization" not in server.headers[0]


def test_a_large_file_costs_no_memory(tmp_path: Path) -> None:
    """96 MiB there and back by a child that never has more than a fraction of it."""
    file = tmp_path / "large"
    with file.open("wb") as sparse:
        sparse.truncate(96 * MIB)
    highest: list[int] = []

    async def watched(work: Coroutine[Any, Any, None]) -> None:
        going = asyncio.create_task(work)
        while not going.done():
            await asyncio.sleep(0.02)
            highest.extend(_memory_of_transfers())
        going.result()

    with serving("ftp", tmp_path / "there") as server:
        run(watched(transfers(tmp_path).upload(file, server.url(), limit_s=60)))
        run(watched(download(tmp_path, server.url("large"), limit_bytes=96 * MIB, limit_s=60)))

    assert (tmp_path / "got.bin").stat().st_size == 96 * MIB
    assert 0 < max(highest) < 48 * 1024


def _memory_of_transfers() -> Iterator[int]:
    """The most memory (KiB) that each transfer has had so far."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if "transfer_child" in (process / "cmdline").read_text(errors="replace"):
                for line in (process / "status").read_text().splitlines():
                    if line.startswith("VmHWM"):
                        yield int(line.split()[1])


# --- cut in the middle ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_download_cut_in_the_middle_is_gone_on_with(kind: str, tmp_path: Path) -> None:
    into = tmp_path / "got.bin"
    told: list[int] = []
    with serving(kind, tmp_path / "there") as server:
        (server.folder / "a file.bin").write_bytes(content(900_000))
        url = server.url("a file.bin")
        server.trouble = Trouble(cut_at=500_000)

        failed = failing(download(tmp_path, url))
        had = into.stat().st_size
        run(download(tmp_path, url, told=lambda done, of: told.append(done)))

    assert failed.kind == "cut"
    assert 0 < had <= 500_000
    assert into.read_bytes() == content(900_000)
    assert told[0] > had  # it did not begin anew
    assert not resume_file(into).exists()


@pytest.mark.parametrize("kind", ["http", "ftp", "sftp"])
def test_a_download_is_not_gone_on_with_when_the_file_has_changed(kind: str, tmp_path: Path
                                                                  ) -> None:
    with serving(kind, tmp_path / "there") as server:
        file = server.folder / "release"
        file.write_bytes(content(900_000))
        server.trouble = Trouble(cut_at=500_000)
        failing(download(tmp_path, server.url("release")))
        file.write_bytes(content(900_001))
        os.utime(file, (1, 1))

        run(download(tmp_path, server.url("release")))

    assert (tmp_path / "got.bin").read_bytes() == content(900_001)


def test_what_is_left_of_another_address_is_not_gone_on_with(tmp_path: Path) -> None:
    with serving("http", tmp_path / "there") as server:
        for name, size in (("one", 900_000), ("two", 800_000)):
            (server.folder / name).write_bytes(content(size))
        server.trouble = Trouble(cut_at=500_000)
        failing(download(tmp_path, server.url("one")))

        run(download(tmp_path, server.url("two")))

    assert (tmp_path / "got.bin").read_bytes() == content(800_000)


def test_a_download_that_is_not_wanted_any_more_leaves_nothing(tmp_path: Path) -> None:
    with serving("http", tmp_path / "there") as server:
        (server.folder / "one").write_bytes(content(900_000))
        server.trouble = Trouble(cut_at=500_000)
        failing(download(tmp_path, server.url("one")))

    forget(tmp_path / "got.bin")

    assert [one.name for one in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize("kind", KINDS)
def test_an_upload_cut_in_the_middle_is_whole_after_a_second_try(kind: str, tmp_path: Path
                                                                 ) -> None:
    with serving(kind, tmp_path / "there") as server:
        server.trouble = Trouble(cut_at=150_000)

        failed = failing(upload(tmp_path, server.url()))
        run(upload(tmp_path, server.url(), resume=True))

        assert (server.folder / "diag.tar.gz").read_bytes() == content(300_000)
    assert failed.kind == "cut"
    if kind.startswith("ftp"):
        assert any(line.startswith("REST ") and line != "REST 0" for line in server.seen)


# --- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_password_is_named_and_does_not_appear(kind: str, tmp_path: Path,
                                                       caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with serving(kind, tmp_path / "there", **({"login": True} if kind[0] == "h" else {})) as server:
        failed = failing(upload(tmp_path, server.url(password="canary-1234")))

    assert failed.kind == "permission"
    assert "canary" not in str(failed) + caplog.text


@pytest.mark.parametrize("kind", ["ftp", "sftp"])
def test_a_place_that_may_not_be_written_is_named(kind: str, tmp_path: Path) -> None:
    with serving(kind, tmp_path / "there", writable=False) as server:
        assert failing(upload(tmp_path, server.url())).kind == "permission"


@pytest.mark.parametrize(("status", "kind"), [
    (400, "bad_message"), (403, "permission"), (404, "bad_message"), (405, "unsupported"),
    (413, "too_large"), (501, "unsupported"), (503, "unreachable"), (507, "disk_full")])
def test_what_an_http_server_answers_is_named(status: int, kind: str, tmp_path: Path) -> None:
    with serving("http", tmp_path / "there") as server:
        server.trouble = Trouble(status=status)

        failed = failing(upload(tmp_path, server.url()))

    assert (failed.kind, str(status) in failed.detail) == (kind, True)


@pytest.mark.parametrize("kind", ["http", "ftp", "sftp"])
def test_a_file_that_is_not_there_is_not_had(kind: str, tmp_path: Path) -> None:
    with serving(kind, tmp_path / "there") as server:
        failed = failing(download(tmp_path, server.url("nothing.bin")))

    assert failed.kind in ("bad_message", "permission")
    assert not (tmp_path / "got.bin").exists()


@pytest.mark.parametrize("url", [
    "tftp://127.0.0.1/a", "file:///etc/passwd", "scp://127.0.0.1/a", "nonsense", "", "http://",
    "http://[::1/a", "http://127.0.0.1:99999/a", "ftp://127.0.0.1/a%0d%0aDELE%20b",
    "ftp://us%0aer:x@127.0.0.1/a", "http://host name/a", "data:text/plain,x", "//127.0.0.1/a"])
@pytest.mark.requirement("16.DIAG.4")
def test_an_address_of_another_kind_is_refused_and_nothing_breaks(url: str, tmp_path: Path
                                                                  ) -> None:
    from cpctl.services.child import ChildFailed
    from cpctl.services.transfer_child import work

    (tmp_path / "f").write_bytes(b"x")

    with pytest.raises(ChildFailed) as caught:
        work({"act": "upload", "url": url, "file": str(tmp_path / "f"), "roots": "", "idle_s": 5.0,
              "name": "f", "resume": False, "post": False}, lambda told: None)

    assert caught.value.kind == "unsupported"


def test_nobody_there_is_unreachable(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening
        port = taken.getsockname()[1]
        for scheme in ("http", "ftp", "sftp"):
            failed = failing(download(tmp_path, f"{scheme}://127.0.0.1:{port}/a"))
            assert failed.kind == "unreachable", scheme


def test_a_name_that_nobody_knows_is_unreachable(tmp_path: Path) -> None:
    assert failing(download(tmp_path, "https://station.invalid/a")).kind == "unreachable"


# --- TLS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["expired", "other_root", "self_signed", "wrong_host"])
def test_a_server_with_a_bad_certificate_gets_nothing(fault: str, tmp_path: Path) -> None:
    credential = {
        "expired": lambda: ROOT.server("127.0.0.1", valid=EXPIRED),
        "other_root": lambda: Authority("Other Root").server("127.0.0.1"),
        "self_signed": lambda: self_signed("127.0.0.1"),
        "wrong_host": lambda: ROOT.server("files.example"),
    }[fault]()
    (tmp_path / "there").mkdir()
    for server in (file_servers.http_server, file_servers.ftp_server):
        with server(tmp_path / "there", tls=credential) as files:
            failed = failing(upload(tmp_path, files.url()))
            assert (failed.kind, "certificate" in failed.detail) == ("tls", True)
            assert not [line for line in files.seen if line.startswith(("PUT", "USER"))]


def test_tls_older_than_1_2_is_not_spoken(tmp_path: Path) -> None:
    import ssl
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old = server_context(SERVER, minimum=ssl.TLSVersion.TLSv1, maximum=ssl.TLSVersion.TLSv1_1,
                             ciphers="ALL:@SECLEVEL=0")
    (tmp_path / "there").mkdir()
    with file_servers.http_server(tmp_path / "there", tls=old) as server:
        assert failing(upload(tmp_path, server.url())).kind == "tls"


def test_a_server_that_offers_no_tls_gets_no_password(tmp_path: Path) -> None:
    with serving("ftps", tmp_path / "there", offers_tls=False) as server:
        failed = failing(upload(tmp_path, server.url()))

    assert failed.kind == "tls"
    assert not any(line.startswith("USER") for line in server.seen)


def test_tls_from_the_first_byte_is_spoken_on_its_port(tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, so that another port may stand for 990."""
    from cpctl.services import transfer_ftp
    from cpctl.services.transfer_child import work

    file = tmp_path / "log"
    file.write_bytes(content(200_000))
    with serving("ftps", tmp_path / "there", implicit=True) as server:
        monkeypatch.setattr(transfer_ftp, "IMPLICIT_FTPS", server.port)
        work({"act": "upload", "url": server.url(), "file": str(file), "roots": ROOT.pem,
              "idle_s": 5.0, "name": "log", "resume": False, "post": False}, lambda told: None)

        assert (server.folder / "log").read_bytes() == content(200_000)


def test_a_host_key_that_changes_is_refused(tmp_path: Path) -> None:
    with serving("sftp", tmp_path / "there") as server:
        run(upload(tmp_path, server.url()))
        run(upload(tmp_path, server.url()))
        port = server.port
    assert (tmp_path / "known_hosts").stat().st_mode & 0o077 == 0

    with serving("sftp", tmp_path / "there", port=port) as server:
        failed = failing(upload(tmp_path, server.url()))

    assert failed.kind == "tls"
    assert server.seen == []


def test_https_is_not_led_away_to_http(tmp_path: Path) -> None:
    with serving("http", tmp_path / "a") as plain, serving("https", tmp_path / "b") as server:
        server.redirect = {"/a": plain.url("a"), "/b": server.url("c")}

        failed = failing(upload(tmp_path, server.url("a")))
        run(upload(tmp_path, server.url("b")))

        assert (server.folder / "c").stat().st_size == 300_000
    assert (failed.kind, plain.seen) == ("tls", [])


def test_redirects_end_and_no_password_goes_to_another_host(tmp_path: Path) -> None:
    with serving("http", tmp_path / "a", login=True) as first, (
            serving("http", tmp_path / "b")) as second:
        first.redirect = {"/to": second.url("c"), "/round": first.url("round")}

        run(upload(tmp_path, first.url("to")))
        failed = failing(upload(tmp_path, first.url("round")))

    assert "authorization" in first.headers[0] and "authorization" not in second.headers[0]
    assert (failed.kind, first.seen.count("PUT /round")) == ("bad_message", 6)


# --- full, too large, hanging --------------------------------------------------------------------


class SmallDisk(Children):
    """Children that may write files of 100 000 bytes only, as on a full disk."""

    async def run(self, module: str, order: Any, **how: Any) -> Any:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            return await super().run(module, order, **how)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("kind", ["http", "ftp", "sftp"])
def test_a_limit_on_files_is_named_and_nothing_stays(kind: str, tmp_path: Path) -> None:
    with serving(kind, tmp_path / "there") as server:
        (server.folder / "one").write_bytes(content(900_000))
        moves = transfers(tmp_path, children=SmallDisk())
        failed = failing(download(tmp_path, server.url("one"), moves=moves))

    assert failed.kind == "disk_full"
    assert not list(tmp_path.glob("got*"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(folder)],
                          capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this user may not mount a small disk; the limit on files stands in for it")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_named_and_nothing_stays(small_disk: Path, tmp_path: Path) -> None:
    with serving("http", tmp_path / "there") as server:
        (server.folder / "one").write_bytes(content(900_000))
        failed = failing(transfers(tmp_path).download(
            server.url("one"), small_disk / "got.bin", limit_bytes=MIB, limit_s=20))

    assert failed.kind == "disk_full"
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("kind", ["http", "ftp", "sftp"])
def test_a_file_above_the_limit_is_not_taken(kind: str, tmp_path: Path) -> None:
    with serving(kind, tmp_path / "there") as server:
        (server.folder / "one").write_bytes(content(900_000))
        failed = failing(download(tmp_path, server.url("one"), limit_bytes=899_999))

    assert failed.kind == "too_large"
    assert not list(tmp_path.glob("got*"))


@pytest.mark.parametrize("kind", ["http", "ftp", "sftp"])
def test_a_server_that_hangs_is_left(kind: str, tmp_path: Path) -> None:
    with serving(kind, tmp_path / "there") as server:
        server.trouble = Trouble(hang=True)
        moves = transfers(tmp_path, idle_s=0.5)
        failed = failing(upload(tmp_path, server.url(), moves=moves))

    assert failed.kind == "timeout"


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_takes_the_connection_and_says_nothing_is_left(kind: str, tmp_path: Path
                                                                     ) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"{kind}://127.0.0.1:{mute.getsockname()[1]}/a"
        failed = failing(download(tmp_path, url, moves=transfers(tmp_path, idle_s=0.3)))

    assert failed.kind in ("timeout", "unreachable")
    assert "answer" in failed.detail


def test_a_transfer_has_an_end_however_slow_it_is(tmp_path: Path) -> None:
    with serving("http", tmp_path / "there") as server:
        server.trouble = Trouble(hang=True)
        failed = failing(upload(tmp_path, server.url(), limit_s=1.0))

    assert failed.kind == "timeout"


def test_a_child_that_dies_is_a_failure_with_a_name(tmp_path: Path) -> None:
    class Mute(Children):
        async def run(self, module: str, order: Any, **how: Any) -> Any:
            return await super().run("this", order, **how)  # a module that says other things

    assert failing(upload(tmp_path, "http://127.0.0.1/", moves=transfers(
        tmp_path, children=Mute()))).kind == "died"


# --- nothing that is secret is shown -------------------------------------------------------------


def test_an_address_is_shown_without_its_secrets() -> None:
    url = f"https://{USER}:canary@files.example:8443/a/b?sig=canary"

    assert shown(url) == "https://files.example:8443/a/b?…"
    assert shown("http://[::1") == "(an address that cannot be read)"
    assert "canary" not in scrubbed(f"cannot reach {url} (canary, sig=canary)", url)
    assert scrubbed("pässword pw", "ftp://u:p%C3%A4ssword@h/") == "*** pw"


def test_the_order_stands_in_no_list_of_processes(tmp_path: Path) -> None:
    """A password among the arguments could be read by everybody on the machine."""
    seen: list[str] = []
    with serving("http", tmp_path / "there", login=True) as server:
        server.trouble = Trouble(hang=True)

        async def watched() -> None:
            going = asyncio.create_task(upload(tmp_path, server.url(), limit_s=20))
            while not server.seen:
                await asyncio.sleep(0.02)
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    seen.append((process / "cmdline").read_text(errors="replace"))
                except OSError:
                    continue
            going.cancel()
            await asyncio.wait({going})

        run(watched())

    assert any("transfer_child" in one for one in seen)
    assert not any(PASSWORD in one or "%2Fk" in one for one in seen)


