"""From exec to an accepted BootNotification; then at rest: memory and wake-ups; `cpctl status`."""

import os
import signal
import time
from pathlib import Path

from bench.rig import (
    PYTHON,
    ROOT,
    CannotMeasure,
    Station,
    callgrind,
    central,
    certificate,
    counted,
    instructions,
    run,
    station,
)
from bench.table import Row, row

IDLE_S = 30.0
STATUS_ROUNDS = 15


def start() -> list[Row]:
    """Instructions until the first message after the accepted boot is sent."""
    with central() as csms, station(csms.url) as post:
        _until_booted(csms, post)  # compiles what is not compiled yet, makes the books
        post.stop()
        csms.do("forget")
        prefix, report = callgrind(post.folder)
        pid = post.start(*prefix)
        csms.do("kill", pid=pid, signal=signal.SIGUSR1, action="StatusNotification", count=1)
        assert post.process is not None
        post.process.wait(60)
        spent = instructions(report)
    run(PYTHON, "-c", "pass")
    bare = counted(PYTHON, "-c", "pass")
    return [
        row("start to BootNotification accepted", spent / 1e9, 1.30, "G instructions"),
        row("  the same, x python -c pass", spent / bare, 34, "x", digits=1,
            beside=f"python -c pass: {bare / 1e6:.0f} M instructions"),
    ]  # fmt: skip


def _until_booted(csms: object, post: Station) -> None:
    post.start()
    csms.do("wait", action="StatusNotification", count=1)  # type: ignore[attr-defined]


def rest() -> list[Row]:
    """At idle: connected, accepted, nobody there."""
    with central() as csms, station(csms.url) as post:
        _until_booted(csms, post)
        client = post.client()
        client.call("status")
        client.close()
        time.sleep(8.0)  # the marks of what was delivered are written after 5 s
        assert post.process is not None
        pid = post.process.pid
        before = wake_ups(pid)
        time.sleep(IDLE_S)
        per_s = (wake_ups(pid) - before) / IDLE_S
        threads = len(os.listdir(f"/proc/{pid}/task"))
        memory = memory_mib(pid, "VmRSS")
        rows = [
            row("memory at idle (RSS)", memory, 42, "MiB", digits=1,
                beside=f"{memory_mib(pid, 'RssAnon'):.1f} MiB of it our own, {threads} threads"),
            row("wake-ups at idle, simulated board", per_s, 1.5, "/s",
                beside=f"over {IDLE_S:.0f} s, all threads"),
        ]  # fmt: skip
        rows += status(post)
    return [*rows, with_tls()]


def with_tls() -> Row:
    """At idle over TLS, security profile 2."""
    with certificate() as files, central(files) as csms:
        secret = files[0].with_name("password")
        secret.touch(mode=0o600)
        secret.write_text("0123456789abcdef0123456789abcdef", encoding="ascii")
        security = (f'security_profile = 2\nca_file = "{files[0]}"\n'
                    f'password_file = "{secret}"')
        with station(csms.url, security) as post:
            _until_booted(csms, post)
            time.sleep(8.0)
            assert post.process is not None
            pid = post.process.pid
            return row("memory at idle with TLS (RSS)", memory_mib(pid, "VmRSS"), 42, "MiB",
                       digits=1, beside=f"{memory_mib(pid, 'RssAnon'):.1f} MiB of it our own")


def wake_ups(pid: int) -> int:
    """Times that any thread of the process gave up the processor by itself."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text(encoding="ascii").splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total


def memory_mib(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise CannotMeasure(f"/proc/{pid}/status has no {field}")


def status(post: Station) -> list[Row]:
    """`cpctl status` against the running daemon, in turns with a Python that does nothing."""
    cpctl = Path(PYTHON).parent / "cpctl"
    if not cpctl.exists():
        raise CannotMeasure(f"no {cpctl}; install the package (make run does)")
    ours: list[float] = []
    bare: list[float] = []
    _spent_ms(str(cpctl), "--socket", str(post.socket), "status")  # compiles
    for _ in range(STATUS_ROUNDS):
        bare.append(_spent_ms(PYTHON, "-c", "pass"))
        ours.append(_spent_ms(str(cpctl), "--socket", str(post.socket), "status"))
    ratio = min(ours) / min(bare)
    return [row("cpctl status, x python -c pass", ratio, 3.2, "x",
                beside=f"{min(ours):.0f} ms against {min(bare):.0f} ms, best of {STATUS_ROUNDS}")]


def _spent_ms(*command: str) -> float:
    began = time.perf_counter()
    done = run(*command)
    spent = (time.perf_counter() - began) * 1000
    if done.returncode != 0:
        raise CannotMeasure(f"{' '.join(command)}: {done.stderr.strip()[-200:]} (in {ROOT})")
    return spent
