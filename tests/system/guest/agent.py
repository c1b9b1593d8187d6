"""Carries out what the test asks for, inside the emulated machine.

Requests and answers are JSON objects, a line each, on a virtio port; one at a time. What is asked
often is done here, without starting a process: that takes half a second where all is emulated.
"""

import contextlib
import json
import os
import socket
import subprocess
import time
from pathlib import Path

PORT = "/dev/virtio-ports/agent"
SOCKET = "/run/cpctl/cpctl.sock"


def shell(asked: dict) -> dict:
    try:
        done = subprocess.run(["/bin/sh", "-c", asked["words"]], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=asked.get("limit_s", 60), check=False)
    except subprocess.TimeoutExpired:
        return {"code": -1, "out": "", "err": "it took too long"}
    return {"code": done.returncode, "out": done.stdout.decode(errors="replace"),
            "err": done.stderr.decode(errors="replace")}


def call(asked: dict) -> dict:
    """One call to the daemon's local API."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(asked.get("limit_s", 10))
        line.connect(SOCKET)
        line.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": asked["method"],
                                 "params": asked.get("params", {})}).encode() + b"\n")
        with line.makefile("rb") as stream:
            return json.loads(stream.readline())


def read(asked: dict) -> dict:
    return {"text": Path(asked["path"]).read_text(errors="replace")}


def write(asked: dict) -> dict:
    path = Path(asked["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(asked["text"])
    return {}


def signal(asked: dict) -> dict:
    """Send a signal to the main process of a unit; answers when that was, by the guest's clock."""
    os.kill(asked["pid"], asked["signal"])
    return {"ns": time.monotonic_ns()}


def main_pid(asked: dict) -> dict:
    """The process that systemd watches as the unit's, from its control group."""
    group = Path("/sys/fs/cgroup/system.slice") / asked["unit"] / "cgroup.procs"
    found = group.read_text().split() if group.exists() else []
    return {"pids": [int(pid) for pid in found], "ns": time.monotonic_ns()}


DOES = {"shell": shell, "call": call, "read": read, "write": write, "signal": signal,
        "processes": main_pid}


def main() -> None:
    port = os.open(PORT, os.O_RDWR)
    waiting = b""
    while True:
        chunk = os.read(port, 65536)
        if not chunk:
            time.sleep(0.05)
            continue
        waiting += chunk
        *lines, waiting = waiting.split(b"\n")
        for line in lines:
            answer: dict = {}
            try:
                asked = json.loads(line)
                answer = DOES[asked["do"]](asked)
                answer["id"] = asked["id"]
            except (OSError, ValueError, KeyError) as error:
                with contextlib.suppress(UnboundLocalError):
                    answer = {"failed": f"{type(error).__name__}: {error}",
                              "id": asked.get("id") if isinstance(asked, dict) else None}
            text = json.dumps(answer).encode() + b"\n"
            while text:
                text = text[os.write(port, text):]


main()
