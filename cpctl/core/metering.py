"""Readings: can they be true, when is a sample due, what is told of them.

The register of the books is the last good one. A silent, garbled or backward meter stops the
register, it never moves it. Who records is `rules.py`.
Source: OCPP 1.6 §3.16, §4.7, §9.1; house.md §6 "A silent meter".
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType

from cpctl.core.now import NS_PER_S, Now
from cpctl.core.state import Evse, Meter, PowerState
from cpctl.core.values import EvseLayout, Measured, Quantity
from hal.values import MeterReading

SLACK_WH = 100  # resolution of coarse registers
HEADROOM = 1.25  # over the rated power, for voltage and current above nominal
FRESH_S = 2.0  # a sample may use a reading this old, else it waits for the next
CLOCK_LATE_S = 10.0  # a clock-aligned slot without a reading by then is left out
IDLE_SETTLE_S = 5.0
IDLE_RISES = 3
IDLE_RISE_WH = 50
REGISTER_MAX_WH = 10**12

#: What can be asked for; state of charge needs a car that tells it.
SUPPORTED = frozenset(Quantity) - {Quantity.STATE_OF_CHARGE}


# --- can it be true? ---------------------------------------------------------------------------


def possible_wh(layout: EvseLayout, voltage_v: float, seconds: float) -> int:
    """The most that can have flowed in `seconds`, with headroom and the register's coarseness."""
    power_w = layout.max_current_a * layout.phases * voltage_v * HEADROOM
    return int(power_w * max(0.0, seconds) / 3600) + SLACK_WH


def taken(evse: Evse, reading: MeterReading, measured_mono: int, now: Now, voltage_v: float
          ) -> tuple[Meter, bool]:
    """The meter after `reading`, and whether the reading can be true.

    Inside a transaction nothing but a plausible continuation is believed. Outside, a second
    reading in line with the first unlikely one makes a new beginning (a meter was changed or
    counts from zero at each plug); so does the second reading of all.
    """
    meter = evse.meter
    if not 0 <= reading.energy_import_wh <= REGISTER_MAX_WH:
        return replace(meter, suspect=None), False
    if meter.good is not None and _continues(
            evse.layout, meter.good, meter.good_mono, reading, now.mono_ns, voltage_v):
        return _accepted(meter, reading, measured_mono), True
    if evse.in_transaction:
        return meter, False
    if meter.suspect is not None and _continues(
            evse.layout, meter.suspect, meter.suspect_mono, reading, now.mono_ns, voltage_v):
        return _accepted(meter, reading, measured_mono), True
    suspected = replace(meter, suspect=reading, suspect_mono=now.mono_ns)
    return suspected, meter.good is None and meter.suspect is None


def _accepted(meter: Meter, reading: MeterReading, measured_mono: int) -> Meter:
    return replace(meter, good=reading, good_mono=measured_mono, suspect=None)


def _continues(layout: EvseLayout, before: MeterReading, before_mono: int,
               reading: MeterReading, now_mono: int, voltage_v: float) -> bool:
    rise = reading.energy_import_wh - before.energy_import_wh
    return 0 <= rise <= possible_wh(layout, voltage_v, (now_mono - before_mono) / NS_PER_S)


def watched_idle(evse: Evse, now: Now) -> tuple[Meter, bool]:
    """The meter after looking whether it counts with the coil off, and whether that is sure.

    Sure is a register that rose in three readings running, by 50 Wh together, well after the coil
    was released.
    """
    meter = evse.meter
    settled = evse.power.state is PowerState.OFF and (
        now.since(evse.power.off_since) >= IDLE_SETTLE_S)
    if not settled or meter.good is None:
        return replace(meter, idle_wh=None, idle_rises=0), False
    register = meter.good.energy_import_wh
    if meter.idle_wh is None or register <= meter.idle_last_wh:
        return replace(meter, idle_wh=register, idle_last_wh=register, idle_rises=0), False
    meter = replace(meter, idle_last_wh=register, idle_rises=meter.idle_rises + 1)
    risen_wh = register - (meter.idle_wh or 0)
    return meter, meter.idle_rises >= IDLE_RISES and risen_wh >= IDLE_RISE_WH


def register_wh(evse: Evse) -> int | None:
    """The register of the books; 0 for ever where no meter is fitted."""
    if not evse.layout.has_meter:
        return 0
    return None if evse.meter.good is None else evse.meter.good.energy_import_wh


def present_register_wh(evse: Evse) -> int | None:
    """What the meter says now, be it confirmed or not: to be held against what the books know."""
    if evse.meter.good is None and evse.meter.suspect is not None:
        return evse.meter.suspect.energy_import_wh
    return register_wh(evse)


def read_since(evse: Evse, mono_ns: int) -> bool:
    """Whether a good reading was taken at or after `mono_ns` (always true without a meter)."""
    if not evse.layout.has_meter:
        return True
    return evse.meter.good is not None and evse.meter.good_mono >= mono_ns


def silent_at(evse: Evse, silence_s: float) -> int:
    """The moment from which the meter counts as silent."""
    return evse.meter.good_mono + int(silence_s * NS_PER_S)


def is_live(evse: Evse, silence_s: float, now: Now) -> bool:
    """Whether the meter may be charged by: read since the plug came, and not silent."""
    if not evse.layout.has_meter:
        return True
    return read_since(evse, evse.plug.since) and now.mono_ns < silent_at(evse, silence_s)


# --- when is a sample due? ---------------------------------------------------------------------


def next_sample(started_mono: int, sampled_mono: int, interval_s: int) -> int | None:
    """The next slot after `sampled_mono`; slots are counted from the start of the transaction."""
    if interval_s <= 0:
        return None
    interval = interval_s * NS_PER_S
    return started_mono + ((sampled_mono - started_mono) // interval + 1) * interval


def last_slot(started_mono: int, now_mono: int, interval_s: int) -> int:
    """The newest slot that is not in the future."""
    interval = interval_s * NS_PER_S
    return started_mono + (now_mono - started_mono) // interval * interval


def next_aligned(now: Now, interval_s: int, align: str) -> int | None:
    """The monotonic moment of the next clock-aligned reading: midnight + k * interval.

    `align` is "utc" or "local" (by the offset that holds now). None without an interval.
    """
    if interval_s <= 0:
        return None
    offset = timedelta(seconds=now.local_offset_s if align == "local" else 0)
    local = now.utc + offset
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    into_us = (local - midnight) // timedelta(microseconds=1)
    interval_us = interval_s * 1_000_000
    slot_us = min((into_us // interval_us + 1) * interval_us, 86_400 * 1_000_000)
    return now.mono_ns + (slot_us - into_us) * 1000


def moment(now: Now, mono_ns: int) -> Now:
    """`now` moved back to an earlier moment of the same boot."""
    back = timedelta(microseconds=(now.mono_ns - mono_ns) // 1000)
    return replace(now, mono_ns=mono_ns, utc=now.utc - back)


# --- what is told of a reading? ----------------------------------------------------------------


def values(evse: Evse, names: Iterable[str], since_wh: int | None, voltage_v: float
           ) -> tuple[Measured, ...]:
    """What `names` (quantity, or quantity@phase) mean in the last good reading.

    `since_wh` is the register at the beginning of the interval. What the meter does not tell is
    left out. A name without a phase means all that is known of the quantity.
    """
    found: list[Measured] = []
    for name in names:
        quantity, _, phase = name.partition("@")
        for one in _measured(evse, Quantity(quantity), since_wh, voltage_v):
            if (not phase or one.phase == phase) and one not in found:
                found.append(one)
    return tuple(found)


def _measured(evse: Evse, quantity: Quantity, since_wh: int | None, voltage_v: float
              ) -> tuple[Measured, ...]:
    reading = evse.meter.good
    if quantity in (Quantity.CURRENT_OFFERED, Quantity.POWER_OFFERED):
        return (_offered(evse, quantity, voltage_v),)
    if reading is None:
        return ()
    if quantity is Quantity.ENERGY_IMPORT_INTERVAL:
        if since_wh is None:
            return ()
        return (Measured(quantity, reading.energy_import_wh - since_wh),)
    if quantity in _PER_PHASE:
        return _per_phase(reading, quantity)
    value = _SINGLE[quantity](reading) if quantity in _SINGLE else None
    return () if value is None else (Measured(quantity, value),)


def _offered(evse: Evse, quantity: Quantity, voltage_v: float) -> Measured:
    offered_a = evse.offering.offer.current_a
    if quantity is Quantity.CURRENT_OFFERED:
        return Measured(quantity, offered_a)
    return Measured(quantity, round(offered_a * evse.layout.phases * voltage_v, 1))


def _per_phase(reading: MeterReading, quantity: Quantity) -> tuple[Measured, ...]:
    whole: tuple[Measured, ...] = ()
    phases = reading.voltages_v
    if quantity is Quantity.CURRENT_IMPORT:
        phases = reading.currents_a
    elif quantity is Quantity.POWER_IMPORT:
        phases = reading.powers_w if len(reading.powers_w) > 1 else ()
        if reading.power_w is not None:
            whole = (Measured(quantity, reading.power_w),)
    return whole + tuple(
        Measured(quantity, value, f"L{number}") for number, value in enumerate(phases, 1))


_PER_PHASE = frozenset({Quantity.VOLTAGE, Quantity.CURRENT_IMPORT, Quantity.POWER_IMPORT})

_SINGLE: Mapping[Quantity, Callable[[MeterReading], float | None]] = MappingProxyType({
    Quantity.ENERGY_IMPORT_REGISTER: lambda reading: reading.energy_import_wh,
    Quantity.ENERGY_EXPORT_REGISTER: lambda reading: reading.energy_export_wh,
    Quantity.POWER_REACTIVE_IMPORT: lambda reading: reading.reactive_power_var,
    Quantity.POWER_FACTOR: lambda reading: reading.power_factor,
    Quantity.FREQUENCY: lambda reading: reading.frequency_hz,
    Quantity.TEMPERATURE: lambda reading: reading.temperature_c,
})
