"""Records what meters say, for tests/hal/frames: `python -m support.meter_frames` in tests/.

The slave is pymodbus, the master our drivers. A recording of a real meter has the same form
(`cpctl hw meter 1 --raw --record FILE`) and takes the place of these.
"""

import asyncio
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from support import meter_table
from support.modbus_slave import HOLDING, KINDS, ModbusSlave, Registers

from hal import registry
from hal.contracts import Parts
from hal.rtu import LineSettings
from hal.serialbus import SerialBus
from hal.sim.rs485 import Recorder

FRAMES = Path(__file__).parent.parent / "hal" / "frames"

#: Registers as an ABB B23 has them: unsigned 64 bit energy, "no value" as all ones.
GENERIC_OPTIONS: dict[str, Any] = {
    "registers": {
        "energy_import": {"type": "u64", "function": "holding", "address": 0x100, "unit": "kWh",
                          "scale": 0.01},
        "voltage": {"type": "u32", "function": "holding", "address": [0x180, 0x182, 0x184],
                    "unit": "V", "scale": 0.1},
        "power": {"type": "i32", "function": "holding", "address": 0x194, "unit": "W",
                  "scale": 0.01},
    }
}  # fmt: skip


def show_sdm630(registers: Registers) -> None:
    registers.meter(
        energy_wh=1_234_560, export_wh=40, power_w=11_040.5, frequency_hz=50.02,
        voltage_v=(230.1, 229.9, 231.4), current_a=(16.01, 15.99, 15.97),
    )  # fmt: skip
    for start, value in ((0x0C, 3680.0), (0x0E, 3679.5), (0x10, 3681.0), (0x3C, -210.5),
                         (0x3E, 0.999)):  # fmt: skip
        registers.put(start, value)


def show_sdm120(registers: Registers) -> None:
    registers.meter(energy_wh=98_760, export_wh=0, voltage_v=(229.4,), current_a=(12.98,),
                    frequency_hz=49.98)  # fmt: skip
    for start, value in ((0x0C, 2977.6), (0x18, 12.5), (0x1E, 1.0)):
        registers.put(start, value)


def show_generic(registers: Registers) -> None:
    registers.put(0x100, 7_654_321, KINDS.UINT64, function=HOLDING)
    registers.put(0x180, 2301, KINDS.UINT32, function=HOLDING)
    registers.put_words(0x182, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, function=HOLDING)
    registers.put(0x194, -123_456, KINDS.INT32, function=HOLDING)


#: By driver: what its meter shows, and the options beyond line and address.
SCENES: dict[str, tuple[Any, dict[str, Any]]] = {
    **{name: (partial(meter_table.show, name), {}) for name in meter_table.TABLE},
    "eastron_sdm630": (show_sdm630, {}),
    "eastron_sdm120": (show_sdm120, {}),
    "generic_modbus": (show_generic, GENERIC_OPTIONS),
}


def driver_of(recording: str) -> str:
    """The driver a recording belongs to: `abb_b23` and `abb_b23@workshop` are both of abb_b23."""
    return recording.partition("@")[0]


def recordings() -> tuple[str, ...]:
    """The names of all that was recorded, the bytes of real meters too."""
    return tuple(sorted(path.stem for path in FRAMES.glob("*.txt")
                        if driver_of(path.stem) in SCENES))


def record(name: str) -> list[str]:
    """The frames of one reading of the scene `name`."""
    show, options = SCENES[name]
    recorder = Recorder()
    spans = {1: meter_table.spans(name)} if name in meter_table.TABLE else None
    with (tempfile.TemporaryDirectory() as folder,
          ModbusSlave(Path(folder) / "line", spans=spans) as slave):
        show(slave[1])
        bus = SerialBus("line", LineSettings(port=str(slave.port), gap_s=0.01, timeout_s=2.0))
        bus.listen(recorder)
        chosen = {"bus": "line", "address": 1} | options
        made = registry.build("meter", name, name, 1, chosen, Parts(buses={"line": bus}))
        asyncio.run(made.read())
        bus.close()
    return recorder.lines


if __name__ == "__main__":
    for name in SCENES:
        text = "\n".join((f"# {name}, recorded against a pymodbus slave at address 1",
                          *record(name)))
        (FRAMES / f"{name}.txt").write_text(text + "\n", encoding="ascii")
