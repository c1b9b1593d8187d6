"""`deploy/install`: what a technician runs. Machine, package system and answers are stand-ins."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'
FAKES = {
    "dpkg": 'case "$1" in --print-architecture) echo "$FAKE_ARCH" ;; *) exec {dpkg} "$@" ;; esac',
    "apt-get": 'echo "apt-get $*" >> "$FAKE_LOG"',
    "id": "echo 0",
    "dpkg-query": 'echo "$FAKE_INSTALLED"',
    "systemctl": 'echo "$FAKE_WATCHDOG"',
}

pytestmark = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg-deb here")


class Machine:
    def __init__(self, folder: Path) -> None:
        self.root, self.bin, self.log = folder / "root", folder / "bin", folder / "log"
        self.environment = {
            "PATH": f"{self.bin}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
            "CPCTL_INSTALL_ROOT": str(self.root), "FAKE_LOG": str(self.log),
            "FAKE_ARCH": "arm64", "FAKE_INSTALLED": "", "FAKE_WATCHDOG": "14s"}
        self.bin.mkdir()
        for name, text in FAKES.items():
            fake = self.bin / name
            fake.write_text("#!/bin/sh\n" + text.replace("{dpkg}", shutil.which("dpkg") or "") +
                            "\n")
            fake.chmod(0o755)
        for place in ("etc", "boot/firmware", "run/systemd/system", "dev", "proc/device-tree"):
            (self.root / place).mkdir(parents=True)
        (self.root / "dev/watchdog").touch()
        (self.root / "etc/os-release").write_text(DEBIAN)
        self.package = self.made(folder, "0.2.0")

    def made(self, folder: Path, version: str, *, name: str = "cpctl", arch: str = "arm64") -> Path:
        tree = folder / f"{name}-{version}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: {arch}\n"
            "Maintainer: none <none@none.invalid>\nDescription: none\n")
        made = folder / f"{name}_{version}_{arch}.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree),
                        str(made)], check=True, capture_output=True)
        return made

    def is_pi(self, config: str = "arm_64bit=1\n") -> Path:
        (self.root / "proc/device-tree/model").write_text("Raspberry Pi 4 Model B Rev 1.5\0")
        (self.root / "boot/firmware/config.txt").write_text(config)
        return self.root / "boot/firmware/config.txt"

    def run(self, *words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", str(ROOT / "deploy/install"), *map(str, words)], text=True,
                              capture_output=True, check=False, env=self.environment,
                              stdin=subprocess.DEVNULL, cwd=cwd or self.root)

    @property
    def told(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_package_is_installed_and_the_next_steps_are_named(machine: Machine) -> None:
    done = machine.run(machine.package)

    assert done.returncode == 0, done.stderr
    assert machine.told == ["apt-get update -qq", f"apt-get install -y {machine.package}"]
    assert "after 14 s" in done.stdout
    assert "cpctl config check" in done.stdout


def test_what_is_installed_already_is_left_alone(machine: Machine) -> None:
    machine.environment["FAKE_INSTALLED"] = "install ok installed 0.2.0"

    done = machine.run(machine.package)

    assert "installed already" in done.stdout
    assert machine.told == []


def test_a_dry_run_changes_nothing(machine: Machine) -> None:
    config = machine.is_pi()

    done = machine.run("--dry-run", "--strict-gpiod", machine.package)

    assert done.returncode == 0, done.stderr
    assert machine.told == []
    assert config.read_text() == "arm_64bit=1\n"
    assert "would run: apt-get update" in done.stdout
    assert "would add dtparam=strict_gpiod" in done.stdout


def test_the_newest_package_for_this_machine_is_found(machine: Machine) -> None:
    folder = machine.package.parent
    newest = machine.made(folder, "0.10.0")
    machine.made(folder, "0.11.0", arch="amd64")

    machine.run(cwd=folder)

    assert machine.told[-1] == f"apt-get install -y {newest}"


@pytest.mark.parametrize(("arch", "finding"), [
    ("armhf", "64-bit Raspberry Pi OS"), ("riscv64", "packages for amd64 and arm64"),
    ("amd64", "is for arm64, this is amd64")])
def test_a_machine_that_the_package_is_not_for_is_refused(arch: str, finding: str,
                                                          machine: Machine) -> None:
    machine.environment["FAKE_ARCH"] = arch

    done = machine.run(machine.package)

    assert done.returncode == 1
    assert finding in done.stderr
    assert machine.told == []


def test_another_system_is_refused_and_an_untried_version_said(machine: Machine) -> None:
    release = machine.root / "etc/os-release"
    release.write_text('ID=fedora\nPRETTY_NAME="Fedora 41"\n')
    assert "Fedora 41 is neither Debian" in machine.run(machine.package).stderr

    release.write_text('ID=raspbian\nID_LIKE=debian\nVERSION_ID="14"\nPRETTY_NAME="Raspbian 14"\n')
    done = machine.run(machine.package)
    assert done.returncode == 0
    assert "Raspbian 14 was not tried" in done.stdout


def test_what_is_no_package_of_cpctl_is_refused(machine: Machine) -> None:
    other = machine.made(machine.package.parent, "1", name="hello")
    broken = machine.package.parent / "broken.deb"
    broken.write_text("no archive")

    assert "is not cpctl" in machine.run(other).stderr
    assert "is no Debian package" in machine.run(broken).stderr
    assert "cannot be read" in machine.run("nothing.deb").stderr
    assert "unknown word --what" in machine.run("--what").stderr
    assert machine.told == []


def test_strict_gpiod_is_set_once_on_a_pi_and_the_old_file_kept(machine: Machine) -> None:
    config = machine.is_pi()

    first = machine.run("--yes", machine.package)
    once = config.read_text()
    again = machine.run("--yes", machine.package)

    assert once.count("\ndtparam=strict_gpiod\n") == 1
    assert once.startswith("arm_64bit=1\n")
    assert config.with_name("config.txt.before-cpctl").read_text() == "arm_64bit=1\n"
    assert "restart the machine" in first.stdout
    assert config.read_text() == once
    assert "strict_gpiod is set" in again.stdout


@pytest.mark.parametrize("line", ["dtparam=strict_gpiod", "dtparam=audio=on,strict_gpiod",
                                  "  dtparam=strict_gpiod=on"])
def test_strict_gpiod_that_is_there_in_any_form_is_seen(line: str, machine: Machine) -> None:
    config = machine.is_pi(f"{line}\n")

    assert "strict_gpiod is set" in machine.run("--yes", machine.package).stdout
    assert config.read_text() == f"{line}\n"


def test_a_comment_does_not_count_as_strict_gpiod(machine: Machine) -> None:
    config = machine.is_pi("# dtparam=strict_gpiod\n")

    machine.run("--strict-gpiod", machine.package)

    assert "\ndtparam=strict_gpiod\n" in config.read_text()


def test_without_an_answer_strict_gpiod_is_not_set_but_said(machine: Machine) -> None:
    config = machine.is_pi()

    done = machine.run(machine.package)

    assert config.read_text() == "arm_64bit=1\n"
    assert "keeps its state when the program dies" in done.stdout


def test_a_watchdog_that_is_not_as_it_should_be_is_said(machine: Machine) -> None:
    machine.environment["FAKE_WATCHDOG"] = "1min"
    (machine.root / "dev/watchdog").unlink()

    done = machine.run(machine.package)

    assert "RuntimeWatchdogSec is 1min, not 14s" in done.stdout
    assert "no /dev/watchdog" in done.stdout
