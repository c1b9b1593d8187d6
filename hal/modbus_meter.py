"""An energy meter told by its registers: from a table of fields to a MeterReading.

A driver is a subclass that names its fields (`energy_import = f32(INPUT, 0x0048, "kWh")`); this
file merges them into block reads, brings units to Wh, W, A, V, and refuses what cannot be true.
Whether a register went backwards is not judged here: the core knows the session.
"""

import logging
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from hal.contracts import EnergyMeter, Option, Parts
from hal.errors import BadConfig, BadReading, HalError, IllegalRequest
from hal.late import dataclass
from hal.rtu import MAX_REGISTERS, READ_HOLDING, READ_INPUT, Request
from hal.values import MeterReading

log = logging.getLogger(__name__)

INPUT = READ_INPUT
HOLDING = READ_HOLDING

HIGH_FIRST = "high_first"
LOW_FIRST = "low_first"

#: How each unit becomes the one of MeterReading.
UNITS: Mapping[str, float] = {
    "Wh": 1.0, "kWh": 1e3, "MWh": 1e6,
    "W": 1.0, "kW": 1e3, "MW": 1e6,
    "var": 1.0, "kvar": 1e3,
    "A": 1.0, "mA": 1e-3,
    "V": 1.0, "mV": 1e-3, "kV": 1e3,
    "Hz": 1.0, "°C": 1.0, "1": 1.0,
}  # fmt: skip

#: Letter of `struct` and width in registers.
_KINDS: Mapping[str, tuple[str, int]] = {
    "u16": ("H", 1), "i16": ("h", 1), "u32": ("I", 2), "i32": ("i", 2),
    "u64": ("Q", 4), "i64": ("q", 4), "f32": ("f", 2), "f64": ("d", 4),
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """One quantity: where it stands, how it is coded, in which unit.

    Several `addresses` are the phases, L1 first. A value is the register times `scale` times the
    unit. `no_value` is the raw number by which the meter says that it has none; None: all ones
    (unsigned), 0x7FFF… or 0x8000… (signed), not-a-number (float).
    """

    kind: str
    function: int
    addresses: tuple[int, ...]
    unit: str
    scale: float = 1.0
    word_order: str | None = None
    no_value: int | None = None

    @property
    def width(self) -> int:
        return _KINDS[self.kind][1]

    def value(self, words: Sequence[int], word_order: str) -> float | int | None:
        """The value in units of MeterReading from the field's own registers."""
        ordered = words if (self.word_order or word_order) == HIGH_FIRST else words[::-1]
        packed = b"".join(word.to_bytes(2, "big") for word in ordered)
        raw: float | int = struct.unpack(">" + _KINDS[self.kind][0], packed)[0]
        if self._is_no_value(raw):
            return None
        factor = self.scale * UNITS[self.unit]
        return raw * int(factor) if factor == int(factor) and isinstance(raw, int) else raw * factor

    def _is_no_value(self, raw: float | int) -> bool:
        if isinstance(raw, float):
            return math.isnan(raw)
        if self.no_value is not None:
            return raw == self.no_value
        half = 1 << (16 * self.width - 1)
        return raw == 2 * half - 1 if self.kind[0] == "u" else raw in (half - 1, -half)


def _field(
    kind: str,
    function: int,
    address: int | tuple[int, ...],
    unit: str,
    *,
    scale: float = 1.0,
    word_order: str | None = None,
    no_value: int | None = None,
) -> Field:
    addresses = (address,) if isinstance(address, int) else tuple(address)
    if kind not in _KINDS:
        raise BadConfig(f"no register type {kind!r}; there are {', '.join(_KINDS)}")
    if unit not in UNITS:
        raise BadConfig(f"no unit {unit!r}; there are {', '.join(UNITS)}")
    if function not in (INPUT, HOLDING):
        raise BadConfig(f"registers are read by function 3 (holding) or 4 (input), not {function}")
    if not addresses or not all(0 <= at <= 0xFFFF for at in addresses):
        raise BadConfig(f"register addresses are 0 to 65535, counted from 0, not {addresses}")
    if not isinstance(scale, int | float) or scale == 0:
        raise BadConfig(f"scale is a number other than 0, not {scale!r}")
    if word_order not in (None, HIGH_FIRST, LOW_FIRST):
        raise BadConfig(f"word order is {HIGH_FIRST} or {LOW_FIRST}, not {word_order!r}")
    return Field(kind, function, addresses, unit, scale, word_order, no_value)


def f32(function: int, address: int | tuple[int, ...], unit: str, **more: Any) -> Field:
    """IEEE 754 single in two registers. `more`: scale, word_order, no_value."""
    return _field("f32", function, address, unit, **more)


def f64(function: int, address: int | tuple[int, ...], unit: str, **more: Any) -> Field:
    """IEEE 754 double in four registers."""
    return _field("f64", function, address, unit, **more)


def u16(function: int, address: int | tuple[int, ...], unit: str, **more: Any) -> Field:
    """Unsigned, one register."""
    return _field("u16", function, address, unit, **more)


def i16(function: int, address: int | tuple[int, ...], unit: str, **more: Any) -> Field:
    """Signed, one register."""
    return _field("i16", function, address, unit, **more)


def u32(function: int, address: int | tuple[int, ...], unit: str, **more: Any) -> Field:
    """Unsigned, two registers."""
    return _field("u32", function, address, unit, **more)


def i32(function: int, address: int | tuple[int, ...], unit: str, **more: Any) -> Field:
    """Signed, two registers."""
    return _field("i32", function, address, unit, **more)


def u64(function: int, address: int | tuple[int, ...], unit: str, **more: Any) -> Field:
    """Unsigned, four registers."""
    return _field("u64", function, address, unit, **more)


def i64(function: int, address: int | tuple[int, ...], unit: str, **more: Any) -> Field:
    """Signed, four registers."""
    return _field("i64", function, address, unit, **more)


BY_KIND = {
    "f32": f32, "f64": f64, "u16": u16, "i16": i16, "u32": u32, "i32": i32, "u64": u64, "i64": i64
}  # fmt: skip

#: The quantities a meter may have, the unit MeterReading wants, and what can be true of them.
#: Energy: 4.3e10 Wh is what an absent measuring module was seen to give (evcc issue 776).
QUANTITIES: Mapping[str, tuple[str, float, float]] = {
    "energy_import": ("Wh", 0.0, 1e9),
    "energy_export": ("Wh", 0.0, 1e9),
    "power": ("W", -250e3, 250e3),
    "powers": ("W", -100e3, 100e3),
    "current": ("A", -400.0, 400.0),
    "voltage": ("V", 0.0, 500.0),
    "reactive_power": ("var", -250e3, 250e3),
    "power_factor": ("1", -1.01, 1.01),
    "frequency": ("Hz", 0.0, 100.0),
    "temperature": ("°C", -60.0, 150.0),
    "serial_number": ("1", 0.0, float(1 << 64)),
}


@dataclass(frozen=True)
class Block:
    """Registers read by one request."""

    function: int
    start: int
    count: int

    @property
    def end(self) -> int:
        return self.start + self.count


def blocks_of(fields: Sequence[Field], *, longest: int, holes: int) -> tuple[Block, ...]:
    """The fewest reads that cover `fields`: each at most `longest` registers, and reading over at
    most `holes` registers in a row that nobody asked for."""
    pieces = sorted({(f.function, at, f.width) for f in fields for at in f.addresses})
    blocks: list[Block] = []
    for function, start, width in pieces:
        last = blocks[-1] if blocks else None
        if last and last.function == function and start - last.end <= holes:
            count = max(last.end, start + width) - last.start
            if count <= longest:
                blocks[-1] = Block(function, last.start, count)
                continue
        blocks.append(Block(function, start, width))
    return tuple(blocks)


@dataclass(frozen=True)
class RawValue:
    """One quantity as it stands in the meter, for `cpctl hw meter --raw`."""

    quantity: str
    phase: int | None
    function: int
    address: int
    words: tuple[int, ...]
    value: float | int | None
    unit: str


@dataclass(frozen=True)
class Mark:
    """Where a model says what it is, for the bus doctor: registers that hold a text with one of
    `texts` in it, or a number among `numbers`. Function 43: the text is what the device tells when
    it is asked for its identification. Only what the maker documents.
    """

    function: int
    start: int = 0
    count: int = 1
    texts: tuple[str, ...] = ()
    numbers: Sequence[int] = ()

    def fits(self, words: Sequence[int]) -> bool:
        if self.numbers:
            return len(words) == 1 and words[0] in self.numbers
        packed = b"".join(word.to_bytes(2, "big") for word in words)
        return self.fits_text(packed.decode("latin-1"))

    def fits_text(self, text: str) -> bool:
        return any(one.lower() in text.lower() for one in self.texts)


COMMON_OPTIONS = (
    Option("bus", str, required=True, role="bus", help="the serial line: name of a [serial.…]"),
    Option("address", int, required=True, minimum=1, maximum=247, role="address",
           help="Modbus address, as set at the meter"),
    Option("word_order", str, choices=(HIGH_FIRST, LOW_FIRST),
           help="order of the registers of a number; without it the driver's"),
    Option("block_registers", int, minimum=4, maximum=MAX_REGISTERS,
           help="most registers in one request; fewer for meters that refuse long reads"),
    Option("max_current_a", float, minimum=1,
           help="a reading above this per phase is refused as absurd"),
    Option("max_power_w", float, minimum=1, help="a reading above this is refused as absurd"),
)  # fmt: skip


class ModbusMeter(EnergyMeter):
    """A meter on a serial line. Subclasses say `serial` (the maker's line settings, for people)
    and one Field per quantity of QUANTITIES; `energy_import` at least."""

    OPTIONS: ClassVar[tuple[Option, ...]] = COMMON_OPTIONS
    serial: ClassVar[Mapping[str, Any]] = {"baudrate": 9600, "parity": "N", "stopbits": 1}
    word_order: ClassVar[str] = HIGH_FIRST
    longest_block: ClassVar[int] = 80
    #: Where the model says what it is.
    marks: ClassVar[tuple[Mark, ...]] = ()
    #: Registers nobody asked for that may be read over. Some meters refuse what they do not have.
    holes: ClassVar[int] = 0

    def __init__(self, name: str, evse: int | None, options: Mapping[str, Any], parts: Parts):
        super().__init__(name, evse, options, parts)
        self.fields = self._fields()
        if "energy_import" not in self.fields:
            raise BadConfig(f"{name}: a meter needs at least the register energy_import")
        for quantity, found in self.fields.items():
            _check_unit(name, quantity, found)
        self._order: str = options.get("word_order") or self.word_order
        self._longest = int(options.get("block_registers") or self.longest_block)
        self.blocks = self._cut(holes=self.holes)
        self._limits = _limits(options)
        self.address = int(options["address"])
        self.bus = parts.serial(name, str(options["bus"]))

    def _fields(self) -> Mapping[str, Field]:
        """Overridden where the fields come from elsewhere."""
        found = {quantity: getattr(self, quantity, None) for quantity in QUANTITIES}
        return {quantity: at for quantity, at in found.items() if isinstance(at, Field)}

    def _cut(self, *, holes: int) -> tuple[Block, ...]:
        return blocks_of(tuple(self.fields.values()), longest=self._longest, holes=holes)

    async def open(self) -> None:
        """See that the line's port is there; whether the meter answers, the first read tells."""
        try:
            await self.bus.open()
        except HalError as error:
            raise self._named(error) from error

    async def read(self) -> MeterReading:
        """One reading of all fields, block after block.

        Raises DeviceTimeout (silence), CrcError, BadFrame, ExceptionAnswer, BadReading (absurd or
        missing value, by register), DeviceGone (the port).
        """
        values: dict[str, list[float | int | None]] = {}
        for raw in await self.raw():
            self._judge(raw)
            values.setdefault(raw.quantity, []).append(raw.value)
        return _reading(values)

    async def raw(self) -> tuple[RawValue, ...]:
        """Every field as the meter gives it, not judged."""
        words: dict[tuple[int, int], int] = {}
        for block in self.blocks:
            request = Request(self.address, block.function, block.start, block.count)
            try:
                answer = await self.bus.ask(request)
            except IllegalRequest as error:
                self._read_finer()
                raise self._named(error) from error
            except HalError as error:
                raise self._named(error) from error
            words.update(((block.function, block.start + i), w) for i, w in enumerate(answer))
        return tuple(self._raw_values(words))

    async def record(self) -> tuple[tuple[RawValue, ...], tuple[str, ...]]:
        """As `raw`, and what passed on the line: "> hex" sent, "< hex" come, of each request the
        last answer. The form of tests/hal/frames. Raises HalError while the line is listened to.
        """
        answers: dict[str, str] = {}
        asked = ""

        def note(direction: str, frame: bytes) -> None:
            nonlocal asked
            if direction == ">":
                asked = frame.hex(" ") if frame[0] == self.address else ""
            elif asked:
                answers[asked] = frame.hex(" ")

        if self.bus.heard:
            raise HalError(f"{self.name}: {self.bus.name} is being recorded already; try again")
        self.bus.listen(note)
        try:
            values = await self.raw()
        finally:
            self.bus.listen(None)
        lines = [(f"> {request}", f"< {answer}") for request, answer in answers.items()]
        return values, tuple(line for pair in lines for line in pair)

    def _read_finer(self) -> None:
        """A refused meter may have none of the registers that are read over: from now on each
        group of fields is asked for by itself."""
        finer = self._cut(holes=0)
        if finer != self.blocks:
            log.warning("%s refused a long read; from now on it gets %d short ones per reading",
                        self.name, len(finer))
            self.blocks = finer

    def _raw_values(self, words: Mapping[tuple[int, int], int]) -> list[RawValue]:
        found: list[RawValue] = []
        for quantity, at in self.fields.items():
            for phase, start in enumerate(at.addresses, 1):
                own = tuple(words[at.function, start + i] for i in range(at.width))
                value = at.value(own, self._order)
                unit = QUANTITIES[quantity][0]
                shown = phase if len(at.addresses) > 1 else None
                found.append(RawValue(quantity, shown, at.function, start, own, value, unit))
        return found

    def _judge(self, raw: RawValue) -> None:
        low, high = self._limits[raw.quantity]
        where = f"{self.name}: {raw.quantity}" + (f" L{raw.phase}" if raw.phase else "")
        at = f"register 0x{raw.address:04X}, raw {' '.join(f'{w:04X}' for w in raw.words)}"
        if raw.value is None:
            if raw.quantity == "energy_import":
                raise BadReading(
                    f"{where} has no value ({at}); is its measuring module fitted and the "
                    "driver the right one? (cpctl hw meter --raw)"
                )
            return
        if not low <= raw.value <= high:
            raise BadReading(
                f"{where} is {raw.value:g} {raw.unit} ({at}), believed are {low:g} to {high:g}; "
                "check driver, word order and address (cpctl hw meter --raw)"
            )

    def _named(self, error: HalError) -> HalError:
        return type(error)(f"{self.name}: {error}")


def _check_unit(name: str, quantity: str, found: Field) -> None:
    wanted = QUANTITIES[quantity][0]
    if not found.unit.endswith(wanted):
        raise BadConfig(f"{name}: {quantity} is in {wanted}, k{wanted} …, not in {found.unit}")


def _limits(options: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    limits = {quantity: (low, high) for quantity, (_, low, high) in QUANTITIES.items()}
    if options.get("max_current_a"):
        limits["current"] = (-float(options["max_current_a"]), float(options["max_current_a"]))
    if options.get("max_power_w"):
        power = (-float(options["max_power_w"]), float(options["max_power_w"]))
        limits["power"] = limits["powers"] = power
    return limits


def _reading(values: Mapping[str, Sequence[float | int | None]]) -> MeterReading:
    def one(quantity: str) -> float | None:
        found = values.get(quantity, (None,))[0]
        return None if found is None else float(found)

    def energy(quantity: str) -> int | None:
        found = values.get(quantity, (None,))[0]
        return None if found is None else round(found)

    return MeterReading(
        energy_import_wh=energy("energy_import") or 0,
        energy_export_wh=energy("energy_export"),
        power_w=one("power"),
        powers_w=_phases(values.get("powers", ())),
        currents_a=_phases(values.get("current", ())),
        voltages_v=_phases(values.get("voltage", ())),
        reactive_power_var=one("reactive_power"),
        power_factor=one("power_factor"),
        frequency_hz=one("frequency"),
        temperature_c=one("temperature"),
        serial=_serial(values.get("serial_number", (None,))[0]),
    )


def _phases(values: Sequence[float | int | None]) -> tuple[float, ...]:
    """The phases from L1 on that the meter tells; those it does not tell at the end are left out.

    A gap before a told phase makes the order unknowable: then none is told.
    """
    told = [float(value) for value in values if value is not None]
    return tuple(told) if all(v is None for v in values[len(told) :]) else ()


def _serial(number: float | int | None) -> str | None:
    return None if number is None else str(int(number))
