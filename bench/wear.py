"""How often an hour of charging makes the disk write: fsyncs of a whole daemon in virtual time.

The daemon, its journal and the simulated board are real, the hour is not: the clock jumps. strace
counts what the process asks of the kernel. A longer and a shorter run are compared, so that start,
beginning and end of the session do not count.
"""

import asyncio
import re
import sys
import tempfile
from pathlib import Path

from bench.rig import PYTHON, ROOT, CannotMeasure, needed, run
from bench.table import Row, row

SHORT_H, LONG_H = 1, 3
SAMPLES_S = 60


def wear() -> list[Row]:
    per_hour = (_syncs(LONG_H) - _syncs(SHORT_H)) / (LONG_H - SHORT_H)
    return [row(f"fsyncs per charging hour, samples each {SAMPLES_S} s", per_hour, 20, "",
                digits=1, beside="counted by strace")]


def _syncs(hours: int) -> int:
    place = ROOT / ".bench"
    place.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        told = Path(folder) / "strace"
        done = run(
            needed("strace"), "-f", "-c", "-U", "name,calls", "-e", "trace=fsync,fdatasync",
            "-o", str(told), PYTHON, "-m", "bench.wear", folder, str(hours),
        )  # fmt: skip
        if done.returncode != 0:
            raise CannotMeasure(done.stderr.strip()[-300:])
        text = told.read_text(encoding="utf-8")
    return sum(int(calls) for calls in re.findall(r"^(?:fsync|fdatasync)\s+(\d+)", text, re.M))


# --- the process that is measured ------------------------------------------------------------


async def charge(folder: Path, hours: int) -> None:
    from support.virtual_loop import VirtualLoop
    from support.world import CARD, World

    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    world = World(loop, folder, ocpp16=f"MeterValueSampleInterval = {SAMPLES_S}")
    await world.start()
    world.board.plug(1)
    world.board.tap(CARD)
    await world.advance(hours * 3600)
    sampled = len(world.central.books.transactions[0].samples)
    if sampled < 59 * hours:
        raise SystemExit(f"only {sampled} samples in {hours} h: this is no charging")
    await world.stop()


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    from support.virtual_loop import run_with

    run_with(lambda loop: charge(Path(sys.argv[1]), int(sys.argv[2])))
