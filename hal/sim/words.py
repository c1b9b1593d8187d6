"""The kinds of faults people can set in the simulated world."""

#: fault kind -> (input it trips, code reported where that input is not fitted)
INPUT_FAULTS = {
    "rcd": ("rcd", "RCD_TRIPPED"),
    "emergency_stop": ("emergency_stop", "EMERGENCY_STOP"),
    "door": ("door", "DOOR_OPEN"),
    "ground": ("ground", "GROUND_FAILURE"),
    "over_temperature": ("temperature", "OVER_TEMPERATURE"),
    "over_current": ("over_current", "OVER_CURRENT"),
}
#: fault kind -> kind of device that falls silent
LOST_FAULTS = {
    "meter_lost": "meter",
    "reader_lost": "reader",
    "pilot_lost": "pilot",
    "contactor_lost": "contactor",
    "lock_lost": "lock",
    "input_lost": "input",
}
#: fault kinds that are something in the world
WORLD_FAULTS = (
    "weld", "feedback_stuck", "did_not_close", "pilot_e", "pilot_f", "diode", "no_s2",
    "stuck_in_c", "greedy", "lock_jammed",
)
FAULT_KINDS: tuple[str, ...] = (*INPUT_FAULTS, *LOST_FAULTS, *WORLD_FAULTS, "other")
