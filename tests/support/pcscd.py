"""A real pcscd with a virtual reader, in a network and mount namespace of its own.

The virtual reader listens on all addresses and pcscd's socket has a fixed place, so each run gets
its own namespaces: `run_in_pcsc_namespace(script, …)` runs a Python script inside, where it starts
a `Pcscd` and holds `VirtualCard`s to it. Several runs may go on at once.

As a program (`python pcscd.py SCRIPT ARGS…`) it is the inner half: inside the fresh namespaces it
raises the loopback, hides /run/pcscd and becomes the script.
"""

import contextlib
import fcntl
import functools
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.vcard import VirtualCard

RUN = Path("/run/pcscd")
COMM = RUN / "pcscd.comm"
NAME = "CPCTL Virtual Reader"  # "… 00 00" is its first slot, as the drivers see it
TIMED_OUT = 0x8010000A
CONFIG = """\
FRIENDLYNAME "{name}"
DEVICENAME /dev/null:0x9A4C
LIBPATH {library}
CHANNELID 0x9A4C
"""
TESTS = Path(__file__).resolve().parents[1]
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


class Pcscd:
    """pcscd with the virtual reader, as a child of this process. Use as a context.

    `name` makes the virtual reader pass for a model.
    """

    def __init__(self, name: str = NAME) -> None:
        self._reader = f"{name} 00 00"
        self._folder = RUN / "config"  # goes with the namespace
        self._log = RUN / "log"
        self._folder.mkdir(exist_ok=True)
        (self._folder / "reader.conf").write_text(CONFIG.format(
            name=name, library=vpcd_library()))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Pcscd":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start and wait until it answers."""
        for name in ("pcscd.comm", "pcscd.pid"):
            (RUN / name).unlink(missing_ok=True)
        command = [str(pcscd_program()), "-f", "-i", "-c", str(self._folder)]
        if "--disable-polkit" in _pcscd_help():
            command.append("--disable-polkit")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20.0
        while not _answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"pcscd did not start:\n{self.log()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """In good order (SIGTERM)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def tap(self, uid: bytes | None, held_s: float = 0.6) -> None:
        """Hold a card to the reader until pcscd has seen it and `held_s` more, and take it away.

        pcscd asks its virtual reader every 400 ms; on a busy machine that may take longer.
        """
        card = VirtualCard(uid)
        with card:
            self.wait_for_card(present=True)
            time.sleep(held_s)
        self.wait_for_card(present=False)

    def wait_for_card(self, *, present: bool, limit_s: float = 30.0) -> None:
        """Until pcscd knows that a card lies on the reader, or none. Raises TimeoutError."""
        from smartcard import scard

        wanted = scard.SCARD_STATE_PRESENT if present else scard.SCARD_STATE_EMPTY
        code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
        known, deadline = 0, time.monotonic() + limit_s
        try:
            while code == 0 and not known & wanted:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the virtual card was not noticed within {limit_s:g} s")
                code, told = scard.SCardGetStatusChange(context, 1_000, [(self._reader, known)])
                known = told[0][1] & ~scard.SCARD_STATE_CHANGED if code == 0 else known
                code = 0 if code & 0xFFFFFFFF == TIMED_OUT else code
        finally:
            scard.SCardReleaseContext(context)
        if code != 0:
            raise RuntimeError(f"pcscd does not answer ({code & 0xFFFFFFFF:#010x})\n{self.log()}")

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(20.0)
            self._process = None


def missing() -> str:
    """What this machine lacks to run a pcscd of its own; empty: nothing."""
    if pcscd_program() is None:
        return "pcscd is not installed (apt install pcscd)"
    if vpcd_library() is None:
        return "the virtual reader is not installed (apt install vsmartcard-vpcd)"
    if shutil.which("unshare") is None:
        return "unshare is not installed (apt install util-linux)"
    try:
        from smartcard import scard  # noqa: F401
    except ImportError as error:
        return f"pyscard cannot be imported ({error}; pip install pyscard)"
    return ""


def need_pcscd() -> None:
    """Skip the test, saying why, where no pcscd of its own can run. What could be installed and is
    not fails it with CPCTL_REAL=required; what this machine forbids does not."""
    lacking = missing()
    if lacking and os.environ.get("CPCTL_REAL") == "required":
        pytest.fail(lacking)
    forbidden = lacking or _cannot_unshare()
    if forbidden:
        pytest.skip(forbidden)


def run_in_pcsc_namespace(
    script: Path | str, *arguments: str, timeout_s: float = 120.0
) -> subprocess.CompletedProcess[str]:
    """Run a Python script where it has a loopback and a /run/pcscd of its own.

    The script can import the project and `support`. Its output is returned; a script that does not
    end in time is killed with all it started.
    """
    command = [*_unshare(), sys.executable, __file__, str(script), *arguments]
    path = os.pathsep.join([str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)})
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        _end_group(process.pid)
        out, err = process.communicate()
        raise AssertionError(
            f"{script} did not end within {timeout_s:g} s\n{out}\n{err}") from error
    finally:
        _end_group(process.pid)  # also what a script that crashed has left running
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def pcscd_program() -> Path | None:
    found = shutil.which("pcscd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    return Path(found) if found else None


def vpcd_library() -> Path | None:
    """The virtual reader's driver, in the folder pcscd of this architecture looks in."""
    for pattern in ("pcsc/drivers/serial/libifdvpcd.so", "*/pcsc/drivers/serial/libifdvpcd.so"):
        for found in sorted(Path("/usr/lib").glob(pattern)):
            return found
    return None


@functools.cache
def _pcscd_help() -> str:
    done = subprocess.run([str(pcscd_program()), "--help"], capture_output=True, text=True,
                          check=False)
    return done.stdout + done.stderr


def _end_group(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _unshare() -> list[str]:
    command = ["unshare", "--net", "--mount", "--propagation", "private"]
    return command if os.geteuid() == 0 else [*command, "--user", "--map-root-user"]


@functools.cache
def _cannot_unshare() -> str:
    if os.geteuid() != 0 and not RUN.is_dir():
        return f"{RUN} is not there and this user cannot make it (start pcscd once, or be root)"
    done = subprocess.run([*_unshare(), "mount", "--version"], capture_output=True, text=True,
                          check=False)
    return f"unshare is not permitted: {done.stderr.strip()}" if done.returncode else ""


def _answers() -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(COMM))
    except OSError:
        return False
    return True


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh", b"lo", 0).ljust(40, b"\0")
        flags = struct.unpack_from("h", fcntl.ioctl(any_socket, SIOCGIFFLAGS, request), 16)[0]
        request = struct.pack("16sh", b"lo", flags | IFF_UP).ljust(40, b"\0")
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)


def _become(script: str, arguments: list[str]) -> None:
    _raise_loopback()
    RUN.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(RUN)], check=True)
    os.execv(sys.executable, [sys.executable, script, *arguments])


if __name__ == "__main__":
    _become(sys.argv[1], sys.argv[2:])
