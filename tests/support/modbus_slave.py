"""An independent Modbus RTU slave (pymodbus) on a pseudo-terminal, scriptable while it runs.

    with ModbusSlave(tmp_path / "rs485-1", addresses=(1, 2)) as slave:
        slave[1].meter(energy_wh=1_234_560, power_w=11_040.0)
        slave.spoil("crc")                        # the next answer comes with a wrong checksum
        ... the driver, in this or any other process, opens str(slave.port) ...

The slave lives in a thread of its own with its own event loop. Between it and the driver two
pseudo-terminals are joined by a second thread, which can delay what comes, and pull the plug.
Pseudo-terminals know no parity: use 8N1.
"""

import asyncio
import contextlib
import os
import select
import threading
import time
import tty
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from pymodbus.client.mixin import ModbusClientMixin
from pymodbus.constants import ExcCodes
from pymodbus.pdu.device import ModbusDeviceIdentification
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

KINDS = ModbusClientMixin.DATATYPE
HOLDING, INPUT = 3, 4
TOP = 0x400

#: What becomes of an answer: its bytes, and how much later it comes.
Fault = str | tuple[str, float] | tuple[str, int] | tuple[str, bytes]


@dataclass
class Registers:
    """One device on the line: registers by function code, zero where nothing was put."""

    address: int
    words: dict[int, dict[int, int]] = field(default_factory=lambda: {HOLDING: {}, INPUT: {}})
    coils: dict[int, bool] = field(default_factory=dict)

    def put(
        self, start: int, value: float, kind: Any = KINDS.FLOAT32, *,
        function: int = INPUT, word_order: Any = "big",
    ) -> None:
        """Put `value` at `start`; `kind` of pymodbus, `word_order` big or little."""
        words = ModbusClientMixin.convert_to_registers(value, kind, word_order)
        self.words[function].update(enumerate(words, start))

    def put_words(self, start: int, *words: int, function: int = INPUT) -> None:
        self.words[function].update(enumerate(words, start))

    def meter(
        self,
        *,
        energy_wh: float | None = None,
        export_wh: float | None = None,
        power_w: float | None = None,
        voltage_v: Iterable[float] = (),
        current_a: Iterable[float] = (),
        frequency_hz: float | None = None,
    ) -> None:
        """Show these values as an Eastron SDM630 does; what is not named stays."""
        for start, value in ((0x48, energy_wh), (0x4A, export_wh)):
            if value is not None:
                self.put(start, value / 1000)
        for start, value in ((0x34, power_w), (0x46, frequency_hz)):
            if value is not None:
                self.put(start, value)
        for first, values in ((0x00, voltage_v), (0x06, current_a)):
            for phase, value in enumerate(values):
                self.put(first + 2 * phase, value)


class ModbusSlave:
    """Devices at `addresses` behind one port; `port` is a link that survives unplug and replug."""

    def __init__(
        self, port: Path, addresses: tuple[int, ...] = (1,), *,
        spans: Mapping[int, Iterable[tuple[int, int]]] | None = None,
        identity: tuple[str, str, str] = ("", "", ""),
    ):
        """`spans`: by address the stretches of registers (start, number) that a device has, where
        it is not the first 0x400; what lies outside is refused. `identity`: vendor, product and
        revision that all devices tell of themselves."""
        self.port = port
        self._identity = ModbusDeviceIdentification(dict(enumerate(identity)))
        self._spans = spans or {}
        self.devices = {address: Registers(address) for address in addresses}
        self.requests: list[tuple[int, int, int, int]] = []  # address, function, start, count
        self.frames: list[tuple[str, bytes]] = []  # as the slave saw them, before any fault
        self._faults: deque[Fault] = deque()
        self._standing: Fault | None = None
        self._delays: deque[float] = deque()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Any = None
        self._broken: BaseException | None = None
        self._running = True
        self._slave_end = os.openpty()
        tty.setraw(self._slave_end[1])
        self._driver_end: tuple[int, int] | None = None
        self.replug()
        self._threads = [
            threading.Thread(target=self._serve, name="modbus slave", daemon=True),
            threading.Thread(target=self._join, name="modbus wire", daemon=True),
        ]

    def __getitem__(self, address: int) -> Registers:
        return self.devices[address]

    def __enter__(self) -> "ModbusSlave":
        for thread in self._threads:
            thread.start()
        if not self._ready.wait(10.0) or self._broken:
            raise RuntimeError("the Modbus slave does not start") from self._broken
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running = False
        assert self._loop is not None
        if self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self._server.shutdown(), self._loop)
        for thread in self._threads:
            thread.join(5.0)
        self.unplug()
        for end in self._slave_end:
            os.close(end)

    # --- what goes wrong ------------------------------------------------------------------

    def spoil(self, *faults: Fault) -> None:
        """What becomes of the next answers, one fault each:

        "crc", "silence", "none", ("cut", bytes kept), ("garbage", bytes), ("exception", code),
        ("late", seconds).
        """
        self._faults.extend(faults)

    def spoil_all(self, fault: Fault | None) -> None:
        """What becomes of every answer from now on; None: nothing any more."""
        self._standing = fault

    def unplug(self) -> None:
        """Pull the adapter: the driver's port is gone."""
        ends, self._driver_end = self._driver_end, None
        self.port.unlink(missing_ok=True)
        for end in ends or ():
            with contextlib.suppress(OSError):
                os.close(end)

    def replug(self) -> None:
        """Put the adapter back: a new device behind the same name."""
        master, slave = os.openpty()
        tty.setraw(slave)
        self.port.symlink_to(os.ttyname(slave))
        self._driver_end = (master, slave)

    # --- the slave ------------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            asyncio.run(self._serving())
        except BaseException as error:  # noqa: BLE001 - told to the thread that waits for it
            self._broken = error
            self._ready.set()

    async def _serving(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = ModbusSerialServer(
            [self._device(address) for address in self.devices],
            port=os.ttyname(self._slave_end[1]),
            baudrate=115200,
            identity=self._identity,  # pymodbus keeps it for all servers of a process
            trace_packet=self._packet,
            ignore_missing_devices=True,
        )
        await self._server.serve_forever(background=True)
        self._ready.set()
        await self._server.serving

    def _device(self, address: int) -> SimDevice:
        def zeros() -> list[SimData]:
            return [SimData(start, count=count, values=0, datatype=DataType.REGISTERS)
                    for start, count in self._spans.get(address, ((0, TOP),))]

        bits = SimData(0, count=16, values=False, datatype=DataType.BITS)
        registers = self.devices[address]

        async def act(
            function: int, first: int, start: int, count: int, memory: list[int], values: Any
        ) -> ExcCodes | None:
            self.requests.append((address, function, start, count))
            fault = self._next_fault(peek=True)
            if isinstance(fault, tuple) and fault[0] == "exception":
                self._next_fault()
                return ExcCodes(int(fault[1]))
            if values:
                self._write(registers, function, start, values)
            else:
                for at, word in registers.words.get(function, {}).items():
                    if first <= at < first + len(memory):
                        memory[at - first] = word
            return None

        return SimDevice(
            id=address, simdata=([bits], [bits], zeros(), zeros()), action=act,
        )

    @staticmethod
    def _write(registers: Registers, function: int, start: int, values: list[Any]) -> None:
        if function in (5, 15):
            registers.coils.update((start + i, bool(value)) for i, value in enumerate(values))
        else:
            registers.words[HOLDING].update(enumerate(values, start))

    def _next_fault(self, *, peek: bool = False) -> Fault | None:
        if not self._faults:
            return self._standing
        return self._faults[0] if peek else self._faults.popleft()

    def _packet(self, sending: bool, packet: bytes) -> bytes:
        if not sending:
            if packet:
                self.frames.append((">", packet))
            return packet
        if packet[0] not in self.devices:
            return b""  # nobody with this address on the line
        self.frames.append(("<", packet))
        if packet[1] & 0x80:
            return packet
        match self._next_fault():
            case "crc":
                return packet[:-1] + bytes((packet[-1] ^ 0x40,))
            case "silence":
                return b""
            case ("cut", int(keep)):
                return packet[:keep]
            case ("garbage", bytes(noise)):
                return noise
            case ("late", seconds):
                self._delays.append(float(seconds))
        return packet

    # --- the wire -------------------------------------------------------------------------

    def _join(self) -> None:
        """Carry bytes between the two pseudo-terminals; an answer marked late waits here."""
        waiting: list[tuple[float, bytes]] = []
        while self._running:
            ends = self._driver_end
            ours = self._slave_end[0]
            readable = self._readable([ours] + ([ends[0]] if ends else []))
            if ends and ends[0] in readable:
                self._copy(self._read(ends[0]), ours)
            if ours in readable:
                late_s = self._delays.popleft() if self._delays else 0.0
                waiting.append((time.monotonic() + late_s, self._read(ours)))
            due = [item for item in waiting if item[0] <= time.monotonic()]
            waiting = [item for item in waiting if item not in due]
            for _, chunk in due:
                if ends:
                    self._copy(chunk, ends[0])

    @staticmethod
    def _readable(ends: list[int]) -> list[int]:
        try:
            return select.select(ends, [], [], 0.005)[0]
        except (OSError, ValueError):
            return []

    @staticmethod
    def _read(end: int) -> bytes:
        try:
            return os.read(end, 4096)
        except OSError:
            return b""

    @staticmethod
    def _copy(chunk: bytes, end: int) -> None:
        with contextlib.suppress(OSError):
            os.write(end, chunk)
