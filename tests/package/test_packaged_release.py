"""A release that a package brought, beside those that updates bring."""

import os
from pathlib import Path

import pytest
from support.releases import Maker, lay_out, left_in

from cpctl import slots
from cpctl.services import release
from cpctl.services.child import ChildFailed

NOBODY = 65534


def with_release(root: Path, version: str) -> None:
    """One release more, without `current` going there."""
    kept = slots.current(str(root))
    lay_out(root, version)
    if kept is not None:
        slots.point(str(root), kept)


def on_trial(root: Path, version: str, *, starts: int = 1) -> None:
    with_release(root, version)
    slots.begin_trial(str(root), version, key="k", order={}, trial_s=600)
    for _ in range(starts):
        slots.choose(str(root))


def test_the_packages_release_becomes_current(tmp_path: Path) -> None:
    lay_out(tmp_path, "0.1.0")
    with_release(tmp_path, "0.2.0")

    assert slots.adopt(str(tmp_path), "0.2.0") == ""
    assert slots.choose(str(tmp_path)) == "0.2.0"


def test_the_first_package_has_nothing_to_ask(tmp_path: Path) -> None:
    lay_out(tmp_path, "0.1.0")
    (tmp_path / "current").unlink()

    assert slots.adopt(str(tmp_path), "0.1.0") == ""
    assert slots.choose(str(tmp_path)) == "0.1.0"


def test_a_release_that_proved_good_gives_way_to_the_package(tmp_path: Path) -> None:
    lay_out(tmp_path, "0.1.0")
    on_trial(tmp_path, "0.3.0")
    slots.confirm(str(tmp_path), "k")
    with_release(tmp_path, "0.2.0")

    assert slots.adopt(str(tmp_path), "0.2.0") == ""
    assert slots.choose(str(tmp_path)) == "0.2.0"


def test_a_release_on_trial_stays_and_its_way_back_is_the_package(tmp_path: Path) -> None:
    lay_out(tmp_path, "0.1.0")
    on_trial(tmp_path, "0.3.0")
    with_release(tmp_path, "0.2.0")

    said = slots.adopt(str(tmp_path), "0.2.0")

    assert "0.3.0 is on trial" in said
    assert slots.choose(str(tmp_path)) == "0.3.0"
    assert slots.fail(str(tmp_path), "no central system", "k")
    assert slots.choose(str(tmp_path)) == "0.2.0"


def test_a_way_back_that_was_not_finished_ends_at_the_package(tmp_path: Path) -> None:
    lay_out(tmp_path, "0.1.0")
    on_trial(tmp_path, "0.3.0")
    slots.fail(str(tmp_path), "no central system", "k")
    with_release(tmp_path, "0.2.0")

    assert slots.adopt(str(tmp_path), "0.2.0") == ""
    assert slots.choose(str(tmp_path)) == "0.2.0"
    assert (slots.read(str(tmp_path)) or {})["state"] == slots.FAILED


def test_a_trial_whose_release_was_removed_is_over(tmp_path: Path) -> None:
    book = tmp_path / "journal.db"
    book.write_text("before")
    lay_out(tmp_path, "0.1.0")
    with_release(tmp_path, "0.3.0")
    slots.begin_trial(str(tmp_path), "0.3.0", key="k", order={}, trial_s=600, books=[str(book)])
    slots.choose(str(tmp_path))
    book.write_text("rewritten by 0.3.0")
    for path in (tmp_path / "releases").iterdir():
        path.rename(tmp_path / f"gone-{path.name}")  # the package was removed
    with_release(tmp_path, "0.2.0")

    assert slots.adopt(str(tmp_path), "0.2.0") == ""
    assert slots.choose(str(tmp_path)) == "0.2.0"
    assert book.read_text() == "before"


# --- an update of the version that the package brought -------------------------------------------


def packaged(root: Path, bundle: Path) -> release.Manifest:
    """The slot of a bundle, as dpkg would have unpacked it: another user's."""
    manifest = release.head_of(bundle).manifest
    release.install(bundle, root, manifest, 1 << 30)
    os.chown(root / "releases" / manifest.version, NOBODY, NOBODY)
    return manifest


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")


@as_root
def test_the_packages_release_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "root/releases").mkdir(parents=True)
    bundle = Maker().small(tmp_path, "0.2.0")
    manifest = packaged(tmp_path / "root", bundle)

    release.install(bundle, tmp_path / "root", manifest, 1 << 30)

    assert (tmp_path / "root/releases/0.2.0").stat().st_uid == NOBODY
    assert left_in(tmp_path / "root") == {"0.2.0"}


@as_root
def test_another_release_of_the_packages_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root/releases").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    packaged(tmp_path / "root", Maker().small(tmp_path, "0.2.0"))
    other = Maker().small(tmp_path / "other", "0.2.0", files={"more": b"content"})

    with pytest.raises(ChildFailed, match="a version of its own"):
        release.install(other, tmp_path / "root", release.head_of(other).manifest, 1 << 30)

    assert left_in(tmp_path / "root") == {"0.2.0"}
    assert not (tmp_path / "root/releases/0.2.0/more").exists()
