"""The Debian package as dpkg gets it: what lies where, who may do what, and that it starts.

Built without libraries, so that nothing is fetched; `make deb-check` builds it whole and installs
it in Debian 12 and 13.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.releases import make_deb, make_release

from cpctl.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
# The only places that a package of a third party may fill.
PLACES = ("opt/cpctl/", "usr/bin/cpctl", "usr/lib/systemd/", "usr/lib/udev/rules.d/",
          "usr/lib/modprobe.d/", "usr/lib/sysusers.d/", "usr/share/")

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb here")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("deb"))


def built(into: Path, epoch: str = "1700000000") -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", epoch)
        made: Path = make_deb.make_deb(into, VERSION, "arm64", dependencies=False,
                                       compression="none")
    return made


@pytest.fixture(scope="module")
def tree(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpacked, with what dpkg is told in DEBIAN/."""
    into = tmp_path_factory.mktemp("tree")
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(into)], check=True)
    return into


def files(tree: Path) -> Iterator[Path]:
    return (path.relative_to(tree) for path in sorted(tree.rglob("*"))
            if not path.is_dir() and path.relative_to(tree).parts[0] != "DEBIAN")


def fields(tree: Path) -> dict[str, str]:
    lines = (tree / "DEBIAN" / "control").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines if not line.startswith(" "))


def test_the_package_is_named_after_version_and_architecture(package: Path, tree: Path) -> None:
    told = fields(tree)

    assert package.name == f"cpctl_{VERSION}_arm64.deb"
    assert (told["Package"], told["Version"], told["Architecture"]) == ("cpctl", VERSION, "arm64")
    assert not re.search("@[A-Z]+@", "".join(told.values()))


def test_libraries_without_a_wheel_are_named_as_debians(tree: Path) -> None:
    depends = {one.split()[0] for one in fields(tree)["Depends"].split(", ")}

    assert set(make_deb.libraries.FROM_DEBIAN.values()) <= depends
    assert {"python3", "pcscd", "procps"} <= depends


def test_everything_lies_where_a_third_party_may_put_it(tree: Path) -> None:
    stray = [str(file) for file in files(tree) if not str(file).startswith(PLACES)]

    assert stray == []


def test_nothing_lies_in_etc_so_that_no_upgrade_asks_about_it(tree: Path) -> None:
    assert not (tree / "etc").exists()
    assert not (tree / "DEBIAN" / "conffiles").exists()


def test_files_are_readable_by_all_and_writable_by_root_alone(tree: Path) -> None:
    odd = [f"{file} {mode:o}" for file in files(tree)
           if (mode := stat.S_IMODE((tree / file).stat().st_mode)) not in (0o644, 0o755)]

    assert odd == []


def test_each_line_of_the_archive_belongs_to_root(package: Path) -> None:
    listed = subprocess.run(["dpkg-deb", "--contents", str(package)], check=True, text=True,
                            capture_output=True).stdout.splitlines()

    assert {line.split()[1] for line in listed} == {"root/root"}
    assert not [line for line in listed if line.startswith("l")]  # `current` is made on the spot


def test_the_units_the_rules_and_the_texts_are_there(tree: Path) -> None:
    there = {str(file) for file in files(tree)}

    wanted = {f"usr/lib/systemd/system/{one.name}" for one in (ROOT / "systemd").glob("*.s*")
              if one.suffix in (".service", ".socket")}
    wanted |= {"usr/lib/sysusers.d/cpctl.conf", "usr/share/cpctl/cpctl.example.toml",
               "usr/lib/systemd/system.conf.d/90-cpctl-watchdog.conf",
               "usr/lib/udev/rules.d/60-cpctl.rules", "usr/lib/modprobe.d/cpctl.conf",
               "usr/share/polkit-1/rules.d/50-cpctl-pcscd.rules",
               "usr/share/man/man1/cpctl.1.gz", "usr/share/man/man5/cpctl.toml.5.gz",
               "usr/share/bash-completion/completions/cpctl",
               "usr/share/zsh/vendor-completions/_cpctl",
               "usr/share/fish/vendor_completions.d/cpctl.fish",
               "usr/share/doc/cpctl/copyright", "usr/share/doc/cpctl/changelog.gz"}
    wanted |= {f"usr/share/doc/cpctl/examples/{one.name}"
               for one in (ROOT / "deploy" / "examples").glob("*.toml")}
    assert wanted <= there


def test_every_rule_file_of_the_project_is_in_the_package(tree: Path) -> None:
    there = {file.name for file in files(tree)}

    assert {one.name for one in (ROOT / "deploy").glob("*.rules")} <= there


def test_the_units_start_what_the_package_brings(tree: Path) -> None:
    for unit in (tree / "usr/lib/systemd/system").iterdir():
        for line in unit.read_text().splitlines():
            if line.startswith("Exec") and "/cpctl/" in line.partition("=")[2].split(" --")[0]:
                program = next(word for word in line.partition("=")[2].split() if "/opt/" in word)
                assert (tree / program.lstrip("/")).is_file(), f"{unit.name}: {line}"


def test_the_enabled_units_are_those_that_can_be(tree: Path) -> None:
    for name in ("postinst", "postrm"):
        text = (tree / "DEBIAN" / name).read_text()
        for unit in (tree / "usr/lib/systemd/system").iterdir():
            if "[Install]" in unit.read_text():
                assert unit.name in text, f"{unit.name} in {name}"


@pytest.mark.parametrize("name", SCRIPTS)
def test_dpkgs_scripts_are_sound(tree: Path, name: str) -> None:
    script = tree / "DEBIAN" / name
    assert script.stat().st_mode & 0o111
    assert not re.search("@[A-Z]+@", script.read_text())
    subprocess.run(["sh", "-n", str(script)], check=True)
    if shutil.which("shellcheck"):
        told = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True,
                              check=False)
        assert told.stdout == ""


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_word_that_dpkg_does_not_say_is_refused(tree: Path, name: str) -> None:
    done = subprocess.run(["sh", str(tree / "DEBIAN" / name), "nonsense"], capture_output=True,
                          text=True, check=False)

    assert done.returncode == 1
    assert "nonsense" in done.stderr


@pytest.mark.parametrize("script", ["deploy/cpctl", "deploy/check_deb", "deploy/check_deb_inside",
                                    "deploy/check_deb_arm64", "deploy/install",
                                    "deploy/bootstrap", "deploy/debian/rtupdate"])
def test_the_scripts_of_the_project_are_sound(script: str) -> None:
    subprocess.run(["sh", "-n", str(ROOT / script)], check=True)


def test_the_check_sums_are_those_of_the_files(tree: Path) -> None:
    done = subprocess.run(["md5sum", "--quiet", "--check", "DEBIAN/md5sums"], cwd=tree,
                          capture_output=True, text=True, check=False)
    named = {line.split(maxsplit=1)[1]
             for line in (tree / "DEBIAN" / "md5sums").read_text().splitlines()}

    assert done.returncode == 0, done.stdout
    assert named == {str(file) for file in files(tree)}


def test_the_release_holds_every_file_that_the_program_may_want(tree: Path) -> None:
    slot = tree / "opt/cpctl/releases" / VERSION

    for package in ("cpctl", "hal"):
        wanted = {str(file.relative_to(ROOT)) for file in (ROOT / package).rglob("*")
                  if file.is_file() and file.suffix not in (".pyc", ".md")}
        there = {str(file.relative_to(slot)) for file in (slot / package).rglob("*")}
        assert wanted <= there


def test_the_release_in_it_tells_its_version(tree: Path) -> None:
    slot = tree / "opt/cpctl/releases" / VERSION
    environment = {"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}

    done = subprocess.run([sys.executable, str(slot / "bin" / "cpctl"), "--version"],
                          capture_output=True, text=True, check=False, env=environment)

    assert (done.returncode, done.stdout.strip()) == (0, f"cpctl {VERSION}"), done.stderr


def test_package_and_bundle_bring_the_same_files(tree: Path, tmp_path: Path) -> None:
    slot = tree / "opt/cpctl/releases" / VERSION
    key, certificate = make_release.key_for_tests(tmp_path)

    bundle = make_release.make_bundle(tmp_path, VERSION, key=key, certificate=certificate,
                                      dependencies=False)
    with make_release.tarfile.open(bundle) as archive:
        brought = {one.name.removeprefix("tree/"): archive.extractfile(one).read()
                   for one in archive if one.name.startswith("tree/")}
        manifest = archive.extractfile("manifest.json").read()

    there = {str(file.relative_to(slot)): file.read_bytes()
             for file in slot.rglob("*") if file.is_file()}
    assert there.pop("manifest.json") == manifest
    assert there == brought


def test_the_launcher_is_the_slots_of_the_release(tree: Path) -> None:
    assert (tree / "opt/cpctl/launch").read_bytes() == (ROOT / "cpctl/slots.py").read_bytes()


def test_the_same_commit_makes_the_same_package(package: Path, tmp_path: Path) -> None:
    again = built(tmp_path)

    assert again.read_bytes() == package.read_bytes()


@pytest.mark.parametrize("version", ["v1", "1_0", "", "1" * 51, "1 0"])
def test_a_version_that_dpkg_does_not_know_is_refused(version: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="begins with a digit"):
        make_deb.make_deb(tmp_path, version, "amd64", dependencies=False)

    assert list(tmp_path.iterdir()) == []


# --- before it is unpacked -----------------------------------------------------------------------


def preinst(tree: Path, root: Path, word: str = "upgrade") -> subprocess.CompletedProcess[str]:
    """The script, with its folder laid elsewhere."""
    script = (tree / "DEBIAN" / "preinst").read_text().replace("/opt/cpctl", str(root))
    return subprocess.run(["sh", "-s", word, "0.0.1"], input=script, text=True,
                          capture_output=True, check=False)


def current(root: Path, manifest: str) -> None:
    (root / "releases" / "x").mkdir(parents=True)
    (root / "releases" / "x" / "manifest.json").write_text(manifest)
    (root / "current").symlink_to("releases/x")


def test_a_package_that_cannot_read_the_books_is_not_unpacked(tree: Path, tmp_path: Path) -> None:
    current(tmp_path, '{"version": "9.9", "data": {"journal": 999, "station": 1}}')

    done = preinst(tree, tmp_path)

    assert done.returncode != 0
    assert "release 9.9 writes its journal in version 999" in done.stderr


@pytest.mark.parametrize("manifest", [
    '{"data": {"journal": 1, "station": 1}}', "{}", "no json", '{"data": []}', "[]",
    '{"data": {"journal": null}}'])
def test_a_package_that_can_or_cannot_know_is_unpacked(manifest: str, tree: Path, tmp_path: Path
                                                       ) -> None:
    current(tmp_path, manifest)

    assert preinst(tree, tmp_path).returncode == 0


def test_the_first_installation_finds_nothing_and_goes_on(tree: Path, tmp_path: Path) -> None:
    assert preinst(tree, tmp_path, "install").returncode == 0
