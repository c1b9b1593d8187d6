"""The interlock: each reason alone, each limit at its edge; all branches, all mutants."""

import io
import itertools
import types
from pathlib import Path
from typing import Any

import coverage
import pytest
from support import mutants

from cpctl.core import interlock
from hal.values import PilotState

PATH = Path(interlock.__file__)
S = 1_000_000_000
NOW = 100 * S

GOOD: dict[str, Any] = {
    "pilot": PilotState.C, "pilot_mono_ns": NOW, "diode_ok": True, "ventilated": False,
    "locked": True, "safety": (("rcd", True, NOW), ("door", True, NOW)), "feedback_closed": False,
    "coil_on": False, "register_mono_ns": NOW - 5 * S, "plugged_mono_ns": NOW - 6 * S,
    "session_in_books": True, "barred": (), "answered_mono_ns": NOW, "renewing": False,
}
#: What is changed of GOOD -> the reasons; none: a permit.
TABLE: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = (
    ({}, ()),
    ({"pilot": PilotState.A}, ("pilot_not_asking",)),
    ({"pilot": PilotState.B}, ("pilot_not_asking",)),
    ({"pilot": PilotState.E}, ("pilot_not_asking",)),
    ({"pilot": PilotState.F}, ("pilot_not_asking",)),
    ({"pilot": None}, ("no_pilot",)),
    ({"pilot": PilotState.D}, ("not_ventilated",)),
    ({"pilot": PilotState.D, "ventilated": True}, ()),
    ({"ventilated": True}, ()),
    ({"pilot_mono_ns": NOW - S}, ()),
    ({"pilot_mono_ns": NOW - S - 1}, ("pilot_stale",)),
    ({"pilot_mono_ns": NOW + 5 * S}, ()),
    ({"diode_ok": False}, ("diode_missing",)),
    ({"locked": False}, ("not_locked",)),
    ({"safety": ()}, ()),
    ({"safety": (("rcd", False, NOW),)}, ("rcd",)),
    ({"safety": (("rcd", True, NOW - S),)}, ()),
    ({"safety": (("rcd", True, NOW - S - 1),)}, ("rcd_stale",)),
    ({"safety": (("rcd", True, NOW), ("door", False, NOW - 2 * S))}, ("door", "door_stale")),
    ({"safety": (("rcd", False, NOW), ("door", False, NOW))}, ("rcd", "door")),
    ({"feedback_closed": None}, ()),
    ({"feedback_closed": True}, ("welded",)),
    ({"feedback_closed": True, "coil_on": True}, ()),
    ({"feedback_closed": True, "coil_on": True, "renewing": True}, ()),
    ({"coil_on": True}, ()),
    ({"renewing": True}, ("not_closed",)),
    ({"renewing": True, "coil_on": True}, ()),
    ({"renewing": True, "feedback_closed": True}, ("welded", "not_closed")),
    ({"session_in_books": False}, ("session_not_in_books",)),
    ({"plugged_mono_ns": None}, ("not_plugged",)),
    ({"plugged_mono_ns": None, "register_mono_ns": None}, ("not_plugged",)),
    ({"register_mono_ns": None}, ("register_not_read",)),
    ({"register_mono_ns": NOW - 6 * S}, ()),
    ({"register_mono_ns": NOW - 6 * S - 1}, ("register_not_read",)),
    ({"answered_mono_ns": NOW - 2 * S}, ()),
    ({"answered_mono_ns": NOW - 2 * S - 1}, ("loop_silent",)),
    ({"barred": ("rcd_tripped", "door_open")}, ("rcd_tripped", "door_open")),
    ({"pilot": PilotState.B, "locked": False, "barred": ("not_booted",)},
     ("pilot_not_asking", "not_locked", "not_booted")),
)

#: The same for current on offer at a board that closes by itself; a plugged car does not ask yet.
OFFER_TABLE: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = (
    ({}, ()),
    ({"renewing": True, "coil_on": True}, ()),
    ({"pilot": PilotState.A}, ("pilot_not_asking",)),
    ({"pilot": PilotState.E}, ("pilot_not_asking",)),
    ({"pilot": PilotState.F}, ("pilot_not_asking",)),
    ({"pilot": None}, ("no_pilot",)),
    ({"pilot": PilotState.C}, ("asks_already",)),
    ({"pilot": PilotState.C, "renewing": True, "coil_on": True}, ()),
    ({"pilot": PilotState.D}, ("not_ventilated", "asks_already")),
    ({"pilot": PilotState.D, "ventilated": True}, ("asks_already",)),
    ({"pilot": PilotState.D, "ventilated": True, "renewing": True, "coil_on": True}, ()),
    ({"pilot": PilotState.D, "renewing": True, "coil_on": True}, ("not_ventilated",)),
    ({"pilot_mono_ns": NOW - S - 1}, ("pilot_stale",)),
    ({"pilot_mono_ns": NOW - S - 1, "renewing": True, "coil_on": True}, ("pilot_stale",)),
    ({"diode_ok": False}, ("diode_missing",)),
    ({"locked": False, "renewing": True, "coil_on": True}, ("not_locked",)),
    ({"safety": (("rcd", False, NOW),)}, ("rcd",)),
    ({"feedback_closed": True}, ("welded",)),
    ({"renewing": True}, ("not_closed",)),
    ({"session_in_books": False}, ("session_not_in_books",)),
    ({"register_mono_ns": None}, ("register_not_read",)),
    ({"answered_mono_ns": NOW - 2 * S - 1}, ("loop_silent",)),
    ({"barred": ("rcd_tripped",)}, ("rcd_tripped",)),
    ({"asking_mono_ns": NOW - 3 * S}, ()),
    ({"asking_mono_ns": NOW - 3 * S - 1}, ("not_ordered",)),
    ({"pilot": PilotState.C, "renewing": True, "coil_on": True, "locked": False,
      "asking_mono_ns": NOW - 9 * S}, ("not_locked", "not_ordered")),
)


#: The same for a contactor test: nothing is plugged in, no session is open.
EMPTY: dict[str, Any] = {"pilot": PilotState.A, "locked": False, "session_in_books": False,
                         "plugged_mono_ns": None, "register_mono_ns": None}
TEST_TABLE: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = (
    ({}, ()),
    ({"locked": True}, ()),
    ({"diode_ok": False}, ()),
    ({"renewing": True, "coil_on": True, "feedback_closed": True}, ()),
    ({"pilot": PilotState.B}, ("plugged",)),
    ({"pilot": PilotState.C}, ("plugged",)),
    ({"pilot": PilotState.D, "ventilated": True}, ("plugged",)),
    ({"pilot": PilotState.E}, ("plugged",)),
    ({"pilot": PilotState.F}, ("pilot_unavailable",)),
    ({"pilot": None}, ("no_pilot",)),
    ({"pilot_mono_ns": NOW - S}, ()),
    ({"pilot_mono_ns": NOW - S - 1}, ("pilot_stale",)),
    ({"session_in_books": True}, ("session_open",)),
    ({"safety": (("rcd", False, NOW),)}, ("rcd",)),
    ({"safety": (("rcd", True, NOW - S - 1),)}, ("rcd_stale",)),
    ({"feedback_closed": True}, ("welded",)),
    ({"feedback_closed": None}, ()),
    ({"renewing": True}, ("not_closed",)),
    ({"barred": ("contactor_welded", "contactor_did_not_close")}, ()),
    ({"barred": ("contactor_welded", "emergency_stop")}, ("emergency_stop",)),
    ({"answered_mono_ns": NOW - 2 * S}, ()),
    ({"answered_mono_ns": NOW - 2 * S - 1}, ("loop_silent",)),
)


def verdict(module: Any, changed: dict[str, Any]) -> tuple[str, ...] | None:
    """The reasons; None for a permit."""
    return said(module, module.permits, changed)


def offer_verdict(module: Any, changed: dict[str, Any]) -> tuple[str, ...] | None:
    return said(module, module.permits_offer, {"pilot": PilotState.B, **changed})


def test_verdict(module: Any, changed: dict[str, Any]) -> tuple[str, ...] | None:
    return said(module, module.permits_test, {**EMPTY, **changed})


test_verdict.__test__ = False  # type: ignore[attr-defined]


def said(module: Any, judge: Any, changed: dict[str, Any]) -> tuple[str, ...] | None:
    word = judge(module.Inputs(**{**GOOD, **changed}), NOW)
    return None if isinstance(word, module.Permit) else word.reasons


def follow_the_table(module: Any) -> None:
    for changed, reasons in TABLE:
        assert verdict(module, changed) == (reasons or None), changed
    for changed, reasons in OFFER_TABLE:
        assert offer_verdict(module, changed) == (reasons or None), changed
    for changed, reasons in TEST_TABLE:
        assert test_verdict(module, changed) == (reasons or None), changed
    bare = {name: value for name, value in GOOD.items() if name != "renewing"}
    assert isinstance(module.permits(module.Inputs(**bare), NOW), module.Permit)
    for value in (module.Inputs(**GOOD), module.Permit(), module.Refusal(("rcd",))):
        with pytest.raises(AttributeError):
            value.locked = False


@pytest.mark.parametrize(("changed", "reasons"), TABLE, ids=lambda value: str(value)[:60])
def test_the_interlock_permits_only_what_is_good_and_fresh(
        changed: dict[str, Any], reasons: tuple[str, ...]) -> None:
    assert verdict(interlock, changed) == (reasons or None)


@pytest.mark.parametrize(("changed", "reasons"), OFFER_TABLE, ids=lambda value: str(value)[:60])
def test_an_offer_to_a_board_that_closes_by_itself_is_permitted_like_closing(
        changed: dict[str, Any], reasons: tuple[str, ...]) -> None:
    assert offer_verdict(interlock, changed) == (reasons or None)


@pytest.mark.parametrize(("changed", "reasons"), TEST_TABLE, ids=lambda value: str(value)[:60])
def test_a_contactor_is_tested_only_where_nobody_can_be_at_the_other_end(
        changed: dict[str, Any], reasons: tuple[str, ...]) -> None:
    assert test_verdict(interlock, changed) == (reasons or None)


def test_no_state_of_the_world_permits_a_test_with_a_plug_in_or_a_safety_input_bad() -> None:
    """Every combination: the permit is there exactly where each single thing is as it must be."""
    worlds = {
        "pilot": (None, *PilotState), "pilot_mono_ns": (NOW, NOW - 2 * S),
        "safety": ((), (("rcd", True, NOW),), (("rcd", False, NOW),), (("rcd", True, 0),)),
        "feedback_closed": (None, False, True), "coil_on": (False, True),
        "renewing": (False, True), "session_in_books": (False, True), "locked": (False, True),
        "diode_ok": (False, True), "answered_mono_ns": (NOW, 0),
        "barred": ((), ("contactor_welded",), ("rcd_tripped",),
                   ("contactor_did_not_close", "path_used")),
    }
    tried = permitted = 0
    for values in itertools.product(*worlds.values()):
        one = dict(zip(worlds, values, strict=True))
        empty = one["pilot"] is PilotState.A and one["pilot_mono_ns"] == NOW
        safe = one["safety"] in ((), (("rcd", True, NOW),)) and one["answered_mono_ns"] == NOW
        contact = one["coil_on"] or not (one["feedback_closed"] or one["renewing"])
        free = not one["session_in_books"] and one["barred"] in ((), ("contactor_welded",))
        word = interlock.permits_test(interlock.Inputs(**{**GOOD, **one}), NOW)
        assert isinstance(word, interlock.Permit) is (empty and safe and contact and free), one
        tried, permitted = tried + 1, permitted + isinstance(word, interlock.Permit)
    print(f"{tried} worlds, {permitted} permits")
    assert permitted > 0


def test_a_refusal_names_every_reason() -> None:
    everything_wrong: dict[str, Any] = {
        "pilot": None, "pilot_mono_ns": 0, "diode_ok": False, "locked": False,
        "safety": (("rcd", False, 0),), "feedback_closed": True, "register_mono_ns": None,
        "session_in_books": False, "barred": ("weld",), "answered_mono_ns": 0, "renewing": True}

    assert verdict(interlock, everything_wrong) == (
        "no_pilot", "pilot_stale", "diode_missing", "rcd", "rcd_stale", "not_locked", "welded",
        "not_closed", "session_not_in_books", "register_not_read", "loop_silent", "weld")


def test_every_mutant_of_the_interlock_dies() -> None:
    alive, tried = mutants.survivors(PATH, interlock.__name__, follow_the_table)

    assert alive == []
    assert tried > 40


def test_the_table_takes_every_branch_of_the_interlock() -> None:
    assert coverage_of(PATH) == 100.0


def coverage_of(path: Path) -> float:
    """Branch coverage of the table over a fresh copy of the module, in percent."""
    measured = coverage.Coverage(branch=True, include=[str(path)], data_file=None,
                                 config_file=False)
    measured.start()
    try:
        module = types.ModuleType(interlock.__name__)
        exec(compile(path.read_text(), str(path), "exec"), vars(module))
        follow_the_table(module)
    finally:
        measured.stop()
    return measured.report(include=[str(path)], file=io.StringIO())
