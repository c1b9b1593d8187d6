"""`support.bundle` and `cpctl support bundle`: made, handed out in pieces, gone."""

import base64
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from support import virtual_loop
from support.fake_daemon import FakeDaemon
from support.lapse_loop import LapseLoop
from support.world import World, world

from cpctl.api import support, wire
from cpctl.api.methods import Methods
from cpctl.cli.main import main


def asked(story: Any) -> None:
    async def told() -> None:
        async with world() as w:
            methods = Methods(w.app)  # type: ignore[arg-type]

            async def call(**params: Any) -> Any:
                nobody: Any = None
                return await methods.call("support.bundle", params, nobody)

            await story(w, call)

    virtual_loop.run(told(), loop=LapseLoop())


def left(w: World) -> list[Path]:
    assert w.app is not None
    return list((w.app.config.store.path / "outbox").rglob("*"))


@pytest.mark.real
def test_a_bundle_is_handed_out_in_pieces_and_then_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "PIECE", 1000)

    async def story(w: World, call: Any) -> None:
        made = await call()
        content, more = b"", True
        while more:
            answer = await call(bundle=made["bundle"], offset=len(content))
            content, more = content + base64.b64decode(answer["piece"]), answer["more"]

        assert len(content) == made["bytes"]
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            assert "status.json" in archive.getnames()
        assert left(w) == []
        with pytest.raises(wire.ApiError) as caught:
            await call(bundle=made["bundle"], offset=0)
        assert caught.value.code == wire.NOT_FOUND

    asked(story)


@pytest.mark.real
def test_a_bundle_that_nobody_fetches_is_removed() -> None:
    async def story(w: World, call: Any) -> None:
        await call()
        await call()
        assert len([one for one in left(w) if one.suffix == ".gz"]) == 1
        await w.advance(601)
        assert left(w) == []

    asked(story)


@pytest.mark.parametrize(("params", "code"), [
    ({"bundle": "../../etc/passwd"}, wire.NOT_FOUND), ({"since": "yesterday"}, wire.INVALID_PARAMS),
    ({"until": "2026-05-01T08:00:00"}, wire.INVALID_PARAMS), ({"what": 1}, wire.INVALID_PARAMS)])
def test_a_call_that_makes_no_sense_is_refused(params: Any, code: int) -> None:
    async def story(w: World, call: Any) -> None:
        with pytest.raises(wire.ApiError) as caught:
            await call(**params)
        assert (caught.value.code, bool(caught.value.hint)) == (code, True)

    asked(story)


def test_the_command_writes_the_file_for_its_owner_only(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
        ) -> None:
    monkeypatch.chdir(tmp_path)
    answer = {"bundle": "../CP001.tar.gz", "bytes": 5, "more": False,
              "piece": base64.b64encode(b"12345").decode()}
    with FakeDaemon(tmp_path / "s", {"support.bundle": answer}) as daemon:
        words = ["--socket", str(tmp_path / "s"), "support", "bundle"]
        assert main([*words, "--since", "2026-05-01T08:00:00Z"]) == 0
        assert "CP001.tar.gz: 5 bytes" in capsys.readouterr().out
        assert main(["--json", *words, "-o", "other.tgz"]) == 0
        assert json.loads(capsys.readouterr().out) == {"file": "other.tgz", "bytes": 5}
        assert main([*words, "-o", "no/such/folder"]) == 1
        assert "cannot be written" in capsys.readouterr().err

    assert daemon.calls[:2] == [
        ("support.bundle", {"since": "2026-05-01T08:00:00Z"}),
        ("support.bundle", {"bundle": "../CP001.tar.gz", "offset": 0})]
    for name in ("CP001.tar.gz", "other.tgz"):
        assert (tmp_path / name).read_bytes() == b"12345"
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
