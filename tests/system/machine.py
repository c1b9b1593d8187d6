"""One emulated machine: QEMU without acceleration, its disk an overlay, its hands a few sockets.

    with Machine(ingredients, folder, over=disk) as machine:
        machine.boot()
        machine.shell("systemctl is-system-running")
        machine.cut()                   # the power goes: no sync, no shutdown, the image as it was
        machine.boot()                  # the same image

Hardware acceleration is not used even where it seems to be there: nested, it does not boot Debian's
kernel everywhere.
"""

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.system.ingredients import Ingredients, run
from tests.system.say import NotPossible

BOOT_LIMIT_S = 240.0
KERNEL_LINE = ("console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable audit=0 net.ifnames=0 "
               "systemd.show_status=0 random.trust_cpu=on")


class Stuck(Exception):
    """The machine did not do in time what it was waited for; what it said stands in the text."""


class Machine:
    """A machine with one USB adapter for a serial line, one card reader, a GPIO header, a network
    that reaches only this host (10.0.2.2), a hardware watchdog."""

    def __init__(self, made: Ingredients, folder: Path, *, over: Path | None = None,
                 payload: Path | None = None, memory_mb: int = 640, say: str = ""):
        self.made = made
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.disk = folder / "disk.qcow2"
        self.payload = payload
        self.memory_mb = memory_mb
        self.kernel_line = f"{KERNEL_LINE} {say}"
        if over is not None or not self.disk.exists():
            lay_over(over or made.disk, self.disk)
        self.boots = 0
        self.booted_s = 0.0  # how long the last boot took
        self.readers = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._agent: _Lines | None = None
        self._qmp: _Lines | None = None
        self._numbers = itertools.count(1)
        self._asking = threading.Lock()

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.cut()

    # --- power ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Switch it on; returns while it boots."""
        if self._process is not None:
            raise RuntimeError("it is on")
        for name in ("agent", "hands", "qmp", "card", "serial", "decoy"):
            (self.folder / name).unlink(missing_ok=True)
        self.boots += 1
        self.readers = 1
        with (self.folder / "qemu.log").open("ab") as out:
            self._process = subprocess.Popen(self._words(), stdin=subprocess.DEVNULL, stdout=out,
                                             stderr=out, cwd=self.folder)
        self._qmp = _Lines(self.folder / "qmp", self.alive)
        self._qmp.read(10.0)
        self._command("qmp_capabilities")

    def boot(self) -> float:
        """Switch it on and wait until its agent answers; how long that took, in s."""
        began_s = time.monotonic()
        self.start()
        self.reach()
        self.booted_s = time.monotonic() - began_s
        return self.booted_s

    def reach(self, limit_s: float = BOOT_LIMIT_S) -> None:
        """Wait until the agent answers."""
        self._agent = _Lines(self.folder / "agent", self.alive)
        self._say_hello(limit_s)

    def cut(self) -> None:
        """Take its power: the process dies, and with it whatever was not on the disk."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        self._close()

    def off(self, limit_s: float = 90.0) -> None:
        """Shut it down in good order."""
        with contextlib.suppress(Stuck):
            self.ask("shell", words="systemctl --no-block poweroff", limit_s=20)
        self.wait_off(limit_s)

    def wait_off(self, limit_s: float = 90.0) -> None:
        """Wait until it has switched itself off, or stopped in order to boot again."""
        assert self._process is not None
        try:
            self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise Stuck(f"it does not switch itself off: {self.console()}") from None
        self._process = None
        self._close()

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def console(self) -> str:
        """The end of what it wrote on its console."""
        file = self.folder / "console.log"
        return file.read_text(errors="replace")[-2000:] if file.exists() else ""

    def _close(self) -> None:
        for line in (self._agent, self._qmp):
            if line is not None:
                line.close()
        self._agent = self._qmp = None

    def _words(self) -> list[str]:
        def port(name: str) -> list[str]:
            return ["-chardev", f"socket,id={name},path={name},server=on,wait=off"]

        words = [
            "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
            "-smp", "2", "-m", str(self.memory_mb), "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot", "-kernel", str(self.made.kernel),
            "-initrd", str(self.made.initrd), "-append", self.kernel_line,
            "-chardev", f"file,id=con,path=console.log,append={'on' if self.boots > 1 else 'off'}",
            "-serial", "chardev:con",
            "-drive", f"file={self.disk},if=virtio,format=qcow2",
            "-nic", "user,model=virtio-net-pci,restrict=off",
            "-object", "rng-random,id=rng0,filename=/dev/urandom",
            "-device", "virtio-rng-pci,rng=rng0",
            "-device", "virtio-serial-pci",
            *port("agent"), "-device", "virtserialport,chardev=agent,name=agent",
            *port("hands"), "-device", "virtserialport,chardev=hands,name=hands",
            "-qmp", "unix:qmp,server=on,wait=off",
            "-device", "qemu-xhci,id=xhci",
            *port("card"), "-device", "usb-ccid,id=reader1", "-device",
            "ccid-card-passthru,id=slot1,bus=reader1.0,chardev=card",
            *port("serial"), "-device", "usb-serial,id=adapter1,chardev=serial,serial=RS485",
            *port("decoy"), "-device", "usb-serial,id=adapter2,chardev=decoy,serial=OTHER",
            "-device", "i6300esb", "-action", "watchdog=reset",
        ]
        if self.payload is not None:
            words += ["-drive", f"file={self.payload},if=virtio,format=raw,readonly=on"]
        return words

    # --- the agent -------------------------------------------------------------------------------

    def _say_hello(self, limit_s: float) -> None:
        until_s = time.monotonic() + limit_s
        while time.monotonic() < until_s:
            try:
                self.ask("shell", words="true", limit_s=5, _answer_s=3.0)
            except Stuck:
                if not self.alive():
                    raise Stuck(f"it died while booting: {self.console()}") from None
            else:
                return
        raise Stuck(f"it does not boot within {limit_s:g} s: {self.console()}")

    def ask(self, do: str, *, _answer_s: float | None = None, **more: Any) -> dict[str, Any]:
        """One request to the agent. Raises Stuck."""
        with self._asking:
            if self._agent is None:
                raise Stuck("its agent is not there")
            number = next(self._numbers)
            self._agent.write({"id": number, "do": do, **more})
            limit_s = _answer_s or float(more.get("limit_s", 30)) + 30
            until_s = time.monotonic() + limit_s
            while True:
                left_s = until_s - time.monotonic()
                answer = self._agent.read(left_s) if left_s > 0 else None
                if answer is None:
                    raise Stuck(f"no answer to {do} {str(more)[:100]} within {limit_s:g} s")
                if answer.get("id") == number:
                    return answer

    def shell(self, words: str, limit_s: float = 60, *, check: bool = True) -> str:
        """Run it as root; what it wrote. Raises Stuck when it fails (unless not `check`)."""
        answer = self.ask("shell", words=words, limit_s=limit_s)
        if check and answer.get("code") != 0:
            raise Stuck(f"{words!r} ended with {answer.get('code')}: "
                        f"{answer.get('out', '')[-1500:]}{answer.get('err', '')[-1500:]}")
        return str(answer.get("out", "")) + ("" if check else str(answer.get("err", "")))

    def code(self, words: str, limit_s: float = 60) -> int:
        """The exit code of a command."""
        return int(self.ask("shell", words=words, limit_s=limit_s)["code"])

    def call(self, method: str, **params: Any) -> dict[str, Any] | None:
        """One call to the daemon's local API; None while nobody answers there."""
        answer = self.ask("call", method=method, params=params)
        result = answer.get("result")
        return result if isinstance(result, dict) else None

    def read(self, path: str) -> str:
        answer = self.ask("read", path=path)
        if "text" not in answer:
            raise Stuck(f"{path}: {answer.get('failed')}")
        return str(answer["text"])

    def write(self, path: str, text: str) -> None:
        answer = self.ask("write", path=path, text=text)
        if "failed" in answer:
            raise Stuck(f"{path}: {answer['failed']}")

    # --- what is plugged -----------------------------------------------------------------------

    def _command(self, execute: str, **arguments: Any) -> Any:
        assert self._qmp is not None
        self._qmp.write({"execute": execute, "arguments": arguments})
        while True:
            answer = self._qmp.read(10.0)
            if answer is None:
                raise Stuck(f"QEMU does not answer to {execute}")
            if "error" in answer:
                raise Stuck(f"{execute} {arguments}: {answer['error']}")
            if "return" in answer:
                return answer["return"]

    def unplug_reader(self) -> None:
        self._command("device_del", id=f"reader{self.readers}")

    def plug_reader(self) -> None:
        """Another reader in the same socket; the card's line has to be connected anew."""
        self.readers += 1
        name = f"reader{self.readers}"
        self._command("device_add", driver="usb-ccid", id=name)
        self._command("device_add", driver="ccid-card-passthru", id=f"slot{self.readers}",
                      bus=f"{name}.0", chardev="card")


class _Lines:
    """JSON objects, a line each, over one of the machine's sockets."""

    def __init__(self, path: Path, alive: Any):
        self._socket = connect(path, alive)
        self._waiting = b""

    def write(self, what: dict[str, Any]) -> None:
        try:
            self._socket.settimeout(10.0)
            self._socket.sendall(json.dumps(what).encode() + b"\n")
        except OSError as error:
            raise Stuck(f"the machine's line is gone: {error}") from error

    def read(self, limit_s: float) -> dict[str, Any] | None:
        """The next one; None when none comes in time."""
        until_s = time.monotonic() + limit_s
        while b"\n" not in self._waiting:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return None
            self._socket.settimeout(left_s)
            try:
                chunk = self._socket.recv(65536)
            except TimeoutError:
                return None
            except OSError as error:
                raise Stuck(f"the machine's line is gone: {error}") from error
            if not chunk:
                raise Stuck("the machine is off")
            self._waiting += chunk
        line, _, self._waiting = self._waiting.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        self._socket.close()


def connect(path: Path, alive: Any = None, limit_s: float = 10.0) -> socket.socket:
    """Connect to a socket of QEMU, which may still be opening it."""
    until_s = time.monotonic() + limit_s
    while True:
        line = socket.socket(socket.AF_UNIX)
        try:
            with _short(path) as name:
                line.connect(name)
        except OSError as error:
            line.close()
            if time.monotonic() > until_s or (alive is not None and not alive()):
                raise Stuck(f"{path.name}: {error}") from error
            time.sleep(0.02)
        else:
            return line


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A way to `path` that fits into a socket's address, however deep the checkout lies."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def lay_over(disk: Path, overlay: Path) -> None:
    """A new disk that begins as `disk`, which is not written any more."""
    overlay.unlink(missing_ok=True)
    form = "qcow2" if disk.suffix == ".qcow2" else "raw"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", disk, "-F", form, overlay])


def pack(folder: Path, disk: Path) -> None:
    """The files of a folder as a small disk of their own (the payload of a machine)."""
    size_mb = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) // 10**6
    disk.unlink(missing_ok=True)
    run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", folder, "-F", disk,
         f"{size_mb * 5 // 4 + 16}M"])


def keep(machine: Machine, disk: Path) -> None:
    """The disk of a machine that is off, as something to lay others over."""
    if machine.alive():
        raise NotPossible("a disk is kept only when its machine is off")
    shutil.move(machine.disk, disk)
