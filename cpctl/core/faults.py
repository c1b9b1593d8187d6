"""The one catalogue of faults: what each is, whether it latches, whether it stops charging, what to do.

A fault stops charging unless it is a warning. A latched fault stays, also over restarts, until a
technician clears it; the others go when their cause goes.
"""

from enum import Enum

from hal.late import dataclass


class FaultCode(Enum):
    CONTACTOR_WELDED = "CONTACTOR_WELDED"
    CONTACTOR_DID_NOT_CLOSE = "CONTACTOR_DID_NOT_CLOSE"
    RCD_TRIPPED = "RCD_TRIPPED"
    GROUND_FAILURE = "GROUND_FAILURE"
    EMERGENCY_STOP = "EMERGENCY_STOP"
    DOOR_OPEN = "DOOR_OPEN"
    PILOT_SHORTED = "PILOT_SHORTED"
    PILOT_UNAVAILABLE = "PILOT_UNAVAILABLE"
    PILOT_LOST = "PILOT_LOST"
    DIODE_MISSING = "DIODE_MISSING"
    OVER_TEMPERATURE = "OVER_TEMPERATURE"
    OVER_CURRENT = "OVER_CURRENT"
    METER_LOST = "METER_LOST"
    METER_IMPLAUSIBLE = "METER_IMPLAUSIBLE"
    READER_LOST = "READER_LOST"
    LOCK_JAMMED = "LOCK_JAMMED"
    CONTACTOR_LOST = "CONTACTOR_LOST"
    INPUT_LOST = "INPUT_LOST"
    JOURNAL_FAILED = "JOURNAL_FAILED"
    JOURNAL_DAMAGED = "JOURNAL_DAMAGED"
    FACT_SET_ASIDE = "FACT_SET_ASIDE"
    RESET_FAILED = "RESET_FAILED"
    OTHER = "OTHER"


@dataclass(frozen=True)
class Fault:
    """One row. `stops`: no power while it is present. `station`: concerns all EVSEs."""

    code: FaultCode
    latched: bool
    stops: bool
    sentence: str
    remedy: str
    station: bool = False


def _rows() -> tuple[Fault, ...]:
    code = FaultCode
    return (
        Fault(code.CONTACTOR_WELDED, True, True, "the contactor stays closed though released",
              "switch the supply off, replace the contactor; then cpctl hw contactor-test, cpctl evse clear-fault"),
        Fault(code.CONTACTOR_DID_NOT_CLOSE, False, True, "the contactor did not close when ordered",
              "check coil supply, wiring and the auxiliary contact"),
        Fault(code.RCD_TRIPPED, False, True, "the residual current device has tripped",
              "find the leakage, then reset the RCD"),
        Fault(code.GROUND_FAILURE, False, True, "the protective earth is not sound",
              "check the protective earth"),
        Fault(code.EMERGENCY_STOP, False, True, "the emergency stop is pressed",
              "release the emergency stop when it is safe"),
        Fault(code.DOOR_OPEN, False, True, "the door is open", "close the door"),
        Fault(code.PILOT_SHORTED, False, True, "the control pilot is shorted (state E)",
              "check cable and plug"),
        Fault(code.PILOT_UNAVAILABLE, False, True, "the control pilot reports state F",
              "check the pilot board"),
        Fault(code.PILOT_LOST, False, True, "the pilot board does not answer",
              "check its supply and wiring (cpctl hw list)"),
        Fault(code.DIODE_MISSING, False, True, "the pilot's diode is missing: this is no car",
              "unplug what is connected"),
        Fault(code.OVER_TEMPERATURE, False, True, "too hot", "let it cool down, check terminals"),
        Fault(code.OVER_CURRENT, False, True, "the car draws more than it was offered",
              "unplug the car"),
        Fault(code.METER_LOST, False, False, "the energy meter does not answer",
              "check A/B wiring, address and baud rate (cpctl hw meter N)"),
        Fault(code.METER_IMPLAUSIBLE, False, False, "the energy meter says what cannot be true",
              "check the meter's type in the configuration (cpctl hw meter N)"),
        Fault(code.READER_LOST, False, False, "the card reader is gone",
              "check its USB plug and pcscd (cpctl hw reader)", station=True),
        Fault(code.LOCK_JAMMED, False, True, "the plug lock did not move",
              "check the plug and the lock"),
        Fault(code.CONTACTOR_LOST, False, True, "the contactor cannot be driven",
              "check the output (cpctl hw list)"),
        Fault(code.INPUT_LOST, False, True, "a safety input cannot be read",
              "check the input (cpctl hw list)"),
        Fault(code.JOURNAL_FAILED, False, True, "the books cannot be written",
              "free disk space or replace the card", station=True),
        Fault(code.JOURNAL_DAMAGED, False, False, "the books were damaged and set aside",
              "keep the file that was set aside; see cpctl journal", station=True),
        Fault(code.FACT_SET_ASIDE, False, False, "a record could not be told to the central system",
              "see cpctl journal list", station=True),
        Fault(code.RESET_FAILED, False, False, "a reset failed", "restart by hand", station=True),
        Fault(code.OTHER, False, True, "another error", "see the vendor's code"),
    )


CATALOGUE: dict[FaultCode, Fault] = {row.code: row for row in _rows()}
