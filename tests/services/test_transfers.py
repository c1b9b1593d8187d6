"""Uploads and downloads against real servers of this machine: HTTPS, FTP, FTPS, SFTP."""

import asyncio
import random
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from support import file_servers
from support.file_servers import FileServer, Trouble
from support.pki import Authority

from cpctl.services.child import Children
from cpctl.services.transfer import TransferFailed, Transfers, resume_file

ROOT = Authority("Files Root")
SERVER = ROOT.server("127.0.0.1", "localhost", "::1")
KINDS = ("http", "https", "ftp", "ftps", "sftp")
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
    return Transfers(Children(), tmp_path, **how)


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def run(coro: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coro)


def failing(coro: Coroutine[Any, Any, Any]) -> TransferFailed:
    with pytest.raises(TransferFailed) as caught:
        run(coro)
    return caught.value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.requirement("16.DIAG.4")
def test_a_file_goes_up_whole(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "diag.tar.gz"
    file.write_bytes(content(300_000))
    told: list[tuple[int, int | None]] = []

    with serving(kind, tmp_path / "there", **({"login": True} if kind[0] == "h" else {})) as server:
        run(transfers(tmp_path).upload(file, server.url(""), limit_s=20,
                                       told=lambda done, of: told.append((done, of))))

        assert (server.folder / "diag.tar.gz").read_bytes() == content(300_000)
    assert told[-1] == (300_000, 300_000)


@pytest.mark.parametrize("kind", KINDS)
def test_a_download_cut_in_the_middle_is_gone_on_with(kind: str, tmp_path: Path) -> None:
    into = tmp_path / "got.bin"
    moves = transfers(tmp_path)
    with serving(kind, tmp_path / "there") as server:
        (server.folder / "a file.bin").write_bytes(content(900_000))
        url = server.url("a file.bin")
        server.trouble = Trouble(cut_at=500_000)

        failed = failing(moves.download(url, into, limit_bytes=1 << 20, limit_s=20))
        had = into.stat().st_size
        told: list[int] = []
        run(moves.download(url, into, limit_bytes=1 << 20, limit_s=20,
                           told=lambda done, of: told.append(done)))

    assert failed.kind == "cut"
    assert 0 < had <= 500_000
    assert into.read_bytes() == content(900_000)
    assert told[0] > had  # it did not begin anew
    assert not resume_file(into).exists()
