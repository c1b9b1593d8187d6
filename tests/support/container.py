"""systemd itself in a container over this machine's own root, with the units of the project.

Needs root, systemd-nspawn and overlayfs; where they are not to be had, `why_not` says so. The
container has no network and writes nowhere but into its folder. Source: systemd-nspawn(1); the
hierarchy of cgroups is set where the machine's own is not the unified one.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"
BOOT_S = 60.0
CONFIG = """\
schema_version = 1
[station]
identity = "CP001"
vendor = "Example"
model = "Post"
[csms]
url = "ws://127.0.0.1:9/ocpp"
security_profile = 1
password_file = "csms-password"
[options]
policy.tx_before_accepted = "always"
[ocpp16]
AllowOfflineTxForUnknownId = true
[[evse]]
id = 1
"""
PROGRAM = """\
import os, sys
path = {path!r}
sys.path[:0] = path
os.environ["PYTHONPATH"] = ":".join(path)
from cpctl.cli.main import main
sys.exit(main())
"""
COMMAND = f"""\
#!{SYSTEM_PYTHON}
import runpy
runpy.run_path("/opt/cpctl/current/bin/cpctl", run_name="__main__")
"""


def why_not() -> str:
    """Why no container can be had here; "": it may be tried."""
    if os.geteuid() != 0:
        return "a container needs root"
    for tool in ("systemd-nspawn", "systemd-sysusers", "nsenter"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    if not Path("/lib/systemd/systemd").exists():
        return "systemd is not installed"
    ours = subprocess.run([SYSTEM_PYTHON, "-c", "import sys; print(sys.version_info[:2])"],
                          capture_output=True, text=True, check=False)
    if ours.stdout.strip() != str(sys.version_info[:2]):
        return f"{SYSTEM_PYTHON} is another version than the one that runs the tests"
    return ""


def bound() -> dict[str, str]:
    """Folder of this machine: where it lies in the container, whose /tmp and /home are its own."""
    libraries = [one for one in sys.path if "site-packages" in one]
    return {str(ROOT): "/srv/cpctl/checkout",
            **{one: f"/srv/cpctl/lib{at}" for at, one in enumerate(libraries)}}


class Container:
    """One booted container in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self._folder = folder
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def lay_out(self) -> None:
        """Raises CalledProcessError where no overlay can be mounted."""
        for name in ("root", "upper", "work"):
            (self._folder / name).mkdir()
        options = f"lowerdir=/,upperdir={self._folder}/upper,workdir={self._folder}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, self.root],
                       check=True, capture_output=True)
        self._settings()
        self._release()
        units = self.root / "etc/systemd/system"
        for unit in (*(ROOT / "systemd").glob("*.service"), ROOT / "systemd" / "cpctl.socket"):
            shutil.copy(unit, units)
        shutil.copy(ROOT / "systemd" / "cpctl.sysusers",
                    self.root / "usr/lib/sysusers.d/cpctl.conf")
        subprocess.run(["systemd-sysusers", f"--root={self.root}"], check=True,
                       capture_output=True)
        subprocess.run(["chroot", self.root, "chown", "-R", "cpctl:", "/opt/cpctl"], check=True)
        subprocess.run(["systemctl", f"--root={self.root}", "-q", "enable", "cpctl.service",
                        "cpctl.socket", "cpctl-safe.service"], check=True)

    def _settings(self) -> None:
        etc, units = self.root / "etc", self.root / "etc/systemd/system"
        for wanted in units.glob("*.wants"):  # nothing of this machine's own runs there
            shutil.rmtree(wanted)
        (etc / "machine-id").write_text("c" * 32 + "\n")
        (units / "systemd-timesyncd.service").unlink(missing_ok=True)
        (units / "systemd-timesyncd.service").symlink_to("/dev/null")
        (units / "default.target").unlink(missing_ok=True)
        (units / "default.target").symlink_to("/lib/systemd/system/multi-user.target")

    def _release(self) -> None:
        path = list(bound().values())
        program = self.root / "opt/cpctl/releases/1.0/bin/cpctl"
        program.parent.mkdir(parents=True)
        program.write_text(PROGRAM.format(path=path))
        shutil.copy(ROOT / "cpctl" / "slots.py", self.root / "opt/cpctl/launch")
        (self.root / "opt/cpctl/current").symlink_to("releases/1.0")
        command = self.root / "usr/local/bin/cpctl"
        command.write_text(COMMAND)
        command.chmod(0o755)
        secrets = self.root / "etc/cpctl/credentials"
        secrets.mkdir(parents=True)
        secrets.chmod(0o700)
        (secrets / "csms-password").write_text("sesame123\n")
        (secrets / "csms-password").chmod(0o600)
        (self.root / "etc/cpctl/cpctl.toml").write_text(CONFIG)

    def boot(self) -> None:
        with (self._folder / "console").open("wb") as console:
            self._nspawn = subprocess.Popen(
                ["systemd-nspawn", "-q", "-D", self.root, "--boot", "--register=no",
                 "--keep-unit", "--private-network", "--console=read-only",
                 *(f"--bind-ro={source}:{place}" for source, place in bound().items()),
                 f"--machine=cpctl-{os.getpid()}", "systemd.unified_cgroup_hierarchy="
                 + str(int(Path("/sys/fs/cgroup/cgroup.controllers").exists()))],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        end = time.monotonic() + BOOT_S
        while not self._is_up():
            if time.monotonic() > end:
                raise OSError(f"it does not come up within {BOOT_S:.0f} s: {self._last_words()}")
            time.sleep(0.1)

    def _last_words(self) -> str:
        return (self._folder / "console").read_text(errors="replace").strip()[-200:]

    def _is_up(self) -> bool:
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            raise OSError(self._last_words())
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        found = children.read_text().split()
        self._leader = int(found[0]) if found else 0
        return bool(found) and self.sh("systemctl is-system-running").strip() in (
            "running", "degraded")

    def sh(self, script: str) -> str:
        """What a shell inside says, standard error as well."""
        return subprocess.run(
            ["nsenter", "-t", str(self._leader), "-m", "-p", "-n", "-u", "-i", "--", "sh", "-c",
             script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
            check=False).stdout

    def show(self, what: str, unit: str = "cpctl.service") -> str:
        return self.sh(f"systemctl show -P {what} {unit}").strip()

    def until(self, holds: object, limit_s: float = 60.0) -> None:
        assert callable(holds)
        end = time.monotonic() + limit_s
        while not holds():
            assert time.monotonic() < end, self.sh("journalctl -b --no-pager | tail -30")
            time.sleep(0.1)

    def close(self) -> None:
        if self._nspawn is not None and self._nspawn.poll() is None:
            if self._leader:
                os.kill(self._leader, signal.SIGKILL)  # it would outlive its container
            else:
                self._nspawn.terminate()
            self._nspawn.wait(30)
        subprocess.run(["umount", self.root], check=False, capture_output=True)


@contextmanager
def container(folder: Path) -> Iterator[Container]:
    """Raises OSError or CalledProcessError where this machine allows none."""
    one = Container(folder)
    try:
        one.lay_out()
        one.boot()
        yield one
    finally:
        one.close()
